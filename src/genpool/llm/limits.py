"""A limit on how many requests are sent in a minute, and the pause that a server asks of all of them.

Promises: in no window of the given length are more requests let go than the limit, the first window included: there is
no bucket that could be full at the start and be refilled in the same minute. Requests are let go in the order in which
they asked. One that is cancelled while it waits takes no place.

Accepted: a limit holds for one process; whoever runs several divides the provider's limit among them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final, Protocol

MINUTE: Final = 60.0
SLACK: Final = 1.0
"""Seconds added to the window: a request reaches the server some time after it was let go, not always the same."""


class Clock(Protocol):
    """Time that passes, and a way to wait for it."""

    def now(self) -> float:
        """Return seconds since some fixed moment; never fewer than before."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after some seconds."""
        ...


class MonotonicClock:
    """The machine's clock that nobody sets."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)


class RateLimit:
    """Lets requests go: never more than a number of them in a window of time.

    Belongs to one event loop, like everything of asyncio.

    Args:
        requests: How many may be sent in a window, at least 1; None for any number, while nothing holds them.
        window: The window's length in seconds.
        slack: Seconds added to it.
        clock: Where the time comes from.
    """

    def __init__(
        self, requests: int | None, window: float = MINUTE, slack: float = SLACK, clock: Clock | None = None
    ) -> None:
        if requests is not None and requests < 1:
            raise ValueError(f"a limit of {requests} requests would let none go")
        self._requests = requests
        self._window = window + slack
        self._clock = clock or MonotonicClock()
        self._let_go: deque[float] = deque(maxlen=requests or 0)
        self._held_until = float("-inf")
        self._waiting = 0
        self._turn = asyncio.Lock()  # wakes those who wait in the order in which they came

    async def admit(self) -> None:
        """Return when the next request may be sent, and count it."""
        self._waiting += 1
        try:
            async with self._turn:
                while (seconds := self._wait()) > 0:
                    await self._clock.sleep(seconds)
                self._let_go.append(self._clock.now())
        finally:
            self._waiting -= 1

    def admit_at_once(self) -> bool:
        """Let a request go, and count it, where it need not wait; return whether it went."""
        if self._waiting or self._wait() > 0:
            return False
        self._let_go.append(self._clock.now())
        return True

    def hold(self, seconds: float) -> None:
        """Let no request go for some seconds: a server said 429 to one, and would say so to all."""
        self._held_until = max(self._held_until, self._clock.now() + seconds)

    def _wait(self) -> float:
        """Return how many seconds the next request has to wait; 0 or less for none."""
        full = self._requests is not None and len(self._let_go) == self._requests
        free = self._let_go[0] + self._window if full else float("-inf")
        return max(free, self._held_until) - self._clock.now()
