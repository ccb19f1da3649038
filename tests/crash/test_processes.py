"""Many processes that want the same tasks: each is bought once, whoever dies or stands still meanwhile.

The model is a real server in a process of its own, which counts what it answered. A call that was in flight when its
process was killed may have been answered and lost: then it is bought again, and the audit lists it.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from genpool.audit import MADE_ANEW
from tests.bars import least
from tests.servers.provider import Provider
from tests.small_pools import make_pool, memory_folder, torn_generations, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.pool import Pool
    from tests.conftest import Statement

pytestmark = pytest.mark.bar(6)

_PROCESSES = 8
_CONCURRENCY = 3
_PATIENCE = 240.0  # seconds
_STANDSTILL = 5.0  # seconds

Runs = list[subprocess.Popen[str]]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a proof is done."""

    tasks: int
    seeds: int
    kills: int


SHORT = Extent(tasks=150, seeds=1, kills=3)
FULL = Extent(tasks=least(6, "stopped"), seeds=least(6, "seeds"), kills=least(6, "kills"))


@pytest.fixture
def extent(full: bool) -> Extent:
    return FULL if full else SHORT


@contextmanager
def pool_of(tasks: int, server: Provider, fault: str = "slow_first_byte") -> Iterator[Pool]:
    """Make a pool whose cohort wants some drafts, each another prompt, of a model on the server.

    It takes its time, so that there is something in flight when a process is killed or stopped.
    """
    with memory_folder() as folder:
        entry = (
            f"{{client: openai, base_url: '{server.url(fault)}', model: m, concurrency: {_CONCURRENCY}, timeout: 60}}"
        )
        pool = make_pool(folder / "pool", rows=tasks, models={"writer": entry})
        write_spec(pool.root)
        yield pool


_WITH_BROKEN_CLAIMS = (
    "from genpool import execution; from tests.crash.broken import LeasedClaims; execution.Claims = LeasedClaims; "
    "from genpool.cli.main import run; run()"
)


def start(root: Path, *, broken: bool = False) -> subprocess.Popen[str]:
    program = ["-c", _WITH_BROKEN_CLAIMS] if broken else ["-m", "genpool"]
    command = [sys.executable, *program, "--pool", str(root), "run", "c", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(runs: Runs) -> list[dict[str, object]]:
    """Wait for all, and return what each says it did."""
    deadline = time.monotonic() + _PATIENCE
    said = []
    for run in runs:
        out, err = run.communicate(timeout=deadline - time.monotonic())
        assert run.returncode == 0, (run.returncode, out, err)
        assert err == ""  # neither a traceback nor 'database is locked'
        said.append(json.loads(out))
    return said


def made_by(said: list[dict[str, object]]) -> int:
    return sum(one["stages"]["draft"]["made"] for one in said)  # type: ignore[index]


def everything_is_there(pool: Pool, tasks: int) -> None:
    assert torn_generations(pool) == []
    plan = pool.plan("c")
    assert (plan.missing, len(plan)) == (0, tasks)


@pytest.mark.timeout(1800)
def test_processes_that_want_the_same_buy_each_task_once(extent: Extent, proof: Statement) -> None:
    asked = twice = seeds = processes = 0
    with Provider() as server:
        for _ in range(extent.seeds):
            server.forget()
            with pool_of(extent.tasks, server, "answer") as pool:
                said = end([start(pool.root) for _ in range(_PROCESSES)])
                seen = server.seen()
                seeds += 1
                asked += seen.requests
                processes += len(said)
                twice += sum(times > 1 for times in seen.asked.values())
                assert set(seen.asked.values()) == {1}
                assert (len(seen.asked), seen.requests, made_by(said)) == (extent.tasks,) * 3
                everything_is_there(pool, extent.tasks)
                spend = pool.audit()
                assert (spend.total.committed, spend.doubtful, spend.twice) == (extent.tasks, (), ())
    each = f"{_PROCESSES} processes x {extent.tasks} tasks x {seeds} seeds"
    proof(
        f"{each}: {asked} calls, {twice} tasks twice",
        seeds=seeds,
        processes=processes,
        calls=asked,
        twice=twice,
    )


@pytest.mark.timeout(1800)
def test_processes_that_are_killed_buy_again_only_what_was_in_flight(extent: Extent, proof: Statement) -> None:
    chance = random.Random(6)
    with Provider() as server, pool_of(extent.tasks, server) as pool:
        runs: Runs = [start(pool.root) for _ in range(_PROCESSES)]
        killed = 0
        for number in range(extent.kills):
            _wait_for(server, extent.tasks * (number + 1) // (extent.kills + 2))
            time.sleep(chance.uniform(0, 0.05))
            victim = runs.pop(chance.randrange(len(runs)))
            victim.kill()
            killed += 1
            victim.communicate()
            runs.append(start(pool.root))
        end(runs)
        seen, spend = server.seen(), pool.audit()
        everything_is_there(pool, extent.tasks)
        again = {task: times for task, times in seen.asked.items() if times > 1}
        extra = sum(again.values()) - len(again)
        in_flight = len(spend.of("in_flight"))
        proof(
            f"{seen.requests} calls for {extent.tasks} tasks with {killed} kills: {extra} bought again,"
            f" {in_flight} in flight, {len(spend.twice)} listed",
            kills=killed,
            again=extra,
            unlisted=max(0, extra - in_flight, len(again) - len(spend.twice)),
        )
        assert seen.requests == extent.tasks + extra
        assert extra <= in_flight <= extent.kills * _CONCURRENCY
        assert not [one for one in spend.twice if one.kind == MADE_ANEW]
        assert len(spend.twice) >= len(again), "every task that was asked for twice is listed"
        assert spend.total.committed == extent.tasks


@pytest.mark.timeout(600)
def test_a_process_that_stands_still_is_not_overtaken(extent: Extent, proof: Statement) -> None:
    """What it holds stays its own: a claim is no lease that runs out."""
    with Provider() as server, pool_of(extent.tasks, server) as pool:
        calls = _with_some_that_stand_still([start(pool.root) for _ in range(_PROCESSES)], server, extent.tasks)
        proof(f"3 of {_PROCESSES} processes stopped for {_STANDSTILL:g} s: {calls} calls", stopped=calls)
        everything_is_there(pool, extent.tasks)
        assert calls == extent.tasks


@pytest.mark.bar(4)
@pytest.mark.timeout(600)
def test_claims_that_run_out_are_caught(proof: Statement) -> None:
    tasks = SHORT.tasks
    with Provider() as server, pool_of(tasks, server) as pool:
        runs = [start(pool.root, broken=True) for _ in range(_PROCESSES)]
        calls = _with_some_that_stand_still(runs, server, tasks)
        noticed = calls > tasks
        said = f"the same with claims that run out: {calls} calls for {tasks} tasks"
        proof(said, protocols=("unfenced claim",) * noticed, caught=noticed, unnoticed=not noticed)
        assert noticed


def _with_some_that_stand_still(runs: Runs, server: Provider, tasks: int) -> int:
    """Stop three of some runs for a while; return how many calls there were when all have ended."""
    _wait_for(server, tasks // 4)
    for run in runs[:3]:
        run.send_signal(signal.SIGSTOP)
    time.sleep(_STANDSTILL)
    for run in runs[:3]:
        run.send_signal(signal.SIGCONT)
    end(runs)
    return server.seen().requests


def _wait_for(server: Provider, requests: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while server.seen().requests < requests:
        assert time.monotonic() < deadline, "the runs do not get on"
        time.sleep(0.02)
