"""`genpool doctor`, as a user types it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from genpool.locks import pool_lock
from genpool.pool import Pool

from .terminal import Terminal, at_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type

NOTE = ".genpool/locks/holder-1-2.json"


@pytest.fixture
def made(genpool: Type, root: Path) -> Path:
    """The example pool after its run."""
    assert genpool("run", "demo", "-q").code == 0
    return root


def damage(root: Path, stage: str = "draft") -> str:
    """Change a text; return its path in the pool."""
    path = min((root / "gens" / stage).glob("*/parsed.txt"))
    path.write_text("something else")
    return path.relative_to(root).as_posix()


def test_a_pool_without_a_problem_prints_one_line_and_ends_with_0(genpool: Type, made: Path) -> None:
    done = genpool("doctor")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(
        r"healthy: read 66 generations, 186 texts, \d+ sources, 3 combos, 1 cohort, 66 members, 1 ledger\n", done.out
    )
    assert genpool("doctor", "--fix").out == done.out


def test_an_empty_pool_is_healthy(genpool: Type, root: Path) -> None:
    assert genpool("doctor").out == "healthy: read 1 cohort\n"


def test_a_problem_is_printed_with_place_and_what_to_do_and_ends_with_1(genpool: Type, made: Path) -> None:
    place = damage(made)
    (made / NOTE).write_text("{}")
    done = genpool("doctor")
    assert (done.code, done.err) == (1, "")
    assert f"problem: {place}: the text is not the one that was committed" in done.out
    assert "  next: restore it from a copy" in done.out
    assert f"  next: `genpool --pool {made} doctor --fix` removes it" in done.out
    assert done.out.splitlines()[-1].startswith("2 problems, 1 of them for `--fix`: read 66 generations")
    assert (made / NOTE).exists()


def test_fix_mends_what_is_safe_and_still_ends_with_1_for_the_rest(genpool: Type, made: Path) -> None:
    place = damage(made)
    (made / NOTE).write_text("{}")
    done = genpool("doctor", "--fix")
    assert done.code == 1
    assert f"mended: {NOTE}: a note" in done.out
    assert f"problem: {place}" in done.out
    assert done.out.splitlines()[-1].startswith("1 mended, 1 problem: read")
    assert not (made / NOTE).exists()
    assert (made / place).read_text() == "something else"


def test_fix_ends_with_0_where_everything_was_mended(genpool: Type, made: Path) -> None:
    (made / NOTE).write_text("{}")
    assert genpool("doctor").code == 1
    assert genpool("doctor", "--fix").code == 0
    assert genpool("doctor").out.startswith("healthy")


def test_json_is_one_document(genpool: Type, made: Path) -> None:
    place = damage(made, "essay")
    (made / NOTE).write_text("{}")
    done = genpool("doctor", "--json")
    said = done.json
    assert done.code == 1
    assert (said["format"], said["healthy"], said["problems"], said["mended"]) == ("genpool.doctor/1", False, 2, 0)
    assert said["checked"]["generations"] == 66
    found = {one["path"]: one for one in said["findings"]}
    assert (found[place]["stage"], found[place]["severity"], found[place]["fix"]) == ("essay", "problem", None)
    assert found[place]["gen_id"] == place.split("/")[2]
    assert found[NOTE]["fix"] == "remove the file"
    fixed = genpool("doctor", "--fix", "--json").json
    assert {one["path"]: one["mended"] for one in fixed["findings"]} == {place: False, NOTE: True}


def test_many_findings_of_a_kind_are_not_all_printed(genpool: Type, made: Path) -> None:
    for path in (made / "gens/evaluation").glob("*/parsed.txt"):
        path.write_text("something else")
    done = genpool("doctor")
    assert done.out.count("problem: ") == 20
    assert "28 more of the kind corrupt-generation; --json lists them" in done.out
    assert len(genpool("doctor", "--json").json["findings"]) == 48


def test_what_was_mended_says_what_was_done_though_it_was_only_a_note(genpool: Type, made: Path) -> None:
    place = "cohorts/demo/manifest.json"
    assert genpool("manifest", "build", "demo").code == 0
    shutil.rmtree(min((made / "gens/evaluation").iterdir()))
    (made / "cohorts/demo/membership.csv").write_text("stage,gen_id\n")
    assert f"note: {place}" in genpool("doctor").out
    done = genpool("doctor", "--fix").out
    assert f"mended: {place}" in done
    assert "  done: the file was removed\n" in done
    assert not (made / place).exists()


def test_a_lost_source_is_one_problem_with_a_count_and_the_first(genpool: Type, made: Path) -> None:
    record = json.loads(min((made / "gens/evaluation").glob("*/metadata.json")).read_bytes())
    (made / "sources" / record["fingerprints"]["model"]).unlink()
    done = genpool("doctor")
    assert done.out.count("\n  next: ") == 1
    assert "48 generations and attempts name it, this is the first [missing-source]" in done.out
    assert f"problem: gens/evaluation/{record['gen_id']}/metadata.json: " in done.out
    assert "\n1 problem: read" in done.out


@pytest.mark.parametrize("line", [b'{"intent": 1, "stage": "dra\n', b"{\n", b"[1]\n", b"\xff\n"])
def test_doctor_and_audit_say_the_same_of_a_line_of_a_ledger(genpool: Type, made: Path, line: bytes) -> None:
    (ledger,) = (made / "ledger").glob("*.jsonl")
    with ledger.open("ab") as file:
        file.write(line)
    said = {one["what"] for one in genpool("doctor", "--json").json["findings"] if one["kind"] == "malformed-line"}
    assert len(said) == 1
    assert said.pop() in genpool("audit", "spend").out


def test_fix_is_refused_while_the_pool_is_in_use(genpool: Type, made: Path) -> None:
    with pool_lock(Pool.open(made).layout, "genpool run demo"):
        assert genpool("doctor").code == 0
        done = genpool("doctor", "--fix")
    assert done.code == 1
    assert "is in use: 'genpool run demo'" in done.err


def test_names_from_the_pool_are_harmless_on_a_terminal(genpool: Type, made: Path) -> None:
    (made / "gens/draft" / "\x1b[31m\nred").mkdir()
    done = genpool("doctor")
    assert done.code == 1
    assert "\x1b" not in done.out
    assert done.out.count("\n") == 3


def test_a_terminal_shows_how_far_it_is_and_ctrl_c_ends_it(made: Path) -> None:
    code, said, plain = at_terminal("--pool", str(made), "doctor", columns=120)
    assert code == 0
    assert "reading the pool" in plain
    assert plain.rstrip().splitlines()[-1].startswith("healthy: ")
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")
    source = next((made / "sources").iterdir())
    with source.open("r+b") as file:
        file.truncate(2**36)  # takes long to read
    terminal = Terminal(["--pool", str(made), "doctor"], 120)
    terminal.read_until("reading the pool")
    terminal.signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "interrupted" in terminal.plain
    assert "Traceback" not in terminal.plain


def test_elsewhere_it_shows_nothing_and_a_reader_may_leave(made: Path) -> None:
    damage(made)
    command = f"{sys.executable} -m genpool --pool {made} doctor | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("problem: ")
    assert done.stderr == ""


def test_what_is_no_pool_is_an_error(genpool: Type, root: Path) -> None:
    (root / "pool.yaml").unlink()
    done = genpool("doctor", "--json")
    assert done.code == 1
    assert json.loads(done.out)["error"]["kind"] == "not-a-pool"
