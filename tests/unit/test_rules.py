"""Rules applied in their order: subsets, ties, pairs, tuples; and what each leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genpool.relations import Relation
from genpool.rules import Axis, Coupling, Limits, Rules, Subset, Tie, apply_rules, left_out
from genpool.yaml_reader import Problems

if TYPE_CHECKING:
    from genpool.errors import Problem

A, B, C = Axis("draft", "model"), Axis("essay", "model"), Axis("essay", "tone")
LEVELS = {A: ("x", "y", "z"), B: ("z", "y", "w"), C: ("dry", "warm")}


def applied(**rules: tuple[object, ...]) -> tuple[Limits, list[Problem]]:
    problems = Problems("cohort.yaml")
    return apply_rules(Rules(**rules), LEVELS.__getitem__, problems), problems.found  # type: ignore[arg-type]


def pair(left: Axis, right: Axis, *rows: str, balanced: bool = False) -> Coupling:
    return Coupling("pairs", (left, right), tuple(tuple(row.split()) for row in rows), 9, balanced)


def test_no_rules_limit_nothing() -> None:
    limits, found = applied()
    assert (limits, found) == (Limits(file="cohort.yaml"), [])
    assert limits.head(A) == A


def test_a_subset_keeps_the_order_of_the_spec() -> None:
    limits, _ = applied(subsets=(Subset(A, ("z", "x"), 1),))
    assert limits.levels == {A: ("x", "z")}
    assert limits.relations == ()


def test_subsets_of_one_axis_narrow_it_together() -> None:
    limits, _ = applied(subsets=(Subset(A, ("z", "x"), 1), Subset(A, ("z", "y"), 2)))
    assert limits.levels == {A: ("z",)}


def test_a_tie_leaves_what_is_common_after_the_subsets() -> None:
    limits, _ = applied(subsets=(Subset(B, ("y", "w"), 1),), ties=(Tie((A, B), 2),))
    assert limits.levels == {A: ("y",), B: ("y",)}
    assert limits.relations == (Relation((A,), (("y",),)),)
    assert limits.head(A) == limits.head(B) == A


def test_ties_that_share_an_axis_are_one() -> None:
    levels = dict.fromkeys((A, B, C), ("x", "y")) | {C: ("y",)}
    limits = apply_rules(Rules(ties=(Tie((A, B), 1), Tie((B, C), 2))), levels.__getitem__, Problems("f"))
    assert limits.levels == {A: ("y",), B: ("y",), C: ("y",)}
    assert [len(relation.rows) for relation in limits.relations] == [1]


def test_a_pair_is_judged_after_subsets_and_ties() -> None:
    limits, found = applied(
        subsets=(Subset(A, ("y", "z"), 1),), ties=(Tie((A, B), 2),), couplings=(pair(B, C, "y dry", "z dry", "w warm"),)
    )
    assert found == []
    assert limits.relations[1] == Relation((A, C), (("y", "dry"), ("z", "dry")))


def test_a_pair_of_tied_axes_has_the_same_value_on_both() -> None:
    limits, _ = applied(ties=(Tie((A, B), 2),), couplings=(pair(A, B, "y y", "z y"),))
    assert limits.relations[1] == Relation((A,), (("y",),))


@pytest.mark.parametrize(
    ("rules", "said", "line"),
    [
        (
            {"subsets": (Subset(A, ("x",), 1), Subset(A, ("y",), 2))},
            "rules.subsets: draft.model: this leaves no level",
            2,
        ),
        (
            {"ties": (Tie((A, C), 3),)},
            "rules.ties: draft.model and essay.tone have no value in common",
            3,
        ),
        (
            {"subsets": (Subset(A, ("x",), 1),), "couplings": (pair(A, C, "y dry"),)},
            "rules.pairs: draft.model and essay.tone: this leaves nothing",
            9,
        ),
        (
            {"ties": (Tie((A, B), 2),), "couplings": (pair(A, B, "y z"),)},
            "rules.pairs: draft.model and essay.model: this leaves nothing",
            9,
        ),
        (
            {"ties": (Tie((A, B), 2), Tie((A, C), 3), Tie((B, C), 4))},
            "rules.ties: draft.model, essay.model and essay.tone have no value in common",
            3,
        ),
    ],
)
def test_a_rule_that_leaves_nothing_is_told(rules: dict[str, tuple[object, ...]], said: str, line: int) -> None:
    _, found = applied(**rules)
    assert (found[0].message, found[0].line, found[0].file) == (said, line, "cohort.yaml")
    assert found[0].hint


def test_a_pair_that_is_balanced_is_no_problem() -> None:
    assert (
        applied(couplings=(pair(A, C, "x dry", "y warm", "z dry", "x warm", "y dry", "z warm", balanced=True),))[1]
        == []
    )
    kept = Subset(A, ("x", "y"), 1)
    assert applied(subsets=(kept,), couplings=(pair(A, C, "x dry", "y warm", balanced=True),))[1] == []


def test_a_pair_that_is_not_balanced_is_told_with_its_counts() -> None:
    _, (left, right) = applied(couplings=(pair(A, C, "x dry", "x warm", "y dry", balanced=True),))
    assert left.message == "rules.pairs: draft.model and essay.tone: not balanced: draft.model has x 2, y 1, z 0"
    assert right.message == "rules.pairs: draft.model and essay.tone: not balanced: essay.tone has dry 2, warm 1"


def test_a_pair_is_balanced_for_either_side() -> None:
    _, (only,) = applied(couplings=(pair(A, C, "x dry", "y dry", "z warm", balanced=True),))
    assert "essay.tone has dry 2, warm 1" in only.message


def test_levels_left_out_are_listed_but_for_very_many() -> None:
    assert left_out(A, ["x"]) == "draft.model: 'x' is left out by the rules"
    assert left_out(A, ["x", "y"]) == "draft.model: 'x', 'y' are left out by the rules"
    many = left_out(A, [str(number) for number in range(1000)])
    assert many.endswith("'7' and 992 more are left out by the rules")
