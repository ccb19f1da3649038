"""Bar 11: texts that would run a script or call out are shown as text, in six fields of the report's page."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from genpool.report.facts import gather
from genpool.report.page import write_page
from genpool.testing import ScriptedModel
from tests.browser.chromium import Opened, context, opened, watched
from tests.browser.hostile_texts import payloads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from genpool.llm.client import Request
    from tests.conftest import Statement

NAME, TEXT, PROMPT, OUTPUT, REASON, LEVEL = FIELDS = range(1, 7)
"""The name and the text of a concept, the template, a model's answer, a judge's reason, the level of an axis."""
_ROUND = 25
_REPLICATES = 8

POOL = """\
format: genpool.pool/1
id_scheme: genpool/1
salt: ""
pipeline:
  text: {prefix: t, axes: [template, model, tone]}
  mark: {prefix: m, parent: text, axes: [template, model], replicates: 8, judges: true}
models:
  writer: {client: scripted}
  judge: {client: scripted}
"""


def hostile_pool(root: Path, numbers: range) -> Pool:
    """Return a pool that was run, with some payloads in each of six fields, and in the description of the cohort."""

    def chosen(field: int) -> list[str]:
        return [payloads(field)[number] for number in numbers]

    files = {
        "pool.yaml": POOL,
        "concepts/idea.yaml": _yaml(
            format="genpool.concept/1", name=" ".join(chosen(NAME)), levels={"sentence": "\n".join(chosen(TEXT))}
        ),
        "templates/text/plain.j2": "---\nparser: text\n---\n{% raw %}"
        + "\n".join(chosen(PROMPT))
        + "{% endraw %}\n{% for one in concepts %}{{ one.name }}\n{{ one.text }}{% endfor %}\n",
        "templates/mark/clarity.j2": "---\nparser: json_score\nscale: [0, 9]\n---\nThe {{ replicate }}th time.\n",
        "cohorts/c/cohort.yaml": _yaml(
            format="genpool.cohort/1",
            description=" ".join(chosen(OUTPUT)),
            text={
                "combo": {"concepts": ["idea"], "size": 1, "level": "sentence"},
                "template": ["plain"],
                "model": ["writer"],
                "tone": chosen(LEVEL),
            },
            mark={"template": ["clarity"], "model": ["judge"], "replicates": _REPLICATES},
        ),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    reasons = chosen(REASON)

    def judge(request: Request) -> str:
        found = re.search(r"The (\d+)th time", request.prompt.user)
        assert found is not None
        part = reasons[int(found[1]) - 1 :: _REPLICATES]
        return json.dumps({"reason": "\n".join(part), "score": request.seed % 10})

    pool = Pool.open(root)
    report = pool.run(
        "c", models={"writer": ScriptedModel(lambda _: "\n".join(chosen(OUTPUT))), "judge": ScriptedModel(judge)}
    )
    assert report.complete, report.failures[:1]
    return pool


def _yaml(**entries: object) -> str:
    return json.dumps(entries, indent=1)  # YAML's other spelling


@pytest.mark.bar(11)
def test_hostile_texts_are_text(tmp_path: Path, full: bool, proof: Statement) -> None:
    rounds = [range(start, start + _ROUND) for start in range(0, 200, _ROUND)]
    for number, chosen in enumerate(rounds if full else rounds[:1]):
        pool = hostile_pool(tmp_path / f"pool-{number}", chosen)
        page = tmp_path / f"report-{number}.html"
        write_page(gather(pool, ["c"]), page)
        with opened(page) as found:
            for details in found.page.locator("details").all():
                details.evaluate("one => { one.open = true; }")
            found.page.wait_for_timeout(200)  # for what a payload starts a little later
            shown = found.page.evaluate("document.body.innerText + document.body.textContent")
            texts = [payloads(field)[at] for field in FIELDS for at in chosen]
            lost = [one for one in texts if one not in shown]
            proof(
                payloads=tuple(str(at) for at in chosen),
                fields=tuple(map(str, FIELDS)),
                shown=len(texts) - len(lost),
                executed=len(found.ran),
                requests=len(found.requests),
                refused=len(found.refused),
            )
            assert lost == []
            assert (found.ran, found.requests, found.refused, found.console) == ([], [], [], [])
            assert found.page.title() == "Report: cohort c"


@pytest.mark.bar(11)
def test_the_same_texts_as_markup_do_run_and_call_out(tmp_path: Path, full: bool, proof: Statement) -> None:
    """A page that escapes nothing: what the proof above would see if there were something to be seen."""
    every = payloads(OUTPUT)
    chosen = every if full else every[::16]
    noticed = _noticed(tmp_path, chosen)
    proof(unescaped=100 * len(noticed) / len(chosen))
    assert len(noticed) >= 0.6 * len(chosen)


def _noticed(folder: Path, chosen: Sequence[str]) -> set[str]:
    """Return the payloads that ran, or asked for something, each as markup on a page of its own."""
    noticed = set()
    with context() as made:
        for number, payload in enumerate(chosen):
            page = folder / f"bare-{number}.html"
            page.write_text(f"<!doctype html><meta charset=utf-8><title>{html.escape(payload)}</title><body>{payload}")
            found = watched(made, page)
            found.page.goto(found.address, wait_until="domcontentloaded")
            found.page.wait_for_timeout(60)
            if any("evil.test" in one for one in found.requests) or _left_or_ran(found):
                noticed.add(payload)
            found.page.close()
    return noticed


def _left_or_ran(found: Opened) -> bool:
    """Return whether a page went elsewhere, or a payload called something."""
    from playwright.sync_api import Error

    try:
        return found.page.url != found.address or bool(found.ran)
    except Error:  # it went elsewhere while it was asked
        return True
