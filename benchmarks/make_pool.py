"""Write a pool of any size; the same arguments give the same bytes.

    python benchmarks/make_pool.py DIR --tasks 100000 --present 90 --legacy 0 --cohorts 4

For measuring and for tests. Every generation is what a run would have kept: its directory with prompt, raw and parsed
text, a sealed metadata.json, its sources, and the combos, specs and memberships of several cohorts that share members.
It is written plainly and by several processes: without staging, flushes, locks and a ledger, since nothing here was
bought. `genpool doctor` finds it sound.

A row of data/rows.csv gives 44 tasks: 2 draft templates x 2 models, of each draft an essay and a copy, of each of
these 2 rubrics x 2 judgements. The cohort `whole` wants all of them, `slice-1`, `slice-2` … overlapping ranges of
rows; every tenth row was made by `whole`, the others by the first slice that has them. What is absent is absent with
all that descends from it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b, sha256
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.canonical import sha256 as digest
from genpool.combos import combo_lines
from genpool.config import read_config
from genpool.drift import combo_bytes, model_bytes, sent_by, template_bytes
from genpool.gen_ids import ids_below
from genpool.inputs import Inputs
from genpool.layout import PoolLayout
from genpool.records import FORMAT, SCHEME
from genpool.slots import HEADER_LINE, slot_lines
from genpool.stages import DEFAULT_PIPELINE
from genpool.writer import seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGES: Final = ("draft", "essay", "evaluation")
DRAFT_TEMPLATES: Final = ("baseline", "rolling-thread")
WRITERS: Final = ("writer-large", "writer-small")
ESSAY_TEMPLATES: Final = ("as-drafted", "narrative")
COPY: Final = "as-drafted"
RUBRICS: Final = ("coherence", "novelty")
JUDGEMENTS: Final = 2

VARIANTS: Final[dict[str, list[tuple[Any, ...]]]] = {
    "draft": list(product(DRAFT_TEMPLATES, WRITERS, (1,))),
    "essay": list(product(ESSAY_TEMPLATES, (1,))),
    "evaluation": list(product(RUBRICS, ("judge",), range(1, JUDGEMENTS + 1))),
}
"""What is made below one source, in plan order: the values of a stage's fields but for the first."""

DRAFTS_A_ROW: Final = len(VARIANTS["draft"])
ESSAYS_A_ROW: Final = DRAFTS_A_ROW * len(VARIANTS["essay"])
JUDGEMENTS_A_ROW: Final = ESSAYS_A_ROW * len(VARIANTS["evaluation"])
TASKS_A_ROW: Final = DRAFTS_A_ROW + ESSAYS_A_ROW + JUDGEMENTS_A_ROW

POOL: Final = """\
format: genpool.pool/1
id_scheme: genpool/1
models:
  writer-large:
    {client: scripted, model: large, temperature: 0.8, max_tokens: 900, price: {input: 1.25, output: 10}}
  writer-small:
    {client: scripted, model: small, temperature: 1.0, max_tokens: 900, price: {input: 0.15, output: 0.6}}
  judge: {client: scripted, model: judge, max_tokens: 200, price: {input: 0.3, output: 1.2}}
"""
PROMPTS: Final = {
    ("draft", "baseline"): "{{ row.text }}\n\nWrite down an idea that this suggests.\n",
    ("draft", "rolling-thread"): "{{ row.text }}\n\nThink aloud, one thread after another.\n",
    ("essay", "narrative"): "{{ draft.text }}\n\nTell this as an essay.\n",
    ("essay", COPY): "",
    ("evaluation", "coherence"): "{{ essay.text }}\n\nHow coherent is this text, from 0 to 9?\n",
    ("evaluation", "novelty"): "{{ essay.text }}\n\nHow new is the idea of this text, from 0 to 9?\n",
}
FRONT: Final = {"evaluation": "---\nparser: json_score\nscale: [0, 9]\n---\n", COPY: "---\nmode: copy\n---\n"}
SPEC: Final = """\
format: genpool.cohort/1
draft:
  combo: {rows: data/rows.csv}
  template: "@file:catalogs/draft-templates.csv"
  model: [writer-large, writer-small]
essay:
  template: [as-drafted, narrative]
evaluation:
  template: "@file:catalogs/rubrics.csv"
  model: [judge]
  replicates: 2
"""
WORDS: Final = (
    "a the every some mind thread model idea moat wheel river habit question market pattern signal memory attention "
    "drifts turns grows carries repeats gathers opens closes slowly often again under beside through without"
).split()
SENTENCES: Final = 1_009
_COLUMNS: Final = ("stage", "gen_id", "combo_id", "template_id", "llm_model_id", "parent_gen_id", "replicate")
_CHUNKS: Final = 64
_SORTED: Final = orjson.OPT_SORT_KEYS
_WRITTEN: Final = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_FIRST: Final = 1_767_225_600  # 2026-01-01T00:00:00Z


