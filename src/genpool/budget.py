"""The pool's budget: what the ledgers say was spent, and how all runs together keep within the limit.

Promises: an intent is admitted only where what was spent, the worst prices of all calls that may still cost something,
and its own worst price stay within the limit, whichever processes the others belong to. For that, intents are decided
and written under one lock. A call in flight, and one of which nobody knows what became, counts at its worst price; so
does an answer whose provider did not say how many tokens it took.

Accepted: what no worst price bounds, the budget cannot. A model without a price counts nothing. One with a price and
without a limit of tokens is admitted until the budget is spent, and may exceed it by what is in flight then.

The others' ledgers are read from where they were read last, and only when some run has written intents since: their
number stands in the lock's file. Amounts are whole numbers of 10^-12, so that sums do not drift.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from genpool.durable import READABLE, closing_descriptor, make_directory, storage_errors
from genpool.errors import BudgetReached, CorruptFile, PoolBusy
from genpool.ledger import ENDING, FORMAT, REPARSE, Damage, entry_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from genpool.canonical import Json
    from genpool.layout import PoolLayout

_UNIT: Final = 10**12
_BLOCK: Final = 1 << 20  # bytes read at once, and the most that a line may have
_NUMBER: Final = 8  # bytes of the number in the lock's file
_PATIENCE: Final = 30.0  # seconds that the lock is waited for
_STALE: Final = 5.0  # seconds after which all ledgers are looked at again: a run begun before there was a budget


@dataclass(frozen=True, slots=True)
class Standing:
    """How a pool stands against its budget, in the prices' currency."""

    limit: float
    spent: float
    """What answers cost."""
    reserved: float
    """The worst prices of calls in flight, now or at a kill, and of those of which nobody knows what became."""

    @property
    def left(self) -> float:
        """What may still be spent; less than 0 where the limit was lowered since."""
        return self.limit - self.spent - self.reserved


def standing(layout: PoolLayout, limit: float) -> Standing:
    """Return how a pool stands against a limit. Writes nothing and takes no lock.

    Raises:
        CorruptFile: A line of a ledger cannot be read.
        StorageFailed: A ledger cannot be read.
    """
    return _standing(limit, _Ledgers(layout.ledger).caught_up())


