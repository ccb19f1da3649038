"""A Plan to generations: async, bounded, resumable.

Every model has a lane of its own: a queue and as many places as the model allows calls at once. A task
enters its lane as soon as its parent is committed; there is no barrier between stages, and the deeper task
goes first. While an answer is being kept, its place is another task's already. What a run leaves undone, for
whatever reason, the next run's plan finds undone.

A task is claimed before anything is done about it. One that another run has claimed is put aside, without
holding a place, until it is made there or free again.

Order of writes for one call: intent (on disk before the call is sent), the call, sources, then the
generation or the attempt, then the settlement. A process may die between any two of them.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from genpool.calls import Place, Places
from genpool.errors import (
    BudgetReached,
    CallFailed,
    CorruptFile,
    GenpoolError,
    InputError,
    MissingKey,
    ModelUnavailable,
    PoolBusy,
    StorageFailed,
    StorageFull,
)
from genpool.planner import Drift, Plan, StagePlan, State
from genpool.writer import Made, Outcome, TaskWriter

if TYPE_CHECKING:
    from genpool.calls import Stop
    from genpool.claims import Claims
    from genpool.records import Reason

_COPY_LANE: Final = ""
_COPY_WORKERS: Final = 4
_LOOK_AGAIN: Final = (0.02, 0.5)
"""Seconds between two looks at what other runs are making: from, to; each wait is half as long again as the last."""
_FAILURES_IN_A_ROW: Final = 16
"""Tasks of one model that failed one after the other, after all retries, until the model counts as unavailable."""

Item = tuple[int, int, int]
"""A queued task: minus its stage's depth (deeper first), its position in the stage, its stage's position."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task was not made in this run."""

    stage: str
    gen_id: str
    kind: str
    message: str
    hint: str | None = None


@dataclass(slots=True)
class StageTally:
    """What a run did in one stage."""

    wanted: int = 0
    reused: int = 0
    """Existed before, or another run was first with them."""
    made: int = 0
    failed: int = 0
    exhausted: int = 0
    blocked: int = 0
    unusable: int = 0
    """What is in their place is damaged or is another task's."""
    legacy: int = 0
    """Reused under an id that is not that of their signature."""
    origins: dict[str | None, int] = field(default_factory=dict)
    """The reused ones by the cohort whose run made them; None for those that do not say."""

    @property
    def left(self) -> int:
        """Tasks that were not tried, or not to the end."""
        tried = self.made + self.failed + self.exhausted
        return self.wanted - self.reused - tried - self.blocked - self.unusable

    def row(self, cohort_id: str) -> dict[str, int]:
        """Return the counts by column, as a plan's `StagePlan.row` does."""
        own = self.origins.get(cohort_id, 0)
        return {
            "wanted": self.wanted,
            "reused": self.reused,
            "own": own,
            "others": self.reused - own,
            "legacy ids": self.legacy,
            "made": self.made,
            "failed": self.failed,
            "exhausted": self.exhausted,
            "unusable": self.unusable,
            "blocked": self.blocked,
            "left": self.left,
        }


