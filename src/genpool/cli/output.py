"""Printing: JSON for machines, tables for people, foreign text made harmless."""

from __future__ import annotations

import os
import sys
from itertools import islice
from typing import TYPE_CHECKING, Final

import orjson

from genpool.visible import KEPT, acts, picture
from genpool.visible import shown as shown  # noqa: PLC0414 - every verb takes it from here

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console

_GAP: Final = "   "
_LEAST: Final = 8
"""A column of names is not folded to fewer columns of a terminal than this."""
_AT_ONCE: Final = 1000
"""So many items of a long list are written as JSON at once."""
_MANY_ROWS: Final = 1000
"""More rows than this are never folded to the terminal's width: that takes half a millisecond a row."""


def one_line(value: object) -> str:
    """Return a value as it is shown within a line: newlines and tabs are made visible too."""
    text = shown(str(value))
    return text if text.isprintable() else "".join(picture(char) if char in KEPT else char for char in text)


def print_json(value: object) -> None:
    """Print one JSON document; on a terminal, what it would act on is escaped as JSON escapes it."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    sys.stdout.write(_escaped(text) if sys.stdout.isatty() else text)


def print_json_listing(
    head: Mapping[str, object], what: str, items: Iterable[object], tail: Mapping[str, object]
) -> None:
    """Print one JSON document with a long list, as `print_json` does; nothing where an item fails.

    Args:
        head: What comes before the list.
        what: The list's key.
        items: What is in it; of each only its text is kept.
        tail: What comes after it.
    """
    left, parts = iter(items), []
    while some := list(islice(left, _AT_ONCE)):
        alone = orjson.dumps({what: some}, option=orjson.OPT_INDENT_2)
        parts.append(alone[alone.index(b"[") + 1 : alone.rindex(b"]")].rstrip())
    whole = orjson.dumps({**head, what: [], **tail}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    before, empty, after = whole.partition(orjson.dumps(what) + b": []")
    end = b"\n  ]" if parts else b"]"
    for part in (before + empty[:-1], *_with_commas(parts), end + after):
        text = part.decode()
        sys.stdout.write(_escaped(text) if sys.stdout.isatty() else text)


def _with_commas(parts: Sequence[bytes]) -> Iterator[bytes]:
    return (part if at == 0 else b"," + part for at, part in enumerate(parts))


def print_json_line(value: object) -> None:
    """Print one JSON object as a line of its own."""
    text = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE).decode()
    sys.stdout.write(_escaped(text) if sys.stdout.isatty() else text)


def _escaped(text: str) -> str:
    """Return a JSON text with the characters that a terminal acts on as escapes; it stays the same document."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(f"\\u{ord(char):04x}" if char != "\n" and acts(char) else char for char in text)


def console(*, stderr: bool = False) -> Console:
    """Return a console for what fits itself to the terminal; without colours and bold where NO_COLOR is set."""
    from rich.console import Console

    colours = None if os.environ.get("NO_COLOR") else "auto"
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, color_system=colours)  # type: ignore[arg-type]  # a Literal


def print_text(text: str) -> None:
    """Print a foreign text for a person; on a terminal it is wrapped at words."""
    if not sys.stdout.isatty():
        print(shown(text))
        return
    from rich.text import Text

    console().print(Text(shown(text)))


def terminal_width() -> int | None:
    """Return the columns of the terminal that standard output is, or None where it is none."""
    if not sys.stdout.isatty():
        return None
    return console().width


