"""Removing as a user meets it: a dry run first, what others reach stays and is named, and all of it can be undone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.locks import pool_lock
from genpool.pool import Pool
from tests.small_pools import generations, make_pool, tree, whole_cohort, write_rows, write_spec

from .conftest import replace_file, rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type

NOT_THERE = ("trash", ".genpool")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cohorts: `c` of rows 0 and 1, all stages; `other` has a story of row 0 and a draft that is its own."""
    pool = make_pool(tmp_path / "pool")
    whole_cohort(pool.root)
    write_rows(pool.root, [0, 2], "others.csv")
    write_spec(pool.root, "other", rows="others.csv", essay="template: [story]")
    for cohort in ("c", "other"):
        assert pool.run(cohort).complete
    return pool.root


def purge(genpool: Type, *words: str) -> dict[str, object]:
    done = genpool("purge", "c", "--json", *words)
    assert done.code == 0, done.out
    return dict(done.json)


def test_a_dry_run_says_what_goes_and_what_stays_and_changes_nothing(genpool: Type, root: Path) -> None:
    before = tree(root, without=[".genpool"])
    said = genpool("purge", "c")
    assert said.code == 0
    assert "stays: 2 generations that cohort other reaches" in said.out
    assert "nothing was changed; to do it: genpool purge c --yes" in said.out
    found = purge(genpool)
    assert [sum(one["stage"] == stage for one in found["goes"]) for stage in ("draft", "essay", "evaluation")] == [
        1,
        3,
        8,
    ]
    assert [(one["stage"], one["why"], one["by"]) for one in found["stays"]] == [
        ("draft", "cohort", ["other"]),
        ("essay", "cohort", ["other"]),
    ]
    assert found["trash_id"] is None
    assert tree(root, without=[".genpool"]) == before


def test_what_went_can_be_taken_back_to_the_byte(genpool: Type, root: Path) -> None:
    before = tree(root, without=NOT_THERE)
    found = purge(genpool, "--yes")
    assert not (root / "cohorts/c").exists()
    assert len(generations(root)) == 4
    assert "complete" in genpool("status", "other").out
    listed = genpool("trash", "ls", "--json").json["trash"]
    assert [(one["trash_id"], one["state"]) for one in listed] == [(found["trash_id"], "done")]
    assert str(found["trash_id"]) in genpool("trash", "ls").out
    undone = genpool("trash", "undo", str(found["trash_id"])).out
    assert undone == f"moved back: 12 generations, cohorts/{found['cohort']}/\n"
    assert tree(root, without=NOT_THERE) == before
    assert Pool.open(root).plan("c").to_make == 0
    assert genpool("trash", "undo", str(found["trash_id"])).code == 1


def test_a_purge_and_a_run_make_anew_only_what_went_and_an_undo_is_refused_then(genpool: Type, root: Path) -> None:
    whole, kept = generations(root), tree(root / "gens")
    found = purge(genpool, "--yes")
    stayed = {name: facts for name, facts in tree(root / "gens").items() if name.count("/") > 1}
    whole_cohort(root)
    assert Pool.open(root).run("c").made == len(found["goes"])  # type: ignore[arg-type]
    assert generations(root) == whole
    assert {name: kept[name] for name in stayed} == stayed
    before = tree(root, without=[".genpool"])
    refused = genpool("trash", "undo", str(found["trash_id"]))
    assert refused.code == 1
    assert "gens/evaluation/v_" in refused.err
    assert tree(root, without=[".genpool"]) == before


def test_a_generation_of_no_cohort_keeps_what_it_starts_from_and_is_named(genpool: Type, root: Path) -> None:
    write_spec(root, "letters", essay="template: [letter]")
    Pool.open(root).run("letters")
    shutil.rmtree(root / "cohorts/letters")
    shutil.rmtree(root / "cohorts/other")
    kept = [one for one in purge(genpool)["stays"] if one["why"] == "generation"]  # type: ignore[attr-defined]
    assert [one["stage"] for one in kept] == ["draft", "draft"]
    said = genpool("purge", "c", "--yes").out
    assert all(f"{one['gen_id']}: {one['by'][0]}, which stays, starts from it" in said for one in kept)
    assert {one["by"][0] for one in kept} < {gen_id for stage, gen_id in generations(root) if stage == "essay"}
    assert sorted(stage for stage, _ in generations(root)) == ["draft"] * 3 + ["essay"] * 3
    strays = purge_of(genpool, "letters")
    assert len(strays["goes"]) == 2, "what a cohort made can be purged when its folder is gone"  # type: ignore[arg-type]


