"""Reading answers anew as a user meets it: said first, done with --yes, and nothing bought again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from genpool.testing import ScriptedModel
from tests.small_pools import make_pool, models, tree, whole_cohort

from .conftest import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type

TEMPLATE = "templates/evaluation/clarity.j2"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pool whose judge answered off the scale that its template had."""
    pool = make_pool(tmp_path / "pool")
    rewrite(pool.root / TEMPLATE, "[0, 9]", "[0, 5]")
    whole_cohort(pool.root)
    pool.run("c", models=models(judge=ScriptedModel([json.dumps({"score": 8})])))
    return pool.root


def test_a_dry_reparse_says_what_to_type_and_yes_does_it(genpool: Type, root: Path) -> None:
    said = genpool("reparse")
    assert said.out.startswith("not readable today either: 16 attempts in evaluation, the first v_")
    assert "no attempt can be promoted" in said.out
    rewrite(root / TEMPLATE, "[0, 5]", "[0, 9]")
    before = tree(root)
    said = genpool("reparse", "--cohort", "c", "--stage", "evaluation")
    assert said.out.splitlines()[2].split() == ["evaluation", "clarity", "json_score", "8"]
    assert f"to do it: genpool --pool {root} reparse --cohort c --stage evaluation --yes" in said.out
    assert tree(root) == before
    done = genpool("reparse", "--cohort", "c", "--stage", "evaluation", "--yes")
    assert (done.code, "8 attempts promoted; 0 calls" in done.out) == (0, True)
    assert Pool.open(root).plan("c").missing == 0
    assert "promoted: 8 attempts became a generation" in genpool("audit", "spend").out
    assert "8 tasks with unreadable answers have a generation already" in genpool("reparse").out


def test_the_document_has_every_task(genpool: Type, root: Path) -> None:
    assert len(genpool("reparse", "--json").json["unreadable"]) == 16
    rewrite(root / TEMPLATE, "[0, 5]", "[0, 9]")
    found = genpool("reparse", "--yes", "--json").json
    assert (found["format"], found["done"], len(found["promotions"])) == ("genpool.reparse/1", True, 8)
    assert found["promotions"][0]["score"] == {"value": 8.0, "min": 0.0, "max": 9.0}


def test_a_judgement_is_not_promoted_by_a_parser_that_reads_no_score(genpool: Type, root: Path) -> None:
    rewrite(root / TEMPLATE, "parser: json_score\nscale: [0, 5]", "parser: text")
    before = tree(root, without=[".genpool"])
    said = genpool("reparse", "--yes")
    assert "0 attempts promoted" in said.out
    assert "left: 16 attempts in evaluation, the first v_" in said.out
    assert "the stage judges, but 'clarity' has no parser that reads a score" in said.out
    assert "parser: json_score" in said.out
    assert tree(root, without=[".genpool"]) == before
    plan = genpool("plan", "c")
    assert "the stage judges, but 'clarity' has no parser that reads a score" in plan.err


def test_a_cohort_or_a_stage_that_is_none_is_refused(genpool: Type) -> None:
    assert "did you mean 'evaluation'?" in genpool("reparse", "--stage", "evalution").err
    assert genpool("reparse", "--cohort", "d").code == 1
    assert genpool("reparse", "--cohort", "../c").code == 1
