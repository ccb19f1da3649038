"""Columns of a CSV with a header that a spec names as `@file:…`."""

from __future__ import annotations

import csv
import io
import unicodedata
from typing import TYPE_CHECKING, Final, TypeGuard

from genpool.combos import read_text
from genpool.errors import InputError
from genpool.yaml_reader import Scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genpool.inputs import Inputs
    from genpool.yaml_reader import Node, Problems

FILE: Final = "@file:"
"""What a value begins with that names a file."""


def names_file(node: Node | None) -> TypeGuard[Scalar]:
    """Return whether a value names a file."""
    return isinstance(node, Scalar) and node.text.startswith(FILE)


def clean(text: str) -> str:
    """Return a level as it is meant: stripped and in Unicode form NFC."""
    return unicodedata.normalize("NFC", text.strip())


def read_columns(
    inputs: Inputs, node: Scalar, headings: Sequence[Sequence[str]], problems: Problems
) -> list[tuple[str, tuple[str, ...]]]:
    """Return columns of a CSV, each value stripped and in NFC.

    Args:
        inputs: Where the pool's files are.
        node: The value that names the file.
        headings: For every column what its heading may be, the usual one first.
        problems: Told what is wrong with the file.

    Returns:
        For every line below the header its place (`file:line`) and its values; nothing if the file is not usable.
    """
    file = node.text.removeprefix(FILE).strip()
    try:
        reader = csv.reader(io.StringIO(read_text(inputs.path(file)), newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except InputError as error:
        problems.add(str(error), node.line, error.hint)
        return []
    except csv.Error as error:
        problems.add(f"{file}: not readable as CSV: {error}", node.line)
        return []
    header = [name.strip() for name in rows[0][1]] if rows else []
    places = [next((header.index(name) for name in one if name in header), None) for one in headings]
    at = [place for place in places if place is not None]
    if len(at) < len(places):
        lacking = headings[places.index(None)][0]
        said = f"{file}:1: the header has no column {lacking!r} (it has {', '.join(header) or 'nothing'})"
        problems.add(said, node.line, f"name the column {lacking}")
        return []
    for number, row in rows:
        short = next((one[0] for one, place in zip(headings, at, strict=True) if len(row) <= place), None)
        if short is not None:
            problems.add(f"{file}:{number}: the line has no value for {short!r}", node.line)
            return []
    if len(rows) == 1:
        problems.add(f"{file}: there is no line below the header", node.line)
    return [(f"{file}:{number}", tuple([clean(row[place]) for place in at])) for number, row in rows[1:]]
