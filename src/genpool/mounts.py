"""Whether the file system under a pool can keep what a run promises: exclusive locks between processes.

Network file systems are told by their type, from the mount table; locks are tried. On a network file system a lock
may hold on one machine only, or not at all, and a task could be bought twice without anybody noticing.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from genpool import locks
from genpool.durable import make_directory, storage_errors
from genpool.errors import StorageFailed, UnsupportedPlatform

if TYPE_CHECKING:
    from genpool.layout import PoolLayout

_MOUNTS: Final = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)
_NETWORK: Final = frozenset(
    "9p afs beegfs ceph cifs davfs fuse.davfs fuse.gcsfuse fuse.glusterfs fuse.rclone fuse.s3fs fuse.sshfs gfs2 "
    "glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 smb3 smbfs".split()
)
_HINT: Final = (
    "keep the pool on a local disk; `genpool run --any-file-system` goes on where you know that only one run at a time "
    "uses it"
)


def check_file_system(layout: PoolLayout) -> None:
    """Refuse a file system that cannot keep two runs from making the same task.

    Raises:
        UnsupportedPlatform: It is a network file system, or its locks do not work.
        StorageFailed: The pool is not writable.
    """
    refuse_network(layout.root, _mount_table())
    if not _locks_work(layout):
        raise UnsupportedPlatform(
            f"the file system of the pool {layout.root} has no working locks: a run there could buy a task twice",
            hint=_HINT,
        )


def refuse_network(root: Path, table: str) -> None:
    """Refuse a network file system.

    Args:
        root: The pool.
        table: The text of a mountinfo file; empty for none.

    Raises:
        UnsupportedPlatform: The pool is on one.
    """
    kind = type_of_mount(root, table)
    if kind in _NETWORK:
        raise UnsupportedPlatform(
            f"the pool {root} is on a network file system ({kind}): a run there could buy a task twice", hint=_HINT
        )


def keeps_flushes_to_itself(root: Path) -> bool:
    """Return whether a file system may take a flush of the whole of it, and not pass it on or hide what went wrong."""
    kind = type_of_mount(root, _mount_table()) or ""
    return kind.startswith("fuse") or kind in {"overlay", "ntfs-3g"}


def type_of_mount(path: Path, table: str) -> str | None:
    """Return the type of the file system that a path is on, or None where the table does not say.

    Args:
        path: Where it is.
        table: The text of a mountinfo file; empty for none.
    """
    where = os.path.realpath(path)
    found: tuple[int, str] | None = None
    for line in table.splitlines():
        before, _, behind = line.partition(" - ")
        fields, kinds = before.split(" "), behind.split(" ")
        if len(fields) < 5:
            continue
        mounted = fields[4].encode().decode("unicode_escape").encode("latin-1", "replace").decode(errors="replace")
        inside = where == mounted or where.startswith(mounted.rstrip("/") + "/")
        if inside and (found is None or len(mounted) >= found[0]):  # of two at one place the later one is on top
            found = len(mounted), kinds[0]
    return None if found is None else found[1]


def _mount_table() -> str:
    if sys.platform != "linux":
        return ""
    try:
        return _MOUNTS.read_text(errors="replace")
    except OSError:
        return ""


def _locks_work(layout: PoolLayout) -> bool:
    """Try whether a lock that one descriptor holds is refused to another."""
    probe = layout.locks / f"probe-{os.getpid()}.lock"
    with storage_errors(f"cannot write to the pool {layout.root}"):
        make_directory(layout.locks)
        first = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        second = os.open(probe, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if locks.HAS_BYTE_LOCKS and not (locks.lock_byte(first, 1) and not locks.lock_byte(second, 1)):
            return False
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
    except OSError:
        return False
    finally:
        os.close(first)
        os.close(second)
        try:
            with storage_errors("cannot remove a probe"):
                probe.unlink(missing_ok=True)
        except StorageFailed:
            pass  # an empty file in .genpool/locks means nothing
