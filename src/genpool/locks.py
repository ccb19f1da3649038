"""Locks between processes on one machine: the pool's, a cohort's, and that of a shared file.

Locks are `flock`s on files under .genpool/locks/: the kernel drops them with the process that
holds them, however it ends. So it does with locks on single bytes, which claims are made of.
Beside the pool's lock every holder leaves a note of who it is, so that a refusal can name it; a
note whose lock is gone means nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import orjson

from genpool.durable import make_directory, storage_errors
from genpool.errors import PoolBusy
from genpool.layout import check_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.layout import PoolLayout

_PAUSE: Final = 0.02

HAS_BYTE_LOCKS: Final = sys.platform == "linux"
"""Whether bytes of a file can be locked for whoever has it open, as `flock` locks a whole file: fcntl(2), "Open file
description locks". A process's own record locks, which every POSIX system has, would go with any descriptor of the file
that is closed."""

_RANGE: Final = "hhqqi4x"  # struct flock: type, whence, start, length, pid
_LAST: Final = 2**63 - 1
_GET: Final = getattr(fcntl, "F_OFD_GETLK", 0)
_SET: Final = getattr(fcntl, "F_OFD_SETLK", 0)


@contextmanager
def pool_lock(layout: PoolLayout, verb: str, *, exclusive: bool = False) -> Iterator[None]:
    """Hold the pool's lock: shared for runs, exclusive for what must be alone.

    Args:
        layout: The pool.
        verb: What the holder does, for the refusal that another gets.
        exclusive: Whether nobody else may hold it.

    Raises:
        PoolBusy: Somebody holds it in a way that excludes this.
        StorageFailed: The pool is not writable.
    """
    with storage_errors(f"cannot lock the pool {layout.root}"):
        make_directory(layout.locks)
        descriptor = _open(layout.locks / "pool.lock")
    try:
        if not _try(descriptor, exclusive=exclusive):
            raise PoolBusy(
                f"the pool {layout.root} is in use: {_holders(layout.locks)}",
                hint=f"wait until that has ended, then `{verb}` again",
            )
        with _note(layout.locks, verb):
            yield
    finally:
        _let_go(descriptor)


@contextmanager
def cohort_lock(layout: PoolLayout, cohort_id: str, seconds: float = 10.0) -> Iterator[None]:
    """Hold the lock of a cohort's membership, waiting for it a little.

    Raises:
        PoolBusy: Another process held it all the time.
    """
    check_name(cohort_id, "cohort")
    with file_lock(layout, f"cohort-{cohort_id}", f"the membership of cohort {cohort_id!r}", seconds):
        yield


@contextmanager
def file_lock(layout: PoolLayout, name: str, what: str, seconds: float = 10.0) -> Iterator[None]:
    """Hold an exclusive lock by name, waiting for it a little.

    Raises:
        PoolBusy: Another process held it all the time.
    """
    with storage_errors(f"cannot lock {what}"):
        make_directory(layout.locks)
        descriptor = _open(layout.locks / f"{name}.lock")
    try:
        deadline = time.monotonic() + seconds
        while not _try(descriptor, exclusive=True):
            if time.monotonic() > deadline:
                raise PoolBusy(f"another process is writing {what}", hint="wait until it has ended, then try again")
            time.sleep(_PAUSE)
        yield
    finally:
        _let_go(descriptor)


def is_held(path: Path) -> bool:
    """Return whether some process holds the lock on a file; a file that is not there is not held."""
    try:
        descriptor = _open_to_ask(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _try(descriptor, exclusive=True)
    finally:
        _let_go(descriptor)


def lock_byte(descriptor: int, place: int) -> bool:
    """Lock one byte of a file for the holder of a descriptor, if it can be had at once.

    The file need not be as long. What the same descriptor has locked already is had again.

    Args:
        descriptor: The file, open for writing.
        place: The byte's offset.

    Raises:
        OSError: The system refuses, for another reason than that somebody else holds it.
    """
    try:
        fcntl.fcntl(descriptor, _SET, struct.pack(_RANGE, fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
    except (BlockingIOError, PermissionError):  # EAGAIN, or EACCES where a system has it so
        return False
    return True


def unlock_byte(descriptor: int, place: int) -> None:
    """Let go of a byte that `lock_byte` has locked."""
    fcntl.fcntl(descriptor, _SET, struct.pack(_RANGE, fcntl.F_UNLCK, os.SEEK_SET, place, 1, 0))


def locked_bytes(descriptor: int, start: int = 0, length: int = _LAST) -> list[tuple[int, int]]:
    """Return the ranges of a file's bytes, from and up to without, that others have locked; in no order.

    Args:
        descriptor: The file, open in any way; what was locked through it is not told.
        start: Where to look from.
        length: How many bytes to look at.
    """
    found, unseen = [], [(start, start + length)]
    while unseen:
        low, high = unseen.pop()
        asked = struct.pack(_RANGE, fcntl.F_WRLCK, os.SEEK_SET, low, high - low, 0)
        kind, _, first, count, _ = struct.unpack(_RANGE, fcntl.fcntl(descriptor, _GET, asked))
        if kind == fcntl.F_UNLCK:
            continue
        end = first + count if count else _LAST  # 0 is to the end
        found.append((first, end))  # the system tells one of those in the way, not the first
        unseen += [part for part in ((low, first), (end, high)) if part[0] < part[1]]
    return found


def _open_to_ask(path: Path) -> int:
    """Open a lock file to ask for its lock; for reading, where it cannot be written."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)  # some file systems lock only what is open for writing
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.EACCES}:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds the pool's lock."""

    pid: int
    host: str
    verb: str
    since: datetime


