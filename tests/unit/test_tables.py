"""Tables of judgements against what plain Python makes of the same rows; a sentence wherever there is no number."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from genpool.errors import UsageError
from genpool.scores import JUDGEMENT, aggregated_schema, axes_of
from genpool.stages import DEFAULT_PIPELINE, Pipeline, Stage
from genpool.tables import NORMALISED, Table, coverage, generation_scores, mean_scores, pivot, top_texts, varying

if TYPE_CHECKING:
    from collections.abc import Iterable

AXES = axes_of(DEFAULT_PIPELINE)
NINE, FIVE = (0.0, 9.0), (1.0, 5.0)


def judgement(
    text: str, rubric: str, score: float | None, *, judge: str = "j", scale: tuple[float, float] = NINE, **more: Any
) -> dict[str, Any]:
    """Return a row of aggregated_scores; the template of the draft is the first letter of the text's name."""
    row = {
        "stage": "evaluation",
        "judged_stage": "essay",
        "judged_gen_id": text,
        "essay_gen_id": text,
        "rubric": rubric,
        "judge": judge,
        "score": score,
        "min": scale[0],
        "max": scale[1],
        "normalised": None if score is None else (score - scale[0]) / (scale[1] - scale[0]),
        "problem": "its score is not a number" if score is None else None,
        "draft_template": text[0],
        "essay_template": "story",
        "state": "own",
    }
    return {**row, **more}


def table(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    schema = aggregated_schema(DEFAULT_PIPELINE)
    numbered = [{"gen_id": f"v_{number}", "replicate": 1, **row} for number, row in enumerate(rows)]
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in numbered], schema=schema)


def many(seed: int) -> list[dict[str, Any]]:
    """Return judgements of 40 texts by two rubrics and two judges, repeated unequally often."""
    chance = random.Random(seed)
    return [
        judgement(f"{template}{number}", rubric, chance.randint(1, 5), judge=judge, scale=scale)
        for template in "ab"
        for number in range(20)
        for rubric, scale in (("depth", FIVE), ("style", NINE))
        for judge in ("j", "k")
        for _ in range(chance.randint(1, 3))
    ]


# --- a row a text -----------------------------------------------------------------------------------


def test_a_text_has_the_mean_of_repeated_judgements_by_each_rubric_and_judge() -> None:
    rows = many(1)
    found = generation_scores(table(rows), AXES)
    cells = defaultdict(list)
    for row in rows:
        cells[row["judged_gen_id"], row["rubric"], row["judge"]].append(row)
    assert found.frame.height == 40
    for row in found.frame.iter_rows(named=True):
        per_rubric = []
        for rubric in ("depth", "style"):
            judged = {judge: cells[row["judged_gen_id"], rubric, judge] for judge in "jk"}
            for judge, said in judged.items():
                assert row[f"score:{rubric}:{judge}"] == pytest.approx(mean(one["score"] for one in said))
                assert row[f"n:{rubric}:{judge}"] == len(said)
            per_rubric.append(mean(mean(one["normalised"] for one in said) for said in judged.values()))
        assert row["mean_score"] == pytest.approx(mean(per_rubric))
        assert row["scale"] == NORMALISED
        assert row["judgements"] == sum(len(cells[key]) for key in cells if key[0] == row["judged_gen_id"])
    assert "mean_score is over different scales: each was normalised to 0..1 first" in found.notes


def test_on_one_scale_nothing_is_normalised() -> None:
    found = generation_scores(table([judgement("a", "depth", 4), judgement("a", "style", 8)]), AXES)
    assert found.frame.select("mean_score", "scale", "note").row(0) == (6, "0 to 9", None)


def test_a_rubric_that_was_asked_on_two_scales_is_normalised_in_its_own_column() -> None:
    rows = [judgement("a", "depth", 9), judgement("b", "depth", 3, scale=FIVE)]
    found = generation_scores(table(rows), AXES)
    assert found.frame["score:depth:j"].to_list() == [1, 0.5]
    assert "asked on several scales, so normalised to 0..1: depth" in found.notes


def test_a_text_that_lacks_a_rubric_or_a_judge_has_no_mean_score_and_says_why() -> None:
    rows = [judgement("a", "depth", 4), judgement("a", "depth", 6, judge="k"), judgement("b", "depth", 9)]
    found = generation_scores(table(rows), AXES)
    assert found.frame.select("mean_score", "note").rows() == [(5, None), (None, "not judged by depth:k")]
    assert "1 of 2 texts have no mean_score: `note` says why" in found.notes


