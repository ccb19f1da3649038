"""Means with intervals over independent units, so that nobody takes ten readings of one text for ten texts.

Values that come from the same unit (texts that start from the same combo) tell less than as many values of units of
their own, so units are resampled whole: a cluster bootstrap of the ratio of sums. Its percentiles are widened as
Student's t is against the normal (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", 5.3), without which
few units give intervals that are too narrow. Below `FEWEST` units there are too few different resamples, above `MOST`
the bootstrap gives what theory gives: there the interval is Student's t over the units, with the standard error of
clustered data and units - 1 degrees of freedom.

Deterministic: resampling is seeded by the values. Pure; numpy and scipy are imported when something is computed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

LEVEL: Final = 0.95
"""How often an interval is to hold the truth."""
FEWEST: Final = 8
MOST: Final = 400
_RESAMPLES: Final = 4_999
_IN_A_TAIL: Final = 10
"""So many resamples must lie beyond a percentile for it to be one."""

BOOTSTRAP: Final = "bootstrap"
STUDENT: Final = "t"


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of some values, and how sure it is."""

    values: int
    """How many values: texts, or pairs."""
    units: int
    """How many independent units they come from."""
    mean: float | None
    """None where there is no value."""
    sd: float | None = None
    """The standard deviation of the values; None below two."""
    low: float | None = None
    high: float | None = None
    """The interval; None where `said` says why there is none."""
    level: float = LEVEL
    method: str | None = None
    """`bootstrap` or `t`; None without an interval."""
    said: str | None = None
    """Why there is no interval, in words."""

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 0: the sign of the mean is known at its level."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def mean_of(
    values: ArrayLike,
    units: ArrayLike,
    *,
    level: float = LEVEL,
    unit: str = "combo",
    within: tuple[float, float] | None = None,
) -> Mean:
    """Return the mean of some values with an interval over their units.

    Args:
        values: One number a text, or a pair; all finite.
        units: What each value comes from; values of the same unit are not independent.
        level: How often the interval is to hold the truth.
        unit: What a unit is called where there are too few.
        within: What the mean cannot leave: the ends of the scale. An interval is cut off there.

    Raises:
        ValueError: A value is not finite, or there are not as many units as values.
    """
    import numpy as np

    numbers = np.asarray(values, dtype=float)
    sums, counts = _by_unit(numbers, np.asarray(units))
    k = len(counts)
    if not len(numbers):
        return Mean(0, 0, None, level=level, said="nothing was judged")
    mean = float(sums.sum() / counts.sum())
    if abs(mean) <= 1e-12 * float(np.abs(numbers).max()):
        mean = 0.0  # thirds that cancel out leave a last bit
    sd = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
    said = _why_none(numbers, sums / counts, unit)
    if said is not None:
        return Mean(len(numbers), k, mean, sd, level=level, said=said)
    tail = _tail(k, level)
    if FEWEST <= k <= MOST and tail * _RESAMPLES >= _IN_A_TAIL:
        (low, high), method = _resampled(sums, counts, tail), BOOTSTRAP
    else:
        half = _student(sums, counts, level)
        (low, high), method = (mean - half, mean + half), STUDENT
    least, most = within or (low, high)
    return Mean(len(numbers), k, mean, sd, max(low, least), min(high, most), level, method)


def _by_unit(numbers: NDArray[np.float64], units: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Return sum and count of every unit, in an order that does not depend on that of the values."""
    import numpy as np

    if len(numbers) != len(units):
        raise ValueError(f"{len(numbers)} values, but {len(units)} units")
    if not np.isfinite(numbers).all():
        raise ValueError("a value is not a number; leave it out, and say so")
    _, place = np.unique(units, return_inverse=True)
    order = np.lexsort((numbers, place))
    sums = np.bincount(place[order], weights=numbers[order]).astype(float)
    counts = np.bincount(place)
    settled = np.lexsort((counts, sums))
    return sums[settled], counts[settled]


def _why_none(numbers: NDArray[np.float64], means: NDArray[np.float64], unit: str) -> str | None:
    """Return why no interval can be had, or None where one can."""
    import numpy as np

    if len(means) < 2:
        only = "one value" if len(numbers) == 1 else f"{len(numbers):,} values of one {unit}"
        return f"{only} only: nothing says how another {unit} would fare"
    if np.ptp(numbers) == 0:
        return f"all {len(numbers):,} values are {numbers[0]:g}: no spread to tell from"
    if np.ptp(means) <= 1e-12 * max(1.0, float(np.abs(means).max())):
        return f"the mean of every {unit} is the same: no spread to tell from"
    return None


def _tail(k: int, level: float) -> float:
    """Return the share of resamples to leave out on either side, widened for few units."""
    from scipy import stats

    student = float(stats.t.ppf((1 - level) / 2, k - 1))
    return float(stats.norm.cdf((k / (k - 1)) ** 0.5 * student))


def _resampled(sums: NDArray[np.float64], counts: NDArray[np.int_], tail: float) -> tuple[float, float]:
    import numpy as np
    from scipy import stats

    seed = zlib.crc32(sums.tobytes() + counts.astype("<i8").tobytes())
    found = stats.bootstrap(
        (sums, counts),
        lambda total, number, axis=-1: total.sum(axis=axis) / number.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=500,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _student(sums: NDArray[np.float64], counts: NDArray[np.int_], level: float) -> float:
    """Return half the width of Student's interval, by the standard error of clustered data (CR1)."""
    from scipy import stats

    k, number = len(counts), counts.sum()
    residuals = sums - sums.sum() / number * counts
    error = (k / (k - 1) * (residuals**2).sum()) ** 0.5 / number
    return float(stats.t.ppf((1 + level) / 2, k - 1) * error)
