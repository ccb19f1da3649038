"""A call that fails: what is tried again, what is given up, and what the ledger says of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from genpool.calls import Places
from genpool.errors import CallFailed
from genpool.testing import ScriptedModel
from tests.small_pools import (
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

    from genpool.llm.client import Request
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
