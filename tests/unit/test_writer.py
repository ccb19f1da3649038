"""One answer becomes one generation, or an attempt with the reason; either way it is kept and accounted for."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.errors import CorruptGeneration
from genpool.testing import ScriptedModel
from genpool.writer import seed_of
from tests.small_pools import (
    answer,
    attempt_reasons,
    generations,
    ledger_entries,
    make_pool,
    metadata,
    models,
    seeds_of,
    whole_cohort,
    write_spec,
)

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.llm.client import Completion, Request
    from genpool.pool import Pool


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return make_pool(tmp_path / "pool", rows=1)


UNACCEPTABLE = {
    "truncated": answer("cut of", "length"),
    "empty": answer(" \n "),
    "refused": answer("", "content_filter"),
    "no_end": answer("looks whole", None),
}


# --- answers that are none --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", UNACCEPTABLE)
def test_an_unacceptable_answer_is_kept_with_its_reason_and_asked_for_again(pool: Pool, kind: str) -> None:
    write_spec(pool.root)
    seeds: list[int] = []

    def second_time(request: Request) -> Completion:
        seeds.append(request.seed)
        return UNACCEPTABLE[kind] if len(seeds) == 1 else answer("A text.")

    report = pool.run("c", models=models(writer=ScriptedModel(second_time)))
    assert (report.complete, report.calls, report.attempts) == (True, 2, {kind: 1})
    assert attempt_reasons(pool.root) == [kind]
    ((_, made),) = generations(pool.root)
    assert seeds == [seed_of(made, 0), seed_of(made, 1)]
    attempt = pool.root / "attempts" / "draft" / made / "1"
    assert (attempt / "raw.txt").read_text() == UNACCEPTABLE[kind].text
    assert json.loads((attempt / "metadata.json").read_text())["format"] == "genpool.attempt/1"
    call = metadata(pool.root, "draft", made)["call"]
    assert isinstance(call, dict)
    assert (call["attempts_before"], call["seed"]) == (1, seeds[1])
    outcomes = [entry["outcome"] for entry in ledger_entries(pool.root) if "settled" in entry]
    assert outcomes == ["attempt", "committed"]


def test_an_answer_that_the_parser_cannot_read_is_kept_and_asked_for_again(pool: Pool) -> None:
    whole_cohort(pool.root)
    first = seeds_of(pool.plan("c"))

    def judge(request: Request) -> str:
        return "I like it." if request.seed in first else json.dumps({"reason": "fine", "score": 7})

    report = pool.run("c", models=models(judge=ScriptedModel(judge)))
    assert (report.complete, report.attempts) == (True, {"unparseable": 4})
    assert report.stages["evaluation"].made == 4


@pytest.mark.parametrize("limit", [1, 3])
def test_a_task_is_asked_for_up_to_its_models_limit_and_is_then_exhausted(tmp_path: Path, limit: int) -> None:
    pool = make_pool(tmp_path, rows=1, models={"writer": f"{{client: scripted, attempts: {limit}}}"})
    whole_cohort(pool.root)
    writer = ScriptedModel(lambda _: answer("cut", "length"))
    report = pool.run("c", models=models(writer=writer))
    assert len(writer.requests) == len({one.seed for one in writer.requests}) == limit
    assert attempt_reasons(pool.root) == ["truncated"] * limit
    assert (report.stages["draft"].exhausted, report.stages["essay"].blocked) == (1, 2)
    assert report.stages["evaluation"].blocked == 4
    assert not report.complete
    again = pool.run("c", models=models(writer=writer))
    assert (again.calls, again.stages["draft"].exhausted, again.stages["evaluation"].blocked) == (0, 1, 4)


def test_an_exhausted_task_is_tried_again_when_asked_with_new_seeds(pool: Pool) -> None:
    whole_cohort(pool.root)
    cut = ScriptedModel(lambda _: answer("cut", "length"))
    pool.run("c", models=models(writer=cut))
    more = pool.run("c", models=models(writer=cut), retry_exhausted=True)
    assert more.calls == 2
    assert len({one.seed for one in cut.requests}) == 4
    mended = pool.run("c", models=models(), retry_exhausted=True)
    assert mended.complete
    assert attempt_reasons(pool.root) == ["truncated"] * 4


def test_attempts_of_an_earlier_run_count_towards_the_limit(pool: Pool) -> None:
    write_spec(pool.root)
    ((seed, _),) = seeds_of(pool.plan("c")).items()
    cut = ScriptedModel(lambda _: answer("cut", "length"))
    stopped = pool.run("c", models=models(writer=cut), started=lambda runner: stop_after_first(cut, runner))
    assert (stopped.calls, stopped.stages["draft"].left) == (1, 1)
    report = pool.run("c", models=models(writer=cut))
    assert (report.calls, report.stages["draft"].exhausted) == (1, 1)
    assert [one.seed for one in cut.requests] == [seed, seed + 1]


def stop_after_first(model: ScriptedModel, runner) -> None:
    """Drain a run from within its model's first answer."""

    def cut(_: Request) -> Completion:
        runner.drain()
        return answer("cut", "length")

    model._script = cut


