"""The catalog at 10^3 to 10^5 generations (10^6 with --full), beside its floors, each figure from a process of its own.

- floor: the same metadata files by os.open and os.read, parsed by orjson, and nothing else.
- listing: one os.scandir a stage with the status of every directory: what noticing a change by directories must cost.
- first: the first look, which reads every record into the catalog.
- again: a look at what has not changed, the catalog trusted.
- summed: a look at what has not changed for long: the sum over the file of the index is taken once more.
- set against digests: the same where the sum was lost, as by a writer who was killed: every row is read.
- listed: a look at the same after each stage's folder was touched: every directory compared, none read.
- plan: `Pool.plan` of a cohort that wants all of it, 90% present.

Seconds of processor time and of the wall clock, the least of several rounds; memory is the most that a process had.
`python benchmarks/bench_catalog.py [--full] [--dir DIR]`; pools are written below DIR and removed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from make_pool import STAGES, Shape, make_pool
from measure import print_table

SIZES = (1_000, 10_000, 100_000)
ROUNDS = 3
HERE = Path(__file__).resolve()


# --- what is measured, each in a process of its own -----------------------------------------------


def floor(root: Path) -> None:
    """Read and parse every metadata file."""
    import orjson

    for stage in STAGES:
        folder = os.fspath(root / "gens" / stage)
        for name in os.listdir(folder):  # noqa: PTH208 - the floor
            descriptor = os.open(f"{folder}/{name}/metadata.json", os.O_RDONLY)
            data = os.read(descriptor, 1 << 16)
            os.close(descriptor)
            orjson.loads(data)


def listing(root: Path) -> None:
    """List every stage's folder with the status of every directory."""
    for stage in STAGES:
        with os.scandir(root / "gens" / stage) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)


def look(root: Path) -> None:
    """Let the catalog look at every stage."""
    from contextlib import closing

    from genpool.pool import Pool

    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        for stage in pool.config.pipeline:
            catalog.token(stage)


def plan(root: Path) -> None:
    """Plan everything."""
    from genpool.pool import Pool

    Pool.open(root).plan("whole")


THINGS = {"floor": floor, "listing": listing, "look": look, "plan": plan}


def measured(thing: str, root: Path) -> dict[str, Any]:
    """Return what one thing took in a process of its own, its imports left out."""
    done = subprocess.run(
        [sys.executable, os.fspath(HERE), "--one", thing, os.fspath(root)], check=True, capture_output=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one(thing: str, root: Path) -> None:
    """Do one thing in this process and print what it took."""
    import resource

    import genpool.pool  # noqa: F401 - what a program imports anyway

    wall, processor = time.perf_counter(), time.process_time()
    THINGS[thing](root)
    found = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    unit = 1024 if sys.platform == "linux" else 1024 * 1024
    print(json.dumps({**found, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}))


# --- the table ------------------------------------------------------------------------------------


def forget(root: Path) -> None:
    """Delete the catalog."""
    shutil.rmtree(root / ".genpool", ignore_errors=True)


def touch(root: Path) -> None:
    """Change each stage's folder without changing what is in it."""
    for stage in STAGES:
        (root / "gens" / stage / "touched").mkdir()
        (root / "gens" / stage / "touched").rmdir()


def rounds(root: Path) -> dict[str, dict[str, Any]]:
    """Return the least of several rounds, in turn, of each thing."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(ROUNDS):
        found.setdefault("floor", []).append(measured("floor", root))
        found.setdefault("listing", []).append(measured("listing", root))
        forget(root)
        found.setdefault("first", []).append(measured("look", root))
        time.sleep(2.1)  # what was younger at its look is not trusted
        measured("look", root)
        found.setdefault("again", []).append(measured("look", root))
        index_sum = root / ".genpool" / "catalog.sqlite-sum"
        os.utime(index_sum, (0, 0))
        found.setdefault("summed", []).append(measured("look", root))
        index_sum.unlink()
        found.setdefault("set against digests", []).append(measured("look", root))
        found.setdefault("plan", []).append(measured("plan", root))
        touch(root)
        found.setdefault("listed", []).append(measured("look", root))
    return {
        name: {key: min(each[key] for each in several) for key in ("wall", "processor", "memory")}
        for name, several in found.items()
    }


def measure(tasks: int, folder: Path) -> list[list[str]]:
    """Return the rows of the table for one size."""
    root = folder / f"pool-{tasks}"
    generations = make_pool(root, Shape(tasks=tasks), processes=os.cpu_count() or 1)
    try:
        found = rounds(root)
    finally:
        shutil.rmtree(root)
    floors = {"first": "floor", "listed": "listing"}
    rows = []
    for name, took in found.items():
        beside = found[floors[name]] if name in floors else None
        ratio = f"{took['wall'] / beside['wall']:.2f} x {floors[name]}" if beside else ""
        cells = [f"{took['wall']:.3f}", f"{took['processor']:.3f}", f"{took['memory']:.0f}", ratio]
        rows.append([f"{generations:,}", name, *cells])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the catalog.")
    parser.add_argument("--full", action="store_true", help="10^6 generations as well")
    parser.add_argument("--dir", type=Path, help="where pools are written; a temporary directory, if not given")
    parser.add_argument("--size", type=int, action="append", help="only this many tasks; may be given several times")
    parser.add_argument("--one", nargs=2, metavar=("THING", "ROOT"), help=argparse.SUPPRESS)
    typed = parser.parse_args()
    if typed.one:
        one(typed.one[0], Path(typed.one[1]))
        return
    sizes = typed.size or (*SIZES, *((1_000_000,) if typed.full else ()))
    with tempfile.TemporaryDirectory(dir=typed.dir) as folder:
        rows = [row for tasks in sizes for row in measure(tasks, Path(folder))]
    columns = ["generations", "what", "wall s", "processor s", "MiB", "beside its floor"]
    print_table(f"the catalog (least of {ROUNDS})", columns, rows)


if __name__ == "__main__":
    main()
