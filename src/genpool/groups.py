"""Rows numbered by what some columns say, and means of numbered rows; pure.

For many small groups, as the judgements of a text are: a data frame's own grouping costs more for each of these than
all that is done with them. A mean of a small group is of a compensated sum (Kahan's) over its rows in their order, as
it is in polars, so it is the same to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Numbers = np.ndarray[Any, np.dtype[Any]]

_FEW: Final = 8
"""So many values are told apart by comparing with each."""
_SMALL: Final = 16
"""Groups of so many rows are added up side by side, row after row."""
_SPARSE: Final = 4
"""So many possible groups for each row are looked up in a table."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows, each with the number of its group; groups are numbered as they first come."""

    numbers: Numbers
    """Of every row its group."""
    firsts: Numbers
    """Of every group its first row."""

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(self.firsts)

    def sizes(self) -> Numbers:
        """Return how many rows each group has."""
        return self.sums(None)

    def sums(self, whole: Numbers | None) -> Numbers:
        """Return the sums of whole numbers of every group; left out, of ones."""
        import numpy as np

        return np.bincount(self.numbers, whole, self.count).astype(np.int64)

    def means(self, values: Numbers) -> Numbers:
        """Return the mean of every group."""
        import numpy as np
        import polars as pl

        sizes = self.sizes()
        largest = sizes.max(initial=0)
        if largest > _SMALL:
            rows = pl.DataFrame({"group": self.numbers, "value": values})
            return rows.group_by("group", maintain_order=True).agg(pl.col("value").mean())["value"].to_numpy()
        if (np.diff(self.numbers.astype(np.int64)) < 0).any():
            values = values[np.argsort(self.numbers, kind="stable")]
        starts = np.cumsum(sizes) - sizes
        total = values[starts]
        lost = np.zeros(self.count)
        for row in range(1, largest):
            more = np.flatnonzero(sizes > row)
            added = values[starts[more] + row] - lost[more]
            now = total[more] + added
            lost[more] = (now - total[more]) - added
            total[more] = now
        means: Numbers = total / sizes
        return means


def grouped(*by: pl.Series | Groups) -> Groups:
    """Return rows by what some columns say together, or the groups that they are in already.

    Args:
        by: One or more, of equal length.
    """
    import numpy as np

    parts = [one if isinstance(one, Groups) else _by_values(one) for one in by]
    found, *others = [one for one in parts if one.count > 1] or parts[:1]
    for one in others:
        found = _by_numbers(found.numbers.astype(np.int64) * one.count + one.numbers, found.count * one.count)
    return found


def regrouped(groups: Groups, rows: Numbers) -> Groups:
    """Return some rows, each with those of its group that are among them."""
    return _by_numbers(groups.numbers[rows], groups.count)


def _by_numbers(numbers: Numbers, most: int) -> Groups:
    """Return rows by numbers below some."""
    import numpy as np
    import polars as pl

    if most > _SPARSE * len(numbers):
        return _by_values(pl.Series(numbers))
    first = np.full(most, len(numbers))
    first[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1)
    there = np.flatnonzero(first < len(numbers))
    there = there[np.argsort(first[there], kind="stable")]
    places = np.empty(most, np.int64)
    places[there] = np.arange(len(there))
    return Groups(places[numbers], first[there])


def _by_values(column: pl.Series) -> Groups:
    """Return rows by the values of a column; null is a value, too."""
    import numpy as np

    rows = column.len()
    if rows and column.null_count() == 0 and (column == column[0]).all():
        return Groups(np.zeros(rows, np.uint32), np.zeros(1, np.int64))
    numbers = column.rle_id().to_numpy()
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] + 1))
    firsts = column.gather(starts)
    values = firsts.unique(maintain_order=True)
    if values.len() == firsts.len():
        return Groups(numbers, starts)
    places = _places(firsts, values)
    of_runs = _by_numbers(places, values.len())
    return Groups(of_runs.numbers[numbers], starts[of_runs.firsts])


def _places(column: pl.Series, values: pl.Series) -> Numbers:
    """Return for every row the place of its value among all values."""
    import numpy as np

    if values.len() <= _FEW and values.null_count() == 0:
        found = np.zeros(column.len(), np.int64)
        for place in range(1, values.len()):
            found += (column == values[place]).to_numpy() * place
        return found
    rows = values.to_frame("value").with_row_index("row")
    joined = column.to_frame("value").join(rows, on="value", how="left", nulls_equal=True, maintain_order="left")
    return joined["row"].to_numpy()
