"""A disk whose power can be cut: ext4 in a file in memory, shut down without its journal being written.

A kill never shows a missing flush, because what a dead process wrote is still in the kernel's memory. Here that is
thrown away: the ioctl EXT4_IOC_SHUTDOWN stops the file system at once, and mounting it again shows what was on disk.
A file that was not flushed is then there without its content (torn), an entry of a directory that was not flushed is
not there (lost). `commit=300` keeps the kernel from flushing by itself meanwhile, and `noauto_da_alloc` from doing what
a careless program forgot. Needs root, loop devices and mkfs.ext4.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.conftest import NOT_RUN
from tests.small_pools import memory_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, fs/ext4/ext4.h
_NO_LOG_FLUSH = 2
_OPTIONS = "loop,commit=300,noauto_da_alloc"
SIZE = 16 * 1024 * 1024  # bytes


class Disk:
    """A disk that can be filled once, and copied, used and cut off again and again.

    Args:
        folder: Where its images and its mount point are.
        size: Its bytes.
    """

    def __init__(self, folder: Path, size: int = SIZE) -> None:
        self._base = folder / "base.img"
        self._image = folder / "used.img"
        self.place = folder / "disk"
        """Where it is mounted."""
        self.place.mkdir()
        with self._base.open("wb") as file:
            file.truncate(size)
        _do("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard", str(self._base))

    @contextmanager
    def filling(self) -> Iterator[Path]:
        """Give the disk to be filled with what every use of it begins with."""
        with self._mounted(self._base):
            yield self.place

    @contextmanager
    def used(self) -> Iterator[Path]:
        """Give a fresh copy of the disk, and cut its power in the end."""
        _do("cp", "--sparse=always", str(self._base), str(self._image))
        with self._mounted(self._image):
            yield self.place
            descriptor = os.open(self.place, os.O_RDONLY)
            try:
                fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
            finally:
                os.close(descriptor)

    @contextmanager
    def after(self) -> Iterator[Path]:
        """Give the disk that was used, with its power back."""
        with self._mounted(self._image):
            yield self.place

    @contextmanager
    def _mounted(self, image: Path) -> Iterator[None]:
        _do("mount", "-t", "ext4", "-o", _OPTIONS, str(image), str(self.place))
        try:
            yield
        except BaseException:
            subprocess.run(["umount", "--lazy", str(self.place)], capture_output=True, check=False)
            raise
        _do("umount", str(self.place))


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


@cache
def _why_not() -> str | None:
    """Return why this machine cannot cut a power, or None: tried, not guessed."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a power cut needs Linux and root, for a loop mount"
    try:
        with memory_folder() as folder:
            disk = Disk(folder)
            with disk.used() as place:
                (place / "not flushed").write_bytes(b"x" * 5000)
            with disk.after() as place:
                kept = (place / "not flushed").exists()
    except OSError as error:
        return f"a power cut needs mkfs.ext4, loop devices and a kernel that can shut ext4 down ({error})"
    return "this kernel flushes when ext4 is shut down, so that no power cut is seen" if kept else None


def need_power_cuts(*, full: bool) -> None:
    """Skip a test, loudly, where no power can be cut; in a full proof that is a failure."""
    reason = _why_not()
    if reason is not None and full:
        pytest.fail(f"{NOT_RUN}: {reason}")
    if reason is not None:
        pytest.skip(f"{NOT_RUN}: {reason}")
