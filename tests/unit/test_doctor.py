"""What is wrong with a pool is found and named; what is mended loses nothing."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from genpool.errors import PoolBusy
from genpool.locks import pool_lock
from genpool.pool import Pool
from tests.conftest import NOT_RUN
from tests.legacy_pools import canonical, digest, write_legacy, write_right
from tests.small_pools import memory_folder, remounted, small_disk
from tests.sound_pools import OLD_DRAFT, concepts_line, contents, first, sound_pool
from tests.unit.test_catalog import SECOND, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.doctor import Finding

STAGES = ("draft", "essay", "evaluation")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound_pool(tmp_path_factory.mktemp("sound") / "pool").root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A pool with something of everything in it and nothing wrong."""
    return shutil.copytree(sound, tmp_path / "pool", symlinks=True)


def problems(root: Path) -> list[Finding]:
    return list(Pool.open(root).examine().problems)


def notes(root: Path) -> list[Finding]:
    return [one for one in Pool.open(root).examine().findings if one.is_note]


def only(root: Path) -> Finding:
    """Return the one problem of a pool."""
    found = problems(root)
    assert len(found) == 1, found
    assert found[0].what
    return found[0]


def resealed(path: Path, **changes: object) -> None:
    """Change a record and give it the right digest of itself again; None removes a key."""
    value = {**json.loads(path.read_bytes()), **changes}
    value = {key: one for key, one in value.items() if key != "self" and one is not None}
    value["self"] = digest(canonical(value))
    path.write_text(json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n")


def of(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


# --- a sound pool ---------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_sound_pool_and_all_of_it_was_read(root: Path) -> None:
    before = contents(root)
    found = Pool.open(root).examine()
    assert found.problems == ()
    assert [one.kind for one in found.findings] == ["legacy"]
    read = found.checked
    assert read["generations"] == len(list((root / "gens").glob("*/*"))) == 15
    assert read["attempts"] == len(list((root / "attempts").glob("*/*/*"))) == 2
    assert read["texts"] == len([*(root / "gens").rglob("*.txt"), *(root / "attempts").rglob("*.txt")])
    assert read["sources"] == len(list((root / "sources").iterdir()))
    assert (read["combos"], read["cohorts"], read["members"], read["ledgers"]) == (3, 1, 14, 1)
    assert contents(root) == before


def test_progress_is_told_of_every_directory(root: Path) -> None:
    told: list[tuple[str, int]] = []
    Pool.open(root).examine(lambda *said: told.append(said))
    assert told == [*(("gens", number) for number in range(1, 16)), ("attempts", 1), ("attempts", 2)]


# --- a generation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("file", ["metadata.json", "parsed.txt"])
def test_a_changed_byte_is_found_and_the_file_named(root: Path, stage: str, file: str) -> None:
    path = first(root, stage, file)
    path.write_bytes(path.read_bytes() + b" ")
    found = only(root)
    assert (found.path, found.stage, found.gen_id) == (of(root, path), stage, path.parent.name)
    assert found.todo


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: data.replace(b'"mode"', b'"\\u006dode"'),
        lambda data: data.replace(b'"finish_reason"', b'"finish_reason": "length", "finish_reason"'),
    ],
    ids=["newline gone", "newline more", "escaped", "doubled key"],
)
def test_a_record_that_says_the_same_in_other_bytes_is_found(root: Path, damage: Callable[[bytes], bytes]) -> None:
    path = first(root, "draft", "metadata.json")
    path.write_bytes(damage(path.read_bytes()))
    assert (only(root).kind, only(root).path) == ("rewritten", of(root, path))


