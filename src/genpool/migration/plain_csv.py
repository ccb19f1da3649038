"""CSV in which no cell is in quotation marks, read and written at once: nearly all that a migration meets.

What comes of it is what the `csv` module reads and writes; where that would do otherwise, None is returned instead.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def plain_lines(text: str) -> list[str] | None:
    """Return the lines of a CSV that is read by splitting it at line ends and commas; None for any other."""
    if '"' in text or "\r" in text:
        return None
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines if max(map(len, lines), default=0) <= csv.field_size_limit() else None


def plain_csv(rows: Sequence[tuple[object, ...]], cells: int) -> str | None:
    """Return the lines of some rows, each with a line end; None where a cell needs quotation marks.

    Args:
        rows: Texts and integers, no other value.
        cells: How many each row has; two at the least.
    """
    text = "".join(map(f"{','.join(['%s'] * cells)}\n".__mod__, rows))
    same = text.count(",") == len(rows) * (cells - 1) and text.count("\n") == len(rows)
    return text if same and '"' not in text and "\r" not in text else None
