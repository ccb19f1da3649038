"""What the levels of an axis come to, and by how much two of them differ where everything else is the same.

Two levels are compared by pairs: the families that differ in this axis alone, judged by the same rubric and judge.
Where several pairs of levels are compared at once, their intervals are widened by Bonferroni's rule, so that all of
them together hold at the level that is stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

from genpool.intervals import LEVEL, Mean, mean_of
from genpool.judgements import COMBO, JUDGE, OVERALL, RUBRIC, TEXT, VALUE, text_means

if TYPE_CHECKING:
    import polars as pl

    from genpool.judgements import Judgements, Scale

MOST_LEVELS: Final = 5
"""Up to so many levels of an axis are compared each with each; of more, the best with the rest."""
_MOST: Final = 30
"""So many levels are compared with the best at the most: the others have their means."""


@dataclass(frozen=True, slots=True)
class LevelMean:
    """What one level of an axis comes to by one measure."""

    level: str
    measure: str
    families: int
    """Groups of texts that differ in replicates only."""
    judgements: int
    mean: Mean
    """Over texts; its units are combos."""


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much two levels of an axis differ by one measure."""

    better: str
    """The level with the higher mean over the pairs; the first of both where these are equal."""
    worse: str
    measure: str
    mean: Mean
    """Better minus worse over the pairs; its values are pairs of families, its units combos."""
    said: str | None = None
    """Why there is no number."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One axis, compared."""

    axis: str
    levels: tuple[LevelMean, ...]
    """By measure, the best level first."""
    differences: tuple[Difference, ...]
    multiplicity: int
    """How many pairs of levels the intervals hold for together."""
    not_compared: int = 0
    """Levels that are compared with no other, because there are too many."""

    def of(self, measure: str) -> tuple[LevelMean, ...]:
        """Return the levels by one measure, the best first."""
        return tuple(one for one in self.levels if one.measure == measure)

    def between(self, measure: str) -> tuple[Difference, ...]:
        """Return the differences by one measure."""
        return tuple(one for one in self.differences if one.measure == measure)


def compare(judgements: Judgements, axis: str, means: pl.DataFrame | None = None) -> Comparison:
    """Return what the levels of an axis come to, and how they differ.

    Args:
        judgements: The judgements.
        axis: A column of their axes.
        means: Their `text_means`, where these are there already.
    """
    texts = text_means(judgements) if means is None else means
    levels = _level_means(judgements, axis, texts)
    ranked = _ranked(judgements, axis, levels)
    several = len(ranked) > MOST_LEVELS
    rest = ranked[1 : _MOST + 1]
    chosen = [(ranked[0], one) for one in rest] if several else list(combinations(ranked, 2))
    multiplicity = len(ranked) * (len(ranked) - 1) // 2  # the best is chosen by the data, from all pairs
    cells = _cells(judgements, axis)
    found = []
    for measure in judgements.measures:
        part = _of_measure(cells, judgements, measure)
        level = 1 - (1 - LEVEL) / max(1, multiplicity)
        found += [_difference(part, axis, measure, pair, level, judgements.measures[measure]) for pair in chosen]
    return Comparison(axis, levels, tuple(found), multiplicity, len(ranked) - 1 - len(rest) if several else 0)


def _ranked(judgements: Judgements, axis: str, levels: tuple[LevelMean, ...]) -> list[str]:
    """Return the levels by the first measure that they have, the best first; then those that have no mean."""
    found: list[str] = []
    for measure in judgements.measures:
        found += [one.level for one in levels if one.measure == measure and one.level not in found]
    every = sorted(str(one) for one in judgements.frame[axis].unique())
    return [*found, *(one for one in every if one not in found)]


def _level_means(judgements: Judgements, axis: str, texts: pl.DataFrame) -> tuple[LevelMean, ...]:
    found = []
    for (measure, level), part in texts.group_by("measure", axis):
        families = part.select(COMBO, *judgements.axes).n_unique()
        scale = judgements.measures[str(measure)]
        mean = mean_of(part[VALUE].to_numpy(), part[COMBO].to_numpy(), within=(scale.low, scale.high))
        found.append(LevelMean(str(level), str(measure), families, int(part["judgements"].sum()), mean))
    order = list(judgements.measures)
    return tuple(sorted(found, key=lambda one: (order.index(one.measure), -(one.mean.mean or 0.0), one.level)))


def _cells(judgements: Judgements, axis: str) -> pl.DataFrame:
    """Return what every family came to by every rubric and judge: texts averaged, and each text's judgements before."""
    import polars as pl

    others = [one for one in judgements.axes if one != axis]
    keys = [axis, COMBO, *others, RUBRIC, JUDGE]
    by_text = judgements.frame.group_by(*keys, TEXT).agg(pl.col(VALUE).mean(), pl.col("normalised").mean())
    return by_text.group_by(*keys).agg(pl.col(VALUE).mean(), pl.col("normalised").mean())


def _of_measure(cells: pl.DataFrame, judgements: Judgements, measure: str) -> pl.DataFrame:
    """Return the cells that a measure is made of, as axis, family, rubric, judge, value."""
    import polars as pl

    if measure != OVERALL or len(judgements.scales) == 1:
        return cells.filter(pl.col(RUBRIC) == measure)
    if judgements.overall.normalised:
        return cells.with_columns(pl.col("normalised").alias(VALUE))
    return cells


def _difference(
    cells: pl.DataFrame, axis: str, measure: str, pair: tuple[str, str], level: float, scale: Scale
) -> Difference:
    """Return the difference of two levels over the families that both have."""
    import polars as pl

    family = [name for name in cells.columns if name not in {axis, RUBRIC, JUDGE, VALUE, "normalised"}]
    keys = [*family, RUBRIC, JUDGE]
    one, other = (cells.filter(pl.col(axis) == name).select(*keys, VALUE) for name in pair)
    both = one.join(other, on=keys, suffix="_other", nulls_equal=True)
    by_rubric = both.group_by(*family, RUBRIC).agg((pl.col(VALUE) - pl.col(f"{VALUE}_other")).mean().alias("by"))
    rubrics = cells[RUBRIC].n_unique()
    pairs = by_rubric.group_by(*family).agg(pl.col("by").mean(), pl.len()).filter(pl.col("len") == rubrics)
    pairs = pairs.sort(*family)
    better, worse = pair
    values = pairs["by"].to_numpy()
    widest = scale.high - scale.low
    if len(values) and values.mean() < -1e-12 * widest:
        better, worse, values = worse, better, -values
    mean = mean_of(values, pairs[COMBO].to_numpy(), level=level, within=(-widest, widest))
    said = None if len(values) else _no_pairs(by_rubric, sorted(cells[RUBRIC].unique()))
    return Difference(better, worse, measure, mean, said or mean.said)


def _no_pairs(by_rubric: pl.DataFrame, rubrics: list[str]) -> str:
    """Say why no family can be compared by all rubrics, with the rubrics that could not be if others could."""
    same = "judged by the same rubric and judge, with everything else the same"
    if by_rubric.is_empty():
        return f"no family has both, {same}"
    counts = dict(by_rubric.group_by(RUBRIC).len().iter_rows())
    lacking = ", ".join(one for one in rubrics if one not in counts)
    there = ", ".join(f"{counts[one]:,} by {one}" for one in rubrics if one in counts)
    what = f"by {lacking}" if lacking else "by every rubric"
    return f"no family has both judged {what}; with everything else the same there are {there}"
