"""Work handed to other processes: the same answers in the same order, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from genpool.processes import Helpers

if TYPE_CHECKING:
    from collections.abc import Callable

BATCHES = [list(range(start, start + 10)) for start in range(0, 600, 10)]
OF_TESTS = {"PYTHONPATH": os.pathsep.join(sys.path)}


def who() -> Callable[[list[int]], tuple[int, int]]:
    def told(batch: list[int]) -> tuple[int, int]:
        time.sleep(0.005)
        return sum(batch), os.getpid()

    return told


def mortal() -> Callable[[list[int]], int]:
    """Make work that kills whoever does it, unless that is the process that the tests run in."""
    return _deadly


def _deadly(batch: list[int]) -> int:
    if os.environ.get("GENPOOL_TESTS_HERE") != str(os.getpid()):
        os.kill(os.getpid(), signal.SIGKILL)
    return sum(batch)


def refusing() -> Callable[[list[int]], int]:
    def refuse(batch: list[int]) -> int:
        if 300 in batch:
            raise ValueError("300 is refused")
        return sum(batch)

    return refuse


def talking() -> Callable[[list[int]], int]:
    def talk(batch: list[int]) -> int:
        print("something that is no answer")
        return sum(batch)

    return talk


def test_every_batch_is_answered_in_its_order_and_others_have_a_part_in_it() -> None:
    with closing(Helpers(who, 3)) as helpers:
        answers = list(helpers.answers(BATCHES))
        again = list(helpers.answers(BATCHES[:5]))
    assert [one[0] for one in answers] == [sum(one) for one in BATCHES]
    assert [one[0] for one in again] == [sum(one) for one in BATCHES[:5]]
    assert {one[1] for one in answers} > {os.getpid()}, "nobody else did anything"


def test_with_one_process_nobody_is_started() -> None:
    with closing(Helpers(who, 1)) as helpers:
        assert {one[1] for one in helpers.answers(BATCHES)} == {os.getpid()}


def test_what_a_process_that_was_killed_does_not_answer_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPOOL_TESTS_HERE", str(os.getpid()))
    with closing(Helpers(mortal, 3)) as helpers:
        assert list(helpers.answers(BATCHES)) == [sum(one) for one in BATCHES]


def test_what_the_work_raises_is_raised_here() -> None:
    with closing(Helpers(refusing, 2)) as helpers, pytest.raises(ValueError, match="300 is refused"):
        list(helpers.answers(BATCHES))


def test_what_the_work_prints_is_no_answer() -> None:
    with closing(Helpers(talking, 2)) as helpers:
        assert list(helpers.answers(BATCHES)) == [sum(one) for one in BATCHES]


def test_where_no_interpreter_can_be_started_everything_is_done_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no" / "python"))
    with closing(Helpers(who, 3)) as helpers:
        assert {one[1] for one in helpers.answers(BATCHES[:20])} == {os.getpid()}


PROGRAM = """
import sys
from contextlib import closing
from genpool.processes import Helpers
from tests.unit.test_processes import BATCHES, who
print("once", flush=True)
with closing(Helpers(who, 2)) as helpers:
    for one in helpers.answers(BATCHES * int(sys.argv[1])):
        print(one[1], flush=True)
"""


def test_a_program_without_a_guard_runs_once(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program, "1"], env={**os.environ, **OF_TESTS}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split().count("once") == 1
    assert len(set(done.stdout.split())) > 2, "nobody else did anything"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_when_the_program_is_gone_the_others_are(tmp_path: Path, how: signal.Signals) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, program, "1000"],
        env={**os.environ, **OF_TESTS},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stdout is not None
        others: set[int] = set()
        for line in running.stdout:
            others |= {int(line)} - {running.pid} if line.strip().isdigit() else set()
            if others:
                break
        running.send_signal(how)
        running.stdout.close()
        running.wait(60)
    assert others
    for other in others:
        for _ in range(600):
            if not Path(f"/proc/{other}").exists():
                break
            time.sleep(0.05)
        else:
            pytest.fail("a process outlived the program that started it")
