"""A cohort's membership.csv, read: its members as columns, or one by one.

The membership is all that downstream reads: scopes, reports and exports never need the spec, the templates or the
network. Only the columns `stage` and `gen_id` are needed; others that a stage has as fields are read, any more are
ignored. A line that is there twice is one member.
"""

from __future__ import annotations

import csv
import io
import re
import string
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from genpool.aliases import read_aliases
from genpool.coded import Coded, Coder
from genpool.durable import reading, refuse_link
from genpool.errors import CorruptFile, NotFound, nearest
from genpool.signatures import FILE_NAME, reference_problem, replicate_problem
from genpool.stages import PARENT_FIELD, REPLICATE_FIELD

if TYPE_CHECKING:
    from _csv import Reader
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from genpool.aliases import Aliases
    from genpool.layout import PoolLayout
    from genpool.signatures import FieldValue
    from genpool.stages import Pipeline, Stage

_ANEW: Final = "`genpool run` writes it anew"
_AT_ONCE: Final = 20_000
"""So many lines are turned into columns at once."""
_CHARACTERS_AT_ONCE: Final = 1 << 20
_IN_NAMES: Final = (string.ascii_letters + string.digits + "._-").encode()
_FIRST_IN_NAMES: Final = frozenset(string.ascii_letters + string.digits)
_LONGEST_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class Member:
    """One line of a membership."""

    stage: str
    gen_id: str
    fields: Mapping[str, str] = field(default_factory=dict)
    """The signature's fields, as far as the membership has them."""


class StageMembers:
    """The members of one stage, in plan order.

    Args:
        stage: The stage.
        gen_ids: Their ids.
        read_fields: Reads what the membership says of every field of the stage.
    """

    def __init__(
        self, stage: Stage, gen_ids: Sequence[str], read_fields: Callable[[], Mapping[str, Coded[str]]]
    ) -> None:
        self.stage = stage
        self.gen_ids = gen_ids
        self._read_fields = read_fields

    @cached_property
    def fields(self) -> Mapping[str, Coded[str]]:
        """What the membership says of every field of the stage; empty where it says nothing."""
        return self._read_fields()

    def value(self, row: int, name: str) -> FieldValue | None:
        """Return what the membership says of a member's field: a replicate that can be one is a number."""
        return typed_value(name, self.fields[name][row])


def typed_value(name: str, text: str) -> FieldValue | None:
    """Return the value of a field as a membership has it; None where it says nothing."""
    if name == REPLICATE_FIELD and text.isascii() and text.isdecimal() and len(text) < 11:
        return text if replicate_problem(int(text)) else int(text)
    return text or None


@dataclass(frozen=True, slots=True)
class Members:
    """The members of a cohort."""

    stages: Mapping[str, StageMembers]
    """Stage name to its members, in the order in which the stages come first."""
    runs: tuple[tuple[str, int], ...]
    """The plan order: a stage, and how many of its members come next."""


def read_members(layout: PoolLayout, pipeline: Pipeline, cohort_id: str) -> Members:
    """Read a cohort's membership as columns.

    Raises:
        NotFound: The cohort has none: it was never run.
        CorruptFile: A line is not a member.
        StorageFailed: It, or the cohort's folder, is a link, or it cannot be read.
    """
    data, where = membership_data(layout, cohort_id), str(layout.membership(cohort_id))
    return members_of(data, pipeline, where, read_aliases(layout))


def membership_data(layout: PoolLayout, cohort_id: str) -> bytes:
    """Return the bytes of a cohort's membership; for errors see `read_members`."""
    path = layout.membership(cohort_id)
    refuse_link(path)
    try:
        with reading(path):
            return path.read_bytes()
    except FileNotFoundError:
        known = cohort_ids(layout)
        there = [one for one in known if layout.membership(one).is_file()]
        planned = cohort_id in known
        message = f"cohort {cohort_id!r} was never run" if planned else f"there is no cohort {cohort_id!r}"
        hint = f"`genpool run {cohort_id}` adopts its plan" if planned else nearest(cohort_id, there or known)
        raise NotFound(f"{message} ({path} does not exist)", hint=hint) from None