@dataclass(slots=True)
class RunReport:
    """What a run did."""

    run_id: str
    cohort_id: str
    stages: dict[str, StageTally]
    calls: int = 0
    """Calls that were sent."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """What the calls cost, where their models have a price."""
    priced_calls: int = 0
    """Answered calls by models with a price."""
    unpriced_calls: int = 0
    """Answered calls by models without one."""
    attempts: dict[str, int] = field(default_factory=dict)
    """Reason to count, for output that was kept as an attempt."""
    failures: list[Failure] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    """What the plan had to say."""
    drift: tuple[Drift, ...] = ()
    """What drifted under the generations that were reused."""
    waiting: int = 0
    """Tasks that other runs are making at this moment."""
    interrupted: bool = False
    stopped_by: GenpoolError | None = None
    """What ended the run early, if anything did."""

    @property
    def made(self) -> int:
        """Generations made, copies included."""
        return sum(stage.made for stage in self.stages.values())

    @property
    def complete(self) -> bool:
        """Whether every task of the cohort has its generation now."""
        return all(stage.wanted == stage.reused + stage.made for stage in self.stages.values())


def on_their_way(calls: int) -> int:
    """Return how many tasks of a model may be begun and not kept yet, where so many calls are allowed at once.

    It bounds what a kill can lose and what a full disk must still take.
    """
    return calls + calls // 2


Watcher = Callable[[RunReport], None]
"""Told after every task; it only looks."""


@dataclass(slots=True)
class _Lane:
    """The tasks of one model that are ready to be made."""

    places: Places
    """For calls at once."""
    room: int
    """How many tasks may still be begun: besides those with a call in flight, those whose answer is being kept."""
    queue: list[Item] = field(default_factory=list)
    """A heap."""
    closed: bool = False
    """Whether the model turned out to be unavailable."""
    failures: int = 0
    """How many tasks failed since one did not."""


class Runner:
    """Carries out one plan.

    Args:
        plan: The plan.
        writer: Makes and keeps single generations.
        claims: Keeps other runs from the tasks that this one is making.
        concurrency: Model id to calls at once.
        report: Where the run's result is collected.
        stop: Whether the run is being stopped; this run's alone.
        watch: Told after every task.
    """

    def __init__(
        self,
        plan: Plan,
        writer: TaskWriter,
        claims: Claims,
        concurrency: Mapping[str, int],
        report: RunReport,
        stop: Stop,
        watch: Watcher | None = None,
    ) -> None:
        self.plan = plan
        self.report = report
        self._writer = writer
        self._claims = claims
        self._parked: list[tuple[int, int]] = []
        self._looker: asyncio.Task[None] | None = None
        self._concurrency = concurrency
        self._watch = watch or (lambda _: None)
        self._lanes: dict[str, _Lane] = {}
        self._waiting = _waiting(plan)
        self._open = 0
        self._idle = asyncio.Event()
        self._stop = stop
        self._running: set[asyncio.Task[None]] = set()

    def drain(self) -> None:
        """Start nothing new; calls that are running end as they will."""
        self._stop.requested = True
        self.report.interrupted = True

    def abort(self) -> None:
        """Give running calls up; an answer that has come is kept."""
        self.drain()
        self._give_up()
        self._idle.set()

    def _give_up(self) -> None:
        self._stop.requested = True
        for task in self._running:
            task.cancel()
        if self._looker is not None:
            self._looker.cancel()

    async def run(self) -> RunReport:
        """Make what the plan lacks.

        Returns:
            What was done. A run that could not go on says why in `stopped_by`.
        """
        for at, stage in enumerate(self.plan.stages):
            for index in stage.to_make():
                if self.plan.lacking_above(stage, index) is None:
                    self._enqueue(at, index)
        if self._open:
            try:
                await self._idle.wait()
            finally:
                self._give_up()
                lookers = [] if self._looker is None else [self._looker]
                await asyncio.gather(*self._running, *lookers, return_exceptions=True)
        return self.report

    # -- lanes -------------------------------------------------------------------------------------

    def _enqueue(self, at: int, index: int) -> None:
        stage = self.plan.stages[at]
        model = _COPY_LANE if stage.copies(index) else self.plan.model_of(stage, index) or _COPY_LANE
        if model not in self._lanes:
            self._lanes[model] = self._new_lane(self._concurrency.get(model, _COPY_WORKERS))
        lane = self._lanes[model]
        self._open += 1
        heapq.heappush(lane.queue, (-at, index, at))
        self._begin(lane)

    def _new_lane(self, calls: int) -> _Lane:
        lane = _Lane(Places(calls, lambda: self._begin(lane)), on_their_way(calls))
        return lane

    def _begin(self, lane: _Lane) -> None:
        """Begin as many tasks of a lane as may be; when draining or closed, take them without making them."""
        if self._stop.requested or lane.closed:
            dropped = len(lane.queue)
            lane.queue.clear()
            self._end(dropped)
            return
        while lane.queue and lane.room and lane.places.free:
            _, index, at = heapq.heappop(lane.queue)
            lane.room -= 1
            task = asyncio.create_task(self._work(lane, at, index, lane.places.taken()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _end(self, count: int = 1) -> None:
        """Count tasks that are made or will not be."""
        self._open -= count
        if not self._open:
            self._idle.set()

    async def _work(self, lane: _Lane, at: int, index: int, place: Place) -> None:
        """Make a task, and begin the next ones of its lane."""
        try:
            if not self._stop.requested and not lane.closed:
                await self._make(lane, at, index, place)
                self._watch(self.report)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other lanes must not wait for ever
            self._halt(_defect(self.plan.stages[at].gen_ids[index], error))
        finally:
            lane.room += 1
            place.give_back()
            self._begin(lane)
            self._end()

    async def _make(self, lane: _Lane, at: int, index: int, place: Place) -> None:
        """Make one task and let its children in; what can go wrong is told, not raised."""
        stage = self.plan.stages[at]
        name, gen_id = stage.stage.name, stage.gen_ids[index]
        try:
            if not self._claims.take(name, gen_id):
                self._park(at, index)
                return
            try:
                made = await self._writer.make(stage, index, place)
            finally:
                self._claims.give_back(name, gen_id)
        except (ModelUnavailable, MissingKey) as error:
            if not lane.closed:  # told once; the lane's other tasks were not tried
                self._fail(stage, index, error)
            lane.closed = True
        except BudgetReached as error:  # other models may be cheaper, or have no price
            lane.closed = True
            self.report.stopped_by = self.report.stopped_by or error
        except (CorruptFile, PoolBusy, StorageFailed) as error:
            self._halt(error)
        except GenpoolError as error:
            self._fail(stage, index, error)
            if isinstance(error, CallFailed):
                self._count_failure(lane, stage, index, error)
        else:
            lane.failures = 0
            self._note(at, index, made)

    def _count_failure(self, lane: _Lane, stage: StagePlan, index: int, error: CallFailed) -> None:
        """Close a lane whose tasks fail one after the other: the rest would fare no better, and each takes its time."""
        lane.failures += 1
        if lane.failures >= _FAILURES_IN_A_ROW and not lane.closed:
            lane.closed = True
            said = f"{lane.failures} tasks of this model failed in a row, the last one: {error.message}"
            hint = "the model's other tasks were not tried; run again when it answers: the run goes on where it was"
            self.report.failures.append(
                Failure(stage.stage.name, stage.gen_ids[index], ModelUnavailable.kind, said, hint)
            )

    # -- what other runs are making ----------------------------------------------------------------

    def _park(self, at: int, index: int) -> None:
        """Put a task aside that another run has claimed."""
        self._parked.append((at, index))
        self._open += 1
        self.report.waiting = len(self._parked)
        if self._looker is None or self._looker.done():
            self._looker = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Let tasks that were put aside in again once nobody holds them."""
        pause, longest = _LOOK_AGAIN
        while self._parked:
            await asyncio.sleep(pause)
            waited = len(self._parked)
            try:
                free = [self._is_free(at, index) for at, index in self._parked]
                self._watch(self.report)
            except Exception as error:  # noqa: BLE001 - whatever it is, tasks that are put aside must not be forgotten
                self._halt(_defect("a task that another run is making", error))
                free = [True] * waited
            parked, self._parked = self._parked, []
            for one, is_free in zip(parked, free, strict=True):
                if is_free:
                    self._enqueue(*one)
                    self._end()
                else:
                    self._parked.append(one)
            self.report.waiting = len(self._parked)
            pause = min(pause * 1.5, longest) if len(self._parked) == waited else _LOOK_AGAIN[0]

    def _is_free(self, at: int, index: int) -> bool:
        stage = self.plan.stages[at]
        return self._stop.requested or self._claims.is_free(stage.stage.name, stage.gen_ids[index])

    def _note(self, at: int, index: int, made: Made) -> None:
        """Count what became of a task, and let its children in."""
        stage = self.plan.stages[at]
        tally = self.report.stages[stage.stage.name]
        if made.outcome is Outcome.COMMITTED:
            if made.others:
                tally.reused += 1
                tally.origins[made.origin] = tally.origins.get(made.origin, 0) + 1
            else:
                tally.made += 1
            for child_at, child in self._waiting.get((stage.stage.name, index), ()):
                self._enqueue(child_at, child)
        elif made.outcome is Outcome.EXHAUSTED:
            tally.exhausted += 1
            self._block(at, index)
        if made.low_on_space:
            self._halt(
                StorageFull(
                    "the disk is full or refused a write: the run stopped; what was bought until then is kept",
                    hint="free some space and run again: it goes on where it was",
                )
            )

    def _block(self, at: int, index: int) -> None:
        """Count every task that waits for one that will not be made."""
        stage = self.plan.stages[at]
        for child_at, child in self._waiting.get((stage.stage.name, index), ()):
            self.report.stages[self.plan.stages[child_at].stage.name].blocked += 1
            self._block(child_at, child)

    def _fail(self, stage: StagePlan, index: int, error: GenpoolError) -> None:
        self.report.stages[stage.stage.name].failed += 1
        problems = error.problems if isinstance(error, InputError) else ()
        message = str(problems[0]) if problems else error.message
        hint = problems[0].hint if problems else error.hint
        self.report.failures.append(Failure(stage.stage.name, stage.gen_ids[index], error.kind, message, hint))

    def _halt(self, error: GenpoolError) -> None:
        """Stop the run as a whole: nothing new is started."""
        self._stop.requested = True
        self.report.stopped_by = self.report.stopped_by or error


