"""The SQLite index of a store: what gens/ holds, by id, by signature, by parent.

A cache of the files and never the truth: deleting it loses nothing, a damaged one is rebuilt, and where it cannot
be written (a read-only pool) it is made in memory. What was added, removed or renamed behind its back is noticed at
every look, by the change time of each gens/<stage> directory. A snapshot is trusted only if that time is the same
as then (compared by inequality) and was older than two seconds when the snapshot was taken, since the clock of a file
system is coarse. Where it is not trusted, every generation's own directory is compared by its change time, with the
same distrust, so one that was replaced under its name is noticed too. Incomplete and unreadable generations are
looked at again every time. An edit inside a generation is noticed when it is read.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from genpool.canonical import canonical_json, hashed
from genpool.durable import lies_with_the_file, make_directory
from genpool.errors import GenpoolError, InputError, StorageFailed
from genpool.gen_ids import gen_id as right_id
from genpool.present import Making, Present, choices_key
from genpool.records import NO_REPLICATE
from genpool.signatures import FILE_NAME, Signature
from genpool.slots import Sibling, assign, read_slots, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from genpool.directory_store import DirectoryStore
    from genpool.layout import PoolLayout
    from genpool.present import Family, Found
    from genpool.records import Record
    from genpool.stages import Pipeline, Stage

_VERSION: Final = 4
_DISTRUST: Final = 2_000_000_000  # nanoseconds
_BUSY_SECONDS: Final = 30.0

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS stages (stage TEXT PRIMARY KEY, changed INTEGER NOT NULL, looked INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS digests (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS makings (
    id INTEGER PRIMARY KEY, origin TEXT, mode TEXT NOT NULL, template INTEGER, model INTEGER
);
CREATE UNIQUE INDEX IF NOT EXISTS makings_once
    ON makings (ifnull(origin, ''), mode, ifnull(template, 0), ifnull(model, 0));
CREATE TABLE IF NOT EXISTS gens (
    stage TEXT NOT NULL, gen_id TEXT NOT NULL, stamp INTEGER, state INTEGER NOT NULL,
    source TEXT, choices TEXT, replicate INTEGER, legacy INTEGER NOT NULL DEFAULT 0,
    making INTEGER, created REAL, inputs BLOB, below BLOB,
    input_tokens INTEGER, output_tokens INTEGER, problem TEXT,
    PRIMARY KEY (stage, gen_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS gens_of_source ON gens (stage, source);
CREATE INDEX IF NOT EXISTS gens_not_plain ON gens (stage) WHERE legacy = 1 OR state > 0;
"""


class Condition(IntEnum):
    """How a directory under gens/ is found."""

    WHOLE = 0
    INCOMPLETE = 1
    """Metadata or the parsed text is not there."""
    UNUSABLE = 2
    """Its record is damaged, or does not say which task it is."""


def parent_bytes(parsed_digest: str) -> bytes:
    """Return the pre-image of the `inputs` fingerprint below a root: canonical JSON, written out for speed."""
    return f'{{"parent":"{parsed_digest}"}}'.encode()


