"""A pool as a person writes it, and helpers that read it and look at what is said to be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from genpool.compiler import Selection, compile_spec
from genpool.config import PoolConfig, read_config
from genpool.inputs import Inputs
from genpool.layout import PoolLayout
from genpool.prompts import Renderer, Template, read_template
from genpool.spec import CohortSpec, read_spec

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from genpool.errors import InputError, Problem

POOL = """\
format: genpool.pool/1
id_scheme: genpool/1
models:
  writer: {client: scripted, temperature: 0.8}
  judge: {client: scripted}
"""

CONCEPT = """\
format: genpool.concept/1
name: {name}
levels:
  sentence: {name} in one sentence.
  paragraph: {name} in a paragraph.
"""

SPEC = """\
format: genpool.cohort/1
draft:
  combo: {concepts: [moat, wheel], size: 2, level: sentence}
  template: [plain]
  model: [writer]
essay:
  template: [story]
evaluation:
  template: [novelty]
  model: [judge]
"""

TEMPLATES = {
    "draft/plain": "{% for concept in concepts %}{{ concept.name }}: {{ concept.text }}\n{% endfor %}Combine these.\n",
    "draft/other": "Combine {{ concepts | length }} concepts.\n",
    "essay/story": "{{ draft.text }}\nTell it as a story.\n",
    "essay/copied": "---\nmode: copy\n---\n",
    "evaluation/novelty": "---\nparser: json_score\nscale: [0, 9]\n---\n{{ essay.text }}\nHow new is it?\n",
}


@dataclass(frozen=True)
class WrittenPool:
    """A pool's directory and what is read from it; nothing is kept between two readings."""

    root: Path

    @property
    def layout(self) -> PoolLayout:
        return PoolLayout(self.root)

    def write(self, file: str, content: str | bytes) -> Path:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def inputs(self) -> Inputs:
        return Inputs(self.layout)

    def config(self, text: str | bytes | None = None) -> PoolConfig:
        if text is not None:
            self.write("pool.yaml", text)
        return read_config(self.layout)

    def spec(self, text: str | bytes = SPEC, cohort_id: str = "trial") -> CohortSpec:
        self.write(f"cohorts/{cohort_id}/cohort.yaml", text)
        return read_spec(cohort_id, self.config(), self.inputs())

    def select(self, text: str = SPEC) -> Selection:
        return compile_spec(self.spec(text), self.inputs().template)

    def template(self, stage: str, template_id: str, text: str | bytes | None = None) -> Template:
        if text is not None:
            self.write(f"templates/{stage}/{template_id}.j2", text)
        return read_template(self.layout, stage, template_id)

    def render(self, text: str, /, **context: object) -> str:
        return Renderer(self.template("draft", "rendered", text)).render(context).as_text()


def only_problem(error: pytest.ExceptionInfo[InputError]) -> Problem:
    """Return the one problem of an error, after checking that there is no other."""
    assert len(error.value.problems) == 1, str(error.value)
    return error.value.problems[0]


def problem_with(error: pytest.ExceptionInfo[InputError], words: str) -> Problem:
    """Return the problem whose message has some words in it."""
    found = [problem for problem in error.value.problems if words in problem.message]
    assert len(found) == 1, f"{words!r} in {len(found)} of:\n{error.value}"
    return found[0]


def write_pool(root: Path) -> WrittenPool:
    """Write a pool with three concepts, a template or two a stage, and two scripted models."""
    pool = WrittenPool(root)
    pool.write("pool.yaml", POOL)
    for name in ("moat", "path", "wheel"):
        pool.write(f"concepts/{name}.yaml", CONCEPT.format(name=name.title()))
    for name, text in TEMPLATES.items():
        pool.write(f"templates/{name}.j2", text)
    return pool