@pytest.mark.parametrize("layout", [{"indent": 4}, {"separators": (",", ":"), "ensure_ascii": False}])
def test_a_record_that_another_tool_wrote_by_the_rules_is_sound(root: Path, layout: dict[str, object]) -> None:
    path = first(root, "essay", "metadata.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()), sort_keys=True, **layout) + "\n")  # type: ignore[arg-type]
    assert problems(root) == []


def test_a_record_of_other_choices_is_found(root: Path) -> None:
    path = first(root, "draft", "metadata.json")
    resealed(path, replicate=9)
    found = only(root)
    assert found.kind == "corrupt-generation"
    assert "its signature gives the id" in found.what


def test_a_generation_under_another_name_or_in_another_stage_is_found(root: Path) -> None:
    draft, judged = first(root, "draft"), first(root, "evaluation")
    shutil.copytree(draft, draft.with_name("d_" + "0" * 32))
    shutil.copytree(judged, root / "gens/essay" / judged.name)
    wrong = {one.path for one in problems(root)}
    assert wrong == {f"gens/draft/d_{'0' * 32}/metadata.json", f"gens/essay/{judged.name}/metadata.json"}


@pytest.mark.parametrize("file", ["metadata.json", "parsed.txt"])
def test_an_incomplete_directory_is_named_and_left(root: Path, file: str) -> None:
    first(root, "evaluation", file).unlink()
    found = only(root)
    assert (found.kind, found.path, found.fix) == ("incomplete", of(root, first(root, "evaluation")), None)
    assert file in found.what


def test_a_text_that_is_gone_is_named(root: Path) -> None:
    path = first(root, "draft", "raw.txt")
    path.unlink()
    assert (only(root).kind, only(root).path) == ("missing-text", of(root, path))


def test_an_orphan_is_named_with_the_way_back(root: Path) -> None:
    draft = first(root, "draft")
    kept = root / "trash" / "trash-1" / "gens" / "draft" / draft.name
    kept.parent.mkdir(parents=True)
    draft.rename(kept)
    found = [one for one in problems(root) if one.kind == "orphan"]
    assert len(found) == 2  # its two essays
    for one in found:
        assert draft.name in one.what
        assert one.todo == "`genpool trash undo trash-1` brings it back"


def test_a_parent_in_another_stage_is_none(root: Path) -> None:
    other = write_right(root, "essay", first(root, "evaluation").name, "story")
    found = only(root)
    assert (found.kind, found.gen_id) == ("orphan", other)


@pytest.mark.parametrize("name", ["template", "model", "inputs"])
def test_a_source_that_is_gone_is_named(root: Path, name: str) -> None:
    record = json.loads(first(root, "draft", "metadata.json").read_bytes())
    (root / "sources" / record["fingerprints"][name]).unlink()
    found = problems(root)
    assert found
    assert {one.kind for one in found} == {"missing-source"}
    assert record["gen_id"] in {one.gen_id for one in found}
    assert all(f"fingerprint of {name}" in one.what for one in found)


def test_a_source_of_other_content_is_named(root: Path) -> None:
    path = min((root / "sources").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    assert (only(root).kind, only(root).path) == ("damaged-source", of(root, path))


def test_a_newer_format_is_named_and_no_damage(root: Path) -> None:
    resealed(first(root, "draft", "metadata.json"), format="genpool.generation/2")
    assert only(root).kind == "unsupported-format"
    assert "genpool.generation/2" in only(root).what


def test_a_text_without_a_digest_is_a_note(root: Path) -> None:
    path = first(root, "evaluation", "metadata.json")
    prints = json.loads(path.read_bytes())["fingerprints"]
    resealed(path, fingerprints={name: one for name, one in prints.items() if name != "parsed"})
    assert problems(root) == []
    assert "unverified" in {one.kind for one in notes(root)}


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda path: path.write_text("{"), "corrupt-generation"),
        (lambda path: path.write_text('{"template_id": "plain"}'), "invalid-signature"),
        (lambda path: path.with_name("parsed.txt").write_bytes(b"\xff"), "corrupt-generation"),
    ],
)
def test_a_legacy_generation_that_cannot_be_read_is_named(
    root: Path, damage: Callable[[Path], object], kind: str
) -> None:
    damage(root / "gens/draft" / OLD_DRAFT / "metadata.json")
    assert (only(root).kind, only(root).gen_id) == (kind, OLD_DRAFT)


# --- what is no generation ------------------------------------------------------------------------


def test_links_are_named_wherever_they_lead(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "gens/draft/d_link").symlink_to(first(root, "draft"))
    text = first(root, "essay", "parsed.txt")
    text.rename(tmp_path / "text")
    text.symlink_to(tmp_path / "text")
    (root / "concepts").symlink_to(outside)
    (root / "cohorts/c/more").symlink_to(outside)
    (root / "sources" / ("a" * 64)).symlink_to(outside)
    links = {one.path for one in problems(root) if one.kind == "link"}
    expected = {"gens/draft/d_link", of(root, text), "concepts", "cohorts/c/more", f"sources/{'a' * 64}"}
    assert links == expected
    assert len(problems(root)) == len(expected)


