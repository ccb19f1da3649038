"""Cohorts that start from generations that exist, as a user types them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conftest import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type

BELOW = "evaluation: {template: [novelty], model: [smollm2-135m-judge], replicates: 1}\n"


def written(root: Path, source: str, below: str = BELOW) -> Path:
    path = root / "cohorts/again/cohort.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"format: genpool.cohort/1\nfrom: {source}\n{below}")
    return path


def test_a_cohort_of_judgements_over_anothers_essays(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    written(root, "{union: [demo], stage: essay}", BELOW.replace("novelty", "novelty, coherence"))
    stages = genpool("plan", "again", "--json").json["stages"]
    assert {name: (one["wanted"], one["reused"]) for name, one in stages.items()} == {
        "essay": (12, 12),
        "evaluation": (24, 24),
    }
    assert genpool("run", "again", "-q").code == 0
    assert "12" in genpool("status", "again").out


def test_refresh_takes_what_came_later(genpool: Type, root: Path) -> None:
    demo = root / "cohorts/demo/cohort.yaml"
    rewrite(demo, "template: [baseline, rolling-thread]", "template: [baseline]")
    genpool("run", "demo", "-q")
    written(root, "{union: [demo], stage: essay}")
    genpool("run", "again", "-q")
    rewrite(demo, "template: [baseline]", "template: [baseline, rolling-thread]")
    genpool("run", "demo", "-q")
    said = genpool("plan", "again")
    assert "the query gives 6 more now than the 6 that were adopted" in said.out.replace("\n", " ")
    assert genpool("plan", "again", "--json").json["stages"]["essay"]["wanted"] == 6
    assert genpool("plan", "again", "--json", "--refresh").json["stages"]["essay"]["wanted"] == 12
    assert genpool("run", "again", "-q", "--refresh").code == 0
    assert genpool("plan", "again", "--json").json["stages"]["essay"]["wanted"] == 12


def test_every_mistake_is_told_with_file_and_line(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    written(root, "{union: [dmo], stage: essay, top: 3}", "draft: {template: all}\n" + BELOW.replace("novelty", "x"))
    said = genpool("plan", "again")
    assert said.code == 1
    assert "cohorts/again/cohort.yaml:2: from: 'top': the query by score is not there yet" in said.err.replace("\n", "")
    written(root, "{union: [dmo], stage: essay}")
    said = genpool("run", "again")
    assert said.code == 1
    assert "cohort.yaml:2: from: cohort 'dmo' has no membership" in said.err
    assert "did you mean 'demo'?" in said.err
