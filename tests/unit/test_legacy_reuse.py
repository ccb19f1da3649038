"""Generations that another tool made are reused by what they are: all of them, once each, and nothing else."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from genpool.adoption import record_slots
from genpool.cli.main import main
from genpool.pool import Pool
from genpool.scope import StageCounts
from tests.legacy_pools import (
    CHOICES,
    Wants,
    counted,
    expected,
    right_id,
    scan,
    write_folder,
    write_legacy,
    write_right,
)
from tests.small_pools import generations, make_pool, metadata, models, tree, write_rows, write_spec

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.runner import RunReport

ALL = Wants([0, 1], ("plain",), 3, ("story", "same"), 2, 2)
"""Every stage, more of everything than the old generations give."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pool without generations."""
    return make_pool(tmp_path / "pool").root


def want(root: Path, wants: Wants, cohort_id: str = "c") -> str:
    write_rows(root, wants.rows, f"{cohort_id}.csv")
    return write_spec(root, cohort_id, rows=f"{cohort_id}.csv", **wants.spec())


def run(root: Path, wants: Wants, cohort_id: str = "c") -> RunReport:
    want(root, wants, cohort_id)
    clients = models()
    report = Pool.open(root).run(cohort_id, models=clients)
    assert report.calls == sum(len(client.requests) for client in clients.values())
    return report


def plans_right(root: Path, wants: Wants, cohort_id: str = "c") -> dict[str, list[str]]:
    """Check a cohort's plan against the files, task by task and count by count; return the ids by stage."""
    want(root, wants, cohort_id)
    plan = Pool.open(root).plan(cohort_id)
    tasks = expected(root, wants)
    for part in plan.stages:
        name = part.stage.name
        found = [(task.gen_id, task.state.name.lower()) for task in plan.tasks() if task.stage.name == name]
        assert found == [(one.gen_id, one.state) for one in tasks[name]]
        assert part.row(plan.cohort_id) == counted(tasks[name], cohort_id)
    return {part.stage.name: list(part.gen_ids) for part in plan.stages}


def draft_id(row: int, slot: int = 1, template: str = "plain") -> str:
    fields = {"combo_id": f"row-{row}", "template_id": template, "llm_model_id": "writer", "replicate": slot}
    return right_id("draft", fields)


def essay_id(parent: str, slot: int = 1, template: str = "story") -> str:
    return right_id("essay", {"parent_gen_id": parent, "template_id": template, "replicate": slot})


def old_draft(root: Path, gen_id: str, row: int = 0, **keys: Any) -> str:
    return write_legacy(root, "draft", gen_id, f"row-{row}", "plain", "writer", **keys)


def fill(root: Path) -> None:
    """Write old generations in every shape, with new ones among them."""
    old_draft(root, "kq3v-9", 0, replicate="2", created_at="2024-03-01T10:00:00")
    old_draft(root, "d_0000000000000001", 0, created_at=None, llm_model="writer-large", extra={"cost": 1})
    write_right(root, "draft", "row-1", "plain", "writer", origin="c")
    old_draft(root, "a.b-c_d", 1, replicate=0, created_at="2024-05-01T00:00:00+00:00")
    old_draft(root, "A7", 1, replicate=1, created_at="2024-04-01T00:00:00Z", origin=None)
    write_legacy(root, "essay", "e-old-1", "kq3v-9", "story", replicate=0, llm_model_id="writer", draft_template="x")
    write_legacy(root, "essay", "e-old-2", "kq3v-9", "story", replicate=1, created_at="2024-01-02T00:00:00Z")
    write_legacy(root, "essay", "e-old-3", "kq3v-9", "same", mode="copy")
    write_legacy(root, "essay", "e-old-4", draft_id(1), "story", replicate="1")
    write_right(root, "essay", "A7", "story", origin="other")
    for at, replicate in enumerate(["0", "1", "2"]):  # counted from 0
        write_legacy(root, "evaluation", f"v{at}", "e-old-1", "clarity", "judge", replicate=replicate)
    write_right(root, "evaluation", essay_id("A7"), "clarity", "judge", replicate=2)
    write_legacy(root, "evaluation", "v-orphan", "nobody", "clarity", "judge")
    old_draft(root, "of-another-template", 0)
    path = root / "gens" / "draft" / "of-another-template" / "metadata.json"
    path.write_text(path.read_text().replace("plain", "long"))


