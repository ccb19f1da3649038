"""Claims: who makes a task, among all processes on the machine that use the pool.

A claim is a lock. The kernel drops it with the process that holds it, however that ends: there is no lease that could
run out under a process that was only paused, so nothing has to be fenced.

On Linux a stage's claims are locks on single bytes of one empty file, .genpool/claims/<stage>.lock, at a place that is
computed from the id: taking one makes and removes no file. Two ids at one place, which 62 bits of SHA-256 make
improbable, would only wait for each other. Elsewhere a claim is an `flock` on a file of its own,
.genpool/claims/<stage>/<gen_id>, which is removed when the claim is given back; one that a dead process left means
nothing.
"""

from __future__ import annotations

import fcntl
import os
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from genpool import locks
from genpool.canonical import hashed
from genpool.durable import make_directory, storage_errors
from genpool.layout import check_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from genpool.layout import PoolLayout


class Claims:
    """The claims of one run. Asking never waits.

    Args:
        layout: The pool.
        bytewise: Whether claims are locks on bytes of one file; left out: where the system has such locks. All
            processes that use a pool must agree.
    """

    def __init__(self, layout: PoolLayout, *, bytewise: bool = locks.HAS_BYTE_LOCKS) -> None:
        self._layout = layout
        self._way: _Way = _ByBytes(layout) if bytewise else _ByFiles(layout)

    def take(self, stage: str, gen_id: str) -> bool:
        """Claim a task.

        Returns:
            Whether it is ours now: False where another holds it, or we do already.

        Raises:
            StorageFailed: The claim cannot be written.
        """
        with storage_errors(f"cannot claim {gen_id}"):
            return self._way.take(stage, gen_id)

    def give_back(self, stage: str, gen_id: str) -> None:
        """Give a claim back; others may take it from now on."""
        self._way.give_back(stage, gen_id)

    def is_free(self, stage: str, gen_id: str) -> bool:
        """Return whether nobody holds a task, as far as can be seen without claiming it.

        Raises:
            StorageFailed: Nobody can know.
        """
        with storage_errors(f"cannot see who makes {gen_id}"):
            return not self._way.among(stage, [gen_id])


def claimed(
    layout: PoolLayout, stage: str, gen_ids: Collection[str], *, bytewise: bool = locks.HAS_BYTE_LOCKS
) -> frozenset[str]:
    """Return those of a stage's tasks that some process is making now. Writes nothing.

    Raises:
        StorageFailed: Nobody can know.
    """
    way: _Way = _ByBytes(layout) if bytewise else _ByFiles(layout)
    with storage_errors(f"cannot see what is being made in stage {stage}"):
        return way.among(stage, gen_ids)


class _Way(Protocol):
    """How claims are kept. Each method may raise OSError."""

    def take(self, stage: str, gen_id: str) -> bool: ...

    def give_back(self, stage: str, gen_id: str) -> None: ...

    def among(self, stage: str, gen_ids: Collection[str]) -> frozenset[str]:
        """Return those that anybody holds."""
        ...


class _ByBytes:
    """Claims as locks on bytes of one file a stage, which is open as long as any of its tasks is held."""

    def __init__(self, layout: PoolLayout) -> None:
        self._layout = layout
        self._open: dict[str, int] = {}
        self._held: dict[str, set[int]] = {}

    def take(self, stage: str, gen_id: str) -> bool:
        place = _place(gen_id)
        held = self._held.setdefault(stage, set())
        if place in held:
            return False
        if stage not in self._open:
            self._open[stage] = _open(os.fspath(self._layout.claims_of(stage)))
        try:
            if locks.lock_byte(self._open[stage], place):
                held.add(place)
                return True
        finally:
            self._close_if_idle(stage)
        return False

    def give_back(self, stage: str, gen_id: str) -> None:
        place = _place(gen_id)
        self._held[stage].remove(place)
        # not left to the closing: a process forked meanwhile has the file open too. What the system refuses here
        # stays claimed until then: others wait, and nothing is made twice
        with suppress(OSError):
            locks.unlock_byte(self._open[stage], place)
        self._close_if_idle(stage)

    def _close_if_idle(self, stage: str) -> None:
        """Close a stage's file where nothing is held in it."""
        if not self._held[stage]:
            with suppress(OSError):  # closed it is, whatever the system says of that
                os.close(self._open.pop(stage))

    def among(self, stage: str, gen_ids: Collection[str]) -> frozenset[str]:
        try:
            descriptor = os.open(self._layout.claims_of(stage), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
        try:
            if len(gen_ids) == 1:
                return frozenset(one for one in gen_ids if locks.locked_bytes(descriptor, _place(one), 1))
            ranges = sorted(locks.locked_bytes(descriptor))
        finally:
            os.close(descriptor)
        if not ranges:
            return frozenset()
        starts = [start for start, _ in ranges]

        def is_in_one(place: int) -> bool:
            at = bisect_right(starts, place) - 1
            return at >= 0 and place < ranges[at][1]

        return frozenset(one for one in gen_ids if is_in_one(_place(one)))


def _place(gen_id: str) -> int:
    """Return the byte that stands for a task: an offset has 63 bits, and the byte behind it must have one too."""
    return int.from_bytes(hashed(gen_id.encode())[:8]) >> 2


class _ByFiles:
    """Claims as locks on files of their own."""

    def __init__(self, layout: PoolLayout) -> None:
        self._layout = layout
        self._folders: dict[str, str] = {}
        self._held: dict[tuple[str, str], int] = {}

    def take(self, stage: str, gen_id: str) -> bool:
        path = self._path(stage, gen_id)
        while True:
            descriptor = _open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except BaseException:
                os.close(descriptor)
                raise
            if _is_at(descriptor, path):
                self._held[stage, gen_id] = descriptor
                return True
            os.close(descriptor)  # its holder gave it back, and removed the file, between our two calls

    def give_back(self, stage: str, gen_id: str) -> None:
        descriptor = self._held.pop((stage, gen_id))
        with suppress(OSError):  # the lock is what counts; a file that is left means nothing
            os.unlink(self._path(stage, gen_id))  # noqa: PTH108 - a text is a path that need not be parsed
        with suppress(OSError):  # whatever the system says of that, the lock goes with it
            os.close(descriptor)

    def among(self, stage: str, gen_ids: Collection[str]) -> frozenset[str]:
        folder = self._layout.claims / check_name(stage, "stage")
        try:
            names = os.listdir(folder)  # noqa: PTH208 - names, not Path objects
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
        return frozenset(name for name in {*names}.intersection(gen_ids) if locks.is_held(folder / name))

    def _path(self, stage: str, gen_id: str) -> str:
        """Return the path of a task's claim; plan and membership have checked the id."""
        if stage not in self._folders:
            self._folders[stage] = os.fspath(self._layout.claims / check_name(stage, "stage"))
        return f"{self._folders[stage]}/{gen_id}"


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        make_directory(Path(path).parent)
        return os.open(path, flags, 0o666)


def _is_at(descriptor: int, path: str) -> bool:
    """Return whether a descriptor is of the file that is at a path now."""
    mine = os.fstat(descriptor)
    try:
        there = os.stat(path)  # noqa: PTH116 - both as stat results
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
