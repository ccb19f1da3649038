"""Applying, resuming, rolling back, verifying, closing: to the byte, from any point, and refused where it must be."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from genpool.errors import CorruptFile, GenpoolError, PoolBusy, PoolError, StorageFailed, UsageError
from genpool.gen_ids import Scheme
from genpool.layout import PoolLayout
from genpool.locks import pool_lock
from genpool.migration.identity import Change, Identity
from genpool.migration.migrations import Migrations
from genpool.migration.targets import change_to
from genpool.pool import Pool
from tests.legacy_pools import right_id, write_legacy, write_right
from tests.small_pools import EVALUATIONS, generations, metadata, models, write_spec
from tests.unit.migration.conftest import DRAFT, applied, draft_id, migrations, planned, to_make, whole_tree
from tests.unit.migration.killing import killed_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# --- applying ---------------------------------------------------------------------------------------


def test_after_it_every_old_cohort_reuses_everything(old: Path) -> None:
    assert to_make(old) == 0
    plan, report = applied(old)
    assert report.is_right, report.problems
    assert report.checked["ids"] == len([row for row in plan.rows if row.place == "gens"])
    found = Pool.open(old).plan("c")
    assert found.to_make == 0
    assert not any(part.row("c")["legacy ids"] for part in found.stages)
    assert not [one for one in Pool.open(old).examine().findings if not one.is_note]


def test_records_say_all_that_they_said(old: Path) -> None:
    before = {gen_id: metadata(old, "essay", gen_id) for gen_id in ("old-essay",)}
    plan, _ = applied(old)
    row = next(row for row in plan.rows if row.old_id == "old-essay")
    now = metadata(old, "essay", row.new_id)
    changed = {"format", "id_scheme", "gen_id", "parent_gen_id", "replicate", "self"}
    assert {key: item for key, item in now.items() if key not in changed} == {
        key: item for key, item in before["old-essay"].items() if key not in changed
    }
    assert now["gen_id"] == row.new_id
    assert now["replicate"] == row.replicate == 1
    assert now["parent_gen_id"] == draft_id()


def test_older_keys_stay_beside_the_canonical_ones(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1, origin=None, cohort_id="long-ago")
    path = root / "gens/draft/a/metadata.json"
    value = json.loads(path.read_text())
    value["model_id"] = value.pop("llm_model_id")
    value["draft_template"] = value.pop("template_id")
    path.write_text(json.dumps(value))
    applied(root)
    now = metadata(root, "draft", draft_id())
    assert now["model_id"] == now["llm_model_id"] == "writer"
    assert now["draft_template"] == now["template_id"] == "plain"
    assert now["cohort_id"] == now["origin_cohort_id"] == "long-ago"


def test_outputs_are_not_touched(old: Path) -> None:
    def outputs() -> dict[tuple[int, int], tuple[int, bytes]]:
        found = [path for path in old.glob("gens/*/*/*") if path.name != "metadata.json"]
        return {(one.stat().st_ino, one.stat().st_mtime_ns): (one.stat().st_mode, one.read_bytes()) for one in found}

    before = outputs()
    applied(old)
    assert outputs() == before


def test_ids_that_change_places_do(root: Path) -> None:
    one, two, three = draft_id(1), draft_id(2), draft_id(3)
    for gen_id, stated, text in ((two, 1, "first"), (one, 2, "second"), ("c", 3, "third")):
        write_legacy(root, "draft", gen_id, *DRAFT, replicate=stated, text=text)
    write_legacy(root, "draft", three, "row-1", "plain", "writer", replicate=1, text="in the way")
    before = whole_tree(root)
    plan, report = applied(root)
    assert report.is_right, report.problems

    def text(gen_id: str) -> str:
        return (root / "gens/draft" / gen_id / "parsed.txt").read_text()

    assert [text(gen_id) for gen_id in (one, two, three)] == ["first", "second", "third"]
    assert text(draft_id(1, "row-1")) == "in the way"
    migrations(root).roll_back(plan.migration_id)
    assert whole_tree(root) == before


def test_attempts_ledgers_and_accepted_drift_follow(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    write_spec(root, essay="template: [story]", evaluation=EVALUATIONS)
    Pool.open(root).run("c", models=models(judge=_unreadable()))
    (root / "drift.csv").write_text("kind,name,stored,present,accepted_at\nparent,a,x,y,z\ntemplate,a,x,y,z\n")
    before = whole_tree(root)
    plan, report = applied(root)
    assert report.is_right, report.problems
    tasks = {(path.parent.name, path.name) for path in (root / "attempts").glob("*/*")}
    renamed = {(row.stage, row.new_id) for row in plan.rows if row.place == "attempts"}
    assert renamed
    assert renamed <= tasks
    assert f"parent,{draft_id()},x,y,z\ntemplate,a,x,y,z\n" in (root / "drift.csv").read_text()
    ledger = "".join(path.read_text() for path in (root / "ledger").iterdir())
    old_ids = {row.old_id for row in plan.rows if row.place in {"attempts", "gens", "member"}}
    assert not [gen_id for gen_id in old_ids if f'"{gen_id}"' in ledger]
    assert not [one for one in Pool.open(root).examine().findings if not one.is_note]
    assert sum(part.row("c")["exhausted"] for part in Pool.open(root).plan("c").stages) == 4
    migrations(root).roll_back(plan.migration_id)
    assert whole_tree(root) == before


def _unreadable() -> Any:
    from tests.small_pools import ScriptedModel, answer

    return ScriptedModel(lambda _: answer("no score here"))


def test_what_is_in_the_trash_comes_back_under_its_new_id(old: Path) -> None:
    trashed = Pool.open(old).purge("c")[1]
    assert trashed is not None
    plan, report = applied(old)
    assert report.is_right, report.problems
    migrations(old).close(plan.migration_id, unverified=True)
    Pool.open(old).undo_removal(trashed.trash_id)
    assert to_make(old) == 0
    assert not [one for one in Pool.open(old).examine().findings if not one.is_note]


def test_a_manifest_goes_and_comes_back_whenever_it_was_written(old: Path) -> None:
    pool = Pool.open(old)
    plan = planned(old)
    pool.manifests.write("c")
    before = whole_tree(old)
    path = old / "cohorts/c/manifest.json"
    assert killed_at(40, lambda: migrations(old).apply(plan.migration_id))
    assert migrations(old).standing(plan.migration_id).state == "applying"
    Pool.open(old).manifests.write("c")  # a reader may do that at any time
    migrations(old).resume(plan.migration_id)
    assert not path.exists()
    assert migrations(old).verify(plan.migration_id).is_right
    Pool.open(old).manifests.write("c")
    assert migrations(old).verify(plan.migration_id).is_right
    migrations(old).roll_back(plan.migration_id)
    after = whole_tree(old)
    assert {name for name in before if after.get(name) != before[name]} <= {"cohorts/c/manifest.json"}
    assert to_make(old) == 0


# --- back -------------------------------------------------------------------------------------------


def test_back_to_the_byte(old: Path) -> None:
    (old / "gens/draft/old-1/metadata.json").chmod(0o640)
    os.utime(old / "gens/draft/old-1", ns=(1, 2_000_000_001))
    before = whole_tree(old)
    plan, _ = applied(old)
    assert whole_tree(old) != before
    migrations(old).roll_back(plan.migration_id)
    assert whole_tree(old) == before
    assert migrations(old).verify(plan.migration_id).is_right
    assert planned(old).migration_id == plan.migration_id
    assert applied(old)[1].is_right


def test_a_file_that_links_elsewhere_keeps_its_links(old: Path, tmp_path: Path) -> None:
    os.link(old / "gens/draft/old-1/metadata.json", tmp_path / "elsewhere")
    content = (tmp_path / "elsewhere").read_bytes()
    before = whole_tree(old)
    plan, _ = applied(old)
    assert (tmp_path / "elsewhere").read_bytes() == content, "nothing is written in place"
    migrations(old).roll_back(plan.migration_id)
    assert whole_tree(old) == before


def test_what_was_made_since_is_kept_under_its_restored_parents(old: Path) -> None:
    before = whole_tree(old)
    plan, _ = applied(old)
    wanted = {
        "draft": "template: [plain, long], model: [writer], replicates: 2",
        "essay": "template: [story, letter, same]",
        "evaluation": f"{EVALUATIONS}, replicates: 3",
    }
    write_spec(old, "later", **wanted)
    made = Pool.open(old).run("later", models=models()).calls
    assert made > 20
    texts = sorted(path.read_bytes() for path in old.glob("gens/*/*/parsed.txt"))
    migrations(old).roll_back(plan.migration_id)
    after = whole_tree(old)
    touched = {"cohorts", "gens", "gens/draft", "gens/essay", "gens/evaluation", "sources", "ledger"}
    assert {name for name in before if after.get(name) != before[name]} <= touched
    report = migrations(old).verify(plan.migration_id)
    assert report.is_right, report.problems
    assert sorted(path.read_bytes() for path in old.glob("gens/*/*/parsed.txt")) == texts
    assert to_make(old) == to_make(old, "later") == 0
    assert not [one for one in Pool.open(old).examine().findings if not one.is_note]


def test_a_membership_that_was_written_since_is_rewritten(old: Path) -> None:
    plan, _ = applied(old)
    wanted = {"essay": "template: [story, same, letter]", "evaluation": EVALUATIONS}
    write_spec(old, **wanted)
    Pool.open(old).run("c", models=models())
    migrations(old).roll_back(plan.migration_id)
    assert to_make(old) == 0
    listed = {tuple(line.split(",")[:2]) for line in (old / "cohorts/c/membership.csv").read_text().splitlines()[1:]}
    assert listed <= generations(old)
    assert not [one for one in Pool.open(old).examine().findings if not one.is_note]


# --- refused ----------------------------------------------------------------------------------------


def test_refused_while_a_run_is_active(old: Path) -> None:
    plan = planned(old)
    before = whole_tree(old)
    with pool_lock(PoolLayout(old), "genpool run c"), pytest.raises(PoolBusy, match="genpool run c"):
        migrations(old).apply(plan.migration_id)
    assert whole_tree(old) == before


def test_a_run_is_refused_while_one_is_being_applied(old: Path) -> None:
    with (
        pool_lock(PoolLayout(old), "genpool migrate apply", exclusive=True),
        pytest.raises(PoolBusy, match="migrate apply"),
    ):
        Pool.open(old).run("c", models=models())


def test_refused_while_another_one_is_open(old: Path) -> None:
    first = planned(old)
    (old / "gens/draft/old-1/more.txt").write_text("not read by a plan")
    layout = PoolLayout(old)
    change, configs = change_to(layout, salt="pepper")
    second = migrations(old).write(migrations(old).plan(change, configs))
    migrations(old).apply(first.migration_id)
    for work in (lambda: migrations(old).apply(second.migration_id), lambda: migrations(old).plan()):
        with pytest.raises(PoolBusy, match=r"not closed yet"):
            work()
    migrations(old).close(first.migration_id, unverified=True)
    with pytest.raises(PoolError, match="not as it was planned"):
        migrations(old).apply(second.migration_id)


def test_a_purge_waits_until_it_is_closed(old: Path) -> None:
    plan, _ = applied(old)
    with pytest.raises(PoolBusy, match="not closed"):
        Pool.open(old).purge("c")
    migrations(old).close(plan.migration_id, unverified=True)
    assert Pool.open(old).purge("c")[1] is not None


CHANGES: dict[str, Callable[[Path], object]] = {
    "a record": lambda root: (root / "gens/draft/old-1/metadata.json").write_text("{}"),
    "one more": lambda root: write_right(root, "draft", "row-0", "long", "writer"),
    "one less": lambda root: (root / "gens/draft/old-1").rename(root / "away"),
    "a membership": lambda root: (root / "cohorts/c/membership.csv").write_text("stage,gen_id\n"),
    "a new book": lambda root: (root / "legacy.csv").unlink(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_refused_where_the_plan_no_longer_fits(old: Path, what: str) -> None:
    plan = planned(old)
    CHANGES[what](old)
    before = whole_tree(old)
    with pytest.raises(PoolError, match="not as it was planned"):
        migrations(old).apply(plan.migration_id)
    assert whole_tree(old) == before
    assert migrations(old).standing(plan.migration_id).state == "planned"


def test_refused_where_there_are_more_attempts_than_were_planned_with(root: Path) -> None:
    write_legacy(root, "draft", "a", *DRAFT, replicate=1)
    write_spec(root, essay="template: [story]", evaluation=EVALUATIONS)
    Pool.open(root).run("c", models=models(judge=_unreadable()))
    plan = planned(root)
    Pool.open(root).run("c", models=models(judge=_unreadable()), retry_exhausted=True)
    with pytest.raises(PoolError, match=r"attempts/evaluation/.*not as it was planned"):
        migrations(root).apply(plan.migration_id)


def test_a_folder_that_cannot_be_written_is_told_before_anything_changes(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, before = planned(old), whole_tree(old)
    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK and writable(path, mode))
    with pytest.raises(StorageFailed, match=r"cannot be written \(Permission denied or .*Input/output error\)"):
        migrations(old).apply(plan.migration_id)
    assert whole_tree(old) == before


def test_a_strict_plan_is_not_applied_by_halves(old: Path) -> None:
    write_legacy(old, "essay", "orphan", "nowhere", "story", replicate=1)
    at = migrations(old)
    plan = at.write(at.plan(), strict=True)
    before = whole_tree(old)
    with pytest.raises(PoolError, match="--strict"):
        at.apply(plan.migration_id)
    assert whole_tree(old) == before


def test_nothing_to_go_on_with_or_to_take_back(old: Path) -> None:
    name = planned(old).migration_id
    for work in (migrations(old).resume, migrations(old).roll_back, migrations(old).verify, migrations(old).close):
        with pytest.raises(UsageError, match="is planned"):
            work(name)


def test_after_it_is_closed_there_is_no_way_back(old: Path) -> None:
    plan, _ = applied(old)
    migrations(old).close(plan.migration_id, unverified=True)
    assert not list((old / "migrations").glob("*/round-*/batch-*"))
    with pytest.raises(UsageError, match="is closed"):
        migrations(old).roll_back(plan.migration_id)
    assert migrations(old).verify(plan.migration_id).is_right
    assert (old / "migrations" / plan.migration_id / "mapping.csv").exists()


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_damaged_journal_stops_everything(old: Path, at: float) -> None:
    plan, _ = applied(old)
    path = next((old / "migrations").glob("*/round-1/journal.jsonl"))
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 4
    path.write_bytes(data)
    before = whole_tree(old)
    for work in (migrations(old).roll_back, migrations(old).verify):
        with pytest.raises(CorruptFile, match="journal"):
            work(plan.migration_id)
    with pytest.raises(CorruptFile, match="journal"):
        Pool.open(old).plan("c")
    assert whole_tree(old) == before


def test_damaged_intents_stop_a_rollback(old: Path) -> None:
    plan, _ = applied(old)
    path = next((old / "migrations").glob("*/round-1/batch-2.0/intents.jsonl"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptFile, match="vouches"):
        migrations(old).roll_back(plan.migration_id)


def test_something_in_the_place_of_what_is_restored(old: Path) -> None:
    plan, _ = applied(old)
    (old / "gens/draft/old-1").mkdir()
    with pytest.raises(StorageFailed, match="something is there"):
        migrations(old).roll_back(plan.migration_id)
    (old / "gens/draft/old-1").rmdir()
    assert migrations(old).resume(plan.migration_id).state == "rolled-back"
    assert migrations(old).verify(plan.migration_id).is_right


# --- verifying --------------------------------------------------------------------------------------

HARMS: dict[str, Callable[[Path, str], object]] = {
    "a text": lambda root, name: (root / "gens/draft" / name / "parsed.txt").write_text("other"),
    "a record": lambda root, name: (root / "gens/draft" / name / "metadata.json").write_text("{}"),
    "a directory": lambda root, name: (root / "gens/draft" / name).rename(root / "away"),
    "one text less": lambda root, name: (root / "gens/draft" / name / "parsed.txt").unlink(),
    "one text more": lambda root, name: (root / "gens/draft" / name / "new.txt").write_text("new"),
    "a source": lambda root, _: next(root.glob("sources/*")).unlink(),
    "an alias": lambda root, _: (root / "legacy.csv").write_text("stage,gen_id,replicate,new_gen_id\n"),
    "an original": lambda root, _: next(root.glob("migrations/*/round-1/batch-2.0/o0")).unlink(),
    "an old id": lambda root, _: (root / "gens/draft/old-1").mkdir(),
    "a membership": lambda root, _: _replace(root / "cohorts/c/membership.csv", draft_id(), "old-1"),
}


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("what", HARMS)
def test_verifying_finds_what_is_not_as_planned(old: Path, what: str) -> None:
    plan, report = applied(old)
    assert report.is_right
    HARMS[what](old, draft_id())
    report = migrations(old).verify(plan.migration_id)
    assert not report.is_right
    assert migrations(old).standing(plan.migration_id).verified is False


# --- rehearsing -------------------------------------------------------------------------------------


def test_a_rehearsal_leaves_the_pool_as_it_is(old: Path) -> None:
    plan = planned(old)
    before = whole_tree(old)
    report = migrations(old).rehearse(plan.migration_id)
    assert report.is_right, report.problems
    assert report.checked["ids"]
    assert whole_tree(old) == before
    assert migrations(old).standing(plan.migration_id).state == "planned"
    assert not (old / "migrations" / plan.migration_id / "rehearsal").exists()


def test_what_a_killed_rehearsal_left_is_gone_afterwards(old: Path) -> None:
    plan = planned(old)
    before = whole_tree(old)
    assert killed_at(60, lambda: migrations(old).rehearse(plan.migration_id))
    assert (old / "migrations" / plan.migration_id / "rehearsal").exists()
    migrations(old).apply(plan.migration_id)
    assert migrations(old).verify(plan.migration_id).is_right
    migrations(old).roll_back(plan.migration_id)
    assert whole_tree(old) == before


def test_a_rehearsal_of_a_plan_that_does_not_fit_is_refused(old: Path) -> None:
    plan = planned(old)
    CHANGES["a record"](old)
    with pytest.raises(PoolError, match="not as it was planned"):
        migrations(old).rehearse(plan.migration_id)


# --- changes of our own -----------------------------------------------------------------------------


def test_another_salt(old: Path) -> None:
    change, configs = change_to(PoolLayout(old), salt="pepper")
    before = whole_tree(old)
    at = migrations(old)
    plan = at.write(at.plan(change, configs))
    at.apply(plan.migration_id)
    assert at.verify(plan.migration_id).is_right
    assert Pool.open(old).config.salt == "pepper"
    assert to_make(old) == 0
    fields = {"combo_id": "row-0", "template_id": "plain", "llm_model_id": "writer", "replicate": 1}
    assert ("draft", right_id("draft", fields, "pepper")) in generations(old)
    write_spec(old, "later", essay="template: [letter]")
    Pool.open(old).run("later", models=models())
    at.roll_back(plan.migration_id)
    assert at.verify(plan.migration_id).is_right
    assert to_make(old) == to_make(old, "later") == 0
    after = whole_tree(old)
    assert not [name for name in before if name not in after]


def test_a_model_axis_that_a_stage_gets(old: Path) -> None:
    text = (old / "pool.yaml").read_text()
    pipeline = (
        "pipeline:\n  draft: {prefix: d, axes: [template, model]}\n"
        "  essay: {prefix: e, parent: draft, axes: [template, model]}\n"
        "  evaluation: {prefix: v, parent: essay, axes: [template, model], replicates: 2, judges: true}\n"
    )
    new = old.parent / "new.yaml"
    new.write_text(text + pipeline)
    with pytest.raises(UsageError, match="which value"):
        change_to(PoolLayout(old), config=str(new))
    change, configs = change_to(PoolLayout(old), config=str(new), sets={("essay", "model"): "writer"})
    before = whole_tree(old)
    at = migrations(old)
    plan = at.write(at.plan(change, configs))
    at.apply(plan.migration_id)
    report = at.verify(plan.migration_id)
    assert report.is_right, report.problems
    essays = [metadata(old, "essay", gen_id) for stage, gen_id in generations(old) if stage == "essay"]
    assert {essay["llm_model_id"] for essay in essays} == {"writer"}
    assert not [one for one in Pool.open(old).examine().findings if not one.is_note]
    assert Pool.open(old).scope("c").counts()["essay"].missing == 0
    at.roll_back(plan.migration_id)
    assert whole_tree(old) == before


def test_a_scheme_of_tomorrow(old: Path) -> None:
    config = Pool.open(old).config
    scheme = Scheme("genpool/2", 40)
    change = Change(Identity(config.pipeline, config.salt), Identity(config.pipeline, config.salt, scheme))
    before = whole_tree(old)
    at = Migrations(PoolLayout(old), schemes={scheme.name: scheme}, batch=3)
    plan = at.write(at.plan(change))
    at.apply(plan.migration_id)
    report = at.verify(plan.migration_id)
    assert report.is_right, report.problems
    assert {len(gen_id.partition("_")[2]) for _, gen_id in generations(old)} == {40}
    with pytest.raises(GenpoolError, match="genpool/2"):
        migrations(old).verify(plan.migration_id)
    at.roll_back(plan.migration_id)
    assert whole_tree(old) == before
