"""Tables of judgements: scores of texts, means by any axes, the best texts, what is there of what is wanted. Pure.

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

from genpool.errors import DoesNotFit, UsageError, nearest
from genpool.from_reader import MEAN_SCORE
from genpool.scores import MADE_STATES, aggregated_scores, axes_of, member_lineages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from genpool.scores import Axes, Judged

Sides = tuple["Sequence[str]", "Sequence[str]"]
"""The columns that make a pivot's rows, and those that make its columns."""

TOP_TEXTS: Final = 30
"""How many texts are in the table of the best, where nobody says how many."""
NORMALISED: Final = "0 to 1 (normalised)"

_CELL: Final = ["stage", "rubric", "judge"]
"""Who speaks: what is averaged over once each."""
_ALL: Final = "all judgements"
_LACKING: Final = "not judged by "
_NOTE_SAYS_WHY: Final = "`note` says why"
_REASONS: Final = 5
_OTHERS: Final = "ids of others"


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and what a reader of it should know."""

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()
    speakers: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    """The columns of scores to judging stage, rubric and judge: names cannot be told apart in `score:a:b:c`."""


# --- what can be averaged ---------------------------------------------------------------------------


def _valued(judgements: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return the judgements that have a score, with `value` to be averaged within groups, and its `scale`.

    A group of one scale keeps it; in one of several, scores are normalised.

    Args:
        judgements: Rows of `aggregated_scores`.
        by: The columns of the groups.
    """
    import polars as pl

    scored = judgements.filter(pl.col("score").is_not_null())
    named = pl.format("{} to {}", _short("min"), _short("max"))
    by = [one for one in by if one in scored.columns]
    scales = scored.select(*by, "min", "max").unique() if by else scored.select("min", "max").unique()
    if scales.select("min", "max").n_unique() <= 1:  # the usual case, and it costs nothing a row
        scale = scales.select(named).item(0, 0) if scales.height else None
        return scored.with_columns(pl.col("score").alias("value"), pl.lit(scale, pl.String).alias("scale"))
    if not by:
        return scored.with_columns(pl.col("normalised").alias("value"), pl.lit(NORMALISED).alias("scale"))
    of_group = scales.group_by(by).agg(
        pl.when(pl.len() == 1).then(named.first()).otherwise(pl.lit(NORMALISED)).first().alias("scale")
    )
    found = scored.join(of_group, on=by, how="left", nulls_equal=True, maintain_order="left")
    value = pl.when(pl.col("scale") == NORMALISED).then("normalised").otherwise("score")
    return found.with_columns(value.alias("value"))


def _short(name: str) -> pl.Expr:
    """Return a number as people write it."""
    import polars as pl

    return pl.col(name).cast(pl.String).str.replace(r"\.0$", "")


def left_out(judgements: pl.DataFrame) -> tuple[str, ...]:
    """Return notes on the judgements that have no score, and on where there is none at all."""
    import polars as pl

    if judgements.is_empty():
        return ("there are no judgements: nothing was judged yet, or no stage judges",)
    wrong = judgements.filter(pl.col("score").is_null())
    notes: list[str] = [
        f"{count} of {judgements.height} judgements left out: {problem} ({gen_id}{', …' if count > 1 else ''})"
        for problem, count, gen_id in wrong.group_by(
            pl.col("problem").str.replace(r"its score .* is off", "its score is off"), maintain_order=True
        )
        .agg(pl.len(), pl.col("gen_id").first())
        .iter_rows()
    ]
    scored = judgements.filter(pl.col("score").is_not_null())
    if scored.is_empty():
        notes.append("no judgement has a score")
    elif scored.height > 1 and scored["normalised"].n_unique() == 1:
        notes.append(f"all {scored.height} scores are equal: they tell nothing apart")
    if not scored.is_empty() and scored["judge"].n_unique() == 1:
        notes.append(f"one judge only, {scored['judge'][0] or 'unnamed'}: nothing says how another would have judged")
    return tuple(notes)


