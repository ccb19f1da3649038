"""`genpool tables`."""

from __future__ import annotations

import click


@click.command("tables")
@click.argument("cohort", nargs=-1)
@click.option("--reasons", is_flag=True, help="Judges' reasons too: they are read from a file a judgement.")
@click.option("--top", type=int, metavar="N", help="How many texts top_texts has; 30 where it is not said.")
@click.option(
    "--pivot",
    nargs=2,
    multiple=True,
    metavar="ROWS COLUMNS",
    help="A pivot too: a row a level of some axes, a column a level of others. Can be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(
    root: str | None,
    cohort: tuple[str, ...],
    *,
    reasons: bool,
    top: int | None,
    pivot: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """Write the tables of scores as Parquet and CSV.

    Of COHORT under cohorts/COHORT/reports/; of several together, or without one of the whole pool, under reports/.
    aggregated_scores has a row a judgement, generation_scores a row a judged text, mean_scores the means by every axis
    that has several levels, top_texts the best texts, coverage what is made and judged of what is wanted,
    pivot_ROWS_by_COLUMNS means by two axes: the first two that have several levels, and those of --pivot. Each is made
    anew and replaces its file; tables.json says what is in them.
    """
    from genpool.cli.arguments import typed_levels
    from genpool.cli.output import many, print_json, print_table, shown
    from genpool.pool import Pool
    from genpool.scores import axes_of
    from genpool.table_files import write_tables
    from genpool.tables import TOP_TEXTS, all_tables

    pool = Pool.find(root)
    scope = pool.wide_scope(cohort)
    axes = axes_of(scope.pipeline)
    rows_and_columns = [[[axes.column(one) for one in typed_levels([side])] for side in sides] for sides in pivot]
    tables = all_tables(
        scope,
        reasons=reasons,
        top=TOP_TEXTS if top is None else top,
        pivots=[(rows, columns) for rows, columns in rows_and_columns],
    )
    files = write_tables(pool.layout.reports(cohort[0] if len(cohort) == 1 else None), tables)
    if as_json:
        said = {name: {"rows": one.frame.height, "notes": list(one.notes)} for name, one in tables.items()}
        print_json({"format": "genpool.tables/1", "tables": said, "files": [str(path) for path in files]})
        return
    print_table(
        ["table", "rows", "columns"],
        [[n, t.frame.height, t.frame.width] for n, t in tables.items()],
        right=["rows", "columns"],
    )
    for note in dict.fromkeys(note for one in tables.values() for note in one.notes):
        print(f"note: {shown(note)}")
    print(f"\n{many(len(files), 'file')} in {shown(str(files[0].parent))}")
