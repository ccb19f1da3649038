"""Tables for a notebook: plain HTML without style, every text escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def counts_table(title: str, rows: Mapping[str, Mapping[str, int]]) -> str:
    """Return counts by stage as an HTML table, with a total; columns without a number are left out.

    Args:
        title: What the table is of.
        rows: Stage to column to count; the same columns in every stage.
    """
    columns = [name for name in next(iter(rows.values()), {}) if any(row[name] for row in rows.values())]
    head = "".join(f"<th>{escape(name)}</th>" for name in ("stage", *columns))
    total = {name: sum(row[name] for row in rows.values()) for name in columns}
    body = "".join(
        f"<tr><th>{escape(stage)}</th>{''.join(f'<td>{row[name]:,}</td>' for name in columns)}</tr>"
        for stage, row in [*rows.items(), ("total", total)]
    )
    return f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
