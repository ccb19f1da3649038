"""Canonical JSON and digests: the pre-image of everything that is compared by hash.

RFC 8785 (JSON Canonicalization Scheme): keys sorted, no white space, UTF-8, numbers as
ECMAScript writes them. The same value gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import rfc8785

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""A JSON value."""


def canonical_json(value: Json) -> bytes:
    """Return the RFC 8785 bytes of a JSON value.

    Raises:
        ValueError: The value cannot be written (a lone surrogate, NaN, an integer beyond 2^53).
    """
    return rfc8785.dumps(value)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def hashed(data: bytes) -> bytes:
    """Return the SHA-256 of some bytes as 32 bytes."""
    return hashlib.sha256(data).digest()
