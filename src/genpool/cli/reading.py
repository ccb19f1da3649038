"""One line on the terminal while a verb reads records into the catalog; gone when it ends, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.status import Status

    from genpool.pool import Pool

_SECONDS: Final = 0.2


@contextmanager
def reading_shown(pool: Pool, *, quiet: bool) -> Iterator[None]:
    """Show how many records were read, while a look at the pool reads many."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    line = _Line()
    pool.reading = line.show
    try:
        yield
    finally:
        pool.reading = None
        line.clear()


class _Line:
    """The line, once there is something to say."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._last = time.monotonic()

    def show(self, done: int, of: int) -> None:
        """Say how far it is; when all was read the line goes."""
        if done >= of:
            self.clear()
            return
        if self._status is None:
            from genpool.cli.output import console
            from genpool.cli.pace import Pace

            self._pace = Pace()
            self._status = console(stderr=True).status(self._words(done, of))
            self._status.start()
        elif time.monotonic() - self._last > _SECONDS:
            self._last = time.monotonic()
            self._status.update(self._words(done, of))

    def _words(self, done: int, of: int) -> str:
        return f"reading records: {self._pace.words('records', done, of)}"

    def clear(self) -> None:
        """Take the line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None
