"""Rows are numbered as their values first come, and means are those that polars makes."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpool.groups import grouped, regrouped

ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", None, *"cdefghijk"]), st.integers(0, 3)), max_size=60)


def series(rows: list[tuple[str | None, int]]) -> tuple[pl.Series, pl.Series]:
    """Return rows as two columns."""
    return pl.Series([one for one, _ in rows], dtype=pl.String), pl.Series([two for _, two in rows], dtype=pl.Int64)


@given(ROWS, st.booleans())
def test_groups_are_numbered_as_they_first_come(rows: list[tuple[str | None, int]], in_order: bool) -> None:
    if in_order:
        rows = sorted(rows, key=str)
    found = grouped(*series(rows))
    order = list(dict.fromkeys(rows))
    assert found.numbers.tolist() == [order.index(row) for row in rows]
    assert found.firsts.tolist() == [rows.index(one) for one in order]
    assert found.sizes().tolist() == [rows.count(one) for one in order]
    assert found.sums(np.arange(len(rows))).tolist() == [
        sum(at for at, row in enumerate(rows) if row == one) for one in order
    ]


@given(ROWS, st.data())
def test_some_rows_are_numbered_anew(rows: list[tuple[str | None, int]], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True)) if rows else []
    groups = grouped(*series(rows))
    some = [rows[at] for at in kept]
    assert regrouped(groups, np.array(kept, np.int64)).numbers.tolist() == grouped(*series(some)).numbers.tolist()
    assert grouped(groups).numbers.tolist() == groups.numbers.tolist()


@pytest.mark.parametrize("largest", [1, 2, 3, 16, 17, 40])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_mean_is_of_a_compensated_sum(largest: int, shuffled: bool) -> None:
    chance = np.random.default_rng(largest)
    names = np.repeat(np.arange(300), chance.integers(1, largest + 1, 300))
    values = chance.uniform(0, 9, len(names))
    if shuffled:
        chance.shuffle(names)
    found = grouped(pl.Series(names)).means(values)
    rows = pl.DataFrame({"name": names, "value": values})
    of_polars = rows.group_by("name", maintain_order=True).agg(pl.col("value").mean(), pl.col("value").alias("all"))
    assert found.tolist() == of_polars["value"].to_list(), "to the last bit"
    exact = [math.fsum(one) / len(one) for one in of_polars["all"].to_list()]
    assert found == pytest.approx(exact, rel=1e-15)
