"""How far something long is, in words: how much was done, of how much, and how long the rest takes."""

from __future__ import annotations

import time
from typing import Final

_SOON: Final = 2.0
"""Seconds before which nobody knows how fast it goes."""


class Pace:
    """Tells how long each part of some work takes, from how fast it went so far.

    Args:
        started: When the work began (`time.monotonic`); now, if not given.
    """

    def __init__(self, started: float | None = None) -> None:
        self._part = ""
        self._since = time.monotonic() if started is None else started

    def words(self, part: str, done: int, of: int | None, now: float | None = None) -> str:
        """Return how far a part is: `120,000 of 1,000,000, about 3 min left`.

        Args:
            part: What is being done; where it is another than before, its time begins.
            done: How much of it is done.
            of: How much there is to do; None where nobody knows.
            now: What time it is (`time.monotonic`); now, if not given.
        """
        now = time.monotonic() if now is None else now
        if part != self._part:
            self._since, self._part = (now if self._part else self._since), part
        passed = now - self._since
        said = f"{done:,}" if of is None else f"{done:,} of {of:,}"
        if not of or not 0 < done < of or passed < _SOON:
            return said
        return f"{said}, about {_duration(passed * (of - done) / done)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
