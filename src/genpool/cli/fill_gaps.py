"""`genpool fill-gaps`."""

from __future__ import annotations

import sys

import click


@click.command("fill-gaps")
@click.argument("cohort")
@click.option("--axis", required=True, metavar="STAGE.AXIS", help="The axis whose levels are to be comparable.")
@click.option(
    "--levels",
    required=True,
    multiple=True,
    metavar="A,B",
    help="The levels, separated by commas, or the option several times; a level with a comma is written '\"a,b\"'.",
)
@click.option("--stage", help="What is compared, where it is not the stage that judges.")
@click.pass_obj
def command(root: str | None, cohort: str, *, axis: str, levels: tuple[str, ...], stage: str | None) -> None:
    """Print the spec that makes levels of an axis comparable.

    For every family of choices that has a judgement at one of the levels in COHORT and none at another, the spec has
    the tasks that are missing, and a comment says how many. Save it as the cohort.yaml of a new cohort and run that:

    genpool fill-gaps demo --axis draft.template --levels a,b > cohorts/gaps/cohort.yaml
    """
    from genpool.cli.arguments import typed_levels
    from genpool.gaps import find_gaps
    from genpool.pool import Pool

    typed = typed_levels(levels)
    found = find_gaps(Pool.find(root), cohort, axis, typed, stage)
    print(found.text, end="")
    if found.unread:
        print(f"{found.unread} were left out: something above them does not exist", file=sys.stderr)
    if not found.rows:
        print(f"nothing is missing: every family has all of {', '.join(typed)} or none", file=sys.stderr)
