"""`genpool report` as a person types it: answers, bad input, and that neither spec nor templates are read."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from genpool.records import encode_sealed
from tests.legacy_pools import write_legacy
from tests.small_pools import EVALUATIONS, make_pool, models, whole_cohort, write_spec

from .conftest import Type, rewrite

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(genpool: Type) -> Type:
    """Type a command at the example, which was run."""
    assert genpool("run", "demo", "-q").code == 0
    return genpool


def page_of(root: Path, cohort: str | None = "demo") -> str:
    return (Pool.open(root).layout.reports(cohort) / "report.html").read_text()


def change_score(root: Path, value: float) -> None:
    """Give one judgement a score that genpool would not have kept, sealed all the same."""
    rescore(sorted((root / "gens/evaluation").iterdir())[0], value)


def rescore(folder: Path, value: float) -> None:
    record = json.loads((folder / "metadata.json").read_text())
    record["score"] = {**record["score"], "value": value}
    del record["self"]
    (folder / "metadata.json").write_bytes(encode_sealed(record))


def forget(root: Path) -> None:
    """Remove the caches: an edit inside a generation is noticed when it is read, and they spare that."""
    shutil.rmtree(root / ".genpool")
    for manifest in root.glob("cohorts/*/manifest.json"):
        manifest.unlink()


# --- what it says ---


def test_it_answers_in_the_terminal_and_writes_the_page(run: Type, root: Path) -> None:
    found = run("report", "demo")
    assert (found.code, found.err) == (0, "")
    assert (
        "draft template: no clear winner; baseline scored higher than rolling-thread by 0.33 on a scale of 0 to 9"
        in found.out
    )
    assert "  95 % interval -4.17 to 4.84, 6 pairs from 3 combos; it holds 0: this may be chance" in found.out
    assert "  1. e_8f8041f48e11ca1a0d4ead5cf4da33f8  7.00 on 0 to 9" in found.out
    assert "cost: 60 calls, " in found.out
    assert found.out.endswith(f"\npage: {root}/cohorts/demo/reports/report.html\n")
    page = page_of(root)
    for said in ("by 0.33 on a scale of 0 to 9", "95 % interval -4.17 to 4.84", "e_8f8041f48e11ca1a0d4ead5cf4da33f8"):
        assert said in page


def test_the_same_pool_gives_the_same_page(run: Type, root: Path) -> None:
    run("report", "demo")
    before = page_of(root)
    forget(root)
    run("report", "demo")
    assert page_of(root) == before


def test_it_reads_neither_the_spec_nor_the_templates_nor_the_concepts(run: Type, root: Path) -> None:
    before = run("report", "demo").out
    page = page_of(root)
    for name in ("templates", "concepts", "cohorts/demo/cohort.yaml"):
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert run("report", "demo").out == before
    assert page_of(root) == page


def test_several_cohorts_and_the_whole_pool(run: Type, root: Path) -> None:
    shutil.copytree(root / "cohorts/demo", root / "cohorts/again")
    assert run("run", "again", "-q").code == 0
    alone = run("report", "again", "--no-page")
    assert "cost: nothing was bought by these runs" in alone.out
    assert not (root / "cohorts/again/reports").exists()
    both = run("report", "demo", "again")
    assert both.out.startswith("cohorts demo, again\n")
    assert both.out.endswith(f"page: {root}/reports/report.html\n")
    everything = run("report")
    assert everything.out.startswith("the whole pool\n")
    lines = [line for line in everything.out.splitlines() if line.startswith("draft template")]
    assert lines == [line for line in both.out.splitlines() if line.startswith("draft template")]


def test_json(run: Type, root: Path) -> None:
    found = run("report", "demo", "--json").json
    assert (found["format"], found["cohorts"]) == ("genpool.report/1", ["demo"])
    assert found["page"] == f"{root}/cohorts/demo/reports/report.html"
    assert [one["axis"] for one in found["findings"]["better"]] == ["draft template", "essay template"]
    judged = found["judged"][0]
    assert (judged["texts"], judged["judgements"], len(judged["combos"])) == (12, 48, 3)
    assert judged["comparisons"][0]["differences"][0]["mean"]["units"] == 3
    assert found["cost"]["total"]["calls"] == 60


def test_another_place_for_the_page(run: Type, tmp_path: Path) -> None:
    out = tmp_path / "my report.html"
    assert run("report", "demo", "--out", str(out)).out.endswith(f"page: {out}\n")
    assert out.read_text().startswith("<!doctype html>")
    assert run("report", "demo", "--out", str(out), "--no-page").code == 2


def test_reused_is_told_from_made(run: Type, root: Path) -> None:
    shutil.copytree(root / "cohorts/demo", root / "cohorts/more")
    rewrite(root / "cohorts/more/cohort.yaml", "replicates: 2", "replicates: 3")
    assert run("run", "more", "-q").code == 0
    stages = {one["stage"]: one["states"] for one in run("report", "more", "--json").json["stages"]}
    assert stages == {"draft": {"reused": 6}, "essay": {"reused": 12}, "evaluation": {"own": 24, "reused": 48}}
    assert "66 members were reused: other cohorts' runs paid for them." in " ".join(page_of(root, "more").split())


def test_names_that_stood_for_several_things_are_told_as_drift(run: Type, root: Path) -> None:
    assert "Every name stood for one thing" in (run("report", "demo") and page_of(root))
    rewrite(root / "templates/draft/baseline.j2", "work together", "work as one")
    rewrite(root / "cohorts/demo/cohort.yaml", "economic-moat]", "economic-moat, desire-path]")
    assert run("run", "demo", "-q").code == 0
    said = run("report", "demo").out
    assert "drift: template draft/baseline stood for several things: " in said
    assert "fingerprint: members" in page_of(root)


# --- bad input: a sentence in place of a number ---


def test_a_cohort_that_was_never_run(genpool: Type) -> None:
    found = genpool("report", "demo")
    assert (found.code, found.out) == (1, "")
    assert "cohort 'demo' was never run" in found.err
    assert "genpool --pool" in found.err
    assert genpool("report", "demmo").code == 1
    assert genpool("report", "../x").code == 1
    assert genpool("report", "demo", "--json").json["error"]["kind"] == "not-found"


def test_a_pool_without_anything(genpool: Type, root: Path) -> None:
    found = genpool("report")
    assert (found.code, found.err) == (0, "")
    assert "no member is a judgement: there are no scores" in found.out
    assert "cost: nothing was bought by these runs" in found.out
    assert "no text was judged" in page_of(root, None)


def test_no_judged_stage(tmp_path: Path, genpool: Type) -> None:
    make_pool(tmp_path / "p")
    write_spec(tmp_path / "p", "c")
    assert genpool("--pool", str(tmp_path / "p"), "run", "c", "-q").code == 0
    found = genpool("--pool", str(tmp_path / "p"), "report", "c")
    assert found.code == 0
    assert "note: no member is a judgement: there are no scores" in found.out


def test_half_a_run(run: Type, root: Path) -> None:
    for folder in sorted((root / "gens/evaluation").iterdir())[:7]:
        shutil.rmtree(folder)
    found = run("report", "demo")
    assert "note: 7 members are missing or unusable: every number is of what is there" in found.out
    assert "41 of 48 judgements are there" in page_of(root)


def test_nothing_but_the_texts_is_there_yet(run: Type, root: Path) -> None:
    shutil.rmtree(root / "gens/evaluation")
    found = run("report", "demo")
    assert (found.code, found.err) == (0, "")
    assert "no text was judged: there are no scores" in found.out
    assert "0 of 48 judgements are there" in page_of(root)


def test_a_score_off_its_scale_does_not_count_and_is_told(run: Type, root: Path) -> None:
    change_score(root, 12)
    forget(root)
    found = run("report", "demo")
    assert "note: 1 judgement left out (evaluation): its score 12.0 is off its scale 0.0 to 9.0" in found.out
    assert "essay by" in found.out


def test_a_text_that_is_gone_is_told_where_it_would_be_read(run: Type, root: Path) -> None:
    best = run("report", "demo", "--json").json["findings"]["best"][0]["gen_id"]
    (root / "gens/essay" / best / "prompt.txt").unlink()
    run("report", "demo")
    assert "the prompt cannot be shown: " in page_of(root)
    (root / "gens/essay" / best / "parsed.txt").write_text("another text")
    found = run("report", "demo")
    assert (found.code, found.err) == (0, "")
    assert "the text cannot be shown: " in page_of(root)


def test_a_damaged_record_is_missing_from_the_numbers_and_noted(run: Type, root: Path) -> None:
    folder = sorted((root / "gens/evaluation").iterdir())[0]
    (folder / "metadata.json").write_text("{")
    forget(root)
    found = run("report", "demo")
    assert "note: 1 member is missing or unusable" in found.out
    assert run("report").code == 0


def test_all_scores_equal(genpool: Type, root: Path) -> None:
    answers = '["{\\"reason\\": \\"same\\", \\"score\\": 4}"]'
    rewrite(root / "pool.yaml", "judge: {client: scripted}", f"judge: {{client: scripted, answers: {answers}}}")
    assert genpool("run", "demo", "-q").code == 0
    found = genpool("report", "demo")
    assert "all 12 values are 4: no spread to tell from" in found.out
    assert "baseline and rolling-thread scored the same" in found.out
    assert "no interval (6 pairs from 3 combos): all 6 values are 0: no spread to tell from" in found.out
    assert "No text has two judgements by the same rubric that differ." in page_of(root)


def test_one_combo_has_no_interval(tmp_path: Path, genpool: Type) -> None:
    root = tmp_path / "p"
    make_pool(root, rows=1)
    write_spec(
        root, "c", draft="template: [plain, long], model: [writer]", essay="template: [story]", evaluation=EVALUATIONS
    )
    assert genpool("--pool", str(root), "run", "c", "-q").code == 0
    found = genpool("--pool", str(root), "report", "c")
    assert "nothing says how another combo would fare" in found.out
    assert " interval -" not in found.out


def test_judgements_of_another_tool(tmp_path: Path, genpool: Type) -> None:
    root = tmp_path / "p"
    pool = make_pool(root)
    whole_cohort(root)
    assert pool.run("c").complete
    essay = sorted((root / "gens/essay").iterdir())[0].name
    score = {"value": "high", "min": 0, "max": 9}
    write_legacy(root, "evaluation", "old-1", essay, "clarity", "judge", replicate=9, score=score)
    found = genpool("--pool", str(root), "report")
    assert (
        "note: 1 judgement left out (evaluation): its metadata has no score that is a number on a scale\n" in found.out
    )
    assert "drift:" not in found.out, "it does not say what it was made from"


def test_a_place_that_cannot_be_written(run: Type, root: Path) -> None:
    (root / "cohorts/demo/reports").write_text("a file")
    found = run("report", "demo")
    assert found.code == 1
    assert "cannot write" in found.err
    assert "Traceback" not in found.err


def test_a_damaged_ledger_is_told_beside_the_cost(run: Type, root: Path) -> None:
    ledger = next((root / "ledger").glob("*.jsonl"))
    ledger.write_text(ledger.read_text().replace('"settled"', '"sett', 1))
    found = run("report", "demo")
    assert found.code == 0
    assert "cannot be read; what they held is not in the sum" in page_of(root)


def test_controls_of_a_text_are_shown_not_obeyed(genpool: Type, root: Path) -> None:
    rewrite(
        root / "pool.yaml",
        "smollm2-135m: {client: scripted}",
        'smollm2-135m: {client: scripted, answers: ["a\\e[31mb"]}',
    )
    assert genpool("run", "demo", "-q").code == 0
    assert "\x1b" not in genpool("report", "demo").out
    assert "\x1b" not in page_of(root)
    assert "a\N{SYMBOL FOR ESCAPE}[31mb" in page_of(root)


def test_several_judges_are_set_against_one_another(tmp_path: Path, genpool: Type) -> None:
    root = tmp_path / "p"
    make_pool(root, rows=4)
    write_spec(
        root, "c", essay="template: [story]", evaluation="template: [clarity], model: [judge, writer], replicates: 1"
    )
    assert genpool("--pool", str(root), "run", "c", "-q").code == 0
    found = genpool("--pool", str(root), "report", "c")
    assert "agreement on clarity: alpha " in found.out
    assert ", 4 texts\n" in found.out
    gone = sorted((root / "gens/evaluation").iterdir())[0]
    shutil.rmtree(gone)
    found = genpool("--pool", str(root), "report", "c")
    assert "note: 1 essay lacks a rubric or a judge that others have: no mean over these" in found.out
    assert ", 3 texts\n" in found.out


def test_of_several_judging_stages_each_answer_says_which(tmp_path: Path, genpool: Type) -> None:
    root = tmp_path / "two"
    pool = make_pool(root, rows=1)
    pipeline = (
        "pipeline:\n  draft: {prefix: d, axes: [template, model]}\n"
        "  quick: {prefix: q, parent: draft, axes: [template, model], judges: true}\n"
        "  slow: {prefix: s, parent: draft, axes: [template, model], judges: true}\n"
    )
    (root / "pool.yaml").write_text((root / "pool.yaml").read_text() + pipeline)
    rubric = (root / "templates/evaluation/clarity.j2").read_text().replace("essay", "draft")
    for stage, scale in (("quick", "[0, 1]"), ("slow", "[0, 9]")):
        (root / f"templates/{stage}").mkdir()
        (root / f"templates/{stage}/clarity.j2").write_text(rubric.replace("[0, 9]", scale))
    judged = dict.fromkeys(("quick", "slow"), "template: [clarity], model: [judge]")
    write_spec(root, "c", rows="rows.csv", draft="template: [plain, long], model: [writer]", **judged)
    assert Pool.open(pool.root).run("c", models=models()).complete
    found = genpool("--pool", str(root), "report", "c", "--json").json
    assert [one["stage"] for one in found["judged"]] == ["quick", "slow"]
    axes = [one["axis"] for one in found["findings"]["better"]]
    assert axes == ["draft template (quick)", "draft template (slow)"]
    best = found["findings"]["best"]
    assert [one["score"].partition(" on ")[2] for one in best] == ["0 to 1", "0 to 1"], "of one stage, on one scale"
    page = page_of(root, "c")
    for one in best:
        assert f'href="#{one["place"]}"' in page
        assert f'id="{one["place"]}"' in page


# --- what cannot be compared, and why numbers of one page differ ---


def judgements(root: Path) -> list[tuple[Path, str, str, str, str]]:
    """Return the folder of every judgement with its rubric, combo, draft template and essay template."""

    def record(stage: str, gen_id: str) -> dict[str, str]:
        found: dict[str, str] = json.loads((root / "gens" / stage / gen_id / "metadata.json").read_text())
        return found

    rows = []
    for folder in sorted((root / "gens/evaluation").iterdir()):
        judged = record("evaluation", folder.name)
        essay = record("essay", judged["parent_gen_id"])
        draft = record("draft", essay["parent_gen_id"])
        rows.append((folder, judged["template_id"], draft["combo_id"], draft["template_id"], essay["template_id"]))
    return rows


def test_a_rubric_that_judged_few_texts_is_named_and_the_others_are_answered_one_by_one(run: Type, root: Path) -> None:
    combos = sorted({combo for _, _, combo, _, _ in judgements(root)})
    kept = {(combos[0], "baseline"), (combos[1], "rolling-thread")}
    for folder, rubric, combo, draft, _ in judgements(root):
        if rubric == "novelty" and (combo, draft) not in kept:
            shutil.rmtree(folder)
    found = run("report", "demo")
    assert (found.code, found.err) == (0, "")
    assert "rolling-thread and baseline cannot be compared" in found.out
    said = "no family has both judged by novelty; with everything else the same there are 6 by coherence"
    assert said in found.out
    assert "  coherence: " in found.out
    assert "higher by" in found.out
    assert "(6 pairs)" in found.out
    assert said in page_of(root)


def test_a_headline_that_the_means_of_its_page_contradict_says_why(run: Type, root: Path) -> None:
    combos = sorted({combo for _, _, combo, _, _ in judgements(root)})
    for folder, _, combo, _, essay in judgements(root):
        lone = {combos[0]: "as-drafted", combos[1]: "narrative"}.get(combo)
        if lone is not None and essay != lone:
            shutil.rmtree(folder)
        else:
            rescore(folder, {"as-drafted": 9, "narrative": 0}[lone] if lone else 5 + (essay == "narrative"))
    forget(root)
    found = run("report", "demo")
    assert "narrative scored higher than as-drafted by 1.00" in found.out
    said = (
        "over all their texts narrative has 3.00 and as-drafted 7.00: "
        "these means are of other texts too, which have no partner"
    )
    assert f"  {said}\n" in found.out
    assert said in page_of(root)
