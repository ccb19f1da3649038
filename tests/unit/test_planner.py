"""A plan sets what is wanted against what is present, to the number, and writes nothing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.claims import Claims
from genpool.gen_ids import gen_id
from genpool.planner import State
from genpool.testing import ScriptedModel
from tests.small_pools import (
    ESSAYS,
    EVALUATIONS,
    answer,
    generations,
    make_pool,
    models,
    tree,
    whole_cohort,
    write_rows,
    write_spec,
)

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.pool import Pool


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return make_pool(tmp_path / "pool")


def counts(pool: Pool, cohort_id: str = "c", **options: bool) -> dict[str, tuple[int, int, int, int, int]]:
    """Return the states' counts of every stage, in the order of `State`."""
    plan = pool.plan(cohort_id, **options)
    return {part.stage.name: tuple(part.counts()[state] for state in State)[:5] for part in plan.stages}  # type: ignore[misc]


def test_a_new_cohort_is_minted_as_a_whole_and_planning_writes_nothing(pool: Pool) -> None:
    whole_cohort(pool.root)
    before = tree(pool.root)
    assert counts(pool) == {"draft": (0, 2, 0, 0, 0), "essay": (0, 4, 0, 0, 0), "evaluation": (0, 8, 0, 0, 0)}
    assert pool.plan("c").to_make == pool.plan("c").missing == 14
    assert tree(pool.root) == before


def test_planning_a_pool_in_use_writes_nothing(pool: Pool) -> None:
    whole_cohort(pool.root)
    pool.run("c", models=models())
    shutil.rmtree(next((pool.root / "gens" / "essay").iterdir()))
    before = tree(pool.root)
    assert pool.plan("c").to_make == 1
    assert tree(pool.root) == before


def test_every_id_is_that_of_the_tasks_signature_with_its_parents_id_in_it(pool: Pool) -> None:
    whole_cohort(pool.root)
    plan = pool.plan("c")
    for task in plan.tasks():
        assert task.gen_id == gen_id(task.signature)
        if task.parent is not None:
            assert task.stage.parent is not None
            assert task.signature["parent_gen_id"] == plan.stage(task.stage.parent).gen_ids[task.parent]
    assert len({task.gen_id for task in plan.tasks()}) == 14


def test_a_copy_has_one_slot_and_the_plan_says_so(pool: Pool) -> None:
    write_spec(pool.root, essay=f"{ESSAYS}, replicates: 3")
    plan = pool.plan("c")
    assert len(plan.stage("essay")) == 2 * (3 + 1)
    assert any("same copies" in note for note in plan.notes)


def test_what_is_present_is_reused_though_its_parent_is_gone(pool: Pool) -> None:
    whole_cohort(pool.root)
    pool.run("c", models=models())
    shutil.rmtree(next((pool.root / "gens" / "draft").iterdir()))
    assert counts(pool) == {"draft": (1, 1, 0, 0, 0), "essay": (4, 0, 0, 0, 0), "evaluation": (8, 0, 0, 0, 0)}


@pytest.mark.parametrize("lost", ["metadata.json", "parsed.txt"])
def test_what_some_tool_left_incomplete_is_counted_as_such_and_made_anew(pool: Pool, lost: str) -> None:
    write_spec(pool.root)
    pool.run("c", models=models())
    folder = next((pool.root / "gens" / "draft").iterdir())
    (folder / lost).unlink()
    assert counts(pool) == {"draft": (1, 0, 1, 0, 0)}
    assert pool.plan("c").to_make == 1
    assert pool.run("c", models=models()).complete
    assert (pool.root / "attempts" / "draft" / folder.name / "1" / "raw.txt").is_file()
    assert counts(pool) == {"draft": (2, 0, 0, 0, 0)}


def test_tasks_beyond_the_limit_of_attempts_are_exhausted_and_those_below_are_blocked(pool: Pool) -> None:
    whole_cohort(pool.root)
    report = pool.run("c", models=models(writer=ScriptedModel(lambda request: answer("cut", "length"))))
    assert report.attempts == {"truncated": 4}
    assert counts(pool) == {"draft": (0, 0, 0, 2, 0), "essay": (0, 0, 0, 0, 4), "evaluation": (0, 0, 0, 0, 8)}
    assert (pool.plan("c").to_make, pool.plan("c").missing) == (0, 14)
    assert counts(pool, retry_exhausted=True)["draft"] == (0, 2, 0, 0, 0)
    assert pool.plan("c", retry_exhausted=True).to_make == 14


def test_what_lacks_an_exhausted_grandparent_is_blocked_though_its_parent_exists(pool: Pool) -> None:
    whole_cohort(pool.root)
    pool.run("c", models=models())
    shutil.rmtree(pool.root / "gens" / "draft")
    shutil.rmtree(pool.root / "gens" / "evaluation")
    pool.run("c", models=models(writer=ScriptedModel(lambda request: answer("cut", "length"))))
    assert counts(pool) == {"draft": (0, 0, 0, 2, 0), "essay": (4, 0, 0, 0, 0), "evaluation": (0, 0, 0, 0, 8)}


def test_output_that_was_bought_twice_does_not_exhaust_a_task(pool: Pool) -> None:
    write_spec(pool.root)
    pool.run("c", models=models())
    made = [pool.store.record(task.stage, task.gen_id) for task in pool.plan("c").tasks()]
    from genpool.store import BOUGHT_TWICE, Generation

    with pool.store.session():
        for _ in range(3):
            pool.store.keep_attempt(Generation(made[0], {"parsed": "again"}), BOUGHT_TWICE)
    shutil.rmtree(pool.root / "gens" / "draft" / made[0].gen_id)
    assert counts(pool) == {"draft": (1, 1, 0, 0, 0)}


