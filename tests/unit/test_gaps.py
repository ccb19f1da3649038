"""What two levels lack to be comparable: the spec that is printed makes exactly that, or says what it makes besides."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genpool.errors import InvalidPipeline, NotFound, UsageError
from genpool.gaps import Gaps, find_gaps
from tests.small_pools import EVALUATIONS, generations, make_pool, memory_folder, models, tree, write_spec

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.pool import Pool

AXIS = "draft.template"


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """Two rows, two draft templates, two replicates of a draft, a story and a copy of each, two judgements."""
    pool = make_pool(tmp_path / "pool")
    drafts = "template: [plain, long], model: [writer], replicates: 2"
    write_spec(pool.root, "c", draft=drafts, essay="template: [story, same]", evaluation=EVALUATIONS)
    return pool


def made(pool: Pool, wanted) -> None:
    """Make those judgements of the cohort whose chain of signatures is wanted, and what they start from."""
    plan = pool.plan("c")
    lines = []
    for task in plan.tasks():
        if task.stage.name == "evaluation":
            essay = plan.stage("essay").task(task.parent or 0)
            draft = plan.stage("draft").task(essay.parent or 0)
            chain = {"row": draft.signature["combo_id"], "draft": draft.signature["template_id"]}
            chain |= {"slot": draft.signature.replicate, "essay": essay.signature["template_id"]}
            if wanted(**chain, replicate=task.signature.replicate):
                lines.append(json.dumps({"stage": "evaluation", **task.signature.as_dict()}) + "\n")
    path = pool.root.parent / "some.jsonl"
    path.write_text("".join(lines))
    pool.run("c", models=models(), only=path)


def gaps(pool: Pool, levels: tuple[str, ...] = ("plain", "long"), axis: str = AXIS, **options: str) -> Gaps:
    before = tree(pool.root)
    found = find_gaps(pool, "c", axis, levels, **options)
    assert tree(pool.root) == before
    return found


def filled(pool: Pool, found: Gaps) -> Counter[str]:
    """Save and run the spec; return by stage what was made."""
    folder = pool.root / "cohorts" / "gaps"
    folder.mkdir()
    (folder / "cohort.yaml").write_text(found.text)
    before = generations(pool.root)
    assert pool.run("gaps", models=models()).complete
    return Counter(stage for stage, _ in generations(pool.root) - before)


def counted(counts) -> dict[str, int]:
    return {stage: count for stage, count in counts.items() if count}


def test_what_one_level_has_is_made_for_the_other(pool: Pool) -> None:
    made(pool, lambda draft, row, **_: draft == "plain" and row == "row-1")
    found = gaps(pool)
    assert found.rows == 8
    assert counted(found.missing) == {"draft": 2, "essay": 4, "evaluation": 8}
    assert counted(found.extra) == {}
    assert "# a run makes exactly these\n" in found.text
    assert "tasks that have no generation: 14 (draft 2, essay 4, evaluation 8)" in found.text
    assert filled(pool, found) == counted(found.missing)
    assert gaps(pool).rows == 0


def test_after_the_gaps_are_filled_nothing_is_missing(pool: Pool) -> None:
    made(pool, lambda draft, essay, **_: (draft, essay) != ("long", "story"))
    found = gaps(pool)
    assert counted(found.missing) == {"essay": 4, "evaluation": 8}
    filled(pool, found)
    assert gaps(pool) == Gaps("", 0, {}, {})


def test_families_that_differ_are_rows_of_a_rule(pool: Pool) -> None:
    def wanted(draft: str, row: str, essay: str, **_: object) -> bool:
        return (draft, row, essay) in {("plain", "row-0", "story"), ("long", "row-1", "same")}

    made(pool, wanted)
    found = gaps(pool)
    assert "- [row-0, long, writer, story, clarity, judge]" in found.text
    assert "- [row-1, plain, writer, same, clarity, judge]" in found.text
    assert counted(found.missing) == {"draft": 4, "essay": 4, "evaluation": 8}
    assert filled(pool, found) == counted(found.missing)


def test_another_replicate_of_what_exists_is_had_alone(pool: Pool) -> None:
    made(pool, lambda draft, replicate, **_: draft == "plain" or replicate == 1)
    found = gaps(pool)
    assert counted(found.missing) == {"evaluation": 8}
    assert counted(found.extra) == {}
    assert filled(pool, found) == {"evaluation": 8}


def test_what_cannot_be_had_alone_is_told_with_its_count(pool: Pool) -> None:
    made(pool, lambda draft, slot, essay, row, **_: (draft, slot, essay, row) == ("plain", 2, "story", "row-0"))
    found = gaps(pool)
    assert counted(found.missing) == {"draft": 1, "essay": 1, "evaluation": 2}
    assert counted(found.extra) == {"draft": 1, "essay": 1, "evaluation": 2}
    assert "spec with them makes are 8, which is 4 more than are missing (draft 1, essay 1, evaluation 2)" in found.text
    assert filled(pool, found) == {"draft": 2, "essay": 2, "evaluation": 4}


def test_a_level_that_the_cohort_has_not_got_may_be_one_of_the_pool(pool: Pool) -> None:
    made(pool, lambda **_: True)
    found = gaps(pool, ("story", "letter"), "essay.template")
    assert counted(found.missing) == {"essay": 8, "evaluation": 16}
    assert filled(pool, found) == counted(found.missing)


def test_any_axis_of_the_chain_can_be_compared(pool: Pool) -> None:
    made(pool, lambda row, **_: row == "row-0")
    with pytest.raises(UsageError, match="no level 'row-1'"):
        gaps(pool, ("row-0", "row-1"), "draft.combo")
    made(pool, lambda row, slot, draft, **_: row == "row-0" or (slot, draft) == (1, "long"))
    found = gaps(pool, ("row-0", "row-1"), "draft.combo")
    assert counted(found.missing) == {"draft": 3, "essay": 6, "evaluation": 12}
    assert filled(pool, found) == counted(found.missing)
    with pytest.raises(UsageError, match=r"'draft\.replicate' is not an axis"):
        gaps(pool, ("1", "2"), "draft.replicate")


def test_a_leaf_below_what_was_removed_is_left_out_and_counted(pool: Pool) -> None:
    made(pool, lambda draft, row, **_: draft == "plain" and row == "row-1")
    shutil.rmtree(next((pool.root / "gens/draft").iterdir()))
    found = gaps(pool)
    assert (found.rows, found.unread) == (4, 4)


def test_what_is_compared_may_be_named(pool: Pool) -> None:
    made(pool, lambda draft, row, **_: draft == "plain" and row == "row-1")
    found = gaps(pool, leaf="essay")
    assert counted(found.missing) == {"draft": 2, "essay": 4}
    assert filled(pool, found) == counted(found.missing)


def test_mistakes_are_told(pool: Pool) -> None:
    with pytest.raises(NotFound, match="was never run"):
        gaps(pool)
    made(pool, lambda draft, **_: draft == "plain")
    with pytest.raises(UsageError, match=r"'draft\.tempo' is not an axis"):
        gaps(pool, axis="draft.tempo")
    with pytest.raises(UsageError, match="no level 'lang'") as caught:
        gaps(pool, ("plain", "lang"))
    assert caught.value.hint == "did you mean 'plain'?" or "long" in str(caught.value.hint)
    for levels in (("plain",), ("plain", "plain"), ()):
        with pytest.raises(UsageError, match="two different levels"):
            gaps(pool, levels)
    with pytest.raises(InvalidPipeline):
        gaps(pool, leaf="essays")


def test_names_that_yaml_would_read_as_something_else_come_back(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "pool")
    (pool.root / "rows.csv").write_text('id,topic\n"a, ""b"": [c] # d",one\nno,two\n')
    drafts = "template: [plain, long], model: [writer]"
    write_spec(pool.root, "c", draft=drafts, essay="template: [story]", evaluation=EVALUATIONS)
    made(pool, lambda draft, **_: draft == "plain")
    found = gaps(pool)
    assert filled(pool, found) == counted(found.missing) == {"draft": 2, "essay": 2, "evaluation": 4}


def test_a_cohort_that_starts_from_essays_is_compared_through_their_lineage(pool: Pool) -> None:
    made(pool, lambda draft, slot, **_: draft == "plain" or slot == 1)
    folder = pool.root / "cohorts" / "later"
    folder.mkdir()
    (folder / "cohort.yaml").write_text(
        "format: genpool.cohort/1\nfrom: {union: [c], stage: essay}\n"
        "evaluation: {template: [clarity], model: [writer], replicates: 1}\n"
    )
    assert pool.run("later", models=models()).complete
    found = find_gaps(pool, "later", AXIS, ("plain", "long"))
    assert found.rows == 4
    assert counted(found.missing) == {"draft": 2, "essay": 4, "evaluation": 4}
    assert filled(pool, found) == counted(found.missing)


@settings(max_examples=20, deadline=None)
@given(
    chosen=st.lists(
        st.tuples(
            st.sampled_from(["row-0", "row-1"]),
            st.sampled_from(["plain", "long"]),
            st.integers(1, 2),
            st.sampled_from(["story", "same"]),
            st.integers(1, 2),
        ),
        min_size=1,
        unique=True,
    )
)
def test_whatever_is_there_what_is_said_is_what_is_made(chosen: list[tuple[str, str, int, str, int]]) -> None:
    with memory_folder() as folder:
        pool = make_pool(folder / "pool")
        drafts = "template: [plain, long], model: [writer], replicates: 2"
        write_spec(pool.root, "c", draft=drafts, essay="template: [story, same]", evaluation=EVALUATIONS)
        made(pool, lambda row, draft, slot, essay, replicate: (row, draft, slot, essay, replicate) in chosen)
        other = {"plain": "long", "long": "plain"}
        lacking = {(one[0], other[one[1]], *one[2:]) for one in chosen} - set(chosen)
        wanted = {"draft": {one[:3] for one in lacking} - {one[:3] for one in chosen}}
        wanted["essay"] = {one[:4] for one in lacking} - {one[:4] for one in chosen}
        wanted["evaluation"] = lacking
        found = gaps(pool)
        assert found.rows == len(lacking)
        assert counted(found.missing) == counted({stage: len(tasks) for stage, tasks in wanted.items()})
        if lacking:
            told = Counter(found.missing) + Counter(found.extra)
            assert filled(pool, found) == told
