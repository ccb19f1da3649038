"""Removals that may be killed on the way, each with what must hold afterwards.

The pool of every scenario has two cohorts, `c` and `other`, which share a draft. What is removed and what stays is
worked out here from the memberships, and where it is from the files, without genpool's own readers.
"""

from __future__ import annotations

import bisect
import csv
import json
import shutil
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from genpool.errors import GenpoolError, NotFound, PoolBusy
from genpool.layout import PoolLayout
from genpool.pool import Pool
from genpool.records import Reason
from genpool.store import Generation
from genpool.trash import refuse_while_open
from tests.crash.syscall_sweep import run_until
from tests.small_pools import make_pool, tree, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    Remove = Callable[[Path, Sequence[str]], str | None]
    """Removes something from a pool, given what should go; returns the id of what is in the trash now."""

_DEPTH = {"gens": 3, "attempts": 3, "cohorts": 2}
"""The folders that a removal moves directories out of, and how many names the path of such a directory has."""
_STAGES = ("essay", "draft")

Content = dict[str, tuple[int, int, str]]
"""Path to mode, change time and digest."""


def purge(root: Path, _goes: Sequence[str]) -> str | None:
    """Purge the cohort `c`; return the id of what is in the trash now."""
    trashed = Pool.open(root).purge("c")[1]
    return trashed and trashed.trash_id


def regenerate(root: Path, _goes: Sequence[str]) -> str | None:
    """Move what drifted under `c` to the trash; return the id of what is there now."""
    trashed = Pool.open(root).regenerate("c")[2]
    return trashed and trashed.trash_id


def undo(root: Path, trash_id: str) -> None:
    """Take a removal back."""
    Pool.open(root).undo_removal(trash_id)


def list_trash(root: Path) -> None:
    """Do to the pool what `genpool trash ls` does."""
    Pool.open(root).settle_trash()


# --- looking from outside -------------------------------------------------------------------------


def _directories(root: Path) -> dict[str, Content]:
    """Return everything that a removal could move, by its path below a folder, each with all that is in it."""
    found: dict[str, Content] = defaultdict(dict)
    for folder, depth in _DEPTH.items():
        for name, facts in tree(root / folder).items():
            parts = (folder, *name.split("/"))
            if len(parts) >= depth:
                found["/".join(parts[:depth])]["/".join(parts[depth:])] = facts
    return dict(found)


def _records(root: Path) -> list[dict[str, Any]]:
    """Return the trash.json of every removal, oldest first."""
    found = [json.loads(path.read_bytes()) for path in root.glob("trash/*/trash.json")]
    return sorted(found, key=lambda one: one["when"])


def _members(root: Path, cohort: str) -> set[str]:
    with (root / "cohorts" / cohort / "membership.csv").open(newline="") as file:
        return {f"gens/{row['stage']}/{row['gen_id']}" for row in csv.DictReader(file)}


def _orphans(root: Path) -> Iterator[str]:
    """Yield the generations whose parent is not there."""
    for path in sorted(root.glob("gens/essay/*")):
        parent = json.loads((path / "metadata.json").read_bytes())["parent_gen_id"]
        if not (root / "gens" / "draft" / parent).exists():
            yield path.name


# --- scenarios ------------------------------------------------------------------------------------


class Purging:
    """A cohort is purged that shares a task with another."""

    again: Remove = staticmethod(purge)
    """The verb, typed again."""

    def __init__(self, remove: Callable[[Path, Sequence[str]], object] = purge) -> None:
        self.remove = remove

    def prepare(self, root: Path) -> None:
        pool = make_pool(root, rows=2)
        write_spec(root, "c", essay="template: [story]")
        write_rows(root, [0], "others.csv")
        write_spec(root, "other", rows="others.csv", essay="template: [letter]")
        assert all(pool.run(cohort).complete for cohort in ("c", "other"))
        own = min(name for name in _members(root, "c") - _members(root, "other") if "/draft/" in name)
        record = pool.store.record(pool.config.pipeline["draft"], own.split("/")[2])
        with pool.store.session():
            pool.store.keep_attempt(Generation(record, {"raw": "cut"}), Reason("truncated", "cut off"))
        self.members = {cohort: _members(root, cohort) for cohort in ("c", "other")}
        self.before = _directories(root)
        self.goes = self._what_goes()

    def _what_goes(self) -> list[str]:
        """Return the directories that go, children first."""
        return [*_children_first(self.members["c"] - self.members["other"]), *self._attempts(), "cohorts/c"]

    def _attempts(self) -> list[str]:
        return [name for name in self.before if name.startswith("attempts/")]

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        self.remove(root, self.goes)
        ack("removed")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        misplaced = list(self._misplaced(root, acked))
        yield from misplaced
        if misplaced:
            return
        for way in (self._removed_again, self._taken_back):
            there = root.with_name("recovered")
            shutil.copytree(root, there)
            try:
                yield from (f"{way.__name__.strip('_')}: {said}" for said in way(there))
            except GenpoolError as error:
                yield f"{way.__name__.strip('_')}: {type(error).__name__}: {error}"
            shutil.rmtree(there)

    def _misplaced(self, root: Path, acked: set[str]) -> Iterator[str]:
        """Yield what is not whole in one place, gone though it should stay, or moved though nobody can tell."""
        here = _directories(root)
        trash = [_directories(folder) for folder in root.glob("trash/*")]
        for name, content in self.before.items():
            found = [place[name] for place in (here, *trash) if name in place]
            if len(found) != 1:
                yield f"{'doubled' if found else 'lost'}: {name} is in {len(found)} places"
            elif found[0] != content:
                yield f"torn: {name}"
            elif name not in here and name not in self.goes:
                yield f"taken from others: {name}"
        if strange := set().union(here, *trash) - self.before.keys():
            yield f"not there before: {sorted(strange)}"
        gone = self.before.keys() - here.keys()
        recorded = {move["from"] for one in _records(root) if one["state"] != "undone" for move in one["moves"]}
        if unrecorded := gone - recorded:
            yield f"unrecorded: {sorted(unrecorded)}"
        if gone and gone != set(self.goes):
            if not _is_refused(root):
                yield "half moved, and a run would start"
            if orphans := list(_orphans(root)):
                yield f"without its parent: {orphans}"
        if "removed" in acked and gone != set(self.goes):
            yield "lost: the removal had returned"
        if "taken back" in acked and gone:
            yield "lost: the undo had returned"

    def _removed_again(self, root: Path) -> Iterator[str]:
        """The verb again completes the removal; an undo then restores what was there before."""
        done = [one["trash_id"] for one in _records(root) if one["state"] == "done"]
        try:
            trash_id = self.again(root, self.goes)
        except NotFound:  # it was complete before: there is no such cohort any more
            trash_id = None
        if trash_id is None:
            if not done:
                yield "it was not complete, and is not said to be now"
                return
            trash_id = str(done[-1])
        gone = self.before.keys() - _directories(root).keys()
        if gone != set(self.goes):
            yield f"{len(gone)} directories are gone, not {len(self.goes)}"
        undo(root, trash_id)
        yield from self._not_as_before(root)

    def _taken_back(self, root: Path) -> Iterator[str]:
        """An undo restores what was there before; without a record there is nothing to undo."""
        for one in _records(root):
            if one["state"] != "undone":
                undo(root, str(one["trash_id"]))
        yield from self._not_as_before(root)

    def _not_as_before(self, root: Path) -> Iterator[str]:
        if _directories(root) != self.before:
            yield "not as it was before"
        if any(_directories(folder) for folder in root.glob("trash/*")):
            yield "something is left in the trash"
        if _is_refused(root):
            yield "a run would not start"
        if Pool.open(root).scope("c").counts()["essay"].missing:
            yield "the cohort misses something"


