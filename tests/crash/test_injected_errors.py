"""Errors at every system call that can return them: an error that says so, nothing torn, and the next run completes.

EIO, ENOSPC, EMFILE, EROFS, EINTR and short writes, once and for ever after, at every call on the pool's own files.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import traceback
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from genpool.cli.main import as_ours, main
from genpool.errors import GenpoolError
from tests.crash import broken, migration_scenarios, pool_scenarios, scenarios
from tests.crash.injected_errors import SHORT, InjectedError, WatchedFiles
from tests.crash.migration_scenarios import Migrating, Planning
from tests.crash.syscall_sweep import need_tracing, run_until
from tests.crash.system_calls import need_meddling
from tests.small_pools import copy_tree, generations, memory_folder, torn_generations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Statement
    from tests.crash.scenarios import Scenario

pytestmark = pytest.mark.bar(5)

REFUSALS = {"storage-failed", "storage-full", "invalid-input", "invalid-config", "invalid-spec", "invalid-template"}
"""What a refusal of the file system is called (errors.py): of a person's files it is an input that cannot be read.

The message has to give the system's own words."""

STORING = (scenarios.Committing, scenarios.KeepingASource)
"""Scenarios of one call of the store, whose errors are all genpool's own."""


class Command:
    """A command line in a pool that a scenario makes and judges.

    Args:
        scenario: The scenario.
        words: The command, without the pool.
    """

    def __init__(self, scenario: Scenario, *words: str) -> None:
        self.scenario = scenario
        self.words = words
        self.prepare = scenario.prepare
        self.wrong = scenario.wrong

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        """Type it, with --json; an error in its document is raised."""
        warnings.resetwarnings()  # as they are for a user
        said, errors = root.parent / "said", root.parent / "errors"
        with said.open("w") as out, errors.open("w") as err:
            sys.stdout, sys.stderr = out, err
            code = main(["--pool", str(root), *self.words, "--json"])
        assert "Traceback" not in errors.read_text(), errors.read_text()
        value = json.loads(said.read_text())
        told = value.get("error") or value.get("stopped_by") or next(iter(value.get("failures", ())), None)
        if code == 0:
            assert "error" not in value, f"exit code 0 with {told}"
            stages = [stage for cohort in value.get("cohorts", {}).values() for stage in cohort.values()]
            assert all(stage["own"] == stage["wanted"] for stage in stages), f"exit code 0 with {value}"
            ack("done")
            return
        assert told, f"exit code {code}, and nothing is said"
        assert code == (1 if "error" in value or value.get("stopped_by") else 3), f"exit code {code} with {told}"
        raise Refused(told["kind"], json.dumps(told))


class Migrate(Command):
    """`genpool migrate` in a pool with a migration.

    Args:
        scenario: The scenario.
        verb: What is typed of it.
    """

    def __init__(self, scenario: Migrating | Planning, verb: str) -> None:
        super().__init__(scenario)
        self.migrating = scenario
        self.verb = verb

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        """Type it, with --json; an error in its last document is raised."""
        warnings.resetwarnings()  # as they are for a user
        said, errors = root.parent / "said", root.parent / "errors"
        with said.open("w") as out, errors.open("w") as err:
            sys.stdout, sys.stderr = out, err
            named = [self.migrating.name] if isinstance(self.migrating, Migrating) else []
            code = main(["--pool", str(root), "migrate", self.verb, *named, "--json"])
        assert "Traceback" not in errors.read_text(), errors.read_text()
        value = _last_document(said.read_text())
        if code == 0:
            assert value["migration_id"] == self.migrating.name, f"exit code 0 with {value}"
            if isinstance(self.migrating, Migrating):
                assert value["state"] == self.migrating.ends, f"exit code 0 with {value}"
            ack("done")
            return
        assert "error" in value, f"exit code {code}, and nothing is said"
        assert code == 1, f"exit code {code} with {value}"
        raise Refused(value["error"]["kind"], json.dumps(value["error"]))


def _last_document(text: str) -> dict[str, Any]:
    """Return the last of several JSON documents."""
    value: dict[str, Any] = {}
    rest = text.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:].lstrip()
    return value


