"""A spec to the shape of its selection: for every stage, the variants below each source. Pure.

The tasks of a stage are the product of the parents' tasks and the stage's variants, a variant being
one level of every axis and one replicate; with rules, those of the product that some allowed row of all
selected stages' axes has in it. They are counted before they are expanded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain, product
from math import prod
from typing import TYPE_CHECKING, Final

from genpool.branches import Step, follow, make_tables
from genpool.errors import InputError, InvalidSpec, Problem
from genpool.prompts import DEFAULT_TEMPLATE
from genpool.records import MODE_COPY
from genpool.relations import counted, projected
from genpool.rules import COMBO_AXIS, Axis, Limits, left_out
from genpool.spec import MAX_TASKS, CohortSpec, StageSpec
from genpool.stages import TEMPLATE_FIELD, Stage
from genpool.yaml_reader import summary

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from genpool.branches import State, Table
    from genpool.combos import Combo
    from genpool.from_reader import Roots
    from genpool.prompts import Template
    from genpool.relations import Row
    from genpool.signatures import FieldValue

_TEMPLATE: Final = "template"
Variant = tuple["FieldValue", ...]
"""The values of `stage.fields[1:]`: axes in order, then the replicate."""


@dataclass(frozen=True, slots=True)
class StageSelection:
    """The tasks of one stage, as variants below each source."""

    stage: Stage
    variants: tuple[Variant, ...]
    count: int
    """How many tasks there are."""
    combos: tuple[Combo, ...] = ()
    """What a root stage starts from, in order."""
    copies: frozenset[int] = frozenset()
    """The variants, by position, that pass their parent's text on: no model is called for these."""
    follow: tuple[tuple[int, ...], ...] = ()
    """For every branch of the source: the variants, by position, that follow it, in order. A branch is what rules can
    tell apart in a task's lineage; without rules all tasks of a stage are of branch 0."""
    leads_to: tuple[tuple[int, ...], ...] = ()
    """In the shape of `follow`: the branch of each of these tasks."""
    combo_branches: tuple[int, ...] = ()
    """At a root: the branch of each combo."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The tasks of a cohort."""

    stages: tuple[StageSelection, ...]
    notes: tuple[str, ...] = ()
    """What a person should know of how the spec was read."""
    roots: Roots | None = None
    """The generations that it starts from, where it does not start from combos."""

    @property
    def count(self) -> int:
        """How many tasks there are in all stages, roots that exist included."""
        return sum(stage.count for stage in self.stages) + (len(self.roots.gen_ids) if self.roots else 0)

    @property
    def combos(self) -> tuple[Combo, ...]:
        """Every combo that a root stage starts from."""
        return tuple(combo for stage in self.stages for combo in stage.combos)


