"""What every question costs in pools of 10^3 to 10^5 tasks, with --full of 10^6: the tables of docs/scale.md.

    python benchmarks/bench_scale.py [--full | --tasks N …] [--directory DIR] [--markdown | --page docs/scale.md]

Each question is asked of the real command line in a fresh process; seconds of wall clock and of processor, and peak
memory, are the kernel's account of it (`wait4`). The best of several rounds counts, in which all questions are asked in
turn, so that rows of one column compare. Among them are the floors, fresh processes as well:

- python: the bare interpreter.
- listing: the names of all generations.
- parsing: every metadata.json, by os.open, os.read and orjson.
- hashing: every file of every generation, by os.open, os.read and SHA-256.
- signac: which of as many state points have a job; of 10^4 at the most, also in the columns of larger pools.

A pool is written (make_pool.py) with everything in it: a run finds nothing to do. Then a tenth is taken away behind its
back, and the other questions are asked. At the end every cache is deleted, and the same questions give the same bytes.
Pools are written below --directory, which needs 2 GB for 10^5 tasks and 20 GB for 10^6, and removed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from make_pool import Shape, make_pool, thin
from measure import print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

SIZES: Final = (1_000, 10_000, 100_000)
FULL: Final = (*SIZES, 1_000_000)
ROUNDS: Final = 3
SIGNAC_MOST: Final = 10_000
DISTRUST: Final = 2.5  # seconds for which a catalog distrusts what was changed just now

LAUNCHER: Final = """
import os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
wall = time.perf_counter() - started
os.write(int(sys.argv[1]), f"{wall} {used.ru_utime + used.ru_stime} {used.ru_maxrss}".encode())
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""
LISTING: Final = "import os,sys; print(sum(len(os.listdir(s.path)) for s in os.scandir(sys.argv[1] + '/gens')))"
_EVERY: Final = """
import os, sys
def read(path):
    descriptor = os.open(path, os.O_RDONLY)
    data = os.read(descriptor, 1 << 20)
    os.close(descriptor)
    return data
folders = (f"{s.path}/{n}" for s in os.scandir(sys.argv[1] + "/gens") for n in os.listdir(s.path))
"""
PARSING: Final = _EVERY + "import orjson\nprint(sum(len(orjson.loads(read(f + '/metadata.json'))) for f in folders))"
HASHING: Final = (
    _EVERY
    + "from hashlib import sha256\n"
    + "print(sum(len(sha256(read(f'{f}/{n}')).hexdigest()) for f in folders for n in os.listdir(f)))"
)
NOTICING: Final = """
import sys, time
from contextlib import closing
from genpool.pool import Pool
pool = Pool.open(sys.argv[1])
pool.config, pool.store
wall, cpu = time.perf_counter(), time.process_time()
with closing(pool.catalog()) as catalog:
    for stage in pool.config.pipeline:
        catalog.token(stage)
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
SIGNAC: Final = """
import os, sys, signac
project = signac.get_project(sys.argv[1])
there = set(os.listdir(project.workspace))
points = ({"stage": "draft", "template_id": "baseline", "replicate": n} for n in range(int(sys.argv[2])))
print(sum(project.open_job(point).id in there for point in points))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took."""

    wall: float
    cpu: float
    memory: float
    """The most it held at a time, in MiB."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that is asked of a pool in a fresh process."""

    name: str
    words: Sequence[str]
    """The arguments of genpool; or of Python, for a floor."""
    is_floor: bool = False
    prepare: Callable[[], object] | None = None
    """What comes before it, not measured."""
    varies: bool = False
    """Whether its answer need not be the same twice: it holds a time or a name of its own."""
    inside: bool = False
    """Whether it prints what its work took, wall clock and processor, so that its start does not count."""

    def ask(self, root: Path) -> tuple[Cost, bytes]:
        """Ask it; return what it took and the digest of what it printed."""
        if self.prepare is not None:
            self.prepare()
        before = ["-m", "genpool", "--pool", os.fspath(root)]
        command = [sys.executable, *(() if self.is_floor else before), *self.words]
        with tempfile.TemporaryFile() as out:
            cost = measured(command, self.name, out)
            out.seek(0)
            if self.inside:
                cost = Cost(*map(float, out.read().split()), memory=cost.memory)
            return cost, file_digest(out, "sha256").digest()


