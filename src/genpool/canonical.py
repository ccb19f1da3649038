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
    except _NotPlain:
        return rfc8785.dumps(value)
    return _write(plain).encode()


_write: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, check_circular=False).encode

_WHOLE: Final = 2**53
"""Integers from here on are not written: a reader that has floating-point numbers only could not tell them apart."""
_SMALL: Final = 1e-4
"""Numbers from here on are written without an exponent, by Python and by ECMAScript."""


class _NotPlain(Exception):
    """There is something in a value that the encoder of the standard library may write otherwise."""


def _plain(value: Json) -> Json:
    """Return a value as the encoder of the standard library, in C, writes it as RFC 8785 asks.

    It does but for whole numbers that are floating-point ones, very small and very large numbers, keys whose order by
    UTF-16 is another than by code point, and keys that are no text. The test holds the two against each other.

    Raises:
        _NotPlain: There is none.
    """
    if isinstance(value, str) or value is None or value is True or value is False:
        return value  # a lone surrogate is refused when it is encoded, with a ValueError as well
    if isinstance(value, dict):
        if all(isinstance(key, str) and key.isascii() for key in value):
            return {key: _plain(one) for key, one in value.items()}
    elif isinstance(value, list):
        return [_plain(one) for one in value]
    elif isinstance(value, int):
        if -_WHOLE < value < _WHOLE:
            return value
    elif isinstance(value, float) and abs(value) < _WHOLE:
        if value.is_integer():
            return int(value)
        if abs(value) >= _SMALL:
            return value
    raise _NotPlain


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def hashed(data: bytes) -> bytes:
    """Return the SHA-256 of some bytes as 32 bytes."""
    return hashlib.sha256(data).digest()
