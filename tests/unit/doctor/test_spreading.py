"""A pool that is large enough to be examined by several processes: the same is found, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.make_pool import Shape, make_pool

from genpool.pool import Pool

SHAPE = Shape(tasks=9_500, present=100, legacy=1)
one_core = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="`genpool doctor` starts as many as there are cores")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large") / "pool"
    make_pool(root, SHAPE, processes=2)
    assert Pool.open(root).plan("whole").to_make == 0  # so that there is a catalog
    return root


def test_several_processes_find_what_one_does(large: Path) -> None:
    pool = Pool.open(large)
    assert pool.examine(processes=2).is_healthy
    sealed = [folder for folder in sorted((large / "gens/evaluation").iterdir()) if len(folder.name) == 34]
    damaged = {folder / "parsed.txt": (folder / "parsed.txt").read_bytes() for folder in sealed[::40]}
    try:
        for path in damaged:
            path.write_text("other")
        wrong = pool.examine(processes=2)
        assert {one.path for one in wrong.problems} == {path.relative_to(large).as_posix() for path in damaged}
        assert wrong == pool.examine()
    finally:
        for path, text in damaged.items():
            path.write_bytes(text)


# --- ended from outside ----------------------------------------------------------------------------


def children_of(pid: int) -> set[int]:
    """Return the processes that a process started, as far as they are at work."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def examined(root: Path) -> tuple[subprocess.Popen[str], set[int]]:
    """Start `genpool doctor`; return it, and the processes that it started: one keeps account of the others."""
    process = subprocess.Popen(
        [sys.executable, "-m", "genpool", "--pool", os.fspath(root), "doctor"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None:
        started = children_of(process.pid)
        if len(started) > 2:
            return process, started
        time.sleep(0.001)
    raise AssertionError(f"it started nobody: {process.communicate()}")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pids: set[int]) -> None:
    end = time.monotonic() + 60
    while any(map(is_alive, pids)):
        assert time.monotonic() < end, "a process was left behind"
        time.sleep(0.01)


@one_core
@pytest.mark.parametrize("later", [0.0, 0.1, 0.3])
def test_ctrl_c_ends_it_with_all_its_processes_and_one_word(large: Path, later: float) -> None:
    process, started = examined(large)
    time.sleep(later)  # they are being started; or they are at work
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) in {(130, "", "interrupted"), (0, out, "")}
    assert process.returncode == 130 or later
    wait_until_gone(started)


@one_core
def test_killed_it_leaves_nobody_behind(large: Path) -> None:
    process, started = examined(large)
    process.kill()
    process.communicate(timeout=60)
    wait_until_gone(started)


@one_core
def test_where_one_of_its_processes_is_killed_it_says_so(large: Path) -> None:
    process, started = examined(large)
    for pid in started:
        if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.splitlines()[0] == "error: a process that examined generations was killed"
    assert "Traceback" not in err


def test_nothing_is_started_for_a_small_pool(tmp_path: Path) -> None:
    make_pool(tmp_path / "pool", Shape(tasks=200))
    before = children_of(os.getpid())
    assert Pool.open(tmp_path / "pool").examine(processes=2).is_healthy
    assert children_of(os.getpid()) == before
