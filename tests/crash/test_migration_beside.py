"""Migrations beside runs, removals and each other: refused on both sides, whoever was first, in real processes.

A process is stopped on its way by an audit hook of Python, at an operation that is named, so that nothing here is a
race; the others are started while it stands still.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.golden.test_pools import Golden, copied
from tests.unit.migration.conftest import whole_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STOPPING = """
import os, signal, sys
mark, count = sys.argv[1], int(sys.argv[2])
del sys.argv[1:3]
seen = []
def stop(event, facts):
    if event in ("open", "os.rename") and any(mark in os.fsdecode(one) for one in facts[:2] if isinstance(one, (str, bytes, os.PathLike))):
        seen.append(event)
        if len(seen) == count:
            os.kill(os.getpid(), signal.SIGSTOP)
sys.addaudithook(stop)
from genpool.cli.main import run
run()
"""  # noqa: E501 - a program

JOURNAL = "journal.jsonl"
PATIENCE = 120.0  # seconds

WRITING = (
    ("run", "spring"),
    ("purge", "spring", "--yes"),
    ("drift", "regenerate", "spring", "--yes"),
    ("reparse", "--yes"),
    ("trash", "undo", "trash-20240601T000000Z-a1b2c3"),
    ("doctor", "--fix"),
)
"""Commands that write into generations, attempts or memberships."""


def genpool(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "genpool", "--pool", str(root), *words]
    said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "Traceback" not in said.stderr, said.stderr
    assert "defect of genpool" not in said.stderr, said.stderr
    return said


@contextmanager
def stopped(root: Path, mark: str, count: int, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command, and wait until it stands still where it touches a path for the n-th time."""
    command = [sys.executable, "-c", _STOPPING, mark, str(count), "--pool", str(root), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), (os.waitstatus_to_exitcode(status), process.communicate())
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def let_go(process: subprocess.Popen[str]) -> None:
    """Let a process go on, and wait for its good end."""
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, (out, err)


def refused(root: Path, *words: str, by: str) -> None:
    """Look that a command is refused, says because of whom, and changes nothing."""
    before = whole_tree(root)
    said = genpool(root, *words)
    assert said.returncode == 1, (words, said)
    assert by in said.stderr, (words, said.stderr)
    assert whole_tree(root) == before, words


@pytest.fixture
def golden(tmp_path: Path) -> Golden:
    """The mixed pool, with a plan to migrate it."""
    pool = copied("mixed", tmp_path)
    assert genpool(pool.root, "migrate", "plan").returncode == 3
    return pool


def more_is_wanted(golden: Golden) -> None:
    """Let the cohort `summer` want a draft that is not made."""
    spec = golden.root / "cohorts/summer/cohort.yaml"
    spec.chmod(0o644)
    spec.write_text(spec.read_text().replace("model: [writer]", "model: [writer], replicates: 2"))


# --- the migration was first --------------------------------------------------------------------------


def test_while_one_is_applied_everybody_else_is_refused(golden: Golden) -> None:
    root = golden.root
    with stopped(root, JOURNAL, 5, "migrate", "apply") as apply:
        plan = migration_of(root)
        others = [("migrate", verb, plan) for verb in ("apply", "resume", "rollback", "verify", "close")]
        for words in (*WRITING, *others):
            refused(root, *words, by="genpool migrate apply")
        assert genpool(root, "migrate", "status").returncode == 0
        let_go(apply)
    assert genpool(root, "migrate", "verify").returncode == 0
    reuses_everything(golden)


def test_while_one_is_half_applied_and_dead_everybody_is_sent_to_it(golden: Golden) -> None:
    """The lock went with the process: the journal is what refuses."""
    root, before = golden.root, whole_tree(golden.root)
    for number, way_out in enumerate(("rollback", "resume"), start=1):
        with stopped(root, f"round-{number}/{JOURNAL}", 5, "migrate", "apply") as apply:
            apply.kill()
            apply.communicate()
        plan = migration_of(root)
        for words in WRITING:
            refused(root, *words, by=f"{plan} is being applied")
        refused(root, "migrate", "apply", plan, by=f"{plan} is being applied")
        assert genpool(root, "migrate", way_out).returncode == 0
        assert genpool(root, "migrate", "verify").returncode == 0
        if way_out == "rollback":
            assert whole_tree(root) == before
    reuses_everything(golden)


