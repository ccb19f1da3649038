"""How far a migration is: a bar with the time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from genpool.cli.live import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import TaskID

_LINE_SECONDS: Final = 5.0


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield what shows how far something is: what, how much is done, how much there is.

    Args:
        quiet: Whether nothing is shown.
    """
    if quiet:
        yield lambda _what, _done, _all: None
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _Lines().show


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from genpool.cli.output import console

    progress = Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:>9,.0f}/{task.total:<9,.0f}"),
        TimeRemainingColumn(),
        console=console(stderr=True),
        refresh_per_second=5,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: int, total: int) -> None:
        name = what.partition(":")[0]
        with suppress(OSError):
            if name not in tasks:
                for task in tasks.values():
                    progress.update(task, visible=False)
                tasks[name] = progress.add_task(what, total=total or 1)
            progress.update(tasks[name], description=what, completed=done, total=total or 1)

    with progress:
        yield show


class _Lines:
    """A plain line every few seconds; none where all is done sooner."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_SECONDS
        self._what = ""
        self._began = time.monotonic()

    def show(self, what: str, done: int, total: int) -> None:
        """Print how far it is, if it is time to."""
        now = time.monotonic()
        if what.partition(":")[0] != self._what:
            self._what, self._began = what.partition(":")[0], now
        if now < self._next:
            return
        self._next = now + _LINE_SECONDS
        left = f", {duration((now - self._began) / done * (total - done))} left" if done else ""
        with suppress(OSError):
            print(f"{what}: {done:,} of {total:,}{left}", file=sys.stderr, flush=True)