def purge_of(genpool: Type, cohort: str) -> dict[str, object]:
    return dict(genpool("purge", cohort, "--json").json)


@pytest.mark.parametrize("content", [b"\xff", b"nothing\n", b"stage,gen_id\nno-such-stage,d_1\n", None])
def test_where_a_membership_cannot_be_read_nothing_is_removed(genpool: Type, root: Path, content: bytes | None) -> None:
    path = root / "cohorts/other/membership.csv"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    before = tree(root, without=[".genpool"])
    refused = genpool("purge", "c", "--yes")
    assert refused.code == 1
    assert "other" in refused.err
    assert tree(root, without=[".genpool"]) == before


def test_a_damaged_member_is_not_moved_and_keeps_what_it_starts_from(genpool: Type, root: Path) -> None:
    damaged = next(path for path in sorted((root / "gens/evaluation").iterdir()))
    replace_file(damaged / "metadata.json", (damaged / "metadata.json").read_text().replace('"score"', '"scor"'))
    found = purge(genpool, "--yes")
    assert damaged.is_dir()
    assert {"stage": "evaluation", "gen_id": damaged.name, "why": "damaged", "by": []} in found["stays"]
    assert Pool.open(root).scope("other").counts()["essay"].missing == 0


def test_attempts_go_and_come_back(genpool: Type, root: Path) -> None:
    gone = next(iter(purge(genpool)["goes"]))  # type: ignore[call-overload]
    attempt = root / "attempts" / gone["stage"] / gone["gen_id"] / "1"
    attempt.mkdir(parents=True)
    found = purge(genpool, "--yes")
    assert found["attempts"] == [gone]
    assert not attempt.exists()
    genpool("trash", "undo", str(found["trash_id"]))
    assert attempt.exists()


def test_a_run_and_a_removal_refuse_each_other(genpool: Type, root: Path) -> None:
    layout = Pool.open(root).layout
    with pool_lock(layout, "genpool run other"):
        refused = genpool("purge", "c", "--yes")
        assert (refused.code, "genpool run other" in refused.err) == (1, True)
        assert genpool("purge", "c").code == 0, "a dry run needs no lock"
    with pool_lock(layout, "genpool purge c", exclusive=True):
        refused = genpool("run", "c", "-q")
        assert (refused.code, "genpool purge c" in refused.err) == (1, True)


def interrupted(root: Path, found: dict[str, object]) -> str:
    """Make a removal one that was interrupted before its first move; return what that is of."""
    record = root / "trash" / str(found["trash_id"]) / "trash.json"
    first = next(line for line in record.read_text().splitlines() if '"from"' in line).split('"')[3]
    rewrite(record, '"state": "done"', '"state": "planned"')
    (record.parent / first).rename(root / first)
    return first


def test_after_an_interrupted_removal_the_same_command_finishes_it_and_says_what_went(
    genpool: Type, root: Path
) -> None:
    found = purge(genpool, "--yes")
    first = interrupted(root, found)
    again = purge(genpool, "--yes")
    assert not (root / first).exists()
    assert [again[key] for key in ("trash_id", "goes", "attempts", "cohort_folder")] == [
        found[key] for key in ("trash_id", "goes", "attempts", "cohort_folder")
    ]
    assert "no cohort is named 'c'" in genpool("purge", "c", "--yes").err, "nothing is left to finish"
    genpool("trash", "undo", str(found["trash_id"]))

    rewrite(root / "templates/draft/plain.j2", "Write about", "Write on")
    found = genpool("drift", "regenerate", "c", "--yes", "--json").json
    interrupted(root, found)
    said = genpool("drift", "regenerate", "c", "--yes").out
    assert f"moved to the trash: {len(found['goes'])} generations" in said
    assert found["trash_id"] in said
    assert "nothing drifted" in genpool("drift", "regenerate", "c", "--yes").out


def test_after_an_interrupted_removal_a_run_is_refused_and_the_next_command_finishes(genpool: Type, root: Path) -> None:
    first = interrupted(root, purge(genpool, "--yes"))
    refused = genpool("run", "other", "-q")
    assert refused.code == 1
    assert "trash ls`" in refused.err
    assert "had been interrupted and is done now" in genpool("trash", "ls").out
    assert not (root / first).exists()
    assert genpool("run", "other", "-q").code == 0


def test_a_cohort_or_a_removal_that_is_not_there_is_told(genpool: Type) -> None:
    assert "did you mean 'other'?" in genpool("purge", "othr").err
    assert genpool("purge", "../c").code == 1
    assert "the trash is empty" in genpool("trash", "ls").out
    assert genpool("trash", "undo", "../c").code == 1


