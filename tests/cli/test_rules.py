"""Rules as a user types them: what a plan then has, and what is said of mistakes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .conftest import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type


def rules(root: Path, text: str) -> int:
    """Write rules at the end of the demo cohort; return the line that they begin at."""
    path = root / "cohorts/demo/cohort.yaml"
    before = path.read_text()
    path.write_text(f"{before}rules:\n{text}")
    return before.count("\n") + 2


def wanted(genpool: Type) -> dict[str, int]:
    return {name: stage["wanted"] for name, stage in genpool("plan", "demo", "--json").json["stages"].items()}


PAIR = "    - {left: draft.template, right: essay.template, allowed: "


def test_a_plan_has_what_rules_leave_and_a_run_makes_it(genpool: Type, root: Path) -> None:
    before = wanted(genpool)
    rules(root, f"  pairs:\n{PAIR}[[rolling-thread, narrative], [baseline, as-drafted]]}}\n")
    after = wanted(genpool)
    assert after == {"draft": before["draft"], "essay": before["essay"] // 2, "evaluation": before["evaluation"] // 2}
    assert genpool("run", "demo", "-q").code == 0
    assert genpool("plan", "demo", "--json").json["total"]["to_make"] == 0


def test_rules_only_choose_the_ids_stay_what_they_are(genpool: Type, root: Path) -> None:
    every = [json.loads(line) for line in genpool("plan", "demo", "--tasks").out.splitlines()]
    rules(root, "  subsets:\n    - {axis: evaluation.template, keep: [coherence]}\n")
    chosen = [json.loads(line) for line in genpool("plan", "demo", "--tasks").out.splitlines()]
    assert 0 < len(chosen) < len(every)
    assert chosen == [task for task in every if task["stage"] != "evaluation" or task["template_id"] == "coherence"]


def test_pairs_come_from_a_file(genpool: Type, root: Path) -> None:
    (root / "pairs.csv").write_text("draft.template,essay.template\nbaseline,narrative\n")
    before = wanted(genpool)
    rules(root, f"  pairs:\n{PAIR}@file:pairs.csv}}\n")
    assert wanted(genpool)["essay"] == before["essay"] // 4
    assert "draft.template: 'rolling-thread' is left out by the rules" in genpool("plan", "demo").out


def test_every_mistake_is_told_with_file_line_and_what_would_be_right(genpool: Type, root: Path) -> None:
    (root / "pairs.csv").write_text("draft.template,essay.template\nbaseline,naratif\n")
    line = rules(
        root,
        "  subset: []\n"
        "  subsets:\n"
        "    - {axis: drafts.template, keep: [baseline]}\n"
        "  ties:\n"
        "    - [draft.model]\n"
        f"  pairs:\n{PAIR}@file:pairs.csv}}\n",
    )
    said = genpool("plan", "demo")
    assert said.code == 1
    assert "4 problems" in said.err
    for at, message in (
        (line, "rules: unknown key 'subset'"),
        (line + 2, "rules.subsets: unknown stage 'drafts' in 'drafts.template'"),
        (line + 4, "rules.ties: a tie needs two axes or more"),
        (line + 6, "pairs.csv:2: rules.pairs: the spec has no level 'naratif' on essay.template"),
    ):
        assert f"cohort.yaml:{at}: {message}" in said.err.replace("\n", " ").replace("  ", " ")
    assert "did you mean 'narrative'?" in said.err
    assert "did you mean 'draft'?" in said.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"  pairs:\n{PAIR}[[baseline, narrative], [baseline, as-drafted]], balanced: true}}\n", "baseline 2"),
        ("  ties:\n    - [draft.template, essay.template]\n", "have no value in common"),
        (
            f"  pairs:\n{PAIR}[[baseline, narrative]]}}\n{PAIR}[[rolling-thread, narrative]]}}\n",
            "with the rules before it, this leaves nothing",
        ),
    ],
)
def test_rules_that_do_not_work_out_are_refused_with_their_place(
    genpool: Type, root: Path, text: str, said: str
) -> None:
    line = rules(root, text)
    typed = genpool("plan", "demo", "--json")
    assert typed.code == 1
    error = json.loads(typed.out or typed.err)
    problems = error.get("error", error)["problems"]
    assert any(said in problem["message"] and problem["line"] > line for problem in problems)
    assert all(problem["file"].endswith("cohort.yaml") for problem in problems)


def test_a_spec_of_too_many_tasks_is_refused_with_their_number(genpool: Type, root: Path) -> None:
    rewrite(root / "cohorts/demo/cohort.yaml", "replicates: 2", "replicates: 100000000")
    rules(root, f"  pairs:\n{PAIR}[[rolling-thread, narrative], [baseline, as-drafted]]}}\n")
    typed = genpool("plan", "demo")
    assert typed.code == 1
    assert "1,200,000,012 tasks; at most 5,000,000 are allowed" in typed.err.replace("\n", " ")
