"""Work handed to other processes of this machine, where there is much of it: batches in, answers in the same order.

A process is a Python of its own that imports nothing but what the work needs: neither the program's main module (which
may have no guard, and would run again) nor a copy of its threads. It is asked and answers over pipes, ends when its
pipe is closed, however this process went, and Ctrl-C is for this process alone. It is only ever a help: a batch that
one does not answer, for whatever reason, is done here, and so is everything where none can be started. So the work must
be such that it can be done twice.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor
    from queue import SimpleQueue

_Batch = TypeVar("_Batch")
_Answer = TypeVar("_Answer")

_AHEAD: Final = 2
"""Batches on their way to each of the other processes."""
_MOST: Final = 6
"""Batches whose answers are waited for or not yet taken, for each of them."""
_START: Final = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from genpool.processes import serve; serve()"
)
_LENGTH: Final = 8
"""Bytes that say how long a message is."""


def processors() -> int:
    """Return how many processes of ours can be at work at a time."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


class Helpers(Generic[_Batch, _Answer]):
    """Processes that do the same work, batch after batch; to be closed.

    Args:
        make: Makes what does the work, here and in every process; it is pickled, and so are batches and answers.
        processes: How many processes may be at work, this one among them.
    """

    def __init__(self, make: Callable[[], Callable[[_Batch], _Answer]], processes: int) -> None:
        self._work = make()
        self._others = processes - 1 if processes > 1 and _can_start() else 0
        self._first = _message(sys.path, raw=True) + _message(make)
        self._started: list[_Process] = []
        self._threads: ThreadPoolExecutor | None = None

    def answers(self, batches: Iterable[_Batch]) -> Iterator[_Answer]:
        """Yield what came of every batch, in their order; what the others have no time for is done here meanwhile.

        Raises:
            Exception: What the work raises when it is done here.
        """
        if not self._others:
            yield from map(self._work, batches)
            return
        idle, threads = self._start()
        under_way: deque[Callable[[], _Answer]] = deque()
        asked: deque[Future[bytes | None]] = deque()
        for batch in batches:
            while asked and asked[0].done():
                asked.popleft()
            if len(asked) < _AHEAD * self._others:
                asked.append(threads.submit(_ask, idle, batch))
                under_way.append(partial(self._answer, batch, asked[-1]))
            else:
                under_way.append(partial(_same, self._work(batch)))
            if len(under_way) > _MOST * self._others:
                yield under_way.popleft()()
        while under_way:
            yield under_way.popleft()()

    def _answer(self, batch: _Batch, asked: Future[bytes | None]) -> _Answer:
        data = asked.result()
        if data is None:
            return self._work(batch)
        answer: _Answer = pickle.loads(data)  # noqa: S301 - what a process of our own wrote
        return answer

    def _start(self) -> tuple[SimpleQueue[_Process], ThreadPoolExecutor]:
        from concurrent.futures import ThreadPoolExecutor
        from queue import SimpleQueue

        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._others, "genpool-helpers")
            self._started = [_Process(self._first) for _ in range(self._others)]
        idle: SimpleQueue[_Process] = SimpleQueue()
        for process in self._started:
            idle.put(process)
        return idle, self._threads

    def close(self) -> None:
        """End the processes, whatever they do."""
        for process in self._started:
            process.end()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for process in self._started:
            process.close()
        self._started, self._threads = [], None


def _can_start() -> bool:
    """Return whether this program's interpreter can be started anew: it is no frozen program, and no server's own."""
    name = os.path.basename(sys.executable or "").lower()  # noqa: PTH119 - it may be empty
    return not getattr(sys, "frozen", False) and "py" in name


def _same(answer: _Answer) -> _Answer:
    return answer


def _ask(idle: SimpleQueue[_Process], batch: object) -> bytes | None:
    """Let a process that has nothing to do answer a batch; there are as many of them as threads that ask."""
    process = idle.get()
    try:
        return process.ask(batch)
    finally:
        idle.put(process)


class _Process:
    """One process, seen from here.

    Args:
        first: What it is told at first.
    """

    def __init__(self, first: bytes) -> None:
        self._first: bytes = first
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):  # no memory, or too many processes: what it would have done is done here
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )

    def ask(self, batch: object) -> bytes | None:
        """Return its answer as it was sent; None where it gives none."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write(self._first + _message(batch))
            process.stdin.flush()
            self._first = b""
            return _received(process.stdout)
        except (OSError, ValueError):  # it is gone; or it was ended, and its pipes with it
            return None

    def end(self) -> None:
        """Let it end at once."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Wait until it has ended."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


def _message(value: object, *, raw: bool = False) -> bytes:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return data if raw else len(data).to_bytes(_LENGTH) + data


def _received(stream: IO[bytes]) -> bytes | None:
    """Return the next message's content; None where there is none, or not all of it."""
    length = int.from_bytes(stream.read(_LENGTH))
    data = stream.read(length)
    return data if data and len(data) == length else None


def serve() -> None:
    """Be such a process: do the work of every message until there is none."""
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what the work may print is no answer
    data = _received(asked)
    work = None if data is None else pickle.loads(data)()  # noqa: S301 - what the process wrote that started this one
    while work is not None and (data := _received(asked)) is not None:
        try:
            answer = _message(work(pickle.loads(data)))  # noqa: S301 - as above
        except Exception:  # noqa: BLE001 - whoever asked does it again and meets the same
            answer = bytes(_LENGTH)
        try:
            answers.write(answer)
            answers.flush()
        except OSError:
            os._exit(1)  # nobody is there any more
