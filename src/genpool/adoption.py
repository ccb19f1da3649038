"""What a cohort adopts: membership.csv and adopted.json, written; `membership` reads the former.

The membership is replaced by one rename, and only when it changes.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

import orjson

from genpool.aliases import read_aliases
from genpool.canonical import sha256
from genpool.combos import combo_lines, read_combo_book
from genpool.durable import append_lines, reading, replace_file, storage_errors
from genpool.errors import CorruptFile
from genpool.ledger import utc_now
from genpool.locks import cohort_lock, file_lock
from genpool.slots import HEADER_LINE, read_slots, slot_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from genpool.canonical import Json
    from genpool.inputs import Inputs
    from genpool.layout import PoolLayout
    from genpool.planner import Plan, StagePlan
    from genpool.signatures import FieldValue
    from genpool.spec import CohortSpec

ADOPTED_FORMAT: Final = "genpool.adopted/1"


def membership_bytes(plan: Plan) -> bytes:
    """Return the content of membership.csv for a plan: a line a task, in plan order."""
    fields: list[str] = []
    for stage in plan.pipeline:
        fields.extend(name for name in stage.fields[:-1] if name not in fields)
    fields.append("replicate")
    lines = [",".join(map(_cell, ("stage", "gen_id", *fields))), "\n"]
    for part in plan.stages:
        lines += _member_lines(part, fields)
    return "".join(lines).encode()


def _member_lines(part: StagePlan, fields: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a stage's tasks; what is the same for all tasks of a variant is written once."""
    names = part.stage.fields
    at = fields.index(part.stage.source_field)
    around = []
    for choice in part.choices:
        stated = dict(zip(names[1:], choice, strict=True))
        cells = [_cell(stated.get(name, "")) for name in fields]
        around.append(("".join(f"{one}," for one in cells[:at]), "".join(f",{one}" for one in cells[at + 1 :])))
    sources = part.source_ids if part.stage.parent else [_cell(one) for one in part.source_ids]
    start = f"{_cell(part.stage.name)},"
    for gen_id, source, variant in zip(part.gen_ids, part.sources, part.variants, strict=True):
        before, behind = around[variant]
        yield f"{start}{gen_id},{before}{sources[source]}{behind}\n"  # an id never needs quotation marks


def _cell(value: FieldValue) -> str:
    """Return a value as a cell of a CSV."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerow(["", value])
    return out.getvalue()[1:-1]


def adopt(layout: PoolLayout, spec: CohortSpec, plan: Plan, inputs: Inputs, models: Iterable[str]) -> bool:
    """Make a plan the cohort's membership; record what its combo ids stand for.

    The slots of its legacy generations are recorded before, by `record_slots`.

    Args:
        layout: The pool's paths.
        spec: The spec that the plan is of.
        plan: The plan.
        inputs: The pool's inputs.
        models: The names of the pool's models.

    Returns:
        Whether anything was written: False where the same was adopted before.

    Raises:
        PoolBusy: Another process is writing this cohort's membership.
        StorageFailed: It could not be written; the old membership stays.
        InvalidCombo: A combo id was recorded under another meaning in the meantime.
    """
    _record_combos(layout, plan, inputs)
    _take_ids_back(layout, plan)
    members = membership_bytes(plan)
    facts = _facts(spec, inputs, models, members)
    with (
        cohort_lock(layout, spec.cohort_id),
        storage_errors(f"cannot write the membership of {spec.cohort_id!r}"),
    ):
        if _adopted_already(layout, spec.cohort_id, facts, members):
            return False
        replace_file(layout.membership(spec.cohort_id), members)
        stamped = {**facts, "adopted_at": utc_now()}
        replace_file(
            layout.adopted(spec.cohort_id),
            orjson.dumps(stamped, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE),
        )
    return True


def _facts(spec: CohortSpec, inputs: Inputs, models: Iterable[str], members: bytes) -> dict[str, Json]:
    """Return what adopted.json says, but for the time."""
    return {
        "format": ADOPTED_FORMAT,
        "cohort_id": spec.cohort_id,
        "spec": sha256(spec.text.encode()),
        "membership": sha256(members),
        "catalogs": {
            "concepts": _names_digest(inputs.concept_ids()),
            "templates": {part.stage.name: _names_digest(inputs.template_ids(part.stage.name)) for part in spec.stages},
            "models": _names_digest(models),
        },
        "roots": list(spec.roots.gen_ids) if spec.roots else [],
        "from": spec.roots.query if spec.roots else None,
    }


def _names_digest(names: Iterable[str]) -> str:
    """Return the digest of a catalog's names: what `all` stood for."""
    return sha256("\n".join(sorted(names)).encode())


