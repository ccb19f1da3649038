"""Judgements as one table: a row a judgement, with its score, whose it is, and its whole lineage in columns.

Promise: what is here is made from the columns of a scope (what members there are, and how they stand) and from nothing
else; the reasons that judges gave are read from their texts where they are asked for. A score that is no number, or is
off its own scale, is never a number here: the row says what is wrong with it.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

from genpool.coded import SEPARATOR, Texts
from genpool.errors import DoesNotFit, InvalidSignature, PoolError, nearest
from genpool.parsers import reason_of
from genpool.stages import MODEL_FIELD, PARENT_FIELD, REPLICATE_FIELD, ROOT_FIELD, TEMPLATE_FIELD
from genpool.standing import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import polars as pl

    from genpool.catalog import Catalog
    from genpool.coded import Coded
    from genpool.stages import Pipeline, Stage
    from genpool.standing import StageColumns
    from genpool.store import GenerationStore

MADE_STATES: Final = ("own", "reused", "made")
"""The states of what exists."""
ABOVE: Final = "above"
"""The state, in a stage's frame, of what is no member but above one."""

JUDGEMENT: Final = {
    "stage": "String",
    "gen_id": "String",
    "judged_stage": "String",
    "judged_gen_id": "String",
    "rubric": "String",
    "judge": "String",
    "replicate": "Int64",
    "score": "Float64",
    "min": "Float64",
    "max": "Float64",
    "normalised": "Float64",
    "reason": "String",
    "origin": "String",
    "state": "String",
    "problem": "String",
}
"""The columns of every judgement, and their types in polars; docs/scores.md says what each holds."""

COMBO: Final = "combo"
"""The column of the combo that a lineage starts from."""


FRAME: Final = {
    "gen_id": "String",
    "origin": "String",
    "state": "String",
    "score": "Float64",
    "min": "Float64",
    "max": "Float64",
}
"""The columns of a stage's frame and their types, beside the signature's fields.

States are `own`, `reused`, `missing`, `unusable`; `made` where no cohort was asked about; `above` for what is no member
but above one.
"""


def frame_schema(stage: Stage) -> pl.Schema:
    """Return the columns of a stage's frame and their types."""
    import polars as pl

    fields = {name: "Int64" if name == REPLICATE_FIELD else "String" for name in stage.fields}
    return pl.Schema({name: getattr(pl, kind) for name, kind in {**FRAME, **fields}.items()})


def lineage_columns(pipeline: Pipeline, stage: Stage, *, judgement: bool = True) -> dict[str, tuple[Stage, str]]:
    """Return the columns of a stage's lineage: name to the stage and the signature's field that it holds.

    The stage's own axes come first, then the nearest stage, whose id is the field `gen_id`, and so on; then the combo.

    Args:
        pipeline: The pool's stages.
        stage: The stage.
        judgement: Whether these are columns of a judgement, whose own template and model are its rubric and its judge.
    """
    found: dict[str, tuple[Stage, str]] = {}

    def add(of: Stage, fields: Iterable[str]) -> None:
        for field in fields:
            name = COMBO if field == ROOT_FIELD else f"{of.name}_{of.axis_name(field)}"
            if name in found or name in JUDGEMENT or (name == COMBO and field != ROOT_FIELD):
                name = f"{of.name}.{of.axis_name(field)}"
            found[name] = of, field

    own = [one for one in stage.axes if one not in {TEMPLATE_FIELD, MODEL_FIELD}]
    add(stage, own if judgement else (*stage.axes, REPLICATE_FIELD))
    for above in pipeline.ancestors(stage):
        add(above, ("gen_id", *above.axes, REPLICATE_FIELD))
    last = (stage, *pipeline.ancestors(stage))[-1]
    add(last, (ROOT_FIELD,))
    return found


@dataclass(frozen=True, slots=True)
class Axes:
    """What the columns of a table of judgements are called, and what they are."""

    columns: Mapping[str, str]
    """Every name that a person may type to its column: `draft_template`, `draft.template`, `rubric`, `combo`."""
    lineage: tuple[str, ...]
    """The columns that a judged text has, nearest stage first."""
    levels: tuple[str, ...]
    """The columns of choices, root first, then the rubric and the judge; no ids, replicates or combos."""

    def column(self, typed: str) -> str:
        """Return the column of an axis as a person types it.

        Raises:
            DoesNotFit: There is no such axis.
        """
        if typed not in self.columns:
            raise DoesNotFit(f"{typed!r} is not an axis of these judgements", hint=nearest(typed, self.columns))
        return self.columns[typed]