def test_while_one_is_rolled_back_everybody_else_is_refused(golden: Golden) -> None:
    root, before = golden.root, whole_tree(golden.root)
    assert genpool(root, "migrate", "apply").returncode == 0
    with stopped(root, JOURNAL, 3, "migrate", "rollback") as back:
        for words in (*WRITING, ("migrate", "resume", migration_of(root))):
            refused(root, *words, by="genpool migrate rollback")
        let_go(back)
    assert whole_tree(root) == before


def test_a_second_migration_waits_for_the_first_to_be_closed(golden: Golden) -> None:
    root = golden.root
    assert genpool(root, "migrate", "apply").returncode == 0
    first = migration_of(root)
    refused(root, "migrate", "plan", "--salt", "pepper", by=f"{first} was applied and is not closed yet")
    for words in (("purge", "spring", "--yes"), ("reparse", "--yes")):
        refused(root, *words, by=f"{first} was applied and is not closed yet")
    assert genpool(root, "run", "spring").returncode == 0, "a run may go on: what it makes is kept by a rollback"
    refused(root, "migrate", "close", by=f"{first} is not verified")
    assert genpool(root, "migrate", "verify").returncode == 0
    assert genpool(root, "migrate", "close").returncode == 0
    assert genpool(root, "migrate", "plan", "--salt", "pepper").returncode == 3
    assert len(list((root / "migrations").iterdir())) == 2


def test_of_two_that_are_applied_at_once_one_is_refused(golden: Golden) -> None:
    command = [
        sys.executable,
        "-m",
        "genpool",
        "--pool",
        str(golden.root),
        "migrate",
        "apply",
        migration_of(golden.root),
    ]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=PATIENCE) for one in both]
    assert sorted(one.returncode for one in both) == [0, 1], said
    assert genpool(golden.root, "migrate", "verify").returncode == 0


# --- the other was first ------------------------------------------------------------------------------


def test_while_a_run_is_active_no_migration_is(golden: Golden) -> None:
    root = golden.root
    more_is_wanted(golden)
    assert genpool(root, "migrate", "plan").returncode == 3
    with stopped(root, "/staging/", 2, "run", "summer") as run:
        refused(root, "migrate", "apply", by="genpool run summer")
        let_go(run)
    refused(root, "migrate", "apply", by="plan")  # the pool is not as it was planned: what the run made was added
    assert genpool(root, "migrate", "plan").returncode == 3
    assert len([path for path in (root / "migrations").iterdir() if not path.name.startswith(".")]) == 2


@pytest.mark.parametrize("verb", ["apply", "plan"])
def test_while_a_purge_is_active_no_migration_is(golden: Golden, verb: str) -> None:
    root = golden.root
    with stopped(root, "trash.json", 5, "purge", "spring", "--yes") as purge:
        refused(root, "migrate", verb, by="genpool purge spring")
        let_go(purge)
    assert genpool(root, "migrate", "plan").returncode == 3


def test_an_interrupted_purge_comes_before_a_migration(golden: Golden) -> None:
    root = golden.root
    with stopped(root, "trash.json", 5, "purge", "spring", "--yes") as purge:
        purge.kill()
        purge.communicate()
    for verb in ("plan", "apply"):
        refused(root, "migrate", verb, by="was interrupted")
    assert genpool(root, "trash", "ls").returncode == 0
    assert genpool(root, "migrate", "plan").returncode == 3


# --- asking -------------------------------------------------------------------------------------------


def migration_of(root: Path) -> str:
    (found,) = (path.name for path in (root / "migrations").iterdir() if not path.name.startswith("."))
    return found


def reuses_everything(golden: Golden) -> None:
    for cohort in golden.expected["planned"]:
        total = json.loads(genpool(golden.root, "plan", cohort, "--json").stdout)["total"]
        assert (total["to_make"], total["reused"]) == (0, total["wanted"]), cohort
