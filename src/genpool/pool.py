"""Pool: a user's way in from Python.

from genpool.pool import Pool

pool = Pool.open("my-pool")
plan = pool.plan("demo")          # writes nothing but a cache
report = pool.run("demo")         # makes what is missing
pool.scope("demo").counts()       # asks about the cohort
"""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from genpool.catalog import Catalog, Present, as_configured
from genpool.compiler import Selection, compile_spec
from genpool.config import PoolConfig, read_config
from genpool.drift import PARENT, accepted_lines, find_drift, present_sources, read_accepted, text_diff
from genpool.durable import append_lines, storage_errors
from genpool.errors import Drifted, GenpoolError, NotAPool
from genpool.estimate import Estimate, estimate
from genpool.gen_ids import gen_id
from genpool.inputs import Inputs
from genpool.layout import PoolLayout
from genpool.ledger import Ledger, utc_now
from genpool.lineage import plan_roots
from genpool.locks import file_lock, pool_lock
from genpool.membership import adopt, cohort_ids, record_slots
from genpool.new_pool import POOL_FILE, make_pool
from genpool.only import restrict
from genpool.planner import Drift, Plan, make_plan
from genpool.removal import PURGE, REGENERATE, Removal, plan_purge, plan_regeneration, read_holdings
from genpool.roots import RootFinder
from genpool.scope import CohortScope, find_generation
from genpool.spec import CohortSpec, parse_spec, read_spec
from genpool.store import DirectoryStore
from genpool.trash import Trashed, read_trash, refuse_while_open, settle, throw_away, undo
from genpool.trial import try_templates
from genpool.why import Why, explain, signature_of
from genpool.writer import Books, TaskWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping

    from genpool.llm.client import ModelClient
    from genpool.records import Record
    from genpool.removal import Holdings
    from genpool.runner import Runner, RunReport, Watcher
    from genpool.signatures import Signature
    from genpool.stages import Stage
    from genpool.store import Attempt

ENVIRONMENT_POOL: Final = "GENPOOL_POOL"


