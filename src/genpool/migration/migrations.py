"""The migrations of one pool: planned, rehearsed, applied, verified, rolled back, closed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from genpool import trash
from genpool.config import read_config
from genpool.durable import READABLE, remove_folder, replace_file, storage_errors
from genpool.errors import CorruptFile, DoesNotFit, PoolError, UnsupportedFormat
from genpool.gen_ids import GENPOOL_1
from genpool.layout import PoolLayout
from genpool.locks import file_lock, pool_lock
from genpool.migration import journal as kinds
from genpool.migration.applying import begin, carry_on, check_fits, check_room, refuse_strict
from genpool.migration.identity import Change, Identity, Relabel
from genpool.migration.journal import last_journal
from genpool.migration.plan_file import Plan, read_plan, write_plan
from genpool.migration.planning import Planned, Planner
from genpool.migration.rehearsing import COPY, linked_copy
from genpool.migration.renames import FORK
from genpool.migration.rolling_back import roll_back
from genpool.migration.rounds import BATCH, Round, new_round
from genpool.migration.standing import Standing, all_standing, standing
from genpool.migration.verifying import Report, Verifier, write_report
from genpool.migration.waiting import busy, refuse_while_open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from genpool.gen_ids import Scheme


def _silent(_what: str, _done: int, _all: int) -> None:
    """Tell nobody."""


def _unwatched(_batch: dict[str, object]) -> None:
    """Watch nothing."""


class Migrations:
    """The migrations of one pool.

    Args:
        layout: The pool's paths.
        tell: Told what is being done, how much of it is done, and how much there is.
        watch: Given a JSON object for every batch that is done.
        schemes: The schemes that a plan may name.
        batch: Steps that share their flushes.
    """

    def __init__(
        self,
        layout: PoolLayout,
        *,
        tell: Callable[[str, int, int], None] = _silent,
        watch: Callable[[dict[str, object]], None] = _unwatched,
        schemes: Mapping[str, Scheme] | None = None,
        batch: int = BATCH,
    ) -> None:
        self._layout = layout
        self._tell = tell
        self._watch = watch
        self._schemes = {GENPOOL_1.name: GENPOOL_1, **(schemes or {})}
        self._batch = batch

    # -- planning ----------------------------------------------------------------------------------

    def plan(
        self,
        change: Change | None = None,
        configs: Mapping[str, bytes] | None = None,
        added: Mapping[str, bytes] | None = None,
    ) -> Planned:
        """Return what a migration would do. Writes nothing.

        Args:
            change: What changes beside the ids; left out, nothing does.
            configs: The pool.yaml `before` and `after`, where it changes.
            added: The files that the pool gets: path to content.

        Raises:
            PoolBusy: A migration or a removal was interrupted.
            CorruptFile: legacy.csv is damaged.
            StorageFailed: A folder or a file cannot be read, so that nobody knows what is there.
        """
        refuse_while_open(self._layout)
        with storage_errors("cannot plan a migration of what cannot be read", denied=READABLE):
            trash.refuse_while_open(self._layout)
            return Planner(self._layout, change or self._unchanged(), configs or {}, self._tell, added).plan()

    def _unchanged(self) -> Change:
        config = read_config(self._layout)
        identity = Identity(config.pipeline, config.salt)
        return Change(identity, identity)

    def write(self, planned: Planned, *, strict: bool = False) -> Plan:
        """Write a plan under migrations/.

        Raises:
            DoesNotFit: There is nothing to do.
            StorageFailed: The pool cannot be written.
        """
        if planned.is_empty:
            raise DoesNotFit("there is nothing to migrate: every id that can be recomputed is right")
        return write_plan(self._layout, planned, strict=strict)

    def rehearse(self, migration_id: str) -> Report:
        """Carry a plan out on a linked copy of the pool, verify it there, take it back there. The pool stays as it is.

        Returns:
            What the verification came to; what was not as before after the rollback is among its problems.

        Raises:
            PoolError: The plan no longer fits the pool.
            StorageFailed: The file system refused, or knows no hard links.
        """
        self._layout.migration(migration_id)
        plan = read_plan(self._layout, migration_id)
        with (
            file_lock(self._layout, f"rehearsal-{migration_id}", f"a rehearsal of {migration_id}", 0),
            linked_copy(self._layout, plan, self._tell) as copy,
        ):
            there = Migrations(copy, tell=self._tell, watch=self._watch, schemes=self._schemes, batch=self._batch)
            there.apply(migration_id)
            report = there.verify(migration_id)
            there.roll_back(migration_id)
            back = there.verify(migration_id)
            report.problems += [(path, f"after the rollback: {said}") for path, said in back.problems]
        with storage_errors("cannot keep the report of the rehearsal"):
            replace_file(self._layout.migration(migration_id) / "rehearsal.json", report.encode())
        return report

    # -- carrying out ------------------------------------------------------------------------------

    def apply(self, migration_id: str) -> Standing:
        """Apply a plan.

        Raises:
            PoolBusy: Somebody uses the pool, or another migration is open.
            PoolError: The plan no longer fits the pool, or it is strict and cannot be carried out whole.
            StorageFull: The disk is too full.
        """
        with self._alone(f"genpool migrate apply {migration_id}", migration_id):
            stands = standing(self._layout, migration_id)
            if stands.state in {kinds.APPLYING, kinds.ROLLING_BACK, kinds.APPLIED}:
                raise busy(migration_id, stands.state)
            if stands.state == kinds.CLOSED:
                raise PoolError(
                    f"{migration_id} was applied and closed", hint="`genpool migrate plan` makes a new plan"
                )
            trash.refuse_while_open(self._layout)
            one = self._round(migration_id, new_round(self._layout, migration_id))
            refuse_strict(one)
            with storage_errors("cannot compare the pool with its plan"):
                check_fits(one, self._tell)
                check_room(one)
            remove_folder(self._layout.migration(migration_id) / COPY)  # of a rehearsal that was killed
            begin(one)
            carry_on(one, self._tell, self._watch)
        return standing(self._layout, migration_id)

    def resume(self, migration_id: str) -> Standing:
        """Go on with what was interrupted: an apply, or a rollback.

        Raises:
            PoolBusy: Somebody uses the pool.
            DoesNotFit: Nothing was interrupted.
        """
        with self._alone(f"genpool migrate resume {migration_id}", migration_id):
            one = self._last_round(migration_id)
            state = one.journal.state if one else kinds.PLANNED
            if one is None or state not in {kinds.APPLYING, kinds.ROLLING_BACK}:
                raise DoesNotFit(f"{migration_id} is {state}: there is nothing to go on with")
            if state == kinds.APPLYING:
                check_room(one)
                carry_on(one, self._tell, self._watch)
            else:
                roll_back(one, self.change_of(one.plan), self._tell, self._watch)
        return standing(self._layout, migration_id)

    def roll_back(self, migration_id: str) -> Standing:
        """Take a migration back, an interrupted one too.

        Raises:
            PoolBusy: Somebody uses the pool.
            DoesNotFit: There is nothing to take back.
        """
        with self._alone(f"genpool migrate rollback {migration_id}", migration_id):
            one = self._last_round(migration_id)
            state = one.journal.state if one else kinds.PLANNED
            if one is None or state not in {kinds.APPLYING, kinds.APPLIED, kinds.ROLLING_BACK}:
                raise DoesNotFit(f"{migration_id} is {state}: there is nothing to take back")
            trash.refuse_while_open(self._layout)
            roll_back(one, self.change_of(one.plan), self._tell, self._watch)
        return standing(self._layout, migration_id)

    def verify(self, migration_id: str) -> Report:
        """Read everything again and set it against the plan; the report is kept.

        Of a migration that was rolled back it is verified that everything is as it was planned with.

        Raises:
            PoolBusy: Somebody uses the pool.
            StorageFailed: Something cannot be read for a reason that is not its own.
            DoesNotFit: It is not applied, nor rolled back.
        """
        with self._alone(f"genpool migrate verify {migration_id}", migration_id):
            one = self._last_round(migration_id)
            state = one.journal.state if one else kinds.PLANNED
            if one is None or state not in {kinds.APPLIED, kinds.ROLLED_BACK, kinds.CLOSED}:
                raise DoesNotFit(f"{migration_id} is {state}: only one that was carried out can be verified")
            with storage_errors("cannot verify the migration"):
                report = Verifier(one, self.change_of(one.plan), self._tell).verify()
            with storage_errors("cannot keep the report"):
                write_report(one, report)
        return report

    def close(self, migration_id: str, *, unverified: bool = False) -> Standing:
        """Drop the originals of an applied migration; mapping and reports stay.

        Args:
            migration_id: The migration.
            unverified: Whether it is closed also where no `verify` since has found everything as planned.

        Raises:
            PoolBusy: Somebody uses the pool.
            DoesNotFit: It is not applied, or not verified.
        """
        with self._alone(f"genpool migrate close {migration_id}", migration_id):
            one = self._last_round(migration_id)
            state = one.journal.state if one else kinds.PLANNED
            if one is None or state not in {kinds.APPLIED, kinds.CLOSED}:
                raise DoesNotFit(f"{migration_id} is {state}: only an applied one can be closed")
            if state == kinds.APPLIED and not unverified and not standing(self._layout, migration_id).verified:
                raise DoesNotFit(
                    f"{migration_id} is not verified, and once it is closed there is no way back",
                    hint=f"genpool migrate verify {migration_id}",
                )
            with storage_errors("cannot close the migration"):
                if state != kinds.CLOSED:
                    one.journal.add(kinds.CLOSED)
                for path in sorted(one.folder.iterdir()):
                    if path.name.startswith(("batch-", "since-")) or path.name == "aside":
                        remove_folder(path)
        return standing(self._layout, migration_id)

    # -- asking ------------------------------------------------------------------------------------

    def standing(self, migration_id: str) -> Standing:
        """Return how a migration stands."""
        return standing(self._layout, migration_id)

    def all(self) -> list[Standing]:
        """Return how every migration stands."""
        return all_standing(self._layout)

    # -- inside ------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self, verb: str, migration_id: str) -> Iterator[None]:
        self._layout.migration(migration_id)  # a name that cannot be one is refused before anything is locked
        standing(self._layout, migration_id)  # so is one that is not there
        with pool_lock(self._layout, verb, exclusive=True):
            refuse_while_open(self._layout, but=migration_id)
            yield

    def _last_round(self, migration_id: str) -> Round | None:
        _, folder, _ = last_journal(self._layout, migration_id)
        return None if folder is None else self._round(migration_id, folder)

    def _round(self, migration_id: str, folder: Path) -> Round:
        plan = read_plan(self._layout, migration_id)
        return Round(self._layout, plan, self.change_of(plan), folder, self._batch)

    def change_of(self, plan: Plan) -> Change:
        """Return what a plan changes.

        Raises:
            UnsupportedFormat: It names a scheme that this genpool does not know.
        """
        found = []
        for name, when in (("before", "now"), ("after", "target")):
            layout = self._layout
            if plan.configs:
                layout = PoolLayout(self._layout.migration(plan.migration_id) / name)
            config = read_config(layout)
            stated = plan.document[when]
            scheme = self._schemes.get(stated["id_scheme"])
            if scheme is None:
                raise UnsupportedFormat(f"{plan.migration_id}: id scheme {stated['id_scheme']!r} is not known")
            if config.salt != stated["salt"]:
                raise CorruptFile(f"{layout.config} has another salt than the plan of {plan.migration_id}")
            found.append(Identity(config.pipeline, config.salt, scheme))
        sets = {(one["stage"], one["field"]): one["value"] for one in plan.document["sets"]}
        return Change(found[0], found[1], sets, _relabel_of(plan))


def _relabel_of(plan: Plan) -> Relabel | None:
    """Return which level a fork gives to which generations; None for any other migration."""
    fork = plan.document.get("fork")
    if fork is None:
        return None
    chosen = frozenset(row.old_id for row in plan.rows if row.reason == FORK)
    return Relabel(fork["stage"], fork["field"], fork["was"], fork["becomes"], chosen)
