"""The account of everything bought, from the ledgers: what it cost, what of it is valid, what nobody can know.

Pure reading: it writes nothing, needs no lock, and asks neither the templates nor the network. The ledgers are the
account, so what was purged or removed since stays in it. gens/, attempts/ and trash/ are looked at for one thing
only: a call that was never settled. Where its output is kept, the process died between keeping and settling, and the
call is known after all; else it counts as spent at its worst price.

Ledgers are read a line at a time. What is held is a sum for each cohort and model, the calls in flight within one
run, what is listed by name in the answer, and a fixed table by which tasks that were bought more than once are found;
where there are some, the ledgers are read a second time for these.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from genpool.errors import GenpoolError, NotFound, StorageFailed, nearest
from genpool.ledger import ENDING, REPARSE
from genpool.purchases import (
    ATTEMPT,
    DOUBTFUL,
    FAILED,
    IN_FLIGHT,
    UNKNOWN,
    Notice,
    Promotions,
    Purchase,
    read_promotions,
    read_purchases,
)
from genpool.store import BOUGHT_TWICE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from genpool.layout import PoolLayout

_TABLE: Final = 1 << 24  # bytes: among a million tasks some thousands are looked at without need

TWICE: Final = "twice"
MADE_ANEW: Final = "made_anew"
PERHAPS: Final = "perhaps"


@dataclass(slots=True)
class Tally:
    """What some calls came to."""

    calls: int = 0
    """Calls that were sent, or may have been."""
    committed: int = 0
    promoted: int = 0
    """Attempts that became generations when a parser was mended."""
    attempts: Counter[str] = field(default_factory=Counter)
    """Reason to count, for answers that are none."""
    failed: int = 0
    """Calls that failed without charge."""
    unknown: int = 0
    """Calls of which nobody can know whether they were charged: a time-out, a reset."""
    in_flight: int = 0
    """Calls that were in flight when their process died."""
    going_on: int = 0
    """Calls in flight now, of a run that is going on."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """What answered calls cost, where their models have a price."""
    priced: int = 0
    """Answered calls with a price."""
    unpriced: int = 0
    """Answered calls without one."""
    doubtful: float = 0.0
    """The worst prices of the calls in flight, going on or unknown."""
    unbounded: int = 0
    """Such calls without a worst price."""

    @property
    def worst(self) -> float:
        """The most that was spent: what is known, and the worst price of what is not."""
        return self.cost + self.doubtful

    def add(self, one: Purchase) -> None:
        """Count one call."""
        self.calls += 1
        if one.outcome == ATTEMPT:
            self.attempts[one.reason or "?"] += 1
        else:
            setattr(self, one.outcome, getattr(self, one.outcome) + 1)
        if one.outcome in DOUBTFUL:
            self.doubtful += one.worst_price or 0.0
            self.unbounded += one.worst_price is None
        elif one.outcome != FAILED:
            self.input_tokens += one.input_tokens or 0
            self.output_tokens += one.output_tokens or 0
            self.cost += one.cost or 0.0
            self.priced += one.cost is not None
            self.unpriced += one.cost is None

    def merge(self, other: Tally) -> None:
        """Count what another tally counted."""
        for name in self.__slots__:
            if name == "attempts":
                self.attempts.update(other.attempts)
            else:
                setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Twice:
    """A task that was bought more than once, for sure or perhaps."""

    stage: str
    gen_id: str
    kind: str
    """`twice` (an answer was kept as `bought_twice`), `made_anew` (its generation was removed in between), or
    `perhaps` (it was bought again after a call of which nobody knows what became)."""
    purchases: tuple[Purchase, ...]
    """Every call for it but those that failed without charge, oldest first."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What was bought."""

    tallies: dict[tuple[str | None, str | None], Tally]
    """By cohort and model. None where a damaged ledger does not say."""
    doubtful: tuple[Purchase, ...] = ()
    """Calls that were in flight at a kill, are in flight now, or were settled as unknown."""
    unsettled: tuple[Purchase, ...] = ()
    """Calls that were never settled and whose output is kept: bought once, and known."""
    twice: tuple[Twice, ...] = ()
    problems: tuple[Notice, ...] = ()
    """Lines and files that cannot be read. What they held is not in the account."""
    notes: tuple[Notice, ...] = ()
    """Last lines that a crash tore: what stood there was never acknowledged, and the account is whole."""

    @property
    def total(self) -> Tally:
        """Everything together."""
        return self._sum(lambda _: "").get("", Tally())

    @property
    def by_model(self) -> dict[str, Tally]:
        """The pool's name of a model to what its calls came to, sorted."""
        return self._sum(lambda key: key[1])

    @property
    def by_cohort(self) -> dict[str, Tally]:
        """The cohort whose run called to what its calls came to, sorted."""
        return self._sum(lambda key: key[0])

    def of(self, outcome: str) -> tuple[Purchase, ...]:
        """Return the doubtful calls of an outcome: `in_flight`, `going_on`, `unknown`."""
        return tuple(one for one in self.doubtful if one.outcome == outcome)

    def _sum(self, by: Callable[[tuple[str | None, str | None]], str | None]) -> dict[str, Tally]:
        found: dict[str, Tally] = {}
        for key, tally in self.tallies.items():
            found.setdefault(by(key) or "", Tally()).merge(tally)
        return dict(sorted(found.items()))


