"""The trash: what is moved there is never lost, wherever the move or the way back is interrupted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import orjson
import pytest

from genpool import trash
from genpool.errors import CorruptFile, NotFound, PoolBusy, StorageFailed, UnsupportedFormat
from genpool.layout import PoolLayout
from tests.small_pools import tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOVED = ("gens/essay/e_1", "gens/draft/d_1", "gens/draft/d_2", "attempts/draft/d_1", "cohorts/c")
KILLED = 77


@pytest.fixture
def layout(tmp_path: Path) -> PoolLayout:
    for name in (*MOVED, "gens/draft/d_3"):
        folder = tmp_path / "pool" / name
        folder.mkdir(parents=True)
        (folder / "file.txt").write_text(name)
    return PoolLayout(tmp_path / "pool")


def throw_away(layout: PoolLayout) -> trash.Trashed:
    return trash.throw_away(layout, "purge", "c", [layout.root / name for name in MOVED])


def outside(layout: PoolLayout) -> dict[str, tuple[int, int, str]]:
    return tree(layout.root, without=["trash"])


def files(layout: PoolLayout) -> list[str]:
    """The content of every file but the records: what must never be lost, nor doubled."""
    return sorted(path.read_text() for path in layout.root.rglob("file.txt"))


def test_moved_away_and_back_every_byte_is_as_it_was(layout: PoolLayout) -> None:
    before = outside(layout)
    thrown = throw_away(layout)
    assert thrown.state == trash.DONE
    assert [path.name for path in (layout.root / "gens/draft").iterdir()] == ["d_3"]
    assert thrown.counts() == {"essay": 1, "draft": 2, "attempts": 1}
    assert trash.read_trash(layout) == [thrown]
    assert trash.undo(layout, thrown.trash_id).state == trash.UNDONE
    assert outside(layout) == before
    with pytest.raises(NotFound, match="undone already"):
        trash.undo(layout, thrown.trash_id)


def test_a_record_that_is_read_after_a_crash_is_flushed_before_it_is_trusted(
    layout: PoolLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash may have come between the rename of the record and its flush: a power cut could take it back."""
    thrown = throw_away(layout)
    flushed: list[Path] = []
    monkeypatch.setattr(trash, "flush_directory", flushed.append)
    assert trash.finish_interrupted(layout) == []
    assert layout.trash / thrown.trash_id in flushed


def test_an_undo_is_refused_before_the_first_move_where_something_took_a_place(layout: PoolLayout) -> None:
    thrown = throw_away(layout)
    (layout.root / "gens/draft/d_2").mkdir()
    before = tree(layout.root)
    with pytest.raises(StorageFailed, match="gens/draft/d_2"):
        trash.undo(layout, thrown.trash_id)
    assert tree(layout.root) == before
    (layout.root / "gens/draft/d_2").rmdir()
    assert trash.undo(layout, thrown.trash_id).state == trash.UNDONE


def test_an_undo_of_what_is_not_in_the_trash_any_more_is_refused(layout: PoolLayout) -> None:
    thrown = throw_away(layout)
    gone = layout.root / thrown.target("gens/essay/e_1")
    gone.rename(layout.root / "elsewhere")
    with pytest.raises(StorageFailed, match="not in the trash any more"):
        trash.undo(layout, thrown.trash_id)
    assert not (layout.root / "cohorts/c").exists()


def test_a_folder_without_a_record_is_nothing(layout: PoolLayout) -> None:
    layout.trashed("trash-1").parent.mkdir(parents=True)
    assert trash.read_trash(layout) == []
    with pytest.raises(NotFound):
        trash.undo(layout, "trash-1")


def test_a_trash_that_is_a_link_is_not_followed(layout: PoolLayout, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    layout.trash.symlink_to(tmp_path / "away")
    with pytest.raises(StorageFailed, match="link"):
        throw_away(layout)
    assert len(files(layout)) == 6


@pytest.mark.parametrize(
    "source",
    ["../outside/x", "gens/draft/..", "gens/../../x", "/etc/passwd/x", "gens/draft", "pool.yaml", 7, "a\0/b/c"],
)
def test_a_record_that_was_edited_moves_nothing_out_of_the_pool(layout: PoolLayout, source: object) -> None:
    thrown = throw_away(layout)
    path = layout.trashed(thrown.trash_id)
    value = orjson.loads(path.read_bytes())
    value["moves"][0] = {"from": source, "to": f"trash/{thrown.trash_id}/{source}"}
    path.write_bytes(orjson.dumps(value))
    with pytest.raises(CorruptFile):
        trash.undo(layout, thrown.trash_id)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": "genpool.trash/1"}', b"\xff"])
def test_a_damaged_record_is_named(layout: PoolLayout, content: bytes) -> None:
    path = layout.trashed(throw_away(layout).trash_id)
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"trash\.json"):
        trash.read_trash(layout)


