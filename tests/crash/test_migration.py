"""A migration killed at every system call: gone on with it is right, and taken back everything is as it was.

Applying, going on, taking back, each also after one that was killed before; and killed twice, in the recovery too. The
same is done with journals and batches that are broken on purpose, which must be caught.
"""

from __future__ import annotations

import math
import random
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.bars import least
from tests.crash import broken_migrations as broken
from tests.crash import migration_scenarios as migrating
from tests.crash.scenarios import acknowledger
from tests.crash.syscall_sweep import need_tracing, points, run_until
from tests.small_pools import copy_tree, memory_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Statement
    from tests.crash.migration_scenarios import Migrating

pytestmark = pytest.mark.bar(2)


@pytest.fixture(autouse=True)
def _tracing() -> None:
    need_tracing()


@dataclass(slots=True)
class Bench:
    """One scenario in one folder, run again and again from its beginning."""

    scenario: Migrating
    folder: Path
    calls: int = 0
    """System calls of an undisturbed run."""
    recovering: dict[bool, int] = field(default_factory=dict)
    """System calls of a recovery from the middle, by whether it goes back."""

    def __post_init__(self) -> None:
        self.scenario.prepare(self.folder / "before")

    def killed(self, kill_at: int | None, again_at: float | None = None, *, back: bool = False) -> list[str]:
        """Kill a run, perhaps its recovery too; judge what is left.

        Args:
            kill_at: The system call of the run; None for none.
            again_at: The share of the recovery's system calls at which that is killed; None where there is none.
            back: Whether the recovery takes back.
        """
        root, acks = self.folder / "pool", self.folder / "acks"
        copy_tree(self.folder / "before", root)
        acks.mkdir()
        run = run_until(lambda: self.scenario.act(root, acknowledger(acks)), kill_at)
        if kill_at is None:
            self.calls = run.calls
        if again_at is not None:
            self._again(root, again_at, back=back)
        acked = {path.name for path in acks.iterdir()} if again_at is None else set()
        wrong = list(self.scenario.wrong(root, acked))
        shutil.rmtree(root)
        shutil.rmtree(acks)
        return wrong

    def _again(self, root: Path, share: float, *, back: bool) -> None:
        """Kill a recovery at a share of the calls that it makes, counted on a copy."""
        copy = self.folder / "counted"
        copy_tree(root, copy)
        calls = run_until(lambda: self.scenario.recover(copy, back=back), None).calls
        shutil.rmtree(copy)
        assert run_until(lambda: self.scenario.recover(root, back=back), max(1, round(calls * share))).killed


def scattered(count: int) -> Iterator[int]:
    """Yield every point up to a count, wide apart first: what is broken shows at some of them, and soon."""
    step = next(one for one in range(round(count * 0.618), 2 * count) if math.gcd(one, count) == 1)
    yield from (1 + number * step % count for number in range(count))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("scenario", "fewest", "short_step"),
    [
        (migrating.applying(), 2000, 251),
        (migrating.resuming(0.6), 500, 151),
        (migrating.resuming(0.85), 200, 97),
        (migrating.rolling_back(), 1000, 149),
        (migrating.TakingBackWhatCameSince(), 1200, 301),
        (migrating.rolling_back_a_half(0.75), 200, 97),
        (migrating.resuming_a_rollback(0.5), 400, 97),
    ],
    ids=lambda one: "" if isinstance(one, int) else str(one),
)
def test_killed_at_every_system_call_there_is_a_way_on_and_a_way_back(
    scenario: Migrating, fewest: int, short_step: int, full: bool, proof: Statement
) -> None:
    step = 1 if full else short_step
    with memory_folder() as folder:
        bench = Bench(scenario, folder)
        wrong = [f"undisturbed: {said}" for said in bench.killed(None)]
        swept = list(points(bench.calls, step))
        for point in swept:
            wrong += [f"killed at call {point}: {said}" for said in bench.killed(point)]
        number = scenario.generations
    proof(
        f"migration, {scenario}: killed at {len(swept)} of {bench.calls} system calls, {len(wrong)} wrong",
        points=len(swept),
        generations=number,
        wrong=len(wrong),
    )
    assert wrong == []
    assert bench.calls >= fewest, "the sweep has shrunk"
    assert len(swept) >= bench.calls // step


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", [migrating.applying(), migrating.rolling_back()], ids=str)
def test_killed_again_inside_the_recovery(scenario: Migrating, full: bool, proof: Statement) -> None:
    count = least(2, "again") // 2 if full else 6
    rng = random.Random(f"{scenario}")
    wrong = []
    with memory_folder() as folder:
        bench = Bench(scenario, folder)
        wrong += bench.killed(None)
        for number in range(count):
            first, share, back = 1 + int(bench.calls * (number + rng.random()) / count), rng.random(), number % 2 == 0
            said = bench.killed(min(first, bench.calls - 1), share, back=back)
            way = "rollback" if back else "resume"
            wrong += [f"killed at call {first}, and again at {share:.1%} of its {way}: {one}" for one in said]
    proof(
        f"migration, {scenario}: killed again inside the recovery {count} times, {len(wrong)} wrong",
        points=count,
        again=count,
        wrong=len(wrong),
    )
    assert wrong == []


# --- what must be caught ----------------------------------------------------------------------------


def test_scattered_points_are_all_points() -> None:
    for count in (7, 100, 2287):
        assert sorted(scattered(count)) == list(range(1, count + 1))


@pytest.mark.bar(4)
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("scenario", "symptom"),
    [
        (migrating.applying(broken.SaysDoneFirst), "forward, not right"),
        (migrating.applying(broken.NotesAfterwards), "taken back, "),
        (migrating.applying(broken.BeginsAfterwards), "unrecorded"),
        (migrating.applying(broken.KeepsNothing), "original is not kept"),
        (migrating.applying(broken.RewritesInPlace), "original is not kept"),
        (migrating.rolling_back(broken.RestoresInPlace), "are not as before"),
        (migrating.rolling_back(broken.SaysUndoneFirst), "are not as before"),
    ],
    ids=[
        "done before it is done",
        "renamed, then journaled",
        "renamed, then begun",
        "originals not kept",
        "rewritten in place",
        "restored in place",
        "undone before it is undone",
    ],
)
def test_a_migration_whose_protocol_is_broken_is_caught(scenario: Migrating, symptom: str, proof: Statement) -> None:
    said = ""
    tried = 0
    with memory_folder() as folder:
        bench = Bench(scenario, folder)
        said = "\n".join(bench.killed(None))
        for point in scattered(bench.calls):
            if said:
                break
            tried += 1
            said = "\n".join(bench.killed(point))
    noticed = symptom in said
    proof(f"{proof.case}: caught after {tried} kills", caught=noticed, unnoticed=not noticed)
    assert symptom in said
