"""`genpool run --only` as a user types it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type


def test_some_of_what_is_missing_is_made_and_the_rest_is_left(genpool: Type, root: Path) -> None:
    lines = genpool("plan", "demo", "--tasks").out.splitlines()
    tasks = [json.loads(line) for line in lines]
    (root / "none.jsonl").touch()
    assert genpool("run", "demo", "-q", "--only", str(root / "none.jsonl")).code == 3
    missing = genpool("missing", "demo", "--stage", "evaluation").out.splitlines(keepends=True)
    assert len(missing) == sum(task["stage"] == "evaluation" for task in tasks)
    (root / "some.jsonl").write_text("".join(missing[:2]))
    ran = genpool("run", "demo", "--only", str(root / "some.jsonl"), "--json")
    assert ran.code == 3
    made = {name: stage["made"] for name, stage in ran.json["stages"].items()}
    assert made == {"draft": 1, "essay": 1, "evaluation": 2}
    assert ran.json["stages"]["evaluation"]["left"] == len(missing) - 2
    assert "run demo makes them" in genpool("run", "demo", "-q", "--only", str(root / "some.jsonl")).out
    assert genpool("run", "demo", "-q").code == 0


def test_a_file_that_names_no_task_is_told(genpool: Type, root: Path) -> None:
    (root / "none.jsonl").write_text("\n")
    said = genpool("run", "demo", "-q", "--only", str(root / "none.jsonl"))
    assert said.code == 3
    assert f"note: {root}/none.jsonl names no task, so that nothing was to be made" in said.err


def test_lines_of_a_plan_and_of_why_are_taken_as_they_are(genpool: Type, root: Path) -> None:
    first, second = genpool("plan", "demo", "--tasks").out.splitlines()[:2]
    task = json.loads(second)
    fields = [f"{name}={value}" for name, value in task.items() if name not in {"state", "stage", "gen_id"}]
    why = genpool("why", task["stage"], *fields, "--json").json
    (root / "some.jsonl").write_text(f"{first}\n{json.dumps(why)}\n")
    ran = genpool("run", "demo", "--only", str(root / "some.jsonl"), "--json").json
    assert {name: stage["made"] for name, stage in ran["stages"].items()} == {"draft": 2, "essay": 0, "evaluation": 0}


def test_a_line_of_another_plan_is_an_error_with_file_and_line(genpool: Type, root: Path) -> None:
    line = json.loads(genpool("plan", "demo", "--tasks").out.splitlines()[0])
    del line["state"]
    (root / "some.jsonl").write_text(json.dumps({**line, "template_id": "other"}) + "\n")
    said = genpool("run", "demo", "--only", str(root / "some.jsonl"))
    assert said.code == 1
    assert "some.jsonl:1: no task of cohort 'demo': draft with combo_id = " in said.err.replace("\n", "")
    assert not (root / "gens").exists()
