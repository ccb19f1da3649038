"""Directories examined by several processes, where there are many: reading and hashing are all that a large pool costs.

The first batches are examined here, so that a small pool starts nobody. Then a few batches at a time are on their way,
however many there are. Ctrl-C is for this process alone. When it stops, or is gone, however it went, so are the others:
they only read, and can be stopped anywhere.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, ClassVar, Final

from genpool.doctor.catalog_file import CatalogFile
from genpool.doctor.generations import Checked, GenerationCheck
from genpool.errors import StorageFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from multiprocessing.connection import Connection

    from genpool.doctor.examined import Examined
    from genpool.doctor.walk import Batch

_ALONE: Final = 32
"""Batches that one process examines sooner than others are started."""
_AHEAD: Final = 4
"""Batches on their way, for every process."""


def checked(pool: Examined, catalog: CatalogFile, batches: Iterable[Batch], processes: int) -> Iterator[Checked]:
    """Yield what came of every batch, in their order.

    Args:
        pool: The pool.
        catalog: What the catalog says; what differs is noted there, whoever found it.
        batches: What is to be examined.
        processes: How many processes may examine at a time.

    Raises:
        StorageFailed: A process was killed from outside.
    """
    own = GenerationCheck(pool, catalog)
    left = iter(batches)
    yield from map(own.check, islice(left, _ALONE) if processes > 1 else left)
    first = next(left, None)
    if first is None:
        return
    yield own.check(first)
    try:
        for part, differing, defect in _spread(pool, catalog, left, processes):
            catalog.differing += differing
            catalog.defect = catalog.defect or defect
            yield part
    except BrokenExecutor:
        said = "a process that examined generations was killed"
        raise StorageFailed(
            said, hint="was there too little memory? `genpool doctor` can simply be called again"
        ) from None


_Answer = tuple[Checked, list[tuple[str, str]], str | None]
"""What came of a batch, what the catalog says otherwise, and what is wrong with the catalog's file."""


def _spread(pool: Examined, catalog: CatalogFile, batches: Iterator[Batch], processes: int) -> Iterator[_Answer]:
    """Yield what other processes make of every batch, in their order."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # started anew and not forked: whoever examines a pool from Python may have threads
    context = get_context("spawn")
    end, alive = context.Pipe(duplex=False)  # nothing is ever sent: it is closed when this process stops or dies
    workers = ProcessPoolExecutor(processes, context, _Worker.start, (pool, catalog.is_open, end))
    under_way: deque[Future[_Answer]] = deque()
    try:
        for batch in batches:
            with _no_interrupt():
                under_way.append(workers.submit(_Worker.check, batch))
            if len(under_way) > _AHEAD * processes:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BaseException:
        alive.close()
        raise
    finally:
        workers.shutdown(cancel_futures=True)
        alive.close()
        end.close()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hold Ctrl-C back meanwhile: a process that is started here holds it back for good, from its first moment on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """What a process that examines batches keeps from one to the next."""

    here: ClassVar[_Worker]
    """This process's own."""

    def __init__(self, pool: Examined, *, with_catalog: bool) -> None:
        self.catalog = CatalogFile(pool, known=with_catalog)
        self.examines = GenerationCheck(pool, self.catalog)

    @classmethod
    def start(cls, pool: Examined, with_catalog: bool, end: Connection) -> None:
        """Get ready; end at once when the process that started this one stops or dies."""
        Thread(target=_wait_for, args=[end], daemon=True).start()
        cls.here = cls(pool, with_catalog=with_catalog)

    @classmethod
    def check(cls, batch: Batch) -> _Answer:
        """Examine a batch."""
        catalog = cls.here.catalog
        catalog.differing = []
        return cls.here.examines.check(batch), catalog.differing, catalog.defect


def _wait_for(end: Connection) -> None:
    """Wait until the other end of a pipe is closed; then end this process, whatever it does."""
    end.poll(None)
    os._exit(1)
