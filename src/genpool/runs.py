"""Runs in one pool: a cohort planned, adopted and carried out, beside whatever other runs do.

Promise: what refuses a run (the file system, a lock, a spec, drift, a task that is none) does so before anything is
written or bought.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genpool.adoption import adopt, record_slots
from genpool.aliases import read_aliases
from genpool.catalog_follower import following
from genpool.errors import Drifted
from genpool.locks import pool_lock
from genpool.migration.waiting import refuse_while_half_done
from genpool.mounts import check_file_system
from genpool.only import restrict
from genpool.trash import refuse_while_open

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from genpool.config import PoolConfig
    from genpool.directory_store import DirectoryStore
    from genpool.execution import RunOptions
    from genpool.manifests import Manifests
    from genpool.planner import Plan
    from genpool.planning import Planning
    from genpool.runner import Runner, RunReport


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is asked before a run may begin, and what it is narrowed to."""

    on_drift: str
    """`reuse` what drifted, or `fail` before anything is made."""
    only: str | os.PathLike[str] | None
    """A file of tasks: only these, and what they start from, are made; None for all."""
    refresh: bool
    """Whether a query under `from:` is resolved anew, whatever was adopted."""
    any_file_system: bool
    """Whether to go on where locks may not hold."""


class Runs:
    """What runs cohorts of one pool.

    Args:
        config: The pool's configuration.
        store: The pool's store; it must have no open session.
        planning: What plans in the pool.
        manifests: The manifests of its cohorts.
    """

    def __init__(self, config: PoolConfig, store: DirectoryStore, planning: Planning, manifests: Manifests) -> None:
        self._layout = store.layout
        self._config = config
        self._store = store
        self._planning = planning
        self._manifests = manifests

    async def run(self, cohort_id: str, options: RunOptions, bounds: Bounds) -> RunReport:
        """Make what a cohort lacks, and adopt the plan as its membership; see `Pool.arun`."""
        from genpool.execution import execute  # brings asyncio's machinery: only when something is made

        wanted = self._planning.wanted(cohort_id, refresh=bounds.refresh)
        if not bounds.any_file_system:
            check_file_system(self._layout)
        with pool_lock(self._layout, f"genpool run {cohort_id}"):
            refuse_while_open(self._layout)
            refuse_while_half_done(self._layout)

            def planned() -> Plan:
                plan = self._planning.against_present(wanted, retry_exhausted=options.retry_exhausted)
                return self._narrowed(plan, bounds)

            plan = record_slots(self._layout, planned(), planned)
            adopt(self._layout, wanted.spec, plan, wanted.inputs, self._config.models)
            with following(self._store, self._config.pipeline):
                report = await execute(plan, self._config, self._store, wanted.inputs, options)
            if not report.interrupted:  # who wants to leave is not kept waiting for a cache
                self._manifests.keep_up(cohort_id)
            return report

    def _narrowed(self, plan: Plan, bounds: Bounds) -> Plan:
        """Return the part of a plan that a run is to make; nothing was written yet."""
        if plan.drift and bounds.on_drift == "fail":
            name = plan.cohort_id
            raise Drifted(
                f"cohort {name!r}: {len(plan.drift)} of its names changed their meaning since texts were made",
                hint=f"`genpool drift show {name}` shows what; `genpool drift accept {name}` accepts it",
            )
        if bounds.only is None:
            return plan
        return restrict(plan, Path(bounds.only), self._config.salt, read_aliases(self._layout))


def on_start(busy: Callable[[], None], started: Callable[[Runner], None] | None) -> Callable[[Runner], None]:
    """Return what a run calls once it has its runner: `busy`, and whoever else is to be given the runner."""

    def begun(runner: Runner) -> None:
        busy()
        if started is not None:
            started(runner)

    return begun
