"""Things that are done to a whole pool and may be killed on the way: slots, accepted drift, removals and their undo.

What they are, and how they judge, is as in `scenarios`. A pool is judged by its files, not by how they were written.
"""

from __future__ import annotations

import csv
import hashlib
from typing import TYPE_CHECKING

from genpool.adoption import adopt, record_slots
from genpool.drift import read_accepted
from genpool.errors import GenpoolError
from genpool.pool import Pool
from genpool.slots import read_slots
from tests.legacy_pools import write_legacy
from tests.small_pools import make_pool, torn_generations, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OLD = ("old-1", "old-2", "old-3")


class RecordingSlots:
    """A cohort adopts generations of another tool; their slots are recorded in legacy.csv."""

    def prepare(self, root: Path) -> None:
        make_pool(root, rows=1)
        write_spec(root, draft="template: [plain], model: [writer], replicates: 3")
        for number, gen_id in enumerate(OLD):
            write_legacy(
                root, "draft", gen_id, "row-0", "plain", "writer", created_at=f"2024-01-0{number + 1}T00:00:00Z"
            )

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        pool = Pool.open(root)
        plan = record_slots(pool.layout, pool.plan("c"), lambda: pool.plan("c"))
        adopt(pool.layout, pool.spec("c"), plan, pool.inputs, pool.config.models)
        ack("adopted")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        yield from self._wrong_slots(root, lost=bool(acked))
        self.act(root, lambda _: None)
        yield from self._wrong_slots(root, lost=True)

    def _wrong_slots(self, root: Path, *, lost: bool) -> Iterator[str]:
        """Yield what is wrong with the slots that are recorded, and what is lacking where that is a loss."""
        try:
            found = read_slots(Pool.open(root).layout).get("draft", {})
        except GenpoolError as error:
            yield f"torn: {error}"
            return
        right = {gen_id: slot for slot, gen_id in enumerate(OLD, start=1)}
        if any(right.get(gen_id) != slot for gen_id, slot in found.items()):
            yield f"torn: the slots are {found}"
        if lost and found != right:
            yield f"lost: adopt had returned, and the slots are {found}"


class AcceptingDrift:
    """A template has changed; a person accepts that, which is noted in drift.csv."""

    def prepare(self, root: Path) -> None:
        make_pool(root, rows=1)
        write_spec(root)
        Pool.open(root).run("c")
        (root / "templates" / "draft" / "plain.j2").write_text("---\nparser: text\n---\nAnother. {{ row.topic }}\n")
        assert len(Pool.open(root).plan("c").drift) == 1

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        if Pool.open(root).accept_drift("c"):
            ack("accepted")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        yield from self._wrong_notes(root, lost=bool(acked))
        try:
            self.act(root, lambda _: None)
        except GenpoolError as error:
            yield f"it cannot be accepted any more: {error}"
        yield from self._wrong_notes(root, lost=True)
        if (path := root / "drift.csv").exists():
            rows = list(csv.reader(path.read_text().splitlines()))
            if [len(row) for row in rows] != [5] * 2:
                yield f"drift.csv has the rows {rows}"

    def _wrong_notes(self, root: Path, *, lost: bool) -> Iterator[str]:
        pool = Pool.open(root)
        try:
            found = read_accepted(pool.layout)
            told = len(pool.plan("c").drift)
        except GenpoolError as error:
            yield f"torn: {error}"
            return
        if len(found) > 1 or told != 1 - len(found):
            yield f"torn: {found} is accepted, {told} is told"
        if lost and not found:
            yield "lost: accepting had returned"


class Purging:
    """A cohort is purged that shares a draft with another; then that is taken back."""

    def prepare(self, root: Path) -> None:
        make_pool(root, rows=2)
        write_rows(root, [0], "one.csv")
        write_spec(root, essay="template: [story, same]")
        write_spec(root, "d", rows="one.csv")
        for cohort in ("c", "d"):
            Pool.open(root).run(cohort)
        self.before = _files(root)
        self.goes = {name for name, _ in self.before if not name.startswith(("gens/draft/", "cohorts/d/"))}

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        Pool.open(root).settle_trash()  # a purge before this one may have been interrupted
        if (root / "cohorts" / "c").exists():
            Pool.open(root).purge("c")
        ack("purged")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        yield from self._wrong_files(root)
        if acked:
            yield from self._wrong_purge(root, "lost: the purge had returned, and")
        Pool.open(root).settle_trash()
        if (root / "cohorts" / "c").exists():
            Pool.open(root).purge("c")
        yield from self._wrong_files(root)
        yield from self._wrong_purge(root, "after doing it again")
        for one in reversed(Pool.open(root).trash()):
            Pool.open(root).undo_removal(one.trash_id)
        if _files(root) != self.before:
            yield "after the undo the pool is not what it was"

    def _wrong_purge(self, root: Path, said: str) -> Iterator[str]:
        """Yield what of a purge is not done."""
        left = {name for name, _ in _files(root, trash=False)} & self.goes
        if left:
            yield f"{said} {len(left)} files are where they were"
        states = [one.state for one in Pool.open(root).trash()]
        if states != ["done"]:
            yield f"{said} the trash says {states}"

    def _wrong_files(self, root: Path) -> Iterator[str]:
        """Yield what of the pool's files is not there exactly once, in its place or in the trash."""
        found = _files(root)
        if found != self.before:
            names = sorted({name for name, _ in found} ^ {name for name, _ in self.before})
            yield f"torn: not every file is there once: {names[:3]}"
        try:
            yield from (f"torn: {said}" for said in torn_generations(Pool.open(root)))
            Pool.open(root).trash()
        except GenpoolError as error:
            yield f"torn: {error}"


class TakingBackAPurge(Purging):
    """What a purge moved to the trash is moved back."""

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        Pool.open(root).purge("c")

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        pool = Pool.open(root)
        for one in pool.trash():
            if one.state != "undone":
                pool.undo_removal(one.trash_id)
                ack("taken back")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        yield from self._wrong_files(root)
        if acked and _files(root, trash=False) != self.before:
            yield "lost: the undo had returned"
        if acked and (states := [one.state for one in Pool.open(root).trash()]) != ["undone"]:
            yield f"lost: the undo had returned, and the trash says {states}"
        Pool.open(root).settle_trash()
        self.act(root, lambda _: None)
        if _files(root, trash=False) != self.before:
            yield "after the undo the pool is not what it was"


def _files(root: Path, *, trash: bool = True) -> list[tuple[str, str]]:
    """Return path and digest of everything that a removal can move, in its place or (with `trash`) in the trash."""
    places = [root, *(sorted((root / "trash").iterdir()) if trash and (root / "trash").is_dir() else ())]
    found = []
    for place in places:
        for path in (one for kind in ("gens", "attempts", "cohorts") for one in (place / kind).rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                found.append((path.relative_to(place).as_posix(), hashlib.sha256(data).hexdigest()))
    return sorted(found)