def test_a_record_of_a_newer_genpool_is_not_guessed_at(layout: PoolLayout) -> None:
    path = layout.trashed(throw_away(layout).trash_id)
    path.write_bytes(path.read_bytes().replace(b"genpool.trash/1", b"genpool.trash/2"))
    with pytest.raises(UnsupportedFormat):
        trash.read_trash(layout)


# --- killed -----------------------------------------------------------------------------------------


def killed(act: Callable[[], object], step: str, at: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Act in a child that dies at a step, before or after it; tell whether it came so far."""
    child = os.fork()
    if child == 0:
        counted = 0
        real = getattr(trash, step)

        def counting(*arguments: object) -> None:
            nonlocal counted
            counted += 1
            if counted == at and not after:
                os._exit(KILLED)
            real(*arguments)
            if counted == at:
                os._exit(KILLED)

        monkeypatch.setattr(trash, step, counting)
        try:
            act()
        except BaseException:  # noqa: BLE001 - a child must not come back into pytest
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, KILLED}
    return code == KILLED


@pytest.mark.parametrize("then", ["finish", "undo"])
@pytest.mark.parametrize("step", ["rename_without_replacing", "flush_directory", "replace_file", "make_directory"])
def test_killed_at_every_step_of_a_removal_nothing_is_lost(
    layout: PoolLayout, step: str, then: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, everything = outside(layout), files(layout)
    points = 0
    for after in (False, True):
        at = 1
        while killed(lambda: throw_away(layout), step, at, after, monkeypatch):
            points += 1
            at += 1
            assert files(layout) == everything
            _recover(layout, then)
            assert files(layout) == everything
            assert outside(layout) == before
        _recover(layout, "undo")  # the last one ended undisturbed
        assert outside(layout) == before
    assert (
        points >= {"rename_without_replacing": 10, "flush_directory": 20, "replace_file": 4, "make_directory": 10}[step]
    )
    with capsys.disabled():
        print(f"\n  removal, {step}, then {then}: killed at {points} points", end="")


def _recover(layout: PoolLayout, then: str) -> None:
    """Finish what was interrupted, then take back all that is done; or take it back at once."""
    if then == "finish":
        if any(one.is_open for one in trash.read_trash(layout)):
            with pytest.raises(PoolBusy, match="interrupted"):
                trash.refuse_while_open(layout)
            assert {one.state for one in trash.finish_interrupted(layout)} == {trash.DONE}
            assert not any((layout.root / name).exists() for name in MOVED)
        trash.refuse_while_open(layout)
    for one in trash.read_trash(layout):
        if one.state != trash.UNDONE:
            trash.undo(layout, one.trash_id)


@pytest.mark.parametrize("then", ["finish", "undo"])
@pytest.mark.parametrize("step", ["rename_without_replacing", "flush_directory", "replace_file"])
def test_killed_at_every_step_of_an_undo_nothing_is_lost(
    layout: PoolLayout, step: str, then: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, everything = outside(layout), files(layout)
    points = 0
    for after in (False, True):
        at, going = 1, True
        while going:
            thrown = throw_away(layout)
            going = killed(lambda one=thrown: trash.undo(layout, one.trash_id), step, at, after, monkeypatch)
            points += going
            at += 1
            assert files(layout) == everything
            if then == "finish":
                assert {one.state for one in trash.finish_interrupted(layout)} <= {trash.UNDONE}
            for one in trash.read_trash(layout):
                if one.state != trash.UNDONE:  # killed before the undo was noted, or told to undo
                    trash.undo(layout, one.trash_id)
            assert files(layout) == everything
            assert outside(layout) == before
    assert points >= {"rename_without_replacing": 10, "flush_directory": 20, "replace_file": 4}[step]
    with capsys.disabled():
        print(f"\n  undo, {step}, then {then}: killed at {points} points", end="")
