"""Which generations of a pool fit some conditions, asked of the catalog: only those that do are handed to Python.

What counts is what `filters` says: a level is a value of a generation or of what is above it; where something above is
not whole nobody knows it; a level or an origin that nothing has is an error. Chains of stages become queries within
queries, each of which SQLite carries out once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from genpool.filters import MOST_COMPARED, check_levels, check_origins
from genpool.records import NO_REPLICATE
from genpool.signatures import Signature
from genpool.stages import REPLICATE_FIELD

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from genpool.catalog import Catalog
    from genpool.filters import Condition
    from genpool.present import Present
    from genpool.signatures import FieldValue
    from genpool.stages import Pipeline, Stage

_WHOLE: Final = "FROM gens WHERE stage = ? AND state = 0"
_LISTED: Final = "IN (SELECT value FROM json_each(?))"

_MADE_BY: Final = f"making IN (SELECT id FROM makings WHERE origin {_LISTED})"  # noqa: S608 - our own words


class _Sql(NamedTuple):
    """A part of a query, and what its question marks stand for."""

    text: str
    values: tuple[str, ...] = ()


_ALWAYS: Final = _Sql("1")


@dataclass(frozen=True, slots=True)
class _Row:
    """A generation that fits, or may."""

    gen_id: str
    values: tuple[FieldValue, ...]
    """Those of its signature."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """The generations of some stages that fit, by stage and id."""

    rows: Mapping[Stage, Sequence[_Row]]
    unread: tuple[str, ...]
    """Ids of those of which nobody knows: something above them is not whole; then those that are damaged themselves."""

    def __iter__(self) -> Iterator[tuple[str, Signature]]:
        """Yield id and signature of each; a legacy one's replicate is its slot."""
        for stage, rows in self.rows.items():
            for row in rows:
                yield row.gen_id, Signature(stage, row.values)


def fitting(
    catalog: Catalog,
    pipeline: Pipeline,
    stages: Sequence[Stage],
    conditions: Sequence[Condition],
    origins: Collection[str] = (),
    cohorts: Iterable[str] = (),
) -> Fitting:
    """Return the whole generations of some stages that fit.

    Args:
        catalog: The index of the store.
        pipeline: The pool's stages.
        stages: Those whose generations are asked for.
        conditions: What their fields must be.
        origins: The cohorts whose run made them; none for whatever cohort.
        cohorts: The cohorts that there are, so that one that made nothing is no unknown one.

    Raises:
        DoesNotFit: No generation has a level, or was made by a cohort of that name.
        StorageFailed, CorruptFile: As of `Catalog.present`.
    """
    paths = (_path(pipeline, stage, one) for stage in stages for one in conditions)
    needed = {*stages, *(stage for path in paths for stage in path)}

    def question(database: sqlite3.Connection, odd: Mapping[str, Present]) -> Fitting:
        return _Question(database, pipeline, odd, conditions, origins).answer(stages, cohorts)

    return catalog.ask([stage for stage in pipeline if stage in needed], question)