class Budget:
    """Keeps one run within the budget of its pool, beside all others.

    Args:
        layout: The pool.
        limit: The most that the pool may spend.
        run_id: The run; its own entries are told by its ledger, not read.
        priced: The models that have a price.

    Raises:
        CorruptFile: A line of a ledger cannot be read, so that nobody knows what was spent.
        StorageFailed: The lock or a ledger cannot be read.
    """

    def __init__(self, layout: PoolLayout, limit: float, run_id: str, priced: Collection[str]) -> None:
        self._limit = limit
        self._units = _units(limit)
        self._priced = frozenset(priced)
        self._own = _Account()
        self._others = _Ledgers(layout.ledger, without=f"{run_id}{ENDING}")
        self._sum = self._others.caught_up()
        self._looked = float("-inf")
        self._number = -1
        with storage_errors("cannot lock the budget"):
            make_directory(layout.locks)
            self._lock = os.open(layout.locks / "budget.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def close(self) -> None:
        """Let go of the lock's file."""
        with suppress(OSError):
            os.close(self._lock)

    @contextmanager
    def passing(self, entries: Sequence[Mapping[str, Json]]) -> Iterator[Sequence[Exception | None]]:
        """Decide about entries of this run's ledger; those that may be written are to be written meanwhile.

        Args:
            entries: Intents and settlements, in order.

        Yields:
            For each entry None, or why it must not be written.

        Raises:
            PoolBusy: The lock could not be had.
            CorruptFile, StorageFailed: Nobody knows what was spent.
        """
        for entry in entries:
            if "intent" not in entry:
                self._own.take(entry)
        if not any(self._counts(entry) for entry in entries):
            yield [None] * len(entries)
            return
        with storage_errors("cannot keep to the budget"), self._locked():
            looked = self._look()
            refused = [self._decided(entry) for entry in entries]
            if any(refused) and not looked:  # others' calls may have cost less than they were set against
                self._look(anew=True)
                again = zip(entries, refused, strict=True)
                refused = [None if no is None else self._decided(entry) for entry, no in again]
            if None in refused:
                self._count_up()  # before they are written: a process that dies in between is seen either way
            yield refused

    def _counts(self, entry: Mapping[str, Json]) -> bool:
        """Return whether an entry is an intent that may cost something."""
        return "intent" in entry and entry.get("model") in self._priced and entry.get("worst_price") != 0

    def _decided(self, entry: Mapping[str, Json]) -> BudgetReached | None:
        """Take an intent in, or return why it must not be written."""
        if not self._counts(entry):
            return None
        worst = _amount(entry.get("worst_price"))
        free = self._units - self._sum.total - self._own.total
        if free > 0 if worst is None else worst <= free:
            self._own.take(entry)
            return None
        return self._reached(entry, worst)

    def _reached(self, entry: Mapping[str, Json], worst: int | None) -> BudgetReached:
        now = _standing(self._limit, self._sum, self._own)
        held = f" and {now.reserved:.4f} set against calls in flight or unknown" if now.reserved else ""
        most = "an amount that nothing bounds" if worst is None else f"up to {worst / _UNIT:.4f}"
        return BudgetReached(
            f"the budget of {self._limit:g} is reached: {now.spent:.4f} spent{held}; the next call of model "
            f"{entry.get('model')!r} may cost {most}",
            pending=self._own.pending > 0,
            hint="raise `budget` in pool.yaml and run again: it goes on where it was; "
            "`genpool audit spend` says what was bought",
        )

    def _look(self, *, anew: bool = False) -> bool:
        """Read what others have written, where some run has written intents since; return whether it was read."""
        now = time.monotonic()
        number = int.from_bytes(os.pread(self._lock, _NUMBER, 0), "little")
        if anew or number != self._number or now - self._looked > _STALE:
            self._sum = self._others.caught_up()
            self._number, self._looked = number, now
            return True
        return False

    def _count_up(self) -> None:
        self._number = (self._number + 1) % (1 << 8 * _NUMBER)
        os.pwrite(self._lock, self._number.to_bytes(_NUMBER, "little"), 0)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, with which alone intents are written."""
        deadline, pause = time.monotonic() + _PATIENCE, 0.0002
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PoolBusy(
                        f"another process has held the budget's lock for {_PATIENCE:.0f} s",
                        hint="it may be stopped; run again when it has ended",
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, 0.01)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


@dataclass(slots=True)
class _Account:
    """What the entries of a ledger, or of several, add up to."""

    spent: int = 0
    doubtful: int = 0
    """Worst prices of calls that were settled as unknown."""
    pending: int = 0
    """Worst prices of calls that are not settled."""
    open: dict[Json, int] = field(default_factory=dict)
    """Number to worst price of those."""

    @property
    def total(self) -> int:
        """The most that all of it can have cost."""
        return self.spent + self.doubtful + self.pending

    def take(self, entry: Mapping[str, Json]) -> None:
        """Take an intent or a settlement in; a head and anything else means nothing here."""
        if "intent" in entry:
            worst = _amount(entry.get("worst_price")) or 0
            self.pending += worst - self.open.get(entry["intent"], 0)
            self.open[entry["intent"]] = worst
        elif "settled" in entry:
            worst = self.open.pop(entry["settled"], 0)
            self.pending -= worst
            outcome = entry.get("outcome")
            if outcome in {"committed", "attempt"}:
                cost = _amount(entry.get("cost")) or 0
                told = all(isinstance(entry.get(name), int) for name in ("input_tokens", "output_tokens"))
                self.spent += cost if told else max(cost, worst)
            elif outcome != "failed":
                self.doubtful += worst


class _Ledgers:
    """The ledgers of a pool, each read as far as it was written when somebody looked."""

    def __init__(self, folder: Path, without: str | None = None) -> None:
        self._folder = folder
        self._without = without
        self._read: dict[str, _Read] = {}

    def caught_up(self) -> _Account:
        """Return what all ledgers add up to now.

        Raises:
            CorruptFile: A line cannot be read.
            StorageFailed: A ledger cannot be read.
        """
        total = _Account()
        with storage_errors(f"cannot read the ledgers in {self._folder}", denied=READABLE):
            try:
                names = os.listdir(self._folder)  # noqa: PTH208 - names, not Path objects
            except FileNotFoundError:
                return total
            for name in names:
                if name.endswith(ENDING) and not name.startswith(REPARSE) and name != self._without:
                    one = self._read.setdefault(name, _Read(self._folder / name))
                    one.catch_up()
                    total.spent += one.account.spent
                    total.doubtful += one.account.doubtful
                    total.pending += one.account.pending
        return total


class _Read:
    """One ledger, and how far it was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self.account = _Account()
        self._offset = 0
        self._lines = 0
        self._another = False  # it is a copy of another run's ledger, which must not be counted twice

    def catch_up(self) -> None:
        """Read what was written since the last time; a last line that has no end yet is left for the next."""
        size = os.stat(self.path, follow_symlinks=False).st_size  # noqa: PTH116 - a look, for each of many
        if size == self._offset:
            return
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with closing_descriptor(descriptor):
            if self._offset and os.pread(descriptor, 1, self._offset - 1) != b"\n":
                self._begin()  # lines whose flush failed were taken back
            while block := os.pread(descriptor, _BLOCK, self._offset):
                whole = block[: block.rfind(b"\n") + 1]
                for line in whole.split(b"\n")[:-1]:
                    self._take(line)
                self._offset += len(whole)
                if not whole and len(block) == _BLOCK:
                    raise self._damaged("a line without an end")
                if not whole:
                    return

    def _take(self, line: bytes) -> None:
        self._lines += 1
        if self._another or not line.strip():
            return
        entry = entry_of(line)
        if isinstance(entry, Damage):
            raise self._damaged(entry.message)
        if "format" in entry:
            if entry["format"] != FORMAT:
                raise self._damaged(f"format {entry['format']!r} is not known to this genpool ({FORMAT})")
            self._another = f"{entry.get('run_id')}{ENDING}" != self.path.name
        elif isinstance(entry.get("intent", entry.get("settled")), int):
            self.account.take(entry)
        else:
            raise self._damaged("neither an intent nor a settlement")

    def _damaged(self, what: str) -> CorruptFile:
        return CorruptFile(
            f"{self.path}:{self._lines}: {what}; nobody knows what was spent, and the pool has a budget",
            hint="`genpool doctor` says more; mend the line, or take `budget` out of pool.yaml to go on without one",
        )


def _standing(limit: float, *accounts: _Account) -> Standing:
    spent = sum(one.spent for one in accounts)
    reserved = sum(one.doubtful + one.pending for one in accounts)
    return Standing(limit, spent / _UNIT, reserved / _UNIT)


def _amount(value: Json) -> int | None:
    """Return an amount of money in units; what is none, or not finite, is not known."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return _units(value)


def _units(amount: float) -> int:
    return round(amount * _UNIT)
