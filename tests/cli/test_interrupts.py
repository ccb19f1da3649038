"""Ctrl-C in what takes long, and caches that are gone: nothing is damaged, and the answers stay the same bytes.

Real processes on a pool of a few thousand generations, ended while they read them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.make_pool import Shape, make_pool

from genpool.cli.main import VERBS
from genpool.pool import Pool
from tests.sound_pools import contents

READING = [
    ["plan", "whole"],
    ["status"],
    ["ls", "--stage", "evaluation"],
    ["doctor"],
    *([["manifest", "build", "--all"]] if "manifest" in VERBS else []),
]
"""What reads every generation where there is no cache."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("written") / "pool"
    make_pool(root, Shape(tasks=3_000, legacy=5))
    return root


def forget(root: Path) -> None:
    """Delete every cache."""
    shutil.rmtree(root / ".genpool", ignore_errors=True)
    for manifest in root.glob("cohorts/*/manifest.json"):
        manifest.unlink()


def command(root: Path, words: list[str]) -> list[str]:
    return [sys.executable, "-m", "genpool", "--pool", os.fspath(root), *words]


def said(root: Path, *words: str) -> bytes:
    done = subprocess.run(command(root, [*words]), capture_output=True, check=False)
    assert done.stderr == b""
    assert done.returncode == 0
    return done.stdout


def reads_generations(pid: int, root: Path) -> bool:
    """Return whether a process has something under gens/ open at this moment."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if descriptor.readlink().is_relative_to(root / "gens"):
                return True
        except FileNotFoundError:
            continue
    return False


def interrupted(root: Path, words: list[str], later: float) -> tuple[int, str]:
    """Press Ctrl-C some seconds after a command began to read generations; return its exit code and what it said."""
    process = subprocess.Popen(
        command(root, words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not reads_generations(process.pid, root):
        time.sleep(0.001)
    time.sleep(later)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")
@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_ctrl_c_ends_a_long_reading_and_damages_nothing(written: Path, words: list[str]) -> None:
    forget(written)
    before = contents(written)
    codes = []
    for later in (0.0, 0.05, 0.15, 0.0, 0.0):
        forget(written)  # one that came to its end has left an index, and the next would have nothing to read
        code, err = interrupted(written, words, later)
        codes.append(code)
        assert (code, err.strip()) in {(130, "interrupted"), (0, "")}
    assert 130 in codes
    left = {name: data for name, data in contents(written).items() if not name.startswith(".genpool")}
    assert {name: data for name, data in left.items() if not name.endswith("manifest.json")} == before
    assert Pool.open(written).examine().is_healthy
    after = said(written, "status", "--json")
    forget(written)
    assert said(written, "status", "--json") == after


def test_deleting_every_cache_changes_no_answer(written: Path) -> None:
    some = min(path.name for path in (written / "gens/evaluation").iterdir())
    asked = [
        ("plan", "whole", "--json"),
        ("status", "--json"),
        ("missing", "slice-1"),
        ("show", some, "--json"),
        ("why", some, "--json"),
        ("ls", "whole", "--stage", "evaluation", "--where", "draft.template=baseline", "--json"),
        ("ls", "--origin", "slice-1", "--json"),
        ("doctor", "--json"),
    ]
    forget(written)
    Pool.open(written).plan("whole")
    if "manifest" in VERBS:
        said(written, "manifest", "build", "--all")
    warm = {words: said(written, *words) for words in asked}
    for words in asked:
        forget(written)
        assert said(written, *words) == warm[words], words
