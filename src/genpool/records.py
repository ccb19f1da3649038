"""metadata.json as a frozen record: what is known of one generation or attempt.

A record is one flat JSON object, keys sorted, with a digest of itself (`self`), so that a damaged
one is noticed. The signature's fields stand flat among the other keys; the pipeline's axes say which
they are. Unknown keys are kept and ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from genpool.canonical import Json, canonical_json, sha256
from genpool.errors import CorruptGeneration, InvalidSignature, UnsupportedFormat
from genpool.gen_ids import SCHEME, id_below
from genpool.signatures import MAX_REPLICATE, Signature
from genpool.stages import REPLICATE_FIELD
from genpool.yaml_reader import is_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genpool.signatures import FieldValue
    from genpool.stages import Stage

FORMAT: Final = "genpool.generation/1"
ATTEMPT_FORMAT: Final = "genpool.attempt/1"

PROMOTED: Final = "promoted"
"""The key of a generation that was an attempt first: which, why it was one, when and how it was read anew."""

MODE_LLM: Final = "llm"
MODE_COPY: Final = "copy"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the provider counted them."""

    input_tokens: int | None = None
    output_tokens: int | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the usage as a JSON object."""
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost."""

    input: float
    """Per million input tokens."""
    output: float
    """Per million output tokens."""
    source: str = "pool.yaml"
    """Where the price is from."""

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """Return the cost of some tokens, in the price's currency."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6

    def as_json(self) -> dict[str, Json]:
        """Return the price as a JSON object."""
        return {"input": self.input, "output": self.output, "source": self.source}


@dataclass(frozen=True, slots=True)
class Call:
    """One call to a model."""

    provider: str
    """The client and, where there is one, the host that was asked."""
    model: str
    """The model's name as sent."""
    model_returned: str | None
    """The model's name as the provider returned it."""
    parameters: Mapping[str, Json]
    """The sampling parameters as sent, the constraint on the output included."""
    seed: int | None
    finish_reason: str | None
    usage: Usage
    seconds: float
    attempts_before: int
    """How many attempts at the same task were kept before this call."""
    price: Price | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the call as the JSON object in metadata.json."""
        return {
            "provider": self.provider,
            "model": self.model,
            "model_returned": self.model_returned,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            "finish_reason": self.finish_reason,
            "usage": self.usage.as_json(),
            "price": self.price.as_json() if self.price else None,
            "seconds": round(self.seconds, 3),
            "attempts_before": self.attempts_before,
        }


@dataclass(frozen=True, slots=True)
class Score:
    """A judge's score and the scale that its rubric had."""

    value: float
    min: float
    max: float

    def as_json(self) -> dict[str, Json]:
        """Return the score as a JSON object."""
        return {"value": _number(self.value), "min": _number(self.min), "max": _number(self.max)}


def _number(value: float) -> int | float:
    """Return a whole number as one, as canonical JSON writes it."""
    return int(value) if value.is_integer() else value


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an output that was paid for is not a generation."""

    kind: str
    """`truncated`, `empty`, `refused`, `unparseable`, `no_end`, `bought_twice`: stable words."""
    message: str

    def as_json(self) -> dict[str, Json]:
        """Return the reason as a JSON object."""
        return {"kind": self.kind, "message": self.message}


@dataclass(frozen=True, slots=True)
class Record:
    """What metadata.json says of one generation."""

    signature: Signature
    gen_id: str
    origin_cohort_id: str | None
    """The cohort whose run made it; None where a legacy record does not say."""
    run_id: str | None
    created_at: str | None
    """RFC 3339, UTC."""
    mode: str
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Name to SHA-256: template, inputs, model; prompt, raw, parsed of the files as stored."""
    call: Mapping[str, Json] | None = None
    """The call as stored (`Call.as_json`); None for a copy."""
    parser: str | None = None
    score: Score | None = None
    id_scheme: str | None = SCHEME
    """The scheme of the id; None for a legacy id."""
    extra: Mapping[str, Json] = field(default_factory=dict)
    """Keys that this version does not know; written back as they were."""
    stored: Mapping[str, Json] | None = None
    """The whole object of a record that another tool wrote (without `format` and `id_scheme`); None for ours."""

    @property
    def stage(self) -> Stage:
        """The generation's stage."""
        return self.signature.stage

    def stated(self) -> dict[str, FieldValue | None]:
        """Return the signature's fields; the replicate is None where a legacy record states none."""
        fields: dict[str, FieldValue | None] = dict(self.signature.as_dict())
        if self.is_legacy and self.signature.replicate == NO_REPLICATE:
            fields[REPLICATE_FIELD] = None
        return fields

    @property
    def is_legacy(self) -> bool:
        """Whether the id was not made by a known scheme."""
        return self.id_scheme is None

    def as_json(self) -> dict[str, Json]:
        """Return the object of metadata.json, without its digest of itself.

        Of a record that another tool wrote it is what that wrote, and null for what it does not say.
        """
        if self.stored is not None:
            unsaid = dict.fromkeys((*self.stage.fields, *_STATED))
            return {**unsaid, "gen_id": self.gen_id, "stage": self.stage.name, **self.stored}
        return {
            **self.extra,
            **self.signature.as_dict(),
            "format": FORMAT,
            "gen_id": self.gen_id,
            "stage": self.stage.name,
            "id_scheme": self.id_scheme,
            "origin_cohort_id": self.origin_cohort_id,
            "run_id": self.run_id,
            "created_at": self.created_at,
            "mode": self.mode,
            "fingerprints": dict(self.fingerprints),
            "call": self.call,
            "parser": self.parser,
            "score": self.score.as_json() if self.score else None,
        }

    def encode(self) -> bytes:
        """Return the bytes of metadata.json."""
        return encode_sealed(self.as_json())

    def encode_attempt(self, reason: Reason) -> bytes:
        """Return the bytes of metadata.json for an attempt at this generation."""
        return encode_sealed({**self.as_json(), "format": ATTEMPT_FORMAT, "reason": reason.as_json()})


