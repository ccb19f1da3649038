"""A shelf answers as a dict does, whatever stands on it."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpool.catalog_rows import StageWriter, transaction
from genpool.catalog_shelf import ShelvesAhead, read_found, read_shelf
from genpool.finds import NOT_FOUND, Finds, Shelf, find, short
from genpool.pool import Pool
from tests.catalogs import CHOICES, altered, indexed_pool
from tests.small_pools import make_pool, models, write_rows, write_spec

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.finds import Found

OTHERS = ("old-1", "d_short", "d_" + "x" * 32, "draft_0")


def right_id(number: int) -> str:
    return f"d_{hashlib.md5(str(number).encode()).hexdigest()}"


def shelf_of(rows: dict[str, Found]) -> Shelf:
    right = sorted(one for one in rows if one not in OTHERS)
    packed = "".join(f"{one[2:]}{rows[one][2]:016x}{rows[one][3]:016x}" for one in right)
    makings = np.array([rows[one][1] for one in right], "i8")
    return Shelf("d", packed, makings, {one: rows[one] for one in rows if one in OTHERS})


NUMBERS = st.integers(0, 2**64 - 1)


@given(
    st.dictionaries(st.integers(0, 60), st.tuples(st.integers(1, 9), NUMBERS, NUMBERS), max_size=40),
    st.sets(st.sampled_from(OTHERS)),
    st.lists(st.integers(0, 70), max_size=50),
)
def test_a_shelf_finds_what_a_dict_has(
    right: dict[int, tuple[int, int, int]], others: set[str], wanted: list[int]
) -> None:
    rows: dict[str, Found] = {right_id(number): (right_id(number), *values) for number, values in right.items()}
    rows |= {one: (one, 3, 1, 2) for one in others}
    shelf = shelf_of(rows)
    assert shelf.is_sound
    ids = [right_id(number) for number in wanted]
    assert shelf.find(ids) == find(rows, ids)
    assert dict(shelf) == rows
    assert len(shelf) == len(rows)
    for one in (*ids, *OTHERS, "", "d_", right_id(1).upper(), "e" + right_id(1)[1:]):
        assert shelf.get(one) == rows.get(one)
        assert (one in shelf) == (one in rows)


def test_ids_that_share_their_first_half_do_not_fit_on_a_shelf() -> None:
    rows: dict[str, Found] = {one: (one, 1, 0, 0) for one in (f"d_{'0' * 31}1", f"d_{'0' * 31}2")}
    assert not shelf_of(rows).is_sound


def test_digests_of_any_length_have_a_number() -> None:
    assert [short(one) for one in (None, b"", b"\x01", b"\1" * 8, b"\1" * 32)] == [
        0, 0, 1 << 56, 0x0101010101010101, 0x0101010101010101
    ]  # fmt: skip


def test_a_find_is_set_and_taken_out() -> None:
    finds = Finds.of([("a", 7, 8, 9), None])
    finds.put(1, ("b", 1, 2, 3))
    finds.put(0, None)
    assert [list(one) for one in (finds.makings, finds.inputs, finds.below)] == [[NOT_FOUND, 1], [0, 2], [0, 3]]


# --- shelves of a catalog -----------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return indexed_pool(tmp_path / "pool")


def test_a_stage_on_a_shelf_is_the_stage(root: Path) -> None:
    pool = Pool.open(root)
    with closing(pool.catalog()) as catalog:
        for name in CHOICES:
            stage = pool.config.pipeline[name]
            shelved, plain = catalog.on_shelf(stage, 0), catalog.present(stage)
            assert isinstance(shelved.whole, Shelf)
            assert dict(shelved.whole) == plain.whole
            assert (shelved.makings, shelved.legacy, shelved.families) == (plain.makings, plain.legacy, plain.families)


def test_few_are_no_shelf(root: Path) -> None:
    pool = Pool.open(root)
    stage = pool.config.pipeline["draft"]
    with closing(pool.catalog()) as catalog:
        count = len(catalog.present(stage).whole)
        assert isinstance(catalog.on_shelf(stage, count).whole, Shelf)
        assert not isinstance(catalog.on_shelf(stage, count + 1).whole, Shelf)


def test_an_index_that_was_tampered_with_is_no_shelf(root: Path) -> None:
    path = root / ".genpool" / "catalog.sqlite"
    stage = Pool.open(root).config.pipeline["draft"]
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        first = "SELECT min(gen_id) FROM gens WHERE stage = 'draft' AND legacy = 0"
        database.execute(f"UPDATE gens SET gen_id = 'd_zz' WHERE stage = 'draft' AND gen_id = ({first})")
        assert read_shelf(database, stage, 0) is None
        assert read_found(database, stage)


@pytest.fixture
def large(tmp_path: Path) -> Pool:
    """A pool whose index is large enough for its shelves to be made ahead."""
    pool = make_pool(tmp_path / "pool")
    write_rows(pool.root, range(4))
    write_spec(pool.root)
    pool.run("c", models=models())
    with closing(pool.catalog()) as catalog:
        catalog.token(pool.config.pipeline["draft"])
    with altered(pool.layout.catalog) as database:
        database.execute("CREATE TABLE padding AS SELECT zeroblob(9000000)")
    return pool


def test_what_was_made_ahead_is_used_only_for_the_same_content(large: Pool) -> None:
    stage = large.config.pipeline["draft"]
    with closing(large.catalog()) as catalog:
        content = catalog.token(stage).content
    ahead = ShelvesAhead(large.store, large.config.pipeline, [stage])
    assert ahead.get(stage, content) is None, "few are no shelf"
    ahead.close()
    with altered(large.layout.catalog) as database, transaction(database):
        database.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 31000) "
            "INSERT INTO gens (stage, gen_id, state, legacy, making) "
            "SELECT 'draft', printf('d_%016x%016x', i, i), 0, 0, 1 FROM n"
        )
        StageWriter(database, "draft").finish()
    for told, there in ((content, True), ("0" * 32, False)):
        ahead = ShelvesAhead(large.store, large.config.pipeline, [stage])
        assert (ahead.get(stage, told) is not None) is there
        ahead.close()