def test_what_another_run_is_making_is_counted_as_claimed(pool: Pool) -> None:
    whole_cohort(pool.root)
    pool.run("c", models=models())
    lost = sorted(generations(pool.root))[0]
    shutil.rmtree(pool.root / "gens" / lost[0] / lost[1])
    claims = Claims(pool.layout)
    assert pool.plan("c").stage("draft").row("c")["claimed"] == 0
    for name in ("draft", "essay"):
        for one in pool.plan("c").stage(name).gen_ids:  # those that exist are not to be made, whoever holds them
            assert claims.take(name, one)
    rows = {part.stage.name: part.row("c")["claimed"] for part in pool.plan("c").stages}
    assert rows == {"draft": 1, "essay": 0, "evaluation": 0}
    claims.give_back(*lost)
    assert pool.plan("c").stage("draft").row("c")["claimed"] == 0


def test_drift_is_counted_where_it_is_and_only_of_what_is_reused(pool: Pool) -> None:
    whole_cohort(pool.root)
    pool.run("c", models=models())
    template = pool.root / "templates" / "essay" / "story.j2"
    template.write_text(template.read_text() + "More.\n")
    shutil.rmtree(pool.root / "gens" / "essay" / pool.plan("c").stage("essay").gen_ids[0])
    rows = {part.stage.name: part.row("c")["drifted"] for part in pool.plan("c").stages}
    assert rows == {"draft": 0, "essay": 1, "evaluation": 0}


def test_a_raised_limit_makes_exhausted_tasks_plannable_again(tmp_path: Path) -> None:
    make = {"writer": "{client: scripted, attempts: 1}"}
    pool = make_pool(tmp_path, models=make)
    write_spec(pool.root)
    pool.run("c", models=models(writer=ScriptedModel(lambda request: answer(""))))
    assert counts(pool) == {"draft": (0, 0, 0, 2, 0)}
    raised = make_pool(tmp_path, models={"writer": "{client: scripted, attempts: 2}"})
    assert counts(raised) == {"draft": (0, 2, 0, 0, 0)}


def test_strangers_under_gens_change_no_count(pool: Pool) -> None:
    write_spec(pool.root)
    pool.run("c", models=models())
    for name in (".DS_Store", "d_" + "0" * 32, "notes"):
        (pool.root / "gens" / "draft" / name).mkdir()
    assert counts(pool) == {"draft": (2, 0, 0, 0, 0)}


@pytest.mark.parametrize(
    ("drafts", "essays", "more"),
    [
        ("template: [plain], model: [writer], replicates: 2", ESSAYS, 2 * (1 + 2 + 4)),
        ("template: [plain, long], model: [writer]", ESSAYS, 2 * (1 + 2 + 4)),
        ("template: [plain], model: [writer]", "template: [story, letter, same]", 2 * (1 + 2)),
    ],
    ids=["a replicate more", "a draft template more", "an essay template more"],
)
def test_a_spec_that_grows_makes_exactly_the_difference_that_the_plan_said(
    pool: Pool, drafts: str, essays: str, more: int
) -> None:
    whole_cohort(pool.root)
    pool.run("c", models=models())
    before = generations(pool.root)
    write_spec(pool.root, draft=drafts, essay=essays, evaluation=EVALUATIONS)
    plan = pool.plan("c")
    assert (len(plan), plan.to_make) == (14 + more, more)
    clients = models()
    report = pool.run("c", models=clients)
    assert (report.made, report.complete) == (more, True)
    assert report.calls == sum(len(client.requests) for client in clients.values())
    after = generations(pool.root)
    assert before < after
    assert {gen for _, gen in after - before} == {task.gen_id for task in plan.tasks() if task.state is State.MINT}


def test_a_spec_that_shrinks_wants_less_and_removes_nothing(pool: Pool) -> None:
    write_spec(pool.root, draft="template: [plain, long], model: [writer], replicates: 2")
    pool.run("c", models=models())
    before = tree(pool.root / "gens")
    write_spec(pool.root)
    assert counts(pool) == {"draft": (2, 0, 0, 0, 0)}
    report = pool.run("c", models=models())
    assert (report.calls, report.made) == (0, 0)
    assert tree(pool.root / "gens") == before


def test_the_plan_keeps_the_order_of_the_spec(pool: Pool) -> None:
    write_rows(pool.root, [5, 1, 3])
    write_spec(pool.root, draft="template: [plain, long], model: [writer], replicates: 2")
    seen = [(str(s["combo_id"]), str(s["template_id"]), s.replicate) for s in map(_signature, pool.plan("c").tasks())]
    assert seen == [(f"row-{row}", name, n) for row in (5, 1, 3) for name in ("plain", "long") for n in (1, 2)]


def _signature(task):
    return task.signature


def test_a_task_below_runs_on_the_nearest_model_above(pool: Pool) -> None:
    whole_cohort(pool.root)
    plan = pool.plan("c")
    ran_on = {part.stage.name: plan.model_of(part, 0) for part in plan.stages}
    assert ran_on == {"draft": "writer", "essay": "writer", "evaluation": "judge"}


def test_a_stage_that_is_not_selected_has_no_plan(pool: Pool) -> None:
    write_spec(pool.root)
    with pytest.raises(KeyError):
        pool.plan("c").stage("essay")