# --- what is kept -----------------------------------------------------------------------------------


def test_a_generation_says_how_it_was_made(pool: Pool) -> None:
    write_spec(pool.root)
    report = pool.run("c", models=models(writer=ScriptedModel(["  A text.\r\n"])))
    ((_, made),) = generations(pool.root)
    said = metadata(pool.root, "draft", made)
    expected = {
        "format": "genpool.generation/1",
        "id_scheme": "genpool/1",
        "gen_id": made,
        "stage": "draft",
        "combo_id": "row-0",
        "template_id": "plain",
        "llm_model_id": "writer",
        "replicate": 1,
        "origin_cohort_id": "c",
        "run_id": report.run_id,
        "mode": "llm",
        "parser": "text",
        "score": None,
    }
    assert {key: said[key] for key in expected} == expected
    folder = pool.root / "gens" / "draft" / made
    assert (folder / "raw.txt").read_bytes() == b"  A text.\r\n"
    assert (folder / "parsed.txt").read_bytes() == b"A text."
    assert (folder / "prompt.txt").read_text() == "Write about topic 0. Version 1."
    call = said["call"]
    assert isinstance(call, dict)
    assert (call["seed"], call["finish_reason"], call["provider"]) == (seed_of(made, 0), "stop", "scripted")


def test_every_fingerprint_names_a_kept_source_or_a_file_beside_it(pool: Pool) -> None:
    whole_cohort(pool.root)
    pool.run("c", models=models())
    for task in pool.plan("c").tasks():
        record = pool.store.record(task.stage, task.gen_id)
        for name, digest in record.fingerprints.items():
            if name in {"prompt", "raw", "parsed"}:
                pool.store.text(record, name)
            elif name != "inputs" or task.parent is None:
                assert pool.store.source(digest)


def test_a_judges_score_is_kept_with_its_scale(pool: Pool) -> None:
    whole_cohort(pool.root)
    pool.run("c", models=models(judge=ScriptedModel([json.dumps({"reason": "Good.", "score": 7})])))
    evaluations = [name for stage, name in generations(pool.root) if stage == "evaluation"]
    assert len(evaluations) == 4
    for name in evaluations:
        assert metadata(pool.root, "evaluation", name)["score"] == {"value": 7.0, "min": 0.0, "max": 9.0}


def test_a_copy_passes_the_parents_text_on_and_says_so(pool: Pool) -> None:
    write_spec(pool.root, essay="template: [same]")
    clients = models()
    report = pool.run("c", models=clients)
    assert (report.made, report.calls, len(clients["writer"].requests)) == (2, 1, 1)
    (essay,) = [name for stage, name in generations(pool.root) if stage == "essay"]
    said = metadata(pool.root, "essay", essay)
    assert (said["mode"], said["call"], said["parser"]) == ("copy", None, None)
    parent = pool.root / "gens" / "draft" / str(said["parent_gen_id"])
    folder = pool.root / "gens" / "essay" / essay
    assert (folder / "parsed.txt").read_bytes() == (parent / "parsed.txt").read_bytes()
    assert {one.name for one in folder.iterdir()} == {"metadata.json", "parsed.txt"}


