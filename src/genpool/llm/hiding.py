"""Keeping keys out of whatever a server says.

A server may echo a key as it is or encoded; each form is replaced by a marker. In what a model wrote only keys that
cannot be words are hidden: `ollama` and `anything` are keys too, of servers that want some text there.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN: Final = "[key]"
_TELLING: Final = 12  # so many first characters are hidden alone: fewer may be what all keys begin with
_LONG: Final = 20  # characters of a key that no text has by chance
_SHORT: Final = 8  # the same where there are letters and digits
_LEAST_ENCODED: Final = 8  # characters of base64 below which too much else looks like it


class Hiding:
    """Replaces keys by a marker.

    Args:
        key: The key, if there is one.
        url: The endpoint's address, whose user and password are keys too.
    """

    def __init__(self, key: str | None, url: str | None = None) -> None:
        secrets = [one for one in (key, (key or "").strip()) if one]  # a line end may come with it, from a file
        user, password = _credentials(url or "")
        told = f"{user}:{password}" if user or password else ""  # as an Authorization header has it
        secrets += [one for one in (told, password, user if _is_telling(user) else "") if one]
        self._everywhere = _Forms(secrets)
        self._in_texts = _Forms([one for one in secrets if _is_telling(one)])

    def __call__(self, message: str) -> str:
        """Return a message of a server or a library without keys."""
        return self._everywhere.hidden(message)

    def secret(self, text: str) -> str:
        """Return what a model wrote, without keys that cannot be words."""
        return self._in_texts.hidden(text)


class _Forms:
    """Every form of some keys, found also where it was cut short after its telling beginning."""

    def __init__(self, secrets: list[str]) -> None:
        self._forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
        self._beginning = re.compile("|".join(dict.fromkeys(re.escape(form[:_TELLING]) for form in self._forms)))

    def hidden(self, text: str) -> str:
        if not self._forms:
            return text
        parts, at = [], 0
        while found := self._beginning.search(text, at):
            start = found.start()
            parts += [text[at:start], HIDDEN]
            at = start + max(_alike(text, start, form) for form in self._forms)
        return "".join([*parts, text[at:]])


def _alike(text: str, start: int, form: str) -> int:
    """Return how many characters of a text, from some place on, are a form's."""
    return next((length for length in range(len(form), 0, -1) if text.startswith(form[:length], start)), 0)


def _credentials(url: str) -> tuple[str, str]:
    """Return user and password of an address, decoded; nothing where it has none or is no address."""
    try:
        parts = urlsplit(url)
        return unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        return "", ""


def _is_telling(secret: str) -> bool:
    """Return whether a key cannot be a word of a text."""
    mixed = any(one.isdigit() for one in secret) and any(one.isalpha() for one in secret)
    return len(secret) >= _LONG or (len(secret) >= _SHORT and mixed)


def _forms(secret: str) -> Iterator[str]:
    """Yield a key as it is and as it stands in URLs, in JSON, in Python's own writing and in base64."""
    yield secret
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield quoted
        yield re.sub("%..", lambda found: found[0].lower(), quoted)
    for ascii_only in (True, False):
        written = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield written
        yield written.replace("/", "\\/")
    yield repr(secret)[1:-1]
    for before in range(3):  # base64 writes three bytes as four characters: a key can begin at any of the three
        data = bytes(before) + secret.encode()
        for encoded in (b64encode(data), urlsafe_b64encode(data)):
            if not before:
                yield encoded.decode()
            whole = encoded.decode()[(before * 8 + 5) // 6 : len(data) * 8 // 6]  # without what neighbours decide too
            if len(whole) >= _LEAST_ENCODED:
                yield whole
