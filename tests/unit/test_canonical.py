"""Canonical JSON: the same value gives the same bytes."""

from __future__ import annotations

import math

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from genpool.canonical import canonical_json, sha256


def test_keys_are_sorted_and_no_white_space_is_written() -> None:
    assert canonical_json({"b": [1, 2], "a": {"d": None, "c": True}}) == b'{"a":{"c":true,"d":null},"b":[1,2]}'


def test_the_order_in_which_keys_were_given_does_not_matter() -> None:
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


def test_text_is_written_as_utf_8() -> None:
    assert canonical_json("śnienie 夢") == '"śnienie 夢"'.encode()


def test_only_quotes_backslashes_and_control_characters_are_escaped() -> None:
    assert canonical_json('a"b\\c\n\x01/\x7f') == b'"a\\"b\\\\c\\n\\u0001/\x7f"'


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (1.0, b"1"),
        (0.7, b"0.7"),
        (1e21, b"1e+21"),
        (-0.0, b"0"),
        (2**53 - 1, b"9007199254740991"),
        (2.0**53, b"9007199254740992"),
        (1e-4, b"0.0001"),
        (1e-5, b"0.00001"),
        (1e-7, b"1e-7"),
    ],
)
def test_numbers_are_written_as_ecmascript_does(number: float, written: bytes) -> None:
    assert canonical_json(number) == written


@pytest.mark.parametrize(
    "number",
    [0.0, 1e-4, 9.999e-5, 1e-6, 9.9e-7, 5e-324, 2.0**53 - 1, -(2.0**53), 2.0**60, 1e16, 1e21, 0.1 + 0.2, 4.5e15 + 0.5],
)
def test_numbers_at_the_edges_of_what_is_written_in_short_are_those_of_rfc_8785(number: float) -> None:
    for one in (number, -number):
        assert canonical_json([{"a": one}]) == rfc8785.dumps([{"a": one}])


@pytest.mark.parametrize("value", ["\ud800", math.nan, math.inf, 2**53, {"a": ["\udfff"]}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical_json(value)  # type: ignore[arg-type]


texts = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | texts
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_the_standard_encoder_writes_is_what_rfc_8785_demands(value: object) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", range(0, 0x11000, 0x1000))
def test_every_character_is_written_as_rfc_8785_demands(first: int) -> None:
    text = "".join(chr(first + at) for at in range(0x1000) if not 0xD800 <= first + at < 0xE000)
    assert canonical_json(text) == rfc8785.dumps(text)


def test_a_digest_is_sixty_four_hex_digits_in_lower_case() -> None:
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
