"""`genpool drift fork`: an old text comes back under a new name, verified, taken back to the byte; or it is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from genpool.pool import Pool
from tests.small_pools import ESSAYS, EVALUATIONS, generations, make_pool, metadata, models, whole_cohort, write_spec
from tests.unit.migration.conftest import whole_tree

from .conftest import replace_file, rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type

PLAIN = "templates/draft/plain.j2"
FORK = ("drift", "fork", "c", "template=draft/plain", "--as", "plain-1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cohorts that share drafts and essays, made with a draft template that was changed since."""
    root = make_pool(tmp_path / "pool").root
    whole_cohort(root)
    write_spec(root, "other", draft="template: [plain, long], model: [writer], replicates: 1", essay=ESSAYS)
    for cohort in ("c", "other"):
        Pool.open(root).run(cohort, models=models())
    edit(root / PLAIN, "Write about", "Write on")
    return root


def edit(path: Path, old: str, new: str) -> None:
    replace_file(path, path.read_text().replace(old, new))


def make(root: Path, cohort: str = "c") -> None:
    Pool.open(root).run(cohort, models=models())


def counts(genpool: Type, cohort: str) -> tuple[int, int, int]:
    """Reused, to make, drifted."""
    plan = genpool("plan", cohort, "--json").json
    total = plan["total"]
    return total["reused"], total["to_make"], len(plan["drift"])


def forked(genpool: Type) -> Any:
    typed = genpool(*FORK, "--yes", "--json")
    assert typed.code == 0, typed.err
    return typed.json


# --- what it does -----------------------------------------------------------------------------------


def test_it_is_told_and_priced_before_anything_is_done(root: Path, genpool: Type) -> None:
    before = whole_tree(root)
    said = genpool(*FORK).out
    assert "template draft/plain: 2 generations made with the text of then" in said
    assert "templates/draft/plain-1.j2" in said
    assert "to make all of that again: " in said
    assert "other" in said
    assert "write plain-1 into its spec" in said
    assert said.endswith("drift fork c template=draft/plain --as plain-1 --yes\n")
    assert whole_tree(root) == before
    assert not (root / "migrations").exists()


def test_the_old_text_has_the_new_name_and_the_old_slots_are_free(root: Path, genpool: Type) -> None:
    then = {gen_id: metadata(root, "draft", gen_id) for stage, gen_id in generations(root) if stage == "draft"}
    drafts_of_then = [one for one, record in then.items() if record["template_id"] == "plain"]
    wanted = counts(genpool, "c")[0]
    done = forked(genpool)
    assert done["fork"] == {
        "stage": "draft",
        "was": "plain",
        "becomes": "plain-1",
        "file": "templates/draft/plain-1.j2",
    }
    assert done["report"]["right"] is True
    became = {one["was"]: one["becomes"] for one in done["ids"] if one["reason"] == "fork"}
    assert sorted(became) == sorted(drafts_of_then)
    for old, new in became.items():
        record = metadata(root, "draft", new)
        assert record["template_id"] == "plain-1"
        assert {**record, "gen_id": 0, "self": 0, "template_id": 0} == {
            **then[old],
            "gen_id": 0,
            "self": 0,
            "template_id": 0,
        }
    assert counts(genpool, "c") == (0, wanted, 0)  # all of c is below the old name
    edit(root / "cohorts/c/cohort.yaml", "template: [plain]", "template: [plain-1]")
    assert counts(genpool, "c") == (wanted, 0, 0)


def test_what_was_made_with_another_text_stays(root: Path, genpool: Type) -> None:
    write_spec(root, "more", draft="template: [plain], model: [writer], replicates: 2")
    make(root, "more")  # the second replicates are of the present text
    done = forked(genpool)
    assert sum(one["reason"] == "fork" for one in done["ids"]) == 2
    assert counts(genpool, "more") == (2, 2, 0)
    assert counts(genpool, "other") == (6, 6, 0)


