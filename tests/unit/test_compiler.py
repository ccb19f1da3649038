"""A spec to its selection: counted before it is expanded, always in the same order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from genpool.combos import combo_id
from genpool.compiler import compile_spec
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
    started = time.process_time()
    with pytest.raises(InvalidSpec) as error:
        pool.select(text)
    assert time.process_time() - started < 0.2
    assert error.value.message == f"cohort 'trial' selects {count} tasks; at most {MAX_TASKS:,} are allowed"
    assert error.value.hint == f"fewer levels or replicates, or several cohorts (draft {count})"


def test_the_tasks_of_every_stage_are_counted_together(pool: WrittenPool) -> None:
    text = DRAFT.replace("replicates: 2", "replicates: 400000") + "essay: {template: [story], replicates: 1}\n"
    with pytest.raises(InvalidSpec, match="selects 6,400,000 tasks") as error:
        pool.select(text)
    assert "draft 3,200,000, essay 3,200,000" in str(error.value.hint)


# --- rules ----------------------------------------------------------------------------------------

RULED = DRAFT + "essay: {template: [story, copied], replicates: 2}\nrules:\n"


def test_without_rules_all_tasks_are_of_one_branch(pool: WrittenPool) -> None:
    for stage in pool.select(SPEC).stages:
        assert stage.follow == (tuple(range(len(stage.variants))),)
        assert stage.leads_to == ((0,) * len(stage.variants),)
        assert set(stage.combo_branches) <= {0}


def test_rules_within_a_stage_drop_variants_and_make_no_branch(pool: WrittenPool) -> None:
    pair = "{left: draft.template, right: draft.model, allowed: [[other, writer], [plain, judge]]}"
    draft, essay = pool.select(f"{RULED}  pairs: [{pair}]\n").stages
    assert draft.variants == (
        ("plain", "judge", 1),
        ("plain", "judge", 2),
        ("other", "writer", 1),
        ("other", "writer", 2),
    )
    assert (draft.count, essay.count) == (8, 24)
    assert essay.follow == ((0, 1, 2),)


def test_rules_across_stages_branch_where_a_later_stage_needs_it(pool: WrittenPool) -> None:
    pair = "{left: draft.template, right: essay.template, allowed: [[other, copied], [plain, story], [plain, copied]]}"
    selection = pool.select(f"{RULED}  pairs: [{pair}]\n")
    draft, essay = selection.stages
    assert draft.leads_to == ((0, 0, 0, 0, 1, 1, 1, 1),)
    assert essay.follow == ((0, 1, 2), (2,))
    assert essay.leads_to == ((0, 0, 0), (0,))
    assert [stage.count for stage in selection.stages] == [16, 8 * 3 + 8]


def test_a_draft_that_no_allowed_row_has_is_no_member_and_the_plan_is_told(pool: WrittenPool) -> None:
    pair = "{left: draft.template, right: essay.template, allowed: [[plain, story]]}"
    selection = pool.select(f"{RULED}  pairs: [{pair}]\n")
    assert {variant[0] for variant in selection.stages[0].variants} == {"plain"}
    assert selection.notes == (
        "draft.template: 'other' is left out by the rules",
        "essay.template: 'copied' is left out by the rules",
    )
    assert selection.stages[1].copies == frozenset()


def test_combos_are_branches_only_if_a_rule_addresses_them(pool: WrittenPool) -> None:
    pool.write("rows.csv", "id,topic\nr1,tea\nr2,salt\nr3,oil\n")
    text = RULED.replace("{concepts: [moat, wheel], size: 1, level: sentence}", "{rows: rows.csv}")
    pair = "{left: draft.combo, right: essay.template, allowed: [[r3, story], [r1, copied]]}"
    selection = pool.select(f"{text}  pairs: [{pair}]\n")
    draft, essay = selection.stages
    assert [combo.combo_id for combo in selection.combos] == ["r1", "r3"]
    assert draft.combo_branches == (0, 1)
    assert len(draft.follow) == len(essay.follow) == 2
    assert (draft.count, essay.count) == (2 * 8, 8 * 1 + 8 * 2)
    assert "draft.combo: 'r2' is left out by the rules" in selection.notes


@pytest.mark.parametrize(
    ("rules", "count"),
    [
        ("  subsets: [{axis: draft.a0, keep: [l0]}]\n", "10,000,000,000"),
        ("  ties: [[draft.a0, draft.a1, draft.a2]]\n", "100,000,000"),
        ("  pairs: [{left: draft.a0, right: draft.a1, allowed: [[l0, l1], [l2, l3], [l4, l5]]}]\n", "300,000,000"),
    ],
)
def test_what_rules_leave_is_counted_before_it_is_expanded(pool: WrittenPool, rules: str, count: str) -> None:
    text = f"{many(pool, 100, 6)}rules:\n{rules}"
    started = time.process_time()
    with pytest.raises(InvalidSpec, match=f"selects {count} tasks"):
        pool.select(text)
    assert time.process_time() - started < 0.3


def test_a_product_beyond_all_limits_is_accepted_if_rules_leave_few(pool: WrittenPool) -> None:
    axes = ", ".join(f"draft.a{number}" for number in range(6))
    text = f"{many(pool, 100, 6)}rules:\n  ties: [[{axes}]]\n"
    started = time.process_time()
    assert pool.select(text).count == 100
    assert time.process_time() - started < 0.3


def test_couplings_that_cannot_be_counted_are_refused_at_once(pool: WrittenPool) -> None:
    text = many(pool, 250, 3)
    lines = "".join(f"l{left},l{right}\n" for left in range(250) for right in range(250))
    rules = ""
    for left, right in ((0, 1), (1, 2), (2, 0)):
        pool.write(f"{left}{right}.csv", f"draft.a{left},draft.a{right}\n{lines}")
        rules += f"    - {{left: draft.a{left}, right: draft.a{right}, allowed: @file:{left}{right}.csv}}\n"
    spec = pool.spec(f"{text}rules:\n  pairs:\n{rules}")
    started = time.process_time()
    with pytest.raises(InvalidSpec, match="cannot be counted: that takes 15,625,000 rows, more than 5,000,000"):
        compile_spec(spec, pool.inputs().template)
    assert time.process_time() - started < 1