def table_width(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """Return how many columns of a terminal a table takes where nothing is folded."""
    return sum(_widths(columns, [[cell(value) for value in row] for row in rows])) + len(_GAP) * (len(columns) - 1)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """Print a plain table: on a terminal that is narrower names are folded, or it becomes a list; numbers stay whole.

    Args:
        columns: The headings.
        rows: The cells; numbers are grouped by thousands, foreign text is made harmless.
        right: Headings whose column is aligned to the right.
        whole: Headings whose column is never folded.
    """
    cells = [[cell(value) for value in row] for row in rows]
    widths = _widths(columns, cells)
    terminal = terminal_width()
    if terminal is not None and len(rows) <= _MANY_ROWS and sum(widths) + len(_GAP) * (len(columns) - 1) > terminal:
        if not _print_folded(columns, cells, widths, terminal, right, whole):
            _print_list(columns, cells)
        return
    bold = terminal is not None and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    head = _line(columns, columns, widths, right)
    print(f"\033[1m{head}\033[0m" if bold else head)
    print("─" * (sum(widths) + len(_GAP) * (len(columns) - 1)))
    for row in cells:
        print(_line(row, columns, widths, right))


def _print_folded(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    widths: Sequence[int],
    terminal: int,
    right: Sequence[str],
    whole: Sequence[str],
) -> bool:
    """Print a table with names folded; return whether there is room for it: nothing is ever cut."""
    fixed = {*right, *whole}
    least = [width if name in fixed else min(width, _LEAST) for name, width in zip(columns, widths, strict=True)]
    spare = terminal - sum(least) - len(_GAP) * (len(columns) - 1)
    if spare < 0:
        return False
    chosen = list(least)
    while spare:  # to the narrowest first: a name that nearly fits is not folded for one that never will
        at = min((at for at, width in enumerate(widths) if chosen[at] < width), key=lambda at: chosen[at])
        chosen[at] += 1
        spare -= 1
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name, width in zip(columns, chosen, strict=True):
        made.add_column(name, justify="right" if name in right else "left", overflow="fold", width=width)
    for row in cells:
        made.add_row(*row)
    console().print(made)
    return True


def _print_list(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print a table as a list, a line a value: where a terminal has no room for columns side by side."""
    width = max(map(_width, columns))
    for number, row in enumerate(cells):
        if number:
            print()
        for name, text in zip(columns, row, strict=True):
            print(f"{name}{' ' * (width - _width(name))}{_GAP}{text}")


def _line(row: Sequence[str], columns: Sequence[str], widths: Sequence[int], right: Sequence[str]) -> str:
    """Return one line of a table, without blanks at its end."""
    parts = []
    for text, name, width in zip(row, columns, widths, strict=True):
        blanks = " " * (width - _width(text))
        parts.append(blanks + text if name in right else text + blanks)
    return _GAP.join(parts).rstrip()


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(_width(text) for text in (name, *(row[at] for row in cells))) for at, name in enumerate(columns)]


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


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


def as_keys(row: Mapping[str, int]) -> dict[str, int]:
    """Return a row of counts with its columns as keys of JSON."""
    return {name.replace(" ", "_"): count for name, count in row.items()}


def print_origins(cohort_id: str, origins: Mapping[str, Mapping[str | None, int]]) -> None:
    """Print whose runs made what is reused, where other cohorts' did: a line a cohort, its own first.

    Args:
        cohort_id: The cohort that reuses.
        origins: Stage to cohort to how many generations.
    """
    cohorts = {origin for counts in origins.values() for origin in counts}
    if not cohorts - {cohort_id}:
        return
    ordered = sorted(cohorts, key=lambda one: (one != cohort_id, one is None, one or ""))
    lines: list[list[object]] = []
    for origin in ordered:
        counts = [by.get(origin, 0) for by in origins.values()]
        said = "(not recorded)" if origin is None else f"{origin} (own)" if origin == cohort_id else origin
        lines.append([said, *counts, sum(counts)])
    print()
    print_table(["reused from", *origins, "total"], lines, right=[*origins, "total"])


def origins_document(origins: Mapping[str, Mapping[str | None, int]]) -> dict[str, list[dict[str, object]]]:
    """Return whose runs made what is reused, by stage; `cohort_id` is null where nothing says it."""
    return {
        stage: [
            {"cohort_id": origin, "generations": count}
            for origin, count in sorted(counts.items(), key=lambda one: (one[0] is None, one[0] or ""))
        ]
        for stage, counts in origins.items()
    }


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
    return one_line(value)


def many(count: int, word: str) -> str:
    """Return a count with its word: `1 call`, `2 calls`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
