"""Reading generations into rows of the catalog: many of a stage, one after another.

A million records are read here, so the common case has a quick way of its own: a record as genpool writes it, sealed
and of this stage. What is checked is the same: the directory is no link, the record hashes to its own digest, and the
signature to the directory's name. Whatever is not plainly in order goes the careful way, through the store, which says
what is wrong with it.
"""

from __future__ import annotations

import os
import time
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.canonical import canonical_json, hashed, sha256
from genpool.catalog_rows import Block, Condition, Row, parent_bytes, row_of, row_without_record
from genpool.change_tokens import DISTRUST
from genpool.directory_store import DirectoryStore
from genpool.durable import lies_with_the_file
from genpool.errors import GenpoolError, StorageFailed
from genpool.gen_ids import SCHEME, id_below
from genpool.layout import METADATA, PARSED
from genpool.present import choices_key
from genpool.records import FORMAT, MODE_LLM
from genpool.signatures import field_problem
from genpool.slots import seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from genpool.canonical import Json
    from genpool.layout import PoolLayout
    from genpool.signatures import FieldValue
    from genpool.stages import Stage

_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe is not waited for
_MOST: Final = 1 << 16  # bytes that are read at once; a longer record goes the careful way
_LOOKS: Final = 8  # at a directory that is moved while it is looked at


class StageReader:
    """Reads generations of one stage.

    Args:
        stage: The stage.
        store: The store that holds them.
    """

    def __init__(self, stage: Stage, store: DirectoryStore) -> None:
        self._stage = stage
        self._store = store
        self._folder = os.fspath(store.layout.stage(stage.name))
        self._fields = stage.fields[1:-1]
        self._known: dict[tuple[FieldValue, ...], tuple[str, Callable[[str], str]] | None] = {}
        self._plain: dict[bytes, Json] = {}

    def stamp(self, gen_id: str) -> int | None:
        """Return what marks a generation's directory (`stamp_of`); None where there is none.

        Raises:
            StorageFailed: It cannot be looked at.
        """
        found = self._status(gen_id)
        return None if found is None else stamp_of(found)

    def _status(self, gen_id: str) -> os.stat_result | None:
        try:
            return os.lstat(f"{self._folder}/{gen_id}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageFailed(f"cannot look at {self._stage.name} {gen_id}: {error.strerror}") from error

    def read(self, gen_id: str) -> Row:
        """Look at one generation; its row says as `read` what marked its directory before.

        Raises:
            StorageFailed: It cannot be looked at for a reason that is not its own.
        """
        try:
            # looked at before it is opened: what takes its place in between has another mark, and is read at the next
            found = os.lstat(f"{self._folder}/{gen_id}")
            data = self._metadata(gen_id) if S_ISDIR(found.st_mode) else None
            row = None if data is None else self.row(gen_id, data, found)
            if row is not None:
                return row
        except OSError:
            pass
        return self._read_carefully(gen_id)

    def _metadata(self, gen_id: str) -> bytes | None:
        """Return a generation's metadata; None where that cannot be had the quick way."""
        if not os.access(f"{self._folder}/{gen_id}/{PARSED}", os.F_OK):
            return None
        file = os.open(f"{self._folder}/{gen_id}/{METADATA}", _FILE)
        try:
            data = os.read(file, _MOST)
        finally:
            os.close(file)
        return data if len(data) < _MOST else None

    def _read_carefully(self, gen_id: str) -> Row:
        """Look at one generation through the store; again where its directory was moved while it was looked at."""
        for _ in range(_LOOKS):
            before = self._status(gen_id)
            row = self._looked_at(gen_id)
            after = self._status(gen_id)
            if before is None or after is None:
                break
            if row.state == Condition.WHOLE or stamp_of(before) == stamp_of(after):
                return _marked(row, before)
        return row_without_record(gen_id, Condition.UNUSABLE, "it was moved away while it was read")

    def _looked_at(self, gen_id: str) -> Row:
        if self._store.incomplete(self._stage, [gen_id]):
            return row_without_record(gen_id, Condition.INCOMPLETE)
        try:
            return row_of(self._store.record(self._stage, gen_id), self._store.salt)
        except GenpoolError as error:
            if isinstance(error, StorageFailed) and not lies_with_the_file(error.__cause__):
                raise  # it says nothing about the generation: its slot must not go to another
            return row_without_record(gen_id, Condition.UNUSABLE, error.message)

    def block(self, gen_ids: Sequence[str]) -> Block:
        """Look at some generations; one that is gone is left out: its folder changed, and is looked at again.

        Raises:
            StorageFailed: As of `read`.
        """
        return Block.of([row for row in map(self.read, gen_ids) if row.read is not None])

    # -- the quick way -----------------------------------------------------------------------------

    def row(self, gen_id: str, data: bytes, found: os.stat_result | None = None) -> Row | None:
        """Return the row of a record in genpool's own format, which is in order; None where that is not plain.

        Args:
            gen_id: The directory's name.
            data: Its metadata.json.
            found: The directory's status; left out, the row does not say what marks it.
        """
        try:
            value = orjson.loads(data)
            seal = value.pop("self")
            stage = self._stage
            if value["format"] != FORMAT or value["id_scheme"] != SCHEME or value["stage"] != stage.name:
                return None
            if value["gen_id"] != gen_id or type(value["replicate"]) is not int or not self._is_sealed(value, seal):
                return None
            variant = (*[value[name] for name in self._fields], value["replicate"])
            if variant not in self._known:
                self._known[variant] = self._looked_up(variant)
            known = self._known[variant]
            source = value[stage.source_field]
            if known is None or field_problem(stage.source_field, source) or known[1](source) != gen_id:
                return None
            return self._row(value, gen_id, source, known[0], found)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def _is_sealed(self, value: dict[str, Any], seal: str) -> bool:
        """Return whether a record has the digest that it states: that of its canonical JSON."""
        if sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)) == seal:
            return True  # the bytes of canonical JSON, but for numbers that it writes otherwise (1.0)
        call = dict(value["call"])
        for name in ("parameters", "price"):
            call[name] = self._as_canonical(call[name])
        if call["seconds"].is_integer():
            call["seconds"] = int(call["seconds"])
        return sha256(orjson.dumps({**value, "call": call}, option=orjson.OPT_SORT_KEYS)) == seal

    def _as_canonical(self, value: Json) -> Json:
        """Return a value with its numbers as canonical JSON writes them; those of a model come with every record."""
        data = orjson.dumps(value)
        if data not in self._plain:
            self._plain[data] = orjson.loads(canonical_json(value))
        return self._plain[data]

    def _looked_up(self, variant: tuple[FieldValue, ...]) -> tuple[str, Callable[[str], str]] | None:
        """Return the choices of a variant as text, and what makes ids of its tasks; None where it is not valid."""
        if any(map(field_problem, self._stage.fields[1:], variant)):
            return None
        return choices_key(variant[:-1]), id_below(self._stage, variant, self._store.salt)

    @staticmethod
    def _row(value: dict[str, Any], gen_id: str, source: str, choices: str, found: os.stat_result | None) -> Row:
        prints, call, score = value["fingerprints"], value["call"], value["score"]
        usage = {} if call is None else call["usage"]
        inputs, parsed = prints.get("inputs"), prints.get("parsed")
        texts = (value["origin_cohort_id"], value["mode"], prints.get("template"), prints.get("model"))
        if not _TEXTS.issuperset(map(type, texts)):
            raise TypeError
        stamp, read = (None, None) if found is None else _marks(found)
        least, most, scored = None, None, None
        if score is not None:
            scored, least, most = _number(score["value"]), _number(score["min"]), _number(score["max"])
        return Row(
            stamp,
            read,
            None,
            gen_id,
            0,
            source,
            choices,
            value["replicate"],
            0,
            seconds_of(_text(value["created_at"])),
            None if inputs is None else bytes.fromhex(inputs),
            None if parsed is None else hashed(parent_bytes(bytes.fromhex(parsed).hex())),
            _count(usage.get("input_tokens")),
            _count(usage.get("output_tokens")),
            scored,
            least,
            most,
            texts[0],
            texts[1] or MODE_LLM,
            texts[2],
            texts[3],
        )


