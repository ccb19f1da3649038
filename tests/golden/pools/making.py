"""What the golden pools are written with: the documented rules by hashlib and json alone.

Nothing here imports genpool: the code under test shall not grade itself. What is expected of a migration is written
down beside every generation, by hand; only the ids are computed, from the pre-images that docs/identity.md states.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PREFIXES = {"draft": "d", "essay": "e", "evaluation": "v"}
CHOICES = {
    "draft": ("combo_id", "template_id", "llm_model_id"),
    "essay": ("parent_gen_id", "template_id"),
    "evaluation": ("parent_gen_id", "template_id", "llm_model_id"),
}
"""The signature's fields of every stage, but for the replicate."""

TEMPLATES = {
    "draft/plain.j2": "Write about {{ row.topic }}. Version {{ replicate }}.\n",
    "essay/story.j2": "{{ draft.text }}\nTell it as a story.\n",
    "essay/same.j2": "---\nmode: copy\n---\n",
    "evaluation/clarity.j2": "---\nparser: json_score\nscale: [0, 9]\n---\n{{ essay.text }}\nHow clear is it?\n",
}
CONFIG = """\
format: genpool.pool/1
id_scheme: genpool/1
salt: ""
models:
  writer: {client: scripted}
  judge: {client: scripted}
"""


WRITER = {"template_id": "plain", "llm_model_id": "writer"}
JUDGED = {"template_id": "clarity", "llm_model_id": "judge"}
Ids = dict[str, str]


def score(value: float) -> dict[str, float]:
    return {"value": value, "min": 0, "max": 9}


