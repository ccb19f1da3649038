"""The directory store between processes and threads; the contract's tests are in tests/contract."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from genpool.directory_store import DirectoryStore
from genpool.errors import NotFound, StorageFailed, StorageFull
from genpool.layout import PoolLayout
from genpool.records import Reason
from genpool.stages import DEFAULT_PIPELINE
from genpool.store import Attempt, Generation, Output
from genpool.testing import sample_generation
from tests.small_pools import make_pool, remounted, small_disk, torn_generations, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DRAFT = DEFAULT_PIPELINE["draft"]


def open_store(root: Path) -> DirectoryStore:
    return DirectoryStore(PoolLayout(root))


def test_sessions_that_begin_at_the_same_time_do_not_remove_each_others_staging(tmp_path: Path) -> None:
    together = threading.Barrier(6)

    def write(writer: int) -> int:
        store = open_store(tmp_path)
        done = 0
        together.wait()
        for number in range(25):
            with store.session():
                done += store.commit(sample_generation(replicate=writer * 100 + number + 1))
        return done

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(write, range(6))) == 150
    assert len(open_store(tmp_path).listed(DRAFT)) == 150


def test_reading_a_store_writes_nothing(tmp_path: Path) -> None:
    made, missing = sample_generation(), sample_generation(replicate=2)
    store = open_store(tmp_path)
    with store.session():
        store.commit(made)
        store.keep_attempt(missing, Reason("empty", "nothing"))
    before = tree(tmp_path)
    reader = open_store(tmp_path)
    reader.text(reader.record(DRAFT, made.gen_id))
    reader.incomplete(DRAFT, reader.listed(DRAFT))
    reader.attempts(DRAFT, missing.gen_id)
    reader.attempted(DRAFT)
    assert tree(tmp_path) == before


def test_names_that_are_no_numbers_among_attempts_are_passed_over(tmp_path: Path) -> None:
    made = sample_generation()
    store = open_store(tmp_path)
    for name in ("notes", "²", ".DS_Store"):
        (tmp_path / "attempts" / "draft" / made.gen_id / name).mkdir(parents=True)
    with store.session():
        assert store.keep_attempt(made, Reason("empty", "nothing")).number == 1
    assert [one.number for one in store.attempts(DRAFT, made.gen_id)] == [1]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    with small_disk(place, "512k"):
        yield place


def test_on_a_full_disk_what_is_on_its_way_is_kept_through_the_reserve(disk: Path) -> None:
    store = open_store(disk)
    kept = 0
    with store.session(in_flight=2):
        while not store.low_on_space:
            kept += 1
            assert store.commit(sample_generation("x" * 20_000, replicate=kept))
        assert store.commit(sample_generation("the other one in flight", replicate=kept + 1))
    assert len(store.listed(DRAFT)) == kept + 1
    assert store.incomplete(DRAFT, store.listed(DRAFT)) == frozenset()
    with pytest.raises(StorageFull), store.session(in_flight=8):
        pass


def test_where_inodes_run_out_what_is_on_its_way_is_kept_through_the_reserve(tmp_path: Path) -> None:
    """They are taken when the disk comes near its last ones, in the middle of a session too."""
    disk = tmp_path / "disk"
    with small_disk(disk, "64m,nr_inodes=200k"):
        store = open_store(disk)
        with store.session(in_flight=4):
            (reserve,) = disk.glob(".genpool/staging/*/reserve")
            assert store.commit(sample_generation(replicate=1))
            assert [path.name for path in reserve.iterdir()] == ["blocks"]
            assert remounted(disk, "nr_inodes=100")
            kept = 1
            while not store.low_on_space:
                kept += 1
                assert store.commit(sample_generation(replicate=kept))
            assert 4 < kept < 15
            for replicate in range(kept + 1, kept + 4):
                assert store.commit(sample_generation(replicate=replicate))
        assert store.incomplete(DRAFT, store.listed(DRAFT)) == frozenset()
        free = os.statvfs(disk).f_ffree
        for number in range(free - 8):
            (disk / str(number)).touch()
        with pytest.raises(StorageFull), store.session(in_flight=4):
            pass


def test_a_disk_with_space_again_is_believed_by_the_next_session(disk: Path) -> None:
    store = open_store(disk)
    filler = disk / "filler"
    with store.session():
        filler.write_bytes(b"x" * (512 * 1024 - 64 * 1024 - 4096 * 4))
        assert store.commit(sample_generation("x" * 30_000))
        assert store.low_on_space
    filler.unlink()
    with store.session():
        assert not store.low_on_space
        assert store.commit(sample_generation(replicate=2))
        assert not store.low_on_space


def test_an_answer_that_fits_nowhere_is_refused_and_nothing_of_it_is_visible(disk: Path) -> None:
    store = open_store(disk)
    large = sample_generation("x" * 600_000)
    with store.session():
        with pytest.raises(StorageFull):
            store.commit(large)
        with pytest.raises(StorageFull):
            store.keep_attempt(Generation(large.record, large.texts), Reason("truncated", "cut"))
    assert store.listed(DRAFT) == frozenset()
    assert not store.attempts(DRAFT, large.gen_id)
    with store.session():
        assert store.commit(sample_generation())


def test_the_helper_that_looks_for_torn_generations_finds_them(tmp_path: Path) -> None:

    pool = make_pool(tmp_path)
    with pool.store.session():
        for replicate in (1, 2, 3):
            pool.store.commit(sample_generation(replicate=replicate))
    assert torn_generations(pool) == []
    first, second, third = sorted((tmp_path / "gens" / "draft").iterdir())
    (first / "raw.txt").unlink()
    (second / "parsed.txt").write_text("")
    shutil.rmtree(third)
    third.mkdir()
    assert len(torn_generations(pool)) == 3


@pytest.mark.parametrize("digest", ["", "../../secret", "/etc/passwd", "a\x00b", "\ud800", "0" * 63, "F" * 64])
def test_a_source_is_looked_up_by_a_digest_and_nothing_else(tmp_path: Path, digest: str) -> None:
    (tmp_path / "secret").write_text("beside the pool")
    with pytest.raises(NotFound, match="no SHA-256"):
        make_pool(tmp_path / "pool").store.source(digest)


def _fill_inodes(place: Path, leave: int) -> None:
    for number in range(os.statvfs(place).f_ffree - leave):
        (place / f"filler-{number}").touch()


def test_where_the_disk_fills_up_late_every_output_of_a_group_is_kept(tmp_path: Path) -> None:
    """All three are written and flushed; then there is no inode left for the attempt's folders, and only for those."""
    place = tmp_path / "disk"
    first, one, refused, other = (sample_generation(replicate=number) for number in range(1, 5))
    with small_disk(place, "8m,nr_inodes=200"):
        store = open_store(place)
        with store.session(in_flight=4):
            store.commit(first)  # the stage's folder is there
            _fill_inodes(place, leave=3 * 5)
            assert not store.low_on_space
            empty = Output(refused, Reason("empty", "nothing"))
            kept = store.keep([Output(one), empty, Output(other)])
            assert (kept[0], kept[2]) == (None, None)
            assert isinstance(kept[1], Attempt)
            assert store.low_on_space, "the space set aside was given back"
            assert [store.text(store.record(DRAFT, each.gen_id)) for each in (one, other)] == ["A text."] * 2
            assert [each.reason.kind for each in store.attempts(DRAFT, refused.gen_id)] == ["empty"]
            assert store.output(DRAFT, refused.gen_id, 1).texts == refused.texts


def test_what_cannot_be_kept_at_all_fails_alone(tmp_path: Path) -> None:
    one, refused, other = (sample_generation(replicate=number) for number in range(1, 4))
    store = open_store(tmp_path)
    blocked = tmp_path / "attempts" / "draft" / refused.gen_id
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a folder must be")
    with store.session():
        kept = store.keep([Output(one), Output(refused, Reason("empty", "nothing")), Output(other)])
    assert (kept[0], kept[2]) == (None, None)
    assert isinstance(kept[1], StorageFailed)
    assert store.listed(DRAFT) == {one.gen_id, other.gen_id}
