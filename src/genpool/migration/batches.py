"""A batch of steps: prepared, done, undone; each of the three can be repeated until it has been done whole.

A step gives files of a directory new content, and the directory another name. Promises:

- Nothing is written in place: new content is a new file that takes the old one's name by a rename. The old file itself,
  with its times and mode, is kept under the batch's folder by a second name until the migration is closed.
- What is prepared is on disk before the journal says so, and the journal before the first rename.
- No path is the source, or the target, of two steps of one batch; so where a directory is tells what was done.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.canonical import sha256
from genpool.durable import (
    can_flush_file_system,
    flush_descriptor,
    flush_directory,
    flushing_file_system,
    is_there,
    make_directory,
    rename_without_replacing,
    write_all,
)
from genpool.errors import CorruptFile, PoolError, StorageFailed
from genpool.migration.reading import read_plain
from genpool.mounts import keeps_flushes_to_itself

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

INTENTS: Final = "intents.jsonl"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What becomes of one file."""

    name: str
    """Its path within the step's directory."""
    before: bytes | None
    """What it holds; None where it is not there."""
    after: bytes | None
    """What it will hold; None where it is taken away."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step, as it is to be prepared."""

    source: str
    """The directory, relative to the pool."""
    target: str
    """Where it goes; the same where it stays."""
    files: Callable[[], list[Rewrite]]
    """Reads what is rewritten, and says to what."""
    texts: bool = False
    """Whether the digests of the other files in it are noted."""


@dataclass(frozen=True, slots=True)
class FileIntent:
    """What is to become of one file."""

    name: str
    was: str | None
    """SHA-256 before; None where it was not there."""
    becomes: str | None
    """SHA-256 after; None where it is taken away."""
    folder_time: int
    """When the folder that it is in was changed, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One step as it stands in the journal."""

    source: str
    target: str
    files: tuple[FileIntent, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)
    """The other files in it: path to SHA-256."""

    def as_json(self) -> dict[str, Any]:
        """Return the intent as a line of intents.jsonl."""
        files = [[one.name, one.was, one.becomes, one.folder_time] for one in self.files]
        return {"from": self.source, "to": self.target, "files": files, "texts": self.texts}