def members_of(data: bytes, pipeline: Pipeline, where: str, aliases: Aliases | None = None) -> Members:
    """Return the members that the bytes of a membership list.

    Args:
        data: The bytes.
        pipeline: The pool's stages.
        where: The path, for messages.
        aliases: What ids became, if the pool was migrated: a membership may be older than that.

    Raises:
        CorruptFile: A line is not a member.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{where}: not UTF-8 ({error.reason} at byte {error.start})", hint=_ANEW) from None
    try:
        members = _members_of(text, pipeline)
        return _by_present_ids(members, aliases) if aliases else members
    except (csv.Error, _NotAMember):
        raise _refusal(csv.reader(io.StringIO(text, newline="")), pipeline, where) from None


def _by_present_ids(members: Members, aliases: Aliases) -> Members:
    """Return members by the ids that they have now; their fields are still read only if they are asked for."""
    stages = {
        name: StageMembers(
            one.stage,
            [aliases.resolve(name, gen_id) for gen_id in one.gen_ids],
            lambda one=one: _with_present_parents(one, aliases),  # type: ignore[misc]
        )
        for name, one in members.stages.items()
    }
    return Members(stages, members.runs)


def _with_present_parents(one: StageMembers, aliases: Aliases) -> Mapping[str, Coded[str]]:
    parents, stage = one.fields.get(PARENT_FIELD), one.stage.parent
    if parents is None or stage is None:
        return one.fields
    now = [aliases.resolve(stage, value) for value in parents.values]
    return {**one.fields, PARENT_FIELD: Coded.recoded(now, parents.codes)}


class _NotAMember(Exception):
    """Some line is no member; which one, a second reading says."""


def _members_of(text: str, pipeline: Pipeline) -> Members:
    """Return the members; where an id comes twice, once more with an eye on lines that say the same."""
    read = _read_ids(text, pipeline) or _read(text, pipeline)
    if any(len(set(stage.gen_ids)) < len(stage.gen_ids) for stage in read.stages.values()):
        return _read(text, pipeline, _Once())
    return read


def _read_ids(text: str, pipeline: Pipeline) -> Members | None:
    """Return the members of a text as genpool writes it, with ids alone; their fields are read if they are asked for.

    Returns:
        None where the text is of another form, or a line is not a member.
    """
    start = text.find("\n") + 1
    if not text.startswith(("stage,gen_id,", "stage,gen_id\n")) or '"' in text or "\r" in text:
        return None
    gen_ids: dict[str, list[str]] = {}
    runs: list[tuple[str, int]] = []
    while start < len(text):
        end = text.find("\n", start + _CHARACTERS_AT_ONCE) + 1 or len(text)
        cells = [line.split(",", 2) for line in text[start:end].split("\n") if line]
        start = end
        if not all(len(line) > 1 for line in cells):
            return None
        row = 0
        for stage, lines in groupby(line[0] for line in cells):
            count = sum(1 for _ in lines)
            gen_ids.setdefault(stage, []).extend([line[1] for line in cells[row : row + count]])
            runs.append((stage, count))
            row += count
    if not all(name in pipeline and are_file_names(ids) for name, ids in gen_ids.items()):
        return None
    whole = cache(lambda: _read(text, pipeline))
    stages = {
        name: StageMembers(pipeline[name], ids, lambda name=name: whole().stages[name].fields)  # type: ignore[misc]
        for name, ids in gen_ids.items()
    }
    return Members(stages, _joined(runs))


def _joined(runs: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Return runs of stages with those of one stage that come one after another made one."""
    return tuple((stage, sum(count for _, count in same)) for stage, same in groupby(runs, key=itemgetter(0)))