def _adopted_already(layout: PoolLayout, cohort_id: str, facts: dict[str, Json], members: bytes) -> bool:
    try:
        with reading(layout.cohort(cohort_id)):
            before = orjson.loads(layout.adopted(cohort_id).read_bytes())
            same = all(before.get(key) == facts[key] for key in ("format", "spec", "membership", "roots", "from"))
            return same and layout.membership(cohort_id).read_bytes() == members
    except (FileNotFoundError, orjson.JSONDecodeError, AttributeError):
        return False


def read_frozen(layout: PoolLayout, cohort_id: str) -> tuple[list[str], Json]:
    """Return the generations that an adopted cohort starts from, and the query that they answered.

    Returns:
        Their ids, and the query as JSON. No ids where nothing was adopted or the cohort starts from combos; no query
        where the spec listed them.

    Raises:
        CorruptFile: adopted.json is damaged.
    """
    path = layout.adopted(cohort_id)
    try:
        with reading(path):
            value = orjson.loads(path.read_bytes())
        return [str(one) for one in value.get("roots") or ()], value.get("from")
    except FileNotFoundError:
        return [], None
    except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise CorruptFile(f"{path} is damaged: {error}", hint="`genpool run --refresh` resolves `from:` anew") from None


def _record_combos(layout: PoolLayout, plan: Plan, inputs: Inputs) -> None:
    """Append the combos that are used for the first time to combos.jsonl."""
    if not inputs.book.new(plan.combos):
        return
    with file_lock(layout, "combos", "combos.jsonl"), storage_errors("cannot write combos.jsonl"):
        book = read_combo_book(layout)  # anew, under the lock: another run may have recorded some
        append_lines(layout.combos, combo_lines(book.new(plan.combos)))


def _take_ids_back(layout: PoolLayout, plan: Plan) -> None:
    """Note in legacy.csv which ids are those of tasks again: a fork had made them lead to what it renamed.

    Else a membership that lists such a task would be read as listing what was renamed, until the task is made.
    """
    aliases = read_aliases(layout)
    if not aliases:
        return
    lines = b""
    for part in plan.stages:
        back = set(aliases.misleading(part.stage.name, part.gen_ids))
        slots = {one: int(part.choices[variant][-1]) for one, variant in zip(part.gen_ids, part.variants, strict=True)}
        lines += slot_lines((part.stage.name, one, slots[one], one) for one in sorted(back))
    if lines:
        with file_lock(layout, "legacy", "legacy.csv"), storage_errors("cannot write legacy.csv"):
            append_lines(layout.legacy, lines, header=HEADER_LINE)


def record_slots(layout: PoolLayout, plan: Plan, plan_anew: Callable[[], Plan]) -> Plan:
    """Append the slots of the legacy generations that a plan looked at to legacy.csv, so that they never move.

    What is recorded was planned under the lock. Otherwise two that adopt at once could each record a part of a
    family as they saw it, and the parts need not fit.

    Args:
        layout: The pool's paths.
        plan: The plan.
        plan_anew: Makes the plan once more.

    Returns:
        The plan whose slots are recorded: the given one, or where slots were not recorded yet the one made anew.

    Raises:
        PoolBusy: Another process holds the lock all the time.
        StorageFailed: legacy.csv could not be written.
    """
    if all(recorded == slot for recorded, (_, _, slot) in _slots_of(layout, plan)):
        return plan
    with file_lock(layout, "legacy", "legacy.csv"):
        plan = plan_anew()
        new = [one for recorded, one in _slots_of(layout, plan) if recorded is None]
        if new:
            with storage_errors("cannot write legacy.csv"):
                append_lines(layout.legacy, slot_lines(new), header=HEADER_LINE)
    return plan


def _slots_of(layout: PoolLayout, plan: Plan) -> list[tuple[int | None, tuple[str, str, int]]]:
    """Return stage, id and slot of the legacy generations that a plan looked at, each with the slot recorded for it."""
    assigned = [(stage.stage.name, gen_id, slot) for stage in plan.stages for gen_id, slot in stage.slots.items()]
    recorded = read_slots(layout) if assigned else {}
    return [(recorded.get(one[0], {}).get(one[1]), one) for one in assigned]
