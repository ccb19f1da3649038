"""The files beside records that name generations: which there are, and what a migration makes of them."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from genpool.durable import is_there, mode_of, names_in
from genpool.migration import books
from genpool.migration.reading import read_plain
from genpool.migration.renames import Renames, Row, aliases_of, renames_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from genpool.migration.identity import Change

CACHE: Final = "/manifest.json"
"""What is taken away, and made anew by whoever needs it: it may be written at any time."""


class BookWriter:
    """The files beside records, before and after a migration.

    Args:
        root: The pool's directory.
        rows: What becomes what.
        change: What changes.
        config: The pool.yaml that the pool gets; None where it stays.
        added: The files that the pool gets: path to content.
    """

    def __init__(
        self,
        root: str,
        rows: list[Row],
        change: Change,
        config: bytes | None,
        added: Mapping[str, bytes] | None = None,
    ) -> None:
        self._added = added or {}
        self._root = root
        self._rows = rows
        self._change = change
        self._config = config
        self._renames = renames_of(rows)

    def paths(self) -> Iterator[str]:
        """Yield every file that could be touched, in the order in which they are; legacy.csv first."""
        yield "legacy.csv"
        for path in book_paths(self._root):
            if not why_left(self._root, path):
                yield path
        yield from self._added
        if self._config is not None:
            yield "pool.yaml"

    def before(self, path: str) -> bytes | None:
        """Return what a file holds now; None where it is not there."""
        try:
            return read_plain(f"{self._root}/{path}")
        except FileNotFoundError:
            return None

    def after(self, path: str) -> bytes | None:
        """Return what a file will hold; None where it is taken away.

        Raises:
            BookProblem: It cannot be read, and stays as it is.
        """
        data = self.before(path)
        renames, name = self._renames_for(path), path.rpartition("/")[2]
        if path == "legacy.csv":
            return books.legacy(data, aliases_of(self._rows)) if self._rows else data
        if path in self._added:
            return self._added[path]
        if path == "pool.yaml":
            return self._config
        if data is None or name == "manifest.json":
            return None
        if name == "membership.csv":
            return books.membership(data, renames, self._change.now.pipeline, self._change)
        if name == "adopted.json":
            return self._adopted(path, data, renames)
        if name == "trash.json":
            return books.trashed(data, renames)
        return books.drift(data, renames) if path == "drift.csv" else books.ledger(data, renames)

    def _adopted(self, path: str, data: bytes, renames: Renames) -> bytes:
        members = path.removesuffix("adopted.json") + "membership.csv"
        before = self.before(members)
        try:
            after = None if before is None else self.after(members)
        except books.BookProblem:
            after = before
        return books.adopted(data, renames, before, after)

    def _renames_for(self, path: str) -> Renames:
        parts = path.split("/")
        own = "/".join(parts[:2]) if parts[0] == "trash" else ""
        return self._renames.get(own, self._renames[""])


def book_paths(root: str) -> Iterator[str]:
    """Yield the paths of what is there under the name of a file that names generations, but for legacy.csv."""
    for top in ("", *(f"trash/{one}/" for one in names_in(f"{root}/trash"))):
        for cohort in names_in(f"{root}/{top}cohorts"):
            for name in ("membership.csv", "adopted.json", "manifest.json"):
                if is_there(f"{root}/{top}cohorts/{cohort}/{name}"):
                    yield f"{top}cohorts/{cohort}/{name}"
        if top and is_there(f"{root}/{top}trash.json"):
            yield f"{top}trash.json"
    if is_there(f"{root}/drift.csv"):
        yield "drift.csv"
    for name in names_in(f"{root}/ledger"):
        if name.endswith(".jsonl"):
            yield f"ledger/{name}"


def why_left(root: str, path: str) -> str:
    """Return why a file is left as it is whatever it holds; the empty text for a plain file in the pool."""
    folder = path.rpartition("/")[0]
    mode = mode_of(f"{root}/{path}")
    if stat.S_ISLNK(mode) or (folder and stat.S_ISLNK(mode_of(f"{root}/{folder}"))):
        return "a link is in its path; links are not followed"
    return "" if stat.S_ISREG(mode) else "is no plain file"
