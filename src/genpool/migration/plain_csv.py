"""CSV in which no cell is in quotation marks, read and written at once: nearly all that a migration meets.

What comes of it is what the `csv` module reads and writes; where that would do otherwise, None is returned instead.
"""

from __future__ import annotations

import csv
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_AT_ONCE: Final = 1000  # lines; more than a processor's cache holds take longer each


def plain_lines(text: str) -> list[str] | None:
    """Return the lines of a CSV that is read by splitting it at line ends and commas; None for any other."""
    if '"' in text or "\r" in text:
        return None
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines if max(map(len, lines), default=0) <= csv.field_size_limit() else None


def plain_csv(rows: Iterable[tuple[object, ...]], cells: int) -> str | None:
    """Return the lines of some rows, each with a line end; None where a cell needs quotation marks.

    Args:
        rows: Texts and integers, no other value.
        cells: How many each row has; two at the least.
    """
    line = f"{','.join(['%s'] * cells)}\n"
    waiting = iter(rows)
    parts = []
    while some := list(islice(waiting, _AT_ONCE)):
        text = "".join(map(line.__mod__, some))
        same = text.count(",") == len(some) * (cells - 1) and text.count("\n") == len(some)
        if not same or '"' in text or "\r" in text:
            return None
        parts.append(text)
    return "".join(parts)
