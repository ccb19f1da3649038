"""Killed at every system call: nothing torn is visible, nothing that was acknowledged is lost.

The sweep is run over genpool's own writers, and over writers that are broken on purpose, which it must catch.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.crash import broken, catalog_scenarios, pool_scenarios, removals, scenarios
from tests.crash.syscall_sweep import need_tracing, points, run_until
from tests.small_pools import copy_tree, memory_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Statement
    from tests.crash.scenarios import Scenario

pytestmark = pytest.mark.bar(1)


@dataclass(slots=True)
class Sweep:
    """What a sweep found."""

    calls: int
    """System calls of an undisturbed run."""
    swept: int = 0
    wrong: list[str] = field(default_factory=list)


def sweep(scenario: Scenario, step: int, *, until_caught: bool = False) -> Sweep:
    """Kill a scenario at every `step`-th of its system calls, and judge what each kill left."""
    with memory_folder() as folder:
        before = folder / "before"
        scenario.prepare(before)
        whole = _one(scenario, folder, None)
        found = Sweep(whole.calls, wrong=[f"undisturbed: {said}" for said in whole.wrong])
        for point in points(whole.calls, step):
            found.swept += 1
            found.wrong += [f"killed at call {point}: {said}" for said in _one(scenario, folder, point).wrong]
            if until_caught and found.wrong:
                break
    return found


def _one(scenario: Scenario, folder: Path, kill_at: int | None) -> Sweep:
    """Run a scenario once from its beginning; judge what is left."""
    root, acks = folder / "pool", folder / "acks"
    copy_tree(folder / "before", root)
    acks.mkdir()
    run = run_until(lambda: scenario.act(root, scenarios.acknowledger(acks)), kill_at)
    acked = {path.name for path in acks.iterdir()}
    if kill_at is None and not acked:
        raise AssertionError("an undisturbed run acknowledges something")
    wrong = list(scenario.wrong(root, acked))
    shutil.rmtree(root)
    shutil.rmtree(acks)
    return Sweep(run.calls, 1, wrong)


def _named(scenario: Scenario) -> str:
    steps = getattr(scenario, "steps", None)
    return type(scenario).__name__ + (f" (killed before, after {steps} steps)" if steps else "")


@pytest.fixture(autouse=True)
def _tracing() -> None:
    need_tracing()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("scenario", "least", "short_step"),
    [
        (scenarios.Committing(), 80, 1),
        (scenarios.CommittingTwice(), 100, 1),
        (scenarios.CommittingOverIncomplete(), 100, 1),
        (scenarios.KeepingAnAttempt(), 100, 1),
        (scenarios.KeepingASource(), 15, 1),
        (scenarios.ReplacingAFile(), 10, 1),
        (scenarios.AppendingLines(), 10, 1),
        (scenarios.WritingTheLedger(), 60, 1),
        (scenarios.Adopting(), 150, 2),
        (pool_scenarios.RecordingSlots(), 150, 13),
        (pool_scenarios.AcceptingDrift(), 100, 11),
        (catalog_scenarios.Indexing(), 300, 17),
        (catalog_scenarios.RunningIndexed(), 500, 29),
        (scenarios.WritingAManifest(), 100, 5),
        (scenarios.LockingThePool(), 25, 1),
        (scenarios.RunningACohort(), 800, 13),
        (removals.Purging(), 500, 13),
        (removals.Regenerating(), 800, 19),
        (removals.UndoingAPurge(), 140, 5),
        *[(removals.FinishingAPurge(steps), 100, 7) for steps in (1, 3, 6)],
        *[(removals.TakingBackAHalfPurge(steps), 100, 7) for steps in (1, 3, 6)],
        *[(removals.FinishingAnUndo(steps), 100, 7) for steps in (1, 3, 6)],
        (removals.PurgingAfterAHalfUndo(3), 500, 19),
    ],
    ids=lambda one: _named(one) if not isinstance(one, int) else "",
)
def test_killed_at_every_system_call_nothing_is_torn_and_nothing_acknowledged_is_lost(
    scenario: Scenario, least: int, short_step: int, full: bool, proof: Statement
) -> None:
    found = sweep(scenario, 1 if full else short_step)
    said = f"{_named(scenario)}: killed at {found.swept} of {found.calls} system calls"
    proof(said, points=found.swept, wrong=len(found.wrong))
    assert found.wrong == []
    assert found.calls >= least, "the sweep has shrunk"
    assert found.swept >= found.calls // (1 if full else short_step)


def test_every_point_is_one_system_call_and_a_kill_comes_before_it(tmp_path: Path) -> None:
    def program() -> None:
        for number in range(4):
            (tmp_path / str(number)).mkdir()
        (tmp_path / "ended").mkdir()

    whole = run_until(program, None)
    assert not whole.killed
    left = []
    for point in range(1, whole.calls + 1):
        for path in tmp_path.iterdir():
            path.rmdir()
        assert run_until(program, point).killed
        left.append(len(list(tmp_path.iterdir())))
    assert left == sorted(left)
    assert set(left) == {0, 1, 2, 3, 4, 5}
    assert left.count(2) == 1, "between two calls of mkdir there is one point"


@pytest.mark.bar(4)
@pytest.mark.parametrize(
    ("scenario", "symptom"),
    [
        (scenarios.Committing(broken.WritesIntoPlace), "torn"),
        (scenarios.Committing(broken.WritesMetadataFirst), "torn"),
        (scenarios.Committing(broken.AcknowledgesEarly), "lost"),
        (scenarios.CommittingTwice(broken.Overwrites), "not what it was"),
        (scenarios.CommittingOverIncomplete(broken.DeletesWhatIsIncomplete), "is gone"),
        (scenarios.KeepingAnAttempt(broken.PublishesAttemptsInPieces), "torn attempt"),
        (scenarios.WritingTheLedger(broken.AnnouncesIntentsUnwritten), "lost"),
        (scenarios.ReplacingAFile(broken.replace_in_place), "torn"),
        (scenarios.AppendingLines(broken.append_behind_a_torn_line), "torn"),
        (removals.Purging(broken.moves_before_it_records), "unrecorded"),
        (removals.Purging(broken.says_done_before_it_is), "a run would start"),
        (removals.Purging(broken.copies_and_deletes), "doubled"),
        (removals.Purging(broken.takes_parents_first), "without its parent"),
        (removals.Purging(broken.asks_nobody), "taken from others"),
        (removals.FinishingAPurge(3, broken.finishes_after_it_says_so), "a run would start"),
        (removals.UndoingAPurge(broken.undoes_after_it_says_so), "unrecorded"),
    ],
    ids=[
        "written into place",
        "metadata first",
        "acknowledged early",
        "overwritten",
        "incomplete deleted",
        "attempt in pieces",
        "intent not written",
        "replaced in place",
        "torn line kept",
        "moved, then recorded",
        "said to be done, then moved",
        "copied and deleted",
        "parents first",
        "others not asked",
        "finished after it said so",
        "undone after it said so",
    ],
)
def test_a_protocol_that_is_broken_is_caught(scenario: Scenario, symptom: str, proof: Statement) -> None:
    found = sweep(scenario, 1, until_caught=True)
    noticed = bool(found.wrong) and symptom in found.wrong[0]
    proof(protocols=(proof.case,) * noticed, caught=noticed, unnoticed=not noticed)
    assert found.wrong, f"{found.swept} points, and nothing was noticed"
    assert symptom in found.wrong[0]
