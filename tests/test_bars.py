"""The table of the bars says what the proofs stated, and a run that proves less than it was asked to fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bar_table import Ending, Extent, Proof, made_from
from tests.bars import BARS, PROTOCOLS

ROOT = Path(__file__).parents[1]


def verdicts(proofs: list[Proof], extent: Extent = Extent.WHOLE) -> dict[str, tuple[str, str]]:
    """Return what a table says of bar 1 and bar 4: measured and verdict, by figure."""
    rows = [row for bar, rows in made_from(proofs, extent).parts if bar.key in {1, 4} for row in rows]
    return {row.figure: (row.measured, row.verdict) for row in rows}


def passed(bar: int, **figures: object) -> Proof:
    return Proof(bar, Ending.PASSED, tuple(figures.items()))  # type: ignore[arg-type]


def test_what_several_proofs_state_is_added_up() -> None:
    found = verdicts([passed(1, points=1500, wrong=0), passed(1, points=600, wrong=0)])
    assert found["points"] == ("2,100", "met")
    assert found["found torn, lost, or not completed by the next run"] == ("0", "met")


def test_what_is_missed_is_missed_by_so_much() -> None:
    found = verdicts([passed(1, points=1500, wrong=0), passed(1, points=1, wrong=3)])
    assert found["points"] == ("1,501", "missed: by 499")
    assert found["found torn, lost, or not completed by the next run"] == ("3", "missed: by 3")


def test_only_the_protocols_that_are_named_count_and_each_once() -> None:
    some = sorted(PROTOCOLS)[:7]
    proofs = [passed(4, protocols=(*some, "of another name"), caught=8), passed(4, protocols=some[0], unnoticed=0)]
    assert verdicts(proofs)["of the eight that are named"] == ("7", "missed: by 1")
    assert verdicts([*proofs, passed(4, protocols=tuple(PROTOCOLS))])["of the eight that are named"] == ("8", "met")


def test_the_highest_and_the_lowest_are_what_counts() -> None:
    table = made_from([passed(10, slowest=0.2), passed(10, slowest=1.25), passed(12, bare=90.0)], Extent.WHOLE)
    rows = {row.figure: row for _, rows in table.parts for row in rows}
    assert (rows["the slowest, s"].measured, rows["the slowest, s"].verdict) == ("1.25", "missed: by 0.25")
    parts = made_from([passed(12, bare=90.0), passed(12, bare=79.5)], Extent.WHOLE).parts
    assert next(rows for bar, rows in parts if bar.key == 12)[-1].measured == "79.5"


def test_a_bar_of_an_exact_number_is_missed_on_either_side() -> None:
    for calls, verdict in ((999, "missed: by 1"), (1000, "met"), (1002, "missed: by 2")):
        table = made_from([passed(6, stopped=calls)], Extent.WHOLE)
        row = next(row for bar, rows in table.parts if bar.key == 6 for row in rows if "stand still" in row.figure)
        assert (row.asked, row.verdict) == ("exactly 1,000", verdict)


def test_of_the_whole_what_nobody_stated_is_not_run() -> None:
    table = made_from([], Extent.WHOLE)
    assert [bar.key for bar, _ in table.parts] == list(BARS)
    assert {row.verdict for _, rows in table.parts for row in rows} == {"NOT RUN"}


def test_of_a_part_a_count_says_nothing_and_a_defect_does() -> None:
    assert made_from([], Extent.PART).parts == []
    found = verdicts([passed(1, points=10, wrong=1)], Extent.PART)
    assert [verdict for _, verdict in found.values()] == ["in part", "missed: by 1"]


def test_the_short_version_claims_nothing() -> None:
    table = made_from([passed(1, points=9000, wrong=0)], Extent.SHORT)
    assert {(row.asked, row.verdict) for _, rows in table.parts for row in rows} == {("short", "")}


@pytest.mark.parametrize("extent", Extent)
def test_figures_that_are_good_hide_no_proof_that_failed_or_was_left_out(extent: Extent) -> None:
    proofs = [passed(1, points=9000, wrong=0), Proof(1, Ending.FAILED), Proof(1, Ending.NOT_RUN)]
    found = verdicts(proofs, extent)
    assert found["proofs that failed"] == ("1", "missed: by 1")
    assert found["proofs that were not run"] == ("1", "NOT RUN")


def test_the_table_as_markdown_has_a_line_for_every_figure() -> None:
    text = made_from([passed(1, points=2500, wrong=0)], Extent.PART).markdown()
    assert "| **1** | **killed at every system call of a writer** | | | |\n" in text
    assert "| | points | 2,500 | 2,000 or more | met |\n" in text


def test_every_broken_protocol_that_is_named_is_a_case_of_a_proof() -> None:
    text = "".join(path.read_text() for path in (ROOT / "tests/crash").glob("test_*.py"))
    assert {name for name in PROTOCOLS if f'"{name}"' not in text} == set()


# --- as it is run -------------------------------------------------------------------------------------

PROOFS = """
import pytest
pytestmark = pytest.mark.bar("random kills")

