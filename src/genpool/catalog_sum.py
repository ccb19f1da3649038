"""A sum over the catalog's file, kept beside it: SQLite takes whatever bytes it finds for those that were written.

Every transaction gives the index another *mark*, a random number in the file's header. Who closes the index last sums
its file up, and notes the sum with the mark. So a file with the mark of the sum and other bytes is damaged, and is made
anew; one with another mark is that of a writer who was killed, and its rows are set against their own digests once.

Accepted: a file that others have open, or this process already, is taken as it is: the first of them has looked at it,
and its bytes move.
What flips meanwhile is not noticed. A sum is taken again after an hour, and at once where the file was touched.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from stat import S_ISREG
from typing import TYPE_CHECKING, Final
from zlib import crc32

from genpool.catalog_connection import connect, without_connections
from genpool.catalog_reader import stamp_of
from genpool.catalog_rows import differing_rows, mark_of, one_moment
from genpool.change_tokens import DISTRUST
from genpool.durable import write_all

if TYPE_CHECKING:
    from pathlib import Path

ENDING: Final = "-sum"
"""What the sum's file has behind the name of the index."""
_MARK_AT: Final = 68  # of SQLite's header: the application id
_PORTION: Final = 1 << 18  # bytes summed up at once: they stay in the processor's cache
_LOOKS: Final = 3  # at a file that others write meanwhile
_NOT_ITS_FAULT: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
_HOLDS: Final = 3_600_000_000_000  # nanoseconds


@dataclass(frozen=True, slots=True)
class _Sum:
    """What is noted of the file of the index."""

    mark: int
    size: int
    crc: int
    stamp: int
    """What marked the file itself (`catalog_reader.stamp_of`)."""

    def as_line(self) -> bytes:
        said = f"genpool.catalog-sum/1 {self.mark:08x} {self.size:016x} {self.crc:08x} {self.stamp:016x}"
        return f"{said} {crc32(said.encode()):08x}\n".encode()

    @classmethod
    def of_line(cls, line: bytes) -> _Sum | None:
        """Return the sum of a line; None where it is not a whole one."""
        with suppress(ValueError, TypeError):
            found = cls(*(int(one, 16) for one in line.split()[1:-1]))
            return found if found.as_line() == line else None
        return None


