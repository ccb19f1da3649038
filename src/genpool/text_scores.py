"""A row a judged text: its scores, their mean over the rubrics, and the best texts by them; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from genpool.averages import CELL, LACKING, NORMALISED, Table, left_out, valued_rows
from genpool.errors import DoesNotFit, UsageError, nearest
from genpool.from_reader import MEAN_SCORE
from genpool.groups import grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from genpool.scores import Axes

_NOTE_SAYS_WHY: Final = "`note` says why"
_REASONS: Final = 5


def generation_scores(judgements: pl.DataFrame, axes: Axes) -> Table:
    """Return a row a judged text: its lineage, a column a rubric and judge, and the mean over rubrics.

    Args:
        judgements: Rows of `aggregated_scores`.
        axes: The axes of these.

    Returns:
        Columns `judged_stage`, `judged_gen_id`, the lineage, `mean_score`, `scale`, `judgements`, `note`, and for every
        rubric and judge `score:<rubric>:<judge>` (the mean over repeated judgements) and `n:<rubric>:<judge>`. A rubric
        that was asked on several scales has normalised scores in its columns.
    """
    import polars as pl

    texts = judgements.unique("judged_gen_id", keep="first", maintain_order=True).select(
        "judged_stage", "judged_gen_id", *(one for one in axes.lineage if one in judgements.columns)
    )
    per = _per_text(judgements)
    means = _mean_over_rubrics(per)
    table = (
        texts.join(means, on="judged_gen_id", how="left", maintain_order="left")
        .with_columns(
            pl.col("judgements").fill_null(0),
            pl.col("note").fill_null("none of its judgements has a score"),
        )
        .with_columns(pl.when(pl.col("note") != "").then("note").alias("note"))
    )
    speakers = per.select("cell", "stage", "rubric", pl.col("judge").fill_null("-")).unique("cell").sort("cell")
    for cell in speakers["cell"]:
        one = per.filter(pl.col("cell") == cell).select(
            "judged_gen_id", pl.col("value").alias(f"score:{cell}"), pl.col("n").alias(f"n:{cell}")
        )
        table = table.join(one, on="judged_gen_id", how="left", maintain_order="left")
    notes = list(left_out(judgements))
    mixed = per.filter(pl.col("scale") == NORMALISED)["rubric"].unique().sort().to_list()
    if mixed:
        notes.append(f"asked on several scales, so normalised to 0..1: {', '.join(mixed)}")
    if (table["scale"] == NORMALISED).any():
        notes.append("mean_score is over different scales: each was normalised to 0..1 first")
    incomplete = table.filter(pl.col(MEAN_SCORE).is_null()).height
    if incomplete:
        notes.append(f"{incomplete} of {table.height} texts have no mean_score: {_NOTE_SAYS_WHY}")
    return Table(table, tuple(notes), {f"score:{cell}": (a, b, c) for cell, a, b, c in speakers.rows()})


def _per_text(judgements: pl.DataFrame) -> pl.DataFrame:
    """Return a row for every text, rubric and judge: the mean over repeated judgements."""
    import polars as pl

    valued = valued_rows(judgements, ["stage", "rubric"])
    named = pl.concat_str("rubric", pl.col("judge").fill_null("-"), separator=":")
    if valued["stage"].n_unique() > 1:
        named = pl.concat_str("stage", named, separator=":")
    found = grouped(*(valued[one] for one in ("judged_gen_id", *CELL)))
    means = valued.select("judged_gen_id", *CELL, "judged_stage", "scale")[found.firsts].with_columns(
        *(pl.Series(one, found.means(valued[one].to_numpy())).fill_nan(None) for one in ("value", "normalised")),
        pl.Series("n", found.sizes(), pl.Int64),
    )
    return means.with_columns(named.alias("cell"))


def _mean_over_rubrics(per: pl.DataFrame) -> pl.DataFrame:
    """Return mean, scale, number of judgements and note of every text; a note is empty where all is well."""
    import polars as pl

    scale = pl.col("scale")
    stages = per.group_by("judged_stage").agg(
        pl.when((scale.n_unique() == 1) & (scale.first() != NORMALISED))
        .then(scale.first())
        .otherwise(pl.lit(NORMALISED))
        .alias("scale"),
        pl.col("cell").n_unique().alias("wanted"),
        pl.col("stage").unique().sort().alias("judging"),
    )
    spoken = per.drop("scale").join(stages, on="judged_stage", how="left", nulls_equal=True, maintain_order="left")
    spoken = spoken.with_columns(pl.when(scale == NORMALISED).then("normalised").otherwise("value").alias("value"))
    rubrics = spoken.group_by("judged_gen_id", "stage", "rubric", maintain_order=True).agg(
        pl.col("value").mean(), pl.col("n").sum(), pl.len().alias("cells"), pl.col("scale", "wanted", "judging").first()
    )
    means = rubrics.group_by("judged_gen_id", maintain_order=True).agg(
        pl.col("value").mean().alias(MEAN_SCORE),
        pl.col("n").sum().alias("judgements"),
        pl.col("cells").sum(),
        pl.col("scale", "wanted", "judging").first(),
    )
    mixed = pl.col("judging").list.len() > 1
    apart = pl.format("judged by several stages, which are never mixed: {}", pl.col("judging").list.join(", "))
    lacking = pl.col("cells") < pl.col("wanted")
    notes = _lacking(per, means.filter(lacking)["judged_gen_id"])
    return means.join(notes, on="judged_gen_id", how="left", maintain_order="left").select(
        "judged_gen_id",
        pl.when(~lacking & ~mixed).then(MEAN_SCORE).alias(MEAN_SCORE),
        pl.when(~mixed).then("scale").alias("scale"),
        "judgements",
        pl.when(mixed).then(apart).otherwise(pl.col("note").fill_null("")).alias("note"),
    )


def _lacking(per: pl.DataFrame, texts: pl.Series) -> pl.DataFrame:
    """Return the note on which rubrics and judges have not spoken of some texts."""
    import polars as pl

    some = per.join(texts.to_frame(), on="judged_gen_id", how="semi")
    wanted = per.group_by("judged_stage").agg(pl.col("cell").unique().alias("wanted"))
    found = some.group_by("judged_gen_id").agg(pl.col("judged_stage").first(), "cell")
    lacking = pl.col("wanted").list.set_difference("cell").list.sort().list.join(", ")
    return found.join(wanted, on="judged_stage", how="left", nulls_equal=True).select(
        "judged_gen_id", pl.format(LACKING + "{}", lacking).alias("note")
    )


def top_texts(scores: Table, number: int, by: str = MEAN_SCORE) -> Table:
    """Return the best texts, best first; of equal ones the first by id.

    Args:
        scores: What `generation_scores` returned.
        number: How many.
        by: `mean_score`, a rubric, or `<rubric>:<judge>`; where several stages judge, `<stage>:` may stand before it.

    Raises:
        DoesNotFit: Nothing was judged so, or several stages have judged so.
        UsageError: The number is none from 1.
    """
    import polars as pl

    if number < 1:
        raise UsageError(f"the best {number} texts are none", hint="name a whole number from 1")
    columns = _columns_by(scores, by)
    ranked = scores.frame.with_columns(
        pl.mean_horizontal(columns, ignore_nulls=False).alias("by") if columns else pl.lit(None, pl.Float64).alias("by")
    )
    order = pl.col("by").round(12)  # equal means need not be equal in their last bit
    rankable = ranked.filter(pl.col("by").is_not_null()).sort(order, "judged_gen_id", descending=[True, False])
    notes = [one for one in scores.notes if not one.endswith(_NOTE_SAYS_WHY)]  # the rows that have one are left out
    without = ranked.filter(pl.col("by").is_null())
    if without.height:
        said = f"{without.height} of {ranked.height} texts are not ranked: they have no {by}"
        notes.append(f"{said} ({_what_lacks(without, by, columns)})")
    return Table(rankable.head(number).drop("by"), tuple(notes))


def _what_lacks(texts: pl.DataFrame, by: str, columns: Sequence[str]) -> str:
    """Say what texts lack that have no score of those they are ranked by, and how many lack it."""
    if by == MEAN_SCORE:
        counts = texts["note"].value_counts(sort=True).sort("count", "note", descending=[True, False]).rows()
    else:
        named = [(f"{LACKING}{one.removeprefix('score:')}", texts[one].null_count()) for one in columns]
        counts = [(said, count) for said, count in named if count]
    return "; ".join(f"{count:,}: {said}" for said, count in counts[:_REASONS])


def _columns_by(scores: Table, by: str) -> list[str]:
    """Return the columns whose mean is what texts are ranked by."""
    import polars as pl

    if by == MEAN_SCORE:
        there = scores.frame.filter(pl.col(MEAN_SCORE).is_not_null())
        stages = there["judged_stage"].unique().sort().to_list() if "judged_stage" in there.columns else []
        judging = sorted({stage for stage, _, _ in scores.speakers.values()})
        if len(stages) > 1:
            said = f"texts of several stages were judged, which are never ranked together: {', '.join(stages)}"
            raise DoesNotFit(said, hint=f"rank by one of {', '.join(_known(scores))}")
        if not stages and len(judging) > 1:
            said = f"several stages have judged these texts, which are never mixed: {', '.join(judging)}"
            raise DoesNotFit(said, hint=f"rank by one of {', '.join(_known(scores))}")
        return [MEAN_SCORE]
    exact = [one for one in scores.speakers if one == f"score:{by}"]
    found = exact or [
        one
        for one, (stage, rubric, judge) in scores.speakers.items()
        if by in (rubric, f"{rubric}:{judge}", f"{stage}:{rubric}", f"{stage}:{rubric}:{judge}")
    ]
    if not found:
        raise DoesNotFit(f"nothing was judged by {by!r}", hint=nearest(by, [MEAN_SCORE, *_known(scores)]))
    stages = sorted({scores.speakers[one][0] for one in found})
    if len(stages) > 1:
        said = f"several stages have judged by {by!r}, which are never mixed"
        raise DoesNotFit(said, hint=f"say {' or '.join(f'{stage}:{by}' for stage in stages)}")
    return found


def _known(scores: Table) -> list[str]:
    """Return what texts can be ranked by beside their mean."""
    rubrics = {one.removeprefix("score:").removesuffix(f":{judge}") for one, (_, _, judge) in scores.speakers.items()}
    return [*sorted(rubrics), *(one.removeprefix("score:") for one in scores.speakers)]
