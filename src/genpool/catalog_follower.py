"""The catalog kept current by what this process writes: after a run the next plan reads no record.

What was kept is noted in memory and written in groups, by the thread that keeps it. Nothing here may slow a commit or
make one fail: an index that is locked is tried again with the next group, and one that cannot be written is left alone.
That loses nothing, for a note is only what a look need not read: a stage with notes is trusted no more, so the next
look lists its folder, and whatever it does not find noted it reads.

A generation is noted as what was moved into place, not as what might stand there by now: its directory must still be
the one that was filled in staging (the same inode, and the modification time that it had before the move), and must
have been filled in an earlier tick of the clock than it was moved in. What else could have the same three marks
(`catalog_reader.stamp_of`) would have been made to look so.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Final

from genpool.catalog_opening import open_existing
from genpool.catalog_reader import stamp_of
from genpool.catalog_rows import Block, Row, StageWriter, refuse_another_kind, row_of, transaction
from genpool.catalog_sum import close_summed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from genpool.directory_store import DirectoryStore, MovedIn
    from genpool.layout import PoolLayout
    from genpool.stages import Pipeline, Stage

_GROUP: Final = 500
_SECONDS: Final = 1.0  # between two groups, where fewer come
_MOST: Final = 50_000  # notes in memory while the index is locked all the time
_PATIENCE: Final = 2.0  # seconds that the last group waits for the index


class CatalogFollower:
    """Notes what a store moves into place.

    Args:
        layout: The pool's paths.
        pipeline: The pool's pipeline.
        salt: The pool's salt.
    """

    def __init__(self, layout: PoolLayout, pipeline: Pipeline, salt: str) -> None:
        self._layout = layout
        self._pipeline = pipeline
        self._salt = salt
        self._database: sqlite3.Connection | None = None
        self._given_up = False
        self._waiting: list[MovedIn] = []
        self._last = time.monotonic()
        self._alone = Lock()
        """Held while the index is in use: a run that is given up may close it while a thread still writes."""

    def moved_in(self, moved: Iterable[MovedIn]) -> None:
        """Note generations that are in their place, their entries flushed. Raises nothing."""
        with self._alone:
            if self._given_up:
                return
            self._waiting.extend(moved)
            if len(self._waiting) >= _GROUP or time.monotonic() - self._last >= _SECONDS:
                self._write(patience=0.0)

    def close(self) -> None:
        """Write what is noted, and close the index. Raises nothing."""
        with self._alone:
            if self._waiting and not self._given_up:
                self._write(patience=_PATIENCE)
            if self._database is not None:
                close_summed(self._database, self._layout.catalog)
                self._database = None
            self._given_up = True

    def _drop(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _write(self, patience: float) -> None:
        self._last = time.monotonic()
        try:
            database = self._opened(patience)
            if database is None:
                self._given_up = True
                return
            database.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
            with transaction(database):
                refuse_another_kind(database, self._pipeline, self._salt)
                for stage, moved in _by_stage(self._waiting):
                    self._put(database, stage, moved)
            self._waiting.clear()
        except (sqlite3.OperationalError, OSError):
            self._given_up = len(self._waiting) > _MOST  # locked, no space, another's: perhaps it goes later
        except (sqlite3.Error, ValueError):
            self._given_up = True  # the next look reads what this would have noted
        if self._given_up:
            self._waiting.clear()
            self._drop()

    def _opened(self, patience: float) -> sqlite3.Connection | None:
        """Return the index as a look has made it; None where there is none, or one of another kind."""
        if self._database is None:
            self._database = open_existing(self._layout.catalog, self._pipeline, self._salt, patience)
        return self._database

    def _put(self, database: sqlite3.Connection, stage: Stage, moved: Sequence[MovedIn]) -> None:
        rows = {}
        for one in moved:
            row = self._row(stage, one)
            if row is not None:
                rows[row.gen_id] = row
        writer = StageWriter(database, stage.name)
        writer.put(Block.of(list(rows.values())))
        writer.distrust()
        writer.finish()

    def _row(self, stage: Stage, one: MovedIn) -> Row | None:
        """Return the row of a generation, if what stands in its place is what was moved there.

        It is looked at while nobody else can write the index: what was removed meanwhile, and was seen to be gone, must
        not come back as a note.
        """
        try:
            there = os.lstat(self._layout.generation(stage.name, one.record.gen_id))
        except OSError:
            return None
        if (there.st_ino, there.st_mtime_ns) != (one.inode, one.filled) or one.filled >= there.st_ctime_ns:
            return None
        return row_of(one.record, self._salt)._replace(stamp=stamp_of(there))


def _by_stage(moved: Iterable[MovedIn]) -> Iterator[tuple[Stage, list[MovedIn]]]:
    groups: dict[str, list[MovedIn]] = defaultdict(list)
    for one in moved:
        groups[one.record.stage.name].append(one)
    for found in groups.values():
        yield found[0].record.stage, found


@contextmanager
def following(store: DirectoryStore, pipeline: Pipeline) -> Iterator[None]:
    """Keep the catalog current with what a store moves into place meanwhile."""
    follower = CatalogFollower(store.layout, pipeline, store.salt)
    store.told = follower.moved_in
    try:
        yield
    finally:
        store.told = None
        follower.close()


def note_removed(layout: PoolLayout, pipeline: Pipeline, salt: str, gone: Mapping[str, Collection[str]]) -> None:
    """Drop from the catalog what was moved away. Raises nothing: the next look would notice it as well.

    Args:
        layout: The pool's paths.
        pipeline: The pool's pipeline.
        salt: The pool's salt.
        gone: Stage name to the ids of generations that were moved away.
    """
    with suppress(sqlite3.Error, OSError):
        database = open_existing(layout.catalog, pipeline, salt, _PATIENCE)
        if database is None:
            return
        try:
            with transaction(database):
                for stage, gen_ids in gone.items():
                    writer = StageWriter(database, stage)
                    folder = layout.stage(stage)
                    writer.remove([one for one in gen_ids if not os.path.lexists(folder / one)])
                    writer.distrust()
                    writer.finish()
        except BaseException:
            database.close()
            raise
        close_summed(database, layout.catalog)
