"""What a run opens it has, or says that it cannot have it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.small_pools import generations, make_pool, write_spec

if TYPE_CHECKING:
    from pathlib import Path

LIMITED = """
import resource, sys
soft, hard = int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from genpool.cli.main import run
sys.argv = ["genpool", "--pool", sys.argv[1], "run", "c", "-q"]
run()
"""


def run_with(root: Path, soft: int, hard: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIMITED, str(root), str(soft), str(hard)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_that_needs_more_open_files_raises_its_own_limit(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=300, models={"writer": "{client: scripted, concurrency: 300, seconds: 0.05}"})
    write_spec(pool.root)
    ended = run_with(pool.root, 128, 4096)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(generations(pool.root)) == 300


def test_where_the_system_allows_no_more_the_run_is_refused_before_anything_is_bought(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=300, models={"writer": "{client: scripted, concurrency: 300}"})
    write_spec(pool.root)
    ended = run_with(pool.root, 128, 512)
    assert ended.returncode == 1
    assert "the run needs up to 1,156 open files, and this process may have 512" in ended.stderr
    assert "lower `concurrency`" in ended.stderr
    assert generations(pool.root) == set()
    assert not (pool.root / "ledger").exists()
