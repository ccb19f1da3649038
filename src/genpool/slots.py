"""Which replicate a legacy generation is: its slot in its family. Pure, but for reading legacy.csv.

A family is what a stage's tasks share but for the replicate. A generation whose id is right keeps its slot; then
slots that legacy.csv records; then the rest in the order of their making, each its own number if that is free, else
the lowest that is. Assignments are recorded when a plan is adopted, so a slot never moves.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from genpool.durable import reading
from genpool.errors import CorruptFile
from genpool.signatures import reference_problem, replicate_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from genpool.layout import PoolLayout

HEADER: Final = ("stage", "gen_id", "replicate", "new_gen_id")
HEADER_LINE: Final = f"{','.join(HEADER)}\n".encode()


@dataclass(frozen=True, slots=True)
class Sibling:
    """One generation of a family."""

    gen_id: str
    replicate: int | None
    """The number that its record states, or None."""
    legacy: bool
    """Whether its id is not the one of its signature."""
    created: float | None = None
    """When it was made, in seconds; None where the record does not say."""


def assign(siblings: Iterable[Sibling], recorded: Mapping[str, int]) -> dict[int, str]:
    """Return slot to gen id for one family.

    Args:
        siblings: The family's generations.
        recorded: Gen id to slot, as legacy.csv has it.
    """
    slots: dict[int, str] = {}
    waiting: list[Sibling] = []
    everyone = sorted(siblings, key=lambda one: one.gen_id)
    for one in everyone:
        if not one.legacy and one.replicate is not None:
            slots[one.replicate] = one.gen_id
    for one in everyone:
        slot = recorded.get(one.gen_id)
        if one.legacy and slot is not None and slot not in slots:
            slots[slot] = one.gen_id
        elif one.legacy:
            waiting.append(one)
    lowest = 1
    for one in sorted(waiting, key=_age):
        if one.replicate is not None and one.replicate not in slots:
            slots[one.replicate] = one.gen_id
            continue
        while lowest in slots:
            lowest += 1
        slots[lowest] = one.gen_id
    return slots


def _age(one: Sibling) -> tuple[bool, float, str]:
    """Return what siblings are ordered by: when they were made, those that do not say last; then the id."""
    return one.created is None, one.created or 0.0, one.gen_id


def seconds_of(created_at: str | None) -> float | None:
    """Return a time of a record in seconds, or None where it cannot be read; without a zone it is UTC."""
    if created_at is None:
        return None
    try:
        moment = datetime.fromisoformat(created_at)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def read_slots(layout: PoolLayout) -> dict[str, dict[str, int]]:
    """Read legacy.csv; the first line about a generation counts, since a slot never moves.

    Returns:
        Stage to gen id to slot.

    Raises:
        CorruptFile: A line is not an assignment.
    """
    try:
        with reading(layout.legacy):
            text = layout.legacy.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{layout.legacy}: not UTF-8 ({error.reason} at byte {error.start})") from None
    whole, _, _ = text.rpartition("\n")  # a last line without its end was torn by a crash
    found: dict[str, dict[str, int]] = {}
    for number, line in enumerate(whole.split("\n") if whole else (), start=1):
        if number == 1:
            if not is_header(line):
                raise CorruptFile(f"{layout.legacy}:1: the header must be {','.join(HEADER)}")
        elif _cells(line):
            assigned = assignment_of(line)
            if assigned is None:
                raise CorruptFile(f"{layout.legacy}:{number}: not an assignment of a slot: {line!r}")
            stage, gen_id, slot = assigned
            found.setdefault(stage, {}).setdefault(gen_id, slot)
    return found


def is_header(line: str) -> bool:
    """Return whether a line is the header of legacy.csv."""
    return tuple(_cells(line)[:3]) == HEADER[:3]


def assignment_of(line: str) -> tuple[str, str, int] | None:
    """Return stage, gen id and slot that a line of legacy.csv assigns, or None where it is no assignment."""
    row = _cells(line)
    slot = _slot(row[2]) if len(row) > 2 else None
    return None if slot is None or reference_problem(row[1]) else (row[0], row[1], slot)


def alias_of(line: str) -> tuple[str, str, str] | None:
    """Return stage, old id and new id of a line of legacy.csv, or None where it has no new id.

    Both are the same where the id is that of a task again: a fork had given it up, and it was adopted anew.
    """
    row = _cells(line)
    if len(row) < len(HEADER) or not row[3] or reference_problem(row[1]) or reference_problem(row[3]):
        return None
    return None if is_header(line) else (row[0], row[1], row[3])


def _cells(line: str) -> list[str]:
    """Return the cells of one line; a quotation mark that is never closed spoils its own line alone."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return [line]


def _slot(text: str) -> int | None:
    """Return the slot that a cell states, or None."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 11 else 0
    return None if replicate_problem(number) else number


def slot_lines(assignments: Iterable[tuple[str, str, int] | tuple[str, str, int, str]]) -> bytes:
    """Return the lines of legacy.csv for some assignments: stage, gen id, slot, and the new id where there is one."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows(one if len(one) == len(HEADER) else (*one, "") for one in assignments)
    return out.getvalue().encode()
