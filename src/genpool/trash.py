"""The trash: directories of a pool that were moved away by one removal, and how they come back.

A removal has a folder trash/<trash_id>/ with a record, trash.json, and below it what was moved, under the same
relative path as in the pool. Promises:

- The record is on disk, with every move, before the first move is made; every move is one rename that refuses to
  replace, with both directories flushed.
- A removal or an undo that was interrupted is finished by the next command of the trash (`finish_interrupted`), and no
  run starts before: what is half moved is no ground to plan on. A move whose target is there is done.
- An undo looks at every place before its first move, and refuses where something has taken one since.

The caller holds the pool's exclusive lock for everything here that writes. Nothing is ever deleted.

Accepted trade-off: two flushes a move, so that at most the move in flight is in doubt after a power cut.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

import orjson

from genpool.durable import (
    READABLE,
    flush_directory,
    is_there,
    make_directory,
    refuse_link,
    rename_without_replacing,
    replace_file,
    storage_errors,
)
from genpool.errors import CorruptFile, NotFound, PoolBusy, StorageFailed, UnsupportedFormat, nearest
from genpool.ledger import utc_now
from genpool.yaml_reader import is_version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from genpool.layout import PoolLayout

FORMAT: Final = "genpool.trash/1"

PLANNED: Final = "planned"
DONE: Final = "done"
UNDOING: Final = "undoing"
UNDONE: Final = "undone"
_OPEN: Final = frozenset({PLANNED, UNDOING})
_STATES: Final = frozenset({PLANNED, DONE, UNDOING, UNDONE})


@dataclass(frozen=True, slots=True)
class Trashed:
    """One removal: what was moved to the trash, by what, and how it stands."""

    trash_id: str
    verb: str
    """The command that removed."""
    cohort: str
    """The cohort that the command was about."""
    when: str
    """RFC 3339, UTC."""
    moved: tuple[str, ...]
    """The directories, relative to the pool, in the order in which they were moved."""
    state: str = PLANNED
    """`planned` (being moved), `done`, `undoing` (being moved back), `undone`."""

    @property
    def is_open(self) -> bool:
        """Whether it was interrupted, or is being carried out."""
        return self.state in _OPEN

    def target(self, moved: str) -> str:
        """Return where a directory is in the trash, relative to the pool."""
        return f"trash/{self.trash_id}/{moved}"

    def counts(self) -> dict[str, int]:
        """Return how many generations it has of each stage, and how many folders of attempts."""
        kinds = [one.split("/") for one in self.moved]
        found = Counter(kind[1] for kind in kinds if kind[0] == "gens")
        attempts = sum(kind[0] == "attempts" for kind in kinds)
        return {**found, "attempts": attempts} if attempts else dict(found)

    def encode(self) -> bytes:
        """Return the bytes of trash.json."""
        value = {
            "format": FORMAT,
            "trash_id": self.trash_id,
            "verb": self.verb,
            "cohort": self.cohort,
            "when": self.when,
            "state": self.state,
            "moves": [{"from": one, "to": self.target(one)} for one in self.moved],
        }
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


# --- reading --------------------------------------------------------------------------------------


def read_trash(layout: PoolLayout) -> list[Trashed]:
    """Return every removal, oldest first.

    Raises:
        CorruptFile: A trash.json cannot be read.
        UnsupportedFormat: A newer genpool wrote one.
    """
    with storage_errors(f"cannot list {layout.trash}", denied=READABLE):
        names = sorted(os.listdir(layout.trash)) if layout.trash.is_dir() else []  # noqa: PTH208 - names will do
        # a folder without a record is what a crash left before anything was moved
        names = [name for name in names if is_there(layout.trash / name / "trash.json")]
    found = [read_trashed(layout, name) for name in names]
    return sorted(found, key=lambda one: (one.when, one.trash_id))


def find_trashed(layout: PoolLayout, trash_id: str) -> Trashed:
    """Return a removal by its id.

    Raises:
        NotFound: There is none.
    """
    found = {one.trash_id: one for one in read_trash(layout)}
    if trash_id not in found:
        raise NotFound(
            f"the trash has nothing with the id {trash_id!r}", hint=nearest(trash_id, found) or "`genpool trash ls`"
        )
    return found[trash_id]


def refuse_while_open(layout: PoolLayout) -> None:
    """Refuse to go on where a removal or an undo was interrupted: half of it is no ground to plan on.

    Raises:
        PoolBusy: One was.
    """
    for one in read_trash(layout):
        if one.is_open:
            raise PoolBusy(
                f"{_named(one)} was interrupted: a part of it is moved, a part is not",
                hint=f"`genpool trash ls` finishes it; `genpool trash undo {one.trash_id}` takes it back",
            )


def _named(one: Trashed) -> str:
    return f"{'the undo of ' if one.state == UNDOING else ''}`genpool {one.verb} {one.cohort}` ({one.trash_id})"


def read_trashed(layout: PoolLayout, trash_id: str) -> Trashed:
    """Read the record of one removal.

    Raises:
        CorruptFile: It cannot be read.
        UnsupportedFormat: A newer genpool wrote it.
    """
    path = layout.trashed(trash_id)
    try:
        with storage_errors("cannot read the trash", denied=READABLE):
            value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise CorruptFile(f"{path}: not readable as JSON: {error}", hint=_BY_HAND) from None
    name, _, version = str(value.get("format") if isinstance(value, dict) else None).partition("/")
    known = FORMAT.partition("/")
    if name == known[0] and is_version(version) and int(version) > int(known[2]):
        raise UnsupportedFormat(f"{path}: format {name}/{version} is newer than this genpool reads ({FORMAT})")
    try:
        texts = {key: value[key] for key in ("trash_id", "verb", "cohort", "when", "state")}
        moves = [(one["from"], one["to"]) for one in value["moves"]]
    except (TypeError, KeyError) as error:
        raise CorruptFile(f"{path}: not a record of a removal: {error!r}", hint=_BY_HAND) from None
    if (
        f"{name}/{version}" != FORMAT
        or not all(isinstance(text, str) for text in texts.values())
        or texts["trash_id"] != trash_id
        or texts["state"] not in _STATES
    ):
        raise CorruptFile(f"{path}: not a record of the removal {trash_id}", hint=_BY_HAND)
    found = Trashed(**cast("dict[str, str]", texts), moved=tuple(move[0] for move in moves))
    for source, target in moves:
        if not _inside(source) or target != found.target(source):
            raise CorruptFile(f"{path}: a move from {source!r} to {target!r} is none that genpool makes", hint=_BY_HAND)
    return found


_BY_HAND: Final = "the file was damaged or edited; what it moved is beside it, under the path that it had in the pool"
_MOVED: Final = {"gens": 3, "attempts": 3, "cohorts": 2}
"""Folders that a removal moves something out of, and how many names the path of such a thing has."""


def _inside(path: object) -> bool:
    """Return whether a path is one that a removal can move: it is read from a file that a person may have edited."""
    if not isinstance(path, str) or "\0" in path:
        return False
    parts = path.split("/")
    return _MOVED.get(parts[0]) == len(parts) and not {"", ".", ".."} & set(parts)


# --- moving ---------------------------------------------------------------------------------------


def throw_away(layout: PoolLayout, verb: str, cohort: str, paths: Iterable[Path]) -> Trashed:
    """Move directories of a pool to the trash.

    Args:
        layout: The pool's paths.
        verb: The command that removes.
        cohort: The cohort that it is about.
        paths: The directories, in the order in which they are to be moved.

    Raises:
        StorageFailed: The file system refused; what was moved is finished or undone by the next command.
    """
    moved = tuple(path.relative_to(layout.root).as_posix() for path in paths)
    trash_id = f"trash-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    one = Trashed(trash_id, verb, cohort, utc_now(), moved)
    with storage_errors("cannot write to the trash"):
        refuse_link(layout.trash)
        make_directory(layout.trashed(trash_id).parent)
    return _finish(layout, _noted(layout, one, PLANNED))


def finish_interrupted(layout: PoolLayout, *, but: str | None = None) -> list[Trashed]:
    """Finish the removals and undos that were interrupted; return them as they are now.

    Args:
        layout: The pool's paths.
        but: One that is left as it is: the caller goes on with it.

    Raises:
        StorageFailed: Something has taken a place that an undo needs, or the file system refused.
    """
    there = read_trash(layout)
    with storage_errors(f"cannot flush the records of {layout.trash}"):
        for one in there:  # a crash may have come between the rename of a record and its flush: what is told must last
            flush_directory(layout.trashed(one.trash_id).parent)
    waiting = [one for one in there if one.is_open and one.trash_id != but]
    return [_finish(layout, one) if one.state == PLANNED else _take_back(layout, one) for one in waiting]


def undo(layout: PoolLayout, trash_id: str) -> Trashed:
    """Move everything of a removal back to where it was; one that was interrupted is taken back as far as it went.

    Raises:
        NotFound: There is no such removal, or it was undone before.
        StorageFailed: Something has taken a place since, or is not in the trash any more: nothing was moved.
    """
    one = find_trashed(layout, trash_id)
    if one.state == UNDONE:
        raise NotFound(f"{_named(one)} was undone already: nothing of it is in the trash")
    return _take_back(layout, one)


def _finish(layout: PoolLayout, one: Trashed) -> Trashed:
    """Make the moves of a removal that are not made yet."""
    with storage_errors(f"cannot move to the trash ({one.trash_id})"):
        for moved in one.moved:
            _move(layout.root / moved, layout.root / one.target(moved))
    return _noted(layout, one, DONE)


def _take_back(layout: PoolLayout, one: Trashed) -> Trashed:
    """Move everything back, the last first."""
    _refuse_taken(layout, one)
    one = _noted(layout, one, UNDOING)
    with storage_errors(f"cannot move back from the trash ({one.trash_id})"):
        for moved in reversed(one.moved):
            _move(layout.root / one.target(moved), layout.root / moved)
    return _noted(layout, one, UNDONE)


def _refuse_taken(layout: PoolLayout, one: Trashed) -> None:
    """Refuse an undo that could not be carried out to its end."""
    there = {moved: is_there(layout.root / moved) for moved in one.moved}
    kept = {moved: is_there(layout.root / one.target(moved)) for moved in one.moved}
    taken = [moved for moved in one.moved if there[moved] and kept[moved]]
    if taken:
        raise StorageFailed(
            f"{one.trash_id} was not undone: something is again where it belongs: {_first(taken)}",
            hint="move that away first, or leave it as it is; nothing was changed",
        )
    lost = [one.target(moved) for moved in one.moved if not there[moved] and not kept[moved]]
    if lost:
        raise StorageFailed(
            f"{one.trash_id} was not undone: it is not in the trash any more: {_first(lost)}",
            hint="what is left of it can be moved back by hand; nothing was changed",
        )


def _first(paths: list[str]) -> str:
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5:,} more" if len(paths) > 5 else "")


def _move(source: Path, target: Path) -> None:
    """Move one directory, unless that is done; returned means on disk.

    Where both are there, something came to the old place after the move: it is not ours. Where neither is, somebody
    deleted it, and there is nothing to move.
    """
    if not is_there(source) or is_there(target):
        if source.parent.is_dir() and target.parent.is_dir():
            _flush_both(source, target)  # a crash may have come between the rename and its flush
        return
    refuse_link(source.parent)
    refuse_link(target.parent)
    make_directory(target.parent)
    rename_without_replacing(source, target)
    _flush_both(source, target)


def _flush_both(source: Path, target: Path) -> None:
    flush_directory(target.parent)
    flush_directory(source.parent)


def _noted(layout: PoolLayout, one: Trashed, state: str) -> Trashed:
    """Write the record with a state; return the removal in it."""
    one = replace(one, state=state)
    with storage_errors(f"cannot write {layout.trashed(one.trash_id)}"):
        replace_file(layout.trashed(one.trash_id), one.encode())
    return one
