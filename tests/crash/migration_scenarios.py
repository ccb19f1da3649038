"""Migrations that may be killed on the way: from whatever is left there is a way forward, and a way back to the byte.

What scenarios are, and how they judge, is as in `scenarios`. Both ways are tried after every point, on copies of what
was left: going on until it is applied and verified, and a rollback, after which every path has the bytes, mode, times
and links that it had.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Final

from genpool.errors import GenpoolError, PoolBusy
from genpool.layout import PoolLayout
from genpool.migration import journal as kinds
from genpool.migration.batches import Batch, Rewrite, Step
from genpool.migration.journal import JOURNAL, Journal
from genpool.migration.migrations import Migrations
from genpool.migration.waiting import refuse_while_half_done
from genpool.pool import Pool
from genpool.testing import ScriptedModel
from tests.crash.syscall_sweep import run_until
from tests.legacy_pools import fields_of, right_id, write_folder, write_legacy, write_right
from tests.small_pools import answer, copy_tree, make_pool, models, write_spec
from tests.unit.migration.conftest import whole_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Tree = dict[str, tuple[object, ...]]

BATCH: Final = 9
"""Steps in a batch: few, so that there are several batches of each kind."""
HALF_DONE: Final = frozenset({"applying", "rolling-back"})


def tree_of(root: Path) -> Tree:
    """Return what must be as before, the pool's own directory included."""
    return {".": (root.stat().st_mode, root.stat().st_mtime_ns), **whole_tree(root)}


def contents_of(tree: Tree) -> dict[str, object]:
    """Return what a tree holds, times and links aside."""
    return {name: one[3:] for name, one in tree.items() if name != "."}


def apply(at: Migrations, name: str) -> object:
    """Apply."""
    return at.apply(name)


def verify(at: Migrations, name: str) -> object:
    """Verify."""
    return at.verify(name)


def resume(at: Migrations, name: str) -> object:
    """Go on."""
    return at.resume(name)


def roll_back(at: Migrations, name: str) -> object:
    """Take back."""
    return at.roll_back(name)


def make_mixed_pool(root: Path) -> None:
    """Make a pool of 40 generations: three stages, ids of all kinds, attempts, trash, ledgers, memberships, drift."""
    make_pool(root, rows=6)
    write_legacy(root, "draft", "old-1", "row-0", "plain", "writer", replicate="1")
    write_legacy(root, "draft", "old-2", "row-1", "plain", "writer")
    write_legacy(root, "draft", "old-3", "row-1", "long", "writer", replicate=1)
    first = fields_of("draft", ("row-2", "plain", "writer"), 1), fields_of("draft", ("row-2", "plain", "writer"), 2)
    for stated, fields in ((2, first[0]), (1, first[1])):  # each has the id that the other gets
        write_legacy(root, "draft", right_id("draft", fields), "row-2", "plain", "writer", replicate=stated)
    write_legacy(root, "essay", "old-essay", "old-1", "story", replicate=0)
    write_legacy(root, "essay", "old-essay-2", "old-2", "story", replicate=1)
    write_legacy(root, "evaluation", "old-score", "old-essay", "clarity", "judge", replicate=2)
    write_right(root, "essay", "old-2", "letter")
    (root / "gens/draft/old-1/metadata.json").chmod(0o640)
    wanted = {"essay": "template: [story, same]", "evaluation": "template: [clarity], model: [judge], replicates: 2"}
    write_spec(root, "gone", rows="rows.csv", draft="template: [long], model: [writer]", essay="template: [letter]")
    Pool.open(root).run("gone", models=models())
    write_spec(root, "c", **wanted)
    judge = ScriptedModel(lambda request: answer("no score here" if request.seed % 5 == 0 else '{"score": 5}'))
    Pool.open(root).run("c", models=models(judge=judge))
    Pool.open(root).purge("gone")
    (root / "drift.csv").write_text("kind,name,stored,present,accepted_at\nparent,old-1,x,y,z\ntemplate,a,x,y,z\n")
    (root / "gens/essay/old-essay/notes.txt").write_text("somebody's")
    os.link(root / "gens/essay/old-essay/notes.txt", root / "gens/essay/old-essay/notes-2.txt")
    (root / "gens/draft/old-2/elsewhere").symlink_to("nowhere")
    os.utime(root / "gens/draft/old-1", ns=(1, 2_000_000_001))


