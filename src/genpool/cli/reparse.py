"""`genpool reparse`."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genpool.reparse import Left, Reparse

_SHOWN = 10


@click.command("reparse")
@click.option("--cohort", metavar="COHORT", help="Only members of this cohort.")
@click.option("--stage", metavar="STAGE", help="Only tasks of this stage.")
@click.option("--yes", is_flag=True, help="Do it; else only say what would be promoted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, cohort: str | None, stage: str | None, *, yes: bool, as_json: bool) -> None:
    """Read unreadable answers anew when a parser was mended.

    Attempts with the reason `unparseable` are read with the parser and the scale that stand in their template today.
    The earliest of a task that can be read becomes its generation, without a call; it keeps the cohort, the run and
    the call that it was bought with. Only tasks without a generation are looked at.
    """
    from genpool.cli.output import print_json
    from genpool.pool import Pool

    found = Pool.find(root).reparse(cohort, stage, apply=yes)
    if as_json:
        print_json(_document(found, done=yes))
    else:
        _print(found, [] if cohort is None else ["--cohort", cohort], [] if stage is None else ["--stage", stage], yes)


def _document(found: Reparse, *, done: bool) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "format": "genpool.reparse/1",
        "done": done,
        "promotions": [asdict(one) for one in found.promotions],
        "unreadable": [asdict(one) for one in found.unreadable],
        "left": [asdict(one) for one in found.left],
        "unfinished": [asdict(one) for one in found.unfinished],
        "tasks_with_a_generation": found.filled,
    }


def _print(found: Reparse, cohort: list[str], stage: list[str], done: bool) -> None:
    from genpool.cli.arguments import command_line
    from genpool.cli.output import many, print_table

    rows = Counter((one.stage, one.template_id, one.parser) for one in found.promotions)
    head = "promoted" if done else "to promote"
    if rows:
        table = [[*key, count] for key, count in sorted(rows.items())]
        print_table(["stage", "template", "parser", head], table, right=[head])
        print()
    drifted = sum(one.drifted for one in found.promotions)
    if drifted:
        print(f"{many(drifted, 'answer')} to another text of the template than today's: a plan tells it as drift")
    if found.filled:
        print(f"{many(found.filled, 'task')} with unreadable answers have a generation already")
    _print_left("not readable today either", found.unreadable)
    _print_left("left", found.left)
    if done:
        if found.unfinished:
            print(f"finished: {many(len(found.unfinished), 'promotion')} that had been interrupted")
        print(f"{many(len(found.promotions), 'attempt')} promoted; 0 calls")
    elif found.promotions or found.unfinished:
        if found.unfinished:
            print(f"{many(len(found.unfinished), 'promotion')} had been interrupted and is to be finished")
        print(f"nothing was changed; to do it: {command_line('reparse', *cohort, *stage, '--yes')}")
    else:
        print("no attempt can be promoted")


def _print_left(what: str, left: Sequence[Left]) -> None:
    """Print what stays as it is, a line a reason: a parser that fails at one answer fails at hundreds alike."""
    from genpool.cli.output import many, one_line

    alike: dict[tuple[str, str], list[Left]] = defaultdict(list)
    for one in left:
        alike[one.stage, one.why].append(one)
    reasons = sorted(alike.items(), key=lambda item: -len(item[1]))
    for (stage, why), several in reasons[:_SHOWN]:
        first = several[0]
        where = f"{stage} {first.gen_id}, attempt {first.attempt}"
        if len(several) > 1:
            where = f"{many(len(several), 'attempt')} in {stage}, the first {first.gen_id}, attempt {first.attempt}"
        print(f"{what}: {one_line(f'{where}: {why}')}")
    if len(reasons) > _SHOWN:
        rest = sum(len(several) for _, several in reasons[_SHOWN:])
        print(
            f"{what}: {many(rest, 'attempt')} more, for {many(len(reasons) - _SHOWN, 'other reason')}; --json lists all"
        )
