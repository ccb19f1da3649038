"""Tables as files: Parquet and CSV under cohorts/<id>/reports/, or under reports/ for more than one cohort.

Each is made anew whenever it is asked for, and replaces its file by one rename. Parquet holds exactly what the table
holds. In CSV a text that a spreadsheet would take for a formula (one that begins with `=`, `+`, `-`, `@`, a tab or a
carriage return) has an apostrophe before it: reasons are written by models, and a CSV is opened by a double click.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import orjson

from genpool.durable import replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from genpool.tables import Table

FORMAT: Final = "genpool.tables/1"
_FORMULA: Final = r"^[=+\-@\t\r]"


def write_tables(folder: Path, tables: Mapping[str, Table]) -> list[Path]:
    """Write some tables, each as Parquet and as CSV, and tables.json, which says what is in them.

    Args:
        folder: Where to; it is made.
        tables: The tables by name.

    Returns:
        The files.

    Raises:
        StorageFailed: A file could not be written; what was there stays.
    """
    written = []
    with storage_errors(f"cannot write tables to {folder}"):
        for name, table in tables.items():
            for ending, data in (("parquet", parquet_bytes(table.frame)), ("csv", csv_bytes(table.frame))):
                written.append(folder / f"{name}.{ending}")
                replace_file(written[-1], data)
        written.append(folder / "tables.json")
        replace_file(
            written[-1], orjson.dumps(_contents(tables), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )
    return written


def write_texts(folder: Path, table: Table, stages: Sequence[str] = ()) -> list[Path]:
    """Write exported texts as JSON lines and as Parquet, each exactly as it is.

    Args:
        folder: Where to; it is made.
        table: What `export` returned.
        stages: The stages that were asked for by name: the files bear their names, so that exports of several stages
            stand beside each other.

    Raises:
        StorageFailed: A file could not be written; what was there stays.
    """
    stem = "+".join(["texts", *dict.fromkeys(stages)])
    files = {
        f"{stem}.jsonl": b"".join(
            orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in table.frame.iter_rows(named=True)
        ),
        f"{stem}.parquet": parquet_bytes(table.frame),
    }
    with storage_errors(f"cannot write texts to {folder}"):
        for name, data in files.items():
            replace_file(folder / name, data)
    return [folder / name for name in files]


def _contents(tables: Mapping[str, Table]) -> dict[str, object]:
    said = {
        name: {
            "rows": table.frame.height,
            "columns": {column: str(kind) for column, kind in table.frame.schema.items()},
            "notes": list(table.notes),
        }
        for name, table in tables.items()
    }
    return {"format": FORMAT, "tables": said}


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """Return a table as a Parquet file."""
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def csv_bytes(frame: pl.DataFrame) -> bytes:
    """Return a table as a CSV file that a spreadsheet takes for data."""
    import polars as pl

    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    risky = {name: pl.col(name).str.contains(_FORMULA) for name in texts}
    safe = frame.with_columns(
        pl.when(found).then(pl.concat_str(pl.lit("'"), pl.col(name))).otherwise(pl.col(name)).alias(name)
        for name, found in risky.items()
    )
    out = io.BytesIO()
    safe.write_csv(out)
    return out.getvalue()
