"""Templates cannot get out: no code executed, no file outside templates/ read, no environment value in a prompt."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import pytest

from genpool.errors import GenpoolError, InputError
from genpool.inputs import child_context
from genpool.layout import PoolLayout
from genpool.pool import Pool
from genpool.prompts import Renderer, read_template
from genpool.testing import ScriptedModel
from tests.bars import least
from tests.small_pools import make_pool, memory_folder, models, write_spec

from .template_payloads import VARIABLE, payloads
from .witness import witnessed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Statement

    from .template_payloads import Payload

pytestmark = pytest.mark.bar(13)

ENVIRONMENT = "canary-environment-5d1f0c"
FILE = "canary-file-8e22b7"
HIDDEN = "canary-env-file-c0ffee"
WORD = "__class__"
"""What the model wrote in every text: an attribute's name."""
TRACES = (
    "[<class '",
    "&lt;class",
    "<class 'object'>",
    "<class 'type'>",
    "<class 'str'>",
    "AncestorText'>",
    "subprocess.Popen",
    "<module '",
)
MORE_TRACES = ("mappingproxy", "<frame ", "<code object", "<jinja2.", "jinja2.environment", "42x", "FunctionLoader")

_PLACES = {
    "prompt": "{payload}",
    "system message": "---\nsystem: {quoted}\n---\nhello\n",
    "include": '{{% include "shared/hostile.j2" %}}',
}


@dataclass(slots=True)
class Tally:
    tried: int = 0
    rendered: int = 0
    escaped: list[str] = field(default_factory=list)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a secret and a pool, whose templates/ has links that lead out."""
    monkeypatch.setenv(VARIABLE, ENVIRONMENT)
    with memory_folder() as name:
        (name / "secret.txt").write_text(f"{{% set secret = '{FILE}' %}}{FILE}")
        pool = make_pool(name / "pool", rows=1)
        (pool.root / ".env").write_text(f"A_KEY={HIDDEN}\n")
        (pool.root / "templates/shared").mkdir()
        (pool.root / "templates/linked.txt").symlink_to(name / "secret.txt")
        (pool.root / "templates/essay/linked.j2").symlink_to(name / "secret.txt")
        (pool.root / "templates/outside").symlink_to(name)
        (pool.root / "templates/essay/outside").symlink_to(name)
        write_spec(pool.root, essay="template: [hostile]")
        write_spec(pool.root, "drafts", draft="template: [long], model: [writer]")
        yield name


def place(folder: Path, payload: Payload, where: str) -> None:
    """Make a payload the template essay/hostile, or a part of it."""
    templates = folder / "pool/templates"
    (templates / "shared/hostile.j2").write_text(payload.text)
    text = _PLACES[where].format(payload=payload.text, quoted=json.dumps(payload.text, ensure_ascii=False))
    (templates / "essay/hostile.j2").write_text(text)


def context() -> dict[str, object]:
    texts = child_context({"draft": WORD}, "draft")
    return {**texts, "replicate": 1, "axes": {"template_id": "hostile"}}


def by_genpool(folder: Path) -> str:
    """Render the template as genpool does; an error's text is what comes out then."""
    try:
        return Renderer(read_template(PoolLayout(folder / "pool"), "essay", "hostile")).render(context()).as_text()
    except InputError as error:
        return f"ERROR {error} {error.hint} {error.as_json()}"


def without_a_sandbox(folder: Path) -> str:
    """Render the same text with plain Jinja2 and a loader that opens what it is told."""
    templates = folder / "pool/templates"

    def opened(name: str) -> str | None:
        return (templates / name).read_text() if (templates / name).exists() else None

    environment = jinja2.Environment(loader=jinja2.FunctionLoader(opened))
    try:
        return environment.from_string((templates / "shared/hostile.j2").read_text()).render(context())
    except Exception as error:  # noqa: BLE001 - whatever a payload does
        return f"ERROR {error}"


def escape(folder: Path, payload: Payload, render: Callable[[Path], str]) -> tuple[str, str | None]:
    """Render a payload; return what came out, and how it got out, if it did."""
    with witnessed() as witness:
        said = render(folder)
    if witness.started:
        return said, f"started {witness.started}"
    for path in witness.opened:
        if not _may_be_opened(Path(path), folder / "pool/templates"):
            return said, f"opened {path}"
    for trace in (ENVIRONMENT, FILE, HIDDEN, *TRACES, *MORE_TRACES):
        if trace in said and trace not in payload.text:
            return said, f"{trace!r} in what came out"
    return said, None


def _may_be_opened(path: Path, templates: Path) -> bool:
    """Return whether it is a template, or source text of Python's and ours, which tracebacks are made from."""
    if path.is_relative_to(templates):
        return path.resolve().is_relative_to(templates)
    code = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sys.prefix, Path(__file__).parents[2]]
    return path.suffix in {".py", ".pyc"} and any(path.is_relative_to(one) for one in code)


def tried(folder: Path, render: Callable[[Path], str]) -> Tally:
    """Render every payload, at every place by turns."""
    tally = Tally()
    for number, payload in enumerate(payloads(folder)):
        if payload.bomb and render is without_a_sandbox:
            continue
        place(folder, payload, list(_PLACES)[number % len(_PLACES)])
        said, how = escape(folder, payload, render)
        (folder / "written.txt").unlink(missing_ok=True)
        tally.tried += 1
        tally.rendered += not said.startswith("ERROR")
        if how is not None:
            tally.escaped.append(f"{payload.name}: {payload.text!r}: {how}")
    return tally


