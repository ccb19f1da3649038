"""`genpool show`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from genpool.pool import Pool
    from genpool.records import Record
    from genpool.stages import Stage
    from genpool.store import Attempt


@click.command("show")
@click.argument("gen_id")
@click.option("--prompt", "texts", flag_value="prompt", help="Print only the prompt that was sent.")
@click.option("--raw", "texts", flag_value="raw", help="Print only the answer as the model gave it.")
@click.option("--text", "texts", flag_value="parsed", help="Print only the text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: metadata, lineage and texts.")
@click.pass_obj
def command(root: str | None, gen_id: str, *, texts: str | None, as_json: bool) -> None:
    """Show one generation: its texts and what led to them.

    GEN_ID is an id, or the beginning of one that no other shares. Control characters in a text are shown, not
    obeyed, when it goes to a terminal. A task that has no generation but kept attempts shows these.
    """
    from genpool.errors import NotFound
    from genpool.pool import Pool

    pool = Pool.find(root)
    try:
        record = pool.find_generation(gen_id)
    except NotFound:
        found = pool.find_attempts(gen_id)
        if not found or texts or as_json:
            raise
        _print_attempts(pool, *found)
        return
    if as_json:
        _print_json(pool, record)
    elif texts:
        _print_text(pool.store.text(record, texts))
    else:
        _print(pool, record)


def _print_text(text: str) -> None:
    """Print a text as it is into a file or pipe, harmless on a terminal."""
    from genpool.cli.output import shown

    sys.stdout.write(shown(text) if sys.stdout.isatty() else text)
    if not text.endswith("\n"):
        sys.stdout.write("\n")


def _print_json(pool: Pool, record: Record) -> None:
    from genpool.cli.output import print_json
    from genpool.scope import lineage

    names = [name for name in ("prompt", "raw", "parsed") if name in record.fingerprints]
    above = [
        {"stage": one.stage.name, "gen_id": one.gen_id, **one.signature.as_dict()}
        for one in lineage(pool.config.pipeline, pool.store, record)
    ]
    print_json(
        {
            "format": "genpool.show/1",
            "metadata": record.as_json(),
            "lineage": above,
            "texts": {name: pool.store.text(record, name) for name in names or ["parsed"]},
            "path": str(pool.layout.generation(record.stage.name, record.gen_id)),
        }
    )


def _print(pool: Pool, record: Record) -> None:
    """Print a generation for a person: facts, lineage, text."""
    from genpool.cli.output import shown
    from genpool.scope import lineage

    made = {"copy": "copied", "llm": "made by a model"}.get(record.mode, record.mode)
    print(f"{record.stage.name} {record.gen_id}")
    print(f"{made} for cohort {record.origin_cohort_id}, {record.created_at}")
    for field, value in record.signature.as_dict().items():
        print(f"  {field:<16}{shown(str(value))}")
    for line in _call_facts(record):
        print(f"  {line}")
    if record.score is not None:
        print(f"  {'score':<16}{record.score.value:g} (scale {record.score.min:g} to {record.score.max:g})")
    above = lineage(pool.config.pipeline, pool.store, record)
    for depth, one in enumerate(above):
        print(f"{'  ' * depth}└ from {one.stage.name} {one.gen_id} ({_choices(one)})")
    print(f"\n{shown(pool.store.text(record))}\n")
    print(f"files: {pool.layout.generation(record.stage.name, record.gen_id)}")


def _call_facts(record: Record) -> list[str]:
    """Return what is worth knowing of the call."""
    call: dict[str, Any] = dict(record.call or {})
    usage = call.get("usage") or {}
    facts = []
    if call:
        facts.append(f"{'model':<16}{call.get('model')} ({call.get('provider')}), seed {call.get('seed')}")
        facts.append(
            f"{'call':<16}{usage.get('input_tokens')} tokens in, {usage.get('output_tokens')} out, "
            f"{call.get('seconds')} s, ended by {call.get('finish_reason')}"
        )
    return facts


def _choices(record: Record) -> str:
    from genpool.cli.output import shown

    return ", ".join(shown(str(value)) for value in record.signature.values[1:-1])


def _print_attempts(pool: Pool, stage: Stage, gen_id: str, attempts: tuple[Attempt, ...]) -> None:
    """Print the attempts at a task that has no generation."""
    from genpool.cli.output import many

    print(f"{stage.name} {gen_id}: not made; {many(len(attempts), 'attempt')} kept")
    for one in attempts:
        print(f"  {one.number}  {one.reason.kind}: {one.reason.message}")
    print(f"files: {pool.layout.attempts(stage.name, gen_id)}")
