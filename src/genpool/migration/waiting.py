"""What must wait while a migration is open: runs, removals, another migration. Reads only journals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from genpool.errors import PoolBusy
from genpool.migration import journal as kinds
from genpool.migration.journal import last_journal
from genpool.migration.plan_file import migration_ids

if TYPE_CHECKING:
    from genpool.layout import PoolLayout

HALF_DONE: Final = frozenset({kinds.APPLYING, kinds.ROLLING_BACK})
"""States in which a part of the pool has new ids and a part has not."""
OPEN: Final = frozenset({*HALF_DONE, kinds.APPLIED})
"""States in which the originals are kept, so that a rollback is possible."""


def refuse_while_half_done(layout: PoolLayout) -> None:
    """Refuse to go on where a migration was interrupted: half of it is no ground to plan on.

    Raises:
        PoolBusy: One was, or is being carried out.
        CorruptFile: A journal is damaged, so that nobody knows.
    """
    _refuse(layout, HALF_DONE)


def refuse_while_open(layout: PoolLayout, but: str | None = None) -> None:
    """Refuse what would stand in the way of a rollback.

    Args:
        layout: The pool's paths.
        but: A migration that does not count.

    Raises:
        PoolBusy: A migration was interrupted, or was applied and is not closed.
        CorruptFile: A journal is damaged, so that nobody knows.
    """
    _refuse(layout, OPEN, but)


def _refuse(layout: PoolLayout, states: frozenset[str], but: str | None = None) -> None:
    for migration_id in migration_ids(layout):
        if migration_id == but:
            continue
        _, _, journal = last_journal(layout, migration_id)
        if journal is not None and journal.state in states:
            raise busy(migration_id, journal.state)


def busy(migration_id: str, state: str) -> PoolBusy:
    """Return the refusal for what needs a migration to be whole."""
    half = {
        kinds.APPLYING: "is being applied: a part of the pool has new ids, a part has not",
        kinds.ROLLING_BACK: "is being rolled back: a part of the pool has its old ids again, a part has not",
        kinds.APPLIED: "was applied and is not closed yet: it can still be rolled back",
    }
    hints = {
        kinds.APPLYING: f"`genpool migrate resume {migration_id}` goes on; "
        f"`genpool migrate rollback {migration_id}` takes it back",
        kinds.ROLLING_BACK: f"`genpool migrate resume {migration_id}` goes on",
        kinds.APPLIED: f"`genpool migrate close {migration_id}` keeps it; "
        f"`genpool migrate rollback {migration_id}` takes it back",
    }
    return PoolBusy(f"{migration_id} {half[state]}", hint=hints[state])
