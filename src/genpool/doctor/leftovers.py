"""What dead processes left, and what is no part of a pool: temporary files, staging, claims, notes, links, the trash.

While somebody works in the pool, some of this is theirs. So each leftover is looked at once more at the end of an
examination, and again under the pool's lock before it is mended (`still_stands`).
"""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from genpool import locks
from genpool.doctor.findings import Finding, Fix
from genpool.doctor.folders import TEMPORARY, entries_of, litter
from genpool.doctor.reading import is_folder, kind_of
from genpool.errors import GenpoolError
from genpool.trash import UNDOING, read_trashed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genpool.layout import PoolLayout

_WALKED: Final = ("cohorts", "concepts", "templates", "sources", "ledger", "migrations")
"""Folders of a pool whose files are looked at by name; gens/ and attempts/ are read, trash/ has records."""
_FOLDERS: Final = {*_WALKED, "gens", "attempts", "trash", ".genpool"}
_OURS: Final = {*_FOLDERS, "pool.yaml", "combos.jsonl", "legacy.csv", "drift.csv"}
_CLAIMS: Final = "claims"
_YOUNG: Final = 60.0
"""Seconds for which a temporary file is taken to be somebody's, while somebody works in the pool."""
_MENDS: Final = "`genpool doctor --fix` removes it"


class LeftoverCheck:
    """Examines everything of a pool that is neither a generation nor a book.

    Args:
        layout: The pool's paths.
    """

    def __init__(self, layout: PoolLayout) -> None:
        self._layout = layout
        self._root = os.path.realpath(layout.root)
        self.counts: Counter[str] = Counter()

    # -- names -------------------------------------------------------------------------------------

    def names(self) -> Iterator[Finding]:
        """Yield temporary files, links, and what is neither file nor directory, in the pool's own folders."""
        for entry in entries_of(self._layout.root, "."):
            if isinstance(entry, Finding):
                yield entry
                continue
            yield from self._named(entry, entry.name, ours=entry.name in _OURS)
            if entry.name in _FOLDERS and kind_of(entry) is None:
                yield Finding("wrong-type", entry.name, "a file where a folder of the pool belongs", "move it away")
            if entry.name in _WALKED and entry.is_dir(follow_symlinks=False):
                yield from self._below(entry.path, entry.name)

    def _below(self, folder: str, path: str) -> Iterator[Finding]:
        """Yield the same of everything below a folder."""
        for entry in entries_of(folder, path):
            if isinstance(entry, Finding):
                yield entry
                continue
            here = f"{path}/{entry.name}"
            yield from self._named(entry, here, ours=True)
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(entry.path, here)

    def _named(self, entry: os.DirEntry[str], path: str, *, ours: bool) -> Iterator[Finding]:
        kind = kind_of(entry)
        if kind == "a symbolic link":
            yield self._link(entry.path, path, ours=ours)
        elif kind is None and TEMPORARY.fullmatch(entry.name):
            yield litter(path)
        elif kind not in {None, "a directory"} and ours:
            yield Finding("wrong-type", path, f"{kind}: a pool is plain files and directories", "move it away")

    def _link(self, place: str, path: str, *, ours: bool) -> Finding:
        """Return the finding that a link is: outside what genpool keeps it is a person's own affair."""
        target = os.path.realpath(place)
        outside = not (target == self._root or target.startswith(self._root + os.sep))
        where = "leads out of the pool" if outside else "is a link"
        said = f"{where}: {os.fspath(Path(place).readlink())!r}; links are not followed"
        return Finding("link", path, said, "put the file or directory itself there" if ours else None, is_note=not ours)

    # -- .genpool ----------------------------------------------------------------------------------

    def private(self) -> Iterator[Finding]:
        """Yield stale staging folders, claims and notes."""
        private = self._layout.private
        if not is_folder(private):
            return
        yield from (one for one in entries_of(private, ".genpool") if isinstance(one, Finding))
        for path in _files_in(self._layout.staging):
            said = "staging of a process that is gone: nothing in it was acknowledged"
            yield from self._stale(path, "stale-staging", said, Fix.REMOVE_STAGING)
        for path in _files_in(self._layout.locks):
            if path.name.startswith("holder-"):
                said = "a note of who held the pool's lock; its process is gone"
                yield from self._stale(path, "stale-note", said, Fix.REMOVE_FILE)
        for folder in _files_in(private / _CLAIMS):
            for path in _files_in(folder):
                said = f"a claim of {folder.name} {path.name}; nobody holds it"
                yield from self._stale(path, "stale-claim", said, Fix.REMOVE_FILE)

    def _stale(self, path: Path, kind: str, said: str, fix: Fix) -> Iterator[Finding]:
        found = Finding(kind, path.relative_to(self._layout.root).as_posix(), said, _MENDS, fix=fix)
        if still_stands(self._layout, found):
            yield found

    # -- trash -------------------------------------------------------------------------------------

    def trash(self) -> Iterator[Finding]:
        """Yield removals that were interrupted, and records of removals that cannot be read."""
        if not is_folder(self._layout.trash):
            return
        for entry in entries_of(self._layout.trash, "trash"):
            if isinstance(entry, Finding):
                yield entry
                continue
            path = f"trash/{entry.name}"
            if not entry.is_dir(follow_symlinks=False):
                yield from self._named(entry, path, ours=True)
                continue
            names = []
            for inner in entries_of(entry.path, path):
                if isinstance(inner, Finding):
                    yield inner
                else:
                    names.append(inner.name)
                    yield from self._named(inner, f"{path}/{inner.name}", ours=True)
            yield from self._removal(entry.name, names)

    def _removal(self, trash_id: str, names: list[str]) -> Iterator[Finding]:
        path = f"trash/{trash_id}/trash.json"
        if "trash.json" not in names:
            if any(not TEMPORARY.fullmatch(name) for name in names):
                said = "the record of a removal is gone; what it moved is beside it, under the path that it had"
                yield Finding("lost-record", path, said, "restore it from a copy, or move things back by hand")
            return
        self.counts["removals"] += 1
        try:
            one = read_trashed(self._layout, trash_id)
        except GenpoolError as error:
            place = os.fspath(self._layout.trashed(trash_id)) if error.kind != "invalid-input" else path
            said = error.message.removeprefix(f"{place}: ")
            yield Finding(error.kind, path, said, error.hint)
            return
        if one.is_open:
            what = "its undo was interrupted" if one.state == UNDOING else "the removal was interrupted"
            said = f"{what}: `genpool {one.verb} {one.cohort}`; a part is moved, a part is not"
            todo = f"`genpool trash ls` finishes it; `genpool trash undo {trash_id}` takes it back"
            yield Finding("unfinished-removal", path, said, todo)


