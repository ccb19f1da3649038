"""`genpool scores`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from genpool.scores import Axes, Judged
    from genpool.tables import Table


@click.command("scores")
@click.argument("cohort", nargs=-1)
@click.option("--by", multiple=True, metavar="AXIS,…", help="The axes whose levels are told apart.")
@click.option(
    "--pivot", nargs=2, metavar="ROWS COLUMNS", help="A row a level of some axes, a column a level of others."
)
@click.option("--top", type=int, metavar="N", help="The N best texts.")
@click.option("--rank", metavar="SCORE", help="What --top goes by: mean_score (default), a rubric, or RUBRIC:JUDGE.")
@click.option("--coverage", is_flag=True, help="How much of what is wanted is made and judged.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(
    root: str | None,
    cohort: tuple[str, ...],
    *,
    by: tuple[str, ...],
    pivot: tuple[str, str] | None,
    top: int | None,
    rank: str | None,
    coverage: bool,
    as_json: bool,
) -> None:
    """Say how texts were judged: means by any axes, the best texts.

    Of COHORT, of several together, or without one of the whole pool. An axis is written STAGE.AXIS; `rubric` and
    `judge` are those of the judging stage. Without options means are told apart by every axis that has several levels.

    Repeated judgements of a text count once. A mean is over every rubric and judge once, and is not given where one
    of them has not spoken. Scores on different scales are normalised to 0..1, and the table says so.
    """
    from genpool.cli.arguments import refuse_together, typed_levels, usage
    from genpool.cli.output import print_json
    from genpool.pool import Pool
    from genpool.scores import axes_of, member_lineages
    from genpool.tables import Table, half_run

    refuse_together(by=by, pivot=pivot, top=top is not None, coverage=coverage)
    if rank is not None and top is None:
        raise usage("--rank says what --top goes by: give --top too")
    levels = typed_levels(by)
    if by and not levels:
        raise usage("--by names no axis")
    scope = Pool.find(root).wide_scope(cohort)
    table = _table(
        scope,
        axes_of(scope.pipeline),
        by=levels,
        pivot=tuple(typed_levels([one]) for one in pivot) if pivot else (),
        top=top,
        rank=rank,
        coverage=coverage,
    )
    notes = list(table.notes) if coverage else [*table.notes, *half_run(member_lineages(scope))]
    if as_json:
        document = {"rows": table.frame.to_dicts(), "notes": notes}
        print_json({"format": "genpool.scores/1", "cohorts": list(cohort), **document})
    else:
        print_scores(Table(table.frame, tuple(notes)))


def _table(
    scope: Judged,
    axes: Axes,
    *,
    by: Sequence[str],
    pivot: Sequence[Sequence[str]],
    top: int | None,
    rank: str | None,
    coverage: bool,
) -> Table:
    """Return the table that is asked for."""
    from genpool import tables
    from genpool.from_reader import MEAN_SCORE
    from genpool.scores import aggregated_scores, member_lineages

    judgements = aggregated_scores(scope)
    if coverage:
        return tables.coverage(member_lineages(scope), judgements)
    if top is not None:
        return tables.top_texts(tables.generation_scores(judgements, axes), top, rank or MEAN_SCORE)
    if pivot:
        rows, columns = ([axes.column(one) for one in side] for side in pivot)
        return tables.pivot(judgements, rows, columns)
    chosen = [axes.column(one) for one in by] or tables.varying(judgements, axes)
    return tables.mean_scores(judgements, chosen)


def print_scores(table: Table) -> None:
    """Print a table, and what is to be known of it."""
    from genpool.cli.output import print_table, shown

    frame = _compact(table.frame)
    if not frame.is_empty():
        numbers = [name for name, kind in frame.schema.items() if kind.is_numeric()]
        ids = [name for name in frame.columns if name.endswith("gen_id")]
        print_table(frame.columns, [[_cell(one) for one in row] for row in frame.iter_rows()], right=numbers, whole=ids)
    for note in table.notes:
        print(f"note: {shown(note)}")


def _compact(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table without columns that say nothing, or the same as the judged text's id."""
    empty = [name for name in frame.columns if frame[name].null_count() == frame.height and name == "note"]
    same = []
    if "judged_gen_id" in frame.columns:
        ids = [name for name in frame.columns if name.endswith("_gen_id") and name != "judged_gen_id"]
        same = [*ids, *(name for name in frame.columns if name.endswith("_replicate") or name.startswith("n:"))]
    return frame.drop(empty, same)


def _cell(value: object) -> object:
    return value if not isinstance(value, float) else round(value, 4)
