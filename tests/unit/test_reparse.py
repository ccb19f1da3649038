"""Answers that a mended parser can read become generations without a call, bought once and counted once."""

from __future__ import annotations

import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from genpool.errors import InvalidPipeline, NotFound, PoolBusy
from genpool.locks import file_lock, pool_lock
from genpool.testing import ScriptedModel
from tests.small_pools import (
    answer,
    attempt_reasons,
    generations,
    make_pool,
    metadata,
    models,
    torn_generations,
    tree,
    whole_cohort,
    write_spec,
)
from tests.unit.test_audit import PRICED, agrees_with_what_is_kept, forget

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.pool import Pool

TEMPLATE = "templates/evaluation/clarity.j2"


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """Every judgement is an 8 on a scale that ends at 5: none can be read, all tasks are exhausted."""
    pool = make_pool(tmp_path / "pool", models=PRICED)
    edit(pool, TEMPLATE, "[0, 9]", "[0, 5]")
    whole_cohort(pool.root)
    pool.run("c", models=models(judge=ScriptedModel([json.dumps({"reason": "Good.", "score": 8})])))
    assert attempt_reasons(pool.root) == ["unparseable"] * 16
    return pool


def edit(pool: Pool, file: str, old: str, new: str) -> None:
    path = pool.root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def mend(pool: Pool) -> None:
    edit(pool, TEMPLATE, "[0, 5]", "[0, 9]")


def evaluations(pool: Pool) -> list[str]:
    return sorted(name for stage, name in generations(pool.root) if stage == "evaluation")


def attempt(pool: Pool, gen_id: str, number: int = 1) -> dict[str, Any]:
    path = pool.root / "attempts" / "evaluation" / gen_id / str(number) / "metadata.json"
    value: dict[str, Any] = json.loads(path.read_text())
    return value


# --- what is promoted -------------------------------------------------------------------------------


def test_a_dry_reparse_says_what_would_be_promoted_and_changes_nothing(pool: Pool) -> None:
    mend(pool)
    before = tree(pool.root)
    found = pool.reparse()
    assert len(found.promotions) == 8
    assert {(one.attempt, one.score.value if one.score else None, one.drifted) for one in found.promotions} == {
        (1, 8.0, False)
    }
    assert tree(pool.root) == before


def test_the_earliest_answer_of_a_task_is_promoted_without_a_call_and_the_run_has_nothing_to_make(pool: Pool) -> None:
    mend(pool)
    before = {one: attempt(pool, one) for one in exhausted(pool)}
    cost = agrees_with_what_is_kept(pool).total.cost
    done = pool.reparse(apply=True)
    assert len(done.promotions) == len(evaluations(pool)) == 8
    assert attempt_reasons(pool.root) == ["unparseable"] * 8
    assert torn_generations(pool) == []
    for gen_id, was in before.items():
        now = metadata(pool.root, "evaluation", gen_id)
        for key in ("origin_cohort_id", "run_id", "created_at", "call", "mode", "replicate"):
            assert now[key] == was[key]
        assert now["score"] == {"value": 8, "min": 0, "max": 9}
        same = ("inputs", "model", "prompt", "raw")
        prints: Any = now["fingerprints"]
        assert {key: prints[key] for key in same} == {key: was["fingerprints"][key] for key in same}
        promoted: Any = now["promoted"]
        assert (promoted["attempt"], promoted["reason"], promoted["parser"]) == (1, was["reason"], "json_score")
        assert promoted["template"] == was["fingerprints"]["template"] != prints["template"]
        assert (pool.root / "gens/evaluation" / gen_id / "parsed.txt").read_text() == "Good.\nSCORE: 8"
        assert not (pool.root / "attempts/evaluation" / gen_id / "1").exists()
    found = agrees_with_what_is_kept(pool)
    assert (found.total.cost, found.total.promoted) == (pytest.approx(cost), 8)
    assert found.total.attempts == {"unparseable": 8}
    assert (found.twice, found.problems, found.doubtful) == ((), (), ())
    assert pool.plan("c").missing == 0
    assert {one.kind for one in pool.plan("c").drift} <= {"model"}, "the constraint that was sent had another scale"
    assert pool.run("c", models=models()).calls == 0


def exhausted(pool: Pool) -> list[str]:
    return sorted(path.name for path in (pool.root / "attempts/evaluation").iterdir())


def test_the_template_that_is_recorded_is_todays_where_only_its_reading_changed(pool: Pool) -> None:
    mend(pool)
    edit(pool, TEMPLATE, "parser: json_score", "format: genpool.template/1\nparser: json_score")
    pool.reparse(apply=True)
    assert "template" not in {one.kind for one in pool.plan("c").drift}


