"""What a run writes is in the catalog when it ends; and whatever keeps it out is made good by the next look."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from genpool.catalog_follower import CatalogFollower
from genpool.directory_store import MovedIn
from genpool.pool import Pool
from genpool.testing import ScriptedModel
from tests.catalogs import altered
from tests.small_pools import generations, make_pool, models, whole_cohort, write_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.change_tokens import StageToken


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_pool(tmp_path / "pool")
    whole_cohort(tmp_path / "pool")
    return tmp_path / "pool"


def run(root: Path) -> int:
    report = Pool.open(root).run("c", models=models())
    return report.made


def indexed(root: Path) -> set[tuple[str, str]]:
    """Return what the index says is whole, without a look."""
    with closing(sqlite3.connect(root / ".genpool" / "catalog.sqlite")) as database:
        return set(database.execute("SELECT stage, gen_id FROM gens WHERE state = 0"))


def tokens(root: Path) -> dict[str, StageToken]:
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        return {stage.name: catalog.token(stage) for stage in pool.config.pipeline}


def garble(root: Path) -> None:
    """Damage every record in its place, which only who reads it will notice."""
    for path in (root / "gens").glob("*/*/metadata.json"):
        path.write_text("no record")


def test_after_a_run_the_next_plan_reads_no_record(root: Path) -> None:
    made = run(root)
    assert len(indexed(root)) == made == len(generations(root))
    garble(root)
    assert Pool.open(root).plan("c").to_make == 0
    assert all(one.unsettled == 0 for one in tokens(root).values())


def test_what_was_noted_is_what_a_look_would_have_read(root: Path) -> None:
    run(root)
    noted = tokens(root)
    shutil.rmtree(root / ".genpool")
    assert all(one.same_content(noted[stage]) for stage, one in tokens(root).items())


def test_what_was_promoted_is_noted(root: Path) -> None:
    judge = ScriptedModel([json.dumps({"reason": "Good.", "score": 8})])
    template = root / "templates/evaluation/clarity.j2"
    template.write_text(template.read_text().replace("[0, 9]", "[0, 5]"))
    Pool.open(root).run("c", models=models(judge=judge))
    template.write_text(template.read_text().replace("[0, 5]", "[0, 9]"))
    before = indexed(root)
    promoted = Pool.open(root).reparse(apply=True)
    assert promoted.promotions
    assert len(indexed(root)) == len(before) + len(promoted.promotions)
    noted = tokens(root)
    shutil.rmtree(root / ".genpool")
    assert all(one.same_content(noted[stage]) for stage, one in tokens(root).items())


def test_what_was_removed_is_not_in_the_catalog(root: Path) -> None:
    run(root)
    pool = Pool.open(root)
    _, trashed = pool.purge("c")
    assert trashed is not None
    assert indexed(root) == set()
    pool.undo_removal(trashed.trash_id)
    assert pool.plan("c").to_make == 0


def test_what_was_noted_and_then_removed_with_its_folder_is_not_there(root: Path) -> None:
    """The folder was not there at the last look, and is not there at the next."""
    Pool.open(root).plan("c")
    made = run(root)
    shutil.rmtree(root / "gens")
    assert Pool.open(root).plan("c").to_make == made


def test_a_locked_catalog_holds_up_nothing_and_is_written_later(root: Path) -> None:
    plan = Pool.open(root).plan("c").to_make
    with closing(sqlite3.connect(root / ".genpool" / "catalog.sqlite", isolation_level=None)) as other:
        locked = []

        def lock(_request: object) -> str:
            if not locked:
                locked.append(other.execute("BEGIN IMMEDIATE"))
            return "A text."

        def unlock(_request: object) -> str:
            if other.in_transaction:
                assert indexed(root) == set(), "nothing was written while it was locked"
                other.execute("ROLLBACK")
            return json.dumps({"reason": "Good.", "score": 8})

        clients = models(writer=ScriptedModel(lock), judge=ScriptedModel(unlock))
        report = Pool.open(root).run("c", models=clients)
    assert locked
    assert report.made == plan == len(indexed(root))
    assert not report.failures


def test_a_catalog_that_is_locked_at_the_end_is_made_good_by_the_next_look(root: Path) -> None:
    run(root)
    one = moved_in(root)
    path = root / ".genpool" / "catalog.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DELETE FROM gens")
        other.execute("UPDATE stages SET changed = -1")
        other.execute("BEGIN IMMEDIATE")
        pool = Pool.open(root)
        follower = CatalogFollower(pool.layout, pool.config.pipeline, pool.store.salt)
        follower.moved_in([one])
        follower.close()
        other.execute("ROLLBACK")
    assert indexed(root) == set()
    assert Pool.open(root).plan("c").to_make == 0


def test_a_commit_does_not_wait_for_a_catalog_that_nobody_else_may_even_read(root: Path) -> None:
    run(root)
    one = moved_in(root)
    path = root / ".genpool" / "catalog.sqlite"
    with altered(path) as database:
        database.execute("DELETE FROM gens")
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        for statement in ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"):
            other.execute(statement)
        pool = Pool.open(root)
        follower = CatalogFollower(pool.layout, pool.config.pipeline, pool.store.salt)
        let_go = threading.Timer(0.5, other.close)
        let_go.start()
        follower.moved_in([one] * 500)  # a whole group, which is written at once
        let_go.join()
    assert indexed(root) == set(), "it did not wait until the other let go"
    follower.moved_in([one])
    assert indexed(root) == {("draft", one.record.gen_id)}, "it is written when that is possible"
    follower.close()


def test_nothing_is_noted_in_a_catalog_that_was_made_anew_for_another_salt(root: Path) -> None:
    """Under that salt it is another generation than its name says."""
    run(root)
    one = moved_in(root)
    pool = Pool.open(root)
    follower = CatalogFollower(pool.layout, pool.config.pipeline, pool.store.salt)
    follower.moved_in([one] * 500)
    with closing(pool.catalog()) as catalog:
        catalog.token(one.record.stage)
        write_config(root, salt="another")
        tokens(root)
        follower.moved_in([one] * 500)
        follower.close()
        assert indexed(root) == set()
        assert one.record.gen_id in catalog.present(one.record.stage).whole, "who opened it before is not misled"
        assert catalog.in_memory


def lost(path: Path) -> None:
    path.unlink(missing_ok=True)


def damaged(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


@pytest.mark.parametrize("damage", [lost, damaged])
def test_a_catalog_that_is_lost_or_damaged_in_the_middle_of_a_run_is_made_good(
    root: Path, damage: Callable[[Path], None]
) -> None:
    def answer(_request: object) -> str:
        damage(root / ".genpool" / "catalog.sqlite")
        return "A text."

    report = Pool.open(root).run("c", models=models(writer=ScriptedModel(answer)))
    assert report.made
    assert not report.failures
    assert Pool.open(root).plan("c").to_make == 0


# --- what is noted must be what is there --------------------------------------------------------------


def moved_in(root: Path) -> MovedIn:
    """Return what a store would tell of a draft that was moved into its place a while ago."""
    pool = Pool.open(root)
    stage = pool.config.pipeline["draft"]
    name = sorted((root / "gens" / "draft").iterdir())[0]
    status = name.stat()
    return MovedIn(pool.store.record(stage, name.name), status.st_ino, status.st_mtime_ns)


def note(root: Path, one: MovedIn) -> set[tuple[str, str]]:
    """Forget everything and note one generation; return what the catalog says is there."""
    pool = Pool.open(root)
    with altered(root / ".genpool" / "catalog.sqlite") as database:
        database.execute("DELETE FROM gens")
    follower = CatalogFollower(pool.layout, pool.config.pipeline, pool.store.salt)
    follower.moved_in([one])
    follower.close()
    return indexed(root)


def test_what_was_exchanged_or_is_gone_is_not_noted(root: Path) -> None:
    run(root)
    one = moved_in(root)
    place = root / "gens" / "draft" / one.record.gen_id
    assert note(root, one) == {("draft", place.name)}
    copy = root / "copy"
    shutil.copytree(place, copy)  # the same times, another inode
    place.rename(root / "aside")
    copy.rename(place)
    assert note(root, one) == set(), "a copy in its place"
    shutil.rmtree(place)
    (root / "aside").rename(place)
    assert note(root, one) == {("draft", place.name)}, "it is back"
    (place / "note.txt").write_text("a file more")
    assert note(root, one) == set(), "filled further"
    shutil.rmtree(place)
    assert note(root, one) == set(), "gone"


def test_what_was_filled_in_the_tick_in_which_it_was_moved_is_not_noted(root: Path) -> None:
    """Then a directory that took its place within that tick could have the same marks."""
    run(root)
    one = moved_in(root)
    place = root / "gens" / "draft" / one.record.gen_id
    time.sleep(0.02)
    (place / "note.txt").write_text("a file more")  # the directory's change time is that of its content
    status = place.stat()
    assert status.st_mtime_ns == status.st_ctime_ns
    assert note(root, MovedIn(one.record, status.st_ino, status.st_mtime_ns)) == set()


_CLOSED_MEANWHILE = """
import os, sys, threading, time
from genpool.catalog_follower import CatalogFollower
from genpool.directory_store import MovedIn
from genpool.pool import Pool

pool = Pool.open(sys.argv[1])
moved = []
for stage in pool.config.pipeline:
    for gen_id in pool.store.listed(stage):
        there = os.lstat(pool.layout.generation(stage.name, gen_id))
        moved.append(MovedIn(pool.store.record(stage, gen_id), there.st_ino, there.st_mtime_ns))
for turn in range(10):
    follower = CatalogFollower(pool.layout, pool.config.pipeline, pool.config.salt)
    thread = threading.Thread(target=follower.moved_in, args=(moved * 100,))
    thread.start()
    time.sleep(0.0005 * (turn % 20))
    follower.close()
    thread.join()
"""


def test_closing_while_a_thread_writes_waits_for_it(root: Path) -> None:
    """SQLite's module takes the process down where a connection is closed under a thread that uses it."""
    run(root)
    program = [sys.executable, "-c", _CLOSED_MEANWHILE, str(root)]
    ended = subprocess.run(program, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