_TEXTS: Final = frozenset({str, type(None)})


def reading(stage: Stage, layout: PoolLayout, salt: str) -> Callable[[Sequence[str]], Block]:
    """Return what reads generations of a stage, as `StageReader.block` does; for any process."""
    return StageReader(stage, DirectoryStore(layout, salt)).block


def stamp_of(found: os.stat_result) -> int:
    """Return a number for a directory as it is: for its change time, its modification time and its inode.

    The change time alone says that something was replaced, but for the ticks of a coarse clock.
    """
    return (found.st_ctime_ns ^ (found.st_mtime_ns * _ODD) ^ (found.st_ino * _OTHER_ODD)) & _BITS


_ODD: Final = 0x9E3779B97F4A7C15
_OTHER_ODD: Final = 0xC2B2AE3D27D4EB4F
_BITS: Final = (1 << 63) - 1  # of an integer in SQLite


def _marks(found: os.stat_result) -> tuple[int | None, int]:
    """Return `stamp` and `read` of a row; a directory that is younger than two seconds is not trusted again."""
    stamp = stamp_of(found)
    young = abs(time.time_ns() - found.st_ctime_ns) <= DISTRUST
    return None if young else stamp, stamp


def _marked(row: Row, found: os.stat_result) -> Row:
    """Return a row with what marked its directory."""
    stamp, read = _marks(found)
    return row._replace(stamp=stamp, read=read)


def _text(value: object) -> str | None:
    if value is None or type(value) is str:
        return value
    raise TypeError


def _count(value: object) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= _BITS):
        return value
    raise TypeError


def _number(value: object) -> float:
    if type(value) is int or type(value) is float:
        return float(value)
    raise TypeError
