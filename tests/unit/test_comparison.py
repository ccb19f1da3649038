"""What counts of judgements, what texts come to, and levels compared by pairs: by hand, and against statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from genpool.comparison import compare
from genpool.judgements import OVERALL, judgements_of, text_axes, text_means
from genpool.report.judged import ranked
from genpool.scores import lineage_columns
from genpool.stages import DEFAULT_PIPELINE, Pipeline, Stage
from tests.made_scores import AXES, JUDGING, Scores, random_scores


def means_of(scores: Scores) -> dict[tuple[str, str], float]:
    """Return text and measure to the mean."""
    rows = text_means(scores.judgements).select("judged_gen_id", "measure", "value").rows()
    return {(text, measure): value for text, measure, value in rows}


# --- what counts ---


def test_axes_are_those_of_the_lineage_nearest_the_root_first() -> None:
    columns = lineage_columns(DEFAULT_PIPELINE, JUDGING)
    assert text_axes(DEFAULT_PIPELINE, JUDGING, columns) == {
        "draft_template": "draft template",
        "draft_model": "draft model",
        "essay_template": "essay template",
    }


def test_an_axis_of_the_judging_stage_itself_is_one_its_template_and_model_are_not() -> None:
    pipeline = Pipeline(
        [
            Stage("text", "t", None, ("style",)),
            Stage("mark", "m", "text", ("template_id", "llm_model_id", "mood"), judges=True),
        ]
    )
    stage = pipeline["mark"]
    assert list(text_axes(pipeline, stage, lineage_columns(pipeline, stage))) == ["text_style", "mark_mood"]


def test_what_is_no_score_is_left_out_and_told() -> None:
    scores = Scores().add(4, None, None, combo="c1").add(5, combo="c2")
    frame = scores.frame.with_columns(pl.when(pl.col("combo") == "c2").then(None).otherwise("combo").alias("combo"))
    found = judgements_of(frame, JUDGING, AXES)
    assert found.frame["score"].to_list() == [4]
    assert found.left_out == {
        "its score is not a number": 2,
        "what it judged, or something above that, is not there": 1,
    }


def test_nothing_gives_nothing() -> None:
    found = Scores().judgements
    assert (found.rubrics, found.varied, found.measures) == ((), (), {})
    assert text_means(found).is_empty()


# --- what a text comes to ---


def test_judges_count_the_same_however_often_they_judged() -> None:
    scores = Scores().add(2, 2, 2, 2, judge="often").add(8, judge="once")
    assert means_of(scores) == {("e_c1_plain_story_1", "clarity"): 5}


def test_the_mean_over_rubrics_is_of_texts_that_all_of_them_judged() -> None:
    scores = Scores().add(2, rubric="clarity").add(6, rubric="novelty").add(9, rubric="clarity", combo="c2")
    found = means_of(scores)
    assert found["e_c1_plain_story_1", OVERALL] == 4
    assert ("e_c2_plain_story_1", OVERALL) not in found
    assert found["e_c2_plain_story_1", "clarity"] == 9


def test_a_text_that_lacks_a_judge_has_no_mean() -> None:
    scores = Scores()
    for combo in ("c1", "c2"):
        scores.add(9, judge="kind", combo=combo)
    scores.add(1, judge="strict", combo="c1")
    assert means_of(scores) == {("e_c1_plain_story_1", "clarity"): 5}


def test_rubrics_of_different_scales_are_normalised_and_it_is_said() -> None:
    scores = Scores().add(2, rubric="clarity", scale=(0, 4)).add(30, rubric="novelty", scale=(0, 100))
    assert str(scores.judgements.overall) == "0 to 1, normalised"
    assert means_of(scores)["e_c1_plain_story_1", OVERALL] == pytest.approx(0.4)
    assert str(scores.judgements.scales["novelty"]) == "0 to 100"


def test_a_rubric_whose_scale_was_changed_is_normalised() -> None:
    scores = Scores().add(3, scale=(0, 5)).add(9, scale=(0, 9), combo="c2")
    assert str(scores.judgements.scales["clarity"]) == "0 to 1, normalised"
    assert means_of(scores)["e_c1_plain_story_1", "clarity"] == pytest.approx(0.6)


# --- two levels ---


def test_pairs_are_families_that_both_levels_have_with_everything_else_the_same() -> None:
    scores = Scores()
    scores.add(3, combo="c1", draft="plain").add(5, combo="c1", draft="long")
    scores.add(4, combo="c2", draft="plain").add(5, combo="c2", draft="long")
    scores.add(0, combo="c3", draft="plain")  # no partner
    scores.add(9, combo="c4", draft="long", essay="letter")  # no partner either
    found = compare(scores.judgements, "draft_template")
    (difference,) = found.between("clarity")
    assert (difference.better, difference.worse, difference.mean.mean) == ("long", "plain", 1.5)
    assert (difference.mean.values, difference.mean.units) == (2, 2)
    assert [(one.level, one.mean.mean) for one in found.of("clarity")] == [
        ("long", pytest.approx(19 / 3)),
        ("plain", pytest.approx(7 / 3)),
    ]


def test_the_interval_is_that_of_a_paired_t_test_where_combos_are_few() -> None:
    rng = np.random.default_rng(8)
    before, after = rng.normal(4, 1, 6), rng.normal(5, 1, 6)
    scores = Scores()
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        scores.add(one, combo=f"c{number}", draft="plain").add(other, combo=f"c{number}", draft="long")
    (difference,) = compare(scores.judgements, "draft_template").between("clarity")
    reference = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert (difference.mean.low, difference.mean.high) == pytest.approx((reference.low, reference.high))


def test_the_estimate_is_that_of_a_regression_with_a_mean_a_family() -> None:
    scores = Scores()
    rng = np.random.default_rng(3)
    for number in range(20):
        for essay in ("story", "letter"):
            for draft, effect in (("plain", 0.0), ("long", 0.8)):
                scores.add(rng.normal(4 + effect, 1), combo=f"c{number}", draft=draft, essay=essay)
    (difference,) = compare(scores.judgements, "draft_template").between("clarity")
    data = scores.frame.with_columns(pl.concat_str("combo", "essay_template").alias("family"))
    columns = {name: data[name].to_numpy() for name in ("score", "draft_template", "family")}
    fit = smf.ols("score ~ C(draft_template, Treatment('plain')) + C(family)", data=pd.DataFrame(columns)).fit()
    assert difference.mean.mean == pytest.approx(fit.params.iloc[1])
    assert (difference.mean.values, difference.mean.units) == (40, 20)


def test_replicates_and_repeated_judgements_make_no_more_pairs() -> None:
    scores = Scores()
    for number in range(3):
        for text in "1234":
            scores.add(3 + number, 3 + number, combo=f"c{number}", draft="plain", text=text)
        scores.add(5, combo=f"c{number}", draft="long")
    found = compare(scores.judgements, "draft_template")
    (difference,) = found.between("clarity")
    assert (difference.mean.values, difference.mean.mean) == (3, 1)
    plain = next(one for one in found.levels if one.level == "plain")
    assert (plain.judgements, plain.mean.values, plain.families, plain.mean.units) == (24, 12, 3, 3)


def test_only_the_same_rubric_and_judge_are_compared() -> None:
    scores = Scores()
    for number in range(4):
        scores.add(4 + number % 2, combo=f"c{number}", draft="plain", judge="strict")
        scores.add(9, combo=f"c{number}", draft="plain", judge="kind")
        scores.add(5, combo=f"c{number}", draft="long", judge="strict")
    (difference,) = compare(scores.judgements, "draft_template").between("clarity")
    assert (difference.better, difference.mean.mean) == ("long", 0.5)  # the kind judge saw one level only
    assert [one.level for one in compare(scores.judgements, "draft_template").levels] == ["plain"]


def test_a_pair_counts_over_the_rubrics_only_where_it_has_all_of_them() -> None:
    scores = Scores()
    for draft, score in (("plain", 2), ("long", 4)):
        scores.add(score, draft=draft, rubric="clarity").add(score, draft=draft, rubric="novelty")
        scores.add(2 * score, draft=draft, rubric="clarity", combo="c2")  # novelty was not asked there
    found = compare(scores.judgements, "draft_template")
    assert [(one.mean.values, one.mean.mean) for one in found.between(OVERALL)] == [(1, 2)]
    assert [(one.mean.values, one.mean.mean) for one in found.between("clarity")] == [(2, 3)]


def test_levels_without_a_common_family_are_not_compared() -> None:
    scores = Scores().add(3, combo="c1", draft="plain").add(9, combo="c2", draft="long")
    (difference,) = compare(scores.judgements, "draft_template").between("clarity")
    assert difference.mean.mean is None
    assert difference.said == "no family has both, judged by the same rubric and judge, with everything else the same"


@pytest.mark.parametrize("number", [1, 4])
def test_equal_differences_have_no_interval(number: int) -> None:
    scores = Scores()
    for at in range(number):
        scores.add(3, combo=f"c{at}", draft="plain").add(5, combo=f"c{at}", draft="long")
    (difference,) = compare(scores.judgements, "draft_template").between("clarity")
    assert (difference.mean.mean, difference.mean.low) == (2, None)
    assert difference.said is not None


def test_differences_that_cancel_out_are_no_difference() -> None:
    scores = Scores()
    for combo, long, plain in (("a", 1, 0), ("b", 2, 0), ("c", 0, 3)):
        scores.add(long, 0, 0, combo=combo, draft="long").add(plain, 0, 0, combo=combo, draft="plain")
    (difference,) = compare(scores.judgements, "draft_template").between("clarity")
    assert (difference.mean.mean, difference.better) == (0, "long")


def test_texts_whose_means_differ_in_their_last_bit_are_ranked_by_id_as_scores_ranks_them() -> None:
    scores = Scores().add(0.1, 0.2, 0.3, text="1").add(0.2, text="2")
    first, second = ranked(scores.judgements, text_means(scores.judgements))
    assert first[1] < second[1]
    assert [first[0][-1], second[0][-1]] == ["1", "2"]


# --- several levels ---


def test_several_levels_are_compared_each_with_each_and_the_intervals_hold_together() -> None:
    scores = Scores()
    rng = np.random.default_rng(5)
    for number in range(10):
        for at, draft in enumerate(("a", "b", "c")):
            scores.add(rng.normal(3 + at, 1), combo=f"c{number}", draft=draft)
    found = compare(scores.judgements, "draft_template")
    assert [(one.better, one.worse) for one in found.differences] == [("c", "b"), ("c", "a"), ("b", "a")]
    assert found.multiplicity == 3
    assert [one.mean.level for one in found.differences] == [pytest.approx(1 - 0.05 / 3)] * 3


def test_of_many_levels_the_best_is_compared_with_the_rest_at_the_level_of_all_pairs() -> None:
    scores = Scores()
    rng = np.random.default_rng(5)
    for number in range(10):
        for at in range(40):
            scores.add(rng.normal(at / 8, 1), combo=f"c{number}", draft=f"t{at:02}", scale=(-9, 20))
    found = compare(scores.judgements, "draft_template")
    best = found.levels[0].level
    assert len(found.differences) == 30
    assert all(best in (one.better, one.worse) for one in found.differences)
    assert (found.multiplicity, found.not_compared) == (780, 9)


def test_a_difference_that_is_not_there_is_seldom_found_among_many(full: bool) -> None:
    rng = np.random.default_rng(11)
    times, wrong = (400 if full else 60), 0
    for _ in range(times):
        scores = Scores()
        for number in range(12):
            combo = rng.normal(5, 1)
            for draft in "abcde":
                scores.add(combo + rng.normal(0, 1), combo=f"c{number}", draft=draft, scale=(-50, 50))
        wrong += any(one.mean.is_sure for one in compare(scores.judgements, "draft_template").differences)
    assert wrong / times <= (0.08 if full else 0.12)


def test_the_order_of_the_rows_does_not_matter() -> None:
    scores = random_scores(np.random.default_rng(9), 12)
    shuffled = judgements_of(scores.frame.sample(fraction=1, shuffle=True, seed=3), JUDGING, AXES)
    assert compare(shuffled, "draft_template") == compare(scores.judgements, "draft_template")