def _path(pipeline: Pipeline, stage: Stage, condition: Condition) -> tuple[Stage, ...]:
    """Return the stages from one up to that of a condition; none where it has no such field in its lineage."""
    lineage = (stage, *pipeline.ancestors(stage))
    target = condition.stage or stage
    return lineage[: lineage.index(target) + 1] if target in lineage and condition.field in target.fields else ()


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of the index at one moment."""

    database: sqlite3.Connection
    pipeline: Pipeline
    odd: Mapping[str, Present]
    """Of each stage that is looked at."""
    conditions: Sequence[Condition]
    origins: Collection[str]
    known: dict[str, list[str]] = field(default_factory=dict)
    """Stage to the choices that its generations have, for those that were asked for."""

    def answer(self, stages: Sequence[Stage], cohorts: Iterable[str]) -> Fitting:
        """Return what fits."""
        fits: dict[Stage, list[_Row]] = {}
        unread: list[str] = []
        for stage in stages:
            fits[stage], doubtful = self._rows(stage)
            unread += doubtful
        one_level = all(len(one.levels) == 1 for one in self.conditions)
        if not (one_level and any(fits.values())):  # else what fits has each level
            for one in self.conditions:
                check_levels(one, self._levels(stages, one))
        unknown = set(self.origins).difference(cohorts)
        if unknown:
            check_origins(self.origins, {*self._made_by(stages), *cohorts})
        damaged = (gen_id for stage in stages for gen_id in self.odd[stage.name].unusable)
        return Fitting(fits, (*unread, *damaged))

    def _rows(self, stage: Stage) -> tuple[list[_Row], list[str]]:
        """Return what of a stage fits, and the ids of what may: what is above that cannot be read."""
        paths = [_path(self.pipeline, stage, one) for one in self.conditions]
        if not all(paths):
            return [], []  # it has not each of the fields
        known = [_all_whole(path[1:]) for path in paths]
        met = map(self._met, paths, self.conditions)
        may = [
            one if whole == _ALWAYS else _Sql(f"({one.text} OR NOT {whole.text})", (*one.values, *whole.values))
            for one, whole in zip(met, known, strict=True)
        ]
        if self.origins:
            may.append(_Sql(_MADE_BY, (json.dumps(list(self.origins)),)))
        certain = _all(known)
        where = _all(may)
        query = f"SELECT gen_id, source, choices, replicate, {certain.text} {_WHOLE} AND {where.text} ORDER BY gen_id"
        rows: list[_Row] = []
        unread: list[str] = []
        slots = self.odd[stage.name].slots()
        axes: dict[str, tuple[str, ...]] = {}
        for gen_id, source, choices, replicate, is_known in self.database.execute(
            query, (*certain.values, stage.name, *where.values)
        ):
            if not is_known:
                unread.append(gen_id)
                continue
            if choices not in axes:
                axes[choices] = tuple(json.loads(choices))
            slot = slots.get(gen_id, int(replicate or NO_REPLICATE))
            rows.append(_Row(gen_id, (source, *axes[choices], slot)))
        return rows, unread

    def _met(self, path: Sequence[Stage], condition: Condition) -> _Sql:
        """Return what holds for generations of the first stage of a path whose ancestor in the last has a level."""
        inner = self._has(path[-1], condition)
        for stage in reversed(path[1:]):
            inner = _Sql(f"source IN (SELECT gen_id {_WHOLE} AND {inner.text})", (stage.name, *inner.values))
        return inner

    def _has(self, stage: Stage, condition: Condition) -> _Sql:
        """Return what holds for generations of a stage that have themselves a level of a condition."""
        levels = condition.levels
        if condition.field == stage.source_field:
            return _Sql(f"source {_LISTED}", (json.dumps(sorted(levels)),))
        if condition.field != REPLICATE_FIELD:
            at = stage.axes.index(condition.field)
            fit = [one for one in self._choices(stage) if str(json.loads(one)[at]) in levels]
            return _Sql(f"choices {_LISTED}", (json.dumps(fit),))
        numbers = _Sql(f"CAST(ifnull(replicate, {NO_REPLICATE}) AS TEXT) {_LISTED}", (json.dumps(sorted(levels)),))
        slots = self.odd[stage.name].slots()
        if not slots:
            return numbers
        in_slot = json.dumps([gen_id for gen_id, slot in slots.items() if str(slot) in levels])
        text = f"CASE WHEN gen_id {_LISTED} THEN gen_id {_LISTED} ELSE {numbers.text} END"
        return _Sql(text, (json.dumps(list(slots)), in_slot, *numbers.values))

    def _choices(self, stage: Stage) -> list[str]:
        """Return the axis values that whole generations of a stage have, as canonical JSON, each once."""
        if stage.name not in self.known:
            self.known[stage.name] = list(self._column(stage, "choices", _ALWAYS))
        return self.known[stage.name]

    def _column(self, stage: Stage, what: str, where: _Sql, limit: int = -1) -> list[str]:
        """Return the values that some of the whole generations of a stage have in a column, each once."""
        query = f"SELECT DISTINCT {what} {_WHOLE} AND {where.text} LIMIT {limit}"
        return [row[0] for row in self.database.execute(query, (stage.name, *where.values))]

    def _levels(self, stages: Sequence[Stage], condition: Condition) -> set[str]:
        """Return the levels that generations have in a condition's field; of very many no more than tell them so."""
        found: set[str] = set()
        for stage in stages:
            path = _path(self.pipeline, stage, condition)
            if path:
                found.update(self._levels_of(path[-1], _reached(path), condition))
        return found

    def _levels_of(self, stage: Stage, reached: _Sql, condition: Condition) -> Iterable[str]:
        """Return the levels of some generations of a stage in their own field."""
        if condition.field == stage.source_field:
            wanted = _all([self._has(stage, condition), reached])
            return [*self._column(stage, "source", wanted), *self._column(stage, "source", reached, MOST_COMPARED + 1)]
        if condition.field != REPLICATE_FIELD:
            at = stage.axes.index(condition.field)
            return [str(json.loads(one)[at]) for one in self._column(stage, "choices", reached)]
        slots = self.odd[stage.name].slots()
        if not slots:
            return map(str, self._column(stage, f"ifnull(replicate, {NO_REPLICATE})", reached))
        listed = _Sql(f"gen_id {_LISTED}", (json.dumps(list(slots)),))
        others = _all([_Sql(f"NOT {listed.text}", listed.values), reached])
        numbers = map(str, self._column(stage, f"ifnull(replicate, {NO_REPLICATE})", others))
        return [*numbers, *(str(slots[one]) for one in self._column(stage, "gen_id", _all([listed, reached])))]

    def _made_by(self, stages: Sequence[Stage]) -> Iterator[str]:
        """Yield the cohorts whose runs made generations of some stages."""
        for stage in stages:
            made = self._column(stage, "making", _ALWAYS)
            origins = (self.odd[stage.name].makings[int(number)].origin for number in made)
            yield from (origin for origin in origins if origin is not None)


def _all(parts: Sequence[_Sql]) -> _Sql:
    """Return what holds where all parts do."""
    needed = [one for one in parts if one != _ALWAYS]
    if not needed:
        return _ALWAYS
    return _Sql(" AND ".join(f"({one.text})" for one in needed), tuple(value for one in needed for value in one.values))


def _all_whole(above: Sequence[Stage]) -> _Sql:
    """Return what holds for generations above which everything is whole, up to the last of some stages."""
    inner = _ALWAYS
    for stage in reversed(above):
        inner = _Sql(f"source IN (SELECT gen_id {_WHOLE} AND {inner.text})", (stage.name, *inner.values))
    return inner


def _reached(path: Sequence[Stage]) -> _Sql:
    """Return what holds for generations of the last stage of a path from which one of the first descends."""
    reached = _ALWAYS
    for stage in path[:-1]:
        reached = _Sql(f"gen_id IN (SELECT source {_WHOLE} AND {reached.text})", (stage.name, *reached.values))
    return reached