@dataclass(frozen=True, slots=True)
class Shape:
    """What pool is to be written; equal shapes give equal bytes."""

    tasks: int = 1_000
    """How many tasks `whole` wants, rounded up to whole rows."""
    present: float = 90.0
    """How many of a hundred tasks have their generation."""
    legacy: float = 0.0
    """How many of a hundred generations have an id of another making."""
    cohorts: int = 4
    """`whole`, and one less of slices."""
    seed: int = 1

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return -(-self.tasks // TASKS_A_ROW)

    @property
    def names(self) -> list[str]:
        """The cohorts, `whole` first."""
        return ["whole", *(f"slice-{at}" for at in range(1, self.cohorts))]

    def has(self, cohort: int, row: int) -> bool:
        """Return whether a cohort, by position, wants a row: a slice shares half of its rows with the next."""
        if cohort == 0:
            return True
        first, end = (cohort - 1) * self.rows // self.cohorts, (cohort + 1) * self.rows // self.cohorts
        return first <= row < max(end, first + 1)

    def origin(self, row: int) -> int:
        """Return the cohort, by position, whose run made what exists of a row."""
        if row % 10 == 0:
            return 0
        return next((cohort for cohort in range(1, self.cohorts) if self.has(cohort, row)), 0)

    @property
    def chance(self) -> float:
        """The chance of a task whose parent exists to exist, such that `present` of a hundred do."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            there = DRAFTS_A_ROW * middle + ESSAYS_A_ROW * middle**2 + JUDGEMENTS_A_ROW * middle**3
            low, high = (middle, high) if there < TASKS_A_ROW * self.present / 100 else (low, middle)
        return high

    def draw(self, gen_id: str, what: str) -> float:
        """Return a number from 0 to 1 that is always the same for an id."""
        drawn = blake2b(f"{self.seed} {what} {gen_id}".encode(), digest_size=6).digest()
        return int.from_bytes(drawn, "big") / 2**48


def row_id(row: int) -> str:
    """Return the id of a row."""
    return f"row-{row:07d}"


# --- what a person would have written -------------------------------------------------------------


def write_inputs(root: Path, shape: Shape) -> None:
    """Write pool.yaml, templates, data, catalogs, specs and what follows from them: sources and combos."""
    for folder in ("data", "catalogs", "sources", *(f"gens/{stage}" for stage in STAGES)):
        (root / folder).mkdir(parents=True)
    (root / "pool.yaml").write_text(POOL)
    for (stage, name), text in PROMPTS.items():
        (root / f"templates/{stage}").mkdir(parents=True, exist_ok=True)
        (root / f"templates/{stage}/{name}.j2").write_text(FRONT.get(name, FRONT.get(stage, "")) + text)
    (root / "data/rows.csv").write_text("id,text\n" + "".join(f"{row_id(n)},{_row(n)}\n" for n in range(shape.rows)))
    _write_column(root / "catalogs/draft-templates.csv", "template", DRAFT_TEMPLATES)
    _write_column(root / "catalogs/rubrics.csv", "template", RUBRICS)
    for at, cohort in enumerate(shape.names):
        (root / "cohorts" / cohort).mkdir(parents=True)
        rule = ""
        if at:
            rows = [row_id(row) for row in range(shape.rows) if shape.has(at, row)]
            _write_column(root / f"catalogs/{cohort}.csv", "combo", rows)
            rule = f'rules:\n  subsets:\n    - {{axis: draft.combo, keep: "@file:catalogs/{cohort}.csv"}}\n'
        (root / f"cohorts/{cohort}/cohort.yaml").write_text(SPEC + rule)
    inputs = Inputs(PoolLayout(root))
    combos = [inputs.row_combo("data/rows.csv", row_id(row)) for row in range(shape.rows)]
    (root / "combos.jsonl").write_bytes(combo_lines(combos))


def _row(row: int) -> str:
    return sentence(f"row {row}")


def _write_column(path: Path, name: str, values: list[str] | tuple[str, ...]) -> None:
    path.write_text("\n".join((name, *values)) + "\n")


@lru_cache(1)
def sentences() -> list[str]:
    """Return the sentences of which all texts are made."""
    dice = random.Random(0)
    return [" ".join(dice.choices(WORDS, k=dice.randint(6, 14))).capitalize() + "." for _ in range(SENTENCES)]


def sentence(name: str, count: int = 1) -> str:
    """Return some sentences, always the same for a name."""
    first = int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big")
    return " ".join(sentences()[(first + 17 * at) % SENTENCES] for at in range(count))


# --- generations ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Made:
    """A generation, as far as what is below it needs it; or a task, whose text is not there."""

    gen_id: str
    model: str
    text: str | None


_Meaning = tuple[dict[str, str], dict[str, Any], Any]
"""Fingerprints of template and model; what is the same of all their calls, as stored and as canonical JSON has it."""


class Writer:
    """Writes the generations of some rows.

    Args:
        root: The pool's directory, its inputs written.
        shape: What is to be written.
    """

    def __init__(self, root: Path, shape: Shape) -> None:
        self._gens = os.fspath(root / "gens")
        self._sources = os.fspath(root / "sources")
        self._shape = shape
        self._chance = shape.chance
        self._inputs = Inputs(PoolLayout(root))
        self._models = read_config(PoolLayout(root)).models
        self._named: dict[tuple[str, str, str], _Meaning] = {}
        self.members: dict[tuple[int, str], list[str]] = {}
        """Lines of the memberships, by the cohort's position and stage."""
        self.slots: list[tuple[str, str, int]] = []
        """The slots of legacy generations."""
        self.written = 0

    def row(self, row: int) -> None:
        """Write what there is of one row, and note its members."""
        name = row_id(row)
        combo = combo_bytes(self._inputs, self._inputs.row_combo("data/rows.csv", name))
        self._source(combo)
        inputs, origin = digest(combo), self._shape.names[self._shape.origin(row)]
        wants = [at for at in range(self._shape.cohorts) if self._shape.has(at, row)]
        above = [(Made(name, "", self._inputs.rows("data/rows.csv")[name]["text"]), inputs)]
        at = row * TASKS_A_ROW
        for stage in STAGES:
            made = []
            for parent, parent_inputs in above:
                ids = ids_below(DEFAULT_PIPELINE[stage], [parent.gen_id], VARIANTS[stage])
                for variant, right in zip(VARIANTS[stage], ids, strict=True):
                    task = self._task(stage, parent, variant, right, parent_inputs, origin, at)
                    at += 1
                    made.append(task)
                    line = self._line(stage, task.gen_id, parent.gen_id, variant)
                    for cohort in wants:
                        self.members.setdefault((cohort, stage), []).append(line)
            above = [(one, _inputs_below(one.text)) for one in made]

    @staticmethod
    def _line(stage: str, gen_id: str, source: str, variant: tuple[Any, ...]) -> str:
        """Return a line of membership.csv; see `_COLUMNS`."""
        combo, parent = (source, "") if stage == "draft" else ("", source)
        model = variant[1] if len(variant) > 2 else ""
        return f"{stage},{gen_id},{combo},{variant[0]},{model},{parent},{variant[-1]}\n"

    def _task(
        self, stage: str, parent: Made, variant: tuple[Any, ...], right: str, inputs: str, origin: str, at: int
    ) -> Made:
        """Write one generation, where there is one; return what is below its task."""
        model = str(variant[1]) if len(variant) > 2 else parent.model
        if parent.text is None or self._shape.draw(right, "present") >= self._chance:
            return Made(right, model, None)
        legacy = self._shape.draw(right, "legacy") * 100 < self._shape.legacy
        gen_id = right
        if legacy:
            gen_id = f"{right.partition('_')[0]}_{blake2b(right.encode(), digest_size=10).hexdigest()}"
            self.slots.append((stage, gen_id, int(variant[-1])))
        copied = variant[0] == COPY
        texts, score = _copied(parent.text) if copied else _written(stage, variant[0], right, parent.text)
        record = dict(zip(DEFAULT_PIPELINE[stage].fields, (parent.gen_id, *variant), strict=True))
        record |= {"gen_id": gen_id, "stage": stage, "origin_cohort_id": origin, "mode": "copy" if copied else "llm"}
        record |= {"created_at": _moment(at), "run_id": _run(origin)}
        if legacy:
            record |= {"replicate": str(variant[-1]) if at % 2 else variant[-1], "task_id": f"task-{gen_id}"}
            metadata = orjson.dumps(record, option=orjson.OPT_INDENT_2)
        else:
            prints, call, canonical_call = self._meaning(stage, str(variant[0]), model)
            record |= {"format": FORMAT, "id_scheme": SCHEME, "score": score, "call": None, "parser": None}
            record["fingerprints"] = prints | {"inputs": inputs}
            record["fingerprints"] |= {name: digest(text.encode()) for name, text in texts.items()}
            answered = {} if copied else _answered(gen_id, texts)
            if not copied:
                record |= {"parser": "json_score" if score else "text", "call": canonical_call | answered}
            record["self"] = digest(orjson.dumps(record, option=_SORTED))
            record["call"] = None if copied else call | answered
            metadata = orjson.dumps(record, option=_WRITTEN)
        self._keep(f"{self._gens}/{stage}/{gen_id}", texts, metadata)
        return Made(gen_id, model, texts["parsed"])

    def _meaning(self, stage: str, template_id: str, model: str) -> _Meaning:
        """Return what is the same of all tasks of a template and a model; its sources are kept."""
        key = (stage, template_id, model)
        if key not in self._named:
            template, entry = self._inputs.template(stage, template_id), self._models[model]
            sources = {"template": template_bytes(template)}
            if template_id != COPY:
                sources["model"] = model_bytes(entry, template)
            for data in sources.values():
                self._source(data)
            call = {
                "provider": "scripted",
                "model": entry.model,
                "model_returned": entry.model,
                "parameters": sent_by(entry, template),
                "finish_reason": "stop",
                "price": entry.price.as_json() if entry.price else None,
                "attempts_before": 0,
            }
            self._named[key] = {name: digest(data) for name, data in sources.items()}, call, _whole(call)
        return self._named[key]

    def _source(self, data: bytes) -> None:
        path = f"{self._sources}/{digest(data)}"
        if not os.path.exists(path):  # noqa: PTH110 - a text, not a Path
            _put(f"{path}.{os.getpid()}", data)
            os.rename(f"{path}.{os.getpid()}", path)  # noqa: PTH104 - another process writes the same

    def _keep(self, folder: str, texts: dict[str, str], metadata: bytes) -> None:
        os.mkdir(folder)  # noqa: PTH102 - a text, not a Path: a million of them
        for name, text in texts.items():
            _put(f"{folder}/{name}.txt", text.encode())
        _put(f"{folder}/metadata.json", metadata)
        self.written += 1


def _whole(value: Any) -> Any:
    """Return a JSON value with 10.0 as 10, so that orjson writes it as canonical JSON: the way of every number here."""
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _put(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    os.write(descriptor, data)
    os.close(descriptor)


def _inputs_below(text: str | None) -> str:
    """Return the fingerprint of the inputs below a generation."""
    return "" if text is None else digest(f'{{"parent":"{digest(text.encode())}"}}'.encode())


def _copied(text: str) -> tuple[dict[str, str], None]:
    return {"parsed": text}, None


def _written(stage: str, template_id: str, name: str, parent: str) -> tuple[dict[str, str], dict[str, int] | None]:
    """Return the texts of a call, and the score where it is a judgement."""
    shown = "row" if stage == "draft" else STAGES[STAGES.index(stage) - 1]
    prompt = PROMPTS[stage, template_id].replace(f"{{{{ {shown}.text }}}}", parent).removesuffix("\n")
    if stage != "evaluation":
        text = sentence(name, 8 if stage == "draft" else 16)
        return {"prompt": prompt, "raw": f"{text}\n", "parsed": text}, None
    said, value = sentence(name), int(name[-2:], 16) % 10
    texts = {"prompt": prompt, "raw": f'{{"reason": "{said}", "score": {value}}}', "parsed": f"{said}\nSCORE: {value}"}
    return texts, {"value": value, "min": 0, "max": 9}


def _answered(gen_id: str, texts: dict[str, str]) -> dict[str, Any]:
    """Return what differs of a call from one to the next."""
    usage = {"input_tokens": len(texts["prompt"]) // 4, "output_tokens": len(texts["raw"]) // 4}
    drawn = int(gen_id[-4:], 16)
    return {"seed": seed_of(gen_id, 0), "usage": usage, "seconds": _whole(round(0.5 + drawn % 7_919 / 1_000, 3))}


def _run(origin: str) -> str:
    return f"run-20260101T000000Z-{blake2b(origin.encode(), digest_size=3).hexdigest()}"


def _moment(at: int) -> str:
    """Return when the generation of a task was made."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(_FIRST + at))


# --- everything together --------------------------------------------------------------------------


def make_pool(root: Path, shape: Shape, processes: int = 1) -> int:
    """Write a pool; return how many generations it has.

    Args:
        root: A directory that does not exist yet.
        shape: What is to be written.
        processes: How many processes write.
    """
    root.mkdir(parents=True)
    write_inputs(root, shape)
    parts = root / "parts.tmp"
    parts.mkdir()
    chunks = min(_CHUNKS, shape.rows)
    work = partial(_write_chunk, root, shape, chunks)
    if processes == 1:
        made = [work(chunk) for chunk in range(chunks)]
    else:
        with ProcessPoolExecutor(processes) as workers:
            made = list(workers.map(work, range(chunks)))
    if any(slots for _, slots in made):
        lines = b"".join(slot_lines(slots) for _, slots in made)
        (root / "legacy.csv").write_bytes(HEADER_LINE + lines)
    for at, cohort in enumerate(shape.names):
        _write_membership(root, cohort, at, parts, chunks)
    shutil.rmtree(parts)
    return sum(written for written, _ in made)


def _write_chunk(root: Path, shape: Shape, chunks: int, chunk: int) -> tuple[int, list[tuple[str, str, int]]]:
    """Write the generations of some rows, and parts of the memberships; return their number, and slots."""
    writer = Writer(root, shape)
    for row in range(chunk * shape.rows // chunks, (chunk + 1) * shape.rows // chunks):
        writer.row(row)
    for (cohort, stage), lines in writer.members.items():
        (root / f"parts.tmp/{cohort}-{stage}-{chunk}").write_text("".join(lines))
    return writer.written, writer.slots


def _write_membership(root: Path, cohort: str, at: int, parts: Path, chunks: int) -> None:
    """Write membership.csv in plan order, and the adopted.json that vouches for it."""
    layout = PoolLayout(root)
    members = sha256()
    header = f"{','.join(_COLUMNS)}\n".encode()
    with layout.membership(cohort).open("wb") as file:
        for data in (header, *_parts(parts, at, chunks)):
            file.write(data)
            members.update(data)
    adopted = {
        "format": "genpool.adopted/1",
        "cohort_id": cohort,
        "adopted_at": _moment(0),
        "spec": digest(layout.spec(cohort).read_bytes()),
        "membership": members.hexdigest(),
        "catalogs": {
            "concepts": digest(b""),
            "templates": {stage: digest("\n".join(sorted(_templates(stage))).encode()) for stage in STAGES},
            "models": digest("\n".join(sorted((*WRITERS, "judge"))).encode()),
        },
        "roots": [],
        "from": None,
    }
    layout.adopted(cohort).write_bytes(orjson.dumps(adopted, option=_WRITTEN))


def _parts(parts: Path, at: int, chunks: int) -> Iterator[bytes]:
    for stage in STAGES:
        for chunk in range(chunks):
            part = parts / f"{at}-{stage}-{chunk}"
            if part.exists():
                yield part.read_bytes()


def _templates(stage: str) -> list[str]:
    return [name for one, name in PROMPTS if one == stage]


def thin(root: Path, shape: Shape) -> int:
    """Take generations away from a pool in which everything exists; return how many.

    What stays is what a pool of the given shape has; nobody is told, as when a person removes directories. A pool with
    legacy ids cannot be thinned: what was drawn is not in their names.
    """
    gone: set[str] = set()
    chance = shape.chance
    with PoolLayout(root).membership("whole").open() as members:
        next(members)
        for line in members:
            stage, gen_id, _, _, _, parent, _ = line.split(",")
            if parent in gone or shape.draw(gen_id, "present") >= chance:
                gone.add(gen_id)
                shutil.rmtree(root / "gens" / stage / gen_id)
    return len(gone)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what pool is written."""
    usual = Shape()
    parser.add_argument("--tasks", type=int, default=usual.tasks, help="tasks of the cohort `whole`")
    parser.add_argument("--present", type=float, default=usual.present, help="of a hundred tasks, how many exist")
    parser.add_argument("--legacy", type=float, default=usual.legacy, help="of a hundred, how many have a legacy id")
    parser.add_argument("--cohorts", type=int, default=usual.cohorts, help="cohorts, `whole` included")
    parser.add_argument("--seed", type=int, default=usual.seed, help="another seed: other tasks are absent")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)


def main() -> None:
    """Write the pool that the arguments say."""
    parser = argparse.ArgumentParser(description="Write a pool of any size; the same arguments give the same bytes.")
    parser.add_argument("directory", type=Path, help="where the pool is written; must not exist")
    add_arguments(parser)
    given = parser.parse_args()
    shape = Shape(given.tasks, given.present, given.legacy, given.cohorts, given.seed)
    if given.directory.exists():
        sys.exit(f"{given.directory} exists already: name a directory that does not")
    if shape.tasks < 1 or shape.cohorts < 1 or not (0 <= shape.present <= 100 and 0 <= shape.legacy <= 100):
        sys.exit("--tasks and --cohorts are at least 1, --present and --legacy from 0 to 100")
    started = time.perf_counter()
    made = make_pool(given.directory, shape, given.processes)
    seconds = time.perf_counter() - started
    tasks = shape.rows * TASKS_A_ROW
    print(f"{given.directory}: {tasks:,} tasks, {made:,} generations ({made / tasks:.1%}) in {seconds:.1f} s")


if __name__ == "__main__":
    main()