def are_file_names(names: Sequence[str]) -> bool:
    """Return whether all of many names are of the grammar of `FILE_NAME`; they are looked at as a whole."""
    everything = "".join(names)
    return (
        everything.isascii()
        and not everything.encode().translate(None, _IN_NAMES)
        and {name[:1] for name in names} <= _FIRST_IN_NAMES
        and max(map(len, names), default=0) <= _LONGEST_NAME
    )


def _read(text: str, pipeline: Pipeline, once: _Once | None = None) -> Members:
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    if not {"stage", "gen_id"} <= set(header):
        raise _NotAMember
    table = _Table(header, pipeline)
    while lines := list(islice(reader, _AT_ONCE)):
        table.add([line for line in lines if line and (once is None or once.is_new(line))])
    return table.members()


class _Once:
    """Knows the lines that were there before: a doubled one is no second member."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, ...]] = set()

    def is_new(self, line: list[str]) -> bool:
        """Return whether a line says something that none before it said."""
        before = len(self._seen)
        self._seen.add(tuple(line))
        return len(self._seen) > before


def _refusal(reader: Reader, pipeline: Pipeline, where: str) -> CorruptFile:
    """Return the error for the first line that is no member."""
    try:
        header = next(reader, [])
        place = {name: at for at, name in enumerate(header)}
        if not {"stage", "gen_id"} <= place.keys():
            return CorruptFile(f"{where}:1: the header needs the columns stage and gen_id", hint=_ANEW)
        for line in reader:
            if not line:
                continue
            stage, gen_id = (line[place[name]] if place[name] < len(line) else None for name in ("stage", "gen_id"))
            wrong = reference_problem(gen_id)
            if wrong or stage not in pipeline:
                said = f"gen_id {gen_id!r} {wrong}" if wrong else f"no stage is named {stage!r}"
                return CorruptFile(f"{where}:{reader.line_num}: {said}", hint=_ANEW)
    except csv.Error as error:
        return CorruptFile(f"{where}:{reader.line_num + 1}: not readable as CSV: {error}", hint=_ANEW)
    raise AssertionError("a second reading of the same bytes finds what the first did")


class _Table:
    """What was read of a membership until now, stage by stage."""

    def __init__(self, header: Sequence[str], pipeline: Pipeline) -> None:
        self._width = len(header)
        self._place = {name: place for place, name in enumerate(header)}
        self._pipeline = pipeline
        self._gen_ids: dict[str, list[str]] = {}
        self._fields: dict[str, dict[str, Coder[str]]] = {}
        self._runs: list[tuple[str, int]] = []

    def add(self, lines: list[list[str]]) -> None:
        """Add some lines.

        Raises:
            _NotAMember: One is none.
        """
        if any(len(line) != self._width for line in lines):
            lines = [[*line, *[""] * (self._width - len(line))][: self._width] for line in lines]
        start = 0
        stages = [line[self._place["stage"]] for line in lines]
        while start < len(lines):
            name = stages[start]
            end = start + 1
            while end < len(lines) and stages[end] == name:
                end += 1
            self._add_run(name, lines[start:end])
            start = end

    def _add_run(self, name: str, lines: list[list[str]]) -> None:
        """Add lines of one stage that come one after another."""
        columns: list[tuple[str, ...]] = list(zip(*lines, strict=True))
        gen_ids = columns[self._place["gen_id"]]
        if name not in self._pipeline or not all(map(FILE_NAME.fullmatch, gen_ids)):
            raise _NotAMember
        self._gen_ids.setdefault(name, []).extend(gen_ids)
        for field_name, coder in self._coders(name).items():
            coder.extend(columns[self._place[field_name]])
        self._runs.append((name, len(lines)))

    def _coders(self, name: str) -> dict[str, Coder[str]]:
        if name not in self._fields:
            stated = [field_name for field_name in self._pipeline[name].fields if field_name in self._place]
            self._fields[name] = {field_name: Coder() for field_name in stated}
        return self._fields[name]

    def members(self) -> Members:
        """Return what was read."""
        stages = {}
        for name, gen_ids in self._gen_ids.items():
            rows, coders = len(gen_ids), self._coders(name)
            fields = {
                one: coders[one].column() if one in coders else Coded.constant("", rows)
                for one in self._pipeline[name].fields
            }
            stages[name] = StageMembers(self._pipeline[name], gen_ids, lambda fields=fields: fields)  # type: ignore[misc]
        return Members(stages, _joined(self._runs))


def read_membership(layout: PoolLayout, pipeline: Pipeline, cohort_id: str) -> list[Member]:
    """Read a cohort's membership, a value a line; for errors see `read_members`."""
    return list(each_member(read_members(layout, pipeline, cohort_id)))


