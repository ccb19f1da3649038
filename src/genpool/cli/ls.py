"""`genpool ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from genpool.stages import PARENT_FIELD, REPLICATE_FIELD, ROOT_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from genpool.pool import Pool
    from genpool.scope import MemberState

_COLUMNS: Final = ("gen_id", "state", "choices", "replicate", "from", "score")
_SHORTEST: Final = 8
"""The fewest characters that an id is cut to."""


@click.command("ls")
@click.argument("cohort", required=False)
@click.option("--stage", help="Only this stage.")
@click.option(
    "--state", type=click.Choice(["own", "reused", "missing", "unusable"]), help="Only members in this state."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, cohort: str | None, *, stage: str | None, state: str | None, as_json: bool) -> int:
    """List cohorts, or the generations of one.

    Without COHORT the pool's cohorts; with it the cohort's members, in plan order. On a terminal that is narrower
    than the table ids are cut to as much as tells them apart, which `genpool show` takes as well.

    Exit code 1: the membership of a cohort cannot be read; the others are shown.
    """
    from genpool.cli.arguments import usage
    from genpool.cli.output import print_json
    from genpool.pool import Pool

    if cohort is None and (stage or state):
        raise usage(f"{'--stage' if stage else '--state'} needs a COHORT")
    pool = Pool.find(root)
    if cohort is None:
        return _cohorts(pool, as_json=as_json)
    if stage is not None:
        pool.config.pipeline[stage]
    scope = pool.scope(cohort)
    members = [one for one in scope.members(stage) if state in {None, one.state}]
    if as_json:
        print_json({"format": "genpool.members/1", "members": [_document(one) for one in members]})
    else:
        _print_members(members, scope.member_ids, combo_names(pool))
    return 0


def _cohorts(pool: Pool, *, as_json: bool) -> int:
    """Print the pool's cohorts; return the exit code."""
    from genpool.cli.output import print_json, print_table
    from genpool.errors import GenpoolError

    rows: list[dict[str, Any]] = []
    for name in pool.cohort_ids():
        row: dict[str, Any] = {"cohort_id": name, "members": None, "spec": pool.layout.spec(name).is_file()}
        try:
            if pool.layout.membership(name).is_file():
                row["members"] = len(pool.scope(name).member_ids)
        except GenpoolError as error:
            row["error"] = error.as_json()
        rows.append(row)
    if as_json:
        print_json({"format": "genpool.cohorts/1", "cohorts": rows})
    elif not rows:
        print(f"{pool.root} has no cohort yet: write cohorts/<name>/cohort.yaml")
    else:
        print_table(["cohort", "members"], [[row["cohort_id"], _standing(row)] for row in rows], right=["members"])
        _print_unreadable(rows)
    return int(any("error" in row for row in rows))


def _standing(row: Mapping[str, Any]) -> object:
    """Return how many members a cohort has, or why that cannot be said."""
    if "error" in row:
        return "unreadable"
    return "not run yet" if row["members"] is None else row["members"]


def _print_unreadable(rows: Iterable[Mapping[str, Any]]) -> None:
    from genpool.cli.output import shown

    for row in rows:
        if "error" in row:
            print(f"unreadable: {shown(row['error']['message'])}")


def combo_names(pool: Pool) -> dict[str, str]:
    """Return what the pool's combo ids stand for, as a person says it; nothing where combos.jsonl cannot be read."""
    from genpool.errors import GenpoolError

    try:
        recorded = pool.inputs.book.by_id
    except GenpoolError:
        return {}
    return {name: " + ".join(combo.concepts) for name, combo in recorded.items() if combo.concepts}


def _print_members(members: Sequence[MemberState], everyone: Iterable[str], names: Mapping[str, str]) -> None:
    """Print members; on a terminal that is too narrow, ids are cut and combos are named by their concepts alone."""
    from genpool.cli.output import print_table, table_width, terminal_width

    lines = [_line(one, names, None) for one in members]
    terminal = terminal_width()
    if terminal is not None and table_width(_COLUMNS, lines) > terminal:
        length = _telling_length(set(everyone))
        lines = [_line(one, names, length) for one in members]
    print_table(_COLUMNS, lines, right=["replicate", "score"], whole=["gen_id"])


def _line(one: MemberState, names: Mapping[str, str], length: int | None) -> list[object]:
    """Return a member's line; `length` is what ids are cut to."""
    choices = dict(one.fields)
    parent = choices.pop(PARENT_FIELD, None)
    combo = choices.pop(ROOT_FIELD, None)
    replicate = choices.pop(REPLICATE_FIELD, None)
    source = str(parent)[:length]
    if parent is None:
        name = names.get(str(combo))
        source = str(combo) if name is None else name if length else f"{combo} ({name})"
    score = one.record.score.value if one.record and one.record.score else None
    return [
        one.gen_id[:length],
        one.state,
        " ".join(str(value) for value in choices.values()),
        replicate,
        source,
        None if score is None else f"{score:g}",
    ]


def _telling_length(gen_ids: set[str]) -> int:
    """Return to how many characters ids can be cut and still be told apart."""
    length = _SHORTEST
    while len({gen_id[:length] for gen_id in gen_ids}) < len(gen_ids):
        length += 1
    return length


def _document(one: MemberState) -> dict[str, Any]:
    record = one.record
    if record is None:
        return {"stage": one.stage, "gen_id": one.gen_id, "state": one.state, **one.fields}
    return {
        "stage": one.stage,
        "gen_id": one.gen_id,
        "state": one.state,
        **one.fields,
        "origin_cohort_id": record.origin_cohort_id,
        "mode": record.mode,
        "created_at": record.created_at,
        "score": record.score.as_json() if record.score else None,
    }
