"""Planning in one pool: what a cohort asks for, read and compiled, and set against what exists.

Promises: nothing is written but a cache; and one plan sees one state of the files that it is read from, however they
are edited meanwhile.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genpool.claims import claimed
from genpool.compiler import Selection, compile_spec
from genpool.drift import PARENT, among, find_drift, read_accepted, sources_now, text_diff
from genpool.errors import NotFound, nearest
from genpool.estimate import Estimate, estimate, estimate_again, lengths_in
from genpool.from_reader import Ranking
from genpool.inputs import Inputs
from genpool.lineage import plan_roots
from genpool.migration.waiting import refuse_while_half_done
from genpool.planner import Drift, Plan, make_plan
from genpool.present import Present, as_configured
from genpool.roots import RootFinder
from genpool.scores import axes_of
from genpool.spec import CohortSpec, parse_spec, read_spec
from genpool.tables import generation_scores, top_texts
from genpool.trial import try_templates

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    import polars as pl

    from genpool.catalog import Catalog
    from genpool.config import PoolConfig
    from genpool.directory_store import DirectoryStore
    from genpool.layout import PoolLayout
    from genpool.removal import Task
    from genpool.stages import Stage
    from genpool.typed_ids import TypedIds


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a cohort wants; its templates are known to render."""

    spec: CohortSpec
    selection: Selection
    inputs: Inputs
    """What both were read with."""