def _files_in(folder: Path) -> list[Path]:
    """Return what is in a folder of .genpool, in order; nothing where there is none."""
    with suppress(OSError):
        if not folder.is_symlink():
            return sorted(folder.iterdir())
    return []


def still_stands(layout: PoolLayout, finding: Finding) -> bool:
    """Return whether a leftover is still one: it is there, and nobody's."""
    path = layout.root / finding.path
    with suppress(OSError):
        status = path.lstat()
        if finding.kind == "litter":
            is_young = time.time() - status.st_mtime < _YOUNG
            return stat.S_ISREG(status.st_mode) and not (is_young and _is_in_use(layout))
        if finding.kind == "stale-staging":
            return not _is_held(path / "lock")
        if finding.kind in {"stale-claim", "stale-note"}:
            return stat.S_ISREG(status.st_mode) and not _is_held(path)
        return True  # the catalog
    return False


def _is_in_use(layout: PoolLayout) -> bool:
    """Return whether somebody else works in the pool."""
    own = f"holder-{os.getpid()}-"
    notes = (note for note in _files_in(layout.locks) if note.name.startswith("holder-"))
    return any(_is_held(note) for note in notes if not note.name.startswith(own))


def _is_held(path: Path) -> bool:
    """Return whether a process holds the lock on a file; where that cannot be known, it counts as held."""
    try:
        return locks.is_held(path)
    except OSError:
        return True
