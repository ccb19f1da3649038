"""Concepts, rows of data, and the combos that root tasks are rendered from.

A combo is a named bundle of inputs. A combo of concepts has an id that is a function of its
concepts and level; a row of a data file bears the id in its `id` column. What an id stands for is
recorded in the pool's combos.jsonl when it is first used, and an id is never used under another meaning.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256 as _sha256
from typing import TYPE_CHECKING, Final

import orjson

from genpool.canonical import Json, canonical_json, sha256
from genpool.durable import reading
from genpool.errors import CorruptFile, InputError, InvalidCombo, Problem, nearest
from genpool.gen_ids import SCHEME
from genpool.layout import check_name
from genpool.signatures import text_problem
from genpool.yaml_reader import Problems, Scalar, check_format, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from genpool.layout import PoolLayout

CONCEPT_FORMAT: Final = "genpool.concept/1"
_COMBO_DIGITS: Final = 20
_MOST_PROBLEMS: Final = 100  # of a data file, after which it is read no further


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept: its name and its texts by level of detail."""

    concept_id: str
    name: str
    levels: Mapping[str, str]
    """Level (for instance `sentence`, `paragraph`) to text."""

    def at(self, level: str) -> dict[str, str]:
        """Return what a template sees of the concept at a level.

        Raises:
            InvalidCombo: The concept has no text of that level.
        """
        if level not in self.levels:
            raise InvalidCombo(
                f"concept {self.concept_id!r} has no text of level {level!r}",
                hint=nearest(level, self.levels),
            )
        return {"id": self.concept_id, "name": self.name, "text": self.levels[level]}


@dataclass(frozen=True, slots=True)
class Combo:
    """What one combo id stands for: concepts at a level, or a row of a data file."""

    combo_id: str
    concepts: tuple[str, ...] = ()
    """Concept ids, sorted by code point; empty for a row."""
    level: str | None = None
    rows: str | None = None
    """For a row: the data file, relative to the pool."""
    digest: str | None = field(default=None, compare=False)
    """For a row: SHA-256 of its columns when it was first used."""

    @property
    def meaning(self) -> tuple[str, ...]:
        """What must stay the same for an id to mean the same."""
        return ("concepts", str(self.level), *self.concepts) if self.rows is None else ("row", self.rows)

    def as_json(self) -> dict[str, Json]:
        """Return the combo's line in combos.jsonl."""
        if self.rows is not None:
            return {"combo_id": self.combo_id, "kind": "row", "rows": self.rows, "digest": self.digest}
        return {
            "combo_id": self.combo_id,
            "kind": "concepts",
            "concepts": list(self.concepts),
            "level": self.level,
        }


def combo_text(concepts: Sequence[str], level: str) -> str:
    """Return the text whose SHA-256 gives the id of a combo of concepts."""
    return canonical_json({"concepts": sorted(concepts), "kind": "concepts", "level": level, "scheme": SCHEME}).decode()


def combo_id(concepts: Sequence[str], level: str) -> str:
    """Return the id of a combo of concepts.

    Args:
        concepts: Concept ids in any order.
        level: The level of detail.

    Raises:
        InvalidCombo: There is no concept, one is given twice, or a name is not allowed in an identity.
    """
    for name in (*concepts, level):
        problem = text_problem(name)
        if problem:
            raise InvalidCombo(f"{name!r} {problem}")
    if not concepts or len(set(concepts)) != len(concepts):
        raise InvalidCombo(f"a combo needs distinct concepts, at least one: {', '.join(concepts) or 'none given'}")
    return f"combo_{_sha256(combo_text(concepts, level).encode()).hexdigest()[:_COMBO_DIGITS]}"


# --- what each id stands for ----------------------------------------------------------------------


