"""Cohorts that start from generations that exist, as a user types them."""

from __future__ import annotations

import json
import shutil
from statistics import mean
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
    assert "cohorts/again/cohort.yaml:2: from: 'top' is of a query by score" in said.err.replace("\n", "")
    written(root, "{union: [dmo], stage: essay}")
    said = genpool("run", "again")
    assert said.code == 1
    assert "cohort.yaml:2: from: there is no cohort 'dmo'" in said.err
    assert "did you mean 'demo'?" in said.err


# --- the best ---------------------------------------------------------------------------------------


def best_essays(root: Path, number: int) -> list[str]:
    """Rank essays by the mean over rubrics of the mean score, from the files, without genpool's readers."""
    scores: dict[str, dict[str, list[float]]] = {}
    for path in (root / "gens/evaluation").glob("*/metadata.json"):
        said = json.loads(path.read_text())
        scores.setdefault(said["parent_gen_id"], {}).setdefault(said["template_id"], []).append(said["score"]["value"])
    means = {essay: mean(mean(values) for values in by.values()) for essay, by in scores.items()}
    return sorted(means, key=lambda essay: (-means[essay], essay))[:number]


def test_the_best_texts_of_all_cohorts_are_judged_by_a_new_rubric(genpool: Type, root: Path) -> None:
    demo = (root / "cohorts/demo/cohort.yaml").read_text()
    other = root / "cohorts/other/cohort.yaml"
    other.parent.mkdir()
    other.write_text(demo.replace("template: [baseline, rolling-thread]", "template: [baseline]"))
    rewrite(root / "cohorts/demo/cohort.yaml", "template: [baseline, rolling-thread]", "template: [rolling-thread]")
    assert genpool("run", "demo", "-q").code == genpool("run", "other", "-q").code == 0
    best = best_essays(root, 5)
    novelty = root / "templates/evaluation/novelty.j2"
    novelty.with_name("depth.j2").write_text(novelty.read_text())
    written(root, "{cohorts: all, stage: essay, top: 5, by: mean_score}", BELOW.replace("novelty", "depth"))
    assert genpool("run", "again", "-q").code == 0
    essays = [one["gen_id"] for one in genpool("ls", "again", "--stage", "essay", "--json").json["members"]]
    assert essays == best
    judged = genpool("ls", "again", "--stage", "evaluation", "--json").json["members"]
    assert [one["parent_gen_id"] for one in judged] == best
    assert {one["template_id"] for one in judged} == {"depth"}
    anew = genpool("plan", "again", "--refresh").out
    assert "not ranked" not in anew, "its own judgements do not count"


def test_the_best_stay_those_that_were_adopted_until_they_are_asked_for_anew(genpool: Type, root: Path) -> None:
    rewrite(root / "cohorts/demo/cohort.yaml", "template: [novelty, coherence]", "template: [novelty]")
    genpool("run", "demo", "-q")
    written(root, "{cohorts: [demo], stage: essay, top: 3}", BELOW.replace("novelty", "coherence"))
    adopted = best_essays(root, 3)
    assert genpool("run", "again", "-q").code == 0
    assert json.loads((root / "cohorts/again/adopted.json").read_text())["roots"] == adopted
    rewrite(root / "cohorts/demo/cohort.yaml", "template: [novelty]", "template: [novelty, coherence]")
    genpool("run", "demo", "-q")
    now = best_essays(root, 3)
    assert set(now) != set(adopted), "the second rubric is to change the ranking"
    more = len(set(now) - set(adopted))
    said = genpool("plan", "again")
    assert f"the query gives {more} more and {more} fewer now than the 3 that were adopted" in said.out.replace(
        "\n", " "
    )
    assert genpool("run", "again", "-q", "--refresh").code == 0
    assert json.loads((root / "cohorts/again/adopted.json").read_text())["roots"] == now
    rewrite(root / "cohorts/again/cohort.yaml", "top: 3", "top: 4")
    said = genpool("plan", "again").out.replace("\n", " ")
    assert "the query is not the one that was adopted; it was resolved anew" in said


def test_the_best_are_ranked_by_one_rubric_and_texts_without_a_score_are_told(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    lost = sorted((root / "gens/evaluation").iterdir())[0]
    said = json.loads((lost / "metadata.json").read_text())
    for path in sorted((root / "gens/evaluation").iterdir()):
        one = json.loads((path / "metadata.json").read_text())
        if (one["parent_gen_id"], one["template_id"]) == (said["parent_gen_id"], said["template_id"]):
            shutil.rmtree(path)
    written(root, "{cohorts: [demo], stage: essay, top: 30}")
    planned = genpool("plan", "again").out.replace("\n", " ")
    assert "1 of 12 texts are not ranked: they have no mean_score" in planned
    assert "only 11 texts have a mean_score, fewer than the 30 asked for" in planned
    written(root, f"{{cohorts: [demo], stage: essay, top: 12, by: {said['template_id']}}}")
    assert genpool("plan", "again", "--json").json["stages"]["essay"]["wanted"] == 11
    other = {"novelty": "coherence", "coherence": "novelty"}[said["template_id"]]
    written(root, f"{{cohorts: [demo], stage: essay, top: 12, by: '{other}:smollm2-135m-judge'}}")
    assert genpool("plan", "again", "--json").json["stages"]["essay"]["wanted"] == 12
    written(root, "{cohorts: [demo], stage: essay, top: 12, by: noveltie}")
    refused = genpool("plan", "again")
    assert refused.code == 1
    assert "nothing was judged by 'noveltie'" in refused.err
    assert "did you mean 'novelty'?" in refused.err
