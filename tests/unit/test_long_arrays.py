"""A document whose long arrays are cut out is read as orjson reads it, and refused where orjson refuses it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpool.coded import Texts
from genpool.long_arrays import parsed

_NAMES = st.sampled_from(["codes", "gen_ids", "a]", ":[", "", 'q"', "b\\"])
_PLAIN = st.lists(st.text("ab_-.0", max_size=4), max_size=6)
_ODD = st.lists(st.one_of(st.text('a",[]:\\é\n{}', max_size=5), st.none(), st.integers(0, 300)), max_size=6)
_MANY = st.integers(0, 400)


@st.composite
def arrays(draw: st.DrawFn) -> list[Any]:
    """Return an array, long or not, of plain texts, small numbers, or anything."""
    some = draw(st.one_of(_PLAIN, _ODD, st.lists(st.integers(0, 9)), st.lists(st.integers(0, 11))))
    return some * draw(_MANY)


DOCUMENTS = st.recursive(
    st.one_of(arrays(), st.none(), st.text('a"[:', max_size=5)),
    lambda inner: st.one_of(st.dictionaries(_NAMES, inner, max_size=4), st.lists(inner, max_size=2)),
    max_leaves=6,
)


def as_lists(value: Any) -> Any:
    """Return a value as `orjson.loads` gives it."""
    if isinstance(value, dict):
        return {name: as_lists(one) for name, one in value.items()}
    return list(value) if isinstance(value, Texts | bytes) else value


def same(data: bytes) -> bool:
    """Return whether a document is read as orjson reads it."""
    try:
        right = orjson.loads(data)
    except orjson.JSONDecodeError:
        with pytest.raises(ValueError, match=r"."):
            parsed(data)
        return True
    return bool(as_lists(parsed(data)) == right)


@given(DOCUMENTS)
def test_it_is_what_orjson_reads(document: Any) -> None:
    assert same(orjson.dumps(document))
    assert same(json.dumps(document, indent=1).encode())


@given(DOCUMENTS, st.integers(0, 10_000), st.sampled_from(list('[]",:{}\\0é\n ')))
def test_of_a_damaged_one_too(document: Any, at: int, put: str) -> None:
    data = orjson.dumps({"codes": document})
    at %= len(data)
    assert same(data[:at] + put.encode() + data[at:])
    assert same(data[:at] + put.encode() + data[at + 1 :])
    assert same(data[:at] + data[at + 1 :])


@pytest.mark.parametrize(
    ("of", "kind"),
    [(["d_1f", "d_2"] * 500, Texts), (["d_1f"] * 500, Texts), ([1, 9, 0] * 400, bytes), ([1, 10] * 400, list)],
)
def test_what_is_long_and_plain_is_cut_out(of: list[Any], kind: type) -> None:
    found = parsed(orjson.dumps({"a": {"b": of}, "c": "x"}))
    assert type(found["a"]["b"]) is kind
    assert as_lists(found) == {"a": {"b": of}, "c": "x"}


def test_an_array_of_an_object_in_a_list_is_parsed_with_the_rest() -> None:
    assert same(orjson.dumps({"a": [{"codes": [0] * 1000}], "codes": [1] * 1000}))


def test_a_text_is_not_taken_for_what_was_cut_out() -> None:
    for text in ("an array cut out: 0", "an array cut out\\u003a 0"):
        assert same(b'{"a":"%s","b":%s}' % (text.encode(), orjson.dumps([0] * 1000)))
    deep = b'{"a":' * 600 + orjson.dumps({"b": [0] * 1000}) + b"}" * 600
    assert orjson.loads(deep)
    found = parsed(deep)
    for _ in range(600):
        found = found["a"]
    assert found["b"] == bytes(1000)
