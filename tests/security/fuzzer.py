"""The process that fuzzes: bad files and names through the library, looking at what it opens, how long and how much.

Run as `python -m tests.security.fuzzer specs|names COUNT`; prints a JSON object: see `Tally`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import sys
import sysconfig
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import dotenv  # noqa: F401 - a plan brings it in when it first looks for a key, which is no file of the pool

from genpool.combos import read_concept
from genpool.config import read_config
from genpool.errors import GenpoolError
from genpool.gen_ids import gen_id
from genpool.pool import Pool
from genpool.prompts import read_template
from genpool.signatures import Signature
from tests.small_pools import memory_folder

from .hostile_names import name
from .mutations import FILES, POOL, SPECS, bombs, changed, huge_product
from .witness import witnessed

if TYPE_CHECKING:
    from collections.abc import Callable

_BEARABLE = 100_000  # tasks of a plan that is right: what takes long then is what was asked for
_CODE = tuple(
    str(Path(one)) for one in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), Path(__file__).parents[2])
)


@dataclass(slots=True)
class Tally:
    cases: int = 0
    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Kind of error to how often."""
    tracebacks: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    """What was opened outside the pool."""
    slowest: float = 0.0
    """Seconds of the processor that the slowest case took."""
    slowest_case: str = ""
    huge: float = 0.0
    """The same for the refusal of 10^12 tasks."""
    huge_said: str = ""
    most_memory: int = 0
    """MiB that the process had at the most."""


