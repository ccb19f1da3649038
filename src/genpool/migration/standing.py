"""How a pool's migrations stand. Reads only plans and journals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from genpool.migration import journal as kinds
from genpool.migration.journal import last_journal
from genpool.migration.plan_file import migration_ids, read_document
from genpool.migration.waiting import HALF_DONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genpool.layout import PoolLayout


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
    begun = sum(isinstance(entry["batch"], int) for entry in journal.find(kinds.INTENT))  # but for what came since
    batches = begun if back else int(journal.find(kinds.BEGIN)[0]["batches"])
    done = len(journal.find(kinds.UNDONE if back else kinds.DONE))
    verified = [entry for entry in journal.entries if entry.kind in {kinds.VERIFIED, kinds.ROLLBACK}]
    found = bool(verified[-1]["ok"]) if verified and verified[-1].kind == kinds.VERIFIED else None
    last = journal.entries[-1].at
    return Standing(migration_id, journal.state, number, done, batches, began.at, last, found, document)


def all_standing(layout: PoolLayout) -> list[Standing]:
    """Return how every migration of a pool stands, by id."""
    return [standing(layout, one) for one in migration_ids(layout)]
