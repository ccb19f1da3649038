"""`genpool missing`."""

from __future__ import annotations

import click


@click.command("missing")
@click.argument("cohort")
@click.option("--stage", help="Only this stage.")
@click.pass_obj
def command(root: str | None, cohort: str, *, stage: str | None) -> None:
    """List what a cohort lacks, as data that a run accepts.

    The output is JSON already, whatever reads it: one object a line with stage, gen_id and the signature of every
    member of COHORT that has no generation.
    `genpool run COHORT --only FILE` makes the tasks of such lines, and what these start from.
    """
    from genpool.cli.output import print_json_line
    from genpool.cli.sources import tell_sources
    from genpool.pool import Pool

    pool = Pool.find(root)
    if stage is not None:
        pool.config.pipeline[stage]
    scope = pool.scope(cohort)
    tell_sources(scope, verbose=False)
    for one in scope.missing(stage):
        print_json_line({"stage": one.stage.name, **one.as_dict(), "gen_id": pool.gen_id(one)})
