"""Judgements as one table: what a scope's columns say, their lineage, and what is wrong with a score."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from genpool.errors import UsageError
from genpool.pool import Pool
from genpool.scores import aggregated_schema, aggregated_scores, member_lineages
from genpool.tables import all_tables
from genpool.testing import ScriptedModel
from tests.small_pools import EVALUATIONS, make_pool, metadata, models, whole_cohort, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """A pool with cohort `first` (rows 0 and 1) and cohort `second` (rows 1 and 2), both judged."""
    made = make_pool(tmp_path / "pool", rows=3)
    write_rows(made.root, [0, 1])
    whole_cohort(made.root, "first")
    made.run("first", models=models())
    write_rows(made.root, [1, 2], "others.csv")
    whole_cohort(made.root, "second", rows="others.csv")
    Pool.open(made.root).run("second", models=models())
    return Pool.open(made.root)


def say_otherwise(root: Path, stage: str, gen_id: str, **said: Any) -> None:
    """Rewrite a record as another tool would have written it: without format, scheme and digests."""
    value = metadata(root, stage, gen_id)
    kept = {key: one for key, one in value.items() if key not in {"format", "id_scheme", "self", "fingerprints"}}
    folder = root / "gens" / stage / gen_id
    aside = folder.with_name(f"{gen_id}-aside")
    shutil.copytree(folder, aside)
    (aside / "metadata.json").write_text(json.dumps({**kept, **said}))
    shutil.rmtree(folder)
    aside.rename(folder)


def from_files(root: Path, gen_ids: list[str]) -> list[dict[str, Any]]:
    """Return what the rows of some judgements must say, from their files alone."""
    rows = []
    for gen_id in gen_ids:
        judged = metadata(root, "evaluation", gen_id)
        essay: Mapping[str, Any] = metadata(root, "essay", str(judged["parent_gen_id"]))
        draft: Mapping[str, Any] = metadata(root, "draft", essay["parent_gen_id"])
        score: Mapping[str, Any] = judged["score"]  # type: ignore[assignment]
        rows.append(
            {
                "gen_id": gen_id,
                "judged_gen_id": judged["parent_gen_id"],
                "rubric": judged["template_id"],
                "judge": judged["llm_model_id"],
                "replicate": judged["replicate"],
                "score": score["value"],
                "min": score["min"],
                "max": score["max"],
                "normalised": (score["value"] - score["min"]) / (score["max"] - score["min"]),
                "origin": judged["origin_cohort_id"],
                "essay_template": essay["template_id"],
                "draft_gen_id": draft["gen_id"],
                "draft_model": draft["llm_model_id"],
                "draft_replicate": draft["replicate"],
                "combo": draft["combo_id"],
            }
        )
    return rows


# --- what is in it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", [True, False])
def test_a_row_a_judgement_with_its_whole_lineage(pool: Pool, manifest: bool) -> None:
    if not manifest:
        (pool.root / "cohorts/second/manifest.json").unlink()
    scope = pool.scope("second")
    found = scope.scores()
    members = [one.gen_id for one in scope.members("evaluation")]
    assert found["gen_id"].to_list() == members
    expected = from_files(pool.root, members)
    assert found.select(list(expected[0])).to_dicts() == expected
    assert found.schema == aggregated_schema(pool.config.pipeline)
    assert set(zip(found["origin"], found["state"], strict=True)) == {("first", "reused"), ("second", "own")}
    assert found["problem"].null_count() == found.height
    assert found["reason"].null_count() == found.height


def test_reasons_are_read_where_they_are_asked_for(pool: Pool) -> None:
    found = pool.scores("first", reasons=True)
    for gen_id, reason in found.select("gen_id", "reason").iter_rows():
        lines = (pool.root / "gens/evaluation" / gen_id / "parsed.txt").read_text().splitlines()
        assert [reason] == lines[:-1]


def test_a_text_that_is_missing_or_was_edited_has_no_reason(pool: Pool) -> None:
    one, other, *_ = (member.gen_id for member in pool.scope("first").members("evaluation"))
    (pool.root / "gens/evaluation" / one / "parsed.txt").unlink()
    (pool.root / "gens/evaluation" / other / "parsed.txt").write_text("SCORE: 9")
    said = dict(pool.scores("first", reasons=True).select("gen_id", "reason").iter_rows())
    assert said.get(one) is None
    assert said[other] is None
    assert sum(reason is None for reason in said.values()) == 1 + (one in said)


def test_several_cohorts_have_each_judgement_once_and_the_pool_has_all(pool: Pool) -> None:
    first, second = pool.scores("first"), pool.scores("second")
    both, everything = pool.scores("first", "second"), pool.scores()
    ids = dict.fromkeys([*first["gen_id"], *second["gen_id"]])
    assert both["gen_id"].to_list() == list(ids)
    assert sorted(everything["gen_id"]) == sorted(ids)
    assert set(both["state"]) == set(everything["state"]) == {"made"}
    compared = [name for name in both.columns if name != "state"]
    assert both.select(compared).sort("gen_id").equals(everything.select(compared).sort("gen_id"))


def test_what_is_above_members_and_is_none_itself_is_lineage_too(pool: Pool) -> None:
    drafts = member_lineages(pool.scope("first")).filter(pl.col("stage") == "draft")["gen_id"].to_list()
    folder = pool.root / "cohorts/third"
    folder.mkdir()
    (folder / "cohort.yaml").write_text(
        "format: genpool.cohort/1\nfrom: {union: [first], stage: essay}\n"
        f"evaluation: {{{EVALUATIONS}, replicates: 3}}\n"
    )
    pool.run("third", models=models())
    found = pool.scores("third")
    assert found.height == 12
    assert found.select("draft_gen_id", "draft_template", "combo").null_count().row(0) == (0, 0, 0)
    members = member_lineages(pool.scope("third"))
    assert set(members["stage"]) == {"essay", "evaluation"}, "what is only above is no member"
    joint = member_lineages(pool.wide_scope(["third", "first"]))
    assert joint.filter(pl.col("stage") == "draft")["gen_id"].to_list() == drafts, "above one, a member of the other"


def test_to_pandas(pool: Pool) -> None:
    frame = pool.scope("first").scores().to_pandas()
    assert list(frame["score"]) == pool.scope("first").scores()["score"].to_list()


# --- what is not in it ------------------------------------------------------------------------------


def test_what_is_missing_is_no_judgement_but_its_text_s_other_judgements_are(pool: Pool) -> None:
    one, *others = (member.gen_id for member in pool.scope("first").members("evaluation"))
    shutil.rmtree(pool.root / "gens/evaluation" / one)
    assert pool.scores("first")["gen_id"].to_list() == others


def test_a_judgement_of_a_text_that_is_gone_keeps_the_lineage_that_the_membership_knows(pool: Pool) -> None:
    essay = next(member.gen_id for member in pool.scope("first").members("essay"))
    before = pool.scores("first")
    shutil.rmtree(pool.root / "gens/essay" / essay)
    assert pool.scores("first").equals(before)
    gone = pool.scores().filter(pl.col("judged_gen_id") == essay)
    assert gone["score"].null_count() == 0
    assert gone.select("essay_template", "combo").unique().rows() == [(None, None)]


# --- scores of other tools --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "problem"),
    [
        ({"value": 12, "min": 0, "max": 9}, "its score 12.0 is off its scale 0.0 to 9.0"),
        ({"value": -1, "min": 0, "max": 9}, "its score -1.0 is off its scale 0.0 to 9.0"),
        ({"value": 5, "min": 9, "max": 0}, "its scale, 9.0 to 0.0, is none"),
        ({"value": 5, "min": 5, "max": 5}, "its scale, 5.0 to 5.0, is none"),
        ({"value": 5, "min": -1e308, "max": 1e308}, "its scale, -1e+308 to 1e+308, is none"),
        ({"value": "7", "min": 0, "max": 9}, "its metadata has no score that is a number on a scale"),
        ({"value": 7}, "its metadata has no score that is a number on a scale"),
        (7, "its metadata has no score that is a number on a scale"),
        (None, "its metadata has no score that is a number on a scale"),
    ],
)
def test_a_score_that_is_none_is_a_sentence_and_no_number(pool: Pool, score: object, problem: str) -> None:
    one = next(member.gen_id for member in pool.scope("first").members("evaluation"))
    say_otherwise(pool.root, "evaluation", one, score=score)
    for found in (Pool.open(pool.root).scores("first"), Pool.open(pool.root).scores()):
        row = found.row(by_predicate=pl.col("gen_id") == one, named=True)
        assert (row["score"], row["normalised"], row["problem"]) == (None, None, problem)
        assert found["problem"].null_count() == found.height - 1
        assert row["essay_template"] in {"story", "same"}


def test_metadata_with_nan_in_it_is_unusable_and_no_judgement(pool: Pool) -> None:
    one = next(member.gen_id for member in pool.scope("first").members("evaluation"))
    say_otherwise(pool.root, "evaluation", one, score={"value": float("nan"), "min": 0, "max": 9})
    scope = Pool.open(pool.root).scope("first")
    assert one in scope.problems()
    assert one not in scope.scores()["gen_id"].to_list()


# --- any pipeline -----------------------------------------------------------------------------------

OTHER = """\
format: genpool.pool/1
id_scheme: genpool/1
pipeline:
  verse: {prefix: r, axes: [template, model, mood]}
  taste: {prefix: t, parent: verse, axes: [template], judges: true}
  tune: {prefix: u, parent: verse, axes: [template]}
  ear: {prefix: x, parent: tune, axes: [model, room], judges: true, replicates: 2}
