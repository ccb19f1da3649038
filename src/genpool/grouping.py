"""Work that costs the same for one as for many: what comes while a group is under way makes the next group.

Flushing is such work. Nobody waits for a group to fill: the first of a quiet time goes at once and alone.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """Hands items to a function in groups, one group at a time, in a thread. Belongs to one event loop.

    Args:
        work: Does the work of a group; returns for each item, in order, its result or why there is none. What it
            raises is the failure of every item in the group.
    """

    def __init__(self, work: Callable[[list[T]], Sequence[R | Exception]]) -> None:
        self._work = work
        self._items: list[T] = []
        self._results: list[asyncio.Future[R]] = []
        self._worker: asyncio.Task[None] | None = None

    def send(self, item: T) -> asyncio.Future[R]:
        """Add an item to the next group; the future has its result. It is worked on whether or not that is awaited."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._items.append(item)
        self._results.append(result)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._serve())
        return result

    async def drained(self) -> None:
        """Return when everything that was sent has been worked on, and whoever asked to be told has been."""
        if self._worker is not None:
            await self._worker
        await asyncio.sleep(0)  # a worker that is done returns at once: its results' callbacks are only queued then

    async def _serve(self) -> None:
        results: list[asyncio.Future[R]] = []
        try:
            while self._items:
                items, self._items = self._items, []
                results, self._results = self._results, []
                _hand_out(results, await self._worked(items))
        finally:  # a KeyboardInterrupt may end this at any moment: nobody must wait for ever for what is not told
            for result in (*results, *self._results):
                result.cancel()

    async def _worked(self, items: list[T]) -> Sequence[R | Exception]:
        """Return what became of a group."""
        # a future, not a task: where a loop ends, all its tasks are cancelled, and the thread would go on untold
        work = asyncio.get_running_loop().run_in_executor(None, self._work, items)
        try:
            return await to_the_end(work)
        except Exception as error:  # noqa: BLE001 - handed to every one that waits for this group
            return [error] * len(items)


def _hand_out(results: Sequence[asyncio.Future[R]], outcomes: Sequence[R | Exception]) -> None:
    for result, outcome in zip(results, outcomes, strict=True):
        if result.done():
            continue  # who waited was cancelled
        if isinstance(outcome, Exception):
            result.set_exception(outcome)
        else:
            result.set_result(outcome)


async def to_the_end(work: Awaitable[T]) -> T:
    """Await some work to its end, even when the caller is cancelled meanwhile: what is being kept is kept whole.

    A cancellation that comes meanwhile is not passed on; the caller must look whether it is to go on.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()
