"""What a migration leaves alone: every other file of the pool, noted before the first change and looked at afterwards.

Size and time are noted, not digests: a migration opens none of these files, so that what it could do to them is to
lose, move or replace them; and reading a whole pool would take longer than migrating it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import orjson

from genpool.canonical import sha256
from genpool.durable import replace_file
from genpool.errors import CorruptFile
from genpool.migration.book_writer import CACHE
from genpool.migration.reading import read_plain
from genpool.migration.renames import MEMBER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genpool.migration.rounds import Round

REST: Final = "rest.jsonl"
_NOT_LOOKED_AT: Final = frozenset({".genpool", "migrations"})
_KEPT: Final = ("gens/", "attempts/", "sources/", "trash/")
"""Folders in which nobody changes a file that is there; elsewhere people and runs do."""


def note_rest(one: Round) -> str:
    """Note what the migration leaves alone; return the digest of the notes.

    Raises:
        OSError: The file system refused.
    """
    touched = {f"{row.place}/{row.stage}/{row.old_id}" for row in one.plan.rows if row.place != MEMBER}
    books = frozenset(one.plan.document["books"])
    found = (entry for entry in _files(one.root, touched) if entry[0] not in books and not entry[0].endswith(CACHE))
    data = b"".join(orjson.dumps(entry) + b"\n" for entry in found)
    replace_file(one.folder / REST, data)
    return sha256(data)


def _files(root: str, without: set[str]) -> Iterator[tuple[str, int, int]]:
    """Yield the files of a pool, each with its size and when it was changed."""
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        with os.scandir(f"{root}/{inside}") as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                path = f"{inside}{entry.name}"
                if path in without or path in _NOT_LOOKED_AT:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{path}/")
                else:
                    status = entry.stat(follow_symlinks=False)
                    yield os.fsencode(path).decode("utf-8", "replace"), status.st_size, status.st_mtime_ns


def changed_rest(one: Round, digest: str) -> tuple[int, list[str], list[str]]:
    """Return how many files the migration left alone, which of them are not as they were, and which others changed.

    Args:
        one: The round.
        digest: The digest of the notes, as the journal has it.

    Raises:
        CorruptFile: The notes were damaged.
    """
    path = one.folder / REST
    data = read_plain(os.fspath(path))
    if sha256(data) != digest:
        raise CorruptFile(f"{path} is not what the journal vouches for", hint="restore it from a copy")
    wrong: list[str] = []
    since: list[str] = []
    lines = data.splitlines()
    for line in lines:
        name, size, changed = orjson.loads(line)
        try:
            status = os.lstat(f"{one.root}/{name}")
            same = (status.st_size, status.st_mtime_ns) == (size, changed)
        except FileNotFoundError:
            same = "\ufffd" in name  # a name that is no text
        if not same:
            (wrong if name.startswith(_KEPT) else since).append(name)
    return len(lines), wrong, since
