"""Scores as a user asks for them: on the screen, as files, with texts, two cohorts side by side."""

from __future__ import annotations

import csv
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from .conftest import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type


@pytest.fixture
def demo(genpool: Type, root: Path) -> Path:
    """The example pool, run; `coherence` is on another scale than `novelty`."""
    rewrite(root / "templates/evaluation/coherence.j2", "scale: [0, 9]", "scale: [1, 5]")
    assert genpool("run", "demo", "-q").code == 0
    return root


def judgements(root: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((root / "gens/evaluation").glob("*/metadata.json"))]


# --- scores -----------------------------------------------------------------------------------------


def test_means_are_told_apart_by_what_has_several_levels(genpool: Type, demo: Path) -> None:
    said = genpool("scores", "demo")
    assert said.code == 0
    head, _, *rows = said.out.splitlines()
    assert head.split() == ["draft_template", "essay_template", "rubric", "mean", "scale", "texts", "judgements"]
    assert len([row for row in rows if not row.startswith("note:")]) == 8
    assert "note: one judge only, smollm2-135m-judge: nothing says how another would have judged" in rows


def test_means_by_an_axis_are_those_of_the_files(genpool: Type, demo: Path) -> None:
    said = genpool("scores", "demo", "--by", "rubric", "--json").json
    assert said["format"] == "genpool.scores/1"
    for row in said["rows"]:
        values = [one["score"]["value"] for one in judgements(demo) if one["template_id"] == row["rubric"]]
        assert row["mean"] == pytest.approx(sum(values) / len(values))
        assert (row["texts"], row["judgements"]) == (12, 24)


def test_different_scales_are_normalised_and_the_table_says_so(genpool: Type, demo: Path) -> None:
    said = genpool("scores", "demo", "--by", "draft.template")
    assert said.out.count("0 to 1 (normalised)") == 2
    assert "note: different scales were normalised to 0..1 before they were averaged" in said.out


def test_a_pivot_and_the_best_texts_of_the_whole_pool(genpool: Type, demo: Path) -> None:
    said = genpool("scores", "--pivot", "draft.template,essay.template", "rubric")
    assert said.out.splitlines()[0].split() == ["draft_template", "essay_template", "coherence", "novelty"]
    best = genpool("scores", "--top", "3", "--json").json["rows"]
    means = [row["mean_score"] for row in best]
    assert means == sorted(means, reverse=True)
    every = genpool("scores", "--top", "99", "--rank", "novelty", "--json").json["rows"]
    assert [one["score:novelty:smollm2-135m-judge"] for one in every] == sorted(
        (one["score:novelty:smollm2-135m-judge"] for one in every), reverse=True
    )
    assert len(every) == 12
    assert "e_" in genpool("scores", "--top", "1").out


def test_coverage_of_a_cohort_that_is_half_run(genpool: Type, demo: Path) -> None:
    for path in sorted((demo / "gens/evaluation").iterdir())[:10]:
        shutil.rmtree(path)
    rows = genpool("scores", "demo", "--coverage", "--json").json["rows"]
    judged = [row for row in rows if row["stage"] == "evaluation"]
    assert sum(row["missing"] for row in judged) == 10
    assert sum(row["made"] for row in judged) == 38
    for words in (["--coverage"], [], ["--by", "rubric"], ["--top", "1"], ["--json"]):
        assert genpool("scores", "demo", *words).out.count("half run: 10 of 66 members are missing") == 1, words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["demo", "--by", "draft.tempalte"], "'draft.tempalte' is not an axis of these judgements"),
        (["demo", "--pivot", "rubric", "rubric"], "rubric is in rows and columns"),
        (["demo", "--top", "0"], "the best 0 texts are none"),
        (["demo", "--top", "three"], "is not a valid integer"),
        (["demo", "--top", "3", "--rank", "noveltie"], "nothing was judged by 'noveltie'"),
        (["demo", "--rank", "novelty"], "--rank says what --top goes by"),
        (["demo", "--top", "3", "--by", "rubric"], "exclude each other"),
        (["demo", "--by", ""], "--by names no axis"),
        (["nobody"], "there is no cohort 'nobody'"),
    ],
)
def test_what_cannot_be_asked_is_told(genpool: Type, demo: Path, words: list[str], said: str) -> None:
    found = genpool("scores", *words)
    assert found.code in {1, 2}
    assert said in found.err
    assert "Traceback" not in found.err


