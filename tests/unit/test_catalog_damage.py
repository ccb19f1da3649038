"""The catalog is a cache: whatever happens to its file, the answers are those of the generations' files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from tests.catalogs import agrees, indexed_pool, same
from tests.conftest import NOT_RUN
from tests.legacy_pools import write_legacy, write_right
from tests.small_pools import make_pool, models, tree, whole_cohort

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return indexed_pool(tmp_path / "pool")


def database_of(root: Path) -> Path:
    return root / ".genpool" / "catalog.sqlite"


def remembers(root: Path) -> bool:
    """Return whether the catalog on disk can answer by itself: whether it was made anew, not given up."""
    with closing(sqlite3.connect(database_of(root))) as database:
        return bool(database.execute("SELECT count(*) FROM gens").fetchone()[0])


def deleted(path: Path) -> None:
    path.unlink()


def private_folder_deleted(path: Path) -> None:
    shutil.rmtree(path.parent)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def garbage_behind_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100] + os.urandom(20_000))


def garbage_in_every_page_but_the_first(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))


def a_text(path: Path) -> None:
    path.write_text("this is not a database\n" * 100)


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE gens SET source = 'row-0', making = 1, state = 1")
        database.execute("PRAGMA user_version = 7")


def of_another_version_with_other_tables(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("CREATE TABLE gens (something TEXT)")
        database.execute("CREATE TABLE stages (something TEXT)")


DAMAGES = [
    deleted, private_folder_deleted, emptied, garbage, garbage_behind_the_header, garbage_in_every_page_but_the_first,
    a_text, of_another_version, of_another_version_with_other_tables,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_a_damaged_catalog_is_made_anew(root: Path, damage: Callable[[Path], None]) -> None:
    damage(database_of(root))
    agrees(root)
    assert remembers(root)


@pytest.mark.parametrize("keep", [1, 50, 99, 100, 512, 4095, 4096, 4097, 8192, 12_000, 20_000, -4096, -1])
def test_a_truncated_catalog_is_made_anew(root: Path, keep: int) -> None:
    path = database_of(root)
    path.write_bytes(path.read_bytes()[:keep])
    agrees(root)
    agrees(root)
    assert remembers(root)


def test_one_that_is_damaged_while_it_is_open_is_made_anew(root: Path) -> None:
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        same(catalog, root, "draft")
        garbage_in_every_page_but_the_first(database_of(root))
        write_right(root, "draft", "row-7", "plain", "writer")
        same(catalog, root, "draft")
        same(catalog, root, "essay")
    agrees(root)


def test_what_was_said_of_one_stage_holds_when_the_catalog_is_made_anew_for_the_next(tmp_path: Path) -> None:
    """The templates of then, of which a plan says whether they drifted, must not become others."""
    root = make_pool(tmp_path / "pool").root
    whole_cohort(root)
    Pool.open(root).run("c", models=models())
    pool = Pool.open(root)
    draft, essay = (pool.config.pipeline[name] for name in ("draft", "essay"))
    with closing(pool.catalog()) as catalog:
        drafts = catalog.present(draft)
        garbage_in_every_page_but_the_first(database_of(root))
        (root / "gens/essay/left-by-another-tool").mkdir()
        catalog.present(essay)
        for gen_id, making, *_ in drafts.whole.values():
            made, record = drafts.makings[making], pool.store.record(draft, gen_id)
            said = {"template": catalog.digest(made.template), "model": catalog.digest(made.model)}
            assert said == {name: record.fingerprints[name] for name in said}
            assert catalog.inputs(draft, gen_id)[0] == record.fingerprints["inputs"]


def test_a_directory_in_its_place_is_left_alone_and_memory_does(root: Path) -> None:
    database_of(root).unlink()
    database_of(root).mkdir()
    agrees(root, kept=False)
    assert database_of(root).is_dir()


def test_a_log_that_an_older_database_left_changes_nothing(root: Path) -> None:
    log = database_of(root).with_name("catalog.sqlite-wal")
    with closing(sqlite3.connect(database_of(root), isolation_level=None)) as database:
        database.execute("UPDATE gens SET state = 1")
        log_of_old = log.read_bytes()
    database_of(root).write_bytes(b"garbage" * 3000)
    log.write_bytes(log_of_old)
    agrees(root)


# --- what the index depends on besides the files ----------------------------------------------------


def test_another_pipeline_reads_the_generations_anew(root: Path) -> None:
    """Without the model axis the same records state other tasks, and none has the id of its task."""
    config = root / "pool.yaml"
    config.write_text(config.read_text() + "pipeline:\n  draft: {prefix: d, axes: [template]}\n")
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        present = catalog.present(pool.config.pipeline["draft"])
    assert set(present.whole) == present.legacy == {"old-1", "old-2"}
    assert len(present.unusable) == 4
    assert {key for _, key in present.families} == {'["plain"]'}


def test_another_salt_reads_the_generations_anew(root: Path) -> None:
    config = root / "pool.yaml"
    config.write_text(config.read_text().replace('salt: ""', 'salt: "elsewhere"'))
    found = agrees(root, salt="elsewhere")
    assert len(found["draft"].unusable) == 4
    config.write_text(config.read_text().replace('salt: "elsewhere"', 'salt: ""'))
    assert not agrees(root)["draft"].unusable


# --- others -----------------------------------------------------------------------------------------


def test_one_that_another_holds_for_a_moment_is_waited_for(root: Path) -> None:
    write_legacy(root, "draft", "late", "row-0", "plain", "writer")
    with closing(sqlite3.connect(database_of(root), isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE gens SET state = 1")
        release = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
        release.start()
        try:
            agrees(root)
        finally:
            release.join()


LOOK = """
import sys
from contextlib import closing
from genpool.pool import Pool
pool = Pool.open(sys.argv[1])
sys.stdin.readline()
for _ in range(10):
    with closing(pool.catalog()) as catalog:
        found = [catalog.present(stage) for stage in pool.config.pipeline]
        if catalog.in_memory:
            sys.exit("could not use the catalog on disk")
