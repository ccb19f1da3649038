"""`genpool tables`."""

from __future__ import annotations

import click


@click.command("tables")
@click.argument("cohort", nargs=-1)
@click.option("--reasons", is_flag=True, help="Judges' reasons too: they are read from a file a judgement.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, cohort: tuple[str, ...], *, reasons: bool, as_json: bool) -> None:
    """Write the tables of scores as Parquet and CSV.

    Of COHORT under cohorts/COHORT/reports/; of several together, or without one of the whole pool, under reports/.
    aggregated_scores has a row a judgement, generation_scores a row a judged text, mean_scores the means by every axis
    that has several levels, coverage what is made and judged of what is wanted. Each is made anew and replaces its
    file; tables.json says what is in them.
    """
    from genpool.cli.output import many, print_json, print_table, shown
    from genpool.pool import Pool
    from genpool.table_files import write_tables
    from genpool.tables import all_tables

    pool = Pool.find(root)
    tables = all_tables(pool.wide_scope(cohort), reasons=reasons)
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
