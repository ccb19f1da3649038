"""The quick way of reading a record says what the careful way says, or nothing."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import orjson
import pytest
from benchmarks.make_pool import Shape, make_pool

from genpool.canonical import canonical_json, sha256
from genpool.catalog_reader import StageReader, reading
from genpool.catalog_rows import Block, Condition, Row, row_of
from genpool.directory_store import DirectoryStore
from genpool.errors import GenpoolError
from genpool.pool import Pool
from genpool.processes import Helpers
from genpool.records import decode_record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from genpool.stages import Stage

STAGES = ("draft", "essay", "evaluation")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    root = tmp_path_factory.mktemp("written") / "pool"
    make_pool(root, Shape(tasks=440, legacy=10))
    return Pool.open(root)


def records(pool: Pool, stage: Stage) -> list[tuple[str, bytes]]:
    return [(one.name, (one / "metadata.json").read_bytes()) for one in sorted(pool.layout.stage(stage.name).iterdir())]


def careful(stage: Stage, gen_id: str, data: bytes) -> Row | None:
    try:
        return row_of(decode_record(data, stage, gen_id, "", "here"), "")
    except GenpoolError:
        return None


@pytest.mark.parametrize("name", STAGES)
def test_records_of_our_own_go_the_quick_way_and_say_the_same(pool: Pool, name: str) -> None:
    stage = pool.config.pipeline[name]
    reader = StageReader(stage, pool.store)
    quick = 0
    for gen_id, data in records(pool, stage):
        row = reader.row(gen_id, data)
        quick += row is not None
        assert row is None or row == careful(stage, gen_id, data)
        assert (row is None) == (b"id_scheme" not in data), "a legacy record goes the careful way"
    assert quick


@pytest.mark.parametrize("name", STAGES)
def test_a_damaged_record_is_not_read_the_quick_way_unless_it_says_the_same(pool: Pool, name: str) -> None:
    stage, dice = pool.config.pipeline[name], random.Random(1)
    reader = StageReader(stage, pool.store)
    for gen_id, data in records(pool, stage)[:40]:
        for _ in range(20):
            bad = bytearray(data)
            bad[dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
            row = reader.row(gen_id, bytes(bad))
            assert row is None or row == careful(stage, gen_id, bytes(bad))


ODD = {
    "replicate": [True, 1.0, "1", 0, 2**40, None],
    "origin_cohort_id": [None, 7, ["a"], "another"],
    "mode": [None, "", 3, "human"],
    "created_at": [None, 5, "yesterday", "2026-01-01T00:00:00"],
    "fingerprints": [None, [], {}, {"inputs": "zz"}, {"inputs": "AB" * 32, "parsed": "CD" * 32}, {"template": 4}],
    "call": [None, {}, {"usage": None}, {"usage": {"input_tokens": -1, "output_tokens": True}}, "text"],
    "score": [None, {"value": 1}, {"value": "1", "min": 0, "max": 9}, {"value": 1.0, "min": 0, "max": True}, 4],
    "parent_gen_id": ["", "a/b", "../x", 4, None],
    "template_id": ["", " x", "a\u2028b", 4, None],
    "stage": ["draft", None],
    "format": ["genpool.generation/2", "genpool.attempt/1", None],
    "id_scheme": ["genpool/2", None],
    "gen_id": ["other", None],
    "unknown": [1.0, {"a": [1e300, 1e-9]}],
}


@pytest.mark.parametrize("key", ODD)
def test_a_sealed_record_with_odd_values_says_what_the_careful_way_says(pool: Pool, key: str) -> None:
    """Another tool may seal what genpool would not write."""
    stage = pool.config.pipeline["evaluation"]
    reader = StageReader(stage, pool.store)
    gen_id, data = next(one for one in records(pool, stage) if b"id_scheme" in one[1])
    for value in ODD[key]:
        record = {**orjson.loads(data), key: value}
        del record["self"]
        sealed = orjson.dumps({**record, "self": sha256(canonical_json(record))})
        row, right = reader.row(gen_id, sealed), careful(stage, gen_id, sealed)
        assert row is None or row == right, value
        assert row is None or row.facts() == (right.facts() if right else b""), value


def test_a_directory_that_is_a_link_and_a_record_that_is_one_are_not_followed(pool: Pool, tmp_path: Path) -> None:
    stage = pool.config.pipeline["draft"]
    reader = StageReader(stage, pool.store)
    gen_id = next(name for name, data in records(pool, stage) if b"id_scheme" in data)
    place = pool.layout.generation("draft", gen_id)
    assert reader.read(gen_id).state == 0
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert reader.read(gen_id).state != 0
    place.unlink()
    (tmp_path / "elsewhere").rename(place)
    (place / "metadata.json").rename(tmp_path / "metadata.json")
    (place / "metadata.json").symlink_to(tmp_path / "metadata.json")
    assert reader.read(gen_id).state != 0
    (place / "metadata.json").unlink()
    (tmp_path / "metadata.json").rename(place / "metadata.json")
    assert reader.read(gen_id).state == 0


def test_other_processes_read_what_this_one_reads(pool: Pool) -> None:
    for stage in pool.config.pipeline:
        gen_ids = [gen_id for gen_id, _ in records(pool, stage)]
        portions = [gen_ids[start : start + 7] for start in range(0, len(gen_ids), 7)]
        make = partial(reading, stage, pool.layout, pool.store.salt)
        with closing(Helpers(make, 2)) as helpers:
            read = list(helpers.answers(portions))
        # without the first column, the stamp: whether it is trusted depends on when it was read
        assert [untimed(one) for one in read] == [untimed(one) for one in map(make(), portions)]


def untimed(block: Block) -> Block:
    return replace(block, columns=block.columns[1:])


class Moving(DirectoryStore):
    """A store under which a generation is moved away while it is looked at, and back before it is looked at again."""

    def __init__(self, pool: Pool, path: Path, *, back: bool) -> None:
        super().__init__(pool.layout)
        self._path, self._back, self.moves = path, back, 0

    def incomplete(self, stage: Stage, gen_ids: Iterable[str]) -> frozenset[str]:
        self.moves += 1
        if self.moves > 1:
            return super().incomplete(stage, gen_ids)
        aside = self._path.with_name("aside")
        self._path.rename(aside)
        try:
            return super().incomplete(stage, gen_ids)
        finally:
            if self._back:
                aside.rename(self._path)


@pytest.mark.parametrize("back", [True, False])
def test_what_is_moved_while_it_is_looked_at_is_neither_incomplete_nor_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    make_pool(tmp_path / "pool", Shape(tasks=44))
    pool = Pool.open(tmp_path / "pool")
    stage = pool.config.pipeline["essay"]
    path = next(pool.layout.stage("essay").iterdir())
    monkeypatch.setattr(StageReader, "row", lambda *_: None)  # so every record goes the careful way
    store = Moving(pool, path, back=back)
    block = StageReader(stage, store).block([path.name])
    assert store.moves == 1 + back
    assert block.gen_ids == ((path.name,) if back else ()), "what is gone is left out; its folder is looked at again"
    assert block.columns[3 if back else 0] == ((Condition.WHOLE,) if back else ())
