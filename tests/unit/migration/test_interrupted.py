"""Killed at any point, a migration goes on or is taken back: to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genpool.errors import PoolBusy
from genpool.pool import Pool
from tests.conftest import is_full
from tests.legacy_pools import write_legacy
from tests.small_pools import EVALUATIONS, models, write_spec
from tests.unit.migration.conftest import DRAFT, draft_id, migrations, old_pool, planned, to_make, whole_tree
from tests.unit.migration.killing import killed_at

if TYPE_CHECKING:
    from pathlib import Path


def fresh(folder: Path, number: int) -> tuple[Path, str, dict[str, tuple[object, ...]]]:
    """A pool with something of everything that is touched, planned."""
    root = old_pool(folder / f"pool-{number}")
    write_legacy(root, "draft", draft_id(2), *DRAFT, replicate=3)
    write_legacy(root, "draft", "last", *DRAFT, replicate=2)
    plan = planned(root)
    return root, plan.migration_id, whole_tree(root)


@pytest.fixture
def step(request: pytest.FixtureRequest) -> int:
    """Every so many points are tried: with --full each one."""
    return 1 if is_full(request.config) else 7


def test_killed_while_applying_it_goes_on(tmp_path: Path, step: int) -> None:
    points = 0
    for number in range(1, 5000, step):
        root, name, _ = fresh(tmp_path, number)
        if not killed_at(number, lambda: migrations(root).apply(name)):  # noqa: B023 - called at once
            break
        points += 1
        if migrations(root).standing(name).state == "planned":
            migrations(root).apply(name)
        elif migrations(root).standing(name).state == "applying":
            _refused_while_half_done(root)
            migrations(root).resume(name)
        report = migrations(root).verify(name)
        assert report.is_right, (number, report.problems)
        assert to_make(root) == 0
    assert points > 15


def test_killed_while_applying_it_can_be_taken_back(tmp_path: Path, step: int) -> None:
    points = 0
    for number in range(2, 5000, step):
        root, name, before = fresh(tmp_path, number)
        if not killed_at(number, lambda: migrations(root).apply(name)):  # noqa: B023 - called at once
            break
        points += 1
        if migrations(root).standing(name).state != "planned":
            migrations(root).roll_back(name)
        assert whole_tree(root) == before, number
    assert points > 15


def test_killed_while_rolling_back_it_goes_on(tmp_path: Path, step: int) -> None:
    points = 0
    for number in range(1, 5000, step):
        root, name, before = fresh(tmp_path, number)
        migrations(root).apply(name)
        if not killed_at(number, lambda: migrations(root).roll_back(name)):  # noqa: B023 - called at once
            break
        points += 1
        if migrations(root).standing(name).state == "rolling-back":
            migrations(root).resume(name)
        elif migrations(root).standing(name).state == "applied":
            migrations(root).roll_back(name)
        assert whole_tree(root) == before, number
        assert migrations(root).verify(name).is_right
    assert points > 10


def test_killed_again_while_going_on(tmp_path: Path, step: int) -> None:
    points = 0
    for number in range(4, 5000, step):
        root, name, before = fresh(tmp_path, number)
        if not killed_at(number, lambda: migrations(root).apply(name)):  # noqa: B023 - called at once
            break
        at = migrations(root)
        back = number % 4 < 2
        second = 1 + number * 7 % 60
        while at.standing(name).state in {"applying", "rolling-back"}:
            work = at.roll_back if back else at.resume
            points += killed_at(second, lambda: work(name))  # noqa: B023 - called at once
            second += 13
        state = at.standing(name).state
        assert state in {"planned", "applied", "rolled-back"}
        if state == "applied":
            assert at.verify(name).is_right
            at.roll_back(name)
        assert whole_tree(root) == before, number
    assert points > 15


def test_killed_with_something_made_since(tmp_path: Path, step: int) -> None:
    points = 0
    for number in range(3, 5000, 2 * step):
        root, name, before = fresh(tmp_path, number)
        migrations(root).apply(name)
        write_spec(root, "later", essay="template: [letter, story]", evaluation=EVALUATIONS)
        Pool.open(root).run("later", models=models())
        if not killed_at(number, lambda: migrations(root).roll_back(name)):  # noqa: B023 - called at once
            break
        points += 1
        state = migrations(root).standing(name).state
        if state != "rolled-back":
            migrations(root).roll_back(name)
        after = whole_tree(root)
        assert not [path for path in before if path not in after]
        assert migrations(root).verify(name).is_right
        assert to_make(root) == to_make(root, "later") == 0
    assert points > 5


def _refused_while_half_done(root: Path) -> None:
    for work in (
        lambda: Pool.open(root).plan("c"),
        lambda: Pool.open(root).run("c", models=models()),
        lambda: Pool.open(root).purge("c"),
        lambda: migrations(root).plan(),
    ):
        with pytest.raises(PoolBusy, match="is being applied"):
            work()
