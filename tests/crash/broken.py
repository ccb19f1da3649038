"""Protocols that are broken on purpose: a sweep that does not catch them proves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from genpool.claims import Claims
from genpool.directory_store import DirectoryStore
from genpool.durable import flush_directory, make_directory, replace_file, write_all, write_directory, write_file
from genpool.layout import METADATA, PoolLayout
from genpool.ledger import Ledger
from genpool.membership import read_membership
from genpool.pool import Pool
from genpool.trash import DONE, PLANNED, UNDONE, Trashed, find_trashed, read_trash, throw_away

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from genpool.records import Record
    from genpool.store import Attempt, Generation, Output


def _files(generation: Generation) -> dict[str, bytes]:
    return {f"{name}.txt": text.encode() for name, text in generation.texts.items()}


class WritesIntoPlace(DirectoryStore):
    """Writes the files where readers look, instead of moving them there as a whole."""

    def commit(self, generation: Generation) -> bool:
        target = self.layout.generation("draft", generation.gen_id)
        make_directory(target.parent)
        write_directory(target, {**_files(generation), METADATA: generation.record.encode()})
        return True


class WritesMetadataFirst(DirectoryStore):
    """Writes into place, and the metadata before the texts that it vouches for."""

    def commit(self, generation: Generation) -> bool:
        target = self.layout.generation("draft", generation.gen_id)
        make_directory(target)
        (target / METADATA).write_bytes(generation.record.encode())
        for name, data in _files(generation).items():
            (target / name).write_bytes(data)
        return True


class AcknowledgesEarly(DirectoryStore):
    """Says that a generation is kept, and keeps it when the session ends."""

    @contextmanager
    def session(self, in_flight: int = 1) -> Iterator[None]:
        self.later: list[Generation] = []
        with super().session(in_flight):
            yield
            for generation in self.later:
                super().commit(generation)

    def commit(self, generation: Generation) -> bool:
        self.later.append(generation)
        return True


class Overwrites(DirectoryStore):
    """Replaces a generation that is there."""

    def _publish(self, output: Output, staged: Path, places: set[Path]) -> Attempt | None:
        target = self.layout.generation("draft", output.generation.gen_id)
        shutil.rmtree(target)
        staged.rename(target)
        return None


class DeletesWhatIsIncomplete(DirectoryStore):
    """Clears a place by deleting what is there."""

    def _clear_place(self, record: Record) -> None:
        shutil.rmtree(self.layout.generation("draft", record.gen_id))


class PublishesAttemptsInPieces(DirectoryStore):
    """Moves an attempt's files one by one."""

    def _publish_attempt(self, record: Record, folder: Path, places: set[Path]) -> int:
        place = self.layout.attempts("draft", record.gen_id)
        number = len(list(place.iterdir())) + 1 if place.exists() else 1
        make_directory(place / str(number))
        for path in sorted(folder.iterdir(), reverse=True):
            path.rename(place / str(number) / path.name)
        return number


class AnnouncesIntentsUnwritten(Ledger):
    """Does not wait until an entry is in the file."""

    def _send(self, entry: Mapping[str, object]) -> asyncio.Future[None]:
        super()._send(entry)  # type: ignore[arg-type]
        said = asyncio.get_running_loop().create_future()
        said.set_result(None)
        return said


def replace_in_place(path: Path, data: bytes) -> None:
    """Write a new content over the old one."""
    with path.open("wb", buffering=0) as file:
        file.write(data)


def append_behind_a_torn_line(path: Path, data: bytes) -> None:
    """Append without a look at how the file ends."""
    with path.open("ab", buffering=0) as file:
        file.write(data)


# --- what only a power cut or a refused write shows -------------------------------------------------


class _OneRename(DirectoryStore):
    """A whole small protocol of its own: write beside the place, flush, rename. Its subclasses leave something out."""

    def commit(self, generation: Generation) -> bool:
        target = self.layout.generation("draft", generation.gen_id)
        make_directory(target.parent)
        staged = self.layout.staging / "its own"
        staged.mkdir()
        for name, data in {**_files(generation), METADATA: generation.record.encode()}.items():
            self.put(staged / name, data)
        flush_directory(staged)
        staged.rename(target)
        self.seal(target.parent)
        return True

    def put(self, path: Path, data: bytes) -> None:
        """Write one file."""
        write_file(path, data)

    def seal(self, folder: Path) -> None:
        """Make an entry in a folder durable."""
        flush_directory(folder)


class FlushesNoFile(_OneRename):
    """Flushes directories, and not what is in the files."""

    def put(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)


class FlushesNoDirectory(_OneRename):
    """Flushes the files, and not the entry that makes them visible."""

    def seal(self, folder: Path) -> None:
        pass