class CatalogSum:
    """The sum over the file of an index.

    Args:
        catalog: The path of the index.
    """

    def __init__(self, catalog: Path) -> None:
        self._catalog = catalog
        self._path = catalog.with_name(catalog.name + ENDING)
        self._log = catalog.with_name(f"{catalog.name}-wal")

    def holds(self, *, noted: bool = True) -> bool:
        """Return whether the file may be taken as it is: its bytes are right, or others are at work on it.

        Args:
            noted: Whether it is noted when that was found.

        Returns:
            False where nobody can tell: then `refuse_inconsistent` says.

        Raises:
            sqlite3.DatabaseError: Its bytes are not those that were written.
        """
        with without_connections(self._catalog) as may_be_read:
            return not may_be_read or self._holds(noted)

    def _holds(self, noted: bool) -> bool:
        for _ in range(_LOOKS):
            if self._is_in_use():
                return True
            try:
                with _opened(self._catalog) as file:
                    found, mark, said = os.fstat(file.fileno()), _mark(file), self._said()
                    if said is None or said.mark != mark:
                        return False
                    if said.stamp == stamp_of(found) and self._is_recent(found):
                        return True
                    now = _sum_of(file, found, mark)
                    if not self._is_at_rest(file, found, mark):
                        continue
            except OSError:
                return False
            if (now.size, now.crc) != (said.size, said.crc):
                raise sqlite3.DatabaseError("its bytes are not those that were written")
            if noted:
                with suppress(OSError):
                    self._note(now)
            return True
        return True

    def settle(self, patience: float) -> None:
        """Bring what a dead process left in the log into the file; where others are alive, the log stays.

        Args:
            patience: How many seconds a lock is waited for.

        Raises:
            sqlite3.DatabaseError: The index is damaged, locked or no database.
        """
        if self._is_in_use():
            database = connect(self._catalog, timeout=patience)
            try:
                mark_of(database)
            finally:
                database.close()  # the last one takes the log along

    def put(self, mark: int) -> None:
        """Note the sum of a file that was just closed. Raises nothing.

        Args:
            mark: The mark that the index had then; where it has another by now, the sum is another's to note.
        """
        with suppress(OSError), without_connections(self._catalog) as may_be_read:
            said = self._said()
            if not may_be_read or self._is_in_use() or (said is not None and said.mark == mark):
                return
            with _opened(self._catalog) as file:
                found = os.fstat(file.fileno())
                now = _sum_of(file, found, mark)
                if self._is_at_rest(file, found, mark):
                    self._note(now)

    def _said(self) -> _Sum | None:
        try:
            with _opened(self._path) as file:
                return _Sum.of_line(file.read(256))
        except OSError:
            return None

    def _note(self, now: _Sum) -> None:
        try:
            self._write(now.as_line())
        except OSError:
            self._path.unlink()  # another user's, or a link
            self._write(now.as_line())

    def _write(self, line: bytes) -> None:
        """Write the sum in its place, without a flush: one that is torn is not whole, and says nothing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o666)
        try:
            write_all(descriptor, line)
            os.ftruncate(descriptor, len(line))
        finally:
            os.close(descriptor)

    def _is_recent(self, found: os.stat_result) -> bool:
        """Return whether the sum was taken within an hour, and of a file that had not just been written."""
        taken = self._path.stat().st_mtime_ns
        return 0 <= time.time_ns() - taken < _HOLDS and taken - found.st_ctime_ns > DISTRUST

    def _is_in_use(self) -> bool:
        """Return whether there is something in the log: the file alone is not the index then."""
        try:
            return self._log.stat().st_size > 0
        except OSError:
            return False

    def _is_at_rest(self, file: FileIO, found: os.stat_result, mark: int) -> bool:
        """Return whether nobody wrote a file while it was read: whoever writes any page writes the first one first."""
        there = self._catalog.stat()
        same = (there.st_dev, there.st_ino, there.st_size) == (found.st_dev, found.st_ino, found.st_size)
        return same and _mark(file) == mark and not self._is_in_use()


def close_summed(database: sqlite3.Connection, catalog: Path | None) -> None:
    """Close an index, and note the sum of its file unless others have it open. Raises nothing.

    Args:
        database: The index.
        catalog: The path of its file; None where it has none.
    """
    mark = None
    with suppress(sqlite3.Error):
        mark = mark_of(database)
    with suppress(sqlite3.Error):
        database.close()
    if mark is not None and catalog is not None:
        CatalogSum(catalog).put(mark)


def refuse_inconsistent(database: sqlite3.Connection) -> None:
    """Refuse an index whose rows are not what they were: every page and every row is read.

    Raises:
        sqlite3.DatabaseError: They are not.
    """
    try:
        with one_moment(database):
            said = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if said != "ok":
                raise sqlite3.DatabaseError(said)
            for stage, gen_id in differing_rows(database):
                raise sqlite3.DatabaseError(f"{stage} {gen_id}: its row is not what was written")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _NOT_ITS_FAULT:
            raise
        raise sqlite3.DatabaseError(str(error)) from error  # text that is not UTF-8, a table by another name


def _opened(path: Path) -> FileIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is not waited for
    if S_ISREG(os.fstat(descriptor).st_mode):
        return FileIO(descriptor, "rb")
    os.close(descriptor)
    raise OSError(f"{path} is not a file")


def _mark(file: FileIO) -> int:
    return int.from_bytes(os.pread(file.fileno(), 4, _MARK_AT))


def _sum_of(file: FileIO, found: os.stat_result, mark: int) -> _Sum:
    """Return the sum over a file."""
    file.seek(0)
    crc = size = 0
    portion = memoryview(bytearray(_PORTION))
    while count := file.readinto(portion):
        crc = crc32(portion[:count], crc)
        size += count
    return _Sum(mark, size, crc, stamp_of(found))
