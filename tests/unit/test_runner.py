"""A run makes what a plan lacks: bounded, without barriers, and it can be stopped and gone on with."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from genpool import locks
from genpool.claims import Claims
from genpool.errors import CallFailed, MissingKey, ModelUnavailable, StorageFull
from genpool.testing import ScriptedModel
from tests.small_pools import (
    HeldModel,
    answer,
    generations,
    ledger_entries,
    make_pool,
    models,
    seeds_of,
    torn_generations,
    tree,
    whole_cohort,
    write_spec,
)
from tests.steering import PATIENCE, steered, until

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.llm.client import Completion, Request
    from genpool.pool import Pool
    from genpool.runner import Runner, RunReport

TWO_MODELS = {"writer": "{client: scripted, concurrency: 3}", "other": "{client: scripted, concurrency: 2}"}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return make_pool(tmp_path / "pool")


# --- lanes ------------------------------------------------------------------------------------------


def test_the_next_call_is_sent_while_answers_are_kept_and_so_many_are_on_their_way_and_no_more(tmp_path: Path) -> None:
    """What is being kept is held up from outside: something incomplete is in the way, and another is clearing one."""
    pool = make_pool(tmp_path, rows=9, models={"writer": "{client: scripted, concurrency: 4}"})
    write_spec(pool.root)
    for gen_id in pool.plan("c").stage("draft").gen_ids:
        place = pool.layout.generation("draft", gen_id)
        place.mkdir(parents=True)
        (place / "notes.txt").write_text("of another tool")
    sent: list[int] = []

    class Counted(ScriptedModel):
        async def complete(self, request: Request) -> Completion:
            sent.append(request.seed)
            return await super().complete(request)

    async def hold_up(runner: Runner) -> None:
        await until(lambda: len(sent) == 6)
        await asyncio.sleep(0.2)
        assert (len(sent), runner.report.made) == (6, 0)
        clearing.close()

    with ExitStack() as clearing:
        clearing.enter_context(locks.file_lock(pool.layout, "incomplete", "a test"))
        report = steered(pool, models(writer=Counted()), hold_up)
    assert (report.complete, report.made, len(sent)) == (True, 9, 9)


def test_an_answer_that_is_asked_for_again_waits_for_a_place_as_every_call_does(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=12, models={"writer": "{client: scripted, attempts: 3, concurrency: 4}"})
    write_spec(pool.root)
    at_once: list[int] = [0]
    most = 0

    class Refusing(ScriptedModel):
        async def complete(self, request: Request) -> Completion:
            nonlocal most
            at_once[0] += 1
            most = max(most, at_once[0])
            await asyncio.sleep(0.01)
            given = await super().complete(request)
            at_once[0] -= 1
            return given

    report = pool.run("c", models=models(writer=Refusing([answer("cut of", "length")] * 36)))
    assert (report.calls, report.stages["draft"].exhausted, most) == (36, 12, 4)


def test_an_essay_starts_before_all_drafts_are_done(pool: Pool) -> None:
    whole_cohort(pool.root)
    held_back = set(list(seeds_of(pool.plan("c")))[:1])

    class OneLateDraft(ScriptedModel):
        async def complete(self, request: Request) -> Completion:
            if request.seed in held_back:
                await asyncio.wait_for(judged.wait(), PATIENCE)
            return await super().complete(request)

    class Judge(ScriptedModel):
        async def complete(self, request: Request) -> Completion:
            judged.set()
            return await super().complete(request)

    judged = asyncio.Event()
    assert pool.run("c", models={"writer": OneLateDraft(), "judge": Judge()}).complete


def test_the_deeper_task_goes_first_so_that_lines_are_finished_early(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=3, models={"writer": "{client: scripted, concurrency: 1}"})
    write_spec(pool.root, essay="template: [story]")
    writer = ScriptedModel()
    assert pool.run("c", models=models(writer=writer)).complete
    asked_for = ["story" if "as a story" in one.prompt.user else "draft" for one in writer.requests]
    assert asked_for == ["draft", "story"] * 3


def test_a_task_waits_for_a_grandparent_that_was_removed(pool: Pool) -> None:
    whole_cohort(pool.root)
    judging = pool.root / "templates" / "evaluation" / "clarity.j2"
    judging.write_text(judging.read_text() + "It was made of: {{ draft.text }}\n")
    pool.run("c", models=models())
    shutil.rmtree(pool.root / "gens" / "draft")
    shutil.rmtree(pool.root / "gens" / "evaluation")
    report = pool.run("c", models=models())
    assert report.failures == []
    assert (report.made, report.complete) == (10, True)


def test_the_calls_in_flight_are_bounded_for_each_model_by_itself(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=10, models=TWO_MODELS)
    write_spec(pool.root, draft="template: [plain], model: [writer, other]")
    writer, other = HeldModel(), HeldModel()

    async def let_all_go(_: Runner) -> None:
        await until(lambda: (writer.in_flight, other.in_flight) == (3, 2))
        await asyncio.sleep(0.05)
        writer.let_go.set()
        other.let_go.set()

    report = steered(pool, {"writer": writer, "other": other}, let_all_go)
    assert report.complete
    assert (writer.most_in_flight, other.most_in_flight) == (3, 2)


def test_a_slow_model_does_not_hold_up_another(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=5, models=TWO_MODELS)
    write_spec(pool.root, draft="template: [plain], model: [writer, other]")
    stuck, quick = HeldModel(), ScriptedModel()

    async def wait_for_the_quick_one(runner: Runner) -> None:
        await until(lambda: runner.report.made == 5)
        assert len(quick.requests) == 5
        stuck.let_go.set()

    assert steered(pool, {"writer": stuck, "other": quick}, wait_for_the_quick_one).complete


def test_a_model_that_is_unavailable_closes_only_its_own_lane(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=6, models={**TWO_MODELS, "other": "{client: scripted, concurrency: 1}"})
    write_spec(pool.root, draft="template: [plain], model: [writer, other]", essay="template: [story]")

    def gone(_: Request) -> str:
        raise ModelUnavailable("no such model", hint="pull it")

    broken = ScriptedModel(gone)
    report = pool.run("c", models={"writer": ScriptedModel(), "other": broken})
    assert len(broken.requests) == 1
    assert (report.stages["draft"].made, report.stages["draft"].failed, report.stages["draft"].left) == (6, 1, 5)
    assert (report.stages["essay"].made, report.stages["essay"].left) == (6, 6)
    assert [(one.kind, one.message, one.hint) for one in report.failures] == [
        ("model-unavailable", "no such model", "pull it")
    ]
    assert report.stopped_by is None
    again = pool.run("c", models={"writer": ScriptedModel(), "other": ScriptedModel()})
    assert (again.made, again.complete) == (12, True)


def test_a_missing_key_closes_the_lane_too(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=3, models={"writer": "{client: scripted, concurrency: 1}"})
    write_spec(pool.root)

    def no_key(_: Request) -> str:
        raise MissingKey("THE_KEY is not set")

    report = pool.run("c", models=models(writer=ScriptedModel(no_key)))
    assert (report.calls, [one.kind for one in report.failures]) == (1, ["missing-key"])


def test_a_model_whose_tasks_fail_one_after_the_other_is_not_asked_for_the_rest(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=40, models={"writer": "{client: scripted, concurrency: 1, tries: 1}"})
    write_spec(pool.root)

    def never(_: Request) -> str:
        raise CallFailed("500", transient=True, sent=True)

    report = pool.run("c", models=models(writer=ScriptedModel(never)))
    assert (report.calls, report.stages["draft"].failed, report.stages["draft"].left) == (16, 16, 24)
    assert report.failures[-1].kind == "model-unavailable"


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_error_that_nobody_foresaw_stops_the_run_and_does_not_hang_it(tmp_path: Path, concurrency: int) -> None:
    pool = make_pool(tmp_path, rows=12, models={"writer": f"{{client: scripted, concurrency: {concurrency}}}"})
    write_spec(pool.root)

    def broken(_: Request) -> str:
        raise RuntimeError("what is this")

    async def only_wait(_: Runner) -> None:
        pass

    report = steered(pool, models(writer=ScriptedModel(broken)), only_wait)
    assert report.stopped_by is not None
    assert "RuntimeError: what is this" in report.stopped_by.message
    assert isinstance(report.stopped_by.__cause__, RuntimeError)
    assert report.calls <= concurrency
    entries = ledger_entries(pool.root)
    not_sent = [entry for entry in entries if entry.get("reason") == "stopped before it was sent"]
    assert sum("intent" in entry for entry in entries) == report.calls + len(not_sent)
    assert all(entry["outcome"] == "failed" for entry in not_sent)


def test_a_watcher_that_fails_stops_the_run_and_does_not_hang_it(pool: Pool) -> None:
    write_spec(pool.root)

    async def watched() -> RunReport:
        def watch(_: RunReport) -> None:
            raise ValueError("cannot draw")

        async with asyncio.timeout(PATIENCE):
            return await pool.arun("c", models=models(), watch=watch)

    report = asyncio.run(watched())
    assert "cannot draw" in str(report.stopped_by)
    assert torn_generations(pool) == []


def test_a_watcher_is_told_after_every_task(pool: Pool) -> None:
    whole_cohort(pool.root)
    seen: list[int] = []
    pool.run("c", models=models(), watch=lambda report: seen.append(report.made))
    assert seen == list(range(1, 15))


def test_nothing_is_bought_when_the_store_is_low_on_space(pool: Pool) -> None:
    write_spec(pool.root)

    def fill_up(_: Runner) -> None:
        pool.store.low_on_space = True

    report = pool.run("c", models=models(), started=fill_up)
    assert report.calls == 0
    assert isinstance(report.stopped_by, StorageFull)
    assert pool.run("c", models=models()).complete


# --- stopping and going on --------------------------------------------------------------------------


def test_draining_lets_running_calls_finish_and_starts_no_other(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=8, models=TWO_MODELS)
    whole_cohort(pool.root)
    writer = HeldModel()

    async def drain_with_three_in_flight(runner: Runner) -> None:
        await until(lambda: writer.in_flight == 3)
        runner.drain()
        await asyncio.sleep(0.05)
        writer.let_go.set()

    report = steered(pool, models(writer=writer), drain_with_three_in_flight)
    assert (report.interrupted, report.made, report.calls) == (True, 3, 3)
    assert {stage for stage, _ in generations(pool.root)} == {"draft"}
    outcomes = [entry["outcome"] for entry in ledger_entries(pool.root) if "settled" in entry]
    assert outcomes == ["committed"] * 3
    clients = models()
    again = pool.run("c", models=clients)
    assert again.complete
    assert again.made == again.stages["draft"].wanted * 7 - 3
    assert not {one.seed for one in writer.requests} & {one.seed for one in clients["writer"].requests}


def test_aborting_gives_running_calls_up_and_the_next_run_goes_on(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=8, models=TWO_MODELS)
    whole_cohort(pool.root)
    writer = HeldModel()

    async def abort_with_three_in_flight(runner: Runner) -> None:
        await until(lambda: writer.in_flight == 3)
        runner.abort()

    before = time.monotonic()
    report = steered(pool, models(writer=writer), abort_with_three_in_flight)
    assert time.monotonic() - before < PATIENCE / 2
    assert (report.interrupted, report.made, report.calls) == (True, 0, 3)
    assert writer.in_flight == 0
    assert [entry["outcome"] for entry in ledger_entries(pool.root) if "settled" in entry] == ["unknown"] * 3
    assert list((pool.root / ".genpool" / "staging").iterdir()) == []
    assert pool.run("c", models=models()).complete


def test_an_answer_that_has_come_is_kept_whole_when_the_run_is_aborted_while_it_is_written(tmp_path: Path) -> None:
    """Abort at many moments around the writing of large answers: nothing torn, and what was settled is there."""
    text = "x" * 3_000_000
    for moment in range(12):
        pool = make_pool(tmp_path / str(moment), rows=6, models=TWO_MODELS)
        write_spec(pool.root)

        async def abort_soon(runner: Runner, wait: float = moment * 0.004) -> None:
            await asyncio.sleep(wait)
            runner.abort()

        report = steered(pool, models(writer=ScriptedModel(lambda _: text)), abort_soon)
        assert torn_generations(pool) == []
        settled = [entry["gen_id"] for entry in ledger_entries(pool.root) if entry.get("outcome") == "committed"]
        assert {name for _, name in generations(pool.root)} == set(settled)
        assert report.made == len(settled)
        assert list((pool.root / ".genpool" / "staging").iterdir()) == []


def test_a_run_that_is_cancelled_from_outside_leaves_nothing_torn_and_buys_nothing_more(pool: Pool) -> None:
    whole_cohort(pool.root)
    writer = HeldModel()

    async def cancel() -> None:
        run = asyncio.create_task(pool.arun("c", models=models(writer=writer)))
        await asyncio.wait_for(writer.called.wait(), PATIENCE)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(run, PATIENCE)

    asyncio.run(cancel())
    called = len(writer.requests) + writer.in_flight
    assert called <= 2
    assert torn_generations(pool) == []
    assert pool.run("c", models=models()).complete


def test_draining_before_anything_began_makes_nothing(pool: Pool) -> None:
    write_spec(pool.root)
    report = pool.run("c", models=models(), started=lambda runner: runner.drain())
    assert (report.made, report.calls, report.interrupted) == (0, 0, True)


def test_a_run_with_everything_present_makes_no_call_and_writes_nothing(pool: Pool) -> None:
    whole_cohort(pool.root)
    first = pool.run("c", models=models())
    assert first.complete
    before = tree(pool.root)
    clients = models()
    again = pool.run("c", models=clients)
    assert tree(pool.root) == before
    assert (again.calls, again.made, again.complete) == (0, 0, True)
    assert all(not client.requests for client in clients.values())


# --- beside another run -----------------------------------------------------------------------------


def one_of_three_held(root: Path) -> tuple[Pool, Claims, str]:
    """Return a pool whose cohort wants three drafts, and who holds which of them."""
    pool = make_pool(root, rows=3, models={"writer": "{client: scripted, concurrency: 1}"})
    write_spec(pool.root)
    held = pool.plan("c").stage("draft").gen_ids[0]
    other = Claims(pool.layout)
    assert other.take("draft", held)
    return pool, other, held


def test_a_task_that_another_holds_is_waited_for_without_holding_up_the_rest(tmp_path: Path) -> None:
    pool, other, held = one_of_three_held(tmp_path)

    async def give_back_when_the_rest_is_made(runner: Runner) -> None:
        while runner.report.made < 2:  # noqa: ASYNC110 - what is watched is a number
            await asyncio.sleep(0.01)
        assert runner.report.waiting == 1
        other.give_back("draft", held)

    report = steered(pool, models(), give_back_when_the_rest_is_made)
    assert (report.complete, report.made, report.waiting) == (True, 3, 0)


def test_a_claim_that_cannot_be_looked_at_ends_the_run_and_does_not_hang_it(tmp_path: Path) -> None:
    pool, _other, held = one_of_three_held(tmp_path)

    async def put_something_in_its_place(runner: Runner) -> None:
        while runner.report.made < 2:  # noqa: ASYNC110 - what is watched is a number
            await asyncio.sleep(0.01)
        place = pool.layout.claims_of("draft") if locks.HAS_BYTE_LOCKS else pool.layout.claim("draft", held)
        place.unlink()
        if locks.HAS_BYTE_LOCKS:
            place.symlink_to(tmp_path)
        else:
            place.mkdir()

    report = steered(pool, models(), put_something_in_its_place)
    assert (report.made, report.complete, report.stages["draft"].left) == (2, False, 1)
    assert report.stopped_by is not None


def test_after_a_run_is_given_up_nothing_more_is_bought(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=1, models={"writer": "{client: scripted, attempts: 5, concurrency: 1}"})
    write_spec(pool.root)
    started = asyncio.Event()

    class Cut(ScriptedModel):
        async def complete(self, request: Request) -> Completion:
            started.set()
            return await super().complete(request)

    async def cancelled() -> None:
        run = asyncio.ensure_future(pool.arun("c", models=models(writer=Cut([answer("cut of", "length")] * 9))))
        await started.wait()
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run

    asyncio.run(cancelled())
    assert sum("intent" in entry for entry in ledger_entries(pool.root)) <= 1
