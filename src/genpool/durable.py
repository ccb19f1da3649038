"""How every file of a pool is written: fully, flushed, and made visible by one rename.

Guarantees, on a local POSIX file system:

- A reader sees a file or directory whole or not at all.
- When a function here returns, what it wrote survives a power cut, its directory entry included.
- `moved` never replaces what is there.

Accepted trade-offs: a file that is written by itself is flushed by itself, and its directory too. Many files that
are written together share one flush of the whole file system (Linux 5.8 and later report what went wrong with any of
them), which also writes what other programs left unwritten. A flush that fails is never retried on the same descriptor,
because the kernel marks the pages clean, so the write counts as not done and the caller starts over with a new file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import sys
import uuid
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Final

from genpool.errors import StorageFailed, StorageFull, UnsupportedPlatform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WRITABLE: Final = "the pool must be writable for this; reading it (plan, status, show, ls) is not affected"
READABLE: Final = "whoever runs genpool must be allowed to read it, and to enter the folders above it: `ls -l` shows"
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_ABSENT: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1  # linux/fs.h
_RENAME_EXCL: Final = 4  # macOS sys/stdio.h
_NO_SUCH_FLAG: Final = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


@contextmanager
def storage_errors(doing: str, *, denied: str = WRITABLE) -> Iterator[None]:
    """Turn the file system's refusals into errors that say what was being done.

    Args:
        doing: What could not be done.
        denied: The hint where permissions or a read-only mount were in the way.

    Raises:
        StorageFull: No space or quota is left.
        StorageFailed: Anything else that the file system refused.
    """
    try:
        yield
    except StorageFailed:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        place = f" ({os.fspath(error.filename)})" if isinstance(error.filename, str) else ""
        if error.errno in _FULL:
            raise StorageFull(
                f"{doing}: {reason}{place}",
                hint="free some space; nothing that was committed is lost; run again to go on",
            ) from error
        raise StorageFailed(f"{doing}: {reason}{place}", hint=_storage_hint(error.errno, denied)) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what keeps a file from being read into an error that names it, but for that it is not there.

    Raises:
        FileNotFoundError: It is not there.
        StorageFailed: It cannot be read.
    """
    try:
        with storage_errors(f"cannot read {path}", denied=READABLE):
            yield
    except StorageFailed as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        raise


def _storage_hint(number: int | None, denied: str) -> str | None:
    if number in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return denied
    if number in {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}:
        return "something else is where genpool keeps this; move it away"
    return None


@contextmanager
def closing_descriptor(descriptor: int) -> Iterator[None]:
    """Close a descriptor at the end."""
    try:
        yield
    finally:
        os.close(descriptor)


def refuse_link(path: Path) -> None:
    """Refuse to read or write through a link: it could lead out of the pool.

    Raises:
        StorageFailed: The path, or the folder that it is in, is a link.
    """
    for one in (path, path.parent):
        if one.is_symlink():
            raise StorageFailed(f"{one} is a link; links are not followed", hint="put the directory itself there")


def lies_with_the_file(error: BaseException | None) -> bool:
    """Return whether a refusal says something about one file (not there, a link, forbidden), not about the machine."""
    return isinstance(error, OSError) and error.errno in _ABSENT | {errno.EISDIR, errno.EACCES, errno.EPERM}


def is_there(path: str | os.PathLike[str], *, follow: bool = False) -> bool:
    """Return whether something has a path; unlike `os.path.exists`, it never takes a failed look for an absence.

    Args:
        path: The path.
        follow: Whether a link that leads nowhere counts as nothing.

    Raises:
        OSError: Nobody can know.
    """
    try:
        os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - many are looked at, and a Path costs more than the look
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise
    return True


def mode_of(path: str | os.PathLike[str], *, follow: bool = False) -> int:
    """Return the mode of what has a path, 0 where nothing has; unlike `os.path.isfile`, no failed look is an absence.

    Args:
        path: The path.
        follow: Whether it is that of what a link leads to.

    Raises:
        OSError: Nobody can know.
    """
    try:
        return os.stat(path, follow_symlinks=follow).st_mode  # noqa: PTH116 - as above
    except OSError as error:
        if error.errno in _ABSENT:
            return 0
        raise


def names_in(folder: str) -> list[str]:
    """Return what is in a folder, sorted; nothing where it is not there.

    Raises:
        StorageFailed: Nobody can know what is in it.
    """
    with storage_errors(f"cannot list {folder}", denied=READABLE):
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208 - names will do
        except (FileNotFoundError, NotADirectoryError):
            return []


def make_directory(path: Path) -> None:
    """Make a directory with its parents; every new entry is flushed."""
    if path.is_dir():
        return
    missing = [path]
    while not missing[-1].parent.is_dir():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        with suppress(FileExistsError):
            folder.mkdir()
        flush_directory(folder.parent)


