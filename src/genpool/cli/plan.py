"""`genpool plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from genpool.estimate import Estimate
    from genpool.planner import Plan
    from genpool.pool import Pool


@click.command("plan")
@click.argument("cohort")
@click.option("--tasks", is_flag=True, help="List every task: its state, id and signature, one JSON object a line.")
@click.option("--retry-exhausted", is_flag=True, help="Count exhausted tasks as to be tried again.")
@click.option("--refresh", is_flag=True, help="Resolve a query under `from:` anew instead of as adopted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, cohort: str, *, tasks: bool, retry_exhausted: bool, refresh: bool, as_json: bool) -> None:
    """Say what a run would make, without making it.

    Reads the spec of COHORT, the templates and what exists. Calls no model, and writes nothing but a cache.

    The state of a task (--tasks): reuse, it exists; mint, it is to be made; incomplete, it is to be made and
    something unfinished is in its place; exhausted, its attempts reached the model's limit; blocked, one above it
    is exhausted or unusable; unusable, what is in its place is damaged.
    """
    from genpool.cli.arguments import refuse_together
    from genpool.cli.output import print_json
    from genpool.cli.reading import reading_shown
    from genpool.pool import Pool

    refuse_together(tasks=tasks, json=as_json)
    pool = Pool.find(root)
    with reading_shown(pool, quiet=as_json):
        plan = pool.plan(cohort, retry_exhausted=retry_exhausted, refresh=refresh)
    if tasks:
        print_tasks(plan)
    elif as_json:
        print_json(plan_document(pool, plan))
    else:
        print_plan(pool, plan, retry_exhausted=retry_exhausted)


def plan_document(pool: Pool, plan: Plan) -> dict[str, Any]:
    """Return a plan's counts as one JSON document."""
    from genpool.cli.drift import document
    from genpool.cli.output import as_keys, origins_document

    rows = {stage.stage.name: stage.row(plan.cohort_id) for stage in plan.stages}
    keyed = {name: as_keys(row) for name, row in rows.items()}
    totals = {key: sum(row[key] for row in keyed.values()) for key in next(iter(keyed.values()), {})}

    expected = pool.estimate(plan)
    origins = {
        stage.stage.name: {str(origin): count for origin, count in stage.origins().items()} for stage in plan.stages
    }
    return {
        "format": "genpool.plan/1",
        "cohort_id": plan.cohort_id,
        "stages": keyed,
        "total": totals,
        "origins": origins,
        "reused_from": origins_document({stage.stage.name: stage.origins() for stage in plan.stages}),
        "estimate": expected.as_json(),
        "budget": budget_document(pool, expected),
        "drift": [document(one) for one in plan.drift],
        "problems": {gen_id: said for stage in plan.stages for gen_id, said in stage.problems.items()},
        "notes": list(plan.notes),
    }


def print_plan(pool: Pool, plan: Plan, *, retry_exhausted: bool = False) -> None:
    """Print a plan's counts as a table, and in a sentence what they mean and what to type next."""
    from genpool.cli.arguments import command_line
    from genpool.cli.drift import print_drift
    from genpool.cli.output import many, one_line, print_counts, print_origins, shown

    rows = {stage.stage.name: stage.row(plan.cohort_id) for stage in plan.stages}
    print(f"cohort {one_line(plan.cohort_id)}\n")
    print_counts(rows, ("wanted", "reused", "to make", "calls"))
    print_origins(plan.cohort_id, {stage.stage.name: stage.origins() for stage in plan.stages})
    print()
    for note in plan.notes:
        print(f"note: {shown(note)}")
    print_drift(plan.cohort_id, plan.drift)
    for stage in plan.stages:
        for said in stage.problems.values():
            print(f"unusable: {shown(said)}")
    again = command_line("run", plan.cohort_id)
    if plan.to_make:
        expected = pool.estimate(plan)
        print_estimate(expected)
        print_budget(pool, expected)
        calls = sum(row["calls"] for row in rows.values())
        for said in _unset_keys(pool, plan):
            print(f"note: {shown(said)}")
        exactly = f"{again} --retry-exhausted" if retry_exhausted else again
        print(f"{many(calls, 'call')} to make {many(plan.to_make, 'generation')}: {exactly}")
    left = plan.missing - plan.to_make
    exhausted = sum(row["exhausted"] for row in rows.values())
    if exhausted:
        print(f"{many(left, 'task')} exhausted or below one that is; to try again: {again} --retry-exhausted")
    elif left:
        print(f"{many(left, 'task')} cannot be made: unusable, or below one that is")
    elif not plan.missing:
        print("everything exists: a run would make 0 calls")