def test_a_text_none_of_whose_judgements_has_a_score_says_so() -> None:
    found = generation_scores(table([judgement("a", "depth", 4), judgement("b", "depth", None)]), AXES)
    assert found.frame.select("mean_score", "judgements", "note").rows() == [
        (4, 1, None),
        (None, 0, "none of its judgements has a score"),
    ]
    assert "1 of 2 judgements left out: its score is not a number (v_1)" in found.notes


# --- the best ---------------------------------------------------------------------------------------


def test_the_best_come_first_and_of_equal_ones_the_first_by_id() -> None:
    rows = [judgement(text, "depth", score) for text, score in (("c", 7), ("b", 7), ("a", 1), ("d", 8))]
    best = top_texts(generation_scores(table(rows), AXES), 3)
    assert best.frame["judged_gen_id"].to_list() == ["d", "b", "c"]


def test_means_that_differ_only_in_their_last_bit_are_equal() -> None:
    scores = pl.DataFrame({"judged_gen_id": ["b", "a"], "mean_score": [0.1 + 0.2, 0.3]})
    assert top_texts(Table(scores), 1).frame["judged_gen_id"].to_list() == ["a"]


def test_the_best_by_one_rubric_or_by_one_judge_of_it() -> None:
    rows = [
        judgement("a", "depth", 1),
        judgement("a", "depth", 9, judge="k"),
        judgement("b", "depth", 8),
        judgement("b", "depth", 1, judge="k"),
        judgement("a", "style", 0),
        judgement("b", "style", 9),
    ]
    scores = generation_scores(table(rows), AXES)
    assert top_texts(scores, 1, "depth").frame["judged_gen_id"].item() == "a"
    assert top_texts(scores, 1, "depth:j").frame["judged_gen_id"].item() == "b"
    assert top_texts(scores, 1, "style").frame["judged_gen_id"].item() == "b"
    fewer = generation_scores(table(rows[:5]), AXES)
    assert top_texts(fewer, 2).frame["judged_gen_id"].to_list() == ["a"]
    assert top_texts(fewer, 2).notes == (
        "1 of 2 texts are not ranked: they have no mean_score (1: not judged by style:j)",
    )
    one_judge = generation_scores(table([*rows[:3], *rows[4:]]), AXES)
    assert top_texts(one_judge, 2, "depth").frame["judged_gen_id"].to_list() == ["a"]
    said = "1 of 2 texts are not ranked: they have no depth (1: not judged by depth:k)"
    assert top_texts(one_judge, 2, "depth").notes == (said,), "what lacks a mean_score does not matter here"
    with pytest.raises(UsageError, match="nothing was judged by 'dept'") as error:
        top_texts(scores, 1, "dept")
    assert error.value.hint == "did you mean 'depth'?"
    with pytest.raises(UsageError, match="the best 0 texts are none"):
        top_texts(scores, 0)


def test_a_judge_with_a_colon_in_its_name_is_no_part_of_a_rubric() -> None:
    rows = [judgement("a", "depth", 1, judge="llama3:8b"), judgement("b", "depth", 2, judge="llama3:8b")]
    scores = generation_scores(table([*rows, judgement("a", "style", 9, judge="k"), judgement("b", "style", 0)]), AXES)
    for by in ("depth", "depth:llama3:8b", "evaluation:depth"):
        assert top_texts(scores, 1, by).frame["judged_gen_id"].item() == "b"
    for by in ("llama3", "depth:llama3"):
        with pytest.raises(UsageError, match="nothing was judged by"):
            top_texts(scores, 1, by)


def test_what_several_stages_said_of_one_text_is_never_mixed() -> None:
    more: dict[str, Any] = {"stage": "quick", "scale": (0, 100)}
    rows = [judgement("a", "depth", 9), judgement("b", "depth", 1)]
    scores = generation_scores(
        table([*rows, judgement("a", "depth", 0, **more), judgement("b", "depth", 100, **more)]), AXES
    )
    assert scores.frame.select("mean_score", "scale").null_count().row(0) == (2, 2)
    said = "judged by several stages, which are never mixed: evaluation, quick"
    assert set(scores.frame["note"]) == {said}
    with pytest.raises(UsageError, match="several stages have judged these texts") as error:
        top_texts(scores, 1)
    assert str(error.value.hint).startswith("rank by one of evaluation:depth, quick:depth")
    with pytest.raises(UsageError, match="several stages have judged by 'depth'") as error:
        top_texts(scores, 1, "depth")
    assert error.value.hint == "say evaluation:depth or quick:depth"
    for by, best in (("evaluation:depth", "a"), ("quick:depth", "b"), ("quick:depth:j", "b")):
        assert top_texts(scores, 1, by).frame["judged_gen_id"].item() == best


