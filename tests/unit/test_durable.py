"""Files are written fully, flushed, and made visible by one rename."""

from __future__ import annotations

import errno
import os
import resource
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from genpool.durable import (
    add_file,
    append_lines,
    make_directory,
    moved,
    rename_without_replacing,
    replace_file,
    set_aside,
    storage_errors,
    write_all,
    write_directory,
    write_file,
)
from genpool.errors import StorageFailed, StorageFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_replacing_a_file_leaves_the_new_content_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file"
    replace_file(target, b"old")
    replace_file(target, b"new\r\n")
    assert target.read_bytes() == b"new\r\n"
    assert names(target.parent) == ["file"]


def test_a_replacement_that_fails_keeps_the_old_content_and_leaves_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.mkdir()
    (target / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        replace_file(target, b"new")
    assert names(tmp_path) == ["file"]
    assert names(target) == ["inside"]


def test_a_replaced_file_is_another_file_so_that_readers_keep_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "file"
    replace_file(target, b"old")
    with target.open("rb") as reader:
        replace_file(target, b"new, and longer")
        assert reader.read() == b"old"


def test_a_file_named_by_its_content_is_written_once(tmp_path: Path) -> None:
    target = tmp_path / "digest"
    add_file(target, b"content")
    before = target.stat()
    add_file(target, b"content")
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_new_file_is_never_written_over_one_that_exists(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"first")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


@pytest.mark.parametrize("occupied", ["an empty directory", "a full directory", "a file", "a dangling link"])
def test_publishing_replaces_nothing(tmp_path: Path, occupied: str) -> None:
    staged, target = tmp_path / "staged", tmp_path / "target"
    write_directory(staged, {"a": b"1"})
    if occupied == "a file":
        target.write_bytes(b"mine")
    elif occupied == "a dangling link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        write_directory(target, {"mine": b""} if occupied == "a full directory" else {})
    before = target.lstat().st_ino
    assert moved(staged, target) is False
    assert target.lstat().st_ino == before
    assert (staged / "a").read_bytes() == b"1"


def test_publishing_moves_the_whole_directory(tmp_path: Path) -> None:
    write_directory(tmp_path / "staged", {"a": b"1", "b": b""})
    assert moved(tmp_path / "staged", tmp_path / "target") is True
    assert not (tmp_path / "staged").exists()
    assert {path.name: path.read_bytes() for path in (tmp_path / "target").iterdir()} == {"a": b"1", "b": b""}


def test_a_rename_of_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rename_without_replacing(tmp_path / "nothing", tmp_path / "target")


def test_a_directory_is_made_with_its_parents_and_may_exist(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b" / "c")
    make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_lines_are_appended_behind_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lines"
    append_lines(path, b"one\n")
    append_lines(path, b"two\nthree\n")
    assert path.read_bytes() == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("whole", [b"", b"one\n", b"x" * 70_000 + b"\n", b"one\n" * 40_000])
@pytest.mark.parametrize("torn", [b"t", b"torn" * 40_000])
def test_a_torn_last_line_is_cut_off_before_lines_are_appended(tmp_path: Path, whole: bytes, torn: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(whole + torn)
    append_lines(path, b"new\n")
    assert path.read_bytes() == whole + b"new\n"


@pytest.mark.parametrize("torn", [None, b"", b"hea", b"header"])
def test_a_header_is_written_once_and_again_where_a_crash_tore_it(tmp_path: Path, torn: bytes | None) -> None:
    path = tmp_path / "lines"
    if torn is not None:
        path.write_bytes(torn)
    append_lines(path, b"one\n", header=b"header\n")
    append_lines(path, b"two\n", header=b"header\n")
    assert path.read_bytes() == b"header\none\ntwo\n"


def test_appending_nothing_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_lines(path, b"one\n")
    before = path.stat().st_mtime_ns
    append_lines(path, b"")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (b"one\n", before)


def test_space_set_aside_is_really_taken(tmp_path: Path) -> None:
    set_aside(tmp_path / "reserve", 100_000)
    status = (tmp_path / "reserve").stat()
    assert status.st_size == 100_000
    assert status.st_blocks * 512 >= 100_000


@contextmanager
def small_files() -> Iterator[None]:
    """Let no file of this process grow beyond 4096 bytes: a write across that border is a short one.

    For the one call only: the test runner's own output may be a file.
    """
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_short_write_is_gone_on_with_and_its_failure_is_told(tmp_path: Path) -> None:
    with small_files(), pytest.raises(OSError, match="large") as refused:
        replace_file(tmp_path / "file", b"x" * 5000)
    assert refused.value.errno == errno.EFBIG
    assert names(tmp_path) == []


def test_all_bytes_are_written_where_the_system_takes_a_few_at_a_time() -> None:
    reading, writing = os.pipe()
    data = os.urandom(1 << 20)

    def write() -> None:
        write_all(writing, data)
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == data
    writer.join()


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.ENOSPC, StorageFull, "free some space"),
        (errno.EDQUOT, StorageFull, "free some space"),
        (errno.EROFS, StorageFailed, "writable"),
        (errno.EACCES, StorageFailed, "writable"),
        (errno.ENOTDIR, StorageFailed, "move it away"),
        (errno.EIO, StorageFailed, None),
    ],
)
def test_a_refusal_of_the_file_system_says_what_where_and_what_next(
    number: int, kind: type[StorageFailed], hint: str | None
) -> None:
    with pytest.raises(StorageFailed) as caught, storage_errors("cannot keep it"):
        raise OSError(number, os.strerror(number), "/some/path")
    assert type(caught.value) is kind
    assert caught.value.message == f"cannot keep it: {os.strerror(number)} (/some/path)"
    assert (hint or "") in (caught.value.hint or "")
    assert bool(caught.value.hint) == bool(hint)


def test_an_error_that_was_told_already_is_told_once() -> None:
    first = StorageFailed("told")
    with pytest.raises(StorageFailed) as caught, storage_errors("outer"):
        raise first
    assert caught.value is first
