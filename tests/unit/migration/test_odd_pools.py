"""Pools that are odder than the list of known defects: refused, or left as they are, and never a guess or a crash."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from genpool.errors import StorageFailed
from tests.legacy_pools import right_id, write_folder, write_legacy
from tests.unit.migration.conftest import applied, migrations, planned, whole_tree

if TYPE_CHECKING:
    from pathlib import Path

DRAFT = ("row-0", "plain", "writer")
NEW = right_id("draft", {"combo_id": "row-0", "template_id": "plain", "llm_model_id": "writer", "replicate": 1})
RECORD = b'{"combo_id":"row-0","template_id":"plain",%s"llm_model_id":"writer","replicate":1}'


def kinds(root: Path) -> list[tuple[str, str]]:
    return [(one.kind, one.path) for one in migrations(root).plan().defects]


def goes_and_comes_back(root: Path) -> None:
    """Apply, verify, roll back: nothing but what the plan says, and then nothing at all."""
    before = whole_tree(root)
    plan, report = applied(root)
    assert report.is_right, report.problems
    assert (root / "gens/draft" / NEW).is_dir()
    migrations(root).roll_back(plan.migration_id)
    assert whole_tree(root) == before
    assert migrations(root).verify(plan.migration_id).is_right


@pytest.mark.parametrize(
    "more",
    [b'"template_id":"long",', b'"template\\u005fid":"long",', b'"draft_template":"plain","draft_template":"x",'],
)
def test_a_key_that_is_stated_twice_and_not_alike_is_no_choice(root: Path, more: bytes) -> None:
    write_folder(root / "gens/draft/a", RECORD % more)
    assert kinds(root) == [("disagreeing-keys", "gens/draft/a/metadata.json")]
    assert migrations(root).plan().rows == []


@pytest.mark.parametrize(
    "more", [b'"template_id":"plain",', b'"files":{"template_id":"x","template_id":"y"},', b'"remark":"\\u00e9",']
)
def test_a_key_that_is_stated_twice_alike_or_elsewhere_is_one(root: Path, more: bytes) -> None:
    write_folder(root / "gens/draft/a", RECORD % more)
    assert [row.new_id for row in migrations(root).plan().rows] == [NEW]


@pytest.mark.parametrize("folder", ["gens", "gens/draft", "attempts/draft", "trash/x", "trash/x/gens"])
def test_folders_that_are_links_are_refused(root: Path, tmp_path: Path, folder: str) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    place = root / folder
    (place / "draft").mkdir(parents=True, exist_ok=True)
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    before = whole_tree(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed, match="link"):
        migrations(root).plan()
    assert whole_tree(tmp_path / "elsewhere") == before


def test_a_legacy_csv_that_is_a_link_is_refused(root: Path, tmp_path: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    (tmp_path / "legacy.csv").write_text("stage,gen_id,replicate,new_gen_id\n")
    (root / "legacy.csv").symlink_to(tmp_path / "legacy.csv")
    with pytest.raises(StorageFailed, match="link"):
        migrations(root).plan()


@pytest.mark.parametrize("path", ["cohorts/x/membership.csv", "cohorts/x/adopted.json", "ledger/x.jsonl", "drift.csv"])
@pytest.mark.parametrize("what", ["link", "directory"])
def test_a_file_that_is_none_of_this_pool_is_named_and_left(root: Path, tmp_path: Path, path: str, what: str) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if what == "link":
        (tmp_path / "elsewhere").write_text("stage,gen_id\ndraft,a\n")
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
    assert kinds(root) == [("unreadable-book", path)]
    goes_and_comes_back(root)
    if what == "link":
        assert (tmp_path / "elsewhere").read_text() == "stage,gen_id\ndraft,a\n"


def test_a_cohort_that_is_a_link_is_left(root: Path, tmp_path: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/membership.csv").write_text("stage,gen_id\ndraft,a\n")
    (root / "cohorts").mkdir(exist_ok=True)
    (root / "cohorts/x").symlink_to(tmp_path / "elsewhere")
    assert kinds(root) == [("unreadable-book", "cohorts/x/membership.csv")]
    goes_and_comes_back(root)
    assert (tmp_path / "elsewhere/membership.csv").read_text() == "stage,gen_id\ndraft,a\n"


@pytest.mark.parametrize("text", ["stage,gen_id\ndraft", "stage,gen_id\r\ndraft,a\r\n\r\ndraft\r\n", "gen_id,stage\na"])
def test_short_lines_of_a_membership_are_no_members(root: Path, text: str) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    (root / "cohorts/x").mkdir(parents=True)
    (root / "cohorts/x/membership.csv").write_bytes(text.encode())
    assert {kind for kind, _ in kinds(root)} == {"unknown-member"}
    goes_and_comes_back(root)


def test_a_plain_file_among_generations_is_named_as_one(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    (root / "gens/draft/b").write_text("no directory")
    assert kinds(root) == [("foreign", "gens/draft/b")]
    goes_and_comes_back(root)


def test_pipes_folders_and_links_within_a_generation_go_with_it(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    folder = root / "gens/draft/a"
    (folder / "more").mkdir()
    (folder / "more/text").write_text("x")
    (folder / "link").symlink_to("more/text")
    os.mkfifo(folder / "pipe")
    goes_and_comes_back(root)


# --- members that are not there -----------------------------------------------------------------------


def unmade(parent: str) -> str:
    return right_id("essay", {"parent_gen_id": parent, "template_id": "story", "replicate": 1})


def membership(root: Path, cohort: str, *lines: str) -> None:
    (root / "cohorts" / cohort).mkdir(parents=True)
    (root / "cohorts" / cohort / "membership.csv").write_text("".join(f"{line}\n" for line in lines))


def test_what_one_membership_does_not_say_another_may(root: Path) -> None:
    """Nothing depends on the order of the cohorts, nor on that of the lines."""
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    essay = unmade("a")
    judged = right_id(
        "evaluation", {"parent_gen_id": essay, "template_id": "clarity", "llm_model_id": "judge", "replicate": 1}
    )
    membership(root, "narrow", "stage,gen_id", f"evaluation,{judged}", f"essay,{essay}")
    membership(
        root,
        "wide",
        "stage,gen_id,parent_gen_id,template_id,llm_model_id,replicate",
        f"evaluation,{judged},{essay},clarity,judge,1",
        f"essay,{essay},a,story,,1",
    )
    assert kinds(root) == []
    plan = planned(root)
    assert plan.document["cohorts"] == {
        "narrow": {"members": 2, "renamed": 2},
        "wide": {"members": 2, "renamed": 2},
    }
    goes_and_comes_back(root)
    migrations(root).apply(plan.migration_id)
    assert f"essay,{unmade(NEW)}\n" in (root / "cohorts/narrow/membership.csv").read_text()


def test_a_task_that_nobody_states_stays_and_is_told_once(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    for cohort in ("x", "y"):
        membership(root, cohort, "stage,gen_id", "draft,a", f"essay,{unmade('a')}")
    assert kinds(root) == [("unknown-member", "cohorts/x/membership.csv:3")]
    goes_and_comes_back(root)
