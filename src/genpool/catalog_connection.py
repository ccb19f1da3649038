"""Connections to the index, counted: SQLite's locks are the process's, and end with any descriptor of the file.

POSIX drops all locks that a process has on a file as soon as the process closes one descriptor of it, whichever. SQLite
knows that of its own connections. So nothing else opens the file of an index while this process has a connection to it.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHANGING: Final = RLock()
_OPEN: Final[Counter[str]] = Counter()
os.register_at_fork(before=_CHANGING.acquire, after_in_parent=_CHANGING.release, after_in_child=_CHANGING.release)


class _Counted(sqlite3.Connection):
    """A connection that is counted until it is closed."""

    counted_as: str | None = None

    def close(self) -> None:
        super().close()
        with _CHANGING:
            if self.counted_as is not None:
                _release(self.counted_as)
                self.counted_as = None


def connect(catalog: Path, *, timeout: float = 5.0, address: str | None = None) -> sqlite3.Connection:
    """Return a connection to an index, which any thread may use; every change is a transaction of its own.

    Args:
        catalog: The path of its file.
        timeout: How many seconds a lock is waited for.
        address: The URI to open it by, where it is not simply its path.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    name = _name_of(catalog)
    with _CHANGING:
        _OPEN[name] += 1
    try:
        database = sqlite3.connect(
            address or catalog,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
            uri=address is not None,
            factory=_Counted,
        )
    except BaseException:
        with _CHANGING:
            _release(name)
        raise
    _as_counted(database).counted_as = name
    return database


@contextmanager
def without_connections(catalog: Path) -> Iterator[bool]:
    """Let no connection of this process to an index be opened meanwhile; give whether there is none."""
    with _CHANGING:
        yield not _OPEN[_name_of(catalog)]


def _as_counted(database: Any) -> _Counted:
    assert isinstance(database, _Counted)
    return database


def _name_of(catalog: Path) -> str:
    return os.path.realpath(catalog)


def _release(name: str) -> None:
    _OPEN[name] -= 1
    if not _OPEN[name]:
        del _OPEN[name]