# --- reuse ------------------------------------------------------------------------------------------


def test_exactly_the_right_ones_are_reused_in_their_slots(root: Path) -> None:
    fill(root)
    ids = plans_right(root, ALL)
    assert ids["draft"] == ["d_0000000000000001", "kq3v-9", draft_id(0, 3), draft_id(1), "A7", "a.b-c_d"]
    parents = [name for name in ids["draft"] for _ in range(3)]
    stories = {("kq3v-9", 1): "e-old-1", ("kq3v-9", 2): "e-old-2", (draft_id(1), 1): "e-old-4"}
    for at, parent in enumerate(parents):
        template, slot = [("story", 1), ("story", 2), ("same", 1)][at % 3]
        own = "e-old-3" if (parent, template) == ("kq3v-9", "same") else essay_id(parent, slot, template)
        assert ids["essay"][at] == (stories.get((parent, slot), own) if template == "story" else own)
    at = ids["essay"].index("e-old-1") * 2
    assert ids["evaluation"][at : at + 2] == ["v0", "v1"]  # made at once: by id, each the next slot; v2 has 3


def test_a_replicate_that_is_counted_from_0_fills_slots_from_1(root: Path) -> None:
    """0 states none: 1 and 2 keep their numbers, and 0 comes after them unless it is older."""
    for at, made in enumerate(["2024-01-03", "2024-01-01", "2024-01-02"]):
        old_draft(root, f"n{at}", replicate=at, created_at=made)
    assert plans_right(root, Wants([0], draft_replicates=3)) == {"draft": ["n1", "n2", "n0"]}


def test_a_run_makes_only_the_rest_and_touches_nothing_that_was_there(root: Path) -> None:
    fill(root)
    before = tree(root / "gens")
    rest = [one for tasks in expected(root, ALL).values() for one in tasks if one.state == "mint"]
    report = run(root, ALL)
    assert (report.complete, report.made) == (True, len(rest))
    assert report.calls == sum(not one.copies for one in rest)
    after = tree(root / "gens")
    assert before.items() <= {name: known for name, known in after.items() if name in before}.items()
    assert {name for _, name in generations(root)} - {one.gen_id for one in rest} == {
        name.split("/")[1] for name in before if name.count("/") == 1
    }
    plans_right(root, ALL)
    assert run(root, ALL).calls == 0


def test_the_origin_stays_that_of_who_paid(root: Path) -> None:
    fill(root)
    run(root, ALL)
    assert metadata(root, "draft", "kq3v-9")["origin_cohort_id"] == "old"
    assert "origin_cohort_id" not in metadata(root, "draft", "A7")
    assert metadata(root, "draft", draft_id(0, 3))["origin_cohort_id"] == "c"
    plan = Pool.open(root).plan("c")
    assert plan.stage("draft").origins() == {"old": 3, None: 1, "c": 2}


def test_what_is_made_below_an_old_parent_has_the_old_id_in_its_signature_and_the_old_text_in_its_prompt(
    root: Path,
) -> None:
    old_draft(root, "opaque", text="A text of long ago.")
    run(root, Wants([0], essays=("story", "same")))
    essay = root / "gens" / "essay" / essay_id("opaque")
    assert json.loads((essay / "metadata.json").read_text())["parent_gen_id"] == "opaque"
    assert "A text of long ago." in (essay / "prompt.txt").read_text()
    copy = root / "gens" / "essay" / essay_id("opaque", template="same")
    assert (copy / "parsed.txt").read_text() == "A text of long ago."