def holders(layout: PoolLayout) -> list[Holder]:
    """Return who holds the pool's lock now. Writes nothing, so that it can be asked of a pool that is read-only."""
    found = []
    for path in sorted(layout.locks.glob("holder-*.json")):
        with suppress(OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            if _is_noted(path):
                said = orjson.loads(path.read_bytes())
                since = datetime.fromisoformat(said["since"])
                found.append(Holder(int(said["pid"]), str(said["host"]), str(said["verb"]), since))
    return found


def _is_noted(path: Path) -> bool:
    """Return whether whoever left a note still holds its lock; for this the file is only read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return not _try(descriptor, exclusive=False)
    finally:
        os.close(descriptor)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock on a file of one's own for as long as one lives."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # others hold it only for the moment of an `is_held`
        yield
    finally:
        _let_go(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _let_go(descriptor: int) -> None:
    """Close a lock's descriptor; it is closed and the lock gone whatever the file system says, and it wrote nothing."""
    with suppress(OSError):
        os.close(descriptor)


def _try(descriptor: int, *, exclusive: bool) -> bool:
    """Take a lock if it can be had at once."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _note(folder: Path, verb: str) -> Iterator[None]:
    """Leave a note of who holds the pool's lock, itself locked while it means something."""
    path = folder / f"holder-{os.getpid()}-{time.monotonic_ns()}.json"
    said = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "verb": verb,
        "since": datetime.now(UTC).isoformat("T", "seconds"),
    }
    with storage_errors("cannot lock the pool"), held(path):
        path.write_bytes(orjson.dumps(said))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _holders(folder: Path) -> str:
    """Return who holds the pool's lock, in words; notes of the dead are removed."""
    named = []
    for path in sorted(folder.glob("holder-*.json")):
        if not is_held(path):
            path.unlink(missing_ok=True)
            continue
        with suppress(OSError, orjson.JSONDecodeError):
            said = orjson.loads(path.read_bytes())
            named.append(f"{said['verb']!r} (process {said['pid']} on {said['host']}, since {said['since']})")
    return ", ".join(named) or "another process"
