"""How far judges agree with one another, and how far one agrees with itself.

Krippendorff's alpha is 1 where judges agree, 0 where they agree as often as chance would have it, and negative where
they agree less than that. A judge's repeated judgements of a text are averaged before. The package krippendorff
computes it; where that would take too much memory (many texts with many different scores) sums of squares give the
same number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_CELLS: Final = 4_000_000
"""Texts times values squared: the package holds several times as many numbers at a time."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the judges of one rubric agree."""

    judges: tuple[str, ...]
    texts: int
    """Texts that at least two of them judged."""
    ordinal: float | None = None
    """Alpha of the order of the scores."""
    interval: float | None = None
    """Alpha of the distances between them."""
    said: str | None = None
    """Why there is no number."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the repeated judgements of the same texts by one judge lie apart."""

    judgements: int
    texts: int
    """Texts that it judged more than once by this rubric."""
    sd: float | None
    """The standard deviation within a text, pooled over the texts."""
    between: float | None = None
    """The standard deviation between the means of all texts that it judged, to hold it against."""
    said: str | None = None


def agreement(texts: ArrayLike, judges: ArrayLike, scores: ArrayLike) -> Agreement:
    """Return how far judges agree on the texts that several of them judged, by one rubric.

    Args:
        texts: The judged text of each judgement.
        judges: Its judge.
        scores: Its score, finite.
    """
    import numpy as np

    names, judge = np.unique(np.asarray(judges, dtype=str), return_inverse=True)
    known = tuple(map(str, names))
    if len(known) < 2:
        only = f"one judge only ({known[0]})" if known else "no judge"
        return Agreement(known, 0, said=f"{only}: agreement needs two")
    _, text = np.unique(np.asarray(texts, dtype=str), return_inverse=True)
    matrix = _matrix(judge, text, np.asarray(scores, dtype=float), len(known))
    matrix = matrix[:, (~np.isnan(matrix)).sum(axis=0) > 1]
    shared = matrix.shape[1]
    if shared < 2:
        what = "no text was" if not shared else "one text only was"
        return Agreement(known, shared, said=f"{what} judged by two judges")
    values = np.unique(matrix[~np.isnan(matrix)])
    if len(values) < 2:
        said = f"all scores are {values[0]:g}: without any difference, agreement is not defined"
        return Agreement(known, shared, said=said)
    return _alphas(known, matrix)


def _matrix(
    judge: NDArray[np.int_], text: NDArray[np.int_], scores: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Return a row a judge, a column a text: the mean of its judgements, or NaN."""
    import numpy as np

    cell = judge * (text.max() + 1) + text
    size = n * (int(text.max()) + 1)
    sums = np.bincount(cell, weights=scores, minlength=size)
    counts = np.bincount(cell, minlength=size)
    with np.errstate(invalid="ignore"):
        means = np.round(sums / counts, 9)  # thirds of sums in another order are the same value
    return np.asarray(means.reshape(n, -1))


def _alphas(judges: tuple[str, ...], matrix: NDArray[np.float64]) -> Agreement:
    import numpy as np

    values = np.unique(matrix[~np.isnan(matrix)])
    if matrix.shape[1] * len(values) ** 2 <= _CELLS:
        import krippendorff

        found = [
            float(krippendorff.alpha(reliability_data=matrix, level_of_measurement=level))
            for level in ("ordinal", "interval")
        ]
    else:
        found = [ordinal_alpha(matrix), interval_alpha(matrix)]
    return Agreement(judges, matrix.shape[1], found[0], found[1])


def interval_alpha(matrix: NDArray[np.float64]) -> float:
    """Return alpha of distances from sums of squares: the same number in memory that grows with the matrix only.

    Args:
        matrix: A row a judge, a column a text, at least two values in each; NaN where there is none.
    """
    import numpy as np

    counts = (~np.isnan(matrix)).sum(axis=0)
    squares = np.nansum((matrix - np.nanmean(matrix, axis=0)) ** 2, axis=0)
    number = counts.sum()
    observed = (counts / (counts - 1) * squares).sum() / number
    expected = np.nansum((matrix - np.nanmean(matrix)) ** 2) / (number - 1)
    return float(1 - observed / expected)


def ordinal_alpha(matrix: NDArray[np.float64]) -> float:
    """Return alpha of orders, likewise: the ordinal metric is the distance of midranks."""
    import numpy as np
    from scipy import stats

    ranks = np.full_like(matrix, np.nan)
    there = ~np.isnan(matrix)
    ranks[there] = stats.rankdata(matrix[there])
    return interval_alpha(ranks)


def spread(texts: ArrayLike, scores: ArrayLike) -> Spread:
    """Return how far one judge's repeated judgements by one rubric lie apart.

    Args:
        texts: The judged text of each judgement.
        scores: Its score, finite.
    """
    import numpy as np

    numbers = np.asarray(scores, dtype=float)
    _, text, counts = np.unique(np.asarray(texts, dtype=str), return_inverse=True, return_counts=True)
    if not len(numbers):
        return Spread(0, 0, None, said="nothing was judged")
    means = np.bincount(text, weights=numbers) / counts
    between = float(np.std(means, ddof=1)) if len(means) > 1 else None
    repeated = int((counts > 1).sum())
    if not repeated:
        said = "no text was judged twice: ask for more replicates of the judgement"
        return Spread(len(numbers), 0, None, between, said)
    within = float((((numbers - means[text]) ** 2).sum() / (counts - 1).sum()) ** 0.5)
    return Spread(len(numbers), repeated, within, between)
