"""The power cut at every system call: what was acknowledged is on the disk, and nothing torn is visible.

Each point is a writer that is killed at one of its system calls, alone or (`again`) with a second one after it that
comes to its end; then the disk forgets all that was not flushed, is mounted again, and judged by what is on it. The
same is done with protocols that are broken on purpose, and with flushes that are left out below genpool's own code.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash import broken, broken_migrations, migration_scenarios, pool_scenarios, scenarios, system_calls
from tests.crash.migration_scenarios import Migrating
from tests.crash.power import SIZE, Disk, need_power_cuts
from tests.crash.syscall_sweep import need_tracing, points, run_until
from tests.small_pools import memory_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Statement
    from tests.crash.scenarios import Scenario
    from tests.crash.syscall_sweep import Watcher

pytestmark = pytest.mark.bar(3)

LARGE = 4 * SIZE
"""Bytes of a disk on which a migration finds that there is room for it."""
CALLS_LOG = "../../outside/calls.txt"
"""Where models note their calls: on another disk, so that the note outlives the power cut."""


@dataclass(slots=True)
class Sweep:
    """What a sweep found."""

    calls: int
    """System calls of an undisturbed run."""
    cut: int = 0
    wrong: list[str] = field(default_factory=list)


class Bench:
    """One scenario on one disk."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.disk = Disk(folder, LARGE if isinstance(scenario, Migrating) else SIZE)
        self.outside = folder / "outside"
        self.outside.mkdir()
        with self.disk.filling() as place:
            scenario.prepare(place / "pool")

    def cut(self, kill_at: int | None, *, again: bool = False, watcher: Watcher | None = None) -> Sweep:
        """Run the scenario until a system call, cut the power, and judge what is on the disk."""
        shutil.rmtree(self.outside)
        acks = self.outside / "acks"
        acks.mkdir(parents=True)
        acknowledge = scenarios.acknowledger(acks)
        with self.disk.used() as place:
            run = run_until(lambda: self.scenario.act(place / "pool", acknowledge), kill_at, watcher)
            if again and run.killed:
                run_until(lambda: self.scenario.act(place / "pool", acknowledge), None, watcher)
        acked = {path.name for path in acks.iterdir()}
        with self.disk.after() as place:
            return Sweep(run.calls, 1, list(self.scenario.wrong(place / "pool", acked)))


def sweep(scenario: Scenario, step: int, *, again: int = 0, watcher: Watcher | None = None) -> Iterator[Sweep]:
    """Cut the power at every `step`-th system call, and at every `again`-th with a second writer after the first.

    Yields:
        What was found so far, after every point; the first is that of an undisturbed run.
    """
    with memory_folder() as folder:
        bench = Bench(scenario, folder)
        found = bench.cut(None, watcher=watcher)
        found.wrong = [f"at the end: {said}" for said in found.wrong]
        yield found
        ways = [(point, False) for point in points(found.calls, step)]
        ways += [(point, True) for point in points(found.calls, again)] if again else []
        for point, twice in ways:
            said = bench.cut(point, again=twice, watcher=watcher).wrong
            found.cut += 1
            found.wrong += [f"at call {point}{', done again' if twice else ''}: {one}" for one in said]
            yield found


def _named(one: object) -> str:
    return str(one) if isinstance(one, Migrating | str) else "" if isinstance(one, int) else type(one).__name__


ONCE = scenarios.AppendingLines, scenarios.WritingTheLedger, Migrating, migration_scenarios.DoingABatch
"""Scenarios that cannot be done a second time as they were the first."""


@pytest.fixture(autouse=True)
def _possible(full: bool) -> None:
    need_power_cuts(full=full)
    need_tracing()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("scenario", "least", "full_step", "short_step"),
    [
        (scenarios.Committing(), 80, 1, 18),
        (scenarios.CommittingTwice(), 100, 1, 40),
        (scenarios.CommittingOverIncomplete(), 100, 1, 40),
        (scenarios.KeepingAnAttempt(), 100, 1, 40),
        (scenarios.KeepingASource(), 15, 1, 8),
        (scenarios.ReplacingAFile(), 10, 1, 5),
        (scenarios.AppendingLines(), 10, 1, 5),
        (scenarios.WritingTheLedger(), 60, 1, 40),
        (scenarios.Adopting(), 150, 4, 110),
        (scenarios.WritingAManifest(), 100, 4, 70),
        (pool_scenarios.RecordingSlots(), 150, 4, 130),
        (pool_scenarios.AcceptingDrift(), 100, 2, 70),
        (pool_scenarios.Purging(), 200, 4, 120),
        (pool_scenarios.TakingBackAPurge(), 100, 2, 60),
        (scenarios.RunningACohort(CALLS_LOG), 800, 8, 400),
        (migration_scenarios.DoingABatch(), 80, 1, 50),
        (migration_scenarios.applying(), 2000, 5, 900),
        (migration_scenarios.resuming(0.75), 300, 5, 500),
        (migration_scenarios.rolling_back(), 1000, 5, 500),
        (migration_scenarios.resuming_a_rollback(0.5), 400, 5, 500),
    ],
    ids=_named,
)
def test_what_was_acknowledged_survives_a_power_cut_and_nothing_torn_is_visible(
    scenario: Scenario, least: int, full_step: int, short_step: int, full: bool, proof: Statement
) -> None:
    repeatable = not isinstance(scenario, ONCE)
    step = full_step if full else short_step
    *_, found = sweep(scenario, step, again=2 * step * repeatable)
    said = f"{_named(scenario)}: power cut {found.cut} times in {found.calls} system calls"
    proof(said, cuts=found.cut, wrong=len(found.wrong))
    assert found.wrong == []
    assert found.calls >= least, "the sweep has shrunk"
    assert found.cut >= found.calls // step