def audit_spend(
    layout: PoolLayout, known: Collection[str] = (), *, cohort: str | None = None, since: datetime | None = None
) -> Spend:
    """Return what was bought.

    Args:
        layout: The pool's paths.
        known: The pool's cohorts; with those of the ledgers they are the names that `cohort` may have.
        cohort: Only what the runs of this cohort bought.
        since: Only calls that were sent at this time or later; without a time zone it is UTC.

    Raises:
        NotFound: Neither the pool nor a ledger has such a cohort.
        StorageFailed: The ledgers cannot be listed.
    """
    account = _Account(layout, cohort, since)
    account.read()
    if cohort is not None and cohort not in account.cohorts | set(known):
        names = sorted(account.cohorts | set(known))
        raise NotFound(f"no cohort is named {cohort!r}, and no ledger has one", hint=nearest(cohort, names))
    return Spend(
        tallies=account.tallies,
        doubtful=tuple(account.doubtful),
        unsettled=tuple(account.unsettled),
        twice=tuple(account.twice()),
        problems=tuple(account.problems),
        notes=tuple(account.notes),
    )


class _Account:
    """What reading the ledgers adds up to."""

    def __init__(self, layout: PoolLayout, cohort: str | None, since: datetime | None) -> None:
        self._layout = layout
        self._cohort = cohort
        self._since = since.replace(tzinfo=since.tzinfo or UTC) if since else None
        self._seen = bytearray(_TABLE)
        self._again: set[tuple[str, str]] = set()
        """Tasks of which there may be more than one purchase."""
        self.cohorts: set[str] = set()
        self.tallies: dict[tuple[str | None, str | None], Tally] = {}
        self.doubtful: list[Purchase] = []
        self.unsettled: list[Purchase] = []
        self.problems: list[Notice] = []
        self.notes: list[Notice] = []

    def read(self) -> None:
        """Read every ledger once."""
        for one in self._purchases(self._tell):
            self._look_out(one)
            if one.cohort_id is not None:
                self.cohorts.add(one.cohort_id)
            if not self._wanted(one):
                continue
            self.tallies.setdefault((one.cohort_id, one.model), Tally()).add(one)
            if one.outcome in DOUBTFUL:
                self.doubtful.append(one)
            elif not one.settled:
                self.unsettled.append(one)

    def _tell(self, notice: Notice) -> None:
        (self.notes if notice.harmless else self.problems).append(notice)

    def _purchases(self, tell: Callable[[Notice], None]) -> Iterator[Purchase]:
        """Yield every call of every ledger; what cannot be read is told, and the rest is gone on with."""
        names = self._names()
        promotions: Promotions = {}
        for name in names:
            if name.startswith(REPARSE):
                with _told(name, tell):
                    read_promotions(self._layout.ledger / name, promotions, tell)
        for name in names:
            if not name.startswith(REPARSE):
                with _told(name, tell):
                    yield from read_purchases(self._layout, self._layout.ledger / name, promotions, tell)

    def _names(self) -> list[str]:
        try:
            listed = os.listdir(self._layout.ledger)  # noqa: PTH208 - names, to be sorted
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageFailed(f"cannot list {self._layout.ledger}: {error.strerror}") from error
        return sorted(name for name in listed if name.endswith(ENDING))

    def _wanted(self, one: Purchase) -> bool:
        return self._cohort in {None, one.cohort_id} and (self._since is None or not one.before(self._since))

    # -- what was bought more than once ------------------------------------------------------------

    def _look_out(self, one: Purchase) -> None:
        """Remember tasks that may have been bought more than once."""
        task = one.stage, one.gen_id
        if one.outcome in DOUBTFUL or one.reason == BOUGHT_TWICE.kind:
            self._again.add(task)
        elif one.is_valid:
            byte, bit = divmod(hash(task) % (8 * _TABLE), 8)
            if self._seen[byte] & (1 << bit):
                self._again.add(task)
            self._seen[byte] |= 1 << bit

    def twice(self) -> list[Twice]:
        """Return the tasks that were bought more than once, of which a purchase is wanted."""
        if not self._again:
            return []
        found: dict[tuple[str, str], list[Purchase]] = {}
        for one in self._purchases(lambda _: None):
            if (one.stage, one.gen_id) in self._again and one.outcome != FAILED:
                found.setdefault((one.stage, one.gen_id), []).append(one)
        listed = []
        for task, purchases in sorted(found.items()):
            purchases.sort(key=lambda one: one.at or "")  # stable: within a run in the order of the ledger
            kind = _kind(purchases)
            if kind is not None and any(self._wanted(one) for one in purchases):
                listed.append(Twice(*task, kind, tuple(purchases)))
        return listed


def _kind(purchases: list[Purchase]) -> str | None:
    """Return how a task was bought more than once, or None where it was not."""
    valid = [one for one in purchases if one.is_valid]
    if any(one.outcome == ATTEMPT for one in valid):  # even where the other's ledger is lost
        return TWICE
    doubts = [at for at, one in enumerate(purchases) if one.outcome in {IN_FLIGHT, UNKNOWN}]
    if doubts and doubts[0] < len(purchases) - 1:
        return PERHAPS
    return MADE_ANEW if len(valid) > 1 else None


@contextmanager
def _told(name: str, tell: Callable[[Notice], None]) -> Iterator[None]:
    """Tell of a ledger that cannot be read, and go on with the others."""
    try:
        yield
    except GenpoolError as error:
        tell(Notice(f"ledger/{name}", None, error.message))
