"""Many processes on one pool with a budget: together they never spend more, whoever is killed meanwhile.

Every answer costs exactly the worst price of its call, so that one intent too many is one call beyond the budget. Each
process has tasks of its own: nothing but the budget keeps them apart.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from genpool.budget import standing
from tests.small_pools import ledger_entries, make_pool, memory_folder, torn_generations, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.pool import Pool

_PROCESSES = 4
_TASKS = 60  # of each process
_BUDGET = 100  # calls; every process alone wants fewer, all together want more
_CONCURRENCY = 3
_PATIENCE = 120.0  # seconds

_ENTRY = (
    '{client: scripted, answers: ["one two three four five"], max_tokens: 5, seconds: 0.01, '
    f"price: {{input: 0, output: 200000}}, calls_log: calls.txt, concurrency: {_CONCURRENCY}}}"
)


@contextmanager
def pool_of(entry: str = _ENTRY) -> Iterator[Pool]:
    """Make a pool with a budget and a cohort for each process; a call costs 1."""
    with memory_folder() as folder:
        pool = make_pool(folder / "pool", models={"writer": entry})
        with (pool.root / "pool.yaml").open("a") as config:
            config.write(f"budget: {{pool: {_BUDGET}}}\n")
        for number in range(_PROCESSES):
            rows = f"rows{number}.csv"
            write_rows(pool.root, range(number * _TASKS, (number + 1) * _TASKS), rows)
            write_spec(pool.root, f"c{number}", rows=rows)
        yield type(pool).open(pool.root)


def start(root: Path, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "genpool", "--pool", str(root), "run", f"c{number}", "-q"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(run: subprocess.Popen[str]) -> None:
    """Wait for a run, which has either met the budget or made everything."""
    out, err = run.communicate(timeout=_PATIENCE)
    assert err == ""
    if run.returncode != 0:
        assert run.returncode == 1, out
        assert f"the run stopped: the budget of {_BUDGET} is reached" in out


def called(root: Path) -> int:
    log = root / "calls.txt"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_processes_together_spend_what_the_budget_allows_and_no_more() -> None:
    with pool_of() as pool:
        runs = [start(pool.root, number) for number in range(_PROCESSES)]
        for run in runs:
            end(run)
        now = standing(pool.layout, _BUDGET)
        print(f"{_PROCESSES} processes, budget {_BUDGET}: {called(pool.root)} calls, spent {now.spent:g}")
        assert (called(pool.root), now.spent, now.reserved) == (_BUDGET, _BUDGET, 0)
        assert any(run.returncode == 1 for run in runs)
        assert torn_generations(pool) == []
        assert most_at_once(pool) <= _BUDGET


def test_what_was_in_flight_at_a_kill_stays_set_against_the_budget() -> None:
    chance = random.Random(8)
    with pool_of() as pool:
        runs = {number: start(pool.root, number) for number in range(_PROCESSES)}
        for kill in range(3):
            deadline = time.monotonic() + _PATIENCE
            while called(pool.root) < (kill + 1) * _BUDGET // 5:
                assert time.monotonic() < deadline, "the runs do not get on"
                time.sleep(0.001)
            number = chance.choice(sorted(runs))
            runs[number].kill()
            runs[number].communicate()
            runs[number] = start(pool.root, number)
        for run in runs.values():
            end(run)
        now = standing(pool.layout, _BUDGET)
        print(f"with 3 kills: {called(pool.root)} calls, spent {now.spent:g}, set aside {now.reserved:g}")
        assert called(pool.root) <= _BUDGET
        assert now.spent + now.reserved == _BUDGET
        assert now.reserved <= 3 * 2 * _CONCURRENCY
        assert torn_generations(pool) == []


def most_at_once(pool: Pool) -> int:
    """Return how many calls there were, in flight ones included, by what all ledgers say in the end."""
    return sum("intent" in entry for entry in ledger_entries(pool.root))