def axes_of(pipeline: Pipeline, stages: Iterable[Stage] | None = None) -> Axes:
    """Return the axes of the judgements of some judging stages; left out, of all of the pipeline."""
    names: dict[str, str] = {one: one for one in ("rubric", "judge", "stage", "judged_stage", "replicate", "origin")}
    lineage: dict[str, None] = {}
    levels: dict[str, None] = {}
    for stage in judging(pipeline) if stages is None else stages:
        names |= {f"{stage.name}.template": "rubric", f"{stage.name}.model": "judge"}
        found = lineage_columns(pipeline, stage)
        for column, (of, field) in found.items():
            names[column] = column
            names.setdefault(f"{of.name}.{COMBO if field == ROOT_FIELD else of.axis_name(field)}", column)
            if of is not stage or field == ROOT_FIELD:
                lineage[column] = None
        chosen = [one for one, (_, field) in found.items() if field not in {"gen_id", REPLICATE_FIELD, ROOT_FIELD}]
        own = [one for one in chosen if found[one][0] is stage]
        levels |= dict.fromkeys([*reversed([one for one in chosen if one not in own]), *own])
    return Axes(names, tuple(lineage), (*levels, "rubric", "judge"))


def aggregated_schema(pipeline: Pipeline, stages: Iterable[Stage] | None = None) -> pl.Schema:
    """Return the columns of `aggregated_scores` and their types, in order.

    Args:
        pipeline: The pool's stages.
        stages: The judging stages that the table has rows of; left out, all of the pipeline.
    """
    import polars as pl

    names = dict(JUDGEMENT)
    for stage in judging(pipeline) if stages is None else stages:
        for name, (_, field) in lineage_columns(pipeline, stage).items():
            names[name] = "Int64" if field == REPLICATE_FIELD else "String"
    return pl.Schema({name: getattr(pl, kind) for name, kind in names.items()})


def judging(pipeline: Pipeline) -> list[Stage]:
    """Return the stages that judge something."""
    return [stage for stage in pipeline if stage.judges]


class Judged(Protocol):
    """What tables are made from: a scope of a cohort, of several, or of the whole pool."""

    @property
    def pipeline(self) -> Pipeline:
        """The pool's stages."""
        ...

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """Return every stage's members in plan order, and what is above members: see `FRAME`."""
        ...

    def reasons(self, stage: Stage, gen_ids: Sequence[str]) -> list[str | None]:
        """Return what judges gave as their reasons; None where a text cannot be read, or gives none."""
        ...


# --- frames of stages -------------------------------------------------------------------------------


def stage_frames(
    pipeline: Pipeline, columns: Mapping[str, StageColumns], open_catalog: Callable[[], Catalog]
) -> dict[str, pl.DataFrame]:
    """Return the frames of all stages: of members, and below them of what is above members and is none itself.

    Args:
        pipeline: The pool's stages.
        columns: The members of every stage that has some.
        open_catalog: Opens the index of the store; it is opened only where something is above that is no member.
    """
    import polars as pl

    frames: dict[str, pl.DataFrame] = {}
    sources: dict[str, list[Sequence[Any]]] = {stage.name: [] for stage in pipeline}
    for stage in reversed(list(pipeline)):
        parts = [columns[stage.name]] if stage.name in columns else []
        ids = parts[0].gen_ids if parts else ()
        unlike = [one for one in sources[stage.name] if one != ids]  # what members start from often is all there is
        above = set(chain.from_iterable(unlike)).difference(ids, (None,)) if unlike else ()
        if above:
            with closing(open_catalog()) as catalog:
                parts.append(columns_of(stage, above, catalog, ABOVE))
        if stage.parent is not None:
            sources[stage.parent].extend(part.fields[PARENT_FIELD].values for part in parts)
        found = [frame_of(part) for part in parts] or [pl.DataFrame(schema=frame_schema(stage))]
        frames[stage.name] = found[0] if len(found) == 1 else pl.concat(found)
    return frames


def frame_of(columns: StageColumns) -> pl.DataFrame:
    """Return the columns of a stage's generations as a frame of `frame_schema`."""
    import polars as pl

    coded: dict[str, Coded[Any]] = {
        "origin": columns.origins,
        "state": columns.states,
        "score": columns.scores,
        "min": columns.least,
        "max": columns.most,
        **columns.fields,
    }
    found = {"gen_id": _values(columns.gen_ids, pl.String())}
    for name, kind in frame_schema(columns.stage).items():
        if name != "gen_id":
            found[name] = _series(coded[name], kind)
    return pl.DataFrame(found)


