"""Reading with suspicion: no link is followed, no pipe is waited for, and only what is small is held in memory."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from genpool.errors import CorruptFile, GenpoolError, NotFound, StorageFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_OF_A_RECORD: Final = 64 * 2**20
"""No metadata.json, adopted.json or trash.json of a pool comes near this many bytes."""
_MOST_OF_A_LINE: Final = 2**20
_CHUNK: Final = 2**20
_NO_FILE: Final = "something else is where a file belongs"
_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def kind_of(entry: os.DirEntry[str]) -> str | None:
    """Return what an entry is in words; None for a plain file, and for what is gone already."""
    try:
        if entry.is_file(follow_symlinks=False):
            return None  # these two ways need no system call where the folder said what its entries are
        if entry.is_dir(follow_symlinks=False):
            return "a directory"
        return _KINDS.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"nothing that can be looked at ({error.strerror})"


def is_folder(path: str | Path) -> bool:
    """Return whether something is a directory itself, no link to one; what cannot be looked at is not."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the system says of a file into errors of ours.

    Raises:
        NotFound: It is not there.
        CorruptFile: It is a link, a pipe.
        StorageFailed: It cannot be read.
    """
    try:
        yield
    except GenpoolError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("the file does not exist") from None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise CorruptFile(_NO_FILE, hint="move it away") from None
        raise StorageFailed(f"cannot be read: {error.strerror or error}", hint="look at its permissions") from error


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """Open a plain file for reading.

    Raises:
        NotFound: It is not there.
        CorruptFile: It is a link, a directory, a pipe.
        StorageFailed: It cannot be read.
    """
    with _told(), os.fdopen(_descriptor(path), "rb") as file:
        yield file


def _descriptor(path: str | Path) -> int:
    """Open a file without following a link or waiting for a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CorruptFile(_NO_FILE, hint="move it away")
    return descriptor


def read_record(path: str | Path) -> bytes:
    """Return the content of a small file.

    Raises:
        NotFound: It is not there.
        CorruptFile: It is no plain file, or larger than any record.
        StorageFailed: It cannot be read.
    """
    data = b"".join(_chunks(path, MOST_OF_A_RECORD + 1))
    if len(data) > MOST_OF_A_RECORD:
        raise CorruptFile(f"larger than {MOST_OF_A_RECORD:,} bytes: no record is", hint="restore it or move it away")
    return data


def digest_of(path: str | Path) -> tuple[str, bool]:
    """Return the SHA-256 of a file of any size, and whether it is UTF-8.

    Raises:
        NotFound: It is not there.
        CorruptFile: It is no plain file.
        StorageFailed: It cannot be read.
    """
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_text = True
    for chunk in _chunks(path):
        digest.update(chunk)
        is_text = is_text and _goes_on(decoder, chunk)
    return digest.hexdigest(), is_text and _goes_on(decoder, b"")


def _goes_on(decoder: codecs.IncrementalDecoder, chunk: bytes) -> bool:
    """Return whether a chunk goes on with a text; the last one is empty."""
    try:
        decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError:
        return False
    return True


def _chunks(path: str | Path, most: int | None = None) -> Iterator[bytes]:
    """Yield the content of a plain file, or so many bytes of it: most files are one chunk, read at once."""
    with _told():
        descriptor = _descriptor(path)
        try:
            left = most
            while left is None or left > 0:
                chunk = os.read(descriptor, _CHUNK if left is None else min(_CHUNK, left))
                if not chunk:
                    return
                yield chunk
                left = None if left is None else left - len(chunk)
        finally:
            os.close(descriptor)


def lines_of(path: str | Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, content and whether it is ended, of every line of a file.

    A line that is longer than any is given as far as its first megabyte, which nothing can be made of.

    Raises:
        NotFound: It is not there.
        CorruptFile: It is no plain file.
        StorageFailed: It cannot be read.
    """
    with opened(path) as file:
        number = 0
        while line := file.readline(_MOST_OF_A_LINE):
            number += 1
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(_MOST_OF_A_LINE)
            yield number, line.removesuffix(b"\n"), bool(rest)
