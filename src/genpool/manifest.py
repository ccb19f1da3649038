"""manifest.json: how a cohort's members stand, kept as columns so that a scope need not ask the catalog.

A cache and never the truth. The file is one JSON document in three lines: what it is, with the SHA-256 of all that
follows; what it is of; the columns. So it is known to be stale before the columns are parsed, and no byte of it can be
changed unnoticed.

Promises: the same contents give the same bytes; what `decode` returns has columns of equal length with codes that have
a value; whatever else is found there is refused with what is wrong.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.canonical import canonical_json, sha256
from genpool.change_tokens import StageToken
from genpool.coded import Coded, Texts
from genpool.errors import CorruptFile, UnsupportedFormat
from genpool.gen_ids import SCHEME
from genpool.long_arrays import parsed
from genpool.standing import STATES, StageColumns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from genpool.signatures import Signature
    from genpool.stages import Pipeline, Stage

FORMAT: Final = "genpool.manifest/1"

_FIRST_LINE: Final = re.compile(rb'\{"format":"genpool\.manifest/1","checksum":"([0-9a-f]{64})",\n')
_LONGEST_FIRST_LINE: Final = 200
_NAMED: Final = re.compile(rb'\{\s*"format"\s*:\s*"([^"\\]{1,64})"')
_KIND: Final = FORMAT.partition("/")[0]
_IN_A_BYTE: Final = 256
_JUDGED: Final = ("scores", "least", "most")


@dataclass(frozen=True, slots=True)
class Head:
    """What a manifest is of: enough to know whether it is stale."""

    cohort_id: str
    pipeline: str
    """The digest of salt and stages (`pipeline_digest`)."""
    membership: str
    """The SHA-256 of membership.csv."""
    tokens: Mapping[str, StageToken]
    """The change token of every stage that has a member, by the stage's name."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """How a cohort's members stood when their stages had some change tokens."""

    head: Head
    runs: tuple[tuple[str, int], ...]
    """The plan order: a stage, and how many of its members come next."""
    stages: Mapping[str, StageColumns]


class ManifestStanding:
    """How members stand by a manifest; see `standing.Standing`."""

    def __init__(self, manifest: Manifest) -> None:
        self._columns = manifest.stages
        self.runs: Sequence[tuple[str, int]] = manifest.runs
        self.stages: Sequence[str] = tuple(manifest.stages)

    def gen_ids(self, stage: str) -> Sequence[str]:
        """Return the ids of a stage's members, in plan order."""
        return self._columns[stage].gen_ids

    def states(self, stage: str) -> Coded[str]:
        """Return how a stage's members stand."""
        return self._columns[stage].states

    def columns(self, stage: str) -> StageColumns:
        """Return all that is known of a stage's members."""
        return self._columns[stage]

    def missing(self, stage: str, row: int) -> Signature:
        """See `standing.Standing.missing`."""
        return self._columns[stage].signature(row)


def pipeline_digest(pipeline: Pipeline, salt: str) -> str:
    """Return the digest of what a manifest depends on besides membership and generations: the salt and the stages."""
    stages = [[one.name, one.prefix, one.parent, list(one.axes), one.judges] for one in pipeline]
    return sha256(canonical_json([salt, stages]))


def json_schema() -> str:
    """Return the JSON Schema of a manifest, as the package publishes it."""
    from importlib import resources

    return resources.files("genpool").joinpath("schemas", "manifest-1.json").read_text(encoding="utf-8")


# --- writing --------------------------------------------------------------------------------------


def encode(manifest: Manifest) -> bytes:
    """Return the bytes of manifest.json."""
    head = manifest.head
    of = {
        "cohort_id": head.cohort_id,
        "id_scheme": SCHEME,
        "pipeline": head.pipeline,
        "membership": head.membership,
        "tokens": {name: asdict(token) for name, token in head.tokens.items()},
    }
    columns = {"order": manifest.runs, "stages": {name: _encoded(one) for name, one in manifest.stages.items()}}
    rest = b"%s,\n%s\n" % (orjson.dumps(of)[1:-1], orjson.dumps(columns)[1:])
    return b'{"format":"%s","checksum":"%s",\n%s' % (FORMAT.encode(), sha256(rest).encode(), rest)


def _encoded(columns: StageColumns) -> dict[str, object]:
    return {
        "gen_ids": list(columns.gen_ids),
        "fields": {name: _encoded_column(column) for name, column in columns.fields.items()},
        "states": _encoded_column(columns.states),
        "origins": _encoded_column(columns.origins),
        **({name: _encoded_column(getattr(columns, name)) for name in _JUDGED} if columns.stage.judges else {}),
    }


def _encoded_column(column: Coded[Any]) -> dict[str, object]:
    if len(column.values) <= 1:
        return {"values": list(column.values)}
    return {"values": list(column.values), "codes": list(column.codes)}


# --- reading --------------------------------------------------------------------------------------


