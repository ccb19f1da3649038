"""A file of tasks to the part of a plan that makes them, and what they start from.

The lines are those that `genpool missing` and `genpool plan --tasks` print, or documents of `genpool why --json`, one a
line: a stage and a signature each; what these say besides is passed over. A line that is not a task of the plan
is an error, told with file and line before anything is made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import orjson

from genpool.errors import GenpoolError, InputError
from genpool.gen_ids import gen_id as id_of
from genpool.planner import Plan, State
from genpool.signatures import Signature, reference_problem
from genpool.yaml_reader import Problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from genpool.aliases import Aliases
    from genpool.planner import StagePlan
    from genpool.stages import Pipeline

_WHY: Final = "genpool.why/1"
_MOST_TOLD: Final = 20
"""So many wrong lines of one file are told."""

_Wanted = dict[tuple[object, ...], tuple[int, str | None]]
"""The values of a signature to the line that names it and the id that this line gives."""


def restrict(plan: Plan, file: Path, salt: str, aliases: Aliases | None = None) -> Plan:
    """Return a plan of which only the tasks of a file, and those above them, are to be made.

    Args:
        plan: The whole plan; every task stays a member.
        file: JSONL: stage, signature and, if it is known, gen_id of one task a line.
        salt: The pool's salt.
        aliases: What ids became in a migration, if the pool had one.

    Raises:
        InputError: The file cannot be read, or a line is no task of the plan; every problem is listed.
    """
    problems = Problems(str(file))
    wanted = _read(file, plan, aliases, problems)
    keep: set[tuple[str, int]] = set()
    for name, lines in wanted.items():
        keep.update((name, index) for index in _found(plan.stage(name), lines, salt, plan.cohort_id, problems))
    if len(problems.found) > _MOST_TOLD:
        more = len(problems.found) - _MOST_TOLD
        problems.found = sorted(problems.found, key=lambda one: one.line or 0)[:_MOST_TOLD]
        problems.add(f"{more:,} more lines are wrong")
    problems.raise_if_any(InputError, f"{file} does not name tasks of the plan of {plan.cohort_id!r}")
    _add_above(plan, keep)
    return replace(plan, stages=tuple([_held(stage, keep) for stage in plan.stages]))


def _read(file: Path, plan: Plan, aliases: Aliases | None, problems: Problems) -> Mapping[str, _Wanted]:
    """Return the tasks that a file names, by stage."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 ({error.reason} at byte {error.start})") from None
    planned = [stage.stage.name for stage in plan.stages]
    wanted: dict[str, _Wanted] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            signature, given = _task(line, plan.pipeline)
        except GenpoolError as error:
            problems.add(error.message, number, error.hint)
            continue
        name = signature.stage.name
        if aliases is not None:
            signature = aliases.signature(signature)
            given = aliases.resolve(name, given) if given and not reference_problem(given) else given
        if name not in planned:
            hint = f"it has {', '.join(planned)}"
            problems.add(f"cohort {plan.cohort_id!r} selects nothing in stage {name!r}", number, hint)
        else:
            wanted.setdefault(name, {}).setdefault(signature.values, (number, given))
    return wanted


def _task(line: str, pipeline: Pipeline) -> tuple[Signature, str | None]:
    """Return the signature of a line, and the id that it gives.

    Raises:
        GenpoolError: The line is not a signature.
    """
    right = 'a line is {"stage": …, and every field of its signature}, as `genpool missing` prints it'
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError(f"not readable as JSON: {error}", hint=right) from None
    if not isinstance(value, dict) or not isinstance(value.get("stage"), str):
        raise InputError("not a JSON object with a stage", hint=right)
    if value.get("format") == _WHY and isinstance(value.get("signature"), dict):
        value = {"stage": value["stage"], "gen_id": value.get("gen_id"), **value["signature"]}
    stage = pipeline[value.pop("stage")]
    if "state" not in stage.fields:
        value.pop("state", None)  # of `plan --tasks`: what is so now, not what it was
    given = value.pop("gen_id", None)
    if given is not None and not isinstance(given, str):
        raise InputError(f"gen_id = {given!r} must be text", hint=right)
    return Signature.of(stage, value), given


def _found(stage: StagePlan, wanted: _Wanted, salt: str, cohort_id: str, problems: Problems) -> Iterator[int]:
    """Yield the positions of the tasks that lines name; note lines that name none, or another id."""
    sources = {values[0] for values in wanted}
    left = dict(wanted)
    for index, source in enumerate(stage.sources):
        if stage.source_ids[source] not in sources:
            continue
        signature = stage.signature(index)
        named = left.pop(signature.values, None)
        if named is None:
            continue
        number, given = named
        right = stage.gen_ids[index]
        if given is not None and given not in {right, id_of(signature, salt)}:
            problems.add(f"gen_id {given!r} is not that of this signature", number, f"it is {right}")
        else:
            yield index
    for values, (number, _) in left.items():
        typed = ", ".join(f"{name} = {value}" for name, value in zip(stage.stage.fields, values, strict=True))
        hint = f"`genpool plan {cohort_id} --tasks` lists them"
        problems.add(f"no task of cohort {cohort_id!r}: {stage.stage.name} with {typed}", number, hint)


def _add_above(plan: Plan, keep: set[tuple[str, int]]) -> None:
    """Add the tasks that some tasks start from."""
    for name, index in sorted(keep):
        at, where = plan.stage(name), index
        while at.stage.parent is not None:
            where = at.sources[where]
            at = plan.stage(at.stage.parent)
            if (at.stage.name, where) in keep:
                break
            keep.add((at.stage.name, where))


def _held(stage: StagePlan, keep: Iterable[tuple[str, int]]) -> StagePlan:
    """Return a stage of which what is not kept is not to be made."""
    states = bytearray(stage.states)
    kept = frozenset(index for name, index in keep if name == stage.stage.name)
    for index in stage.to_make():
        if index not in kept:
            states[index] = State.HELD
    return replace(stage, states=states)
