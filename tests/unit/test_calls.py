"""A call that fails: what is tried again, what is given up, and what the ledger says of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from genpool.calls import Caller, Errand, Places, Stop
from genpool.config import ModelEntry
from genpool.errors import CallFailed
from genpool.ledger import Intent, Ledger
from genpool.llm.client import Request
from genpool.prompts import Prompt
from genpool.testing import ScriptedModel
from tests.small_pools import (
    entries_of,
    ledger_entries,
    make_pool,
    models,
    seeds_of,
    whole_cohort,
    write_spec,
)
from tests.steering import steered

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.pool import Pool
    from genpool.runner import Runner


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return make_pool(tmp_path / "pool")


def test_places_are_given_to_who_waits_longest_and_one_that_was_given_up_is_not_lost() -> None:
    async def several() -> None:
        freed: list[None] = []
        places = Places(1, lambda: freed.append(None))
        place = places.taken()
        first, second, third = (asyncio.create_task(places.wait()) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        place.give_back()
        place.give_back()  # it was given back already
        await asyncio.wait_for(second, 10)
        assert first.cancelled()
        assert not third.done()
        places.give_back()
        third.cancel()  # when it had just got the place
        await asyncio.wait([third])
        assert third.cancelled()
        assert (places.free, len(freed)) == (1, 1)

    asyncio.run(several())


def test_a_call_that_may_have_been_paid_for_is_settled_as_unknown(pool: Pool) -> None:
    whole_cohort(pool.root)

    def cut(_: Request) -> str:
        raise CallFailed("reset by peer after 45 bytes", transient=True, sent=True)

    once = make_pool(pool.root, models={"writer": "{client: scripted, tries: 1}"})
    once.run("c", models=models(writer=ScriptedModel(cut)))
    assert {entry["outcome"] for entry in ledger_entries(pool.root) if "settled" in entry} == {"unknown"}


def test_a_client_that_gives_up_by_itself_does_not_hang_the_run(pool: Pool) -> None:
    whole_cohort(pool.root)

    def given_up(_: Request) -> str:
        raise asyncio.CancelledError

    once = make_pool(pool.root, models={"writer": "{client: scripted, tries: 1}"})
    report = once.run("c", models=models(writer=ScriptedModel(given_up)))
    assert {one.kind for one in report.failures} == {"call-failed"}


def test_a_call_that_fails_fails_its_task_alone(pool: Pool) -> None:
    whole_cohort(pool.root)
    first = next(iter(seeds_of(pool.plan("c"))))

    def sometimes(request: Request) -> str:
        if request.seed == first:
            raise CallFailed("bad request", transient=False, sent=False)
        return "A text."

    report = pool.run("c", models=models(writer=ScriptedModel(sometimes)))
    assert (report.stages["draft"].made, report.stages["draft"].failed) == (1, 1)
    assert (report.stages["essay"].made, report.stages["essay"].left) == (2, 2)
    assert [entry["outcome"] for entry in ledger_entries(pool.root) if "settled" in entry].count("failed") == 1
    assert report.attempts == {}
    assert pool.run("c", models=models()).complete


def test_what_fails_for_a_moment_is_tried_again_and_every_try_is_in_the_ledger(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=1, models={"writer": "{client: scripted, tries: 3}"})
    write_spec(pool.root)
    failures = [CallFailed("429", transient=True, sent=False), CallFailed("reset", transient=True, sent=True)]

    def at_last(_: Request) -> str:
        if failures:
            raise failures.pop(0)
        return "A text."

    report = pool.run("c", models=models(writer=ScriptedModel(at_last)))
    assert (report.complete, report.calls, report.failures, report.attempts) == (True, 3, [], {})
    assert [entry["outcome"] for entry in ledger_entries(pool.root) if "settled" in entry] == [
        "failed",
        "unknown",
        "committed",
    ]


def test_after_its_last_try_a_task_fails(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=1, models={"writer": "{client: scripted, tries: 2}"})
    write_spec(pool.root)

    def never(_: Request) -> str:
        raise CallFailed("429", transient=True, sent=False)

    report = pool.run("c", models=models(writer=ScriptedModel(never)))
    assert (report.calls, [one.kind for one in report.failures]) == (2, ["call-failed"])


def test_a_wait_for_the_next_try_ends_with_the_run(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=1, models={"writer": "{client: scripted}"})
    write_spec(pool.root)
    called = asyncio.Event()

    def in_an_hour(_: Request) -> str:
        called.set()
        raise CallFailed("429", transient=True, sent=False, retry_after=3600)

    async def stop_after_the_first(runner: Runner) -> None:
        await called.wait()
        runner.drain()

    report = steered(pool, models(writer=ScriptedModel(in_an_hour)), stop_after_the_first)
    assert (report.interrupted, report.calls, report.failures, report.stages["draft"].left) == (True, 1, [], 1)


def test_a_call_beyond_its_deadline_is_given_up_and_nobody_knows_what_became_of_it(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=1, models={"writer": "{client: scripted, timeout: 0.1, tries: 1}"})
    write_spec(pool.root)
    report = pool.run("c", models=models(writer=ScriptedModel(seconds=30)))
    assert [one.kind for one in report.failures] == ["call-failed"]
    assert [entry["outcome"] for entry in ledger_entries(pool.root) if "settled" in entry] == ["unknown"]


# --- what an intent's flush may do to a call --------------------------------------------------------------


@dataclass
class Quick:
    """A clock on which waiting takes no time."""

    time: float = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


class SlowDisk(Ledger):
    """A ledger whose first flushes take some seconds of a clock."""

    def __init__(self, folder: Path, clock: Quick, seconds: list[float]) -> None:
        super().__init__(folder, "run-1", "c")
        self._clock = clock
        self._seconds = seconds

    async def intend(self, *intent: Any) -> Intent:
        self._clock.time += self._seconds.pop(0) if self._seconds else 0.0
        return await super().intend(*intent)


def errand(**entry: Any) -> Errand:
    return Errand("draft", "d_1", ModelEntry("m", "scripted", "m", **entry), Request(Prompt("Write."), {}, 7), None)


@pytest.mark.parametrize("flushes", [[], [30.0, 30.0], [0.0, 59.0], [0.4] * 6, [1.0] * 6, [61.0, 0.0, 61.0]])
def test_a_slow_flush_does_not_send_more_requests_a_minute(tmp_path: Path, flushes: list[float]) -> None:
    clock, sent = Quick(), []

    async def asked() -> None:
        ledger = SlowDisk(tmp_path, clock, list(flushes))
        caller = Caller(ledger, lambda: sent.append(clock.time), Stop(), clock)
        for _ in range(8):
            await caller.ask(ScriptedModel(), errand(requests_per_minute=2))
        await ledger.close()

    asyncio.run(asked())
    assert len(sent) == 8
    assert max(sum(at <= other < at + 60 for other in sent) for at in sent) <= 2


def test_a_call_that_is_given_up_while_its_intent_is_flushed_is_never_sent(tmp_path: Path) -> None:
    flushing, go_on = asyncio.Event(), asyncio.Event()

    class Held(Ledger):
        async def intend(self, *intent: Any) -> Intent:
            flushing.set()
            await go_on.wait()
            return await super().intend(*intent)

    async def given_up() -> tuple[ScriptedModel, Ledger]:
        model, ledger, sent = ScriptedModel(), Held(tmp_path, "run-1", "c"), []
        asking = asyncio.create_task(Caller(ledger, lambda: sent.append(1), Stop()).ask(model, errand()))
        await flushing.wait()
        asking.cancel()
        await asyncio.sleep(0.01)
        assert not asking.done(), "what is being written is written to its end"
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await ledger.close()
        assert sent == []
        return model, ledger

    model, ledger = asyncio.run(given_up())
    assert model.requests == []
    assert [entry.get("outcome") for entry in entries_of(ledger.path)] == [None, None, "failed"]


def test_a_pause_that_a_server_asks_for_holds_every_call_to_the_model(tmp_path: Path) -> None:
    clock, sent = Quick(), []

    class Busy(ScriptedModel):
        async def complete(self, request: Request) -> Any:
            if len(sent) == 1:
                raise CallFailed("429", transient=True, sent=False, retry_after=1e9)
            return await super().complete(request)

    async def asked() -> None:
        ledger = Ledger(tmp_path, "run-1", "c")
        caller = Caller(ledger, lambda: sent.append(clock.time), Stop(), clock)
        with pytest.raises(CallFailed):
            await caller.ask(Busy(), errand(tries=1))
        for _ in range(3):
            await caller.ask(Busy(), errand(tries=1))
        await ledger.close()

    asyncio.run(asked())
    assert sent == [0.0, 120.0, 120.0, 120.0]


def test_what_fails_for_good_holds_nothing(tmp_path: Path) -> None:
    clock, sent = Quick(), []

    def refused(_: Request) -> str:
        raise CallFailed("400", transient=False, sent=False, retry_after=60)

    async def asked() -> None:
        ledger = Ledger(tmp_path, "run-1", "c")
        caller = Caller(ledger, lambda: sent.append(clock.time), Stop(), clock)
        for _ in range(2):
            with pytest.raises(CallFailed):
                await caller.ask(ScriptedModel(refused), errand())
        await ledger.close()

    asyncio.run(asked())
    assert sent == [0.0, 0.0]