class Batch:
    """One batch of steps in its folder.

    Args:
        root: The pool's directory.
        folder: The batch's folder.
        together: Whether one flush of the file system is enough for all of it; left out, what the system can.
    """

    def __init__(self, root: str, folder: Path, *, together: bool | None = None) -> None:
        self._root = root
        self._folder = os.fspath(folder)
        can = can_flush_file_system() and not keeps_flushes_to_itself(Path(root))
        self._together = can if together is None else together
        self._changed: set[str] = set()

    def original(self, number: int) -> str:
        """Return where the original of a file is kept."""
        return f"{self._folder}/o{number}"

    # -- preparing ---------------------------------------------------------------------------------

    def prepare(self, steps: Iterable[Step]) -> str:
        """Write new contents and keep the old; returned means on disk. Changes nothing that anybody reads.

        Returns:
            The digest of the intents.

        Raises:
            PoolError: Something is not as it was planned.
            OSError: The file system refused.
        """
        make_directory(Path(self._folder))
        with self._flushed():
            intents = []
            number = 0
            for step in steps:
                intent = self._prepared(step, number)
                number += len(intent.files)
                intents.append(intent)
            data = b"".join(orjson.dumps(one.as_json()) + b"\n" for one in intents)
            self._write(f"{self._folder}/{INTENTS}", data, None)
        return sha256(data)

    def _prepared(self, step: Step, number: int) -> Intent:
        folder = f"{self._root}/{step.source}"
        files = []
        for at, one in enumerate(step.files(), start=number):
            place = f"{folder}/{one.name}"
            holds = os.stat(place.rpartition("/")[0], follow_symlinks=False)  # noqa: PTH116 - a hundred thousand
            if one.before is not None:
                self._keep(place, f"{self._folder}/o{at}")
            if one.after is not None:
                mode = None if one.before is None else os.stat(place, follow_symlinks=False).st_mode  # noqa: PTH116
                self._write(f"{self._folder}/n{at}", one.after, mode)
            was = None if one.before is None else sha256(one.before)
            becomes = None if one.after is None else sha256(one.after)
            files.append(FileIntent(one.name, was, becomes, holds.st_mtime_ns))
        texts = digests_below(folder, without=frozenset(one.name for one in files)) if step.texts else {}
        return Intent(step.source, step.target, tuple(files), texts)

    def _keep(self, place: str, kept: str) -> None:
        """Give a file a second name; where the file system has no such thing, copy it with its times and mode."""
        try:
            os.link(place, kept, follow_symlinks=False)
        except OSError as error:
            if isinstance(error, FileExistsError | FileNotFoundError):
                raise
            shutil.copy2(place, kept, follow_symlinks=False)
            if not self._together:
                _flush_file(kept)

    def _write(self, path: str, data: bytes, mode: int | None) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            write_all(descriptor, data)
            if mode is not None and stat.S_IMODE(mode) != stat.S_IMODE(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, stat.S_IMODE(mode))
            if not self._together:
                flush_descriptor(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _flushed(self) -> Iterator[None]:
        """Have everything that the block does on disk at its end."""
        self._changed = {self._folder}
        if self._together:
            with flushing_file_system(Path(self._folder)):
                yield
            return
        yield
        for folder in sorted(self._changed):
            if is_there(folder):
                flush_directory(Path(folder))

    # -- doing -------------------------------------------------------------------------------------

    def intents(self, digest: str) -> list[Intent]:
        """Read what was prepared.

        Raises:
            CorruptFile: It is not what the journal vouches for.
        """
        path = f"{self._folder}/{INTENTS}"
        data = read_plain(path)
        if sha256(data) != digest:
            raise CorruptFile(
                f"{path} is not what the journal vouches for: it was damaged",
                hint="restore it from a copy: nothing is done by a journal that cannot be trusted",
            )
        found = []
        for line in data.splitlines():
            value = orjson.loads(line)
            files = tuple(FileIntent(*one) for one in value["files"])
            found.append(Intent(value["from"], value["to"], files, value["texts"]))
        return found

    def do(self, intents: Iterable[Intent]) -> None:
        """Do the steps that are not done yet; returned means on disk.

        Raises:
            StorageFailed: Something is where a directory is to go, or a directory is gone.
            OSError: The file system refused.
        """
        with self._flushed():
            number = 0
            for intent in intents:
                folder = self._where(intent.source, intent.target)
                for at, one in enumerate(intent.files, start=number):
                    self._put(folder, one, f"{self._folder}/n{at}")
                number += len(intent.files)
                self._rename(intent.source, intent.target)

    def _where(self, first: str, second: str) -> str:
        """Return where a step's directory is now."""
        for one in (first, second):
            if is_there(f"{self._root}/{one}"):
                return f"{self._root}/{one}"
        raise StorageFailed(
            f"{first} is gone, and is not at {second} either",
            hint="somebody moved it; put it back, then go on: `genpool migrate resume`",
        )

    def _put(self, folder: str, one: FileIntent, staged: str) -> None:
        place = f"{folder}/{one.name}"
        self._changed.add(place.rpartition("/")[0])
        try:
            if one.becomes is None:
                os.unlink(place)  # noqa: PTH108 - a text
            else:
                os.rename(staged, place)  # noqa: PTH104 - a text
        except FileNotFoundError:
            return  # it was done before

    def _rename(self, source: str, target: str) -> None:
        """Rename a directory, unless that is done."""
        if source == target or not is_there(f"{self._root}/{source}"):
            return
        new = Path(f"{self._root}/{target}")
        self._changed |= {f"{self._root}/{source}".rpartition("/")[0], f"{self._root}/{target}".rpartition("/")[0]}
        try:
            rename_without_replacing(Path(f"{self._root}/{source}"), new)
        except FileNotFoundError:
            make_directory(new.parent)
            rename_without_replacing(Path(f"{self._root}/{source}"), new)
        except FileExistsError:
            raise StorageFailed(
                f"{source} cannot become {target}: something is there",
                hint="move that away, then `genpool migrate resume`; or `genpool migrate rollback`",
            ) from None

    # -- undoing -----------------------------------------------------------------------------------

    def undo(self, intents: list[Intent]) -> list[str]:
        """Take the steps back, as far as they were done; returned means on disk.

        Returns:
            The files that were changed since, and so were not taken back; records of generations among them are
            kept in the batch's folder, and taken back all the same.

        Raises:
            StorageFailed: Something is where a directory was, or a directory is gone.
            OSError: The file system refused.
        """
        changed: list[str] = []
        with self._flushed():
            number = sum(len(one.files) for one in intents)
            for intent in reversed(intents):
                number -= len(intent.files)
                if intent.source == intent.target and not is_there(f"{self._root}/{intent.source}"):
                    changed.append(intent.source)  # a folder that somebody removed since
                    continue
                self._rename(intent.target, intent.source)
                folder = self._where(intent.source, intent.target)
                for at, one in enumerate(intent.files, start=number):
                    if not self._restore(folder, one, at, in_place=intent.source == intent.target):
                        changed.append(f"{intent.source}/{one.name}")
        return changed

    def _restore(self, folder: str, one: FileIntent, at: int, *, in_place: bool) -> bool:
        """Put the original of a file back; return False where it was changed since and is left as it is."""
        place = f"{folder}/{one.name}"
        inside = place.rpartition("/")[0]
        kept = f"{self._folder}/o{at}"
        if not is_there(inside):
            return False  # an attempt that was read anew since is a generation now
        self._changed.add(inside)
        now = _digest_of(place)
        if now not in {one.was, one.becomes}:
            if in_place:
                return False
            if now is not None:
                os.rename(place, f"{self._folder}/changed{at}")  # noqa: PTH104 - a text
        if one.was is None:
            if now is not None:
                os.unlink(place)  # noqa: PTH108 - a text
        elif is_there(kept):
            os.rename(kept, place)  # noqa: PTH104 - a text
            if is_there(kept):  # both were names of one file: then a rename does nothing
                os.unlink(kept)  # noqa: PTH108 - a text
        status = os.stat(inside)  # noqa: PTH116 - a text
        os.utime(inside, ns=(status.st_atime_ns, one.folder_time))
        return True


def _flush_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flush_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _digest_of(path: str) -> str | None:
    try:
        return sha256(read_plain(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def digests_below(folder: str, *, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the digests of the plain files in a directory and in those in it, by path; links are named as such."""
    found: dict[str, str] = {}
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        with os.scandir(f"{folder}/{inside}") as entries:
            for entry in entries:
                name = f"{inside}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif entry.is_symlink():
                    found[name] = f"link {os.readlink(entry.path)}"  # noqa: PTH115 - a text
                elif name not in without and entry.is_file(follow_symlinks=False):
                    found[name] = hashlib.sha256(read_plain(entry.path)).hexdigest()
    return found


def not_as_planned(path: str) -> PoolError:
    """Return the error for a file that was changed since it was planned."""
    return PoolError(
        f"{path} is not as it was planned: it was changed since", hint="plan again: `genpool migrate plan`"
    )
