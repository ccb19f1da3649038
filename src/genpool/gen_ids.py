"""The id function: a generation's id from its signature. The only module that hashes for identity.

Scheme `genpool/1`: the prefix of the stage, an underscore, and the first 32 hex digits of the
SHA-256 of the signature's canonical JSON, tagged with scheme and stage (and the pool's salt, where
it has one). docs/identity.md gives the reason for every part. Ids are frozen by golden vectors: a
change that would move one is a new scheme, never an edit here.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final

from genpool.canonical import canonical_json
from genpool.errors import InvalidSignature
from genpool.signatures import FieldValue, Signature, text_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from genpool.stages import Stage

SCHEME: Final = "genpool/1"
"""The scheme that new ids are made with; it is written into every metadata.json."""
ID_DIGITS: Final = 32
"""Hex digits of an id: 128 bits, so that 2^64 generations come before a likely collision."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A rule that makes ids, as data: what tells it apart from any other of our own."""

    name: str
    """What tags the text that is hashed."""
    digits: int
    """Hex digits of an id."""


GENPOOL_1: Final = Scheme(SCHEME, ID_DIGITS)
"""The only scheme that pools are made with; another one is reached by a migration."""


def check_salt(salt: str) -> None:
    """Refuse a salt that cannot be part of an identity.

    Raises:
        InvalidSignature: The salt is neither empty nor a valid text value.
    """
    problem = text_problem(salt) if salt else None
    if problem:
        raise InvalidSignature(f"salt = {salt!r} {problem}")


def canonical_text(signature: Signature, salt: str = "", scheme: Scheme = GENPOOL_1) -> str:
    """Return the text whose SHA-256 gives the id of a signature."""
    tagged: dict[str, FieldValue] = {"scheme": scheme.name, "stage": signature.stage.name, **signature.as_dict()}
    if salt:
        check_salt(salt)
        tagged["salt"] = salt
    return canonical_json(tagged).decode()


def gen_id(signature: Signature, salt: str = "") -> str:
    """Return the id of a signature under scheme `genpool/1`.

    Args:
        signature: A validated signature.
        salt: The pool's salt; empty for none.

    Raises:
        InvalidSignature: The salt is not allowed.
    """
    return f"{signature.stage.prefix}_{_digest(canonical_text(signature, salt))}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:ID_DIGITS]


class IdMaker:
    """Makes the ids of many signatures under one scheme: the same as `gen_id`, at the price of one hash each.

    Args:
        salt: The pool's salt.
        scheme: The scheme.
    """

    def __init__(self, salt: str = "", scheme: Scheme = GENPOOL_1) -> None:
        self._salt = salt
        self._scheme = scheme
        self._around: dict[tuple[str, tuple[FieldValue, ...]], tuple[str, str]] = {}

    def __call__(self, stage: Stage, values: tuple[FieldValue, ...]) -> str:
        """Return the id of a signature's values, already validated."""
        variant = values[1:]
        around = self._around.get((stage.name, variant))
        if around is None:
            if len(self._around) > _MOST_VARIANTS:
                self._around.clear()
            around = _around_source(stage, variant, self._salt, self._scheme)
            self._around[stage.name, variant] = around
        text = f"{around[0]}{_quoted(str(values[0]))}{around[1]}"
        return f"{stage.prefix}_{sha256(text.encode()).hexdigest()[: self._scheme.digits]}"

    def below(self, stage: Stage, variant: tuple[FieldValue, ...]) -> Callable[[str], str]:
        """Return the function that gives the id of one variant of a stage below a source; see `id_below`."""
        return id_below(stage, variant, self._salt, self._scheme)


_MOST_VARIANTS: Final = 100_000


def ids_below(
    stage: Stage,
    sources: Iterable[str],
    variants: Sequence[tuple[FieldValue, ...]],
    salt: str = "",
    *,
    branches: Iterable[int] | None = None,
    follow: Sequence[Sequence[int]] | None = None,
) -> Iterator[str]:
    """Yield the ids of the variants of a stage below every source, sources outermost.

    The same ids as `gen_id`, at the price of one string join and one hash each: what lies before
    and behind the source in the canonical text is written once a variant.

    Args:
        stage: The stage.
        sources: Combo ids or parent gen ids, already validated.
        variants: The values of `stage.fields[1:]` (axes, then replicate), already validated.
        salt: The pool's salt.
        branches: The branch of every source; left out, all are of branch 0.
        follow: For every branch the positions of the variants that follow it; left out, all of them.
    """
    split = [_around_source(stage, variant, salt) for variant in variants]
    by_branch = [split] if follow is None else [[split[at] for at in positions] for positions in follow]
    prefix = f"{stage.prefix}_"
    for source, branch in zip(sources, repeat(0) if branches is None else branches, strict=False):
        quoted = _quoted(source)
        for before, behind in by_branch[branch]:
            yield prefix + sha256(f"{before}{quoted}{behind}".encode()).hexdigest()[:ID_DIGITS]


def id_below(
    stage: Stage, variant: tuple[FieldValue, ...], salt: str = "", scheme: Scheme = GENPOOL_1
) -> Callable[[str], str]:
    """Return the function that gives the id of one variant of a stage below a source; see `ids_below`.

    Args:
        stage: The stage.
        variant: The values of `stage.fields[1:]`, already validated.
        salt: The pool's salt.
        scheme: The scheme.
    """
    before, behind = _around_source(stage, variant, salt, scheme)
    prefix, digits = f"{stage.prefix}_", scheme.digits

    def id_of(source: str) -> str:
        return prefix + sha256(f"{before}{_quoted(source)}{behind}".encode()).hexdigest()[:digits]

    return id_of


_quoted = encode_basestring  # a string as canonical JSON writes it, without the price of any JSON value


def _around_source(
    stage: Stage, variant: tuple[FieldValue, ...], salt: str, scheme: Scheme = GENPOOL_1
) -> tuple[str, str]:
    """Return the canonical text before and behind the source's value."""
    mark = "0"  # a valid source; its field is found by name, so no other value can be mistaken for it
    text = canonical_text(Signature(stage, (mark, *variant)), salt, scheme)
    field = f'"{stage.source_field}":'
    # A value cannot hold the field's text: a quotation mark inside a value is written as \".
    # The source field sorts first but for axes of a user, whose values are quoted likewise.
    start = text.index(field) + len(field)
    return text[:start], text[start + len(f'"{mark}"') :]
