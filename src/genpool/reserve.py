"""Disk space held back by a run, so that answers that were paid for can be kept when the disk fills up.

Blocks are taken at once: that is one file. Inodes are files too, and making thousands takes as long as keeping a
thousand generations, so they are taken only when the file system comes near its last ones: whoever keeps something
looks before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from genpool.durable import remove_folder, set_aside

if TYPE_CHECKING:
    from pathlib import Path

_BYTES_EACH: Final = 64 * 1024  # five small files in blocks of 4 KiB, and a long text
_INODES_EACH: Final = 6  # a directory and its files, and a folder that may be new
_NEAR: Final = 100_000
"""Free inodes beyond our own from which on these are taken: more than other programs use up between two looks."""


class Reserve:
    """Space for generations that may be on their way.

    Args:
        folder: Where it is held; it must not be there yet.
        count: For how many generations.

    Raises:
        OSError: There is not even that space.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._inodes = _INODES_EACH * count
        self._is_whole = False
        folder.mkdir()
        set_aside(folder / "blocks", _BYTES_EACH * count)
        self.look()

    def look(self) -> None:
        """Take the inodes up where the file system comes near its last ones.

        Raises:
            OSError: There are not even these.
        """
        if self._is_whole:
            return
        system = os.statvfs(self._folder)
        if not system.f_files or system.f_favail > self._inodes + _NEAR:  # 0: it makes them as they are needed
            return
        self._is_whole = True
        for number in range(self._inodes):
            (self._folder / str(number)).touch()

    def give_up(self) -> None:
        """Give all of it back."""
        self._is_whole = True
        remove_folder(self._folder)