def write_file(path: str | Path, data: bytes, *, flush: bool = True) -> None:
    """Write a new file fully and flush it, unless the caller flushes; the caller flushes the directory."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        write_all(descriptor, data)
        if flush:
            flush_descriptor(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of some bytes: a short write goes on where it ended."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def flush_descriptor(descriptor: int) -> None:
    """Flush one descriptor to the disk itself."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):  # not every file system has it; fsync is the next best
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def flush_directory(path: Path) -> None:
    """Flush a directory's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush_descriptor(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, size: int) -> None:
    """Take up some space with a file, so that it can be given back when the disk is full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        if sys.platform == "linux":
            os.posix_fallocate(descriptor, 0, size)
        else:
            write_all(descriptor, bytes(size))
    finally:
        os.close(descriptor)


def remove_folder(path: Path) -> None:
    """Remove a folder of one's own as far as that goes: it holds nothing that anybody was promised."""
    with suppress(OSError):  # `ignore_errors` lets some through
        shutil.rmtree(path, ignore_errors=True)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part."""
    refuse_link(path.parent)
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        write_file(temporary, data)
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    flush_directory(path.parent)


def add_file(path: Path, data: bytes) -> None:
    """Write a file that is named by its content; where it exists, it is its entry alone that is flushed.

    A dead process may have put it there without that.
    """
    if is_there(path):
        flush_directory(path.parent)
    else:
        replace_file(path, data)


def write_directory(path: Path, files: Mapping[str, bytes], *, flush: bool = True) -> None:
    """Write a new directory with its files, flushed unless the caller does that; the caller makes it visible."""
    path.mkdir()
    folder = os.fspath(path)
    for name, data in files.items():
        write_file(f"{folder}/{name}", data, flush=flush)
    if flush:
        flush_directory(path)


def moved(staged: Path, target: Path) -> bool:
    """Move a directory to its place by one rename; the caller flushes the entry.

    Returns:
        Whether it was moved: False where something is at the target already.
    """
    try:
        rename_without_replacing(staged, target)
    except FileExistsError:
        return False
    return True


@contextmanager
def flushing_directories(places: set[Path]) -> Iterator[None]:
    """Flush the entries of the directories that the block adds to a set."""
    yield
    for place in places:
        flush_directory(place)


@cache
def can_flush_file_system() -> bool:
    """Return whether one call flushes a file system and reports what went wrong: Linux from 5.8 on."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release) if sys.platform == "linux" else None
    return release is not None and tuple(map(int, release.groups())) >= (5, 8) and hasattr(_c_library(), "syncfs")


@contextmanager
def flushing_file_system(place: Path) -> Iterator[None]:
    """Flush everything that the block writes, by one flush of the file system that a directory is on.

    The descriptor is opened before anything is written: the flush reports whatever went wrong since.

    Raises:
        OSError: Something on that file system could not be written; nobody knows what.
    """
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield
        if _c_library().syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(place))
    finally:
        os.close(descriptor)


def rename_without_replacing(old: Path, new: Path) -> None:
    """Rename, refusing to replace anything, an empty directory included.

    Raises:
        FileExistsError: Something is at the new path.
    """
    number = _rename_exclusive(os.fsencode(old), os.fsencode(new))
    if number in _NO_SUCH_FLAG:
        # The file system knows no exclusive rename. A plain one refuses a directory that is not empty;
        # an empty one holds nothing that could be lost.
        if not new.is_dir() and os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(new))
        try:
            old.rename(new)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY}:
                raise FileExistsError(error.errno, os.strerror(error.errno), os.fspath(new)) from None
            raise
    elif number in {errno.EEXIST, errno.ENOTEMPTY}:
        raise FileExistsError(number, os.strerror(number), os.fspath(new))
    elif number:
        raise OSError(number, os.strerror(number), os.fspath(new))


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _rename_exclusive(old: bytes, new: bytes) -> int:
    """Call the system's exclusive rename; return 0 or the error number."""
    library = _c_library()
    if sys.platform == "darwin":
        failed = library.renamex_np(old, new, _RENAME_EXCL)
    elif sys.platform == "linux":
        failed = library.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_NOREPLACE)
    else:
        raise UnsupportedPlatform(f"genpool's store needs Linux or macOS, not {sys.platform}")
    return ctypes.get_errno() if failed else 0


def append_lines(path: Path, data: bytes, *, header: bytes = b"") -> None:
    """Append whole lines to a file and flush it; a torn last line of a crash is cut off first.

    The caller holds a lock: two appenders at once are not kept apart here.

    Args:
        path: The file; it need not be there.
        data: The lines.
        header: The line that the file begins with, written where it has no whole line: a crash can tear it like any.
    """
    refuse_link(path)
    make_directory(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        end = _end_of_lines(descriptor)
        if end != os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, end)
        os.lseek(descriptor, end, os.SEEK_SET)
        write_all(descriptor, data if end else header + data)
        flush_descriptor(descriptor)
    finally:
        os.close(descriptor)
    flush_directory(path.parent)  # whoever made the file may have died before doing so


def _end_of_lines(descriptor: int) -> int:
    """Return the position behind the last newline of a file."""
    position = os.fstat(descriptor).st_size
    while position:
        start = max(0, position - 65536)
        found = os.pread(descriptor, position - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