def test_memberships_and_old_ids_follow(root: Path, genpool: Type) -> None:
    done = forked(genpool)
    old, new = next((one["was"], one["becomes"]) for one in done["ids"] if one["reason"] == "fork")
    assert json.loads(genpool("show", old, "--json").out)["metadata"]["gen_id"] == new
    for cohort in ("c", "other"):
        assert genpool("status", cohort, "--json").code == 0
        lines = (root / "cohorts" / cohort / "membership.csv").read_text()
        assert old not in lines
        assert f"draft,{new},row-" in lines
        assert "plain-1" in next(line for line in lines.splitlines() if new in line)
    listed = genpool("ls", "c", "--where", "draft.template=plain-1", "--json")
    assert listed.code == 0


def test_what_is_made_anew_takes_the_old_ids_and_the_fork_stays_verified(root: Path, genpool: Type) -> None:
    done = forked(genpool)
    old, new = next((one["was"], one["becomes"]) for one in done["ids"] if one["reason"] == "fork")
    make(root)
    assert metadata(root, "draft", old)["template_id"] == "plain"
    assert json.loads(genpool("show", old, "--json").out)["metadata"]["gen_id"] == old
    assert metadata(root, "draft", new)["template_id"] == "plain-1"
    assert counts(genpool, "c")[1:] == (0, 0)
    assert genpool("migrate", "verify").code == 0
    assert genpool("doctor").code == 0


def test_an_adopted_task_that_is_not_made_yet_is_missing_not_what_was_renamed(root: Path, genpool: Type) -> None:
    done = forked(genpool)
    old = {one["was"] for one in done["ids"] if one["reason"] == "fork"}
    nothing = root / "nothing.jsonl"
    nothing.write_text("")
    genpool("run", "c", "--only", str(nothing), "-q")  # adopts the plan, and makes nothing
    missing = [json.loads(line) for line in genpool("missing", "c").out.splitlines()]
    assert old <= {one["gen_id"] for one in missing}


# --- taken back -------------------------------------------------------------------------------------


def test_a_rollback_gives_the_tree_of_before(root: Path, genpool: Type) -> None:
    before = whole_tree(root)
    forked(genpool)
    assert (root / "templates/draft/plain-1.j2").is_file()
    assert genpool("migrate", "rollback").code == 0
    assert whole_tree(root) == before
    assert genpool("migrate", "verify").code == 0
    assert forked(genpool)["report"]["right"] is True


def test_a_rollback_after_a_run_restores_what_was_and_keeps_what_was_made(root: Path, genpool: Type) -> None:
    before = generations(root)
    texts = {task: (root / "gens" / task[0] / task[1] / "metadata.json").read_bytes() for task in before}
    forked(genpool)
    make(root)
    said = genpool("migrate", "rollback").out
    assert "had no place left" in said
    assert {task: (root / "gens" / task[0] / task[1] / "metadata.json").read_bytes() for task in before} == texts
    kept = list(root.glob("migrations/*/*/kept/gens/draft/*/parsed.txt"))
    assert len(kept) == 2
    assert counts(genpool, "c")[2] == 1
    assert "plain-1" not in (root / "cohorts/c/membership.csv").read_text()


def test_a_membership_written_since_gets_the_old_name_back(root: Path, genpool: Type) -> None:
    forked(genpool)
    edit(root / "cohorts/c/cohort.yaml", "template: [plain]", "template: [plain-1]")
    edit(root / "cohorts/c/cohort.yaml", EVALUATIONS, f"{EVALUATIONS}, replicates: 3")
    make(root)
    assert "plain-1" in (root / "cohorts/c/membership.csv").read_text()
    assert genpool("migrate", "rollback").code == 0
    assert "plain-1" not in (root / "cohorts/c/membership.csv").read_text()
    assert genpool("status", "c").out.endswith("complete\n\n")


def test_a_rollback_is_refused_where_the_new_file_was_edited(root: Path, genpool: Type) -> None:
    forked(genpool)
    edit(root / "templates/draft/plain-1.j2", "Write about", "Sing of")
    refused = genpool("migrate", "rollback")
    assert refused.code == 1
    assert "was changed since the migration wrote it" in refused.err


