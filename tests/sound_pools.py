"""A pool with something of everything in it and nothing wrong, and helpers to damage it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from genpool.llm.client import Completion, Request
from genpool.pool import Pool
from genpool.records import Usage
from genpool.testing import ScriptedModel
from tests.legacy_pools import canonical, digest, record_slots, write_legacy
from tests.small_pools import make_pool, models, whole_cohort

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.doctor import Finding

OLD_DRAFT = "old-draft"
CONCEPTS = ("moat", "wheel")


def sound_pool(root: Path, *, rows: int = 2) -> Pool:
    """Make a pool with generations, attempts, a copy, a legacy generation, combos, slots, accepted drift, a ledger."""
    pool = make_pool(root, rows=rows)
    whole_cohort(root)
    seen: set[str] = set()

    def cut_once(request: Request) -> Completion:
        prompt = request.prompt.as_text()
        how = "stop" if prompt in seen or "about" not in prompt else "length"
        seen.add(prompt)
        return Completion(f"Ein Text über {request.seed}.\n\tZeile \x1b[0m zwei\n", how, "scripted", Usage(9, 5), "m")

    pool.run("c", models=models(writer=ScriptedModel(cut_once)))
    write_legacy(root, "draft", OLD_DRAFT, "row-0", "plain", "writer", replicate="7")
    record_slots(root, [("draft", OLD_DRAFT, 7)])
    with (root / "combos.jsonl").open("a") as file:
        file.write(json.dumps(concepts_line(*CONCEPTS)) + "\n")
    (root / "drift.csv").write_text(
        f"kind,name,stored,present,accepted_at\ntemplate,draft/plain,{'0' * 64},{'1' * 64},2026-01-01T00:00:00Z\n"
    )
    return pool


def concepts_line(*concepts: str, combo_id: str | None = None) -> dict[str, object]:
    """Return a line of combos.jsonl, its id spelled out once more."""
    value = {"concepts": sorted(concepts), "kind": "concepts", "level": "sentence", "scheme": "genpool/1"}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    own = f"combo_{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    return {"combo_id": combo_id or own, "kind": "concepts", "concepts": sorted(concepts), "level": "sentence"}


def first(root: Path, stage: str, file: str = "") -> Path:
    """Return the first generation of a stage whose id genpool made, or a file of it."""
    folder = min(path for path in (root / "gens" / stage).iterdir() if path.name != OLD_DRAFT)
    return folder / file if file else folder


def contents(root: Path) -> dict[str, bytes]:
    """Return every file of a pool that is no cache and no lock, by its path."""
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if not name.startswith((".genpool/locks", ".genpool/catalog"))
    }


# --- examined ------------------------------------------------------------------------------------


def problems(root: Path) -> list[Finding]:
    return list(Pool.open(root).examine().problems)


def notes(root: Path) -> list[Finding]:
    return [one for one in Pool.open(root).examine().findings if one.is_note]


def only(root: Path) -> Finding:
    """Return the one problem of a pool."""
    found = problems(root)
    assert len(found) == 1, found
    assert found[0].what
    return found[0]


def resealed(path: Path, **changes: object) -> None:
    """Change a record and give it the right digest of itself again; None removes a key."""
    value = {**json.loads(path.read_bytes()), **changes}
    value = {key: one for key, one in value.items() if key != "self" and one is not None}
    value["self"] = digest(canonical(value))
    path.write_text(json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n")


def of(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line)
