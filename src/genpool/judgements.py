"""Judgements as statistics see them: what of them counts, what their axes are, and what each judged text came to.

Repeated judgements of a text by one judge are averaged, then its judges, so that a text is one number a rubric however
often it was judged. A *family* is the texts that differ in replicates only; texts that start from the same combo are
not independent of one another, so the combo is what is resampled (`intervals`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.stages import MODEL_FIELD, REPLICATE_FIELD, ROOT_FIELD, TEMPLATE_FIELD

if TYPE_CHECKING:
    import polars as pl

    from genpool.stages import Pipeline, Stage

TEXT: Final = "judged_gen_id"
COMBO: Final = "combo"
RUBRIC: Final = "rubric"
JUDGE: Final = "judge"
VALUE: Final = "value"

OVERALL: Final = "all rubrics"
"""What the mean over the rubrics is called where there are several."""

_NO_LINEAGE: Final = "what it judged, or something above that, is not there"


@dataclass(frozen=True, slots=True)
class Scale:
    """What the scores of a rubric are measured by."""

    low: float
    high: float
    normalised: bool = False
    """Whether the scores had different scales and were brought to 0 to 1."""

    def __str__(self) -> str:
        said = f"{self.low:g} to {self.high:g}"
        return f"{said}, normalised" if self.normalised else said


@dataclass(frozen=True, slots=True)
class Judgements:
    """The judgements of one judging stage that count."""

    stage: str
    judged: str
    """The stage whose texts were judged."""
    frame: pl.DataFrame
    """A row a judgement: `aggregated_scores`, with its score on the rubric's scale as `value`."""
    axes: dict[str, str]
    """The columns of the axes that the judged texts have, nearest the root first, to what a person calls them."""
    scales: dict[str, Scale]
    """Rubric to its scale."""
    overall: Scale
    """The scale of the mean over the rubrics."""
    left_out: dict[str, int]
    """Why judgements do not count, to how many."""

    @property
    def rubrics(self) -> tuple[str, ...]:
        """The rubrics, sorted."""
        return tuple(self.scales)

    @property
    def measures(self) -> dict[str, Scale]:
        """What texts are compared by: the mean over the rubrics, where there are several, and every rubric."""
        return {OVERALL: self.overall, **self.scales} if len(self.scales) > 1 else dict(self.scales)

    @property
    def varied(self) -> tuple[str, ...]:
        """The axes that have several levels."""
        return tuple(axis for axis in self.axes if self.frame[axis].n_unique() > 1)


def text_axes(pipeline: Pipeline, stage: Stage, lineage: dict[str, tuple[Stage, str]]) -> dict[str, str]:
    """Return the columns that say which choices a judged text is of, nearest the root first, to their names.

    Args:
        pipeline: The pool's stages.
        stage: The judging stage.
        lineage: Its columns of `scores.lineage_columns`.
    """
    order = [above.name for above in reversed(pipeline.ancestors(stage))] + [stage.name]
    axes = [
        (order.index(of.name), name, f"{of.name} {of.axis_name(field)}")
        for name, (of, field) in lineage.items()
        if field not in {"gen_id", REPLICATE_FIELD, ROOT_FIELD} and (of != stage or field not in _JUDGING)
    ]
    return {name: said for _, name, said in sorted(axes, key=lambda one: one[0])}


_JUDGING: Final = {TEMPLATE_FIELD, MODEL_FIELD}
"""The fields of a judging stage that are its rubric and its judge."""


def judgements_of(scores: pl.DataFrame, stage: Stage, axes: dict[str, str]) -> Judgements:
    """Return what counts of the judgements of one stage.

    Args:
        scores: `aggregated_scores`.
        stage: The judging stage.
        axes: Its `text_axes`.
    """
    import polars as pl

    mine = scores.filter(pl.col("stage") == stage.name)
    unread = pl.col(COMBO).is_null() | pl.col(TEXT).is_null()
    why = pl.when(pl.col("score").is_null()).then("problem").when(unread).then(pl.lit(_NO_LINEAGE))
    told = mine.select(why.alias("why"))["why"].drop_nulls().value_counts(sort=True)
    good = mine.filter(pl.col("score").is_not_null() & pl.col("score").is_finite() & ~unread)
    good = good.with_columns(pl.col(RUBRIC).fill_null(stage.name), pl.col(JUDGE).fill_null("unknown judge"))
    scales = {}
    for (rubric,), part in sorted(good.group_by(RUBRIC), key=lambda one: str(one[0][0])):
        bounds = part.select("min", "max").unique().rows()
        scales[str(rubric)] = Scale(*bounds[0]) if len(bounds) == 1 else Scale(0.0, 1.0, normalised=True)
    uneven = [rubric for rubric, scale in scales.items() if scale.normalised]
    value = pl.when(pl.col(RUBRIC).is_in(uneven)).then("normalised").otherwise("score")
    ways = set(scales.values())
    return Judgements(
        stage=stage.name,
        judged=stage.parent or "combo",
        frame=good.with_columns(value.alias(VALUE)),
        axes=axes,
        scales=scales,
        overall=ways.pop() if len(ways) == 1 else Scale(0.0, 1.0, normalised=True),
        left_out=dict(told.rows()),
    )


def text_means(judgements: Judgements) -> pl.DataFrame:
    """Return a row a judged text and measure: the mean of its judges' means.

    A text that one of a rubric's judges has not judged has no mean by it, and without one of the rubrics none over
    them: what fewer said is another number. Columns: the text, combo, axes, `measure`, `value`, `judgements`.
    """
    import polars as pl

    keys = [TEXT, COMBO, *judgements.axes]
    by_judge = (
        judgements.frame.group_by(*keys, RUBRIC, JUDGE)
        .agg(pl.col(VALUE).mean(), pl.col("normalised").mean(), pl.len().alias("judgements"))
        .sort(TEXT, RUBRIC, JUDGE)
    )
    judges = judgements.frame.group_by(RUBRIC).agg(pl.col(JUDGE).n_unique().alias("wanted"))
    by_rubric = (
        by_judge.group_by(*keys, RUBRIC, maintain_order=True)
        .agg(pl.col(VALUE).mean(), pl.col("normalised").mean(), pl.col("judgements").sum(), pl.len().alias("judges"))
        .join(judges, on=RUBRIC, maintain_order="left")
        .filter(pl.col("judges") == pl.col("wanted"))
    )
    parts = [by_rubric.select(*keys, pl.col(RUBRIC).alias("measure"), VALUE, "judgements")]
    if len(judgements.scales) > 1:
        parts.insert(0, _overall(by_rubric, keys, judgements))
    return pl.concat(parts).sort("measure", TEXT)


def _overall(by_rubric: pl.DataFrame, keys: list[str], judgements: Judgements) -> pl.DataFrame:
    """Return the mean over the rubrics of every text that all of them judged."""
    import polars as pl

    value = "normalised" if judgements.overall.normalised else VALUE
    return (
        by_rubric.group_by(*keys, maintain_order=True)
        .agg(pl.col(value).mean().alias(VALUE), pl.col("judgements").sum(), pl.len().alias("rubrics"))
        .filter(pl.col("rubrics") == len(judgements.scales))
        .select(*keys, pl.lit(OVERALL).alias("measure"), VALUE, "judgements")
    )