# --- refused ----------------------------------------------------------------------------------------


def refused(root: Path, genpool: Type, *words: str) -> str:
    before = whole_tree(root)
    typed = genpool("drift", "fork", *words, "--yes")
    assert typed.code != 0
    assert "Traceback" not in typed.err
    assert whole_tree(root) == before
    return typed.err


def test_a_name_that_is_taken_or_cannot_be_one(root: Path, genpool: Type) -> None:
    assert "is taken" in refused(root, genpool, "c", "--as", "long")
    assert "differ only in case" in refused(root, genpool, "c", "--as", "LONG")
    assert "not a name" in refused(root, genpool, "c", "--as", "../x")
    (root / "templates/draft/long.j2").unlink()
    assert "was made under it" in refused(root, genpool, "c", "--as", "long")


def test_a_second_fork_while_one_is_open(root: Path, genpool: Type) -> None:
    forked(genpool)
    edit(root / "templates/essay/story.j2", "as a story", "as a tale")
    assert "is not closed yet" in refused(root, genpool, "other", "--as", "story-1")
    assert genpool("migrate", "close").code == 0
    make(root, "other")
    assert genpool("drift", "fork", "other", "--as", "story-1", "--yes").code == 0


def test_what_is_no_template_is_refused_with_the_reason(root: Path, genpool: Type) -> None:
    rewrite(root / "pool.yaml", "writer: {client: scripted}", "writer: {client: scripted, temperature: 0.9}")
    rewrite(root / "rows.csv", "topic 0", "topic zero")
    assert "a model cannot be forked" in refused(root, genpool, "c", "model=writer", "--as", "w")
    assert "a combo cannot be forked" in refused(root, genpool, "c", "combo=row-0", "--as", "w")
    assert "name" in refused(root, genpool, "c", "--as", "w")


def test_an_include_that_was_changed(root: Path, genpool: Type) -> None:
    (root / "templates/style.j2").write_text("Be brief.\n")
    replace_file(root / "templates/draft/long.j2", '---\nparser: text\n---\n{% include "style.j2" %} {{ row.topic }}\n')
    write_spec(root, "inc", draft="template: [long], model: [writer], replicates: 3")
    make(root, "inc")
    edit(root / "templates/style.j2", "brief", "short")
    assert "includes 'style.j2'" in refused(
        root, genpool, "inc", "template=draft/long", "--then", _then(genpool), "--as", "n"
    )


def _then(genpool: Type) -> str:
    """The fingerprint of the text of `long` that more than two drafts were made with."""
    drift = genpool("plan", "inc", "--json").json["drift"]
    return str(max((one for one in drift if one["name"] == "draft/long"), key=lambda one: len(one["gen_ids"]))["then"])


def test_of_several_texts_one_is_named(root: Path, genpool: Type) -> None:
    write_spec(root, "c", draft="template: [plain], model: [writer], replicates: 2")
    make(root)
    edit(root / PLAIN, "Write on", "Sing of")
    assert "had 2 texts" in refused(root, genpool, "c", "--as", "plain-1")
    then = [one["then"] for one in genpool("plan", "c", "--json").json["drift"]]
    assert "begins with 'zz'" in refused(root, genpool, "c", "--as", "plain-1", "--then", "zz")
    assert genpool("drift", "fork", "c", "--as", "plain-1", "--then", then[1][:12], "--yes").code == 0
    assert counts(genpool, "c")[2] == 1


def test_a_text_that_is_not_in_sources(root: Path, genpool: Type) -> None:
    then = genpool("plan", "c", "--json").json["drift"][0]["then"]
    (root / "sources" / then).unlink()
    assert "not in sources/" in refused(root, genpool, "c", "--as", "plain-1")


def test_nothing_drifted(root: Path, genpool: Type) -> None:
    edit(root / PLAIN, "Write on", "Write about")
    assert "nothing drifted" in genpool("drift", "fork", "c", "--as", "plain-1", "--yes").out
    assert genpool("drift", "fork", "c", "--as", "plain-1", "--json").json["fork"] is None
