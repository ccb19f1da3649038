"""The files that commands append to or write as a whole: combos, slots, accepted drift, ledgers, memberships.

They are read line by line, so that every line that is wrong is named, where their readers stop at the first. A last
line without its end was torn by a crash: the next writer would cut it off, and so may `--fix`, which keeps it.
"""

from __future__ import annotations

import csv
import io
import os
import re
import socket
from array import array
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool import locks
from genpool.adoption import ADOPTED_FORMAT
from genpool.combos import Combo, combo_id, combo_of_line
from genpool.doctor.findings import Finding, Fix, from_error
from genpool.doctor.reading import digest_of, is_folder, lines_of, opened, read_record
from genpool.drift import HEADER as DRIFT_HEADER
from genpool.errors import CorruptFile, GenpoolError, InvalidCombo, InvalidSignature, NotFound, UnsupportedFormat
from genpool.gen_ids import gen_id as right_id
from genpool.ledger import FORMAT as LEDGER_FORMAT
from genpool.ledger import Damage, entry_of
from genpool.signatures import Signature, reference_problem
from genpool.slots import alias_of, assignment_of, is_header
from genpool.stages import REPLICATE_FIELD
from genpool.yaml_reader import is_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from genpool.doctor.examined import Examined
    from genpool.layout import PoolLayout

_OURS: Final = re.compile(r"combo_[0-9a-f]{20}")
_BY_HAND: Final = "restore the line from a copy, or mend it by hand"
_MANY: Final = 20
_TOLD: Final = 1_000


