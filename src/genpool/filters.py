"""Which tasks are asked for: by their own choices, by those of what is above them, by whose run made them. Pure.

A condition names a field and levels, any of which will do; several conditions must all hold. `template` is a task's
own field; `draft.template` is that of the draft in its lineage, which is the task itself where it is a draft. A field
or level that nothing has is an error and no empty answer: it is a slip of the pen far more often than a question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from genpool.errors import DoesNotFit, UsageError, nearest
from genpool.stages import PARENT_FIELD, ROOT_FIELD, axis_field

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from genpool.coded import Coded
    from genpool.signatures import FieldValue
    from genpool.stages import Pipeline, Stage

_SOURCES: Final = {"combo": ROOT_FIELD, "parent": PARENT_FIELD}
"""What people write for the field that says what a task starts from."""
MOST_COMPARED: Final = 1000
"""Among more levels than these no nearest one is looked for."""

if TYPE_CHECKING:
    FieldOf = Callable[[Stage, str, str], FieldValue | None]
    """Stage, id and field to the value in its signature; None where that cannot be read."""


class StageTable(Protocol):
    """Columns of some tasks of a stage."""

    @property
    def fields(self) -> Mapping[str, Coded[FieldValue | None]]:
        """The signature's fields; None where nothing says it."""
        ...

    @property
    def origins(self) -> Coded[str | None]:
        """The cohort whose run made each."""
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """A field, and the levels of which it must have one."""

    typed: str
    """The field as a person wrote it."""
    stage: Stage | None
    """The stage whose field it is; None for every task's own."""
    field: str
    """The field of the signature."""
    levels: frozenset[str]


def read_conditions(
    pipeline: Pipeline, where: Mapping[str, Iterable[str]], asked: Stage | None = None
) -> tuple[Condition, ...]:
    """Return conditions as written: a field (`template`, `template_id`, `draft.template`) to levels.

    Args:
        pipeline: The pool's stages.
        where: What a person wrote; levels are texts, a replicate's too.
        asked: The only stage whose tasks are asked for, if it is only one.

    Raises:
        DoesNotFit: A field is none of these stages'.
        UsageError: A field is given no level.
    """
    found: dict[tuple[Stage | None, str], Condition] = {}
    for typed, levels in where.items():
        stage, field = _field(pipeline, typed, asked)
        wanted = frozenset(str(level) for level in levels)
        if not wanted:
            raise UsageError(f"{typed!r} is given no level", hint=f"for instance {typed}=first,second")
        known = found.get((stage, field))
        found[stage, field] = Condition(typed, stage, field, wanted | (known.levels if known else frozenset()))
    return tuple(found.values())


def _field(pipeline: Pipeline, typed: str, asked: Stage | None) -> tuple[Stage | None, str]:
    """Return the stage and field of what a person wrote."""
    stage_name, dot, name = typed.rpartition(".")
    field = _SOURCES.get(name, axis_field(name))
    if not dot:
        stages = (asked,) if asked else tuple(pipeline)
        if not any(field in stage.fields for stage in stages):
            raise _no_field(typed, stages, pipeline)
        return None, field
    reachable = (asked, *pipeline.ancestors(asked)) if asked else tuple(pipeline)
    names = [stage.name for stage in reachable]
    if stage_name not in pipeline:
        raise DoesNotFit(f"{typed!r}: no stage is named {stage_name!r}", hint=nearest(stage_name, names))
    stage = pipeline[stage_name]
    if asked and stage not in reachable:
        said = f"{typed!r}: {stage_name!r} is neither {asked.name!r} nor a stage above it"
        raise DoesNotFit(said, hint=f"known: {', '.join(names)}")
    if field not in stage.fields:
        raise _no_field(name, (stage,), pipeline)
    return stage, field


def _no_field(name: str, stages: Sequence[Stage], pipeline: Pipeline) -> DoesNotFit:
    """Return the error for a field that stages do not have, with the nearest, or where a stage above has it."""
    words = list(dict.fromkeys(_word(stage, field) for stage in stages for field in stage.fields))
    if len(stages) > 1:
        return DoesNotFit(f"no stage has a field {name!r}", hint=nearest(name, words))
    field = _SOURCES.get(name, axis_field(name))
    above = next((one for one in pipeline.ancestors(stages[0]) if field in one.fields), None)
    hint = f"did you mean '{above.name}.{name}'?" if above else nearest(name, words)
    return DoesNotFit(f"stage {stages[0].name!r} has no field {name!r}", hint=hint)


