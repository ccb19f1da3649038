"""Generations' directories read one after another, by this process or by several: the same comes of both.

Hundreds of thousands are read here, so a record of another tool that is plainly in order has a quick way of its own.
What is checked is the same. Whatever is not plainly in order goes the careful way (`reading`), which says what is
wrong with it.
"""

from __future__ import annotations

import os
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import orjson

from genpool.canonical import sha256
from genpool.layout import METADATA, PARSED
from genpool.migration import defects as kinds
from genpool.migration.defects import Defect
from genpool.migration.reading import (
    OLD_ORIGIN,
    OPAQUE,
    found_in,
    is_plainly_written,
    made_by,
    older_names,
    read_directory,
)
from genpool.signatures import FILE_NAME, field_problem
from genpool.stages import ROOT_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from genpool.migration.identity import Identity
    from genpool.stages import Stage

Stated = tuple[str, tuple[str, ...], int | None, str | None, str, bool]
"""What a usable record states: the fields of a `Node` from `made_by` to `sealed`."""

Batch = tuple[str, str, "Sequence[str]", frozenset[str]]
"""What is read at once: the folder of stage folders, the stage, names in its folder, and which of them are links."""

Block = tuple[list[Stated | str], list[Defect]]
"""What came of a batch: for every name what its record states or, where it cannot be used, the record's digest or
the empty text; and the defects of all of them."""

_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe is not waited for
_MOST: Final = 1 << 16  # bytes that are read at once; a longer record goes the careful way


def reading(root: str, identity: Identity) -> Callable[[Batch], Block]:
    """Return what reads batches of directories; for any process.

    Args:
        root: The pool's directory.
        identity: What its ids are made with.
    """
    readers: dict[tuple[str, str], StageReader] = {}

    def block(batch: Batch) -> Block:
        place, stage, names, links = batch
        if (place, stage) not in readers:
            readers[place, stage] = StageReader(root, place, identity.pipeline[stage], identity)
        return readers[place, stage].block(names, links)

    return block


class StageReader:
    """Reads the directories of one stage at one place.

    Args:
        root: The pool's directory.
        place: The folder of stage folders, relative to the pool.
        stage: The stage.
        identity: What the pool's ids are made with.
    """

    def __init__(self, root: str, place: str, stage: Stage, identity: Identity) -> None:
        self._root = root
        self._place = place
        self._stage = stage
        self._identity = identity
        self._folder = f"{root}/{place}/{stage.name}"
        self._signature = itemgetter(*stage.fields)
        self._source, *self._variant = stage.fields
        self._made = f"{stage.prefix}_"
        older = {name for field in stage.fields for name in older_names(field, stage)}
        repeated = {ROOT_FIELD} if stage.parent else set()
        self._odd = frozenset({"format", "id_scheme", OLD_ORIGIN}) | older | repeated
        self._known: set[tuple[str | int, ...]] = set()

    def block(self, names: Iterable[str], links: frozenset[str]) -> Block:
        """Read some directories.

        Args:
            names: Their names.
            links: Which of them are links.

        Raises:
            StorageFailed: The file system refused for a reason that is not the file's own.
        """
        found: list[Stated | str] = []
        defects: list[Defect] = []
        for name in names:
            if name in links or not FILE_NAME.fullmatch(name):
                defects.append(self._in_the_way(name, is_link=name in links))
                found.append("")
            else:
                found.append(self._read(name, defects))
        return found, defects

    def _in_the_way(self, name: str, *, is_link: bool) -> Defect:
        path = f"{self._place}/{self._stage.name}/{name}"
        if not is_link:
            return Defect(kinds.FOREIGN, path, "is not a name that a generation can have")
        target = os.readlink(f"{self._root}/{path}")  # noqa: PTH115 - a text
        dangling = "" if os.path.exists(f"{self._root}/{path}") else ", which is not there"  # noqa: PTH110
        return Defect(kinds.LINK, path, f"is a link to {target!r}{dangling}; links are not followed")

    def _read(self, name: str, defects: list[Defect]) -> Stated | str:
        folder = f"{self._folder}/{name}"
        try:
            file = os.open(f"{folder}/{METADATA}", _FILE)
            try:
                data = os.read(file, _MOST)
            finally:
                os.close(file)
        except OSError:
            data = b""
        if 0 < len(data) < _MOST and os.access(f"{folder}/{PARSED}", os.F_OK):
            stated = self._plain(name, data)
            if stated is not None:
                return stated
            found = found_in(data, self._place, self._stage, name, self._identity)
        else:
            found = read_directory(self._root, self._place, self._stage, name, self._identity)
        defects += found.defects
        node = found.node
        if node is None:
            return found.digest
        return node.made_by, node.values, node.stated, node.created, node.digest, node.sealed

    def _plain(self, name: str, data: bytes) -> Stated | None:
        """Return what a record of another tool states, where there is nothing to say about it; None elsewhere."""
        try:
            value = orjson.loads(data)
            if not value.keys().isdisjoint(self._odd) or name != name.lower() or not is_plainly_written(value, data):
                return None
            if value.get("gen_id", name) != name or value.get("stage", self._stage.name) != self._stage.name:
                return None
            signature = self._signature(value)
            variant, replicate = signature[1:], signature[-1]
            if type(replicate) is not int or field_problem(self._source, signature[0]):
                return None
            if variant not in self._known:
                if any(map(field_problem, self._variant, variant)):
                    return None
                self._known.add(variant)
            created = value.get("created_at")
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        values = signature[:-1]
        by = OPAQUE
        if name.startswith(self._made):
            by = made_by(name, self._stage, values, replicate, str(replicate), self._identity)
        return by, values, replicate, created if type(created) is str else None, sha256(data), False
