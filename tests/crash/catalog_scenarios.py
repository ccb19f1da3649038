"""Catalog writes that may be killed on the way: whatever is left, it says what the files say.

What scenarios are, and how they judge, is as in `scenarios`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from genpool.catalog_rows import transaction
from genpool.pool import Pool
from tests.catalogs import fill
from tests.legacy_pools import scan, write_legacy
from tests.small_pools import generations, make_pool, models, write_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def _grow_old(root: Path) -> None:
    """Make every look one that came three seconds after the last change: it is trusted then, if anything was noted."""
    path = root / ".genpool" / "catalog.sqlite"
    if path.exists():
        database = sqlite3.connect(path, isolation_level=None)
        # no table: killed before there was one; the sum is not noted: it is as a writer leaves it who is killed
        with closing(database), suppress(sqlite3.OperationalError), transaction(database):
            database.execute("UPDATE stages SET looked = changed + 3000000000 WHERE changed > 0")


class Indexing:
    """The catalog is made, and brought up to date after something was added, exchanged and removed."""

    def prepare(self, root: Path) -> None:
        make_pool(root)
        fill(root)

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        self._look(root)
        (root / "gens" / "draft" / "old-1").rename(root / "gens" / "draft" / "old-8")
        write_legacy(root, "draft", "old-9", "row-1", "plain", "writer", replicate=1)
        self._look(root)
        ack("looked")

    @staticmethod
    def _look(root: Path) -> None:
        pool = Pool.open(root)
        with closing(pool.catalog()) as catalog:
            for stage in pool.config.pipeline:
                catalog.token(stage)

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        _grow_old(root)
        for _ in range(2):  # as it is noticed, and as it was kept
            yield from self._differing(root)
        before = self._contents(root)
        for path in (root / ".genpool").glob("catalog.sqlite*"):
            path.unlink()
        if self._contents(root) != before:
            yield "an index made anew has another content"

    @staticmethod
    def _differing(root: Path) -> Iterator[str]:
        pool = Pool.open(root)
        with closing(pool.catalog()) as catalog:
            for stage in pool.config.pipeline:
                present, seen = catalog.present(stage), scan(root, stage.name)
                if {one: present.origin(one) for one in present.whole} != seen.whole or present.legacy != seen.legacy:
                    yield f"{stage.name}: the catalog has {sorted(present.whole)}, there is {sorted(seen.whole)}"
            if catalog.in_memory:
                yield "the catalog cannot be kept any more"

    @staticmethod
    def _contents(root: Path) -> list[str]:
        pool = Pool.open(root)
        with closing(pool.catalog()) as catalog:
            return [catalog.token(stage).content for stage in pool.config.pipeline]


class RunningIndexed:
    """A cohort is run, and what it makes is noted in the catalog."""

    def prepare(self, root: Path) -> None:
        make_pool(root)
        write_spec(root)
        Pool.open(root).plan("c")

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        report = Pool.open(root).run("c", models=models())
        if report.complete:
            ack("complete")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        yield from Indexing().wrong(root, acked)
        plan = Pool.open(root).plan("c")
        there = {name for stage, name in generations(root) if stage == "draft"}
        if plan.to_make != len(plan) - len(there):
            yield f"{plan.to_make} are to be made where {len(there)} of {len(plan)} are there"
        if acked and plan.to_make:
            yield "the run had said that it was complete"