def test_texts_of_several_stages_are_not_ranked_together_by_their_means() -> None:
    more: dict[str, Any] = {"stage": "screening", "judged_stage": "draft", "scale": (0, 100)}
    scores = generation_scores(table([judgement("a", "depth", 9), judgement("d", "grace", 10, **more)]), AXES)
    with pytest.raises(UsageError, match="texts of several stages were judged") as error:
        top_texts(scores, 1)
    assert "screening:grace" in str(error.value.hint)
    assert top_texts(scores, 2, "grace").frame["judged_gen_id"].to_list() == ["d"]


# --- means by axes ----------------------------------------------------------------------------------


def by_hand(rows: list[dict[str, Any]], by: list[str], value: str) -> dict[tuple[Any, ...], float]:
    """Return the mean over rubrics and judges of the mean over texts of the mean of repeated judgements."""
    groups: dict[tuple[Any, ...], Any] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        key = tuple(row[name] for name in by)
        groups[key][row["rubric"], row["judge"]][row["judged_gen_id"]].append(row[value])
    return {
        key: mean(mean(mean(said) for said in texts.values()) for texts in speakers.values())
        for key, speakers in groups.items()
    }


@pytest.mark.parametrize(
    ("by", "value", "scale"),
    [
        (["draft_template"], "normalised", NORMALISED),
        ([], "normalised", NORMALISED),
        (["draft_template", "rubric", "judge"], "score", None),
        (["rubric"], "score", None),
        (["judge", "draft_template"], "normalised", NORMALISED),
    ],
)
def test_means_are_those_that_plain_python_gives(by: list[str], value: str, scale: str | None) -> None:
    rows = many(2)
    found = mean_scores(table(rows), by).frame
    expected = by_hand(rows, by, value)
    assert found.height == len(expected)
    for row in found.iter_rows(named=True):
        assert row["mean"] == pytest.approx(expected[tuple(row[name] for name in by)])
        assert row["scale"] == (scale or {"depth": "1 to 5", "style": "0 to 9"}[row["rubric"]])
    assert found["judgements"].sum() == len(rows)


def test_no_mean_where_a_rubric_or_a_judge_has_not_spoken() -> None:
    rows = [judgement(text, rubric, 5) for text in ("a1", "a2", "b1", "b2") for rubric in ("depth", "style")]
    found = mean_scores(
        table([row for row in rows if (row["judged_gen_id"][0], row["rubric"]) != ("b", "style")]), ["draft_template"]
    )
    assert found.frame.select("draft_template", "mean", "note").rows() == [
        ("a", 5, None),
        ("b", None, "not judged by style:j"),
    ]
    assert "1 of 2 means are not given: not every rubric and judge has spoken there" in found.notes


def test_means_by_axes_are_the_means_of_the_texts_mean_scores_however_many_judges_a_rubric_has() -> None:
    rows = [judgement(text, "depth", 9, judge=judge) for text in ("a1", "b1") for judge in "jk"]
    judged = table([*rows, judgement("a1", "style", 0), judgement("b1", "style", 4)])
    assert generation_scores(judged, AXES).frame["mean_score"].to_list() == [4.5, 6.5]
    assert mean_scores(judged, ["draft_template"]).frame["mean"].to_list() == [4.5, 6.5]
    assert mean_scores(judged, ["draft_template", "rubric"]).frame["mean"].to_list() == [9, 0, 9, 4]
    assert mean_scores(judged, ["judge"]).frame["mean"].to_list() == [5.5, 9]


def test_a_text_that_a_judge_has_not_spoken_of_is_in_no_mean() -> None:
    rows = [judgement(text, "depth", score) for text, score in (("a1", 1), ("a2", 9), ("b1", 4), ("c1", 5), ("c2", 5))]
    rows += [judgement(text, "depth", score, judge="k") for text, score in (("a1", 3), ("b1", 4), ("c3", 5))]
    found = mean_scores(table(rows), ["draft_template"])
    assert found.frame.select("mean", "texts", "judgements", "note").rows() == [
        (2, 1, 2, "of 1 alone: other texts lack a rubric or a judge"),
        (4, 1, 2, "one text only"),
        (None, 0, 0, "no text was judged by all of them"),
    ]
    assert "not every rubric and judge has spoken of 4 texts: they are in no mean" in found.notes


