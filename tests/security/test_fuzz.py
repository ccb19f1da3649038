"""Bad files and names by the thousand: no traceback, nothing slow or large, nothing opened outside the pool."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.bars import least, most
from tests.small_pools import memory_folder

from .fuzzer import Fuzzer
from .hostile_names import name
from .mutations import SPECS, bombs, changed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Statement

pytestmark = pytest.mark.bar(10)
SPEC_CASES = {False: 600, True: least(10, "files")}
NAME_CASES = {False: 2_000, True: least(10, "names")}
SECONDS = most(10, "slowest")  # of the processor, so that a busy machine does not count
SECONDS_HUGE = most(10, "huge")
MEBIBYTES = most(10, "memory")
_HERE = Path(__file__).parents[2]


def fuzzed(what: str, count: int) -> dict[str, Any]:
    """Fuzz in a process of its own, so that its memory and what it opens are its own."""
    ran = subprocess.run(
        [sys.executable, "-m", f"{__package__}.fuzzer", what, str(count)],
        capture_output=True,
        text=True,
        check=False,
        cwd=_HERE,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    tally: dict[str, Any] = json.loads(ran.stdout)
    return tally


def check(tally: dict[str, Any], count: int) -> None:
    """Hold a tally to the bar."""
    assert tally["tracebacks"] == []
    assert tally["outside"] == []
    assert tally["cases"] >= count
    assert tally["slowest"] < SECONDS, tally["slowest_case"]
    assert tally["most_memory"] < MEBIBYTES


def in_words(tally: dict[str, Any]) -> str:
    return (
        f"{tally['cases']} ({tally['accepted']} accepted): {len(tally['tracebacks'])} tracebacks,"
        f" {len(tally['outside'])} opened outside the pool,"
        f" slowest {tally['slowest']:.2f} s, {tally['most_memory']} MiB at the most"
    )


def figures(tally: dict[str, Any]) -> dict[str, Any]:
    """Return what both kinds of cases state."""
    counts = {name: len(tally[name]) for name in ("tracebacks", "outside")}
    return {**counts, "slowest": tally["slowest"], "memory": tally["most_memory"]}


@pytest.mark.timeout(1200)
def test_bad_files_are_refused_in_words(full: bool, proof: Statement) -> None:
    tally = fuzzed("specs", SPEC_CASES[full])
    said = f"bad specs and other files: {in_words(tally)}; 10^12 tasks refused in {tally['huge']:.3f} s"
    proof(said, files=tally["cases"], huge=tally["huge"], **figures(tally))
    check(tally, SPEC_CASES[full])
    assert 0 < tally["huge"] < SECONDS_HUGE
    assert "2,000,000,000,000" in tally["huge_said"]


@pytest.mark.timeout(1200)
def test_bad_names_are_refused_in_words(full: bool, proof: Statement) -> None:
    tally = fuzzed("names", NAME_CASES[full])
    proof(f"bad ids and names: {in_words(tally)}", names=tally["cases"], **figures(tally))
    check(tally, NAME_CASES[full])


# --- as commands --------------------------------------------------------------------------------------


@pytest.fixture
def fuzzer() -> Iterator[Fuzzer]:
    with memory_folder() as folder:
        (folder / "pool").mkdir()
        yield Fuzzer(folder)


def typed(fuzzer: Fuzzer, *words: str) -> None:
    """Type a command in a process of its own: it ends with a message, or does what was asked."""
    ran = subprocess.run(
        [sys.executable, "-m", "genpool", "--pool", str(fuzzer.root), *words],
        capture_output=True,
        check=False,
        cwd=_HERE,
    )
    assert ran.returncode in {0, 1, 2}, (words, ran)
    assert b"Traceback" not in ran.stderr, (words, ran.stderr)
    assert b"defect of genpool" not in ran.stderr, (words, ran.stderr)
    assert not set(ran.stdout + ran.stderr) & set(b"\x1b\x07\x00\x7f"), (words, ran)
    assert (ran.returncode == 0) or ran.stderr, words


@pytest.mark.timeout(1200)
def test_bad_files_and_names_as_commands(fuzzer: Fuzzer, full: bool, proof: Statement) -> None:
    chance, count = Random(30), 100 if full else 8
    texts = [text.encode("utf-8", "surrogateescape") for text in bombs().values()][:: 1 if full else 4]
    for data in [*texts, *(changed(chance.choice(SPECS), chance) for _ in range(count))]:
        fuzzer.write("cohorts/c/cohort.yaml", data)
        typed(fuzzer, "plan", "c")
    fuzzer.write("cohorts/c/cohort.yaml", SPECS[0])
    verbs = ("plan", "why", "show", "ls", "status", "missing", "purge")
    for number in range(count):
        given = name(chance).replace("\x00", "").encode("utf-8", "replace").decode()
        typed(fuzzer, verbs[number % len(verbs)], "--", given)
    commands = len(texts) + 2 * count
    proof(f"{commands} of both as real commands: 0 tracebacks", commands=commands)


# --- the proof can fail -------------------------------------------------------------------------------


def test_what_is_looked_for_is_found(fuzzer: Fuzzer) -> None:
    """A call that fails, one that opens something outside, and one that starts a process are each seen."""

    def outside() -> str:
        return (fuzzer.root / "outside/secret.csv").read_text()

    fuzzer.case("a failure", lambda: 1 / 0)
    fuzzer.case("through a link", outside)
    fuzzer.case("a file elsewhere", lambda: (_HERE / "pyproject.toml").read_text())
    fuzzer.case("a process", lambda: subprocess.run(["true"], check=True))
    assert ["ZeroDivisionError" in one for one in fuzzer.tally.tracebacks] == [True]
    assert any("outside/secret.csv" in one for one in fuzzer.tally.outside)
    assert any("pyproject.toml" in one for one in fuzzer.tally.outside)
    assert any("subprocess.Popen" in one for one in fuzzer.tally.outside)
