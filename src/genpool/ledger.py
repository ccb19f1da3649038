"""The account of everything bought: one append-only JSONL file a run, under ledger/.

An *intent* is on disk before a call is sent; a *settlement* says what became of it: `committed`,
`attempt`, `failed` (no answer was paid for, as far as anyone can know) or `unknown`. An intent
without a settlement was in flight when its process died, or before it could say what became of it: then the
generation or the attempt says so. Lines that are written at the same time share one flush. A *promotion* says that an
attempt became a generation without a call (`genpool reparse`): what it cost stands in the ledger of the run that
bought it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

import orjson

from genpool.durable import (
    READABLE,
    closing_descriptor,
    flush_descriptor,
    flush_directory,
    make_directory,
    refuse_link,
    storage_errors,
    write_all,
)
from genpool.grouping import Grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from genpool.canonical import Json

FORMAT: Final = "genpool.ledger/1"
ENDING: Final = ".jsonl"
REPARSE: Final = "reparse-"
"""What the names of ledgers begin with that hold promotions; they hold no intents."""

_Line = tuple[bytes, "Mapping[str, Json]"]
"""A line, and what stands in it."""

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


class Gate(Protocol):
    """What decides which intents may be written: `genpool.budget.Budget`."""

    def passing(self, entries: Sequence[Mapping[str, Json]]) -> AbstractContextManager[Sequence[Exception | None]]:
        """Yield, for each entry, None or why it must not be written; those that may are written meanwhile."""
        ...


class Ledger:
    """The ledger of one run. Its file is this run's alone.

    Args:
        folder: The pool's ledger folder.
        run_id: The run.
        cohort_id: The cohort that the run is for; None where it is for the whole pool.
        gate: What decides which intents may be written; None where every one may.
    """

    def __init__(self, folder: Path, run_id: str, cohort_id: str | None, gate: Gate | None = None) -> None:
        self._gate = gate
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
        self._lines: Grouped[_Line, None] = Grouped(self._append_group)
        self._waiting: list[asyncio.Future[None]] = []
        self.settled = 0
        """How many settlements were written, or could not be."""
        self.failed = False
        """Whether a settlement could not be written; its intent stays open, which counts as spent."""

    async def intend(self, stage: str, gen_id: str, model: str, worst_price: float | None) -> Intent:
        """Write an intent and return when it is on disk.

        Raises:
            BudgetReached: The gate refused it; the call must not be sent.
            StorageFailed: It could not be written; the call must not be sent.
        """
        self._count += 1
        intent = Intent(self._count, stage, gen_id, model, worst_price)
        await self._send(
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

    def settle(self, intent: Intent, outcome: str, facts: Mapping[str, Json]) -> None:
        """Have it written what became of an intent; nobody needs to wait for that.

        Args:
            intent: The intent.
            outcome: `committed`, `attempt`, `failed` or `unknown`.
            facts: What else is known: cost, tokens, reason.
        """
        settled = {"settled": intent.number, "gen_id": intent.gen_id, "outcome": outcome, **facts, "at": utc_now()}
        self._send(settled).add_done_callback(self._note)

    def _note(self, written: asyncio.Future[None]) -> None:
        self.failed = self.failed or written.cancelled() or written.exception() is not None
        self.settled += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def settled_since(self, seen: int) -> None:
        """Return when more settlements were written than somebody saw in `settled`."""
        if self.settled == seen:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

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
        self._append([orjson.dumps({**entry, "at": utc_now()}) + b"\n"])

    async def close(self) -> None:
        """Flush what is pending and close the file."""
        await self._lines.drained()
        self.close_file()

    def close_file(self) -> None:
        """Close the file, where nothing is pending.

        Whatever the file system says of that, the descriptor is another's from now on.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):  # every line in it is flushed, or told as failed
                os.close(descriptor)

    def _send(self, entry: Mapping[str, Json]) -> asyncio.Future[None]:
        return self._lines.send((orjson.dumps(entry) + b"\n", entry))

    def _append_group(self, lines: Sequence[_Line]) -> Sequence[Exception | None]:
        if self._gate is None:
            self._append([line for line, _ in lines])
            return [None] * len(lines)
        with ExitStack() as gate:
            refused = gate.enter_context(self._gate.passing([entry for _, entry in lines]))
            # others may pass while ours are flushed: they see what is written
            self._append([line for (line, _), no in zip(lines, refused, strict=True) if no is None], gate.close)
        return refused

    def _append(self, lines: Sequence[bytes], written: Callable[[], None] = lambda: None) -> None:
        data = b"".join(lines)
        if not data:
            return
        with storage_errors(f"cannot write the ledger {self.path}"):
            if self._descriptor is None:
                self._open()
            assert self._descriptor is not None
            end = os.fstat(self._descriptor).st_size
            try:
                write_all(self._descriptor, data if end else orjson.dumps(self._head) + b"\n" + data)
                written()
                flush_descriptor(self._descriptor)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, end)  # a torn line would swallow the next one
                # after a flush that failed the descriptor proves nothing any more: the next line gets another
                self.close_file()
                raise

    def _open(self) -> None:
        refuse_link(self.path.parent)
        make_directory(self.path.parent)
        once = 0 if self._opened else os.O_EXCL  # the file is this run's alone
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | once | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._opened = True
        try:
            flush_directory(self.path.parent)
        except OSError:
            self.close_file()  # so that the next line flushes the entry again
            raise


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
    with storage_errors(f"cannot read the ledger {path}", denied=READABLE):
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
                    yield number, entry_of(line, whole=whole)


def entry_of(line: bytes, *, whole: bool = True) -> dict[str, Json] | Damage:
    """Return what a line of a ledger holds, or what is wrong with it: in the same words whoever reads it."""
    try:
        entry = orjson.loads(line.removesuffix(b"\n"))
    except orjson.JSONDecodeError as error:
        return Damage(f"not readable as JSON: {error}" if whole else "torn: the line has no end", torn=not whole)
    return entry if isinstance(entry, dict) else Damage("not a JSON object")