def test_an_old_record_under_its_right_id_is_found_in_its_slot_and_needs_no_record_of_it(root: Path) -> None:
    old_draft(root, draft_id(0, 2), replicate="2")
    assert plans_right(root, Wants([0], draft_replicates=2))["draft"] == [draft_id(0), draft_id(0, 2)]
    assert run(root, Wants([0], draft_replicates=2)).calls == 1
    assert not (root / "legacy.csv").exists()


def test_a_record_of_another_task_under_a_right_id_is_not_that_task(root: Path) -> None:
    squatted = draft_id(0)
    write_legacy(root, "draft", squatted, "row-1", "plain", "writer", replicate=1)
    want(root, Wants([0, 1]))
    plan = Pool.open(root).plan("c")
    assert [task.state.name for task in plan.tasks()] == ["UNUSABLE", "REUSE"]
    assert [task.gen_id for task in plan.tasks()] == [squatted, squatted]
    assert squatted in plan.stage("draft").problems
    assert plan.stage("draft").row("c")["reused"] == 1


# --- replicates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [0, 1, 2, 4, 7])
def test_raising_and_lowering_replicates_calls_for_the_difference_alone(root: Path, there: int) -> None:
    for row in (0, 1):
        for at in range(there):
            old_draft(root, f"r{row}-{at}", row, replicate=at)
    have = there
    calls = []
    for wanted in (1, 3, 2, 5):
        wants = Wants([0, 1], draft_replicates=wanted)
        plans_right(root, wants)
        calls.append(run(root, wants).calls // 2)
        assert calls[-1] == max(0, wanted - have)
        have = max(have, wanted)
        assert len(Pool.open(root).scope("c").member_ids) == 2 * wanted
        assert len(generations(root)) == 2 * have
    if there == 0:
        assert calls == [1, 2, 0, 2]


def test_lowering_drops_the_highest_slots_from_the_members_and_nothing_from_the_pool(root: Path) -> None:
    for at in range(4):
        old_draft(root, f"o{at}", replicate=str(4 - at))
    run(root, Wants([0], draft_replicates=4))
    before = tree(root / "gens")
    assert Pool.open(root).scope("c").member_ids == ("o3", "o2", "o1", "o0")
    assert run(root, Wants([0], draft_replicates=2)).calls == 0
    assert Pool.open(root).scope("c").member_ids == ("o3", "o2")
    assert tree(root / "gens") == before


def test_an_old_copy_has_one_slot_however_many_there_are(root: Path) -> None:
    old_draft(root, "parent")
    write_legacy(root, "essay", "copy-b", "parent", "same", replicate=1, created_at="2024-01-02")
    write_legacy(root, "essay", "copy-a", "parent", "same", replicate=2, created_at="2024-01-03")
    wants = Wants([0], essays=("same",), essay_replicates=3)
    assert plans_right(root, wants)["essay"] == ["copy-b"]
    assert run(root, wants).calls == 0
    assert (root / "legacy.csv").read_text().count("copy-") == 2, "both have a slot, one is a member"


# --- slots stay -------------------------------------------------------------------------------------


def test_slots_are_recorded_when_a_plan_is_adopted_and_not_before(root: Path) -> None:
    fill(root)
    plans_right(root, ALL)
    assert not (root / "legacy.csv").exists()
    run(root, ALL)
    lines = (root / "legacy.csv").read_text().splitlines()
    assert lines[0] == "stage,gen_id,replicate,new_gen_id"
    recorded = {tuple(line.split(",")[:2]): int(line.split(",")[2]) for line in lines[1:]}
    assert len(recorded) == len(lines) - 1
    in_plan = {
        (stage, gen_id): slot
        for stage in CHOICES
        for family, slots in scan(root, stage).families.items()
        for slot, gen_id in slots.items()
        if gen_id in scan(root, stage).legacy and gen_id not in {"v-orphan", "of-another-template"}
    }
    assert recorded == in_plan, "every old generation of the families that were planned, members or not"


def test_a_recorded_slot_never_moves_and_a_second_plan_gives_the_same_ids(root: Path) -> None:
    fill(root)
    run(root, ALL)
    ids = plans_right(root, ALL)
    recorded = (root / "legacy.csv").read_text()
    old_draft(root, "AAA", 0, replicate=1, created_at="1999-01-01")
    old_draft(root, "AAB", 1, replicate=3, created_at="1999-01-01")
    shutil.rmtree(root / ".genpool")
    assert plans_right(root, ALL) == ids
    assert run(root, ALL).calls == 0
    assert (root / "legacy.csv").read_text() == f"{recorded}draft,AAA,4,\ndraft,AAB,4,\n"
    assert run(root, ALL).calls == 0
    assert (root / "legacy.csv").read_text().count("\n") == recorded.count("\n") + 2, "recorded once"


@pytest.mark.parametrize("first", ["old", "new"])
def test_two_that_adopt_at_once_do_not_record_halves_that_do_not_fit(root: Path, first: str) -> None:
    """One planned before an older generation came, one after; whoever records first is right."""
    old_draft(root, "X", created_at="2024-02-01")
    want(root, Wants([0], draft_replicates=2))
    plans = {"old": Pool.open(root).plan("c")}
    old_draft(root, "W", created_at="2024-01-01")
    plans["new"] = Pool.open(root).plan("c")
    second = "new" if first == "old" else "old"
    pool = Pool.open(root)
    record_slots(pool.layout, plans[first], lambda: plans[first])
    adopted = record_slots(pool.layout, plans[second], lambda: pool.plan("c"))
    assert adopted.stages[0].gen_ids == (["X", "W"] if first == "old" else ["W", "X"])
    recorded = [line.split(",")[1:3] for line in (root / "legacy.csv").read_text().splitlines()[1:]]
    assert sorted(recorded, key=lambda line: line[1]) == [
        [one, str(at + 1)] for at, one in enumerate(adopted.stages[0].gen_ids)
    ]
    assert Pool.open(root).plan("c").stages[0].gen_ids == adopted.stages[0].gen_ids


def test_a_run_records_nothing_beside_what_another_recorded_meanwhile(root: Path) -> None:
    """The other one looked at a generation that is older, and recorded it before we could."""
    old_draft(root, "X", created_at="2024-02-01")
    want(root, Wants([0], draft_replicates=2))
    pool = Pool.open(root)
    stale = pool.plan("c")
    old_draft(root, "W", created_at="2024-01-01")
    run(root, Wants([0], draft_replicates=2), "d")
    recorded = (root / "legacy.csv").read_text()
    assert record_slots(pool.layout, stale, lambda: pool.plan("c")).stages[0].gen_ids == ["W", "X"]
    assert (root / "legacy.csv").read_text() == recorded


@pytest.mark.parametrize("torn", ["", "stage,gen", "stage,gen_id,replicate,new_gen_id"])
def test_a_record_whose_header_was_torn_by_a_crash_is_begun_anew(root: Path, torn: str) -> None:
    old_draft(root, "o")
    (root / "legacy.csv").write_text(torn)
    assert run(root, Wants([0])).calls == 0
    assert (root / "legacy.csv").read_text() == "stage,gen_id,replicate,new_gen_id\ndraft,o,1,\n"
    assert plans_right(root, Wants([0])) == {"draft": ["o"]}


def test_a_record_whose_last_line_was_torn_by_a_crash_goes_on_behind_the_last_whole_one(root: Path) -> None:
    for name in "ab":
        old_draft(root, name)
    (root / "legacy.csv").write_text("stage,gen_id,replicate,new_gen_id\ndraft,b,1,\ndraft,a,7")
    assert run(root, Wants([0], draft_replicates=2)).calls == 0
    assert (root / "legacy.csv").read_text() == "stage,gen_id,replicate,new_gen_id\ndraft,b,1,\ndraft,a,2,\n"


# --- what cannot be used ----------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"combo_id": "row-0"}'], ids=repr)
def test_unusable_old_metadata_is_named_never_reused_never_deleted(root: Path, data: bytes) -> None:
    place = write_folder(root / "gens" / "draft" / "broken", data)
    write_legacy(root, "essay", "below", "broken", "story")
    before = tree(place)
    pool = Pool.open(root)
    assert set(pool.catalog().present(pool.config.pipeline["draft"]).unusable) == {"broken"}
    wants = Wants([0], essays=("story",))
    assert plans_right(root, wants) == {"draft": [draft_id(0)], "essay": [essay_id(draft_id(0))]}
    assert run(root, wants).complete
    assert tree(place) == before
    assert metadata(root, "essay", "below")["parent_gen_id"] == "broken"
    assert pool.find_generation("below").gen_id == "below"


def test_one_in_the_place_of_a_task_is_named_by_the_plan_and_not_made_over(root: Path) -> None:
    place = write_folder(root / "gens" / "draft" / draft_id(0), b'{"combo_id": "row-0"}')
    there = write_right(root, "essay", draft_id(0), "story")
    before = tree(place)
    wants = Wants([0, 1], essays=("story", "same"))
    plans_right(root, wants)
    plan = Pool.open(root).plan("c")
    assert list(plan.stage("draft").problems) == [draft_id(0)]
    assert [task.state.name for task in plan.tasks()] == ["UNUSABLE", "MINT", "REUSE", "BLOCKED", "MINT", "MINT"]
    report = run(root, wants)
    assert (report.made, report.calls, report.complete) == (3, 2, False)
    assert tree(place) == before
    assert ("essay", there) in generations(root)
    counts = Pool.open(root).scope("c").counts()
    assert counts == {
        "draft": StageCounts(wanted=2, own=1, unusable=1),
        "essay": StageCounts(wanted=4, own=2, reused=1, missing=1),
    }


def test_a_member_that_is_damaged_later_is_named_and_counted_and_what_is_below_it_is_not(root: Path) -> None:
    fill(root)
    run(root, ALL)
    whole = Pool.open(root).scope("c").counts()
    path = root / "gens" / "draft" / "kq3v-9"
    shutil.rmtree(path)
    write_folder(path, b"{}")
    scope = Pool.open(root).scope("c")
    assert list(scope.problems()) == ["kq3v-9"]
    counts = scope.counts()
    assert (counts["draft"].unusable, counts["draft"].reused) == (1, whole["draft"].reused - 1)
    assert {name: counts[name] for name in ("essay", "evaluation")} == {
        name: whole[name] for name in ("essay", "evaluation")
    }
    assert {one.gen_id: one.state for one in scope.members("draft")}["kq3v-9"] == "unusable"


def test_an_incomplete_old_one_fills_no_slot_and_stays_where_it_is(root: Path) -> None:
    old_draft(root, "half", text=None)
    assert plans_right(root, Wants([0])) == {"draft": [draft_id(0)]}
    assert run(root, Wants([0])).calls == 1
    assert ("draft", "half") in generations(root)


# --- what is said of them ---------------------------------------------------------------------------


def said(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main(["--pool", str(root), *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_status_ls_and_plan_count_them_alike(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(root)
    run(root, ALL)
    for name in ("a.b-c_d", draft_id(0, 3)):
        shutil.rmtree(root / "gens" / "draft" / name)
    status = said(root, capsys, "status", "c")["cohorts"]["c"]
    members = said(root, capsys, "ls", "c")["members"]
    for stage, wanted in (("draft", 6), ("essay", 18), ("evaluation", 36)):
        of_stage = [one for one in members if one["stage"] == stage]
        by_state = {name: sum(one["state"] == name for one in of_stage) for name in ("own", "reused", "missing")}
        assert {name: status[stage][name] for name in by_state} == by_state
        assert len(of_stage) == status[stage]["wanted"] == wanted
    assert status["draft"] | {"attempts": 0} == {
        "wanted": 6, "own": 1, "reused": 3, "missing": 2, "unusable": 0, "attempts": 0
    }  # fmt: skip
    plan = said(root, capsys, "plan", "c")["stages"]["draft"]
    assert {name: plan[name] for name in ("reused", "own", "others", "legacy_ids", "to_make")} == {
        "reused": 4, "own": 1, "others": 3, "legacy_ids": 3, "to_make": 2
    }  # fmt: skip


def test_ls_tells_the_slot_and_the_origin(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(root)
    run(root, ALL)
    listed = {one["gen_id"]: one for one in said(root, capsys, "ls", "c", "--stage", "draft")["members"]}
    assert [(name, one["replicate"], one["state"], one["origin_cohort_id"]) for name, one in listed.items()] == [
        ("d_0000000000000001", 1, "reused", "old"),
        ("kq3v-9", 2, "reused", "old"),
        (draft_id(0, 3), 3, "own", "c"),
        (draft_id(1), 1, "own", "c"),
        ("A7", 2, "reused", None),
        ("a.b-c_d", 3, "reused", "old"),
    ]


def test_show_tells_text_and_lineage_of_an_old_one(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(root)
    shown = said(root, capsys, "show", "v1")
    assert shown["texts"] == {"parsed": "An old text.\n"}
    assert [one["gen_id"] for one in shown["lineage"]] == ["e-old-1", "kq3v-9"]
    assert shown["metadata"]["origin_cohort_id"] == "old"
    assert shown["metadata"]["id_scheme"] is None
    capsys.readouterr()
    assert main(["--pool", str(root), "show", "a.b-c_d"]) == 0
    assert "An old text." in capsys.readouterr().out


# --- under the id of another task -------------------------------------------------------------------


def test_plan_scope_and_why_agree_on_a_record_of_another_task(root: Path) -> None:
    """Under the id of the second draft stands an old record that says that it is the first."""
    wants = Wants([0], draft_replicates=2)
    pool = Pool.open(root)
    run(root, wants)
    shutil.rmtree(root / "gens" / "draft" / draft_id(0, 1))
    shutil.rmtree(root / "gens" / "draft" / draft_id(0, 2))
    old_draft(root, draft_id(0, 2), 1)
    plans_right(root, wants)
    plan, scope = pool.plan("c"), pool.scope("c")
    assert [task.state.name for task in plan.tasks()] == ["MINT", "UNUSABLE"]
    assert scope.counts()["draft"] == StageCounts(wanted=2, missing=1, unusable=1)
    assert [one.state for one in scope.members()] == ["missing", "unusable"]
    assert scope.problems() == dict(plan.stages[0].problems)
    why = pool.why(plan.stages[0].task(1).signature)
    assert (why.exists, why.problem) == (False, scope.problems()[draft_id(0, 2)])


def test_the_same_record_is_reused_where_it_says_that_it_belongs(root: Path) -> None:
    old_draft(root, draft_id(0, 2), 0, replicate=1)
    wants = Wants([0], draft_replicates=2, essays=("story",))
    write_legacy(root, "essay", "e-old", draft_id(0, 2), "story")
    plans_right(root, wants)
    run(root, wants)
    scope = Pool.open(root).scope("c")
    assert [one.state for one in scope.members("draft")] == ["reused", "unusable"]


def test_a_plan_tells_of_what_cannot_be_read_and_may_be_its_own(root: Path) -> None:
    wants = Wants([0])
    old_draft(root, "opaque")
    plans_right(root, wants)
    assert Pool.open(root).plan("c").notes == ()
    run(root, Wants([1]), "other")
    shutil.rmtree(root / "gens" / "draft" / "opaque")
    write_folder(root / "gens" / "draft" / "opaque", b"{")
    write_folder(root / "gens" / "draft" / draft_id(0), b"{")
    (note,) = Pool.open(root).plan("c").notes
    assert note.startswith("draft: 1 generation is unusable, ")
    assert "opaque/metadata.json" in note
