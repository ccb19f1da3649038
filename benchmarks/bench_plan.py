"""Tasks planned a second at 10^3 to 10^5 tasks, 90% present, from the spec on disk to the plan.

Floor: a bare loop that builds and hashes the same strings; listing: one os.listdir a stage. Naive: reading one
metadata.json a present task. The first plan reads every record into the catalog, the later ones ask it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from genpool.canonical import sha256
from genpool.gen_ids import canonical_text
from genpool.pool import Pool
from genpool.records import Record
from measure import best_of, print_table

if TYPE_CHECKING:
    from genpool.planner import Plan

SIZES = (1_000, 10_000, 100_000)
ROUNDS = 5
DRAFTS_EACH = 10  # replicates
PRESENT = 0.9
TEXT = "A text of some length.\n" * 20


def make_pool(root: Path, tasks: int) -> Pool:
    """Make a pool whose cohort `bench` has about as many tasks, half drafts and half essays; most of them exist."""
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
    write_generations(pool, pool.plan("bench"))
    shutil.rmtree(pool.layout.private)
    return pool


def write_generations(pool: Pool, plan: Plan) -> None:
    """Write most of a plan's generations, without flushes."""
    prints = {"parsed": sha256(TEXT.encode())}
    for stage in plan.stages:
        folder = pool.layout.stage(stage.stage.name)
        folder.mkdir(parents=True)
        for index, gen_id in enumerate(stage.gen_ids[: int(len(stage) * PRESENT)]):
            record = Record(stage.signature(index), gen_id, "bench", "run", "2026-01-01T00:00:00Z", "llm", prints)
            (folder / gen_id).mkdir()
            (folder / gen_id / "metadata.json").write_bytes(record.encode())
            (folder / gen_id / "parsed.txt").write_text(TEXT)


def canonical_parts(plan: Plan) -> list[tuple[str, str, str]]:
    """Return the canonical text of every task, cut where its source stands."""
    parts = []
    for stage in plan.stages:
        for index in range(len(stage)):
            signature = stage.signature(index)
            before, behind = canonical_text(signature).split(signature.source)
            parts.append((before, signature.source, behind))
    return parts


def floor(strings: list[tuple[str, str, str]]) -> list[str]:
    """Build and hash the canonical strings of the same tasks, and nothing else."""
    hashed = hashlib.sha256
    return [hashed(f"{before}{source}{behind}".encode()).hexdigest()[:32] for before, source, behind in strings]


def naive(stages: list[Path]) -> int:
    """Read one metadata.json a present task."""
    return sum(
        len(orjson.loads((stage / name / "metadata.json").read_bytes()))
        for stage in stages
        for name in os.listdir(stage)  # noqa: PTH208 - names, not Path objects
    )


def measure(tasks: int) -> list[str]:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        pool = make_pool(Path(folder), tasks)
        started = time.perf_counter()
        plan = pool.plan("bench")
        first = time.perf_counter() - started
        time.sleep(2.5)  # a catalog distrusts changes that are younger than two seconds
        pool.plan("bench")
        parts = canonical_parts(plan)
        stages = [pool.layout.stage(stage.stage.name) for stage in plan.stages]
        times = best_of(
            ROUNDS,
            {
                "floor": lambda: floor(parts),
                "listing": lambda: [os.listdir(stage) for stage in stages],  # noqa: PTH208 - the floor
                "naive": lambda: naive(stages),
                "spec": lambda: Pool.open(folder).spec("bench"),
                "plan": lambda: Pool.open(folder).plan("bench"),
            },
        )
        times["first"] = first
    micro = {name: seconds / len(plan) * 1e6 for name, seconds in times.items()}
    cells = [f"{micro[name]:.2f}" for name in ("floor", "listing", "naive", "first", "spec", "plan")]
    ratio = micro["plan"] / (3 * micro["floor"] + micro["listing"])
    return [f"{len(plan):,}", *cells, f"{ratio:.2f}", f"{len(plan) / times['plan']:,.0f}"]


def main() -> None:
    """Print the table."""
    columns = ["tasks", "floor", "listing", "naive", "first plan", "spec", "plan", "plan/(3 floor+listing)", "tasks/s"]
    print_table(
        f"planning, µs a task (best of {ROUNDS}; the first plan once), 90% present; 'spec' is a part of 'plan'",
        columns,
        [measure(tasks) for tasks in SIZES],
    )


if __name__ == "__main__":
    main()
