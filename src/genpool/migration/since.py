"""What came after a migration was applied, carried over when it is rolled back.

A generation that a run made since may start from one whose id is restored; its own id is then the one of its signature
under the restored parent. The same holds for attempts, and for what runs wrote into memberships and ledgers. All of it
is done in two batches, before anything is taken back: what was prepared stays valid however often that is interrupted.

What cannot have its place, because something that is restored needs it, is kept in the migration's folder.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from genpool.canonical import sha256
from genpool.durable import is_there, lies_with_the_file
from genpool.errors import PoolError
from genpool.layout import METADATA
from genpool.migration import books
from genpool.migration import journal as kinds
from genpool.migration.batches import Rewrite, Step
from genpool.migration.book_writer import BookWriter
from genpool.migration.identity import Change, Relabel
from genpool.migration.inventory import Reader
from genpool.migration.reading import attempt_values, read_plain
from genpool.migration.renames import ATTEMPTS, FORK, GENS, MEMBER, Row, aliases_of, renames_of
from genpool.migration.rewriting import Rewriter
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from genpool.migration.batches import Intent
    from genpool.migration.reading import Node
    from genpool.migration.rounds import Round
    from genpool.signatures import FieldValue

_GENERATIONS: Final = "since-generations"
_BOOKS: Final = "since-books"
KEPT: Final = "kept"
"""The folder, in the round's, of what was made since and has no place after the rollback."""


def carry_over(one: Round, change: Change, tell: Callable[[str, int, int], None]) -> None:
    """Re-identify what was made since, and rewrite what was written since.

    Args:
        one: The round; its rollback has begun.
        change: What the migration changed.
        tell: Told how far it is.
    """
    since = _Since(one, change, tell)
    for name, steps in ((_GENERATIONS, since.generations), (_BOOKS, since.books)):
        done = {entry["batch"] for entry in one.journal.find(kinds.DONE)}
        if name in done:
            continue
        begun = [entry for entry in one.journal.find(kinds.INTENT) if entry["batch"] == name]
        if begun:
            folder, digest = str(begun[0]["folder"]), str(begun[0]["sha256"])
        else:
            folder = one.free_name(name)
            digest = one.batch(folder).prepare(steps())
            one.journal.add(kinds.INTENT, batch=name, what="since", folder=folder, sha256=digest)
        batch = one.batch(folder)
        batch.do(batch.intents(digest))
        one.journal.add(kinds.DONE, batch=name)


def refuse_changed_config(one: Round) -> None:
    """Refuse a rollback that would have to undo a person's change of pool.yaml, or of a file that the pool got.

    Raises:
        PoolError: pool.yaml, or a file that the pool got, was changed since the migration wrote it.
    """
    for path, data in one.plan.added.items():
        if is_there(f"{one.root}/{path}") and read_plain(f"{one.root}/{path}") != data:
            raise PoolError(
                f"{path} was changed since the migration wrote it: the rollback would lose that",
                hint="keep what you wrote under another name, and put back what it wrote (the file "
                f"{one.plan.document['added'][path]} in migrations/{one.plan.migration_id}/), then roll back",
            )
    if one.plan.config is None:
        return
    known = {sha256(data) for data in one.plan.configs.values()}
    if sha256(read_plain(f"{one.root}/pool.yaml")) not in known:
        raise PoolError(
            "pool.yaml was changed since the migration wrote it: the rollback would lose that, or keep the wrong ids",
            hint=f"put back the one that it wrote (migrations/{one.plan.migration_id}/after/pool.yaml), then roll back",
        )