def _series(column: Coded[Any], kind: pl.DataType) -> pl.Series:
    """Return a column whose values repeat as one of polars; a value that the type does not have is null."""
    import numpy as np
    import polars as pl

    if not len(column):
        return pl.Series(dtype=kind)
    values, codes = _values(column.values, kind), column.codes
    if len(values) == 1:
        return values.new_from_index(0, len(codes))
    places = np.frombuffer(codes, np.uint8) if isinstance(codes, bytes) else np.asarray(codes, np.uint32)
    return values.gather(pl.Series(places))


def _values(values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    """Return some values as a column of polars."""
    import polars as pl

    if not isinstance(values, Texts) or kind != pl.String:
        return pl.Series(values if isinstance(values, list) else list(values), dtype=kind, strict=False)
    if not values.width:
        return pl.Series([values.joined.decode()], dtype=kind).str.split(SEPARATOR.decode()).explode()
    import numpy as np

    shape, step = (len(values), values.width), values.width + len(SEPARATOR)
    texts = pl.Series(np.ascontiguousarray(np.ndarray(shape, np.uint8, values.joined, strides=(step, 1))))
    return texts.cast(pl.List(pl.UInt8)).cast(pl.Binary).cast(pl.String)


# --- a row a judgement ------------------------------------------------------------------------------


def aggregated_scores(
    scope: Judged, *, reasons: bool = False, frames: Mapping[str, pl.DataFrame] | None = None
) -> pl.DataFrame:
    """Return a row a judgement that exists, in plan order: score, scale, reason, origin, the whole lineage in columns.

    Args:
        scope: The scope of a cohort, or of the pool.
        reasons: Whether judges' reasons are read from their texts, a file a judgement; else the column is null.
        frames: The scope's frames, where they were asked for already.

    Returns:
        A frame of `aggregated_schema`: of the judging stages that the scope has members of, or, where it has none of
        any, of all that the pipeline has. `score` and `normalised` are null where `problem` says why.
    """
    import polars as pl

    frames = frames or scope.frames()
    stages = [stage for stage in judging(scope.pipeline) if not frames[stage.name].is_empty()]
    schema = aggregated_schema(scope.pipeline, stages or None)
    made = {stage: frames[stage.name].filter(pl.col("state").is_in(MADE_STATES)) for stage in stages}
    parts = [_judgements(scope.pipeline, stage, rows, frames) for stage, rows in made.items() if not rows.is_empty()]
    if not parts:
        return pl.DataFrame(schema=schema)
    table = parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal")
    if reasons:
        table = _with_reasons(scope, table)
    lacking = [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in table.columns]
    return table.with_columns(lacking).select(schema.names())


def _judgements(
    pipeline: Pipeline, stage: Stage, made: pl.DataFrame, frames: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Return the judgements of one stage with their lineage."""
    import polars as pl

    table = with_lineage(pipeline, stage, made, frames)
    runs_on = pipeline.model_stage(stage)
    if runs_on is None:
        judge = pl.lit(None, pl.String)
    elif runs_on is stage:
        judge = pl.col(MODEL_FIELD)
    else:
        judge = pl.col(f"{runs_on.name}_{runs_on.axis_name(MODEL_FIELD)}")
    rubric = pl.col(TEMPLATE_FIELD) if TEMPLATE_FIELD in stage.axes else pl.lit(stage.name)
    judged = pl.col(PARENT_FIELD) if stage.parent else pl.lit(None, pl.String)
    usable = pl.col("problem").is_null()
    return table.with_columns(problem=_problem()).select(
        pl.lit(stage.name, pl.String).alias("stage"),
        "gen_id",
        pl.lit(stage.parent, pl.String).alias("judged_stage"),
        judged.alias("judged_gen_id"),
        rubric.alias("rubric"),
        judge.alias("judge"),
        "replicate",
        pl.when(usable).then("score").alias("score"),
        "min",
        "max",
        pl.when(usable).then((pl.col("score") - pl.col("min")) / (pl.col("max") - pl.col("min"))).alias("normalised"),
        pl.lit(None, pl.String).alias("reason"),
        "origin",
        "state",
        "problem",
        *lineage_columns(pipeline, stage),
    )


def _problem() -> pl.Expr:
    """Return why a score is none, as a sentence; null where it is one."""
    import polars as pl

    score, least, most = pl.col("score"), pl.col("min"), pl.col("max")
    wrong = score.is_null() | least.is_null() | most.is_null()
    scale = pl.format("{} to {}", least, most)
    return (
        pl.when(wrong)
        .then(pl.lit("its metadata has no score that is a number on a scale"))
        .when(~(most - least).is_finite() | (least >= most))
        .then(pl.format("its scale, {}, is none", scale))
        .when(~score.is_finite())
        .then(pl.lit("its score is not a number"))
        .when((score < least) | (score > most))
        .then(pl.format("its score {} is off its scale {}", score, scale))
        .otherwise(pl.lit(None, pl.String))
    )


def with_lineage(
    pipeline: Pipeline,
    stage: Stage,
    members: pl.DataFrame,
    frames: Mapping[str, pl.DataFrame],
    *,
    judgement: bool = True,
) -> pl.DataFrame:
    """Return members of a stage with the columns of `lineage_columns`; null where something above is not there."""
    import polars as pl

    names = lineage_columns(pipeline, stage, judgement=judgement)
    by_stage: dict[str, list[pl.Expr]] = {one.name: [] for one in pipeline}
    for name, (of, field) in names.items():
        by_stage[of.name].append(pl.col(field).alias(name))
    table = members.with_columns(by_stage[stage.name])
    lineage: pl.DataFrame | None = None  # of all generations of the stage above
    for above in reversed(pipeline.ancestors(stage)):
        own = frames[above.name].select(by_stage[above.name])
        lineage = own if lineage is None else _joined(own, frames[above.name], lineage, frames[str(above.parent)])
    return table if lineage is None else _joined(table, members, lineage, frames[str(stage.parent)])


def _joined(table: pl.DataFrame, below: pl.DataFrame, lineage: pl.DataFrame, above: pl.DataFrame) -> pl.DataFrame:
    """Return a table, a row a generation of `below`, and the lineage of what each starts from, one of `above`."""
    rows = _rows_of(below[PARENT_FIELD], above["gen_id"])
    return table.hstack([lineage[name].gather(rows) for name in lineage.columns if name not in table.columns])


def _rows_of(wanted: pl.Series, gen_ids: pl.Series) -> pl.Series:
    """Return the rows of some ids among others, of which none is there twice; null where one is not there.

    In plan order what starts from the same stands together, and mostly in the order of what it starts from.
    """
    runs = wanted.rle_id()
    firsts = wanted.filter((runs != runs.shift()).fill_null(value=True))
    if firsts.len() == gen_ids.len() and firsts.eq_missing(gen_ids).all():
        return runs
    rows = gen_ids.to_frame("id").with_row_index("row")
    return firsts.to_frame("id").join(rows, on="id", how="left", maintain_order="left")["row"].gather(runs)


def member_lineages(scope: Judged, frames: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
    """Return a row a member, made or not: `stage`, `gen_id`, `origin`, `state`, its axes and its lineage.

    A stage's own axes bear its name, as those above do: `evaluation_template` is what a judgement calls its rubric.

    Args:
        scope: The scope of a cohort, or of the pool.
        frames: Its frames, where they were asked for already.
    """
    import polars as pl

    frames = frames or scope.frames()
    parts = []
    for stage in scope.pipeline:
        members = frames[stage.name].filter(pl.col("state") != ABOVE)
        names = lineage_columns(scope.pipeline, stage, judgement=False)
        table = with_lineage(scope.pipeline, stage, members, frames, judgement=False)
        parts.append(table.select(pl.lit(stage.name).alias("stage"), "gen_id", "origin", "state", *names))
    return pl.concat(parts, how="diagonal")


def _with_reasons(scope: Judged, table: pl.DataFrame) -> pl.DataFrame:
    """Return judgements with the reasons that judges gave."""
    import polars as pl

    said: dict[str, str | None] = {}
    for (name,), part in table.group_by("stage"):
        ids = part["gen_id"].to_list()
        said.update(zip(ids, scope.reasons(scope.pipeline[str(name)], ids), strict=True))
    return table.with_columns(reason=pl.Series([said[one] for one in table["gen_id"]], dtype=pl.String))


def read_reasons(store: GenerationStore, stage: Stage, gen_ids: Iterable[str]) -> list[str | None]:
    """Return the reasons in judgements' texts, each text checked; None where one cannot be read, or gives none."""
    found: list[str | None] = []
    for gen_id in gen_ids:
        try:
            found.append(reason_of(store.text(store.record(stage, gen_id))))
        except (PoolError, InvalidSignature):
            found.append(None)
    return found
