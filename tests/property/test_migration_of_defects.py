"""Migrations of pools with random defects: nothing is guessed, nothing is lost, and everything can be taken back."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from genpool.errors import GenpoolError, UsageError
from genpool.layout import PoolLayout
from genpool.migration.migrations import Migrations
from tests.golden.pools.making import self_sealed
from tests.legacy_pools import fields_of
from tests.property.defective_pools import Drawn, defective_pools, outcome
from tests.small_pools import make_pool, memory_folder
from tests.unit.migration.conftest import whole_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.migration.plan_file import Plan
    from genpool.migration.planning import Planned
    from tests.property.defective_pools import Directory, Outcome

EXAMPLES = {False: 25, True: 1500}
_QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


def searched(full: bool, body: Callable[..., None], *drawn: st.SearchStrategy[object]) -> None:
    """Run something with many drawn pools: more where everything is to be proved."""
    settings(_QUIET, max_examples=EXAMPLES[full])(given(*drawn)(body))()


def at(root: Path, *, watch: Callable[[dict[str, object]], None] | None = None) -> Migrations:
    """The migrations of a pool, in batches so small that there are several."""
    layout = PoolLayout(root)
    return Migrations(layout, batch=2, watch=watch) if watch else Migrations(layout, batch=2)


def written(pool: Drawn, folder: Path) -> Path:
    root = make_pool(folder / "pool").root
    pool.write(root)
    return root


def rows_of(planned: Planned) -> dict[tuple[str, str], tuple[str, int]]:
    return {(row.stage, row.old_id): (row.new_id, row.replicate) for row in planned.rows if row.place == "gens"}


def touched(pool: Drawn, wanted: Outcome) -> dict[tuple[str, str], tuple[str, int]]:
    """What gets another id, or a record of today's format."""
    sealed = {(one.stage, one.name) for one in pool.directories if one.known and one.known.sealed}
    return {task: move for task, move in wanted.moves.items() if task not in sealed or move[0] != task[1]}


# --- a plan -------------------------------------------------------------------------------------------


def test_a_plan_guesses_nothing(full: bool) -> None:
    def body(pool: Drawn) -> None:
        with memory_folder() as folder:
            root = written(pool, folder)
            before = whole_tree(root)
            planned = at(root).plan()
            wanted = outcome(pool)
            event(f"{len(wanted.stays)} stay")
            assert rows_of(planned) == touched(pool, wanted)
            named = [one.path for one in planned.blocking]
            for stage, name in wanted.stays:
                path = f"gens/{stage}/{name}"
                assert any(one == path or one == f"{path}/metadata.json" for one in named), path
            fine = {f"gens/{stage}/{name}" for stage, name in wanted.moves}
            assert not [one for one in named if one.removesuffix("/metadata.json") in fine]
            assert whole_tree(root) == before

    searched(full, body, defective_pools())


# --- applied, and taken back --------------------------------------------------------------------------


def _written_plan(root: Path, pool: Drawn) -> Plan | None:
    """Write a plan, or look that there is nothing to do."""
    planned = at(root).plan()
    if planned.is_empty:
        assert not touched(pool, outcome(pool))
        with pytest.raises(UsageError, match="nothing"):
            at(root).write(planned)
        return None
    return at(root).write(planned)


def check_applied(root: Path, pool: Drawn) -> None:
    """Look at every directory without genpool's own readers."""
    wanted = outcome(pool)
    for one in pool.directories:
        new_id, slot = wanted.moves.get((one.stage, one.name), (one.name, 0))
        now = root / "gens" / one.stage / new_id
        if one.is_file or one.files is None:
            assert now.is_symlink() or now.is_file()
            continue
        assert {path.name for path in now.iterdir()} == one.files.keys()
        for name, data in one.files.items():
            if name != "metadata.json" or not slot:
                assert (now / name).read_bytes() == data, now / name
        if slot:
            _check_record(one, new_id, slot, json.loads((now / "metadata.json").read_bytes()), wanted)


def _check_record(one: Directory, new_id: str, slot: int, record: dict[str, object], wanted: Outcome) -> None:
    assert one.known is not None
    assert one.files is not None
    source, *choices = one.known.values
    if above := {"essay": "draft", "evaluation": "essay"}.get(one.stage):
        source = wanted.moves[above, source][0]
    today = {"format": "genpool.generation/1", "id_scheme": "genpool/1", "gen_id": new_id, "stage": one.stage}
    today |= {key: str(item) for key, item in fields_of(one.stage, (source, *choices), slot).items()}
    said = {**record, "replicate": str(record["replicate"])}
    assert {key: said[key] for key in today} == today
    assert type(record["replicate"]) is int
    assert record.get("origin_cohort_id") == one.known.origin
    was = json.loads(one.files["metadata.json"])
    free = {*today, "origin_cohort_id", "self"}
    assert {key: item for key, item in record.items() if key not in free} == {
        key: item for key, item in was.items() if key not in free
    }
    if "naïve" not in record:  # a number that only RFC 8785 writes in its way; verify looks at that digest
        assert record == self_sealed(record)


