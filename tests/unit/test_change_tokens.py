"""A token changes when any answer about a stage could, is the same for the same generations, and costs stat calls."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from genpool.change_tokens import still_holds
from genpool.pool import Pool
from tests.catalogs import SECOND, indexed_pool, look, snapshot
from tests.legacy_pools import record_slots, write_legacy, write_right

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.change_tokens import StageToken


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return indexed_pool(tmp_path / "pool")


def token(root: Path, stage: str = "draft") -> StageToken:
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        return catalog.token(pool.config.pipeline[stage])


def holds(root: Path, one: StageToken, stage: str = "draft") -> bool:
    pool = Pool.open(root)
    return still_holds(pool.layout, pool.config.pipeline[stage], one)


def add(drafts: Path) -> None:
    write_right(drafts.parent.parent, "draft", "row-7", "plain", "writer")


def remove(drafts: Path) -> None:
    shutil.rmtree(drafts / "old-1")


def rename(drafts: Path) -> None:
    (drafts / "old-1").rename(drafts / "older")


def replace_by_another_origin(drafts: Path) -> None:
    shutil.rmtree(drafts / "old-1")
    write_legacy(drafts.parent.parent, "draft", "old-1", "row-0", "plain", "writer", replicate="2", origin="other")


def lose_a_text(drafts: Path) -> None:
    (drafts / "old-1").rename(drafts / "aside")
    (drafts / "aside" / "parsed.txt").unlink()
    (drafts / "aside").rename(drafts / "old-1")


def record_a_slot(drafts: Path) -> None:
    record_slots(drafts.parent.parent, [("draft", "old-1", 9)])


@pytest.mark.parametrize("change", [add, remove, rename, replace_by_another_origin, lose_a_text, record_a_slot])
def test_another_content_is_another_token(root: Path, change: Callable[[Path], None]) -> None:
    before = token(root)
    assert holds(root, before)
    change(root / "gens" / "draft")
    assert not holds(root, before)
    assert not token(root).same_content(before)


def test_the_same_generations_have_the_same_content_however_they_came_to_be_known(root: Path) -> None:
    before = {stage: token(root, stage) for stage in ("draft", "essay", "evaluation")}
    assert len({one.content for one in before.values()}) == 3
    extra = root / "gens" / "draft" / "extra"
    write_legacy(root, "draft", "extra", "row-1", "plain", "writer")
    assert not token(root).same_content(before["draft"])
    shutil.rmtree(extra)
    assert token(root).same_content(before["draft"]), "what came and went leaves no trace"
    shutil.rmtree(root / ".genpool")
    assert all(token(root, stage).same_content(one) for stage, one in before.items()), "made anew"
    extra.mkdir()
    extra.rmdir()
    assert not holds(root, before["draft"]), "by stat calls alone that cannot be known"
    assert token(root).same_content(before["draft"])


def test_a_look_that_came_too_soon_is_not_trusted(root: Path) -> None:
    snapshot(root, looked=2 * SECOND)
    assert not holds(root, token_as_kept(root))
    snapshot(root, looked=2 * SECOND + 1)
    assert holds(root, token_as_kept(root))


def token_as_kept(root: Path) -> StageToken:
    """Return the token as the catalog has it on disk: a look at a young folder would note when it was made."""
    from genpool.change_tokens import StageToken

    with closing(sqlite3.connect(root / ".genpool" / "catalog.sqlite")) as database:
        return StageToken(*database.execute("SELECT changed, looked, content FROM stages LIMIT 1").fetchone())


def test_what_is_incomplete_is_never_settled_by_stat_calls(root: Path) -> None:
    (root / "gens" / "draft" / "half").mkdir()
    look(root)
    found = token(root)
    assert found.unsettled == 1
    assert not holds(root, found)
    (root / "gens" / "draft" / "half").rmdir()
    look(root)
    assert holds(root, token(root))


def test_a_stage_without_a_folder_has_a_token(root: Path) -> None:
    shutil.rmtree(root / "gens" / "draft")
    found = token(root)
    assert int(found.content, 16) == 0
    assert holds(root, found)
    os.mkdir(root / "gens" / "draft")  # noqa: PTH102 - one call
    assert not holds(root, found)
    assert token(root).same_content(found)
