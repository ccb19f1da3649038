"""Agreement: the textbook's examples, and sentences where there is no number."""

from __future__ import annotations

import krippendorff
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from genpool.agreement import agreement, interval_alpha, ordinal_alpha, spread

NONE = float("nan")


def listed(matrix: list[list[float]]) -> tuple[list[str], list[str], list[float]]:
    """Return a row a judge, a column a text, as texts, judges and scores."""
    cells = [(f"e_{at}", f"judge {row}", value) for row, line in enumerate(matrix) for at, value in enumerate(line)]
    kept = [cell for cell in cells if not np.isnan(cell[2])]
    texts, judges, scores = zip(*kept, strict=True)
    return list(texts), list(judges), list(scores)


KRIPPENDORFF_2011 = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
    [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
]
"""Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: ordinal .815, interval .849."""

WIKIPEDIA = [
    [NONE, NONE, NONE, NONE, NONE, 3, 4, 1, 2, 1, 1, 3, 3, NONE, 3],
    [1, NONE, 2, 1, 3, 3, 4, 3, NONE, NONE, NONE, NONE, NONE, NONE, NONE],
    [NONE, NONE, 2, 1, 3, 4, 4, NONE, 2, 1, 1, 3, 3, NONE, 4],
]
"""The worked example of https://en.wikipedia.org/wiki/Krippendorff%27s_alpha: interval .811."""


def test_the_examples_of_the_textbook() -> None:
    found = agreement(*listed(KRIPPENDORFF_2011))
    assert (round(found.ordinal, 3), round(found.interval, 3), found.texts) == (0.815, 0.849, 11)
    assert round(agreement(*listed(WIKIPEDIA)).interval, 3) == 0.811


def test_repeated_judgements_are_averaged_before() -> None:
    texts, judges, scores = listed(KRIPPENDORFF_2011)
    again = agreement(texts * 2, judges * 2, [*(one - 0.5 for one in scores), *(one + 0.5 for one in scores)])
    assert again == agreement(texts, judges, scores)


def test_what_takes_too_much_memory_gives_the_same_number_from_sums_of_squares() -> None:
    rng = np.random.default_rng(2)
    true = rng.normal(0, 2, 1500)
    matrix = np.round(true + rng.normal(0, 1, (3, 1500)), 2)  # hundreds of different scores: more than fits
    found = agreement(*listed(matrix.tolist()))
    pairs = [np.corrcoef(matrix[a], matrix[b])[0, 1] for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found.interval == pytest.approx(np.mean(pairs), abs=0.01)
    assert found.interval == pytest.approx(interval_alpha(matrix))
    assert found.ordinal == pytest.approx(ordinal_alpha(matrix))


@pytest.mark.parametrize("seed", range(5))
def test_sums_of_squares_give_what_the_package_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.round(rng.normal(0, 2, 40) + rng.normal(0, 1, (4, 40)) ** 3, int(seed > 2))
    matrix[rng.random(matrix.shape) < 0.2] = NONE
    matrix = matrix[:, (~np.isnan(matrix)).sum(axis=0) > 1]
    for level, ours in (("ordinal", ordinal_alpha), ("interval", interval_alpha)):
        assert ours(matrix) == pytest.approx(krippendorff.alpha(matrix, level_of_measurement=level))


def test_perfect_agreement_is_one_and_chance_is_about_zero() -> None:
    assert agreement(*listed([[1, 5, 9], [1, 5, 9]])).ordinal == 1
    rng = np.random.default_rng(0)
    assert abs(agreement(*listed(rng.integers(0, 10, (2, 3000)).tolist())).ordinal) < 0.06


@pytest.mark.parametrize(
    ("texts", "judges", "scores", "said"),
    [
        ([], [], [], "no judge: agreement needs two"),
        (["a", "b"], ["j", "j"], [1, 2], "one judge only (j): agreement needs two"),
        (["a", "b"], ["j", "k"], [1, 2], "no text was judged by two judges"),
        (["a", "a", "b"], ["j", "k", "k"], [1, 2, 3], "one text only was judged by two judges"),
        (
            ["a", "a", "b", "b"],
            ["j", "k"] * 2,
            [4, 4, 4, 4],
            "all scores are 4: without any difference, agreement is not defined",
        ),
    ],
)
def test_a_sentence_in_place_of_a_number(texts: list[str], judges: list[str], scores: list[float], said: str) -> None:
    found = agreement(texts, judges, scores)
    assert (found.said, found.ordinal, found.interval) == (said, None, None)


# --- a judge against itself ---


def test_the_spread_is_the_residual_deviation_of_a_model_with_a_mean_a_text() -> None:
    rng = np.random.default_rng(1)
    texts = [f"e{number}" for number in range(30) for _ in range(int(rng.integers(1, 5)))]
    scores = rng.integers(0, 10, len(texts)).astype(float)
    fit = smf.ols("score ~ C(text)", data=pd.DataFrame({"score": scores, "text": texts})).fit()
    found = spread(texts, scores)
    assert found.sd == pytest.approx(fit.mse_resid**0.5)
    assert (found.judgements, found.texts) == (len(texts), sum(texts.count(one) > 1 for one in set(texts)))


def test_a_judge_that_never_judged_twice_has_no_spread() -> None:
    found = spread(["a", "b"], [1, 5])
    assert found.sd is None
    assert found.said == "no text was judged twice: ask for more replicates of the judgement"
    assert found.between == pytest.approx(np.std([1, 5], ddof=1))
    assert spread([], []).said == "nothing was judged"


def test_a_judge_that_always_says_the_same_has_none_either_and_that_is_a_number() -> None:
    assert spread(["a", "a", "b", "b"], [4, 4, 7, 7]).sd == 0
