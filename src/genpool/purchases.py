"""The calls of one run, each with what became of it: read from its ledger, a line at a time.

A call that was never settled is set against what is kept. Calls for one task follow one another within a run, so
where more output of the run is kept for the task than calls were settled, the last of it is that call's.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from genpool.durable import closing_descriptor
from genpool.errors import CorruptFile, GenpoolError, UnsupportedFormat
from genpool.layout import METADATA
from genpool.ledger import ENDING, FORMAT, Damage, ledger_lines
from genpool.locks import holders
from genpool.records import PROMOTED as PROMOTED_KEY
from genpool.records import Price, decode_object
from genpool.store import BOUGHT_TWICE
from genpool.yaml_reader import is_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from genpool.canonical import Json
    from genpool.layout import PoolLayout

COMMITTED: Final = "committed"
PROMOTED: Final = "promoted"
ATTEMPT: Final = "attempt"
FAILED: Final = "failed"
UNKNOWN: Final = "unknown"
IN_FLIGHT: Final = "in_flight"
GOING_ON: Final = "going_on"

DOUBTFUL: Final = frozenset({UNKNOWN, IN_FLIGHT, GOING_ON})
"""Outcomes with which a call counts as spent at its worst price."""

_SETTLED: Final = frozenset({COMMITTED, ATTEMPT, FAILED, UNKNOWN})
_UNPARSEABLE: Final = "unparseable"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is wrong with a ledger, and where."""

    file: str
    line: int | None
    message: str
    harmless: bool = False
    """Whether the account is whole all the same."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


Tell = Callable[[Notice], None]
"""Told what cannot be read."""

Promotions = dict[tuple[str, str], set[str]]
"""Run and gen id to the attempts that the run bought for it and that became a generation, by when they were bought."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """One call, and what became of it."""

    run_id: str
    cohort_id: str | None
    stage: str
    gen_id: str
    model: str | None
    """The pool's name of the model; None where a damaged ledger does not say."""
    at: str | None
    """When its intent was written: RFC 3339, UTC."""
    worst_price: float | None
    outcome: str = IN_FLIGHT
    """`committed`, `promoted`, `attempt`, `failed`, `unknown`, `in_flight` (at a kill) or `going_on`."""
    reason: str | None = None
    cost: float | None = None
    """What it cost; None where that is not known, or its model has no price."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    settled: bool = False
    """Whether the ledger says what became of it; else what is kept does."""
    host: str | None = None
    """The machine that the run was on."""

    @property
    def is_valid(self) -> bool:
        """Whether the answer is one: it became a generation, or would have, had another not been first."""
        return self.outcome in {COMMITTED, PROMOTED} or (self.outcome == ATTEMPT and self.reason == BOUGHT_TWICE.kind)

    @property
    def is_doubtful(self) -> bool:
        """Whether nobody knows what became of it."""
        return self.outcome in DOUBTFUL

    def before(self, time: datetime) -> bool:
        """Return whether the call was sent before a time; where the ledger does not say when, it was not."""
        try:
            at = datetime.fromisoformat(self.at or "")
        except ValueError:
            return False
        return at.replace(tzinfo=at.tzinfo or UTC) < time


# --- promotions -----------------------------------------------------------------------------------


def read_promotions(path: Path, found: Promotions, tell: Tell) -> None:
    """Add the promotions of a ledger to those found so far; one that was written twice counts once.

    Raises:
        StorageFailed: The file cannot be read.
    """
    lines = _Lines(path, tell)
    for entry in lines:
        run_id, gen_id = _text(entry, "run_id"), _text(entry, PROMOTED_KEY)
        if run_id is None or gen_id is None:
            lines.tell("not a promotion")
        else:
            found.setdefault((run_id, gen_id), set()).add(str(entry.get("bought_at")))


# --- calls ----------------------------------------------------------------------------------------


def read_purchases(layout: PoolLayout, path: Path, promotions: Promotions, tell: Tell) -> Iterator[Purchase]:
    """Yield the calls of one run: settled ones in the order of their settlement, then the others.

    Args:
        layout: The pool's paths.
        path: The run's ledger.
        promotions: What was promoted, of any run.
        tell: Told what cannot be read; the rest is gone on with.

    Raises:
        StorageFailed: The file cannot be read.
    """
    lines = _Lines(path, tell)
    calls = _Calls(lines)
    promoted: Counter[str] = Counter()
    for entry in lines:
        one = calls.settled_by(entry)
        if one is None:
            continue
        if one.reason == _UNPARSEABLE and promoted[one.gen_id] < len(promotions.get((one.run_id, one.gen_id), ())):
            promoted[one.gen_id] += 1
            one = replace(one, outcome=PROMOTED, reason=None)
        yield one
    if calls.open:
        yield from _not_settled(layout, lines, list(calls.open.values()))


@dataclass(frozen=True, slots=True)
class _Head:
    """What the first line of a ledger says of its run."""

    run_id: str
    cohort_id: str | None = None
    pid: int | None = None
    host: str | None = None
    at: str | None = None


class _Lines:
    """The entries of a ledger behind its head; what cannot be read is told by file and line."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self.path = path
        self.head = _Head(path.name.removesuffix(ENDING))
        self.damaged = 0
        self._tell = tell
        self._number = 0

    def __iter__(self) -> Iterator[dict[str, Json]]:
        for number, entry in ledger_lines(self.path):
            self._number = number
            if isinstance(entry, Damage):
                self.tell(entry.message, torn=entry.torn)
            elif "format" in entry:
                self._read_head(entry)
            else:
                if number == 1:
                    self.tell("the head is not there: nobody knows which cohort this was for")
                yield entry

    def tell(self, message: str, *, torn: bool = False) -> None:
        """Tell what is wrong with the line that was read last."""
        self.damaged += 1
        self._tell(Notice(f"ledger/{self.path.name}", self._number, message, harmless=torn))

    def _read_head(self, entry: Mapping[str, Json]) -> None:
        known = FORMAT.partition("/")
        name, _, version = str(entry.get("format")).partition("/")
        if name == known[0] and is_version(version) and int(version) > int(known[2]):
            raise UnsupportedFormat(f"format {name}/{version} is newer than this genpool reads ({FORMAT})")
        if f"{name}/{version}" != FORMAT:
            raise CorruptFile(f"format is {entry.get('format')!r}; it must be {FORMAT}")
        if entry.get("run_id") != self.head.run_id:
            raise CorruptFile(f"this is the ledger of the run {entry.get('run_id')!r}; it is not counted twice")
        pid = entry.get("pid")
        self.head = _Head(
            run_id=self.head.run_id,
            cohort_id=_text(entry, "cohort_id"),
            pid=pid if isinstance(pid, int) else None,
            host=_text(entry, "host"),
            at=_text(entry, "at"),
        )