def test_no_template_gets_out(folder: Path, proof: Statement) -> None:
    by_genpool(folder)  # what is imported when first needed is imported now
    found = tried(folder, by_genpool)
    out = len(found.escaped)
    said = f"{found.tried} templates that try to get out: {out} escapes ({found.rendered} render, harmlessly)"
    proof(said, payloads=found.tried, escapes=out)
    assert found.escaped == []
    assert found.tried >= least(13, "payloads")


def test_the_same_templates_get_out_where_there_is_no_sandbox(folder: Path, proof: Statement) -> None:
    """In a process of its own: what gets out leaves open files and processes behind."""
    code = f"import sys; from {__name__} import escapes_without_a_sandbox as go; go(sys.argv[1])"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    escaped, count = json.loads(ran.stdout.splitlines()[-1])
    share = 100 * escaped / count
    proof(f"without a sandbox {escaped} of {count} get out, and are seen to", unsandboxed=share)
    assert share >= least(13, "unsandboxed")


def escapes_without_a_sandbox(folder: str) -> None:
    """Print how many payloads get out of plain Jinja2, and of how many."""
    without_a_sandbox(Path(folder))
    found = tried(Path(folder), without_a_sandbox)
    print(json.dumps([len(found.escaped), found.tried]))


def test_no_run_lets_a_template_out(folder: Path, full: bool, proof: Statement) -> None:
    """The same through plans and runs: nothing that they write has a secret in it."""
    chosen = payloads(folder)[:: 1 if full else 20]
    ran = 0
    Pool.open(folder / "pool").run("drafts", models=models())  # what is loaded when first needed is loaded now
    for number, payload in enumerate(chosen):
        place(folder, payload, list(_PLACES)[number % len(_PLACES)])
        pool = Pool.open(folder / "pool")
        said = ""
        try:
            with witnessed() as witness:
                report = pool.run("c", models=models(writer=ScriptedModel([WORD])))
            said = " ".join(one.message for one in report.failures)
            ran += 1
        except GenpoolError as error:
            said = str(error.as_json())
        written = b"".join(
            path.read_bytes() for path in pool.root.glob("[!t.]*/**/*") if path.is_file() and not path.is_symlink()
        )
        for secret in (ENVIRONMENT, FILE, HIDDEN):
            assert secret not in said, payload.name
            assert secret.encode() not in written, payload.name
        assert witness.started == [], payload.name
        assert not (folder / "written.txt").exists(), payload.name
    assert ran
    said = f"{len(chosen)} of them as cohorts that are run ({ran} get as far as a model): 0 secrets written"
    proof(said, runs=len(chosen))


# --- data is never a template -------------------------------------------------------------------------


def test_rows_concepts_and_what_models_write_are_never_templates(folder: Path, full: bool, proof: Statement) -> None:
    """Every payload as a row, as a concept and as a model's answer stands in prompts as it is."""
    texts = [payload.text for payload in payloads(folder)[:: 1 if full else 7]]
    pool = Pool.open(folder / "pool")
    _write_inputs(pool.root, texts)
    report = pool.run("rows", models=models(writer=ScriptedModel(lambda request: texts[request.seed % len(texts)])))
    assert report.complete, report
    pool.run("concepts", models=models())
    seen = {"row": 0, "answer": 0, "concept": 0}
    for record in (json.loads(path.read_text()) for path in (pool.root / "gens").glob("*/*/metadata.json")):
        place = pool.root / "gens" / record["stage"] / record["gen_id"]
        if record["stage"] == "essay":
            kind, text = "answer", (pool.root / "gens/draft" / record["parent_gen_id"] / "parsed.txt").read_text()
            assert text in texts
        elif record["combo_id"].startswith("row-"):
            kind, text = "row", texts[int(record["combo_id"].removeprefix("row-"))]
        else:
            kind, text = "concept", texts[_concept_number(pool, record["combo_id"])]
        assert (place / "prompt.txt").read_text() == f"This: {text}."
        seen[kind] += 1
    assert seen == {"row": len(texts), "answer": len(texts), "concept": len(texts)}
    texts_seen = sum(seen.values())
    proof(f"{texts_seen} texts that look like templates, rendered as they are: {seen}", texts=texts_seen)


def _write_inputs(root: Path, texts: list[str]) -> None:
    rows = [{"id": f"row-{number}", "topic": text} for number, text in enumerate(texts)]
    (root / "hostile.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "concepts").mkdir()
    for number, text in enumerate(texts):
        concept = {"format": "genpool.concept/1", "name": "n", "levels": {"sentence": text}}
        (root / f"concepts/c{number}.yaml").write_text(json.dumps(concept, ensure_ascii=False))
    templates = {
        "draft/of-row.j2": "This: {{ row.topic }}.",
        "draft/of-concept.j2": "This: {{ concepts[0].text }}.",
        "essay/of-text.j2": "This: {{ parent.text }}.",
    }
    for name, text in templates.items():
        (root / "templates" / name).write_text(text)
    specs = {
        "rows": "draft: {combo: {rows: hostile.jsonl}, template: [of-row], model: [writer]}\n"
        "essay: {template: [of-text]}\n",
        "concepts": "draft: {combo: {concepts: all, size: 1, level: sentence}, template: [of-concept],"
        " model: [writer]}\n",
    }
    for cohort, text in specs.items():
        (root / "cohorts" / cohort).mkdir(parents=True)
        (root / "cohorts" / cohort / "cohort.yaml").write_text(f"format: genpool.cohort/1\n{text}")


def _concept_number(pool: Pool, combo_id: str) -> int:
    return int(pool.inputs.book.by_id[combo_id].concepts[0].removeprefix("c"))
