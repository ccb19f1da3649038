"""Ctrl-C in a program of one's own: real signals to this process."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from genpool.interrupts import run_interruptible

if TYPE_CHECKING:
    from collections.abc import Callable


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_without_ctrl_c_it_is_an_ordinary_run() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert run_interruptible(lambda _: work()) == 7
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_is_raised_when_everything_has_ended() -> None:
    ended = []

    async def work(busy: Callable[[], None]) -> None:
        busy()
        try:
            interrupt()
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.01)
            ended.append("main")

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work)
    assert ended == ["main"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_breaks_off_no_task_in_its_midst() -> None:
    steps: list[int] = []

    async def beside() -> None:
        for step in range(3):
            interrupt()  # would be raised here
            steps.append(step)
        await asyncio.sleep(30)

    async def work(busy: Callable[[], None]) -> None:
        busy()
        task = asyncio.create_task(beside())
        try:
            await asyncio.sleep(30)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work)
    assert steps == [0, 1, 2]


def test_a_second_one_is_raised_at_once_where_nothing_but_one_task_is_at_work() -> None:
    reached = []

    async def work(_: Callable[[], None]) -> None:
        interrupt()
        reached.append("after the first")
        interrupt()
        reached.append("after the second")

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work)
    assert reached == ["after the first"]


def test_a_program_that_handles_ctrl_c_itself_goes_on_doing_so() -> None:
    seen: list[int] = []

    async def work(_: Callable[[], None]) -> int:
        interrupt()
        await asyncio.sleep(0.01)
        return 7

    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        assert run_interruptible(work) == 7
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


def test_in_another_thread_it_is_an_ordinary_run() -> None:
    async def work() -> int:
        return 7

    found = []
    thread = threading.Thread(target=lambda: found.append(run_interruptible(lambda _: work())))
    thread.start()
    thread.join()
    assert found == [7]
