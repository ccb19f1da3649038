"""Tables of scores against a table that is already there: rebuilt from a manifest, against read from Parquet.

    python benchmarks/bench_tables.py [--judgements 10000 100000] [--full] [--rounds 5]

`--full` adds a million judgements. Times are of the processor, in all threads: other work on the machine is not in
them. The last table sets the sizes side by side: where rows a second stay what they are, time grows as the rows do.

The floor is what a data frame library needs when somebody has written the same rows, lineage and all, as one Parquet
file: read it and pivot it. Ours begin with the pool: the manifest is found good (its checksum, membership.csv's digest,
the change times of the stages), its columns become frames, a judgement gets its lineage by joins, the table is made.
The cohort is made of columns: a manifest and a membership, and no generation's files, since none is opened.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from genpool.coded import Coded
from genpool.manifest import Head, Manifest, encode, pipeline_digest
from genpool.pool import Pool
from genpool.scores import axes_of
from genpool.standing import StageColumns
from genpool.tables import generation_scores, mean_scores, pivot, top_texts
from measure import best_of, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genpool.stages import Pipeline, Stage

DRAFT_TEMPLATES = ("baseline", "rolling-thread")
WRITERS = ("writer-large", "writer-small")
ESSAY_TEMPLATES = ("narrative", "as-drafted")
RUBRICS = ("novelty", "coherence")
REPEATED = 2
A_ROW = len(DRAFT_TEMPLATES) * len(WRITERS) * len(ESSAY_TEMPLATES) * len(RUBRICS) * REPEATED
"""Judgements of one row's texts."""
FLOOR = "floor: read Parquet, pivot"
FULL = 1_000_000
_TRUSTED_AFTER = 2.2  # seconds: a folder that changed later is not trusted


