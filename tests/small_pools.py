"""Small pools for tests: made in a moment, with scripted models, and helpers to look at them from outside.

What looks at files here does so without genpool's own readers.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from genpool.llm.client import Completion, Request
from genpool.pool import Pool
from genpool.records import Usage
from genpool.testing import ScriptedModel
from genpool.writer import seed_of
from tests.conftest import NOT_RUN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from genpool.llm.scripted import Script
    from genpool.planner import Plan

TEMPLATES = {
    "draft/plain.j2": "---\nparser: text\n---\nWrite about {{ row.topic }}. Version {{ replicate }}.\n",
    "draft/long.j2": "---\nparser: text\n---\nWrite at length about {{ row.topic }}. Version {{ replicate }}.\n",
    "essay/story.j2": "---\nparser: text\n---\n{{ draft.text }}\nTell it as a story.\n",
    "essay/letter.j2": "---\nparser: text\n---\n{{ draft.text }}\nTell it as a letter.\n",
    "essay/same.j2": "---\nmode: copy\n---\n",
    "evaluation/clarity.j2": "---\nparser: json_score\nscale: [0, 9]\n---\n{{ essay.text }}\nHow clear is it?\n",
}


def make_pool(
    root: Path,
    *,
    rows: int = 2,
    models: Mapping[str, str] | None = None,
    salt: str = "",
) -> Pool:
    """Make a pool with `rows` rows, models `writer` and `judge` (or the given YAML entries), no cohort."""
    root.mkdir(parents=True, exist_ok=True)
    write_config(root, models=models, salt=salt)
    write_rows(root, range(rows))
    for name, text in TEMPLATES.items():
        path = root / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Pool.open(root)


def write_config(root: Path, *, models: Mapping[str, str] | None = None, salt: str = "") -> None:
    """Write pool.yaml with the models `writer` and `judge`, or the given YAML entries."""
    entries = {"writer": "{client: scripted}", "judge": "{client: scripted}", **(models or {})}
    (root / "pool.yaml").write_text(
        f'format: genpool.pool/1\nid_scheme: genpool/1\nsalt: "{salt}"\nmodels:\n'
        + "".join(f"  {name}: {entry}\n" for name, entry in entries.items())
    )


def write_rows(root: Path, numbers: Sequence[int], file: str = "rows.csv") -> None:
    (root / file).write_text("id,topic\n" + "".join(f"row-{number},topic {number}\n" for number in numbers))


def write_spec(root: Path, cohort_id: str = "c", *, rows: str = "rows.csv", **stages: str) -> str:
    """Write a cohort's spec; a stage is given as the inside of its YAML mapping. Drafts only by default."""
    chosen = {"draft": "template: [plain], model: [writer]", **stages}
    chosen["draft"] = f"combo: {{rows: {rows}}}, {chosen['draft']}"
    folder = root / "cohorts" / cohort_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cohort.yaml").write_text(
        "format: genpool.cohort/1\n" + "".join(f"{stage}: {{{inside}}}\n" for stage, inside in chosen.items())
    )
    return cohort_id


ESSAYS = "template: [story, same]"
EVALUATIONS = "template: [clarity], model: [judge]"


def whole_cohort(root: Path, cohort_id: str = "c", *, rows: str = "rows.csv") -> str:
    """Write a spec of all three stages: a draft a row, a story and a copy of it, two judgements of each."""
    return write_spec(root, cohort_id, rows=rows, essay=ESSAYS, evaluation=EVALUATIONS)


def seeds_of(plan: Plan, attempt: int = 0) -> dict[int, str]:
    """Return the seed of every task's call, to the task's id."""
    return {seed_of(task.gen_id, attempt): task.gen_id for task in plan.tasks()}


# --- looking from outside ---------------------------------------------------------------------------


def tree(root: Path, *, without: Sequence[str] = ()) -> dict[str, tuple[int, int, str]]:
    """Return every path below a directory with its mode, change of content time and digest; caches left out."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name == ".genpool" or name.startswith(".genpool/catalog.sqlite"):
            continue
        if name.split("/")[0] not in without:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            changed = status.st_mtime_ns if path.is_file() else 0
            found[name] = (status.st_mode, changed, hashlib.sha256(content).hexdigest())
    return found


def generations(root: Path) -> set[tuple[str, str]]:
    """Return the stage and name of everything under gens/."""
    return {(path.parent.name, path.name) for path in (root / "gens").glob("*/*")}


def metadata(root: Path, stage: str, gen_id: str) -> dict[str, object]:
    value: dict[str, object] = json.loads((root / "gens" / stage / gen_id / "metadata.json").read_text())
    return value


def attempt_reasons(root: Path) -> list[str]:
    """Return the reason of every attempt, in the order of task and number."""
    folders = sorted((root / "attempts").glob("*/*/*"), key=lambda one: (one.parent.name, int(one.name)))
    return [json.loads((folder / "metadata.json").read_text())["reason"]["kind"] for folder in folders]


def ledger_entries(root: Path) -> list[dict[str, object]]:
    """Return the entries of every run's ledger, heads included."""
    return [entry for path in sorted((root / "ledger").glob("*.jsonl")) for entry in entries_of(path)]


def entries_of(ledger: Path) -> list[dict[str, object]]:
    """Return the entries of one ledger, its head first; a last line that was torn by a kill is left out."""
    return [json.loads(line) for line in ledger.read_bytes().split(b"\n")[:-1]]


def torn_generations(pool: Pool) -> list[str]:
    """Return what is wrong with what is visible under gens/; nothing, where every generation is whole."""
    wrong = []
    for stage, gen_id in sorted(generations(pool.root)):
        try:
            record = pool.store.record(pool.config.pipeline[stage], gen_id)
            for name in ("parsed",) if record.mode == "copy" else ("prompt", "raw", "parsed"):
                pool.store.text(record, name)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not a whole generation
            wrong.append(f"{stage}/{gen_id}: {type(error).__name__}: {error}")
    return wrong


# --- places -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """Give a temporary folder in memory where the machine has one: quick, for what needs no disk."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as name:
        yield Path(name)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree with its times, its modes, its links to elsewhere, and those of its files to one another."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True, capture_output=True)


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """Mount a file system of a few bytes at a place; where that cannot be, the test is not run and says so."""
    place.mkdir(parents=True, exist_ok=True)
    if not _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)):
        pytest.skip(f"{NOT_RUN}: a disk that is full or read-only needs root and mount(8)")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)


def remounted(place: Path, options: str) -> bool:
    return _mount("-o", f"remount,{options}", str(place))


def _mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


# --- models -----------------------------------------------------------------------------------------


class HeldModel(ScriptedModel):
    """A scripted model whose answers wait until they are let go; it counts how many calls are in flight."""

    def __init__(self, script: Script | None = None) -> None:
        super().__init__(script)
        self.let_go = asyncio.Event()
        self.called = asyncio.Event()
        self.in_flight = 0
        self.most_in_flight = 0

    async def complete(self, request: Request) -> Completion:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.called.set()
        try:
            await self.let_go.wait()
            return await super().complete(request)
        finally:
            self.in_flight -= 1


def answer(text: str, finish_reason: str | None = "stop") -> Completion:
    return Completion(text, finish_reason, "scripted", Usage(10, 5), "scripted")


def models(*, writer: ScriptedModel | None = None, judge: ScriptedModel | None = None) -> dict[str, ScriptedModel]:
    return {"writer": writer or ScriptedModel(), "judge": judge or ScriptedModel()}