def compile_spec(spec: CohortSpec, template: Callable[[str, str], Template]) -> Selection:
    """Return the selection that a spec describes, in the order of the spec.

    Args:
        spec: The spec.
        template: Stage and template id to the template; says which templates copy.

    Raises:
        InvalidSpec: There are more tasks than is allowed, or none that all rules allow.
    """
    chosen = [_Chosen.of(one, spec.limits, template) for one in spec.stages]
    try:
        counts = _counts(chosen, spec.limits, spec.roots)
        if not all(counts.values()):
            raise _nothing_left(spec)
    except OverflowError as error:
        raise InvalidSpec(
            f"cohort {spec.cohort_id!r}: what its rules allow cannot be counted: that takes {error}, "
            f"more than {MAX_TASKS:,}",
            hint="fewer levels on the axes that rules couple, or several cohorts",
        ) from None
    start = {spec.roots.stage.name: len(spec.roots.gen_ids)} if spec.roots else {}
    _check_count(spec.cohort_id, {**start, **counts})
    by_name = {one.stage.name: one for one in chosen}
    paths = _paths(by_name)
    axes = {name: one.axes for name, one in by_name.items()}
    tables = make_tables(spec.limits, paths, axes, MAX_TASKS)
    made: dict[str, _Made] = {}
    for name, one in by_name.items():
        above = made.get(str(one.stage.parent))
        made[name] = _make(one, counts[name], above, [table for table in tables if name in table.path])
    stages = tuple(one.selection for one in made.values())
    notes = list(spec.roots.notes) if spec.roots else []
    notes += [note for name, one in by_name.items() for note in _copy_notes(one, made[name].selection)]
    if spec.limits.levels or spec.limits.relations:
        notes += [note for name, one in by_name.items() for note in _left_out(one, made[name].selection)]
    return Selection(stages, tuple(notes), spec.roots)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a spec and its subsets and ties select in one stage."""

    spec: StageSpec
    levels: Mapping[Axis, tuple[str, ...]]
    """The stage's axes, in order, to what is left of their levels; the combos only where rules narrow them."""
    copies: frozenset[str]
    """The templates that copy."""

    @classmethod
    def of(cls, spec: StageSpec, limits: Limits, template: Callable[[str, str], Template]) -> _Chosen:
        stage = spec.stage
        combos = Axis(stage.name, COMBO_AXIS)
        levels = {combos: limits.levels[combos]} if combos in limits.levels else {}
        for name in stage.axes:
            axis = Axis(stage.name, stage.axis_name(name))
            levels[axis] = limits.levels.get(axis, spec.levels[name])
        named = spec.levels.get(TEMPLATE_FIELD, (DEFAULT_TEMPLATE,))
        return cls(spec, levels, frozenset(one for one in named if template(stage.name, one).mode == MODE_COPY))

    @property
    def stage(self) -> Stage:
        return self.spec.stage

    @property
    def axes(self) -> list[Axis]:
        """The stage's axes, in order; those of a root begin with its combos."""
        own = [axis for axis in self.levels if not axis.is_combo]
        return [Axis(self.stage.name, COMBO_AXIS), *own] if self.spec.combos else own

    def slots(self, template_id: str) -> int:
        """Return how many replicates a template has: a copy has one."""
        return 1 if template_id in self.copies else self.spec.replicates

    def size(self, axis: Axis) -> int:
        """Return how many tasks an axis alone makes: its levels, or the replicates of all its templates."""
        if axis.is_combo and axis not in self.levels:
            return self.spec.combos.count if self.spec.combos else 0
        if axis.name == _TEMPLATE:
            copying = sum(level in self.copies for level in self.levels[axis])
            return (len(self.levels[axis]) - copying) * self.spec.replicates + copying
        return len(self.levels[axis])

    @property
    def fixed(self) -> int:
        """How many replicates there are where the stage has no template axis, else 1."""
        return 1 if TEMPLATE_FIELD in self.stage.axes else self.slots(DEFAULT_TEMPLATE)


def _counts(chosen: Sequence[_Chosen], limits: Limits, roots: Roots | None) -> dict[str, int]:
    """Count every stage's tasks without making them.

    Axes that rules do not couple multiply. Of the coupled ones, a stage has those rows of its own and its ancestors'
    axes that are part of an allowed row; a row counts for as many tasks as its templates have replicates.

    Raises:
        OverflowError: Counting would take more rows than there may be tasks.
    """
    coupled = {name for relation in limits.relations for name in relation.names}
    free = {roots.stage.name: len(roots.gen_ids)} if roots else {}
    above: dict[str, list[_Chosen]] = {}
    counts = {}
    for one in chosen:
        name, parent = one.stage.name, str(one.stage.parent)
        sizes = [one.size(axis) for axis in one.axes if limits.head(axis) not in coupled]
        free[name] = free.get(parent, 1) * one.fixed * prod(sizes)
        above[name] = [*above.get(parent, ()), one]
        heads = {limits.head(axis) for stage in above[name] for axis in stage.axes} & coupled
        rows = projected(limits.relations, heads, MAX_TASKS)
        counts[name] = free[name] * counted(rows, _weights(above[name], limits), MAX_TASKS)
    return counts


def _weights(lineage: Sequence[_Chosen], limits: Limits) -> dict[Hashable, Callable[[str], int]]:
    """Return for how many tasks a template of some stages counts, by the axis that stands for it in relations."""
    slots: dict[Axis, list[_Chosen]] = {}
    for one in lineage:
        axis = Axis(one.stage.name, _TEMPLATE)
        if axis in one.levels and one.spec.replicates > 1:
            slots.setdefault(limits.head(axis), []).append(one)
    return {head: partial(_slots, tied) for head, tied in slots.items()}


