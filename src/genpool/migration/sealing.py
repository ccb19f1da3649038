"""Records sealed anew: the bytes of metadata.json after a migration, and whether a sealed record is right.

The same bytes and digests as `records` makes. Canonical JSON of a record with numbers takes longer than all the rest
of reading it, so that the encoder in C is used wherever it writes the same: the tests hold the two against each other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import orjson

from genpool.canonical import canonical_json, sha256
from genpool.records import encode_sealed

if TYPE_CHECKING:
    from genpool.canonical import Json

_WRITTEN: Final = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_SAFE: Final = 2**53


def sealed(value: dict[str, Json]) -> bytes:
    """Return a record's bytes with the digest of the rest under `self`.

    Raises:
        ValueError: A value in it has no canonical form.
    """
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if data.isascii() and not _NOT_PLAIN.search(data):
        return orjson.dumps({**value, "self": sha256(data)}, option=_WRITTEN)
    if _is_plain(value) and not _ESCAPED.search(data):
        return orjson.dumps({**value, "self": sha256(data)}, option=_WRITTEN)
    return encode_sealed(value)


_ESCAPED: Final = re.compile(rb"\\[ubf]")
_NOT_PLAIN: Final = re.compile(rb"\\[ubf]|[0-9][.eE]|[0-9]{16}")
"""An escape, a number that is no short integer, or a text that looks like one: then every value is looked at."""


def can_be_sealed(value: Json) -> bool:
    """Return whether a value read from JSON has a canonical form: integers beyond 2^53 have none."""
    try:
        return _is_short(value)
    except RecursionError:
        return False


def _is_short(value: Json) -> bool:
    kind = type(value)
    if kind is int:
        return -_SAFE < value < _SAFE  # type: ignore[operator]  # an int
    if kind is dict:
        value = list(value.values())  # type: ignore[union-attr]  # a dict
    elif kind is not list:
        return True
    return all(_is_short(one) for one in value if type(one) in _DEEPER)  # type: ignore[union-attr]  # a list


_DEEPER: Final = frozenset({int, dict, list})


def has_its_digest(value: dict[str, Json]) -> bool:
    """Return whether a record has the digest that it states under `self`."""
    rest = {key: item for key, item in value.items() if key != "self"}
    stated = value.get("self")
    if sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)) == stated:
        return True
    try:
        return sha256(canonical_json(rest)) == stated
    except (ValueError, TypeError, RecursionError):
        return False


def _is_plain(value: Json) -> bool:
    """Return whether the encoder in C writes a value as RFC 8785 does.

    It does for texts without control characters (seen in what it wrote), for integers up to 2^53, and for numbers
    that neither writes with an exponent nor as a whole number.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return -_SAFE < value < _SAFE  # type: ignore[operator]  # an int
    if kind is float:
        return 1e-3 <= abs(value) < 1e15 and not value.is_integer()  # type: ignore[arg-type,union-attr]  # a float
    if kind is dict:
        return all(key.isascii() and _is_plain(one) for key, one in value.items())  # type: ignore[union-attr]
    return kind is list and all(map(_is_plain, value))  # type: ignore[arg-type]  # a list