class _Calls:
    """The calls of a run that are not settled yet, while its ledger is read."""

    def __init__(self, lines: _Lines) -> None:
        self.open: dict[int, Purchase] = {}
        self._lines = lines
        self._last = 0
        self._lost: set[int] = set()
        """Numbers of intents whose line cannot be read: what settles them was bought all the same."""

    def settled_by(self, entry: Mapping[str, Json]) -> Purchase | None:
        """Take an entry in; return the call that it settles, or None."""
        number = entry.get("intent", entry.get("settled"))
        if not _is_count(number):
            self._lines.tell("neither an intent nor a settlement")
            return None
        assert isinstance(number, int)
        if "intent" in entry:
            self._open(number, entry)
            return None
        one = self.open.pop(number, None)
        if one is None and (number in self._lost or (number > self._last and self._lines.damaged)):
            self._lost.discard(number)
            one = self._purchase({"gen_id": entry.get("gen_id"), "stage": "?"})
        if one is None:
            self._lines.tell(f"settles the call {number}, which is not open; it is not counted")
            return None
        return _settled(one, entry)

    def _open(self, number: int, entry: Mapping[str, Json]) -> None:
        one = self._purchase(entry)
        if one is None or number <= self._last:
            self._lines.tell("an intent without a task" if one is None else f"the intent {number} is there twice")
            return
        if number - self._last - 1 <= self._lines.damaged:
            self._lost.update(range(self._last + 1, number))
        self._last = number
        self.open[number] = one

    def _purchase(self, entry: Mapping[str, Json]) -> Purchase | None:
        head, stage, gen_id = self._lines.head, _text(entry, "stage"), _text(entry, "gen_id")
        if stage is None or gen_id is None:
            return None
        return Purchase(
            run_id=head.run_id,
            cohort_id=head.cohort_id,
            stage=stage,
            gen_id=gen_id,
            model=_text(entry, "model"),
            at=_text(entry, "at"),
            worst_price=_price(entry.get("worst_price")),
            host=head.host,
        )


def _settled(one: Purchase, entry: Mapping[str, Json]) -> Purchase:
    """Return a call as its settlement says; an outcome that is not known is one of which nobody knows."""
    outcome, reason = _text(entry, "outcome"), _text(entry, "reason")
    if outcome not in _SETTLED:
        outcome, reason = UNKNOWN, f"settled as {entry.get('outcome')!r}, which this genpool does not know"
    return replace(
        one,
        outcome=outcome,
        reason=reason,
        cost=_price(entry.get("cost")),
        input_tokens=_tokens(entry.get("input_tokens")),
        output_tokens=_tokens(entry.get("output_tokens")),
        settled=True,
    )