class BookCheck:
    """Examines combos.jsonl, legacy.csv, drift.csv, ledger/ and cohorts/.

    Args:
        pool: The pool.
        tell: Told every now and then how many members were read.
    """

    def __init__(self, pool: Examined, tell: Callable[[int], None]) -> None:
        self._pool = pool
        self._tell = tell
        self.counts: Counter[str] = Counter()

    # -- combos ------------------------------------------------------------------------------------

    def combos(self) -> Iterator[Finding]:
        """Yield what is wrong in combos.jsonl."""
        known: dict[str, Combo] = {}
        meanings: dict[tuple[str, ...], str] = {}

        def judge(line: bytes, number: int) -> Finding | None:
            try:
                combo = combo_of_line(line, f"combos.jsonl:{number}")
            except CorruptFile as error:
                said = error.message.removeprefix(f"combos.jsonl:{number}: ")
                return Finding("malformed-line", "combos.jsonl", said, error.hint or _BY_HAND, line=number)
            self.counts["combos"] += 1
            return _wrong_combo(combo, number, known, meanings)

        yield from self._lines("combos.jsonl", judge)

    # -- slots and drift ---------------------------------------------------------------------------

    def slots(self) -> Iterator[Finding]:
        """Yield what is wrong in legacy.csv."""

        def judge(data: bytes, number: int) -> Finding | None:
            line = _text(data)
            if number == 1:
                return None if line is not None and is_header(line) else _malformed("legacy.csv", 1, "no such header")
            if line is not None and not line.strip():
                return None
            assigned = None if line is None else assignment_of(line)
            if assigned is None:
                return _malformed("legacy.csv", number, f"not an assignment of a slot: {data[:200]!r}")
            stage, gen_id, _ = assigned
            if stage in self._pool.pipeline and self._pool.has(stage, gen_id):
                return None
            if line is not None and alias_of(line) is not None:
                return None  # an id of before a migration: what it became may have been purged since
            said = f"assigns a slot to {stage} {gen_id}, which is not there"
            return Finding("unknown-id", "legacy.csv", said, None, stage, gen_id, line=number, is_note=True)

        yield from self._lines("legacy.csv", judge)

    def drift(self) -> Iterator[Finding]:
        """Yield what is wrong in drift.csv."""

        def judge(data: bytes, number: int) -> Finding | None:
            line = _text(data)
            row = [] if line is None else _cells(line)
            if number == 1:
                return None if tuple(row) == DRIFT_HEADER else _malformed("drift.csv", 1, "no such header")
            if len(row) == len(DRIFT_HEADER) or (line is not None and not line.strip()):
                return None
            return _malformed("drift.csv", number, f"not an accepted drift: {data[:200]!r}")

        yield from self._lines("drift.csv", judge)

    def _lines(self, path: str, judge: Callable[[bytes, int], Finding | None]) -> Iterator[Finding]:
        """Yield what a judge finds in the whole lines of a file, and whether its last line is torn."""
        try:
            for number, line, ended in lines_of(self._pool.layout.root / path):
                if not ended:
                    yield torn(path, number, line)
                elif line.strip() or number == 1:
                    found = judge(line, number)
                    if found is not None:
                        yield found
        except NotFound:
            return
        except GenpoolError as error:
            yield from_error(error, path)

    # -- ledgers -----------------------------------------------------------------------------------

    def ledgers(self) -> Iterator[Finding]:
        """Yield what is wrong in the ledgers, and the calls that were in flight when a run died."""
        for name in _names(self._pool.layout.ledger):
            if name.endswith(".jsonl") and not name.startswith("."):
                self.counts["ledgers"] += 1
                yield from self._ledger(f"ledger/{name}")

    def _ledger(self, path: str) -> Iterator[Finding]:
        head: dict[str, Any] = {}
        in_flight: dict[object, tuple[str, str]] = {}

        def judge(line: bytes, number: int) -> Finding | None:
            entry = entry_of(line)
            if isinstance(entry, Damage):
                return _malformed(path, number, entry.message)
            if number == 1:
                head.update(entry)
                return _wrong_format(path, entry, LEDGER_FORMAT)
            return _enter(path, number, entry, in_flight)

        yield from self._lines(path, judge)
        if in_flight and not _is_running(self._pool.layout, head):
            named = [f"{stage} {gen_id}" for stage, gen_id in in_flight.values()]
            more = f" and {len(named) - _MANY:,} more" if len(named) > _MANY else ""
            said = f"in flight when its run ended: {', '.join(named[:_MANY])}{more}"
            todo = "nothing: nobody can know whether these calls were paid for; they count as spent"
            yield Finding("in-flight", path, said, todo, is_note=True)

    # -- cohorts -----------------------------------------------------------------------------------

    def cohorts(self) -> Iterator[Finding]:
        """Yield what is wrong with the memberships of the cohorts."""
        for name in _names(self._pool.layout.cohorts):
            place = self._pool.layout.cohorts / name
            if not is_folder(place):
                continue
            self.counts["cohorts"] += 1
            path = f"cohorts/{place.name}"
            members = place / "membership.csv"
            if os.path.lexists(members):
                yield from self._membership(f"{path}/membership.csv", place.name)
            if os.path.lexists(place / "adopted.json"):
                yield from self._adopted(path, place.name)

    def _membership(self, path: str, cohort: str) -> Iterator[Finding]:
        again = f"`genpool run {cohort}` writes it anew"
        seen = array("q")
        try:
            for line, row in self._rows(path):
                if row is None:
                    said = "the header needs the columns stage and gen_id"
                    yield Finding("malformed-line", path, said, again, line=1)
                    return
                self.counts["members"] += 1
                if not self.counts["members"] % _TOLD:
                    self._tell(self.counts["members"])
                found = self._member(row, path, line, again)
                if found is not None:
                    yield found
                seen.append(hash((row.get("stage"), row.get("gen_id"))))
            yield from self._doubled(path, _more_than_once(seen), again)
        except GenpoolError as error:
            yield from_error(error, path)
        except (csv.Error, UnicodeDecodeError) as error:
            yield Finding("corrupt-file", path, f"not readable as CSV in UTF-8: {error}", again)

    def _rows(self, path: str) -> Iterator[tuple[int, dict[str | None, Any] | None]]:
        """Yield line and content of every row of a membership; None for a header that lacks a column."""
        with opened(self._pool.place(path)) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            reader = csv.DictReader(text)
            if not {"stage", "gen_id"} <= set(reader.fieldnames or ()):
                yield 1, None
                return
            for row in reader:
                yield reader.line_num, row

    def _doubled(self, path: str, suspects: frozenset[int], again: str) -> Iterator[Finding]:
        """Yield the members that stand in a membership twice, which is read once more if any is suspected."""
        seen: set[tuple[str, str]] = set()
        for line, row in self._rows(path) if suspects else ():
            one = (row["stage"], row["gen_id"]) if row else ("", "")
            if hash(one) in suspects and one[0] in self._pool.pipeline and not reference_problem(one[1]):
                if one in seen:
                    yield Finding("doubled", path, f"{one[0]} {one[1]} is a member already", again, *one, line=line)
                seen.add(one)

    def _member(self, row: Mapping[str | None, Any], path: str, line: int, again: str) -> Finding | None:
        stage, gen_id = row["stage"], row["gen_id"]
        if stage not in self._pool.pipeline or reference_problem(gen_id):
            said = f"not a member: {stage!r}, {gen_id!r}"
            return Finding("malformed-line", path, said, again, line=line)
        if None in row or None in row.values():
            said = "the line has not as many values as the header"
            return Finding("malformed-line", path, said, again, stage, gen_id, line=line)
        if self._pool.has(stage, gen_id) or self._is_its_task(stage, gen_id, row):
            return None
        said = f"{stage} {gen_id} is not there, and it is not the id of what the line says: no run makes it"
        return Finding("unknown-id", path, said, again, stage, gen_id, line=line, is_note=True)

    def _is_its_task(self, stage: str, gen_id: str, row: Mapping[str | None, Any]) -> bool:
        """Return whether a member is what a run makes of the line: its id is that of the line's signature."""
        fields: dict[str, object] = {name: row[name] for name in self._pool.pipeline[stage].fields if row.get(name)}
        replicate = str(fields.get(REPLICATE_FIELD))
        with suppress(InvalidSignature, ValueError):
            signature = Signature.of(self._pool.pipeline[stage], {**fields, REPLICATE_FIELD: int(replicate)})
            return right_id(signature, self._pool.salt) == gen_id
        return False

    def _adopted(self, path: str, cohort: str) -> Iterator[Finding]:
        """Yield what is wrong with adopted.json, or with the membership that it vouches for."""
        again = f"`genpool run {cohort}` writes it anew"
        here = f"{path}/adopted.json"
        try:
            value = orjson.loads(read_record(self._pool.layout.root / here))
        except orjson.JSONDecodeError as error:
            todo = f"{again}; with `--refresh` where the spec has a query under `from:`"
            yield Finding("corrupt-file", here, f"not readable as JSON: {error}", todo)
            return
        except GenpoolError as error:
            yield from_error(error, here)
            return
        wrong = _wrong_format(here, value, ADOPTED_FORMAT)
        if wrong is not None:
            yield wrong
            return
        members = self._pool.layout.root / path / "membership.csv"
        if not os.path.lexists(members):
            said = "the cohort was run, but its membership is gone: nobody knows what it needs, and no purge is made"
            yield Finding("stale-membership", f"{path}/membership.csv", said, again)
            return
        with suppress(GenpoolError):  # told where the membership was read
            if digest_of(members)[0] != value.get("membership"):
                said = "it is not the one that adopted.json vouches for: edited, damaged, or half written at a crash"
                yield Finding("stale-membership", f"{path}/membership.csv", said, again)


