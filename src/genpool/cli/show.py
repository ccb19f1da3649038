"""`genpool show`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genpool.errors import GenpoolError, NotFound
    from genpool.pool import Pool
    from genpool.records import Record
    from genpool.stages import Stage
    from genpool.store import Attempt


_CHILDREN_SHOWN = 6


@click.command("show")
@click.argument("gen_id")
@click.option("--prompt", is_flag=True, help="Print only the prompt that was sent.")
@click.option("--raw", is_flag=True, help="Print only the answer as the model gave it.")
@click.option("--text", is_flag=True, help="Print only the text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: metadata, lineage and texts.")
@click.pass_obj
def command(root: str | None, gen_id: str, *, prompt: bool, raw: bool, text: bool, as_json: bool) -> None:
    """Show one generation: its texts and what led to them.

    GEN_ID is an id, or the beginning of one that no other shares. Control characters in a text are shown, not
    obeyed, when it goes to a terminal. A task that has no generation but kept attempts shows these.
    """
    from genpool.cli.arguments import refuse_together
    from genpool.errors import NotFound
    from genpool.pool import Pool

    refuse_together(prompt=prompt, raw=raw, text=text, json=as_json)
    wanted = "prompt" if prompt else "raw" if raw else "parsed" if text else None
    pool = Pool.find(root)
    try:
        record = pool.find_generation(gen_id)
    except NotFound as unknown:
        found = None if pool.is_generation(gen_id) else pool.find_attempts(gen_id)
        if found is None:
            raise _lacking(pool, gen_id, unknown) from None
        _show_attempts(pool, *found, wanted=wanted, as_json=as_json)
        return
    if as_json:
        _print_json(pool, record)
    elif wanted:
        _print_text(_text(pool, record, wanted))
    else:
        _print(pool, record)


def _lacking(pool: Pool, gen_id: str, unknown: NotFound) -> NotFound:
    """Return the error for an id that nothing bears: where cohorts lack what it is of, one that names them."""
    from genpool.errors import NotFound

    try:
        task = pool.why(gen_id)
    except NotFound:
        return unknown
    if task.exists or not task.cohorts:
        return unknown
    said = f"{task.gen_id} is a member of {', '.join(task.cohorts)}, and is not made"
    return NotFound(said, hint=f"`genpool why {task.gen_id}` says why")


def _text(pool: Pool, record: Record, name: str) -> str:
    """Return one text of a generation.

    Raises:
        NotFound: It is a copy, which has neither prompt nor answer; or the file is gone.
    """
    from genpool.errors import NotFound
    from genpool.records import MODE_COPY

    if record.mode == MODE_COPY and name != "parsed":
        what = {"prompt": "prompt", "raw": "answer of a model"}[name]
        raise NotFound(
            f"{record.gen_id} is a copy of {record.signature.source}; it has no {what}",
            hint=f"`genpool show {record.signature.source} --{name}` shows that of what was copied",
        )
    return pool.store.text(record, name)


def _print_text(text: str) -> None:
    """Print a text as it is into a file or pipe, harmless on a terminal."""
    from genpool.cli.output import print_text

    if sys.stdout.isatty():
        print_text(text)
        return
    sys.stdout.write(text)
    if not text.endswith("\n"):
        sys.stdout.write("\n")


def _print_json(pool: Pool, record: Record) -> None:
    from genpool.cli.output import print_json

    names = [name for name in ("prompt", "raw", "parsed") if name in record.fingerprints]
    above, problem = _lineage(pool, record)
    print_json(
        {
            "format": "genpool.show/1",
            "metadata": record.as_json(),
            "children": [{"stage": stage, "gen_id": gen_id} for stage, gen_id in pool.children(record)],
            "lineage": [{"stage": one.stage.name, "gen_id": one.gen_id, **one.stated()} for one in above],
            "texts": {name: pool.store.text(record, name) for name in names or ["parsed"]},
            "path": str(pool.layout.generation(record.stage.name, record.gen_id)),
        }
    )
    _warn(problem)


def _lineage(pool: Pool, record: Record) -> tuple[list[Record], GenpoolError | None]:
    """Return the records above one, nearest first, as far as they can be read; and why no farther."""
    from genpool.errors import GenpoolError
    from genpool.stages import PARENT_FIELD

    found: list[Record] = []
    while record.stage.parent is not None:
        try:
            record = pool.store.record(pool.config.pipeline[record.stage.parent], str(record.signature[PARENT_FIELD]))
        except GenpoolError as error:
            return found, error
        found.append(record)
    return found, None


def _warn(problem: GenpoolError | None) -> None:
    from genpool.cli.output import shown

    if problem is not None:
        sys.stdout.flush()
        print(f"warning: {shown(problem.message)}", file=sys.stderr)


def _print(pool: Pool, record: Record) -> None:
    """Print a generation for a person: facts, text, lineage."""
    from genpool.cli.ls import combo_names
    from genpool.cli.output import one_line, print_text

    text = pool.store.text(record)
    names = combo_names(pool)
    print(f"{record.stage.name} {record.gen_id}")
    print(one_line(_made(record)))
    for field, value in record.stated().items():
        print(f"  {one_line(field):<16}{'not recorded' if value is None else one_line(_named(value, names))}")
    for line in _call_facts(record):
        print(f"  {one_line(line)}")
    if record.score is not None:
        print(f"  {'score':<16}{record.score.value:g} (scale {record.score.min:g} to {record.score.max:g})")
    print()
    print_text(text)
    print()
    problem = _print_lineage(pool, record, names)
    _print_children(pool, record)
    print(f"files: {pool.layout.generation(record.stage.name, record.gen_id)}")
    _warn(problem)


def _made(record: Record) -> str:
    """Return how a generation came about, in words: as far as its record says it."""
    stated = record.stored is None or record.stored.get("mode") is not None
    how = {"copy": "copied", "llm": "made by a model"}.get(record.mode, record.mode) if stated else "made elsewhere"
    whose = (
        f" for cohort {record.origin_cohort_id}" if record.origin_cohort_id else ", for which cohort is not recorded"
    )
    return f"{how}{whose}, {record.created_at or 'when is not recorded'}"


def _print_lineage(pool: Pool, record: Record, names: Mapping[str, str]) -> GenpoolError | None:
    """Print what is above a generation, as far as it can be read; return why no farther."""
    from genpool.cli.output import one_line
    from genpool.errors import NotFound
    from genpool.stages import ROOT_FIELD

    above, problem = _lineage(pool, record)
    for depth, one in enumerate(above):
        values = [str(value) for value in one.signature.values[1:-1]]
        combo = one.signature.get(ROOT_FIELD)
        chosen = ", ".join([*([_named(combo, names)] if combo in names else []), *values])
        print(f"{'  ' * depth}└ from {one.stage.name} {one.gen_id} ({one_line(chosen)})")
    if problem is not None:
        last = above[-1] if above else record
        said = "not here" if isinstance(problem, NotFound) else "damaged"
        print(f"{'  ' * len(above)}└ from {last.stage.parent} {one_line(last.signature.source)} ({said})")
    return problem


def _print_children(pool: Pool, record: Record) -> None:
    """Print what starts from a generation, a few by name."""
    children = pool.children(record)
    for stage, gen_id in children[:_CHILDREN_SHOWN]:
        print(f"┌ read by {stage} {gen_id}")
    if len(children) > _CHILDREN_SHOWN:
        print(f"┌ and by {len(children) - _CHILDREN_SHOWN:,} more")


def _named(value: object, names: Mapping[str, str]) -> str:
    """Return a field's value, with the concepts that it stands for where it is a combo's id."""
    return f"{value} ({names[str(value)]})" if str(value) in names else str(value)


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


def _show_attempts(
    pool: Pool, stage: Stage, gen_id: str, attempts: tuple[Attempt, ...], *, wanted: str | None, as_json: bool
) -> None:
    """Print the attempts at a task that has no generation.

    Raises:
        NotFound: A text is wanted, and there is none.
    """
    from genpool.cli.output import many, one_line, print_json
    from genpool.errors import NotFound

    folder = pool.layout.attempts(stage.name, gen_id)
    if as_json:
        kept = [
            {
                "number": one.number,
                "kind": one.reason.kind,
                "message": one.reason.message,
                "path": f"{folder}/{one.number}",
            }
            for one in attempts
        ]
        print_json(
            {"format": "genpool.attempts/1", "stage": stage.name, "gen_id": gen_id, "made": False, "attempts": kept}
        )
        return
    said = f"{gen_id} was not made; {many(len(attempts), 'attempt')} kept"
    if wanted:
        raise NotFound(f"{said} in {folder}", hint=f"`genpool show {gen_id}` says why, and --json lists them")
    print(f"{stage.name} {said}")
    for one in attempts:
        print(f"  {one.number}  {one_line(one.reason.kind)}: {one_line(one.reason.message)}")
    print(f"files: {folder}")
