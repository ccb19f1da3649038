"""What processes left is found and named; mending it loses nothing."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from genpool.errors import PoolBusy
from genpool.locks import pool_lock
from genpool.pool import Pool
from tests.catalogs import look
from tests.conftest import NOT_RUN
from tests.small_pools import remounted, small_disk
from tests.sound_pools import (
    append,
    contents,
    first,
    notes,
    of,
    only,
    problems,
)

if TYPE_CHECKING:
    from pathlib import Path


# --- leftovers -------------------------------------------------------------------------------------


LITTER = ".membership.csv.0123456789ab.tmp"


def leave(root: Path) -> set[str]:
    """Leave what processes leave when they are killed; return the paths."""
    left = [
        f"cohorts/c/{LITTER}",
        f"sources/.{'a' * 64}.0123456789ab.tmp",
        ".pool.yaml.0123456789ab.tmp",
        f"gens/draft/{first(root, 'draft').name}/{LITTER}",
        ".genpool/staging/77-abc/1/parsed.txt",
        ".genpool/staging/77-abc/lock",
        ".genpool/claims/draft/d_1",
        ".genpool/locks/holder-1-2.json",
    ]
    for name in left:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    return {*(name for name in left if "staging" not in name), ".genpool/staging/77-abc"}


def test_leftovers_are_named_and_fixed_and_nothing_else_is_touched(root: Path) -> None:
    before = contents(root)
    left = leave(root)
    assert {one.path for one in problems(root)} == left
    done = Pool.open(root).mend()
    assert done.problems == ()
    assert {one.path for one in done.findings if one.mended} == left
    assert contents(root) == before
    assert problems(root) == []


def test_what_somebody_holds_is_not_stale(root: Path) -> None:
    leave(root)
    held = [root / ".genpool/staging/77-abc/lock", root / ".genpool/claims/draft/d_1"]
    held.append(root / ".genpool/locks/holder-1-2.json")
    files = [path.open("r+b") for path in held]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    young = {one.path for one in problems(root)}  # temporary files may be the holder's
    assert young == set()
    for path in root.rglob("*.tmp"):
        os.utime(path, (1, 1))
    assert {one.kind for one in problems(root)} == {"litter"}
    done = Pool.open(root).mend()
    assert all(path.exists() for path in held)
    assert {one.kind for one in done.findings if one.mended} == {"litter"}
    for file in files:
        file.close()


def test_the_pool_must_not_be_in_use_to_be_mended(root: Path) -> None:
    left = leave(root)
    with pool_lock(Pool.open(root).layout, "genpool run c"):
        assert problems(root)
        with pytest.raises(PoolBusy, match="genpool run c"):
            Pool.open(root).mend()
    assert all((root / name).exists() for name in left if "holder" not in name)  # a refusal removes dead notes


def test_calls_of_a_run_that_is_at_work_are_not_told_as_lost(root: Path) -> None:
    path = min((root / "ledger").iterdir())
    head, _, rest = path.read_text().partition("\n")
    own = {**json.loads(head), "pid": os.getpid(), "host": socket.gethostname()}
    path.write_text(json.dumps(own) + "\n" + rest + '{"intent":99,"stage":"draft","gen_id":"d_1"}\n')
    with pool_lock(Pool.open(root).layout, "genpool run c"):
        assert "in-flight" not in {one.kind for one in notes(root)}
    assert "in-flight" in {one.kind for one in notes(root)}


@pytest.mark.parametrize("file", ["combos.jsonl", "legacy.csv", "drift.csv", "ledger"])
def test_a_torn_line_is_cut_and_kept_beside(root: Path, file: str) -> None:
    path = root / file
    path = min(path.iterdir()) if path.is_dir() else path
    before = contents(root)
    append(path, '{"torn ü')
    done = Pool.open(root).mend()
    assert [one.kind for one in done.findings if one.mended] == ["torn-line"]
    kept = path.with_name(f"{path.name}.torn")
    assert kept.read_text() == '{"torn ü\n'
    kept.unlink()
    assert contents(root) == before


def test_what_is_longer_than_any_line_is_left_for_a_person(root: Path) -> None:
    append(root / "combos.jsonl", "x" * 3_000_000)
    before = contents(root)
    assert [one.kind for one in Pool.open(root).mend().problems] == ["torn-line"]
    assert contents(root) == before


def test_a_whole_last_line_gets_its_end(root: Path) -> None:
    path = root / "combos.jsonl"
    before = contents(root)
    path.write_bytes(path.read_bytes()[:-1])
    assert only(root).kind == "torn-line"
    assert Pool.open(root).mend().problems == ()
    assert contents(root) == before


@pytest.mark.parametrize("state", ["planned", "undoing"])
def test_an_interrupted_removal_is_named_with_the_command_and_left(root: Path, state: str) -> None:
    _, trashed = Pool.open(root).purge("c")
    assert trashed is not None
    record = root / "trash" / trashed.trash_id / "trash.json"
    record.write_text(record.read_text().replace('"done"', f'"{state}"'))
    before = contents(root)
    found = only(root)
    assert (found.kind, found.path) == ("unfinished-removal", of(root, record))
    assert trashed.trash_id in (found.todo or "")
    assert not Pool.open(root).mend().is_healthy
    assert contents(root) == before


def test_a_record_of_a_removal_that_is_damaged_or_gone_is_named(root: Path) -> None:
    _, trashed = Pool.open(root).purge("c")
    assert trashed is not None
    record = root / "trash" / trashed.trash_id / "trash.json"
    record.write_text("{")
    assert (only(root).kind, only(root).path) == ("corrupt-file", of(root, record))
    record.unlink()
    assert (only(root).kind, only(root).path) == ("lost-record", of(root, record))


# --- a disk that cannot be written -----------------------------------------------------------------


def test_a_pool_on_a_read_only_disk_is_examined(root: Path, tmp_path: Path) -> None:
    look(root)
    first(root, "draft", "raw.txt").write_text("other")
    leave(root)
    with small_disk(tmp_path / "disk", "20m"):
        copy = shutil.copytree(root, tmp_path / "disk" / "pool")
        if not remounted(tmp_path / "disk", "ro"):
            pytest.skip(f"{NOT_RUN}: the disk cannot be mounted read-only")
        found = {one.kind for one in problems(copy)}
        assert {"corrupt-generation", "litter", "stale-claim", "stale-staging", "stale-note"} <= found