def find_members(layout: PoolLayout, pipeline: Pipeline, cohort_id: str, beginning: str) -> list[Member]:
    """Return the members whose id begins so, in plan order: those of `read_membership`, and its errors.

    Of a membership as genpool writes it only their lines are taken apart, however many others there are.
    """
    data, aliases = membership_data(layout, cohort_id), read_aliases(layout)
    where = str(layout.membership(cohort_id))
    lines = _lines_of(data, pipeline, beginning, aliases)
    members = each_member(members_of(data if lines is None else lines, pipeline, where, aliases))
    return [one for one in members if one.gen_id.startswith(beginning)]


def _lines_of(data: bytes, pipeline: Pipeline, beginning: str, aliases: Aliases) -> bytes | None:
    """Return the header of a membership with the lines of members whose id begins so, or did; more may be among them.

    Returns:
        None where the text is of another form than genpool writes, or a line is not a member.
    """
    start = data.find(b"\n") + 1
    if not start or not data.startswith((b"stage,gen_id,", b"stage,gen_id\n")) or b'"' in data or b"\r" in data:
        return None
    stages = "|".join(map(re.escape, pipeline.names)).encode()
    if not re.compile(_EVERY_LINE % stages).fullmatch(data, start) or not _is_text(data):
        return None
    old = aliases.before(beginning)
    if len(old) > _MOST_SOUGHT:
        return None
    found: set[int] = set()
    for stage, gen_id in [*((name, beginning) for name in pipeline.names), *old]:
        sought = f"\n{stage},{gen_id}".encode(errors="replace")
        at = data.find(sought, start - 1)
        while at >= 0:
            found.add(at + 1)
            at = data.find(sought, at + 1)
    lines = [data[at : data.find(b"\n", at) + 1 or None] for at in sorted(found)]
    return data[:start] + b"".join(lines)


_EVERY_LINE: Final = rb"\n*+(?:(?:%s),[A-Za-z0-9][A-Za-z0-9._-]{0,127}+(?:,[^\n]*+)?(?:\n++|\Z))*+"
_MOST_SOUGHT: Final = 20
"""For more old ids than these a membership is not gone through again and again."""


def _is_text(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def each_member(members: Members) -> Iterator[Member]:
    """Yield members one by one, in plan order."""
    rows = dict.fromkeys(members.stages, 0)
    for name, count in members.runs:
        stage = members.stages[name]
        for row in range(rows[name], rows[name] + count):
            said = {one: column[row] for one, column in stage.fields.items()}
            yield Member(name, stage.gen_ids[row], {one: value for one, value in said.items() if value})
        rows[name] += count


def cohort_ids(layout: PoolLayout) -> Sequence[str]:
    """Return the names of the cohorts that have a spec or a membership, sorted."""
    return [name for name in _folders(layout) if FILE_NAME.fullmatch(name)]


def misnamed_cohorts(layout: PoolLayout) -> Sequence[str]:
    """Return the names of folders that have a spec or a membership and that no cohort can have, sorted."""
    return [name for name in _folders(layout) if not FILE_NAME.fullmatch(name)]


def _folders(layout: PoolLayout) -> Sequence[str]:
    if not layout.cohorts.is_dir():
        return []
    files = ("cohort.yaml", "membership.csv")
    return sorted(path.name for path in layout.cohorts.iterdir() if any((path / name).is_file() for name in files))