print([(len(one.whole), len(one.legacy), len(one.families)) for one in found])
"""


@pytest.mark.parametrize("new", [True, False], ids=["no catalog yet", "a catalog that is behind"])
def test_eight_processes_look_at_once(root: Path, new: bool) -> None:
    for at in range(50):
        write_legacy(root, "draft", f"more-{at}", "row-0", "plain", "writer")
    if new:
        shutil.rmtree(root / ".genpool")
    command = [sys.executable, "-W", "error", "-c", LOOK, str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    looking = [subprocess.Popen(command, text=True, **pipes) for _ in range(8)]  # type: ignore[call-overload]
    for one in looking:
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=60) for one in looking]
    assert {errors for _, errors in said} == {""}
    assert {out for out, _ in said} == {"[(56, 52, 2), (3, 1, 1), (2, 0, 0)]\n"}
    agrees(root)


@pytest.mark.parametrize("kept", [True, False], ids=["with a catalog", "without one"])
def test_a_read_only_pool_is_read_without_a_trace(root: Path, kept: bool) -> None:
    if not kept:
        shutil.rmtree(root / ".genpool")
    before = tree(root)
    if not mounted("--bind", str(root), str(root)):
        pytest.skip(f"{NOT_RUN}: a read-only bind mount needs root and mount(8)")
    try:
        assert mounted("-o", "remount,bind,ro", str(root))
        with pytest.raises(OSError, match=r"[Rr]ead-only"):
            (root / "trace").touch()
        agrees(root, kept=False)
        assert tree(root) == before
    finally:
        subprocess.run(["umount", "--lazy", str(root)], capture_output=True, check=True)
    write_legacy(root, "draft", "late", "row-0", "plain", "writer")
    agrees(root)


def mounted(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
