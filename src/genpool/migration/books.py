"""The files of a pool that name generations, rewritten: bytes to bytes. Pure.

Only ids change: lines and keys that name none keep their bytes. A file that cannot be read is left as it is, with a
defect.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.canonical import sha256
from genpool.drift import PARENT
from genpool.migration import defects as kinds
from genpool.migration.defects import Defect
from genpool.migration.plain_csv import plain_csv, plain_lines
from genpool.migration.renames import FORK
from genpool.slots import HEADER, HEADER_LINE, alias_of, slot_lines
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from genpool.migration.identity import Change
    from genpool.migration.renames import Renames, Row
    from genpool.stages import Pipeline

_INDENTED: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


class BookProblem(Exception):
    """A file that is left as it is; the text says why."""


# --- memberships ------------------------------------------------------------------------------------


def csv_records(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the records of a CSV: the text of each as it stands, its line end included, and its cells.

    Raises:
        BookProblem: It is not readable as CSV.
    """
    lines = io.StringIO(text, newline="").readlines()
    reader = csv.reader(lines)
    start = 0
    try:
        for cells in reader:
            yield "".join(lines[start : reader.line_num]), cells
            start = reader.line_num
    except csv.Error as error:
        raise BookProblem(f"line {reader.line_num + 1} is not readable as CSV: {error}") from None


def _cells(text: str) -> Iterator[list[str]]:
    """Yield the cells of every record of a CSV.

    Raises:
        BookProblem: It is not readable as CSV.
    """
    lines = plain_lines(text)
    if lines is None:
        for _, cells in csv_records(text):
            yield cells
    else:
        for line in lines:
            yield line.split(",") if line else []


def _as_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BookProblem(f"not UTF-8 ({error.reason} at byte {error.start})") from None