def measured(command: Sequence[str], name: str, out: IO[bytes]) -> Cost:
    """Run a process; return what it took.

    A bare interpreter stands in between: the kernel counts as a process's memory what the process that forked it held.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as errors:
        launched = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(writing), *command]
        code = subprocess.run(
            launched, check=False, stdout=out, stderr=errors, stdin=subprocess.DEVNULL, pass_fds=[writing]
        ).returncode
        os.close(writing)
        with os.fdopen(reading) as told:
            said = told.read().split()
        if code:
            errors.seek(0)
            raise RuntimeError(f"{name}: exit code {code}: {errors.read().decode()[-2_000:]}")
        wall, cpu, memory = map(float, said)
        return Cost(wall, cpu, memory / (2**20 if sys.platform == "darwin" else 2**10))


# --- what is asked --------------------------------------------------------------------------------


def forget(root: Path) -> None:
    """Delete every cache of a pool: the catalog and the manifests."""
    shutil.rmtree(root / ".genpool", ignore_errors=True)
    for manifest in root.glob("cohorts/*/manifest.json"):
        manifest.unlink()


def documents(root: Path) -> list[Question]:
    """Return questions whose answers are JSON and say everything that a cache could get wrong."""
    some = _first_of(root, "evaluation")
    where = ("--stage", "evaluation", "--where", "template=novelty", "--where", "draft.template=baseline")
    return [
        Question("plan", ("plan", "whole", "--json")),
        Question("status", ("status", "whole", "--json")),
        Question("missing", ("missing", "whole")),
        Question("show", ("show", some, "--json")),
        Question("why", ("why", some, "--json")),
        Question("ls, filtered", ("ls", "whole", *where, "--json")),
        Question("ls of the pool by origin", ("ls", "--origin", "slice-1", "--stage", "draft", "--json")),
    ]


def _first_of(root: Path, stage: str) -> str:
    """Return the first member of a stage that exists."""
    with (root / "cohorts/whole/membership.csv").open() as members:
        for line in members:
            cells = line.split(",")
            if cells[0] == stage and (root / "gens" / stage / cells[1]).is_dir():
                return cells[1]
    raise RuntimeError(f"no {stage} exists")


def floors(root: Path) -> list[Question]:
    """Return the bare processes that do the least of each kind of work."""
    shown = os.fspath(root)
    return [
        Question("python", ("-c", "pass"), is_floor=True),
        Question("listing", ("-c", LISTING, shown), is_floor=True),
        Question("parsing", ("-c", PARSING, shown), is_floor=True),
        Question("hashing", ("-c", HASHING, shown), is_floor=True),
    ]


def signac_project(folder: Path, tasks: int) -> Question:
    """Return signac's way of planning as many tasks as it can do, a tenth of them absent."""
    import signac

    project = signac.init_project(folder)
    workspace = Path(project.workspace)
    workspace.mkdir(exist_ok=True)
    for n in range(tasks * 9 // 10):
        (workspace / project.open_job({"stage": "draft", "template_id": "baseline", "replicate": n}).id).mkdir()
    return Question("signac", ("-c", SIGNAC, os.fspath(folder), str(tasks)), is_floor=True)


def measure(folder: Path, tasks: int, rounds: int, processes: int) -> Iterator[dict[str, Cost]]:
    """Yield what every question costs in a pool of so many tasks, floors included; again whenever more is known.

    Raises:
        RuntimeError: A question failed, or was answered otherwise without the caches.
    """
    root = folder / f"pool-{tasks}"
    _say(f"{tasks:,} tasks: writing")
    make_pool(root, Shape(tasks, present=100), processes)
    best: dict[str, Cost] = {}
    peer = signac_project(folder / f"signac-{tasks}", min(tasks, SIGNAC_MOST))
    nothing = Question("run, nothing to do", ("run", "whole", "-q", "--json"), varies=True)
    nothing.ask(root)  # the first look of all
    _rounds(best, root, rounds, [nothing])
    yield best
    thin(root, Shape(tasks, present=90))
    time.sleep(DISTRUST)
    least = min(rounds, 2)
    first = Question("first look (status)", ("status", "whole", "--json"), prepare=partial(forget, root))
    _rounds(best, root, least, [*floors(root)[:-1], peer, first])
    yield best
    opened = Question(
        "id (opens the pool)", ("id", "draft", "combo_id=a", "template_id=b", "llm_model_id=c", "replicate=1")
    )
    noticing = Question("nothing changed", ("-c", NOTICING, os.fspath(root)), is_floor=True, varies=True, inside=True)
    asked = documents(root)
    answers = _rounds(best, root, rounds, [opened, noticing, *asked])
    yield best
    built = Question("manifest build", ("manifest", "build", "whole"), prepare=partial(_without_manifests, root))
    _rounds(best, root, least, [built])
    yield best
    known = [replace(one, name=f"{one.name}, manifest") for one in asked if one.name in {"status", "missing"}]
    for name, answer in _rounds(best, root, rounds, known).items():
        _same(answers[name.removesuffix(", manifest")], answer, name)
    _rounds(best, root, least, [floors(root)[-1], Question("doctor", ("doctor", "--json"))])
    yield best
    _say(f"{tasks:,} tasks: every cache deleted, asked again")
    for question in asked:
        forget(root)
        _same(answers[question.name], question.ask(root)[1], question.name)
    _say(f"{tasks:,} tasks: {len(asked)} answers are the same bytes")


def _without_manifests(root: Path) -> None:
    for manifest in root.glob("cohorts/*/manifest.json"):
        manifest.unlink()


def _same(before: bytes, after: bytes, name: str) -> None:
    if before != after:
        raise RuntimeError(f"{name}: another answer than before")


def _rounds(best: dict[str, Cost], root: Path, rounds: int, questions: Iterable[Question]) -> dict[str, bytes]:
    """Ask questions in turn, several times; note the best of each, and return the digests of the answers."""
    answers: dict[str, bytes] = {}
    asked = list(questions)
    for at in range(rounds):
        for question in asked:
            _say(f"{root.name}: {question.name}, {at + 1} of {rounds}")
            cost, answer = question.ask(root)
            known = best.get(question.name, cost)
            best[question.name] = Cost(*map(min, zip(_fields(known), _fields(cost), strict=True)))
            if not question.varies:
                _same(answers.setdefault(question.name, answer), answer, question.name)
    return answers


def _fields(cost: Cost) -> tuple[float, float, float]:
    return cost.wall, cost.cpu, cost.memory


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr)


