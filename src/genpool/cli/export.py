"""`genpool export`."""

from __future__ import annotations

import click


@click.command("export")
@click.argument("cohort", nargs=-1)
@click.option("--stage", multiple=True, help="Whose texts; else those of the stages that are judged.")
@click.option("--prompts", is_flag=True, help="The prompt of each text too.")
@click.option("--no-reasons", is_flag=True, help="Leave judges' reasons out.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print JSON lines, and write no file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on what was written.")
@click.pass_obj
def command(
    root: str | None,
    cohort: tuple[str, ...],
    *,
    stage: tuple[str, ...],
    prompts: bool,
    no_reasons: bool,
    to_stdout: bool,
    as_json: bool,
) -> int:
    """Write texts with their lineage and scores, as JSON lines and Parquet.

    Of COHORT to cohorts/COHORT/reports/texts.jsonl and .parquet; of several together, or without one of the whole
    pool, to reports/. With --stage the files bear the stages' names: texts+draft.jsonl. A line a text that exists.

    Exit code 1: a text cannot be read; its line says why, and the others are there.
    """
    from genpool.cli.arguments import refuse_together
    from genpool.cli.output import many, print_json, print_json_line, shown
    from genpool.export import export
    from genpool.pool import Pool
    from genpool.table_files import write_texts

    refuse_together(stdout=to_stdout, json=as_json)
    pool = Pool.find(root)
    table = export(pool.wide_scope(cohort), pool.store, stage, prompts=prompts, reasons=not no_reasons)
    failed = int(table.frame["problem"].null_count() < table.frame.height)
    if to_stdout:
        for row in table.frame.iter_rows(named=True):
            print_json_line(row)
        for note in table.notes:
            click.echo(f"note: {shown(note)}", err=True)
        return failed
    files = write_texts(pool.layout.reports(cohort[0] if len(cohort) == 1 else None), table, stage)
    if as_json:
        said = {"texts": table.frame.height, "notes": list(table.notes), "files": [str(path) for path in files]}
        print_json({"format": "genpool.export/1", **said})
        return failed
    for note in table.notes:
        print(f"note: {shown(note)}")
    print(f"{many(table.frame.height, 'text')} in {' and '.join(shown(str(path)) for path in files)}")
    return failed