class Fuzzer:
    """Runs cases in one pool and keeps count."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "pool"
        self.tally = Tally()
        self._written: dict[str, str] = {}
        (folder / "secret.csv").write_text("id,topic,tone\nsecret,s,t\n")
        self.write("pool.yaml", POOL)
        for file, text in FILES.items():
            self.write(file, text)
        self.write("cohorts/c/cohort.yaml", SPECS[0])
        self.write("cohorts/made/cohort.yaml", SPECS[2])
        (self.root / "linked.csv").symlink_to(folder / "secret.csv")
        (self.root / "outside").symlink_to(folder)
        (self.root / "cohorts/linked").symlink_to(folder)
        Pool.open(self.root).run("made")
        self.place = os.path.realpath(self.root)

    def write(self, file: str, data: str | bytes) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))

    def case(self, what: str, call: Callable[[], object]) -> float:
        """Run one case; return the seconds of the processor that it took."""
        self.tally.cases += 1
        size = 0
        before = time.process_time()
        with witnessed() as witness:
            try:
                answer = call()
                size = len(answer) if hasattr(answer, "__len__") else 0
                self.tally.accepted += 1
            except GenpoolError as error:
                self.tally.refused[error.kind] = self.tally.refused.get(error.kind, 0) + 1
                json.dumps(error.as_json()), str(error)
            except Exception:  # noqa: BLE001 - what is looked for
                self.tally.tracebacks.append(f"{what[:2000]}\n{traceback.format_exc(limit=-4)}")
        took = time.process_time() - before
        if size <= _BEARABLE and took > self.tally.slowest:
            self.tally.slowest, self.tally.slowest_case = took, what[:300]
        self.tally.outside += [
            f"{what[:300]}: {path}" for path in dict.fromkeys(witness.opened) if not self._allowed(path)
        ]
        self.tally.outside += [f"{what[:300]}: {started}" for started in witness.started if "ctypes" not in started]
        return took

    def _allowed(self, path: str) -> bool:
        """Return whether a path is in the pool, links followed, or source text of Python or of a library."""
        real = os.path.realpath(path)
        if real == self.place or real.startswith(self.place + os.sep):
            return True
        return path.endswith((".py", ".pyc")) and path.startswith(_CODE)

    def planned(self) -> object:
        """Read everything of the pool and plan its cohort."""
        pool = Pool.open(self.root)
        pool.cohort_ids()
        return pool.plan("c")


def fuzz_specs(folder: Path, count: int) -> Tally:
    """Plan with bad files: known bombs first, then valid files changed by chance."""
    fuzzer, chance = Fuzzer(folder), random.Random(10)
    fuzzer.planned()
    for what, text in bombs().items():
        fuzzer.write("cohorts/c/cohort.yaml", text)
        fuzzer.case(f"bomb: {what}", fuzzer.planned)
        for file in (
            "pool.yaml",
            "concepts/moat.yaml",
            "rows.csv",
            "rows.jsonl",
            "combos.jsonl",
            "templates/draft/plain.j2",
        ):
            fuzzer.write(
                "cohorts/c/cohort.yaml", SPECS[1] if "concepts" in file else SPECS[4] if "jsonl" in file else SPECS[0]
            )
            fuzzer.write(file, f"---\n{text}\n---\nx" if file.endswith(".j2") else text)
            fuzzer.case(f"bomb in {file}: {what}", fuzzer.planned)
            fuzzer.write(file, POOL if file == "pool.yaml" else FILES[file])
    pool, spec = huge_product()
    fuzzer.write("pool.yaml", pool)
    fuzzer.write("cohorts/c/cohort.yaml", spec)
    fuzzer.tally.huge = min(fuzzer.case("10^12 tasks", fuzzer.planned) for _ in range(3))
    try:
        fuzzer.planned()
    except GenpoolError as error:
        fuzzer.tally.huge_said = str(error)
    fuzzer.write("pool.yaml", POOL)
    others = [*["pool.yaml"] * 6, *FILES]
    while fuzzer.tally.cases < count:
        base = chance.choice(SPECS)
        file = "cohorts/c/cohort.yaml" if chance.random() < 0.6 else chance.choice(others)
        text = base if file.startswith("cohorts") else POOL if file == "pool.yaml" else FILES[file]
        fuzzer.write("cohorts/c/cohort.yaml", base)
        fuzzer.write(file, data := changed(text, chance))
        fuzzer.case(f"{file}: {data!r}", fuzzer.planned)
        if not file.startswith("cohorts"):
            fuzzer.write(file, text)
    return fuzzer.tally


def fuzz_names(folder: Path, count: int) -> Tally:
    """Give bad names to everything that takes one."""
    fuzzer, chance = Fuzzer(folder), random.Random(20)
    for linked in ("concepts/linked.yaml", "templates/draft/linked.j2"):
        (fuzzer.root / linked).symlink_to(folder / "secret.csv")
    pool = Pool.open(fuzzer.root)
    doors = _doors(pool)
    for door, call in doors.items():
        with contextlib.suppress(GenpoolError):
            call("d_0")  # what is imported when first needed is imported now
        del door
    names = list(doors)
    while fuzzer.tally.cases < count:
        door, given = names[fuzzer.tally.cases % len(names)], name(chance)
        fuzzer.case(f"{door}({given!r})", lambda door=door, given=given: doors[door](given))
    return fuzzer.tally


def _doors(pool: Pool) -> dict[str, Callable[[str], object]]:
    """Return everything of the library and of the command that takes an id, a name or a path."""
    layout, config, inputs = pool.layout, pool.config, pool.inputs
    head = "format: genpool.cohort/1\n"

    def spec(text: str) -> Callable[[str], object]:
        return lambda given: pool.plan_text("c", head + text.replace("NAME", json.dumps(given)), "spec")

    def command(*words: str) -> Callable[[str], object]:
        return lambda given: _typed(["--pool", str(pool.root), *[word.replace("NAME", given) for word in words]])

    return {
        "plan": pool.plan,
        "spec": pool.spec,
        "scope": lambda given: pool.scope(given).counts(),
        "plan_purge": pool.plan_purge,
        "plan_regeneration": pool.plan_regeneration,
        "why": pool.why,
        "find_generation": pool.find_generation,
        "find_attempts": pool.find_attempts,
        "undo_removal": pool.undo_removal,
        "layout": lambda given: (layout.cohort(given), layout.generation("draft", given), layout.trashed(given)),
        "layout of stages": lambda given: (layout.stage(given), layout.attempts(given, "d_0")),
        "template": lambda given: read_template(layout, "draft", given),
        "stage of templates": lambda given: read_template(layout, given, "plain"),
        "concept": lambda given: read_concept(layout, given),
        "path": inputs.path,
        "rows": inputs.rows,
        "source": pool.store.source,
        "record": lambda given: pool.store.record(config.pipeline["draft"], given),
        "signature": lambda given: gen_id(Signature.of(config.pipeline["draft"], {**_SIGNATURE, "tone": given}), ""),
        "combo of a signature": lambda given: pool.why(
            Signature.of(config.pipeline["draft"], {**_SIGNATURE, "combo_id": given})
        ),
        "parent of a signature": lambda given: gen_id(
            Signature.of(config.pipeline["essay"], {"parent_gen_id": given, "template_id": given, "replicate": 1}),
            given,
        ),
        "pool": lambda given: read_config(type(layout)(layout.root / "cohorts" / "c" / given.replace("/", "_"))),
        "combo in a spec": spec("draft: {combo: [NAME], template: [plain], model: [writer], tone: [a]}"),
        "level in a spec": spec("draft: {combo: {rows: rows.csv}, template: [NAME], model: [NAME], tone: [NAME]}"),
        "key in a spec": spec("draft: {combo: {rows: rows.csv}, NAME: [a], template: [plain]}\nNAME: {}"),
        "rows in a spec": spec("draft: {combo: {rows: NAME}, template: [plain], model: [writer], tone: [a]}"),
        "concepts in a spec": spec(
            "draft: {combo: {concepts: [NAME], size: 1, level: NAME}, template: all, model: all, tone: [a]}"
        ),
        "rules in a spec": spec(
            "draft: {combo: {rows: rows.csv}, template: all, model: all, tone: [a]}\n"
            "rules: {subsets: [{axis: NAME, keep: [NAME]}], ties: [[NAME, draft.model]]}"
        ),
        "file in a spec": lambda given: spec(
            "draft: {combo: {rows: rows.csv}, template: [plain], model: all, tone: NAME}"
        )(f"@file:{given}"),
        "genpool plan": command("plan", "--", "NAME"),
        "genpool why": command("why", "--", "NAME"),
        "genpool show": command("show", "--", "NAME"),
        "genpool show --json": command("show", "--json", "--", "NAME"),
        "genpool ls": command("ls", "--", "NAME"),
        "genpool ls --stage": command("ls", "made", "--stage=NAME"),
        "genpool status": command("status", "--", "NAME"),
        "genpool missing": command("missing", "--", "NAME"),
        "genpool purge": command("purge", "--", "NAME"),
        "genpool trash undo": command("trash", "undo", "--", "NAME"),
        "genpool drift": command("drift", "accept", "made", "--", "NAME"),
        "genpool id": command(
            "id", "draft", "--", "combo_id=NAME", "template_id=NAME", "llm_model_id=NAME", "tone=NAME"
        ),
        "genpool id of a stage": command("id", "--", "NAME", "NAME"),
        "genpool fill-gaps": command("fill-gaps", "made", "--axis=NAME", "--levels=NAME"),
        "genpool models pull": command("models", "pull", "--", "NAME"),
        "a verb": command("NAME"),
    }


_SIGNATURE = {"combo_id": "row-0", "template_id": "plain", "llm_model_id": "writer", "tone": "warm", "replicate": 1}


def _typed(words: list[str]) -> None:
    """Type a command; a defect, or a control character in what it prints, is an error."""
    from genpool.cli.main import main

    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape"),
        io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape"),
    )
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    said = [stream.buffer.getvalue().decode("utf-8", "surrogateescape") for stream in (out, err) if not stream.flush()]
    if "defect of genpool" in said[0] + said[1]:
        raise AssertionError(f"exit code {code}: {said[1][:500]}")
    loose = {char for text in said for char in text if ord(char) < 32 and char not in "\n\t"} | {
        "\x7f",
        "\x9b",
    }.intersection(said[0] + said[1])
    if loose:
        raise AssertionError(f"control characters {loose!r} in what is printed: {said!r}"[:500])


def main(what: str, count: int) -> None:
    """Fuzz and print the tally."""
    with memory_folder() as folder:
        (folder / "pool").mkdir()
        os.chdir(folder / "pool")  # names that are opened in an open directory are told without it
        tally = {"specs": fuzz_specs, "names": fuzz_names}[what](folder, count)
    tally.most_memory = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0])  # not its parent's
    tally.most_memory //= 1024
    print(json.dumps(asdict(tally)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
