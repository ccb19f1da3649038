"""Records sealed quickly are those that are sealed slowly."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genpool.canonical import canonical_json
from genpool.migration.sealing import can_be_sealed, has_its_digest, sealed
from genpool.records import encode_sealed

ODD = [0.1, 1.0, 1e-7, 1e-5, 1e-3, 1e15, 1e16, 1e21, 123456.789, -0.0, 5e-324, -2.5, 0, -7, 2**53 - 1]
NUMBERS = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(ODD),
)
TEXTS = st.one_of(
    st.text("abc_.:-0159", max_size=12),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(TEXTS, below, max_size=3)),
    max_leaves=8,
)
RECORDS = st.dictionaries(TEXTS.filter(lambda key: key != "self"), VALUES, max_size=6)


@pytest.mark.parametrize("odd", [*ODD, "a\x00b", '\b\f\n"\\', "\x7f", "é\u2028", "0.5e7", True, None], ids=repr)
def test_odd_values_are_written_alike(odd: object) -> None:
    for value in ({"a": odd}, {"a": [{"b": odd, "c": 1}], "d": "e"}, {"é": odd}):
        assert sealed(dict(value)) == encode_sealed(dict(value))  # type: ignore[arg-type]  # JSON


@settings(max_examples=300)
@given(RECORDS)
def test_the_quick_way_writes_what_the_slow_one_does(value: dict[str, object]) -> None:
    expected = encode_sealed(dict(value))  # type: ignore[arg-type]  # JSON
    assert sealed(dict(value)) == expected  # type: ignore[arg-type]  # JSON
    assert has_its_digest(orjson.loads(expected))


@given(RECORDS, TEXTS, VALUES)
def test_a_change_is_noticed(value: dict[str, object], key: str, other: object) -> None:
    written = orjson.loads(sealed(dict(value)))  # type: ignore[arg-type]  # JSON
    if key == "self" or (key in written and canonical_json(written[key]) == canonical_json(other)):  # type: ignore[arg-type]
        return
    assert not has_its_digest({**written, key: other})  # type: ignore[dict-item]  # JSON


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63])
def test_numbers_that_have_no_canonical_form_are_told(number: int) -> None:
    for value in ({"a": number}, {"a": [{"b": number}]}):
        assert not can_be_sealed(value)
        with pytest.raises(ValueError, match="int"):
            encode_sealed(value)
    assert can_be_sealed({"a": [{"b": 2**53 - 1, "c": "9" * 40, "d": 0.5}]})