def test_states(proof):
    proof("a line while it runs", kills=KILLS, calls=324, again=1, wrong=0)

def test_has_a_condition():
    CONDITION
"""


def run(folder: Path, kills: int, condition: str, *options: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(PROOFS.replace("KILLS", str(kills)).replace("CONDITION", condition))
    (folder / "pytest.ini").write_text("[pytest]\n")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", *options]
    environment = {name: value for name, value in os.environ.items() if name != "CRASH_FULL"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def test_a_proof_in_full_prints_and_writes_its_table(tmp_path: Path) -> None:
    code, said = run(tmp_path, 20, "pass", "--full", "--table", "table.md")
    assert code == 0
    assert said.count("a line while it runs") == 1
    line = next(line for line in said.splitlines() if line.split()[:1] == ["kills"])
    assert line.split() == ["kills", "20", "20", "or", "more", "met"]
    assert "| | kills | 20 | 20 or more | met |\n" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("kills", "condition", "options", "verdict"),
    [
        (20, "pytest.skip('NOT RUN: no root')", ["--full"], "NOT RUN"),
        (20, "pytest.fail('NOT RUN: no root')", ["--full"], "NOT RUN"),
        (20, "raise ValueError", ["--full"], "missed: by 1"),
        (19, "pass", ["--full", "--every-bar"], "missed: by 1"),
        (20, "pass", ["--full", "--every-bar"], "NOT RUN"),  # the other bars
    ],
)
def test_a_run_that_proves_less_than_was_asked_fails(
    tmp_path: Path, kills: int, condition: str, options: list[str], verdict: str
) -> None:
    code, said = run(tmp_path, kills, condition, *options)
    assert code == 1
    assert any(line.startswith("    ") and line.endswith(verdict) for line in said.splitlines()), said


def test_a_short_run_may_leave_a_proof_out_and_says_so(tmp_path: Path) -> None:
    code, said = run(tmp_path, 1, "pytest.skip('NOT RUN: no root')")
    assert code == 0
    assert "test_it.py::test_has_a_condition: NOT RUN: no root" in said
    assert any(line.split()[-4:] == ["1", "0", "NOT", "RUN"] for line in said.splitlines()), said


def test_what_a_short_run_leaves_out_on_purpose_is_not_told_as_lacking(tmp_path: Path) -> None:
    assert "NOT RUN" not in run(tmp_path, 1, "pytest.skip('takes a minute')")[1]
    code, said = run(tmp_path, 20, "pytest.skip('takes a minute')", "--full")
    assert (code, "NOT RUN" in said) == (1, True)


@pytest.mark.parametrize("options", [["--every-bar"], ["--table", "table.md"]])
def test_options_of_a_full_proof_ask_for_one(tmp_path: Path, options: list[str]) -> None:
    code, said = run(tmp_path, 20, "pass", *options)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "add --full" in said


def test_a_figure_that_the_bar_does_not_have_is_an_error(tmp_path: Path) -> None:
    code, said = run(tmp_path, 20, "pass\n\ndef test_of_another(proof):\n    proof(deaths=1)")
    assert code == 1
    assert "bar random kills has no figure 'deaths'; it has kills, calls" in said


def test_a_bar_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    code, said = run(tmp_path, 20, "pass\n\n@pytest.mark.bar(99)\ndef test_of_another():\n    pass")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "test_of_another: there is no bar 99" in said
