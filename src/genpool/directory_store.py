"""The store that keeps generations in a directory: plain text and JSON that a person can read.

A generation is written to staging, flushed, and moved to its place by one rename that refuses to replace. Outputs that
are kept together share their flushes.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar

from genpool import locks
from genpool.canonical import sha256
from genpool.durable import (
    READABLE,
    add_file,
    can_flush_file_system,
    flush_directory,
    flushing_directories,
    flushing_file_system,
    is_there,
    make_directory,
    moved,
    refuse_link,
    remove_folder,
    rename_without_replacing,
    storage_errors,
    write_file,
)
from genpool.errors import CorruptGeneration, GenpoolError, NotFound, PoolBusy, StorageFailed, StorageFull
from genpool.layout import METADATA, PARSED, TEXT_FILES, PoolLayout, check_name
from genpool.mounts import keeps_flushes_to_itself
from genpool.records import Reason, Record, decode_attempt, decode_object, decode_record
from genpool.staging import Staging, own_staging
from genpool.store import BOUGHT_TWICE, Attempt, Generation, Output, same_purchase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from genpool.stages import Stage

_DIGEST: Final = re.compile("[0-9a-f]{64}")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class MovedIn:
    """A generation that was moved into its place."""

    record: Record
    inode: int
    """Of its directory."""
    filled: int
    """When its directory was filled in staging, in nanoseconds: its modification time, which a move leaves alone."""


class DirectoryStore:
    """A store in a directory: plain text and JSON that a person can read.

    Args:
        layout: The pool's paths.
        salt: The pool's salt, with which ids are checked.
    """

    def __init__(self, layout: PoolLayout, salt: str = "") -> None:
        self.layout = layout
        self.salt = salt
        self._staging: Staging | None = None
        self._sources_kept: set[str] = set()
        self._folders: set[Path] = set()
        self._flushes_at_once = False
        # a path is put together for every task: as a text, a tenth of the time
        self._stage_folder = cache(lambda stage: os.fspath(layout.stage(stage)))
        self._attempts_folder = cache(lambda stage: os.fspath(layout.all_attempts / check_name(stage, "stage")))
        self.low_on_space = False
        self.told: Callable[[Sequence[MovedIn]], None] | None = None
        """Told of generations that are in their place to stay, their entries flushed; it raises nothing."""
        self._moved_in: list[MovedIn] = []

    # -- reading -----------------------------------------------------------------------------------

    def listed(self, stage: Stage) -> frozenset[str]:
        """See `GenerationStore.listed`. Lists the stage's folder; opens nothing."""
        return self._names(self.layout.stage(stage.name))

    def attempted(self, stage: Stage) -> frozenset[str]:
        """See `GenerationStore.attempted`."""
        return self._names(self.layout.all_attempts / stage.name)

    def _names(self, folder: str | Path) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))  # noqa: PTH208 - names, not Path objects: a third of the time
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise StorageFailed(f"cannot list {folder}: {error.strerror}") from error

    def incomplete(self, stage: Stage, gen_ids: Iterable[str]) -> frozenset[str]:
        """See `GenerationStore.incomplete`. Complete is: metadata and the parsed text are there."""
        folder = self._stage_folder(stage.name)
        with storage_errors("cannot look at a generation"):
            return frozenset(
                gen_id
                for gen_id in gen_ids
                if not (
                    is_there(f"{folder}/{gen_id}/{PARSED}", follow=True)
                    and is_there(f"{folder}/{gen_id}/{METADATA}", follow=True)
                )
            )

    def record(self, stage: Stage, gen_id: str) -> Record:
        """See `GenerationStore.record`."""
        folder = f"{self._stage_folder(stage.name)}/{check_name(gen_id, 'gen id')}"
        data = self._read(folder, METADATA, f"generation {gen_id}")
        return decode_record(data, stage, gen_id, self.salt, f"{folder}/{METADATA}")

    def text(self, record: Record, name: str = "parsed") -> str:
        """See `GenerationStore.text`."""
        return self._text(self.layout.generation(record.stage.name, record.gen_id), record, name)

    def _text(self, folder: Path, record: Record, name: str) -> str:
        """Return a text of a generation or an attempt, its digest checked."""
        path = folder / TEXT_FILES[name]
        data = self._read(folder, TEXT_FILES[name], f"the {name} text of {record.gen_id}")
        stated = record.fingerprints.get(name)
        if stated is not None and sha256(data) != stated:
            raise CorruptGeneration(
                f"{path}: the text is not the one that was committed (its digest differs from metadata.json)",
                hint="it was edited or damaged: restore it, or move the whole directory away to have it made again",
            )
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise CorruptGeneration(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None

    def _read(self, folder: str | Path, name: str, what: str) -> bytes:
        """Read a file of the pool; neither it nor its directory may be a link."""
        path = f"{folder}/{name}"  # many thousands are read for one answer: a Path would cost as much as the reading
        try:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is not waited for
                descriptor = os.open(name, flags, dir_fd=opened)
            finally:
                os.close(opened)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{what} does not exist ({path})") from None
        except OSError as error:
            raise StorageFailed(f"cannot read {path}: {error.strerror}") from error
        with storage_errors(f"cannot read {path}", denied=READABLE), os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CorruptGeneration(f"{path} is no file", hint="something else is where genpool keeps this")
            return file.read()

    def attempts(self, stage: Stage, gen_id: str) -> tuple[Attempt, ...]:
        """See `GenerationStore.attempts`. A directory without a readable reason is `incomplete`."""
        numbers = self._numbers(f"{self._attempts_folder(stage.name)}/{check_name(gen_id, 'gen id')}")
        if not numbers:
            return ()
        folder = self.layout.attempts(stage.name, gen_id)
        return tuple(Attempt(number, self._reason(folder / str(number)), gen_id) for number in sorted(numbers))

    def _numbers(self, folder: str | Path) -> list[int]:
        return [int(name) for name in self._names(folder) if name.isascii() and name.isdigit()]

    def _reason(self, folder: Path) -> Reason:
        with suppress(CorruptGeneration, NotFound):
            reason = decode_object(self._read(folder, METADATA, "attempt"), str(folder)).get("reason")
            if isinstance(reason, dict):
                return Reason(str(reason.get("kind")), str(reason.get("message")))
        return Reason("incomplete", "a directory that was left incomplete and moved here when its slot was filled")

    def output(self, stage: Stage, gen_id: str, number: int) -> Generation:
        """See `GenerationStore.output`."""
        folder = self.layout.attempts(stage.name, gen_id) / str(number)
        data = self._read(folder, METADATA, f"attempt {number} at {gen_id}")
        record, reason = decode_attempt(data, stage, gen_id, self.salt, str(folder / METADATA))
        if reason is None:
            raise CorruptGeneration(f"{folder / METADATA}: the record of a generation, not of an attempt")
        names = [name for name in TEXT_FILES if name in record.fingerprints]
        return Generation(record, {name: self._text(folder, record, name) for name in names})

    def source(self, digest: str) -> bytes:
        """See `GenerationStore.source`."""
        if not _DIGEST.fullmatch(digest):  # it becomes a path
            raise NotFound(f"no source is named {digest!r}: that is no SHA-256")
        data = self._read(self.layout.sources, digest, f"source {digest}")
        if sha256(data) != digest:
            raise CorruptGeneration(f"{self.layout.sources / digest}: its content has another digest than its name")
        return data

    # -- writing -----------------------------------------------------------------------------------

    @contextmanager
    def session(self, in_flight: int = 1) -> Iterator[None]:
        """Hold a staging folder of one's own; what dead processes left in staging is removed.

        Some space is set aside, so that answers that were paid for can be kept when the disk fills up.

        Args:
            in_flight: How many generations may be on their way at once.

        Raises:
            PoolBusy: This store object has an open session already.
            StorageFull: There is not even that space.
            StorageFailed: The pool is not writable.
        """
        if self._staging is not None:
            raise PoolBusy(
                f"the pool {self.layout.root} is being written through this object already",
                hint="wait until that has ended, or open the pool once more",
            )
        self.low_on_space = False
        self._flushes_at_once = can_flush_file_system() and not keeps_flushes_to_itself(self.layout.root)
        self._folders.clear()  # somebody may have removed them since
        self._sources_kept.clear()
        with own_staging(self.layout, in_flight) as staging:
            self._staging = staging
            try:
                yield
            finally:
                self._staging = None

    def _when_full(self, write: Callable[[], _T]) -> _T:
        """Write; where the disk is full, give up the space set aside, write again, and remember."""
        try:
            return write()
        except StorageFull:
            self.low_on_space = True
            if self._staging is not None:
                self._staging.give_up_space()
            return write()

    def commit(self, generation: Generation) -> bool:
        """See `GenerationStore.commit`."""
        return self._kept_one(Output(generation)) is None

    def keep_attempt(self, generation: Generation, reason: Reason) -> Attempt:
        """See `GenerationStore.keep_attempt`."""
        attempt = self._kept_one(Output(generation, reason))
        assert attempt is not None
        return attempt

    def _kept_one(self, output: Output) -> Attempt | None:
        (kept,) = self.keep([output])
        if isinstance(kept, GenpoolError):
            raise kept
        return kept

    def keep(self, outputs: Sequence[Output]) -> list[Attempt | GenpoolError | None]:
        """See `GenerationStore.keep`. Two flushes for all of them, where the system can flush a whole file system.

        Where it cannot, or where that flush fails (for whatever reason: it may be another program's file), each is
        written anew, by itself, every file flushed.
        """
        if self._staging is not None:
            self._staging.look_at_space()
        self._moved_in.clear()
        kept = self._kept(outputs)
        if self.told is not None and self._moved_in:
            self.told(tuple(self._moved_in))
        return kept

    def _kept(self, outputs: Sequence[Output]) -> list[Attempt | GenpoolError | None]:
        staged = self._staged_together(outputs) if self._flushes_at_once else None
        if staged is None:
            return [self._keep_alone(output) for output in outputs]
        places: set[Path] = set()
        kept = [self._published(output, folder, places) for output, folder in zip(outputs, staged, strict=True)]
        try:
            with storage_errors("cannot flush what was kept"), flushing_directories(places):
                return kept
        except StorageFailed as error:  # visible, but nobody knows whether they would survive a power cut
            self._moved_in.clear()
            return [error for _ in outputs]

    def _staged_together(self, outputs: Sequence[Output]) -> list[Path] | None:
        """Write the files of several outputs, all flushed at once; None where that did not go well."""
        staging = self._own_staging
        staged: list[Path] = []
        try:
            with storage_errors("cannot write to staging"), flushing_file_system(staging.folder):
                for digest, data in self._new_sources(outputs).items():
                    if not is_there(self.layout.sources / digest):
                        write_file(staging.source(digest), data, flush=False)
                for output in outputs:
                    staged.append(staging.write(output, flush=False))  # noqa: PERF401 - known one by one: some may fail
            self._publish_sources(outputs)
        except BaseException as error:
            for folder in staged:
                remove_folder(folder)
            for digest in self._new_sources(outputs):
                with suppress(OSError):  # one that is torn must not be moved to its place later
                    staging.source(digest).unlink(missing_ok=True)
            if isinstance(error, StorageFailed):
                return None
            raise
        return staged

    def _new_sources(self, outputs: Sequence[Output]) -> dict[str, bytes]:
        """Return the sources of some outputs that this session has not kept yet."""
        named = {digest: data for output in outputs for digest, data in output.sources.items()}
        return {digest: data for digest, data in named.items() if digest not in self._sources_kept}

    def _publish_sources(self, outputs: Sequence[Output]) -> None:
        """Move the sources that are staged and flushed to their place, and flush their entries.

        Raises:
            StorageFailed: The file system refused.
        """
        new = self._new_sources(outputs)
        if not new:
            return
        with storage_errors("cannot keep a source text"):
            self._make_folder(self.layout.sources)
            for digest in new:
                staged = self._own_staging.source(digest)
                if is_there(staged):  # else it is in its place, perhaps without its entry flushed
                    staged.rename(self.layout.sources / digest)
            flush_directory(self.layout.sources)
        self._sources_kept.update(new)

    def _published(self, output: Output, staged: Path, places: set[Path]) -> Attempt | GenpoolError | None:
        """Publish what was staged; where that fails, nothing was moved: it is kept anew, by itself."""
        own: set[Path] = set()
        try:
            with storage_errors(f"cannot keep {output.generation.gen_id}"):
                kept = self._publish(output, staged, own)
        except GenpoolError:  # its places may be what fails, and would fail the others' flush
            remove_folder(staged)
            return self._keep_alone(output)
        places.update(own)
        return kept

    def _keep_alone(self, output: Output) -> Attempt | GenpoolError | None:
        """Keep one output, every file flushed by itself; where the disk is full, in the space set aside."""
        try:
            return self._when_full(lambda: self._keep_flushed(output))
        except GenpoolError as error:
            return error

    def _keep_flushed(self, output: Output) -> Attempt | None:
        places: set[Path] = set()
        for data in self._new_sources([output]).values():
            self.put_source(data)
        with storage_errors(f"cannot keep {output.generation.gen_id}"), self._forgetting_what_fails():
            staged = self._own_staging.write(output, flush=True)
            with flushing_directories(places):
                return self._publish(output, staged, places)

    @contextmanager
    def _forgetting_what_fails(self) -> Iterator[None]:
        """Let nobody be told of what was moved in and could not be flushed: a power cut may take it away again."""
        before = len(self._moved_in)
        try:
            yield
        except BaseException:
            del self._moved_in[before:]
            raise

    def _publish(self, output: Output, staged: Path, places: set[Path]) -> Attempt | None:
        """Move a staged output to where it belongs; the folders whose entries are to be flushed are added to places."""
        record = output.generation.record
        if output.reason is not None:
            number = self._publish_attempt(record, staged, places)
            return Attempt(number, output.reason, record.gen_id)
        if self._move_in(record, staged, places):
            return None
        return self._keep_flushed(Output(output.generation, BOUGHT_TWICE))

    def _move_in(self, record: Record, staged: Path, places: set[Path]) -> bool:
        """Move a staged generation to its place; return False, and let go of it, where the place is taken."""
        target = self.layout.generation(record.stage.name, record.gen_id)
        self._make_folder(target.parent)
        filled = staged.lstat()
        while not moved(staged, target):
            if not self.incomplete(record.stage, [record.gen_id]):
                remove_folder(staged)
                return False
            self._clear_place(record)
        places.add(target.parent)
        self._moved_in.append(MovedIn(record, filled.st_ino, filled.st_mtime_ns))
        return True

    def promote(self, generation: Generation) -> bool:
        """See `GenerationStore.promote`."""
        self._moved_in.clear()
        promoted = self._when_full(lambda: self._promoted(generation))
        if self.told is not None and self._moved_in:
            self.told(tuple(self._moved_in))
        return promoted

    def _promoted(self, generation: Generation) -> bool:
        places: set[Path] = set()
        with storage_errors(f"cannot keep generation {generation.gen_id}"), self._forgetting_what_fails():
            staged = self._own_staging.write(Output(generation), flush=True)
            with flushing_directories(places):
                return self._move_in(generation.record, staged, places)

    def consume(self, record: Record, number: int) -> None:
        """See `GenerationStore.consume`. It vanishes by one rename, so that no half of it is ever seen."""
        attempt = self.output(record.stage, record.gen_id, number).record
        made = self.record(record.stage, record.gen_id)
        if not same_purchase(made, attempt):
            raise CorruptGeneration(f"generation {record.gen_id} is not what attempt {number} at it holds")
        self.text(made, "prompt"), self.text(made, "raw")
        folder = self.layout.attempts(record.stage.name, record.gen_id) / str(number)
        with storage_errors(f"cannot take away attempt {number} at {record.gen_id}"):
            gone = self._own_staging.new_place()
            rename_without_replacing(folder, gone)
            flush_directory(folder.parent)
            remove_folder(gone)

    def _clear_place(self, record: Record) -> None:
        """Move an incomplete directory among the attempts, where it fills no slot and is not lost."""
        occupied = self.layout.generation(record.stage.name, record.gen_id)
        # one at a time, and looked at again: another writer may have cleared and filled the place meanwhile
        with locks.file_lock(self.layout, "incomplete", "what was left incomplete"):
            if is_there(occupied) and self.incomplete(record.stage, [record.gen_id]):
                places = {occupied.parent}
                with flushing_directories(places):
                    self._publish_attempt(record, occupied, places)

    def _publish_attempt(self, record: Record, folder: Path, places: set[Path]) -> int:
        """Move a directory to the next free number among a task's attempts."""
        place = self.layout.attempts(record.stage.name, record.gen_id)
        self._make_folder(place.parent)
        with suppress(FileExistsError):
            place.mkdir()
        places.update((place.parent, place))
        number = max(self._numbers(place), default=0) + 1
        while not moved(folder, place / str(number)):
            number += 1
        return number

    def _make_folder(self, path: Path) -> None:
        """Make a folder whose entry is on disk when this returns; once a session.

        Another thread or a dead process may have made it without flushing its entry: that it is visible says nothing.
        """
        if path in self._folders:
            return
        refuse_link(path)
        make_directory(path)
        flush_directory(path.parent)
        flush_directory(path.parent.parent)
        self._folders.add(path)

    @property
    def _own_staging(self) -> Staging:
        if self._staging is None:
            raise RuntimeError("writing to a store needs its session()")
        return self._staging

    def put_source(self, data: bytes) -> str:
        """See `GenerationStore.put_source`."""
        digest = sha256(data)
        if digest not in self._sources_kept:
            with storage_errors("cannot keep a source text"):
                self._make_folder(self.layout.sources)
                add_file(self.layout.sources / digest, data)
            self._sources_kept.add(digest)
        return digest
