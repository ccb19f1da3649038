"""A plan: every defect is named with its path, ids follow from the root down, and nothing is guessed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from genpool.errors import CorruptFile, UsageError
from genpool.layout import PoolLayout
from genpool.migration.identity import is_daydreaming_0
from genpool.migration.plan_file import read_plan
from genpool.pool import Pool
from tests.legacy_pools import record_slots, right_id, scan, write_folder, write_legacy, write_right
from tests.small_pools import EVALUATIONS, models, tree, whole_cohort, write_spec
from tests.unit.migration.conftest import migrations, planned

if TYPE_CHECKING:
    from collections.abc import Callable

    from genpool.migration.planning import Planned

GOLDEN = Path(__file__).parents[2] / "golden" / "ids-daydreaming-0.json"
DRAFT = ("row-0", "plain", "writer")


def plan(root: Path) -> Planned:
    return migrations(root).plan()


def new_ids(root: Path) -> dict[tuple[str, str], str]:
    return {(row.stage, row.old_id): row.new_id for row in plan(root).rows if row.place == "gens"}


def draft_id(row: str = "row-0", replicate: int = 1, template: str = "plain") -> str:
    fields = {"combo_id": row, "template_id": template, "llm_model_id": "writer", "replicate": replicate}
    return right_id("draft", fields)


def essay_id(parent: str, replicate: int = 1, template: str = "story") -> str:
    return right_id("essay", {"parent_gen_id": parent, "template_id": template, "replicate": replicate})


def score_id(parent: str, replicate: int = 1) -> str:
    fields = {"parent_gen_id": parent, "template_id": "clarity", "llm_model_id": "judge", "replicate": replicate}
    return right_id("evaluation", fields)


# --- ids --------------------------------------------------------------------------------------------


def test_ids_follow_from_the_root_down(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    write_legacy(root, "essay", "b", "a", "story", replicate=1)
    write_legacy(root, "evaluation", "c", "b", "clarity", "judge", replicate=1)
    right_child = write_right(root, "essay", "a", "letter")
    essay = essay_id(draft_id())
    assert new_ids(root) == {
        ("draft", "a"): draft_id(),
        ("essay", "b"): essay,
        ("essay", right_child): essay_id(draft_id(), template="letter"),
        ("evaluation", "c"): score_id(essay),
    }


def test_why_each_one_changes_is_said(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    right = write_right(root, "draft", "row-1", "plain", "writer")
    child = write_right(root, "essay", "a", "story")
    unsealed = draft_id("row-1", 2)
    write_legacy(root, "draft", unsealed, "row-1", "plain", "writer", replicate=2)
    reasons = {row.old_id: row.reason for row in plan(root).rows}
    assert reasons == {"a": "opaque", child: "parent", unsealed: "seal"}
    assert right not in reasons


def test_slots_are_those_of_the_catalog(root: Path) -> None:
    write_right(root, "draft", *DRAFT, replicate=2)
    for gen_id, stated, created in (("p", 2, "2024-03-01"), ("q", "1", None), ("r", 0, "2024-01-01"), ("s", 9, None)):
        write_legacy(root, "draft", gen_id, *DRAFT, replicate=stated, created_at=created)
    record_slots(root, [("draft", "s", 4)])
    families = scan(root, "draft").families[DRAFT]
    expected = {gen_id: slot for slot, gen_id in families.items() if gen_id in {"p", "q", "r", "s"}}
    assert {row.old_id: row.replicate for row in plan(root).rows} == expected
    assert {row.old_id: row.new_id for row in plan(root).rows} == {
        gen_id: draft_id(replicate=slot) for gen_id, slot in expected.items()
    }


@pytest.mark.parametrize("vector", json.loads(GOLDEN.read_text())["valid"], ids=lambda one: one["gen_id"])
def test_the_older_scheme_is_recognised(vector: dict[str, Any]) -> None:
    prefix = vector["gen_id"].partition("_")[0]
    parts = [str(part) for part in vector["parts"]]
    assert is_daydreaming_0(vector["gen_id"], prefix, parts)
    assert is_daydreaming_0(vector["gen_id"], prefix, [part.upper() + " " for part in parts])
    assert not is_daydreaming_0(vector["gen_id"], prefix, [*parts[:-1], "2"])
    assert not is_daydreaming_0(f"{vector['gen_id']}-1", prefix, parts)


def test_an_id_of_the_older_scheme_is_named_so(root: Path) -> None:
    vector = json.loads(GOLDEN.read_text())["valid"][0]
    write_legacy(root, "draft", vector["gen_id"], *vector["parts"][:3], replicate=1)
    found = plan(root)
    assert [row.reason for row in found.rows] == ["daydreaming/0"]
    assert found.classes["draft"]["daydreaming/0"] == 1


# --- defects ----------------------------------------------------------------------------------------


def rewrite(root: Path, path: str, **keys: object) -> None:
    file = root / path / "metadata.json"
    value = {**json.loads(file.read_text()), **keys}
    file.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))


def old_draft(root: Path, **keys: object) -> None:
    write_legacy(root, "draft", "old", *DRAFT, replicate=1)
    rewrite(root, "gens/draft/old", **keys)


def damaged(root: Path) -> None:
    gen_id = write_right(root, "draft", *DRAFT)
    file = root / "gens/draft" / gen_id / "metadata.json"
    file.write_text(file.read_text().replace("plain", "other"))


def in_other_stage(root: Path) -> None:
    write_legacy(root, "draft", "d", *DRAFT, replicate=1)
    write_legacy(root, "evaluation", "old", "d", "clarity", "judge", replicate=1)


def dangling(root: Path) -> None:
    (root / "gens/draft").mkdir(parents=True, exist_ok=True)
    (root / "gens/draft/old").symlink_to("nowhere")


def without_parent_text(root: Path) -> None:
    write_legacy(root, "draft", "d", *DRAFT, replicate=1, text=None)
    write_legacy(root, "essay", "old", "d", "story", replicate=1)


BLOCKING: dict[str, tuple[str, Callable[[Path], object]]] = {
    "unreadable": ("gens/draft/old/metadata.json", lambda root: write_folder(root / "gens/draft/old", b'{"a": ')),
    "corrupt": ("gens/draft/d_", damaged),
    "missing-field": ("gens/draft/old/metadata.json", lambda root: old_draft(root, template_id=None)),
    "invalid-value": ("gens/draft/old/metadata.json", lambda root: old_draft(root, template_id=" x")),
    "disagreeing-keys": ("gens/draft/old/metadata.json", lambda root: old_draft(root, model_id="other")),
    "orphan": ("gens/essay/old", lambda root: write_legacy(root, "essay", "old", "nowhere", "story", replicate=1)),
    "parent-in-other-stage": ("gens/evaluation/old", in_other_stage),
    "parent-stays": ("gens/essay/old", without_parent_text),
    "metadata-only": ("gens/draft/old", lambda root: write_legacy(root, "draft", "old", *DRAFT, text=None)),
    "outputs-only": ("gens/draft/old", lambda root: write_text_only(root)),
    "empty-directory": ("gens/draft/old", lambda root: (root / "gens/draft/old").mkdir(parents=True)),
    "link": ("gens/draft/old", dangling),
    "newer-format": ("gens/draft/old", lambda root: old_draft(root, format="genpool.generation/2")),
}


def write_text_only(root: Path) -> None:
    (root / "gens/draft/old").mkdir(parents=True)
    (root / "gens/draft/old/parsed.txt").write_text("a text")


@pytest.mark.parametrize("kind", BLOCKING)
def test_what_cannot_be_migrated_is_named_and_stays(root: Path, kind: str) -> None:
    path, write = BLOCKING[kind]
    write_legacy(root, "draft", "good", "row-1", "plain", "writer", replicate=1)
    write(root)
    found = plan(root)
    named = [one for one in found.defects if one.kind == kind]
    assert len(named) == 1, found.defects
    assert named[0].blocks
    assert named[0].path.startswith(path)
    assert "old" not in {row.old_id for row in found.rows}
    assert ("draft", "good") in {(row.stage, row.old_id) for row in found.rows}, "the rest is migrated"


NOTED: dict[str, dict[str, object]] = {
    "no-replicate": {"replicate": None},
    "text-replicate": {"replicate": "2"},
    "odd-replicate": {"replicate": 0},
    "old-key": {"llm_model_id": None, "model_id": "writer"},
    "two-origins": {"cohort_id": "another"},
}


@pytest.mark.parametrize("kind", NOTED)
def test_what_is_handled_is_named(root: Path, kind: str) -> None:
    old_draft(root, **NOTED[kind])
    found = plan(root)
    assert [(one.kind, one.path, one.blocks) for one in found.defects] == [
        (kind, "gens/draft/old/metadata.json", False)
    ]
    assert [row.new_id for row in found.rows] == [draft_id(replicate=2 if kind == "text-replicate" else 1)]


@pytest.mark.parametrize("stage", ["draft", "essay", "evaluation"])
def test_a_template_under_its_older_key_is_taken(root: Path, stage: str) -> None:
    write_legacy(root, "draft", "d", *DRAFT, replicate=1)
    write_legacy(root, "essay", "e", "d", "story", replicate=1)
    write_legacy(root, "evaluation", "v", "e", "clarity", "judge", replicate=1)
    before = new_ids(root)
    gen_id = {"draft": "d", "essay": "e", "evaluation": "v"}[stage]
    template = json.loads((root / f"gens/{stage}/{gen_id}/metadata.json").read_text())["template_id"]
    rewrite(root, f"gens/{stage}/{gen_id}", template_id=None, **{f"{stage}_template": template})
    assert new_ids(root) == before


def test_a_combo_repeated_below_a_root_is_information(root: Path) -> None:
    write_legacy(root, "draft", "d", *DRAFT, replicate=1)
    write_legacy(root, "essay", "e", "d", "story", replicate=1, combo_id="row-0")
    found = plan(root)
    assert [(one.kind, one.blocks) for one in found.defects] == [("repeated-combo", False)]
    assert len(found.rows) == 2


@pytest.mark.parametrize(("text", "kind"), [("An old text.\n", "identical-twins"), ("Another.\n", "same-signature")])
def test_two_with_one_signature_get_slots_and_are_named(root: Path, text: str, kind: str) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    write_legacy(root, "draft", "b", *DRAFT, replicate=1, text=text)
    found = plan(root)
    assert [(one.kind, one.path) for one in found.defects] == [(kind, "gens/draft/b")]
    assert {row.old_id: row.new_id for row in found.rows} == {"a": draft_id(), "b": draft_id(replicate=2)}


def test_descendants_of_what_stays_stay(root: Path) -> None:
    write_legacy(root, "essay", "e", "nowhere", "story", replicate=1)
    write_legacy(root, "evaluation", "v", "e", "clarity", "judge", replicate=1)
    found = plan(root)
    assert found.rows == []
    assert {(one.kind, one.path) for one in found.blocking} == {
        ("orphan", "gens/essay/e"),
        ("parent-stays", "gens/evaluation/v"),
    }


def test_an_id_whose_place_is_taken_stays(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    write_legacy(root, "essay", "e", "a", "story", replicate=1)
    (root / "gens/draft" / draft_id()).mkdir()
    found = plan(root)
    assert found.rows == []
    kinds = {(one.kind, one.path) for one in found.blocking}
    assert ("place-taken", "gens/draft/a") in kinds
    assert ("parent-stays", "gens/essay/e") in kinds


def test_names_with_upper_case_are_named(root: Path) -> None:
    write_legacy(root, "draft", "Old-A", *DRAFT, replicate=1)
    found = plan(root)
    assert [(one.kind, one.path) for one in found.defects] == [("upper-case", "gens/draft/Old-A/metadata.json")]
    assert [row.new_id for row in found.rows] == [draft_id()]


# --- memberships ------------------------------------------------------------------------------------


def membership(root: Path, text: str) -> None:
    folder = root / "cohorts/old"
    folder.mkdir(parents=True)
    (folder / "membership.csv").write_text(text)


def test_members_that_nobody_can_tell_are_named(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    membership(root, "stage,gen_id\ndraft,a\ndraft,gone\n")
    found = plan(root)
    assert [(one.kind, one.path) for one in found.defects] == [("unknown-member", "cohorts/old/membership.csv:3")]
    assert found.cohorts == {"old": {"members": 2, "renamed": 1}}


def test_a_wide_membership_keeps_its_columns(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    membership(root, 'stage,note,gen_id\ndraft,"x, y",a\n')
    assert [one.kind for one in plan(root).defects] == ["wide-membership"]
    one = planned(root)
    migrations(root).apply(one.migration_id)
    text = (root / "cohorts/old/membership.csv").read_text()
    assert text == f'stage,note,gen_id\ndraft,"x, y",{draft_id()}\n'


def test_members_that_are_not_made_get_new_ids(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    write_spec(root, essay="template: [story]", evaluation=EVALUATIONS)
    Pool.open(root).run("c", models=models(), only=_one_task(root))
    rows = {(row.place, row.stage, row.old_id): row.new_id for row in plan(root).rows}
    essay = essay_id(draft_id())
    assert rows["member", "essay", essay_id("a")] == essay
    assert rows["member", "evaluation", score_id(essay_id("a"), 2)] == score_id(essay, 2)


def _one_task(root: Path) -> Path:
    """A file of one task, so that a run adopts its whole cohort and makes next to nothing of it."""
    path = root / "only.jsonl"
    task = {"stage": "draft", "combo_id": "row-1", "template_id": "plain", "llm_model_id": "writer", "replicate": 1}
    path.write_text(json.dumps(task))
    return path


# --- on disk ----------------------------------------------------------------------------------------


def test_the_same_pool_gives_the_same_plan(old: Path) -> None:
    one = planned(old)
    folder = old / "migrations" / one.migration_id
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(old / "migrations")
    assert planned(old).migration_id == one.migration_id
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_several_findings_of_a_kind_in_one_record_have_an_order(root: Path) -> None:
    for number in range(30):
        record = {"combo_id": f"row-{number}", "template_id": "plain", "model_id": "writer", "cohort_id": "c"}
        write_folder(root / "gens/draft" / f"old-{number}", json.dumps(record).encode())
    found = [(one.path, one.kind, one.said) for one in plan(root).defects]
    assert len([one for one in found if one[1] == "old-key"]) == 60
    assert found == sorted(found)


def test_planning_writes_only_under_migrations(old: Path) -> None:
    before = tree(old, without=("migrations",))
    planned(old)
    assert tree(old, without=("migrations",)) == before


def test_a_plan_is_read_as_it_was_written(old: Path) -> None:
    one = planned(old)
    assert read_plan(PoolLayout(old), one.migration_id) == one
    with (old / "migrations" / one.migration_id / "mapping.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["old_id"], line["new_id"], line["stage"]) for line in lines] == [
        (row.old_id, row.new_id, row.stage) for row in one.rows
    ]


@pytest.mark.parametrize("name", ["plan.json", "mapping.csv", "digests.csv", "defects.csv"])
def test_a_plan_that_was_edited_is_refused(old: Path, name: str) -> None:
    one = planned(old)
    path = old / "migrations" / one.migration_id / name
    data = path.read_bytes()
    at = data.index(b"draft")
    path.write_bytes(data[:at] + b"drafT" + data[at + 5 :])
    before = tree(old, without=("migrations",))
    with pytest.raises(CorruptFile):
        migrations(old).apply(one.migration_id)
    assert tree(old, without=("migrations",)) == before


def test_a_pool_that_is_right_needs_no_migration(root: Path) -> None:
    whole_cohort(root)
    Pool.open(root).run("c", models=models())
    assert plan(root).is_empty
    assert not plan(root).defects


def test_a_pool_without_generations_needs_no_migration(root: Path) -> None:
    assert plan(root).is_empty
    with pytest.raises(UsageError, match="nothing"):
        migrations(root).write(plan(root))


def test_what_is_in_the_trash_gets_new_ids_too(old: Path) -> None:
    Pool.open(old).purge("c")
    assert {row.place for row in plan(old).rows} >= {"gens"}
    trashed = [row for row in plan(old).rows if row.place.startswith("trash/")]
    assert trashed
