"""`genpool manifest`, and what the other verbs say of manifests, as a user types it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import jsonschema
import pytest

from genpool.pool import Pool
from tests.catalogs import SECOND, snapshot
from tests.legacy_pools import CHOICES
from tests.small_pools import make_pool, models, whole_cohort, write_rows

from .conftest import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type

ASKED = [
    ("status",),
    ("status", "first"),
    ("ls",),
    ("ls", "second"),
    ("ls", "second", "--state", "reused"),
    ("ls", "second", "--where", "draft.combo=row-1", "--stage", "evaluation"),
    ("ls", "--origin", "first"),
    ("plan", "second"),
]
"""Questions with a JSON answer."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Cohorts `first` (rows 0, 1) and `second` (rows 1, 2), both run; `second` lacks an essay."""
    pool = make_pool(tmp_path / "pool", rows=3)
    for cohort, rows in (("first", [0, 1]), ("second", [1, 2])):
        write_rows(pool.root, rows, f"{cohort}.csv")
        whole_cohort(pool.root, cohort, rows=f"{cohort}.csv")
        Pool.open(pool.root).run(cohort, models=models())
    shutil.rmtree(pool.root / "gens/essay" / Pool.open(pool.root).scope("second").columns("essay")["essay"].gen_ids[2])
    for cohort in ("first", "second"):
        Pool.open(pool.root).manifests.write(cohort)
    return pool.root


def manifest(root: Path, cohort: str = "second") -> Path:
    return root / "cohorts" / cohort / "manifest.json"


def as_process(root: Path, *words: str) -> bytes:
    """Type a command in a process of its own; return what it printed."""
    command = [sys.executable, "-m", "genpool", "--pool", str(root), *words]
    return subprocess.run(command, capture_output=True, check=True).stdout


# --- the same answers without any cache -------------------------------------------------------------


def test_without_every_cache_the_answers_are_the_same_bytes(root: Path) -> None:
    pool = Pool.open(root)
    draft, essay = (pool.scope("second").columns()[stage].gen_ids[0] for stage in ("draft", "essay"))
    asked = [(*words, "--json") for words in ASKED]
    asked += [("missing", "second"), ("show", draft, "--json"), ("show", essay[:9], "--json")]
    assert pool.scope("second").answered_from == "manifest"
    before = [as_process(root, *words) for words in asked]
    _forget(root)
    alone = []
    for words in asked:  # each by itself: what the one before it had to make anew is gone again
        alone.append(as_process(root, *words))
        _forget(root)
    assert alone == before
    assert [as_process(root, *words) for words in asked] == before
    assert b"missing" in before[0]
    assert all(before)


def _forget(root: Path) -> None:
    shutil.rmtree(root / ".genpool", ignore_errors=True)
    for path in root.glob("cohorts/*/manifest.json"):
        path.unlink()


def test_while_generations_come_and_go_every_answer_is_of_some_moment(root: Path) -> None:
    """A generation is moved away and back by hand, over and over; its state is one of two, and nothing else changes."""
    one = root / "gens/draft" / Pool.open(root).scope("second").columns("draft")["draft"].gen_ids[0]
    with_it = as_process(root, "status", "second", "--json")
    one.rename(root / "aside")
    without = as_process(root, "status", "second", "--json")
    assert with_it != without
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            (root / "aside").rename(one)
            one.rename(root / "aside")

    mover = threading.Thread(target=come_and_go)
    mover.start()
    try:
        told = {as_process(root, "status", "second", "--json") for _ in range(4)}
        written = [subprocess.run(_build(root), capture_output=True, check=False) for _ in range(3)]
    finally:
        stop.set()
        mover.join()
    assert told <= {with_it, without}
    assert all(b"Traceback" not in each.stderr for each in written)
    assert as_process(root, "status", "second", "--json") == without


def _build(root: Path) -> list[str]:
    return [sys.executable, "-m", "genpool", "--pool", str(root), "manifest", "build", "second"]


# --- build ------------------------------------------------------------------------------------------