class WritesUnchecked(_OneRename):
    """Takes for granted that a write writes everything."""

    def put(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class RetriesFlushes(_OneRename):
    """Flushes a descriptor again where that has failed; the kernel has forgotten then that there is something to do."""

    def put(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_all(descriptor, data)
            try:
                os.fsync(descriptor)
            except OSError:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


class PublishesUnflushed(_OneRename):
    """Goes on where a flush has failed."""

    def put(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_all(descriptor, data)
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


class WritesTheLedgerUnflushed(Ledger):
    """Writes an entry and does not wait until it is on disk."""

    def _send(self, entry: Mapping[str, object]) -> asyncio.Future[None]:
        make_directory(self.path.parent)
        with self.path.open("ab", buffering=0) as file:
            head = b"" if file.tell() else json.dumps(self._head).encode() + b"\n"
            file.write(head + json.dumps(entry).encode() + b"\n")
        said = asyncio.get_running_loop().create_future()
        said.set_result(None)
        return said


def replace_unflushed(path: Path, data: bytes) -> None:
    """Write beside the file and rename, without a flush."""
    beside = path.with_name("beside")
    beside.write_bytes(data)
    beside.rename(path)
    flush_directory(path.parent)


def replace_and_leave_the_entry(path: Path, data: bytes) -> None:
    """Write beside the file, flush that and rename, without a flush of the directory."""
    beside = path.with_name("beside")
    write_file(beside, data)
    beside.rename(path)


def append_unflushed(path: Path, data: bytes) -> None:
    """Cut a torn line off and append, without a flush."""
    whole = path.read_bytes().rpartition(b"\n")[0] + b"\n"
    with path.open("r+b", buffering=0) as file:
        file.truncate(len(whole))
        file.seek(len(whole))
        file.write(data)


# --- removals -------------------------------------------------------------------------------------


def _noted(root: Path, goes: Sequence[str], state: str) -> Trashed:
    """Write the record of a removal."""
    one = Trashed("trash-1", "purge", "c", "2026-01-01T00:00:00Z", tuple(goes), state)
    replace_file(PoolLayout(root).trashed(one.trash_id), one.encode())
    return one


def _move(root: Path, old: str, new: str) -> None:
    make_directory((root / new).parent)
    (root / old).rename(root / new)


def moves_before_it_records(root: Path, goes: Sequence[str]) -> None:
    """Writes down what it moved when it has moved it."""
    one = Trashed("trash-1", "purge", "c", "2026-01-01T00:00:00Z", tuple(goes))
    for name in goes:
        _move(root, name, one.target(name))
    _noted(root, goes, DONE)


def says_done_before_it_is(root: Path, goes: Sequence[str]) -> None:
    """Writes one record, the last one, first."""
    one = _noted(root, goes, DONE)
    for name in goes:
        _move(root, name, one.target(name))


def copies_and_deletes(root: Path, goes: Sequence[str]) -> None:
    """Moves file by file."""
    one = _noted(root, goes, PLANNED)
    for name in goes:
        shutil.copytree(root / name, root / one.target(name))
        shutil.rmtree(root / name)
    _noted(root, goes, DONE)


def takes_parents_first(root: Path, goes: Sequence[str]) -> None:
    """Moves everything in an order in which generations are left without their parents."""
    throw_away(PoolLayout(root), "purge", "c", [root / name for name in reversed(goes)])


def asks_nobody(root: Path, _goes: Sequence[str]) -> None:
    """Takes every member, whoever else reaches it."""
    pool = Pool.open(root)
    members = read_membership(pool.layout, pool.config.pipeline, "c")
    throw_away(pool.layout, "purge", "c", [pool.layout.generation(one.stage, one.gen_id) for one in members])


def finishes_after_it_says_so(root: Path) -> None:
    """Finishes a removal that was interrupted, and notes that it is done before it goes on."""
    for one in read_trash(PoolLayout(root)):
        replace_file(PoolLayout(root).trashed(one.trash_id), replace(one, state=DONE).encode())
        for name in one.moved:
            if (root / name).exists():
                _move(root, name, one.target(name))


def undoes_after_it_says_so(root: Path, trash_id: str) -> None:
    """Notes that a removal is undone before anything is moved back."""
    one = find_trashed(PoolLayout(root), trash_id)
    replace_file(PoolLayout(root).trashed(trash_id), replace(one, state=UNDONE).encode())
    for name in reversed(one.moved):
        _move(root, one.target(name), name)


class LeasedClaims(Claims):
    """Claims that run out, and that nobody asks about again: whoever stood still meanwhile goes on regardless."""

    LEASE = 1.0  # seconds

    def take(self, stage: str, gen_id: str) -> bool:
        path = self._layout.claim(stage, gen_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime < self.LEASE:
                    return False
            path.touch()
        return True

    def give_back(self, stage: str, gen_id: str) -> None:
        self._layout.claim(stage, gen_id).unlink(missing_ok=True)

    def is_free(self, stage: str, gen_id: str) -> bool:
        return True
