"""A manifest of 10^4 to 10^6 members: loaded, asked, written; beside its floor, in the same run.

    python benchmarks/bench_manifest.py [MEMBERS ...]

- floor: the file read and parsed by orjson; nothing is checked, nothing answered.
- answered: `pool.scope(...)` and its counts, own, reused, missing: the file read, its checksum and that of
  membership.csv made, the change times of the stages looked at, columns parsed and looked over.
- ids and states: all gen ids in plan order, and the rows that are missing, after that.
- encoded: the bytes of the manifest made of its columns.
- membership: membership.csv read as columns, which is what the manifest saves, and what the catalog takes besides.

The members are synthetic, no generation exists: a draft has 2 essays, each of these 8 judgements; 1 of 10 members is
missing, 1 of 3 is another cohort's. The second table is each in a process of its own: seconds from start to end and
peak memory, beside a bare interpreter and one that reads and parses the file with orjson.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from genpool.change_tokens import StageToken, folder_changed
from genpool.coded import Coded
from genpool.manifest import Head, Manifest, encode, pipeline_digest
from genpool.membership import read_members
from genpool.pool import Pool
from genpool.standing import MISSING, OWN, REUSED, StageColumns
from measure import best_of, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genpool.signatures import FieldValue
    from genpool.stages import Stage

SIZES = (10_000, 100_000, 1_000_000)
ROUNDS = 5
SHARES = {"draft": 1, "essay": 2, "evaluation": 16}
"""Members of a stage for each draft."""
AXES = {"template_id": ("first", "second"), "llm_model_id": ("small", "large", "other")}


def main() -> None:
    sizes = tuple(int(word.replace("_", "")) for word in sys.argv[1:]) or SIZES
    rows, processes = [], []
    for members in sizes:
        with tempfile.TemporaryDirectory() as folder:
            root = made_pool(Path(folder) / "pool", members)
            rows.append(measured(root))
            processes += in_processes(root)
    columns = ["members", "MB", "floor", "answered", "x floor", "ids and states", "encoded", "membership"]
    print_table("a manifest, seconds, best of several", columns, rows)
    print_table("in a process of its own", ["what", "members", "seconds", "MB at the most"], processes)


def made_pool(root: Path, members: int) -> Path:
    """Make a pool with a cohort of about so many members, its membership and its manifest."""
    root.mkdir()
    (root / "pool.yaml").write_text("format: genpool.pool/1\nid_scheme: genpool/1\nmodels:\n  m: {client: scripted}\n")
    pool = Pool.open(root)
    drafts = max(members // sum(SHARES.values()), 1)
    stages: dict[str, StageColumns] = {}
    for name, share in SHARES.items():
        stage = pool.config.pipeline[name]
        (root / "gens" / name).mkdir(parents=True)
        parents = stages[str(stage.parent)].gen_ids if stage.parent else [f"row-{at}" for at in range(drafts)]
        stages[name] = columns_of(stage, parents, drafts * share)
    cohort = root / "cohorts" / "bench"
    cohort.mkdir(parents=True)
    membership = membership_of(stages)
    (cohort / "membership.csv").write_bytes(membership)
    tokens = {name: settled_token(pool, columns.stage) for name, columns in stages.items()}
    digest = hashlib.sha256(membership).hexdigest()
    head = Head("bench", pipeline_digest(pool.config.pipeline, pool.config.salt), digest, tokens)
    runs = tuple((name, len(columns.gen_ids)) for name, columns in stages.items())
    (cohort / "manifest.json").write_bytes(encode(Manifest(head, runs, stages)))
    return root


def settled_token(pool: Pool, stage: Stage) -> StageToken:
    """Return the token of a stage that nobody changed for long."""
    changed = folder_changed(pool.layout, stage)
    return StageToken(changed, changed + 10**10, "0" * 32)


def columns_of(stage: Stage, parents: Sequence[str], rows: int) -> StageColumns:
    """Return columns of a stage: its parents in turn, each with as many members."""
    each = rows // len(parents)
    ids = [f"{stage.prefix}_{hashlib.md5(f'{stage.name} {at}'.encode()).hexdigest()}" for at in range(rows)]
    fields: dict[str, Coded[FieldValue | None]] = {stage.fields[0]: Coded.of(parents[at // each] for at in range(rows))}
    for name in stage.fields[1:-1]:
        fields[name] = Coded.of(AXES[name][at % len(AXES[name])] for at in range(rows))
    fields["replicate"] = Coded.of(at % each + 1 for at in range(rows))
    states = Coded.of(MISSING if at % 10 == 9 else REUSED if at % 3 == 2 else OWN for at in range(rows))
    origins = Coded.of({OWN: "bench", REUSED: "other"}.get(state) for state in states)
    unscored: Coded[float | None] = Coded.constant(None, rows)
    scores, least, most = unscored, unscored, unscored
    if stage.judges:
        scores = Coded.of(None if state == MISSING else float(at * 7 % 10) for at, state in enumerate(states))
        least = Coded.of(None if state == MISSING else 0.0 for state in states)
        most = Coded.of(None if state == MISSING else 9.0 for state in states)
    return StageColumns(stage, ids, fields, states, origins, scores, least, most)


def membership_of(stages: dict[str, StageColumns]) -> bytes:
    names = dict.fromkeys(chain.from_iterable(columns.fields for columns in stages.values()))
    lines = [",".join(["stage", "gen_id", *names])]
    for stage, columns in stages.items():
        empty = [""] * len(columns.gen_ids)
        cells = [columns.fields.get(name, empty) for name in names]
        lines += [",".join([stage, *map(str, line)]) for line in zip(columns.gen_ids, *cells, strict=True)]
    return "\n".join([*lines, ""]).encode()


def measured(root: Path) -> list[str]:
    """Return the row of one pool."""
    pool = Pool.open(root)
    path = pool.layout.manifest("bench")

    def answered() -> None:
        scope = pool.scope("bench")
        assert scope.answered_from == "manifest", scope.unfit
        scope.counts()

    def asked_on() -> None:
        kept = pool.scope("bench")
        started = time.perf_counter()
        assert kept.member_ids
        for columns in kept.columns().values():
            columns.states.rows_of(MISSING)
        nonlocal after
        after = min(after, time.perf_counter() - started)

    after = float("inf")
    manifest = pool.manifests.good("bench")
    assert isinstance(manifest, Manifest)
    members = sum(count for _, count in manifest.runs)
    best = best_of(
        ROUNDS if members <= 100_000 else 3,
        {
            "floor": lambda: orjson.loads(path.read_bytes()),
            "answered": answered,
            "on": asked_on,
            "encoded": lambda: encode(manifest),
            "membership": lambda: read_members(pool.layout, pool.config.pipeline, "bench"),
        },
    )
    return [
        f"{members:,}",
        f"{path.stat().st_size / 1e6:.1f}",
        *(f"{best[name]:.3f}" for name in ("floor", "answered")),
        f"{best['answered'] / best['floor']:.2f}",
        f"{after:.3f}",
        *(f"{best[name]:.3f}" for name in ("encoded", "membership")),
    ]


def in_processes(root: Path) -> list[list[str]]:
    """Return a row for each thing that is done in a process of its own."""
    path = root / "cohorts/bench/manifest.json"
    parse = f"import orjson; orjson.loads(open({str(path)!r}, 'rb').read())"
    things = {
        "python -c pass": ["-c", "pass"],
        "orjson alone": ["-c", parse],
        "genpool status": ["-m", "genpool", "--pool", str(root), "status", "bench"],
        "genpool status --json": ["-m", "genpool", "--pool", str(root), "status", "bench", "--json"],
    }
    with path.open("rb") as file:
        members = sum(count for _, count in orjson.loads(file.read())["order"])
    found = []
    for name, words in things.items():
        ran = [ended([sys.executable, *words]) for _ in range(3)]
        found.append([name, f"{members:,}", f"{min(one[0] for one in ran):.2f}", f"{min(one[1] for one in ran):.0f}"])
    return found


_MEASURED = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status))
"""
"""Runs a command from a small process: what is started from a large one counts its memory as its own."""


def ended(words: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory in megabytes."""
    said = subprocess.run([sys.executable, "-c", _MEASURED, *words], capture_output=True, text=True, check=True).stdout
    seconds, memory, code = map(float, said.split())
    assert code == 0, words
    return seconds, memory


if __name__ == "__main__":
    main()
