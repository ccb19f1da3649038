"""`genpool status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from genpool.pool import Pool
    from genpool.scope import StageCounts


@click.command("status")
@click.argument("cohort", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, cohort: str | None, *, as_json: bool) -> None:
    """Say how cohorts stand.

    For COHORT, or for every cohort that was run: how many members its own runs made, how many are reused from
    other cohorts, and how many are missing. Answered from membership and store; the spec is not read.
    """
    from genpool.cli.output import print_json
    from genpool.pool import Pool

    pool = Pool.find(root)
    counts = {name: pool.scope(name).counts() for name in _cohorts(pool, cohort)}
    if as_json:
        print_json({"format": "genpool.status/1", "cohorts": {name: _document(one) for name, one in counts.items()}})
    else:
        _print(pool, counts)


def _cohorts(pool: Pool, cohort: str | None) -> list[str]:
    if cohort is not None:
        return [cohort]
    return [name for name in pool.cohort_ids() if pool.layout.membership(name).is_file()]


def _document(counts: dict[str, StageCounts]) -> dict[str, Any]:
    from dataclasses import asdict

    return {stage: asdict(one) for stage, one in counts.items()}


def _print(pool: Pool, counts: dict[str, dict[str, StageCounts]]) -> None:
    from dataclasses import asdict

    from genpool.cli.output import many, print_counts, shown

    if not counts:
        print(f"no cohort of {pool.root} was run yet: `genpool ls` lists them, `genpool plan <cohort>` plans one")
    for cohort, stages in counts.items():
        print(f"cohort {cohort}\n")
        print_counts({stage: asdict(one) for stage, one in stages.items()}, ("wanted", "own", "reused", "missing"))
        for said in pool.scope(cohort).problems().values():
            print(f"unusable: {shown(said)}")
        missing = sum(one.missing for one in stages.values())
        print(f"\n{many(missing, 'member')} missing: genpool run {cohort}\n" if missing else "\ncomplete\n")