class Pool:
    """One pool.

    Args:
        root: The pool's directory.

    Raises:
        NotAPool: It holds no pool.yaml.
        InvalidConfig: pool.yaml is not usable.
        UnsupportedFormat: A newer genpool wrote it.
    """

    def __init__(self, root: Path) -> None:
        self.layout = PoolLayout(root)
        self.config: PoolConfig = read_config(self.layout)
        self.store = DirectoryStore(self.layout, self.config.salt)

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Pool:
        """Open the pool in a directory."""
        return cls(Path(root))

    @classmethod
    def find(cls, root: str | os.PathLike[str] | None = None) -> Pool:
        """Open a pool: the one named, else GENPOOL_POOL, else the nearest at or above the current directory.

        Raises:
            NotAPool: There is none.
        """
        named = root or os.environ.get(ENVIRONMENT_POOL)
        if named:
            return cls.open(named)
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / POOL_FILE).is_file():
                return cls(folder)
        raise NotAPool(
            f"{here} is not in a pool: neither it nor a directory above has a {POOL_FILE}",
            hint="`genpool init DIR --example` makes one with an example; `--pool DIR` names one that is elsewhere",
        )

    @classmethod
    def init(cls, root: str | os.PathLike[str], *, example: bool = False) -> Pool:
        """Make a new pool in a directory that is new or empty.

        Args:
            root: The directory.
            example: Whether to fill it with the example: concepts, templates, a cohort.

        Raises:
            StorageFailed: The directory is not empty, is a file, or cannot be written.
        """
        target = Path(root)
        make_pool(target, example=example)
        return cls(target)

    @property
    def root(self) -> Path:
        """The pool's directory."""
        return self.layout.root

    @property
    def inputs(self) -> Inputs:
        """The pool's concepts, rows, combos and templates, read anew: they may have been edited since."""
        return Inputs(self.layout)

    def cohort_ids(self) -> list[str]:
        """Return the names of the pool's cohorts, sorted."""
        return list(cohort_ids(self.layout))

    # -- planning ----------------------------------------------------------------------------------

    def spec(self, cohort_id: str) -> CohortSpec:
        """Read a cohort's spec.

        Raises:
            InvalidSpec: It is not usable; every problem is listed.
        """
        return self._read(cohort_id, self.inputs)

    def _read(self, cohort_id: str, inputs: Inputs, *, refresh: bool = False) -> CohortSpec:
        find_roots = RootFinder(self.layout, self.config.pipeline, self._present, refresh=refresh)
        return read_spec(cohort_id, self.config, inputs, find_roots)

    def plan(self, cohort_id: str, *, retry_exhausted: bool = False, refresh: bool = False) -> Plan:
        """Set what a cohort wants against what exists. Writes nothing but a cache.

        Args:
            cohort_id: The cohort.
            retry_exhausted: Whether tasks beyond their model's limit of attempts are to be tried again.
            refresh: Whether a query under `from:` is resolved anew, whatever was adopted.

        Raises:
            InvalidSpec: The spec is not usable; every problem is listed.
            InvalidTemplate: A template cannot be rendered.
        """
        inputs = self.inputs
        selection = self._selection(self._read(cohort_id, inputs, refresh=refresh), inputs)
        return self._planned(cohort_id, selection, inputs, retry_exhausted=retry_exhausted)

    def plan_text(self, cohort_id: str, text: str, file: str) -> Plan:
        """Plan a spec that is none of the pool's files, as `plan` does; `file` is what problems call it."""
        inputs = self.inputs
        spec = parse_spec(cohort_id, text, file, self.config, inputs)
        return self._planned(cohort_id, self._selection(spec, inputs), inputs, retry_exhausted=False)

    def _planned(self, cohort_id: str, selection: Selection, inputs: Inputs, *, retry_exhausted: bool) -> Plan:
        with closing(self.catalog()) as catalog:

            def present(stage: Stage) -> Present:
                return as_configured(stage, catalog.present(stage))

            roots, pipeline = selection.roots, self.config.pipeline
            plan = make_plan(
                cohort_id,
                selection,
                self.config,
                self.store,
                present,
                lineage=plan_roots(roots, pipeline, present, catalog.signatures) if roots else (),
                retry_exhausted=retry_exhausted,
            )
            accepted = read_accepted(self.layout)
            drift = find_drift(plan, self.config, inputs, lru_cache(catalog.digest), accepted)
        return replace(plan, drift=tuple(drift))

    def estimate(self, plan: Plan) -> Estimate:
        """Return what the calls of a plan will take: tokens and cost, low, expected and high."""
        with closing(self.catalog()) as catalog:
            return estimate(plan, self.config, self.inputs, catalog.usage, self._lengths)

    def _lengths(self, stage: Stage, gen_ids: Collection[str]) -> list[int]:
        """Return how many bytes the texts of some generations have, without those that cannot be read."""
        found = []
        for one in gen_ids:
            with suppress(GenpoolError):
                found.append(len(self.store.text(self.store.record(stage, one)).encode()))
        return found

    def catalog(self) -> Catalog:
        """Return the index of the store; the caller closes it."""
        return Catalog(self.layout, self.config.pipeline, self.store)

    def _selection(self, spec: CohortSpec, inputs: Inputs) -> Selection:
        """Return what a spec selects; its templates are known to render."""
        selection = compile_spec(spec, inputs.template)
        inputs.book.new(selection.combos)  # one id for two things is refused before anything is made of it
        try_templates(selection, inputs, self.config.pipeline)
        return selection

    # -- drift -------------------------------------------------------------------------------------

    def drift_diffs(self, cohort_id: str) -> list[tuple[Drift, list[str]]]:
        """Return what drifted under a cohort's generations, each with a text diff of then and now."""
        inputs = self.inputs
        selection = self._selection(self._read(cohort_id, inputs), inputs)
        plan = self._planned(cohort_id, selection, inputs, retry_exhausted=False)
        now = present_sources(plan, self.config, inputs)
        return [(one, [] if one.kind == PARENT else text_diff(one, now, self.store.source)) for one in plan.drift]

    def accept_drift(self, cohort_id: str, names: Collection[tuple[str, str]] | None = None) -> list[Drift]:
        """Note in drift.csv that a person accepts what drifted under a cohort's generations.

        Args:
            cohort_id: The cohort.
            names: Kind and name of what to accept (`("template", "draft/baseline")`); None for everything.

        Returns:
            What was accepted.

        Raises:
            StorageFailed: drift.csv cannot be written.
        """
        plan = self.plan(cohort_id)
        chosen = [one for one in plan.drift if names is None or (one.kind, one.name) in names]
        if chosen:
            with file_lock(self.layout, "drift", "drift.csv"), storage_errors("cannot write drift.csv"):
                lines = accepted_lines(chosen, utc_now(), new=not self.layout.drift.exists())
                append_lines(self.layout.drift, lines)
        return chosen

    # -- removing ----------------------------------------------------------------------------------

    def plan_purge(self, cohort_id: str) -> Removal:
        """Return what purging a cohort would take away, and what stays and why. Writes nothing.

        Raises:
            NotFound: There is no such cohort.
            CorruptFile: A cohort's membership cannot be read, so that nobody knows what it needs.
        """
        return plan_purge(self._holdings(), self.layout.cohort(cohort_id).name)

    def purge(self, cohort_id: str) -> tuple[Removal, Trashed | None]:
        """Move a cohort, and what only it reaches, to the trash.

        Returns:
            What went and what stayed, and the entry in the trash: None where nothing went.

        Raises:
            PoolBusy: Somebody else uses the pool.
            NotFound: There is no such cohort.
            CorruptFile: A cohort's membership cannot be read, so that nobody knows what it needs.
            StorageFailed: The file system refused.
        """
        with self._removing(f"genpool {PURGE} {cohort_id}"):
            removal = self.plan_purge(cohort_id)
            return removal, self._throw_away(removal)

    def plan_regeneration(
        self, cohort_id: str, names: Collection[tuple[str, str]] | None = None
    ) -> tuple[list[Drift], Removal]:
        """Return what drifted under a cohort, and what would go so that it can be made anew. Writes nothing.

        Args:
            cohort_id: The cohort.
            names: Kind and name of what to make anew (`("template", "draft/baseline")`); None for everything.
        """
        plan = self.plan(cohort_id)
        chosen = [one for one in plan.drift if names is None or (one.kind, one.name) in names]
        drifted = {gen_id for one in chosen for gen_id in one.gen_ids}
        tasks = [(part.stage.name, gen_id) for part in plan.stages for gen_id in drifted.intersection(part.gen_ids)]
        return chosen, plan_regeneration(self._holdings(), cohort_id, tasks)

    def regenerate(
        self, cohort_id: str, names: Collection[tuple[str, str]] | None = None
    ) -> tuple[list[Drift], Removal, Trashed | None]:
        """Move what drifted under a cohort, with all that descends from it in any cohort, to the trash.

        The slots are free then: the next run makes them anew. For arguments and errors see `plan_regeneration`
        and `purge`.
        """
        with self._removing(f"genpool {REGENERATE} {cohort_id}"):
            drift, removal = self.plan_regeneration(cohort_id, names)
            return drift, removal, self._throw_away(removal)

    def _throw_away(self, removal: Removal) -> Trashed | None:
        if removal.is_empty:
            return None
        return throw_away(self.layout, removal.verb, removal.cohort, removal.paths(self.layout))

    @contextmanager
    def _removing(self, verb: str, *, but: str | None = None) -> Iterator[None]:
        """Have the pool to oneself, with no removal half done (but for one that the caller goes on with)."""
        with pool_lock(self.layout, verb, exclusive=True):
            settle(self.layout, but=but)
            yield

    def _holdings(self) -> Holdings:
        with closing(self.catalog()) as catalog:

            def present(stage: Stage) -> Present:
                return as_configured(stage, catalog.present(stage))

            return read_holdings(self.layout, self.config.pipeline, self.store, catalog, present)

    def trash(self) -> list[Trashed]:
        """Return every removal, oldest first. Writes nothing."""
        return read_trash(self.layout)

    def settle_trash(self) -> list[Trashed]:
        """Finish the removals and undos that were interrupted; return them.

        Raises:
            PoolBusy: Somebody else uses the pool.
            StorageFailed: The file system refused, or something is where an undo must put something back.
        """
        with pool_lock(self.layout, "genpool trash", exclusive=True):
            return settle(self.layout)

    def undo_removal(self, trash_id: str) -> Trashed:
        """Move everything of a removal back to where it was.

        Raises:
            PoolBusy: Somebody else uses the pool.
            NotFound: There is no such removal, or it was undone before.
            StorageFailed: Something has taken a place since; nothing was changed.
        """
        with self._removing(f"genpool trash undo {trash_id}", but=trash_id):
            return undo(self.layout, trash_id)

    # -- running -----------------------------------------------------------------------------------

    def run(self, cohort_id: str, **options: Any) -> RunReport:
        """Make what a cohort lacks; see `arun`. Not for use inside a running event loop."""
        return asyncio.run(self.arun(cohort_id, **options))

    async def arun(
        self,
        cohort_id: str,
        *,
        models: Mapping[str, ModelClient] | None = None,
        watch: Watcher | None = None,
        started: Callable[[Runner], None] | None = None,
        retry_exhausted: bool = False,
        on_drift: str = "reuse",
        only: str | os.PathLike[str] | None = None,
        refresh: bool = False,
    ) -> RunReport:
        """Make what a cohort lacks, and adopt the plan as its membership.

        Args:
            cohort_id: The cohort.
            models: Clients to use instead of the configured ones, by model id.
            watch: Told after every task.
            started: Given the runner before it starts, to drain or abort it from a signal.
            retry_exhausted: Whether to try tasks beyond their model's limit of attempts again.
            on_drift: `reuse` what drifted, with a warning in the report; or `fail` before anything is made.
            only: A file of tasks, as `genpool missing` prints them: only these, and what they start from, are made.
            refresh: Whether a query under `from:` is resolved anew, whatever was adopted.

        Returns:
            What was done. Failures of single tasks are in it, not raised.

        Raises:
            PoolBusy: A migration or another exclusive command holds the pool, or a removal was interrupted.
            InvalidSpec: The spec is not usable.
            InputError: A line of `only` is no task of the plan.
            Drifted: Something drifted, and `on_drift` is `fail`.
            StorageFailed: The pool cannot be written.
        """
        from genpool.runner import Runner, new_report

        inputs = self.inputs
        spec = self._read(cohort_id, inputs, refresh=refresh)
        selection = self._selection(spec, inputs)
        with pool_lock(self.layout, f"genpool run {cohort_id}"):
            refuse_while_open(self.layout)

            def planned() -> Plan:
                plan = self._planned(cohort_id, selection, inputs, retry_exhausted=retry_exhausted)
                return self._narrowed(plan, on_drift, only)

            plan = record_slots(self.layout, planned(), planned)
            adopt(self.layout, spec, plan, inputs, self.config.models)
            report = new_report(_new_run_id(), plan)
            if not plan.to_make:
                return report
            concurrency = {name: entry.concurrency for name, entry in self.config.models.items()}
            with self.store.session(in_flight=min(sum(concurrency.values()), plan.to_make)):
                async with _open_writer(self, inputs, plan, report, models) as writer:
                    writer.retry_exhausted = retry_exhausted
                    runner = Runner(plan, writer, concurrency, report, watch)
                    if started is not None:
                        started(runner)
                    return await runner.run()

    def _narrowed(self, plan: Plan, on_drift: str, only: str | os.PathLike[str] | None) -> Plan:
        """Return the part of a plan that a run is to make; nothing was written yet."""
        if plan.drift and on_drift == "fail":
            name = plan.cohort_id
            raise Drifted(
                f"cohort {name!r}: {len(plan.drift)} of its names changed their meaning since texts were made",
                hint=f"`genpool drift show {name}` shows what; `genpool drift accept {name}` accepts it",
            )
        return plan if only is None else restrict(plan, Path(only), self.config.salt)

    # -- asking ------------------------------------------------------------------------------------

    def scope(self, cohort_id: str) -> CohortScope:
        """Return the scope of a cohort: the way to ask about it.

        Raises:
            NotFound: The cohort has no membership; it was never run.
        """
        return CohortScope(self.layout, self.config.pipeline, self.store, self._present, cohort_id, self.config.salt)

    def _present(self, stage: Stage) -> Present:
        with closing(self.catalog()) as catalog:
            return catalog.present(stage)

    def gen_id(self, signature: Signature) -> str:
        """Return the deterministic id of a signature in this pool."""
        return gen_id(signature, self.config.salt)

    def why(self, task: Signature | str) -> Why:
        """Return why a task is reused or to be made.

        Args:
            task: Its signature; or the id of a generation, or of a missing member of some cohort.

        Raises:
            NotFound: The id is neither.
        """
        pipeline = self.config.pipeline
        with closing(self.catalog()) as catalog:
            signature = signature_of(self.layout, pipeline, catalog, task) if isinstance(task, str) else task
            return explain(self.layout, pipeline, catalog, self.config.salt, signature)

    def children(self, record: Record) -> list[tuple[str, str]]:
        """Return stage and id of every generation that starts from one."""
        with closing(self.catalog()) as catalog:
            below = self.config.pipeline.children(record.stage)
            return [(stage.name, gen_id) for stage in below for gen_id in catalog.children(stage, record.gen_id)]

    def find_generation(self, gen_id: str) -> Record:
        """Return the record of a generation by its id, or by the only id that starts so.

        Raises:
            NotFound: There is none, or more than one.
        """
        return find_generation(self.config.pipeline, self.store, gen_id)

    def find_attempts(self, gen_id: str) -> tuple[Stage, str, tuple[Attempt, ...]] | None:
        """Return stage, id and attempts of a task by its id or the beginning of it, or None where none were kept."""
        for stage in self.config.pipeline:
            for found in sorted(self.store.attempted(stage)):
                if gen_id and found.startswith(gen_id):
                    return stage, found, self.store.attempts(stage, found)
        return None


@asynccontextmanager
async def _open_writer(
    pool: Pool, inputs: Inputs, plan: Plan, report: RunReport, models: Mapping[str, ModelClient] | None
) -> AsyncIterator[TaskWriter]:
    """Open what a run writes with, and close it whatever happens."""
    from genpool.llm.clients import Clients
    from genpool.runner import note_attempt, note_call

    ledger = Ledger(pool.layout.ledger, report.run_id, plan.cohort_id)
    clients = Clients(pool.config.models, pool.root, models)
    books = Books(
        called=lambda: _count_call(report),
        answered=lambda *usage: note_call(report, *usage),
        attempted=lambda reason: note_attempt(report, reason),
    )
    try:
        yield TaskWriter(plan, pool.config, inputs, pool.store, ledger, clients, report.run_id, books)
    finally:
        await clients.aclose()
        await ledger.close()


def _count_call(report: RunReport) -> None:
    report.calls += 1


def _new_run_id() -> str:
    return f"run-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
