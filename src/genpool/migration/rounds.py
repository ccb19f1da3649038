"""One carrying out of a plan, in a folder of its own: which steps there are, in which order and batches.

The order: legacy.csv first, so that whoever reads meanwhile finds an old id under its new one; then what must make
room for others; then generations, attempts and the trash; then all other files that name generations.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.canonical import sha256
from genpool.durable import is_there
from genpool.migration.batches import Batch, Rewrite, Step, not_as_planned
from genpool.migration.book_writer import CACHE, BookWriter
from genpool.migration.books import BookProblem
from genpool.migration.journal import JOURNAL, ROUND, Journal, round_folders
from genpool.migration.renames import MEMBER, renames_of
from genpool.migration.rewriting import Rewriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from genpool.layout import PoolLayout
    from genpool.migration.identity import Change
    from genpool.migration.plan_file import Plan
    from genpool.migration.renames import Row

BATCH: Final = 2000
"""Steps that share their flushes."""
FOLDERS: Final = "folders.jsonl"


def new_round(layout: PoolLayout, migration_id: str) -> Path:
    """Return the folder of a round that is yet to begin."""
    before = round_folders(layout, migration_id)
    number = int(before[-1].name[len(ROUND) :]) + 1 if before else 1
    if before and not is_there(before[-1] / JOURNAL):
        return before[-1]  # it never began
    return layout.migration(migration_id) / f"{ROUND}{number}"


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one batch, not read yet."""

    what: str
    """In one word, for who watches."""
    count: int
    make: Callable[[], list[Step]]


class Round:
    """One carrying out of a plan.

    Args:
        layout: The pool's paths.
        plan: The plan.
        change: What changes.
        folder: The round's folder.
        size: Steps in a batch.
    """

    def __init__(self, layout: PoolLayout, plan: Plan, change: Change, folder: Path, size: int = BATCH) -> None:
        self.layout = layout
        self.plan = plan
        self.folder = folder
        self.root = os.fspath(layout.root)
        self.journal = Journal(folder / JOURNAL)
        begun = self.journal.find("begin")
        self.size = int(begun[0]["size"]) if begun else size
        self._change = change
        self._asides: dict[Row, int] = {}
        self._rewriter = Rewriter(self.root, change, renames_of(plan.rows), plan.digests)

    @property
    def pipeline_names(self) -> tuple[str, ...]:
        """The names of the pool's stages."""
        return self._change.now.pipeline.names

    def batch(self, folder: str) -> Batch:
        """Return a batch by the name of its folder."""
        return Batch(self.root, self.folder / folder)

    def free_name(self, what: str) -> str:
        """Return a name for a batch's folder that nothing has: one that a crash left may hold originals."""
        tries = 0
        while is_there(self.folder / f"{what}.{tries}"):
            tries += 1
        return f"{what}.{tries}"

    def batches(self) -> list[Steps]:
        """Return all batches, in order."""
        rows = [row for row in self.plan.rows if row.place != MEMBER]
        wanted = {(row.place, row.stage, row.new_id) for row in rows if row.new_id != row.old_id}
        aside = [row for row in rows if row.new_id != row.old_id and (row.place, row.stage, row.old_id) in wanted]
        self._asides = {row: number for number, row in enumerate(aside)}
        found = [self._books("aliases", ["legacy.csv"])] if "legacy.csv" in self.plan.document["books"] else []
        found += self._cut("making room", aside, lambda row: self._step(row, self._aside(row)))
        others = [row for row in rows if row not in self._asides] if aside else rows
        found += self._cut("generations", others, lambda row: self._step(row, f"{row.place}/{row.stage}/{row.new_id}"))
        found += self._cut("making room", aside, self._from_aside)
        rest = [path for path in self.plan.document["books"] if path != "legacy.csv"]
        return [*found, self._books("books", rest)] if rest else found

    def moved_on(self) -> dict[str, str]:
        """Return where what made room went from there."""
        self.batches()
        return {self._aside(row): f"{row.place}/{row.stage}/{row.new_id}" for row in self._asides}

    def _cut(self, what: str, rows: Sequence[Row], step: Callable[[Row], Step]) -> list[Steps]:
        parts = [rows[at : at + self.size] for at in range(0, len(rows), self.size)]
        return [Steps(what, len(part), lambda part=part: [step(row) for row in part]) for part in parts]  # type: ignore[misc]

    def _step(self, row: Row, target: str) -> Step:
        source = f"{row.place}/{row.stage}/{row.old_id}"
        return Step(source, target, lambda: self._rewriter.files(row), texts=True)

    def _aside(self, row: Row) -> str:
        folder = self.folder.relative_to(self.layout.root).as_posix()
        return f"{folder}/aside/{self._asides[row]}"

    def _from_aside(self, row: Row) -> Step:
        return Step(self._aside(row), f"{row.place}/{row.stage}/{row.new_id}", list)

    # -- books -------------------------------------------------------------------------------------

    def _books(self, what: str, paths: Sequence[str]) -> Steps:
        def make() -> list[Step]:
            writer = BookWriter(self.root, list(self.plan.rows), self._change, self.plan.config, self.plan.added)
            folders: dict[str, list[str]] = {}
            caches = [path for path in writer.paths() if path.endswith(CACHE)] if what == "books" else []
            for path in (*paths, *caches):
                folder, _, name = path.rpartition("/")
                folders.setdefault(folder or ".", []).append(name)
            return [Step(folder, folder, self._rewrites(writer, folder, names)) for folder, names in folders.items()]

        return Steps(what, len(paths), make)

    def _rewrites(self, writer: BookWriter, folder: str, names: list[str]) -> Callable[[], list[Rewrite]]:
        def files() -> list[Rewrite]:
            found = []
            for name in names:
                path = name if folder == "." else f"{folder}/{name}"
                before = writer.before(path)
                if path.endswith(CACHE):
                    found.append(Rewrite(name, before, None))
                    continue
                if (sha256(before) if before is not None else "") != self.plan.digests[path]:
                    raise not_as_planned(path)
                try:
                    found.append(Rewrite(name, before, writer.after(path)))
                except BookProblem:
                    raise not_as_planned(path) from None
            return found

        return files