class Migrating:
    """A migration is carried out, or taken back, and killed on the way.

    Args:
        act: What is done, and may be killed.
        ends: What the migration is when that has returned.
        earlier: What was done before; the last of it was killed in its middle where there is a share.
        share: At which share of its system calls the last of that was killed; None where it came to its end.
        kind: The migrations that act; those that judge are always genpool's own.
    """

    def __init__(
        self,
        act: Callable[[Migrations, str], object],
        ends: str,
        earlier: tuple[Callable[[Migrations, str], object], ...] = (),
        share: float | None = None,
        kind: type[Migrations] = Migrations,
    ) -> None:
        self._act = act
        self.ends = ends
        self._earlier = earlier
        self._share = share
        self._kind = kind
        self.name = ""
        self.generations = 0
        """How many the pool has, those in the trash among them."""
        self.before: Tree = {}
        self.after: dict[str, object] = {}

    def __str__(self) -> str:
        said = self._act.__name__
        if self._share is not None:
            said += f" behind {self._earlier[-1].__name__} that was killed after {self._share:.0%}"
        return said

    def at(self, root: Path) -> Migrations:
        """The migrations that are judged by."""
        return Migrations(PoolLayout(root), batch=BATCH)

    def prepare(self, root: Path) -> None:
        """Make the pool and plan; note what there is, and what there must be; do what was done earlier."""
        make_mixed_pool(root)
        at = self.at(root)
        self.generations = len([*root.glob("gens/*/*"), *root.glob("trash/*/gens/*/*")])
        self.name = at.write(at.plan()).migration_id
        self.before = tree_of(root)
        done = root.with_name("done")
        copy_tree(root, done)
        self.at(done).apply(self.name)
        self.after = contents_of(tree_of(done))
        shutil.rmtree(done)
        for number, one in enumerate(self._earlier, start=1):
            if number < len(self._earlier) or self._share is None:
                one(self.at(root), self.name)
            else:
                self._kill(root, one, self._share)

    def _kill(self, root: Path, one: Callable[[Migrations, str], object], share: float) -> None:
        """Kill something at a share of its system calls, as they are counted on a copy."""
        copy = root.with_name("counted")
        copy_tree(root, copy)
        calls = run_until(lambda: _do(one, self.at(copy), self.name), None).calls
        shutil.rmtree(copy)
        assert run_until(lambda: _do(one, self.at(root), self.name), int(calls * share)).killed
        assert self.at(root).standing(self.name).state in HALF_DONE, "killed before or behind the middle of it"

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        """Do it, then acknowledge it."""
        self._act(self._kind(PoolLayout(root), batch=BATCH), self.name)
        ack("done")

    def recover(self, root: Path, *, back: bool) -> None:
        """Go on by what the migration is: forward, or back."""
        at = self.at(root)
        state = at.standing(self.name).state
        if state == "planned" and not back:
            at.apply(self.name)
        elif state == "rolling-back" or (state == "applying" and not back):
            at.resume(self.name)
        elif state in {"applying", "applied"} and back:
            at.roll_back(self.name)

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        """Yield what is wrong with what is left, with where it leads to, and with where the way back leads to."""
        try:
            state = self.at(root).standing(self.name).state
        except GenpoolError as error:
            yield f"the journal cannot be read: {error}"
            return
        if acked and state != self.ends:
            yield f"lost: {self._act.__name__} had returned, and it is {state}"
        if state in {"planned", "rolled-back"}:
            yield from self._differs(root, f"unrecorded: {state}, but")
        if (state in HALF_DONE) != _is_refused(root):
            yield f"half done: a run would start while it is {state}" if state in HALF_DONE else "a run is refused"
        other = root.with_name("the way back")
        copy_tree(root, other)
        try:
            yield from self._forward(root)
            yield from self._back(other)
        finally:
            shutil.rmtree(other)

    def _forward(self, root: Path) -> Iterator[str]:
        try:
            self.recover(root, back=False)
            state = self.at(root).standing(self.name).state
            report = self.at(root).verify(self.name)
        except (GenpoolError, OSError) as error:
            yield f"it does not go on: {type(error).__name__}: {error}"
            return
        if state not in {"applied", "rolled-back"}:
            yield f"gone on with, it is {state}"
        yield from (f"forward, not right: {path}: {said}" for path, said in report.problems)
        if state == "rolled-back":
            yield from self._differs(root, "forward to the end of the rollback,")
        elif contents_of(tree_of(root)) != self.after:
            found = contents_of(tree_of(root))
            names = sorted(name for name in {*found, *self.after} if found.get(name) != self.after.get(name))
            yield f"forward, other contents than those of an undisturbed migration: {names[:5]}"

    def _back(self, root: Path) -> Iterator[str]:
        try:
            self.recover(root, back=True)
            state = self.at(root).standing(self.name).state
            if state == "rolled-back":
                report = self.at(root).verify(self.name)
                yield from (f"back, not right: {path}: {said}" for path, said in report.problems)
        except (GenpoolError, OSError) as error:
            yield f"there is no way back: {type(error).__name__}: {error}"
            return
        if state not in {"planned", "rolled-back"}:
            yield f"taken back, it is {state}"
        yield from self._differs(root, "taken back,")

    def _differs(self, root: Path, when: str) -> Iterator[str]:
        found = tree_of(root)
        names = sorted(name for name in {*found, *self.before} if found.get(name) != self.before.get(name))
        if names:
            name = names[0]
            yield f"{when} {len(names)} paths are not as before: {name}: {self.before.get(name)} -> {found.get(name)}"


