"""`genpool migrate`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genpool.layout import PoolLayout
    from genpool.migration.migrations import Migrations
    from genpool.migration.planning import Planned
    from genpool.migration.standing import Standing
    from genpool.migration.verifying import Report

_INCOMPLETE: Final = 3

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON: a line a batch, then one with the outcome.")
_ID = click.argument("migration_id", required=False)


@click.group("migrate")
def command() -> None:
    """Give generations with ids of another making the ids of today.

    All that descends from them follows.

    Plan, read the plan, rehearse, apply, verify, close; until it is closed a migration can be rolled back to the byte.
    Where MIGRATION_ID is left out, the only migration that the command can be about is meant.
    """


@command.command("plan")
@click.option("--strict", is_flag=True, help="Refuse to apply the plan if anything must stay as it is.")
@click.option("--salt", help="Give the pool another salt.")
@click.option("--config", metavar="FILE", help="Give the pool another pool.yaml: salt, prefixes, axes added to stages.")
@click.option(
    "--set", "sets", multiple=True, metavar="STAGE.AXIS=VALUE", help="The value of an axis that a stage gets."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def plan(
    root: str | None, *, strict: bool, salt: str | None, config: str | None, sets: tuple[str, ...], as_json: bool
) -> int:
    """Say what would be migrated, and what cannot be, and why. Writes only under migrations/.

    Every generation is read and its id recomputed. The same pool gives the same plan, under the same id.

    Exit code 3: something must stay as it is.
    """
    from genpool.cli.output import print_json
    from genpool.migration.targets import change_to

    with _opened(root, quiet=as_json) as (migrations, layout):
        change, configs = change_to(layout, salt=salt, config=config, sets=_typed_sets(sets))
        planned = migrations.plan(change, configs)
        written = None if planned.is_empty else migrations.write(planned, strict=strict)
    blocked = bool(planned.blocking)
    if as_json:
        document = dict(written.document) if written else _empty_document(planned)
        found = [{"kind": d.kind, "blocks": d.blocks, "path": d.path, "said": d.said} for d in planned.defects]
        print_json({**document, "findings": found})
    else:
        _print_plan(planned, None if written is None else written.migration_id, strict=strict)
    return _INCOMPLETE if blocked else 0


def _empty_document(planned: Planned) -> dict[str, Any]:
    """Return what is printed as JSON where nothing is to be migrated."""
    return {"migration_id": None, "stages": planned.classes, "counts": planned.counts()}


def _typed_sets(typed: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """Return stage and axis to value, as typed."""
    from genpool.cli.arguments import usage

    found: dict[tuple[str, str], str] = {}
    for text in typed:
        name, equals, value = text.partition("=")
        stage, dot, axis = name.rpartition(".")
        if not (equals and dot and stage and axis and value):
            raise usage(f"{text!r} is not STAGE.AXIS=VALUE")
        if (stage, axis) in found:
            raise usage(f"{name} is given twice")
        found[stage, axis] = value
    return found


@command.command("rehearse")
@_ID
@_JSON
@click.pass_obj
def rehearse(root: str | None, migration_id: str | None, *, as_json: bool) -> int:
    """Carry the whole plan out on a copy of linked files, verify it there, and roll it back there.

    The pool itself stays as it is. The copy is removed afterwards.
    """
    with _opened(root, quiet=as_json) as (migrations, _):
        chosen = _chosen(migrations, migration_id, {"planned", "rolled-back"})
        report = migrations.rehearse(chosen)
    return _tell_report(report, "rehearsed", f"genpool migrate apply {chosen}", as_json=as_json, in_lines=True)


@command.command("apply")
@_ID
@_JSON
@click.pass_obj
def apply(root: str | None, migration_id: str | None, *, as_json: bool) -> None:
    """Carry a plan out. Kill it at any moment: `resume` goes on, `rollback` takes it back.

    Refused while anybody uses the pool, while another migration is open, where the pool is not as it was planned any
    more, and where the disk is too full.
    """
    with _opened(root, quiet=as_json) as (migrations, _):
        stands = migrations.apply(_chosen(migrations, migration_id, {"planned", "rolled-back"}))
    _tell_standing(stands, f"genpool migrate verify {stands.migration_id}", as_json=as_json)


@command.command("resume")
@_ID
@_JSON
@click.pass_obj
def resume(root: str | None, migration_id: str | None, *, as_json: bool) -> None:
    """Go on with an apply or a rollback that was interrupted."""
    with _opened(root, quiet=as_json) as (migrations, _):
        stands = migrations.resume(_chosen(migrations, migration_id, {"applying", "rolling-back"}))
    _tell_standing(stands, f"genpool migrate verify {stands.migration_id}", as_json=as_json)


@command.command("verify")
@_ID
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def verify(root: str | None, migration_id: str | None, *, as_json: bool) -> int:
    """Read everything again, recompute every id, and set it against the plan. The report is kept.

    Exit code 1: something is not as planned.
    """
    with _opened(root, quiet=as_json) as (migrations, _):
        chosen = _chosen(migrations, migration_id, {"applied", "rolled-back", "closed"})
        report = migrations.verify(chosen)
    following = f"genpool migrate close {chosen}; or take it back: genpool migrate rollback {chosen}"
    return _tell_report(report, "verified", following if report.state == "applied" else "", as_json=as_json)


@command.command("rollback")
@_ID
@_JSON
@click.pass_obj
def rollback(root: str | None, migration_id: str | None, *, as_json: bool) -> None:
    """Take a migration back, to the byte; an interrupted one too.

    Generations that were made since are kept, under the ids that they have then.
    """
    from genpool.cli.output import many
    from genpool.migration.journal import ROUND
    from genpool.migration.since import KEPT

    with _opened(root, quiet=as_json) as (migrations, layout):
        stands = migrations.roll_back(_chosen(migrations, migration_id, {"applying", "applied", "rolling-back"}))
    _tell_standing(stands, f"genpool migrate verify {stands.migration_id}", as_json=as_json)
    kept = layout.migration(stands.migration_id) / f"{ROUND}{stands.round}" / KEPT
    if not as_json and (count := sum(1 for _ in kept.glob("gens/*/*"))):
        where = kept.relative_to(layout.root)
        print(f"{many(count, 'generation')} made since had no place left, and went to {where}/ as they were")


@command.command("close")
@_ID
@click.option("--unverified", is_flag=True, help="Also where no verification has found everything as planned.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def close(root: str | None, migration_id: str | None, *, unverified: bool, as_json: bool) -> None:
    """Drop the originals of a verified migration; its mapping and reports stay. There is no rollback after it."""
    with _opened(root, quiet=as_json) as (migrations, _):
        stands = migrations.close(_chosen(migrations, migration_id, {"applied"}), unverified=unverified)
    _tell_standing(stands, "", as_json=as_json)


@command.command("status")
@_ID
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def status(root: str | None, migration_id: str | None, *, as_json: bool) -> None:
    """Say how migrations stand, and how far one is that is being carried out in another terminal."""
    from genpool.cli.migration_counts import print_counts
    from genpool.cli.output import print_json, print_table
    from genpool.locks import holders

    with _opened(root, quiet=True) as (migrations, layout):
        found = [migrations.standing(migration_id)] if migration_id else migrations.all()
        at_work = [one.verb for one in holders(layout) if one.verb.startswith("genpool migrate")]
    if as_json:
        print_json(
            {"format": "genpool.migrations/1", "migrations": [_document(one) for one in found], "at_work": at_work}
        )
        return
    if not found:
        print("no migration was planned; genpool migrate plan")
        return
    rows = [[one.migration_id, _state(one), _progress(one), _verified(one)] for one in found]
    print_table(["migration", "state", "batches", "verified"], rows, whole=["migration"])
    for one in found:
        print()
        if one.document.get("counts"):
            print(f"{one.migration_id}, as planned:")
        print_counts(one.document.get("counts"))
        print(_next(one, at_work))


# --- what is opened ---------------------------------------------------------------------------------


@contextmanager
def _opened(root: str | None, *, quiet: bool) -> Iterator[tuple[Migrations, PoolLayout]]:
    """Yield the migrations of a pool, watched on standard error, and the pool's paths.

    Args:
        root: The pool as typed.
        quiet: Whether a line of JSON a batch is printed instead.
    """
    from genpool.cli.arguments import command_line
    from genpool.cli.migration_progress import shown_progress
    from genpool.cli.output import print_json_line
    from genpool.config import find_root
    from genpool.layout import PoolLayout
    from genpool.migration.migrations import Migrations

    layout = PoolLayout(find_root(root))
    watch = print_json_line if quiet else lambda _: None
    try:
        with shown_progress(quiet=quiet) as tell:
            yield Migrations(layout, tell=tell, watch=watch), layout
    except KeyboardInterrupt:
        print(f"stopped; how it stands: {command_line('migrate', 'status')}", file=sys.stderr)
        raise


def _chosen(migrations: Migrations, migration_id: str | None, states: set[str]) -> str:
    """Return the migration that is meant: the one named, else the only one in one of some states."""
    from genpool.errors import DoesNotFit, NotFound

    if migration_id is not None:
        return migrations.standing(migration_id).migration_id
    found = [one.migration_id for one in migrations.all() if one.state in states]
    if len(found) == 1:
        return found[0]
    words = " or ".join(sorted(states))
    if not found:
        raise NotFound(f"no migration is {words}", hint="`genpool migrate status` lists them")
    raise DoesNotFit(f"{len(found)} migrations are {words}: {', '.join(found)}", hint="name the one that you mean")


# --- what is printed --------------------------------------------------------------------------------


def _print_plan(planned: Planned, migration_id: str | None, *, strict: bool) -> None:
    """Print what a plan comes to, what was found, and what to do next."""
    from genpool.cli.arguments import command_line
    from genpool.cli.migration_counts import print_counts, print_findings, print_stages

    counts = planned.counts()
    print_stages(planned.classes, counts)
    print_findings(planned, lists="--json" if migration_id is None else "defects.csv")
    print_counts(counts)
    if migration_id is None:
        print("nothing to migrate: every id that can be recomputed is right; nothing was written")
        return
    print(f"the plan: migrations/{migration_id}/ (plan.json, mapping.csv, digests.csv, defects.csv)")
    if strict and planned.blocking:
        print("planned with --strict: it will not be applied before everything can be migrated")
    else:
        print(f"nothing was changed; next: {command_line('migrate', 'rehearse', migration_id)}")


def _tell_standing(stands: Standing, following: str, *, as_json: bool) -> None:
    from genpool.cli.migration_counts import print_counts
    from genpool.cli.output import print_json_line

    if as_json:
        print_json_line(_document(stands))
        return
    said = {
        "applied": "applied, as planned:",
        "rolled-back": "rolled back: what was there at the plan is there again; taken back:",
        "closed": "closed: its originals are gone, its mapping and reports stay; what it did:",
    }
    counts = stands.document.get("counts")
    text = said.get(stands.state, stands.state)
    print(f"{stands.migration_id} {text if counts else text.removesuffix(':')}")
    print_counts(counts)
    if following:
        print(f"next: {_for_this_pool(following)}")


def _tell_report(report: Report, done: str, following: str, *, as_json: bool, in_lines: bool = False) -> int:
    from genpool.cli.migration_counts import print_report
    from genpool.cli.output import many, one_line, print_json, print_json_line

    if as_json:
        (print_json_line if in_lines else print_json)(report.as_json())
        return 0 if report.is_right else 1
    for path, said in report.problems[:20]:
        print(f"problem: {one_line(path)}: {one_line(said)}")
    if len(report.problems) > 20:
        print(
            f"problem: {len(report.problems) - 20:,} more; 20 of {len(report.problems):,} are printed, --json lists all"
        )
    print(f"{report.migration_id} {done} ({report.state})")
    print_report(report)
    if report.is_right:
        print("everything is as planned" + (f"; next: {_for_this_pool(following)}" if following else ""))
        return 0
    print(f"{many(len(report.problems), 'problem')}: it is not as planned")
    return 1


def _for_this_pool(following: str) -> str:
    from genpool.cli.arguments import command_line

    return following.replace("genpool ", f"{command_line()} ")


def _document(one: Standing) -> dict[str, Any]:
    return {
        "migration_id": one.migration_id,
        "state": one.state,
        "round": one.round,
        "batches": one.batches,
        "done": one.done,
        "began": one.began,
        "last": one.last,
        "seconds_left": one.seconds_left,
        "verified": one.verified,
        "counts": one.document.get("counts"),
    }


def _state(one: Standing) -> str:
    return one.state.replace("-", " ")


def _progress(one: Standing) -> str:
    return f"{one.done:,} of {one.batches:,}" if one.batches else "-"


def _verified(one: Standing) -> str:
    return {None: "-", True: "yes", False: "with problems"}[one.verified]


def _next(one: Standing, at_work: list[str]) -> str:
    """Return what to do about a migration."""
    from genpool.cli.live import duration

    name = one.migration_id
    if any(verb.endswith(name) for verb in at_work):
        left = f", about {duration(one.seconds_left)} left" if one.seconds_left is not None else ""
        return f"{name}: at work{left}"
    kept = f"keep it: genpool migrate close {name}" if one.verified else f"next: genpool migrate verify {name}"
    following = {
        "planned": f"next: genpool migrate rehearse {name}",
        "applying": f"interrupted; go on: genpool migrate resume {name}; take it back: genpool migrate rollback {name}",
        "rolling-back": f"interrupted; go on: genpool migrate resume {name}",
        "applied": f"{kept}; take it back: genpool migrate rollback {name}",
        "rolled-back": f"apply it again: genpool migrate apply {name}",
        "closed": "done; its mapping and reports stay",
    }[one.state]
    return f"{name}: {_for_this_pool(following)}"
