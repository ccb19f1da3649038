"""`genpool drift`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genpool.planner import Drift
    from genpool.removal import Removal

_WORDS = {"template": "template", "model": "model", "combo": "inputs of combo", "parent": "text of parent"}


@click.group("drift")
def command() -> None:
    """Show, accept or make anew what names stand for now, against then."""


@command.command("show")
@click.argument("cohort")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def show_drift(root: str | None, cohort: str, *, as_json: bool) -> None:
    """Show what drifted under the generations of a cohort, as a diff.

    A generation is drifted if its template, model or inputs are not what their names stand for now, or if its
    parent was made anew since.
    """
    from genpool.cli.output import many, print_json, shown
    from genpool.pool import Pool

    found = Pool.find(root).drift_diffs(cohort)
    if as_json:
        print_json({"format": "genpool.drift/1", "drift": [{**document(one), "diff": diff} for one, diff in found]})
        return
    if not found:
        print("nothing drifted")
    for one, diff in found:
        print(
            f"{_WORDS[one.kind]} {shown(one.name)}: {many(len(one.gen_ids), 'generation')} made from what it was then"
        )
        for line in diff:
            print(f"  {shown(line)}")


@command.command("accept")
@click.argument("cohort")
@click.argument("names", nargs=-1, metavar="[KIND=NAME]...")
@click.pass_obj
def accept_drift(root: str | None, cohort: str, names: tuple[str, ...]) -> None:
    """Accept what drifted: it is noted in drift.csv and not told again.

    It is accepted for the whole pool: what was made from the same text then is not told of any other cohort either.
    Without names everything that drifted under COHORT is accepted, else only that: template=draft/baseline,
    model=judge-a, combo=combo_…, parent=d_….
    """
    from genpool.cli.output import many, shown
    from genpool.pool import Pool

    accepted = Pool.find(root).accept_drift(cohort, _chosen(names))
    print(f"accepted {many(len(accepted), 'change')}" if accepted else "nothing of that drifted")
    for one in accepted:
        print(f"  {_WORDS[one.kind]} {shown(one.name)}: {many(len(one.gen_ids), 'generation')} of {shown(cohort)}")
    if accepted:
        print("accepted for the whole pool: no other cohort is told of these either")


@command.command("regenerate")
@click.argument("cohort")
@click.argument("names", nargs=-1, metavar="[KIND=NAME]...")
@click.option("--yes", is_flag=True, help="Do it; else only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def regenerate_drift(root: str | None, cohort: str, names: tuple[str, ...], *, yes: bool, as_json: bool) -> None:
    """Move what drifted to the trash, so that a run makes it anew.

    With it goes everything that descends from it, whatever cohorts that is in: this is counted first, and the calls
    that make it again are priced. Without names everything that drifted under COHORT goes, else only that (see
    `genpool drift accept`). `genpool trash undo` takes it back.
    """
    from genpool.cli.output import many, print_json, shown
    from genpool.cli.purge import print_trashed, removal_document
    from genpool.pool import Pool

    pool, chosen = Pool.find(root), _chosen(names)
    trashed = None
    if yes:
        drift, removal, trashed = pool.regenerate(cohort, chosen)
    else:
        drift, removal = pool.plan_regeneration(cohort, chosen)
    if as_json:
        again = removal.again.as_json() if removal.again else None
        print_json({**removal_document(removal, trashed), "again": again, "drift": [document(one) for one in drift]})
        return
    if not drift and trashed is None:
        print("nothing drifted" if chosen is None else "nothing of that drifted")
        return
    for one in drift:
        print(f"{_WORDS[one.kind]} {shown(one.name)}: {many(len(one.gen_ids), 'generation')} drifted")
    _print_by_cohort(removal)
    _print_price(removal)
    print_trashed(removal, trashed, f"genpool drift regenerate {' '.join([cohort, *names])} --yes")
    if trashed is not None:
        print(f"make them anew: genpool run {cohort}")


def _chosen(names: tuple[str, ...]) -> list[tuple[str, str]] | None:
    """Return the kinds and names that were typed, or None for everything."""
    if not names:
        return None
    pairs = [name.partition("=") for name in names]
    if any(kind not in _WORDS or not value for kind, _, value in pairs):
        raise click.UsageError(f"a name is KIND=NAME with a kind of {', '.join(_WORDS)}", click.get_current_context())
    return [(kind, value) for kind, _, value in pairs]


def _print_by_cohort(removal: Removal) -> None:
    """Print how many members of each cohort go, by stage; one generation may be a member of several."""
    from genpool.cli.output import print_table

    stages = list(dict.fromkeys(stage for stage, _ in reversed(removal.goes)))
    rows: list[list[object]] = [
        [name or "(no cohort)", *(counts.get(stage, 0) for stage in stages)]
        for name, counts in removal.by_cohort.items()
    ]
    rows.append(["generations", *(sum(one == stage for one, _ in removal.goes) for stage in stages)])
    print()
    print_table(["members of", *stages], rows, right=stages)
    print()


def _print_price(removal: Removal) -> None:
    """Print what the calls take that make again what goes, whatever cohorts' runs make it."""
    from genpool.cli.output import many
    from genpool.cli.plan import print_estimate, unpriced_models

    again = removal.again
    if again is None or removal.is_empty:
        return
    print(f"to make all of that again: {many(again.calls, 'call')}")
    if again.calls:
        print_estimate(again)
    if again.calls and again.cost is None:
        print(f"no price: {unpriced_models(again)}")


def document(one: Drift) -> dict[str, object]:
    """Return one drift as a JSON object."""
    return {"kind": one.kind, "name": one.name, "then": one.stored, "now": one.present, "gen_ids": one.gen_ids}


def print_drift(cohort: str, drift: Sequence[Drift]) -> None:
    """Warn of drift in a line a name."""
    from genpool.cli.arguments import command_line
    from genpool.cli.output import many, shown

    for one in drift[:10]:
        made = f"{many(len(one.gen_ids), 'generation')} {'was' if len(one.gen_ids) == 1 else 'were'}"
        print(f"drift: {_WORDS[one.kind]} {shown(one.name)} changed since {made} made from it")
    if len(drift) > 10:
        print(f"drift: {len(drift) - 10} more")
    if drift:
        print(f"       {command_line('drift', 'show', cohort)}")
