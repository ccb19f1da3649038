"""Canonical JSON and digests: the pre-image of everything that is compared by hash.

RFC 8785 (JSON Canonicalization Scheme): keys sorted, no white space, UTF-8, numbers as
ECMAScript writes them. The same value gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final

import rfc8785

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""A JSON value."""


def canonical_json(value: Json) -> bytes:
    """Return the RFC 8785 bytes of a JSON value.

    Raises:
        ValueError: The value cannot be written (a lone surrogate, NaN, an integer beyond 2^53).
    """
    return _write(value).encode() if _is_plain(value) else rfc8785.dumps(value)


_write: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, check_circular=False).encode


def _is_plain(value: Json) -> bool:
    """Return whether the encoder of the standard library, in C, writes a value as RFC 8785 does.

    It does but for numbers, for keys whose order by UTF-16 is another than by code point, and for keys that are no
    text. The test holds the two against each other.
    """
    if isinstance(value, str):
        return True  # a lone surrogate is refused when it is encoded, with a ValueError as well
    if isinstance(value, dict):
        return all(isinstance(key, str) and key.isascii() and _is_plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or value is True or value is False


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def hashed(data: bytes) -> bytes:
    """Return the SHA-256 of some bytes as 32 bytes."""
    return hashlib.sha256(data).digest()
