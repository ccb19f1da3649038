"""Columns whose values repeat say what the rows say, and are the same however they were made."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpool.coded import Coded, Coder, Texts

ROWS = st.lists(st.one_of(st.none(), st.integers(0, 400), st.text(max_size=2)), max_size=600)


@given(ROWS)
def test_a_column_is_its_rows(rows: list[object]) -> None:
    column = Coded.of(rows)
    assert list(column) == rows
    assert len(column) == len(rows)
    assert [column[at] for at in range(len(rows))] == rows
    assert list(column.values) == list(dict.fromkeys(rows)), "each value once, as it first comes"
    assert column.tally() == {value: rows.count(value) for value in rows}


@given(ROWS, st.lists(st.integers(0, 400), max_size=3))
def test_rows_are_found_by_their_values(rows: list[object], wanted: list[int]) -> None:
    assert Coded.of(rows).rows_of(*wanted) == [at for at, value in enumerate(rows) if value in wanted]


@given(ROWS, ROWS)
def test_a_column_made_bit_by_bit_is_the_same(first: list[object], second: list[object]) -> None:
    coder: Coder[object] = Coder()
    coder.extend(first)
    for value in second:
        coder.append(value)
    assert coder.column() == Coded.of([*first, *second])


@given(st.lists(st.integers(0, 5), min_size=1), st.permutations(["a", "b", "c", "a", "b", None]))
def test_codes_into_values_in_any_order_make_the_same_column(codes: list[int], values: list[str | None]) -> None:
    assert Coded.recoded(values, codes) == Coded.of([values[code] for code in codes])


def test_a_column_of_one_value_needs_no_codes_of_its_own() -> None:
    assert Coded.constant("own", 3) == Coded.of(["own"] * 3)
    assert Coded.constant("own", 0) == Coded.of([])


@given(st.lists(st.text("ab_-.", max_size=3), min_size=1, max_size=9))
def test_texts_kept_as_json_are_these_texts(texts: list[str]) -> None:
    found = Texts.read(orjson.dumps(texts)[1:-1])
    assert found is not None
    assert len(found) == len(texts), "before a text was asked for"
    assert (found == texts, list(found), found[-1], found[1:]) == (True, texts, texts[-1], texts[1:])
    assert found == Texts.read(orjson.dumps(texts)[1:-1])
    assert (found != [*texts, "a"], found != Texts.read(b'"c"')) == (True, True)
    assert hash(found) == hash(tuple(texts))


@pytest.mark.parametrize(
    "inner", ["", "1", 'a"",b""', '"a""b"', '"a", "b"', '"a",b', '"a\\n"', '"é"', '"a]"', '"a","b', ',"a"', '"a",']
)
def test_texts_that_are_not_plain_are_not_taken_for_it(inner: str) -> None:
    assert Texts.read(inner.encode()) is None
    assert Texts.read((inner + ',"b"' * 3).encode()) is None
