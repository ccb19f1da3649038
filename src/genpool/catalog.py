"""The SQLite index of a store: what gens/ holds, by id, by signature, by parent.

A cache of the files and never the truth: deleting it loses nothing, a damaged one is rebuilt, and where it cannot
be written (a read-only pool) it is made in memory. What was added, removed or renamed behind its back is noticed at
every look, by the change time of each gens/<stage> directory. A snapshot is trusted only if that time is the same
as then (compared by inequality) and was older than two seconds when the snapshot was taken, since the clock of a file
system is coarse. Where it is not trusted, every generation's own directory is compared by its change time (with its
modification time and inode), with the same distrust, so one that was replaced under its name is noticed too. Incomplete
and unreadable generations are looked at again every time. An edit inside a generation is noticed when it is read.

Records are read outside of any lock and written in batches, so nobody waits for a first look and an interrupted one is
continued by the next. A batch is written only for directories that are still the ones that were read: what another
process learned meanwhile is never overwritten by what was true before. That a folder was looked at is noted last.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from operator import eq
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from genpool.catalog_opening import open_in_memory, open_index, remove_index
from genpool.catalog_rows import FROM_SOURCES, ODD, Condition, one_moment, refuse_another_kind, whole_rows
from genpool.catalog_shelf import LEAST, ShelvesAhead, read_found, read_shelf
from genpool.catalog_sum import close_summed
from genpool.catalog_upkeep import Upkeep
from genpool.change_tokens import StageToken, slots_digest
from genpool.durable import make_directory
from genpool.errors import GenpoolError
from genpool.present import Making, Present, choices_key
from genpool.records import NO_REPLICATE, Score
from genpool.signatures import FILE_NAME, Signature
from genpool.slots import Sibling, assign, read_slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from genpool.catalog_rows import Rows
    from genpool.directory_store import DirectoryStore
    from genpool.finds import Found
    from genpool.layout import PoolLayout
    from genpool.present import Family
    from genpool.stages import Pipeline, Stage

_DAMAGE: Final = (sqlite3.DatabaseError, UnicodeError, LookupError, ValueError, TypeError, ArithmeticError)
"""What comes of an index whose bytes are no longer what was written; asked once more of a new one, a mistake of ours
shows all the same."""
_MAKINGS: Final = (
    "SELECT h.id, h.origin, h.mode, t.digest, m.digest FROM makings h "
    "LEFT JOIN digests t ON t.id = h.template LEFT JOIN digests m ON m.id = h.model"
)
_FAMILY: Final = f"SELECT source, choices, gen_id, replicate, legacy, created FROM gens WHERE {FROM_SOURCES}"  # noqa: S608 - ours

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalog holds of one directory under gens/: no file of it is opened to answer."""

    stage: str
    gen_id: str
    condition: Condition
    problem: str | None
    """What is wrong with one that is unusable."""
    signature: Signature | None
    """Of a whole one; the replicate of a legacy generation is its slot."""
    legacy: bool
    """Whether its id is not that of its signature."""
    origin: str | None
    score: Score | None


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[_T]):
    """What the catalog holds of a stage at one moment."""

    token: StageToken
    odd: Present
    """What the stage holds, but for its whole generations: `whole` is empty."""
    rows: _T
    """What was made of the rows of its whole generations."""


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
        self._upkeep = Upkeep(layout, pipeline, store, progress or (lambda _done, _all: None))
        self._database: sqlite3.Connection | None = None
        self._ahead: ShelvesAhead | None = None
        self._digests: list[str] = []
        self._digest_numbers: dict[str, int] = {}
        self.in_memory = False
        """Whether the index could not be kept on disk."""

    # -- opening -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the database, and note the sum of its file where it is another one than before."""
        database, self._database = self._database, None
        self._drop()
        if database is not None:
            close_summed(database, None if self.in_memory else self._layout.catalog)

    def _open(self) -> sqlite3.Connection:
        """Return the database, its tables made; one that is damaged or of another kind is made anew."""
        if self._database is not None:
            return self._database
        path = self._layout.catalog
        for _ in range(2):
            try:
                make_directory(path.parent)
                self._database = open_index(path, self._pipeline, self._store.salt)
                return self._database
            except (OSError, sqlite3.OperationalError):
                break  # read-only, no space, locked for very long: memory will do
            except _DAMAGE:
                remove_index(self._layout)
        return self._open_in_memory()

    def rebuild(self) -> None:
        """Make the index anew from the files.

        Raises:
            StorageFailed: A stage's folder cannot be listed.
        """
        self._drop()
        remove_index(self._layout)
        for stage in self._pipeline:
            self.token(stage)

    def _open_in_memory(self) -> sqlite3.Connection:
        self.in_memory = True
        self._database = open_in_memory(self._pipeline, self._store.salt)
        return self._database

    def _drop(self) -> None:
        """Close what is damaged or cannot be used, and all that was read of it."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None
        if self._database is not None:
            self._database.close()
            self._database = None

    # -- keeping up --------------------------------------------------------------------------------

    def ask(self, stages: Sequence[Stage], question: Callable[[sqlite3.Connection, Mapping[str, Present]], _T]) -> _T:
        """Answer a question about several stages as they are now, all of one moment.

        Args:
            stages: The stages.
            question: Asks the index (`catalog_rows`), given what is odd in each of these stages (`odd`); called again
                where the index was damaged meanwhile.

        Raises:
            StorageFailed, CorruptFile: As of `present`.
        """

        def answer(database: sqlite3.Connection) -> _T:
            with one_moment(database):
                return question(database, {one.name: self._filled(database, one, {}) for one in stages})

        return self._asked(stages[0], answer, *stages[1:])

    def _asked(self, stage: Stage, question: Callable[[sqlite3.Connection], _T], *besides: Stage) -> _T:
        """Answer a question about a stage, or several, as it is now, whatever happens to the index."""
        try:
            return self._answer((stage, *besides), question)
        except GenpoolError:
            raise
        except sqlite3.OperationalError:
            self._drop()  # locked for very long, no space, or another's: memory will do
            self._open_in_memory()
        except _DAMAGE:
            self._drop()  # damaged under our hands: once more, from the files
            remove_index(self._layout)
        return self._answer((stage, *besides), question)

    def _answer(self, stages: Sequence[Stage], question: Callable[[sqlite3.Connection], _T]) -> _T:
        database = self._open()
        refuse_another_kind(database, self._pipeline, self._store.salt)
        for stage in stages:
            self._upkeep.keep_up(database, stage)
        return question(database)

    # -- questions about a stage -------------------------------------------------------------------

    def token(self, stage: Stage) -> StageToken:
        """Return the change token of a stage: what says whether answers about it still hold.

        Equal contents (`StageToken.same_content`) mean that the same generations are there, with the same records;
        `change_tokens.still_holds` says without the index whether nothing changed since a token was given.

        Raises:
            StorageFailed: As of `present`.
        """
        return self._asked(stage, lambda database: self._token(database, stage))

    def _token(self, database: sqlite3.Connection, stage: Stage) -> StageToken:
        query = "SELECT changed, looked, content FROM stages WHERE stage = ?"
        changed, looked, content = database.execute(query, (stage.name,)).fetchone()
        odd = f"SELECT sum(state > 0), sum(legacy = 1) FROM {ODD}"  # noqa: S608 - our own words
        unsettled, legacy = database.execute(odd, (stage.name,)).fetchone()
        return StageToken(changed, looked, content, unsettled or 0, slots_digest(self._layout) if legacy else "")

    def present(self, stage: Stage) -> Present:
        """Return what a stage holds now.

        Raises:
            StorageFailed: The stage's folder cannot be listed, or a generation in it cannot be looked at for a reason
                that is not its own (an I/O error, too many open files): nobody knows then which slots are filled.
            CorruptFile: legacy.csv is damaged.
        """
        return self._asked(stage, lambda database: self._present(database, stage))

    def _present(self, database: sqlite3.Connection, stage: Stage) -> Present:
        with one_moment(database):
            return self._filled(database, stage, read_found(database, stage))

    def _filled(self, database: sqlite3.Connection, stage: Stage, whole: Mapping[str, Found]) -> Present:
        """Return what a stage holds, given its whole generations."""
        makings = database.execute(_MAKINGS)
        odd = database.execute(f"SELECT gen_id, state, problem, legacy FROM {ODD}", (stage.name,)).fetchall()  # noqa: S608 - our own words
        return Present(
            whole=whole,
            makings={row[0]: Making(*row[1:3], *map(self._digest_number, row[3:])) for row in makings},
            incomplete=frozenset(row[0] for row in odd if row[1] == Condition.INCOMPLETE),
            unusable={row[0]: row[2] for row in odd if row[1] == Condition.UNUSABLE},
            legacy=frozenset(row[0] for row in odd if row[3] and row[1] == Condition.WHOLE),
            families=self._families(database, stage) if any(row[3] for row in odd) else {},
        )

    def snapshot(self, stage: Stage, columns: Sequence[str], collect: Callable[[Rows], _T]) -> Snapshot[_T]:
        """Return a stage's token, what is odd in it, and columns of its whole generations: all of one moment.

        Args:
            stage: The stage.
            columns: Of the index's columns (`catalog_rows`) those that are wanted.
            collect: Makes of the rows, which come by id, what is kept of them; called again where the index was
                damaged meanwhile.

        Raises:
            StorageFailed, CorruptFile: As of `present`.
        """
        return self._asked(stage, lambda database: self._snapshot(database, stage, columns, collect))

    def _snapshot(
        self, database: sqlite3.Connection, stage: Stage, columns: Sequence[str], collect: Callable[[Rows], _T]
    ) -> Snapshot[_T]:
        with one_moment(database):
            token = self._token(database, stage)
            odd = self._filled(database, stage, {})
            return Snapshot(token, odd, collect(whole_rows(database, stage.name, columns)))

    def on_shelf(self, stage: Stage, least: int = LEAST) -> Present:
        """Return what a stage holds now, as `present` does; where it is large, in columns that ids are looked up in.

        Args:
            stage: The stage.
            least: So many generations are large.

        Raises:
            StorageFailed, CorruptFile: As of `present`.
        """
        return self._asked(stage, lambda database: self._on_shelf(database, stage, least))

    def _on_shelf(self, database: sqlite3.Connection, stage: Stage, least: int) -> Present:
        with one_moment(database):
            shelf = None
            if self._ahead is not None and not self.in_memory:
                content = database.execute("SELECT content FROM stages WHERE stage = ?", (stage.name,)).fetchone()[0]
                shelf = self._ahead.get(stage, content)
            shelf = read_shelf(database, stage, least) if shelf is None else shelf
            return self._filled(database, stage, read_found(database, stage) if shelf is None else shelf)

    def read_ahead(self) -> None:
        """Begin to read what `on_shelf` will be asked for, while the caller does something else."""
        if not self._layout.catalog.exists():
            return  # there is nothing to read, and who only asks in vain leaves nothing behind
        self._open()  # before: what is damaged is not read
        self._ahead = ShelvesAhead(self._store, self._pipeline, self._pipeline)

    def _families(self, database: sqlite3.Connection, stage: Stage) -> dict[Family, dict[int, str]]:
        """Return slot to id for every family that has a legacy generation."""
        of_legacy = f"IN (SELECT source FROM {ODD.replace('?', '?1')} AND legacy = 1 AND state = 0)"  # noqa: S608 - our own words
        rows = database.execute(_FAMILY % of_legacy, (stage.name,))
        siblings: dict[Family, list[Sibling]] = {}
        for source, choices, *sibling in rows:
            siblings.setdefault((source, choices), []).append(_sibling(*sibling))
        recorded = read_slots(self._layout).get(stage.name, {})
        return {
            family: assign(members, recorded)
            for family, members in siblings.items()
            if any(one.legacy for one in members)
        }

    def usage(self, stage: Stage) -> dict[str, list[tuple[int, int]]]:
        """Return what the calls of a stage took: choices to tokens in and out of each, the newest thousand."""
        query = (
            "SELECT choices, input_tokens, output_tokens FROM gens WHERE stage = ? AND state = 0 "
            "AND input_tokens IS NOT NULL AND output_tokens IS NOT NULL ORDER BY created DESC LIMIT 1000"
        )
        found: dict[str, list[tuple[int, int]]] = {}
        rows = self._asked(stage, lambda database: database.execute(query, (stage.name,)).fetchall())
        for choices, tokens_in, tokens_out in rows:
            found.setdefault(choices, []).append((tokens_in, tokens_out))
        return found

    def digest(self, number: int | None) -> str | None:
        """Return the digest behind a short number of a `Making` that this catalog gave."""
        return None if number is None else self._digests[number]

    def _digest_number(self, digest: str | None) -> int | None:
        """Return a short number for a digest: one that holds when another index must take the place of this."""
        if digest is not None and digest not in self._digest_numbers:
            self._digest_numbers[digest] = len(self._digests)
            self._digests.append(digest)
        return None if digest is None else self._digest_numbers[digest]

    def inputs(self, stage: Stage, gen_id: str) -> tuple[str, str]:
        """Return the digest of a whole generation's inputs, and that of the inputs of what is made from its text.

        Empty where the record does not say.
        """
        query, of = "SELECT inputs, below FROM gens WHERE stage = ? AND gen_id = ?", (stage.name, gen_id)
        row = self._asked(stage, lambda database: database.execute(query, of).fetchone()) or (None, None)
        return (row[0] or b"").hex(), (row[1] or b"").hex()

    def signatures(self, stage: Stage) -> Iterator[tuple[str, Signature]]:
        """Yield id and signature of every whole generation of a stage; a legacy one's replicate is its slot."""
        found = self.snapshot(stage, ("gen_id", "source", "choices", "replicate"), list)
        slots = found.odd.slots()
        for row in found.rows:
            yield row[0], self._signature(stage, row, slots)

    @staticmethod
    def _signature(stage: Stage, row: Sequence[str], slots: Mapping[str, int]) -> Signature:
        gen_id, source, choices, replicate = row
        return Signature(stage, (source, *json.loads(choices), slots.get(gen_id, int(replicate or NO_REPLICATE))))

    def odd(self, stage: Stage) -> Present:
        """Return what a stage holds now, but for its whole generations: `whole` is empty.

        Raises:
            StorageFailed, CorruptFile: As of `present`.
        """
        return self._asked(stage, lambda database: self._odd(database, stage))

    def _odd(self, database: sqlite3.Connection, stage: Stage) -> Present:
        with one_moment(database):
            return self._filled(database, stage, {})

    def near(self, signature: Signature) -> Iterator[tuple[str, Signature]]:
        """Yield id and signature of generations of a task's stage, among them those nearest to it.

        Nearest is what agrees in most fields, the replicate counting least; of several the first by id. Where slots are
        not what records say (legacy generations) that is all of the stage; else what starts from the same, and the
        first of those that agree in most choices.

        Raises:
            StorageFailed, CorruptFile: As of `present`.
        """
        stage = signature.stage
        if self.odd(stage).legacy:
            yield from self.signatures(stage)
            return
        for row in self._asked(stage, lambda database: _near(database, signature)):
            yield row[0], self._signature(stage, row, {})

    # -- questions about one generation: no stage is loaded ----------------------------------------

    def entry(self, stage: Stage, gen_id: str) -> Entry | None:
        """Return what the index holds of one directory; None where the stage has none of that name.

        Raises:
            StorageFailed, CorruptFile: As of `present`.
        """
        if not FILE_NAME.fullmatch(gen_id):
            return None  # what was typed need not be a text that SQLite takes
        return self._asked(stage, lambda database: self._entry(database, stage, gen_id))

    def _entry(self, database: sqlite3.Connection, stage: Stage, gen_id: str) -> Entry | None:
        query = (
            "SELECT g.state, g.problem, g.source, g.choices, g.replicate, g.legacy, m.origin, g.score, g.least, g.most "
            "FROM gens g LEFT JOIN makings m ON m.id = g.making WHERE g.stage = ? AND g.gen_id = ?"
        )
        row = database.execute(query, (stage.name, gen_id)).fetchone()
        if row is None:
            return None
        state, problem, source, choices, replicate, legacy, origin, score, least, most = row
        signature = None
        if state == Condition.WHOLE:
            slots = {one: slot for slot, one in self._family(database, stage, source, choices).items()}
            signature = self._signature(stage, (gen_id, source, choices, replicate), slots)
        scored = None if score is None else Score(score, least, most)
        return Entry(stage.name, gen_id, Condition(state), problem, signature, bool(legacy), origin, scored)

    def _family(self, database: sqlite3.Connection, stage: Stage, source: str, choices: str) -> dict[int, str]:
        """Return slot to id for one family; nothing where it has no legacy generation."""
        rows = database.execute(_FAMILY % "= ?2" + " AND choices = ?3", (stage.name, source, choices))
        siblings = [_sibling(*row[2:]) for row in rows]
        if not any(one.legacy for one in siblings):
            return {}
        return assign(siblings, read_slots(self._layout).get(stage.name, {}))

    def signature(self, stage: Stage, gen_id: str) -> Signature | None:
        """Return the signature of a whole generation, or None where the stage has none of that id."""
        entry = self.entry(stage, gen_id)
        return None if entry is None else entry.signature

    def beginning_with(self, stage: Stage, beginning: str, limit: int, *, whole: bool = False) -> list[str]:
        """Return the ids of directories of a stage that begin so, sorted, at most so many.

        Args:
            stage: The stage.
            beginning: A part of an id from its start; empty for any.
            limit: The greatest number of ids that is wanted.
            whole: Whether only whole generations are wanted.
        """
        query = f"""SELECT gen_id FROM gens WHERE stage = ? AND gen_id >= ? AND gen_id < ?
            {"AND state = 0" if whole else ""} ORDER BY gen_id LIMIT ?"""  # noqa: S608 - our own words
        bounds = (stage.name, beginning, f"{beginning}\x7f", limit)  # ids are ASCII below that
        return [row[0] for row in self._asked(stage, lambda database: database.execute(query, bounds).fetchall())]

    def children(self, stage: Stage, gen_id: str) -> list[str]:
        """Return the whole generations of a stage that start from a generation, sorted."""
        query = f"SELECT gen_id FROM gens WHERE {FROM_SOURCES % '= ?2'} ORDER BY gen_id"  # noqa: S608 - our own words
        of = (stage.name, gen_id)
        return [row[0] for row in self._asked(stage, lambda database: database.execute(query, of).fetchall())]


