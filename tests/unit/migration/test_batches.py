"""A batch of steps: done and undone, however often that is begun; with one flush for all of it, and without."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from genpool.errors import StorageFailed
from genpool.migration.batches import Batch, Rewrite, Step

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "pool/gens" / name).mkdir(parents=True)
        (tmp_path / "pool/gens" / name / "record").write_text(name)
        (tmp_path / "pool/gens" / name / "text").write_text("text")
        os.utime(tmp_path / "pool/gens" / name, ns=(1, 5))
    (tmp_path / "pool/cache").write_text("cache")
    return tmp_path / "pool"


def steps() -> list[Step]:
    return [
        Step("gens/a", "gens/c", lambda: [Rewrite("record", b"a", b"new")], texts=True),
        Step("gens/b", "deep/er/d", list, texts=True),
        Step(".", ".", lambda: [Rewrite("cache", b"cache", None), Rewrite("fresh", None, b"made")]),
    ]


def files(root: Path) -> dict[str, tuple[str, int]]:
    found = [path for path in root.rglob("*") if path.is_file() and "batch" not in path.parts]
    return {path.relative_to(root).as_posix(): (path.read_text(), path.stat().st_nlink) for path in sorted(found)}


@pytest.mark.parametrize("together", [True, False])
def test_done_twice_and_undone_twice(root: Path, together: bool) -> None:
    batch = Batch(str(root), root / "batch", together=together)
    before = files(root)
    digest = batch.prepare(steps())
    assert {name: text for name, (text, _) in files(root).items()} == {name: text for name, (text, _) in before.items()}
    intents = batch.intents(digest)
    assert intents[0].texts["text"] == intents[1].texts["text"]
    for _ in range(2):
        batch.do(intents)
        now = {name: text for name, (text, _) in files(root).items()}
        assert now == {
            "gens/c/record": "new",
            "gens/c/text": "text",
            "deep/er/d/record": "b",
            "deep/er/d/text": "text",
            "fresh": "made",
        }
    for _ in range(2):
        assert batch.undo(intents) == []
        assert files(root) == before
        assert (root / "gens/a").stat().st_mtime_ns == 5


def test_what_was_only_prepared_is_undone(root: Path) -> None:
    batch = Batch(str(root), root / "batch")
    before = files(root)
    batch.undo(batch.intents(batch.prepare(steps())))
    assert files(root) == before


def test_what_was_changed_since_is_kept(root: Path) -> None:
    batch = Batch(str(root), root / "batch")
    intents = batch.intents(batch.prepare(steps()))
    batch.do(intents)
    (root / "gens/c/record").write_text("edited")
    (root / "fresh").write_text("edited")
    assert batch.undo(intents) == ["./fresh"]
    assert (root / "gens/a/record").read_text() == "a"
    assert (root / "fresh").read_text() == "edited"
    assert [path.read_text() for path in (root / "batch").glob("changed*")] == ["edited"]


def test_a_place_that_is_taken_and_a_directory_that_is_gone_are_told(root: Path) -> None:
    batch = Batch(str(root), root / "batch")
    intents = batch.intents(batch.prepare(steps()))
    (root / "gens/c").mkdir()
    with pytest.raises(StorageFailed, match="something is there"):
        batch.do(intents)
    (root / "gens/c").rmdir()
    (root / "gens/a").rename(root / "away")
    with pytest.raises(StorageFailed, match="is gone"):
        batch.do(intents)
