"""Whatever is done to a pool behind its back, a scope with all its caches answers as one without any does."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from tests.catalogs import SECOND, fill, snapshot
from tests.legacy_pools import CHOICES, record_slots, write_legacy, write_right
from tests.small_pools import make_pool, memory_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.scope import StageCounts
    from genpool.standing import StageColumns

SEED = 20260102


class Hands:
    """Someone who changes a pool's files at random."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root, self.chance = root, chance
        self.number = 0

    def one(self) -> Path | None:
        found = sorted((self.root / "gens" / self.chance.choice(sorted(CHOICES))).iterdir())
        return self.chance.choice(found) if found else None

    def add(self) -> None:
        self.number += 1
        write_right(self.root, "draft", f"row-{self.chance.randrange(4)}", "long", "writer", replicate=self.number)

    def add_another_tools(self) -> None:
        name = self.chance.choice(["old-1", "old-2", "old-9"])
        shutil.rmtree(self.root / "gens/draft" / name, ignore_errors=True)
        stated = self.chance.choice(["1", "2", "0"])
        write_legacy(self.root, "draft", name, f"row-{self.chance.randrange(3)}", "plain", "writer", replicate=stated)

    def remove(self) -> None:
        if place := self.one():
            shutil.rmtree(place)

    def move_away_and_back(self) -> None:
        if place := self.one():
            place.rename(self.root / "aside")
            if self.chance.random() < 0.5:
                self.ask()
            (self.root / "aside").rename(place)

    def swap(self) -> None:
        one, other = self.one(), self.one()
        if one and other and one != other and one.parent == other.parent:
            one.rename(self.root / "aside")
            other.rename(one)
            (self.root / "aside").rename(other)

    def damage(self) -> None:
        """Replace a directory by one that lacks something."""
        if (place := self.one()) and (place / "metadata.json").is_file():
            shutil.copytree(place, self.root / "aside")
            (self.root / "aside" / self.chance.choice(["metadata.json", "parsed.txt"])).write_bytes(b"")
            if self.chance.random() < 0.5:
                (self.root / "aside/parsed.txt").unlink()
            shutil.rmtree(place)
            (self.root / "aside").rename(place)

    def record_a_slot(self) -> None:
        record_slots(self.root, [("draft", "old-1", self.chance.randrange(1, 9))])

    def roll_times_back(self) -> None:
        if place := self.one():
            os.utime(place, (1, 1))
            os.utime(place.parent, (1, 1))

    def forget(self) -> None:
        shutil.rmtree(self.root / ".genpool", ignore_errors=True)

    def ask(self) -> None:
        Pool.open(self.root).scope("c").counts()

    def write(self) -> None:
        Pool.open(self.root).manifests.write("c")

    def let_time_pass(self) -> None:
        """Make the next manifest one of stages that nobody changed for long."""
        self.ask()
        if (self.root / ".genpool/catalog.sqlite").exists():
            for name in CHOICES:
                Pool.open(self.root).scope("c").columns(name)
                snapshot(self.root, name, looked=3 * SECOND)
            self.write()


def told(root: Path) -> tuple[dict[str, StageCounts], dict[str, StageColumns], str]:
    scope = Pool.open(root).scope("c")
    return scope.counts(), scope.columns(), scope.answered_from


@pytest.mark.timeout(1800)
def test_with_all_caches_and_without_any_the_answers_are_the_same(full: bool) -> None:
    used = {"manifest": 0, "catalog": 0}
    for run in range(200 if full else 5):
        chance = random.Random(SEED + run)
        with memory_folder() as place:
            root = place / "pool"
            _prepare(root)
            hands = Hands(root, chance)
            deeds = [one for name, one in sorted(vars(Hands).items()) if name[0] != "_" and name != "one"]
            for _ in range(50 if full else 20):
                deed: Callable[[Hands], None] = chance.choice(deeds)
                deed(hands)
                if chance.random() < 0.4:
                    hands.write()
                bare = place / "bare"
                shutil.copytree(root, bare, ignore=shutil.ignore_patterns(".genpool", "manifest.json"))
                counts, columns, source = told(root)
                used[source] += 1
                assert (counts, columns, "catalog") == told(bare), f"run {run}, after {deed.__name__}"
                shutil.rmtree(bare)
    assert all(used.values()), used


def _prepare(root: Path) -> None:
    """Make a pool with right and other generations; its cohort has them all, some twice, and some that never were."""
    make_pool(root)
    fill(root)
    (root / "cohorts/c").mkdir(parents=True)
    members = [(stage, one.name) for stage in CHOICES for one in sorted((root / "gens" / stage).iterdir())]
    members += [("draft", "old-9"), ("draft", "never"), members[0]]
    lines = "".join(f"{stage},{gen_id}\n" for stage, gen_id in members)
    (root / "cohorts/c/membership.csv").write_text(f"stage,gen_id\n{lines}")
