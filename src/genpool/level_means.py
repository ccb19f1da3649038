"""The mean score of every combination of levels, as rows or as a pivot; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.averages import CELL, LACKING, NORMALISED, Table, is_one, left_out, valued_rows
from genpool.errors import UsageError
from genpool.groups import grouped, regrouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from genpool.groups import Groups, Numbers

_ALL: Final = "all judgements"
_GROUP: Final = "number of a group"


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
    valued = valued_rows(judgements, [] if one_scale else by).with_columns(pl.lit("all").alias(_ALL))
    keys = by or [_ALL]
    speakers = [one for one in CELL if one not in by]
    rows = grouped(*(valued[one] for one in keys))
    opinions = _Opinions.of(valued, rows, speakers)
    named = valued[opinions.cells].select(*dict.fromkeys([*keys, _ALL, *CELL]), "scale")
    named = named.with_columns(pl.Series(_GROUP, rows.numbers[opinions.cells]))
    speaker = pl.concat_str("rubric", pl.col("judge").fill_null("-"), separator=":")
    shared = [one for one in by if one in CELL] or [_ALL]
    wanted = named.group_by(shared).agg(speaker.unique().sort().alias("wanted"))
    spoken = named.group_by(*dict.fromkeys([*keys, *shared]), maintain_order=True).agg(
        speaker.unique().alias("spoken"), pl.col("scale", _GROUP).first()
    )
    facts = spoken.join(wanted, on=shared, how="left", nulls_equal=True)
    texts = _texts(opinions, facts.sort(_GROUP)["wanted"].list.len().to_numpy())
    means = _means(valued.select(keys)[texts["row"]], texts)
    table = facts.join(means, on=keys, how="left", nulls_equal=True)
    table = table.with_columns(_note()).sort(keys, nulls_last=True)
    others = texts.filter(~pl.col("whole"))["text"].drop_nulls().n_unique()  # a text can stand in several groups
    notes = (*left_out(judgements), *_scale_notes(table, others))
    return Table(table.select(*by, "mean", "scale", "texts", "judgements", "note"), notes)


@dataclass(frozen=True, slots=True)
class _Opinions:
    """What each rubric and judge came to of each text, in each group: repeated judgements averaged."""

    groups: Groups
    texts: Groups
    rubrics: Groups
    """The groups, the texts and the rubrics of the opinions; a rubric is one of its stage."""
    values: Numbers
    judgements: Numbers
    """How many each is of."""
    rows: Numbers
    """The first judgement of each."""
    cells: Numbers
    """The first judgement of everyone who has spoken in a group."""

    @classmethod
    def of(cls, valued: pl.DataFrame, rows: Groups, speakers: Sequence[str]) -> _Opinions:
        """Return the opinions of some judgements, whose groups are given."""
        texts = grouped(valued["judged_gen_id"])
        named = {one: grouped(valued[one]) for one in speakers}
        cells = grouped(rows, *named.values())
        rubrics = grouped(rows, *(one for name, one in named.items() if name != "judge"))
        found = grouped(cells, texts)
        return cls(
            regrouped(rows, found.firsts),
            regrouped(texts, found.firsts),
            regrouped(rubrics, found.firsts),
            found.means(valued["value"].to_numpy()),
            found.sizes(),
            found.firsts,
            cells.firsts,
        )


def _texts(opinions: _Opinions, wanted: Numbers) -> pl.DataFrame:
    """Return a row a text and group: the mean of its rubrics, each that of its judges, and whether all have spoken.

    So it is in `generation_scores` and in a report, too.

    Args:
        opinions: Of groups.
        wanted: How many speak in each group.

    Returns:
        Columns `row` (its first judgement), `text` (its number), `value`, `judgements`, `whole`.
    """
    import numpy as np
    import polars as pl

    groups, texts, rows = opinions.groups.numbers, opinions.texts.numbers, opinions.rows
    values, judgements, cells = opinions.values, opinions.judgements, np.ones(len(rows), np.int64)
    if (wanted > 1).any():  # else nothing is averaged, and it costs nothing
        by_rubric = grouped(opinions.texts, opinions.groups, opinions.rubrics)
        by_text = grouped(*(regrouped(one, by_rubric.firsts) for one in (opinions.texts, opinions.groups)))
        values = by_text.means(by_rubric.means(values))
        judgements, cells = (by_text.sums(by_rubric.sums(one)) for one in (judgements, cells))
        firsts = by_rubric.firsts[by_text.firsts]
        groups, texts, rows = groups[firsts], texts[firsts], rows[firsts]
    whole = cells == wanted[groups]
    return pl.DataFrame({"row": rows, "text": texts, "value": values, "judgements": judgements, "whole": whole})


def _means(keys: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Return a row a group: the mean over the texts that all have spoken of, how many these are, and how many others.

    Args:
        keys: The columns that make the groups.
        texts: What `_texts` returned.
    """
    import polars as pl

    whole = pl.col(" whole")
    found = keys.hstack([texts[one].alias(f" {one}") for one in ("value", "judgements", "whole")])
    return found.group_by(keys.columns, maintain_order=True).agg(
        pl.col(" value").filter(whole).mean().alias("mean"),
        whole.sum().cast(pl.Int64).alias("texts"),
        pl.col(" judgements").filter(whole).sum().alias("judgements"),
        (~whole).sum().cast(pl.Int64).alias("others"),
    )


def _kept_apart(judgements: pl.DataFrame, by: Sequence[str]) -> list[str]:
    """Return the columns of groups: what several stages judged is never one group."""
    several = not is_one(judgements["stage"])
    return list(dict.fromkeys(["stage", *by] if several and "stage" not in by else by))


def _note() -> pl.Expr:
    """Return what is to be said of a mean; null where nothing is."""
    import polars as pl

    lacking = pl.col("wanted").list.set_difference("spoken").list.sort()
    return (
        pl.when(lacking.list.len() > 0)
        .then(pl.format(LACKING + "{}", lacking.list.join(", ")))
        .when(pl.col("texts") == 0)
        .then(pl.lit("no text was judged by all of them"))
        .when(pl.col("others") > 0)
        .then(pl.format("of {} alone: other texts lack a rubric or a judge", pl.col("texts")))
        .when(pl.col("texts") == 1)
        .then(pl.lit("one text only"))
        .alias("note")
    )


def _scale_notes(table: pl.DataFrame, others: int) -> list[str]:
    import polars as pl

    notes = []
    if (table["scale"] == NORMALISED).any():
        notes.append("different scales were normalised to 0..1 before they were averaged")
    lacking = table.filter(pl.col("mean").is_null()).height
    if lacking:
        notes.append(f"{lacking} of {table.height} means are not given: not every rubric and judge has spoken there")
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
