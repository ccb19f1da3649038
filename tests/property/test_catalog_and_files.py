"""Catalog, manifest and a plain scan of the files say the same, whatever is done to the files behind their back.

Random steps: generations added, removed, renamed, exchanged and replaced under their name; texts lost; modification
times rolled back; slots recorded; looks that were long ago, or by a clock that was set back or forth; what a store of
ours writes, noted or killed before it could note it; the index deleted, or the sum over its file. After each the
answers are compared.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

import pytest

from genpool.catalog_follower import following
from genpool.catalog_reader import stamp_of
from genpool.change_tokens import still_holds
from genpool.manifest_check import differences
from genpool.manifests import Unfit
from genpool.pool import Pool
from genpool.records import Record
from genpool.signatures import Signature
from genpool.store import Generation
from tests.bars import least
from tests.catalogs import altered, same
from tests.legacy_pools import record_slots, right_id, scan, write_legacy, write_right
from tests.small_pools import make_pool, memory_folder, write_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.change_tokens import StageToken
    from tests.conftest import Statement

STAGE = "draft"
ROWS = ("row-0", "row-1", "row-2")
SECOND = 1_000_000_000


class Walk:
    """A pool to which random things are done."""

    def __init__(self, root: Path, dice: random.Random) -> None:
        self.root = root
        self.dice = dice
        self.folder = root / "gens" / STAGE
        self.pool = make_pool(root)
        self.stage = self.pool.config.pipeline[STAGE]
        self.manifests = 0
        self.tokens: list[tuple[StageToken, str]] = []
        self.members = [
            {"combo_id": row, "template_id": "plain", "llm_model_id": "writer", "replicate": number}
            for row in ROWS
            for number in (1, 2, 3)
        ]
        write_spec(root)
        lines = [",".join(map(str, (STAGE, right_id(STAGE, one), *one.values()))) for one in self.members]
        header = "stage,gen_id,combo_id,template_id,llm_model_id,replicate"
        (root / "cohorts" / "c" / "membership.csv").write_text("\n".join((header, *lines, "")))
        self.steps: list[Callable[[], None]] = [
            self.add, self.add, self.add_legacy, self.add_legacy, self.commit, self.commit, self.commit_and_die,
            self.remove, self.rename, self.exchange, self.replace, self.replace_by_an_older, self.lose_a_text,
            self.roll_times_back, self.record_a_slot, self.remove_the_folder, self.grow_old, self.grow_old,
            self.set_the_clock_back, self.set_the_clock_forth, self.delete_the_index, self.delete_the_sum, self.nothing,
            self.write_a_manifest, self.write_a_manifest,
        ]  # fmt: skip

    def place(self) -> Path | None:
        """Return the directory of some generation, or None where there is none."""
        there = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return self.dice.choice(there) if there else None

    # -- what is done ------------------------------------------------------------------------------

    def add(self) -> None:
        row, number = self.dice.choice(ROWS), self.dice.randint(1, 3)
        fields = {"combo_id": row, "template_id": "plain", "llm_model_id": "writer", "replicate": number}
        if not (self.folder / right_id(STAGE, fields)).exists():
            origin = self.dice.choice(["one", "other"])
            write_right(self.root, STAGE, row, "plain", "writer", replicate=number, origin=origin)

    def add_legacy(self) -> None:
        name = f"old-{self.dice.randint(0, 4)}"
        if not (self.folder / name).exists():
            values = (self.dice.choice(ROWS), "plain", "writer")
            write_legacy(self.root, STAGE, name, *values, replicate=self.dice.choice(["1", "2", 0, None]))

    def commit(self) -> None:
        self._commit(noted=True)

    def commit_and_die(self) -> None:
        self._commit(noted=False)

    def _commit(self, *, noted: bool) -> None:
        values = (self.dice.choice(ROWS), "plain", "writer", self.dice.randint(1, 3))
        signature = Signature(self.stage, values)
        record = Record(signature, self.pool.gen_id(signature), "ours", "run", "2026-01-01T00:00:00Z", "llm")
        pool = Pool.open(self.root)
        with pool.store.session(), following(pool.store, pool.config.pipeline) if noted else nullcontext():
            pool.store.commit(Generation(record, {"parsed": "A text."}))

    def remove(self) -> None:
        if place := self.place():
            shutil.rmtree(place)

    def rename(self) -> None:
        if place := self.place():
            place.rename(self.folder / f"moved-{self.dice.randint(0, 9**9)}")

    def exchange(self) -> None:
        one, other = self.place(), self.place()
        if one and other and one != other:
            one.rename(self.root / "aside")
            other.rename(one)
            (self.root / "aside").rename(other)

    def replace(self) -> None:
        """Replace a generation under its name, within the tick in which it was looked at, as the case may be."""
        if place := self.place():
            shutil.rmtree(place)
            write_legacy(self.root, STAGE, place.name, self.dice.choice(ROWS), "plain", "writer", origin="replaced")

    def replace_by_an_older(self) -> None:
        """Put a backup in the place, with the times that it had."""
        place = self.place()
        if place and (other := self.place()):
            shutil.copytree(other, self.root / "backup")
            times = place.stat()
            shutil.rmtree(place)
            (self.root / "backup").rename(place)
            os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))

    def lose_a_text(self) -> None:
        """Take a text out of a directory: it is promised to be noticed when the stage's folder is looked through."""
        if place := self.place():
            (place / "parsed.txt").unlink(missing_ok=True)
            os.utime(self.folder)

    def roll_times_back(self) -> None:
        paths = [self.folder, *self.folder.iterdir()] if self.folder.is_dir() else []
        for path in paths:
            os.utime(path, ns=(SECOND, self.dice.choice([SECOND, path.stat().st_mtime_ns])))

    def record_a_slot(self) -> None:
        record_slots(self.root, [(STAGE, f"old-{self.dice.randint(0, 4)}", self.dice.randint(1, 4))])

    def remove_the_folder(self) -> None:
        if self.dice.random() < 0.3:
            shutil.rmtree(self.folder, ignore_errors=True)

    def write_a_manifest(self) -> None:
        Pool.open(self.root).manifests.write("c")

    def nothing(self) -> None:
        pass

    def delete_the_index(self) -> None:
        for path in (self.root / ".genpool").glob("catalog.sqlite*"):
            path.unlink()

    def delete_the_sum(self) -> None:
        (self.root / ".genpool" / "catalog.sqlite-sum").unlink(missing_ok=True)

    def grow_old(self) -> None:
        """Make the last look one that was taken three seconds after the last change, a tick of the clock later."""
        self._looked(3 * SECOND)

    def set_the_clock_back(self) -> None:
        self._looked(-3600 * SECOND)

    def set_the_clock_forth(self) -> None:
        self._looked(10**9 * SECOND)

    def _looked(self, after: int) -> None:
        time.sleep(0.011)  # what is done next is done in another tick, as it would be
        self.compare()
        changed = self.folder.stat().st_ctime_ns if self.folder.is_dir() else 0
        with altered(self.root / ".genpool" / "catalog.sqlite") as database:
            looked = (changed, max(changed + after, 0), STAGE)
            database.execute("UPDATE stages SET changed = ?, looked = ? WHERE stage = ?", looked)
            if after > 0:
                for one in self.folder.iterdir() if self.folder.is_dir() else ():
                    stamp = (stamp_of(one.lstat()), STAGE, one.name)
                    database.execute("UPDATE gens SET stamp = ? WHERE stage = ? AND gen_id = ?", stamp)

    # -- what is compared --------------------------------------------------------------------------

    def compare(self) -> None:
        seen = repr(scan(self.root, STAGE))
        held = {one: still_holds(self.pool.layout, self.stage, one[0]) for one in self.tokens}
        with closing(Pool.open(self.root).catalog()) as catalog:
            present = same(catalog, self.root, STAGE)
            shelved = catalog.on_shelf(self.stage, 0)
            assert dict(shelved.whole) == present.whole
            assert sorted(gen_id for gen_id, _ in catalog.signatures(self.stage)) == sorted(present.whole)
            for gen_id in (*present.whole, "old-0", "old-1"):
                entry = catalog.entry(self.stage, gen_id)
                assert (entry is not None and entry.signature is not None) == (gen_id in present.whole)
            token = catalog.token(self.stage)
        for (before, said), holds in held.items():
            assert said == seen or not (holds or token.same_content(before)), "a token that holds no more"
        self.tokens = [*self.tokens[-5:], (token, seen)]
        self.compare_the_cohort()

    def compare_the_cohort(self) -> None:
        """Compare what a scope says, from a manifest where there is a good one, with the catalog and with a scan."""
        pool, seen = Pool.open(self.root), scan(self.root, STAGE)
        scope = pool.scope("c")
        good = pool.manifests.good("c")
        if not isinstance(good, Unfit):
            self.manifests += 1
            assert scope.answered_from == "manifest"
            assert list(differences(good, scope.from_catalog)) == []
        ids = {right_id(STAGE, one) for one in self.members}
        counts = scope.counts()[STAGE]
        assert counts.missing == len(ids - seen.whole.keys() - seen.unusable)
        assert counts.own == 0
        assert counts.reused + counts.unusable == len(ids & (seen.whole.keys() | seen.unusable))

    def rebuilt(self) -> None:
        """Compare the content with that of an index made anew."""
        before = self.tokens[-1][0]
        self.delete_the_index()
        self.compare()
        assert self.tokens[-1][0].same_content(before)


@pytest.mark.bar(8)
@pytest.mark.timeout(7200)
def test_whatever_is_done_behind_its_back_the_catalog_says_what_the_files_say(full: bool, proof: Statement) -> None:
    runs, steps = (least(8, "runs"), 50) if full else (20, 25)
    manifests = 0
    for number in range(runs):
        with memory_folder() as folder:
            walk = Walk(folder / "pool", random.Random(number))
            done = []
            try:
                for _ in range(steps):
                    step = walk.dice.choice(walk.steps)
                    done.append(step.__name__)
                    step()
                    walk.compare()
                walk.rebuilt()
                manifests += walk.manifests
            except AssertionError as error:
                error.add_note(f"run {number}, after {', '.join(done)}")
                raise
    said = f"{runs} pools, {steps} steps each: the answers agree after every one, {manifests} times by a manifest"
    proof(said, runs=runs, steps=runs * steps, manifests=manifests)
