"""The account as a user reads it: sums, what is in doubt by name, exit code 1 where a line is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.small_pools import answer, make_pool, models, whole_cohort
from tests.unit.test_audit import PRICED, forget

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type

from genpool.testing import ScriptedModel


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pool in which the first answer to each of two drafts was cut off."""
    pool = make_pool(tmp_path / "pool", models=PRICED)
    whole_cohort(pool.root)
    said = iter([answer("Cut", "length"), answer("Cut", "length")])
    pool.run("c", models=models(writer=ScriptedModel(lambda _: next(said, answer("A text.")))))
    return pool.root


def test_what_was_bought_is_said_by_model_and_cohort(genpool: Type, root: Path) -> None:
    said = genpool("audit", "spend")
    assert (said.code, said.err) == (0, "")
    assert [line.split()[0] for line in said.out.splitlines()[:2]] == ["model", "─" * len(said.out.splitlines()[1])]
    assert "attempts: truncated 2" in said.out
    found = genpool("audit", "spend", "--json").json
    assert found["format"] == "genpool.spend/1"
    assert (found["total"]["calls"], found["total"]["attempts"]) == (14, {"truncated": 2})
    assert found["models"]["writer"]["calls"] + found["models"]["judge"]["calls"] == 14
    assert list(found["cohorts"]) == ["c"]
    assert genpool("audit", "spend", "--cohort", "c", "--json").json == found
    assert f"spent: {found['total']['cost']:.4f} for certain" in said.out


def test_a_call_that_was_in_flight_is_named_with_its_worst_price(genpool: Type, root: Path) -> None:
    (lost,) = forget(root, "attempt")
    attempts = root / "attempts" / "draft" / lost / "1"
    assert f"never settled, but kept: bought once: draft {lost}" in genpool("audit", "spend").out
    (attempts / "metadata.json").unlink()
    said = genpool("audit", "spend")
    assert said.code == 0
    (line,) = [line for line in said.out.splitlines() if line.startswith("in flight when its process died: draft")]
    assert lost in line
    assert "cohort c, writer: in flight, at worst 0.0003" in line
    assert f"perhaps bought twice: nobody knows what became of an earlier call: draft {lost}" in said.out
    found = genpool("audit", "spend", "--json").json
    assert [one["gen_id"] for one in found["in_doubt"]] == [lost]
    assert found["total"]["worst_cost"] == pytest.approx(found["total"]["cost"] + found["in_doubt"][0]["worst_price"])


def test_a_damaged_line_is_named_with_file_and_line(genpool: Type, root: Path) -> None:
    (path,) = root.glob("ledger/*.jsonl")
    with path.open("a") as file:
        file.write("\x1b[31mnonsense\n")
    said = genpool("audit", "spend")
    assert said.code == 1
    assert f"unreadable: ledger/{path.name}:{len(path.read_text().splitlines())}: not readable as JSON" in said.out
    assert "\x1b" not in said.out
    assert genpool("audit", "spend", "--json").json["problems"][0]["file"] == f"ledger/{path.name}"


def test_a_time_or_a_cohort_that_is_none_is_refused(genpool: Type, root: Path) -> None:
    assert genpool("audit", "spend", "--since", "yesterday").code == 2
    assert genpool("audit", "spend", "--cohort", "d").code == 1
    assert genpool("audit", "spend", "--since", "2999-01-01").out == "nothing was bought\n"
    assert genpool("audit", "spend", "--since", "2000-01-01T00:00+02:00", "--json").json["total"]["calls"] == 14


def test_foreign_text_in_a_ledger_is_shown_and_not_obeyed(genpool: Type, root: Path) -> None:
    (path,) = root.glob("ledger/*.jsonl")
    line = {"intent": 15, "stage": "\x1b[2J", "gen_id": "../../etc", "model": "\n", "worst_price": None, "at": "?"}
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    said = genpool("audit", "spend")
    assert (said.code, "\x1b" in said.out) == (0, False)
    assert "no worst price" in said.out