# --- what must be caught ----------------------------------------------------------------------------


def caught(scenario: Scenario, watcher: Watcher | None = None) -> str:
    """Return the first thing that is found wrong."""
    for found in sweep(scenario, 1, watcher=watcher):
        if found.wrong:
            return found.wrong[0]
    return "nothing was noticed"


class NoFlush:
    """Leaves flushes out, of genpool's own writers too, and says that all is well.

    Args:
        of: Of what: every `file`, every `directory`, `anything`, or (with a slash) what is below a folder of that name.
    """

    def __init__(self, of: str) -> None:
        self.of = of
        self.left_out = 0
        self._held: dict[int, system_calls.Call] = {}

    def entered(self, thread: int) -> None:
        call = system_calls.entered(thread)
        if call is not None and call.name in system_calls.FLUSHES and self._concerns(call):
            call.refuse()
            self._held[thread] = call
            self.left_out += 1

    def left(self, thread: int) -> None:
        call = self._held.pop(thread, None)
        if call is not None:
            call.say(0)

    def _concerns(self, call: system_calls.Call) -> bool:
        if "/" in self.of:
            return self.of in call.path
        is_directory = call.name != "syncfs" and Path(call.path).is_dir()  # syncfs names the disk of many files
        return self.of == "anything" or is_directory == (self.of == "directory")


@pytest.mark.bar(4)
@pytest.mark.parametrize(
    ("scenario", "symptom"),
    [
        (scenarios.Committing(broken.FlushesNoFile), "torn"),
        (scenarios.Committing(broken.FlushesNoDirectory), "lost"),
        (scenarios.Committing(broken.AcknowledgesEarly), "lost"),
        (scenarios.ReplacingAFile(broken.replace_unflushed), "torn"),
        (scenarios.ReplacingAFile(broken.replace_and_leave_the_entry), "lost"),
        (scenarios.AppendingLines(broken.append_unflushed), "lost"),
        (scenarios.WritingTheLedger(broken.WritesTheLedgerUnflushed), "lost"),
        (migration_scenarios.applying(broken_migrations.Unflushed), "lost"),
        (migration_scenarios.rolling_back(broken_migrations.Unflushed), "lost"),
    ],
    ids=[
        "no file flush",
        "no directory flush",
        "acknowledged early",
        "file replaced without its flush",
        "file replaced without the directory's flush",
        "lines appended without a flush",
        "unflushed journal",
        "unflushed journal of a migration",
        "unflushed journal of a rollback",
    ],
)
def test_a_protocol_that_flushes_too_little_is_caught(scenario: Scenario, symptom: str, proof: Statement) -> None:
    said = caught(scenario)
    noticed = symptom in said
    proof(protocols=(proof.case,) * noticed, caught=noticed, unnoticed=not noticed)
    assert symptom in said


@pytest.mark.bar(4)
@pytest.mark.parametrize(
    ("scenario", "of", "symptom"),
    [
        (scenarios.Committing(), "file", "torn"),
        (scenarios.Committing(), "directory", "lost"),
        (scenarios.KeepingAnAttempt(), "file", "torn"),
        (scenarios.KeepingAnAttempt(), "directory", "attempts are there"),
        (scenarios.ReplacingAFile(), "file", "torn"),
        (scenarios.ReplacingAFile(), "directory", "lost"),
        (scenarios.AppendingLines(), "anything", "lost"),
        (scenarios.WritingTheLedger(), "/ledger/", "lost"),
        (pool_scenarios.RecordingSlots(), "anything", "lost"),
        (pool_scenarios.AcceptingDrift(), "anything", "lost"),
        (pool_scenarios.TakingBackAPurge(), "directory", "lost"),
        (migration_scenarios.DoingABatch(), "file", "lost"),
        (migration_scenarios.DoingABatch(), "/round/batch", "torn"),
        (migration_scenarios.DoingABatch(), "/journal.jsonl", "lost"),
        (migration_scenarios.applying(), "/journal.jsonl", "lost"),
        (migration_scenarios.applying(), "/batch-", "does not go on"),
        (migration_scenarios.rolling_back(), "anything", "lost"),
    ],
    ids=_named,
)
def test_a_flush_that_genpool_itself_would_leave_out_is_caught(
    scenario: Scenario, of: str, symptom: str, proof: Statement
) -> None:
    system_calls.need_meddling(full=False)
    liar = NoFlush(of)
    said = caught(scenario, liar)
    noticed = bool(liar.left_out) and symptom in said
    proof(caught=noticed, unnoticed=not noticed)
    assert liar.left_out
    assert symptom in said