def _more_than_once(hashes: array[int]) -> frozenset[int]:
    """Return what stands in a list of hashes more than once; a million of them are 8 MB, the names themselves 200."""
    ordered = sorted(hashes)
    return frozenset(one for one, other in pairwise(ordered) if one == other)


def torn(path: str, number: int, line: bytes) -> Finding:
    """Return the finding that a last line without its end is."""
    if path.endswith(".jsonl") and _is_object(line):
        said, fix = "the last line has no end, but is whole", Fix.END_LINE
    else:
        said, fix = "the last line is torn: a crash came while it was written", Fix.CUT_LINE
    todo = "`genpool doctor --fix` mends it" + ("" if fix is Fix.END_LINE else f", and keeps it in {path}.torn")
    return Finding("torn-line", path, said, todo, line=number, fix=fix)


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, in order; none where it cannot be listed, which the walk over the pool tells."""
    with suppress(OSError):
        if is_folder(folder):
            return sorted(os.listdir(folder))  # noqa: PTH208 - names will do
    return []


def _is_object(line: bytes) -> bool:
    with suppress(orjson.JSONDecodeError):
        return isinstance(orjson.loads(line), dict)
    return False


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _malformed(path: str, number: int, said: str) -> Finding:
    return Finding("malformed-line", path, said, _BY_HAND, line=number)


def _wrong_format(path: str, value: object, expected: str) -> Finding | None:
    """Return what is wrong with the format that a file states."""
    stated = str(value.get("format")) if isinstance(value, dict) else None
    if stated == expected:
        return None
    name, _, version = (stated or "").partition("/")
    known, _, newest = expected.partition("/")
    if name == known and is_version(version) and int(version) > int(newest):
        said = f"format {stated} is newer than this genpool reads ({expected})"
        return Finding(UnsupportedFormat.kind, path, said, "use a newer genpool for this pool")
    said = f"format is {stated!r}; it must be {expected}"
    return Finding(CorruptFile.kind, path, said, "restore it from a copy")


def _wrong_combo(
    combo: Combo, number: int, known: dict[str, Combo], meanings: dict[tuple[str, ...], str]
) -> Finding | None:
    """Return what is wrong with a combo, after what was recorded before it."""
    name = combo.combo_id
    before = known.setdefault(name, combo)
    if before is not combo:
        same = before.meaning == combo.meaning
        said = f"{name} is recorded already" + ("" if same else ", under another meaning")
        todo = None if same else "an id never changes its meaning: remove the line that is wrong by hand"
        return Finding("doubled", "combos.jsonl", said, todo, line=number, is_note=same)
    if combo.rows is not None:
        return None
    other = meanings.setdefault(combo.meaning, name)
    if other != name:
        said = f"{name} and {other} stand for the same concepts"
        todo = "name the one that you mean in specs: list combo ids on the combo axis"
        return Finding("doubled", "combos.jsonl", said, todo, line=number)
    try:
        right = combo_id(combo.concepts, str(combo.level))
    except InvalidCombo as error:
        return _malformed("combos.jsonl", number, error.message)
    if _OURS.fullmatch(name) and name != right:
        said = f"its concepts and level give the id {right}, but it says {name}: the line was damaged or edited"
        return Finding("corrupt-file", "combos.jsonl", said, _BY_HAND, line=number)
    return None


def _enter(path: str, number: int, entry: object, in_flight: dict[object, tuple[str, str]]) -> Finding | None:
    """Enter one line of a ledger into what is in flight; return what is wrong with it."""
    if not isinstance(entry, dict):
        return _malformed(path, number, "neither an intent nor a settlement")
    if isinstance(entry.get("intent"), int):
        in_flight[entry["intent"]] = str(entry.get("stage")), str(entry.get("gen_id"))
    elif isinstance(entry.get("settled"), int) and in_flight.pop(entry["settled"], None) is None:
        said = f"it settles the call {entry['settled']}, which is not open"
        return Finding("unknown-id", path, said, None, line=number, is_note=True)
    return None


def _is_running(layout: PoolLayout, head: Mapping[str, Any]) -> bool:
    """Return whether the process that a ledger is of is at work in the pool."""
    pid = head.get("pid")
    if head.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    with suppress(OSError):
        return any(locks.is_held(note) for note in layout.locks.glob(f"holder-{pid}-*.json"))
    return False
