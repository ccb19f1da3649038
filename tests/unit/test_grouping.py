"""What comes while a group is under way makes the next group, and each gets its own result."""

from __future__ import annotations

import asyncio
import threading

import pytest

from genpool.grouping import Grouped, to_the_end


def test_what_comes_meanwhile_goes_together_and_the_first_goes_alone() -> None:
    groups: list[list[int]] = []
    first_is_in, go_on = threading.Event(), threading.Event()

    def work(items: list[int]) -> list[int]:
        groups.append(items)
        first_is_in.set()
        assert go_on.wait(10)
        return [item * 2 for item in items]

    async def everything() -> list[int]:
        grouped: Grouped[int, int] = Grouped(work)
        first = grouped.send(1)
        await asyncio.to_thread(first_is_in.wait, 10)
        rest = [grouped.send(number) for number in (2, 3, 4)]
        go_on.set()
        return [await first, *await asyncio.gather(*rest)]

    assert asyncio.run(everything()) == [2, 4, 6, 8]
    assert groups == [[1], [2, 3, 4]]


def test_a_failure_is_of_its_own_item_or_of_the_whole_group() -> None:
    def some(items: list[int]) -> list[int | Exception]:
        if 9 in items:
            raise OSError("all of it")
        return [ValueError("this one") if item == 2 else item for item in items]

    async def everything() -> None:
        grouped: Grouped[int, int] = Grouped(some)
        results = await asyncio.gather(*[grouped.send(item) for item in (1, 2, 3)], return_exceptions=True)
        assert [str(one) for one in results] == ["1", "this one", "3"]
        results = await asyncio.gather(*[grouped.send(item) for item in (8, 9)], return_exceptions=True)
        assert [str(one) for one in results] == ["all of it", "all of it"]
        assert await grouped.send(5) == 5

    asyncio.run(everything())


def test_what_was_sent_is_worked_on_though_nobody_waits_for_it() -> None:
    done: list[int] = []

    async def everything() -> None:
        grouped: Grouped[int, None] = Grouped(lambda items: [done.append(item) for item in items])  # type: ignore[func-returns-value]
        waiting = asyncio.ensure_future(asyncio.wait_for(grouped.send(1), 0))
        with pytest.raises(asyncio.TimeoutError):
            await waiting
        grouped.send(2)
        await grouped.drained()

    asyncio.run(everything())
    assert done == [1, 2]


@pytest.mark.timeout(30)
def test_a_group_under_way_when_its_loop_ends_is_worked_on_and_nobody_waits_for_ever() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work(items: list[int]) -> list[int]:
        begun.set()
        assert go_on.wait(10)
        done.extend(items)
        return items

    async def left_early() -> asyncio.Task[int]:
        grouped: Grouped[int, int] = Grouped(work)
        waiting = asyncio.create_task(to_the_end(grouped.send(1)))
        await asyncio.to_thread(begun.wait, 10)
        threading.Timer(0.1, go_on.set).start()
        return waiting  # what is still at work is cancelled by `asyncio.run`

    assert asyncio.run(left_early()).result() == 1
    assert done == [1]


@pytest.mark.timeout(30)
def test_who_waits_for_a_group_whose_worker_was_ended_is_told() -> None:
    class Ended(BaseException):
        """Like KeyboardInterrupt, which asyncio would let through."""

    def work(_: list[int]) -> list[int]:
        raise Ended

    async def everything() -> None:
        grouped: Grouped[int, int] = Grouped(work)
        first = grouped.send(1)
        second = grouped.send(2)
        for one in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await one
        with pytest.raises(Ended):
            await grouped.drained()

    asyncio.run(everything())
