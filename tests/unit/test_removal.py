"""What a removal takes away: by reachability, set against a brute force over small random pools."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpool.errors import NotFound
from genpool.removal import (
    BY_COHORT,
    BY_GENERATION,
    DAMAGED,
    Holdings,
    Removal,
    Stay,
    Task,
    plan_purge,
    plan_regeneration,
)

STAGES = ("draft", "essay", "evaluation")
D1, D2 = ("draft", "d_1"), ("draft", "d_2")
E1, E2, E3 = ("essay", "e_1"), ("essay", "e_2"), ("essay", "e_3")
V1 = ("evaluation", "v_1")
SOURCES = {E1: (D1,), E2: (D1,), E3: (D2,), V1: (E1, E3)}  # the evaluation compares two essays


def holdings(members: dict[str, set[Task]], origins: dict[Task, str | None] | None = None, **more: object) -> Holdings:
    everything: dict[Task, str | None] = dict.fromkeys((D1, D2, E1, E2, E3, V1), "a")
    found = {name: frozenset(tasks) for name, tasks in members.items()}
    return Holdings(
        STAGES,
        everything if origins is None else origins,
        sources=SOURCES,
        members=found,
        cohorts=frozenset(members),
        **more,  # type: ignore[arg-type]
    )


def test_what_only_the_cohort_reaches_goes_children_first() -> None:
    found = plan_purge(holdings({"a": {D1, D2, E1, E2, E3, V1}}), "a")
    assert found.goes == (V1, E1, E2, E3, D1, D2)
    assert found.stays == ()
    assert found.folder


def test_what_another_cohort_reaches_stays_through_every_reference() -> None:
    found = plan_purge(holdings({"a": {D1, D2, E1, E2, E3}, "b": {V1}}), "a")
    assert found.goes == (E2,)
    assert found.stays == tuple(Stay(task, BY_COHORT, ("b",)) for task in (D1, D2, E1, E3))


def test_a_generation_that_nothing_reaches_keeps_what_it_starts_from() -> None:
    origins = {D1: "a", E1: "a", E2: "elsewhere"}
    found = plan_purge(holdings({"a": {D1, E1}}, origins), "a")
    assert found.goes == (E1,)
    assert found.stays == (Stay(D1, BY_GENERATION, ("e_2",)),)


def test_what_the_cohort_made_and_nobody_has_goes_too() -> None:
    assert plan_purge(holdings({"a": {D1}}, {D1: "a", E2: "a"}), "a").goes == (E2, D1)
    assert plan_purge(holdings({"a": {D1}, "b": {E2}}, {D1: "a", E2: "a"}), "a").goes == ()


def test_what_cannot_be_read_stays_with_what_it_seems_to_start_from() -> None:
    found = plan_purge(holdings({"a": {D1, E1}}, {D1: "a"}, damaged=frozenset({E1})), "a")
    assert found.goes == ()
    assert found.stays == (Stay(D1, BY_GENERATION, ("e_1",)), Stay(E1, DAMAGED))


def test_attempts_go_with_their_tasks_but_not_those_that_another_cohort_wants() -> None:
    tried = frozenset({D1, E1, E2, V1})
    found = plan_purge(holdings({"a": {D1, E1, E2}, "b": {E2}}, {D1: "a"}, attempted=tried), "a")
    assert found.attempts == (E1,)


def test_a_cohort_that_is_not_there_is_told() -> None:
    with pytest.raises(NotFound, match="'demos'") as told:
        plan_purge(holdings({"demo": {D1}}), "demos")
    assert told.value.hint == "did you mean 'demo'?"


def test_regeneration_takes_all_that_descends_and_counts_it_by_cohort() -> None:
    found = plan_regeneration(holdings({"a": {D2, E3}, "b": {V1}}), "a", [D2])
    assert found.goes == (V1, E3, D2)
    assert found.by_cohort == {"a": {"essay": 1, "draft": 1}, "b": {"evaluation": 1}}
    assert not found.folder
    assert plan_regeneration(holdings({"a": {D2}}), "a", [D1]).by_cohort == {
        None: {"evaluation": 1, "essay": 2, "draft": 1}
    }


# --- against a brute force --------------------------------------------------------------------------


@st.composite
def pools(draw: st.DrawFn) -> Holdings:
    """A pool of up to twelve tasks, each from up to two of the stage above, in up to three cohorts."""
    tasks = [[(stage, f"{stage[0]}_{number}") for number in range(draw(st.integers(0, 4)))] for stage in STAGES]
    sources = {}
    for above, below in pairwise(tasks):
        for task in below:
            chosen = draw(st.sets(st.sampled_from(above), max_size=2)) if above else set()
            sources[task] = tuple(sorted(chosen))
    everything = [task for stage in tasks for task in stage]
    kinds = {task: draw(st.sampled_from(["whole", "whole", "whole", "damaged", "missing"])) for task in everything}
    some = st.sets(st.sampled_from(everything)) if everything else st.just(set[Task]())
    members = {name: frozenset(draw(some)) for name in ("a", "b", "c")[: draw(st.integers(1, 3))]}
    return Holdings(
        STAGES,
        {task: draw(st.sampled_from(["a", "b", None])) for task in everything if kinds[task] == "whole"},
        damaged=frozenset(task for task in everything if kinds[task] == "damaged"),
        sources=sources,
        members=members,
        cohorts=frozenset(members),
    )


def above(pool: Holdings, task: Task) -> set[Task]:
    """Every task above one, by plain recursion."""
    found = set(pool.sources.get(task, ()))
    return found.union(*(above(pool, one) for one in found))


@given(pools())
def test_a_purge_takes_all_that_it_may_and_nothing_that_it_may_not(pool: Holdings) -> None:
    found = plan_purge(pool, "a")
    everyones = set().union(*pool.members.values())
    wanted = {
        task
        for task, origin in pool.origins.items()
        if task in pool.members["a"] or (origin == "a" and task not in everyones)
    }
    others = set().union(*(tasks for name, tasks in pool.members.items() if name != "a"))
    needed = others.union(*(above(pool, task) for task in others))
    goes = wanted - needed
    while True:  # whatever exists and stays keeps what is above it, until nothing changes
        staying = (set(pool.origins) | pool.damaged) - goes
        left = goes - set().union(*(above(pool, task) for task in staying))
        if left == goes:
            break
        goes = left
    assert set(found.goes) == goes
    assert {one.task for one in found.stays} == (wanted - goes) | (pool.members["a"] & pool.damaged)
    check_reasons(pool, found)


def check_reasons(pool: Holdings, found: Removal) -> None:
    """Each reason for staying is true."""
    for one in found.stays:
        if one.why == DAMAGED:
            assert one.task in pool.damaged
        elif one.why == BY_COHORT:
            for name in one.by:
                assert any(one.task in {task, *above(pool, task)} for task in pool.members[name])
        else:
            existing = set(pool.origins) | pool.damaged
            keepers = [task for task in existing - set(found.goes) if task[1] == one.by[0]]
            assert any(one.task in above(pool, keeper) for keeper in keepers)


@given(pools(), st.data())
def test_regeneration_leaves_no_child_without_what_it_starts_from(pool: Holdings, data: st.DataObject) -> None:
    existing = sorted(pool.origins)
    drifted = data.draw(st.sets(st.sampled_from(existing))) if existing else set()
    found = plan_regeneration(pool, "a", drifted)
    assert set(found.goes) == {task for task in pool.origins if task in drifted or above(pool, task) & drifted}
    order = {task: place for place, task in enumerate(found.goes)}
    assert all(order[task] < order[one] for task in order for one in above(pool, task) & order.keys())
