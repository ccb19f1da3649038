"""How genpool looks at a terminal, and how it is interrupted there."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from benchmarks.make_pool import Shape, make_pool

from .conftest import Type, rewrite
from .terminal import Terminal, at_terminal

if TYPE_CHECKING:
    from pathlib import Path


def slow(root: Path, seconds: float) -> None:
    rewrite(
        root / "pool.yaml",
        "smollm2-135m: {client: scripted}",
        f"smollm2-135m: {{client: scripted, seconds: {seconds}, concurrency: 2}}",
    )


# --- the live view ---


def test_a_run_shows_a_bar_a_stage_and_leaves_the_terminal_as_it_was(root: Path) -> None:
    code, said, plain = at_terminal("--pool", str(root), "run", "demo", columns=120)
    assert code == 0
    for bar in ("draft", "essay", "evaluation", "all"):
        assert f"\n{bar}" in plain or plain.startswith(bar)
    assert "66/66" in plain
    assert "48 made" in plain
    assert "mean score by template" in plain
    assert "\x1b[?25l" in said  # the cursor is hidden
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")  # and back


def test_a_quiet_run_begins_with_its_report(genpool: Type, root: Path) -> None:
    assert genpool("run", "demo", "-q").out.startswith("cohort demo\n")
    _, _, plain = at_terminal("--pool", str(root), "run", "demo", "-q")
    assert plain.startswith("cohort demo\n")


# --- signals ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_lets_running_calls_finish_and_says_how_to_go_on(genpool: Type, root: Path, number: int) -> None:
    slow(root, 0.5)
    terminal = Terminal(["--pool", str(root), "run", "demo"], 120)
    terminal.read_until("2 made")
    terminal.signal(number)
    assert terminal.end() == 130
    assert "stopping when the running calls have finished" in terminal.plain
    assert f"left: genpool --pool {root} run demo" in terminal.plain
    assert "Traceback" not in terminal.plain
    made = len(list((root / "gens/draft").iterdir()))
    assert 2 <= made < 6
    for folder in (root / "gens").glob("*/*"):  # the calls that ran were kept whole
        assert (folder / "parsed.txt").is_file()
    rewrite(root / "pool.yaml", "seconds: 0.5", "seconds: 0")
    again = genpool("run", "demo", "--json").json
    assert again["complete"]
    assert again["stages"]["draft"]["reused"] == made


def test_a_second_signal_gives_the_running_calls_up(root: Path) -> None:
    slow(root, 120)
    terminal = Terminal(["--pool", str(root), "run", "demo"], 120)
    terminal.read_until("0 made")
    terminal.signal(signal.SIGINT)
    terminal.read_until("Ctrl-C again gives them up")
    terminal.signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "giving the running calls up" in terminal.plain


# --- tables and texts ---


def test_ids_are_cut_and_never_folded_on_a_narrow_terminal(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    _, _, plain = at_terminal("--pool", str(root), "ls", "demo", "--stage", "draft", columns=70)
    ids = [line.split()[0] for line in plain.splitlines() if line.startswith("d_")]
    assert len(ids) == len(set(ids)) == 6
    assert max(map(len, ids)) < 34
    for one in ids:
        assert genpool("show", one).code == 0
    assert "data-flywheel" in plain
    assert "combo_" not in plain
    assert all(len(line) <= 70 for line in plain.splitlines())


@pytest.mark.parametrize("columns", [80, 70, 40])
@pytest.mark.parametrize(
    "words", [["scores", "demo"], ["scores", "demo", "--top", "2"], ["report", "demo", "--no-page"]]
)
def test_a_narrow_terminal_cuts_no_number_and_leaves_out_no_column(
    genpool: Type, root: Path, words: list[str], columns: int
) -> None:
    genpool("run", "demo", "-q")
    piped = [line for line in genpool(*words).out.splitlines() if "   " in line]  # the rows of tables
    _, _, plain = at_terminal("--pool", str(root), *words, columns=columns)
    said = plain.split()
    for cell in {cell.strip() for line in piped for cell in line.split("   ") if cell.strip()}:
        if cell.replace(".", "").replace(",", "").isdigit():
            assert cell in said
        else:
            assert all(word[:8] in plain for word in cell.split()), cell


def test_a_table_without_room_for_columns_becomes_a_list(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    _, _, plain = at_terminal("--pool", str(root), "scores", "demo", columns=40)
    lines = [line.split() for line in plain.splitlines()]
    assert lines.count(["rubric", "coherence"]) == 4
    assert ["draft_template", "rolling-thread"] in lines
    assert all(len(line) <= 40 for line in plain.splitlines() if not line.startswith("note: "))


def test_ids_are_whole_in_a_pipe_and_on_a_wide_terminal(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    piped = genpool("ls", "demo").out
    assert sum(len(line.split()[0]) == 34 for line in piped.splitlines() if line[:2] in {"d_", "e_", "v_"}) == 66
    _, said, plain = at_terminal("--pool", str(root), "ls", "demo", columns=200)
    assert plain == piped
    assert "\x1b[1mgen_id" in said


def test_no_line_in_a_pipe_ends_with_blanks(genpool: Type) -> None:
    genpool("run", "demo", "-q")
    for words in (["ls", "demo"], ["ls"], ["status"], ["plan", "demo"], ["run", "demo", "-q"], ["models", "ls"]):
        assert [line for line in genpool(*words).out.splitlines() if line != line.rstrip()] == []


def test_no_color_leaves_out_every_style(root: Path) -> None:
    _, said, _ = at_terminal("--pool", str(root), "plan", "demo", columns=50, env={"NO_COLOR": "1"})
    assert "\x1b[1m" not in said
    _, said, _ = at_terminal("--pool", str(root), "plan", "demo", columns=30, env={"NO_COLOR": "1"})
    assert "\x1b[" not in said


def test_texts_are_wrapped_at_words_on_a_terminal(genpool: Type, root: Path) -> None:
    words = " ".join(f"word{number:03}" for number in range(40))
    rewrite(
        root / "pool.yaml",
        "smollm2-135m: {client: scripted}",
        f"smollm2-135m: {{client: scripted, answers: [{words}]}}",
    )
    genpool("run", "demo", "-q")
    gen_id = next((root / "gens/draft").iterdir()).name
    _, _, plain = at_terminal("--pool", str(root), "show", gen_id, "--text", columns=50)
    assert plain.split() == words.split()
    assert plain.count("\n") > 5


def test_json_at_a_terminal_has_no_character_that_acts(genpool: Type, root: Path) -> None:
    rewrite(
        root / "pool.yaml",
        "smollm2-135m: {client: scripted}",
        'smollm2-135m: {client: scripted, answers: ["a\\u009b31m b\\u202e c"]}',
    )
    genpool("run", "demo", "-q")
    gen_id = next((root / "gens/draft").iterdir()).name
    _, said, _ = at_terminal("--pool", str(root), "show", gen_id, "--json", columns=200)
    assert "a\\u009b31m b\\u202e c" in said
    assert json.loads(said)["texts"]["parsed"] == "a\x9b31m b\u202e c"


# --- a reader that leaves, a full disk ---


def in_shell(command: str) -> subprocess.CompletedProcess[str]:
    line = command.replace("genpool", f"{sys.executable} -m genpool")
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)


def test_a_plan_whose_reader_leaves_says_nothing(root: Path) -> None:
    done = in_shell(f"genpool --pool {root} plan demo | true; echo code ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.stdout == "code 0\n"


@pytest.mark.parametrize(("answers", "code"), [("", 0), (", answers: [nothing]", 3)])
def test_a_run_goes_on_and_keeps_its_exit_code_when_its_reader_leaves(root: Path, answers: str, code: int) -> None:
    rewrite(
        root / "pool.yaml",
        "smollm2-135m-judge: {client: scripted}",
        f"smollm2-135m-judge: {{client: scripted, seconds: 0.02{answers}}}",
    )
    done = in_shell(f"genpool --pool {root} run demo 2>&1 | head -1; echo code ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.stdout.endswith(f"code {code}\n")
    assert done.stdout.count("\n") == 2
    assert len(list((root / "gens/essay").iterdir())) == 12


@pytest.mark.parametrize("verb", ["plan demo", "ls", "plan demo --tasks", "plan demo --json"])
def test_a_full_standard_output_is_an_error_and_no_defect(root: Path, verb: str) -> None:
    done = in_shell(f"genpool --pool {root} {verb} > /dev/full")
    assert done.returncode == 1
    assert "standard output cannot be written: No space left on device" in done.stderr
    assert "defect" not in done.stderr
    assert "Exception ignored" not in done.stderr


# --- a first look at a pool ---


def test_a_first_look_at_a_large_pool_is_shown_and_leaves_nothing_on_the_terminal(tmp_path: Path) -> None:
    root = tmp_path / "pool"
    make_pool(root, Shape(tasks=3_000))
    time.sleep(2.1)  # what is younger is not trusted, and read again
    for words in (["plan", "whole"], ["status"], ["ls", "--stage", "evaluation"]):
        shutil.rmtree(root / ".genpool", ignore_errors=True)
        code, said, plain = at_terminal("--pool", str(root), *words, columns=100)
        assert code == 0
        assert "reading records: 1,000 of " in plain
        assert said.rindex("\x1b[2K") > said.rindex("reading records"), "the line is taken away"
        assert "reading records" not in at_terminal("--pool", str(root), *words)[2], "nothing is read again"


def test_a_document_is_not_accompanied(tmp_path: Path) -> None:
    root = tmp_path / "pool"
    make_pool(root, Shape(tasks=3_000))
    _, _, plain = at_terminal("--pool", str(root), "plan", "whole", "--json", columns=100)
    assert "reading" not in plain
