"""Connections to the index, counted: SQLite's locks are the process's, and end with any descriptor of the file.

POSIX drops all locks that a process has on a file as soon as the process closes one descriptor of it, whichever. SQLite
knows that of its own connections. So nothing else opens the file of an index while this process has a connection to it.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import contextmanager, suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHANGING: Final = RLock()
_OPEN: Final[Counter[str]] = Counter()
os.register_at_fork(before=_CHANGING.acquire, after_in_parent=_CHANGING.release, after_in_child=_CHANGING.release)


class _Counted(sqlite3.Connection):
    """A connection that is counted until it is closed, or nobody has it any more."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.counted_as: frozenset[str] = frozenset()
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor = self.cursor()
        self._cursors.add(cursor)
        return cursor.execute(sql, parameters)

    def close(self) -> None:
        """Close it with its cursors: by one that has more rows to give, SQLite keeps the file open."""
        for cursor in self._cursors:
            with suppress(sqlite3.Error):
                cursor.close()
        super().close()
        with _CHANGING:
            _OPEN.subtract(self.counted_as)
            for name in self.counted_as:
                if not _OPEN[name]:
                    del _OPEN[name]
            self.counted_as = frozenset()

    def __del__(self) -> None:
        with suppress(Exception):  # at the end of the interpreter anything may be gone
            self.close()


def connect(catalog: Path, *, timeout: float = 5.0, address: str | None = None) -> sqlite3.Connection:
    """Return a connection to an index, which any thread may use; every change is a transaction of its own.

    Args:
        catalog: The path of its file.
        timeout: How many seconds a lock is waited for.
        address: The URI to open it by, where it is not simply its path.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    with _CHANGING:
        database = sqlite3.connect(
            address or catalog,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
            uri=address is not None,
            factory=_Counted,
        )
        assert isinstance(database, _Counted)
        database.counted_as = _names_of(catalog)
        _OPEN.update(database.counted_as)
        return database


@contextmanager
def without_connections(catalog: Path) -> Iterator[bool]:
    """Let no connection of this process to an index be opened meanwhile; give whether there is none."""
    with _CHANGING:
        yield not any(_OPEN[name] for name in _names_of(catalog))


def _names_of(catalog: Path) -> frozenset[str]:
    """Return by what a file is known, also when it was moved since, or has another path."""
    names = {os.path.realpath(catalog)}
    with suppress(OSError):
        found = catalog.stat()
        names.add(f"{found.st_dev}:{found.st_ino}")
    return frozenset(names)