def check_memberships(root: Path, pool: Drawn) -> None:
    """Look that every membership lists the same members, by the ids that they have now."""
    moves = outcome(pool).moves
    for cohort, text in pool.memberships.items():
        before = list(csv.reader(text.splitlines()))
        now = list(csv.reader((root / "cohorts" / cohort / "membership.csv").read_text().splitlines()))
        renamed = [[row[0], moves.get((row[0], row[1]), (row[1],))[0], *row[2:]] for row in before[1:]]
        assert now == [before[0], *renamed]


def test_what_is_applied_verifies_and_comes_back_to_the_byte(full: bool) -> None:
    def body(pool: Drawn) -> None:
        with memory_folder() as folder:
            root = written(pool, folder)
            before = whole_tree(root)
            plan = _written_plan(root, pool)
            if plan is None:
                return
            at(root).apply(plan.migration_id)
            report = at(root).verify(plan.migration_id)
            assert report.is_right, report.problems
            check_applied(root, pool)
            check_memberships(root, pool)
            at(root).roll_back(plan.migration_id)
            assert whole_tree(root) == before
            assert at(root).verify(plan.migration_id).is_right
            again = at(root).write(at(root).plan())
            assert again.migration_id == plan.migration_id

    searched(full, body, defective_pools())


class _Stopped(Exception):
    """The user's Ctrl-C."""


def test_an_interrupted_one_goes_on_or_comes_back(full: bool) -> None:
    def body(pool: Drawn, batch: int, goes_on: bool) -> None:
        with memory_folder() as folder:
            root = written(pool, folder)
            before = whole_tree(root)
            plan = _written_plan(root, pool)
            if plan is None:
                return
            seen = []

            def stop(one: dict[str, object]) -> None:
                seen.append(one)
                if len(seen) == batch:
                    raise _Stopped

            try:
                at(root, watch=stop).apply(plan.migration_id)
            except _Stopped:
                event("interrupted")
                if goes_on:
                    at(root).resume(plan.migration_id)
            if goes_on:
                assert at(root).verify(plan.migration_id).is_right
                check_applied(root, pool)
            at(root).roll_back(plan.migration_id)
            assert whole_tree(root) == before

    searched(full, body, defective_pools(), st.integers(1, 6), st.booleans())


# --- refused ------------------------------------------------------------------------------------------


def _edit(root: Path, pool: Drawn) -> None:
    stage, name = next(iter(touched(pool, outcome(pool))))
    file = root / "gens" / stage / name / "metadata.json"
    file.write_bytes(file.read_bytes() + b" ")


def _remove(root: Path, pool: Drawn) -> None:
    stage, name = next(iter(touched(pool, outcome(pool))))
    (root / "gens" / stage / name).rename(root / "elsewhere")


def _add(root: Path, pool: Drawn) -> None:
    stage, _ = next(iter(touched(pool, outcome(pool))))
    (root / "gens" / stage / "came-since").mkdir()


def _take_a_place(root: Path, pool: Drawn) -> None:
    (stage, _), (new_id, _) = next(iter(touched(pool, outcome(pool)).items()))
    (root / "gens" / stage / new_id).mkdir(exist_ok=True)
    (root / "gens" / stage / new_id / "metadata.json").write_text("{}")


def _record_a_slot(root: Path, pool: Drawn) -> None:
    file = root / "legacy.csv"
    header = "" if file.exists() else "stage,gen_id,replicate,new_gen_id\n"
    with file.open("a") as lines:
        lines.write(f"{header}draft,somebody,1,\n")


SINCE = {"edited": _edit, "removed": _remove, "added": _add, "taken": _take_a_place, "slot": _record_a_slot}


@pytest.mark.parametrize("since", SINCE)
def test_what_no_longer_fits_is_refused_before_the_first_change(full: bool, since: str) -> None:
    def body(pool: Drawn) -> None:
        with memory_folder() as folder:
            root = written(pool, folder)
            plan = _written_plan(root, pool)
            if plan is None or not touched(pool, outcome(pool)):
                return
            if since == "slot" and "legacy.csv" not in plan.document["books"]:
                return  # records that are sealed where they stand: no id changes, and no alias is written
            SINCE[since](root, pool)
            before = whole_tree(root)
            with pytest.raises(GenpoolError) as refused:
                at(root).apply(plan.migration_id)
            assert refused.value.hint
            assert whole_tree(root) == before
            assert at(root).standing(plan.migration_id).state == "planned"

    settings(_QUIET, max_examples=EXAMPLES[full] // 5)(given(defective_pools())(body))()
