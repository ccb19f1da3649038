"""What every table of scores stands on: which judgements can be averaged, on which scale, and what is said of the rest.

What is compared is made comparable or is not compared:

- Repeated judgements of a text by one rubric and one judge are averaged first: they are one opinion, not several texts.
- A text is the mean of its rubrics, a rubric that of its judges, however often each spoke; a text that not all have
  spoken of is in no mean.
- Scores on different scales are normalised to 0..1 before they are averaged, and the column `scale` says so.

Where there is no number to give, `note` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

NORMALISED: Final = "0 to 1 (normalised)"

CELL: Final = ("stage", "rubric", "judge")
"""Who speaks: what is averaged over once each."""
LACKING: Final = "not judged by "


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and what a reader of it should know."""

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()
    speakers: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    """The columns of scores to judging stage, rubric and judge: names cannot be told apart in `score:a:b:c`."""


def valued_rows(judgements: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return the judgements that have a score, with `value` to be averaged within groups, and its `scale`.

    A group of one scale keeps it; in one of several, scores are normalised.

    Args:
        judgements: Rows of `aggregated_scores`.
        by: The columns of the groups.
    """
    import polars as pl

    scored = judgements.drop_nulls("score") if judgements["score"].null_count() else judgements
    named = pl.format("{} to {}", _short("min"), _short("max"))
    if all(is_one(scored[end]) for end in ("min", "max")):  # the usual case, and it costs nothing a row
        scale = scored.head(1).select(named).item(0, 0) if scored.height else None
        return scored.with_columns(pl.col("score").alias("value"), pl.lit(scale, pl.String).alias("scale"))
    by = [one for one in by if one in scored.columns]
    scales = scored.select(*by, "min", "max").unique()
    if not by:
        return scored.with_columns(pl.col("normalised").alias("value"), pl.lit(NORMALISED).alias("scale"))
    of_group = scales.group_by(by).agg(
        pl.when(pl.len() == 1).then(named.first()).otherwise(pl.lit(NORMALISED)).first().alias("scale")
    )
    found = scored.join(of_group, on=by, how="left", nulls_equal=True, maintain_order="left")
    value = pl.when(pl.col("scale") == NORMALISED).then("normalised").otherwise("score")
    return found.with_columns(value.alias("value"))


def is_one(column: pl.Series) -> bool:
    """Return whether all rows have the same."""
    return column.is_empty() or bool(column.eq_missing(column[0]).all())


def _short(name: str) -> pl.Expr:
    """Return a number as people write it."""
    import polars as pl

    return pl.col(name).cast(pl.String).str.replace(r"\.0$", "")


def left_out(judgements: pl.DataFrame) -> tuple[str, ...]:
    """Return notes on the judgements that have no score, and on where there is none at all."""
    import polars as pl

    if judgements.is_empty():
        return ("there are no judgements: nothing was judged yet, or no stage judges",)
    unscored = judgements["score"].null_count()
    wrong = judgements.filter(pl.col("score").is_null()) if unscored else judgements.clear()
    notes: list[str] = [
        f"{count} of {judgements.height} judgements left out: {problem} ({gen_id}{', …' if count > 1 else ''})"
        for problem, count, gen_id in wrong.group_by(
            pl.col("problem").str.replace(r"its score .* is off", "its score is off"), maintain_order=True
        )
        .agg(pl.len(), pl.col("gen_id").first())
        .iter_rows()
    ]
    scored = judgements.drop_nulls("score") if unscored else judgements
    if scored.is_empty():
        notes.append("no judgement has a score")
    elif scored.height > 1 and is_one(scored["normalised"]):
        notes.append(f"all {scored.height} scores are equal: they tell nothing apart")
    if not scored.is_empty() and is_one(scored["judge"]):
        notes.append(f"one judge only, {scored['judge'][0] or 'unnamed'}: nothing says how another would have judged")
    return tuple(notes)
