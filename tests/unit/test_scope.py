"""A scope answers questions about one cohort from its membership and the store, and from nothing else."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.errors import CorruptGeneration, NotFound
from genpool.finding import lineage
from genpool.level_means import mean_scores
from genpool.pool import Pool
from genpool.scope import StageCounts
from genpool.testing import ScriptedModel
from tests.small_pools import (
    EVALUATIONS,
    answer,
    make_pool,
    models,
    tree,
    whole_cohort,
    write_rows,
    write_spec,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """A pool with cohort `first` (rows 0 and 1) and cohort `second` (rows 1 and 2), both run."""
    made = make_pool(tmp_path / "pool", rows=3)
    whole_cohort(made.root, "first")
    write_spec(made.root, "second", essay="template: [story]")
    write_rows(made.root, [0, 1])
    made.run("first", models=models())
    write_rows(made.root, [1, 2])
    Pool.open(made.root).run("second", models=models())
    return Pool.open(made.root)


def test_members_are_own_reused_or_missing(pool: Pool) -> None:
    shutil.rmtree(pool.root / "gens" / "draft" / pool.scope("second").member_ids[1])
    assert pool.scope("second").counts() == {
        "draft": StageCounts(wanted=2, own=0, reused=1, missing=1),
        "essay": StageCounts(wanted=2, own=1, reused=1, missing=0),
    }
    states = [(one.stage, one.state, one.record is None) for one in pool.scope("second").members()]
    assert states == [
        ("draft", "reused", False),
        ("draft", "missing", True),
        ("essay", "reused", False),
        ("essay", "own", False),
    ]


def test_members_come_in_plan_order_and_can_be_asked_for_by_stage(pool: Pool) -> None:
    plan_ids = tuple(task.gen_id for task in pool.plan("second").tasks())
    assert pool.scope("second").member_ids == plan_ids
    assert [one.gen_id for one in pool.scope("second").members("essay")] == list(plan_ids[2:])


def test_a_scope_needs_no_spec_no_template_and_no_row(pool: Pool) -> None:
    before = pool.scope("first").counts()
    for name in ("templates", "rows.csv", "combos.jsonl", ".genpool", "sources"):
        path = pool.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    (pool.root / "cohorts" / "first" / "cohort.yaml").unlink()
    assert Pool.open(pool.root).scope("first").counts() == before


def test_asking_writes_nothing(pool: Pool) -> None:
    before = tree(pool.root)
    scope = pool.scope("first")
    scope.counts()
    scope.mean_scores()
    assert tree(pool.root) == before


def test_attempts_are_counted_where_members_are_missing(tmp_path: Path) -> None:
    pool = make_pool(tmp_path)
    write_spec(tmp_path)
    pool.run("c", models=models(writer=ScriptedModel(lambda _: answer("cut", "length"))))
    assert pool.scope("c").counts() == {"draft": StageCounts(wanted=2, missing=2, attempts=4)}


def test_what_is_incomplete_is_missing(pool: Pool) -> None:
    draft = pool.scope("first").member_ids[0]
    (pool.root / "gens" / "draft" / draft / "parsed.txt").unlink()
    assert pool.scope("first").counts()["draft"].missing == 1


def test_a_damaged_member_is_told_not_passed_over(pool: Pool) -> None:
    scope = pool.scope("first")
    draft = scope.member_ids[0]
    assert scope.counts()["draft"].unusable == 0
    path = pool.root / "gens" / "draft" / draft / "metadata.json"
    path.write_bytes(path.read_bytes().replace(b"first", b"third"))
    with pytest.raises(CorruptGeneration, match=draft):  # an edit inside a generation is noticed when it is read
        list(scope.members())
    shutil.rmtree(pool.root / ".genpool")
    anew = pool.scope("first")
    assert anew.counts()["draft"].unusable == 1
    assert list(anew.problems()) == [draft]


def test_the_lineage_goes_up_to_the_root(pool: Pool) -> None:
    evaluation = next(one.record for one in pool.scope("first").members("evaluation"))
    assert evaluation is not None
    above = pool.scope("first").ancestors(evaluation)
    assert [one.stage.name for one in above] == ["essay", "draft"]
    assert above[0].gen_id == evaluation.signature["parent_gen_id"]
    assert above[1].gen_id == above[0].signature["parent_gen_id"]
    shutil.rmtree(pool.root / "gens" / "draft" / above[1].gen_id)
    with pytest.raises(NotFound):
        lineage(pool.config.pipeline, pool.store, evaluation)


def test_mean_scores_are_by_rubric_and_by_the_templates_above(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=2)
    write_spec(tmp_path, essay="template: [story, same]", evaluation=EVALUATIONS)

    def judge(request) -> str:
        return json.dumps({"reason": "A reason.", "score": 8 if "STORY" in request.prompt.user else 4})

    def write(request) -> str:
        return "STORY" if "as a story" in request.prompt.user else "DRAFT"

    pool.run("c", models=models(writer=ScriptedModel(write), judge=ScriptedModel(judge)))
    found = {(one.rubric, one.judged): (one.mean, one.judgements) for one in pool.scope("c").mean_scores()}
    assert found == {("clarity", "plain → same"): (4.0, 4), ("clarity", "plain → story"): (8.0, 4)}


@pytest.mark.parametrize("seed", range(20))
def test_mean_scores_are_those_of_the_tables_whatever_is_lacking(tmp_path: Path, seed: int) -> None:
    pool = make_pool(tmp_path, rows=3)
    write_spec(
        tmp_path,
        essay="template: [story, same]",
        evaluation="template: [clarity], model: [judge, writer], replicates: 2",
    )
    chance = random.Random(seed)

    def spoken(request) -> str:
        if "How clear is it" in request.prompt.user:
            return json.dumps({"reason": "A reason.", "score": chance.randint(0, 9)})
        return f"A text, {request.seed}."

    pool.run("c", models=models(writer=ScriptedModel(spoken), judge=ScriptedModel(spoken)))
    for folder in sorted((tmp_path / "gens/evaluation").iterdir()):
        if chance.random() < 0.1 + seed / 25:
            shutil.rmtree(folder)
    scope = Pool.open(tmp_path).scope("c")
    table = mean_scores(scope.scores(), ["draft_template", "essay_template", "rubric"]).frame
    wanted = {
        (f"{row['draft_template']} → {row['essay_template']}", row["rubric"]): (row["mean"], row["texts"])
        for row in table.to_dicts()
    }
    found = {(one.judged, one.rubric): (one.mean, one.texts) for one in scope.mean_scores()}
    assert found.keys() == wanted.keys()
    for key, (mean, texts) in found.items():
        assert texts == wanted[key][1]
        assert mean == (None if wanted[key][0] is None else pytest.approx(wanted[key][0], abs=1e-12))


def test_a_cohort_that_was_never_run_has_no_scope(pool: Pool) -> None:
    with pytest.raises(NotFound):
        pool.scope("third")


# --- finding one generation -------------------------------------------------------------------------


def test_a_generation_is_found_by_its_id_or_the_only_beginning_of_it(pool: Pool) -> None:
    gen_id = pool.scope("first").member_ids[0]
    assert pool.find_generation(gen_id).gen_id == gen_id
    assert pool.find_generation(gen_id[:20]).gen_id == gen_id


@pytest.mark.parametrize("typed", ["d_", "", "x", "d_zzz"])
def test_a_beginning_that_fits_none_or_several_finds_nothing(pool: Pool, typed: str) -> None:
    with pytest.raises(NotFound) as refused:
        pool.find_generation(typed)
    assert refused.value.hint


def test_attempts_are_found_by_the_id_or_the_only_beginning_of_it(tmp_path: Path) -> None:
    pool = make_pool(tmp_path)
    write_spec(tmp_path)
    pool.run("c", models=models(writer=ScriptedModel([" "])))
    first, second = sorted(path.name for path in (tmp_path / "attempts/draft").iterdir())
    for typed in (first, first[:12]):
        found = pool.find_attempts(typed)
        assert found is not None
        assert (found[0].name, found[1], len(found[2])) == ("draft", first, 2)
    assert pool.find_attempts("e_") is None
    assert pool.find_attempts("") is None
    with pytest.raises(NotFound) as refused:
        pool.find_attempts("d_")
    assert f"2 tasks with attempts have an id that starts with 'd_': {first}, {second}" in refused.value.message
    assert refused.value.hint == "type more of it"
