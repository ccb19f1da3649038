"""The tables of a scope: of judgements, of texts, of levels, the best texts, and what is there of what is wanted.

How scores become means is in `averages`; texts' scores are in `text_scores`, means by levels in `level_means`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from genpool.averages import NORMALISED, Table, is_one, left_out
from genpool.errors import UsageError
from genpool.level_means import mean_scores, pivot
from genpool.scores import MADE_STATES, aggregated_scores, axes_of, member_lineages
from genpool.text_scores import generation_scores, top_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from genpool.scores import Axes, Judged

__all__ = [
    "NORMALISED",
    "TOP_TEXTS",
    "Sides",
    "Table",
    "all_tables",
    "coverage",
    "generation_scores",
    "left_out",
    "mean_scores",
    "pivot",
    "top_texts",
    "varying",
]

Sides = tuple["Sequence[str]", "Sequence[str]"]
"""The columns that make a pivot's rows, and those that make its columns."""

TOP_TEXTS: Final = 30
"""How many texts are in the table of the best, where nobody says how many."""


def varying(judgements: pl.DataFrame, axes: Axes) -> list[str]:
    """Return the axes of choices that have more than one level in some judgements."""
    here = [one for one in axes.levels if one in judgements.columns]
    return [one for one in here if not is_one(judgements[one])]


def coverage(members: pl.DataFrame, judgements: pl.DataFrame, by: Sequence[str] | None = None) -> Table:
    """Return how much of what is wanted is made and judged, for every combination of levels of every stage.

    Args:
        members: Rows of `member_lineages`.
        judgements: Rows of `aggregated_scores`.
        by: Columns of the members; left out, every axis that has several levels, but for combos.

    Returns:
        Columns `stage`, the axes, `wanted`, `made`, `missing`, `unusable`, and `judged`: how many of what is made have
        a score, null for a stage that nothing judges.
    """
    import polars as pl

    chosen = _choices(members) if by is None else list(dict.fromkeys(by))
    scored = judgements.filter(pl.col("score").is_not_null()).select(
        pl.col("judged_stage").alias("stage"), pl.col("judged_gen_id").alias("gen_id"), pl.lit(1).alias("scored")
    )
    judged_stages = judgements["judged_stage"].drop_nulls().unique().to_list()
    state = pl.col("state")
    table = (
        members.join(scored.unique(), on=["stage", "gen_id"], how="left", maintain_order="left")
        .group_by("stage", *chosen, maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("wanted"),
            state.is_in(MADE_STATES).sum().cast(pl.Int64).alias("made"),
            (state == "missing").sum().cast(pl.Int64).alias("missing"),
            (state == "unusable").sum().cast(pl.Int64).alias("unusable"),
            pl.col("scored").sum().cast(pl.Int64).alias("judged"),
        )
        .with_columns(pl.when(pl.col("stage").is_in(judged_stages)).then("judged").alias("judged"))
    )
    notes = ["there are no members: nothing is wanted, and nothing was made"] if table.is_empty() else []
    notes += half_run(members)
    if int(table["unusable"].sum()):
        notes.append(f"{table['unusable'].sum()} members are unusable; `genpool status` says which and why")
    return Table(table, tuple(notes))


def half_run(members: pl.DataFrame) -> list[str]:
    """Return a note where members are missing (`scores.member_lineages`), so that tables are of what there is."""
    missing = int((members["state"] == "missing").sum())
    if not missing:
        return []
    return [f"half run: {missing} of {len(members)} members are missing; what is said is said of the rest"]


def _choices(members: pl.DataFrame) -> list[str]:
    """Return the columns of choices that have several levels: no ids, replicates or combos."""
    fixed = {"stage", "gen_id", "origin", "state", "combo"}
    names = [one for one in members.columns if one not in fixed and not one.endswith(("_gen_id", "_replicate"))]
    return [one for one in names if members[one].drop_nulls().n_unique() > 1]


def all_tables(
    scope: Judged, *, reasons: bool = False, top: int = TOP_TEXTS, pivots: Sequence[Sides] = ()
) -> dict[str, Table]:
    """Return every table of a scope by name: what `genpool tables` writes.

    Args:
        scope: What was judged.
        reasons: Whether to read the judges' reasons.
        top: How many texts are in `top_texts`.
        pivots: The columns that make rows and those that make columns, of every pivot asked for. One by the judged
            texts' first two axes of several levels is made anyway, where there are two.

    Raises:
        UsageError: A pivot cannot be made so, or the number is not one.
    """
    frames, axes = scope.frames(), axes_of(scope.pipeline)
    judgements = aggregated_scores(scope, reasons=reasons, frames=frames)
    levels = varying(judgements, axes)
    scores = generation_scores(judgements, axes)
    found = {
        "aggregated_scores": Table(judgements, left_out(judgements)),
        "generation_scores": scores,
        "mean_scores": mean_scores(judgements, levels),
        "top_texts": _top_or_why_not(scores, top),
        "coverage": coverage(member_lineages(scope, frames), judgements),
    }
    usual = [((levels[0],), (levels[1],))] if len(levels) > 1 else []
    return found | {_pivot_name(*sides): pivot(judgements, *sides) for sides in (*usual, *pivots)}


def _top_or_why_not(scores: Table, number: int) -> Table:
    """Return the best texts; none and the reason where they cannot be ranked together."""
    if number < 1:
        return top_texts(scores, number)
    try:
        return top_texts(scores, number)
    except UsageError as error:
        return Table(scores.frame.clear(), (*scores.notes, f"there are no top_texts: {error}"))


def _pivot_name(rows: Sequence[str], columns: Sequence[str]) -> str:
    """Return what a pivot's files are called; no axis has a plus sign in its name."""
    return f"pivot_{'+'.join(rows)}_by_{'+'.join(columns)}"
