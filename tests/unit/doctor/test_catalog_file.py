"""A catalog that does not say what the files do is found, and made anew."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from tests.catalogs import altered, look
from tests.legacy_pools import write_right
from tests.sound_pools import (
    first,
    only,
    problems,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def catalog(root: Path) -> Path:
    """The catalog of a pool at which it has looked long ago."""
    path = look(root)
    assert problems(root) == []
    return path


def agree(root: Path) -> None:
    done = Pool.open(root).mend()
    assert [one.mended for one in done.findings if one.kind == "catalog"] == [True]
    assert [one for one in problems(root) if one.kind == "catalog"] == []


def test_a_damaged_catalog_is_made_anew(root: Path, catalog: Path) -> None:
    data = bytearray(catalog.read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    catalog.write_bytes(data)
    found = only(root)
    assert (found.kind, found.path) == ("catalog", ".genpool/catalog.sqlite")
    agree(root)
    assert problems(root) == []


def test_a_catalog_whose_index_is_not_that_of_its_rows_is_made_anew(root: Path, catalog: Path) -> None:
    with altered(catalog) as database:
        database.execute("PRAGMA writable_schema = ON")
        other = "CREATE INDEX gens_of_source ON gens (stage, choices)"
        database.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'gens_of_source'", (other,))
    assert only(root).kind == "catalog"
    agree(root)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE makings SET origin = 'other'",
        "UPDATE gens SET below = NULL WHERE stage = 'essay'",
        "DELETE FROM gens WHERE stage = 'evaluation'",
        "INSERT INTO gens (stage, gen_id, state) VALUES ('draft', 'd_none', 0)",
    ],
)
def test_a_catalog_that_does_not_say_what_the_files_do_is_made_anew(root: Path, catalog: Path, change: str) -> None:
    with altered(catalog) as database:
        database.execute(change)
    assert only(root).kind == "catalog"
    agree(root)
    assert problems(root) == []


@pytest.mark.usefixtures("catalog")
def test_what_the_catalog_would_notice_by_itself_is_not_held_against_it(root: Path) -> None:
    shutil.rmtree(first(root, "evaluation"))
    write_right(root, "draft", "row-0", "long", "writer")
    assert problems(root) == []


@pytest.mark.usefixtures("catalog")
def test_a_record_that_was_damaged_in_place_is_out_of_the_catalog_after_a_fix(root: Path) -> None:
    path = first(root, "essay", "metadata.json")
    path.write_bytes(path.read_bytes().replace(b'"mode"', b'"mods"'))
    assert {one.kind for one in problems(root)} == {"corrupt-generation", "catalog"}
    agree(root)
    assert only(root).kind == "corrupt-generation"
