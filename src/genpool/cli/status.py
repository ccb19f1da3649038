"""`genpool status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from genpool.errors import GenpoolError
    from genpool.pool import Pool
    from genpool.scope import CohortScope, StageCounts


@click.command("status")
@click.argument("cohort", required=False)
@click.option("--verbose", "-v", is_flag=True, help="Say what the answers come from: manifest or catalog.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, cohort: str | None, *, verbose: bool, as_json: bool) -> int:
    """Say how cohorts stand.

    For COHORT, or for every cohort that was run: how many members its own runs made, how many are reused from
    other cohorts, and how many are missing. Answered from the cohort's manifest where there is a good one, else from
    membership and catalog, with the same answers; the spec is not read.

    Exit code 1: the membership of a cohort cannot be read; the others are shown.
    """
    from genpool.cli.output import print_json
    from genpool.cli.reading import reading_shown
    from genpool.cli.sources import sources_document, tell_misnamed, tell_sources
    from genpool.errors import GenpoolError
    from genpool.pool import Pool

    pool = Pool.find(root)
    found: dict[str, tuple[CohortScope, dict[str, StageCounts]] | GenpoolError] = {}
    for name in _cohorts(pool, cohort):
        try:
            with reading_shown(pool, quiet=as_json):
                scope = pool.scope(name)
                found[name] = scope, scope.counts()
        except GenpoolError as error:
            if cohort is not None:
                raise
            found[name] = error
    scopes = {name: one[0] for name, one in found.items() if not isinstance(one, GenpoolError)}
    if as_json:
        cohorts = {
            name: {"error": one.as_json()} if isinstance(one, GenpoolError) else _document(one[1])
            for name, one in found.items()
        }
        told = {"answered_from": {name: sources_document(scope) for name, scope in scopes.items()}} if verbose else {}
        print_json({"format": "genpool.status/1", "cohorts": cohorts, **told})
    else:
        _print(pool, found)
    for scope in scopes.values():
        tell_sources(scope, verbose=verbose)
    if cohort is None:
        tell_misnamed(pool)
    return int(any(isinstance(one, GenpoolError) for one in found.values()))


def _cohorts(pool: Pool, cohort: str | None) -> list[str]:
    if cohort is not None:
        return [cohort]
    return [name for name in pool.cohort_ids() if pool.layout.membership(name).is_file()]


def _document(counts: dict[str, StageCounts]) -> dict[str, Any]:
    from dataclasses import asdict

    return {stage: asdict(one) for stage, one in counts.items()}


def _print(pool: Pool, found: dict[str, tuple[CohortScope, dict[str, StageCounts]] | GenpoolError]) -> None:
    from genpool.cli.output import one_line, shown
    from genpool.errors import GenpoolError

    if not found:
        print(f"no cohort of {pool.root} was run yet: `genpool ls` lists them, `genpool plan <cohort>` plans one")
    for cohort, one in found.items():
        print(f"cohort {one_line(cohort)}\n")
        if isinstance(one, GenpoolError):
            print(f"unreadable: {shown(one.message)}\n")
        else:
            _print_cohort(*one)


def _print_cohort(scope: CohortScope, stages: dict[str, StageCounts]) -> None:
    """Print the counts of one cohort and what to type next."""
    from dataclasses import asdict

    from genpool.cli.arguments import command_line
    from genpool.cli.output import many, print_counts, shown

    print_counts({stage: asdict(one) for stage, one in stages.items()}, ("wanted", "own", "reused", "missing"))
    for said in scope.problems().values():
        print(f"unusable: {shown(said)}")
    missing = sum(one.missing for one in stages.values())
    unusable = sum(one.unusable for one in stages.values())
    in_doubt = unusable or any(one.attempts for one in stages.values())
    if missing and in_doubt:  # some may be exhausted or blocked: only a plan knows
        plan = command_line("plan", scope.cohort_id)
        print(f"\n{many(missing, 'member')} missing; what a run can make of them: {plan}\n")
    elif missing:
        print(f"\n{many(missing, 'member')} missing: {command_line('run', scope.cohort_id)}\n")
    else:
        print(f"\n{many(unusable, 'member')} unusable\n" if unusable else "\ncomplete\n")
