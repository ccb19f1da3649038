"""Hiding a key, in whatever form a server sends it back."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpool.llm.hiding import HIDDEN, Hiding

KEY = "sk-or-v1-0123456789/abcdef+ghijklm="


def test_a_key_is_hidden_wherever_it_stands() -> None:
    assert Hiding(KEY)(f"{KEY}: not {KEY}{KEY}.") == f"{HIDDEN}: not {HIDDEN}{HIDDEN}."


@pytest.mark.parametrize("length", range(12, len(KEY)))
def test_a_key_that_was_cut_short_is_hidden(length: int) -> None:
    assert Hiding(KEY)(f"<{KEY[:length]}>") == f"<{HIDDEN}>"


def test_what_all_keys_begin_with_is_no_key() -> None:
    assert Hiding(KEY)("keys begin with sk-or-v1-") == "keys begin with sk-or-v1-"


@pytest.mark.parametrize("before", ["", "B", "Be", "Bea", "Bearer "])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_shows_no_more_than_the_characters_at_the_edges(before: str, encode: object) -> None:
    assert callable(encode)
    said = encode(f"{before}{KEY}".encode()).decode()
    left = Hiding(KEY)(said)
    assert HIDDEN in left
    assert len(left) <= len(HIDDEN) + len(before) * 8 / 6 + 4


def test_percent_encoding_does_not_help() -> None:
    assert Hiding(KEY)(f"?key={quote(KEY, safe='')}&x") == f"?key={HIDDEN}&x"


def test_a_short_key_is_hidden_in_messages_and_left_in_answers() -> None:
    assert Hiding("none")("key none refused") == f"key {HIDDEN} refused"
    assert Hiding("none").secret("there is none") == "there is none"
    assert Hiding(KEY).secret(f"it is {KEY}") == f"it is {HIDDEN}"


@given(st.text())
def test_without_a_key_nothing_changes(text: str) -> None:
    assert Hiding(None)(text) == text
    assert Hiding(None).secret(text) == text


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_whole_key_is_ever_left(key: str, before: str, after: str) -> None:
    left = Hiding(key)(before + key + after)
    assert HIDDEN in left
    assert key not in left.replace(HIDDEN, "\0")