def test_a_text_that_lacks_a_judge_in_several_groups_is_one_text_of_which_that_is_said() -> None:
    rows = [judgement("a1", rubric, 3, judge=judge) for rubric in ("depth", "style") for judge in "jk"]
    rows += [judgement("a2", rubric, 3) for rubric in ("depth", "style")]
    found = mean_scores(table(rows), ["rubric"])
    assert "not every rubric and judge has spoken of 1 texts: they are in no mean" in found.notes


def test_a_mean_of_one_text_says_that_it_is_one() -> None:
    found = mean_scores(table([judgement("a", "depth", 5), judgement("a", "depth", 7)]), ["draft_template"])
    assert found.frame.select("mean", "texts", "judgements", "note").row(0) == (6, 1, 2, "one text only")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "there are no judgements: nothing was judged yet, or no stage judges"),
        ([judgement("a", "depth", None)], "no judgement has a score"),
        ([judgement(t, "depth", 4) for t in "abc"], "all 3 scores are equal: they tell nothing apart"),
        ([judgement("a", "depth", 4)], "one judge only, j: nothing says how another would have judged"),
    ],
)
def test_where_there_is_little_to_say_a_sentence_says_so(rows: list[dict[str, Any]], said: str) -> None:
    judged = table(rows)
    for found in (generation_scores(judged, AXES), mean_scores(judged, []), mean_scores(judged, ["rubric"])):
        assert said in found.notes
    assert pivot(judged, ["rubric"], ["judge"]).frame.height == len(
        {r["rubric"] for r in rows if r["score"] is not None}
    )


def test_what_several_stages_judged_is_never_one_mean() -> None:
    rows = [judgement("a", "depth", 5), judgement("d", "depth", 1, stage="screening", judged_stage="draft")]
    found = mean_scores(table(rows), ["rubric"]).frame
    assert found.select("stage", "rubric", "mean").rows() == [("evaluation", "depth", 5), ("screening", "depth", 1)]
    wide = pivot(table(rows), ["rubric"], ["judge"]).frame
    assert wide.columns == ["stage", "rubric", "j"]
    texts = generation_scores(table(rows), AXES).frame
    assert [one for one in texts.columns if one.startswith("score:")] == [
        "score:evaluation:depth:j",
        "score:screening:depth:j",
    ]
    assert texts["mean_score"].to_list() == [5, 1]


# --- pivots -----------------------------------------------------------------------------------------


def test_a_pivot_has_the_means_in_its_cells_all_on_one_scale() -> None:
    rows = many(3)
    found = pivot(table(rows), ["draft_template"], ["rubric", "judge"])
    assert found.frame.columns == ["draft_template", "depth · j", "depth · k", "style · j", "style · k"]
    expected = by_hand(rows, ["draft_template", "rubric", "judge"], "normalised")
    for row in found.frame.iter_rows(named=True):
        for rubric in ("depth", "style"):
            for judge in "jk":
                assert row[f"{rubric} · {judge}"] == pytest.approx(expected[row["draft_template"], rubric, judge])
    assert "cells are mean scores on the scale 0 to 1 (normalised)" in found.notes


def test_a_cell_that_was_not_judged_is_empty() -> None:
    found = pivot(table([judgement("a", "depth", 5), judgement("b", "style", 3)]), ["draft_template"], ["rubric"])
    assert found.frame.rows() == [("a", 5, None), ("b", None, 3)]
    assert "cells are mean scores on the scale 0 to 9" in found.notes


def test_a_level_that_is_called_like_an_axis_is_told_apart() -> None:
    found = pivot(table([judgement("a", "draft_template", 5)]), ["draft_template"], ["rubric"])
    assert found.frame.columns == ["draft_template", "draft_template (level)"]


def test_levels_whose_names_run_together_are_told_apart() -> None:
    rows = [judgement("a1", "x", 5, judge="y · z"), judgement("a1", "x · y", 7, judge="z")]
    found = pivot(table(rows), ["draft_template"], ["rubric", "judge"]).frame
    assert found.columns[1:] == ['{"rubric":"x · y","judge":"z"}', '{"rubric":"x","judge":"y · z"}']
    assert found.row(0) == ("a", 7, 5)


