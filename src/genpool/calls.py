"""One answer from a model: admitted, intended, sent, and tried again where it failed for a moment.

A *try* is one request. Each has an intent of its own, on disk before it is sent, and each that failed is settled
before the next one begins: `failed` where nothing can have been bought, `unknown` where nobody can tell.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from genpool.errors import BudgetReached, CallFailed, GenpoolError
from genpool.grouping import to_the_end
from genpool.llm.limits import SLACK, Clock, MonotonicClock, RateLimit
from genpool.llm.retries import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from genpool.config import ModelEntry
    from genpool.ledger import Intent, Ledger
    from genpool.llm.client import Completion, ModelClient, Request

_GLANCE: Final = 0.2  # seconds between two looks whether the run is being stopped
_STALE: Final = SLACK / 2  # seconds after which an admission has to be asked for again: a flush took so long
_RETRY_SECONDS: Final = 600.0  # that one answer may take besides one time-out, until no further try is begun

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Errand:
    """What a call is for."""

    stage: str
    gen_id: str
    entry: ModelEntry
    request: Request
    worst_price: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to."""

    completion: Completion
    intent: Intent
    """Still to be settled."""
    seconds: float
    """How long the last try took."""


@dataclass(slots=True)
class Stop:
    """Whether a run is being stopped."""

    requested: bool = False
    """Nothing new is to be begun."""


class Stopped(Exception):
    """The run is being stopped, and nothing was sent that has not been settled."""