# --- the rules ----------------------------------------------------------------------------------------


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    """Return canonical JSON; right for texts, whole numbers and halves, which is all that is in these pools."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signature(stage: str, values: Sequence[str], replicate: int) -> dict[str, Any]:
    return {**dict(zip(CHOICES[stage], values, strict=True)), "replicate": replicate}


def right(stage: str, *values: str, replicate: int = 1) -> str:
    """Return the id that the scheme genpool/1 gives a signature."""
    tagged = {"scheme": "genpool/1", "stage": stage, **signature(stage, values, replicate)}
    return f"{PREFIXES[stage]}_{sha256(canonical(tagged))[:32]}"


def daydreaming(stage: str, *parts: object, collision: int = 0) -> str:
    """Return the id that the scheme daydreaming/0 gives a signature; after a collision, with its suffix."""
    text = "|".join(str(part).strip().lower() for part in parts)
    if collision:
        text += f"|collision:{collision}"
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=10).digest(), "big")
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return f"{PREFIXES[stage]}_{digits}" + (f"-{collision}" if collision else "")


def self_sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in record.items() if key != "self"}
    return {**rest, "self": sha256(canonical(rest))}


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def json_text(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


# --- a pool -------------------------------------------------------------------------------------------


class Pool:
    """A pool that is being written, with what a migration is to make of it."""

    def __init__(self, rows: int) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.empty: list[str] = []
        self.generations: dict[str, dict[str, Any]] = {}
        self.attempts: dict[str, str] = {}
        self.notes: list[dict[str, str]] = []
        self.books: dict[str, str | None] = {}
        self.cohorts: dict[str, dict[str, int]] = {}
        self.planned: list[str] = []
        self._ids: dict[tuple[str, str], str] = {}
        self.file("pool.yaml", CONFIG)
        for name, text in TEMPLATES.items():
            self.file(f"templates/{name}", text)
        self.rows("rows.csv", range(rows))

    # -- files

    def file(self, path: str, data: str | bytes) -> None:
        assert path not in self.files, path
        self.files[path] = data.encode() if isinstance(data, str) else data

    def rows(self, path: str, numbers: Sequence[int]) -> None:
        self.file(path, "id,topic\n" + "".join(f"row-{number},topic {number}\n" for number in numbers))

    def spec(self, cohort: str, rows: str, *stages: str) -> None:
        """Write a spec; after a migration its plan has nothing to make."""
        draft, *others = stages
        lines = [f"draft: {{combo: {{rows: {rows}}}, {draft}}}", *others]
        self.file(f"cohorts/{cohort}/cohort.yaml", "format: genpool.cohort/1\n" + "".join(f"{one}\n" for one in lines))
        self.planned.append(cohort)

    def outputs(self, folder: str, text: str) -> None:
        self.file(f"{folder}/prompt.txt", f"Please: {text}")
        self.file(f"{folder}/raw.txt", text)
        self.file(f"{folder}/parsed.txt", text)

    def legacy(
        self,
        stage: str,
        gen_id: str,
        /,
        *,
        place: str = "gens",
        text: str | None = None,
        at: str | None = "2024-01-01T00:00:00Z",
        **keys: object,
    ) -> str:
        """Write a generation of another tool: the keys are what its record says, besides its id, stage and time."""
        path = f"{place}/{stage}/{gen_id}"
        record: dict[str, Any] = {"gen_id": gen_id, "stage": stage, "task_id": f"task of {gen_id}", **keys}
        if at is not None:
            record["created_at"] = at
        self.file(f"{path}/metadata.json", json.dumps(record, indent=1))
        self.outputs(path, f"The text of {gen_id}.\n" if text is None else text)
        return gen_id

    def sealed(
        self, stage: str, *values: str, replicate: int = 1, place: str = "gens", attempt: int = 0, **keys: object
    ) -> str:
        """Write a generation of genpool's own, or an attempt at one; return its id."""
        fields = signature(stage, values, replicate)
        gen_id = right(stage, *values, replicate=replicate)
        record = {
            "format": "genpool.attempt/1" if attempt else "genpool.generation/1",
            "gen_id": gen_id,
            "id_scheme": "genpool/1",
            "stage": stage,
            **fields,
            "origin_cohort_id": "spring",
            "run_id": "run-20250101T000000Z-abcdef",
            "created_at": "2025-01-01T00:00:00.000Z",
            "mode": "llm",
            **keys,
        }
        path = f"{place}/{stage}/{gen_id}" + (f"/{attempt}" if attempt else "")
        self.file(f"{path}/metadata.json", json_text(self_sealed(record)))
        text = f"A text for {' '.join(values)}, {replicate}.\n"
        if attempt:
            self.file(f"{path}/prompt.txt", "Please.\n")
            self.file(f"{path}/raw.txt", text)
        else:
            self.outputs(path, text)
        return gen_id

    # -- what is expected

    def becomes(
        self, stage: str, gen_id: str, *values: str, slot: int = 1, was: str = "opaque", place: str = "gens"
    ) -> str:
        """Say which signature a generation has after the migration, by ids of then; return its id of then."""
        new_id = right(stage, *values, replicate=slot)
        self.generations[f"{place}/{stage}/{gen_id}"] = {
            "reason": was,
            "new_id": new_id,
            "slot": slot,
            "signature": signature(stage, values, slot),
        }
        if place == "gens":
            self._ids[stage, gen_id] = new_id
        return new_id

    def keeps(self, stage: str, gen_id: str) -> str:
        """Say that a generation is right already, and that no byte of it is touched."""
        self.generations[f"gens/{stage}/{gen_id}"] = {"reason": "right"}
        return gen_id

    def stays(self, path: str, kind: str, *, usable: bool = False, at: str = "") -> None:
        """Say that something stays as it is, by which word, and where that is told.

        Args:
            path: The directory.
            kind: The word.
            usable: Whether its own record is in order: what it refers to is not.
            at: The file below it that is named.
        """
        self.generations[path] = {"reason": "stays", "kind": kind, "usable": usable, "path": f"{path}/{at}".rstrip("/")}

    def note(self, kind: str, *paths: str) -> None:
        """Say what is handled, and told."""
        self.notes += [{"kind": kind, "path": path} for path in paths]

    def told(self, kind: str, stage: str, *gen_ids: str) -> None:
        """Say what is told of the records of some generations."""
        self.note(kind, *(f"gens/{stage}/{gen_id}/metadata.json" for gen_id in gen_ids))

    def member(self, stage: str, gen_id: str, new_id: str) -> None:
        """Say what becomes of a task that memberships and ledgers name, and that is not made."""
        self._ids[stage, gen_id] = new_id

    def became(self, stage: str, gen_id: str) -> str:
        """Return the id of then; its own where it keeps it."""
        return self._ids.get((stage, gen_id), gen_id)

    def membership(self, cohort: str, rows: Sequence[Sequence[str]], *, place: str = "") -> str:
        """Write a membership whose first two columns are stage and id, a column `parent_gen_id` by its name.

        Returns:
            What is in it after the migration.
        """
        header = rows[0]
        after = [list(header)]
        for row in rows[1:]:
            cells = [row[0], self.became(row[0], row[1]), *row[2:]]
            if "parent_gen_id" in header and (parent := cells[header.index("parent_gen_id")]):
                above = {"essay": "draft", "evaluation": "essay"}[row[0]]
                cells[header.index("parent_gen_id")] = self.became(above, parent)
            after.append(cells)
        path = f"{place}cohorts/{cohort}/membership.csv"
        self.file(path, csv_text(rows))
        if after != [list(row) for row in rows]:
            self.books[path] = csv_text(after)
        if not place:
            changed = sum(one[1] != other[1] for one, other in zip(rows, after, strict=True))
            self.cohorts[cohort] = {"members": len(rows) - 1, "renamed": changed}
        return csv_text(after)

    def book(self, path: str, before: str, after: str | None) -> None:
        """Write a file, and say what is in it after the migration: nothing where it is taken away."""
        self.file(path, before)
        self.books[path] = after

    @property
    def aliases(self) -> list[tuple[str, str, str]]:
        """Stage, old id, new id of all that is renamed and whose old id nothing bears then."""
        borne = {(stage, new) for (stage, _), new in self._ids.items()}
        found = [(stage, old, new) for (stage, old), new in self._ids.items() if old != new]
        return sorted(one for one in found if one[:2] not in borne)

    def expected(self) -> dict[str, Any]:
        return {
            "generations": self.generations,
            "attempts": self.attempts,
            "notes": sorted(self.notes, key=lambda one: (one["path"], one["kind"])),
            "books": self.books,
            "cohorts": self.cohorts,
            "planned": self.planned,
            "aliases": self.aliases,
        }

    def write(self, folder: Path) -> None:
        """Write the pool below a folder, with what is expected of it, and what git does not keep."""
        shutil.rmtree(folder / "pool", ignore_errors=True)
        for path, data in self.files.items():
            file = folder / "pool" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        for path, target in self.links.items():
            (folder / "pool" / path).symlink_to(target)
        (folder / "expected.json").write_text(json_text(self.expected()))
        (folder / "tree.json").write_text(json_text({"empty": sorted(self.empty)}))
