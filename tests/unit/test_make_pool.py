"""The pools that are measured: what the generator writes is what genpool itself would have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from benchmarks.make_pool import Shape, make_pool

from genpool.adoption import membership_bytes
from genpool.inputs import Inputs, child_context
from genpool.pool import Pool
from tests.sound_pools import contents

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = Shape(tasks=300, present=80, legacy=15)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_pool(tmp_path / "pool", SHAPE)
    return tmp_path / "pool"


def is_cache(name: str) -> bool:
    return name.startswith(".genpool") or name.endswith("/manifest.json")


def test_it_is_sound_and_its_records_are_what_genpool_writes(root: Path) -> None:
    pool = Pool.open(root)
    assert not pool.examine().problems
    read = 0
    for stage in pool.config.pipeline:
        for folder in (root / "gens" / stage.name).iterdir():
            record = pool.store.record(stage, folder.name)
            if not record.is_legacy:
                read += 1
                assert record.encode() == (folder / "metadata.json").read_bytes()
    assert read > 100


def test_memberships_are_what_plans_say_and_nothing_drifted(root: Path) -> None:
    for cohort in SHAPE.names:
        plan = Pool.open(root).plan(cohort)
        assert membership_bytes(plan) == (root / f"cohorts/{cohort}/membership.csv").read_bytes()
        assert not plan.drift
        assert all(stage.origins() for stage in plan.stages)


def test_a_cohort_that_is_whole_is_adopted_already(tmp_path: Path) -> None:
    make_pool(tmp_path / "pool", Shape(tasks=100, present=100, cohorts=3))
    before = contents(tmp_path / "pool")
    for cohort in ("whole", "slice-2"):
        assert Pool.open(tmp_path / "pool").run(cohort).made == 0
    after = {name: data for name, data in contents(tmp_path / "pool").items() if not is_cache(name)}
    assert after == before


def test_prompts_are_what_the_templates_give(root: Path) -> None:
    pool = Pool.open(root)
    inputs = Inputs(pool.layout)
    texts: dict[str, str] = {}
    plan = pool.plan("slice-1")
    for task in plan.tasks():
        place = root / "gens" / task.stage.name / task.gen_id
        if not (place / "prompt.txt").exists():
            continue
        source = str(task.signature.values[0])
        if task.stage.parent is None:
            context = inputs.context({one.combo_id: one for one in plan.combos}[source])
        else:
            parent = (root / "gens" / task.stage.parent / source / "parsed.txt").read_text()
            context = child_context({task.stage.parent: parent}, task.stage.parent)
        template = str(task.signature["template_id"])
        texts[task.gen_id] = inputs.renderer(task.stage.name, template).render(context).as_text()
        assert texts[task.gen_id] == (place / "prompt.txt").read_text()
    assert len(texts) > 50


def test_equal_shapes_give_equal_bytes_however_many_processes_write(root: Path, tmp_path: Path) -> None:
    make_pool(tmp_path / "again", SHAPE, processes=2)
    assert contents(tmp_path / "again") == contents(root)
    make_pool(tmp_path / "other", Shape(tasks=300, present=80, legacy=15, seed=2))
    assert contents(tmp_path / "other") != contents(root)


@pytest.mark.parametrize("present", [0, 50, 100])
def test_as_many_exist_as_were_asked_for(tmp_path: Path, present: int) -> None:
    made = make_pool(tmp_path / "pool", Shape(tasks=2_000, present=present))
    assert abs(made / 2_024 - present / 100) <= (0.08 if present == 50 else 0)
