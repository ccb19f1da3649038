"""Removals: one removal after another, planned and carried out in one pool, each with the pool to itself.

Promise: nothing is removed before what had been interrupted is finished, so a removal is never planned on half of
another.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from genpool.catalog_follower import note_removed
from genpool.errors import NotFound
from genpool.locks import pool_lock
from genpool.migration.waiting import refuse_while_open
from genpool.present import Present, as_configured
from genpool.removal import PURGE, REGENERATE, carried_out, plan_purge, plan_regeneration, read_holdings
from genpool.trash import finish_interrupted, throw_away, undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from genpool.catalog import Catalog
    from genpool.directory_store import DirectoryStore
    from genpool.layout import PoolLayout
    from genpool.planner import Drift
    from genpool.removal import Holdings, Removal, Task
    from genpool.stages import Pipeline, Stage
    from genpool.trash import Trashed


class Removals:
    """What removes from one pool.

    Args:
        layout: The pool's paths.
        pipeline: The pool's stages.
        store: The pool's store.
        open_catalog: Opens its index, to be closed by the caller.
    """

    def __init__(
        self, layout: PoolLayout, pipeline: Pipeline, store: DirectoryStore, open_catalog: Callable[[], Catalog]
    ) -> None:
        self._layout = layout
        self._pipeline = pipeline
        self._store = store
        self._open_catalog = open_catalog

    def plan_purge(self, cohort_id: str) -> Removal:
        """Return what purging a cohort would take away; see `Pool.plan_purge`."""
        return plan_purge(self._holdings(), self._layout.cohort(cohort_id).name)

    def plan_regeneration(self, cohort_id: str, drifted: Iterable[Task]) -> Removal:
        """Return what would go so that some generations of a cohort can be made anew. Writes nothing."""
        return plan_regeneration(self._holdings(), cohort_id, drifted)

    def purge(self, cohort_id: str) -> tuple[Removal, Trashed | None]:
        """Move a cohort, and what only it reaches, to the trash; see `Pool.purge`."""
        self._layout.cohort(cohort_id)  # a name that cannot be one is refused before anything is locked or finished
        with self._alone(f"genpool {PURGE} {cohort_id}") as finished:
            if before := carried_out(finished, PURGE, cohort_id):
                return before
            removal = self.plan_purge(cohort_id)
            return removal, self._throw_away(removal)

    def regenerate(
        self, cohort_id: str, planned: Callable[[], tuple[list[Drift], Removal]]
    ) -> tuple[list[Drift], Removal, Trashed | None]:
        """Move what drifted under a cohort, and what descends from it, to the trash; see `Pool.regenerate`.

        Args:
            cohort_id: The cohort.
            planned: Gives what drifted and what would go; called when nobody else uses the pool.

        Raises:
            NotFound: Nothing drifted under what is named, and nothing that was interrupted was finished.
        """
        self._layout.cohort(cohort_id)
        with self._alone(f"genpool {REGENERATE} {cohort_id}") as finished:
            try:
                drift, removal = planned()
            except NotFound:  # what it names has gone with what was interrupted
                if before := carried_out(finished, REGENERATE, cohort_id):
                    return [], *before
                raise
            if removal.is_empty and (before := carried_out(finished, REGENERATE, cohort_id)):
                return drift, *before
            return drift, removal, self._throw_away(removal)

    def undo(self, trash_id: str) -> Trashed:
        """Move everything of a removal back to where it was; see `Pool.undo_removal`."""
        self._layout.trashed(trash_id)  # a name that cannot be one is refused before anything is locked or finished
        with self._alone(f"genpool trash undo {trash_id}", but=trash_id):
            return undo(self._layout, trash_id)

    def finish_interrupted(self) -> list[Trashed]:
        """Finish the removals and undos that were interrupted; see `Pool.settle_trash`."""
        with self._alone("genpool trash") as finished:
            return finished

    def _throw_away(self, removal: Removal) -> Trashed | None:
        if removal.is_empty:
            return None
        return self._noted(throw_away(self._layout, removal.verb, removal.cohort, removal.paths(self._layout)))

    def _noted(self, one: Trashed) -> Trashed:
        """Drop from the catalog what a removal took away."""
        gone: dict[str, list[str]] = defaultdict(list)
        for path in one.moved:
            folder, *rest = path.split("/")
            if folder == self._layout.generations.name:
                gone[rest[0]].append(rest[1])
        note_removed(self._layout, self._pipeline, self._store.salt, gone)
        return one

    @contextmanager
    def _alone(self, verb: str, *, but: str | None = None) -> Iterator[list[Trashed]]:
        """Have the pool to oneself, with no removal half done (but for one that the caller goes on with).

        Gives what had been interrupted and is finished now.
        """
        with pool_lock(self._layout, verb, exclusive=True):
            refuse_while_open(self._layout)
            yield [self._noted(one) for one in finish_interrupted(self._layout, but=but)]

    def _holdings(self) -> Holdings:
        with closing(self._open_catalog()) as catalog:

            def present(stage: Stage) -> Present:
                return as_configured(stage, catalog.present(stage))

            return read_holdings(self._layout, self._pipeline, self._store, catalog, present)