# --- calls that were never settled ----------------------------------------------------------------


def _not_settled(layout: PoolLayout, lines: _Lines, calls: list[Purchase]) -> Iterator[Purchase]:
    """Yield what became of the calls of a run that its ledger does not settle."""
    if _is_going_on(layout, lines.head):
        yield from (replace(one, outcome=GOING_ON) for one in calls)
        return
    tasks = {one.gen_id for one in calls}
    settled = Counter(  # again from the file: what is settled is not held
        str(entry.get("gen_id"))
        for _, entry in ledger_lines(lines.path)
        if isinstance(entry, dict) and entry.get("outcome") in {COMMITTED, ATTEMPT} and entry.get("gen_id") in tasks
    )
    spare: dict[tuple[str, str], list[dict[str, Json]]] = {}
    for one in calls:
        task = one.stage, one.gen_id
        if task not in spare:
            spare[task] = _kept(layout, one)[settled[one.gen_id] :]
        while spare[task] and str(spare[task][0].get("created_at")) < (one.at or ""):
            spare[task].pop(0)
        yield _as_kept(one, spare[task].pop(0)) if spare[task] else one


def _is_going_on(layout: PoolLayout, head: _Head) -> bool:
    """Return whether the process of a run still holds the pool's lock that it took for this run."""
    try:
        began = datetime.fromisoformat(head.at or "")
    except ValueError:
        return False
    # a later run of the same process took the lock later; notes are to the second, rounded down
    return any(
        one.pid == head.pid and one.host == head.host and one.since <= began.replace(tzinfo=began.tzinfo or UTC)
        for one in holders(layout)
    )


def _kept(layout: PoolLayout, one: Purchase) -> list[dict[str, Json]]:
    """Return the records of what a run bought for a task and is kept, in the trash too, oldest first.

    A generation that was promoted and the attempt that it was, where that is still there, are one.
    """
    try:
        folders = [layout.generation(one.stage, one.gen_id), *_numbered(layout.attempts(one.stage, one.gen_id))]
    except GenpoolError:
        return []  # no such name is ever kept
    for name in _names(layout.trash):
        away = layout.trash / name
        folders.append(away / folders[0].relative_to(layout.root))
        folders += _numbered(away / layout.attempts(one.stage, one.gen_id).relative_to(layout.root))
    found: dict[str, dict[str, Json]] = {}
    for folder in folders:
        record = _record(folder / METADATA)
        if record.get("run_id") == one.run_id and record.get("gen_id") == one.gen_id and record.get("call"):
            found.setdefault(str(record.get("created_at")), record)
    return [found[at] for at in sorted(found)]


def _numbered(folder: Path) -> list[Path]:
    return [folder / name for name in sorted(_names(folder)) if name.isascii() and name.isdigit()]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, not Path objects
    except OSError:
        return []


def _record(path: Path) -> dict[str, Json]:
    """Return the object of a metadata.json; nothing where there is none that can be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with closing_descriptor(descriptor), os.fdopen(descriptor, "rb", closefd=False) as file:
            return decode_object(file.read(), str(path))
    except (OSError, GenpoolError):
        return {}


def _as_kept(one: Purchase, record: Mapping[str, Json]) -> Purchase:
    """Return a call as the record of its output says."""
    call, reason = record["call"], record.get("reason")
    facts: Mapping[str, Json] = call if isinstance(call, dict) else {}
    usage, price = facts.get("usage"), facts.get("price")
    tokens = usage if isinstance(usage, dict) else {}
    used = _tokens(tokens.get("input_tokens")), _tokens(tokens.get("output_tokens"))
    cost = None
    if isinstance(price, dict):
        each = _price(price.get("input")), _price(price.get("output"))
        if each[0] is not None and each[1] is not None:
            cost = Price(each[0], each[1]).cost(used[0] or 0, used[1] or 0)
    kind = str(reason.get("kind")) if isinstance(reason, dict) else None
    return replace(
        one,
        outcome=ATTEMPT if kind else PROMOTED if PROMOTED_KEY in record else COMMITTED,
        reason=kind,
        cost=cost,
        input_tokens=used[0],
        output_tokens=used[1],
    )


# --- values ---------------------------------------------------------------------------------------


def _text(entry: Mapping[str, Json], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) else None


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53


def _tokens(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _price(value: Json) -> float | None:
    """Return an amount of money; what is none, or not finite, is not known."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None