def _unset_keys(pool: Pool, plan: Plan) -> list[str]:
    """Return what is to be said of models that a run would call and whose key is not set."""
    from genpool.errors import MissingKey

    lacking: dict[str, str] = {}
    for entry in pool.config.models.values():
        if entry.key is not None:
            from genpool.llm.openai_compatible import find_key

            try:
                find_key(entry, pool.root)
            except MissingKey as error:
                lacking[entry.model_id] = f"{error.message}; a run will need it ({error.hint})"
    if not lacking:
        return []
    called = {
        plan.model_of(stage, at) for stage in plan.stages for at in stage.to_make() if not stage.copies(at)
    }  # as many as there are tasks: looked through only where it matters
    return [said for model_id, said in lacking.items() if model_id in called]


def print_estimate(expected: Estimate) -> None:
    """Print what the calls will take."""
    from genpool.cli.output import many

    tokens_in, tokens_out = expected.input_tokens, expected.output_tokens
    print(f"tokens in about {tokens_in.expected:,.0f} ({tokens_in.low:,.0f} to {tokens_in.high:,.0f}), ", end="")
    print(f"out about {tokens_out.expected:,.0f} ({tokens_out.low:,.0f} to {tokens_out.high:,.0f})", end="")
    rough = expected.without_history
    print(f"; rough for {many(rough, 'call')} of a kind that the pool has not seen" if rough else "")
    if expected.without_length:
        unknown = many(expected.without_length, "answer")
        print(
            f"how long {unknown} will be is not known (no max_tokens, none seen yet): counted as 0, so it will be more"
        )
    if expected.cost is not None:
        cost = expected.cost
        print(f"cost about {cost.expected:.4f} ({cost.low:.4f} to {cost.high:.4f})", end="")
        print(f"; without a price: {unpriced_models(expected)}" if expected.unpriced else "")
    if expected.most_calls > expected.calls:
        print(f"answers that are not acceptable are asked for again: {many(expected.most_calls, 'call')} at the most")


def print_budget(pool: Pool, expected: Estimate) -> None:
    """Print how the pool stands against its budget, whether the cost fits, and which models it does not bound."""
    from genpool.budget import standing
    from genpool.cli.output import one_line

    if pool.config.budget is None:
        return
    now = standing(pool.layout, pool.config.budget)
    held = f", {now.reserved:.4f} set against calls in flight or unknown" if now.reserved else ""
    print(f"budget {now.limit:g}: {now.spent:.4f} spent{held}, {now.left:.4f} left")
    if expected.cost is not None and expected.cost.high > max(now.left, 0):
        surely = "is" if expected.cost.expected > max(now.left, 0) else "may be"
        print(f"the cost {surely} more than is left: a run stops there; `budget` in pool.yaml raises it")
    if expected.unpriced:
        print(f"the budget does not bound what has no price: {unpriced_models(expected)}")
    if expected.unlimited:
        print(f"the budget bounds only roughly what has no max_tokens: {', '.join(map(one_line, expected.unlimited))}")


def budget_document(pool: Pool, expected: Estimate) -> dict[str, Any] | None:
    """Return how the pool stands against its budget as a JSON object; None where it has none."""
    from genpool.budget import standing

    if pool.config.budget is None:
        return None
    now = standing(pool.layout, pool.config.budget)
    enough = expected.cost is None or expected.cost.expected <= max(now.left, 0)
    return {"limit": now.limit, "spent": now.spent, "reserved": now.reserved, "left": now.left, "enough": enough}


def unpriced_models(expected: Estimate) -> str:
    """Return the models without a price in words."""
    from genpool.cli.output import one_line

    return ", ".join(one_line(name) or "a model that is not known" for name in expected.unpriced)


def print_tasks(plan: Plan) -> None:
    """Print every task of a plan, one JSON object a line."""
    from genpool.cli.output import print_json_line

    for task in plan.tasks():
        print_json_line(
            {
                "state": task.state.name.lower(),
                "stage": task.stage.name,
                "gen_id": task.gen_id,
                **task.signature.as_dict(),
            }
        )
