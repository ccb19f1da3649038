"""A spec to its selection: counted before it is expanded, always in the same order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from genpool.combos import combo_id
from genpool.errors import InvalidSpec
from genpool.spec import MAX_TASKS
from tests.written_pools import POOL, SPEC

if TYPE_CHECKING:
    from tests.written_pools import WrittenPool

DRAFT = (
    "format: genpool.cohort/1\n"
    "draft:\n"
    "  combo: {concepts: [moat, wheel], size: 1, level: sentence}\n"
    "  template: [plain, other]\n"
    "  model: [writer, judge]\n"
    "  replicates: 2\n"
)


def test_the_variants_are_the_product_of_the_axes_with_replicates_innermost(pool: WrittenPool) -> None:
    stage = pool.select(DRAFT).stages[0]
    assert stage.variants == (
        ("plain", "writer", 1),
        ("plain", "writer", 2),
        ("plain", "judge", 1),
        ("plain", "judge", 2),
        ("other", "writer", 1),
        ("other", "writer", 2),
        ("other", "judge", 1),
        ("other", "judge", 2),
    )
    assert stage.count == 16


def test_the_combos_of_the_roots_are_in_the_order_of_the_spec(pool: WrittenPool) -> None:
    found = [combo.combo_id for combo in pool.select(DRAFT).combos]
    assert found == [combo_id(["moat"], "sentence"), combo_id(["wheel"], "sentence")]


def test_a_childs_tasks_are_its_parents_times_its_own_variants(pool: WrittenPool) -> None:
    selection = pool.select(
        DRAFT + "essay: {template: [story]}\nevaluation: {template: [novelty], model: [judge, writer], replicates: 3}\n"
    )
    assert [stage.count for stage in selection.stages] == [16, 16, 16 * 6]
    assert selection.count == 128


def test_a_copy_has_one_replicate_and_the_plan_is_told_so(pool: WrittenPool) -> None:
    selection = pool.select(DRAFT + "essay:\n  template: [copied, story]\n  replicates: 3\n")
    essay = selection.stages[1]
    assert essay.variants == (("copied", 1), ("story", 1), ("story", 2), ("story", 3))
    assert (essay.count, essay.copies) == (16 * 4, {0})
    assert selection.notes == ("essay: copied copies, so it has one replicate, not 3",)


def test_a_copy_with_one_replicate_needs_no_note(pool: WrittenPool) -> None:
    assert pool.select(DRAFT + "essay: {template: [copied, story]}\n").notes == ()


def test_the_same_spec_gives_the_same_selection(pool: WrittenPool) -> None:
    assert pool.select(SPEC) == pool.select(SPEC)


MODEL_ONLY = "format: genpool.cohort/1\ndraft: {combo: {concepts: all, size: 1, level: sentence}, model: [writer]}\n"


def test_a_stage_without_a_template_axis_uses_its_default_template(pool: WrittenPool) -> None:
    pool.write("pool.yaml", POOL + "pipeline:\n  draft: {prefix: d, axes: [model], replicates: 3}\n")
    pool.write("templates/draft/default.j2", "{{ concepts[0].text }}")
    selection = pool.select(MODEL_ONLY)
    assert selection.stages[0].variants == (("writer", 1), ("writer", 2), ("writer", 3))
    assert selection.count == 9


def test_a_default_template_that_copies_has_one_replicate(pool: WrittenPool) -> None:
    essay = "  essay: {prefix: e, parent: draft, replicates: 4}\n"
    pool.write("pool.yaml", POOL + "pipeline:\n  draft: {prefix: d, axes: [model]}\n" + essay)
    pool.write("templates/draft/default.j2", "{{ concepts[0].text }}")
    pool.write("templates/essay/default.j2", "---\nmode: copy\n---\n")
    copied = pool.select(MODEL_ONLY + "essay: {}\n").stages[1]
    assert (copied.variants, copied.count, copied.copies) == (((1,),), 3, {0})


def many(pool: WrittenPool, levels: int, axes: int, replicates: int = 1) -> str:
    """Return a spec whose one combo meets `levels` levels on each of some axes."""
    names = [f"a{number}" for number in range(axes)]
    stage = f"{{prefix: d, axes: [template, model, {', '.join(names)}]}}"
    pool.write("pool.yaml", f"{POOL}pipeline:\n  draft: {stage}\n")
    typed = ", ".join(f"l{number}" for number in range(levels))
    lines = "".join(f"  {name}: [{typed}]\n" for name in names)
    return (
        "format: genpool.cohort/1\ndraft:\n  combo: {concepts: [moat], size: 1, level: sentence}\n"
        f"  template: [plain]\n  model: [writer]\n  replicates: {replicates}\n{lines}"
    )


@pytest.mark.parametrize(
    ("levels", "axes", "replicates", "count"),
    [
        (100, 3, 6, "6,000,000"),
        (100, 6, 1, "1,000,000,000,000"),
        (1, 1, 2**31 - 1, "2,147,483,647"),
        (10, 1, 500_001, "5,000,010"),
    ],
)
def test_a_product_that_is_too_large_is_refused_at_once_with_its_number(
    pool: WrittenPool, levels: int, axes: int, replicates: int, count: str
) -> None:
    text = many(pool, levels, axes, replicates)
    started = time.perf_counter()
    with pytest.raises(InvalidSpec) as error:
        pool.select(text)
    assert time.perf_counter() - started < 0.2
    assert error.value.message == f"cohort 'trial' selects {count} tasks; at most {MAX_TASKS:,} are allowed"
    assert error.value.hint == f"fewer levels or replicates, or several cohorts (draft {count})"


def test_the_tasks_of_every_stage_are_counted_together(pool: WrittenPool) -> None:
    text = DRAFT.replace("replicates: 2", "replicates: 400000") + "essay: {template: [story], replicates: 1}\n"
    with pytest.raises(InvalidSpec, match="selects 6,400,000 tasks") as error:
        pool.select(text)
    assert "draft 3,200,000, essay 3,200,000" in str(error.value.hint)
