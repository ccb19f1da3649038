"""Staging: a session's own folder, where outputs are written and flushed before one rename moves each to its place.

Promises: nothing in it is ever taken for kept, so what dead processes left is removed; of a process that lives, which
is told by the lock that it holds, nothing is touched. Some disk space is set aside beside what is staged.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING

from genpool import locks
from genpool.durable import make_directory, remove_folder, storage_errors, write_directory
from genpool.layout import METADATA, TEXT_FILES
from genpool.reserve import Reserve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.layout import PoolLayout
    from genpool.store import Output


class Staging:
    """The folder of one session.

    Args:
        folder: The folder; nobody else writes to it.
        reserve: The space that is set aside.
    """

    def __init__(self, folder: Path, reserve: Reserve) -> None:
        self.folder = folder
        self._reserve = reserve
        self._staged = count(1)

    def source(self, digest: str) -> Path:
        """Return where a source is staged."""
        return self.folder / digest

    def new_place(self) -> Path:
        """Return a path that nothing has."""
        return self.folder / str(next(self._staged))

    def write(self, output: Output, *, flush: bool) -> Path:
        """Write an output's files to a new folder, and return it; where that fails, nothing of it stays.

        Args:
            output: The output.
            flush: Whether every file is flushed by itself.
        """
        record, reason = output.generation.record, output.reason
        staged = self.new_place()
        files = {TEXT_FILES[name]: text.encode() for name, text in output.generation.texts.items()}
        metadata = record.encode() if reason is None else record.encode_attempt(reason)
        try:
            write_directory(staged, {**files, METADATA: metadata}, flush=flush)
        except BaseException:
            remove_folder(staged)
            raise
        return staged

    def look_at_space(self) -> None:
        """Hold back inodes too, where the file system comes near its last ones."""
        with suppress(OSError):  # what is being kept comes first, and finds out by itself that nothing is left
            self._reserve.look()

    def give_up_space(self) -> None:
        """Give back the space that was set aside."""
        self._reserve.give_up()


@contextmanager
def own_staging(layout: PoolLayout, in_flight: int) -> Iterator[Staging]:
    """Make a folder in staging, and remove it in the end; remove what dead processes left.

    Args:
        layout: The pool's paths.
        in_flight: How many generations may be on their way at once.

    Raises:
        StorageFull: There is not enough space to set aside.
        StorageFailed: The pool is not writable.
    """
    own = layout.staging / f"{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with ExitStack() as stack:
            with storage_errors(f"cannot write to the pool {layout.root}"):
                make_directory(layout.staging)
                # one at a time: a folder that is new and not yet locked looks like one whose owner is gone
                with locks.file_lock(layout, "staging", "the staging folder"):
                    _remove_stale(layout)
                    own.mkdir()
                    stack.enter_context(locks.held(own / "lock"))
            with storage_errors(f"cannot set space aside in the pool {layout.root}"):
                reserve = Reserve(own / "reserve", in_flight)
            yield Staging(own, reserve)
    finally:
        remove_folder(own)


def _remove_stale(layout: PoolLayout) -> None:
    """Remove staging folders whose owner is gone: nothing in them was acknowledged."""
    for folder in layout.staging.iterdir():
        if not locks.is_held(folder / "lock"):
            remove_folder(folder)
