"""The tables of the catalog, and what their rows say of generations.

Promise: whatever is written is written with its part of the stage's *content*, in the same transaction: the sum,
modulo 2^128, of a digest over the facts of every row. So the content depends on what is there, and not on the order or
the way in which it came to be known.
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import orjson

from genpool.canonical import canonical_json, hashed
from genpool.change_tokens import NEVER
from genpool.gen_ids import gen_id as right_id
from genpool.present import choices_key
from genpool.records import NO_REPLICATE
from genpool.slots import seconds_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from genpool.records import Record
    from genpool.stages import Pipeline

_VERSION: Final = 5

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
CREATE INDEX IF NOT EXISTS gens_of_source ON gens (stage, source);
CREATE INDEX IF NOT EXISTS gens_not_plain ON gens (stage) WHERE legacy = 1 OR state > 0;
"""

_MODULUS: Final = 1 << 128


class Condition(IntEnum):
    """How a directory under gens/ is found."""

    WHOLE = 0
    INCOMPLETE = 1
    """Metadata or the parsed text is not there."""
    UNUSABLE = 2
    """Its record is damaged, or does not say which task it is."""


def stamp_of(pipeline: Pipeline, salt: str) -> int:
    """Return what an index depends on besides the files: its own version, the pipeline, the salt."""
    from zlib import crc32

    stages = [[one.name, one.prefix, one.parent, list(one.axes)] for one in pipeline]
    return crc32(canonical_json([_VERSION, stages, salt])) >> 1


def prepare(database: sqlite3.Connection, stamp: int) -> None:
    """Make the tables, unless they are there; those of another kind are dropped.

    Raises:
        sqlite3.DatabaseError: It is no database, or cannot be written.
    """
    if database.execute("PRAGMA user_version").fetchone()[0] == stamp:
        return
    with transaction(database):
        if database.execute("PRAGMA user_version").fetchone()[0] != stamp:
            for table in _TABLE_NAMES:
                database.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in _TABLES.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {stamp}")


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Hold the right to write for some statements, which take effect together or not at all."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # some failures have rolled back already
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


# --- what a row says ------------------------------------------------------------------------------

Row = dict[str, object]
"""What the catalog holds of a directory: column to value, but `making` as its four parts; what is left out is NULL."""


def parent_bytes(parsed_digest: str) -> bytes:
    """Return the pre-image of the `inputs` fingerprint below a root: canonical JSON, written out for speed."""
    return f'{{"parent":"{parsed_digest}"}}'.encode()


def row_of(record: Record, salt: str) -> Row:
    """Return what the index holds of a record."""
    stage, values = record.stage, record.signature.values
    replicate = record.signature.replicate
    legacy = record.is_legacy and (replicate == NO_REPLICATE or right_id(record.signature, salt) != record.gen_id)
    usage = (record.call or {}).get("usage")
    tokens = usage if isinstance(usage, dict) else {}
    parsed = _bytes_of(record.fingerprints.get("parsed"))
    score = record.score
    return {
        **{name: tokens.get(name) for name in ("input_tokens", "output_tokens") if _is_count(tokens.get(name))},
        **({} if score is None else {"score": score.value, "least": score.min, "most": score.max}),
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
        "origin": record.origin_cohort_id,
        "mode": record.mode,
        "template": _text_of(record.fingerprints.get("template")),
        "model": _text_of(record.fingerprints.get("model")),
    }


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _text_of(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _bytes_of(digest: object) -> bytes | None:
    try:
        return bytes.fromhex(digest) if isinstance(digest, str) else None
    except ValueError:
        return None


_FACTS: Final = (
    "gen_id state source choices replicate legacy origin mode template model created "
    "input_tokens output_tokens score least most".split()
)
"""What answers depend on. Not among it: the words of what is wrong, which name the path that the pool was opened by."""


def facts_of(row: Mapping[str, object]) -> bytes:
    """Return a digest (16 bytes) over what a row says."""
    facts = [row.get(name) for name in _FACTS]
    for name in ("inputs", "below"):
        digest = row.get(name)
        facts.append(digest.hex() if isinstance(digest, bytes) else None)
    return hashed(orjson.dumps(facts))[:16]


# --- writing --------------------------------------------------------------------------------------

_COLUMNS: Final = (
    "stage gen_id stamp state source choices replicate legacy making created inputs below "
    "input_tokens output_tokens score least most problem facts".split()
)
_PUT: Final = f"INSERT OR REPLACE INTO gens ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608


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

    def put(self, rows: Iterable[Row]) -> None:
        """Write rows, in the place of what was said of the same directories."""
        ready = []
        for row in rows:
            self._forget(str(row["gen_id"]))
            facts = facts_of(row)
            self._content += int.from_bytes(facts)
            values = {"legacy": 0, **row, "stage": self._stage, "making": self._making(row), "facts": facts}
            ready.append([values.get(name) for name in _COLUMNS])
        self._database.executemany(_PUT, ready)

    def remove(self, gen_ids: Iterable[str]) -> None:
        """Remove what is said of some directories."""
        gone = list(gen_ids)
        for gen_id in gone:
            self._forget(gen_id)
        of_stage = [(self._stage, gen_id) for gen_id in gone]
        self._database.executemany("DELETE FROM gens WHERE stage = ? AND gen_id = ?", of_stage)

    def looked(self, changed: int, looked: int) -> None:
        """Note when the stage's folder had changed, and when it was looked at."""
        self._changed, self._looked = changed, looked

    def finish(self) -> None:
        """Write the stage's content."""
        content = f"{self._content % _MODULUS:032x}"
        values = (self._stage, self._changed, self._looked, content)
        self._database.execute("INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?)", values)

    def _forget(self, gen_id: str) -> None:
        """Take what is said of a directory out of the content."""
        query = "SELECT facts FROM gens WHERE stage = ? AND gen_id = ?"
        row = self._database.execute(query, (self._stage, gen_id)).fetchone()
        if row is not None and row[0] is not None:
            self._content -= int.from_bytes(row[0])

    def _making(self, row: Row) -> int | None:
        """Return the number of how a generation was made."""
        if row["state"] != Condition.WHOLE:
            return None
        template, model = (self._number(row.get(name)) for name in ("template", "model"))
        made = (row.get("origin"), row["mode"], template, model)
        query = "SELECT id FROM makings WHERE origin IS ? AND mode = ? AND template IS ? AND model IS ?"
        found = self._database.execute(query, made).fetchone()
        if found is not None:
            return int(found[0])
        insert = "INSERT INTO makings (origin, mode, template, model) VALUES (?, ?, ?, ?)"
        return int(self._database.execute(insert, made).lastrowid or 0)

    def _number(self, digest: object) -> int | None:
        """Return the short number of a digest."""
        if digest is None:
            return None
        self._database.execute("INSERT OR IGNORE INTO digests (digest) VALUES (?)", (digest,))
        row = self._database.execute("SELECT id FROM digests WHERE digest = ?", (digest,)).fetchone()
        return int(row[0])
