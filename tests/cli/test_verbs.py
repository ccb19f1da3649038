"""Every verb as a user types it: what it prints, its exit code, its JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from genpool.cli.main import VERBS, cli, main
from genpool.cli.reference import reference
from genpool.pool import Pool

from .conftest import Type, rewrite

GOLDEN = "d_182eb8f3e890bc2a4c0e97722c99e71f"
GOLDEN_WORDS = "id draft combo_id=combo-1 template_id=creative-v2 llm_model_id=smollm2-135m replicate=1".split()


def spec(root: Path) -> Path:
    return root / "cohorts/demo/cohort.yaml"


# --- id ---


def test_id_prints_the_golden_id(genpool: Type) -> None:
    assert genpool(*GOLDEN_WORDS).out == f"{GOLDEN}\n"


def test_id_explains_with_a_text_that_hashes_to_the_id(genpool: Type) -> None:
    said = genpool(*GOLDEN_WORDS, "--explain").out.splitlines()
    digest = subprocess.run(["sha256sum"], input=said[1].encode(), capture_output=True, check=True).stdout.decode()
    assert said[0] == "d_" + digest[:32]


def test_id_works_outside_of_any_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(GOLDEN_WORDS) == 0
    assert capsys.readouterr().out == f"{GOLDEN}\n"


def test_id_uses_the_salt_of_the_pool(genpool: Type, root: Path) -> None:
    rewrite(root / "pool.yaml", 'salt: ""', "salt: lab-b")
    assert genpool(*GOLDEN_WORDS).out == "d_23ea25273a1ea2136453addfac903452\n"
    assert genpool(*GOLDEN_WORDS, "--salt", "").out == f"{GOLDEN}\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("replicate=1", "replicate=0"), "replicate = 0 must be from 1"),
        (("replicate=1", "replicate=01"), "must be an integer"),
        (("combo_id=combo-1", "combo=combo-1"), "did you mean 'combo_id'"),
        (("combo_id=combo-1", "combo_id"), "is not FIELD=VALUE"),
        (("draft", "drift"), "did you mean 'draft'"),
        (("combo_id=combo-1", "combo_id= x"), "white space at an end"),
    ],
)
def test_id_refuses_what_is_no_signature(genpool: Type, change: tuple[str, str], said: str) -> None:
    words = [word.replace(*change) if change[0] == word else word for word in GOLDEN_WORDS]
    typed = genpool(*words)
    assert typed.code in {1, 2}
    assert typed.out == ""
    assert said in typed.err


# --- init ---


def test_init_makes_a_pool_that_can_be_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "new"), "--example"]) == 0
    assert main(["--pool", str(tmp_path / "new"), "plan", "demo"]) == 0
    assert "60 calls to make 66 generations" in capsys.readouterr().out


def test_init_without_an_example_makes_a_pool_without_cohorts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "new")]) == 0
    assert main(["--pool", str(tmp_path / "new"), "ls"]) == 0
    assert "has no cohort yet" in capsys.readouterr().out


@pytest.mark.parametrize("example", [[], ["--example"]])
def test_init_changes_nothing_where_something_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], example: list[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["init", str(tmp_path), *example]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert "is not empty; nothing was changed" in capsys.readouterr().err


def test_init_on_a_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    assert main(["init", str(tmp_path / "file")]) == 1
    assert (tmp_path / "file").read_text() == "x"
    assert "error:" in capsys.readouterr().err


# --- plan and run ---


def test_plan_says_the_number_of_calls_that_run_makes(genpool: Type) -> None:
    planned = genpool("plan", "demo", "--json").json
    ran = genpool("run", "demo", "--json").json
    assert planned["total"] == {**planned["total"], "wanted": 66, "to_make": 66, "calls": 60}
    assert ran["calls"] == planned["total"]["calls"]
    assert ran["complete"]


def test_a_second_run_makes_no_call_and_says_so(genpool: Type) -> None:
    assert genpool("run", "demo", "-q").code == 0
    again = genpool("run", "demo", "-q")
    assert again.code == 0
    assert "0 calls" in again.out
    assert "everything exists: a run would make 0 calls" in genpool("plan", "demo").out


def test_replicates_raised_by_one_make_exactly_the_difference(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    rewrite(spec(root), "replicates: 2", "replicates: 3")
    planned = genpool("plan", "demo", "--json").json["total"]
    ran = genpool("run", "demo", "--json").json
    assert planned["calls"] == ran["calls"] == 24
    assert ran["stages"]["evaluation"]["reused"] == 48


def test_a_template_added_makes_exactly_the_difference(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    (root / "templates/evaluation/style.j2").write_text("---\nparser: json_score\nscale: [1, 5]\n---\n{{ essay }}\n")
    rewrite(spec(root), "[novelty, coherence]", "[novelty, coherence, style]")
    planned = genpool("plan", "demo", "--json").json["total"]
    ran = genpool("run", "demo", "--json").json
    assert planned["calls"] == ran["calls"] == 24


def test_run_ends_with_scores_by_template_and_where_the_texts_are(genpool: Type, root: Path) -> None:
    said = genpool("run", "demo", "-q").out
    assert "mean score by template" in said
    assert "baseline → as-drafted" in said
    assert f"texts: {root}/gens/<stage>/<gen_id>/parsed.txt" in said


def test_run_shows_plain_lines_where_there_is_no_terminal(genpool: Type) -> None:
    said = genpool("run", "demo").err
    assert "66/66  draft 6/6, essay 12/12, evaluation 48/48" in said
    assert "\x1b" not in said


def test_plan_and_run_say_whose_runs_made_what_is_reused(genpool: Type, root: Path) -> None:
    whole = spec(root).read_text()
    (root / "cohorts/other").mkdir()
    (root / "cohorts/other/cohort.yaml").write_text(whole.replace("baseline, rolling-thread", "baseline"))
    genpool("run", "other", "-q")
    planned, ran = genpool("plan", "demo", "--json").json, genpool("run", "demo", "--json").json
    assert (
        planned["reused_from"]
        == ran["reused_from"]
        == {
            "draft": [{"cohort_id": "other", "generations": 3}],
            "essay": [{"cohort_id": "other", "generations": 6}],
            "evaluation": [{"cohort_id": "other", "generations": 24}],
        }
    )
    assert ran["total"] == {**dict.fromkeys(ran["total"], 0), "wanted": 66, "reused": 33, "others": 33, "made": 33}
    assert {*ran["stages"]["draft"]} >= {"wanted", "reused", "made", "failed", "exhausted", "blocked", "left"}
    table = "reused from   draft   essay   evaluation   total\n"
    again = genpool("run", "demo", "-q").out
    assert table in again
    assert (
        "demo (own)        3       6           24      33\nother             3       6           24      33\n" in again
    )
    assert table in genpool("plan", "demo").out
    assert "reused from" not in genpool("run", "other", "-q").out, "where all is its own the table says no more"


def test_plan_lists_every_task_with_its_signature(genpool: Type) -> None:
    lines = [json.loads(line) for line in _raw("plan", "demo", "--tasks", genpool=genpool)]
    assert len(lines) == 66
    first = lines[0]
    words = [f"{key}={value}" for key, value in first.items() if key not in {"state", "stage", "gen_id"}]
    assert genpool("id", first["stage"], *words).out.strip() == first["gen_id"]


def _raw(*words: str, genpool: Type) -> list[str]:
    return genpool(*words).out.splitlines()


def test_plan_writes_nothing_but_a_cache(genpool: Type, root: Path) -> None:
    before = files_of(root)
    genpool("plan", "demo")
    genpool("plan", "demo", "--tasks")
    assert files_of(root) == before


def files_of(root: Path) -> list[str]:
    return sorted(str(path) for path in root.rglob("*") if ".genpool" not in str(path))


def test_exhausted_tasks_are_told_and_end_with_exit_code_3(genpool: Type, root: Path) -> None:
    rewrite(
        root / "pool.yaml",
        "smollm2-135m-judge: {client: scripted}",
        "smollm2-135m-judge: {client: scripted, answers: [nothing]}",
    )
    ran = genpool("run", "demo", "-q")
    assert ran.code == 3
    assert "96 answers not acceptable and kept under attempts/: 96 unparseable" in ran.out
    assert "48 of them exhausted" in ran.out
    assert f"genpool --pool {root} reparse --cohort demo reads them anew without a call" in ran.out
    assert "max_tokens" not in ran.out, "none was cut off"
    assert genpool("plan", "demo", "--json").json["total"]["exhausted"] == 48
    assert genpool("run", "demo", "-q").out.count("0 calls") == 1
    rewrite(root / "pool.yaml", ", answers: [nothing]", "")
    assert genpool("run", "demo", "-q", "--retry-exhausted").code == 0


# --- status, ls, show ---


def test_status_counts_own_reused_and_missing(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    other = root / "cohorts/other"
    other.mkdir()
    (other / "cohort.yaml").write_text(spec(root).read_text().replace("data-flywheel, economic-moat", "data-flywheel"))
    genpool("run", "other", "-q")
    counts = genpool("status", "other", "--json").json["cohorts"]["other"]
    assert counts["draft"] == {"wanted": 2, "own": 0, "reused": 2, "missing": 0, "unusable": 0, "attempts": 0}
    assert "complete" in genpool("status").out


def test_status_of_a_cohort_that_was_never_run_says_what_to_do(genpool: Type, root: Path) -> None:
    said = genpool("status", "demo")
    assert said.code == 1
    assert f"`genpool --pool {root} run demo`" in said.err


def test_ls_lists_members_with_their_choices(genpool: Type) -> None:
    genpool("run", "demo", "-q")
    drafts = genpool("ls", "demo", "--stage", "draft").out
    assert drafts.count("d_") == 6
    assert "rolling-thread" in drafts
    members = genpool("ls", "demo", "--json").json["members"]
    assert len(members) == 66
    assert {one["state"] for one in members} == {"own"}


def test_ls_filters_by_state(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    gone = next((root / "gens/evaluation").iterdir())
    for path in gone.iterdir():
        path.unlink()
    gone.rmdir()
    missing = genpool("ls", "demo", "--state", "missing", "--json").json["members"]
    assert [one["gen_id"] for one in missing] == [gone.name]
    assert missing[0]["template_id"] in {"novelty", "coherence"}


def test_show_prints_text_and_lineage_by_the_beginning_of_an_id(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    gen_id = next((root / "gens/evaluation").iterdir()).name
    said = genpool("show", gen_id[:12]).out
    assert f"evaluation {gen_id}" in said
    assert "└ from essay" in said
    assert "└ from draft" in said
    assert "SCORE:" in said


def test_show_prints_what_starts_from_a_generation(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    draft = next((root / "gens/draft").iterdir()).name
    assert genpool("show", draft).out.count("┌ read by essay e_") == 2
    children = genpool("show", draft, "--json").json["children"]
    essays = {path.name for path in (root / "gens/essay").iterdir() if draft in (path / "metadata.json").read_text()}
    assert {one["gen_id"] for one in children} == essays


def test_plan_and_scope_show_themselves_in_a_notebook(root: Path) -> None:
    pool = Pool.open(root)
    html = pool.plan("demo")._repr_html_()
    assert "<caption>plan of demo</caption>" in html
    assert "<th>total</th><td>66</td><td>66</td><td>60</td>" in html
    pool.run("demo")
    assert "<th>evaluation</th><td>48</td><td>48</td>" in pool.scope("demo")._repr_html_()


def test_show_prints_the_texts_byte_by_byte_into_a_pipe(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    folder = next((root / "gens/draft").iterdir())
    for option, file in (("--prompt", "prompt.txt"), ("--raw", "raw.txt"), ("--text", "parsed.txt")):
        assert genpool("show", folder.name, option).out == (folder / file).read_text() + "\n"


def test_show_of_a_task_with_attempts_only_prints_these(genpool: Type, root: Path) -> None:
    rewrite(root / "pool.yaml", "smollm2-135m: {client: scripted}", "smollm2-135m: {client: scripted, answers: ['  ']}")
    genpool("run", "demo", "-q")
    gen_id = next((root / "attempts/draft").iterdir()).name
    said = genpool("show", gen_id)
    assert said.code == 0
    assert "2 attempts kept" in said.out
    assert "empty: the model returned nothing" in said.out


def test_control_characters_of_a_model_are_shown_not_obeyed(genpool: Type, root: Path) -> None:
    rewrite(
        root / "pool.yaml",
        "smollm2-135m: {client: scripted}",
        'smollm2-135m: {client: scripted, answers: ["\\e[31mred [bold]x[/bold]"]}',
    )
    genpool("run", "demo", "-q")
    said = genpool("show", next((root / "gens/draft").iterdir()).name).out
    assert "␛[31mred [bold]x[/bold]" in said
    assert "\x1b" not in said


# --- the whole ---


def test_every_verb_has_help_and_the_group_lists_it_truly() -> None:
    context = click.Context(cli)
    for name, first_line in VERBS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(limit=200) == first_line.rstrip(".") + "."


def test_the_reference_of_commands_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs/cli.md"
    assert page.read_text() == reference(), "run `make docs`"


def test_a_misspelt_verb_gets_the_nearest_one(genpool: Type) -> None:
    said = genpool("pln")
    assert said.code == 2
    assert "did you mean 'plan'?" in said.err


def test_an_error_as_json_is_one_document(genpool: Type) -> None:
    said = genpool("plan", "nothing", "--json")
    assert said.code == 1
    assert said.json["error"]["kind"] == "not-found"


def test_a_reader_that_leaves_is_no_error(root: Path) -> None:
    command = f"{sys.executable} -m genpool --pool {root} plan demo --tasks | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_heavy_libraries_load_only_when_needed(root: Path) -> None:
    code = (
        "import sys; from genpool.cli.main import main; main(['--help']); "
        "heavy = {'rich', 'jinja2', 'openai', 'yaml', 'orjson', 'asyncio', 'xllamacpp'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