def test_a_child_reads_its_parents_text_to_the_byte(pool: Pool) -> None:
    write_spec(pool.root, essay="template: [story]")
    text = "Erste Zeile\r\nzweite\u2028dritte {{ row }} {% raw %}"
    writer = ScriptedModel([text])
    pool.run("c", models=models(writer=writer))
    assert writer.requests[1].prompt.user == f"{text}\nTell it as a story."


def test_a_damaged_parent_is_never_used(pool: Pool) -> None:
    write_spec(pool.root)
    pool.run("c", models=models())
    ((_, made),) = generations(pool.root)
    (pool.root / "gens" / "draft" / made / "parsed.txt").write_text("edited")
    write_spec(pool.root, essay="template: [story, same]")
    report = pool.run("c", models=models())
    assert (report.calls, report.made, report.stages["essay"].failed) == (0, 0, 2)
    assert {one.kind for one in report.failures} == {CorruptGeneration.kind}


# --- the account ------------------------------------------------------------------------------------


def test_the_intent_is_on_disk_before_the_call_is_sent_and_the_settlement_only_after(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, models={"writer": "{client: scripted, max_tokens: 100, price: {input: 1, output: 2}}"})
    whole_cohort(pool.root)
    names = seeds_of(pool.plan("c"))
    looked: list[str] = []

    def look(request: Request) -> str:
        entries = ledger_entries(pool.root)
        intents = {entry["intent"]: entry for entry in entries if "intent" in entry}
        (own,) = [entry for entry in intents.values() if entry["gen_id"] == names[request.seed]]
        around = 64 * len(request.messages())  # what a chat template puts around the messages
        assert own["worst_price"] == (len(request.prompt.as_text().encode()) + around + 100 * 2) / 1e6
        assert own["intent"] not in [entry.get("settled") for entry in entries]
        looked.append(names[request.seed])
        return "A text."

    report = pool.run("c", models=models(writer=ScriptedModel(look)))
    assert report.complete
    assert len(looked) == len(set(looked)) == 4
    entries = ledger_entries(pool.root)
    settled = {entry["settled"]: entry for entry in entries if "settled" in entry}
    assert set(settled) == {entry["intent"] for entry in entries if "intent" in entry}
    assert {entry["outcome"] for entry in settled.values()} == {"committed"}


def test_output_that_another_run_was_first_with_is_kept_as_bought_twice(pool: Pool) -> None:
    write_spec(pool.root)

    other = make_pool(pool.root.with_name("other"), rows=1)  # a writer that asks nobody for a claim
    write_spec(other.root)
    other.run("c", models=models(writer=ScriptedModel(["the other's"])))

    def somebody_is_quicker(_: Request) -> str:
        shutil.copytree(other.root / "gens", pool.root / "gens", dirs_exist_ok=True)
        return "mine"

    report = pool.run("c", models=models(writer=ScriptedModel(somebody_is_quicker)))
    assert (report.complete, report.made, report.stages["draft"].reused) == (True, 0, 1)
    assert report.attempts == {"bought_twice": 1}
    ((_, made),) = generations(pool.root)
    assert (pool.root / "gens" / "draft" / made / "parsed.txt").read_text() == "the other's"
    assert (pool.root / "attempts" / "draft" / made / "1" / "parsed.txt").read_text() == "mine"
    assert pool.plan("c").missing == 0


# --- seeds ------------------------------------------------------------------------------------------


def test_a_seed_is_a_number_of_31_bits_that_depends_on_id_and_attempt() -> None:
    assert seed_of("d_" + "f" * 32, 0) == 2**31 - 1
    assert seed_of("d_" + "f" * 32, 1) == 0
    assert seed_of("d_00000003" + "0" * 24, 0) == 1
    assert seed_of("anything_00000003" + "0" * 24, 4) == 5
