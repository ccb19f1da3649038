"""Keys are hidden in every form; words are not."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from genpool.llm.hiding import Hiding

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
