"""`genpool trash`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from genpool.trash import Trashed


@click.group("trash")
def command() -> None:
    """List what was removed, and take it back."""


@command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def list_trash(root: str | None, *, as_json: bool) -> None:
    """List what was removed, oldest first.

    A removal or an undo that was interrupted is finished first.
    """
    from genpool.cli.output import print_json, print_table
    from genpool.pool import Pool

    pool = Pool.find(root)
    settled = pool.settle_trash() if any(one.is_open for one in pool.trash()) else []
    found = pool.trash()
    if as_json:
        finished = [one.trash_id for one in settled]
        print_json({"format": "genpool.trash-list/1", "finished": finished, "trash": [_document(one) for one in found]})
        return
    for one in settled:
        print(f"{one.trash_id} had been interrupted and is {one.state} now")
    if not found:
        print("the trash is empty")
        return
    rows = [[one.trash_id, one.when, f"{one.verb} {one.cohort}", _words(one), one.state] for one in found]
    print_table(["id", "when", "by", "what", "state"], rows)


@command.command("undo")
@click.argument("trash_id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def undo(root: str | None, trash_id: str, *, as_json: bool) -> None:
    """Move everything of a removal back to where it was.

    Refused, before anything is moved, where something has taken a place since.
    """
    from genpool.cli.output import many, print_json
    from genpool.pool import Pool

    one = Pool.find(root).undo_removal(trash_id)
    if as_json:
        print_json({"format": "genpool.trash-undo/1", **_document(one)})
    else:
        moved = many(sum(moved.startswith("gens/") for moved in one.moved), "generation")
        print(f"moved back: {', '.join([moved, *_besides(one)])}")


def _document(one: Trashed) -> dict[str, Any]:
    return {
        "trash_id": one.trash_id,
        "verb": one.verb,
        "cohort": one.cohort,
        "when": one.when,
        "state": one.state,
        "counts": one.counts(),
        "moved": list(one.moved),
    }


def _words(one: Trashed) -> str:
    from genpool.cli.output import many

    counts = one.counts()
    counts.pop("attempts", 0)
    return ", ".join([*(many(count, stage) for stage, count in reversed(counts.items())), *_besides(one)])


def _besides(one: Trashed) -> list[str]:
    """Return what a removal moved besides generations, in words."""
    from genpool.cli.output import many

    folders = [f"cohorts/{one.cohort}/"] if any(moved.startswith("cohorts/") for moved in one.moved) else []
    attempts = one.counts().get("attempts", 0)
    return [*([f"attempts of {many(attempts, 'task')}"] if attempts else []), *folders]
