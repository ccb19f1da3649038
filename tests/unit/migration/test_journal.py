"""A journal: what was written is there, a torn end is no line, anything else that is not as written is noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genpool.errors import CorruptFile
from genpool.migration.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add("begin", size=3)
    journal.add("intent", batch=1, folder="x")
    journal.add("done", batch=1)
    return path


def test_what_was_written_is_there(path: Path) -> None:
    found = Journal(path)
    assert [one.kind for one in found.entries] == ["begin", "intent", "done"]
    assert found.find("intent")[0]["folder"] == "x"
    assert found.state == "applying"
    found.add("applied")
    assert Journal(path).state == "applied"


def test_a_torn_end_is_no_line(path: Path) -> None:
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for cut in range(len(data) - len(lines[-1]) + 1, len(data)):
        path.write_bytes(data[:cut])
        assert len(Journal(path).entries) == 2
    journal = Journal(path)
    journal.add("done", batch=1)
    assert len(Journal(path).entries) == 3


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    data = path.read_bytes()
    for at in range(len(data) - 1):  # the last newline makes the last line a torn one
        for bit in (0, 3, 6):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(CorruptFile):
                Journal(path)


def test_a_line_that_is_gone_is_noticed(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in ([lines[0], lines[2]], [lines[1], lines[2]], [lines[0], lines[2], lines[1]]):
        path.write_bytes(b"".join(kept))
        with pytest.raises(CorruptFile):
            Journal(path)