def _slots(tied: Sequence[_Chosen], level: str) -> int:
    return prod(one.slots(level) for one in tied)


def _nothing_left(spec: CohortSpec) -> InputError:
    """Return the error for rules that together leave nothing; it names the first that cannot join those before."""
    limits = spec.limits
    rules = range(1, len(limits.relations) + 1)
    last = next(at for at in rules if not counted(limits.relations[:at], {}, MAX_TASKS)) - 1
    said = (
        f"rules: {' and '.join(map(str, limits.relations[last].names))}: with the rules before it, this leaves nothing"
    )
    problem = Problem(said, limits.file, limits.lines[last], "no row of all axes is allowed by every rule")
    return summary(InvalidSpec, f"cohort {spec.cohort_id!r} is not usable", [problem])


def _check_count(cohort_id: str, counts: Mapping[str, int]) -> None:
    """Refuse more tasks than are allowed, before they are expanded."""
    total = sum(counts.values())
    if total > MAX_TASKS:
        by_stage = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise InvalidSpec(
            f"cohort {cohort_id!r} selects {total:,} tasks; at most {MAX_TASKS:,} are allowed",
            hint=f"fewer levels or replicates, or several cohorts ({by_stage})",
        )


def _paths(chosen: Mapping[str, _Chosen]) -> list[tuple[str, ...]]:
    """Return the paths from a root to a leaf of the selected stages."""
    parents = {one.stage.parent for one in chosen.values()}
    paths = []
    for leaf in chosen:
        if leaf not in parents:
            path = [leaf]
            while (parent := chosen[path[-1]].stage.parent) is not None and parent in chosen:
                path.append(parent)
            paths.append(tuple(reversed(path)))
    return paths


# --- from counts to variants ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Made:
    """A stage's selection, and what its branches stand for."""

    selection: StageSelection
    tables: Sequence[Table]
    states: Sequence[State]
    """For every branch its node in each table."""


def _make(chosen: _Chosen, count: int, above: _Made | None, tables: Sequence[Table]) -> _Made:
    """Return a stage's variants, and which of them follow each branch of its sources."""
    combos, combo_branches, states = ((), (), ()) if above else _start(chosen, tables)
    if above:
        places = [at for at, table in enumerate(above.tables) if table in tables]
        states = [tuple([state[place] for place in places]) for state in above.states]
    depth = tables[0].path.index(chosen.stage.name) + 1 if tables else 0
    steps = [table.steps[depth] for table in tables]
    first_of_group = {table.group: step for table, step in reversed(list(zip(tables, steps, strict=True)))}
    variants, copies = _variants(chosen, [step for step in first_of_group.values() if step.axes])
    labels = [_labels(chosen, step, variants) for step in steps]
    followed = follow(steps, labels, states, len(variants))
    selection = StageSelection(
        stage=chosen.stage,
        variants=variants,
        count=count,
        combos=combos,
        copies=copies,
        follow=followed.positions,
        leads_to=followed.leads_to,
        combo_branches=combo_branches,
    )
    return _Made(selection, tables, followed.states)


def _start(chosen: _Chosen, tables: Sequence[Table]) -> tuple[tuple[Combo, ...], tuple[int, ...], Sequence[State]]:
    """Return the combos of a root that are left, their branches, and what these stand for.

    What starts from generations that exist has no combos: one branch stands for all of these, since no rule tells
    them apart.
    """
    if chosen.spec.combos is None:
        return (), (), (tuple([table.steps[0].edges[0][()] for table in tables]),)
    made = chosen.spec.combos.make()
    axis = Axis(chosen.stage.name, COMBO_AXIS)
    kept = frozenset(chosen.levels.get(axis, ()))
    steps = [table.steps[0] for table in tables]
    combos: list[Combo] = []
    branches: list[int] = []
    numbers: dict[State, int] = {}
    for combo in made:
        if axis in chosen.levels and combo.combo_id not in kept:
            continue
        nodes = [step.edges[0].get((combo.combo_id,) if step.axes else ()) for step in steps]
        state = tuple([node for node in nodes if node is not None])
        if len(state) == len(nodes):
            combos.append(combo)
            branches.append(numbers.setdefault(state, len(numbers)))
    return tuple(combos), tuple(branches), tuple(numbers)


