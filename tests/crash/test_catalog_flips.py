"""Bits that flip inside the catalog's file: every command answers as it did before, and none ends with a traceback."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from genpool.cli.main import main
from genpool.pool import Pool
from tests.bars import least
from tests.catalogs import fill
from tests.small_pools import make_pool, memory_folder, models, whole_cohort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Statement

pytestmark = pytest.mark.bar(9)

SEED = 20260101
TRUSTED = 2.1
"""Seconds after which a folder is taken at its change time, so that answers come from the index alone."""


@pytest.fixture
def root() -> Iterator[Path]:
    """A pool in memory, with right and legacy generations, that was looked at when nothing had changed for long."""
    with memory_folder() as place:
        root = make_pool(place / "pool", rows=12).root
        fill(root)
        whole_cohort(root)
        Pool.open(root).run("c", models=models())
        time.sleep(TRUSTED)
        yield root


def commands(root: Path) -> list[tuple[str, ...]]:
    """Return commands that ask the index; the last three ask about one generation."""
    one = min(path.name for path in (root / "gens/draft").iterdir() if path.name.startswith("d_"))
    return [
        ("status", "c", "--json"),
        ("plan", "c", "--json"),
        ("missing", "c", "--json"),
        ("ls", "c", "--json"),
        ("ls", "--stage", "draft", "--origin", "first", "--json"),
        ("tables", "c", "--json"),
        ("show", one, "--json"),
        ("show", one[:8], "--json"),
        ("why", one, "--json"),
    ]


@pytest.mark.timeout(3600)
def test_whatever_bit_flips_in_the_catalog_the_answers_are_the_same(
    root: Path, full: bool, proof: Statement, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = commands(root)

    def answers() -> list[tuple[int, str]]:
        (root / "cohorts/c/manifest.json").unlink(missing_ok=True)  # it would answer in the place of the index
        return [_typed(capsys, root, words) for words in asked]

    sound = answers()
    assert answers() == sound
    assert all(said.startswith("{") for _, said in sound), "every one is an answer"
    chance, wrong = random.Random(SEED), []
    count = least(9, "flips") if full else 30
    for number in range(count):
        where, undo = _flip(root / ".genpool/catalog.sqlite", chance)
        if number % 4 == 3:  # as after a writer that was killed
            (root / ".genpool/catalog.sqlite-sum").unlink()
        said = answers()
        wrong += [
            (where, *words, then, now) for words, then, now in zip(asked, sound, said, strict=True) if then != now
        ]
        undo()
    misled = len({one[0] for one in wrong})
    proof(f"{count} flips in the index, {misled} gave another answer or a traceback", flips=count, misled=misled)
    assert wrong == []


def _typed(capsys: pytest.CaptureFixture[str], root: Path, words: tuple[str, ...]) -> tuple[int, str]:
    capsys.readouterr()
    try:
        code = main(["--pool", str(root), *words])
    except Exception as error:  # noqa: BLE001 - the command ended with a traceback
        return -1, f"Traceback: {error!r}"
    said = capsys.readouterr()
    return code, said.out + said.err


def _flip(path: Path, chance: random.Random) -> tuple[int, Callable[[], object]]:
    """Turn one bit of a file over; return where, and what puts its bytes of before in its place."""
    before = {one: one.read_bytes() for one in path.parent.glob(f"{path.name}*")}
    data = bytearray(before[path])
    at = chance.randrange(len(data) * 8)
    data[at // 8] ^= 1 << at % 8
    path.write_bytes(data)

    def undo() -> None:
        for one in path.parent.glob(f"{path.name}*"):
            one.unlink()
        for one, kept in before.items():
            one.write_bytes(kept)

    return at, undo
