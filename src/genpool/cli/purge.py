"""`genpool purge`, and how a removal is printed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from genpool.removal import Removal, Stay
    from genpool.trash import Trashed

_SHOWN = 10


@click.command("purge")
@click.argument("cohort")
@click.option("--yes", is_flag=True, help="Do it; else only say what would go and what would stay.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, cohort: str, *, yes: bool, as_json: bool) -> None:
    """Move a cohort, and what only it reaches, to the trash.

    Its members go, and what its runs made and no cohort has as a member; with them their attempts, and the cohort's
    own folder, spec included. What other cohorts reach stays, and what a generation that stays starts from.
    `genpool trash undo` takes it back.
    """
    from genpool.cli.output import print_json, print_table
    from genpool.pool import Pool

    pool = Pool.find(root)
    removal, trashed = pool.purge(cohort) if yes else (pool.plan_purge(cohort), None)
    if as_json:
        print_json(removal_document(removal, trashed))
        return
    goes = Counter(stage for stage, _ in removal.goes)
    stays = Counter(one.task[0] for one in removal.stays)
    stages = list(dict.fromkeys([*(s for s in pool.config.pipeline.names if s in goes or s in stays), *stays]))
    rows = [[stage, goes[stage], stays[stage]] for stage in [*stages]]
    rows.append(["total", goes.total(), stays.total()])
    print(f"cohort {removal.cohort}\n")
    print_table(["stage", "goes", "stays"], rows, right=("goes", "stays"))
    print()
    if removal.folder:
        print(f"its folder cohorts/{removal.cohort}/ goes, spec included")
    print_trashed(removal, trashed, f"genpool purge {cohort} --yes")


def removal_document(removal: Removal, trashed: Trashed | None) -> dict[str, Any]:
    """Return a removal as a JSON object; `trash_id` is null where nothing was moved."""

    def tasks(found: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
        return [{"stage": stage, "gen_id": gen_id} for stage, gen_id in found]

    return {
        "format": "genpool.removal/1",
        "verb": removal.verb,
        "cohort": removal.cohort,
        "goes": tasks(removal.goes),
        "stays": [
            {"stage": one.task[0], "gen_id": one.task[1], "why": one.why, "by": list(one.by)} for one in removal.stays
        ],
        "attempts": tasks(removal.attempts),
        "cohort_folder": removal.folder,
        "by_cohort": [{"cohort": name, "stages": dict(counts)} for name, counts in removal.by_cohort.items()],
        "trash_id": trashed.trash_id if trashed else None,
    }


def print_trashed(removal: Removal, trashed: Trashed | None, again: str) -> None:
    """Print what stays and why, and what was done or how to do it."""
    from genpool.cli.output import many, shown

    if removal.attempts:
        print(f"the attempts of {many(len(removal.attempts), 'task')} go")
    for line in _stays(removal.stays):
        print(shown(line))
    if trashed is not None:
        gens = many(len(removal.goes), "generation")
        print(f"moved to the trash: {gens}; take them back: genpool trash undo {trashed.trash_id}")
    elif removal.is_empty:
        print("nothing goes")
    else:
        print(f"nothing was changed; to do it: {again}")


def _stays(stays: tuple[Stay, ...]) -> list[str]:
    """Return what stays in words: a line for every set of cohorts, a line each for the rest as far as they are few."""
    from genpool.cli.output import many

    by_cohorts = Counter(one.by for one in stays if one.why == "cohort")
    lines = [
        f"stays: {many(count, 'generation')} that {_words(by)} {'reaches' if len(by) == 1 else 'reach'}"
        for by, count in sorted(by_cohorts.items())
    ]
    rest = [one for one in stays if one.why != "cohort"]
    for one in rest[:_SHOWN]:
        stage, gen_id = one.task
        if one.why == "damaged":
            lines.append(f"stays: {stage} {gen_id}: it cannot be read, and what cannot be read is never moved")
        else:
            lines.append(f"stays: {stage} {gen_id}: {one.by[0]}, which stays, starts from it")
    return [*lines, f"stays: {len(rest) - _SHOWN:,} more"] if len(rest) > _SHOWN else lines


def _words(cohorts: tuple[str, ...]) -> str:
    named = ", ".join(cohorts[:5]) + (f" and {len(cohorts) - 5} more" if len(cohorts) > 5 else "")
    return f"cohort {named}" if len(cohorts) == 1 else f"cohorts {named}"
