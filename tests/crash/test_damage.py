"""Bits that flip and files that are cut, at random places: all is found under gens/, and no fix makes it worse."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from tests.bars import least
from tests.small_pools import memory_folder
from tests.sound_pools import OLD_DRAFT, contents, sound_pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Statement

pytestmark = pytest.mark.bar(9)

SEED = 20260101
MENDED = ("combos.jsonl", "legacy.csv", "drift.csv", "ledger/")
"""Files whose last line may be torn."""
MANIFEST = "cohorts/c/manifest.json"


@pytest.fixture
def root() -> Iterator[Path]:
    """A sound pool in memory."""
    with memory_folder() as place:
        yield sound_pool(place / "pool", rows=1).root


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with one bit the other way."""
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def cut(data: bytes, chance: random.Random) -> bytes:
    """Return the beginning of the bytes, without at least one."""
    return data[: chance.randrange(len(data))]


def damages(files: list[Path], count: int) -> Iterator[tuple[Path, bytes]]:
    """Yield a file and other bytes for it; flips and cuts by turns."""
    chance = random.Random(SEED)
    for number in range(count):
        path = chance.choice(files)
        yield path, (cut if number % 2 else flipped)(path.read_bytes(), chance)


@pytest.mark.timeout(3600)
def test_every_damage_in_a_generation_is_found_named_and_not_made_worse(
    root: Path, full: bool, proof: Statement
) -> None:
    pool = Pool.open(root)
    files = [path for path in sorted((root / "gens").rglob("*")) if path.is_file() and path.stat().st_size]
    files = [path for path in files if OLD_DRAFT not in path.parts]
    missed, worse = [], []
    count = 0
    for path, damaged in damages(files, least(9, "damages") if full else 200):
        before, name = contents(root), path.relative_to(root).as_posix()
        path.write_bytes(damaged)
        count += 1
        if not any(one.path == name and one.gen_id == path.parent.name for one in pool.examine().problems):
            missed.append((name, before[name], damaged))
        after_fix = {one.path for one in pool.mend().problems}
        if name not in after_fix or contents(root) != {**before, name: damaged}:
            worse.append((name, before[name], damaged))
        path.write_bytes(before[name])
    said = f"damage in generations: {count} places in {len(files)} files, {count - len(missed)} found and named"
    proof(said, damages=count, unnamed=len(missed), worse=len(worse))
    assert pool.examine().problems == ()
    assert (missed, worse) == ([], [])


@pytest.mark.timeout(3600)
def test_whatever_file_is_damaged_no_fix_makes_it_worse(root: Path, full: bool, proof: Statement) -> None:
    pool = Pool.open(root)
    pool.scope("c").counts()  # there is a catalog
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.stat().st_size]
    files = [path for path in files if "gens" not in path.parts and path.name != "pool.yaml"]
    manifest = (root / MANIFEST).read_bytes()
    count, worse = 0, []
    for path, damaged in damages(files, 2_000 if full else 100):
        before, name = contents(root), path.relative_to(root).as_posix()
        was = path.read_bytes()
        path.write_bytes(damaged)
        count += 1
        told = any(one.path == name for one in pool.mend().findings)
        after = contents(root)
        kept = after.pop(f"{name}.torn", b"")
        changed = bool(kept) and not name.startswith(MENDED)
        if name == MANIFEST:
            changed |= name in after or not told
        after[MANIFEST] = before[MANIFEST]  # a cache: what is damaged, or no longer fits, is told and removed
        if name != MANIFEST and not name.startswith(
            ".genpool"
        ):  # what was cut off the damaged file is beside it, and no byte is lost
            changed |= (after[name] + kept).rstrip(b"\n") != damaged.rstrip(b"\n")
            after[name] = before[name]
        if changed or after != before:
            worse.append((name, was, damaged))
        path.write_bytes(was)
        (root / MANIFEST).write_bytes(manifest)
        path.with_name(f"{path.name}.torn").unlink(missing_ok=True)
    said = f"damage elsewhere: {count} places in {len(files)} files, {len(worse)} made worse by a fix"
    proof(said, elsewhere=count, worse=len(worse))
    assert worse == []
    assert pool.mend().problems == ()