def test_where_the_prompt_changed_too_a_plan_tells_it_as_drift(pool: Pool) -> None:
    mend(pool)
    edit(pool, TEMPLATE, "How clear is it?", "Is it clear?")
    done = pool.reparse(apply=True)
    assert all(one.drifted for one in done.promotions)
    (drift, lines) = next(one for one in pool.drift_diffs("c") if one[0].kind == "template")
    assert len(drift.gen_ids) == 8
    assert [line for line in lines if line[0] in "+-" and line[:3] not in {"+++", "---"}] == [
        "-How clear is it?",
        "+Is it clear?",
    ], "the reading is today's on both sides"


def test_of_several_readable_and_unreadable_answers_the_earliest_readable_one_is_taken(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=1, models={"judge": PRICED["judge"].replace("{client", "{attempts: 4, client")})
    edit(pool, TEMPLATE, "[0, 9]", "[0, 5]")
    write_spec(pool.root, essay="template: [story]", evaluation="template: [clarity], model: [judge], replicates: 1")
    said = iter(["no JSON", answer('{"score": 6}', "length"), '{"score": 7}', '{"score": 8}'])
    pool.run("c", models=models(judge=ScriptedModel(lambda _: next(said))))
    mend(pool)
    done = pool.reparse(apply=True)
    assert [(one.attempt, one.score.value if one.score else None) for one in done.promotions] == [(3, 7)]
    assert attempt_reasons(pool.root) == ["unparseable", "truncated", "unparseable"]
    ((made),) = evaluations(pool)
    call: Any = metadata(pool.root, "evaluation", made)["call"]
    assert call["attempts_before"] == 2
    found = agrees_with_what_is_kept(pool)
    assert (found.total.promoted, dict(found.total.attempts)) == (1, {"unparseable": 2, "truncated": 1})


# --- what is left -----------------------------------------------------------------------------------


def test_while_the_parser_is_not_mended_nothing_is_promoted_and_it_says_why(pool: Pool) -> None:
    found = pool.reparse(apply=True)
    assert found.promotions == ()
    assert len(found.unreadable) == 16
    assert "off the scale from 0 to 5" in found.unreadable[0].why
    assert not list(pool.root.glob("ledger/reparse-*"))


def test_a_task_that_has_its_generation_is_left(pool: Pool) -> None:
    mend(pool)
    pool.run("c", models=models(), retry_exhausted=True)
    before = tree(pool.root)
    found = pool.reparse(apply=True)
    assert (found.promotions, found.filled) == ((), 8)
    assert {name: one for name, one in tree(pool.root).items() if not name.startswith(".genpool")} == {
        name: one for name, one in before.items() if not name.startswith(".genpool")
    }


def test_only_what_is_asked_for_is_promoted(pool: Pool) -> None:
    mend(pool)
    write_spec(pool.root, "one", essay="template: [story]", evaluation="template: [clarity], model: [judge]")
    pool.run("one", models=models())
    assert len(pool.reparse("one").promotions) == 4
    assert pool.reparse(stage="essay").promotions == ()
    assert len(pool.reparse("c", "evaluation").promotions) == 8
    with pytest.raises(InvalidPipeline):
        pool.reparse(stage="evalutaion")
    with pytest.raises(NotFound):
        pool.reparse("nobody")


def test_a_damaged_or_legacy_attempt_is_named_and_left(pool: Pool) -> None:
    mend(pool)
    names = exhausted(pool)
    folder = pool.root / "attempts/evaluation"
    (folder / names[0] / "1" / "raw.txt").write_text('{"score": 1}')
    (folder / names[1] / "1" / "metadata.json").unlink()
    path = folder / names[2] / "1" / "metadata.json"
    path.write_text(path.read_text().replace('"seed"', '"seeed"'))
    shutil.copytree(folder / names[3] / "1", folder / "v_legacy" / "1")
    (folder / names[4] / "1" / "raw.txt").unlink()
    damaged = {one: tree(folder / one / "1") for one in (*names[:3], names[4])}
    found = pool.reparse(apply=True)
    assert {(one.gen_id, one.attempt) for one in found.left} == {
        *((one, 1) for one in (*names[:3], names[4])),
        ("v_legacy", 1),
    }
    assert {(one.gen_id, one.attempt) for one in found.promotions} == {
        *((one, 2) for one in (*names[:3], names[4])),
        *((one, 1) for one in (names[3], *names[5:])),
    }
    assert {one: tree(folder / one / "1") for one in damaged} == damaged


