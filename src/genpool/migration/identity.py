"""What makes ids before and after a migration: the pipeline, the salt, the scheme; and schemes that are only read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from genpool.gen_ids import GENPOOL_1, IdMaker, Scheme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from genpool.stages import Pipeline, Stage

DAYDREAMING_0: Final = "daydreaming/0"
"""The one older scheme that is known by name; docs/identity.md has its rule."""

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_OLD_ID: Final = re.compile(r"([a-z]+)_([0-9a-z]+)(?:-([1-9][0-9]*))?")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a pool's ids are made with."""

    pipeline: Pipeline
    salt: str = ""
    scheme: Scheme = GENPOOL_1
    make: IdMaker = field(init=False, repr=False, compare=False)
    """Stage and values of a signature to its id."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "make", IdMaker(self.salt, self.scheme))


@dataclass(slots=True)
class Change:
    """What a migration changes beside the ids themselves."""

    now: Identity
    target: Identity
    sets: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Stage and field to the value of an axis that the stage gets."""

    def values(self, stage: Stage, values: tuple[str, ...]) -> dict[str, str]:
        """Return the fields that a signature has in the target's stage, but for the replicate."""
        have = dict(zip(stage.fields, values, strict=False))
        target = self.target.pipeline[stage.name]
        return {name: have[name] if name in have else self.sets[stage.name, name] for name in target.fields[:-1]}


def is_daydreaming_0(gen_id: str, prefix: str, parts: Sequence[str]) -> bool:
    """Return whether an id is the one that the scheme `daydreaming/0` gives some signature values.

    Args:
        gen_id: The id.
        prefix: The stage's prefix.
        parts: The values as text, in the order of the signature's fields, the replicate last.
    """
    found = _OLD_ID.fullmatch(gen_id)
    if found is None or found[1] != prefix:
        return False
    text = "|".join(part.strip().lower() for part in parts)
    if found[3]:
        text += f"|collision:{found[3]}"
    return _base36(hashlib.blake2b(text.encode(), digest_size=10).digest()) == found[2]


def _base36(digest: bytes) -> str:
    number = int.from_bytes(digest, "big")
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
    return digits or "0"
