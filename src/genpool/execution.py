"""Carrying a plan out: a session of the store, a ledger, clients, claims, and the runner that uses them."""

from __future__ import annotations

import resource
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from genpool.budget import Budget
from genpool.calls import Caller, Stop
from genpool.claims import Claims
from genpool.errors import StorageFailed
from genpool.ledger import Ledger
from genpool.runner import Runner, RunReport, Watcher, new_report, note_attempt, note_call, on_their_way
from genpool.writer import Books, TaskWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from genpool.config import PoolConfig
    from genpool.directory_store import DirectoryStore
    from genpool.inputs import Inputs
    from genpool.llm.client import ModelClient
    from genpool.llm.clients import Clients
    from genpool.planner import Plan

_FILES_EACH: Final = 3  # a claim, a connection, and what is being written
_FILES_BESIDE: Final = 256


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is to go."""

    models: Mapping[str, ModelClient] | None = None
    """Clients to use instead of the configured ones, by model id."""
    watch: Watcher | None = None
    """Told after every task."""
    started: Callable[[Runner], None] | None = None
    """Given the runner before it starts, to drain or abort it from a signal."""
    retry_exhausted: bool = False
    """Whether to try tasks beyond their model's limit of attempts again."""


async def execute(
    plan: Plan, config: PoolConfig, store: DirectoryStore, inputs: Inputs, options: RunOptions
) -> RunReport:
    """Make what a plan lacks.

    Args:
        plan: The plan, adopted; the caller holds the pool's lock.
        config: The pool's configuration.
        store: Where generations are kept; it must have no open session.
        inputs: What prompts are rendered from.
        options: How the run is to go.

    Raises:
        CorruptFile: The pool has a budget, and a ledger cannot be read.
        StorageFailed: The pool cannot be written, or the process may not open as many files as the run needs.
    """
    report = new_report(_new_run_id(), plan)
    if not plan.to_make:
        return report
    concurrency = {name: entry.concurrency for name, entry in config.models.items()}
    in_flight = min(sum(on_their_way(calls) for calls in concurrency.values()), plan.to_make)
    _allow_files(in_flight * _FILES_EACH + _FILES_BESIDE)
    stop = Stop()
    with store.session(in_flight):
        async with _open_writer(plan, config, store, inputs, report, options, stop) as writer:
            runner = Runner(plan, writer, Claims(store.layout), concurrency, report, stop, options.watch)
            if options.started is not None:
                options.started(runner)
            return await runner.run()


@asynccontextmanager
async def _open_writer(
    plan: Plan,
    config: PoolConfig,
    store: DirectoryStore,
    inputs: Inputs,
    report: RunReport,
    options: RunOptions,
    stop: Stop,
) -> AsyncIterator[TaskWriter]:
    """Open what a run writes with, and close it whatever happens."""
    from genpool.llm.clients import Clients  # brings the clients in: only when something is made

    def called() -> None:
        report.calls += 1

    budget = _budget(config, store, report)
    ledger = Ledger(store.layout.ledger, report.run_id, plan.cohort_id, budget)
    clients = Clients(config.models, store.layout.root, options.models)
    books = Books(
        answered=lambda *usage: note_call(report, *usage), attempted=lambda reason: note_attempt(report, reason)
    )
    writer = TaskWriter(
        plan,
        config,
        inputs,
        store,
        ledger,
        clients,
        report.run_id,
        Caller(ledger, called, stop),
        books,
        retry_exhausted=options.retry_exhausted,
    )
    try:
        yield writer
    finally:
        try:
            await _close(writer, clients, ledger, budget)
        finally:
            if ledger.failed and report.stopped_by is None:  # the last settlements: nothing was made after them
                report.stopped_by = StorageFailed(
                    "the disk is full or refused a write: the ledger does not say what became of the last calls",
                    hint="free some space; what was bought is kept, and `genpool audit spend` finds it",
                )


def _budget(config: PoolConfig, store: DirectoryStore, report: RunReport) -> Budget | None:
    """Open the pool's budget, if it has one."""
    if config.budget is None:
        return None
    priced = [name for name, entry in config.models.items() if entry.price is not None]
    return Budget(store.layout, config.budget, report.run_id, priced)


async def _close(writer: TaskWriter, clients: Clients, ledger: Ledger, budget: Budget | None) -> None:
    """Close what a run wrote with, the books last: what is still being kept is settled in them."""
    try:
        await writer.drained()
        await clients.aclose()
    finally:
        await ledger.close()
        if budget is not None:
            budget.close()


def _allow_files(needed: int) -> None:
    """Let this process have as many files open as a run needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StorageFailed(
            f"the run needs up to {needed:,} open files, and this process may have {hard:,}",
            hint="lower `concurrency` of the models in pool.yaml, or raise the limit (ulimit -Hn)",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _new_run_id() -> str:
    return f"run-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
