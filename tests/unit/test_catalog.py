"""The catalog says what a plain scan of the files says, whatever happened to the files or to the catalog."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from genpool.catalog_reader import stamp_of
from genpool.errors import CorruptFile, CorruptGeneration, StorageFailed
from genpool.pool import Pool
from tests.catalogs import SECOND, agrees, altered, indexed_pool, snapshot
from tests.conftest import NOT_RUN
from tests.legacy_pools import (
    CHOICES,
    canonical,
    digest,
    record_slots,
    right_id,
    scan,
    write_folder,
    write_legacy,
    write_right,
)
from tests.small_pools import make_pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return indexed_pool(tmp_path / "pool")


def drafts(root: Path) -> Path:
    return root / "gens" / "draft"


def first_right(root: Path) -> Path:
    return drafts(root) / right_id("draft", signature("row-0"))


def signature(row: str, replicate: int = 1) -> dict[str, object]:
    return {"combo_id": row, "template_id": "plain", "llm_model_id": "writer", "replicate": replicate}


# --- what happens to the files ----------------------------------------------------------------------


def test_a_pool_without_generations_holds_nothing(tmp_path: Path) -> None:
    root = make_pool(tmp_path / "pool").root
    assert not any(present.whole or present.families for present in agrees(root).values())


def test_it_is_what_was_written(root: Path) -> None:
    found = agrees(root)
    assert [len(found[name].whole) for name in CHOICES] == [6, 3, 2]
    assert found["draft"].legacy == {"old-1", "old-2"}
    assert sorted(found["draft"].origin(name) or "" for name in found["draft"].whole) == sorted(
        ["first", "first", "second", "second", "old", ""]
    )
    families = {source: dict(slots) for (source, _), slots in found["draft"].families.items()}
    rights = {number: right_id("draft", signature("row-0", number)) for number in (1, 2)}
    assert families == {"row-0": {**rights, 3: "old-1"}, "row-2": {1: "old-2"}}


def add_right(root: Path) -> None:
    write_right(root, "draft", "row-7", "plain", "writer")


def add_legacy_to_a_family_of_right_ids(root: Path) -> None:
    write_legacy(root, "draft", "old-9", "row-1", "plain", "writer", replicate=1)


def add_a_first_of_a_stage(root: Path) -> None:
    shutil.rmtree(root / "gens" / "evaluation")
    agrees(root)
    write_right(root, "evaluation", "old-3", "clarity", "judge")


def remove_one(root: Path) -> None:
    shutil.rmtree(first_right(root))


def remove_the_only_legacy_one(root: Path) -> None:
    shutil.rmtree(root / "gens" / "essay" / "old-3")


def remove_a_stage(root: Path) -> None:
    shutil.rmtree(drafts(root))


def remove_everything(root: Path) -> None:
    shutil.rmtree(root / "gens")


def rename_a_legacy_one(root: Path) -> None:
    (drafts(root) / "old-1").rename(drafts(root) / "older")


def rename_a_right_one(root: Path) -> None:
    first_right(root).rename(drafts(root) / "d_renamed")


def exchange_two(root: Path) -> None:
    one, other = drafts(root) / "old-1", drafts(root) / "old-2"
    one.rename(drafts(root) / "aside")
    other.rename(one)
    (drafts(root) / "aside").rename(other)


def replace_a_legacy_one(root: Path) -> None:
    shutil.rmtree(drafts(root) / "old-1")
    write_legacy(root, "draft", "old-1", "row-1", "plain", "writer", replicate="5", origin="another")


def replace_a_whole_one_by_an_incomplete(root: Path) -> None:
    shutil.rmtree(drafts(root) / "old-1")
    write_legacy(root, "draft", "old-1", "row-0", "plain", "writer", text=None)


def replace_a_stage(root: Path) -> None:
    moved = root / "gens" / "moved"
    drafts(root).rename(moved)
    write_legacy(root, "draft", "other", "row-0", "plain", "writer")


def move_one_to_another_stage(root: Path) -> None:
    first_right(root).rename(root / "gens" / "essay" / first_right(root).name)


def lose_a_text(root: Path) -> None:
    place = drafts(root) / "half"
    write_legacy(root, "draft", "half", "row-0", "plain", "writer", text=None)
    (place / "raw.txt").write_text("only raw")


def lose_metadata(root: Path) -> None:
    (drafts(root) / "no-metadata").mkdir()
    (drafts(root) / "no-metadata" / "parsed.txt").write_text("only a text")


def complete_an_incomplete_one(root: Path) -> None:
    write_legacy(root, "draft", "half", "row-0", "plain", "writer", text=None)
    agrees(root)
    (drafts(root) / "half" / "parsed.txt").write_text("the rest")


def mend_an_unusable_one(root: Path) -> None:
    write_folder(drafts(root) / "broken", b"{")
    agrees(root)
    text = json.dumps(signature("row-4"))
    (drafts(root) / "broken" / "metadata.json").write_text(text)


def not_json(root: Path) -> None:
    for at, data in enumerate([b"", b"{", b"\xff\xfe", b"[]", b"null", b'"text"', b"{}", b"NaN", b"{}" * 2]):
        write_folder(drafts(root) / f"broken-{at}", data)


def lack_a_field(root: Path) -> None:
    whole = signature("row-3")
    for name in ("combo_id", "template_id", "llm_model_id"):
        for at, value in enumerate([None, "", " padded ", 5, ["x"]]):
            text = json.dumps({**whole, name: value} if value is not None else {**whole, name: None})
            write_folder(drafts(root) / f"lacks-{name}-{at}", text.encode())
        rest = {key: value for key, value in whole.items() if key != name}
        write_folder(drafts(root) / f"lacks-{name}", json.dumps(rest).encode())
    write_legacy(root, "essay", "no-parent", "../draft", "story")


def an_edited_right_one(root: Path) -> None:
    for at, change in enumerate([{"template_id": "long"}, {"replicate": 3}, {"stage": "essay"}, {"note": "added"}]):
        gen_id = write_right(root, "draft", f"row-{at + 10}", "plain", "writer")
        path = drafts(root) / gen_id / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def a_sealed_one_that_lacks_a_field(root: Path) -> None:
    record = {"format": "genpool.generation/1", "stage": "draft", "combo_id": "row-5", "template_id": "plain"}
    write_folder(drafts(root) / "lacking", json.dumps({**record, "self": digest(canonical(record))}).encode())


def another_salt(root: Path) -> None:
    write_right(root, "draft", "row-8", "plain", "writer", salt="elsewhere")


def strays(root: Path) -> None:
    (root / "gens" / "notes.txt").write_text("a note")
    (drafts(root) / "README").write_text("a file")
    (drafts(root) / ".DS_Store").write_text("a file")
    (drafts(root) / "empty").mkdir()
    write_legacy(root, "draft", ".hidden", "row-0", "plain", "writer")
    write_legacy(root, "draft", "with space", "row-0", "plain", "writer")
    write_legacy(root, "draft", "ünï", "row-0", "plain", "writer")
    write_legacy(root, "draft", "x" * 129, "row-0", "plain", "writer")


def names_that_are_no_text(root: Path) -> None:
    (drafts(root) / os.fsdecode(b"bad-\xff")).mkdir()


def links(root: Path) -> None:
    (drafts(root) / "link").symlink_to(drafts(root) / "old-1")
    (drafts(root) / "dangling").symlink_to(drafts(root) / "nowhere")
    (drafts(root) / "loop").symlink_to(drafts(root) / "loop")


def record_a_slot(root: Path) -> None:
    record_slots(root, [("draft", "old-1", 9), ("draft", "old-2", 4)])


HAPPENINGS: list[Callable[[Path], None]] = [
    add_right, add_legacy_to_a_family_of_right_ids, add_a_first_of_a_stage, remove_one, remove_the_only_legacy_one,
    remove_a_stage, remove_everything, rename_a_legacy_one, rename_a_right_one, exchange_two, replace_a_legacy_one,
    replace_a_whole_one_by_an_incomplete, replace_a_stage, move_one_to_another_stage, lose_a_text, lose_metadata,
    complete_an_incomplete_one, mend_an_unusable_one, not_json, lack_a_field, an_edited_right_one,
    a_sealed_one_that_lacks_a_field, another_salt, strays, links, record_a_slot,
]  # fmt: skip


@pytest.mark.parametrize("happening", HAPPENINGS, ids=lambda one: one.__name__)
def test_the_catalog_keeps_up_with(root: Path, happening: Callable[[Path], None]) -> None:
    before = {stage: scan(root, stage) for stage in CHOICES}
    happening(root)
    agrees(root)
    if happening is not strays:
        assert {stage: scan(root, stage) for stage in CHOICES} != before, "this test looks at nothing"


def test_names_that_are_no_text_are_passed_over(root: Path) -> None:
    try:
        names_that_are_no_text(root)
    except OSError:
        pytest.skip(f"{NOT_RUN}: this file system refuses names that are not UTF-8")
    agrees(root)


def test_a_count_that_no_column_can_hold_is_no_count(root: Path) -> None:
    call = {"usage": {"input_tokens": 2**63, "output_tokens": 5}, "parameters": {}, "price": None, "seconds": 1.5}
    write_right(root, "draft", "row-7", "plain", "writer", call=call, fingerprints={}, score=None)
    agrees(root)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_a_pool_whose_path_is_no_text_is_told_of_what_is_unusable(tmp_path: Path) -> None:
    root = make_pool(tmp_path / os.fsdecode(b"pool-\xff")).root
    write_folder(drafts(root) / "broken", b"{")
    assert "pool-" in agrees(root)["draft"].unusable["broken"]


@pytest.mark.parametrize("name", ["metadata.json", "parsed.txt"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(root: Path, name: str) -> None:
    pool = Pool.open(root)
    stage = pool.config.pipeline["draft"]
    record = pool.store.record(stage, "old-1")
    (drafts(root) / "old-1" / name).unlink()
    os.mkfifo(drafts(root) / "old-1" / name)
    shutil.rmtree(root / ".genpool")
    with closing(pool.catalog()) as catalog:
        wrong = catalog.present(stage).unusable
    assert wrong.keys() == ({"old-1"} if name == "metadata.json" else set())
    with pytest.raises(CorruptGeneration, match="no file"):
        pool.store.text(record) if name == "parsed.txt" else pool.store.record(stage, "old-1")


def test_a_link_to_a_generations_metadata_is_not_followed(root: Path) -> None:
    folder = drafts(root) / "linked"
    folder.mkdir()
    (folder / "parsed.txt").write_text("a text")
    (folder / "metadata.json").symlink_to(drafts(root) / "old-1" / "metadata.json")
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        assert "linked" in catalog.present(pool.config.pipeline["draft"]).unusable


def test_a_stage_that_is_a_file_cannot_be_listed(root: Path) -> None:
    shutil.rmtree(drafts(root))
    drafts(root).write_text("in the way")
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog, pytest.raises(StorageFailed, match="cannot list"):
        catalog.present(pool.config.pipeline["draft"])


def test_a_damaged_record_of_slots_is_an_error_where_it_is_needed_and_nowhere_else(root: Path) -> None:
    (root / "legacy.csv").write_text("stage,gen_id,replicate,new_gen_id\ndraft,old-1,many,\n")
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        assert catalog.present(pool.config.pipeline["evaluation"]).whole
        with pytest.raises(CorruptFile, match=r"legacy\.csv:2"):
            catalog.present(pool.config.pipeline["draft"])


# --- what happens to the clock ----------------------------------------------------------------------


def edited_behind_its_back(root: Path) -> Path:
    """Edit a generation in place, which changes no directory: only who reads it again notices."""
    path = drafts(root) / "old-1" / "metadata.json"
    path.write_text(path.read_text().replace('"row-0"', '"row-9"'))
    return path


def reads_again(root: Path) -> bool:
    """Return whether a new look opens the files of a generation whose snapshot was prepared."""
    edited_behind_its_back(root)
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        families = catalog.present(pool.config.pipeline["draft"]).families
    return any(source == "row-9" for source, _ in families)


def test_a_snapshot_long_after_the_last_change_is_trusted(root: Path) -> None:
    snapshot(root, looked=3 * SECOND, stamps=-1)
    assert not reads_again(root), "a trusted snapshot must not open files, or nothing here tests anything"


@pytest.mark.parametrize("looked", [0, 1, 2 * SECOND, -1, -3600 * SECOND], ids=["0", "1 ns", "2 s", "back", "1 h"])
def test_a_snapshot_too_near_to_the_last_change_or_before_it_is_not_trusted(root: Path, looked: int) -> None:
    """Before it: the clock was set back between the change and the look."""
    snapshot(root, looked=looked, stamps=-1)
    assert reads_again(root)


def test_where_a_snapshot_is_not_trusted_a_directory_with_the_same_change_time_is_not_read(root: Path) -> None:
    snapshot(root, looked=0)
    assert not reads_again(root)


def test_change_times_are_compared_by_inequality(root: Path) -> None:
    """A folder that is older than at the snapshot has changed as well: a backup was put back, the clock set back."""
    snapshot(root, looked=3 * SECOND)
    with altered(root / ".genpool" / "catalog.sqlite") as database:
        database.execute("UPDATE stages SET changed = changed + ?, looked = looked + ?", (SECOND, SECOND))
        database.execute("UPDATE gens SET stamp = stamp + ?", (SECOND,))
    assert reads_again(root)


def test_a_set_back_modification_time_hides_nothing(root: Path) -> None:
    times = {path: path.stat() for path in (drafts(root), *drafts(root).iterdir())}
    snapshot(root, looked=3 * SECOND)
    replace_a_legacy_one(root)
    for path, status in times.items():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    agrees(root)


def test_a_generation_that_is_younger_than_a_clocks_tick_is_read_again(root: Path) -> None:
    """It could have been replaced within the tick in which it was looked at."""
    shutil.rmtree(root / ".genpool")
    agrees(root)
    with closing(sqlite3.connect(root / ".genpool" / "catalog.sqlite")) as database:
        assert {row[0] for row in database.execute("SELECT stamp FROM gens")} == {None}
    time.sleep(2.1)
    add_right(root)
    agrees(root)
    with closing(sqlite3.connect(root / ".genpool" / "catalog.sqlite")) as database:
        stamps = dict(database.execute("SELECT gen_id, stamp FROM gens WHERE stage = 'draft'"))
    exact = {path.name: stamp_of(path.stat()) for path in drafts(root).iterdir()}
    young = right_id("draft", signature("row-7"))
    assert stamps == {**exact, young: None}


def test_no_generation_is_opened_a_second_time(root: Path) -> None:
    snapshot(root, looked=3 * SECOND)
    pool = Pool.open(root)
    for path in drafts(root).iterdir():
        (path / "metadata.json").unlink()  # opened, this would be noticed
    with closing(pool.catalog()) as catalog:
        assert len(catalog.present(pool.config.pipeline["draft"]).whole) == 6


# --- somebody else at work meanwhile ------------------------------------------------------------------


def test_every_answer_is_of_some_moment_while_generations_come_and_go(root: Path) -> None:
    """One that fills a slot is whole in the same answer, and a list of the pool ends without an error."""
    pool = Pool.open(root)
    stage = pool.config.pipeline["draft"]
    comes_and_goes = (drafts(root) / "old-1", first_right(root))
    ended = threading.Event()

    def others() -> None:
        while not ended.is_set():
            for to_and_fro in (lambda one: (one, root / one.name), lambda one: (root / one.name, one)):
                for one in comes_and_goes:
                    here, there = to_and_fro(one)
                    here.rename(there)
                with closing(Pool.open(root).catalog()) as catalog:
                    catalog.token(stage)

    other = threading.Thread(target=others)
    other.start()
    try:
        for _ in range(100):
            with closing(pool.catalog()) as catalog:
                present = catalog.present(stage)
            filling = {gen_id for slots in present.families.values() for gen_id in slots.values()}
            assert present.legacy <= filling <= present.whole.keys()
            assert {one.stage for one in pool.matching("draft").members} == {"draft"}
    finally:
        ended.set()
        other.join()
