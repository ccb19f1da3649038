"""The tables of the catalog, and what their rows say of generations.

Promise: whatever is written is written with its part of the stage's *content*, in the same transaction: the sum,
modulo 2^128, of a digest over the facts of every row. So the content depends on what is there, and not on the order or
the way in which it came to be known.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from genpool.canonical import canonical_json, hashed
from genpool.change_tokens import NEVER
from genpool.gen_ids import gen_id as right_id
from genpool.present import choices_key
from genpool.records import NO_REPLICATE
from genpool.slots import seconds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genpool.records import Record
    from genpool.stages import Pipeline

_VERSION: Final = 6

_TABLE_NAMES: Final = ("stages", "digests", "makings", "gens")
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS stages (
    stage TEXT PRIMARY KEY, changed INTEGER NOT NULL, looked INTEGER NOT NULL, content TEXT NOT NULL
);
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
    input_tokens INTEGER, output_tokens INTEGER, score REAL, least REAL, most REAL, problem TEXT, facts BLOB,
    PRIMARY KEY (stage, gen_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS gens_not_plain ON gens (stage) WHERE legacy = 1 OR state > 0;
"""

ODD: Final = "gens INDEXED BY gens_not_plain WHERE stage = ? AND (legacy = 1 OR state > 0)"
"""What is not plainly there; left to itself SQLite would read all of a stage to find the few."""
FROM_SOURCES: Final = "stage = ?1 AND state = 0 AND gen_id IN (SELECT gen_id FROM gens WHERE stage = ?1 AND source %s)"
"""What starts from some sources. The inner query is answered by the index by source alone; where a query asks for other
columns besides, SQLite takes the stage to be small and reads all of it."""
_MODULUS: Final = 1 << 128


class Condition(IntEnum):
    """How a directory under gens/ is found."""

    WHOLE = 0
    INCOMPLETE = 1
    """Metadata or the parsed text is not there."""
    UNUSABLE = 2
    """Its record is damaged, or does not say which task it is."""


def kind_of(pipeline: Pipeline, salt: str) -> int:
    """Return a number for what an index depends on besides the files: its own version, the pipeline, the salt."""
    from zlib import crc32

    stages = [[one.name, one.prefix, one.parent, list(one.axes)] for one in pipeline]
    return crc32(canonical_json([_VERSION, stages, salt])) >> 1


def is_prepared(database: sqlite3.Connection, pipeline: Pipeline, salt: str) -> bool:
    """Return whether a database has the tables for a pipeline and a salt.

    Raises:
        sqlite3.DatabaseError: It is no database.
    """
    return bool(database.execute("PRAGMA user_version").fetchone()[0] == kind_of(pipeline, salt))


def refuse_another_kind(database: sqlite3.Connection, pipeline: Pipeline, salt: str) -> None:
    """Refuse an index that was made anew since it was opened: for another salt or pipeline, or by another version.

    Raises:
        sqlite3.OperationalError: It was.
    """
    if not is_prepared(database, pipeline, salt):
        raise sqlite3.OperationalError("the index is of another kind by now")


def prepare(database: sqlite3.Connection, pipeline: Pipeline, salt: str) -> None:
    """Make the tables, unless they are there; those of another kind are dropped.

    Raises:
        sqlite3.DatabaseError: It is no database, or cannot be written.
    """
    if is_prepared(database, pipeline, salt):
        return
    with transaction(database):
        if not is_prepared(database, pipeline, salt):
            for table in _TABLE_NAMES:
                database.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in _TABLES.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {kind_of(pipeline, salt)}")


def without_index(database: sqlite3.Connection) -> None:
    """Drop the index by source while much is written: answers are the same without it, and made anew it is cheaper."""
    database.execute("DROP INDEX IF EXISTS gens_of_source")


def count_of(database: sqlite3.Connection) -> int:
    """Return how many directories the index knows."""
    return int(database.execute("SELECT count(*) FROM gens").fetchone()[0])


def with_index(database: sqlite3.Connection) -> None:
    """Make the index by source, unless it is there."""
    database.execute("CREATE INDEX IF NOT EXISTS gens_of_source ON gens (stage, source)")


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Hold the right to write for some statements, which take effect together or not at all; they change the mark."""
    database.execute("BEGIN IMMEDIATE")
    try:
        database.execute(f"PRAGMA application_id = {int.from_bytes(os.urandom(4)) >> 1}")
        yield
    except BaseException:
        if database.in_transaction:  # some failures have rolled back already
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def mark_of(database: sqlite3.Connection) -> int:
    """Return what every transaction makes another: by that a sum over the file is known to be of it (`catalog_sum`)."""
    return int(database.execute("PRAGMA application_id").fetchone()[0])


@contextmanager
def one_moment(database: sqlite3.Connection) -> Iterator[None]:
    """Let everything that is read be of one moment, whatever others write meanwhile; nothing is locked by that."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        if database.in_transaction:
            database.execute("COMMIT")