def test_a_link_beside_what_genpool_keeps_is_a_note(root: Path, tmp_path: Path) -> None:
    (root / "data").symlink_to(tmp_path)
    assert problems(root) == []
    assert [one.what.split(":")[0] for one in notes(root) if one.kind == "link"] == ["leads out of the pool"]


@pytest.mark.parametrize("name", ["combos.jsonl", "cohorts/c/membership.csv", "cohorts/c/adopted.json"])
@pytest.mark.parametrize("what", ["link", "pipe"])
def test_a_book_that_is_no_file_is_not_read(root: Path, tmp_path: Path, name: str, what: str) -> None:
    (root / name).rename(tmp_path / "away")
    (root / name).symlink_to(tmp_path / "away") if what == "link" else os.mkfifo(root / name)
    found = {one.kind for one in problems(root) if one.path == name}
    assert found == {"corrupt-file", "link" if what == "link" else "wrong-type"}


def test_a_folder_of_generations_that_is_a_link_is_named(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "attempts")
    (root / "attempts").symlink_to(tmp_path)
    assert (only(root).kind, only(root).path) == ("link", "attempts")


@pytest.mark.parametrize("name", ["metadata.json", "parsed.txt", "prompt.txt"])
@pytest.mark.parametrize("what", ["directory", "pipe"])
def test_something_else_where_a_file_belongs_is_named_and_not_waited_for(root: Path, name: str, what: str) -> None:
    path = first(root, "draft", name)
    path.unlink()
    path.mkdir() if what == "directory" else os.mkfifo(path)
    found = problems(root)
    assert ("wrong-type", of(root, path)) in {(one.kind, one.path) for one in found}
    assert {one.gen_id for one in found} == {path.parent.name}


def test_files_and_odd_names_under_gens_are_named(root: Path) -> None:
    (root / "gens/draft/README.md").write_text("mine")
    (root / "gens/draft/with space").mkdir()
    (root / "gens/notes.txt").write_text("mine")
    (root / "gens/verdict/v_1").mkdir(parents=True)
    (root / "attempts/draft/x/y").mkdir(parents=True)
    found = {(one.kind, one.path) for one in problems(root)}
    assert found == {
        ("foreign", "gens/draft/README.md"),
        ("foreign", "gens/draft/with space"),
        ("foreign", "gens/notes.txt"),
        ("unknown-stage", "gens/verdict"),
        ("foreign", "attempts/draft/x/y"),
    }


def test_more_files_beside_the_four_are_a_note(root: Path) -> None:
    first(root, "draft", "request.json").write_text("{}")
    assert problems(root) == []
    assert "foreign" in {one.kind for one in notes(root)}


def test_names_that_differ_only_in_case_are_named_and_capitals_are_a_note(root: Path) -> None:
    write_legacy(root, "draft", "Old-draft", "row-1", "plain", "writer")
    write_legacy(root, "draft", "Alone", "row-1", "long", "writer")
    if len(list((root / "gens/draft").glob("?ld-draft"))) == 1:
        pytest.skip(f"{NOT_RUN}: this file system folds case")
    assert (only(root).kind, only(root).gen_id) == ("case-collision", "Old-draft")
    assert [one.gen_id for one in notes(root) if one.kind == "upper-case"] == ["Alone"]


def test_what_cannot_be_read_is_named(sound: Path) -> None:
    with memory_folder() as place:
        place.chmod(0o755)
        root = shutil.copytree(sound, place / "pool")
        path, folder = first(root, "draft", "raw.txt"), first(root, "evaluation")
        path.chmod(0)
        folder.chmod(0)
        assert Pool.open(root).examine()  # everything is imported before
        own = os.geteuid()
        try:
            os.seteuid(own or 65534)  # permissions do not count for root
            found = {(one.kind, one.path) for one in problems(root)}
        finally:
            os.seteuid(own)
            folder.chmod(0o755)
    assert ("storage-failed", of(root, path)) in found
    assert ("unreadable", of(root, folder)) in found


