"""Printing: JSON for machines, tables for people, foreign text made harmless."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

_KEPT = "\n\t"
_FIRST_PICTURE = 0x2400  # Unicode Control Pictures: a visible sign for each of U+0000..U+001F


def shown(text: str) -> str:
    """Return a text with its control characters shown instead of obeyed.

    Newlines and tabs stay; escapes, other controls, and marks that turn the direction of writing become visible.
    """
    if text.isprintable():
        return text
    return "".join(char if char in _KEPT or not _acts(char) else _picture(char) for char in text)


def _acts(char: str) -> bool:
    """Return whether a terminal would act on a character rather than print it."""
    return unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or (
        unicodedata.bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    )


def _picture(char: str) -> str:
    code = ord(char)
    return chr(_FIRST_PICTURE + code) if code < 0x20 else f"\\u{code:04x}"


def print_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())


def console(*, stderr: bool = False) -> Console:
    """Return a console for tables; it wraps at the terminal's width, or not at all where there is none."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=160)
    return made


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print a plain table.

    Args:
        columns: The headings.
        rows: The cells; numbers are grouped by thousands, foreign text is made harmless.
        right: Headings whose column is aligned to the right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=name in right)
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    console().print(made)


def print_counts(rows: Mapping[str, Mapping[str, int]], always: Sequence[str]) -> None:
    """Print a table of counts by stage, with a total.

    Args:
        rows: Stage to column to count; the same columns in every stage.
        always: Columns that are shown even where every count is 0; the others are left out then.
    """
    columns = list(next(iter(rows.values()), {}))
    names = [name for name in columns if name in always or any(row[name] for row in rows.values())]
    lines: list[list[object]] = [[stage, *(row[name] for name in names)] for stage, row in rows.items()]
    lines.append(["total", *(sum(row[name] for row in rows.values()) for name in names)])
    print_table(["stage", *names], lines, right=names)


def cell(value: object) -> str:
    """Return one value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.2f}"
    return shown(str(value))


def many(count: int, word: str) -> str:
    """Return a count with its word: `1 call`, `2 calls`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
