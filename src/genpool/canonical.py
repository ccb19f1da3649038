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
    try:
        plain = _plain(value)
    except _Unusual:
        return rfc8785.dumps(value)
    return _write(plain).encode()


_write: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, check_circular=False).encode

_MOST: Final = 2**53 - 1
_LEAST: Final = 1e-4
"""Below it Python writes a number with an exponent, and otherwise than ECMAScript."""


class _Unusual(Exception):
    """A value that the standard library's encoder would write otherwise than RFC 8785, or not refuse."""


def _plain(value: Json) -> Json:
    """Return a value that the encoder of the standard library, in C, writes as RFC 8785 demands for the given one.

    That is the value itself but for whole floats, which are written as integers (10.0 as 10). The tests hold the two
    against each other.

    Raises:
        _Unusual: A number is very large, very small or none at all, a key's order by UTF-16 may be another than by
            code point, or a key is no text.
    """
    if isinstance(value, str) or value is None or value is True or value is False:
        return value  # a lone surrogate is refused when it is encoded, with a ValueError as well
    if isinstance(value, dict):
        if not all(isinstance(key, str) and key.isascii() for key in value):
            raise _Unusual
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, int | float) and -_MOST <= value <= _MOST:
        if value == int(value):
            return int(value)
        if abs(value) >= _LEAST:
            return value
    raise _Unusual


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def hashed(data: bytes) -> bytes:
    """Return the SHA-256 of some bytes as 32 bytes."""
    return hashlib.sha256(data).digest()