@pytest.mark.parametrize("name", ["gens", "attempts", "sources", "cohorts", "ledger", ".genpool", "combos.jsonl"])
def test_something_else_where_a_part_of_the_pool_belongs_is_named(root: Path, name: str) -> None:
    place = root / name
    if place.is_dir():
        shutil.rmtree(place)
        place.write_text("mine")
    else:
        place.unlink()
        place.mkdir()
    found = {one.kind for one in problems(root) if one.path == name}
    assert found in ({"wrong-type"}, {"corrupt-file"})
    before = contents(root)
    if name != ".genpool":  # there is no lock to be had
        Pool.open(root).mend()
    assert contents(root) == before


@pytest.mark.parametrize(
    "name", ["gens", "gens/draft", "attempts", "cohorts", "ledger", "trash", "sources", ".genpool"]
)
def test_a_folder_that_cannot_be_listed_is_named(sound: Path, name: str) -> None:
    with memory_folder() as place:
        place.chmod(0o755)
        root = shutil.copytree(sound, place / "pool")
        (root / "trash").mkdir()
        assert Pool.open(root).examine()  # everything is imported before
        own = os.geteuid()
        (root / name).chmod(0)
        try:
            os.seteuid(own or 65534)
            found = {(one.kind, one.path) for one in problems(root)}
        finally:
            os.seteuid(own)
            (root / name).chmod(0o755)
    assert ("unreadable", name) in found


def test_a_name_that_is_not_utf_8_is_named_and_can_be_told(root: Path) -> None:
    (root / "gens/draft" / os.fsdecode(b"\xff\xfe")).mkdir()
    assert only(root).kind == "foreign"
    assert only(root).as_json()["path"] == "gens/draft/\\udcff\\udcfe"


# --- attempts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["metadata.json", "raw.txt"])
def test_damage_in_an_attempt_is_named(root: Path, file: str) -> None:
    path = min((root / "attempts").glob(f"*/*/1/{file}"))
    path.write_bytes(path.read_bytes()[:-1])
    assert only(root).path == of(root, path)


def test_an_attempt_without_metadata_is_a_note(root: Path) -> None:
    place = min((root / "attempts").glob("*/*/1"))
    (place.with_name("2")).mkdir()
    (place.with_name("2") / "parsed.txt").write_text("somebody's work")
    assert problems(root) == []
    assert ("incomplete", of(root, place.with_name("2"))) in {(one.kind, one.path) for one in notes(root)}


# --- books ----------------------------------------------------------------------------------------


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line)


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


# --- leftovers ------------------------------------------------------------------------------------

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


# --- the catalog ----------------------------------------------------------------------------------


def look(root: Path) -> Path:
    """Let the catalog look at the pool, long ago."""
    pool = Pool.open(root)
    catalog = pool.catalog()
    for stage in pool.config.pipeline:
        catalog.present(stage)
    catalog.close()
    for stage in STAGES:
        snapshot(root, stage, looked=3 * SECOND)
    assert problems(root) == []
    return root / ".genpool/catalog.sqlite"


def agree(root: Path) -> None:
    done = Pool.open(root).mend()
    assert [one.mended for one in done.findings if one.kind == "catalog"] == [True]
    assert [one for one in problems(root) if one.kind == "catalog"] == []


def test_a_damaged_catalog_is_made_anew(root: Path) -> None:
    path = look(root)
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    path.write_bytes(data)
    found = only(root)
    assert (found.kind, found.path) == ("catalog", ".genpool/catalog.sqlite")
    agree(root)
    assert problems(root) == []


def test_a_catalog_whose_index_is_not_that_of_its_rows_is_made_anew(root: Path) -> None:
    path = look(root)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
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
def test_a_catalog_that_does_not_say_what_the_files_do_is_made_anew(root: Path, change: str) -> None:
    path = look(root)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(change)
    assert only(root).kind == "catalog"
    agree(root)
    assert problems(root) == []


def test_what_the_catalog_would_notice_by_itself_is_not_held_against_it(root: Path) -> None:
    look(root)
    shutil.rmtree(first(root, "evaluation"))
    write_right(root, "draft", "row-0", "long", "writer")
    assert problems(root) == []


def test_a_record_that_was_damaged_in_place_is_out_of_the_catalog_after_a_fix(root: Path) -> None:
    look(root)
    path = first(root, "essay", "metadata.json")
    path.write_bytes(path.read_bytes().replace(b'"mode"', b'"mods"'))
    assert {one.kind for one in problems(root)} == {"corrupt-generation", "catalog"}
    agree(root)
    assert only(root).kind == "corrupt-generation"


# --- a disk that cannot be written ----------------------------------------------------------------


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
