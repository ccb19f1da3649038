"""How a pool's migrations stand, and what must wait for them. Reads only plans and journals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from genpool.durable import is_there
from genpool.migration import journal as kinds
from genpool.migration.applying import busy
from genpool.migration.journal import Journal
from genpool.migration.plan_file import migration_ids, read_document
from genpool.migration.rounds import JOURNAL, round_folders

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from genpool.layout import PoolLayout

HALF_DONE = frozenset({kinds.APPLYING, kinds.ROLLING_BACK})
"""States in which a part of the pool has new ids and a part has not."""
OPEN = frozenset({*HALF_DONE, kinds.APPLIED})
"""States in which the originals are kept, so that a rollback is possible."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one migration stands."""

    migration_id: str
    state: str
    """`planned`, `applying`, `applied`, `rolling-back`, `rolled-back`, `closed`."""
    round: int
    """Which carrying out it is in; 0 where it never was carried out."""
    done: int
    """How many batches are done; of a rollback, how many are undone."""
    batches: int
    began: str | None
    """When the round began, RFC 3339."""
    last: str | None
    """When the journal was last written."""
    verified: bool | None
    """What the last verification came to; None where there was none since."""
    document: Mapping[str, Any]
    """plan.json."""

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the pace so far; None where that cannot be told."""
        if self.state not in HALF_DONE or not self.done or self.began is None or self.last is None:
            return None
        took = datetime.fromisoformat(self.last) - datetime.fromisoformat(self.began)
        return took.total_seconds() / self.done * (self.batches - self.done)


def last_journal(layout: PoolLayout, migration_id: str) -> tuple[int, Path | None, Journal | None]:
    """Return number, folder and journal of a migration's last round; 0 and None where it never was carried out.

    Raises:
        CorruptFile: The journal is damaged.
    """
    folders = [one for one in round_folders(layout, migration_id) if is_there(one / JOURNAL)]
    if not folders:
        return 0, None, None
    return len(folders), folders[-1], Journal(folders[-1] / JOURNAL)


def standing(layout: PoolLayout, migration_id: str) -> Standing:
    """Return how a migration stands.

    Raises:
        NotFound: There is no such migration.
        CorruptFile: Its plan or its journal is damaged.
    """
    document = read_document(layout, migration_id)
    number, _, journal = last_journal(layout, migration_id)
    if journal is None or not journal.entries:
        return Standing(migration_id, kinds.PLANNED, 0, 0, 0, None, None, None, document)
    back = journal.find(kinds.ROLLBACK)
    began = (back or journal.find(kinds.BEGIN))[0]
    begun = len(journal.find(kinds.INTENT))
    batches = begun if back else int(journal.find(kinds.BEGIN)[0]["batches"])
    done = len(journal.find(kinds.UNDONE if back else kinds.DONE))
    verified = [entry for entry in journal.entries if entry.kind in {kinds.VERIFIED, kinds.ROLLBACK}]
    found = bool(verified[-1]["ok"]) if verified and verified[-1].kind == kinds.VERIFIED else None
    last = journal.entries[-1].at
    return Standing(migration_id, journal.state, number, done, batches, began.at, last, found, document)


def all_standing(layout: PoolLayout) -> list[Standing]:
    """Return how every migration of a pool stands, by id."""
    return [standing(layout, one) for one in migration_ids(layout)]


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