def test_a_pool_in_which_nothing_was_judged_says_so(genpool: Type, root: Path) -> None:
    for words in ([], ["--top", "3"], ["--pivot", "rubric", "judge"], ["--by", "rubric"]):
        said = genpool("scores", *words)
        assert (said.code, said.out) == (
            0,
            "note: there are no judgements: nothing was judged yet, or no stage judges\n",
        )


def test_the_coverage_of_a_pool_that_is_empty_says_so(genpool: Type, root: Path) -> None:
    said = genpool("scores", "--coverage")
    assert (said.code, said.out) == (0, "note: there are no members: nothing is wanted, and nothing was made\n")


def test_control_characters_of_other_tools_are_shown_and_not_obeyed(genpool: Type, demo: Path) -> None:
    path = sorted((demo / "gens/evaluation").iterdir())[0]
    folder = path.with_name(f"{path.name}-aside")
    shutil.copytree(path, folder)
    value = json.loads((folder / "metadata.json").read_text())
    kept = {key: one for key, one in value.items() if key not in {"format", "id_scheme", "self", "fingerprints"}}
    (folder / "metadata.json").write_text(json.dumps({**kept, "template_id": "novelty\u202e"}))
    shutil.rmtree(path)
    folder.rename(path)
    said = genpool("scores", "--by", "rubric")
    assert said.code == 0
    assert "novelty\\u202e" in said.out
    assert "\u202e" not in said.out


# --- tables -----------------------------------------------------------------------------------------


def test_tables_are_written_as_parquet_and_csv_and_made_anew_each_time(genpool: Type, demo: Path) -> None:
    said = genpool("tables", "demo")
    assert said.code == 0
    folder = demo / "cohorts/demo/reports"
    names = {"aggregated_scores": 48, "generation_scores": 12, "mean_scores": 8, "top_texts": 12, "coverage": 14}
    names |= {"pivot_draft_template_by_essay_template": 2}
    for name, rows in names.items():
        parquet = pl.read_parquet(folder / f"{name}.parquet")
        assert parquet.height == rows
        with (folder / f"{name}.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert [list(line) for line in lines[:1]] == [parquet.columns]
        assert len(lines) == rows
    contents = json.loads((folder / "tables.json").read_text())
    assert contents["format"] == "genpool.tables/1"
    assert {name: one["rows"] for name, one in contents["tables"].items()} == names
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "coverage.csv").write_text("patched by hand")
    assert genpool("tables", "demo").code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    shutil.rmtree(sorted((demo / "gens/evaluation").iterdir())[0])
    genpool("tables", "demo")
    assert pl.read_parquet(folder / "aggregated_scores.parquet").height == 47
    assert genpool("doctor").code == 0