class ComboBook:
    """The combos that the pool has recorded, and the ids that combos of concepts get under them.

    Args:
        recorded: The lines of combos.jsonl.
    """

    def __init__(self, recorded: Sequence[Combo]) -> None:
        self.by_id: dict[str, Combo] = {}
        self._by_meaning: dict[tuple[str, ...], list[str]] = {}
        for combo in recorded:
            self.check(combo)
            self.by_id[combo.combo_id] = combo
            if combo.rows is None:
                ids = self._by_meaning.setdefault(combo.meaning, [])
                if combo.combo_id not in ids:
                    ids.append(combo.combo_id)

    def of_concepts(self, concepts: Sequence[str], level: str) -> Combo:
        """Return the combo of some concepts: under the id it was recorded with, else under its own.

        Raises:
            InvalidCombo: Several recorded ids stand for these concepts and level.
        """
        own = combo_id(concepts, level)
        combo = Combo(own, tuple(sorted(concepts)), level)
        known = self._by_meaning.get(combo.meaning, [])
        if own in known or not known:
            return combo
        if len(known) > 1:
            raise InvalidCombo(
                f"combos.jsonl records several ids for {_words(combo)}: {', '.join(known)}",
                hint="name the one that you mean: list combo ids on the combo axis",
            )
        return self.by_id[known[0]]

    def check(self, combo: Combo) -> None:
        """Refuse a combo whose id is recorded under another meaning.

        Raises:
            InvalidCombo: The id means something else in this pool.
        """
        known = self.by_id.get(combo.combo_id)
        if known is None or known.meaning == combo.meaning:
            return
        if known.rows and combo.rows and known.digest and known.digest == combo.digest:
            return  # the same row, in a file that was renamed
        raise InvalidCombo(
            f"combo id {combo.combo_id!r} stands for {_words(known)} in this pool, not for {_words(combo)}",
            hint="an id never changes its meaning: give the new inputs another id",
        )

    def new(self, used: Iterable[Combo]) -> list[Combo]:
        """Return those of some combos that are not recorded yet, each id once.

        Raises:
            InvalidCombo: An id stands for two things, among these combos or in the pool.
        """
        seen = ComboBook([])
        found = []
        for combo in used:
            self.check(combo)
            seen.check(combo)
            if combo.combo_id not in self.by_id and combo.combo_id not in seen.by_id:
                found.append(combo)
            seen.by_id.setdefault(combo.combo_id, combo)
        return found


def _words(combo: Combo) -> str:
    if combo.rows is not None:
        return f"a row of {combo.rows}"
    return f"{' + '.join(combo.concepts)} at level {combo.level!r}"


def read_combo_book(layout: PoolLayout) -> ComboBook:
    """Read combos.jsonl; a last line torn by a crash is left out.

    Raises:
        CorruptFile: A line is not a combo.
        InvalidCombo: An id is recorded under two meanings.
    """
    try:
        with reading(layout.combos):
            data = layout.combos.read_bytes()
    except FileNotFoundError:
        return ComboBook([])
    whole, _, _ = data.rpartition(b"\n")
    recorded = []
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        if line.strip():
            recorded.append(combo_of_line(line, f"{layout.combos}:{number}"))
    return ComboBook(recorded)