def _sibling(gen_id: str, replicate: int | None, legacy: int, created: float | None) -> Sibling:
    return Sibling(gen_id, replicate, bool(legacy), created)


def _near(database: sqlite3.Connection, signature: Signature) -> list[Sequence[str]]:
    """Return id, source, choices and replicate of what `Catalog.near` yields of a stage without legacy generations."""
    wanted, stage = signature.values[1:-1], signature.stage.name
    columns = "SELECT gen_id, source, choices, replicate FROM gens WHERE stage = ? AND state = 0"
    below = f"SELECT gen_id, source, choices, replicate FROM gens WHERE {FROM_SOURCES % '= ?2'}"  # noqa: S608 - our own words
    found = database.execute(below, (stage, signature.source)).fetchall()
    best = [choices_key(wanted)]
    if database.execute(f"{columns} AND choices = ? LIMIT 1", (stage, best[0])).fetchone() is None:
        query = "SELECT DISTINCT choices FROM gens WHERE stage = ? AND state = 0"
        agreeing: dict[int, list[str]] = {}
        for (choices,) in database.execute(query, (stage,)):
            agreeing.setdefault(sum(map(eq, json.loads(choices), wanted)), []).append(choices)
        best = agreeing[max(agreeing)] if agreeing else []
    first = columns + " AND choices IN (SELECT value FROM json_each(?)) %s ORDER BY gen_id LIMIT 1"  # noqa: S608 - our own words
    of_best = (stage, json.dumps(best))
    found += database.execute(first % "AND replicate = ?", (*of_best, signature.replicate))
    found += database.execute(first % "", of_best)
    return found
