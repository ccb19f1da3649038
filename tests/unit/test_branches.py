"""Branches: as few as what rules can tell apart, and what follows each."""

from __future__ import annotations

from genpool.branches import Step, follow, make_tables
from genpool.relations import Relation
from genpool.rules import Axis, Limits

A, B, C = Axis("a", "x"), Axis("b", "x"), Axis("c", "x")
PATH = ("a", "b", "c")
AXES = {"a": [Axis("a", "combo"), A], "b": [B], "c": [C]}


def test_lineages_that_may_be_continued_alike_are_one_branch() -> None:
    limits = Limits(relations=(Relation((A, B), (("1", "x"), ("2", "x"), ("3", "y"), ("3", "x"))),))
    (table,) = make_tables(limits, [PATH], AXES, 100)
    combos, first, second, third = table.steps
    assert combos == Step((), ({(): 0},))
    assert first.edges == ({("1",): 0, ("2",): 0, ("3",): 1},)
    assert second.edges == ({("x",): 0}, {("x",): 0, ("y",): 0})
    assert third == Step((), ({(): 0},))


def test_what_matters_to_a_later_stage_is_carried_there() -> None:
    limits = Limits(heads={A: A, C: A}, relations=(Relation((A,), (("1",), ("2",))),))
    (table,) = make_tables(limits, [PATH], AXES, 100)
    assert [len(step.edges) for step in table.steps] == [1, 1, 2, 2]
    assert list(table.steps[3].edges) == [{("1",): 0}, {("2",): 0}]


def test_axes_that_nothing_couples_have_tables_of_their_own() -> None:
    limits = Limits(relations=(Relation((A,), (("1",),)), Relation((B, C), (("x", "y"),))))
    assert [(table.group, table.steps[1].axes) for table in make_tables(limits, [PATH], AXES, 100)] == [
        (0, (A,)),
        (1, ()),
    ]


def test_without_tables_all_variants_follow_the_one_branch() -> None:
    found = follow([], [], [()], 3)
    assert (found.positions, found.leads_to, found.states) == (((0, 1, 2),), ((0, 0, 0),), ((),))


def test_what_all_tables_allow_follows() -> None:
    one = Step((A,), ({("1",): 0, ("2",): 1},))
    other = Step((B,), ({("x",): 0}, {("y",): 0}))
    labels = [[("1",), ("1",), ("2",), ("2",)], [("x",), ("y",), ("x",), ("y",)]]
    found = follow([one, other], labels, [(0, 0), (0, 1)], 4)
    assert found.positions == ((0, 2), (1, 3))
    assert found.leads_to == ((0, 1), (0, 1))
    assert found.states == ((0, 0), (1, 0))


def test_each_of_two_tables_takes_away_what_it_does_not_allow() -> None:
    one = Step((A,), ({("1",): 0}, {("2",): 0}))
    other = Step((B,), ({("x",): 0}, {("y",): 0}))
    labels = [[("1",), ("1",), ("2",), ("2",)], [("x",), ("y",), ("x",), ("y",)]]
    assert follow([one, other], labels, [(0, 1), (1, 0)], 4).positions == ((1,), (2,))