def _variants(chosen: _Chosen, steps: Sequence[Step]) -> tuple[tuple[Variant, ...], frozenset[int]]:
    """Return a stage's variants, axes in the order of the stage, replicates innermost; and which of them copy."""
    stage = chosen.stage
    at = stage.axes.index(TEMPLATE_FIELD) if TEMPLATE_FIELD in stage.axes else None
    variants: list[Variant] = []
    copying: set[int] = set()
    for levels in _rows(chosen, steps):
        template_id = DEFAULT_TEMPLATE if at is None else levels[at]
        if template_id in chosen.copies:
            copying.add(len(variants))
        variants.extend((*levels, slot) for slot in range(1, chosen.slots(template_id) + 1))
    return tuple(variants), frozenset(copying)


def _rows(chosen: _Chosen, steps: Sequence[Step]) -> Iterable[Row]:
    """Return the rows of a stage's levels that rules allow, in the order of the spec."""
    own = [axis for axis in chosen.axes if not axis.is_combo]
    if not steps:
        return product(*(chosen.levels[axis] for axis in own))
    coupled = {axis for step in steps for axis in step.axes}
    blocks = [*steps, *(_free(axis, chosen.levels[axis]) for axis in own if axis not in coupled)]
    order = [axis for block in blocks for axis in block.axes]
    places = [order.index(axis) for axis in own]
    ranks = [{level: rank for rank, level in enumerate(chosen.levels[axis])} for axis in own]
    rows = [tuple(chain.from_iterable(parts)) for parts in product(*(block.rows for block in blocks))]
    found = [tuple([row[place] for place in places]) for row in rows]
    return sorted(found, key=lambda levels: [rank[level] for rank, level in zip(ranks, levels, strict=True)])


def _free(axis: Axis, levels: Sequence[str]) -> Step:
    """Return an axis that no rule couples as a step of its own."""
    return Step((axis,), (dict.fromkeys(((level,) for level in levels), 0),))


def _labels(chosen: _Chosen, step: Step, variants: Sequence[Variant]) -> list[Row]:
    """Return every variant's values on the axes of a step."""
    own = [axis for axis in chosen.axes if not axis.is_combo]
    places = [own.index(axis) for axis in step.axes]
    return [tuple([str(variant[place]) for place in places]) for variant in variants]


# --- notes ----------------------------------------------------------------------------------------


def _copy_notes(chosen: _Chosen, selection: StageSelection) -> list[str]:
    """Return the note that copies have one replicate whatever is asked."""
    stage = chosen.stage
    if not selection.copies or chosen.spec.replicates == 1:
        return []
    at = stage.axes.index(TEMPLATE_FIELD) if TEMPLATE_FIELD in stage.axes else None
    used = {DEFAULT_TEMPLATE if at is None else str(selection.variants[one][at]) for one in selection.copies}
    copying = ", ".join(sorted(used))
    return [f"{stage.name}: {copying} copies, so it has one replicate, not {chosen.spec.replicates}"]


def _left_out(chosen: _Chosen, selection: StageSelection) -> list[str]:
    """Return a note for every axis with levels that no allowed row uses."""
    notes = []
    stage = chosen.stage
    given: dict[Axis, Sequence[str]] = {}
    used: dict[Axis, set[str]] = {}
    if chosen.spec.combos and len(selection.combos) < chosen.spec.combos.count:
        axis = Axis(stage.name, COMBO_AXIS)
        given[axis] = [combo.combo_id for combo in chosen.spec.combos.make()]
        used[axis] = {combo.combo_id for combo in selection.combos}
    for at, name in enumerate(stage.axes):
        axis = Axis(stage.name, stage.axis_name(name))
        given[axis] = chosen.spec.levels[name]
        used[axis] = {str(variant[at]) for variant in selection.variants}
    for axis, levels in given.items():
        lacking = [level for level in levels if level not in used[axis]]
        if lacking:
            notes.append(left_out(axis, lacking))
    return notes
