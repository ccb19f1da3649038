"""Whether and when a failed call is tried again. Pure: no input, no output, no clock of its own.

A *try* is one request to a provider. (An *attempt* is something else: an answer that came, was not acceptable and
is kept.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genpool.errors import CallFailed

Random = Callable[[], float]
"""What gives numbers from 0 up to, but without, 1: `random.random`, or a test's own."""

_MOST_DOUBLINGS = 62  # beyond it every cap is reached, and a float could overflow


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long one call is tried again after transient failures."""

    tries: int = 6
    """How many requests there may be for one answer, the first included."""
    base: float = 1.0
    """Seconds that the wait after the first failure is at the most; it doubles with every further one."""
    cap: float = 60.0
    """Seconds that a wait of our own choice is at the most."""
    longest_asked: float = 120.0
    """Seconds of a server's Retry-After that are honoured; of a longer one, only these."""
    total: float = 600.0
    """Seconds since the first try began after which no further one is begun."""

    def wait(self, error: CallFailed, tries: int, elapsed: float, random: Random) -> float | None:
        """Return the seconds to wait before the next try, or None to give up.

        The wait is drawn from 0 to the backoff ("full jitter", Marc Brooker, "Exponential Backoff And Jitter",
        AWS Architecture Blog, 2015), so that calls which failed together do not come back together. A server's
        Retry-After is the least wait, and the draw is added to it: those that it sent away at once got the same number.

        Args:
            error: How the latest try failed.
            tries: How many were made, the latest included; at least 1.
            elapsed: Seconds since the first one began.
            random: Where the draw comes from.
        """
        if not error.transient or tries >= self.tries:
            return None
        asked = min(error.retry_after or 0.0, self.longest_asked)
        backoff = min(self.cap, self.base * 2.0 ** min(tries - 1, _MOST_DOUBLINGS))
        seconds = asked + random() * backoff
        return seconds if elapsed + seconds <= self.total else None


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Return what a Retry-After header asks for (RFC 9110, 10.2.3), in seconds, or None where it is not readable.

    Seconds may have a fraction, which providers send. What lies in the past is 0. Nothing is capped: that is
    the policy's matter.

    Args:
        value: The header's value: seconds or an HTTP-date; None where there is no header.
        now: The time that a date is measured from, with its zone: best the same answer's Date.
    """
    if value is None:
        return None
    seconds = _number(value)
    if seconds is None:
        date = read_http_date(value)
        seconds = None if date is None else (date - now).total_seconds()
    return None if seconds is None else max(0.0, seconds)


def read_http_date(value: str) -> datetime | None:
    """Return the time that an HTTP-date says, in UTC, or None where it is not one."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):  # the parser's ways of refusing what it is given
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _number(value: str) -> float | None:
    """Return a finite decimal number, or None."""
    if len(value) > 32 or not value.isascii() or "_" in value:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