def test_an_attempt_whose_template_is_gone_or_copies_now_is_named_and_left(pool: Pool) -> None:
    (pool.root / TEMPLATE).write_text("---\nmode: copy\n---\n")
    assert {"mode is copy" in one.why for one in pool.reparse().left} == {True}
    (pool.root / TEMPLATE).unlink()
    found = pool.reparse()
    assert (len(found.left), found.promotions) == (16, ())


def test_an_attempt_whose_template_of_then_is_lost_is_named_and_left(pool: Pool) -> None:
    mend(pool)
    for path in (pool.root / "sources").iterdir():
        path.unlink()
    found = pool.reparse(apply=True)
    assert (len(found.left), found.promotions) == (16, ())


# --- interrupted, and with others -------------------------------------------------------------------


def test_a_reparse_that_died_before_the_attempt_was_taken_away_is_finished(pool: Pool) -> None:
    mend(pool)
    kept = pool.root.parent / "kept"
    shutil.copytree(pool.root / "attempts", kept)
    pool.reparse(apply=True)
    right = agrees_with_what_is_kept(pool)
    for path in pool.root.glob("ledger/reparse-*"):
        path.unlink()
    shutil.rmtree(pool.root / "attempts")
    shutil.copytree(kept, pool.root / "attempts")
    found = pool.reparse()
    assert (found.promotions, len(found.unfinished), found.filled) == ((), 8, 0)
    pool.reparse(apply=True)
    assert agrees_with_what_is_kept(pool).tallies == right.tallies
    assert pool.reparse().unfinished == ()
    pool.reparse(apply=True)
    assert agrees_with_what_is_kept(pool).tallies == right.tallies


def test_another_who_was_first_keeps_the_place_and_the_attempt_stays(pool: Pool) -> None:
    mend(pool)
    planned = pool.reparse()
    pool.run("c", models=models(), retry_exhausted=True)
    before = attempt_reasons(pool.root)
    assert len(planned.promotions) == 8
    with pool.store.session():
        stage = pool.config.pipeline["evaluation"]
        for one in planned.promotions:
            output = pool.store.output(stage, one.gen_id, one.attempt)
            assert not pool.store.promote(output)
    assert attempt_reasons(pool.root) == before


def test_a_removal_and_another_reparse_are_not_disturbed(pool: Pool) -> None:
    mend(pool)
    with pool_lock(pool.layout, "genpool purge c", exclusive=True), pytest.raises(PoolBusy):
        pool.reparse(apply=True)
    with pool_lock(pool.layout, "genpool run c"):
        assert len(pool.reparse(stage="evaluation", apply=True).promotions) == 8


def test_a_second_reparse_at_the_same_time_waits(pool: Pool) -> None:
    mend(pool)
    second = threading.Thread(target=lambda: pool.reparse(apply=True))
    with file_lock(pool.layout, "reparse", "what is read anew"):
        assert pool.reparse().promotions, "a dry one needs no lock"
        second.start()
        second.join(1)
        assert second.is_alive()
        assert evaluations(pool) == []
    second.join()
    assert len(evaluations(pool)) == 8


def test_a_removal_that_was_interrupted_is_finished_first(pool: Pool) -> None:
    mend(pool)
    write_spec(pool.root, "letters", essay="template: [letter]")
    pool.run("letters", models=models())
    _, trashed = pool.purge("letters")
    assert trashed is not None
    edit(pool, f"trash/{trashed.trash_id}/trash.json", '"state": "done"', '"state": "planned"')
    with pytest.raises(PoolBusy, match="interrupted"):
        pool.reparse(apply=True)
    assert evaluations(pool) == []


def test_a_task_whose_slot_a_legacy_generation_fills_is_left(pool: Pool) -> None:
    mend(pool)
    one = pool.reparse().promotions[0]
    was = attempt(pool, one.gen_id)
    folder = pool.root / "gens/evaluation/old-judgement"
    folder.mkdir(parents=True)
    fields = ("parent_gen_id", "template_id", "llm_model_id", "replicate")
    (folder / "metadata.json").write_text(json.dumps({key: was[key] for key in fields}))
    (folder / "parsed.txt").write_text("SCORE: 3")
    found = pool.reparse(apply=True)
    assert (len(found.promotions), found.filled) == (7, 1)
    assert one.gen_id not in evaluations(pool)


def test_what_was_promoted_but_never_settled_by_its_run_is_known_once(pool: Pool) -> None:
    right = agrees_with_what_is_kept(pool).total
    forget(pool.root, "attempt", 16)
    mend(pool)
    pool.reparse(apply=True)
    found = agrees_with_what_is_kept(pool)
    assert (found.total.promoted, found.total.attempts.total()) == (8, 8)
    assert found.total.cost == pytest.approx(right.cost)
    assert (found.doubtful, found.twice) == ((), ())
