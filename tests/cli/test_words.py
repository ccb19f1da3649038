"""What verbs say: commands to type next, tasks with attempts only, damage beside what is whole, odd command lines."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from genpool.canonical import canonical_json, sha256
from genpool.cli.main import main
from genpool.cli.output import print_table
from genpool.cli.run import print_report, tell_cause
from genpool.errors import GenpoolError
from genpool.pool import Pool
from genpool.runner import RunReport, StageTally
from genpool.testing import ScriptedModel
from tests.legacy_pools import write_legacy

from .conftest import SCRIPTED, Type, rewrite

if TYPE_CHECKING:
    from genpool.llm.client import Request

JUDGE = "smollm2-135m-judge: {client: scripted}"


def exhaust(root: Path) -> None:
    rewrite(root / "pool.yaml", JUDGE, "smollm2-135m-judge: {client: scripted, answers: [nothing]}")


# --- what to type next ---


def test_a_plan_of_exhausted_tasks_ends_with_a_command_that_makes_them(genpool: Type, root: Path) -> None:
    exhaust(root)
    genpool("run", "demo", "-q")
    again = f"genpool --pool {root} run demo --retry-exhausted"
    assert genpool("plan", "demo").out.endswith(f"48 tasks exhausted or below one that is; to try again: {again}\n")
    assert genpool("plan", "demo", "--retry-exhausted").out.endswith(f"48 calls to make 48 generations: {again}\n")


def test_a_plan_notes_a_key_that_a_run_will_need_and_is_not_set(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    entry = "smollm2-135m-judge: {client: openai, model: m, base_url: 'http://127.0.0.1:9', key: GENPOOL_TEST_NO_KEY}"
    rewrite(root / "pool.yaml", JUDGE, entry)
    said = "needs a key: the environment variable GENPOOL_TEST_NO_KEY is not set; a run will need it"
    assert said not in genpool("plan", "demo").out, "nothing is to be made"
    rewrite(root / "cohorts/demo/cohort.yaml", "replicates: 2", "replicates: 3")
    assert f"note: model 'smollm2-135m-judge' {said}" in genpool("plan", "demo").out
    (root / ".env").write_text("GENPOOL_TEST_NO_KEY=x\n")
    assert said not in genpool("plan", "demo").out


def test_an_answer_that_was_cut_off_names_the_limit(
    genpool: Type, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genpool("run", "demo", "-q")
    out = said_of(report_of(attempts={"truncated": 2}), root, capsys)
    assert "truncated: the answer reached max_tokens; raise it" in out
    assert "reparse" not in out


@pytest.mark.parametrize("verb", ["tables", "export", "report"])
def test_what_was_written_is_named_by_its_whole_path(genpool: Type, root: Path, verb: str) -> None:
    genpool("run", "demo", "-q")
    with contextlib.chdir(root):
        assert f" {root}/cohorts/demo/reports" in genpool(verb, "demo").out


def test_status_does_not_advise_a_run_that_would_do_nothing(genpool: Type, root: Path) -> None:
    exhaust(root)
    genpool("run", "demo", "-q")
    said = genpool("status").out
    assert "genpool --pool" in said
    assert "run demo" not in said
    assert f"48 members missing; what a run can make of them: genpool --pool {root} plan demo" in said


def test_status_advises_a_run_where_it_helps(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    shutil.rmtree(next((root / "gens/evaluation").iterdir()))
    assert f"1 member missing: genpool --pool {root} run demo\n" in genpool("status").out


def test_status_is_not_complete_where_a_member_is_unusable(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    metadata = next((root / "gens/evaluation").iterdir()) / "metadata.json"
    metadata.rename(metadata.with_suffix(".old"))
    metadata.write_text("{")
    said = genpool("status").out
    assert "\n1 member unusable\n" in said
    assert "\ncomplete\n" not in said


def test_a_pool_whose_name_needs_quotes_is_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "my pool")
    assert main(["init", root, "--example"]) == 0
    assert f"genpool --pool '{root}' plan demo" in capsys.readouterr().out
    Path(root, "pool.yaml").write_text(SCRIPTED)
    assert main(["--pool", root, "plan", "demo"]) == 0
    assert f"66 generations: genpool --pool '{root}' run demo" in capsys.readouterr().out
    assert main(["--pool", root, "status", "demo"]) == 1
    assert f"`genpool --pool '{root}' run demo` adopts its plan" in capsys.readouterr().err


def test_without_the_option_commands_are_short(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert main(["plan", "demo"]) == 0
    assert capsys.readouterr().out.endswith("66 generations: genpool run demo\n")


def test_a_quiet_init_says_nothing_of_what_is_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "-q", str(tmp_path / "new"), "--example"]) == 0
    assert capsys.readouterr().out == f"made a pool in {tmp_path / 'new'}\n"


# --- command lines that are wrong in themselves ---


@pytest.mark.parametrize("words", [[], ["models"]])
def test_a_group_alone_prints_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith("Usage: genpool")
    assert "error:" not in said.err
    assert said.err.endswith(".\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "d_", "--prompt", "--raw"], "--prompt and --raw exclude each other"),
        (["show", "d_", "--text", "--json"], "--text and --json exclude each other"),
        (["plan", "demo", "--tasks", "--json"], "--tasks and --json exclude each other"),
        (["ls", "--state", "own"], "--state needs a COHORT"),
        (["id", "draft", "combo_id=a", "combo_id=b"], "the field 'combo_id' is given twice"),
        (["why", "draft", "combo_id=a", "combo_id=a"], "the field 'combo_id' is given twice"),
    ],
)
def test_words_that_do_not_go_together_are_a_usage_error(genpool: Type, words: list[str], said: str) -> None:
    typed = genpool(*words)
    assert typed.code == 2
    assert said in typed.err + typed.out


# --- show ---


@pytest.fixture
def attempted(genpool: Type, root: Path) -> str:
    """The id of a task that has attempts only."""
    exhaust(root)
    genpool("run", "demo", "-q")
    return next((root / "attempts/evaluation").iterdir()).name


@pytest.mark.parametrize("option", ["--text", "--prompt", "--raw"])
def test_a_text_of_a_task_with_attempts_only_is_not_there(genpool: Type, attempted: str, option: str) -> None:
    said = genpool("show", attempted, option)
    assert said.code == 1
    assert said.out == ""
    assert f"{attempted} was not made; 2 attempts kept" in said.err


def test_attempts_as_json(genpool: Type, attempted: str) -> None:
    said = genpool("show", attempted, "--json").json
    assert said["made"] is False
    assert [(one["number"], one["kind"]) for one in said["attempts"]] == [(1, "unparseable"), (2, "unparseable")]
    assert Path(said["attempts"][0]["path"], "raw.txt").is_file()


def test_a_beginning_that_generations_share_does_not_show_some_attempts(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    gen_id = next((root / "gens/draft").iterdir()).name
    shutil.copytree(root / "gens/draft" / gen_id, root / "attempts/draft" / gen_id / "1")
    said = genpool("show", "d_")
    assert said.code == 1
    assert "6 generations have an id that starts with 'd_'" in said.err


@pytest.mark.parametrize("option", ["--prompt", "--raw"])
def test_a_copy_has_no_prompt_and_no_answer(genpool: Type, root: Path, option: str) -> None:
    genpool("run", "demo", "-q")
    members = genpool("ls", "demo", "--stage", "essay", "--json").json["members"]
    copy = next(one for one in members if one["mode"] == "copy")
    said = genpool("show", copy["gen_id"], option)
    assert said.code == 1
    assert f"is a copy of {copy['parent_gen_id']}; it has no" in said.err


@pytest.mark.parametrize("damage", ["removed", "damaged"])
def test_a_text_is_shown_though_what_it_was_made_from_is_not_there(genpool: Type, root: Path, damage: str) -> None:
    genpool("run", "demo", "-q")
    essay = genpool("ls", "demo", "--stage", "essay", "--json").json["members"][0]
    parent = root / "gens/draft" / essay["parent_gen_id"]
    if damage == "removed":
        shutil.rmtree(parent)
    else:
        (parent / "metadata.json").write_text("{")
    said = genpool("show", essay["gen_id"])
    assert said.code == 0
    assert (root / "gens/essay" / essay["gen_id"] / "parsed.txt").read_text() in said.out
    note = "not here" if damage == "removed" else "damaged"
    assert f"└ from draft {essay['parent_gen_id']} ({note})" in said.out
    assert said.err.startswith("warning: ")
    assert genpool("show", essay["gen_id"], "--json").json["lineage"] == []


def test_combos_are_shown_by_their_concepts(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    listed = genpool("ls", "demo", "--stage", "draft").out
    assert "(data-flywheel + mind-wandering)" in listed
    gen_id = next((root / "gens/draft").iterdir()).name
    assert " + " in genpool("show", gen_id).out.split("template_id")[0]
    (root / "combos.jsonl").write_text("{\n")
    assert genpool("ls", "demo", "--stage", "draft").code == 0  # the names are a courtesy
    assert genpool("show", gen_id).code == 0


def test_scores_are_shown_as_they_are(genpool: Type) -> None:
    genpool("run", "demo", "-q")
    head, _, *lines = genpool("ls", "demo", "--stage", "evaluation").out.splitlines()
    assert head.split() == ["gen_id", "state", "choices", "replicate", "from", "score"]
    assert all(line.split()[-1].isdigit() for line in lines)


def test_hostile_text_of_a_record_is_made_harmless(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    folder = next((root / "gens/draft").iterdir())
    facts = orjson.loads((folder / "metadata.json").read_bytes())
    facts.update(mode="llm\x1b[1m", origin_cohort_id="o\x9b31m", created_at="now\u202e\nx")
    facts["call"].update(model="m\x1b]0;t\x07", provider="p\x1b[2J", finish_reason="\x1b[A")
    facts.pop("self")
    facts["self"] = sha256(canonical_json(facts))
    (folder / "metadata.json").write_bytes(orjson.dumps(facts))
    said = genpool("show", folder.name)
    assert said.code == 0
    assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(said.out + said.err)
    assert "now\\u202e" in said.out


# --- several cohorts, one of them unreadable ---


@pytest.fixture
def damaged(genpool: Type, root: Path) -> str:
    """A second cohort, whose membership cannot be read."""
    genpool("run", "demo", "-q")
    shutil.copytree(root / "cohorts/demo", root / "cohorts/bad")
    (root / "cohorts/bad/membership.csv").write_text("what is this\n")
    return "bad"


@pytest.mark.parametrize("verb", ["ls", "status"])
def test_one_unreadable_membership_does_not_hide_the_others(genpool: Type, damaged: str, verb: str) -> None:
    said = genpool(verb)
    assert said.code == 1
    assert "unreadable" in said.out
    assert "demo" in said.out
    document = genpool(verb, "--json")
    assert document.code == 1
    assert '"error"' in document.out
    assert genpool(verb, damaged).code == 1


# --- legacy, and what nobody foresaw ---


def test_a_legacy_generation_is_shown_as_it_is_stored(genpool: Type, root: Path) -> None:
    draft = write_legacy(root, "draft", "old-1", "combo_x", "plain", "writer", origin=None, created_at=None)
    write_legacy(root, "essay", "old-2", draft, "story", replicate="2", mode="llm")
    said = genpool("show", draft).out
    assert "made elsewhere, for which cohort is not recorded, when is not recorded\n" in said
    assert "replicate       not recorded\n" in said
    assert "None" not in said
    assert "made by a model for cohort old, 2024-01-01T00:00:00+00:00\n" in genpool("show", "old-2").out
    shown = genpool("show", draft, "--json").json["metadata"]
    stored = json.loads((root / "gens/draft/old-1/metadata.json").read_text())
    assert {key: value for key, value in shown.items() if value is not None} == stored
    assert [shown[key] for key in ("format", "replicate", "origin_cohort_id", "mode")] == [None] * 4
    below = genpool("show", "old-2", "--json").json
    assert below["metadata"]["replicate"] == "2"
    assert below["lineage"][0]["replicate"] is None


def test_an_ambiguous_beginning_of_attempts_is_refused_with_the_candidates(genpool: Type, attempted: str) -> None:
    said = genpool("show", "v_")
    assert said.code == 1
    assert said.out == ""
    assert "48 tasks with attempts have an id that starts with 'v_': v_" in said.err
    assert said.err.count("v_") == 1 + 5


def test_the_cause_of_what_nobody_foresaw_is_printed_where_it_is_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stumbles(_: Request) -> str:
        raise RuntimeError("what is this")

    clients = dict.fromkeys(Pool.open(root).config.models, ScriptedModel(stumbles))
    report = Pool.open(root).run("demo", models=clients)
    assert "GENPOOL_TRACEBACK=1" in str(report.stopped_by.hint if report.stopped_by else "")
    tell_cause(report)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("GENPOOL_TRACEBACK", "1")
    tell_cause(report)
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert "in stumbles\n" in said
    assert said.endswith("RuntimeError: what is this\n")
    tell_cause(report_of())
    assert capsys.readouterr().err == ""


# --- reports, tables, models ---


def report_of(**facts: object) -> RunReport:
    return RunReport("run-1", "demo", {"draft": StageTally(wanted=3, made=3)}, **facts)  # type: ignore[arg-type]


def said_of(report: RunReport, root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    import click

    from genpool.cli.main import cli

    with click.Context(cli):
        print_report(Pool.open(root), report)
    return capsys.readouterr().out


def test_an_answer_that_came_second_is_not_called_unacceptable(
    genpool: Type, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genpool("run", "demo", "-q")
    said = said_of(report_of(attempts={"bought_twice": 20, "empty": 1}), root, capsys)
    assert "20 answers came second: another run had made these; kept under attempts/" in said
    assert "1 answer not acceptable and kept under attempts/: 1 empty" in said


def test_a_cost_says_how_many_calls_have_no_price(genpool: Type, root: Path) -> None:
    rewrite(root / "pool.yaml", JUDGE, "smollm2-135m-judge: {client: scripted, price: {input: 1, output: 2}}")
    ran = genpool("run", "demo", "--json").json
    assert (ran["priced_calls"], ran["unpriced_calls"]) == (48, 12)


def test_a_cost_is_told_for_the_calls_that_have_one(
    genpool: Type, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genpool("run", "demo", "-q")
    mixed = report_of(calls=720, cost=0.0094, priced_calls=288, unpriced_calls=432)
    assert "cost 0.0094 for 288 calls; 432 calls by models without a price" in said_of(mixed, root, capsys)
    assert "cost 0.0094)" in said_of(report_of(calls=288, cost=0.0094, priced_calls=288), root, capsys)


def test_a_long_table_is_quick(capsys: pytest.CaptureFixture[str]) -> None:
    import time

    rows = [[f"d_{number:032x}", "own", number] for number in range(20_000)]
    before = time.process_time()
    print_table(["gen_id", "state", "number"], rows, right=["number"])
    assert time.process_time() - before < 2  # rich takes ten seconds
    assert capsys.readouterr().out.count("\n") == 20_002


def test_models_are_not_ready_without_the_library(
    genpool: Type, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(root / "pool.yaml", "smollm2-135m: {client: scripted}", "smollm2-135m: {client: embedded, model: w.gguf}")
    (root / "w.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # as if it were not installed
    assert "pip install '.[embedded]'" in genpool("models", "ls").out


def test_an_error_is_told_though_nobody_can_be_told(root: Path) -> None:
    command = f"{sys.executable} -m genpool --pool {root} plan nothing 2>/dev/full"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == GenpoolError.exit_code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ls", "--where", "template=narratve"], "did you mean 'narrative'?"),
        (["ls", "--origin", "dmo"], "did you mean 'demo'?"),
        (["ls", "--stage", "essays"], "did you mean 'essay'?"),
        (["scores", "--top", "1", "--rank", "nov"], "nothing was judged by 'nov'"),
        (["scores", "demo", "--by", "tempo"], "'tempo' is not an axis"),
        (["fill-gaps", "demo", "--axis", "essay.template", "--levels", "narrative,narratve"], "no level 'narratve'"),
        (["export", "real"], "real"),
    ],
)
def test_what_is_not_in_the_pool_ends_with_1_whatever_the_verb(
    genpool: Type, root: Path, words: list[str], said: str
) -> None:
    del root
    genpool("run", "demo", "-q")
    typed = genpool(*words)
    assert (typed.code, typed.out) == (1, "")
    assert said in typed.err
