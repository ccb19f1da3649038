"""System calls of a stopped child, read and meddled with: refused, cut short, or left out with a lie. x86-64 Linux.

What a call is about is found by its path or descriptor, so that only calls on a pool's own files are meddled with.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import NOT_RUN
from tests.crash.syscall_sweep import ptrace

_GETREGS = 12
_SETREGS = 13
_NO_CALL: Final = 2**64 - 1
_AT_FDCWD: Final = 2**64 - 100

_IO = errno.EIO
_FULL = errno.ENOSPC
_READ_ONLY = errno.EROFS
_INTERRUPTED = errno.EINTR
_NO_DESCRIPTOR = errno.EMFILE

FLUSHES: Final = frozenset({"fsync", "fdatasync", "syncfs", "sync_file_range"})
RENAMES: Final = frozenset({"rename", "renameat", "renameat2"})


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of system call."""

    name: str
    about: str
    """What its arguments say it is about: a `descriptor`, a `path`, a path `at` a directory, or nothing."""
    errors: tuple[int, ...]
    """The errors with which it may fail, out of the five that are injected (its manual page)."""


_CHANGES = (_IO, _FULL, _READ_ONLY)
_KINDS: Final = {
    0: _Kind("read", "descriptor", (_IO, _INTERRUPTED)),
    1: _Kind("write", "descriptor", (_IO, _FULL, _INTERRUPTED)),
    2: _Kind("open", "path", (_IO, _NO_DESCRIPTOR, _INTERRUPTED)),
    3: _Kind("close", "descriptor", (_IO,)),
    4: _Kind("stat", "path", (_IO,)),
    5: _Kind("fstat", "descriptor", (_IO,)),
    6: _Kind("lstat", "path", (_IO,)),
    17: _Kind("pread64", "descriptor", (_IO, _INTERRUPTED)),
    18: _Kind("pwrite64", "descriptor", (_IO, _FULL, _INTERRUPTED)),
    21: _Kind("access", "path", (_IO,)),
    53: _Kind("socketpair", "", (_NO_DESCRIPTOR,)),
    73: _Kind("flock", "descriptor", (_INTERRUPTED,)),
    74: _Kind("fsync", "descriptor", (_IO, _FULL, _INTERRUPTED)),
    75: _Kind("fdatasync", "descriptor", (_IO, _FULL, _INTERRUPTED)),
    77: _Kind("ftruncate", "descriptor", (_IO, _INTERRUPTED)),
    78: _Kind("getdents", "descriptor", (_IO,)),
    82: _Kind("rename", "path", _CHANGES),
    83: _Kind("mkdir", "path", _CHANGES),
    84: _Kind("rmdir", "path", (_IO, _READ_ONLY)),
    86: _Kind("link", "path", _CHANGES),
    87: _Kind("unlink", "path", (_IO, _READ_ONLY)),
    88: _Kind("symlink", "path", _CHANGES),
    217: _Kind("getdents64", "descriptor", (_IO,)),
    257: _Kind("openat", "at", (_IO, _NO_DESCRIPTOR, _INTERRUPTED)),
    258: _Kind("mkdirat", "at", _CHANGES),
    262: _Kind("newfstatat", "at", (_IO,)),
    263: _Kind("unlinkat", "at", (_IO, _READ_ONLY)),
    264: _Kind("renameat", "at", _CHANGES),
    265: _Kind("linkat", "at", _CHANGES),
    277: _Kind("sync_file_range", "descriptor", (_IO, _FULL)),
    285: _Kind("fallocate", "descriptor", (_IO, _FULL, _INTERRUPTED)),
    291: _Kind("epoll_create1", "", (_NO_DESCRIPTOR,)),
    306: _Kind("syncfs", "descriptor", (_IO, _FULL)),
    316: _Kind("renameat2", "at", _CHANGES),
    332: _Kind("statx", "at", (_IO,)),
}
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class _Registers(ctypes.Structure):
    """struct user_regs_struct of sys/user.h."""

    _fields_ = tuple(
        (name, ctypes.c_ulonglong)
        for name in (
            "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
            "fs_base gs_base ds es fs gs"
        ).split()
    )


@dataclass(slots=True)
class Call:
    """One system call, as its thread enters it."""

    thread: int
    name: str
    errors: tuple[int, ...]
    """The errors with which it may fail."""
    path: str
    """The absolute path that it is about; empty where it is about none."""
    descriptor: int | None
    """The descriptor that it is about, where it names one."""
    registers: _Registers

    def refuse(self) -> None:
        """Keep it from being carried out; what it says instead is for `say`. A close is carried out all the same."""
        if self.name != "close":
            self.registers.orig_rax = _NO_CALL
            self._set()

    def cut_short(self) -> None:
        """Let a write be carried out for half of what it was to write."""
        assert self.name in {"write", "pwrite64"}
        self.registers.rdx = max(1, self.registers.rdx // 2)
        self._set()

    def say(self, number: int) -> None:
        """Let it say, as it is left, that it has failed with an error, or with 0 that all is well."""
        ptrace(_GETREGS, self.thread, ctypes.addressof(self.registers))
        self.registers.rax = (2**64 - number) % 2**64
        self._set()

    def _set(self) -> None:
        ptrace(_SETREGS, self.thread, ctypes.addressof(self.registers))


def entered(thread: int) -> Call | None:
    """Return the system call that a stopped thread is entering, or None for one that is of no interest here."""
    registers = _Registers()
    if not ptrace(_GETREGS, thread, ctypes.addressof(registers)):
        return None
    kind = _KINDS.get(registers.orig_rax)
    if kind is None:
        return None
    assert registers.rax == 2**64 - errno.ENOSYS, "the thread is leaving a system call, not entering one"
    flags = registers.rsi if kind.name == "open" else registers.rdx if kind.name == "openat" else 0
    more = ((_FULL,) if flags & os.O_CREAT else ()) + ((_READ_ONLY,) if flags & _WRITES else ())
    descriptor = registers.rdi if kind.about == "descriptor" else None
    return Call(thread, kind.name, kind.errors + more, _about(thread, kind, registers), descriptor, registers)


def _about(thread: int, kind: _Kind, registers: _Registers) -> str:
    """Return the path that a call is about; empty where that is no file."""
    if kind.about == "descriptor":
        return _link(thread, f"fd/{registers.rdi}")
    if kind.about == "path":
        return str(Path(_link(thread, "cwd"), _text(thread, registers.rdi)))
    if kind.about == "at":
        here = registers.rdi & 0xFFFFFFFF == _AT_FDCWD & 0xFFFFFFFF
        return str(Path(_link(thread, "cwd" if here else f"fd/{registers.rdi}"), _text(thread, registers.rsi)))
    return ""


def _link(thread: int, name: str) -> str:
    """Return what a link of a thread leads to; empty where it leads nowhere."""
    try:
        return str(Path(f"/proc/{thread}/{name}").readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""


def _text(thread: int, address: int) -> str:
    """Return a text from a thread's memory."""
    if not address:
        return ""
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        found = b""
        while b"\0" not in found and len(found) < 4096:
            found += memory.read(min(256, 4096 - (address + len(found)) % 4096))
    return os.fsdecode(found.split(b"\0")[0])


def need_meddling(*, full: bool) -> None:
    """Skip a test, loudly, where system calls cannot be meddled with; in a full proof that is a failure."""
    if sys.platform == "linux" and platform.machine() == "x86_64":
        return
    reason = f"{NOT_RUN}: errors at system calls are injected through the registers of x86-64 Linux"
    if full:
        pytest.fail(reason)
    pytest.skip(reason)
