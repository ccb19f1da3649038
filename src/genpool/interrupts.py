"""Ctrl-C while an event loop is at work in a program of one's own: what is being written is written to its end.

Python's own way is to cancel the main task at the first Ctrl-C, and to raise `KeyboardInterrupt` at the second one
wherever the loop is just then. There it can get lost between a task and what wakes it, which then waits for ever.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType

_PATIENCE: Final = 5  # of those who press Ctrl-C: after so many it is raised, whatever becomes of the loop

T = TypeVar("T")


@dataclass(slots=True)
class _Interrupts:
    """How often Ctrl-C came, and whether several tasks are at work."""

    count: int = 0
    busy: bool = False


def run_interruptible(work: Callable[[Callable[[], None]], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in an event loop of its own; Ctrl-C cancels it, as often as it comes.

    Args:
        work: Makes the coroutine. It is given what it is to call once it no longer works alone: until then a second
            Ctrl-C is raised at once.

    Raises:
        KeyboardInterrupt: Ctrl-C came; the coroutine has ended.
    """
    seen = _Interrupts()

    def busy() -> None:
        seen.busy = True

    handled = threading.current_thread() is threading.main_thread()
    if not handled or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return asyncio.run(work(busy))

    async def working() -> T:
        signal.signal(signal.SIGINT, _handler(seen, asyncio.get_running_loop(), asyncio.current_task()))
        return await work(busy)

    try:
        return asyncio.run(working())
    except asyncio.CancelledError:
        if seen.count:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _handler(
    seen: _Interrupts, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None
) -> Callable[[int, FrameType | None], None]:
    """Return what answers to Ctrl-C while a task is at work."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        seen.count += 1
        alone = not seen.busy and seen.count > 1
        if task is None or loop.is_closed() or alone or seen.count > _PATIENCE:
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(task.cancel)

    return interrupted