class Planning:
    """What plans in one pool.

    Args:
        layout: The pool's paths.
        config: The pool's configuration.
        store: The pool's store.
        open_catalog: Opens its index, to be closed by the caller.
        typed_ids: Says which generation a typed id means.
        scores: Gives a row a judgement of some cohorts.
    """

    def __init__(
        self,
        layout: PoolLayout,
        config: PoolConfig,
        store: DirectoryStore,
        open_catalog: Callable[[], Catalog],
        typed_ids: TypedIds,
        scores: Callable[[Sequence[str]], pl.DataFrame],
    ) -> None:
        self._layout = layout
        self._config = config
        self._store = store
        self._open_catalog = open_catalog
        self._typed_ids = typed_ids
        self._scores = scores

    # -- what is wanted ----------------------------------------------------------------------------

    def spec(self, cohort_id: str, inputs: Inputs, *, refresh: bool = False) -> CohortSpec:
        """Read a cohort's spec; see `Pool.spec`."""
        find_roots = RootFinder(self._layout, self._config.pipeline, self._present, self._best, refresh=refresh)
        return read_spec(cohort_id, self._config, inputs, find_roots)

    def wanted(self, cohort_id: str, *, refresh: bool = False) -> Wanted:
        """Return what a cohort wants; for arguments and errors see `Pool.plan`."""
        inputs = Inputs(self._layout)
        return self._compiled(self.spec(cohort_id, inputs, refresh=refresh), inputs)

    def _compiled(self, spec: CohortSpec, inputs: Inputs) -> Wanted:
        selection = compile_spec(spec, inputs.template)
        inputs.book.new(selection.combos)  # one id for two things is refused before anything is made of it
        try_templates(selection, inputs, self._config.pipeline)
        return Wanted(spec, selection, inputs)

    def _present(self, stage: Stage) -> Present:
        with closing(self._open_catalog()) as catalog:
            return catalog.present(stage)

    def _best(self, stage: Stage, cohort_ids: Sequence[str], number: int, by: str) -> Ranking:
        """Return the best texts of a stage in some cohorts, by the judgements that are in them."""
        import polars as pl

        judgements = self._scores(cohort_ids).filter(pl.col("judged_stage") == stage.name)
        best = top_texts(generation_scores(judgements, axes_of(self._config.pipeline)), number, by)
        return Ranking(tuple(best.frame["judged_gen_id"]), best.notes)

    # -- set against what exists -------------------------------------------------------------------

    def plan(self, cohort_id: str, *, retry_exhausted: bool = False, refresh: bool = False) -> Plan:
        """Set what a cohort wants against what exists; see `Pool.plan`."""
        with self._catalog_ahead() as catalog:
            return self._planned(self.wanted(cohort_id, refresh=refresh), catalog, retry_exhausted=retry_exhausted)

    def plan_text(self, cohort_id: str, text: str, file: str) -> Plan:
        """Plan a spec that is none of the pool's files; see `Pool.plan_text`."""
        inputs = Inputs(self._layout)
        return self.against_present(self._compiled(parse_spec(cohort_id, text, file, self._config, inputs), inputs))

    def against_present(self, wanted: Wanted, *, retry_exhausted: bool = False) -> Plan:
        """Set what is wanted against what exists now."""
        with self._catalog_ahead() as catalog:
            return self._planned(wanted, catalog, retry_exhausted=retry_exhausted)

    @contextmanager
    def _catalog_ahead(self) -> Iterator[Catalog]:
        """Open the catalog, which begins to read what a plan will ask it.

        Raises:
            PoolBusy: A migration was interrupted: half of it is no ground to plan on.
        """
        refuse_while_half_done(self._layout)
        with closing(self._open_catalog()) as catalog:
            catalog.read_ahead()
            yield catalog

    def _planned(self, wanted: Wanted, catalog: Catalog, *, retry_exhausted: bool) -> Plan:
        def present(stage: Stage) -> Present:
            return as_configured(stage, catalog.on_shelf(stage))

        roots, pipeline = wanted.selection.roots, self._config.pipeline
        plan = make_plan(
            wanted.spec.cohort_id,
            wanted.selection,
            self._config,
            self._store,
            present,
            lineage=plan_roots(roots, pipeline, present, catalog.signatures) if roots else (),
            retry_exhausted=retry_exhausted,
        )
        drift = find_drift(plan, self._config, wanted.inputs, catalog, read_accepted(self._layout))
        return plan.with_present(drift, lambda stage, ids: claimed(self._layout, stage.name, ids))

    # -- what drifted ------------------------------------------------------------------------------

    def drift_diffs(self, cohort_id: str) -> list[tuple[Drift, list[str]]]:
        """Return what drifted under a cohort's generations, each with a text diff of then and now."""
        wanted = self.wanted(cohort_id)
        plan = self.against_present(wanted)
        now = sources_now(plan, self._config, wanted.inputs)
        return [(one, [] if one.kind == PARENT else text_diff(one, now, self._store.source)) for one in plan.drift]

    def drifted(self, cohort_id: str, names: Collection[tuple[str, str]] | None) -> tuple[list[Drift], list[Task]]:
        """Return what drifted under a cohort's generations, of what is named, and the tasks that it drifted under.

        Args:
            cohort_id: The cohort.
            names: Kind and name; None for everything. A parent may be named by an id that it had before a migration.

        Raises:
            NotFound: Nothing drifted under one of the names.
        """
        plan = self.plan(cohort_id)
        if names is not None:
            names = [self._drifted_name(plan, *one) for one in names]
        chosen = among(plan.drift, names)
        drifted = {gen_id for one in chosen for gen_id in one.gen_ids}
        return chosen, [
            (part.stage.name, gen_id) for part in plan.stages for gen_id in drifted.intersection(part.gen_ids)
        ]

    def _drifted_name(self, plan: Plan, kind: str, name: str) -> tuple[str, str]:
        """Return a name that something drifted under; a mistyped one is never taken for one that is in order."""
        key = kind, self._typed_ids.present(name) if kind == PARENT else name
        drifted = {(one.kind, one.name): f"{one.kind}={one.name}" for one in plan.drift}
        if key not in drifted:
            hint = nearest(f"{kind}={name}", drifted.values()) or "nothing drifted under it"
            raise NotFound(f"nothing of cohort {plan.cohort_id!r} drifted under {kind}={name}", hint=hint)
        return key

    # -- what it will take -------------------------------------------------------------------------

    def estimate(self, plan: Plan) -> Estimate:
        """Return what the calls of a plan will take: tokens and cost, low, expected and high."""
        with closing(self._open_catalog()) as catalog:
            return estimate(plan, self._config, Inputs(self._layout), catalog.usage, lengths_in(self._store))

    def estimate_again(self, tasks: Collection[Task]) -> Estimate:
        """Return what making generations again will take, which are there now."""
        with closing(self._open_catalog()) as catalog:
            return estimate_again(tasks, catalog, self._config, Inputs(self._layout), lengths_in(self._store))
