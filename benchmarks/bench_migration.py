"""Migrating a pool whose ids are all of another making, beside what its files cost without any of the promises.

- read: opening and reading every metadata.json, and nothing else: the floor of a plan.
- rename: giving every directory another name, and every metadata.json a new file by a rename, without a journal, a
  check, an original that is kept, or a flush: the floor of an apply and of a rollback.
- read all: reading every file of every generation: the floor of a verification.

Each is told in generations a second; the ratio is to the floor of the same size in the same run. `memory` is the
most that the process used.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from genpool.layout import PoolLayout
from genpool.migration.migrations import Migrations
from measure import print_table

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (1_000, 10_000, 100_000)
TEXTS = {"prompt.txt": "a prompt " * 100, "raw.txt": "an answer " * 80, "parsed.txt": "an answer " * 80}


def make_pool(root: Path, generations: int) -> None:
    """Make a pool of drafts, three essays of each and two judgements of every essay, all with opaque ids."""
    root.mkdir(parents=True)
    (root / "pool.yaml").write_text(
        "format: genpool.pool/1\nid_scheme: genpool/1\nmodels:\n  m: {client: scripted, model: m}\n"
    )
    for stage in ("draft", "essay", "evaluation"):
        (root / "gens" / stage).mkdir(parents=True)
    members = ["stage,gen_id\n"]
    for number in range(generations // 10):
        draft = f"old{number:06d}"
        write(root, "draft", draft, {"combo_id": f"c-{number}", "template_id": "t", "llm_model_id": "m"}, members)
        for essay in range(3):
            name = f"{draft}-{essay}"
            write(root, "essay", name, {"parent_gen_id": draft, "template_id": f"t{essay}"}, members)
            for judge in ("a", "b"):
                fields = {"parent_gen_id": name, "template_id": "clarity", "llm_model_id": judge}
                write(root, "evaluation", f"{name}-{judge}", fields, members)
    (root / "cohorts/all").mkdir(parents=True)
    (root / "cohorts/all/membership.csv").write_text("".join(members))


def write(root: Path, stage: str, gen_id: str, fields: dict[str, str], members: list[str]) -> None:
    """Write one generation as another tool left it."""
    folder = f"{root}/gens/{stage}/{gen_id}"
    os.mkdir(folder)  # noqa: PTH102 - a hundred thousand of them
    record = {
        **fields,
        "replicate": 1,
        "gen_id": gen_id,
        "stage": stage,
        "origin_cohort_id": "all",
        "created_at": "2024-05-06T07:08:09+00:00",
        "task_id": f"task-{gen_id}",
        "usage": {"prompt_tokens": 612, "completion_tokens": 388, "cost": 0.00123},
        "parameters": {"temperature": 0.8, "max_tokens": 4000},
        "files": {name: f"/data/elsewhere/{gen_id}/{name}" for name in TEXTS},
    }
    for name, text in (*TEXTS.items(), ("metadata.json", orjson.dumps(record, option=orjson.OPT_INDENT_2).decode())):
        with open(f"{folder}/{name}", "w") as file:  # noqa: PTH123 - as above
            file.write(text)
    members.append(f"{stage},{gen_id}\n")


# --- floors -----------------------------------------------------------------------------------------


def folders(root: Path) -> list[str]:
    """Return every generation's directory."""
    stages = sorted(os.listdir(root / "gens"))  # noqa: PTH208 - names will do
    return [f"{root}/gens/{stage}/{name}" for stage in stages for name in os.listdir(root / "gens" / stage)]  # noqa: PTH208


def read_records(root: Path) -> None:
    """Read every metadata.json."""
    for folder in folders(root):
        with open(f"{folder}/metadata.json", "rb", buffering=0) as file:  # noqa: PTH123 - the floor
            file.read()


def read_all(root: Path) -> None:
    """Read every file."""
    for folder in folders(root):
        for name in os.listdir(folder):  # noqa: PTH208 - the floor
            with open(f"{folder}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - the floor
                file.read()


def rename_all(root: Path, prefix: str) -> None:
    """Write every metadata.json anew, and rename every directory."""
    for number, folder in enumerate(folders(root)):
        with open(f"{folder}/metadata.json", "rb", buffering=0) as file:  # noqa: PTH123 - the floor
            data = file.read()
        with open(f"{folder}/new", "wb", buffering=0) as file:  # noqa: PTH123 - the floor
            file.write(data)
        os.rename(f"{folder}/new", f"{folder}/metadata.json")  # noqa: PTH104 - the floor
        os.rename(folder, f"{folder.rpartition('/')[0]}/{prefix}{number:030x}")  # noqa: PTH104 - the floor


# --- what is measured -------------------------------------------------------------------------------


def took(work: Callable[[], object]) -> float:
    """Return how long something takes, with everything on disk before it begins."""
    os.sync()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(root: Path, generations: int) -> list[list[str]]:
    """Measure one size."""
    make_pool(root / "floor", generations)
    make_pool(root / "pool", generations)
    pool, floor = root / "pool", root / "floor"
    at = Migrations(PoolLayout(pool))
    times: dict[str, float] = {}
    for _ in range(2):  # the first round also warms the cache
        times["read"] = min(times.get("read", 1e9), took(lambda: read_records(pool)))
        times["plan"] = min(times.get("plan", 1e9), took(lambda: at.write(at.plan())))
    name = at.all()[0].migration_id
    times["rename"] = took(lambda: rename_all(floor, "d_"))
    times["apply"] = took(lambda: at.apply(name))
    times["read all"] = took(lambda: read_all(pool))
    times["verify"] = took(lambda: at.verify(name))
    times["rollback"] = took(lambda: at.roll_back(name))
    times["rename"] = min(times["rename"], took(lambda: rename_all(floor, "e_")))
    assert at.verify(name).is_right
    floors = {"plan": "read", "apply": "rename", "verify": "read all", "rollback": "rename"}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        [
            f"{generations:,}",
            verb,
            f"{generations / times[verb]:,.0f}",
            f"{generations / times[of]:,.0f}",
            f"{times[verb] / times[of]:.1f}",
            f"{memory:,.0f}",
        ]
        for verb, of in floors.items()
    ]


def main() -> None:
    """Print the table."""
    sizes = [int(one) for one in sys.argv[1:]] or SIZES
    rows = []
    for size in sizes:
        folder = Path(tempfile.mkdtemp(prefix="bench-migration-"))
        try:
            rows += measure(folder, size)
        finally:
            shutil.rmtree(folder)
    columns = ["generations", "verb", "a second", "floor", "times the floor", "memory MiB"]
    print_table("Migration, all ids opaque, three stages", columns, rows)


if __name__ == "__main__":
    main()
