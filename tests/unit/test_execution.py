"""What a run opens it has, or says that it cannot have it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.small_pools import entries_of, generations, make_pool, write_spec

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


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
def test_where_the_last_settlement_cannot_be_written_a_complete_run_says_that_it_was_stopped(tmp_path: Path) -> None:
    """The ledger is the longest file: a limit on the size of files lets everything else be written."""
    pool = make_pool(tmp_path, rows=13, models={"slow": "{client: scripted, seconds: 5}"})
    write_spec(pool.root, draft="template: [plain], model: [writer, slow]")
    couples = ", ".join(f"[row-{number}, {'writer' if number else 'slow'}]" for number in range(13))
    with (pool.root / "cohorts/c/cohort.yaml").open("a") as spec:
        spec.write(f"rules: {{pairs: [{{left: draft.combo, right: draft.model, allowed: [{couples}]}}]}}\n")
    command = [sys.executable, "-m", "genpool", "--pool", str(pool.root), "run", "c", "--json"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    settled, deadline = 0, time.monotonic() + 30
    while settled < 12:
        assert time.monotonic() < deadline
        ledgers = list((pool.root / "ledger").glob("*.jsonl"))
        settled = sum("settled" in entry for entry in entries_of(ledgers[0])) if ledgers else 0
        time.sleep(0.005)
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (ledgers[0].stat().st_size, resource.RLIM_INFINITY))
    out, err = run.communicate(timeout=30)
    said = json.loads(out)
    assert (run.returncode, err) == (1, "")
    assert (said["complete"], said["interrupted"], said["stopped_by"]["kind"]) == (True, False, "storage-failed")
    assert "ledger" in said["stopped_by"]["message"]
    assert len(generations(pool.root)) == 13
    assert sum("settled" in entry for entry in entries_of(ledgers[0])) == 12
    (kept,) = pool.audit().unsettled
    assert kept.outcome == "committed"