def _word(stage: Stage, field: str) -> str:
    return next((word for word, name in _SOURCES.items() if name == field), stage.axis_name(field))


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Which rows of some columns are asked for, by stage."""

    rows: Mapping[str, frozenset[int]]
    unread: Mapping[str, frozenset[int]]
    """Those of which nobody knows: they, or something above them, cannot be read."""


def choose_rows(
    pipeline: Pipeline,
    tables: Mapping[str, StageTable],
    field_of: FieldOf,
    conditions: Sequence[Condition],
    origins: Collection[str] = (),
    cohorts: Iterable[str] = (),
) -> ChosenRows:
    """Return which rows of columns are asked for; each value is looked at once, not each row.

    Args:
        pipeline: The pool's stages.
        tables: Stage to the columns of its candidates.
        field_of: A field of any task, above the candidates too.
        conditions: What their fields must be.
        origins: The cohorts whose run made them; none for whatever cohort.
        cohorts: The cohorts that there are, so that one that made nothing is no unknown one.

    Raises:
        DoesNotFit: No candidate has a level, or was made by a cohort of that name.
    """
    seen: list[set[str]] = [set() for _ in conditions]
    rows: dict[str, frozenset[int]] = {}
    unread: dict[str, frozenset[int]] = {}
    climb = _Climb(pipeline, field_of)
    for name, table in tables.items():
        fits, doubtful = set(range(len(table.origins))), set()
        if origins:
            fits.intersection_update(table.origins.rows_of(*origins))
        for condition, levels in zip(conditions, seen, strict=True):
            met, unknown = _met(pipeline, name, table, condition, climb, levels)
            fits &= met
            doubtful |= unknown
        rows[name], unread[name] = frozenset(fits - doubtful), frozenset(fits & doubtful)
    for condition, levels in zip(conditions, seen, strict=True):
        check_levels(condition, levels)
    made_by = {value for table in tables.values() for value in table.origins.values if value is not None}
    check_origins(origins, made_by.union(cohorts))
    return ChosenRows(rows, unread)


def _met(
    pipeline: Pipeline, name: str, table: StageTable, condition: Condition, climb: _Climb, seen: set[str]
) -> tuple[set[int], set[int]]:
    """Return the rows that meet a condition or may, and those of them of which nobody knows; note the levels seen."""
    own = pipeline[name]
    target = condition.stage or own
    if condition.field not in target.fields or target not in (own, *pipeline.ancestors(own)):
        return set(), set()
    column = table.fields[condition.field if target == own else PARENT_FIELD]
    levels: dict[FieldValue | None, str | None] = {}
    for value in column.values:
        if value is None or target == own:
            levels[value] = None if value is None else str(value)
        else:
            levels[value] = climb(pipeline[str(own.parent)], str(value), target, condition.field)
    unknown = [value for value, level in levels.items() if level is None]
    met = [value for value, level in levels.items() if level in condition.levels]
    seen.update(level for level in levels.values() if level is not None)
    return set(column.rows_of(*met, *unknown)), set(column.rows_of(*unknown))


class _Climb:
    """Fields of the lineages of generations, each looked up once."""

    def __init__(self, pipeline: Pipeline, field_of: FieldOf) -> None:
        self._pipeline = pipeline
        self._field_of = field_of
        self._known: dict[tuple[str, str, str, str], str | None] = {}

    def __call__(self, stage: Stage, gen_id: str, target: Stage, field: str) -> str | None:
        """Return the value of a field in the lineage of a generation, or None where that cannot be read."""
        key = stage.name, gen_id, target.name, field
        if key not in self._known:
            self._known[key] = self._level(stage, gen_id, target, field)
        return self._known[key]

    def _level(self, stage: Stage, gen_id: str, target: Stage, field: str) -> str | None:
        above = None if stage.name == target.name else stage.parent
        value = self._field_of(stage, gen_id, PARENT_FIELD if above else field)
        if value is None or above is None:
            return None if value is None else str(value)
        return self(self._pipeline[above], str(value), target, field)


def check_levels(condition: Condition, seen: Collection[str]) -> None:
    """Refuse a level that nothing has."""
    for level in sorted(condition.levels - frozenset(seen)):
        hint = nearest(level, seen) if len(seen) <= MOST_COMPARED else None
        raise DoesNotFit(f"nothing here has {condition.typed} = {level!r}", hint=hint)


def check_origins(origins: Iterable[str], known: Collection[str]) -> None:
    """Refuse an origin that is no cohort."""
    for name in sorted(origins):
        if name not in known:
            raise DoesNotFit(
                f"no cohort is named {name!r}, and none of that name made anything here", hint=nearest(name, known)
            )
