"""Pool: a user's way in from Python.

from genpool.pool import Pool

pool = Pool.open("my-pool")
plan = pool.plan("demo")          # writes nothing but a cache
report = pool.run("demo")         # makes what is missing
pool.scope("demo").counts()       # asks about the cohort
"""

from __future__ import annotations

from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genpool.catalog import Catalog
from genpool.config import PoolConfig, find_root, read_config
from genpool.directory_store import DirectoryStore
from genpool.finding import Listing, Matches, each_matching
from genpool.gen_ids import gen_id
from genpool.layout import PoolLayout
from genpool.manifests import Manifests
from genpool.membership import cohort_ids, misnamed_cohorts
from genpool.pool_scope import JointScope, PoolScope
from genpool.pool_upkeep import PoolUpkeep
from genpool.scope import CohortScope
from genpool.scores import aggregated_scores
from genpool.typed_ids import TypedIds

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import polars as pl

    from genpool.estimate import Estimate
    from genpool.inputs import Inputs
    from genpool.llm.client import ModelClient
    from genpool.planner import Drift, Plan
    from genpool.planning import Planning
    from genpool.records import Record
    from genpool.runner import Runner, RunReport, Watcher
    from genpool.runs import Runs
    from genpool.scores import Judged
    from genpool.signatures import Signature
    from genpool.spec import CohortSpec
    from genpool.stages import Stage
    from genpool.store import Attempt
    from genpool.why import Why