def test_the_best_texts_and_pivots_are_among_the_files_and_are_what_scores_says(genpool: Type, demo: Path) -> None:
    asked = ["draft.template,essay.template", "rubric"]
    said = genpool("tables", "demo", "--top", "5", "--pivot", *asked, "--pivot", "judge", "rubric", "--json").json
    folder = demo / "cohorts/demo/reports"
    best = genpool("scores", "demo", "--top", "5", "--json").json["rows"]
    assert pl.read_parquet(folder / "top_texts.parquet").to_dicts() == best
    assert len(best) == 5
    name = "pivot_draft_template+essay_template_by_rubric"
    assert (
        pl.read_parquet(folder / f"{name}.parquet").to_dicts()
        == (genpool("scores", "demo", "--pivot", *asked, "--json").json["rows"])
    )
    with (folder / f"{name}.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["draft_template", "essay_template", "coherence", "novelty"]
    usual = genpool("scores", "demo", "--pivot", "draft.template", "essay.template", "--json").json
    path = folder / "pivot_draft_template_by_essay_template.parquet"
    assert pl.read_parquet(path).to_dicts() == usual["rows"]
    contents = json.loads((folder / "tables.json").read_text())["tables"]
    assert set(contents) == set(said["tables"]) >= {"top_texts", name, path.stem, "pivot_judge_by_rubric"}
    assert contents[path.stem]["notes"] == usual["notes"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--pivot", "rubric", "rubric"], 2, "rubric is in rows and columns"),
        (["--pivot", "rubric", "draft.tempalte"], 1, "'draft.tempalte' is not an axis of these judgements"),
        (["--pivot", "", "rubric"], 2, "a pivot needs axes in rows and in columns"),
        (["--pivot", "rubric"], 2, "requires 2 arguments"),
        (["--top", "0"], 2, "the best 0 texts are none"),
    ],
)
def test_a_table_that_cannot_be_made_is_told_and_nothing_is_written(
    genpool: Type, demo: Path, words: list[str], code: int, said: str
) -> None:
    found = genpool("tables", "demo", *words)
    assert found.code == code
    assert said in found.err
    assert "Traceback" not in found.err
    assert not (demo / "cohorts/demo/reports").exists()


def test_tables_of_a_pool_in_which_nothing_was_judged_are_empty_and_say_so(genpool: Type, root: Path) -> None:
    assert genpool("tables", "--pivot", "draft.template", "rubric").code == 0
    contents = json.loads((root / "reports/tables.json").read_text())["tables"]
    for name in ("top_texts", "pivot_draft_template_by_rubric"):
        assert contents[name]["rows"] == 0
        assert contents[name]["notes"] == ["there are no judgements: nothing was judged yet, or no stage judges"]


def test_tables_of_the_pool_without_reasons_and_with_them(genpool: Type, demo: Path) -> None:
    said = genpool("tables", "--json").json
    assert {name: one["rows"] for name, one in said["tables"].items()}["aggregated_scores"] == 48
    assert {path.rpartition("/")[0] for path in said["files"]} == {str(demo / "reports")}
    assert pl.read_parquet(demo / "reports/aggregated_scores.parquet")["reason"].null_count() == 48
    genpool("tables", "--reasons")
    assert pl.read_parquet(demo / "reports/aggregated_scores.parquet")["reason"].null_count() == 0


def test_a_reason_that_a_spreadsheet_would_carry_out_is_a_text(genpool: Type, root: Path) -> None:
    reasons = ["=HYPERLINK(0)", "+1", "-1", "@SUM(1)", "\tx", 'fine, "this"\nis']
    answers = [json.dumps({"reason": f"x{reason}", "score": 1}) for reason in reasons]
    config = root / "pool.yaml"
    judge = "smollm2-135m-judge: {client: scripted"
    rewrite(config, f"{judge}}}", f"{judge}, answers: {json.dumps(answers)}}}")
    genpool("run", "demo", "-q")
    for path in (root / "gens/evaluation").glob("*/parsed.txt"):
        text = path.read_text()
        assert text.startswith("x")
        metadata = json.loads((path.parent / "metadata.json").read_text())
        kept = {key: one for key, one in metadata.items() if key not in {"format", "id_scheme", "self", "fingerprints"}}
        path.write_text(text[1:])
        (path.parent / "metadata.json").write_text(json.dumps(kept))
    assert genpool("tables", "demo", "--reasons").code == 0
    folder = root / "cohorts/demo/reports"
    with (folder / "aggregated_scores.csv").open(newline="") as file:
        shown = {row["reason"] for row in csv.DictReader(file)}
    exact = set(pl.read_parquet(folder / "aggregated_scores.parquet")["reason"])
    assert {"=HYPERLINK(0)", "@SUM(1)"} & exact
    assert not any(re.match(r"[=+\-@\t\r]", one) for one in shown)
    assert {one.removeprefix("'") for one in shown} == exact