class Regenerating(Purging):
    """What drifted is moved away, with all that descends from it in any cohort."""

    again = staticmethod(regenerate)

    def __init__(self) -> None:
        super().__init__(regenerate)

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        (root / "templates" / "draft" / "plain.j2").write_text("---\nparser: text\n---\nOn {{ row.topic }}.\n")

    def _what_goes(self) -> list[str]:
        return [*_children_first(name for name in self.before if name.startswith("gens/")), *self._attempts()]


class UndoingAPurge(Purging):
    """A purge is undone."""

    def __init__(self, take_back: Callable[[Path, str], None] = undo) -> None:
        super().__init__()
        self.take_back = take_back

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        purge(root, self.goes)

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        self.take_back(root, str(_records(root)[0]["trash_id"]))
        ack("taken back")


class FinishingAPurge(Purging):
    """A purge that was killed is finished by the next command: the second kill.

    Args:
        steps: How far it came: 0 moves with 1, all five with 6.
        finish: The next command.
    """

    def __init__(self, steps: int, finish: Callable[[Path], object] = list_trash) -> None:
        super().__init__()
        self.steps = steps
        self.finish = finish

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        _kill_after(root, lambda: purge(root, self.goes), lambda: _steps(root, "planned", "done"), self.steps)

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        self.finish(root)
        ack("removed")


class TakingBackAHalfPurge(FinishingAPurge):
    """A purge that was killed is undone."""

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        undo(root, str(_records(root)[0]["trash_id"]))
        ack("taken back")


class FinishingAnUndo(UndoingAPurge):
    """An undo that was killed is finished by the next command."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        trash_id = str(_records(root)[0]["trash_id"])
        _kill_after(root, lambda: undo(root, trash_id), lambda: _steps(root, "undoing", "undone"), self.steps)

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        list_trash(root)
        ack("taken back")


class PurgingAfterAHalfUndo(FinishingAnUndo):
    """An undo was killed, and the same cohort is purged again: the undo is finished, and a new removal begins."""

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        purge(root, self.goes)
        ack("removed")


def _kill_after(root: Path, act: Callable[[], None], steps: Callable[[], int], wanted: int) -> None:
    """Leave a pool as it is when an act is killed right behind a step of it."""
    untouched = root.with_name("untouched")
    root.rename(untouched)

    def steps_at(kill_at: int | None) -> int:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(untouched, root)
        nonlocal calls
        calls = run_until(act, kill_at).calls
        return steps()

    calls = 0
    steps_at(None)
    points = range(1, calls + 1)
    found = bisect.bisect_left(points, wanted, key=steps_at)
    assert steps_at(points[found]) == wanted, "it does not come so far"
    shutil.rmtree(untouched)


def _steps(root: Path, *states: str) -> int:
    """Return how far a removal, or the undo of one, has come: its record, and every directory moved."""
    records = [one for one in _records(root) if one["state"] in states]
    if not records:
        return 0
    there = "to" if "planned" in states else "from"
    return 1 + sum((root / move[there]).exists() for move in records[0]["moves"])


def _children_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (_STAGES.index(name.split("/")[1]), name))


def _is_refused(root: Path) -> bool:
    """Return whether a run would be refused because of what is half moved."""
    try:
        refuse_while_open(PoolLayout(root))
    except PoolBusy:
        return True
    return False