# --- tables ---------------------------------------------------------------------------------------

ORDER: Final = (
    "python|listing|parsing|hashing|signac|id (opens the pool)|nothing changed|show|why|status|status, manifest|"
    "missing|missing, manifest|ls, filtered|ls of the pool by origin|plan|run, nothing to do|first look (status)|"
    "manifest build|doctor"
).split("|")


def tables(found: Mapping[int, Mapping[str, Cost]]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, columns and rows of each table: wall clock with processor time, and memory."""
    names = sorted({name for column in found.values() for name in column}, key=_place)
    sizes = [f"{size:,}" for size in found]
    seconds = [[name, *(_seconds(column.get(name)) for column in found.values())] for name in names]
    memory = [[name, *(_memory(column.get(name)) for column in found.values())] for name in names]
    return [
        ("seconds (of processor), by tasks", ["", *sizes], seconds),
        ("peak memory in MiB, by tasks", ["", *sizes], memory),
    ]


def _place(name: str) -> int:
    return ORDER.index(name)


def _seconds(cost: Cost | None) -> str:
    return "" if cost is None else f"{cost.wall:.2f} ({cost.cpu:.2f})"


def _memory(cost: Cost | None) -> str:
    return "" if cost is None else f"{cost.memory:,.0f}"


def as_markdown(shown: Iterable[tuple[str, list[str], list[list[str]]]]) -> str:
    """Return tables as Markdown."""
    parts = []
    for title, columns, rows in shown:
        lines = [f"| {' | '.join(cells)} |" for cells in (columns, ["---", *["---:"] * (len(columns) - 1)], *rows)]
        parts.append(f"{title[:1].upper()}{title[1:]}:\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


BEGIN, END = "<!-- measured: bench_scale -->", "<!-- end of what bench_scale measured -->"


def write_into(page: Path, text: str) -> None:
    """Put a text between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def machine() -> str:
    """Return what was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()}"
    )


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description="What every question costs in pools of many sizes.")
    parser.add_argument("--full", action="store_true", help="10^6 tasks too: some 20 GB and an hour")
    parser.add_argument("--tasks", type=int, nargs="+", help="these sizes instead")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how many times each question is asked")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many write the pools")
    parser.add_argument("--directory", type=Path, help="where the pools are written; the system's, if not given")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--page", type=Path, help="put the tables into this page, between its marks")
    given = parser.parse_args()
    sizes = given.tasks or (FULL if given.full else SIZES)
    command = " ".join(["python", "benchmarks/bench_scale.py", *(["--full"] if given.full else [])])
    if given.tasks:
        command += f" --tasks {' '.join(map(str, given.tasks))}"
    said = f"`{command}`: {machine()}; best of {given.rounds}.\n\n"
    found: dict[int, Mapping[str, Cost]] = {}
    with tempfile.TemporaryDirectory(dir=given.directory, prefix="genpool-scale-") as folder:
        for tasks in sizes:
            for best in measure(Path(folder), tasks, given.rounds, given.processes):
                found[tasks] = best
                if given.page:  # as it becomes known: the last size takes more than an hour
                    write_into(given.page, f"{said}{as_markdown(tables(found))}")
            _say(f"{tasks:,} tasks: removing the pool")
            shutil.rmtree(Path(folder) / f"pool-{tasks}")
    if given.markdown:
        print(f"{said}{as_markdown(tables(found))}", end="")
    elif not given.page:
        for title, columns, rows in tables(found):
            print_table(f"{title}; best of {given.rounds}", columns, rows)


if __name__ == "__main__":
    main()
