"""Taking a migration back, from any point before it is closed: what was there at the plan is there again, to the byte.

What came since is kept: generations under the ids that they have under their restored parents (`since`), and what runs
wrote into memberships and ledgers.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import orjson

from genpool.canonical import sha256
from genpool.durable import flush_directory, storage_errors
from genpool.errors import CorruptFile
from genpool.migration import journal as kinds
from genpool.migration.applying import finish, let_go
from genpool.migration.reading import read_plain
from genpool.migration.rounds import FOLDERS
from genpool.migration.since import carry_over, refuse_changed_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.migration.identity import Change
    from genpool.migration.journal import Entry
    from genpool.migration.rounds import Round


def roll_back(
    one: Round,
    change: Change,
    tell: Callable[[str, int, int], None],
    watch: Callable[[dict[str, object]], None],
) -> None:
    """Take a round back, or go on with that.

    Args:
        one: The round.
        change: What it changed.
        tell: Told how far it is.
        watch: Given a JSON object a batch.

    Raises:
        CorruptFile: What is needed for it was damaged.
        StorageFailed: Something is where a directory was, or the file system refused.
    """
    refuse_changed_config(one)
    if not one.journal.has(kinds.ROLLBACK):
        with storage_errors("cannot begin the rollback"):
            one.journal.add(kinds.ROLLBACK, applied=one.journal.has(kinds.APPLIED))
    with storage_errors("cannot roll back"):
        if one.journal.find(kinds.ROLLBACK)[0]["applied"]:
            carry_over(one, change, tell)
        _undo_batches(one, tell, watch)
        named = {str(entry["folder"]) for entry in one.journal.find(kinds.INTENT)}
        for path in sorted(one.folder.glob("*.*")):
            if path.is_dir() and path.name not in named:
                let_go(path)
        _restore_times(one)
        finish(one)
        one.journal.add(kinds.ROLLED_BACK)


def _undo_batches(
    one: Round, tell: Callable[[str, int, int], None], watch: Callable[[dict[str, object]], None]
) -> None:
    """Undo every batch that was begun, the last first."""
    begun = [entry for entry in one.journal.find(kinds.INTENT) if isinstance(entry["batch"], int)]
    undone = {int(entry["batch"]) for entry in one.journal.find(kinds.UNDONE)}
    for done, entry in enumerate(reversed(begun)):
        tell("rolling back", done, len(begun))
        number = int(entry["batch"])
        if number in undone:
            continue
        changed = _undo(one, entry)
        one.journal.add(kinds.UNDONE, batch=number, changed=changed)
        watch({"batch": number, "batches": len(begun), "what": entry["what"], "done": done + 1, "all": len(begun)})
    tell("rolling back", len(begun), len(begun))


def _undo(one: Round, entry: Entry) -> list[str]:
    batch = one.batch(str(entry["folder"]))
    try:
        intents = batch.intents(str(entry["sha256"]))
    except FileNotFoundError:
        raise CorruptFile(
            f"{one.folder / str(entry['folder'])} is gone, though the journal names it", hint="restore it from a copy"
        ) from None
    return batch.undo(intents)


def _restore_times(one: Round) -> None:
    """Give the pool's folders the times that they had."""
    path = one.folder / FOLDERS
    data = read_plain(os.fspath(path))
    if sha256(data) != one.journal.find(kinds.BEGIN)[0]["folders"]:
        raise CorruptFile(f"{path} is not what the journal vouches for", hint="restore it from a copy")
    for line in data.splitlines():
        folder, changed = orjson.loads(line)
        _set_time(one.layout.root / folder, changed)


def _set_time(folder: Path, changed: int) -> None:
    try:
        status = os.stat(folder, follow_symlinks=False)  # noqa: PTH116 - its times are needed
        os.utime(folder, ns=(status.st_atime_ns, changed), follow_symlinks=False)
        flush_directory(folder)
    except FileNotFoundError:
        return  # somebody removed it since
