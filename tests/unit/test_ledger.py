"""An intent is on disk before a call is sent, and what became of it behind it."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from genpool.errors import StorageFull
from genpool.ledger import Damage, Ledger, ledger_lines
from tests.small_pools import entries_of, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_an_intent_is_on_disk_when_it_returns_and_its_settlement_behind_it(tmp_path: Path) -> None:
    async def write() -> None:
        ledger = Ledger(tmp_path / "ledger", "run-1", "cohort-1")
        intent = await ledger.intend("draft", "d_1", "writer", 0.5)
        assert [line.get("intent") for line in entries_of(ledger.path)] == [None, 1]
        ledger.settle(intent, "committed", {"cost": 0.25})
        await ledger.close()
        head, meant, settled = entries_of(ledger.path)
        assert (head["format"], head["run_id"], head["cohort_id"]) == ("genpool.ledger/1", "run-1", "cohort-1")
        assert (meant["gen_id"], meant["stage"], meant["model"], meant["worst_price"]) == (
            "d_1",
            "draft",
            "writer",
            0.5,
        )
        assert (settled["settled"], settled["outcome"], settled["cost"]) == (1, "committed", 0.25)

    asyncio.run(write())


def test_intents_at_the_same_time_are_all_there_with_numbers_of_their_own(tmp_path: Path) -> None:
    async def write() -> None:
        ledger = Ledger(tmp_path, "run-1", "c")
        intents = await asyncio.gather(*(ledger.intend("draft", f"d_{n}", "writer", None) for n in range(200)))
        await ledger.close()
        assert [intent.number for intent in intents] == list(range(1, 201))
        assert [line["intent"] for line in entries_of(ledger.path)[1:]] == list(range(1, 201))

    asyncio.run(write())


def test_a_ledger_that_nothing_was_written_to_has_no_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", "run-1", "c")
    asyncio.run(ledger.close())
    assert not (tmp_path / "ledger").exists()


def test_a_ledger_is_never_written_over_another_runs(tmp_path: Path) -> None:
    (tmp_path / "run-1.jsonl").write_text("another's\n")

    async def write() -> None:
        ledger = Ledger(tmp_path, "run-1", "c")
        with pytest.raises(OSError, match="File exists"):
            await ledger.intend("draft", "d_1", "writer", None)
        await ledger.close()

    asyncio.run(write())
    assert (tmp_path / "run-1.jsonl").read_text() == "another's\n"


def test_a_line_torn_by_a_crash_is_told_from_the_entries(tmp_path: Path) -> None:
    path = tmp_path / "run-1.jsonl"
    path.write_bytes(b'{"format":"genpool.ledger/1"}\n{"intent":1}\n{"intent":2,"ge')
    *entries, torn = (entry for _, entry in ledger_lines(path))
    assert entries == [{"format": "genpool.ledger/1"}, {"intent": 1}]
    assert isinstance(torn, Damage)
    assert torn.torn


def test_a_writer_that_gives_up_does_not_keep_others_from_writing(tmp_path: Path) -> None:
    async def write() -> None:
        ledger = Ledger(tmp_path, "run-1", "c")
        first = asyncio.create_task(ledger.intend("draft", "d_1", "writer", None))
        second = asyncio.create_task(ledger.intend("draft", "d_2", "writer", None))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).gen_id == "d_2"
        await ledger.close()
        assert [line["gen_id"] for line in entries_of(ledger.path)[1:]] == ["d_1", "d_2"]

    asyncio.run(write())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    with small_disk(place, "64k"):
        yield place


def test_an_intent_that_did_not_fit_on_the_disk_swallows_no_later_one(disk: Path) -> None:
    (disk / "filler").write_bytes(b"x")

    async def write() -> None:
        ledger = Ledger(disk, "run-1", "c")
        await ledger.intend("draft", "d_1", "writer", None)
        fill(disk / "filler")
        with pytest.raises(StorageFull):
            await ledger.intend("draft", "d_2" + "x" * 5000, "writer", None)
        os.truncate(disk / "filler", 1)
        third = await ledger.intend("draft", "d_3", "writer", None)
        ledger.settle(third, "committed", {})
        await ledger.close()
        assert [entry.get("gen_id") for entry in entries_of(ledger.path)] == [None, "d_1", "d_3", "d_3"]

    asyncio.run(write())


def test_a_head_that_did_not_fit_on_the_disk_is_written_with_the_next_intent(disk: Path) -> None:
    async def write() -> None:
        ledger = Ledger(disk, "run-1", "c")
        (disk / "filler").write_bytes(b"x")
        fill(disk / "filler")
        with pytest.raises(StorageFull):
            await ledger.intend("draft", "d_1", "writer", None)
        os.truncate(disk / "filler", 1)
        await ledger.intend("draft", "d_2", "writer", None)
        await ledger.close()
        head, meant = entries_of(ledger.path)
        assert (head["run_id"], meant["gen_id"]) == ("run-1", "d_2")

    asyncio.run(write())


def fill(path: Path) -> None:
    """Let a file take what space there is."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
