"""Whole runs against a provider that misbehaves: what is cut is never kept as an answer, nothing hangs, all is told.

Every fault is met by a task of its own, whose model is at an address that shows the fault first and then answers. The
client alone is held against the same faults in tests/unit/llm/test_faults.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.servers.faults import FAULTS, Fault
from tests.servers.messages import END
from tests.servers.provider import Provider
from tests.small_pools import ledger_entries, make_pool, memory_folder, torn_generations, write_spec

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.pool import Pool
    from tests.conftest import Statement

pytestmark = pytest.mark.bar(7)

_LONG_WAIT = 5.0  # seconds that a server asks for, and a short proof does not wait
_PATIENCE = 400.0  # seconds
_PER_MINUTE = 40

REQUESTS = {"answer": 1, "attempt": 2, "paid": 2, "later": 2, "late": 2, "spent": 1, "never": 1, "unavailable": 1}
"""Kind of fault to how many requests a task of two tries and two attempts sends."""
SETTLED = {
    "answer": ["committed"],
    "attempt": ["attempt", "committed"],
    "paid": ["unknown", "committed"],
    "later": ["failed", "committed"],
    "late": ["unknown", "committed"],
    "spent": ["unknown"],
    "never": ["failed"],
    "unavailable": ["failed"],
}
"""Kind of fault to what becomes of its task's intents, in order."""


def pool_of(folder: Path, server: Provider, faults: list[Fault]) -> Pool:
    """Make a pool whose n-th row goes to the n-th fault's model."""
    entries = {
        fault.name: f"{{client: openai, model: m, tries: 2, concurrency: 1, base_url: '{server.url(plan)}', "
        f"timeout: {3 if fault.kind == 'late' else 60}}}"
        for fault in faults
        for plan in [f"{fault.name},answer"]
    }
    pool = make_pool(folder / "pool", rows=len(faults), models=entries)
    names = ", ".join(fault.name for fault in faults)
    couples = ", ".join(f"[row-{number}, {fault.name}]" for number, fault in enumerate(faults))
    write_spec(pool.root, draft=f"template: [plain], model: [{names}]")
    spec = pool.root / "cohorts" / "c" / "cohort.yaml"
    spec.write_text(
        f"{spec.read_text()}rules: {{pairs: [{{left: draft.combo, right: draft.model, allowed: [{couples}]}}]}}\n"
    )
    return pool


def run(root: Path) -> tuple[int, dict[str, object], str]:
    """Run the cohort as a user does; return exit code, what it said, and what else it printed."""
    command = [sys.executable, "-m", "genpool", "--pool", str(root), "run", "c", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    return ended.returncode, json.loads(ended.stdout), ended.stderr


def settled(pool: Pool) -> dict[str, list[str]]:
    """Return what became of each task's intents."""
    found = defaultdict(list)
    for entry in ledger_entries(pool.root):
        if "settled" in entry:
            found[str(entry["gen_id"])].append(str(entry["outcome"]))
    return found


@pytest.mark.timeout(900)
def test_a_run_meets_every_fault_of_a_provider(full: bool, proof: Statement) -> None:
    faults = [one for one in FAULTS.values() if full or (one.retry_after or 0) <= _LONG_WAIT]
    with Provider() as server, memory_folder() as folder:
        pool = pool_of(folder, server, faults)
        code, said, err = run(pool.root)
        cut = [path.parent.name for path in pool.root.glob("gens/draft/*/parsed.txt") if END not in path.read_text()]
        sent, wanted = server.seen().requests, sum(REQUESTS[fault.kind] for fault in faults)
        proof(
            f"{len(faults)} faults in one run: {sent} requests of {wanted}, {len(cut)} cut texts kept",
            met=len(faults),
            truncated=len(cut),
            unasked=abs(sent - wanted),
        )
        assert (code, err) == (3, "")
        stage = pool.plan("c").stage("draft")
        outcomes = settled(pool)
        seen = server.seen()
        for index, gen_id in enumerate(stage.gen_ids):
            fault = FAULTS[str(stage.value(index, "llm_model_id"))]
            assert outcomes[gen_id] == SETTLED[fault.kind], fault.name
            place = pool.root / "gens" / "draft" / gen_id
            assert place.exists() == (SETTLED[fault.kind][-1] == "committed"), fault.name
        assert (sent, seen.elsewhere) == (wanted, 0)
        assert cut == [], "a text that was cut was kept as a generation"
        assert torn_generations(pool) == []
        told = {str(one["gen_id"]) for one in said["failures"]}  # type: ignore[attr-defined]
        assert told == {gen_id for gen_id in stage.gen_ids if not (pool.root / "gens" / "draft" / gen_id).exists()}


@pytest.mark.timeout(600)
def test_a_limit_of_requests_a_minute_holds_for_a_run(full: bool, proof: Statement) -> None:
    if not full:
        pytest.skip("takes more than a minute: in the full proof; tests/unit/llm/test_limits.py has a clock of its own")
    with Provider() as server, memory_folder() as folder:
        limits = f"concurrency: 64, requests_per_minute: {_PER_MINUTE}"
        entry = f"{{client: openai, model: m, base_url: '{server.url()}', {limits}}}"
        pool = make_pool(folder / "pool", rows=3 * _PER_MINUTE - 1, models={"writer": entry})
        write_spec(pool.root)
        code, _, err = run(pool.root)
        most = server.seen().most_within(60)
        said = f"{_PER_MINUTE} requests a minute: {most} in the busiest minute"
        proof(said, over_limit=max(0, most - _PER_MINUTE))
        assert (code, err) == (0, "")
        assert most == _PER_MINUTE
