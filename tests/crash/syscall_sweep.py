"""Killing a program at its n-th system call, for every n: a fork server with ptrace.

The program is a Python function. It is forked, stepped from system call to system call with all its threads,
and killed as it enters the n-th one, which is then not carried out. Imports happen once, in the parent, so
that a point costs milliseconds. Linux only.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import traceback
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.conftest import NOT_RUN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TRACEME = 0
_SYSCALL = 24
_SETOPTIONS = 0x4200
_TRACESYSGOOD = 0x1
_TRACECLONE = 0x8
_EXITKILL = 0x100000
_WALL = 0x40000000  # wait for threads too
_SYSCALL_STOP = signal.SIGTRAP | 0x80

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one run of a program."""

    calls: int
    """System calls that were entered."""
    killed: bool
    """Whether it was killed on the way; else it came to its end."""


class Watcher(Protocol):
    """Looks at the system calls of a child, or meddles with them, while their thread is stopped."""

    def entered(self, thread: int) -> None:
        """A thread enters a system call."""

    def left(self, thread: int) -> None:
        """A thread leaves a system call."""


def ptrace(request: int, pid: int, data: int = 0) -> bool:
    """Make a ptrace call; return False where the process is gone."""
    if _libc.ptrace(request, pid, None, data) == 0:
        return True
    number = ctypes.get_errno()
    if number == 3:  # ESRCH
        return False
    raise OSError(number, f"ptrace {request}: {os.strerror(number)}")


def can_trace() -> bool:
    """Return whether this machine lets a process trace its child."""
    if sys.platform != "linux":
        return False
    try:
        return run_until(lambda: None, None).calls > 0
    except (OSError, AssertionError):
        return False


def run_until(program: Callable[[], None], kill_at: int | None, watcher: Watcher | None = None) -> Run:
    """Run a program in a child; kill it as it enters its n-th system call.

    Args:
        program: What to run. An error in it is an error here.
        kill_at: The system call to kill it at, from 1; None for none.
        watcher: Told of every system call.
    """
    child = _started(program)
    calls = 0
    inside: set[int] = set()
    known = {child}
    waiting = child
    while True:
        if waiting:
            ptrace(_SYSCALL, waiting)
        thread, status = os.waitpid(-child, _WALL)
        waiting = thread
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            known.discard(thread)
            waiting = 0
            if thread == child or not known:
                return _ended(child, status, calls, kill_at)
            continue
        if os.WSTOPSIG(status) != _SYSCALL_STOP:  # a new thread, or the birth of one
            known.add(thread)
            continue
        if thread in inside:
            inside.discard(thread)
            if watcher is not None:
                watcher.left(thread)
            continue
        inside.add(thread)
        calls += 1
        if calls == kill_at:
            os.kill(child, signal.SIGKILL)
        elif watcher is not None:
            watcher.entered(thread)


def _started(program: Callable[[], None]) -> int:
    """Fork a child that stops before the program; its system calls are to be traced."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside idle threads of other tests
        child = os.fork()
    if not child:
        status = 1
        try:
            os.setpgid(0, 0)
            gc.disable()
            _libc.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            program()
            status = 0
        except BaseException:  # noqa: BLE001 - told, and seen by the exit status
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    _, status = os.waitpid(child, _WALL)
    assert os.WIFSTOPPED(status), "the child cannot be traced"
    ptrace(_SETOPTIONS, child, _TRACESYSGOOD | _TRACECLONE | _EXITKILL)
    return child


def _ended(child: int, status: int, calls: int, kill_at: int | None) -> Run:
    try:
        while True:
            os.waitpid(-child, _WALL)
    except ChildProcessError:
        pass
    if os.WIFSIGNALED(status):
        assert kill_at is not None, f"the program died of signal {os.WTERMSIG(status)}"
        return Run(calls, killed=True)
    assert os.WEXITSTATUS(status) == 0, "the program failed; its traceback is above"
    return Run(calls, killed=False)


def points(count: int, step: int) -> Iterator[int]:
    """Yield every `step`-th point up to a count, the last ones always."""
    yield from (point for point in range(1, count + 1) if point % step == 1 % step or point > count - 3)


def need_tracing() -> None:
    """Skip a test, loudly, where processes cannot be traced."""
    if not can_trace():
        pytest.skip(f"{NOT_RUN}: killing at system calls needs Linux and ptrace")