# --- a row a text -----------------------------------------------------------------------------------


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

    valued = _valued(judgements, ["stage", "rubric"])
    named = pl.concat_str("rubric", pl.col("judge").fill_null("-"), separator=":")
    if valued["stage"].n_unique() > 1:
        named = pl.concat_str("stage", named, separator=":")
    means = valued.group_by("judged_gen_id", *_CELL, maintain_order=True).agg(
        pl.col("judged_stage").first(),
        pl.col("value").mean(),
        pl.col("normalised").mean(),
        pl.col("scale").first(),
        pl.len().cast(pl.Int64).alias("n"),
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
        "judged_gen_id", pl.format(_LACKING + "{}", lacking).alias("note")
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
        named = [(f"{_LACKING}{one.removeprefix('score:')}", texts[one].null_count()) for one in columns]
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


# --- means by axes ----------------------------------------------------------------------------------


def mean_scores(judgements: pl.DataFrame, by: Sequence[str], *, one_scale: bool = False) -> Table:
    """Return the mean score of every combination of levels that was judged.

    Args:
        judgements: Rows of `aggregated_scores`.
        by: Columns: see `Axes.column`. Where several stages judge, `stage` comes first, given or not.
        one_scale: Whether all means are on one scale, so that they can be set beside each other.

    Returns:
        The columns, then `mean`, `scale`, `texts`, `judgements` (what the mean is of), `note`; sorted by the columns.
        A text that a rubric or a judge has not spoken of, while others were judged by it, is in no mean; `mean` is null
        where no text is left.
    """
    import polars as pl

    by = _kept_apart(judgements, by)
    valued = _valued(judgements, [] if one_scale else by).with_columns(pl.lit("all").alias(_ALL))
    keys = by or [_ALL]
    speakers = [one for one in _CELL if one not in by]
    per_text = valued.group_by(*dict.fromkeys([*keys, _ALL]), "judged_gen_id", *speakers, maintain_order=True).agg(
        pl.col("value").mean(), pl.col("scale").first(), pl.len().cast(pl.Int64).alias("judgements")
    )
    speaker = pl.concat_str("rubric", pl.col("judge").fill_null("-"), separator=":")
    shared = [one for one in by if one in _CELL] or [_ALL]
    cells = per_text.group_by(*dict.fromkeys([*keys, _ALL]), *speakers, maintain_order=True).agg(
        pl.col("scale").first()
    )
    wanted = cells.group_by(shared).agg(speaker.unique().sort().alias("wanted"))
    spoken = cells.group_by(*dict.fromkeys([*keys, *shared]), maintain_order=True).agg(
        speaker.unique().alias("spoken"), pl.col("scale").first()
    )
    facts = spoken.join(wanted, on=shared, how="left", nulls_equal=True)
    table = facts.join(_of_texts(per_text, keys, speakers, facts), on=keys, how="left", nulls_equal=True)
    table = table.with_columns(_note()).sort(keys, nulls_last=True)
    notes = (*left_out(judgements), *_scale_notes(table))
    return Table(table.select(*by, "mean", "scale", "texts", "judgements", "note"), notes)


def _of_texts(per_text: pl.DataFrame, keys: list[str], speakers: list[str], facts: pl.DataFrame) -> pl.DataFrame:
    """Return the mean over the texts that all have spoken of, how many these are, and how many and which others are.

    A text is the mean of its rubrics, a rubric that of its judges, as it is in `generation_scores` and in a report.
    """
    import polars as pl

    wanted = facts.select(*keys, pl.col("wanted").list.len())
    texts = per_text.with_columns(pl.lit(1).alias("cells"))
    if (wanted["wanted"] > 1).any():  # else nothing is averaged, and it costs nothing
        texts = _rubrics_averaged(per_text, keys, [one for one in speakers if one != "judge"])
    texts = texts.join(wanted, on=keys, how="left", nulls_equal=True, maintain_order="left")
    whole = pl.col("cells") == pl.col("wanted")
    return texts.group_by(keys, maintain_order=True).agg(
        pl.col("value").filter(whole).mean().alias("mean"),
        whole.sum().cast(pl.Int64).alias("texts"),
        pl.col("judgements").filter(whole).sum(),
        (~whole).sum().cast(pl.Int64).alias("others"),
        pl.col("judged_gen_id").filter(~whole).alias(_OTHERS),
    )


def _rubrics_averaged(per_text: pl.DataFrame, keys: list[str], rubrics: list[str]) -> pl.DataFrame:
    """Return a row a text: the mean of its rubrics, each that of its judges, and how many have spoken."""
    import polars as pl

    by_rubric = per_text.group_by(*keys, "judged_gen_id", *rubrics, maintain_order=True).agg(
        pl.col("value").mean(), pl.col("judgements").sum(), pl.len().alias("cells")
    )
    return by_rubric.group_by(*keys, "judged_gen_id", maintain_order=True).agg(
        pl.col("value").mean(), pl.col("judgements", "cells").sum()
    )


def _kept_apart(judgements: pl.DataFrame, by: Sequence[str]) -> list[str]:
    """Return the columns of groups: what several stages judged is never one group."""
    several = judgements["stage"].n_unique() > 1
    return list(dict.fromkeys(["stage", *by] if several and "stage" not in by else by))


def _note() -> pl.Expr:
    """Return what is to be said of a mean; null where nothing is."""
    import polars as pl

    lacking = pl.col("wanted").list.set_difference("spoken").list.sort()
    return (
        pl.when(lacking.list.len() > 0)
        .then(pl.format(_LACKING + "{}", lacking.list.join(", ")))
        .when(pl.col("texts") == 0)
        .then(pl.lit("no text was judged by all of them"))
        .when(pl.col("others") > 0)
        .then(pl.format("of {} alone: other texts lack a rubric or a judge", pl.col("texts")))
        .when(pl.col("texts") == 1)
        .then(pl.lit("one text only"))
        .alias("note")
    )


def _scale_notes(table: pl.DataFrame) -> list[str]:
    import polars as pl

    notes = []
    if (table["scale"] == NORMALISED).any():
        notes.append("different scales were normalised to 0..1 before they were averaged")
    lacking = table.filter(pl.col("mean").is_null()).height
    if lacking:
        notes.append(f"{lacking} of {table.height} means are not given: not every rubric and judge has spoken there")
    others = table[_OTHERS].explode().drop_nulls().n_unique()  # a text can stand in several groups
    if others:
        notes.append(f"not every rubric and judge has spoken of {others} texts: they are in no mean")
    return notes


def pivot(judgements: pl.DataFrame, rows: Sequence[str], columns: Sequence[str]) -> Table:
    """Return means with a row for every combination of some levels and a column for every combination of others.

    All are on one scale. A cell is null where nothing was judged, or where a rubric or a judge has not spoken.

    Args:
        judgements: Rows of `aggregated_scores`.
        rows: Columns whose levels make the rows.
        columns: Columns whose levels make the columns.

    Raises:
        UsageError: An axis is both, or there is none on one side.
    """
    import polars as pl

    both = sorted(set(rows) & set(columns))
    if both or not rows or not columns:
        said = f"{', '.join(both)} is in rows and columns" if both else "a pivot needs axes in rows and in columns"
        raise UsageError(said, hint="for instance `--pivot draft.template rubric`")
    if "stage" not in columns:
        rows = _kept_apart(judgements, rows)
    means = mean_scores(judgements, [*rows, *columns], one_scale=True)
    label = pl.concat_str([pl.col(one).cast(pl.String).fill_null("-") for one in columns], separator=" · ")
    taken = label.is_in(list(rows))  # a level that is called like a column of the rows
    label = pl.when(taken).then(pl.concat_str(label, pl.lit(" (level)"))).otherwise(label)
    labelled = means.frame.with_columns(label.alias(" column"))
    if labelled[" column"].n_unique() < labelled.select(columns).unique().height:
        labelled = labelled.with_columns(pl.struct(columns).struct.json_encode().alias(" column"))
    order = labelled[" column"].unique().sort().to_list()
    wide = labelled.pivot(on=" column", on_columns=order, index=list(rows), values="mean", maintain_order=True)
    return Table(wide, (*_on_scale(means.frame), *means.notes))


def _on_scale(means: pl.DataFrame) -> list[str]:
    """Return the note on which scale the cells of a pivot are."""
    found = means["scale"].drop_nulls().unique().to_list()
    return [f"cells are mean scores on the scale {found[0]}"] if len(found) == 1 else []


def varying(judgements: pl.DataFrame, axes: Axes) -> list[str]:
    """Return the axes of choices that have more than one level in some judgements."""
    here = [one for one in axes.levels if one in judgements.columns]
    return [one for one in here if judgements[one].n_unique() > 1]


# --- what is there ----------------------------------------------------------------------------------


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
    missing, wanted = int(table["missing"].sum()), int(table["wanted"].sum())
    if missing:
        notes.append(f"half run: {missing} of {wanted} members are missing; what is said is said of the rest")
    if int(table["unusable"].sum()):
        notes.append(f"{table['unusable'].sum()} members are unusable; `genpool status` says which and why")
    return Table(table, tuple(notes))


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
    judgements, axes = aggregated_scores(scope, reasons=reasons), axes_of(scope.pipeline)
    levels = varying(judgements, axes)
    scores = generation_scores(judgements, axes)
    found = {
        "aggregated_scores": Table(judgements, left_out(judgements)),
        "generation_scores": scores,
        "mean_scores": mean_scores(judgements, levels),
        "top_texts": _top_or_why_not(scores, top),
        "coverage": coverage(member_lineages(scope), judgements),
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
