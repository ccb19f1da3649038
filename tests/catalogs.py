"""Catalogs set against a plain scan of the files: pools that a catalog has looked at, and what it must say of them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from genpool.catalog_reader import stamp_of
from genpool.catalog_rows import transaction
from genpool.catalog_sum import close_summed
from genpool.pool import Pool
from tests.legacy_pools import CHOICES, scan, write_legacy, write_right
from tests.small_pools import make_pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.catalog import Catalog
    from genpool.present import Present

SECOND = 1_000_000_000  # nanoseconds


def indexed_pool(root: Path) -> Path:
    """Make a pool with right and legacy generations in all stages, looked at once and long ago."""
    make_pool(root)
    fill(root)
    agrees(root)
    look(root)
    return root


def look(root: Path) -> Path:
    """Let the catalog look at a pool, long ago; return its file."""
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        for stage in pool.config.pipeline:
            catalog.present(stage)
    for name in CHOICES:
        snapshot(root, name, looked=3 * SECOND)
    return root / ".genpool" / "catalog.sqlite"


def fill(root: Path) -> None:
    for row in ("row-0", "row-1"):
        draft = write_right(root, "draft", row, "plain", "writer", origin="first")
        write_right(root, "draft", row, "plain", "writer", replicate=2, origin="second")
        essay = write_right(root, "essay", draft, "story")
        write_right(root, "evaluation", essay, "clarity", "judge")
    write_legacy(root, "draft", "old-1", "row-0", "plain", "writer", replicate="2")
    write_legacy(root, "draft", "old-2", "row-2", "plain", "writer", origin=None)
    write_legacy(root, "essay", "old-3", "old-2", "story", replicate=0)


@contextmanager
def altered(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an index to say something else in it; the sum of its file is right afterwards, as if genpool had written."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        with transaction(database):
            pass  # it has another mark now
        yield database
    except BaseException:
        database.close()
        raise
    close_summed(database, path)


def agrees(root: Path, salt: str = "", *, kept: bool = True) -> dict[str, Present]:
    """Check that the catalog's answer is the plain scan's, for every stage; return it."""
    pool = Pool.open(root)
    answers = {}
    with closing(pool.catalog()) as catalog:
        for name in CHOICES:
            stage = pool.config.pipeline[name]
            for _ in range(2):  # as it is noticed, and as it was kept
                answers[name] = same(catalog, root, name, salt)
            for source in {family[0] for family in scan(root, name, salt).families} if stage.parent else ():
                below = {gen for slots in of_source(root, name, source, salt) for gen in slots.values()}
                assert below <= set(catalog.children(stage, source))
        assert catalog.in_memory is not kept
    return answers


def same(catalog: Catalog, root: Path, stage: str, salt: str = "") -> Present:
    present, seen = catalog.present(Pool.open(root).config.pipeline[stage]), scan(root, stage, salt)
    assert {gen_id: present.origin(gen_id) for gen_id in present.whole} == seen.whole
    assert present.incomplete == seen.incomplete
    assert set(present.unusable) == seen.unusable
    assert all(present.unusable.values()), "every unusable one with what is wrong"
    assert present.legacy == seen.legacy
    found = {(source, *json.loads(choices)): dict(slots) for (source, choices), slots in present.families.items()}
    assert found == seen.families
    return present


def of_source(root: Path, stage: str, source: str, salt: str) -> Iterator[dict[int, str]]:
    return (slots for family, slots in scan(root, stage, salt).families.items() if family[0] == source)


def snapshot(root: Path, stage: str = "draft", *, looked: int, stamps: int = 0) -> None:
    """Make the last look at a stage one of another time: so many nanoseconds after its folder changed."""
    folder = root / "gens" / stage
    changed = folder.stat().st_ctime_ns
    with altered(root / ".genpool" / "catalog.sqlite") as database:
        database.execute(
            "UPDATE stages SET changed = ?, looked = ? WHERE stage = ?", (changed, changed + looked, stage)
        )
        for one in folder.iterdir():
            stamp = stamp_of(one.stat()) + stamps
            database.execute("UPDATE gens SET stamp = ? WHERE stage = ? AND gen_id = ?", (stamp, stage, one.name))