def main() -> None:
    """Print a table for each number of judgements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgements", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--full", action="store_true", help="10^6 judgements, too")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    found: dict[int, dict[str, float]] = {}
    for judgements in [*chosen.judgements, *([FULL] if chosen.full else [])]:
        with tempfile.TemporaryDirectory() as folder:
            rows, took = measured(Path(folder), judgements, chosen.rounds)
            found[rows] = took
    print_table(
        f"Tables of scores: rebuilt from the pool, against read from Parquet; the best of {chosen.rounds}",
        ["", "judgements", "seconds", "of the floor", "µs a judgement"],
        [
            [name, f"{rows:,}", f"{took:.4f}", f"{took / times[FLOOR]:.1f}", f"{took / rows * 1e6:.2f}"]
            for rows, times in found.items()
            for name, took in times.items()
        ],
    )
    print_table(
        "Judgements a second",
        ["", *(f"{rows:,}" for rows in found)],
        [
            [name, *(f"{rows / times[name]:,.0f}" for rows, times in found.items())]
            for name in next(iter(found.values()))
        ],
    )


def measured(root: Path, judgements: int, rounds: int) -> tuple[int, dict[str, float]]:
    """Return how many judgements there are, and the seconds that each thing takes."""
    write_cohort(root, judgements)
    stored = root / "stored.parquet"
    scores = Pool.open(root).scope("c").scores()
    scores.write_parquet(stored)
    assert scores.height >= judgements, "rows are missing"
    axes = axes_of(Pool.open(root).config.pipeline)
    by = ["draft_template", "essay_template"]

    def floor() -> Any:
        return pl.read_parquet(stored).pivot(on="rubric", index=by, values="score", aggregate_function="mean")

    def ours() -> pl.DataFrame:
        scope = Pool.open(root).scope("c")
        assert scope.answered_from == "manifest"
        return scope.scores()

    found = best_of(
        rounds,
        {
            FLOOR: floor,
            "aggregated_scores": ours,
            "aggregated_scores, pivot in polars": lambda: ours().pivot(
                on="rubric", index=by, values="score", aggregate_function="mean"
            ),
            "aggregated_scores, pivot": lambda: pivot(ours(), by, ["rubric"]),
            "mean_scores of a frame": lambda: mean_scores(scores, [*by, "rubric"]),
            "generation_scores of a frame": lambda: generation_scores(scores, axes),
            "the best 30 of a frame": lambda: top_texts(generation_scores(scores, axes), 30),
        },
        clock=time.process_time,
    )
    return scores.height, found


# --- a cohort of columns ----------------------------------------------------------------------------


def write_cohort(root: Path, judgements: int) -> None:
    """Write a pool whose cohort `c` has a good manifest of so many judgements, rounded up to whole rows."""
    (root / "pool.yaml").write_text("format: genpool.pool/1\nid_scheme: genpool/1\nmodels: {}\n")
    pipeline = Pool.open(root).config.pipeline
    for stage in pipeline:
        (root / "gens" / stage.name).mkdir(parents=True)
    time.sleep(_TRUSTED_AFTER)
    columns = made_columns(pipeline, -(-judgements // A_ROW))
    membership = "stage,gen_id\n" + "".join(f"{one.stage.name},{g}\n" for one in columns for g in one.gen_ids)
    folder = root / "cohorts/c"
    folder.mkdir(parents=True)
    (folder / "membership.csv").write_text(membership)
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        tokens = {stage.name: catalog.token(stage) for stage in pipeline}
    head = Head("c", pipeline_digest(pipeline, ""), sha256(membership.encode()).hexdigest(), tokens)
    runs = tuple((one.stage.name, len(one.gen_ids)) for one in columns)
    (folder / "manifest.json").write_bytes(encode(Manifest(head, runs, {one.stage.name: one for one in columns})))


def made_columns(pipeline: Pipeline, rows: int) -> list[StageColumns]:
    """Return the members of every stage: of each row every choice."""
    draft, essay, evaluation = pipeline
    chance = random.Random(rows)
    drafts = [
        (f"row-{row}", template, writer, 1) for row in range(rows) for template in DRAFT_TEMPLATES for writer in WRITERS
    ]
    ids = {"draft": [made_id("d", number) for number in range(len(drafts))]}
    essays = [(above, template, 1) for above in ids["draft"] for template in ESSAY_TEMPLATES]
    ids["essay"] = [made_id("e", number) for number in range(len(essays))]
    judged = [
        (above, rubric, "judge", number + 1)
        for above in ids["essay"]
        for rubric in RUBRICS
        for number in range(REPEATED)
    ]
    ids["evaluation"] = [made_id("v", number) for number in range(len(judged))]
    scores = [float(chance.randint(0, 9)) for _ in judged]
    return [
        stage_columns(draft, ids["draft"], drafts, []),
        stage_columns(essay, ids["essay"], essays, []),
        stage_columns(evaluation, ids["evaluation"], judged, scores),
    ]


def made_id(prefix: str, number: int) -> str:
    """Return an id of the length that ids have."""
    return f"{prefix}_{sha256(f'{prefix}{number}'.encode()).hexdigest()[:32]}"


def stage_columns(
    stage: Stage, gen_ids: list[str], values: Sequence[tuple[str | int, ...]], scores: list[float]
) -> StageColumns:
    """Return the columns of one stage; every third member was made by another cohort."""
    count = len(gen_ids)
    fields = {name: Coded.of(value[place] for value in values) for place, name in enumerate(stage.fields)}
    ends = (0.0, 9.0) if scores else (None, None)
    return StageColumns(
        stage,
        gen_ids,
        fields,
        Coded.of("reused" if number % 3 == 0 else "own" for number in range(count)),
        Coded.of("other" if number % 3 == 0 else "c" for number in range(count)),
        Coded.of(scores) if scores else Coded.constant(None, count),
        *(Coded.constant(end, count) for end in ends),
    )


if __name__ == "__main__":
    sys.exit(main())