class TakingBackWhatCameSince(Migrating):
    """A migration is taken back after a run has made more: what came since is carried over.

    Where that leads to is what a rollback leads to that nothing disturbs; of times nothing is asked.
    """

    def __init__(self) -> None:
        super().__init__(roll_back, "rolled-back", (apply,))
        self.taken_back: dict[str, object] = {}

    def __str__(self) -> str:
        return "roll_back of more that was made since"

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        wanted = {"essay": "template: [letter, story]", "evaluation": "template: [clarity], model: [judge]"}
        write_spec(root, "later", **wanted)
        judge = ScriptedModel(lambda request: answer("no score here" if request.seed % 2 == 0 else '{"score": 5}'))
        Pool.open(root).run("later", models=models(judge=judge))
        self.after = contents_of(tree_of(root))
        done = root.with_name("done")
        copy_tree(root, done)
        self.at(done).roll_back(self.name)
        self.taken_back = contents_of(tree_of(done))
        shutil.rmtree(done)
        gone = {name for name in self.before if name not in {".", *self.taken_back}}
        assert not gone, f"a rollback loses {sorted(gone)}"
        assert len(self.taken_back) > len(self.before) + 20, "hardly anything was made since"

    def _differs(self, root: Path, when: str) -> Iterator[str]:
        found = contents_of(tree_of(root))
        names = sorted(name for name in {*found, *self.taken_back} if found.get(name) != self.taken_back.get(name))
        if names:
            yield f"{when} {len(names)} files are not as after an undisturbed rollback: {names[:5]}"


class Planning:
    """A migration is planned. The same pool gives the same plan under the same id; so a wrong one has another."""

    def prepare(self, root: Path) -> None:
        """Make a pool; note the plan's id."""
        make_mixed_pool(root)
        copy = root.with_name("done")
        copy_tree(root, copy)
        self.name = Planning.plan(copy)
        shutil.rmtree(copy)
        self.before = whole_tree(root)

    @staticmethod
    def plan(root: Path) -> str:
        """Plan, and return the plan's id."""
        at = Migrations(PoolLayout(root))
        return at.write(at.plan()).migration_id

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        """Plan it."""
        Planning.plan(root)
        ack("done")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        """Yield what is wrong with the plans that are there, and with the next one."""
        found = {one.migration_id for one in Migrations(PoolLayout(root)).all()}
        if found != {self.name} if acked else found - {self.name}:
            yield f"planned: {found}, not {self.name}"
        if (name := Planning.plan(root)) != self.name:
            yield f"planned again: {name}, not {self.name}"
        if whole_tree(root) != self.before:
            yield "a plan changes the pool"