@pytest.mark.parametrize(("rows", "columns"), [(["rubric"], ["rubric"]), ([], ["rubric"]), (["rubric"], [])])
def test_a_pivot_needs_different_axes_on_both_sides(rows: list[str], columns: list[str]) -> None:
    with pytest.raises(UsageError):
        pivot(table([judgement("a", "depth", 5)]), rows, columns)


def test_axes_are_typed_with_their_stage_and_a_wrong_one_is_told() -> None:
    assert AXES.column("draft.template") == "draft_template"
    assert AXES.column("evaluation.template") == "rubric"
    assert AXES.column("draft.combo") == AXES.column("combo") == "combo"
    with pytest.raises(UsageError, match="tempalte' is not an axis") as error:
        AXES.column("draft.tempalte")
    assert error.value.hint == "did you mean 'draft.template'?"


def test_the_template_of_a_judge_is_its_rubric_though_others_judge_its_judgements() -> None:
    meta = Stage("meta", "m", "evaluation", ("template_id", "llm_model_id"), judges=True)
    axes = axes_of(Pipeline((*DEFAULT_PIPELINE, meta)))
    assert (axes.column("evaluation.template"), axes.column("evaluation.model")) == ("rubric", "judge")
    assert axes.column("evaluation_template") == "evaluation_template"


def test_only_axes_with_several_levels_are_told_apart_unless_asked() -> None:
    assert varying(table(many(4)), AXES) == ["draft_template", "rubric", "judge"]


# --- coverage ---------------------------------------------------------------------------------------


def test_coverage_counts_what_is_wanted_made_and_judged_by_stage_and_level() -> None:
    members = pl.DataFrame(
        [
            ("essay", "a1", "own", "a"),
            ("essay", "a2", "missing", "a"),
            ("essay", "b1", "reused", "b"),
            ("essay", "b2", "unusable", "b"),
            ("evaluation", "v", "own", "a"),
        ],
        schema=["stage", "gen_id", "state", "draft_template"],
        orient="row",
    )
    found = coverage(members, table([judgement("a1", "depth", 4), judgement("b1", "depth", None)]))
    assert found.frame.rows() == [
        ("essay", "a", 2, 1, 1, 0, 1),
        ("essay", "b", 2, 1, 0, 1, 0),
        ("evaluation", "a", 1, 1, 0, 0, None),
    ]
    assert found.notes == (
        "half run: 1 of 5 members are missing; what is said is said of the rest",
        "1 members are unusable; `genpool status` says which and why",
    )


# --- other pipelines --------------------------------------------------------------------------------


def test_columns_are_named_by_the_pipeline_whatever_its_words() -> None:
    pipeline = Pipeline(
        [
            Stage("line", "l", None, ("template_id", "llm_model_id", "mood")),
            Stage("taste", "t", "line", ("template_id", "lens"), judges=True),
        ]
    )
    names = list(aggregated_schema(pipeline))
    assert names[names.index("problem") + 1 :] == [
        "taste_lens",
        "line_gen_id",
        "line_template",
        "line_model",
        "line_mood",
        "line_replicate",
        "combo",
    ]
    axes = axes_of(pipeline)
    assert axes.levels == ("line_mood", "line_model", "line_template", "taste_lens", "rubric", "judge")
    assert "taste_lens" not in axes.lineage


def test_stages_whose_columns_would_be_called_the_same_are_told_apart() -> None:
    pipeline = Pipeline(
        [
            Stage("a", "a", None, ("b_mood",)),
            Stage("a_b", "b", "a", ("mood",)),
            Stage("judged", "g", "a_b"),
            Stage("v", "v", "judged", ("template_id",), judges=True),
        ]
    )
    names = list(aggregated_schema(pipeline))
    assert len(names) == len(set(names))
    assert {"a_b_mood", "a.b_mood", "judged.gen_id", "judged_gen_id"} <= set(names)


def test_a_pipeline_that_does_not_judge_has_no_judgements_and_says_so() -> None:
    pipeline = Pipeline([Stage("line", "l")])
    empty = pl.DataFrame(schema=aggregated_schema(pipeline))
    for found in (generation_scores(empty, axes_of(pipeline)), mean_scores(empty, [])):
        assert found.frame.is_empty()
        assert found.notes == ("there are no judgements: nothing was judged yet, or no stage judges",)


def test_every_column_of_a_judgement_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/scores.md").read_text()
    assert {name for name in JUDGEMENT if f"`{name}`" not in page} == set()
