"""Claims: who makes a task, among all processes on the machine that use the pool.

A claim is an `flock` on .genpool/claims/<stage>/<gen_id>. The kernel drops it with the process that holds it, however
that ends: there is no lease that could run out under a process that was only paused, so nothing has to be fenced. The
file is removed when a claim is given back; one that a dead process left means nothing.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from genpool.durable import make_directory, storage_errors
from genpool.errors import StorageFailed
from genpool.layout import check_name
from genpool.locks import is_held

if TYPE_CHECKING:
    from genpool.layout import PoolLayout


class Claims:
    """The claims of one run. Asking never waits.

    Args:
        layout: The pool.
    """

    def __init__(self, layout: PoolLayout) -> None:
        self._layout = layout
        self._folders: dict[str, str] = {}
        self._held: dict[tuple[str, str], int] = {}

    def take(self, stage: str, gen_id: str) -> bool:
        """Claim a task.

        Returns:
            Whether it is ours now: False where another holds it.

        Raises:
            StorageFailed: The claim cannot be written.
        """
        path = self._path(stage, gen_id)
        with storage_errors(f"cannot claim {gen_id}"):
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
        """Give a claim back; others may take it from now on."""
        descriptor = self._held.pop((stage, gen_id))
        with suppress(OSError):  # the lock is what counts; a file that is left means nothing
            os.unlink(self._path(stage, gen_id))  # noqa: PTH108 - a text is a path that need not be parsed
        with suppress(OSError):  # whatever the system says of that, the lock goes with it
            os.close(descriptor)

    def is_free(self, stage: str, gen_id: str) -> bool:
        """Return whether nobody holds a task, as far as can be seen without claiming it."""
        return not is_held(self._layout.claim(stage, gen_id))

    def _path(self, stage: str, gen_id: str) -> str:
        """Return the path of a task's claim; plan and membership have checked the id."""
        if stage not in self._folders:
            self._folders[stage] = os.fspath(self._layout.claims / check_name(stage, "stage"))
        return f"{self._folders[stage]}/{gen_id}"


def claimed(layout: PoolLayout, stage: str) -> frozenset[str]:
    """Return the ids of a stage's tasks that some process is making now. Writes nothing."""
    folder = layout.claims / stage
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names, not Path objects
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise StorageFailed(f"cannot list {folder}: {error.strerror}") from error
    return frozenset(name for name in names if is_held(folder / name))


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