class _Since:
    """What came since one round was applied."""

    def __init__(self, one: Round, change: Change, tell: Callable[[str, int, int], None]) -> None:
        self._one = one
        self._root = one.root
        self._back = Change(change.target, change.now, relabel=_relabel_back(one, change))
        self._tell = tell
        self._made: dict[str, dict[str, str]] = {}
        """Stage to the id that something made since has now, to the one that it gets."""
        self._renames = renames_of(one.plan.rows, back=True)
        self._general = self._renames[""].first(self._made)

    # -- generations and attempts ------------------------------------------------------------------

    def generations(self) -> list[Step]:
        """Return the steps for generations and attempts that were made since."""
        reader = Reader(self._root, self._back.now, self._tell)
        for stage in self._back.now.pipeline:
            reader.read_stage(GENS, stage, self._new_names(GENS, stage.name))
        rows, digests = [], {}
        for stage in self._back.now.pipeline:
            for node in reader.found.nodes.of(GENS, stage.name).values():
                if node.sealed:
                    rows.append(self._row(node))
                    digests[node.path] = node.digest
        rewriter = Rewriter(self._root, self._back, {"": self._general}, digests)
        steps = [self._step(row, lambda row=row: rewriter.files(row)) for row in rows if self._is_moved(row)]  # type: ignore[misc]
        return [*steps, *self._attempts()]

    def _new_names(self, place: str, stage: str) -> list[str]:
        """Return what is in a stage's folder and was not there when the migration was applied."""
        folder = f"{place}/{stage}"
        try:
            there = set(os.listdir(f"{self._root}/{folder}"))  # noqa: PTH208 - names will do
        except FileNotFoundError:
            return []
        return sorted(there - self._left[folder] if folder in self._left else there)

    @property
    def _left(self) -> dict[str, set[str]]:
        """Folder of a stage to the names that the migration left in it."""
        if self._names is None:
            self._names = {folder: set() for folder in self._one.plan.document["listed"]}
            for path in self._one.plan.digests:
                folder, _, name = path.rpartition("/")
                if folder in self._names:
                    self._names[folder].add(name)
            rows = [row for row in self._one.plan.rows if row.place != MEMBER]
            for row in rows:
                self._names[f"{row.place}/{row.stage}"].discard(row.old_id)
            for row in rows:
                self._names[f"{row.place}/{row.stage}"].add(row.new_id)
        return self._names

    _names: dict[str, set[str]] | None = None

    def _row(self, node: Node) -> Row:
        """Return what becomes of a generation; its parent was looked at before."""
        assert node.stated is not None
        new_id = self._back_id(node.stage, node.values, node.stated)
        if new_id != node.gen_id:
            self._made.setdefault(node.stage, {})[node.gen_id] = new_id
        return Row(node.gen_id, new_id, node.stage, "since", node.stated, node.place)

    def _back_id(self, stage_name: str, values: tuple[str, ...], replicate: int) -> str:
        """Return the id of a task under its restored parent."""
        stage = self._back.now.pipeline[stage_name]
        fields: dict[str, FieldValue] = dict(self._back.values(stage, values))
        for name, value in list(fields.items()):
            if name == PARENT_FIELD:
                fields[name] = self._general.of(str(stage.parent), str(value))
            elif name.endswith(REFERENCE_SUFFIX):
                fields[name] = self._general.anywhere(str(value)) or value
        target = self._back.target.pipeline[stage_name]
        return self._back.target.make(target, (*fields.values(), replicate))

    def _is_moved(self, row: Row) -> bool:
        return row.old_id != row.new_id or f"{row.place}/{row.stage}/{row.old_id}" in self._restored

    def _step(self, row: Row, files: Callable[[], list[Rewrite]]) -> Step:
        source, target = (f"{row.place}/{row.stage}/{gen_id}" for gen_id in (row.old_id, row.new_id))
        if target in self._restored:  # something that is restored, or another one of these, needs the place
            folder = self._one.folder.relative_to(self._one.layout.root).as_posix()
            target = f"{folder}/{KEPT}/{source}"
        self._restored.add(target)
        return Step(source, target, files)

    @property
    def _restored(self) -> set[str]:
        """The directories that there are after the rollback, so far."""
        if self._places is None:
            self._places = {path for path in self._one.plan.digests if path.rpartition("/")[0] in self._left}
        return self._places

    _places: set[str] | None = None

    def _attempts(self) -> list[Step]:
        """Return the steps for attempts: folders that are new, and what is new in folders that were renamed."""
        steps = []
        renamed = {(row.stage, row.new_id): row.old_id for row in self._one.plan.rows if row.place == ATTEMPTS}
        for stage in self._back.now.pipeline:
            for task in self._new_names(ATTEMPTS, stage.name):
                found = self._records(stage.name, task)
                if not found:
                    continue
                new_id = self._general.of(stage.name, task)
                if new_id == task:
                    new_id = self._back_id(stage.name, *next(iter(found.values()))[1])
                row = Row(task, new_id, stage.name, "since", 0, ATTEMPTS)
                if self._is_moved(row):
                    steps.append(self._step(row, self._rewrites(row, found)))
        known = {path.rpartition("/")[0] for path in self._one.plan.digests if path.endswith(METADATA)}
        for (stage_name, task), old in renamed.items():
            found = self._records(stage_name, task)
            fresh = {name: one for name, one in found.items() if f"{ATTEMPTS}/{stage_name}/{old}/{name}" not in known}
            if fresh:
                path = f"{ATTEMPTS}/{stage_name}/{task}"
                row = Row(task, old, stage_name, "since", 0, ATTEMPTS)
                steps.append(Step(path, path, self._rewrites(row, fresh)))
        return steps

    def _records(self, stage_name: str, task: str) -> dict[str, tuple[bytes, tuple[tuple[str, ...], int]]]:
        """Return the records of our own format among the attempts at a task: number to bytes and signature."""
        path = f"{ATTEMPTS}/{stage_name}/{task}"
        found = {}
        for number in sorted(os.listdir(f"{self._root}/{path}")):  # noqa: PTH208 - names will do
            where = f"{path}/{number}/{METADATA}"
            try:
                data = read_plain(f"{self._root}/{where}")
            except OSError as error:
                if lies_with_the_file(error):
                    continue
                raise  # passed over, it would keep an id that no parent has any more
            stated = attempt_values(data, self._back.now.pipeline[stage_name], task, self._back.now, where, [])
            if stated is not None:
                found[number] = (data, stated)
        return found

    def _rewrites(
        self, row: Row, found: dict[str, tuple[bytes, tuple[tuple[str, ...], int]]]
    ) -> Callable[[], list[Rewrite]]:
        path = f"{row.place}/{row.stage}/{row.old_id}"
        digests = {f"{path}/{name}/{METADATA}": hashlib.sha256(data).hexdigest() for name, (data, _) in found.items()}
        rewriter = Rewriter(self._root, self._back, {"": self._general}, digests)
        replicate = next(iter(found.values()))[1][1]
        whole = Row(row.old_id, row.new_id, row.stage, row.reason, replicate, row.place)
        return lambda: rewriter.files(whole)

    # -- books -------------------------------------------------------------------------------------

    def books(self) -> list[Step]:
        """Return the steps for the files that were written since."""
        self._note_made()
        originals = self._written()
        writer = BookWriter(self._root, [], self._back, None)
        folders: dict[str, list[Rewrite]] = {}
        for path in writer.paths():
            before = writer.before(path)
            digest = None if before is None else sha256(before)
            if path in originals and digest in originals[path][:2]:
                continue  # as the migration wrote it: its original comes back
            try:
                after = self._after(path, before, originals, writer)
            except books.BookProblem:
                continue  # a person's affair; it stays as it is
            if after != before:
                folder, _, name = path.rpartition("/")
                folders.setdefault(folder or ".", []).append(Rewrite(name, before, after))
        return [Step(folder, folder, lambda found=found: found) for folder, found in folders.items()]  # type: ignore[misc]

    def _note_made(self) -> None:
        """Read what became of generations made since: after a crash that is not known any more."""
        entry = next(one for one in self._one.journal.find(kinds.INTENT) if one["batch"] == _GENERATIONS)
        for intent in self._one.batch(str(entry["folder"])).intents(str(entry["sha256"])):
            place, stage, old = intent.source.split("/")[-3:]
            new = intent.target.split("/")[-1]
            if old != new and (place == GENS or old not in self._made.get(stage, {})):
                self._made.setdefault(stage, {})[old] = new

    def _written(self) -> dict[str, tuple[str | None, str | None, str]]:
        """Return the files beside records that the migration rewrote: digests before and after, and the original."""
        found = {}
        for entry in self._one.journal.find(kinds.INTENT):
            if entry["what"] not in {"aliases", "books"}:
                continue
            batch = self._one.batch(str(entry["folder"]))
            number = 0
            for intent in batch.intents(str(entry["sha256"])):
                for at, one in enumerate(intent.files, start=number):
                    found[_path(intent, one.name)] = (one.was, one.becomes, batch.original(at))
                number += len(intent.files)
        return found

    def _after(
        self,
        path: str,
        before: bytes | None,
        originals: dict[str, tuple[str | None, str | None, str]],
        writer: BookWriter,
    ) -> bytes | None:
        """Return what a file that was written since becomes."""
        name = path.rpartition("/")[2]
        if path == "legacy.csv":
            return self._legacy(before, originals)
        if before is None or name == "manifest.json":
            return None
        folder = "/".join(path.split("/")[:2]) if path.startswith("trash/") else ""
        renames = self._renames.get(folder, self._renames[""]).first(self._made)
        pipeline = self._back.now.pipeline
        if name == "membership.csv":
            return books.membership(before, renames, pipeline, self._back)
        if name == "adopted.json":
            members = writer.before(path.removesuffix(name) + "membership.csv")
            after = None if members is None else books.membership(members, renames, pipeline, self._back)
            return books.adopted(before, renames, members, after)
        if name == "trash.json":
            return books.trashed(before, renames)
        return books.drift(before, renames) if path == "drift.csv" else books.ledger(before, renames)

    def _legacy(self, now: bytes | None, originals: dict[str, tuple[str | None, str | None, str]]) -> bytes | None:
        if now is None or "legacy.csv" not in originals:
            return now
        was, _, kept = originals["legacy.csv"]
        original = None if was is None else read_plain(kept)
        applied = books.legacy(original, aliases_of(self._one.plan.rows))
        return books.legacy_back(now, applied, original, self._general)


def _relabel_back(one: Round, change: Change) -> Relabel | None:
    """Return which level a fork's rollback gives back, to the generations by the ids that the fork gave them."""
    if change.relabel is None:
        return None
    forked = frozenset(row.new_id for row in one.plan.rows if row.reason == FORK)
    return Relabel(change.relabel.stage, change.relabel.field, change.relabel.becomes, change.relabel.was, forked)


def _path(intent: Intent, name: str) -> str:
    return name if intent.source == "." else f"{intent.source}/{name}"