def membership_rows(data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the members that a membership lists: the number of the record, and its cells by column.

    Raises:
        BookProblem: It is no membership.
    """
    for number, header, cells in member_cells(data):
        yield number, dict(zip(header, cells, strict=False))


def member_cells(data: bytes) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield the members that a membership lists: the number of the record, the header, and the record's cells.

    Raises:
        BookProblem: It is no membership.
    """
    header: list[str] = []
    for number, cells in enumerate(_cells(_as_text(data)), start=1):
        if number == 1:
            header = cells
            if not {"stage", "gen_id"} <= set(header):
                raise BookProblem("the header needs the columns stage and gen_id")
        elif cells:
            yield number, header, cells
    if not header:
        raise BookProblem("it is empty")


def membership(data: bytes, renames: Renames, pipeline: Pipeline, change: Change | None = None) -> bytes:
    """Return a membership with new ids; columns of axes that a stage gets are added.

    Args:
        data: Its bytes.
        renames: Old ids to new ones.
        pipeline: The pool's stages.
        change: What the migration changes, where stages get axes or generations another level.

    Raises:
        BookProblem: It is no membership.
    """
    text = _as_text(data)
    if change is None or not (change.sets or change.relabel):
        plain = _plain_membership(text, renames, pipeline)
        if plain is not None:
            return plain.encode()
    added = _added_columns(change) if change else {}
    out: list[str] = []
    header: list[str] = []
    for raw, cells in csv_records(text):
        end = raw[len(raw.rstrip("\r\n")) :]
        if not header:
            header = cells
            if not {"stage", "gen_id"} <= set(header):
                raise BookProblem("the header needs the columns stage and gen_id")
            new = [name for name in added if name not in header]
            out.append(_line([*header, *new], end) if new else raw)
            continue
        row = dict(zip(header, cells, strict=False))
        stage = row.get("stage", "")
        changed = {
            name: renamed
            for name, cell in row.items()
            if (renamed := _member_cell(name, stage, cell, renames, pipeline)) != cell
        }
        relabel = change.relabel if change else None
        if relabel is not None and relabel.field in row and relabel.holds(stage, row["gen_id"]):
            changed[relabel.field] = relabel.becomes
        more = [added[name].get(stage, "") for name in added if name not in header] if cells else []
        if not changed and not more:
            out.append(raw)
            continue
        kept = [changed.get(name, cell) for name, cell in zip(header, cells, strict=False)]
        out.append(_line([*kept, *cells[len(header) :], *more], end))
    return "".join(out).encode()


def _plain_membership(text: str, renames: Renames, pipeline: Pipeline) -> str | None:
    """Return a membership with new ids; None where a cell is in quotation marks, or else it is not plain."""
    lines = plain_lines(text)
    if not lines:
        return None
    header = lines[0].split(",")
    if len(set(header)) < len(header) or not {"stage", "gen_id"} <= set(header):
        return None
    at = header.index("stage")
    references = [
        (number, name) for number, name in enumerate(header) if name == "gen_id" or name.endswith(REFERENCE_SUFFIX)
    ]
    last = max(at, *[number for number, _ in references])
    for number, line in enumerate(lines[1:], start=1):
        cells = line.split(",")
        if len(cells) <= last:
            if line:
                return None
            continue
        stage = cells[at]
        for where, name in references:
            cells[where] = _member_cell(name, stage, cells[where], renames, pipeline)
        lines[number] = ",".join(cells)
    out = "\n".join(lines) + "\n" * text.endswith("\n")
    same = all(out.count(mark) == text.count(mark) for mark in ('"', "\r", "\n", ","))
    return out if same else None  # else an id needs quotation marks


def _added_columns(change: Change) -> dict[str, dict[str, str]]:
    """Return the axes that stages get: column to stage to value."""
    added: dict[str, dict[str, str]] = {}
    for (stage, name), value in change.sets.items():
        added.setdefault(name, {})[stage] = value
    return added


def _line(cells: Sequence[str], end: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end).writerow(cells)
    return out.getvalue()


def _member_cell(name: str, stage: str, cell: str, renames: Renames, pipeline: Pipeline) -> str:
    """Return what a cell of a membership becomes."""
    if name == "gen_id":
        return renames.of(stage, cell)
    if not cell or not name.endswith(REFERENCE_SUFFIX) or stage not in pipeline:
        return cell
    if name == PARENT_FIELD:
        parent = pipeline[stage].parent
        return cell if parent is None else renames.of(parent, cell)
    return (renames.anywhere(cell) or cell) if name in pipeline[stage].fields else cell


def adopted(data: bytes, renames: Renames, before: bytes | None, after: bytes | None) -> bytes:
    """Return an adopted.json with new roots, vouching for the membership as it is rewritten.

    Args:
        data: Its bytes.
        renames: Old ids to new ones.
        before: The membership before; None where there is none.
        after: The membership after.

    Raises:
        BookProblem: It is no JSON object.
    """
    value = _json_object(data)
    new = dict(value)
    roots = value.get("roots")
    if isinstance(roots, list):
        new["roots"] = [(renames.anywhere(one) or one) if isinstance(one, str) else one for one in roots]
    if before is not None and after is not None and value.get("membership") == sha256(before):
        new["membership"] = sha256(after)
    if new == value:
        return data
    return orjson.dumps(new, option=_INDENTED | orjson.OPT_SORT_KEYS)


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BookProblem(f"not readable as JSON: {error}") from None
    if not isinstance(value, dict):
        raise BookProblem("not a JSON object")
    return value


# --- drift, ledgers, trash --------------------------------------------------------------------------


def drift(data: bytes, renames: Renames) -> bytes:
    """Return a drift.csv in which accepted texts of parents bear their new ids.

    Raises:
        BookProblem: It is not readable as CSV.
    """
    out = []
    for raw, cells in csv_records(_as_text(data)):
        end = raw[len(raw.rstrip("\r\n")) :]
        new = renames.anywhere(cells[1]) if len(cells) > 1 and cells[0] == PARENT else None
        out.append(raw if new is None or new == cells[1] else _line([cells[0], new, *cells[2:]], end))
    return "".join(out).encode()


def ledger(data: bytes, renames: Renames) -> bytes:
    """Return a ledger with new ids; lines that cannot be read keep their bytes."""
    stages: dict[object, str] = {}
    return b"".join(_ledger_line(line, renames, stages) for line in data.splitlines(keepends=True))


def _ledger_line(line: bytes, renames: Renames, stages: dict[object, str]) -> bytes:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    if not isinstance(entry, dict):
        return line
    stage, number = entry.get("stage"), entry.get("intent")
    if isinstance(stage, str) and isinstance(number, int):
        stages[number] = stage
    if stage is None and isinstance(entry.get("settled"), int):
        stage = stages.get(entry["settled"])
    if not isinstance(stage, str):
        return line
    changed = False
    for key in ("gen_id", "promoted"):
        gen_id = entry.get(key)
        if isinstance(gen_id, str) and (new := renames.of(stage, gen_id)) != gen_id:
            entry[key] = new
            changed = True
    end = line[len(line.rstrip(b"\r\n")) :]
    return orjson.dumps(entry) + end if changed else line


def trashed(data: bytes, renames: Renames) -> bytes:
    """Return a trash.json whose moves are those of the renamed directories.

    Raises:
        BookProblem: It is no record of a removal.
    """
    value = _json_object(data)
    moves = value.get("moves")
    if not isinstance(moves, list):
        raise BookProblem("it has no moves")
    changed = False
    for move in moves:
        for key in ("from", "to") if isinstance(move, dict) else ():
            path = move.get(key)
            if isinstance(path, str) and (new := _moved(path, renames)) != path:
                move[key] = new
                changed = True
    return orjson.dumps(value, option=_INDENTED) if changed else data


def _moved(path: str, renames: Renames) -> str:
    """Return the path that a directory of a generation or of attempts gets."""
    parts = path.split("/")
    at = 2 if parts[0] == "trash" else 0
    if len(parts) == at + 3 and parts[at] in {"gens", "attempts"}:
        parts[at + 2] = renames.of(parts[at + 1], parts[at + 2])
    return "/".join(parts)


# --- legacy.csv -------------------------------------------------------------------------------------


def legacy(data: bytes | None, rows: Iterable[Row]) -> bytes:
    """Return a legacy.csv that says which ids the old ones became; a torn last line is dropped.

    Args:
        data: Its bytes; None where there is none.
        rows: What becomes what.
    """
    rows = list(rows)
    whole = (data or b"")[: (data or b"").rfind(b"\n") + 1]
    assigned = [(row.stage, row.old_id, row.replicate, row.new_id) for row in rows]
    plain = plain_csv(assigned, len(HEADER))
    lines = slot_lines(assigned) if plain is None else plain.encode()
    if any(row.reason == FORK for row in rows):
        lines += slot_lines(_led_on(whole, rows))
    return (whole or HEADER_LINE) + lines if lines else data or b""


def _led_on(data: bytes, rows: Iterable[Row]) -> Iterator[tuple[str, str, int, str]]:
    """Yield lines for older aliases of what is forked: the id that they lead to is soon another generation's."""
    forked = {(row.stage, row.old_id): row for row in rows}
    older = {}
    for line in data.decode(errors="replace").splitlines():
        found = alias_of(line)
        if found is not None:
            older[found[:2]] = found
    for stage, gen_id, led in older.values():
        row = forked.get((stage, led))
        if row is not None and gen_id != led:
            yield stage, gen_id, row.replicate, row.new_id


def legacy_back(data: bytes, applied: bytes, original: bytes | None, renames: Renames) -> bytes | None:
    """Return a legacy.csv as it was before a migration, with the lines that came since; None for no file.

    Args:
        data: Its bytes now.
        applied: What the migration wrote.
        original: What was there before; None for nothing.
        renames: New ids to old ones.

    Raises:
        BookProblem: It does not begin with what the migration wrote.
    """
    if not data.startswith(applied):
        raise BookProblem("it does not begin with the lines that the migration wrote")
    lines = []
    for raw, cells in csv_records(_as_text(data[len(applied) :])):
        new = renames.of(cells[0], cells[1]) if len(cells) > 2 else None
        lines.append(_line([cells[0], new, *cells[2:]], "\n") if new else raw)
    if not lines and original is None:
        return None
    return (original or HEADER_LINE) + "".join(lines).encode()


def unreadable(path: str, problem: BookProblem) -> Defect:
    """Return the defect of a file that is left as it is."""
    return Defect(kinds.UNREADABLE_BOOK, path, f"{problem}; it is left as it is")