def test_a_manifest_is_built_of_one_cohort_or_of_all(genpool: Type, root: Path) -> None:
    assert genpool("manifest", "rm", "--all").out == "2 manifests removed\n"
    assert not manifest(root).exists()
    said = genpool("manifest", "build", "second")
    assert (said.code, said.out) == (0, f"second: 14 members, {manifest(root)}\n")
    assert not manifest(root, "first").exists()
    built = genpool("manifest", "build", "--all", "--json").json
    assert [one["cohort_id"] for one in built["cohorts"]] == ["first", "second"]
    assert built["cohorts"][1]["members"] == {"draft": 2, "essay": 4, "evaluation": 8}
    assert json.loads(manifest(root, "first").read_bytes())["cohort_id"] == "first"


def test_one_cohort_that_cannot_be_read_does_not_keep_the_others_from_it(genpool: Type, root: Path) -> None:
    (root / "cohorts/first/membership.csv").write_text("stage,gen_id\nsketch,d_1\n")
    said = genpool("manifest", "build", "--all")
    assert said.code == 1
    assert "first: not written: " in said.out
    assert "membership.csv:2: no stage is named 'sketch'" in said.out
    assert "second: 14 members" in said.out
    alone = genpool("manifest", "build", "first")
    assert (alone.code, alone.out) == (1, "")
    assert "membership.csv:2" in alone.err
    assert genpool("manifest", "build", "--all", "--json").json["cohorts"][0]["error"]["kind"] == "corrupt-file"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("build",), 2, "name cohorts, or give --all"),
        (("build", "first", "--all"), 2, "exclude each other"),
        (("build", "frist"), 1, "did you mean 'first'?"),
        (("check", "frist"), 1, "did you mean 'first'?"),
        (("rm",), 2, "name cohorts, or give --all"),
        (("rm", "frist"), 1, "did you mean 'first'?"),
        (("rm", "../first"), 1, "there is no cohort"),
        (("build", "../first"), 1, "is not a name that a file can have"),
    ],
)
def test_a_wrong_call_is_told(genpool: Type, words: tuple[str, ...], code: int, said: str) -> None:
    told = genpool("manifest", *words)
    assert told.code == code
    assert said in told.err


# --- check ------------------------------------------------------------------------------------------


def test_a_good_one_differs_in_nothing(genpool: Type) -> None:
    for words in ((), ("--deep",), ("second", "--deep")):
        said = genpool("manifest", "check", *words)
        assert (said.code, said.err) == (0, "")
        assert "second: good\n  0 differences\n" in said.out


def test_every_difference_of_a_stale_one_is_listed(genpool: Type, root: Path) -> None:
    gone = Pool.open(root).scope("second").columns("draft")["draft"].gen_ids[0]
    shutil.rmtree(root / "gens/draft" / gone)
    said = genpool("manifest", "check", "second")
    assert said.code == 1
    assert "second: stale: " in said.out
    assert f"  draft {gone}: state is reused here, missing in the pool\n" in said.out
    assert f"  draft {gone}: origin is first here, nothing in the pool\n" in said.out
    assert said.out.endswith("  2 differences\n")
    (one,) = genpool("manifest", "check", "second", "--json").json["manifests"]
    assert (one["good"], one["fault"]["kind"], one["compared"]) == (False, "stale", True)
    assert {"stage": "draft", "gen_id": gone, "what": "state", "manifest": "reused", "pool": "missing"} in one[
        "differences"
    ]


def test_members_that_are_new_or_gone_are_differences(genpool: Type, root: Path) -> None:
    path = root / "cohorts/second/membership.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:], "draft,d_new,,,,"]) + "\n")
    said = genpool("manifest", "check", "second")
    assert said.code == 1
    assert f"draft {lines[1].split(',')[1]}: a member here alone" in said.out
    assert "draft d_new: a member in membership.csv alone" in said.out


