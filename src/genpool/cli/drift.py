"""`genpool drift`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from genpool.cli.arguments import command_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genpool.migration.forking import Fork
    from genpool.migration.verifying import Report
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
    model=judge-a, combo=combo_…, parent=d_…. A name under which nothing drifted is an error, and nothing is accepted.
    """
    from genpool.cli.output import many, shown
    from genpool.pool import Pool

    accepted = Pool.find(root).accept_drift(cohort, _chosen(names))
    print(f"accepted {many(len(accepted), 'change')}" if accepted else "nothing drifted")
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
        print("nothing drifted")
        return
    for one in drift:
        print(f"{_WORDS[one.kind]} {shown(one.name)}: {many(len(one.gen_ids), 'generation')} drifted")
    _print_by_cohort(removal)
    _print_price(removal)
    print_trashed(removal, trashed, f"genpool drift regenerate {' '.join([cohort, *names])} --yes")
    if trashed is not None:
        _print_next(cohort, removal)


@command.command("fork")
@click.argument("cohort")
@click.argument("names", nargs=-1, metavar="[KIND=NAME]...")
@click.option("--as", "new_name", required=True, metavar="NEWNAME", help="What the old text is called from now on.")
@click.option("--then", metavar="SHA256", help="Which old text, where there were several: how its fingerprint begins.")
@click.option("--yes", is_flag=True, help="Do it; else only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def fork_drift(
    root: str | None,
    cohort: str,
    names: tuple[str, ...],
    *,
    new_name: str,
    then: str | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Bring a template's old text back under a new name, with all that was made with it.

    templates/STAGE/NEWNAME.j2 gets the text of then. What was made with it, whatever cohorts it is in, gets that name
    and so another id, and all that descends from it follows; the old ids lead there. The old name's slots are free
    then: a run makes them for the present text. Only a template can be forked, one at a time: template=draft/baseline.

    It is a migration (`genpool migrate status`): verified, and taken back by `genpool migrate rollback` until it is
    closed.
    """
    from genpool.cli.migration_progress import shown_progress
    from genpool.cli.output import print_json
    from genpool.pool import Pool

    pool = Pool.find(root)
    fork = pool.plan_fork(cohort, new_name, _chosen(names), then)
    report = None
    if fork is not None and yes:
        try:
            with shown_progress(quiet=as_json) as tell:
                report = pool.fork(fork, tell)
        except KeyboardInterrupt:
            print(f"stopped; how it stands: {command_line('migrate', 'status')}", file=sys.stderr)
            raise
    if as_json:
        print_json(_fork_document(fork, report))
    elif fork is None:
        print("nothing of that drifted" if names else "nothing drifted")
    else:
        _print_fork(fork)
        again = command_line("drift", "fork", cohort, *names, "--as", new_name, *(["--then", then] if then else []))
        _print_forked(fork, report, cohort, f"{again} --yes")
    return 0 if report is None or report.is_right else 1


def _fork_document(fork: Fork | None, report: Report | None) -> dict[str, object]:
    """Return a fork as a JSON object; `fork` is null where nothing drifted, `report` where nothing was done."""
    found: dict[str, object] = {
        "format": "genpool.fork/1",
        "fork": None,
        "report": report.as_json() if report else None,
    }
    if fork is None:
        return found
    relabel, anew = fork.target.change.relabel, fork.anew
    assert relabel is not None
    return {
        **found,
        "fork": {"stage": relabel.stage, "was": relabel.was, "becomes": relabel.becomes, "file": fork.target.path},
        "drift": document(fork.target.drift),
        "ids": [
            {"stage": row.stage, "was": row.old_id, "becomes": row.new_id, "reason": row.reason, "place": row.place}
            for row in fork.planned.rows
        ],
        "by_cohort": [{"cohort": name, "stages": dict(counts)} for name, counts in anew.by_cohort.items()],
        "again": anew.again.as_json() if anew.again else None,
    }


def _print_fork(fork: Fork) -> None:
    """Print what a fork gives another id, in which cohorts, and what making the old name's slots anew takes."""
    from genpool.cli.output import many, shown

    relabel = fork.target.change.relabel
    assert relabel is not None
    made = many(len(relabel.gen_ids), "generation")
    print(f"template {shown(fork.target.drift.name)}: {made} made with the text of then")
    print(f"that text becomes {shown(fork.target.path)}; these get its name, and with all that descends another id:")
    _print_by_cohort(fork.anew)
    _print_price(fork.anew)
    print(
        f"each of these cohorts whose spec names {shown(relabel.was)} wants as many anew, for the present text; "
        f"to keep the old ones in it, write {shown(relabel.becomes)} into its spec"
    )


def _print_forked(fork: Fork, report: Report | None, cohort: str, again: str) -> None:
    """Print what was done and how it is taken back, or how to do it."""
    from genpool.cli.output import many, one_line

    if report is None:
        print(f"nothing was changed; to do it: {again}")
        return
    moved = sum(row.place == "gens" for row in fork.planned.rows)
    print(f"{many(moved, 'generation')} got another id: {report.migration_id}")
    for path, said in report.problems[:20]:
        print(f"problem: {one_line(path)}: {one_line(said)}")
    back = command_line("migrate", "rollback", report.migration_id)
    if not report.is_right:
        print(f"{many(len(report.problems), 'problem')}: it is not as planned; take it back: {back}")
        return
    print(f"verified: everything is as planned; take it back: {back}")
    print(f"keep it: {command_line('migrate', 'close', report.migration_id)} (until then nothing is purged or forked)")
    print(f"for the present text: {command_line('plan', cohort)}")


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


def _print_next(cohort: str, removal: Removal) -> None:
    """Print the commands that make anew what went: each cohort's run makes its own members, and no others."""
    from genpool.cli.arguments import command_line
    from genpool.cli.output import many, shown

    gone = {name: sum(counts.values()) for name, counts in removal.by_cohort.items() if name is not None}
    print(f"make them anew: {shown(command_line('run', cohort))}")
    others = {name: count for name, count in gone.items() if name != cohort}
    if others:
        print("members of other cohorts went too, which their own runs make anew:")
    for name, count in others.items():
        print(f"  {shown(command_line('run', name))}  ({many(count, 'generation')})")
    if None in removal.by_cohort:
        strays = many(sum(removal.by_cohort[None].values()), "generation")
        print(f"no run makes anew what is in no cohort: {strays}")


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
    from genpool.cli.output import many, shown

    for one in drift[:10]:
        made = f"{many(len(one.gen_ids), 'generation')} {'was' if len(one.gen_ids) == 1 else 'were'}"
        print(f"drift: {_WORDS[one.kind]} {shown(one.name)} changed since {made} made from it")
    if len(drift) > 10:
        print(f"drift: {len(drift) - 10} more")
    if drift:
        print(f"       {command_line('drift', 'show', cohort)}")
