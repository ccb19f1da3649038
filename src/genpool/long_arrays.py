"""JSON whose long arrays are read without an object an element: ids, and codes below ten, of a million rows.

Promise: what is read is what `orjson.loads` reads, and what that refuses is refused, but that a long array may be
`Texts` or, of numbers below ten, `bytes`. An array is cut out of the document and looked over as a whole; what is left
is parsed. Only the values of objects' keys are cut out, and only where nothing but objects is around them.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from genpool.coded import Texts

_OPENS: Final = b'":['
_LONG: Final = 1_000
"""Shorter ones, in bytes, are parsed with the rest."""
_MARK: Final = "an array cut out: "
_DIGITS_TO_VALUES: Final = bytes((byte - ord("0")) % 256 for byte in range(256))


def parsed(data: bytes) -> Any:
    """Return the value of a JSON document.

    Raises:
        ValueError: It is none.
    """
    pieces: list[bytes] = []
    arrays: list[Texts | bytes] = []
    done = 0
    opens = data.find(_OPENS)
    while opens >= 0:
        begins = opens + len(_OPENS)
        ends = data.find(b"]", begins)
        # a quote behind a letter closes a text, and what a colon follows is a key
        long = ends - begins > _LONG and data[opens - 1 : opens].isalnum()
        array = _read(data[begins:ends]) if long else None
        if array is not None:
            pieces.append(data[done : begins - 1])
            arrays.append(array)
            begins = done = ends + 1
        opens = data.find(_OPENS, begins)
    pieces.append(data[done:])
    if any(_MARK.encode() in piece or b"\\" in piece for piece in pieces):  # a text may be taken for what was cut out
        return orjson.loads(data)
    left = b"".join(b'%s"%s%d"' % (piece, _MARK.encode(), at) for at, piece in enumerate(pieces[:-1]))
    value = orjson.loads(left + pieces[-1])
    return value if _put_back(value, arrays) == len(arrays) else orjson.loads(data)


def _read(inner: bytes) -> Texts | bytes | None:
    """Return an array by what is between its brackets; None where it is to be parsed as the rest is."""
    if inner.startswith(b'"'):
        return Texts.read(inner)
    digits, commas = inner[::2], inner[1::2]
    if len(digits) == len(commas) + 1 and digits.isdigit() and commas == b"," * len(commas):
        return digits.translate(_DIGITS_TO_VALUES)
    return None


def _put_back(value: Any, arrays: list[Texts | bytes]) -> int:
    """Put arrays where their marks are, and return how many were: what is in a list is not looked at."""
    objects = [value]
    count = 0
    while objects:
        held = objects.pop()
        for name, one in held.items() if isinstance(held, dict) else ():
            if isinstance(one, dict):
                objects.append(one)
            elif isinstance(one, str) and one.startswith(_MARK):
                held[name] = arrays[int(one.removeprefix(_MARK))]
                count += 1
    return count