def test_where_tables_cannot_be_written_it_is_said(genpool: Type, demo: Path) -> None:
    (demo / "cohorts/demo/reports").write_text("in the way")
    said = genpool("tables", "demo")
    assert said.code == 1
    assert "cannot write tables" in said.err
    (demo / "elsewhere").mkdir()
    (demo / "cohorts/demo/reports").unlink()
    (demo / "cohorts/demo/reports").symlink_to(demo / "elsewhere")
    said = genpool("tables", "demo")
    assert said.code == 1
    assert "is a link" in said.err
    assert not list((demo / "elsewhere").iterdir())


# --- texts ------------------------------------------------------------------------------------------


def test_texts_are_exported_with_their_lineage_and_scores(genpool: Type, demo: Path) -> None:
    assert genpool("export", "demo").code == 0
    folder = demo / "cohorts/demo/reports"
    lines = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    assert {line["gen_id"] for line in lines} == {path.name for path in (demo / "gens/essay").iterdir()}
    for line in lines:
        assert line["text"] == (demo / "gens/essay" / line["gen_id"] / "parsed.txt").read_text()
        judged = [one for one in judgements(demo) if one["parent_gen_id"] == line["gen_id"]]
        assert sorted(one["score"] for one in line["scores"]) == sorted(one["score"]["value"] for one in judged)
        assert line["judgements"] == len(judged) == 4
        assert line["draft_template"] in {"baseline", "rolling-thread"}
    parquet = pl.read_parquet(folder / "texts.parquet")
    assert parquet.to_dicts() == lines


def test_other_stages_and_prompts_are_exported_where_asked_for(genpool: Type, demo: Path) -> None:
    said = genpool("export", "--stage", "draft", "--stage", "essay", "--prompts", "--no-reasons", "--stdout")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert {line["stage"] for line in lines} == {"draft", "essay"}
    assert len(lines) == 18
    for line in lines:
        prompt = demo / "gens" / line["stage"] / line["gen_id"] / "prompt.txt"
        assert line["prompt"] == (prompt.read_text() if prompt.exists() else None)
    assert not (demo / "reports").exists()


def test_exports_of_other_stages_stand_beside_each_other_and_say_what_is_lacking(genpool: Type, demo: Path) -> None:
    assert genpool("export", "demo").code == 0
    folder = demo / "cohorts/demo/reports"
    before = (folder / "texts.jsonl").read_bytes()
    shutil.rmtree(sorted((demo / "gens/draft").iterdir())[0])
    said = genpool("export", "demo", "--stage", "draft")
    assert "half run: 1 of 6 members are missing" in said.out
    assert "judge" not in said.out  # drafts are not judged here
    assert (folder / "texts.jsonl").read_bytes() == before
    lines = (folder / "texts+draft.jsonl").read_text().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["draft"] * 5
    assert pl.read_parquet(folder / "texts+draft.parquet").height == 5


def test_a_text_that_cannot_be_read_is_a_row_that_says_so(genpool: Type, demo: Path) -> None:
    edited = sorted((demo / "gens/essay").iterdir())[0]
    (edited / "parsed.txt").write_text("edited")
    said = genpool("export", "demo")
    assert said.code == 1
    assert "1 of 12 texts cannot be read" in said.out
    lines = [json.loads(line) for line in (demo / "cohorts/demo/reports/texts.jsonl").read_text().splitlines()]
    (broken,) = [line for line in lines if line["problem"]]
    assert (broken["gen_id"], broken["text"]) == (edited.name, None)
    assert "not the one that was committed" in broken["problem"]


def test_nothing_to_export_and_unknown_stages_are_told(genpool: Type, root: Path) -> None:
    said = genpool("export")
    assert said.code == 1
    assert "there is no text of stage essay" in said.err
    said = genpool("export", "--stage", "esay")
    assert said.code == 1
    assert "no stage is named 'esay'" in said.err


# --- two cohorts ------------------------------------------------------------------------------------


