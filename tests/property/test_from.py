"""`from:` against plain Python sets: whatever cohorts there are, a query gives what sets of their members give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genpool.errors import InvalidSpec
from tests.small_pools import make_pool, memory_folder, models, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genpool.pool import Pool

ROWS = 6


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A pool with drafts of rows 0 to 4 made; row 5 is in no generation."""
    with memory_folder() as folder:
        pool = make_pool(folder / "pool", rows=ROWS)
        write_rows(pool.root, range(ROWS - 1), "made.csv")
        write_spec(pool.root, "made", rows="made.csv")
        pool.run("made", models=models())
        (folder / "none.jsonl").touch()
        yield pool


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cohorts=st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, unique=True), min_size=2, max_size=4),
    kind=st.sampled_from(["union", "difference"]),
    data=st.data(),
)
def test_a_query_gives_what_sets_give(pool: Pool, cohorts: list[list[int]], kind: str, data: st.DataObject) -> None:
    for number, rows in enumerate(cohorts):
        write_rows(pool.root, rows, f"rows-{number}.csv")
        write_spec(pool.root, f"cohort-{number}", rows=f"rows-{number}.csv")
        pool.run(f"cohort-{number}", models=models(), only=pool.root.parent / "none.jsonl")
    chosen = data.draw(st.lists(st.sampled_from(range(len(cohorts))), min_size=2, unique=True))
    names = [f"cohort-{number}" for number in chosen]
    folder = pool.root / "cohorts" / "c"
    folder.mkdir(exist_ok=True)
    (folder / "cohort.yaml").write_text(
        f"format: genpool.cohort/1\nfrom: {{{kind}: [{', '.join(names)}], stage: draft}}\n"
    )
    sets = [cohorts[number] for number in chosen]
    if kind == "union":
        wanted = list(dict.fromkeys(row for rows in sets for row in rows))
    else:
        wanted = [row for row in sets[0] if not any(row in rows for rows in sets[1:])]
    wanted = [row for row in wanted if row < ROWS - 1]
    if not wanted:
        with pytest.raises(InvalidSpec, match="no draft is left"):
            pool.plan("c")
        return
    drafts = {task.signature.source: task.gen_id for task in pool.plan("made").tasks()}
    assert pool.plan("c").stage("draft").gen_ids == [drafts[f"row-{row}"] for row in wanted]
