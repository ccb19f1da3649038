"""Pools as other tools left them, and ways to look at a whole tree before and after."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from genpool.layout import PoolLayout
from genpool.migration.migrations import Migrations
from genpool.pool import Pool
from tests.legacy_pools import right_id, write_legacy, write_right
from tests.small_pools import make_pool, models, whole_cohort

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.migration.plan_file import Plan
    from genpool.migration.verifying import Report


DRAFT = ("row-0", "plain", "writer")


def draft_id(replicate: int = 1, row: str = "row-0") -> str:
    fields = {"combo_id": row, "template_id": "plain", "llm_model_id": "writer", "replicate": replicate}
    return right_id("draft", fields)


def whole_tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Return every path but caches and migrations: kind, mode, change of content, links, content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.split("/")[0] in {".genpool", "migrations"}:
            continue
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        links = 0 if path.is_dir() else status.st_nlink
        target = str(path.readlink()) if path.is_symlink() else ""
        found[name] = (status.st_mode, status.st_mtime_ns, links, content, target)
    return found


def migrations(root: Path, batch: int = 3) -> Migrations:
    """The migrations of a pool, in batches so small that there are several."""
    return Migrations(PoolLayout(root), batch=batch)


def planned(root: Path) -> Plan:
    at = migrations(root)
    return at.write(at.plan())


def applied(root: Path) -> tuple[Plan, Report]:
    """Plan, apply and verify; return the plan and the report."""
    plan = planned(root)
    migrations(root).apply(plan.migration_id)
    return plan, migrations(root).verify(plan.migration_id)


def to_make(root: Path, cohort: str = "c") -> int:
    return Pool.open(root).plan(cohort).to_make


def old_pool(root: Path) -> Path:
    """A pool with legacy generations in three stages, right ones below and beside them, and a cohort that was run."""
    make_pool(root)
    write_legacy(root, "draft", "old-1", "row-0", "plain", "writer", replicate="1")
    write_legacy(root, "draft", "old-2", "row-1", "plain", "writer")
    write_legacy(root, "draft", "old-3", "row-1", "long", "writer", replicate=2)
    write_legacy(root, "essay", "old-essay", "old-1", "story", replicate=0)
    write_legacy(root, "evaluation", "old-score", "old-essay", "clarity", "judge", replicate=2)
    write_right(root, "essay", "old-2", "letter")
    whole_cohort(root)
    Pool.open(root).run("c", models=models())
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pool without generations."""
    return make_pool(tmp_path / "pool").root


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A pool with legacy generations in three stages and a cohort that was run."""
    return old_pool(tmp_path / "pool")
