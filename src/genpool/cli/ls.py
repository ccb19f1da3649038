"""`genpool ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from genpool.stages import PARENT_FIELD, REPLICATE_FIELD, ROOT_FIELD

if TYPE_CHECKING:
    from genpool.pool import Pool
    from genpool.scope import MemberState


@click.command("ls")
@click.argument("cohort", required=False)
@click.option("--stage", help="Only this stage.")
@click.option("--state", type=click.Choice(["own", "reused", "missing"]), help="Only members in this state.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, cohort: str | None, *, stage: str | None, state: str | None, as_json: bool) -> None:
    """List cohorts, or the generations of one.

    Without COHORT the pool's cohorts; with it the cohort's members, in plan order.
    """
    from genpool.pool import Pool

    pool = Pool.find(root)
    if cohort is None:
        _cohorts(pool, as_json=as_json)
        return
    if stage is not None:
        pool.config.pipeline[stage]
    members = [one for one in pool.scope(cohort).members(stage) if state in {None, one.state}]
    _members(members, as_json=as_json)


def _cohorts(pool: Pool, *, as_json: bool) -> None:
    from genpool.cli.output import print_json, print_table

    rows = []
    for name in pool.cohort_ids():
        adopted = pool.layout.membership(name).is_file()
        members = len(pool.scope(name).member_ids) if adopted else None
        rows.append({"cohort_id": name, "members": members, "spec": pool.layout.spec(name).is_file()})
    if as_json:
        print_json({"format": "genpool.cohorts/1", "cohorts": rows})
    elif not rows:
        print(f"{pool.root} has no cohort yet: write cohorts/<name>/cohort.yaml")
    else:
        lines = [[row["cohort_id"], "not run yet" if row["members"] is None else row["members"]] for row in rows]
        print_table(["cohort", "members"], lines, right=["members"])


def _members(members: list[MemberState], *, as_json: bool) -> None:
    from genpool.cli.output import print_json, print_table

    if as_json:
        print_json({"format": "genpool.members/1", "members": [_document(one) for one in members]})
        return
    lines = []
    for one in members:
        choices = dict(one.fields)
        source = choices.pop(PARENT_FIELD, None) or choices.pop(ROOT_FIELD, None)
        replicate = choices.pop(REPLICATE_FIELD, None)
        score = one.record.score.value if one.record and one.record.score else None
        made_with = " ".join(str(value) for value in choices.values())
        lines.append([one.gen_id, one.state, made_with, replicate, source, score])
    columns = ["gen_id", "state", "made with", "n", "from", "score"]
    print_table(columns, lines, right=["n", "score"])


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
