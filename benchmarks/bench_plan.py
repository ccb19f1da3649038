"""Tasks planned a second at 10^3 to 10^5 tasks, from the spec on disk to the plan.

Floor: a bare loop that builds and hashes the same strings. Listing: one os.listdir a stage. The pool holds
90% of the drafts as directories with the two files that completeness is judged by.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from genpool.pool import Pool
from genpool.records import encode_sealed
from measure import best_of, print_table

SIZES = (1_000, 10_000, 100_000)
ROUNDS = 5
DRAFTS_EACH = 10  # replicates
PRESENT = 0.9


def make_pool(root: Path, tasks: int) -> Pool:
    """Make a pool whose cohort `bench` has about as many tasks: half drafts, half essays."""
    rows = tasks // 2 // DRAFTS_EACH
    (root / "cohorts/bench").mkdir(parents=True)
    for stage in ("draft", "essay"):
        (root / f"templates/{stage}").mkdir(parents=True)
        (root / f"templates/{stage}/t.j2").write_text("{{ row.text }}" if stage == "draft" else "{{ draft }}")
    (root / "pool.yaml").write_text(
        "format: genpool.pool/1\nid_scheme: genpool/1\nmodels:\n  m: {client: scripted, model: m}\n"
    )
    (root / "data.csv").write_text("id,text\n" + "".join(f"row-{n},a text of row {n}\n" for n in range(rows)))
    (root / "cohorts/bench/cohort.yaml").write_text(
        "format: genpool.cohort/1\n"
        f"draft: {{combo: {{rows: data.csv}}, template: [t], model: [m], replicates: {DRAFTS_EACH}}}\n"
        "essay: {template: [t]}\n"
    )
    pool = Pool.open(root)
    plan = pool.plan("bench")
    for stage in plan.stages:
        folder = pool.layout.stage(stage.stage.name)
        folder.mkdir(parents=True)
        for gen_id in stage.gen_ids[: int(len(stage) * PRESENT)]:
            (folder / gen_id).mkdir()
            (folder / gen_id / "metadata.json").write_bytes(encode_sealed({}))
            (folder / gen_id / "parsed.txt").touch()
    return pool


def floor(strings: list[tuple[str, str, str]]) -> list[str]:
    """Build and hash the canonical strings of the same tasks, and nothing else."""
    sha256 = hashlib.sha256
    return [sha256(f"{before}{source}{behind}".encode()).hexdigest()[:32] for before, source, behind in strings]


def canonical_parts(plan: Any) -> list[tuple[str, str, str]]:
    """Return the canonical text of every task, cut where its source stands."""
    from genpool.gen_ids import canonical_text

    parts = []
    for stage in plan.stages:
        for index in range(len(stage)):
            signature = stage.signature(index)
            before, behind = canonical_text(signature).split(signature.source)
            parts.append((before, signature.source, behind))
    return parts


def measure(tasks: int) -> list[str]:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        pool = make_pool(Path(folder), tasks)
        plan = pool.plan("bench")
        parts = canonical_parts(plan)
        stages = [pool.layout.stage(stage.stage.name) for stage in plan.stages]
        times = best_of(
            ROUNDS,
            {
                "floor": lambda: floor(parts),
                "listing": lambda: [os.listdir(stage) for stage in stages],  # noqa: PTH208 - the floor
                "complete": lambda: [
                    pool.store.incomplete(stage.stage, stage.gen_ids[: int(len(stage) * PRESENT)])
                    for stage in plan.stages
                ],
                "spec": lambda: Pool.open(folder).spec("bench"),
                "plan": lambda: Pool.open(folder).plan("bench"),
            },
        )
    micro = {name: seconds / len(plan) * 1e6 for name, seconds in times.items()}
    rate = len(plan) / times["plan"]
    cells = [f"{micro[name]:.2f}" for name in ("floor", "listing", "complete", "spec", "plan")]
    return [f"{len(plan):,}", *cells, f"{micro['plan'] / (micro['floor'] + micro['listing']):.1f}", f"{rate:,.0f}"]


def main() -> None:
    """Print the table."""
    columns = ["tasks", "floor", "listing", "complete?", "spec", "plan", "plan/(floor+listing)", "tasks/s"]
    print_table(
        "planning, µs a task (best of 5), 90% present; 'complete?' is two stats a generation; 'spec' is part of 'plan'",
        columns,
        [measure(tasks) for tasks in SIZES],
    )


if __name__ == "__main__":
    main()
