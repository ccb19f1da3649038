"""The power cut at every system call: what was acknowledged is on the disk, and nothing torn is visible.

Each point is a writer that is killed at one of its system calls, alone or (`again`) with a second one after it that
comes to its end; then the disk forgets all that was not flushed, is mounted again, and judged by what is on it. The
same is done with protocols that are broken on purpose, and with flushes that are left out below genpool's own code.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.crash import broken, pool_scenarios, scenarios, system_calls
from tests.crash.power import Disk, need_power_cuts
from tests.crash.syscall_sweep import need_tracing, points, run_until
from tests.small_pools import memory_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.crash.scenarios import Scenario
    from tests.crash.syscall_sweep import Watcher

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
        self.disk = Disk(folder)
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


@pytest.fixture(autouse=True)
def _possible(full: bool) -> None:
    need_power_cuts(full=full)
    need_tracing()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("scenario", "least", "short_step"),
    [
        (scenarios.Committing(), 80, 6),
        (scenarios.CommittingTwice(), 100, 10),
        (scenarios.CommittingOverIncomplete(), 100, 10),
        (scenarios.KeepingAnAttempt(), 100, 10),
        (scenarios.KeepingASource(), 15, 3),
        (scenarios.ReplacingAFile(), 10, 3),
        (scenarios.AppendingLines(), 10, 3),
        (scenarios.WritingTheLedger(), 60, 8),
        (scenarios.Adopting(), 150, 20),
        (pool_scenarios.RecordingSlots(), 150, 20),
        (pool_scenarios.AcceptingDrift(), 100, 20),
        (pool_scenarios.Purging(), 200, 30),
        (pool_scenarios.TakingBackAPurge(), 100, 30),
        (scenarios.RunningACohort(CALLS_LOG), 800, 60),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, int) else "",
)
def test_what_was_acknowledged_survives_a_power_cut_and_nothing_torn_is_visible(
    scenario: Scenario, least: int, short_step: int, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    repeatable = not isinstance(scenario, scenarios.AppendingLines)
    step = 1 if full else short_step
    *_, found = sweep(scenario, step, again=2 * step * repeatable)
    with capsys.disabled():
        print(f"\n  {type(scenario).__name__}: power cut {found.cut} times in {found.calls} system calls", end="")
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
