"""`genpool why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from genpool.why import Why


@click.command("why")
@click.argument("task", metavar="GEN_ID|STAGE")
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, task: str, fields: tuple[str, ...], *, as_json: bool) -> None:
    """Say why a task is reused or to be made.

    The task is a GEN_ID, of a generation or of a missing member of a cohort, or how one begins; or a STAGE with the
    FIELDs of its signature. A task that exists is reused, and it is said whose it is; else the nearest signature
    that exists is named, with the fields in which it differs. One is exhausted whose model was asked as often as it
    may be.
    """
    from genpool.cli.arguments import typed_fields
    from genpool.cli.output import print_json
    from genpool.pool import Pool
    from genpool.signatures import Signature

    pool = Pool.find(root)
    found = pool.why(Signature.of(pool.config.pipeline[task], typed_fields(fields)) if fields else task)
    if as_json:
        print_json(_document(found))
    else:
        _print(found)


def _document(found: Why) -> dict[str, Any]:
    nearest = found.nearest
    return {
        "format": "genpool.why/1",
        "gen_id": found.gen_id,
        "stage": found.signature.stage.name,
        "signature": found.signature.as_dict(),
        "exists": found.exists,
        "origin_cohort_id": found.origin,
        "cohorts": list(found.cohorts),
        "problem": found.problem,
        "exhausted": found.exhausted and {"llm_model_id": found.exhausted[0], "attempts": found.exhausted[1]},
        "nearest": nearest
        and {
            "gen_id": nearest.gen_id,
            "differs": {name: {"wanted": mine, "exists": theirs} for name, (mine, theirs) in nearest.differs.items()},
        },
    }


def _print(found: Why) -> None:
    from genpool.cli.output import one_line, shown

    members = f"; a member of {one_line(', '.join(found.cohorts))}" if found.cohorts else "; a member of no cohort"
    if found.exists:
        print(f"reused: {found.gen_id} exists, made for cohort {one_line(found.origin or '?')}{members}")
        return
    if found.problem is not None:
        print(f"unusable: {shown(found.problem)}")
        return
    if found.exhausted is not None:
        from genpool.cli.output import many

        model, tried = found.exhausted
        print(
            f"exhausted: {many(tried, 'answer')} of {one_line(model)} to {found.gen_id} could not be used, and it is "
            f"not asked more often; `genpool run COHORT --retry-exhausted` asks again{members}"
        )
        return
    print(f"to be made: nothing has this signature; its id is {found.gen_id}{members}")
    if found.nearest is None:
        print(f"no generation of stage {found.signature.stage.name} exists yet")
        return
    print(f"nearest is {found.nearest.gen_id}, which differs in")
    for name, (mine, theirs) in found.nearest.differs.items():
        print(f"  {name}: {one_line(mine)} is wanted, {one_line(theirs)} exists")
