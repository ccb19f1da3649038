"""A spec to the shape of its selection: for every stage, the variants below each source. Pure.

The tasks of a stage are the product of the parents' tasks and the stage's variants, a variant being
one level of every axis and one replicate. The product is counted before it is expanded.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from genpool.errors import InvalidSpec
from genpool.prompts import DEFAULT_TEMPLATE
from genpool.records import MODE_COPY
from genpool.spec import MAX_TASKS, CohortSpec, StageSpec
from genpool.stages import TEMPLATE_FIELD, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from genpool.combos import Combo
    from genpool.prompts import Template
    from genpool.signatures import FieldValue

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

    @property
    def count(self) -> int:
        """How many tasks there are in all stages."""
        return sum(stage.count for stage in self.stages)

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
        InvalidSpec: The product is larger than what is allowed.
    """
    counts: dict[str, int] = {}
    copies: dict[str, frozenset[str]] = {}
    notes: list[str] = []
    for chosen in spec.stages:
        stage = chosen.stage
        named = chosen.levels.get(TEMPLATE_FIELD, (DEFAULT_TEMPLATE,))
        copies[stage.name] = frozenset(level for level in named if template(stage.name, level).mode == MODE_COPY)
        below = chosen.combos.count if chosen.combos else counts[str(stage.parent)]
        counts[stage.name] = below * _variant_count(chosen, copies[stage.name])
        if copies[stage.name] and chosen.replicates > 1:
            copying = ", ".join(sorted(copies[stage.name]))
            notes.append(f"{stage.name}: {copying} copies, so it has one replicate, not {chosen.replicates}")
    _check_count(spec.cohort_id, counts)
    stages = tuple(_selection(chosen, copies[chosen.stage.name], counts[chosen.stage.name]) for chosen in spec.stages)
    return Selection(stages, tuple(notes))


def _check_count(cohort_id: str, counts: Mapping[str, int]) -> None:
    """Refuse a product that is larger than what is allowed, before it is expanded."""
    total = sum(counts.values())
    if total > MAX_TASKS:
        by_stage = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise InvalidSpec(
            f"cohort {cohort_id!r} selects {total:,} tasks; at most {MAX_TASKS:,} are allowed",
            hint=f"fewer levels or replicates, or several cohorts ({by_stage})",
        )


def _variant_count(chosen: StageSpec, copies: AbstractSet[str]) -> int:
    """Count a stage's variants without making them; a copy has one slot."""
    others = 1
    for field, levels in chosen.levels.items():
        if field != TEMPLATE_FIELD:
            others *= len(levels)
    if TEMPLATE_FIELD not in chosen.levels:
        return others * (1 if copies else chosen.replicates)
    made = len(chosen.levels[TEMPLATE_FIELD]) - len(copies)
    return others * (made * chosen.replicates + len(copies))


def _selection(chosen: StageSpec, copies: AbstractSet[str], count: int) -> StageSelection:
    """Return a stage's variants: axes in the order of the stage, replicates innermost."""
    stage = chosen.stage
    at = stage.axes.index(TEMPLATE_FIELD) if TEMPLATE_FIELD in stage.axes else None
    variants: list[Variant] = []
    copying: set[int] = set()
    for levels in product(*(chosen.levels[field] for field in stage.axes)):
        if (DEFAULT_TEMPLATE if at is None else levels[at]) in copies:
            copying.add(len(variants))
            variants.append((*levels, 1))
        else:
            variants.extend((*levels, slot) for slot in range(1, chosen.replicates + 1))
    combos = tuple(chosen.combos.make()) if chosen.combos else ()
    every = tuple(range(len(variants)))
    return StageSelection(
        stage=stage,
        variants=tuple(variants),
        count=count,
        combos=combos,
        copies=frozenset(copying),
        follow=(every,),
        leads_to=((0,) * len(every),),
        combo_branches=(0,) * len(combos),
    )
