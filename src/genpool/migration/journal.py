"""The journal of one carrying out: an append-only file whose every line is on disk before what follows it is done.

Every line holds a digest of itself and of the digest before it, so that a damaged or a missing line is noticed; a last
line that a crash tore counts as not written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.canonical import sha256
from genpool.durable import append_lines, is_there, reading
from genpool.errors import CorruptFile
from genpool.ledger import utc_now

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.layout import PoolLayout

FORMAT: Final = "genpool.migration-journal/1"

BEGIN: Final = "begin"
INTENT: Final = "intent"
DONE: Final = "done"
APPLIED: Final = "applied"
ROLLBACK: Final = "rollback"
UNDONE: Final = "undone"
ROLLED_BACK: Final = "rolled-back"
VERIFIED: Final = "verified"
CLOSED: Final = "closed"

JOURNAL: Final = "journal.jsonl"
ROUND: Final = "round-"
"""What the folder of one carrying out is named, with its number behind."""

_BY_HAND: Final = "the journal was damaged; restore it from a copy: nothing is done by a journal that cannot be trusted"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal."""

    kind: str
    at: str
    """RFC 3339, UTC."""
    facts: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Return a fact."""
        return self.facts[name]


class Journal:
    """A journal, read and added to.

    Args:
        path: The file; it need not be there.

    Raises:
        CorruptFile: A line is damaged or missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._last = ""
        try:
            with reading(path):
                data = path.read_bytes()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            self.entries.append(self._read(line, number))

    def _read(self, line: bytes, number: int) -> Entry:
        try:
            value = orjson.loads(line)
            stated = value.pop("sum")
            if stated != self._sum(value):
                raise CorruptFile(f"{self.path}:{number}: not the line that was written", hint=_BY_HAND)
            self._last = stated
            return Entry(str(value.pop("entry")), str(value.pop("at")), value)
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise CorruptFile(f"{self.path}:{number}: not a line of a journal: {error!r}", hint=_BY_HAND) from None

    def _sum(self, value: dict[str, Any]) -> str:
        return sha256(self._last.encode() + orjson.dumps(value, option=orjson.OPT_SORT_KEYS))[:16]

    def add(self, kind: str, **facts: Any) -> None:
        """Add a line; returned means on disk.

        Raises:
            OSError: It could not be written.
        """
        value = {"entry": kind, "at": utc_now(), **facts}
        stated = self._sum(value)
        append_lines(self.path, orjson.dumps({**value, "sum": stated}) + b"\n")
        self._last = stated
        self.entries.append(Entry(kind, str(value["at"]), facts))

    def find(self, kind: str) -> list[Entry]:
        """Return the entries of a kind."""
        return [one for one in self.entries if one.kind == kind]

    def has(self, kind: str) -> bool:
        """Return whether there is an entry of a kind."""
        return any(one.kind == kind for one in self.entries)

    @property
    def state(self) -> str:
        """What a migration with this journal is: see `standing`."""
        for kind, state in _STATES:
            if self.has(kind):
                return state
        return PLANNED


PLANNED: Final = "planned"
APPLYING: Final = "applying"
ROLLING_BACK: Final = "rolling-back"

_STATES: Final = (
    (CLOSED, CLOSED),
    (ROLLED_BACK, ROLLED_BACK),
    (ROLLBACK, ROLLING_BACK),
    (APPLIED, APPLIED),
    (BEGIN, APPLYING),
)


# --- the rounds of a migration ----------------------------------------------------------------------


def round_folders(layout: PoolLayout, migration_id: str) -> list[Path]:
    """Return the folders of a migration's rounds, the first one first."""
    folder = layout.migration(migration_id)
    names = [one for one in os.listdir(folder) if one.startswith(ROUND) and one[len(ROUND) :].isdecimal()]  # noqa: PTH208
    return [folder / one for one in sorted(names, key=lambda one: int(one[len(ROUND) :]))]


def last_journal(layout: PoolLayout, migration_id: str) -> tuple[int, Path | None, Journal | None]:
    """Return number, folder and journal of a migration's last round; 0 and None where it never was carried out.

    Raises:
        CorruptFile: The journal is damaged.
    """
    folders = [one for one in round_folders(layout, migration_id) if is_there(one / JOURNAL)]
    if not folders:
        return 0, None, None
    return len(folders), folders[-1], Journal(folders[-1] / JOURNAL)