def combo_of_line(line: bytes, where: str) -> Combo:
    """Return the combo that a line of combos.jsonl records.

    Raises:
        CorruptFile: The line is not a combo.
    """
    try:
        value = orjson.loads(line)
        name = value["combo_id"]
        problem = text_problem(name)
        if problem:
            raise CorruptFile(f"{where}: combo_id {name!r} {problem}")
        if value.get("kind") == "row":
            return Combo(name, rows=str(value["rows"]), digest=value.get("digest"))
        return Combo(name, tuple(sorted(str(one) for one in value["concepts"])), str(value["level"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else "its values are of the wrong kind"
        raise CorruptFile(
            f"{where}: not a combo ({f'not JSON: {error}' if isinstance(error, orjson.JSONDecodeError) else why})",
            hint='a line is {"combo_id": …, "kind": "concepts", "concepts": […], "level": …}',
        ) from None


def combo_lines(combos: Sequence[Combo]) -> bytes:
    """Return the lines of combos.jsonl for some combos."""
    return b"".join(orjson.dumps(combo.as_json(), option=orjson.OPT_SORT_KEYS) + b"\n" for combo in combos)


# --- concepts and rows ----------------------------------------------------------------------------


def list_names(folder: Path, ending: str) -> list[str]:
    """Return the names of a folder's entries with an ending, sorted by code point."""
    try:
        names = (path.name for path in folder.iterdir())
        # what begins with a dot is an editor's or a system's
        return sorted(name.removesuffix(ending) for name in names if name.endswith(ending) and not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def check_spelling(name: str, names: Sequence[str], what: str) -> None:
    """Refuse a name that differs from another only in case or Unicode form: two file systems would disagree.

    Raises:
        InputError: There are two such names.
    """
    alike = [other for other in _by_spelling(tuple(names)).get(_folded(name), ()) if other != name]
    if alike:
        raise InputError(
            f"{what} {name!r} and {alike[0]!r} differ only in case or Unicode form",
            hint="rename one of them: on some file systems they are one file",
        )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@lru_cache(maxsize=8)
def _by_spelling(names: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Return the names by what a file system that folds case makes of them."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_folded(name), []).append(name)
    return found


def read_concept(layout: PoolLayout, concept_id: str, known: Sequence[str] | None = None) -> Concept:
    """Read a concept.

    Args:
        layout: The pool's paths.
        concept_id: The concept's name.
        known: The names of all concepts, where the caller has listed them already.

    Raises:
        InvalidCombo: There is no such concept, or its file is not usable.
    """
    path = layout.concepts / f"{check_name(concept_id, 'concept')}.yaml"
    names = list_names(layout.concepts, ".yaml") if known is None else known
    if concept_id not in names:
        raise InvalidCombo(
            f"no concept is named {concept_id!r} ({path} does not exist)", hint=nearest(concept_id, names)
        )
    check_spelling(concept_id, names, "concepts")
    problems = Problems(str(path))
    table = problems.table(read_yaml(read_text(path, layout.root), problems), "a concept")
    levels: dict[str, str] = {}
    name = None
    if table is not None:
        check_format(table, CONCEPT_FORMAT, problems)
        problems.known_keys(table, ("format", "name", "levels"), "a concept")
        name = problems.text(table, "name", "a concept")
        found = problems.table(table.entries.get("levels"), "levels")
        for level, node in found.entries.items() if found else ():
            if isinstance(node, Scalar) and node.text.strip():
                levels[level] = node.text.strip()
            else:
                problems.add(f"level {level!r} must be a text that is not empty", node.line)
        if not levels and not problems.found:
            problems.add("a concept needs a text", None, "levels: {sentence: …, paragraph: …}")
    problems.raise_if_any(InvalidCombo, f"concept {concept_id!r} is not usable")
    return Concept(concept_id, name or concept_id, levels)


def read_text(path: Path, root: Path | None = None) -> str:
    """Read a text that a person wrote.

    Args:
        path: The file.
        root: The pool's directory, which no folder on the way to the file may lead out of.

    Raises:
        InputError: It is a link or outside the pool, is not UTF-8, or cannot be read.
    """
    if path.is_symlink():
        raise InputError(f"{path} is a link; links are not followed", hint="put the file itself there")
    if root is not None and not path.parent.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{path.parent} leads out of the pool", hint="put the folder itself there, not a link to it")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is not a file", hint="a pipe or a device is not read")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})", hint="save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def read_rows(path: Path, shown: str) -> dict[str, dict[str, str]]:
    """Read the rows of a data file: CSV with a header, or JSONL; each with an `id`.

    Args:
        path: The file; its ending says the format.
        shown: Its path for messages.

    Returns:
        Id to the other columns, in the order of the file.

    Raises:
        InvalidCombo: The file is not usable; the first hundred problems are listed with their lines.
    """
    problems = Problems(shown)
    if path.suffix == ".jsonl":
        rows = _jsonl_rows(read_text(path))
    elif path.suffix == ".csv":
        rows = _csv_rows(read_text(path))
    else:
        raise InvalidCombo(f"{shown}: rows come from a .csv or a .jsonl file")
    found: dict[str, dict[str, str]] = {}
    for line, row in rows:
        if len(problems.found) == _MOST_PROBLEMS:
            problems.add(f"reading ended here: {_MOST_PROBLEMS} problems were found above", line)
            break
        if isinstance(row, Problem):
            problems.add(row.message, line, row.hint)
            continue
        name = row.pop("id", None)
        wrong = text_problem(name) if name is not None else "is missing (the column `id`)"
        if wrong or name is None:
            problems.add(f"id {name!r} {wrong}", line)
        elif name in found:
            problems.add(f"id {name!r} is given twice", line)
        else:
            found[name] = row
    if not found and not problems.found:
        problems.add("there is no row")
    problems.raise_if_any(InvalidCombo, f"{shown} is not usable")
    return found


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, str] | Problem]]:
    """Read rows or what is wrong with them, each with its line."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = list(reader.fieldnames or ())
        for name in dict.fromkeys(header):
            if header.count(name) > 1:
                yield 1, Problem(f"two columns are named {name!r}", hint="give each column its own name")
        if header and "id" not in header:
            shown = ", ".join(header)
            yield 1, Problem(f"the header has no column `id` (it has {shown})", hint="each row needs an id")
            return
        for row in reader:
            whole = None not in row and None not in row.values()
            yield reader.line_num, dict(row) if whole else Problem("the line has not as many values as the header")
    except csv.Error as error:
        yield reader.reader.line_num, Problem(f"not readable as CSV: {error}")


def _jsonl_rows(text: str) -> Iterator[tuple[int, dict[str, str] | Problem]]:
    """Read rows or what is wrong with them, each with its line."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield number, Problem(f"not readable as JSON: {error}")
            continue
        if not isinstance(value, dict):
            yield number, Problem("not a JSON object")
            continue
        texts = {key: item if isinstance(item, str) else orjson.dumps(item).decode() for key, item in value.items()}
        if not isinstance(value.get("id"), str | int) or isinstance(value["id"], bool):
            texts.pop("id", None)  # null, true, 1.0, [1]: nothing that names a row
        yield number, texts


def row_digest(row: Mapping[str, str]) -> str:
    """Return the digest of a row's columns."""
    return sha256(canonical_json(dict(row)))
