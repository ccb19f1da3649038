"""Some tasks of a plan: what a file names, what these start from, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from genpool.errors import InputError
from genpool.only import restrict
from genpool.planner import State
from tests.small_pools import generations, make_pool, models, tree, whole_cohort, write_spec

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.planner import Task
    from genpool.pool import Pool


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    pool = make_pool(tmp_path / "pool")
    whole_cohort(pool.root)
    return pool


def line(task: Task, **changed: object) -> str:
    return json.dumps({"stage": task.stage.name, **task.signature.as_dict(), "gen_id": task.gen_id, **changed})


def listed(pool: Pool, *lines: str) -> Path:
    path = pool.root.parent / "some.jsonl"
    path.write_text("".join(f"{one}\n" for one in lines))
    return path


def test_only_the_named_tasks_and_those_above_are_to_be_made(pool: Pool) -> None:
    plan = pool.plan("c")
    chosen = next(task for task in plan.tasks() if task.stage.name == "evaluation")
    some = restrict(plan, listed(pool, line(chosen)), "")
    assert [len(stage.to_make()) for stage in some.stages] == [1, 1, 1]
    assert len(some) == len(plan)
    assert some.missing == plan.missing
    assert plan.to_make == len(plan), "the whole plan is as it was"
    assert {State(state) for stage in some.stages for state in stage.states} == {State.MINT, State.HELD}


def test_a_run_makes_exactly_these_and_the_next_run_the_rest(pool: Pool) -> None:
    plan = pool.plan("c")
    essays = [task for task in plan.tasks() if task.stage.name == "essay"][:2]
    report = pool.run("c", models=models(), only=listed(pool, *map(line, essays)))
    above = {plan.stage("draft").gen_ids[task.parent] for task in essays}
    assert generations(pool.root) == {("essay", one.gen_id) for one in essays} | {("draft", one) for one in above}
    assert not report.complete
    assert report.stages["evaluation"].left == len(plan.stage("evaluation"))
    assert pool.run("c", models=models()).complete


def test_an_empty_list_makes_nothing(pool: Pool) -> None:
    report = pool.run("c", models=models(), only=listed(pool, "", "  "))
    assert report.made == 0
    assert report.stages["draft"].left == 2


def test_what_exists_already_is_no_error(pool: Pool) -> None:
    task = next(iter(pool.plan("c").tasks()))
    pool.run("c", models=models(), only=listed(pool, line(task)))
    assert pool.run("c", models=models(), only=listed(pool, line(task))).made == 0


def test_every_wrong_line_is_told_with_its_place_before_anything_is_made(pool: Pool) -> None:
    write_spec(pool.root, "drafts")
    tasks = list(pool.plan("c").tasks())
    essay = next(task for task in tasks if task.stage.name == "essay")
    lines = [
        line(tasks[0]),
        "not json",
        "[1]",
        line(tasks[0], stage="drafft"),
        line(tasks[0], tempo="slow"),
        line(tasks[0], replicate=7),
        line(tasks[1], gen_id="d_0"),
        line(essay),
        line(tasks[0], replicate="1"),
    ]
    before = tree(pool.root, without=(".genpool",))
    with pytest.raises(InputError) as caught:
        pool.run("drafts", models=models(), only=listed(pool, *lines))
    assert tree(pool.root, without=(".genpool",)) == before
    told = {problem.line: problem.message for problem in caught.value.problems}
    assert sorted(told) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert "not readable as JSON" in told[2]
    assert "no stage is named 'drafft'" in told[4]
    assert "unknown field 'tempo'" in told[5]
    assert "replicate = 7" in told[6]
    assert "'d_0' is not that of this signature" in told[7]
    assert "selects nothing in stage 'essay'" in told[8]


def test_of_very_many_wrong_lines_the_first_are_told(pool: Pool) -> None:
    with pytest.raises(InputError) as caught:
        restrict(pool.plan("c"), listed(pool, *["nothing"] * 100), "")
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1].message == "80 more lines are wrong"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_told(pool: Pool, content: bytes | None) -> None:
    path = pool.root / "some.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"some\.jsonl"):
        restrict(pool.plan("c"), path, "")
