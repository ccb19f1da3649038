"""The catalog's file, looked at from outside: is it sound, and does it say what the files say?

It is opened for reading only and compared with records that were read from the files. What the next look at the
catalog would read anew anyway (`catalog.Catalog`) is not held against it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from genpool.catalog_connection import connect
from genpool.catalog_reader import stamp_of
from genpool.catalog_rows import Condition, kind_of, row_of
from genpool.catalog_sum import CatalogSum
from genpool.change_tokens import is_trusted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.doctor.examined import Examined
    from genpool.records import Record

_COMPARED: Final = (
    "source choices replicate legacy created inputs below input_tokens output_tokens score least most".split()
)
_OF_ONE: Final = (
    f"SELECT g.stamp, g.state, h.origin, h.mode, t.digest, m.digest, {', '.join(f'g.{name}' for name in _COMPARED)} "  # noqa: S608
    "FROM gens g LEFT JOIN makings h ON h.id = g.making LEFT JOIN digests t ON t.id = h.template "
    "LEFT JOIN digests m ON m.id = h.model WHERE g.stage = ? AND g.gen_id = ?"
)


class CatalogFile:
    """The catalog as it is on disk.

    Args:
        pool: The pool.
        known: Whether the file is known to be sound, or to be of no use; None where it is to be looked at.
    """

    def __init__(self, pool: Examined, *, known: bool | None = None) -> None:
        self._pool = pool
        self.defect: str | None = None
        """What is wrong with the file itself; None where it is sound, not there, or will be made anew anyway."""
        self.differing: list[tuple[str, str]] = []
        """Stage and id of what it says otherwise than the files."""
        self._database = None if known is False else self._sound(checked=known is True)

    @property
    def is_open(self) -> bool:
        """Whether the file is there and sound, so that it is compared."""
        return self._database is not None

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _sound(self, *, checked: bool) -> sqlite3.Connection | None:
        """Return the database if it is sound and of this kind."""
        kind = kind_of(self._pool.pipeline, self._pool.salt)
        path = self._pool.layout.catalog
        if not os.path.lexists(path):
            return None
        if path.is_symlink() or not path.is_file():
            self.defect = "it is not a file"
            return None
        database = None
        try:
            if not checked:
                CatalogSum(path).holds(noted=False)  # before it is opened: then its bytes are left alone
            database = _opened(path.absolute())
            said = [str(row[0]) for row in database.execute("PRAGMA integrity_check(3)")] if not checked else ["ok"]
            if said != ["ok"]:
                self.defect = "; ".join(said)
            elif database.execute("PRAGMA user_version").fetchone()[0] == kind:
                return database
        except sqlite3.OperationalError:
            pass  # locked for long, or it cannot be opened here: the commands go on without it as well
        except sqlite3.DatabaseError as error:
            self.defect = str(error)
        if database is not None:
            database.close()
        return None

    def compare(self, stage: str, gen_id: str, record: Record | None) -> None:
        """Note whether the catalog says of a directory what its record does.

        Args:
            stage: The stage's name.
            gen_id: The directory's name.
            record: Its record; None where it is no whole generation.
        """
        if self._database is None:
            return
        try:
            row = self._database.execute(_OF_ONE, (stage, gen_id)).fetchone()
        except sqlite3.DatabaseError as error:
            self.defect = str(error)
            self.close()
            return
        if row is not None and row[1] != Condition.WHOLE:
            return  # looked at again at every time
        if row is None or record is None:
            same = row is None and record is None
        else:
            right = row_of(record, self._pool.salt)
            prints = record.fingerprints
            made = (record.origin_cohort_id, record.mode, prints.get("template"), prints.get("model"))
            same = tuple(row[2:]) == (*made, *(getattr(right, name) for name in _COMPARED))
        if not same and (self._is_trusted(stage) or (row is not None and row[0] == self._stamp(stage, gen_id))):
            self.differing.append((stage, gen_id))

    def content(self, stage: str) -> str | None:
        """Return a stage's content (`change_tokens.StageToken`), where a look would take the catalog's word for it."""
        if self._database is None or not self._is_trusted(stage):
            return None
        with suppress(sqlite3.DatabaseError):
            row = self._database.execute("SELECT content FROM stages WHERE stage = ?", (stage,)).fetchone()
            return None if row is None else str(row[0])
        return None

    def look_for_strangers(self) -> None:
        """Note what the catalog has that is not there."""
        with suppress(sqlite3.DatabaseError):
            for stage, gen_id in self._all():
                if not os.path.lexists(self._pool.place(f"gens/{stage}/{gen_id}")) and self._is_trusted(stage):
                    self.differing.append((stage, gen_id))

    def _all(self) -> Iterator[tuple[str, str]]:
        if self._database is not None:
            yield from self._database.execute("SELECT stage, gen_id FROM gens WHERE state = 0")

    def _is_trusted(self, stage: str) -> bool:
        """Return whether a look at the catalog would take its word for a stage; asked only where something differs."""
        assert self._database is not None
        query = "SELECT changed, looked FROM stages WHERE stage = ?"
        known = self._database.execute(query, (stage,)).fetchone()
        return is_trusted(self._changed(stage), known)

    def _changed(self, stage: str) -> int:
        try:
            return os.lstat(self._pool.place(f"gens/{stage}")).st_ctime_ns
        except OSError:
            return 0

    def _stamp(self, stage: str, gen_id: str) -> int | None:
        try:
            return stamp_of(os.lstat(self._pool.place(f"gens/{stage}/{gen_id}")))
        except OSError:
            return None


def _opened(path: Path) -> sqlite3.Connection:
    """Open a database for reading, on a disk that cannot be written too."""
    uri = f"file:{quote(path.as_posix())}?mode=ro"
    # where the files that go with its log cannot be made, nobody writes it either
    fixed = not os.access(path.parent, os.W_OK)
    return connect(path, address=f"{uri}&immutable=1" if fixed else uri)
