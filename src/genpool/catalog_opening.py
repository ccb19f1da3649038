"""The index opened by whoever writes it, and taken away: never one whose bytes are not those that were written."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from genpool.catalog_connection import connect
from genpool.catalog_rows import is_prepared, prepare
from genpool.catalog_sum import ENDING, CatalogSum, refuse_inconsistent

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.layout import PoolLayout
    from genpool.stages import Pipeline

_BUSY_SECONDS: Final = 30.0
_CACHE_KIB: Final = 65_536


def open_index(catalog: Path, pipeline: Pipeline, salt: str) -> sqlite3.Connection:
    """Open the index, its tables made; nothing is taken from one of another kind.

    Raises:
        sqlite3.OperationalError: It cannot be written here, or is locked for long.
        sqlite3.DatabaseError: It is damaged, or no file.
        OSError: It cannot be looked at.
    """
    if catalog.is_symlink():  # what goes with its log would lie beside what it points at
        raise sqlite3.DatabaseError("it is a link")
    known = _is_known(catalog, _BUSY_SECONDS)
    database = connect(catalog, timeout=_BUSY_SECONDS)
    try:
        _refuse_torn(database, catalog)
        _prepare(database, pipeline, salt)
        if not known:
            refuse_inconsistent(database)
    except BaseException:
        database.close()
        raise
    return database


def open_in_memory(pipeline: Pipeline, salt: str) -> sqlite3.Connection:
    """Return an index that is gone when it is closed."""
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _prepare(database, pipeline, salt)
    return database


def _prepare(database: sqlite3.Connection, pipeline: Pipeline, salt: str) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    database.execute("PRAGMA wal_autocheckpoint = 10000")
    prepare(database, pipeline, salt)


def open_existing(path: Path, pipeline: Pipeline, salt: str, patience: float) -> sqlite3.Connection | None:
    """Open the index if it is there, of this kind and sound; making it is the affair of a look.

    Raises:
        sqlite3.Error: It is damaged, or cannot be opened.
    """
    if not path.is_file() or not _is_known(path, patience):
        return None
    database = connect(path, timeout=patience)
    try:
        if is_prepared(database, pipeline, salt):
            database.execute("PRAGMA synchronous = NORMAL")
            return database
    except BaseException:
        database.close()
        raise
    database.close()
    return None


def _is_known(path: Path, patience: float) -> bool:
    """Return whether the file may be taken as it is (`CatalogSum.holds`).

    Raises:
        sqlite3.DatabaseError: It is damaged.
    """
    own = CatalogSum(path)
    own.settle(patience)
    return own.holds()


def remove_index(layout: PoolLayout) -> None:
    """Remove the index with what belongs to it: the log of an old one would be played into a new one."""
    for ending in ("", "-wal", "-shm", ENDING):
        with suppress(OSError):
            layout.catalog.with_name(layout.catalog.name + ending).unlink()


def _refuse_torn(database: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that ends within a page: SQLite would take what is not there for zeros.

    Raises:
        sqlite3.DatabaseError: It does, or is no database.
    """
    if path.stat().st_size % database.execute("PRAGMA page_size").fetchone()[0]:
        raise sqlite3.DatabaseError("its last page is torn")
