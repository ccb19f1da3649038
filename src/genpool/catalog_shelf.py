"""A stage of the catalog put on a shelf: by SQLite, and ahead of the time at which it is needed.

A row that is handed to Python costs more than all that a plan does with it, so SQLite puts the columns together. That
takes a second for a million generations, in which Python could do something else: reading specs, making ids. So the
shelves of large stages are made by a thread meanwhile. What it made is used only if the stage has the same content
when it is asked for: its token says so, whoever wrote in between.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from threading import Thread
from typing import TYPE_CHECKING, Final

from genpool.catalog_connection import connect
from genpool.catalog_rows import is_prepared
from genpool.finds import Shelf, short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genpool.directory_store import DirectoryStore
    from genpool.finds import Found
    from genpool.stages import Pipeline, Stage

LEAST: Final = 30_000
"""Generations of a stage that goes on a shelf: fewer are looked up in a dict before numpy is there."""

_FIRST_CHARACTER: Final = 0x30  # numbers of makings as characters, of which SQLite makes one text
_LAST_CHARACTER: Final = 0xD7FF
_COLUMNS: Final = (
    "SELECT group_concat(substr(gen_id, -32) || substr(hex(ifnull(inputs, '')) || '0000000000000000', 1, 16) "
    "|| substr(hex(ifnull(below, '')) || '0000000000000000', 1, 16), ''), group_concat(char(making + ?), '') "
    "FROM gens WHERE stage = ? AND state = 0 AND legacy = 0"
)
_WORTH_IT: Final = 8 << 20  # bytes of an index that may have a large stage


def read_found(database: sqlite3.Connection, stage: Stage, condition: str = "state = 0") -> dict[str, Found]:
    """Return the whole generations of a stage, one by one."""
    query = f"SELECT gen_id, making, inputs, below FROM gens WHERE stage = ? AND {condition}"  # noqa: S608 - our own words
    rows = database.execute(query, (stage.name,))
    return {gen_id: (gen_id, making, short(inputs), short(below)) for gen_id, making, inputs, below in rows}


def read_shelf(database: sqlite3.Connection, stage: Stage, least: int = LEAST) -> Shelf | None:
    """Return the whole generations of a stage in columns; None where they are few, or do not fit into such.

    Args:
        database: The catalog's database.
        stage: The stage.
        least: Fewer generations are few.
    """
    nth = "SELECT 1 FROM gens WHERE stage = ? LIMIT 1 OFFSET ?"
    if database.execute(nth, (stage.name, max(least - 1, 0))).fetchone() is None:
        return None
    (most,) = database.execute("SELECT max(id) FROM makings").fetchone()
    if most is None or most + _FIRST_CHARACTER > _LAST_CHARACTER:
        return None
    import numpy as np  # takes longer to bring in than a small plan

    packed, makings = database.execute(_COLUMNS, (_FIRST_CHARACTER, stage.name)).fetchone()
    numbers = np.frombuffer((makings or "").encode("utf-32-le"), "<u4").astype("i8") - _FIRST_CHARACTER
    with suppress(ValueError):  # an index that was tampered with
        shelf = Shelf(stage.prefix, packed or "", numbers, read_found(database, stage, "legacy = 1 AND state = 0"))
        return shelf if shelf.is_sound else None
    return None


class ShelvesAhead:
    """Shelves that a thread makes.

    Args:
        store: The store whose catalog it is.
        pipeline: The pool's pipeline.
        stages: The stages, in the order in which they will be asked for.
    """

    def __init__(self, store: DirectoryStore, pipeline: Pipeline, stages: Iterable[Stage]) -> None:
        self._store = store
        self._pipeline = pipeline
        self._stages = tuple(stages)
        self._made: dict[str, tuple[str, Shelf | None]] = {}
        self._thread: Thread | None = None
        self._database: sqlite3.Connection | None = None
        with suppress(OSError):
            if store.layout.catalog.stat().st_size >= _WORTH_IT:
                # nobody waits for it when the program ends
                self._thread = Thread(target=self._make, name="genpool-shelves", daemon=True)
                self._thread.start()

    def get(self, stage: Stage, content: str) -> Shelf | None:
        """Return the shelf of a stage, if it is of this content; wait for it where it is being made."""
        while stage.name not in self._made and self._thread is not None and self._thread.is_alive():
            self._thread.join(0.002)
        made = self._made.pop(stage.name, None)
        return made[1] if made is not None and made[0] == content else None

    def close(self) -> None:
        """Stop making shelves."""
        self._stages = ()
        if self._thread is not None:
            if self._database is not None:
                with suppress(sqlite3.Error):
                    self._database.interrupt()
            self._thread.join()
            self._thread = None

    def _make(self) -> None:
        with suppress(sqlite3.Error, OSError, MemoryError):  # then it is made when it is asked for
            database = connect(self._store.layout.catalog)
            with closing(database):
                if not is_prepared(database, self._pipeline, self._store.salt):
                    return
                self._database = database
                for stage in self._stages:
                    if not self._stages:
                        return
                    self._made[stage.name] = self._of(database, stage)

    @staticmethod
    def _of(database: sqlite3.Connection, stage: Stage) -> tuple[str, Shelf | None]:
        """Return a stage's content and its shelf, both as of one moment."""
        database.execute("BEGIN")
        row = database.execute("SELECT content FROM stages WHERE stage = ?", (stage.name,)).fetchone()
        shelf = read_shelf(database, stage) if row is not None else None
        database.execute("COMMIT")
        return ("", None) if row is None else (str(row[0]), shelf)