def test_what_was_edited_inside_a_generation_is_found_deep_alone(genpool: Type, root: Path) -> None:
    """The catalog notices no edit inside a generation; a deep check reads every record."""
    gen_id = Pool.open(root).scope("second").columns("draft")["draft"].gen_ids[0]
    path = root / "gens/draft" / gen_id / "metadata.json"
    for stage in CHOICES:
        snapshot(root, stage, looked=3 * SECOND)
    with path.open("r+b") as file:  # in place: nothing is renamed
        file.write(b"[")
    assert genpool("manifest", "check", "second").code == 0
    said = genpool("manifest", "check", "second", "--deep")
    assert said.code == 1
    assert f"draft {gen_id}: state is reused here, unusable in the pool" in said.out


def test_one_that_cannot_be_read_is_told_and_compared_with_nothing(genpool: Type, root: Path) -> None:
    manifest(root).write_bytes(manifest(root).read_bytes()[:-10])
    said = genpool("manifest", "check", "second")
    assert said.code == 1
    assert said.out.startswith("second: damaged: ")
    assert "difference" not in said.out
    manifest(root).unlink()
    assert genpool("manifest", "check", "second").code == 1
    assert genpool("manifest", "check").code == 0
    shutil.rmtree(root / "cohorts/first")
    assert "no cohort has a manifest" in genpool("manifest", "check").out


# --- what other verbs say ---------------------------------------------------------------------------


def test_status_says_what_it_answered_from_where_that_is_asked(genpool: Type, root: Path) -> None:
    assert genpool("status", "second").err == ""
    assert genpool("status", "second", "-v").err == "cohort second: answered from manifest\n"
    assert genpool("status", "second", "-v", "--json").json["answered_from"] == {
        "second": {"from": "manifest", "unfit": None}
    }
    shutil.rmtree(next((root / "gens/evaluation").iterdir()))
    assert genpool("status", "second").err == "", "a stale one is an everyday thing"
    told = genpool("status", "second", "-v").err
    assert "answered from catalog" in told
    assert "generations of stage 'evaluation' were added, removed or replaced" in told
    assert "manifest build second" in told


@pytest.mark.parametrize("words", [("status",), ("ls", "second"), ("missing", "second"), ("status", "--json")])
def test_a_damaged_one_is_told_and_changes_no_answer(genpool: Type, root: Path, words: tuple[str, ...]) -> None:
    before = genpool(*words)
    assert before.err == ""
    rewrite(manifest(root), '"missing"', '"own"')
    after = genpool(*words)
    assert (after.code, after.out) == (before.code, before.out)
    assert after.err.startswith("note: the manifest is not used: ")
    assert "edited, cut off or damaged" in after.err


def test_the_doctor_names_a_damaged_one_and_removes_it(genpool: Type, root: Path) -> None:
    assert Pool.open(root).run("second", models=models()).complete
    assert genpool("doctor").code == 0
    manifest(root).write_bytes(b"{")
    said = genpool("doctor")
    assert said.code == 1
    assert "problem: cohorts/second/manifest.json: it does not begin as a manifest does" in said.out
    assert genpool("doctor", "--fix").code == 0
    assert not manifest(root).exists()
    assert genpool("doctor").code == 0


def test_the_doctor_notes_a_stale_one(genpool: Type, root: Path) -> None:
    path = root / "cohorts/second/membership.csv"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-1])
    said = genpool("doctor")
    assert "note: cohorts/second/manifest.json: membership.csv is another than when it was written" in said.out
    genpool("doctor", "--fix")
    assert not manifest(root).exists()


def test_control_characters_in_a_manifest_are_shown_not_obeyed(genpool: Type, root: Path) -> None:
    data = manifest(root).read_bytes()
    manifest(root).write_bytes(data.replace(b"genpool.manifest/1", b"genpool.manifest/\x1b[31m", 1))
    said = genpool("status", "second")
    assert "\x1b" not in said.out + said.err
    assert "genpool.manifest/" in said.err


def test_the_schema_is_printed(genpool: Type, root: Path) -> None:
    said = genpool("manifest", "schema")
    validator = jsonschema.Draft202012Validator(said.json)
    validator.validate(json.loads(manifest(root).read_bytes()))
