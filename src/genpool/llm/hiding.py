"""Keeping a key out of every text that a server sends back. Pure."""

from __future__ import annotations

import base64
import re
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "[key]"
_TELLING: Final = 12  # so many first characters of a key are hidden alone: fewer may be what all keys begin with
_SECRET: Final = 16  # a shorter key is no secret ("none", "EMPTY"), and may be a word of an answer


class Hiding:
    """Hides one key: plain, cut short, percent-encoded, or in base64.

    Args:
        key: The key, or None where there is none.
    """

    def __init__(self, key: str | None) -> None:
        forms = {key, quote(key, safe=""), *_in_base64(key.encode())} if key else set()
        self._forms = sorted(forms)
        self._beginning = re.compile("|".join(sorted({re.escape(form[:_TELLING]) for form in forms})))
        self._is_secret = key is not None and len(key) >= _SECRET

    def __call__(self, text: str) -> str:
        """Return a message without the key, also where it was cut short after its telling beginning."""
        if not self._forms:
            return text
        parts, at = [], 0
        while found := self._beginning.search(text, at):
            start = found.start()
            parts += [text[at:start], HIDDEN]
            at = start + max(_alike(text, start, form) for form in self._forms)
        return "".join([*parts, text[at:]])

    def secret(self, text: str) -> str:
        """Return an answer's text without the key, and otherwise as it is: a key that is a mere word stays."""
        return self(text) if self._is_secret else text


def _alike(text: str, start: int, form: str) -> int:
    """Return how many characters of a text, from some place on, are a form's."""
    return next((length for length in range(len(form), 0, -1) if text.startswith(form[:length], start)), 0)


def _in_base64(key: bytes) -> list[str]:
    """Return how a key looks inside longer base64, wherever it begins: without the characters that it shares."""
    found = []
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + key).decode().rstrip("=")
        inner = whole[-(-shift * 8 // 6) : len(whole) - (1 if (shift + len(key)) % 3 else 0)]
        if len(inner) >= _TELLING:
            found += [inner, inner.replace("+", "-").replace("/", "_")]
    return found
