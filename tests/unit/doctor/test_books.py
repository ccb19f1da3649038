"""What is wrong in the books of a pool is found and named."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.legacy_pools import digest
from tests.sound_pools import (
    append,
    concepts_line,
    first,
    notes,
    of,
    only,
    problems,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("file", "line", "kind"),
    [
        ("combos.jsonl", "{]\n", "malformed-line"),
        ("combos.jsonl", json.dumps(concepts_line("a", "b", combo_id="combo_" + "0" * 20)) + "\n", "corrupt-file"),
        ("combos.jsonl", json.dumps(concepts_line("moat", "wheel", combo_id="mine")) + "\n", "doubled"),
        ("combos.jsonl", json.dumps(concepts_line("a", "b", combo_id="row-0")) + "\n", "doubled"),
        ("legacy.csv", "draft,x,zero,\n", "malformed-line"),
        ("drift.csv", "template,x\n", "malformed-line"),
        ("ledger", "[]\n", "malformed-line"),
        ("ledger", "{]\n", "malformed-line"),
        ("combos.jsonl", '{"combo_', "torn-line"),
        ("legacy.csv", "draft,ab", "torn-line"),
        ("drift.csv", "template,", "torn-line"),
        ("ledger", '{"intent":9,"st', "torn-line"),
    ],
)
def test_a_line_that_is_wrong_is_named(root: Path, file: str, line: str, kind: str) -> None:
    path = root / file
    path = min(path.iterdir()) if path.is_dir() else path
    append(path, line)
    found = only(root)
    assert (found.kind, found.path, found.line) == (
        kind,
        of(root, path),
        path.read_text().count("\n") + (line[-1] != "\n"),
    )


@pytest.mark.parametrize("file", ["legacy.csv", "drift.csv", "ledger"])
def test_a_head_that_is_wrong_is_named(root: Path, file: str) -> None:
    path = root / file
    path = min(path.iterdir()) if path.is_dir() else path
    _, _, rest = path.read_text().partition("\n")
    path.write_text('{"format": "other/1"}\n' + rest)
    assert only(root).path == of(root, path)


def test_lines_about_what_is_not_there_are_notes(root: Path) -> None:
    append(root / "legacy.csv", "draft,gone,3,\n")
    append(root / "combos.jsonl", json.dumps(concepts_line("moat", "wheel")) + "\n")
    assert problems(root) == []
    assert {(one.kind, one.path) for one in notes(root)} >= {("unknown-id", "legacy.csv"), ("doubled", "combos.jsonl")}


def test_calls_in_flight_at_a_kill_are_listed(root: Path) -> None:
    path = min((root / "ledger").iterdir())
    append(path, '{"intent":99,"stage":"draft","gen_id":"d_lost","model":"writer","worst_price":null}\n')
    assert problems(root) == []
    told = [one for one in notes(root) if one.kind == "in-flight"]
    assert [one.path for one in told] == [of(root, path)]
    assert "draft d_lost" in told[0].what


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def members(root: Path) -> Path:
    return root / "cohorts/c/membership.csv"


def adopt(root: Path) -> None:
    """Let adopted.json vouch for the membership as it is."""
    path = root / "cohorts/c/adopted.json"
    value = {**json.loads(path.read_bytes()), "membership": digest(members(root).read_bytes())}
    path.write_text(json.dumps(value))


def test_a_missing_member_is_nothing_wrong(root: Path) -> None:
    shutil.rmtree(first(root, "evaluation"))
    assert problems(root) == []
    assert [one.kind for one in notes(root)] == ["legacy"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("essay,no such id,,,,\n", "malformed-line"),
        ("verdict,v_1,,,,\n", "malformed-line"),
        ("essay\n", "malformed-line"),
    ],
)
def test_a_line_of_a_membership_that_is_wrong_is_named(root: Path, line: str, kind: str) -> None:
    append(members(root), line)
    adopt(root)
    assert (only(root).kind, only(root).line) == (kind, 16)


def test_a_member_that_is_listed_twice_is_named(root: Path) -> None:
    append(members(root), members(root).read_text().splitlines(keepends=True)[3])
    adopt(root)
    assert (only(root).kind, only(root).line) == ("doubled", 16)


def test_a_member_that_no_run_makes_is_a_note(root: Path) -> None:
    append(members(root), members(root).read_text().splitlines()[3].replace("draft,d_", "draft,d_0") + "\n")
    text = members(root).read_text().splitlines(keepends=True)
    members(root).write_text("".join(text[:-1]) + "draft,gone,row-0,,plain,writer,1\n")
    adopt(root)
    assert problems(root) == []
    assert "gone" in {one.gen_id for one in notes(root) if one.kind == "unknown-id"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: append(place / "membership.csv", ""),
        lambda place: (place / "membership.csv").write_bytes(b"\xff\xfe"),
        lambda place: (place / "membership.csv").write_text("gen_id\nx\n"),
        lambda place: (place / "membership.csv").unlink(),
        lambda place: (place / "adopted.json").write_text("{"),
        lambda place: (place / "adopted.json").write_text('{"format": "genpool.adopted/9"}'),
        lambda place: write_lines(place / "membership.csv", (place / "membership.csv").read_text().splitlines()[:-1]),
    ],
    ids=["nothing", "binary", "no column", "gone", "adopted torn", "adopted newer", "a line less"],
)
def test_a_membership_that_is_not_the_adopted_one_is_named(
    root: Path, damage: Callable[[Path], object], request: pytest.FixtureRequest
) -> None:
    damage(root / "cohorts/c")
    found = problems(root)
    assert bool(found) is ("nothing" not in request.node.name)
    assert all(one.path.startswith("cohorts/c/") and one.fix is None for one in found)
