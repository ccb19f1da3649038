"""Runs that are killed again and again: nothing torn, all there in the end, and nothing paid for twice unseen."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from genpool.runner import on_their_way
from tests.bars import least
from tests.small_pools import (
    entries_of,
    generations,
    make_pool,
    memory_folder,
    seeds_of,
    torn_generations,
    whole_cohort,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Statement

_RUN = "import sys; from genpool.pool import Pool; sys.exit(not Pool.open(sys.argv[1]).run('c').complete)"
_KILLS = least("random kills", "kills")
_ROWS = 40
_CONCURRENCY = 3
_BEGUN = on_their_way(_CONCURRENCY)  # of each of the two models: the next call is sent while the last answer is kept
_PATIENCE = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Account:
    """What the model saw, and what of it the ledgers do not explain."""

    calls: int
    tasks: int
    again: int
    in_flight: int
    wrong: list[str]


@pytest.mark.bar("random kills")
def test_a_run_that_is_killed_20_times_is_completed_and_buys_twice_only_what_was_in_flight(proof: Statement) -> None:
    chance = random.Random(20)  # where it is killed is chosen by chance, the same every time
    with memory_folder() as folder:
        entry = f"{{client: scripted, seconds: 0.05, calls_log: calls.txt, concurrency: {_CONCURRENCY}}}"
        pool = make_pool(folder / "pool", rows=_ROWS, models={"writer": entry, "judge": entry})
        whole_cohort(pool.root)
        tasks = seeds_of(pool.plan("c"))
        assert len(tasks) == len(pool.plan("c")), "seeds tell tasks apart"
        killed, torn = 0, []
        while killed < _KILLS:
            assert _killed_run(pool.root, chance), "the run ended before it could be killed often enough"
            killed += 1
            torn += torn_generations(pool)
        ended = subprocess.run([sys.executable, "-c", _RUN, str(pool.root)], check=False, timeout=_PATIENCE)
        assert ended.returncode == 0
        torn += torn_generations(pool)
        assert {name for _, name in generations(pool.root)} == {task.gen_id for task in pool.plan("c").tasks()}
        assert pool.plan("c").missing == 0
        account = _account(pool.root, tasks)
    said = f"{account.calls} calls for {account.tasks} tasks, {account.again} of them twice"
    proof(
        f"{said}, {account.in_flight} in flight at {killed} kills",
        kills=killed,
        calls=account.calls,
        again=account.again,
        wrong=len(torn) + len(account.wrong),
    )
    assert (torn, account.wrong) == ([], [])
    assert account.again <= account.in_flight <= _KILLS * 2 * _BEGUN


def _killed_run(root: Path, chance: random.Random) -> bool:
    """Start a run and kill it: now and then while it starts, mostly soon after its first call; tell whether it was."""
    calls = root / "calls.txt"
    before = calls.stat().st_size if calls.exists() else 0
    run = subprocess.Popen([sys.executable, "-c", _RUN, str(root)])
    if chance.random() < 0.2:
        time.sleep(chance.uniform(0.05, 0.3))
    else:
        deadline = time.monotonic() + _PATIENCE
        while run.poll() is None and (not calls.exists() or calls.stat().st_size == before):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
    run.kill()
    return run.wait() < 0


def _account(root: Path, tasks: dict[int, str]) -> Account:
    """Set what the model saw against what the ledgers say."""
    called = Counter(tasks[int(line)] for line in (root / "calls.txt").read_text().splitlines())
    intended: Counter[str] = Counter()
    unsettled: Counter[str] = Counter()
    for path in sorted((root / "ledger").iterdir()):
        open_here = {}
        for entry in entries_of(path):
            if "intent" in entry:
                open_here[entry["intent"]] = str(entry["gen_id"])
                intended[str(entry["gen_id"])] += 1
            elif "settled" in entry:
                del open_here[entry["settled"]]
        assert len(open_here) <= 2 * _BEGUN, "more was in flight than the models allow"
        unsettled.update(open_here.values())
    copies = {name for stage, name in generations(root) if stage == "essay"} - set(called)
    assert len(copies) == _ROWS
    assert set(called) | copies == set(tasks.values())
    wrong = [f"{name}: a call whose intent is nowhere" for name, times in called.items() if times > intended[name]]
    wrong += [
        f"{name}: called twice, and no ledger says why" for name, times in called.items() if times > 1 + unsettled[name]
    ]
    return Account(called.total(), len(called), called.total() - len(called), unsettled.total(), wrong)
