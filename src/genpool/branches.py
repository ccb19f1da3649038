"""Allowed rows to branches: what rules can tell apart in a task's lineage, as a small number. Pure.

The axes that rules couple are laid out along each path of stages from a root to a leaf, the combos first. A node of
such a table stands for all lineages that may be continued in the same ways; there are as few as possible. The branch
of a task is what its nodes in all tables say together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from genpool.relations import connected, joined, projected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from genpool.relations import Relation, Row
    from genpool.rules import Axis, Limits

State = tuple[int, ...]
"""The nodes of a task in the tables of its stage."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of a table, or the combos that its root starts from."""

    axes: tuple[Axis, ...]
    """The coupled axes, in the order of the stage."""
    edges: tuple[Mapping[Row, int], ...]
    """For every node above: the values of these axes that may follow, to the node that each leads to."""

    @property
    def rows(self) -> list[Row]:
        """The values of these axes that follow any node."""
        return list(dict.fromkeys(row for edges in self.edges for row in edges))


@dataclass(frozen=True, slots=True)
class Table:
    """What coupled axes allow along one path of stages."""

    path: tuple[str, ...]
    """The stages from a root to a leaf."""
    group: int
    """Which axes it couples: tables of the same group on other paths couple the same axes."""
    steps: tuple[Step, ...]
    """The combos, then every stage of the path."""


def make_tables(
    limits: Limits, paths: Sequence[tuple[str, ...]], axes: Mapping[str, Sequence[Axis]], most: int
) -> list[Table]:
    """Return the tables of what rules allow.

    Args:
        limits: What the rules leave.
        paths: The paths from a root to a leaf, by the stages' names.
        axes: Stage to its axes, in order.
        most: The most rows to make.

    Raises:
        OverflowError: There are more rows.
    """
    tables = []
    for number, group in enumerate(connected(limits.relations)):
        coupled = {name for relation in group for name in relation.names}
        for path in paths:
            on_path = [[axis for axis in axes[stage] if limits.head(axis) in coupled] for stage in path]
            heads = {limits.head(axis) for step in on_path for axis in step}
            if heads:
                whole = joined(projected(group, heads, most), most)
                combos = [[axis for axis in on_path[0] if axis.is_combo]]
                later = [[axis for axis in step if not axis.is_combo] for step in on_path]
                tables.append(Table(path, number, _steps(whole, [*combos, *later], limits)))
    return tables


def _steps(whole: Relation, axes: Sequence[Sequence[Axis]], limits: Limits) -> tuple[Step, ...]:
    """Lay rows out in steps, from the last to the first; nodes that may be continued in the same ways are one."""
    columns = [list(whole.columns([limits.head(axis) for axis in step])) for step in axes]
    nodes: dict[tuple[Row, ...], int] = dict.fromkeys(zip(*columns, strict=True), 0)
    steps: list[Step] = []
    for step in reversed(axes):
        below: dict[tuple[Row, ...], dict[Row, int]] = {}
        for (*above, row), node in nodes.items():
            below.setdefault(tuple(above), {})[row] = node
        kinds: dict[frozenset[tuple[Row, int]], int] = {}
        nodes = {above: kinds.setdefault(frozenset(edges.items()), len(kinds)) for above, edges in below.items()}
        edges_of = {nodes[above]: edges for above, edges in reversed(below.items())}
        steps.append(Step(tuple(step), tuple(edges_of[node] for node in range(len(kinds)))))
    return tuple(reversed(steps))


@dataclass(frozen=True, slots=True)
class Followed:
    """What follows the branches of a stage's sources."""

    positions: tuple[tuple[int, ...], ...]
    """For every branch of the sources the variants, by position."""
    leads_to: tuple[tuple[int, ...], ...]
    """In the same shape the branch of each task."""
    states: tuple[State, ...]
    """What the branches of these tasks stand for."""


def follow(steps: Sequence[Step], labels: Sequence[Sequence[Row]], states: Sequence[State], count: int) -> Followed:
    """Return which variants follow each branch of a stage's sources.

    Args:
        steps: The stage's step in each of its tables.
        labels: For every table: every variant's values on the step's axes.
        states: What the branches of the sources stand for, in these tables.
        count: How many variants there are.
    """
    where: list[dict[Row, list[int]]] = []
    for label in labels:
        places: dict[Row, list[int]] = {}
        for position, row in enumerate(label):
            places.setdefault(row, []).append(position)
        where.append(places)
    numbers: dict[State, int] = {}
    positions: list[tuple[int, ...]] = []
    leads_to: list[tuple[int, ...]] = []
    for state in states:
        edges = [step.edges[node] for step, node in zip(steps, state, strict=True)]
        if not edges:
            positions.append(tuple(range(count)))
            leads_to.append((numbers.setdefault((), 0),) * count)
            continue
        # Only variants of the table that allows fewest are looked at.
        fewest = min(range(len(edges)), key=lambda at: sum(len(where[at][row]) for row in edges[at]))
        some = sorted(position for row in edges[fewest] for position in where[fewest][row])
        found = [at for at in some if all(label[at] in one for label, one in zip(labels, edges, strict=True))]
        leads = [tuple([one[label[at]] for label, one in zip(labels, edges, strict=True)]) for at in found]
        positions.append(tuple(found))
        leads_to.append(tuple(numbers.setdefault(one, len(numbers)) for one in leads))
    return Followed(tuple(positions), tuple(leads_to), tuple(numbers))