class Catalog:
    """What a store's gens/ holds.

    Args:
        layout: The pool's paths.
        pipeline: The pool's pipeline.
        store: The store whose files are indexed.
        progress: Told how many records of how many were read, while many are.
    """

    def __init__(
        self,
        layout: PoolLayout,
        pipeline: Pipeline,
        store: DirectoryStore,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._layout = layout
        self._pipeline = pipeline
        self._store = store
        self._progress = progress or (lambda _done, _all: None)
        self._database: sqlite3.Connection | None = None
        self.in_memory = False
        """Whether the index could not be kept on disk."""

    # -- opening -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection:
        """Return the database, its tables made; one that is damaged or of another kind is made anew."""
        if self._database is not None:
            return self._database
        path = self._layout.catalog
        for _ in range(2):
            try:
                make_directory(path.parent)
                self._database = self._prepared(os.fspath(path))
                return self._database
            except (OSError, sqlite3.OperationalError):
                break  # read-only, no space, locked for very long: memory will do
            except sqlite3.DatabaseError:
                self._remove()
        return self._open_in_memory()

    def rebuild(self) -> None:
        """Make the index anew from the files.

        Raises:
            StorageFailed: A stage's folder cannot be listed.
        """
        self.close()
        self._remove()
        for stage in self._pipeline:
            self.present(stage)

    def _open_in_memory(self) -> sqlite3.Connection:
        self.in_memory = True
        self._database = self._prepared(":memory:")
        return self._database

    def _remove(self) -> None:
        """Remove the database with what belongs to it: the log of an old one would be played into a new one."""
        for ending in ("", "-wal", "-shm"):
            with suppress(OSError):
                self._layout.catalog.with_name(self._layout.catalog.name + ending).unlink()

    def _prepared(self, where: str) -> sqlite3.Connection:
        database = sqlite3.connect(where, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            stamp = stamp_of(self._pipeline, self._store.salt)
            with _transaction(database):
                if database.execute("PRAGMA user_version").fetchone()[0] != stamp:
                    for table in ("stages", "digests", "makings", "gens"):
                        database.execute(f"DROP TABLE IF EXISTS {table}")
                    database.execute(f"PRAGMA user_version = {stamp}")
                for statement in _TABLES.split(";"):
                    database.execute(statement)
        except BaseException:
            database.close()
            raise
        return database

    # -- keeping up --------------------------------------------------------------------------------

    def present(self, stage: Stage) -> Present:
        """Return what a stage holds now.

        Raises:
            StorageFailed: The stage's folder cannot be listed, or a generation in it cannot be looked at for a reason
                that is not its own (an I/O error, too many open files): nobody knows then which slots are filled.
            CorruptFile: legacy.csv is damaged.
        """
        try:
            return self._present(stage)
        except sqlite3.OperationalError:
            self.close()  # locked for very long, or no space: memory will do
            self._open_in_memory()
        except sqlite3.DatabaseError:
            self.close()  # damaged under our hands: once more, from the files
            self._remove()
        return self._present(stage)

    def _present(self, stage: Stage) -> Present:
        database = self._open()
        with _transaction(database):
            self._refresh(database, stage)
        rows = database.execute(
            "SELECT gen_id, making, inputs, below FROM gens WHERE stage = ? AND state = 0", (stage.name,)
        )
        whole: dict[str, Found] = {row[0]: row for row in rows}
        makings = database.execute("SELECT id, origin, mode, template, model FROM makings")
        odd = database.execute(
            "SELECT gen_id, state, problem, legacy FROM gens WHERE stage = ? AND (legacy = 1 OR state > 0)",
            (stage.name,),
        ).fetchall()
        return Present(
            whole=whole,
            makings={row[0]: Making(*row[1:]) for row in makings},
            incomplete=frozenset(row[0] for row in odd if row[1] == Condition.INCOMPLETE),
            unusable={row[0]: row[2] for row in odd if row[1] == Condition.UNUSABLE},
            legacy=frozenset(row[0] for row in odd if row[3] and row[1] == Condition.WHOLE),
            families=self._families(database, stage) if any(row[3] for row in odd) else {},
        )

    def _refresh(self, database: sqlite3.Connection, stage: Stage) -> None:
        """Make the index of one stage agree with its folder."""
        folder = self._layout.stage(stage.name)
        try:
            changed = folder.stat().st_ctime_ns
        except FileNotFoundError:
            changed = 0
        except OSError as error:
            raise StorageFailed(f"cannot look at {folder}: {error.strerror}") from error
        known = database.execute("SELECT changed, looked FROM stages WHERE stage = ?", (stage.name,)).fetchone()
        trusted = is_trusted(changed, known)
        looked = time.time_ns()
        query = "SELECT gen_id, stamp FROM gens WHERE stage = ?"
        again = [row[0] for row in database.execute(f"{query} AND state > 0", (stage.name,))]
        if not trusted:
            stamps = self._stamps(folder)
            indexed = dict(database.execute(query, (stage.name,)))
            gone = [(stage.name, gen_id) for gen_id in indexed.keys() - stamps.keys()]
            database.executemany("DELETE FROM gens WHERE stage = ? AND gen_id = ?", gone)
            others = [gen_id for gen_id, stamp in stamps.items() if indexed.get(gen_id) != stamp]
            again = sorted({*others, *(gen_id for gen_id in again if gen_id in stamps)})
            database.execute("INSERT OR REPLACE INTO stages VALUES (?, ?, ?)", (stage.name, changed, looked))
        self._read(database, stage, again)

    @staticmethod
    def _stamps(folder: Path) -> dict[str, int]:
        """Return what is in a stage's folder, each with the change time of its directory."""
        stamps: dict[str, int] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not FILE_NAME.fullmatch(entry.name):
                        continue  # no generation can have such a name
                    with suppress(FileNotFoundError):  # removed between listing and looking
                        stamps[entry.name] = entry.stat(follow_symlinks=False).st_ctime_ns
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageFailed(f"cannot list {folder}: {error.strerror}") from error
        return stamps

    def _read(self, database: sqlite3.Connection, stage: Stage, gen_ids: list[str]) -> None:
        """Read the records of some generations into the index."""
        for done, gen_id in enumerate(gen_ids):
            self._insert(database, stage, gen_id)
            if done % 1000 == 999:
                self._progress(done + 1, len(gen_ids))

    def _insert(self, database: sqlite3.Connection, stage: Stage, gen_id: str) -> None:
        """Look at one generation anew."""
        try:
            stamp: int | None = os.lstat(self._layout.generation(stage.name, gen_id)).st_ctime_ns
        except (OSError, InputError):
            stamp = None  # gone in the meantime, or not a name that a generation can have
        if stamp is not None and abs(time.time_ns() - stamp) <= _DISTRUST:
            stamp = None  # it could be replaced within the same tick of a coarse clock
        facts: dict[str, object] = {"stage": stage.name, "gen_id": gen_id, "stamp": stamp}
        if self._store.incomplete(stage, [gen_id]):
            _put(database, **facts, state=Condition.INCOMPLETE)
            return
        try:
            record = self._store.record(stage, gen_id)
        except GenpoolError as error:
            if isinstance(error, StorageFailed) and not lies_with_the_file(error.__cause__):
                raise  # it says nothing about the generation: its slot must not go to another
            _put(database, **facts, state=Condition.UNUSABLE, problem=error.message)
            return
        row = row_of(record, self._store.salt)
        _put(database, **row, making=self._making(database, record), stamp=facts["stamp"])

    def _making(self, database: sqlite3.Connection, record: Record) -> int:
        """Return the number of how a generation was made."""
        template, model = (self._number(database, record.fingerprints.get(name)) for name in ("template", "model"))
        made = (record.origin_cohort_id, record.mode, template, model)
        query = "SELECT id FROM makings WHERE origin IS ? AND mode = ? AND template IS ? AND model IS ?"
        row = database.execute(query, made).fetchone()
        if row is not None:
            return int(row[0])
        insert = "INSERT INTO makings (origin, mode, template, model) VALUES (?, ?, ?, ?)"
        return int(database.execute(insert, made).lastrowid or 0)

    @staticmethod
    def _number(database: sqlite3.Connection, digest: object) -> int | None:
        """Return the short number of a digest."""
        if not isinstance(digest, str):
            return None
        database.execute("INSERT OR IGNORE INTO digests (digest) VALUES (?)", (digest,))
        number: int = database.execute("SELECT id FROM digests WHERE digest = ?", (digest,)).fetchone()[0]
        return number

    def _families(self, database: sqlite3.Connection, stage: Stage) -> dict[Family, dict[int, str]]:
        """Return slot to id for every family that has a legacy generation."""
        rows = database.execute(
            "SELECT g.source, g.choices, g.gen_id, g.replicate, g.legacy, g.created FROM gens g JOIN "
            "(SELECT DISTINCT source, choices FROM gens WHERE stage = ?1 AND legacy = 1 AND state = 0) f "
            "ON g.source = f.source AND g.choices = f.choices WHERE g.stage = ?1 AND g.state = 0",
            (stage.name,),
        )
        siblings: dict[Family, list[Sibling]] = {}
        for source, choices, gen_id, replicate, legacy, created in rows:
            siblings.setdefault((source, choices), []).append(Sibling(gen_id, replicate, bool(legacy), created))
        recorded = read_slots(self._layout).get(stage.name, {})
        return {family: assign(members, recorded) for family, members in siblings.items()}

    # -- questions ---------------------------------------------------------------------------------

    def digest(self, number: int | None) -> str | None:
        """Return the digest behind a short number of a `Found`."""
        if number is None:
            return None
        row = self._open().execute("SELECT digest FROM digests WHERE id = ?", (number,)).fetchone()
        return None if row is None else str(row[0])

    def usage(self, stage: Stage) -> dict[str, list[tuple[int, int]]]:
        """Return what the calls of a stage took: choices to tokens in and out of each, the newest thousand."""
        self.present(stage)
        query = (
            "SELECT choices, input_tokens, output_tokens FROM gens WHERE stage = ? AND state = 0 "
            "AND input_tokens IS NOT NULL AND output_tokens IS NOT NULL ORDER BY created DESC LIMIT 1000"
        )
        found: dict[str, list[tuple[int, int]]] = {}
        for choices, tokens_in, tokens_out in self._open().execute(query, (stage.name,)):
            found.setdefault(choices, []).append((tokens_in, tokens_out))
        return found

    def signature(self, stage: Stage, gen_id: str) -> Signature | None:
        """Return the signature of a whole generation, or None where the stage has none of that id."""
        present = self.present(stage)
        if gen_id not in present.whole:
            return None
        query = "SELECT gen_id, source, choices, replicate FROM gens WHERE stage = ? AND gen_id = ?"
        row = self._open().execute(query, (stage.name, gen_id)).fetchone()
        return None if row is None else self._signature(stage, row, self._slots(present))

    def signatures(self, stage: Stage) -> Iterator[tuple[str, Signature]]:
        """Yield id and signature of every whole generation of a stage; a legacy one's replicate is its slot."""
        slots = self._slots(self.present(stage))
        query = "SELECT gen_id, source, choices, replicate FROM gens WHERE stage = ? AND state = 0 ORDER BY gen_id"
        for row in self._open().execute(query, (stage.name,)).fetchall():
            yield row[0], self._signature(stage, row, slots)

    @staticmethod
    def _slots(present: Present) -> dict[str, int]:
        return {gen_id: slot for family in present.families.values() for slot, gen_id in family.items()}

    @staticmethod
    def _signature(stage: Stage, row: tuple[str, str, str, int | None], slots: Mapping[str, int]) -> Signature:
        gen_id, source, choices, replicate = row
        return Signature(stage, (source, *json.loads(choices), slots.get(gen_id, replicate or NO_REPLICATE)))

    def children(self, stage: Stage, gen_id: str) -> list[str]:
        """Return the whole generations of a stage that start from a generation, sorted."""
        self.present(stage)
        query = "SELECT gen_id FROM gens WHERE stage = ? AND source = ? AND state = 0 ORDER BY gen_id"
        return [row[0] for row in self._open().execute(query, (stage.name, gen_id))]


def stamp_of(pipeline: Pipeline, salt: str) -> int:
    """Return what an index depends on besides the files: its own version, the pipeline, the salt."""
    from zlib import crc32

    stages = [[one.name, one.prefix, one.parent, list(one.axes)] for one in pipeline]
    return crc32(canonical_json([_VERSION, stages, salt])) >> 1


def row_of(record: Record, salt: str) -> dict[str, object]:
    """Return what the index holds of a record, but for how it was made (`making`)."""
    stage, values = record.stage, record.signature.values
    replicate = record.signature.replicate
    legacy = record.is_legacy and (replicate == NO_REPLICATE or right_id(record.signature, salt) != record.gen_id)
    usage = (record.call or {}).get("usage")
    tokens = usage if isinstance(usage, dict) else {}
    parsed = _bytes_of(record.fingerprints.get("parsed"))
    return {
        **{name: tokens.get(name) for name in ("input_tokens", "output_tokens") if _is_count(tokens.get(name))},
        "stage": stage.name,
        "gen_id": record.gen_id,
        "state": Condition.WHOLE,
        "source": record.signature.source,
        "choices": choices_key(values[1:-1]),
        "replicate": replicate or None,
        "legacy": int(legacy),
        "created": seconds_of(record.created_at),
        "inputs": _bytes_of(record.fingerprints.get("inputs")),
        "below": None if parsed is None else hashed(parent_bytes(parsed.hex())),
    }


def is_trusted(changed: int, snapshot: tuple[int, int] | None) -> bool:
    """Return whether what was noted of a stage's folder holds: nothing was added, removed or renamed since.

    Args:
        changed: The folder's change time now, in nanoseconds.
        snapshot: Its change time then, and when it was looked at; None where it never was.
    """
    return snapshot is not None and snapshot[0] == changed and snapshot[1] - changed > _DISTRUST


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _bytes_of(digest: object) -> bytes | None:
    try:
        return bytes.fromhex(digest) if isinstance(digest, str) else None
    except ValueError:
        return None


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # some failures have rolled back already
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


_COLUMNS: Final = (
    "stage gen_id stamp state source choices replicate legacy "
    "making created inputs below input_tokens output_tokens problem".split()
)
_PUT: Final = f"INSERT OR REPLACE INTO gens ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608


def _put(database: sqlite3.Connection, **row: object) -> None:
    database.execute(_PUT, [row.get(name, 0 if name == "legacy" else None) for name in _COLUMNS])