def _defect(gen_id: str, error: Exception) -> GenpoolError:
    """Return the error for what nobody foresaw, the traceback with it."""
    found = GenpoolError(
        f"{gen_id}: {type(error).__name__}: {error}",
        hint="this is a defect of genpool: please report it, with what GENPOOL_TRACEBACK=1 prints",
    )
    found.__cause__ = error
    return found


def note_call(report: RunReport, input_tokens: int | None, output_tokens: int | None, cost: float | None) -> None:
    """Add an answered call to a run's report."""
    report.input_tokens += input_tokens or 0
    report.output_tokens += output_tokens or 0
    if cost is None:
        report.unpriced_calls += 1
    else:
        report.priced_calls += 1
        report.cost = (report.cost or 0.0) + cost


def note_attempt(report: RunReport, reason: Reason) -> None:
    """Add output that was kept as an attempt to a run's report."""
    report.attempts[reason.kind] = report.attempts.get(reason.kind, 0) + 1


def new_report(run_id: str, plan: Plan) -> RunReport:
    """Return the report of a run that has not done anything yet."""
    stages = {}
    for stage in plan.stages:
        counts = stage.counts()
        stages[stage.stage.name] = StageTally(
            wanted=len(stage),
            reused=counts[State.REUSE],
            exhausted=counts[State.EXHAUSTED],
            blocked=counts[State.BLOCKED],
            unusable=counts[State.UNUSABLE],
            legacy=len(stage.legacy),
            origins=stage.origins(),
        )
    return RunReport(run_id, plan.cohort_id, stages, notes=plan.notes, drift=plan.drift)


def _waiting(plan: Plan) -> Mapping[tuple[str, int], list[tuple[int, int]]]:
    """Return, for every task (stage, position) that others wait for, those that can be made once it is."""
    found: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for at, stage in enumerate(plan.stages):
        for index in stage.to_make():
            above = plan.lacking_above(stage, index)
            if above is not None:
                found[above[0].stage.name, above[1]].append((at, index))
    return found