class Pool(PoolUpkeep):
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
        self.reading: Callable[[int, int], None] | None = None
        """Told how many records of how many were read, while the catalog reads many."""
        self._typed_ids = TypedIds(self.layout, self.config.pipeline, self.store, self.catalog)

    # What only some commands need is imported where it is needed: a question is answered sooner.

    @cached_property
    def _planning(self) -> Planning:
        from genpool.planning import Planning

        parts = self.layout, self.config, self.store, self.catalog, self._typed_ids
        return Planning(*parts, lambda cohorts: self.scores(*cohorts))

    @cached_property
    def _runs(self) -> Runs:
        from genpool.runs import Runs

        return Runs(self.config, self.store, self._planning, self.manifests)

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
        return cls(find_root(root))

    @classmethod
    def init(cls, root: str | os.PathLike[str], *, example: bool = False) -> Pool:
        """Make a new pool in a directory that is new or empty.

        Args:
            root: The directory.
            example: Whether to fill it with the example: concepts, templates, a cohort.

        Raises:
            StorageFailed: The directory is not empty, is a file, or cannot be written.
        """
        from genpool.new_pool import make_pool

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
        from genpool.inputs import Inputs

        return Inputs(self.layout)

    def cohort_ids(self) -> list[str]:
        """Return the names of the pool's cohorts, sorted."""
        return list(cohort_ids(self.layout))

    def misnamed_cohorts(self) -> list[str]:
        """Return the names of folders under cohorts/ that hold a spec or a membership and that no cohort can have."""
        return list(misnamed_cohorts(self.layout))

    # -- planning ----------------------------------------------------------------------------------

    def spec(self, cohort_id: str) -> CohortSpec:
        """Read a cohort's spec.

        Raises:
            InvalidSpec: It is not usable; every problem is listed.
        """
        return self._planning.spec(cohort_id, self.inputs)

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
        return self._planning.plan(cohort_id, retry_exhausted=retry_exhausted, refresh=refresh)

    def plan_text(self, cohort_id: str, text: str, file: str) -> Plan:
        """Plan a spec that is none of the pool's files, as `plan` does; `file` is what problems call it."""
        return self._planning.plan_text(cohort_id, text, file)

    def estimate(self, plan: Plan) -> Estimate:
        """Return what the calls of a plan will take: tokens and cost, low, expected and high."""
        return self._planning.estimate(plan)

    def catalog(self) -> Catalog:
        """Return the index of the store; the caller closes it."""
        return Catalog(self.layout, self.config.pipeline, self.store, self.reading)

    # -- drift -------------------------------------------------------------------------------------

    def drift_diffs(self, cohort_id: str) -> list[tuple[Drift, list[str]]]:
        """Return what drifted under a cohort's generations, each with a text diff of then and now."""
        return self._planning.drift_diffs(cohort_id)

    def accept_drift(self, cohort_id: str, names: Collection[tuple[str, str]] | None = None) -> list[Drift]:
        """Note in drift.csv that a person accepts what drifted under a cohort's generations.

        Args:
            cohort_id: The cohort.
            names: Kind and name of what to accept (`("template", "draft/baseline")`); None for everything.

        Returns:
            What was accepted.

        Raises:
            NotFound: Nothing drifted under one of the names.
            StorageFailed: drift.csv cannot be written.
        """
        from genpool.drift import accept

        chosen, _ = self._planning.drifted(cohort_id, names)
        if chosen:
            accept(self.layout, chosen)
        return chosen

    # -- running -----------------------------------------------------------------------------------

    def run(self, cohort_id: str, *, started: Callable[[Runner], None] | None = None, **options: Any) -> RunReport:
        """Make what a cohort lacks; see `arun`. Not for use inside a running event loop.

        Raises:
            KeyboardInterrupt: Ctrl-C came. Running calls were given up; what had come was kept.
        """
        from genpool.interrupts import run_interruptible
        from genpool.runs import on_start

        return run_interruptible(lambda busy: self.arun(cohort_id, started=on_start(busy, started), **options))

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
        any_file_system: bool = False,
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
            any_file_system: Whether to go on where two runs at once may buy a task twice, for want of locks.

        Returns:
            What was done. Failures of single tasks are in it, not raised.

        Raises:
            UnsupportedPlatform: The pool is on a network file system, or on one without working locks.
            PoolBusy: A migration or another exclusive command holds the pool, or a removal was interrupted.
            InvalidSpec: The spec is not usable.
            InputError: A line of `only` is no task of the plan.
            Drifted: Something drifted, and `on_drift` is `fail`.
            StorageFailed: The pool cannot be written.
        """
        from genpool.execution import RunOptions
        from genpool.runs import Bounds

        options = RunOptions(models, watch, started, retry_exhausted)
        return await self._runs.run(cohort_id, options, Bounds(on_drift, only, refresh, any_file_system))

    @property
    def manifests(self) -> Manifests:
        """The manifests of the pool's cohorts: a cache of how their members stand."""
        return Manifests(self.layout, self.config.pipeline, self.config.salt, self.catalog)

    # -- asking ------------------------------------------------------------------------------------

    def scope(self, cohort_id: str) -> CohortScope:
        """Return the scope of a cohort: the way to ask about it, from its manifest where there is a good one.

        Raises:
            NotFound: The cohort has no membership; it was never run.
        """
        return CohortScope(self.layout, self.config.pipeline, self.store, self.catalog, cohort_id, self.config.salt)

    def wide_scope(self, cohort_ids: Sequence[str] = ()) -> Judged:
        """Return what tables are made from: one cohort, several together, or without any all that the pool holds.

        Raises:
            NotFound: A cohort has no membership; it was never run.
        """
        if not cohort_ids:
            return PoolScope(self.config.pipeline, self.store, self.catalog)
        scopes = [self.scope(one) for one in dict.fromkeys(cohort_ids)]
        return scopes[0] if len(scopes) == 1 else JointScope(scopes)

    def scores(self, *cohort_ids: str, reasons: bool = False) -> pl.DataFrame:
        """Return a row a judgement of some cohorts, or of the whole pool; see `genpool.scores.aggregated_scores`."""
        return aggregated_scores(self.wide_scope(cohort_ids), reasons=reasons)

    def matching(
        self,
        stage: str | None = None,
        *,
        where: Mapping[str, Iterable[str]] | None = None,
        origins: Collection[str] = (),
    ) -> Listing:
        """Return the generations of the pool that are asked for, whatever cohorts they are in, by stage and id.

        Args:
            stage: Only this stage's generations.
            where: Field to the levels of which it must have one; see `CohortScope.matching`.
            origins: Only what runs of these cohorts made.

        Raises:
            UsageError: No generation has such a field or level, or no cohort is named so.
            CorruptGeneration: The record of a generation that is asked for is damaged.
        """
        return self.each_matching(stage, where=where, origins=origins).listing()

    def each_matching(
        self,
        stage: str | None = None,
        *,
        where: Mapping[str, Iterable[str]] | None = None,
        origins: Collection[str] = (),
    ) -> Matches:
        """Return what `matching` does, each generation read when its turn comes; so do its errors of reading."""
        pipeline, store = self.config.pipeline, self.store
        return each_matching(self.layout, pipeline, store, self.catalog, stage=stage, where=where, origins=origins)

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
        from genpool.why import explain

        with closing(self.catalog()) as catalog:
            signature = self._typed_ids.signature(task, catalog)
            return explain(self.layout, catalog, self.config, self.store, signature)

    def children(self, record: Record) -> list[tuple[str, str]]:
        """Return stage and id of every generation that starts from one."""
        with closing(self.catalog()) as catalog:
            below = self.config.pipeline.children(record.stage)
            return [(stage.name, gen_id) for stage in below for gen_id in catalog.children(stage, record.gen_id)]

    def find_generation(self, gen_id: str) -> Record:
        """Return the record of a generation by its id, by one that it had before a migration, or by how one begins.

        Raises:
            NotFound: There is none, or more than one.
        """
        return self._typed_ids.generation(gen_id)

    def is_generation(self, beginning: str) -> bool:
        """Return whether anything that is kept as a generation has an id that begins so."""
        return self._typed_ids.is_generation(beginning)

    def find_attempts(self, gen_id: str) -> tuple[Stage, str, tuple[Attempt, ...]] | None:
        """Return stage, id and attempts of a task by its id or the only one that starts so; None where none were kept.

        Raises:
            NotFound: Attempts at several tasks were kept whose ids start so.
        """
        return self._typed_ids.attempts(gen_id)
