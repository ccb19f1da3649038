"""Relations: counted without being joined, joined without a row too many, never beyond the limit."""

from __future__ import annotations

import time
from itertools import product

import pytest

from genpool.relations import Relation, connected, counted, joined, projected

LIMIT = 1000


def relation(names: str, *rows: str) -> Relation:
    return Relation(tuple(names), tuple(tuple(row) for row in rows))


def every(names: str, values: str = "012") -> Relation:
    return Relation(tuple(names), tuple(product(values, repeat=len(names))))


AB = relation("ab", "00", "01", "11")
BC = relation("bc", "00", "10", "12")
CA = relation("ca", "00", "21")


def test_a_chain_is_joined_and_counted() -> None:
    whole = joined([AB, BC], LIMIT)
    assert set(whole.onto("abc").rows) == {tuple(row) for row in ("000", "010", "012", "110", "112")}
    assert counted([AB, BC], {}, LIMIT) == 5


def test_a_circle_is_joined_and_counted() -> None:
    assert set(joined([AB, BC, CA], LIMIT).onto("abc").rows) == {("0", "0", "0"), ("0", "1", "0"), ("1", "1", "2")}
    assert counted([AB, BC, CA], {}, LIMIT) == 3


def test_relations_that_share_nothing_multiply() -> None:
    assert counted([AB, relation("x", "0", "1")], {}, LIMIT) == 6
    assert len(joined([AB, relation("x", "0", "1")], LIMIT).rows) == 6


def test_nothing_to_join_is_one_row() -> None:
    assert counted([], {}, LIMIT) == 1


def test_a_value_counts_for_its_weight_once() -> None:
    assert counted([AB, BC], {"b": lambda value: 10 if value == "1" else 1}, LIMIT) == 1 + 4 * 10


def test_columns_that_nobody_wants_are_dropped_after_they_took_effect() -> None:
    (left,) = projected([AB, BC, relation("c", "2")], {"a"}, LIMIT)
    assert set(left.rows) == {("0",), ("1",)}
    (left,) = projected([AB, BC, CA], {"c"}, LIMIT)
    assert set(left.rows) == {("0",), ("2",)}


def test_what_leaves_nothing_counts_nothing_wherever_one_looks() -> None:
    empty = [AB, relation("b", "7"), relation("x", "0")]
    assert counted(empty, {}, LIMIT) == 0
    assert counted(projected(empty, {"x"}, LIMIT), {}, LIMIT) == 0


def test_a_chain_beyond_every_limit_is_counted_all_the_same() -> None:
    values = [str(number) for number in range(100)]
    chain = [Relation((at, at + 1), tuple(product(values, repeat=2))) for at in range(9)]
    started = time.process_time()
    assert counted(chain, {}, LIMIT) == 100**10
    assert time.process_time() - started < 2
    with pytest.raises(OverflowError, match="1,000,000 rows"):
        joined(chain, LIMIT)


def test_a_circle_beyond_the_limit_is_refused_before_it_is_joined() -> None:
    circle = [every("ab", "0123456789"), every("bc", "0123456789"), every("ca", "0123456789")]
    with pytest.raises(OverflowError, match="1,000 rows"):
        counted(circle, {}, 999)
    assert counted(circle, {}, 1000) == 1000


def test_a_join_makes_no_row_that_is_dropped_later() -> None:
    left = every("ab", "0123456789")
    right = every("bc", "0123456789")
    assert len(joined([left, right, relation("cd", "00")], 100).rows) == 100


def test_groups_share_no_column() -> None:
    x, y, xy = relation("x", "0"), relation("y", "0"), relation("xy", "00")
    assert connected([AB, x, BC]) == [[x], [AB, BC]]
    assert connected([x, y, xy]) == [[x, y, xy]]