class Refused(Exception):
    """A command said that it was refused."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class OpeningTheCatalog(scenarios.RunningACohort):
    """A pool whose catalog is not there is asked how it stands."""

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        from genpool.pool import Pool

        Pool.open(root).run("c")
        shutil.rmtree(root / ".genpool")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        from genpool.pool import Pool

        pool = Pool.open(root)
        yield from torn_generations(pool)
        if len(generations(root)) != self.TASKS:
            yield "lost: a generation"
        if pool.plan("c").missing or (root / "attempts").exists():
            yield "what is there is not found"


@dataclass(slots=True)
class Sweep:
    """What a sweep found."""

    errors: int
    """Errors that there can be."""
    runs: int = 0
    refused: int = 0
    """Runs that ended with an error that says what was refused."""
    wrong: list[str] = field(default_factory=list)


class Bench:
    """One scenario in one folder."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        scenario.prepare(folder / "before")
        self.calls: int | None = None
        """How many system calls are too many."""

    def run(self, error: InjectedError | None, found: Sweep) -> WatchedFiles:
        """Run the scenario once from its beginning, with an error or none; judge what it said and what it left."""
        root, acks, ended = self.folder / "pool", self.folder / "acks", self.folder / "ended.json"
        copy_tree(self.folder / "before", root)
        acks.mkdir()
        files = WatchedFiles(root, error)
        run = run_until(lambda: _carried_out(self.scenario, root, acks, ended), self.calls, files)
        wrong = [*files.wrong]
        if run.killed:
            wrong.append(f"it does not end: {run.calls} system calls")
        else:
            self.calls = self.calls or 30 * run.calls
            kind, message = json.loads(ended.read_text())
            refused = kind in REFUSALS and error is not None and _is_told(error, message)
            found.refused += refused
            if kind != "done" and not refused:
                wrong.append(f"{kind}: {message}")
        try:
            wrong += self.scenario.wrong(root, {path.name for path in acks.iterdir()})
        except Exception:  # noqa: BLE001 - what follows an error must not fail, however it does
            wrong.append(f"the next one failed: {traceback.format_exc(limit=-3)}")
        for folder in (root, acks):
            shutil.rmtree(folder)
        name = files.seen[error.at - 1][0] if error and len(files.seen) >= error.at else ""
        found.wrong += [f"{error} ({name}): {said}" for said in wrong]
        found.runs += 1
        return files


def _is_told(error: InjectedError, message: str) -> bool:
    """Return whether a message gives the system's words; of a run that went on with what was on its way, its own."""
    return os.strerror(error.number) in message or "the disk is full or refused a write" in message


def _carried_out(scenario: Scenario, root: Path, acks: Path, ended: Path) -> None:
    """Carry a scenario out in the child; note how it ended."""
    try:
        scenario.act(root, scenarios.acknowledger(acks))
        how = "done", ""
    except Refused as error:
        how = error.kind, str(error)
    except Exception as error:  # noqa: BLE001 - what a person would be told of it
        ours = as_ours(error)
        if isinstance(scenario, STORING) and not isinstance(error, GenpoolError):
            ours = GenpoolError("not ours")
        how = ours.kind, str(ours) if ours.kind != "error" else f"{ours}: {traceback.format_exc()}"
    ended.write_text(json.dumps(how))


def sweep(scenario: Scenario, step: int, only: int | None = None, *, for_ever: bool = False) -> Iterator[Sweep]:
    """Run a scenario with every `step`-th error; with `only`, of those with this error that come once, or from then on.

    Yields:
        What was found so far, after every run; the first is that of an undisturbed run.
    """
    with memory_folder() as folder:
        bench = Bench(scenario, folder)
        found = Sweep(0)
        errors = list(bench.run(None, found).errors())
        found.errors, found.runs = len(errors), 0
        yield found
        if only is not None:
            errors = [error for error in errors if error.number == only and error.for_ever == for_ever]
        for number, error in enumerate(errors):
            if number % step == step // 2:
                bench.run(error, found)
                yield found


@pytest.fixture(autouse=True)
def _possible(full: bool) -> None:
    need_meddling(full=full)
    need_tracing()


