"""Pool: a user's way in from Python.

from genpool.pool import Pool

pool = Pool.open("my-pool")
plan = pool.plan("demo")          # writes nothing but a cache
report = pool.run("demo")         # makes what is missing
pool.scope("demo").counts()       # asks about the cohort
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genpool.adoption import adopt, record_slots
from genpool.aliases import read_aliases
from genpool.audit import Spend, audit_spend
from genpool.catalog import Catalog
from genpool.catalog_follower import following
from genpool.claims import claimed
from genpool.compiler import Selection, compile_spec
from genpool.config import PoolConfig, find_root, read_config
from genpool.directory_store import DirectoryStore
from genpool.doctor import Examination, examine, mend
from genpool.drift import PARENT, accept, among, find_drift, read_accepted, sources_now, text_diff
from genpool.durable import is_there
from genpool.errors import Drifted
from genpool.estimate import Estimate, estimate, estimate_again, lengths_in
from genpool.finding import Listing, all_matching, beginning_with, find_attempts, find_generation
from genpool.from_reader import Ranking
from genpool.gen_ids import gen_id
from genpool.inputs import Inputs
from genpool.interrupts import run_interruptible
from genpool.layout import PoolLayout
from genpool.lineage import plan_roots
from genpool.locks import pool_lock
from genpool.manifests import Manifests
from genpool.membership import cohort_ids
from genpool.migration.waiting import refuse_while_half_done
from genpool.mounts import check_file_system
from genpool.new_pool import make_pool
from genpool.only import restrict
from genpool.planner import Drift, Plan, make_plan
from genpool.pool_scope import JointScope, PoolScope
from genpool.present import Present, as_configured
from genpool.removals import Removals
from genpool.reparse import Reparse, reparse_attempts
from genpool.roots import RootFinder
from genpool.scope import CohortScope
from genpool.scores import aggregated_scores, axes_of
from genpool.signatures import reference_problem
from genpool.spec import CohortSpec, parse_spec, read_spec
from genpool.tables import generation_scores, top_texts
from genpool.trash import Trashed, read_trash, refuse_while_open
from genpool.trial import try_templates
from genpool.why import Why, explain, signature_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from genpool.doctor import Progress
    from genpool.llm.client import ModelClient
    from genpool.migration.forking import Fork
    from genpool.migration.verifying import Report
    from genpool.records import Record
    from genpool.removal import Removal
    from genpool.runner import Runner, RunReport, Watcher
    from genpool.scores import Judged
    from genpool.signatures import Signature
    from genpool.stages import Stage
    from genpool.store import Attempt


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
        self.reading: Callable[[int, int], None] | None = None
        """Told how many records of how many were read, while the catalog reads many."""
        self._removals = Removals(self.layout, self.config.pipeline, self.store, self.catalog)

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
        find_roots = RootFinder(self.layout, self.config.pipeline, self._present, self._best, refresh=refresh)
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
        with self._catalog_ahead() as catalog:
            selection = self._selection(self._read(cohort_id, inputs, refresh=refresh), inputs)
            return self._planned(cohort_id, selection, inputs, catalog, retry_exhausted=retry_exhausted)

    def plan_text(self, cohort_id: str, text: str, file: str) -> Plan:
        """Plan a spec that is none of the pool's files, as `plan` does; `file` is what problems call it."""
        inputs = self.inputs
        spec = parse_spec(cohort_id, text, file, self.config, inputs)
        selection = self._selection(spec, inputs)
        with self._catalog_ahead() as catalog:
            return self._planned(cohort_id, selection, inputs, catalog, retry_exhausted=False)

    @contextmanager
    def _catalog_ahead(self) -> Iterator[Catalog]:
        """Open the catalog, which begins to read what a plan will ask it.

        Raises:
            PoolBusy: A migration was interrupted: half of it is no ground to plan on.
        """
        refuse_while_half_done(self.layout)
        with closing(self.catalog()) as catalog:
            catalog.read_ahead()
            yield catalog

    def _planned(
        self, cohort_id: str, selection: Selection, inputs: Inputs, catalog: Catalog, *, retry_exhausted: bool
    ) -> Plan:
        def present(stage: Stage) -> Present:
            return as_configured(stage, catalog.on_shelf(stage))

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
        drift = find_drift(plan, self.config, inputs, catalog, read_accepted(self.layout))
        return plan.with_present(drift, lambda stage, ids: claimed(self.layout, stage.name, ids))

    def estimate(self, plan: Plan) -> Estimate:
        """Return what the calls of a plan will take: tokens and cost, low, expected and high."""
        with closing(self.catalog()) as catalog:
            return estimate(plan, self.config, self.inputs, catalog.usage, lengths_in(self.store))

    def catalog(self) -> Catalog:
        """Return the index of the store; the caller closes it."""
        return Catalog(self.layout, self.config.pipeline, self.store, self.reading)

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
        with self._catalog_ahead() as catalog:
            plan = self._planned(cohort_id, selection, inputs, catalog, retry_exhausted=False)
        now = sources_now(plan, self.config, inputs)
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
        chosen = among(self.plan(cohort_id).drift, self._present_names(names))
        if chosen:
            accept(self.layout, chosen)
        return chosen

    def _present_names(self, names: Collection[tuple[str, str]] | None) -> Collection[tuple[str, str]] | None:
        """Return kinds and names in which parents are by their present ids."""
        if names is None:
            return None
        return [(kind, self._present_id(name) if kind == PARENT else name) for kind, name in names]

    # -- removing ----------------------------------------------------------------------------------

    def plan_purge(self, cohort_id: str) -> Removal:
        """Return what purging a cohort would take away, and what stays and why. Writes nothing.

        Raises:
            NotFound: There is no such cohort.
            CorruptFile: A cohort's membership cannot be read, so that nobody knows what it needs.
        """
        return self._removals.plan_purge(cohort_id)

    def purge(self, cohort_id: str) -> tuple[Removal, Trashed | None]:
        """Move a cohort, and what only it reaches, to the trash; or finish that, where it was interrupted.

        Returns:
            What went and what stayed, and the entry in the trash: None where nothing went.

        Raises:
            PoolBusy: Somebody else uses the pool.
            NotFound: There is no such cohort.
            CorruptFile: A cohort's membership cannot be read, so that nobody knows what it needs.
            StorageFailed: The file system refused.
        """
        return self._removals.purge(cohort_id)

    def plan_regeneration(
        self, cohort_id: str, names: Collection[tuple[str, str]] | None = None
    ) -> tuple[list[Drift], Removal]:
        """Return what drifted under a cohort, and what would go so that it can be made anew, priced. Writes nothing.

        Args:
            cohort_id: The cohort.
            names: Kind and name of what to make anew (`("template", "draft/baseline")`); None for everything.
        """
        plan = self.plan(cohort_id)
        chosen = among(plan.drift, self._present_names(names))
        drifted = {gen_id for one in chosen for gen_id in one.gen_ids}
        tasks = [(part.stage.name, gen_id) for part in plan.stages for gen_id in drifted.intersection(part.gen_ids)]
        removal = self._removals.plan_regeneration(cohort_id, tasks)
        with closing(self.catalog()) as catalog:
            again = estimate_again(removal.goes, catalog, self.config, self.inputs, lengths_in(self.store))
        return chosen, replace(removal, again=again)

    def regenerate(
        self, cohort_id: str, names: Collection[tuple[str, str]] | None = None
    ) -> tuple[list[Drift], Removal, Trashed | None]:
        """Move what drifted under a cohort, with all that descends from it in any cohort, to the trash.

        The slots are free then: the next run makes them anew. Where that was interrupted and nothing else drifted, it
        is finished. For arguments and errors see `plan_regeneration` and `purge`.
        """
        return self._removals.regenerate(cohort_id, lambda: self.plan_regeneration(cohort_id, names))

    def plan_fork(
        self,
        cohort_id: str,
        new_name: str,
        names: Collection[tuple[str, str]] | None = None,
        then: str | None = None,
    ) -> Fork | None:
        """Return what it takes that the text that a template had comes back under a new name. Writes nothing.

        Args:
            cohort_id: A cohort under which the template drifted.
            new_name: What the old text is called from now on.
            names: Kind and name of the template; None where only one thing drifted.
            then: How the fingerprint of the text begins, where the template had several.

        Returns:
            The fork; None where nothing of that drifted.

        Raises:
            UsageError: Several things are meant, or one that cannot be forked.
            InputError: The name is taken or cannot be one; no file gives the old text.
            PoolBusy: A migration or another fork is open.
        """
        from genpool.migration.forking import Fork, fork_target, only_one, refuse_left_behind
        from genpool.migration.migrations import Migrations

        migrations = Migrations(self.layout)
        drift = only_one(among(self.plan(cohort_id).drift, self._present_names(names)), then)
        if drift is None:
            return None
        target = fork_target(self.layout, self.config, drift, new_name, self.store.source)
        planned = migrations.plan(target.change, added={target.path: target.text})
        refuse_left_behind(planned)
        removal = self._removals.plan_regeneration(cohort_id, target.tasks)
        with closing(self.catalog()) as catalog:
            again = estimate_again(removal.goes, catalog, self.config, self.inputs, lengths_in(self.store))
        return Fork(target, planned, replace(removal, again=again))

    def fork(self, fork: Fork, tell: Callable[[str, int, int], None] | None = None) -> Report:
        """Carry a fork out: a migration that is applied and verified, and can be rolled back until it is closed.

        Args:
            fork: What `plan_fork` gave.
            tell: Told what is being done, how much of it is done, and how much there is.

        Raises:
            PoolBusy: Somebody uses the pool, or a migration is open.
            PoolError: The pool is not as it was when it was planned.
            StorageFailed: The file system refused.
        """
        from genpool.migration.migrations import Migrations

        migrations = Migrations(self.layout, tell=tell or (lambda _what, _done, _all: None))
        migration_id = migrations.write(fork.planned).migration_id
        migrations.apply(migration_id)
        return migrations.verify(migration_id)

    def trash(self) -> list[Trashed]:
        """Return every removal, oldest first. Writes nothing."""
        return read_trash(self.layout)

    def settle_trash(self) -> list[Trashed]:
        """Finish the removals and undos that were interrupted; return them.

        Raises:
            PoolBusy: Somebody else uses the pool.
            StorageFailed: The file system refused, or something is where an undo must put something back.
        """
        return self._removals.finish_interrupted()

    def undo_removal(self, trash_id: str) -> Trashed:
        """Move everything of a removal back to where it was.

        Raises:
            PoolBusy: Somebody else uses the pool.
            NotFound: There is no such removal, or it was undone before.
            StorageFailed: Something has taken a place since; nothing was changed.
        """
        return self._removals.undo(trash_id)

    # -- health ------------------------------------------------------------------------------------

    def examine(self, progress: Progress | None = None, processes: int = 1) -> Examination:
        """Read every file of the pool and say what is wrong. Writes nothing and takes no lock.

        Args:
            progress: Told what is being read, how much of it was, and of how much where that is known.
            processes: How many processes read at a time, where there are many generations. A program that asks for more
                than one is started by `if __name__ == "__main__":`, as `multiprocessing` demands.

        Raises:
            StorageFailed: One of these processes was killed from outside.
        """
        return examine(self.layout, self.config.pipeline, self.store, progress, processes)

    def mend(self, progress: Progress | None = None, processes: int = 1) -> Examination:
        """Examine the pool, and mend what can be without losing anything.

        Args:
            progress: As of `examine`.
            processes: As of `examine`.

        Returns:
            What was found; what was mended says so.

        Raises:
            PoolBusy: Somebody else uses the pool.
            StorageFailed: The file system refused.
        """
        with pool_lock(self.layout, "genpool doctor --fix", exclusive=True):
            refuse_while_half_done(self.layout)
            return mend(self.layout, self.config.pipeline, self.store, self.examine(progress, processes))

    # -- what was bought ---------------------------------------------------------------------------

    def audit(self, cohort_id: str | None = None, since: datetime | None = None) -> Spend:
        """Return what was bought, by the ledgers; for arguments and errors see `audit_spend`. Writes nothing."""
        return audit_spend(self.layout, self.cohort_ids(), cohort=cohort_id, since=since)

    def reparse(self, cohort_id: str | None = None, stage: str | None = None, *, apply: bool = False) -> Reparse:
        """Read unparseable attempts with the parsers of today; where `apply` is set, promote what can be read.

        For arguments and errors see `reparse_attempts`.
        """
        pipeline, store = self.config.pipeline, self.store
        with closing(self.catalog()) as catalog, following(self.store, pipeline):
            return reparse_attempts(self.layout, pipeline, store, catalog, self.inputs, cohort_id, stage, apply=apply)

    # -- running -----------------------------------------------------------------------------------

    def run(self, cohort_id: str, *, started: Callable[[Runner], None] | None = None, **options: Any) -> RunReport:
        """Make what a cohort lacks; see `arun`. Not for use inside a running event loop.

        Raises:
            KeyboardInterrupt: Ctrl-C came. Running calls were given up; what had come was kept.
        """

        def work(busy: Callable[[], None]) -> Coroutine[Any, Any, RunReport]:
            def begun(runner: Runner) -> None:
                busy()
                if started is not None:
                    started(runner)

            return self.arun(cohort_id, started=begun, **options)

        return run_interruptible(work)

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
        from genpool.execution import RunOptions, execute  # brings asyncio's machinery: only when something is made

        inputs = self.inputs
        spec = self._read(cohort_id, inputs, refresh=refresh)
        selection = self._selection(spec, inputs)
        if not any_file_system:
            check_file_system(self.layout)
        with pool_lock(self.layout, f"genpool run {cohort_id}"):
            refuse_while_open(self.layout)
            refuse_while_half_done(self.layout)

            def planned() -> Plan:
                with self._catalog_ahead() as catalog:
                    plan = self._planned(cohort_id, selection, inputs, catalog, retry_exhausted=retry_exhausted)
                return self._narrowed(plan, on_drift, only)

            plan = record_slots(self.layout, planned(), planned)
            adopt(self.layout, spec, plan, inputs, self.config.models)
            options = RunOptions(models, watch, started, retry_exhausted)
            with following(self.store, self.config.pipeline):
                report = await execute(plan, self.config, self.store, inputs, options)
            if not report.interrupted:  # who wants to leave is not kept waiting for a cache
                self.manifests.keep_up(cohort_id)
            return report

    def _narrowed(self, plan: Plan, on_drift: str, only: str | os.PathLike[str] | None) -> Plan:
        """Return the part of a plan that a run is to make; nothing was written yet."""
        if plan.drift and on_drift == "fail":
            name = plan.cohort_id
            raise Drifted(
                f"cohort {name!r}: {len(plan.drift)} of its names changed their meaning since texts were made",
                hint=f"`genpool drift show {name}` shows what; `genpool drift accept {name}` accepts it",
            )
        return plan if only is None else restrict(plan, Path(only), self.config.salt, read_aliases(self.layout))

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

    def _best(self, stage: Stage, cohort_ids: Sequence[str], number: int, by: str) -> Ranking:
        """Return the best texts of a stage in some cohorts, by the judgements that are in them."""
        import polars as pl

        judgements = self.scores(*cohort_ids).filter(pl.col("judged_stage") == stage.name)
        best = top_texts(generation_scores(judgements, axes_of(self.config.pipeline)), number, by)
        return Ranking(tuple(best.frame["judged_gen_id"]), best.notes)

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
        pipeline = self.config.pipeline
        asked = None if stage is None else pipeline[stage]
        with closing(self.catalog()) as catalog:
            known = self.cohort_ids()
            where = read_aliases(self.layout).conditions(where or {})
            return all_matching(pipeline, self.store, catalog, known, stage=asked, where=where, origins=origins)

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
        aliases = read_aliases(self.layout)
        with closing(self.catalog()) as catalog:
            if isinstance(task, str):
                signature = signature_of(self.layout, pipeline, catalog, self._present_id(task))
            else:
                signature = aliases.signature(task)
            return explain(self.layout, pipeline, catalog, self.config.salt, signature)

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
        return find_generation(self.config.pipeline, self.store, self.catalog, self._present_id(gen_id))

    def _present_id(self, typed: str) -> str:
        """Return the id that is meant: the typed one, or what it, or the only one that begins so, became.

        What bears an id comes before what had it; a whole id comes before the beginning of another.
        """
        aliases = read_aliases(self.layout)
        if not aliases or reference_problem(typed):
            return typed
        if any(is_there(self.layout.generation(stage.name, typed)) for stage in self.config.pipeline):
            return typed
        whole = {new for _, new in aliases.find(typed)}
        if len(whole) == 1:
            return whole.pop()
        now = None if self.is_generation(typed) else aliases.only(typed)
        return now[1] if now else typed

    def is_generation(self, beginning: str) -> bool:
        """Return whether anything that is kept as a generation has an id that begins so."""
        with closing(self.catalog()) as catalog:
            return any(beginning_with(catalog, stage, beginning, 1) for stage in self.config.pipeline)

    def find_attempts(self, gen_id: str) -> tuple[Stage, str, tuple[Attempt, ...]] | None:
        """Return stage, id and attempts of a task by its id or the only one that starts so; None where none were kept.

        Raises:
            NotFound: Attempts at several tasks were kept whose ids start so.
        """
        return find_attempts(self.config.pipeline, self.store, gen_id) or self._aliased_attempts(gen_id)

    def _aliased_attempts(self, gen_id: str) -> tuple[Stage, str, tuple[Attempt, ...]] | None:
        now = read_aliases(self.layout).only(gen_id)
        return find_attempts(self.config.pipeline, self.store, now[1]) if now else None
