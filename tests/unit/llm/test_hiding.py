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
    assert key not in left.replace(HIDDEN, "\ufffd")  # no character of a key


KEY = "sk-a/b+c=d&e 1234567890"


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
def test_a_key_inside_base64_is_hidden_wherever_it_begins(before: str) -> None:
    told = base64.b64encode(f"{before}{KEY}after".encode()).decode()
    hidden = Hiding(KEY)(f"it was {told}")
    core = base64.b64encode(KEY.encode()).decode().rstrip("=")[:-1]
    assert "[key]" in hidden
    assert len(hidden) < len(told)
    assert core not in hidden


def test_a_key_is_hidden_in_urls_json_and_with_a_line_end() -> None:
    hiding = Hiding(f"{KEY}\n")
    assert hiding(f"{quote(KEY, safe='')} {quote(KEY, safe='').lower()} {KEY} ") == "[key] [key] [key] "
    assert hiding(KEY.replace("/", "\\/")) == "[key]"


@pytest.mark.parametrize("word", ["anything", "ollama", "EMPTY", "x", "not-needed", "lm-studio"])
def test_a_key_that_is_a_word_is_left_in_what_a_model_wrote(word: str) -> None:
    assert Hiding(word).secret(f"a text with {word} in it") == f"a text with {word} in it"
    assert Hiding(word)(f"wrong key {word}!") == "wrong key [key]!"


@pytest.mark.parametrize("key", ["k9Zq7w2x", KEY, "QwErTyUiOpAsDfGhJkLz"])
def test_a_key_that_is_no_word_is_hidden_there_too(key: str) -> None:
    assert Hiding(key).secret(f"a text with {key} in it") == "a text with [key] in it"


def test_user_and_password_of_an_address_are_hidden_also_as_a_header_has_them() -> None:
    hiding = Hiding(None, "https://me:pass%2Fword1@host/v1")
    token = base64.b64encode(b"me:pass/word1").decode()
    assert hiding(f"{token} pass/word1 pass%2Fword1 me") == "[key] [key] [key] me"


@pytest.mark.parametrize("url", [None, "", "http://host/v1", "http://[", "not an address"])
def test_without_a_key_nothing_is_hidden(url: str | None) -> None:
    assert Hiding(None, url)("a text") == "a text"
    assert Hiding(None, url).secret("a text") == "a text"
