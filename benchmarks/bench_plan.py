"""Planning 10^3 to 10^5 tasks, 90% present, from the spec on disk to the plan, beside its floor and two peers.

- hash: a bare loop that hashes the signatures' strings, cut beforehand where the source stands.
- floor: a bare loop that builds each signature's string from its values (orjson, sorted keys) and hashes it.
- listing: one os.listdir a stage.
- signac: `open_job` for each signature as a state point, its id looked up in the set of ids that are there.
- naive: reading one metadata.json a present task.
- first plan: reads every record into the catalog; the later ones ask it.

The second table says where a plan's time goes: reading and compiling the spec, ids, what the catalog holds. The rest
is matching these, and comparing every generation's fingerprints with what its names stand for now (drift).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import signac

from genpool.canonical import sha256
from genpool.compiler import compile_spec
from genpool.gen_ids import SCHEME, canonical_text, ids_below
from genpool.pool import Pool
from genpool.records import Record
from measure import best_of, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

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


def hash_only(strings: list[tuple[str, str, str]]) -> list[str]:
    """Hash the canonical strings of the tasks, and nothing else."""
    hashed = hashlib.sha256
    return [hashed(f"{before}{source}{behind}".encode()).hexdigest()[:32] for before, source, behind in strings]


def floor(tasks: list[dict[str, object]]) -> list[str]:
    """Build the canonical string of each signature from its values, hash it, and nothing else."""
    hashed, dumps, in_order = hashlib.sha256, orjson.dumps, orjson.OPT_SORT_KEYS
    return [hashed(dumps(task, option=in_order)).hexdigest()[:32] for task in tasks]


def peer(folder: Path, points: list[dict[str, object]]) -> Callable[[], int]:
    """Return signac's way of the same job: which of these state points have a job."""
    project = signac.init_project(folder)
    workspace = Path(project.workspace)
    for point in points[: int(len(points) * PRESENT)]:
        (workspace / project.open_job(point).id).mkdir()

    def count() -> int:
        fresh = signac.get_project(folder)
        there = set(os.listdir(workspace))  # noqa: PTH208 - names, not Path objects
        return sum(fresh.open_job(point).id in there for point in points)

    return count


def naive(stages: list[Path]) -> int:
    """Read one metadata.json a present task."""
    return sum(
        len(orjson.loads((stage / name / "metadata.json").read_bytes()))
        for stage in stages
        for name in os.listdir(stage)  # noqa: PTH208 - names, not Path objects
    )


def all_ids(plan: Plan) -> int:
    """Compute the ids of a plan's tasks from what they start from, as planning does."""
    full = [range(len(stage.choices)) for stage in plan.stages]
    return sum(
        len(list(ids_below(stage.stage, stage.source_ids, stage.choices, follow=[follow])))
        for stage, follow in zip(plan.stages, full, strict=True)
    )


def held(pool: Pool) -> int:
    """Ask the catalog what every stage holds, as planning does."""
    with closing(pool.catalog()) as catalog:
        return sum(len(catalog.present(stage).whole) for stage in pool.config.pipeline)


def measure(tasks: int) -> tuple[list[str], list[str]]:
    """Return a row of each table."""
    with tempfile.TemporaryDirectory() as folder:
        pool = make_pool(Path(folder), tasks)
        started = time.perf_counter()
        plan = pool.plan("bench")
        first = time.perf_counter() - started
        time.sleep(2.5)  # a catalog distrusts changes that are younger than two seconds
        pool.plan("bench")
        parts = canonical_parts(plan)
        points = [{"stage": one.stage.name, **one.signature.as_dict()} for one in plan.tasks()]
        tagged = [{"scheme": SCHEME, **point} for point in points]
        ids = [gen_id.partition("_")[2] for stage in plan.stages for gen_id in stage.gen_ids]
        if not floor(tagged) == hash_only(parts) == ids:
            raise AssertionError("the floor does not do the same work")
        stages = [pool.layout.stage(stage.stage.name) for stage in plan.stages]
        times = best_of(
            ROUNDS,
            {
                "hash": lambda: hash_only(parts),
                "floor": lambda: floor(tagged),
                "listing": lambda: [os.listdir(stage) for stage in stages],  # noqa: PTH208 - the floor
                "signac": peer(Path(folder) / "signac", points),
                "naive": lambda: naive(stages),
                "spec": lambda: compile_spec(pool.spec("bench"), pool.inputs.template),
                "ids": lambda: all_ids(plan),
                "catalog": lambda: held(pool),
                "plan": lambda: Pool.open(folder).plan("bench"),
            },
        )
    micro = {name: seconds / len(plan) * 1e6 for name, seconds in {**times, "first": first}.items()}
    bound = 3 * micro["floor"] + micro["listing"]
    cells = [f"{micro[name]:.2f}" for name in ("hash", "floor", "listing", "signac", "naive", "first", "plan")]
    rest = micro["plan"] - micro["spec"] - micro["ids"] - micro["catalog"]
    pieces = [f"{one:.2f}" for one in (micro["plan"], micro["spec"], micro["ids"], micro["catalog"], rest)]
    rate = f"{len(plan) / times['plan']:,.0f}"
    return [f"{len(plan):,}", *cells, f"{micro['plan'] / bound:.2f}", rate], [f"{len(plan):,}", *pieces]


def main() -> None:
    """Print the tables."""
    columns = "tasks,hash,floor,listing,signac,naive,first plan,plan,plan/(3 floor+listing),tasks/s".split(",")
    rows = [measure(tasks) for tasks in SIZES]
    print_table(
        f"planning, µs a task (best of {ROUNDS}; the first plan once), 90% present", columns, [row for row, _ in rows]
    )
    print_table(
        "where a plan's time goes, µs a task",
        ["tasks", "plan", "spec", "ids", "catalog", "matching and drift"],
        [row for _, row in rows],
    )


if __name__ == "__main__":
    main()