def encode_sealed(value: dict[str, Json]) -> bytes:
    """Return a record's bytes, keys sorted, with the digest of the rest under `self`."""
    sealed = {**value, "self": sha256(canonical_json(value))}
    return orjson.dumps(sealed, option=_WRITTEN)


_WRITTEN: Final = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def decode_object(data: bytes, where: str) -> dict[str, Json]:
    """Return the JSON object of some bytes.

    Raises:
        CorruptGeneration: The bytes are not one JSON object.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CorruptGeneration(f"{where}: not readable as JSON: {error}", hint=_DAMAGED) from None
    if not isinstance(value, dict):
        raise CorruptGeneration(f"{where}: not a JSON object", hint=_DAMAGED)
    return value


_DAMAGED: Final = "the file was damaged or edited; restore it, or move the whole directory away to have it made again"


def decode_record(data: bytes, stage: Stage, name: str, salt: str, where: str) -> Record:
    """Return the record of a generation, its identity checked.

    Args:
        data: The bytes of metadata.json.
        stage: The stage it was found in.
        name: The name of the directory it was found in.
        salt: The pool's salt.
        where: The path, for messages.

    Raises:
        CorruptGeneration: The record is damaged, or is not the record of this id.
        UnsupportedFormat: A newer genpool wrote it.
        InvalidSignature: A legacy record lacks a field of the signature or has a value that is not allowed.
    """
    value = decode_object(data, where)
    if "format" not in value and "id_scheme" not in value:
        try:
            signature = legacy_signature(value, stage)
        except InvalidSignature as error:
            raise InvalidSignature(f"{where}: {error.message}", hint=error.hint) from None
        return _record_of(value, signature, name, legacy=True)
    return _sealed_record(value, stage, name, salt, where, FORMAT)


def decode_attempt(data: bytes, stage: Stage, name: str, salt: str, where: str) -> tuple[Record, Reason | None]:
    """Return the record of an attempt and its reason, its identity checked as that of a generation is.

    What stands among the attempts may be a generation's record as well, or a legacy one, without a reason: a directory
    that was left incomplete moves there when its slot is filled. For arguments and errors see `decode_record`.
    """
    value = decode_object(data, where)
    if str(value.get("format")).partition("/")[0] != ATTEMPT_FORMAT.partition("/")[0]:
        return decode_record(data, stage, name, salt, where), None
    record = _sealed_record(value, stage, name, salt, where, ATTEMPT_FORMAT)
    reason = value.get("reason")
    if not isinstance(reason, dict):
        raise CorruptGeneration(f"{where}: an attempt has a reason", hint=_DAMAGED)
    return record, Reason(str(reason.get("kind")), str(reason.get("message")))


def is_as_written(data: bytes) -> bool:
    """Return whether the bytes of a readable record are those that a writer of JSON makes of what it says.

    A damaged byte need not change the meaning: the last newline is gone, an escape has another letter. So the record is
    written once more: as genpool does, or in one of the layouts of Python's `json`, with sorted keys and a newline.
    """
    if orjson.dumps(orjson.loads(data), option=_WRITTEN) == data:
        return True
    value = json.loads(data)
    return any(
        data == f"{json.dumps(value, sort_keys=True, ensure_ascii=ascii_only, **layout)}\n".encode()
        for layout in _LAYOUTS
        for ascii_only in (True, False)
    )


_LAYOUTS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"separators": (",", ":")},
    *({"indent": width} for width in (1, 2, 4)),
)


def _sealed_record(value: dict[str, Json], stage: Stage, name: str, salt: str, where: str, expected: str) -> Record:
    _check_format(value, where, expected)
    _check_seal(value, where)
    try:
        signature = Signature.of(stage, {key: value[key] for key in stage.fields if key in value})
    except InvalidSignature as error:
        raise CorruptGeneration(f"{where}: {error.message}", hint=_DAMAGED) from None
    _check_identity(value, signature, name, salt, where)
    return _record_of(value, signature, name, legacy=False)


NO_REPLICATE: Final = 0
"""The replicate in the signature of a legacy record that states none: its slot is found among its family."""


def legacy_signature(value: Mapping[str, Json], stage: Stage) -> Signature:
    """Return the signature that a record without `format` and `id_scheme` states.

    Its replicate may be text ("2"); 0, other values and none at all count as none (`NO_REPLICATE`). Keys that are
    no field of the stage are information.

    Raises:
        InvalidSignature: Another field of the signature is missing or has a value that is not allowed.
    """
    fields = {key: value[key] for key in stage.fields[:-1] if key in value}
    replicate = stated_replicate(value.get(REPLICATE_FIELD))
    valid = Signature.of(stage, {**fields, REPLICATE_FIELD: replicate or 1})
    return valid if replicate else Signature(stage, (*valid.values[:-1], NO_REPLICATE))


def stated_replicate(value: Json) -> int | None:
    """Return the replicate that a legacy record states, or None: integers and integer texts from 1."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 11:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_REPLICATE:
        return None
    return value


