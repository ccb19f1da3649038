"""Generations committed a second, 1, 16 and 256 in flight, beside plain writes of the same files.

In flight means that so many tasks each wait for their own commit before they go on, as in a run: what comes while a
group is being flushed makes the next group.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from genpool.canonical import sha256
from genpool.directory_store import DirectoryStore
from genpool.gen_ids import gen_id
from genpool.grouping import Grouped
from genpool.layout import PoolLayout
from genpool.records import Record
from genpool.signatures import Signature
from genpool.stages import DEFAULT_PIPELINE
from genpool.store import Attempt, Generation, Output
from measure import best_of, print_table

COUNT = 1024
IN_FLIGHT = (1, 16, 256)
ROUNDS = 3
TEXTS = {"prompt": "a prompt " * 200, "raw": "an answer " * 150, "parsed": "an answer " * 150}


def generations() -> list[Generation]:
    """Return generations of the usual size."""
    made = []
    for number in range(1, COUNT + 1):
        fields = {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": number}
        signature = Signature.of(DEFAULT_PIPELINE["draft"], fields)
        prints = {name: sha256(text.encode()) for name, text in TEXTS.items()}
        call: dict[str, Any] = {"model": "m", "parameters": {"temperature": 0.8}, "seconds": 1.25}
        record = Record(
            signature, gen_id(signature), "bench", "run", "2026-01-01T00:00:00Z", "llm", prints, call, "text"
        )
        made.append(Generation(record, TEXTS))
    return made


def plain_writes(folder: Path, made: list[Generation], *, flush: bool) -> None:
    """Write the same files into new directories, in place."""
    for generation in made:
        directory = folder / generation.gen_id
        directory.mkdir(parents=True)
        files = {
            **{f"{name}.txt": text.encode() for name, text in generation.texts.items()},
            "metadata.json": generation.record.encode(),
        }
        for name, data in files.items():
            with (directory / name).open("wb") as file:
                file.write(data)
                if flush:
                    file.flush()
                    os.fsync(file.fileno())


def commits(folder: Path, made: list[Generation], in_flight: int) -> None:
    """Commit through the store as a run does."""
    store = DirectoryStore(PoolLayout(folder))

    async def worker(keeper: Grouped[Output, Attempt | None], mine: list[Generation]) -> None:
        for generation in mine:
            await keeper.send(Output(generation))

    async def everything() -> None:
        keeper: Grouped[Output, Attempt | None] = Grouped(store.keep)
        await asyncio.gather(*[worker(keeper, made[first::in_flight]) for first in range(in_flight)])

    with store.session(in_flight):
        asyncio.run(everything())


def main() -> None:
    """Print the table."""
    made = generations()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        count = iter(range(1_000_000))

        def fresh() -> Path:
            return Path(folder) / str(next(count))

        times = best_of(
            ROUNDS,
            {
                "plain writes, no flush": lambda: plain_writes(fresh(), made, flush=False),
                "plain writes, every file flushed": lambda: plain_writes(fresh(), made, flush=True),
                **{
                    f"commits, {number} in flight": lambda number=number: commits(fresh(), made, number)
                    for number in IN_FLIGHT
                },
                "records encoded only": lambda: [one.record.encode() for one in made],
            },
        )
    plain = times["plain writes, no flush"]
    rows = [
        [name, f"{seconds / COUNT * 1e3:.3f}", f"{COUNT / seconds:,.0f}", f"{plain / seconds:.2f}"]
        for name, seconds in times.items()
    ]
    print_table(
        f"{COUNT} generations of four files, each durable when its commit returns (best of {ROUNDS})",
        ["", "ms each", "a second", "of the unflushed rate"],
        rows,
    )


if __name__ == "__main__":
    main()
