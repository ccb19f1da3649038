"""The catalog made to agree with the files: what changed behind its back is noticed, and read.

A stage's folder is trusted by its change time, a generation's directory by its stamp; see `catalog` for what that
promises. Records are read outside of any lock and written in batches, so nobody waits for a first look and an
interrupted one is continued by the next. A batch is written only for directories that are still the ones that were
read: what another process learned meanwhile is never overwritten by what was true before. That a folder was looked at
is noted last. Many are read by several processes.
"""

from __future__ import annotations

import os
import time
from contextlib import closing, suppress
from functools import partial
from operator import eq
from typing import TYPE_CHECKING, Final

from genpool.catalog_reader import StageReader, reading, stamp_of
from genpool.catalog_rows import (
    ODD,
    Condition,
    StageWriter,
    count_of,
    refuse_another_kind,
    transaction,
    with_index,
    without_index,
)
from genpool.change_tokens import NEVER, folder_changed, is_trusted
from genpool.errors import StorageFailed
from genpool.processes import Helpers, processors
from genpool.signatures import FILE_NAME

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from genpool.catalog_rows import Block
    from genpool.directory_store import DirectoryStore
    from genpool.layout import PoolLayout
    from genpool.stages import Pipeline, Stage

_PORTION: Final = 500  # records that are read by one process, one after another
_BATCH: Final = 20 * _PORTION  # records written in one transaction
_PROGRESS: Final = 2 * _PORTION  # records between two words about how far it is
_MANY: Final = 10_000  # records that other processes are started for; that takes a tenth of a second


class Upkeep:
    """Makes an index agree with the files, a stage at a time.

    Args:
        layout: The pool's paths.
        pipeline: The pool's pipeline.
        store: The store whose files are indexed.
        progress: Told how many records of how many were read, while many are.
    """

    def __init__(
        self, layout: PoolLayout, pipeline: Pipeline, store: DirectoryStore, progress: Callable[[int, int], None]
    ) -> None:
        self._layout = layout
        self._pipeline = pipeline
        self._store = store
        self._progress = progress

    def keep_up(self, database: sqlite3.Connection, stage: Stage) -> None:
        """Make the index of one stage agree with its folder.

        Where nothing changed, that takes one stat call and no lock.
        """
        known = database.execute("SELECT changed, looked FROM stages WHERE stage = ?", (stage.name,)).fetchone()
        if is_trusted(folder_changed(self._layout, stage), known):
            self._look_again(database, stage)
            return
        with transaction(database):
            changed, looked, unread = self._look(database, stage)
            if len(unread) > _MANY and count_of(database) < len(unread):
                without_index(database)
            else:
                with_index(database)
            others = _commits_of_others(database)
        if unread:
            self._read(database, stage, unread, others)
            with transaction(database):
                with_index(database)
                writer = StageWriter(database, stage.name)
                writer.looked(changed, looked)
                writer.finish()

    def _look(self, database: sqlite3.Connection, stage: Stage) -> tuple[int, int, list[str]]:
        """Compare the index of a stage with its folder, and drop what is not there any more.

        Returns:
            When the folder had changed, when it was looked at, and the generations that are to be read.
        """
        changed = folder_changed(self._layout, stage)
        looked = time.time_ns()
        writer = StageWriter(database, stage.name)
        gone: list[str] = []
        if database.execute("SELECT 1 FROM gens WHERE stage = ? LIMIT 1", (stage.name,)).fetchone() is None:
            unread = sorted(filter(FILE_NAME.fullmatch, self._store.listed(stage)))
        else:
            stamps = self._stamps(stage)
            query = "SELECT gen_id, stamp, state FROM gens WHERE stage = ?"
            for gen_id, stamp, state in database.execute(query, (stage.name,)):
                if gen_id not in stamps:
                    gone.append(gen_id)
                elif stamps[gen_id] == stamp and state == Condition.WHOLE:
                    del stamps[gen_id]
            unread = sorted(stamps)
        writer.remove(gone)
        # until what is new has been read, the index is not that of the folder
        writer.looked(NEVER if unread else changed, looked)
        writer.finish()
        return changed, looked, unread

    def _stamps(self, stage: Stage) -> dict[str, int]:
        """Return what is in a stage's folder, each with what marks its directory."""
        folder = self._layout.stage(stage.name)
        stamps: dict[str, int] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not FILE_NAME.fullmatch(entry.name):
                        continue  # no generation can have such a name
                    with suppress(FileNotFoundError):  # removed between listing and looking
                        stamps[entry.name] = stamp_of(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageFailed(f"cannot list {folder}: {error.strerror}") from error
        return stamps

    def _look_again(self, database: sqlite3.Connection, stage: Stage) -> None:
        """Look again at what was incomplete or unusable: it may have been mended in its place."""
        query = f"SELECT gen_id, state, problem FROM {ODD} AND state > 0"  # noqa: S608 - our own words
        odd = {row[0]: row[1:] for row in database.execute(query, (stage.name,))}
        if not odd:
            return
        others = _commits_of_others(database)
        reader = StageReader(stage, self._store)
        rows = [reader.read(gen_id) for gen_id in sorted(odd)]
        mended = [row.gen_id for row in rows if (row.state, row.problem) != odd[row.gen_id]]
        self._read(database, stage, mended, others)

    def _read(self, database: sqlite3.Connection, stage: Stage, gen_ids: Sequence[str], others: int) -> None:
        """Read the records of some generations into the index, batch by batch.

        Args:
            database: The index.
            stage: The stage.
            gen_ids: The generations.
            others: What others had written when these were found (`_commits_of_others`).
        """
        many = len(gen_ids)
        portions = (gen_ids[start : start + _PORTION] for start in range(0, many, _PORTION))
        make = partial(reading, stage, self._layout, self._store.salt)
        with closing(Helpers(make, processors() if many > _MANY else 1)) as helpers:
            read: list[Block] = []
            for at, block in enumerate(helpers.answers(portions), start=1):
                read.append(block)
                done = min(at * _PORTION, many)
                if done % _PROGRESS == 0:
                    self._progress(done, many)
                if done % _BATCH == 0 or done == many:
                    self._write(database, stage, read, others)
                    read = []
        if many >= _PROGRESS:
            self._progress(many, many)

    def _write(self, database: sqlite3.Connection, stage: Stage, read: Sequence[Block], others: int) -> None:
        """Write what was read, but for what is another directory by now: that is read again."""
        with transaction(database):
            refuse_another_kind(database, self._pipeline, self._store.salt)
            writer = StageWriter(database, stage.name)
            exclusive = _commits_of_others(database) == others
            reader = StageReader(stage, self._store)
            for block in read:
                if exclusive or all(map(eq, map(reader.stamp, block.gen_ids), block.reads)):
                    writer.put(block)
                else:
                    writer.put(reader.block(block.gen_ids))
            writer.finish()


def _commits_of_others(database: sqlite3.Connection) -> int:
    """Return a number that is another one after any other connection wrote to the index."""
    return int(database.execute("PRAGMA data_version").fetchone()[0])
