"""The account of everything bought: one append-only JSONL file a run, under ledger/.

An *intent* is on disk before a call is sent; a *settlement* says what became of it: `committed`,
`attempt`, `failed` (no answer was paid for, as far as anyone can know) or `unknown`. An intent
without a settlement was in flight when its process died. Lines that are written at the same time share
one flush. A *promotion* says that an attempt became a generation without a call (`genpool reparse`): what it
cost stands in the ledger of the run that bought it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import orjson

from genpool.durable import (
    closing_descriptor,
    flush_descriptor,
    flush_directory,
    make_directory,
    refuse_link,
    storage_errors,
    write_all,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from genpool.canonical import Json

FORMAT: Final = "genpool.ledger/1"
ENDING: Final = ".jsonl"
REPARSE: Final = "reparse-"
"""What the names of ledgers begin with that hold promotions; they hold no intents."""

_LONGEST: Final = 1 << 20  # bytes of a line: ours have some 300, and a damaged file need not have any line ends


def utc_now() -> str:
    """Return the time as RFC 3339 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that is about to be sent."""

    number: int
    """Its number within the run."""
    stage: str
    gen_id: str
    model: str
    """The pool's name of the model."""
    worst_price: float | None
    """The most that the call can cost; None where the model has no price."""


class Ledger:
    """The ledger of one run. Its file is this run's alone.

    Args:
        folder: The pool's ledger folder.
        run_id: The run.
        cohort_id: The cohort that the run is for; None where it is for the whole pool.
    """

    def __init__(self, folder: Path, run_id: str, cohort_id: str | None) -> None:
        self.path = folder / f"{run_id}{ENDING}"
        self._head = {
            "format": FORMAT,
            "run_id": run_id,
            "cohort_id": cohort_id,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "at": utc_now(),
        }
        self._descriptor: int | None = None
        self._opened = False
        self._count = 0
        self._pending: list[bytes] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def intend(self, stage: str, gen_id: str, model: str, worst_price: float | None) -> Intent:
        """Write an intent and return when it is on disk.

        Raises:
            StorageFailed: It could not be written; the call must not be sent.
        """
        self._count += 1
        intent = Intent(self._count, stage, gen_id, model, worst_price)
        await self._write(
            {
                "intent": intent.number,
                "stage": stage,
                "gen_id": gen_id,
                "model": model,
                "worst_price": worst_price,
                "at": utc_now(),
            }
        )
        return intent

    async def settle(self, intent: Intent, outcome: str, facts: Mapping[str, Json]) -> None:
        """Write what became of an intent.

        Args:
            intent: The intent.
            outcome: `committed`, `attempt`, `failed` or `unknown`.
            facts: What else is known: cost, tokens, reason.
        """
        await self._write(
            {"settled": intent.number, "gen_id": intent.gen_id, "outcome": outcome, **facts, "at": utc_now()}
        )

    def promote(self, stage: str, gen_id: str, attempt: int, run_id: str | None, bought_at: str | None) -> None:
        """Write that an attempt became a generation without a call; it is on disk when this returns.

        Args:
            stage: The task's stage.
            gen_id: The task.
            attempt: The attempt's number.
            run_id: The run that bought it.
            bought_at: When, as the attempt's record says.
        """
        entry = {"promoted": gen_id, "stage": stage, "attempt": attempt, "run_id": run_id, "bought_at": bought_at}
        self._append(orjson.dumps({**entry, "at": utc_now()}) + b"\n")

    async def close(self) -> None:
        """Flush what is pending and close the file."""
        if self._flusher is not None:
            await self._flusher
        self.close_file()

    def close_file(self) -> None:
        """Close the file, where nothing is pending."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def _write(self, entry: Mapping[str, Json]) -> None:
        done = asyncio.get_running_loop().create_future()
        self._pending.append(orjson.dumps(entry) + b"\n")
        self._waiting.append(done)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        """Write and flush what is pending until nothing is."""
        while self._pending:
            lines, self._pending = self._pending, []
            waiting, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._append, b"".join(lines))
            except Exception as error:  # noqa: BLE001 - handed to every writer that waits for this flush
                for one in waiting:
                    if not one.done():
                        one.set_exception(error)
            else:
                for one in waiting:
                    if not one.done():
                        one.set_result(None)

    def _append(self, data: bytes) -> None:
        with storage_errors(f"cannot write the ledger {self.path}"):
            if self._descriptor is None:
                self._open()
            assert self._descriptor is not None
            end = os.fstat(self._descriptor).st_size
            try:
                write_all(self._descriptor, data if end else orjson.dumps(self._head) + b"\n" + data)
                flush_descriptor(self._descriptor)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, end)  # a torn line would swallow the next one
                # after a flush that failed the descriptor proves nothing any more: the next line gets another
                os.close(self._descriptor)
                self._descriptor = None
                raise

    def _open(self) -> None:
        refuse_link(self.path.parent)
        make_directory(self.path.parent)
        once = 0 if self._opened else os.O_EXCL  # the file is this run's alone
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | once | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._opened = True
        flush_directory(self.path.parent)


@dataclass(frozen=True, slots=True)
class Damage:
    """A line of a ledger that cannot be read."""

    message: str
    torn: bool = False
    """Whether it is a last line without its end: what a crash leaves, or what is just being written."""


def ledger_lines(path: Path) -> Iterator[tuple[int, dict[str, Json] | Damage]]:
    """Yield the lines of a ledger, numbered from 1, one at a time however long the file is.

    Raises:
        StorageFailed: The file cannot be read, or is a link.
    """
    with storage_errors(f"cannot read the ledger {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with closing_descriptor(descriptor), os.fdopen(descriptor, "rb", closefd=False) as file:
            number = 0
            while line := file.readline(_LONGEST):
                number += 1
                whole = line.endswith(b"\n")
                if not whole and len(line) == _LONGEST:
                    yield number, Damage(f"a line of more than {_LONGEST:,} bytes; the rest of the file is not read")
                    return
                if line.strip():
                    yield number, _entry(line, whole=whole)


def _entry(line: bytes, *, whole: bool) -> dict[str, Json] | Damage:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Damage(f"not readable as JSON: {error}" if whole else "torn: the line has no end", torn=not whole)
    return entry if isinstance(entry, dict) else Damage("not a JSON object")


def read_ledger(path: Path) -> Iterator[dict[str, Json]]:
    """Yield the entries of one run's ledger, its head first; a line torn by a crash is left out."""
    for _, entry in ledger_lines(path):
        if isinstance(entry, dict):
            yield entry