RUNNING = Command(scenarios.RunningACohort(), "run", "c")
OPENING = Command(OpeningTheCatalog(), "status", "c")
APPLYING = Migrate(migration_scenarios.applying(), "apply")
RESUMING = Migrate(migration_scenarios.resuming(0.75), "resume")
ROLLING_BACK = Migrate(migration_scenarios.rolling_back(), "rollback")
PLANNING = Migrate(Planning(), "plan")
TAKING_BACK = Migrate(migration_scenarios.TakingBackWhatCameSince(), "rollback")
VERIFYING = Migrate(migration_scenarios.verifying(), "verify")
PURGING = Command(pool_scenarios.Purging(), "purge", "c", "--yes")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("scenario", "name", "least", "full_step", "short_step"),
    [
        (RUNNING, "genpool run", 2500, 5, 113),
        (OPENING, "genpool status", 800, 7, 139),
        (PURGING, "genpool purge", 1200, 7, 199),
        (PLANNING, "genpool migrate plan", 1500, 11, 701),
        (APPLYING, "genpool migrate apply", 3000, 11, 1009),
        (RESUMING, "genpool migrate resume", 700, 7, 301),
        (ROLLING_BACK, "genpool migrate rollback", 1500, 7, 601),
        (TAKING_BACK, "genpool migrate rollback of more that was made since", 3000, 17, 1201),
        (VERIFYING, "genpool migrate verify", 1500, 17, 701),
        (scenarios.Committing(), "commit", 250, 1, 19),
        (scenarios.CommittingTwice(), "commit where another was first", 350, 1, 43),
        (scenarios.CommittingOverIncomplete(), "commit over what is incomplete", 350, 1, 43),
        (scenarios.KeepingAnAttempt(), "an attempt", 350, 1, 41),
        (scenarios.KeepingASource(), "a source", 60, 1, 7),
        (scenarios.AppendingLines(), "lines", 30, 1, 5),
        (scenarios.WritingTheLedger(), "the ledger", 80, 1, 7),
        (scenarios.Adopting(), "adopt", 500, 5, 89),
        (scenarios.WritingAManifest(), "a manifest", 300, 3, 67),
        (pool_scenarios.RecordingSlots(), "legacy.csv", 800, 11, 139),
        (pool_scenarios.AcceptingDrift(), "drift.csv", 350, 5, 71),
        (pool_scenarios.TakingBackAPurge(), "undo", 300, 3, 61),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_error_at_any_system_call_is_told_tears_nothing_and_is_got_over(
    scenario: Scenario,
    name: str,
    least: int,
    full_step: int,
    short_step: int,
    full: bool,
    proof: Statement,
) -> None:
    step = full_step if full else short_step
    *_, found = sweep(scenario, step)
    said = f"{name}: {found.runs} runs of {found.errors} errors, {found.refused} ended with the error"
    proof(said, runs=found.runs, refused=found.refused, wrong=len(found.wrong))
    assert found.wrong == []
    assert found.errors >= least, "the sweep has shrunk"
    assert found.runs >= found.errors // step


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("openat", r".*/attempts/.*/metadata\.json"),
        ("newfstatat", r".*/cohorts/later/(membership\.csv|adopted\.json)"),
    ],
)
def test_what_cannot_be_looked_at_is_not_taken_for_absent_by_a_rollback(
    name: str, about: str, full: bool, proof: Statement
) -> None:
    """It would keep ids whose parents have other ones: every such call is tried, not every n-th."""
    with memory_folder() as folder:
        bench = Bench(TAKING_BACK, folder)
        found = Sweep(0)
        files = bench.run(None, found)
        found.runs = 0
        calls = [
            at
            for at, ((called, _), path) in enumerate(zip(files.seen, files.paths, strict=True), start=1)
            if called == name and re.fullmatch(about, path)
        ]
        for at in calls if full else calls[::3]:
            bench.run(InjectedError(at, errno.EIO, for_ever=False), found)
    proof(runs=found.runs, refused=found.refused, wrong=len(found.wrong))
    assert found.wrong == []
    assert len(calls) >= 3


@pytest.mark.bar(4)
@pytest.mark.parametrize(
    ("scenario", "number", "for_ever", "symptom"),
    [
        (scenarios.Committing(broken.WritesUnchecked), SHORT, False, "torn"),
        (scenarios.Committing(broken.WritesIntoPlace), errno.EIO, False, "torn"),
        (scenarios.Committing(broken.RetriesFlushes), errno.EIO, False, "retried on the same descriptor"),
        (scenarios.Committing(broken.PublishesUnflushed), errno.EIO, False, "published though its flush had failed"),
        (scenarios.Committing(broken.AcknowledgesEarly), errno.EIO, True, "lost"),
        (scenarios.Committing(broken.FlushesNoFile), errno.EIO, False, "not ours"),
    ],
    ids=[
        "unchecked short write",
        "written into place",
        "flush retried",
        "published unflushed",
        "acknowledged early",
        "an error that is not ours",
    ],
)
def test_a_protocol_that_bears_no_errors_is_caught(
    scenario: Scenario, number: int, for_ever: bool, symptom: str, proof: Statement
) -> None:
    """One error alone a store gets over: who acknowledged early is told from others by errors that stay."""
    said: list[str] = []
    for found in sweep(scenario, 1, number, for_ever=for_ever):
        said = found.wrong
        if any(symptom in one for one in said):
            proof(protocols=proof.case, caught=1, unnoticed=0)
            return
    proof(unnoticed=1)
    raise AssertionError(f"not noticed; of other things: {said[:3]}")


def test_an_error_is_injected_where_it_is_said_to_be(tmp_path: Path) -> None:
    def program() -> None:
        for number in range(3):
            try:
                (tmp_path / "pool" / str(number)).mkdir()
            except OSError as error:
                (tmp_path / f"{number}-{errno.errorcode[error.errno or 0]}").touch()

    (tmp_path / "pool").mkdir()
    whole = WatchedFiles(tmp_path / "pool")
    run_until(program, None, whole)
    assert [name for name, _ in whole.seen] == ["mkdir"] * 3
    for error, told in (
        (InjectedError(2, errno.ENOSPC, for_ever=False), {"1-ENOSPC"}),
        (InjectedError(2, errno.EROFS, for_ever=True), {"1-EROFS", "2-EROFS"}),
    ):
        shutil.rmtree(tmp_path / "pool")
        (tmp_path / "pool").mkdir()
        files = WatchedFiles(tmp_path / "pool", error)
        run_until(program, None, files)
        assert {path.name for path in tmp_path.iterdir()} - {"pool"} == told
        assert files.injected == len(told)
        assert len(list((tmp_path / "pool").iterdir())) == 3 - len(told)
        for name in told:
            (tmp_path / name).unlink()
