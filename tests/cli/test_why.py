"""`genpool why` as a user types it: by a whole id or how it begins, and the states that a plan tells."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from genpool.pool import Pool
from genpool.testing import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type


def test_why_knows_a_task_by_how_its_id_begins_and_show_says_who_lacks_it(genpool: Type) -> None:
    genpool("run", "demo", "-q")
    lines = [json.loads(line) for line in genpool("plan", "demo", "--tasks").out.splitlines()]
    essay = next(one["gen_id"] for one in lines if one["stage"] == "essay")
    assert genpool("why", essay[:9]).out.startswith(f"reused: {essay} exists")
    several = genpool("why", "e_")
    assert (several.code, "12 tasks have an id that starts with 'e_'" in several.err) == (1, True)


def test_show_of_a_member_that_is_not_made_names_who_lacks_it(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    lines = [json.loads(line) for line in genpool("plan", "demo", "--tasks").out.splitlines()]
    gone = next(one["gen_id"] for one in lines if one["stage"] == "evaluation")
    shutil.rmtree(root / "gens/evaluation" / gone)
    said = genpool("show", gone[:12])
    assert said.code == 1
    assert f"{gone} is a member of demo, and is not made" in said.err
    assert f"why {gone}`" in said.err
    assert genpool("why", gone[:12]).out.startswith(f"to be made: nothing has this signature; its id is {gone}")


def test_why_says_that_a_task_is_exhausted_as_plan_does(genpool: Type, root: Path) -> None:
    scripted = {"smollm2-135m": ScriptedModel(["A text."]), "smollm2-135m-judge": ScriptedModel(["no score"])}
    Pool.open(root).run("demo", models=scripted)
    lines = [json.loads(line) for line in genpool("plan", "demo", "--tasks").out.splitlines()]
    stuck = next(one["gen_id"] for one in lines if one["state"] == "exhausted")
    said = genpool("why", stuck).out
    assert said.startswith("exhausted: 2 answers of smollm2-135m-judge to ")
    assert "--retry-exhausted" in said
    assert genpool("why", stuck, "--json").json["exhausted"] == {"llm_model_id": "smollm2-135m-judge", "attempts": 2}


def test_a_membership_whose_replicate_is_no_number_is_an_error_in_words(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    path = root / "cohorts/demo/membership.csv"
    stage, gen_id, *_ = path.read_text().splitlines()[1].split(",")
    shutil.rmtree(root / "gens" / stage / gen_id)
    path.write_text(path.read_text().replace(",1\n", ",first\n", 1))
    said = genpool("why", gen_id)
    assert (said.code, said.out) == (1, "")
    assert "replicate = 'first' must be an integer" in said.err
    assert "Traceback" not in said.err