class Places:
    """How many calls to one model may still be sent at once.

    Args:
        count: How many at all.
        freed: Told when a place has become free that nobody waits for.
    """

    def __init__(self, count: int, freed: Callable[[], None]) -> None:
        self.free = count
        self._freed = freed
        self._waiting: deque[asyncio.Future[None]] = deque()

    def taken(self) -> Place:
        """Return a place; one must be free."""
        assert self.free > 0
        self.free -= 1
        return Place(self)

    async def wait(self) -> None:
        """Return when a place is taken, in the order of those who asked."""
        if self.free:
            self.free -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Give a place to who waits longest, or let it be free."""
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                return
        self.free += 1
        self._freed()


class Place:
    """The right to have one call in flight: given back once the answer is there, taken again for another call.

    So the next call is sent while the last answer is still being kept.

    Args:
        places: What it is one of; it is taken from there already.
    """

    __slots__ = ("_held", "_places")

    def __init__(self, places: Places) -> None:
        self._places = places
        self._held = True

    async def take(self) -> None:
        """Return when the place is held."""
        if not self._held:
            await self._places.wait()
            self._held = True

    def give_back(self) -> None:
        """Give the place back, where it is held."""
        if self._held:
            self._held = False
            self._places.give_back()


@dataclass(slots=True)
class _Gate:
    """What holds for all calls to one model."""

    policy: RetryPolicy
    limit: RateLimit


@dataclass(slots=True)
class Caller:
    """Asks the models of one run.

    Args:
        ledger: The run's ledger.
        called: Told of every request that is sent.
        stop: Whether the run is being stopped: then no further try is begun.
        clock: Where the time comes from that rate limits are kept by.
    """

    ledger: Ledger
    called: Callable[[], None]
    stop: Stop
    clock: Clock = field(default_factory=MonotonicClock)
    _gates: dict[str, _Gate] = field(default_factory=dict)

    async def ask(self, client: ModelClient, errand: Errand) -> Answer:
        """Return a model's answer, whatever it is worth; its intent is not settled yet.

        Raises:
            Stopped: The run is being stopped.
            CallFailed: The last try failed, or one that is not to be repeated.
            ModelUnavailable: The model cannot be asked at all.
            BudgetReached: The call could cost more than is left of the budget.
            StorageFailed: The intent could not be written.
        """
        gate = self._gate(errand.entry)
        tries, began = 0, 0.0
        while True:
            await self._admitted(gate)
            began = began or time.monotonic()  # waiting for one's turn is no failure
            try:
                return await self._try(client, errand, gate)
            except CallFailed as error:
                tries += 1
                if error.transient and error.retry_after:
                    gate.limit.hold(min(error.retry_after, gate.policy.longest_asked))
                seconds = gate.policy.wait(error, tries, time.monotonic() - began, random.random)
                if seconds is None:
                    raise
            await self._unless_stopped(asyncio.sleep(seconds))

    async def _admitted(self, gate: _Gate | None) -> None:
        """Return when the next request may go; with None the rate limit has let it go already.

        Raises:
            Stopped: The run is being stopped.
        """
        if gate is not None and not gate.limit.admit_at_once():
            await self._unless_stopped(gate.limit.admit())
        if self.stop.requested:
            raise Stopped

    def _gate(self, entry: ModelEntry) -> _Gate:
        if entry.model_id not in self._gates:
            policy = RetryPolicy(tries=entry.tries, total=_RETRY_SECONDS + entry.timeout)
            self._gates[entry.model_id] = _Gate(policy, RateLimit(entry.requests_per_minute, clock=self.clock))
        return self._gates[entry.model_id]

    async def _unless_stopped(self, waiting: Awaitable[_T]) -> _T:
        """Wait for something, but no longer than until the run is being stopped."""
        task = asyncio.ensure_future(waiting)
        try:
            while not task.done():
                if self.stop.requested:
                    raise Stopped
                await asyncio.wait([task], timeout=_GLANCE)
            return task.result()
        finally:
            task.cancel()

    async def _try(self, client: ModelClient, errand: Errand, gate: _Gate) -> Answer:
        admitted = self.clock.now()
        intent = await self._afforded(errand)
        try:
            await self._admitted(gate if self.clock.now() - admitted > _STALE else None)
        except (Stopped, asyncio.CancelledError):
            self.ledger.settle(intent, "failed", {"reason": "stopped before it was sent"})
            raise
        self.called()
        started = time.monotonic()
        completion = await self._sent(client.complete(errand.request), errand.entry, intent)
        return Answer(completion, intent, time.monotonic() - started)

    async def _afforded(self, errand: Errand) -> Intent:
        """Return the intent once the budget has room: what is in flight may cost less than was set against it."""
        while True:
            settled = self.ledger.settled
            try:
                return await self._intended(errand)
            except BudgetReached as error:
                if not error.pending:
                    raise
            await self._unless_stopped(self.ledger.settled_since(settled))

    async def _intended(self, errand: Errand) -> Intent:
        """Return the intent, on disk. Who is cancelled meanwhile settles it: nothing was sent."""
        entry = errand.entry
        intent = await to_the_end(self.ledger.intend(errand.stage, errand.gen_id, entry.model_id, errand.worst_price))
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            self.ledger.settle(intent, "failed", {"reason": "given up before it was sent"})
            raise asyncio.CancelledError
        return intent

    async def _sent(self, call: Awaitable[Completion], entry: ModelEntry, intent: Intent) -> Completion:
        """Await a call within its deadline; a failure is settled before it is raised."""
        try:
            return await in_time(call, entry)
        except CallFailed as error:
            self.ledger.settle(intent, "unknown" if error.sent else "failed", {"reason": error.message})
            raise
        except GenpoolError as error:
            self.ledger.settle(intent, "failed", {"reason": error.message})
            raise
        except asyncio.CancelledError:
            self.ledger.settle(intent, "unknown", {"reason": "given up"})
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # the client gave up, not we
                raise CallFailed(f"{entry.model_id}: the client gave the call up", transient=True, sent=True) from None
            raise
        except Exception as error:
            self.ledger.settle(intent, "unknown", {"reason": f"{type(error).__name__}: {error}"})
            raise


async def in_time(call: Awaitable[_T], entry: ModelEntry) -> _T:
    """Await a call to a model, and give it up at the deadline: the entry's timeout, for all of it.

    Raises:
        CallFailed: Nothing whole came in time.
    """
    try:
        async with asyncio.timeout(entry.timeout):
            return await call
    except TimeoutError:
        late = f"{entry.model_id}: no answer within {entry.timeout:g} s"
        raise CallFailed(late, transient=True, sent=True) from None