models:
  writer: {client: scripted}
  judge: {client: scripted}
"""


def other_pool(root: Path) -> Pool:
    """A pool with stages of its own: two judge, at different depths, one without a model, one without a template."""
    files = {
        "pool.yaml": OTHER,
        "rows.csv": "id,topic\nrow-0,sea\n",
        "templates/verse/plain.j2": "{{ row.topic }} {{ axes.mood }}\n",
        "templates/tune/slow.j2": "{{ verse }}\n",
        "templates/taste/grace.j2": "---\nparser: bare_score\nscale: [1, 5]\n---\n{{ verse }}\n",
        "templates/ear/default.j2": "---\nparser: fraction_score\nscale: [0, 10]\n---\n{{ tune }}\n",
        "cohorts/c/cohort.yaml": (
            "format: genpool.cohort/1\n"
            "verse: {combo: {rows: rows.csv}, template: [plain], model: [writer], mood: [glad, sad]}\n"
            "taste: {template: [grace]}\ntune: {template: [slow]}\near: {model: [judge], room: [hall, shed]}\n"
        ),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Pool.open(root)


def test_several_judging_stages_with_axes_of_their_own_make_one_table(tmp_path: Path) -> None:
    pool = other_pool(tmp_path / "pool")
    assert pool.run("c", models={"writer": ScriptedModel(), "judge": ScriptedModel()}).complete
    found = pool.scores("c")
    by_stage = {name: found.filter(pl.col("stage") == name) for name in ("taste", "ear")}
    assert {name: part.height for name, part in by_stage.items()} == {"taste": 2, "ear": 8}
    taste, ear = by_stage["taste"], by_stage["ear"]
    assert taste.select("judged_stage", "rubric", "judge").unique().rows() == [("verse", "grace", "writer")]
    assert ear.select("judged_stage", "rubric", "judge").unique().rows() == [("tune", "ear", "judge")]
    assert set(ear["ear_room"]) == {"hall", "shed"}
    assert set(found["verse_mood"]) == {"glad", "sad"}
    assert taste["tune_template"].null_count() == 2
    assert ear["tune_template"].unique().to_list() == ["slow"]
    assert set(found["combo"]) == {"row-0"}
    assert {*taste["max"], *ear["max"]} == {5, 10}
    assert list(found.columns) == list(aggregated_schema(pool.config.pipeline))


def test_a_cohort_that_judges_nothing_has_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "pool")
    write_spec(pool.root, "c")
    pool.run("c", models=models())
    assert aggregated_scores(pool.scope("c")).is_empty()
    assert pool.scores("c").schema == aggregated_schema(pool.config.pipeline)


def test_the_best_of_a_stage_are_ranked_by_what_judges_that_stage(tmp_path: Path) -> None:
    pool = other_pool(tmp_path / "pool")
    pool.run("c", models={"writer": ScriptedModel(), "judge": ScriptedModel()})
    for stage, below in (("verse", "tune: {template: [slow]}"), ("tune", "ear: {model: [judge], room: [shed]}")):
        spec = pool.root / f"cohorts/best-{stage}/cohort.yaml"
        spec.parent.mkdir()
        spec.write_text(f"format: genpool.cohort/1\nfrom: {{cohorts: [c], stage: {stage}, top: 9}}\n{below}\n")
        roots = pool.plan(spec.parent.name).stage(stage).gen_ids
        assert sorted(roots) == sorted(one.gen_id for one in pool.scope("c").members(stage))


def test_texts_of_several_stages_have_tables_but_no_table_of_the_best_which_says_why(tmp_path: Path) -> None:
    pool = other_pool(tmp_path / "pool")
    pool.run("c", models={"writer": ScriptedModel(), "judge": ScriptedModel()})
    found = all_tables(pool.scope("c"), pivots=[(("verse_mood",), ("rubric",))])
    assert found["generation_scores"].frame.height == 4
    assert found["top_texts"].frame.is_empty()
    assert found["top_texts"].frame.schema == found["generation_scores"].frame.schema
    said = "there are no top_texts: texts of several stages were judged, which are never ranked together: tune, verse"
    assert said in found["top_texts"].notes
    assert found["pivot_verse_mood_by_rubric"].frame.columns == ["stage", "verse_mood", "ear", "grace"]
    with pytest.raises(UsageError, match="the best 0 texts are none"):
        all_tables(pool.scope("c"), top=0)