Rows = Iterator[tuple[Any, ...]]
"""Rows of the index, as they are read."""


def whole_rows(database: sqlite3.Connection, stage: str, columns: Sequence[str]) -> Rows:
    """Return some columns of the whole generations of a stage, by id."""
    query = f"SELECT {', '.join(columns)} FROM gens WHERE stage = ? AND state = 0 ORDER BY gen_id"  # noqa: S608 - ours
    return database.execute(query, (stage,))


# --- what a row says ------------------------------------------------------------------------------


class Row(NamedTuple):
    """What the catalog holds of one directory under gens/.

    From `gen_id` on it is what answers depend on, and what the content is a sum over. The words of what is wrong are
    not among that: they name the path by which the pool was opened.
    """

    stamp: int | None
    """What marks the directory (`catalog_reader.stamp_of`); None where it was too young to be trusted."""
    read: int | None
    """The same before it was read, trusted or not; None where it was not there."""
    problem: str | None
    gen_id: str
    state: int
    source: str | None = None
    choices: str | None = None
    replicate: int | None = None
    legacy: int = 0
    created: float | None = None
    inputs: bytes | None = None
    below: bytes | None = None
    """The digest of inputs that a child has which was made from its text."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    score: float | None = None
    least: float | None = None
    most: float | None = None
    origin: str | None = None
    mode: str | None = None
    template: str | None = None
    model: str | None = None

    def facts(self) -> bytes:
        """Return a digest (16 bytes) over what answers depend on."""
        return _digest(self[_FIRST_FACT:])


def _digest(facts: Sequence[Any]) -> bytes:
    return hashed(orjson.dumps(facts, default=bytes.hex))[:16]


_FIRST_FACT: Final = Row._fields.index("gen_id")
_ORIGIN: Final = Row._fields.index("origin")


def row_without_record(gen_id: str, condition: Condition, problem: str | None = None) -> Row:
    """Return the row of a directory that is not a whole generation."""
    if problem is not None:  # it may name a path that is no text
        problem = problem.encode(errors="backslashreplace").decode()
    return Row(None, None, problem, gen_id, condition)


def parent_bytes(parsed_digest: str) -> bytes:
    """Return the pre-image of the `inputs` fingerprint below a root: canonical JSON, written out for speed."""
    return f'{{"parent":"{parsed_digest}"}}'.encode()


def row_of(record: Record, salt: str) -> Row:
    """Return what the index holds of a record."""
    values = record.signature.values
    replicate = record.signature.replicate
    legacy = record.is_legacy and (replicate == NO_REPLICATE or right_id(record.signature, salt) != record.gen_id)
    usage = (record.call or {}).get("usage")
    tokens = usage if isinstance(usage, dict) else {}
    parsed = _bytes_of(record.fingerprints.get("parsed"))
    score = record.score
    return Row(
        stamp=None,
        read=None,
        problem=None,
        gen_id=record.gen_id,
        state=Condition.WHOLE,
        source=record.signature.source,
        choices=choices_key(values[1:-1]),
        replicate=replicate or None,
        legacy=int(legacy),
        created=seconds_of(record.created_at),
        inputs=_bytes_of(record.fingerprints.get("inputs")),
        below=None if parsed is None else hashed(parent_bytes(parsed.hex())),
        input_tokens=_count_of(tokens.get("input_tokens")),
        output_tokens=_count_of(tokens.get("output_tokens")),
        score=None if score is None else score.value,
        least=None if score is None else score.min,
        most=None if score is None else score.max,
        origin=record.origin_cohort_id,
        mode=record.mode,
        template=_text_of(record.fingerprints.get("template")),
        model=_text_of(record.fingerprints.get("model")),
    )


def _count_of(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _text_of(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _bytes_of(digest: object) -> bytes | None:
    try:
        return bytes.fromhex(digest) if isinstance(digest, str) else None
    except ValueError:
        return None


# --- checking -------------------------------------------------------------------------------------

_FACTS: Final = (
    f"SELECT g.stage, g.facts, {', '.join(f'g.{name}' for name in Row._fields[_FIRST_FACT:_ORIGIN])}, "  # noqa: S608
    "h.origin, h.mode, t.digest, m.digest FROM gens g LEFT JOIN makings h ON h.id = g.making "
    "LEFT JOIN digests t ON t.id = h.template LEFT JOIN digests m ON m.id = h.model"
)


def differing_rows(database: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield stage and id of rows that do not say what their digests are of; a stage alone where rows are lost."""
    contents: Counter[str] = Counter()
    for stage, facts, *said in database.execute(_FACTS):
        if _digest(said) != facts:
            yield stage, said[0]
        contents[stage] += int.from_bytes(facts or b"")
    noted = dict(database.execute("SELECT stage, content FROM stages"))
    for stage in noted.keys() | contents.keys():
        if noted.get(stage) != _as_content(contents[stage]):
            yield stage, ""


def _as_content(total: int) -> str:
    return f"{total % _MODULUS:032x}"


