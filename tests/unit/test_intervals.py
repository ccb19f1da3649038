"""Means with intervals: against statsmodels and scipy, and that they hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from genpool.comparison import compare
from genpool.intervals import BOOTSTRAP, FEWEST, MOST, STUDENT, mean_of
from genpool.judgements import COMBO, VALUE, text_means
from tests.made_scores import random_scores


def clustered(rng: np.random.Generator, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values of units of different sizes."""
    sizes = rng.integers(1, 5, units)
    middle = np.repeat(rng.normal(5, 1.5, units), sizes)
    return middle + rng.normal(0, 0.5, len(middle)), np.repeat(np.arange(units), sizes)


# --- against references ---


@pytest.mark.parametrize("units", [3, 5, FEWEST - 1, MOST + 50])
def test_students_interval_is_that_of_statsmodels_with_clustered_errors(units: int) -> None:
    values, groups = clustered(np.random.default_rng(units), units)
    found = mean_of(values, groups)
    fit = sm.OLS(values, np.ones((len(values), 1))).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True}, use_t=True
    )
    low, high = fit.conf_int(alpha=0.05)[0]
    assert found.method == STUDENT
    assert (found.mean, found.low, found.high) == pytest.approx((fit.params[0], low, high), rel=1e-9)


def test_with_a_value_a_unit_it_is_the_interval_of_scipys_test() -> None:
    values = [3.0, 4.5, 2.0, 7.0, 5.5]
    found = mean_of(values, list("abcde"))
    reference = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
    assert found.sd == pytest.approx(np.std(values, ddof=1))


@pytest.mark.parametrize("units", [FEWEST, 30, 120])
def test_the_bootstrap_is_near_one_that_is_made_by_hand(units: int) -> None:
    values, groups = clustered(np.random.default_rng(units), units)
    found = mean_of(values, groups)
    rng = np.random.default_rng(7)
    sums, counts = np.bincount(groups, weights=values), np.bincount(groups)
    picks = rng.integers(0, units, (40_000, units))
    means = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    tail = stats.norm.cdf(np.sqrt(units / (units - 1)) * stats.t.ppf(0.025, units - 1))
    assert found.method == BOOTSTRAP
    width = found.high - found.low
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [tail, 1 - tail]).tolist(), abs=0.02 * width)


def test_many_readings_of_few_units_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    middles = rng.normal(5, 1, 12)
    once = mean_of(middles, np.arange(12))
    often = mean_of(np.repeat(middles, 50), np.repeat(np.arange(12), 50))
    assert (often.values, often.units) == (600, 12)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.05)


# --- deterministic, whatever the order ---


def test_the_same_values_give_the_same_interval_in_any_order() -> None:
    values, groups = clustered(np.random.default_rng(3), 40)
    shuffled = np.random.default_rng(4).permutation(len(values))
    names = np.array([f"combo {number}" for number in groups])
    assert mean_of(values, groups) == mean_of(values[shuffled], groups[shuffled]) == mean_of(values, names)


# --- a sentence in place of a number ---


def test_nothing_has_no_mean() -> None:
    found = mean_of([], [])
    assert (found.mean, found.low, found.said) == (None, None, "nothing was judged")


def test_one_unit_has_a_mean_and_no_interval() -> None:
    found = mean_of([3, 4, 5], ["a", "a", "a"])
    assert (found.mean, found.sd, found.low) == (4, 1, None)
    assert found.said == "3 values of one combo only: nothing says how another combo would fare"
    assert mean_of([3], ["a"]).said == "one value only: nothing says how another combo would fare"
    assert mean_of([3], ["a"]).sd is None


def test_without_spread_there_is_no_interval() -> None:
    assert mean_of([4] * 10, range(10)).said == "all 10 values are 4: no spread to tell from"
    assert (
        mean_of([3, 5, 3, 5], ["a", "a", "b", "b"]).said
        == "the mean of every combo is the same: no spread to tell from"
    )
    assert mean_of([0.1 + 0.2, 0.3], ["a", "b"]).low is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="leave it out, and say so"):
        mean_of([1, bad], ["a", "b"])


def test_a_value_without_a_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="2 values, but 1 units"):
        mean_of([1, 2], ["a"])


def test_an_interval_does_not_leave_the_scale() -> None:
    found = mean_of([0, 9, 0], list("abc"), within=(0, 9))
    assert (found.low, found.high) == (0, 9)


def test_higher_levels_are_wider_and_fall_back_where_resamples_are_too_few() -> None:
    values, groups = clustered(np.random.default_rng(5), 30)
    usual, strict, extreme = (mean_of(values, groups, level=level) for level in (0.95, 0.99, 0.99999))
    assert usual.high - usual.low < strict.high - strict.low < extreme.high - extreme.low
    assert (usual.method, extreme.method) == (BOOTSTRAP, STUDENT)


def test_a_mean_is_sure_where_its_interval_leaves_out_zero() -> None:
    assert mean_of([1.0, 1.1, 1.2], list("abc")).is_sure
    assert not mean_of([1.0, -1.1, 1.2], list("abc")).is_sure
    assert not mean_of([1.0], ["a"]).is_sure


# --- known truth ---


@pytest.mark.parametrize("combos", [5, 12, 40])
def test_intervals_hold_the_truth_as_often_as_they_say(combos: int, full: bool) -> None:
    rng = np.random.default_rng(combos)
    times = 2_000 if full else 2_500 // (10 + combos)
    mean_held = difference_held = naive_held = 0
    for _ in range(times):
        judgements = random_scores(rng, combos, better=0.7).judgements
        means = text_means(judgements)
        found = mean_of(means[VALUE].to_numpy(), means[COMBO].to_numpy())
        mean_held += found.low <= 5 <= found.high
        naive = mean_of(judgements.frame[VALUE].to_numpy(), np.arange(judgements.frame.height))
        naive_held += naive.low <= 5 <= naive.high
        (difference,) = compare(judgements, "draft_template", means).between("clarity")
        sign = 1 if difference.better == "long" else -1
        ends = sorted((sign * difference.mean.low, sign * difference.mean.high))
        difference_held += ends[0] <= 0.7 <= ends[1]
    least = 0.925 if full else 0.85
    assert least <= mean_held / times <= 0.985
    assert least <= difference_held / times <= 0.985
    assert naive_held / times < 0.85, "judgements taken for independent texts: the intervals are too narrow"
