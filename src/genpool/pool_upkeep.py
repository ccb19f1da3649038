"""What a person does to a pool now and then: remove, take back, fork a template, examine, mend, audit, reparse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from genpool.audit import Spend
    from genpool.catalog import Catalog
    from genpool.config import PoolConfig
    from genpool.directory_store import DirectoryStore
    from genpool.doctor import Examination, Progress
    from genpool.inputs import Inputs
    from genpool.layout import PoolLayout
    from genpool.migration.forking import Fork
    from genpool.migration.verifying import Report
    from genpool.planner import Drift
    from genpool.planning import Planning
    from genpool.removal import Removal
    from genpool.removals import Removals
    from genpool.reparse import Reparse
    from genpool.trash import Trashed


class PoolUpkeep(ABC):
    """The part of a pool that keeps it in order; see `Pool`."""

    layout: PoolLayout
    config: PoolConfig
    store: DirectoryStore

    @abstractmethod
    def catalog(self) -> Catalog:
        """Return the index of the store; the caller closes it."""

    @abstractmethod
    def cohort_ids(self) -> list[str]:
        """Return the names of the pool's cohorts, sorted."""

    @property
    @abstractmethod
    def inputs(self) -> Inputs:
        """The pool's concepts, rows, combos and templates."""

    @cached_property
    @abstractmethod
    def _planning(self) -> Planning: ...

    @cached_property
    def _removals(self) -> Removals:
        from genpool.removals import Removals

        return Removals(self.layout, self.config.pipeline, self.store, self.catalog)

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
            NotFound, CorruptFile: As of `plan_purge`.
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

        Raises:
            NotFound: Nothing drifted under one of the names.
        """
        chosen, tasks = self._planning.drifted(cohort_id, names)
        return chosen, self._priced(self._removals.plan_regeneration(cohort_id, tasks))

    def _priced(self, removal: Removal) -> Removal:
        return replace(removal, again=self._planning.estimate_again(removal.goes))

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
        from genpool.migration.forking import Fork, only_one, planned_fork

        drift = only_one(self._planning.drifted(cohort_id, names)[0], then)
        if drift is None:
            return None
        target, planned = planned_fork(self.layout, self.config, drift, new_name, self.store.source)
        return Fork(target, planned, self._priced(self._removals.plan_regeneration(cohort_id, target.tasks)))

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
        from genpool.migration.forking import carried_out

        return carried_out(self.layout, fork, tell or (lambda _what, _done, _all: None))

    def trash(self) -> list[Trashed]:
        """Return every removal, oldest first. Writes nothing."""
        from genpool.trash import read_trash

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
        from genpool.doctor import examine

        return examine(self.layout, self.config.pipeline, self.store, progress, processes)

    def mend(self, progress: Progress | None = None, processes: int = 1) -> Examination:
        """Examine the pool, and mend what can be without losing anything; for arguments see `examine`.

        Returns:
            What was found; what was mended says so.

        Raises:
            PoolBusy: Somebody else uses the pool.
            StorageFailed: The file system refused.
        """
        from genpool.doctor import mend

        return mend(self.layout, self.config.pipeline, self.store, progress, processes)

    # -- what was bought ---------------------------------------------------------------------------

    def audit(self, cohort_id: str | None = None, since: datetime | None = None) -> Spend:
        """Return what was bought, by the ledgers; for arguments and errors see `audit_spend`. Writes nothing."""
        from genpool.audit import audit_spend

        return audit_spend(self.layout, self.cohort_ids(), cohort=cohort_id, since=since)

    def reparse(self, cohort_id: str | None = None, stage: str | None = None, *, apply: bool = False) -> Reparse:
        """Read unparseable attempts with the parsers of today; where `apply` is set, promote what can be read.

        For arguments and errors see `reparse_attempts`.
        """
        from genpool.reparse import reparse_attempts

        pipeline, store = self.config.pipeline, self.store
        return reparse_attempts(self.layout, pipeline, store, self.catalog, self.inputs, cohort_id, stage, apply=apply)
