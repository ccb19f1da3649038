"""Ctrl-C, once and twice, at any moment of a real process: it ends, tears nothing, and says so without a traceback."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.small_pools import ledger_entries, make_pool, memory_folder, torn_generations, whole_cohort

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.pool import Pool

_PATIENCE = 30.0  # seconds until a process counts as hanging
_LATEST = 1.5  # seconds after it has begun at which a signal is sent at the latest: the run is in full swing then
_GAPS = (0.0, 0.001, 0.01, 0.05, 0.2)  # seconds between the two signals

_ENTRY = "{client: scripted, seconds: 0.05, concurrency: 3}"
_BEGUN = "os.write(1, b'.'); "
_COMMAND = f"import os, genpool.__main__ as program; {_BEGUN}program.run()"
_LIBRARY = f"import os, sys; from genpool.pool import Pool; {_BEGUN}Pool.open(sys.argv[1]).run('c')"
_INTERRUPTED = {130, -signal.SIGINT}
"""What a process ends with; to a shell both are 130."""


@contextmanager
def pool_of(rows: int) -> Iterator[Pool]:
    with memory_folder() as folder:
        pool = make_pool(folder / "pool", rows=rows, models={"writer": _ENTRY, "judge": _ENTRY})
        whole_cohort(pool.root)
        yield pool


def start(root: Path, *, library: bool = False) -> subprocess.Popen[str]:
    """Start a run; returns when the interpreter is up: until then a signal is Python's matter, not genpool's."""
    program = [_LIBRARY, str(root)] if library else [_COMMAND, "--pool", str(root), "run", "c"]
    words = [sys.executable, "-c", *program]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.read(1) == "."
    return run


def ended(run: subprocess.Popen[str], when: str) -> str:
    """Return what a run said on standard error; it must end by itself."""
    try:
        _, err = run.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        run.kill()
        _, err = run.communicate()
        pytest.fail(f"it hangs: {when}\n{err}")
    return err


def wait_for_calls(pool: Pool, run: subprocess.Popen[str], stage: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not any("intent" in entry and entry["stage"] == stage for entry in ledger_entries(pool.root)):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _wait_for_a_line(log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not (log.exists() and log.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _interrupted_twice(pool: Pool, first: float, gap: float, *, library: bool) -> list[str]:
    """Interrupt a run twice; return what is wrong with its end."""
    when = f"after {first:.3f} s, and {gap:g} s later"
    run = start(pool.root, library=library)
    time.sleep(first)
    run.send_signal(signal.SIGINT)
    time.sleep(gap)
    run.send_signal(signal.SIGINT)
    err = ended(run, when)
    told = "Traceback" in err and not library  # a program of one's own gets the interrupt raised
    well = not told and "genpool: please report" not in err and run.returncode in _INTERRUPTED
    return [] if well else [f"{when}: {run.returncode}\n{err}"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("library", [False, True], ids=["command", "library"])
def test_two_interrupts_at_any_moment_end_a_run_whole(library: bool, full: bool) -> None:
    chance = random.Random(130)
    wrong: list[str] = []
    for _ in range(10 if full else 1):
        with pool_of(400) as pool:  # a new one: after some rounds there is nothing left to make
            for _ in range(15):
                wrong += _interrupted_twice(pool, chance.uniform(0, _LATEST), chance.choice(_GAPS), library=library)
            assert torn_generations(pool) == []
            assert pool.audit().problems == ()
            again = start(pool.root)
            time.sleep(_LATEST)
            again.send_signal(signal.SIGINT)
            ended(again, "a run afterwards")
            assert again.returncode == 130
    assert wrong == []


def test_the_first_interrupt_lets_running_calls_finish() -> None:
    with pool_of(40) as pool:
        run = start(pool.root)
        wait_for_calls(pool, run, "draft")
        run.send_signal(signal.SIGINT)
        err = ended(run, "after the first calls")
        assert run.returncode == 130
        assert "stopping when the running calls have finished; Ctrl-C again gives them up" in err
        spend = pool.audit()
        assert (spend.total.unknown, spend.total.in_flight, torn_generations(pool)) == (0, 0, [])


def test_the_second_interrupt_gives_running_calls_up_and_says_so_in_the_ledger() -> None:
    with pool_of(40) as pool:
        slow = "{client: scripted, seconds: 60, concurrency: 3, calls_log: judged.log}"
        make_pool(pool.root, rows=40, models={"writer": _ENTRY, "judge": slow})
        run = start(pool.root)
        wait_for_calls(pool, run, "evaluation")
        _wait_for_a_line(pool.root / "judged.log")  # an intent is written before its call is sent
        run.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert run.poll() is None, "calls that take a minute are waited for"
        run.send_signal(signal.SIGINT)
        err = ended(run, "while slow calls are running")
        assert run.returncode == 130
        assert "giving the running calls up" in err
        assert "Traceback" not in err
        spend = pool.audit()
        assert spend.total.unknown > 0
        assert (spend.total.in_flight, torn_generations(pool)) == (0, [])
