"""What is wrong under gens/ and attempts/ is found and named."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from tests.conftest import NOT_RUN
from tests.legacy_pools import write_legacy, write_right
from tests.small_pools import memory_folder
from tests.sound_pools import (
    OLD_DRAFT,
    contents,
    first,
    notes,
    of,
    only,
    problems,
    resealed,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# --- a sound pool ----------------------------------------------------------------------------------


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
    told: list[tuple[str, int, int | None]] = []
    Pool.open(root).examine(lambda *said: told.append(said))
    of_stages = [len(list((root / "gens" / stage).iterdir())) for stage in ("draft", "essay", "evaluation")]
    assert told[:3] == [("gens", sum(of_stages[: at + 1]), 15) for at in range(3)]
    assert [one for one in told if one[0] == "attempts"] == [("attempts", 2, 2)]
    assert told[-1] == ("sources", len(list((root / "sources").iterdir())), None)


# --- a generation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["draft", "essay", "evaluation"])
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


# --- what is no generation -------------------------------------------------------------------------


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


# --- attempts --------------------------------------------------------------------------------------


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
