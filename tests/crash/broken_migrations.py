"""Migrations whose protocol is broken on purpose: in their journal, or in how a batch is done and undone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson

from genpool.durable import write_all
from genpool.migration import journal as kinds
from genpool.migration.batches import Batch
from genpool.migration.journal import JOURNAL, Entry, Journal
from genpool.migration.migrations import Migrations
from genpool.migration.plan_file import read_plan
from genpool.migration.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.migration.batches import FileIntent, Intent


class PuttingOff:
    """What is put off until the journal says that it is done."""

    later: list[Callable[[], object]]


class BrokenRound(Round):
    """A round with another journal, and other batches."""

    def use(self, journal: type[Journal], batch: type[Batch]) -> None:
        """Use them."""
        self.later: list[Callable[[], object]] = []
        self.journal = journal(self.folder / JOURNAL)
        self._kind = batch
        if isinstance(self.journal, PuttingOff):
            self.journal.later = self.later

    def batch(self, folder: str) -> Batch:
        made = self._kind(self.root, self.folder / folder)
        if isinstance(made, PuttingOff):
            made.later = self.later
        return made


class BrokenMigrations(Migrations):
    """Migrations with another journal, or other batches."""

    journal: type[Journal] = Journal
    batch: type[Batch] = Batch

    def _round(self, migration_id: str, folder: Path) -> Round:
        plan = read_plan(self._layout, migration_id)
        one = BrokenRound(self._layout, plan, self.change_of(plan), folder, self._batch)
        one.use(self.journal, self.batch)
        return one


# --- journals ---------------------------------------------------------------------------------------


class _SaysDoneFirst(Journal):
    """Notes that a batch is done together with what it is to do."""

    def add(self, kind: str, **facts: Any) -> None:
        if kind == kinds.DONE:
            return
        super().add(kind, **facts)
        if kind == kinds.INTENT:
            super().add(kinds.DONE, batch=facts["batch"])


class _NotesAfterwards(Journal):
    """Notes what a batch is to do when it is done."""

    held = frozenset({kinds.INTENT})

    def add(self, kind: str, **facts: Any) -> None:
        if kind in self.held:
            self._waiting = [*getattr(self, "_waiting", []), (kind, facts)]
            return
        for held, known in self.__dict__.pop("_waiting", []):
            super().add(held, **known)
        super().add(kind, **facts)


class _BeginsAfterwards(_NotesAfterwards):
    """Notes nothing at all before everything is done."""

    held = frozenset({kinds.BEGIN, kinds.INTENT, kinds.DONE})


class _Unflushed(Journal):
    """Appends lines, and does not wait until they are on disk."""

    def add(self, kind: str, **facts: Any) -> None:
        value = {"entry": kind, "at": "2026-01-01T00:00:00Z", **facts}
        self._last = self._sum(value)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            write_all(descriptor, orjson.dumps({**value, "sum": self._last}) + b"\n")
        finally:
            os.close(descriptor)
        self.entries.append(Entry(kind, str(value["at"]), facts))


class _SaysUndoneFirst(Journal, PuttingOff):
    """Notes that a batch is taken back, and takes it back."""

    def add(self, kind: str, **facts: Any) -> None:
        super().add(kind, **facts)
        if kind == kinds.UNDONE:
            self.later.pop()()


# --- batches ----------------------------------------------------------------------------------------


class _PutsUndoOff(Batch, PuttingOff):
    """Takes nothing back before the journal says that it is."""

    def undo(self, intents: list[Intent]) -> list[str]:
        self.later.append(lambda: super(_PutsUndoOff, self).undo(intents))
        return []


class _KeepsNothing(Batch):
    """Keeps no originals."""

    def _keep(self, place: str, kept: str) -> None:
        pass


class _RewritesInPlace(Batch):
    """Writes a new content over the old one, which the original's name leads to as well."""

    def _put(self, folder: str, one: FileIntent, staged: str) -> None:
        if one.was is None or one.becomes is None:
            super()._put(folder, one, staged)
        elif os.path.exists(staged):  # noqa: PTH110 - a text
            with open(staged, "rb") as new, open(f"{folder}/{one.name}", "wb") as old:  # noqa: PTH123 - texts
                old.write(new.read())
            os.unlink(staged)  # noqa: PTH108 - a text


class _RestoresInPlace(Batch):
    """Writes an original over what took its place."""

    def _restore(self, folder: str, one: FileIntent, at: int, *, in_place: bool) -> bool:
        kept = self.original(at)
        if one.was is None or not os.path.exists(kept):  # noqa: PTH110 - a text
            return super()._restore(folder, one, at, in_place=in_place)
        with open(kept, "rb") as old, open(f"{folder}/{one.name}", "wb") as new:  # noqa: PTH123 - texts
            new.write(old.read())
        os.unlink(kept)  # noqa: PTH108 - a text
        return True


# --- migrations with them ---------------------------------------------------------------------------


class SaysDoneFirst(BrokenMigrations):
    """Done in the journal before it is."""

    journal = _SaysDoneFirst


class NotesAfterwards(BrokenMigrations):
    """Renames, then notes what."""

    journal = _NotesAfterwards


class BeginsAfterwards(BrokenMigrations):
    """Renames, then notes that there is a migration."""

    journal = _BeginsAfterwards


class Unflushed(BrokenMigrations):
    """A journal that is not flushed."""

    journal = _Unflushed


class SaysUndoneFirst(BrokenMigrations):
    """Undone in the journal before it is."""

    journal = _SaysUndoneFirst
    batch = _PutsUndoOff


class KeepsNothing(BrokenMigrations):
    """Originals that are not kept."""

    batch = _KeepsNothing


class RewritesInPlace(BrokenMigrations):
    """Files that are written over."""

    batch = _RewritesInPlace


class RestoresInPlace(BrokenMigrations):
    """Originals that are written over what took their place."""

    batch = _RestoresInPlace