def test_two_cohorts_side_by_side(genpool: Type, demo: Path) -> None:
    spec = (demo / "cohorts/demo/cohort.yaml").read_text()
    other = demo / "cohorts/other/cohort.yaml"
    other.parent.mkdir()
    other.write_text(spec.replace("replicates: 2", "replicates: 3").replace("[baseline, rolling-thread]", "[baseline]"))
    novelty = demo / "templates/evaluation/novelty.j2"
    novelty.write_text(novelty.read_text() + "Think twice.\n")
    assert genpool("run", "other", "-q").code == 0
    said = genpool("diff", "demo", "other")
    assert said.code == 0
    assert "-  template: [baseline, rolling-thread]\n+  template: [baseline]" in said.out
    assert "template evaluation/novelty stood for different things: demo: " in said.out
    found = genpool("diff", "demo", "other", "--json").json
    members = {one["stage"]: (one["both"], one["only_first"], one["only_second"]) for one in found["members"]}
    assert members == {"draft": (3, 3, 0), "essay": (6, 6, 0), "evaluation": (24, 24, 12)}
    (drift,) = found["drift"]
    assert (drift["kind"], drift["name"]) == ("template", "evaluation/novelty")
    assert sum(drift["first"].values()) == 24
    assert sorted(drift["second"].values()) == [6, 12]
    by = {(row["draft_template"], row["essay_template"], row["rubric"]): row for row in found["scores"]}
    for row in by.values():
        if row["draft_template"] == "baseline":
            assert row["difference"] == pytest.approx(row["mean in other"] - row["mean in demo"])
        else:
            assert row["mean in other"] is None
            assert row["difference"] is None
    assert len(by) == 8


def test_means_on_different_scales_have_no_difference(genpool: Type, demo: Path) -> None:
    spec = (demo / "cohorts/demo/cohort.yaml").read_text()
    other = demo / "cohorts/other/cohort.yaml"
    other.parent.mkdir()
    other.write_text(spec.replace("replicates: 2", "replicates: 3"))
    rewrite(demo / "templates/evaluation/coherence.j2", "scale: [1, 5]", "scale: [0, 9]")
    assert genpool("run", "other", "-q").code == 0
    for row in genpool("diff", "demo", "other", "--json").json["scores"]:
        assert (row["difference"] is None) == (row["rubric"] == "coherence")
    assert "1 to 5; 0 to 1 (normalised)" in genpool("diff", "demo", "other").out


def test_a_cohort_whose_spec_is_gone_can_be_compared_and_one_with_itself_cannot(genpool: Type, demo: Path) -> None:
    shutil.copytree(demo / "cohorts/demo", demo / "cohorts/twin")
    (demo / "cohorts/twin/cohort.yaml").unlink()
    said = genpool("diff", "demo", "twin")
    assert said.code == 0
    assert "note: cohort twin has no spec any more: specs are not compared" in said.out
    assert "no name stood for different things" in said.out
    said = genpool("diff", "demo", "demo")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: 'demo' is compared with itself")
    assert genpool("diff", "demo", "nobody").code == 1


def test_judgements_that_both_cohorts_share_are_counted_once(genpool: Type, demo: Path) -> None:
    path = sorted((demo / "gens/evaluation").iterdir())[0]
    folder = path.with_name(f"{path.name}-aside")
    shutil.copytree(path, folder)
    value = json.loads((folder / "metadata.json").read_text())
    kept = {key: one for key, one in value.items() if key not in {"format", "id_scheme", "self", "fingerprints"}}
    (folder / "metadata.json").write_text(json.dumps({**kept, "score": {**kept["score"], "value": 99}}))
    shutil.rmtree(path)
    folder.rename(path)
    shutil.copytree(demo / "cohorts/demo", demo / "cohorts/twin")
    notes = genpool("diff", "demo", "twin", "--json").json["notes"]
    (alone,) = [one for one in genpool("scores", "demo", "--json").json["notes"] if "left out" in one]
    assert alone.startswith("1 of 48 judgements left out: ")
    assert [one for one in notes if "left out" in one] == [alone]
