"""Locks keep processes apart, die with their holders, and a refusal names who holds one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from genpool.errors import InputError, PoolBusy
from genpool.layout import PoolLayout
from genpool.locks import cohort_lock, file_lock, held, is_held, pool_lock

if TYPE_CHECKING:
    from pathlib import Path

_HOLDER = """
import sys
from pathlib import Path
from genpool.layout import PoolLayout
from genpool.locks import pool_lock
with pool_lock(PoolLayout(Path(sys.argv[1])), sys.argv[2], exclusive=sys.argv[3] == "exclusive"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def layout(tmp_path: Path) -> PoolLayout:
    return PoolLayout(tmp_path)


def other_process(layout: PoolLayout, verb: str, mode: str) -> subprocess.Popen[str]:
    """Start a process that holds the pool's lock until its standard input is closed."""
    command = [sys.executable, "-c", _HOLDER, str(layout.root), verb, mode]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_runs_share_the_pool(layout: PoolLayout) -> None:
    with pool_lock(layout, "genpool run a"), pool_lock(layout, "genpool run b"):
        assert len(list(layout.locks.glob("holder-*.json"))) == 2
    assert list(layout.locks.glob("holder-*.json")) == []


def test_an_exclusive_command_is_refused_while_a_run_holds_the_pool(layout: PoolLayout) -> None:
    with (
        pool_lock(layout, "genpool run a"),
        pytest.raises(PoolBusy, match="'genpool run a'") as refused,
        pool_lock(layout, "genpool migrate", exclusive=True),
    ):
        pass
    assert str(os.getpid()) in refused.value.message
    assert "genpool migrate" in (refused.value.hint or "")


def test_a_run_is_refused_while_an_exclusive_command_holds_the_pool(layout: PoolLayout) -> None:
    with (
        pool_lock(layout, "genpool migrate", exclusive=True),
        pytest.raises(PoolBusy, match="'genpool migrate'"),
        pool_lock(layout, "genpool run a"),
    ):
        pass


def test_the_lock_is_free_again_when_its_holder_is_done(layout: PoolLayout) -> None:
    for exclusive in (True, False, True):
        with pool_lock(layout, "one", exclusive=exclusive):
            pass


def test_a_holder_in_another_process_is_named_and_its_lock_dies_with_it(layout: PoolLayout) -> None:
    with other_process(layout, "genpool purge", "exclusive") as holder:
        with pytest.raises(PoolBusy, match="'genpool purge'") as refused, pool_lock(layout, "genpool run a"):
            pass
        assert f"process {holder.pid} on " in refused.value.message
        holder.kill()
        holder.wait()
        with pool_lock(layout, "genpool run a"):
            pass


def test_the_note_of_a_dead_holder_is_not_believed(layout: PoolLayout) -> None:
    with other_process(layout, "genpool run dead", "shared") as dead:
        dead.kill()
        dead.wait()
    assert len(list(layout.locks.glob("holder-*.json"))) == 1
    with (
        pool_lock(layout, "genpool run living"),
        pytest.raises(PoolBusy) as refused,
        pool_lock(layout, "genpool migrate", exclusive=True),
    ):
        pass
    assert "living" in refused.value.message
    assert "genpool run dead" not in refused.value.message


def test_a_cohort_lock_keeps_two_writers_apart(layout: PoolLayout) -> None:
    with cohort_lock(layout, "a"):
        with pytest.raises(PoolBusy, match="cohort 'a'"), cohort_lock(layout, "a", seconds=0.1):
            pass
        with cohort_lock(layout, "b", seconds=0.1):
            pass


def test_a_cohort_lock_waits_until_it_is_free(layout: PoolLayout) -> None:
    entered = threading.Event()

    def hold_a_moment() -> None:
        with cohort_lock(layout, "a"):
            entered.set()
            threading.Event().wait(0.2)

    holder = threading.Thread(target=hold_a_moment)
    holder.start()
    entered.wait()
    with cohort_lock(layout, "a", seconds=5):
        pass
    holder.join()


def test_a_cohort_lock_is_no_way_out_of_the_pool(layout: PoolLayout) -> None:
    with pytest.raises(InputError), cohort_lock(layout, "../../elsewhere"):
        pass


def test_a_file_lock_is_exclusive_between_threads(layout: PoolLayout) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with file_lock(layout, "shared", "the file"):
            inside.append(number)
            most.append(len(inside))
            threading.Event().wait(0.005)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def test_whether_a_lock_is_held_is_seen_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert is_held(path) is False
    with held(path):
        assert is_held(path) is True
        assert is_held(path) is True
    assert is_held(path) is False


def test_a_look_at_a_lock_does_not_keep_its_owner_from_holding_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holding, enough = threading.Event(), threading.Event()

    def own() -> None:
        with held(path):
            holding.set()
            enough.wait()

    with path.open("w") as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_EX)  # what `is_held` does for a moment
        owner = threading.Thread(target=own, daemon=True)
        owner.start()
        assert not holding.wait(0.1)
    assert holding.wait(10)
    assert is_held(path) is True
    enough.set()
    owner.join()