def test_what_drifted_is_made_anew_with_all_that_descends_in_any_cohort(genpool: Type, root: Path) -> None:
    rewrite(root / "templates/draft/plain.j2", "Write about", "Write on")
    before, whole = tree(root, without=NOT_THERE), generations(root)
    said = genpool("drift", "regenerate", "c", "template=draft/plain")
    assert "template draft/plain: 2 generations drifted" in said.out
    assert "genpool drift regenerate c template=draft/plain --yes" in said.out
    assert tree(root, without=NOT_THERE) == before
    done = genpool("drift", "regenerate", "c", "--yes", "--json").json
    assert done["by_cohort"] == [
        {"cohort": "c", "stages": {"evaluation": 8, "essay": 4, "draft": 2}},
        {"cohort": "other", "stages": {"essay": 1, "draft": 1}},
    ]
    assert len(generations(root)) == 2
    undone = genpool("trash", "undo", done["trash_id"])
    assert (undone.code, tree(root, without=NOT_THERE)) == (0, before)
    said = genpool("drift", "regenerate", "c", "--yes").out
    at = f"genpool --pool {root} run"
    assert said.endswith(
        f"make them anew: {at} c\n"
        f"members of other cohorts went too, which their own runs make anew:\n  {at} other  (2 generations)\n"
    )
    assert genpool("run", "c", "-q").code == 0
    assert generations(root) == whole
    assert "nothing drifted" in genpool("drift", "regenerate", "c", "--yes").out
    shutil.rmtree(root / "trash")  # a person may empty it
    assert "the trash is empty" in genpool("trash", "ls").out


def test_regenerating_needs_names_of_a_known_kind(genpool: Type) -> None:
    assert genpool("drift", "regenerate", "c", "colour=red").code == 2


@pytest.mark.parametrize("verb", ["accept", "regenerate"])
def test_a_name_under_which_nothing_drifted_is_an_error_and_nothing_is_done(
    genpool: Type, root: Path, verb: str
) -> None:
    nothing = genpool("drift", verb, "c", "model=judge")
    assert (nothing.code, nothing.out) == (1, "")
    assert "nothing of cohort 'c' drifted under model=judge" in nothing.err
    assert "hint: nothing drifted under it" in nothing.err
    rewrite(root / "templates/draft/plain.j2", "Write about", "Write on")
    before = tree(root, without=[".genpool"])
    mistyped = genpool("drift", verb, "c", "template=draft/plain", "template=draft/plan")
    assert (mistyped.code, mistyped.out) == (1, "")
    assert "did you mean 'template=draft/plain'?" in mistyped.err
    assert tree(root, without=[".genpool"]) == before


def test_a_regeneration_by_name_that_was_interrupted_is_finished_by_the_same_command(genpool: Type, root: Path) -> None:
    rewrite(root / "templates/draft/plain.j2", "Write about", "Write on")
    words = ("drift", "regenerate", "c", "template=draft/plain", "--yes")
    found = genpool(*words, "--json").json
    interrupted(root, found)
    said = genpool(*words)
    assert (said.code, f"moved to the trash: {len(found['goes'])} generations" in said.out) == (0, True)
    again = genpool(*words)
    assert (again.code, "drifted under template=draft/plain" in again.err) == (1, True)


def test_what_goes_is_priced_before_it_goes(genpool: Type, root: Path) -> None:
    rewrite(root / "templates/draft/plain.j2", "Write about", "Write on")
    said = genpool("drift", "regenerate", "c").out
    assert "to make all of that again: 12 calls\n" in said
    assert "tokens in about " in said
    assert "no price: judge, writer\n" in said
    rewrite(
        root / "pool.yaml", "writer: {client: scripted}", "writer: {client: scripted, price: {input: 9, output: 9}}"
    )
    said = genpool("drift", "regenerate", "c").out
    assert "cost about 0.00" in said
    assert "without a price: judge\n" in said
    assert "no price: " not in said
    dry, done = (genpool("drift", "regenerate", "c", "--json", *words).json for words in ([], ["--yes"]))
    assert dry["again"] == done["again"]
    again = dry["again"]
    assert (again["calls"], again["models_without_a_price"]) == (12, ["judge"])
    assert 0 < again["cost"]["low"] <= again["cost"]["expected"] <= again["cost"]["high"]
    assert genpool("run", "c", "-q", "--json").json["calls"] == 2 + 2 + 8
    nothing = genpool("drift", "regenerate", "c", "--json").json
    assert (nothing["goes"], nothing["again"]["calls"]) == ([], 0)