class DoingABatch:
    """One batch is done under a journal, and flushed file by file, as on file systems that know no common flush."""

    def prepare(self, root: Path) -> None:
        """Write three directories' worth of files."""
        for name in ("a", "b"):
            write_folder(root / "gens" / name, name.encode(), "text\n" * 500)
        (root / "cache").write_text("cache")
        self.before = self._files(root)

    @staticmethod
    def _files(root: Path) -> Tree:
        found = whole_tree(root)
        return {name: one for name, one in found.items() if (root / name).is_file() and not name.startswith("round")}

    @staticmethod
    def _batch(root: Path) -> tuple[Journal, Batch]:
        return Journal(root / "round" / JOURNAL), Batch(str(root), root / "round" / "batch", together=False)

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        """Prepare, journal, do, journal."""
        journal, batch = self._batch(root)
        journal.add(kinds.BEGIN)
        digest = batch.prepare(
            [
                Step("gens/a", "gens/c", lambda: [Rewrite("metadata.json", b"a", b"new")], texts=True),
                Step("gens/b", "deep/er/d", list, texts=True),
                Step(".", ".", lambda: [Rewrite("cache", b"cache", None), Rewrite("fresh", None, b"made")]),
            ]
        )
        journal.add(kinds.INTENT, sha256=digest)
        batch.do(batch.intents(digest))
        journal.add(kinds.DONE)
        ack("done")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        """Yield what is wrong with what is left, and with what it leads to both ways."""
        journal, batch = self._batch(root)
        if acked and not journal.has(kinds.DONE):
            yield "lost: it was done"
        if not journal.has(kinds.INTENT):
            if contents_of(self._files(root)) != contents_of(self.before):  # what is prepared is a link more
                yield "unrecorded: files are not as before"
            return
        other = root.with_name("the way back")
        copy_tree(root, other)
        try:
            digest = str(journal.find(kinds.INTENT)[0]["sha256"])
            if not journal.has(kinds.DONE):
                batch.do(batch.intents(digest))
            found = {name: str(one[3]) for name, one in self._files(root).items()}
            if found != self._after():
                yield f"torn: it leads to {sorted(found)}"
            behind = self._batch(other)[1]
            behind.undo(behind.intents(digest))
            if self._files(other) != self.before:
                yield "torn: taken back, files are not as before"
        except (GenpoolError, OSError) as error:
            yield f"torn: {type(error).__name__}: {error}"
        finally:
            shutil.rmtree(other)

    def _after(self) -> dict[str, str]:
        texts = {"deep/er/d/metadata.json": b"b", "fresh": b"made", "gens/c/metadata.json": b"new"}
        texts |= {f"{name}/parsed.txt": b"text\n" * 500 for name in ("gens/c", "deep/er/d")}
        return {name: hashlib.sha256(data).hexdigest() for name, data in texts.items()}


def _do(one: Callable[[Migrations, str], object], at: Migrations, name: str) -> None:
    one(at, name)


def _is_refused(root: Path) -> bool:
    try:
        refuse_while_half_done(PoolLayout(root))
    except PoolBusy:
        return True
    return False


def applying(kind: type[Migrations] = Migrations) -> Migrating:
    """A migration is applied."""
    return Migrating(apply, "applied", kind=kind)


def verifying() -> Migrating:
    """An applied migration is verified."""
    return Migrating(verify, "applied", (apply,))


def resuming(share: float, kind: type[Migrations] = Migrations) -> Migrating:
    """An apply that was killed is gone on with."""
    return Migrating(resume, "applied", (apply,), share, kind)


def rolling_back(kind: type[Migrations] = Migrations) -> Migrating:
    """An applied migration is taken back."""
    return Migrating(roll_back, "rolled-back", (apply,), kind=kind)


def rolling_back_a_half(share: float, kind: type[Migrations] = Migrations) -> Migrating:
    """An apply that was killed is taken back."""
    return Migrating(roll_back, "rolled-back", (apply,), share, kind)


def resuming_a_rollback(share: float, kind: type[Migrations] = Migrations) -> Migrating:
    """A rollback that was killed is gone on with."""
    return Migrating(resume, "rolled-back", (apply, roll_back), share, kind)