def split(data: bytes, where: str) -> tuple[str, memoryview, memoryview]:
    """Return the checksum that a manifest states, all that it is over, and the line that says what it is of.

    Raises:
        UnsupportedFormat: A newer genpool wrote it.
        CorruptFile: It does not begin as a manifest does.
    """
    first = _FIRST_LINE.match(data, 0, _LONGEST_FIRST_LINE)
    if first is None:
        named = _NAMED.match(data, 0, _LONGEST_FIRST_LINE)
        said = named[1].decode(errors="replace") if named else ""
        if said.partition("/")[0] == _KIND and said != FORMAT:
            raise UnsupportedFormat(f"{where}: its format is {said}, this genpool knows {FORMAT}")
        raise CorruptFile(f"{where}: it does not begin as a manifest does: damaged, or written by something else")
    end = data.find(b"\n", first.end())
    if end < 0:
        raise CorruptFile(f"{where}: it is cut off")
    view = memoryview(data)
    return first[1].decode(), view[first.end() :], view[first.end() : end]


def decode_head(line: bytes | memoryview, where: str) -> Head:
    """Return what a manifest is of.

    Raises:
        CorruptFile: The line does not say it.
    """
    try:
        value = orjson.loads(b"{%s}" % bytes(line).removesuffix(b","))
        if value["id_scheme"] != SCHEME:
            raise CorruptFile(f"{where}: its ids are of the scheme {value['id_scheme']!r}, those here of {SCHEME}")
        tokens = {str(name): _token(one) for name, one in value["tokens"].items()}
        cohort_id, pipeline, membership = (_text(value[name]) for name in ("cohort_id", "pipeline", "membership"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CorruptFile(f"{where}: the line of what it is of cannot be read: {error!r}") from None
    return Head(cohort_id, pipeline, membership, tokens)


def _token(value: Mapping[str, object]) -> StageToken:
    token = StageToken(**value)  # type: ignore[arg-type]  # the types are looked at next
    numbers = (token.changed, token.looked, token.unsettled)
    if not all(type(number) is int for number in numbers):
        raise TypeError("a token has other than numbers")
    _ = _text(token.content), _text(token.slots)
    return token


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def decode(data: bytes, head: Head, pipeline: Pipeline, where: str) -> Manifest:
    """Return the manifest of some bytes, whose head was read and whose checksum is right.

    Raises:
        CorruptFile: The columns are not what columns are.
    """
    try:
        value = parsed(data)
        stages = _stages(value["stages"], head, pipeline)
        runs = _runs(value["order"], stages)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, LookupError) as error:
        raise CorruptFile(f"{where}: its columns cannot be read: {error}") from None
    return Manifest(head, runs, stages)


def _stages(value: Mapping[str, Any], head: Head, pipeline: Pipeline) -> dict[str, StageColumns]:
    if set(value) != set(head.tokens) or not set(value) <= {stage.name for stage in pipeline}:
        raise ValueError("they are of other stages than the change tokens")
    return {name: _stage_columns(pipeline[name], one) for name, one in value.items()}


def _runs(value: Sequence[Sequence[Any]], stages: Mapping[str, StageColumns]) -> tuple[tuple[str, int], ...]:
    listed = dict.fromkeys(stages, 0)
    for name, count in value:
        if type(count) is not int or count < 0:
            raise ValueError("the order has something else than numbers of members")
        listed[name] += count
    if listed != {name: len(one.gen_ids) for name, one in stages.items()}:
        raise ValueError("the order has other members than the columns")
    return tuple((name, count) for name, count in value)


def _stage_columns(stage: Stage, value: Mapping[str, Any]) -> StageColumns:
    gen_ids: list[str] | Texts = value["gen_ids"]
    if not _are_of(gen_ids, {str}):
        raise TypeError("gen_ids is no list of texts")
    rows = len(gen_ids)
    fields = {name: _column(value["fields"][name], rows, str, int, type(None)) for name in stage.fields}
    states: Coded[str] = _column(value["states"], rows, str)
    if not set(states.values) <= STATES:
        raise ValueError(f"a state is none of {', '.join(sorted(STATES))}")
    unscored = {"values": [None] if rows else []}
    scored = value if stage.judges else dict.fromkeys(_JUDGED, unscored)
    scores, least, most = (_column(scored[name], rows, float, type(None)) for name in _JUDGED)
    origins = _column(value["origins"], rows, str, type(None))
    return StageColumns(stage, gen_ids, fields, states, origins, scores, least, most)


def _column(value: Mapping[str, Any], rows: int, *types: type) -> Coded[Any]:
    """Return a column; its codes are looked at as a whole, since there may be millions."""
    values: Sequence[Any] = value["values"]
    if not _are_of(values, set(types)):
        raise TypeError(f"a column has values of other types than {', '.join(one.__name__ for one in types)}")
    if len(values) <= 1:
        if bool(values) != bool(rows) or "codes" in value:
            raise ValueError("a column has not as many values as rows need")
        return Coded(tuple(values), bytes(rows))
    listed = value["codes"]
    if not isinstance(listed, list | bytes) or len(listed) != rows:
        raise ValueError("a column has not a code for each row")
    codes: bytes | array[int] = bytes(listed) if len(values) <= _IN_A_BYTE else array("I", list(listed))
    if isinstance(codes, bytes):
        unknown = bool(codes.translate(None, bytes(range(len(values)))))
    else:
        unknown = max(listed) >= len(values)
    if unknown:
        raise ValueError("a column has a code without a value")
    return Coded(values if isinstance(values, Texts) else tuple(values), codes)


def _are_of(values: Sequence[Any], types: set[type]) -> bool:
    """Return whether values are a list of some types."""
    if isinstance(values, Texts):
        return str in types
    return isinstance(values, list) and set(map(type, values)) <= types
