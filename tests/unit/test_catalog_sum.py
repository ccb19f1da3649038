"""The sum beside the catalog: what is damaged is made anew, and what is not is kept, whoever wrote it and died."""

from __future__ import annotations

import gc
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from genpool.catalog_connection import connect
from genpool.catalog_follower import following
from genpool.catalog_reader import stamp_of
from genpool.catalog_rows import StageWriter, transaction
from genpool.catalog_sum import CatalogSum
from genpool.pool import Pool
from tests.catalogs import agrees, altered, indexed_pool
from tests.legacy_pools import write_legacy


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return indexed_pool(tmp_path / "pool")


@pytest.fixture
def index(root: Path) -> Path:
    return root / ".genpool" / "catalog.sqlite"


def sum_of(index: Path) -> Path:
    return index.with_name("catalog.sqlite-sum")


def kept(root: Path, index: Path) -> bool:
    """Return whether the answers are right, and those of the index as it is: not of one that was made anew."""
    before = index.stat().st_ino
    with index.open("rb"):  # its number is not given away
        agrees(root)
        return index.stat().st_ino == before


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)[0]
        file.seek(at)
        file.write(bytes([old ^ 1]))


# --- damaged ----------------------------------------------------------------------------------------


def test_a_bit_that_flips_is_noticed_with_the_times_of_before(root: Path, index: Path) -> None:
    assert kept(root, index)
    times = index.stat()
    flip(index, index.read_bytes().index(b"row-0"))
    os.utime(index, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not kept(root, index)
    assert kept(root, index)


@pytest.mark.parametrize("taken", [0, -3600, 3600], ids=["just now", "an hour ago", "by a clock that was set back"])
def test_a_bit_that_rots_without_a_sign_is_noticed_when_the_sum_is_taken_again(index: Path, taken: int) -> None:
    own = CatalogSum(index)
    said = own._said()
    assert said is not None
    flip(index, index.read_bytes().index(b"row-0"))
    own._note(replace(said, stamp=stamp_of(index.stat())))
    moment = time.time_ns() + taken * 10**9
    os.utime(sum_of(index), ns=(moment, moment))
    with pytest.raises(sqlite3.DatabaseError):
        own.holds()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE gens SET choices = '[\"long\",\"writer\"]' WHERE gen_id = 'old-1'",
        "UPDATE gens SET making = making + 1 WHERE stage = 'draft'",
        "UPDATE makings SET origin = 'first' || ifnull(origin, '')",
        "DELETE FROM gens WHERE gen_id = 'old-2'",
        "DELETE FROM stages WHERE stage = 'draft'",
        "UPDATE stages SET content = '00' WHERE stage = 'draft'",
    ],
)
def test_where_there_is_no_sum_the_rows_are_set_against_their_digests(root: Path, index: Path, change: str) -> None:
    with altered(index) as database:
        assert database.execute(change).rowcount
    sum_of(index).unlink()
    assert not kept(root, index)


def test_text_that_is_none_any_more_is_damage(root: Path, index: Path) -> None:
    """SQLite calls it an operational error, as it does a lock."""
    sum_of(index).unlink()
    at = index.read_bytes().index(b"old-1")
    with index.open("r+b") as file:
        file.seek(at)
        file.write(b"\xef")
    assert not kept(root, index)
    assert kept(root, index)


def test_an_index_that_is_a_link_is_made_anew_in_its_place(root: Path, index: Path) -> None:
    elsewhere = index.rename(root.parent / "elsewhere.sqlite")
    index.symlink_to(elsewhere)
    agrees(root)
    assert not index.is_symlink()
    assert kept(root, index)


def test_a_run_notes_nothing_in_a_damaged_index(root: Path, index: Path) -> None:
    pool = Pool.open(root)
    flip(index, index.read_bytes().index(b"row-0"))
    before = index.read_bytes()
    with following(pool.store, pool.config.pipeline):
        write_legacy(root, "draft", "late", "row-0", "plain", "writer")
    assert index.read_bytes() == before
    assert not kept(root, index)


# --- not damaged ------------------------------------------------------------------------------------


def test_an_index_is_kept_as_it_is_whoever_wrote_it(root: Path, index: Path) -> None:
    assert kept(root, index)
    write_legacy(root, "draft", "late", "row-0", "plain", "writer")
    assert kept(root, index)
    assert CatalogSum(index).holds()


@pytest.mark.parametrize("seed", range(10))
def test_a_sum_that_is_lost_or_damaged_costs_no_more_than_a_look_at_the_rows(
    root: Path, index: Path, seed: int
) -> None:
    chance, path = random.Random(seed), sum_of(index)
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes([bytes(data), bytes(data[: seed * 5]), bytes(data) + b"more"][seed % 3])
    assert kept(root, index)
    assert CatalogSum(index).holds(), "it is there again"
    path.unlink()
    assert kept(root, index)
    assert CatalogSum(index).holds()


