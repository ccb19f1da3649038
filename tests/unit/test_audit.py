"""The account of everything bought is whole: it sums to what is kept, and names what nobody can know."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from genpool.errors import CallFailed, NotFound
from genpool.locks import pool_lock
from genpool.testing import ScriptedModel
from tests.small_pools import answer, make_pool, models, tree, whole_cohort, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.audit import Spend
    from genpool.llm.client import Completion, Request
    from genpool.pool import Pool

PRICED = {
    "writer": "{client: scripted, tries: 1, max_tokens: 100, price: {input: 1, output: 2}}",
    "judge": "{client: scripted, max_tokens: 50, price: {input: 3, output: 4}}",
}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    pool = make_pool(tmp_path / "pool", models=PRICED)
    whole_cohort(pool.root)
    return pool


def kept(root: Path) -> list[dict[str, Any]]:
    """Return the calls of every metadata.json in the pool, in the trash too, read without genpool."""
    found = [*root.glob("gens/*/*/metadata.json"), *root.glob("attempts/*/*/*/metadata.json")]
    found += [*root.glob("trash/*/gens/*/*/metadata.json"), *root.glob("trash/*/attempts/*/*/*/metadata.json")]
    return [call for path in found if (call := json.loads(path.read_text())["call"])]


def cost_of(calls: list[dict[str, Any]]) -> float:
    return (
        sum(
            (
                one["usage"]["input_tokens"] * one["price"]["input"]
                + one["usage"]["output_tokens"] * one["price"]["output"]
            )
            for one in calls
            if one["price"]
        )
        / 1e6
    )


def agrees_with_what_is_kept(pool: Pool) -> Spend:
    found, calls = pool.audit(), kept(pool.root)
    total = found.total
    assert total.cost == pytest.approx(cost_of(calls), rel=1e-12)
    assert total.input_tokens == sum(one["usage"]["input_tokens"] for one in calls)
    assert total.output_tokens == sum(one["usage"]["output_tokens"] for one in calls)
    assert total.committed + total.promoted + total.attempts.total() == len(calls)
    assert total.calls == len(calls) + total.failed + total.unknown + total.in_flight + total.going_on
    return found


def moody(request: Request) -> Completion | str:
    """Answer acceptably, cut off, or with nothing, as the seed has it."""
    return [answer("Cut", "length"), answer(""), "A whole text.", "Another."][request.seed % 4]


# --- sums -------------------------------------------------------------------------------------------


def test_the_account_is_the_sum_of_every_record_valid_or_not(pool: Pool) -> None:
    pool.run("c", models=models(writer=ScriptedModel(moody)))
    write_rows(pool.root, range(2, 12), "others.csv")
    whole_cohort(pool.root, "other", rows="others.csv")
    pool.run("other", models=models(writer=ScriptedModel(moody)), retry_exhausted=True)
    found = agrees_with_what_is_kept(pool)
    assert found.total.attempts["truncated"]
    assert found.total.attempts["empty"]
    assert set(found.by_model) == {"judge", "writer"}
    assert set(found.by_cohort) == {"c", "other"}
    for sums in (found.by_model, found.by_cohort):
        assert sum(one.calls for one in sums.values()) == found.total.calls
        assert sum(one.cost for one in sums.values()) == pytest.approx(found.total.cost)
    assert pool.audit("c").total.calls == found.by_cohort["c"].calls
    assert (found.doubtful, found.unsettled, found.twice, found.problems, found.notes) == ((), (), (), (), ())


def test_what_was_purged_stays_in_the_account_and_made_anew_is_named(pool: Pool) -> None:
    pool.run("c", models=models())
    before = pool.audit()
    pool.purge("c")
    assert pool.audit() == before
    shutil.rmtree(pool.root / "trash")
    assert pool.audit() == before
    whole_cohort(pool.root)
    pool.run("c", models=models())
    after = pool.audit()
    assert (after.total.calls, after.total.cost) == (2 * before.total.calls, pytest.approx(2 * before.total.cost))
    assert len(after.twice) == before.total.calls
    assert {one.kind for one in after.twice} == {"made_anew"}
    assert pool.audit(since=datetime(2999, 1, 1, tzinfo=UTC)).twice == ()


def test_a_model_without_a_price_is_counted_apart(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, models={"writer": PRICED["writer"]})
    whole_cohort(pool.root)
    pool.run("c", models=models())
    found = agrees_with_what_is_kept(pool)
    assert (found.by_model["judge"].priced, found.by_model["judge"].unpriced) == (0, 8)
    assert (found.total.priced, found.total.unpriced) == (4, 8)


def test_only_calls_since_a_time_are_counted_when_asked(pool: Pool) -> None:
    pool.run("c", models=models())
    between = datetime.now(UTC)
    write_spec(pool.root, "letters", essay="template: [letter]")
    while datetime.now(UTC).replace(microsecond=0) <= between.replace(microsecond=0):
        time.sleep(0.01)
    pool.run("letters", models=models())
    assert (pool.audit().total.calls, pool.audit(since=between).total.calls) == (14, 2)
    assert pool.audit(since=between.replace(tzinfo=None)).total.calls == 2
    assert pool.audit("c", since=between).total.calls == 0


def test_a_cohort_that_nobody_knows_is_refused_and_one_that_bought_nothing_has_nothing(pool: Pool) -> None:
    assert pool.audit("c").total.calls == 0
    pool.run("c", models=models())
    shutil.rmtree(pool.root / "cohorts")
    assert pool.audit("c").total.calls == 12
    with pytest.raises(NotFound):
        pool.audit("d")


def test_reading_the_account_changes_nothing(pool: Pool) -> None:
    pool.run("c", models=models(writer=ScriptedModel(moody)))
    forget(pool.root, "committed")
    before = tree(pool.root)
    pool.audit()
    assert tree(pool.root) == before


# --- what nobody can know ---------------------------------------------------------------------------


def test_calls_that_failed_are_told_from_those_that_may_have_been_charged(pool: Pool) -> None:
    def reset(request: Request) -> str:
        raise CallFailed("reset", transient=True, sent=request.seed % 2 == 0)

    report = pool.run("c", models=models(writer=ScriptedModel(reset)))
    found = agrees_with_what_is_kept(pool)
    assert found.total.failed + found.total.unknown == report.calls
    assert len(found.of("unknown")) == found.total.unknown
    assert found.total.unpriced == 0
    assert found.total.worst == pytest.approx(sum(one.worst_price or 0 for one in found.of("unknown")))
    assert all(one.reason == "reset" for one in found.of("unknown"))


@contextmanager
def running(pool: Pool, calls: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run cohort c in a process of its own, until some calls are in flight."""
    words = [sys.executable, "-m", "genpool", "-C", str(pool.root), "run", "c", "-q"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while sum(path.read_bytes().count(b'"intent"') for path in pool.root.glob("ledger/*.jsonl")) < calls:
                assert process.poll() is None
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def test_a_run_that_is_going_on_is_told_from_one_that_was_killed(tmp_path: Path) -> None:
    slow = PRICED["writer"].replace("scripted", "scripted, seconds: 600, concurrency: 2")
    pool = make_pool(tmp_path / "pool", models={**PRICED, "writer": slow})
    whole_cohort(pool.root)
    with running(pool, 2) as process:
        found = pool.audit()
        assert (found.total.going_on, found.total.in_flight) == (2, 0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = pool.audit()
        assert (found.total.going_on, found.total.in_flight) == (0, 2)
    assert {(one.stage, one.cohort_id, one.model) for one in found.of("in_flight")} == {("draft", "c", "writer")}
    assert found.total.cost == 0
    assert found.total.worst == pytest.approx(sum(one.worst_price or 0 for one in found.doubtful))
    assert all(one.worst_price for one in found.doubtful)
    assert found.twice == ()
    lost = found.total.worst
    pool = make_pool(tmp_path / "pool", models=PRICED)
    pool.run("c", models=models())
    found = agrees_with_what_is_kept(pool)
    assert found.total.worst == pytest.approx(found.total.cost + lost)
    assert [one.kind for one in found.twice] == ["perhaps"] * 2
    assert [[one.outcome for one in task.purchases] for task in found.twice] == [["in_flight", "committed"]] * 2


def forget(root: Path, outcome: str, most: int = 1) -> list[str]:
    """Take the last settlements of an outcome out of the ledgers, as a process does that dies before writing them."""
    gone: list[str] = []
    for path in sorted(root.glob("ledger/run-*.jsonl")):
        lines = path.read_text().splitlines(keepends=True)
        for line in reversed(list(lines)):
            if f'"outcome":"{outcome}"' in line and len(gone) < most:
                lines.remove(line)
                gone.append(json.loads(line)["gen_id"])
        path.write_text("".join(lines))
    return gone


@pytest.mark.parametrize("where", ["in its place", "in the trash"])
def test_output_that_was_kept_but_not_settled_was_bought_once_and_is_known(pool: Pool, where: str) -> None:
    pool.run("c", models=models(writer=ScriptedModel(lambda _: answer("A text."))))
    before = pool.audit()
    gone = forget(pool.root, "committed", 3)
    if where == "in the trash":
        pool.purge("c")
    found = agrees_with_what_is_kept(pool)
    assert sorted(one.gen_id for one in found.unsettled) == sorted(gone)
    assert {one.outcome for one in found.unsettled} == {"committed"}
    assert (found.total.calls, found.total.committed) == (before.total.calls, before.total.committed)
    assert (found.total.cost, found.total.worst) == (pytest.approx(before.total.cost), found.total.cost)
    assert (found.doubtful, found.twice) == ((), ())


def test_an_attempt_that_was_kept_but_not_settled_is_known_and_the_try_before_it_is_not_taken_for_it(
    pool: Pool,
) -> None:
    write_spec(pool.root)
    pool.run("c", models=models(writer=ScriptedModel(lambda _: answer("Cut", "length"))))
    (one, *_) = gone = forget(pool.root, "attempt")
    found = agrees_with_what_is_kept(pool)
    assert [(call.gen_id, call.outcome, call.reason) for call in found.unsettled] == [(one, "attempt", "truncated")]
    shutil.rmtree(pool.root / "attempts" / "draft" / one / "2")
    found = pool.audit()
    assert (found.unsettled, [call.gen_id for call in found.of("in_flight")]) == ((), gone)


def test_a_generation_of_another_run_settles_nothing(pool: Pool) -> None:
    write_spec(pool.root)
    pool.run("c", models=models())
    (lost,) = forget(pool.root, "committed")
    path = pool.root / "gens" / "draft" / lost / "metadata.json"
    path.write_text(path.read_text().replace('"run_id": "run-', '"run_id": "run-other-'))
    found = pool.audit()
    assert [one.gen_id for one in found.of("in_flight")] == [lost]
    assert found.unsettled == ()


def test_output_from_before_a_call_was_sent_does_not_settle_it(pool: Pool) -> None:
    write_spec(pool.root)
    pool.run("c", models=models())
    (lost,) = forget(pool.root, "committed")
    lines = ledger(pool).read_text().splitlines()
    at = next(at for at, line in enumerate(lines) if f'"gen_id":"{lost}"' in line)
    lines[at] = json.dumps({**json.loads(lines[at]), "at": "2999-01-01T00:00:00.000Z"})
    ledger(pool).write_text("\n".join(lines) + "\n")
    assert [one.gen_id for one in pool.audit().of("in_flight")] == [lost]


def test_a_later_run_of_the_same_process_does_not_make_an_earlier_one_go_on(pool: Pool) -> None:
    pool.run("c", models=models())
    (lost,) = forget(pool.root, "committed")
    head, _, rest = ledger(pool).read_text().partition("\n")
    earlier = json.dumps({**json.loads(head), "at": "2020-01-01T00:00:00.000Z"})
    ledger(pool).write_text(f"{earlier}\n{rest}")
    with pool_lock(pool.layout, "genpool run c"):
        assert [one.outcome for one in pool.audit().unsettled] == ["committed"]
        head, _, rest = ledger(pool).read_text().partition("\n")
        later = json.dumps({**json.loads(head), "at": "2999-01-01T00:00:00.000Z"})
        ledger(pool).write_text(f"{later}\n{rest}")
        assert [one.gen_id for one in pool.audit().of("going_on")] == [lost]


def test_an_answer_that_another_was_first_with_is_bought_twice(pool: Pool) -> None:
    write_spec(pool.root)
    other = make_pool(pool.root.with_name("other"), models=PRICED)  # a writer that asks nobody for a claim
    write_spec(other.root)
    other.run("c", models=models(writer=ScriptedModel(["the other's"])))

    def late(_: Request) -> str:
        for folder in ("gens", "ledger"):
            shutil.copytree(other.root / folder, pool.root / folder, dirs_exist_ok=True)
        return "mine"

    entry = PRICED["writer"].replace("scripted", "scripted, concurrency: 1")
    make_pool(pool.root, rows=1, models={**PRICED, "writer": entry}).run("c", models=models(writer=ScriptedModel(late)))
    found = agrees_with_what_is_kept(pool)
    assert [one.kind for one in found.twice] == ["twice"]
    assert sorted(one.reason or one.outcome for one in found.twice[0].purchases) == ["bought_twice", "committed"]
    for path in pool.root.glob("ledger/*.jsonl"):
        if "bought_twice" not in path.read_text():
            path.unlink()
    assert [one.kind for one in pool.audit().twice] == ["twice"], "the attempt itself says so"


# --- ledgers that cannot be read --------------------------------------------------------------------


def ledger(pool: Pool) -> Path:
    (path,) = pool.root.glob("ledger/*.jsonl")
    return path


def test_a_line_that_a_crash_tore_is_noted_and_loses_nothing(pool: Pool) -> None:
    pool.run("c", models=models())
    before = pool.audit()
    with ledger(pool).open("a") as file:
        file.write('{"intent":13,"stage":"dra')
    found = pool.audit()
    assert found.tallies == before.tallies
    assert found.problems == ()
    assert [(one.file, one.line) for one in found.notes] == [(f"ledger/{ledger(pool).name}", 26)]


@pytest.mark.parametrize("kind", ["intent", "settled"])
def test_a_damaged_line_is_named_and_what_else_is_known_is_counted(pool: Pool, kind: str) -> None:
    pool.run("c", models=models())
    cost = pool.audit().total.cost
    lines = ledger(pool).read_text().splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if f'"{kind}"' in line)
    lines[at] = lines[at].replace("{", "[", 1)
    ledger(pool).write_text("".join(lines))
    found = pool.audit()
    assert [one.line for one in found.problems] == [at + 1]
    assert found.total.calls == 12
    assert found.total.cost == pytest.approx(cost), (
        "a settlement without its intent; a generation without its settlement"
    )


def test_an_entry_of_no_known_kind_or_number_is_named(pool: Pool) -> None:
    pool.run("c", models=models())
    before = pool.audit()
    with ledger(pool).open("a") as file:
        for entry in (
            {"a": 1},
            {"intent": -1},
            {"settled": 99, "outcome": "committed"},
            {"settled": 1},
            {"intent": 20, "stage": "draft"},
        ):
            file.write(json.dumps(entry) + "\n")
        file.write(json.dumps({"intent": 1, "stage": "draft", "gen_id": "d_1"}) + "\n")
        file.write("[]\n7\n\xff\n")
    found = pool.audit()
    assert [one.line for one in found.problems] == list(range(26, 35))
    assert found.total.calls == 12
    assert found.total.cost == before.total.cost


def test_an_outcome_of_a_later_version_counts_as_one_of_which_nobody_knows(pool: Pool) -> None:
    pool.run("c", models=models())
    path = ledger(pool)
    path.write_text(path.read_text().replace('"outcome":"committed"', '"outcome":"batched"', 1))
    found = pool.audit()
    assert (found.total.unknown, found.total.committed) == (1, 11)
    assert "batched" in str(found.of("unknown")[0].reason)


@pytest.mark.parametrize(
    "head",
    [
        '{"format":"genpool.ledger/2"',
        '{"format":"genpool.ledger/x"',
        '{"format":7',
        '{"format":"genpool.ledger/1","run_id":"r"',
    ],
)
def test_a_ledger_of_another_version_or_run_is_named_and_not_counted(pool: Pool, head: str) -> None:
    pool.run("c", models=models())
    whole, first = ledger(pool).read_text(), ledger(pool).read_text().splitlines()[0]
    (pool.root / "ledger" / "run-0.jsonl").write_text(whole.replace(first, head + "}"))
    found = pool.audit()
    assert found.total.calls == 12
    assert [one.file for one in found.problems] == ["ledger/run-0.jsonl"]


def test_a_ledger_that_is_a_folder_a_link_or_a_pipe_is_named(pool: Pool) -> None:
    pool.run("c", models=models())
    folder = pool.root / "ledger"
    (folder / "run-a.jsonl").mkdir()
    elsewhere = pool.root.parent / "elsewhere.jsonl"
    own = ledger_file(folder)
    elsewhere.write_text(own.read_text().replace(own.stem, "run-b"))
    (folder / "run-b.jsonl").symlink_to(elsewhere)
    os.mkfifo(folder / "run-c.jsonl")
    (folder / "notes.txt").write_text("no ledger")
    found = pool.audit()
    assert [one.file for one in found.problems] == ["ledger/run-a.jsonl", "ledger/run-b.jsonl"]
    assert found.total.calls == 12


def ledger_file(folder: Path) -> Path:
    return next(path for path in sorted(folder.iterdir()) if path.is_file())


def test_a_head_that_is_lost_leaves_the_cohort_unknown(pool: Pool) -> None:
    pool.run("c", models=models())
    _, _, rest = ledger(pool).read_text().partition("\n")
    ledger(pool).write_text(rest)
    found = pool.audit()
    assert [one.line for one in found.problems] == [1]
    assert set(found.by_cohort) == {""}
    assert found.total.calls == 12


def test_a_pool_that_bought_nothing_has_an_empty_account(pool: Pool) -> None:
    assert pool.audit().total.calls == 0
    assert pool.audit().tallies == {}
