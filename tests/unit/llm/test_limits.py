"""The limit on requests a minute, with a clock that tests move."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genpool.llm.limits import RateLimit


class Clock:
    """Time that passes only when everyone waits for it."""

    def __init__(self) -> None:
        self.time = 0.0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.time + seconds, next(self._number), woken))
        await woken

    async def run(self, *tasks: asyncio.Task[None]) -> None:
        """Let time pass until the tasks are done."""
        while not all(task.done() for task in tasks):
            for _ in range(10):
                await asyncio.sleep(0)
            if self._sleeping:
                self.time, _, woken = heapq.heappop(self._sleeping)
                if not woken.done():
                    woken.set_result(None)


def let_go(limit: int, arrivals: list[float], slack: float = 0.0, holds: dict[int, float] | None = None) -> list[float]:
    """Return when requests that came at some times were let go, in the order of coming."""

    async def simulated() -> list[float]:
        clock = Clock()
        limiter = RateLimit(limit, slack=slack, clock=clock)
        times = [-1.0] * len(arrivals)

        async def request(number: int, at: float) -> None:
            await clock.sleep(at)
            await limiter.admit()
            times[number] = clock.now()
            if holds and number in holds:
                limiter.hold(holds[number])

        await clock.run(*[asyncio.create_task(request(number, at)) for number, at in enumerate(arrivals)])
        return times

    return asyncio.run(simulated())


def most_in_a_window(times: list[float], length: float) -> int:
    return max((sum(start <= time < start + length for time in times) for start in times), default=0)


def test_the_first_minute_has_no_more_than_any_other() -> None:
    assert let_go(3, [0.0] * 8) == [0.0] * 3 + [60.0] * 3 + [120.0] * 2


def test_slack_is_added_to_the_window() -> None:
    assert let_go(1, [0.0] * 3, slack=1.0) == [0.0, 61.0, 122.0]


def test_whoever_is_below_the_limit_never_waits() -> None:
    arrivals = [number * 20.0 for number in range(10)]
    assert let_go(3, arrivals) == arrivals


def test_a_hold_stops_everyone() -> None:
    assert let_go(10, [0.0, 1.0, 2.0, 50.0], holds={0: 30.0}) == [0.0, 30.0, 30.0, 50.0]


def test_a_hold_reaches_those_who_wait_already() -> None:
    async def simulated() -> float:
        clock = Clock()
        limiter = RateLimit(1, slack=0.0, clock=clock)
        await limiter.admit()
        waiting = asyncio.create_task(limiter.admit())
        await asyncio.sleep(0)
        limiter.hold(90.0)
        await clock.run(waiting)
        return clock.now()

    assert asyncio.run(simulated()) == 90.0


def test_a_shorter_hold_does_not_end_a_longer_one() -> None:
    async def simulated() -> float:
        clock = Clock()
        limiter = RateLimit(10, clock=clock)
        limiter.hold(30.0)
        limiter.hold(5.0)
        await clock.run(asyncio.create_task(limiter.admit()))
        return clock.now()

    assert asyncio.run(simulated()) == 30.0


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 7), st.lists(st.floats(0, 300), max_size=40))
def test_no_window_has_more_than_the_limit_and_nobody_waits_without_need(limit: int, arrivals: list[float]) -> None:
    arrivals = sorted(arrivals)
    times = let_go(limit, arrivals)
    assert most_in_a_window(times, 60.0 - 1e-9) <= limit
    assert times == sorted(times)  # in the order of coming
    for number, time in enumerate(times):
        free = times[number - limit] + 60.0 if number >= limit else 0.0
        assert time == pytest.approx(max(arrivals[number], free))


def test_one_that_is_cancelled_takes_no_place() -> None:
    async def simulated() -> float:
        clock = Clock()
        limiter = RateLimit(1, slack=0.0, clock=clock)
        await limiter.admit()
        waiting = [asyncio.create_task(limiter.admit()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
        await clock.run(*waiting)
        assert [task.cancelled() for task in waiting] == [True, True, False]
        return clock.now()

    assert asyncio.run(simulated()) == 60.0


def test_the_real_clock_lets_go_too() -> None:
    async def simulated() -> None:
        limiter = RateLimit(2, window=0.01, slack=0.0)
        for _ in range(5):
            await limiter.admit()

    asyncio.run(asyncio.wait_for(simulated(), 60))


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 requests"):
        RateLimit(0)


def test_without_a_limit_everything_goes_at_once_but_where_a_server_asked_for_a_pause() -> None:
    clock = Clock()
    limit = RateLimit(None, clock=clock)
    assert all(limit.admit_at_once() for _ in range(1000))
    limit.hold(20)
    assert not limit.admit_at_once()
    clock.time = 20.0
    assert limit.admit_at_once()


def test_nobody_goes_at_once_before_one_that_waits() -> None:
    async def simulated() -> None:
        clock = Clock()
        limit = RateLimit(2, window=60, slack=0, clock=clock)
        assert [limit.admit_at_once() for _ in range(3)] == [True, True, False]
        waiting = asyncio.create_task(limit.admit())
        await asyncio.sleep(0)
        clock.time = 61.0  # there are two places now, and one who came before
        assert not limit.admit_at_once()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert limit.admit_at_once()

    asyncio.run(simulated())