def _check_format(value: Mapping[str, Json], where: str, expected: str) -> None:
    known = expected.partition("/")
    name, _, version = str(value.get("format", expected)).partition("/")
    scheme = value.get("id_scheme", SCHEME)
    if name == known[0] and is_version(version) and int(version) > int(known[2]):
        raise UnsupportedFormat(f"{where}: format {name}/{version} is newer than this genpool reads ({expected})")
    if name != known[0] or not is_version(version):
        raise CorruptGeneration(f"{where}: format is {value.get('format')!r}; it must be {expected}", hint=_DAMAGED)
    if scheme != SCHEME:
        raise UnsupportedFormat(f"{where}: id scheme {scheme!r} is not known to this genpool ({SCHEME})")


def _check_seal(value: Mapping[str, Json], where: str) -> None:
    rest = {key: item for key, item in value.items() if key != "self"}
    try:
        if sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)) == value.get("self"):
            return  # the bytes of canonical JSON, but for numbers that it writes otherwise (1.0): then the slow way
        digest = sha256(canonical_json(rest))
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptGeneration(f"{where}: {error}", hint=_DAMAGED) from None
    if value.get("self") != digest:
        raise CorruptGeneration(f"{where}: the record does not have the digest that it states", hint=_DAMAGED)


_id_below: Final = lru_cache(maxsize=1 << 12)(id_below)
"""The same as `gen_id`: of the records that are read one after another few have other choices than any before."""


def _check_identity(value: Mapping[str, Json], signature: Signature, name: str, salt: str, where: str) -> None:
    right = _id_below(signature.stage, signature.values[1:], salt)(signature.source)
    if value.get("stage") != signature.stage.name:
        raise CorruptGeneration(
            f"{where}: stage is {value.get('stage')!r}, found under {signature.stage.name!r}", hint=_DAMAGED
        )
    if right != name or value.get("gen_id", name) != name:
        raise CorruptGeneration(
            f"{where}: its signature gives the id {right}, but its directory is {name}",
            hint="a generation was renamed, edited or copied from a pool of another salt; put it back or move it away",
        )


_KNOWN: Final = frozenset(
    "format gen_id stage id_scheme origin_cohort_id run_id created_at mode fingerprints call parser score self "
    "reason".split()
)


_STATED: Final = tuple(sorted(_KNOWN - {"self", "reason"}))
"""The keys that our own record of a generation has, besides its signature."""


def _record_of(value: dict[str, Json], signature: Signature, name: str, legacy: bool) -> Record:
    def text(key: str) -> str | None:
        item = value.get(key)
        return item if isinstance(item, str) else None

    fields = signature.stage.fields
    fingerprints = value.get("fingerprints")
    call = value.get("call")
    return Record(
        signature=signature,
        gen_id=name,
        origin_cohort_id=text("origin_cohort_id"),
        run_id=text("run_id"),
        created_at=text("created_at"),
        mode=text("mode") or MODE_LLM,
        fingerprints=cast("dict[str, str]", fingerprints) if isinstance(fingerprints, dict) else {},
        call=call if isinstance(call, dict) else None,
        parser=text("parser"),
        score=_score_of(value.get("score")),
        id_scheme=None if legacy else SCHEME,
        stored=value if legacy else None,
        extra={key: item for key, item in value.items() if key not in _KNOWN and key not in fields},
    )


def _score_of(value: Json) -> Score | None:
    if not isinstance(value, dict):
        return None
    numbers = [value.get(key) for key in ("value", "min", "max")]
    if not all(isinstance(number, int | float) for number in numbers):
        return None
    low, least, most = (float(cast("float", number)) for number in numbers)
    return Score(low, least, most)