DIES = """
import os, sys
from genpool.catalog_reader import stamp_of
from genpool.catalog_rows import StageWriter, transaction
from genpool.pool import Pool
pool = Pool.open(sys.argv[1])
catalog = pool.catalog()
catalog.token(pool.config.pipeline["draft"])
with transaction(catalog._database):
    writer = StageWriter(catalog._database, "draft")
    writer.distrust()
    writer.finish()
    if sys.argv[2] == "within":
        os.kill(os.getpid(), 9)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("when", ["within", "after"])
def test_an_index_that_a_killed_writer_left_is_kept(root: Path, index: Path, when: str) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, str(root), when], check=False)
    assert died.returncode == -signal.SIGKILL
    assert index.with_name("catalog.sqlite-wal").exists()
    assert kept(root, index)
    assert CatalogSum(index).holds()
    assert not index.with_name("catalog.sqlite-wal").exists()


@pytest.mark.parametrize("first", [0, 1])
def test_of_several_that_have_it_open_the_last_one_sums_it_up(root: Path, index: Path, first: int) -> None:
    pool = Pool.open(root)
    stage = pool.config.pipeline["draft"]
    both = [pool.catalog(), pool.catalog()]
    for catalog in both:
        catalog.token(stage)
    with closing(sqlite3.connect(index, isolation_level=None)) as other, transaction(other):
        writer = StageWriter(other, "draft")
        writer.distrust()
        writer.finish()
    both[first].close()
    with closing(pool.catalog()) as third:
        assert third.present(stage).whole
    both[1 - first].close()
    assert CatalogSum(index).holds(), "it is known to be sound"
    assert kept(root, index)


# --- the locks of the process -----------------------------------------------------------------------


told_by_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word on locks is Linux'")


def locks_on(index: Path) -> set[str]:
    """Return which bytes of a file this process has locked, as the kernel says of its descriptors."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if one.stat().st_ino == index.stat().st_ino:
                said = (Path("/proc/self/fdinfo") / one.name).read_text().splitlines()
                found |= {line.split(":", 1)[1] for line in said if line.startswith("lock:")}
    return found


@told_by_linux
@pytest.mark.parametrize("also", ["another look", "a run", "doctor", "a sum", "a sum that is noted"])
def test_no_lock_of_an_open_index_is_lost(root: Path, index: Path, also: str) -> None:
    pool = Pool.open(root)
    stage = pool.config.pipeline["draft"]
    with closing(pool.catalog()) as catalog:
        catalog.token(stage)
        before = locks_on(index)
        assert before, "SQLite has none, so that this shows nothing"
        sum_of(index).unlink()
        if also == "another look":
            with closing(pool.catalog()) as other:
                other.token(stage)
        elif also == "a run":
            with following(pool.store, pool.config.pipeline):
                write_legacy(root, "draft", "late", "row-0", "plain", "writer")
        elif also == "doctor":
            pool.examine()
        elif also == "a sum":
            assert CatalogSum(index).holds()
        else:
            CatalogSum(index).put(0)
        assert locks_on(index) >= before


@told_by_linux
def test_a_descriptor_that_is_closed_costs_the_locks(root: Path, index: Path) -> None:
    """What the tests above are there for: they would notice it."""
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        catalog.token(pool.config.pipeline["draft"])
        assert locks_on(index)
        index.read_bytes()
        assert not locks_on(index)


def test_connections_are_counted_until_they_are_closed_whatever_they_are_called_by(root: Path, index: Path) -> None:
    link = root / "link"
    link.symlink_to(index.parent)
    one, two = connect(index), connect(link / index.name)
    flip(index, index.read_bytes().index(b"row-0"))
    assert CatalogSum(index).holds(), "it is in use, and left alone"
    one.close()
    one.close()
    assert CatalogSum(index).holds(), "the other has it open"
    two.close()
    with pytest.raises(sqlite3.DatabaseError):
        CatalogSum(index).holds()


@told_by_linux
def test_an_index_is_open_until_its_last_row_is_read_or_given_up(root: Path, index: Path) -> None:
    database = connect(index)
    rows = database.execute("SELECT gen_id FROM gens")
    assert next(rows)
    assert locks_on(index)
    database.close()
    assert not locks_on(index), "it is closed, and not only forgotten"
    with pytest.raises(sqlite3.ProgrammingError):
        next(rows)


def test_a_connection_that_nobody_closes_is_counted_no_longer_than_it_lives(root: Path, index: Path) -> None:
    database = connect(index)
    flip(index, index.read_bytes().index(b"row-0"))
    assert CatalogSum(index).holds()
    del database
    gc.collect()
    with pytest.raises(sqlite3.DatabaseError):
        CatalogSum(index).holds()


@told_by_linux
def test_an_index_that_was_moved_is_still_open(root: Path, index: Path) -> None:
    with closing(connect(index)) as database:
        assert database.execute("SELECT count(*) FROM gens").fetchone()[0]
        before = locks_on(index)
        moved = root.rename(root.with_name("moved")) / index.relative_to(root)
        assert CatalogSum(moved).holds()
        assert locks_on(moved) == before