# --- writing --------------------------------------------------------------------------------------

_STORED: Final = ("stamp", *Row._fields[2:_ORIGIN], "facts", "making", "stage")
_PUT: Final = f"INSERT OR REPLACE INTO gens ({', '.join(_STORED)}) VALUES ({', '.join('?' * len(_STORED))})"  # noqa: S608


_Made = tuple[str | None, ...]
"""Origin, mode, template and model of a row."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one stage as columns, ready to be written; what a process that reads hands over."""

    gen_ids: Sequence[str]
    reads: Sequence[int | None]
    """`Row.read` of each."""
    columns: Sequence[Sequence[Any]]
    """The columns of `_STORED`, but for the last three."""
    facts: Sequence[bytes]
    makings: Sequence[_Made | None]
    """How they were made, each way once; None for what is no whole generation."""
    making: Sequence[int]
    """Which of `makings` it is for each row."""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Block:
        """Return the block of some rows."""
        makings: dict[_Made | None, int] = {}
        making = []
        for row in rows:
            made = (row.origin, row.mode, row.template, row.model) if row.state == Condition.WHOLE else None
            making.append(makings.setdefault(made, len(makings)))
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(Row._fields)
        return cls(
            gen_ids=columns[_FIRST_FACT],
            reads=columns[1],
            columns=[columns[0], *columns[2:_ORIGIN]],
            facts=[row.facts() for row in rows],
            makings=list(makings),
            making=making,
        )


class StageWriter:
    """Writes the rows of one stage, and with them its content; inside one transaction.

    Args:
        database: The catalog's database, in a transaction.
        stage: The stage's name.
    """

    def __init__(self, database: sqlite3.Connection, stage: str) -> None:
        self._database = database
        self._stage = stage
        known = database.execute("SELECT changed, looked, content FROM stages WHERE stage = ?", (stage,)).fetchone()
        self._changed: int = known[0] if known else NEVER
        self._looked: int = known[1] if known else 0
        self._content = int(known[2], 16) if known else 0
        self._makings: dict[_Made, int] = {}

    def put(self, block: Block) -> None:
        """Write rows, in the place of what was said of the same directories; no two of its rows are about one."""
        self._forget(block.gen_ids)
        self._content += sum(map(int.from_bytes, block.facts))
        numbers = [self._making(made) for made in block.makings]
        making = map(numbers.__getitem__, block.making)
        rows = zip(*block.columns, block.facts, making, repeat(self._stage), strict=False)
        self._database.executemany(_PUT, rows)

    def remove(self, gen_ids: Sequence[str]) -> None:
        """Remove what is said of some directories."""
        self._forget(gen_ids)
        of_stage = [(self._stage, gen_id) for gen_id in gen_ids]
        self._database.executemany("DELETE FROM gens WHERE stage = ? AND gen_id = ?", of_stage)

    def looked(self, changed: int, looked: int) -> None:
        """Note when the stage's folder had changed, and when it was looked at."""
        self._changed, self._looked = changed, looked

    def distrust(self) -> None:
        """Have the folder looked at the next time, whatever its change time is: other rows are there than at the last.

        A change time that was trusted can come back: that of a folder that is not there is the same each time.
        """
        self._changed = NEVER

    def finish(self) -> None:
        """Write the stage's content."""
        values = (self._stage, self._changed, self._looked, _as_content(self._content))
        self._database.execute("INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?)", values)

    def _forget(self, gen_ids: Sequence[str]) -> None:
        """Take what is said of some directories out of the content."""
        query = "SELECT facts FROM gens WHERE stage = ? AND gen_id IN (SELECT value FROM json_each(?))"
        for (facts,) in self._database.execute(query, (self._stage, orjson.dumps(gen_ids).decode())):
            self._content -= int.from_bytes(facts or b"")

    def _making(self, made: _Made | None) -> int | None:
        """Return the number of how a generation was made."""
        if made is None:
            return None
        number = self._makings.get(made)
        if number is None:
            number = self._makings[made] = self._making_number(made)
        return number

    def _making_number(self, wanted: _Made) -> int:
        origin, mode, template, model = wanted
        made = (origin, mode, self._digest_number(template), self._digest_number(model))
        query = "SELECT id FROM makings WHERE origin IS ? AND mode = ? AND template IS ? AND model IS ?"
        found = self._database.execute(query, made).fetchone()
        if found is not None:
            return int(found[0])
        insert = "INSERT INTO makings (origin, mode, template, model) VALUES (?, ?, ?, ?)"
        return int(self._database.execute(insert, made).lastrowid or 0)

    def _digest_number(self, digest: str | None) -> int | None:
        """Return the short number of a digest."""
        if digest is None:
            return None
        self._database.execute("INSERT OR IGNORE INTO digests (digest) VALUES (?)", (digest,))
        row = self._database.execute("SELECT id FROM digests WHERE digest = ?", (digest,)).fetchone()
        return int(row[0])
