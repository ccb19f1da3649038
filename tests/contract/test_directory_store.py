"""The directory store passes the contract of every store, and keeps its own promises about files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from genpool.directory_store import DirectoryStore
from genpool.errors import CorruptGeneration, GenpoolError, PoolBusy, StorageFailed
from genpool.layout import PoolLayout
from genpool.stages import DEFAULT_PIPELINE
from genpool.testing import StoreContract, StorePlace, sample_generation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.store import GenerationStore

DRAFT = DEFAULT_PIPELINE["draft"]


class DirectoryPlace:
    """A directory, read and written without the store."""

    def __init__(self, root: Path, salt: str = "") -> None:
        self.root = root
        self.salt = salt

    @contextmanager
    def open(self) -> Iterator[GenerationStore]:
        store = DirectoryStore(PoolLayout(self.root), self.salt)
        with store.session():
            yield store

    def put(self, key: tuple[str, ...], data: bytes) -> None:
        path = self.root.joinpath(*key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def read(self, key: tuple[str, ...]) -> bytes:
        try:
            return self.root.joinpath(*key).read_bytes()
        except FileNotFoundError:
            raise LookupError(key) from None

    def names(self, key: tuple[str, ...]) -> frozenset[str]:
        path = self.root.joinpath(*key)
        return frozenset(one.name for one in path.iterdir()) if path.is_dir() else frozenset()


class TestDirectoryStore(StoreContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> StorePlace:
        return DirectoryPlace(tmp_path)


class TestDirectoryStoreWithSalt(StoreContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> StorePlace:
        return DirectoryPlace(tmp_path, "another pool")


# --- what only a directory has ----------------------------------------------------------------------


def open_store(root: Path) -> DirectoryStore:
    return DirectoryStore(PoolLayout(root))


def test_an_empty_directory_in_the_slot_is_not_taken_for_a_generation(tmp_path: Path) -> None:
    made = sample_generation()
    slot = tmp_path / "gens" / "draft" / made.gen_id
    slot.mkdir(parents=True)
    store = open_store(tmp_path)
    assert store.incomplete(DRAFT, store.listed(DRAFT)) == {made.gen_id}
    with store.session():
        assert store.commit(made) is True
    assert store.record(DRAFT, made.gen_id) == made.record
    assert (tmp_path / "attempts" / "draft" / made.gen_id / "1").is_dir()


def test_a_stray_file_in_the_slot_is_moved_aside_and_harms_nobody(tmp_path: Path) -> None:
    made = sample_generation()
    slot = tmp_path / "gens" / "draft" / made.gen_id
    slot.parent.mkdir(parents=True)
    slot.write_text("a stray file")
    store = open_store(tmp_path)
    with store.session():
        assert store.commit(made) is True
    assert store.record(DRAFT, made.gen_id) == made.record
    assert [one.reason.kind for one in store.attempts(DRAFT, made.gen_id)] == ["incomplete"]
    assert (tmp_path / "attempts" / "draft" / made.gen_id / "1").read_text() == "a stray file"


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    made = sample_generation()
    store = open_store(tmp_path / "pool")
    with store.session():
        store.commit(made)
    parsed = tmp_path / "pool" / "gens" / "draft" / made.gen_id / "parsed.txt"
    outside = tmp_path / "outside.txt"
    outside.write_text(made.text)
    parsed.unlink()
    parsed.symlink_to(outside)
    with pytest.raises(GenpoolError):
        store.text(made.record)


def test_a_read_opens_nothing_that_was_not_asked_for(tmp_path: Path) -> None:
    made = sample_generation()
    store = open_store(tmp_path)
    with store.session():
        store.commit(made)
    (tmp_path / "gens" / "draft" / made.gen_id / "raw.txt").write_bytes(b"\xff")
    assert store.text(store.record(DRAFT, made.gen_id)) == made.text
    with pytest.raises(CorruptGeneration):
        store.text(made.record, "raw")


def test_nothing_is_left_in_staging_after_a_session(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.session():
        store.commit(sample_generation())
        store.commit(sample_generation("bought twice"))
    assert list((tmp_path / ".genpool" / "staging").iterdir()) == []


@pytest.mark.parametrize("locked_once", [True, False], ids=["with its lock", "before it made its lock"])
def test_what_a_dead_process_left_in_staging_is_removed(tmp_path: Path, locked_once: bool) -> None:
    stale = tmp_path / ".genpool" / "staging" / "1-dead"
    (stale / "half").mkdir(parents=True)
    if locked_once:
        (stale / "lock").touch()
    store = open_store(tmp_path)
    with store.session():
        assert not stale.exists()


def test_the_staging_of_a_living_session_is_not_removed(tmp_path: Path) -> None:
    first, second = open_store(tmp_path), open_store(tmp_path)
    with first.session():
        with second.session():
            second.commit(sample_generation(replicate=2))
        assert first.commit(sample_generation()) is True


def test_writing_without_a_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="session"):
        open_store(tmp_path).commit(sample_generation())


def test_a_second_session_of_the_same_store_is_refused_and_leaves_the_first_one_be(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.session():
        with pytest.raises(PoolBusy), store.session():
            pass
        assert store.commit(sample_generation()) is True


def test_a_commit_that_fails_shows_nothing_and_can_be_done_again(tmp_path: Path) -> None:
    made = sample_generation()
    gens = tmp_path / "gens"
    gens.write_text("in the way")
    store = open_store(tmp_path)
    with store.session():
        with pytest.raises(StorageFailed):
            store.commit(made)
        gens.unlink()
        assert store.listed(DRAFT) == frozenset()
        assert store.commit(made) is True
    assert store.record(DRAFT, made.gen_id) == made.record
