"""Pools with the defects of real stores, written without genpool, and what a migration must make of them.

`pools/<name>/expected.json` was written by hand from the contracts (pools/write.py): what every generation is, which id
and slot it gets, what stays and why, what is told, and what every other file holds afterwards.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from genpool.cli.main import main
from tests.golden.pools.making import daydreaming, self_sealed
from tests.golden.pools.write import POOLS
from tests.unit.migration.conftest import whole_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent / "pools"
LEGACY = ("opaque", "daydreaming-0", "mixed")
"""The pools that have something to migrate."""


@dataclass(frozen=True)
class Golden:
    """A copy of a golden pool, and what is expected of it."""

    name: str
    root: Path
    expected: dict[str, Any]

    @property
    def generations(self) -> dict[str, dict[str, Any]]:
        """Path to what becomes of it."""
        found: dict[str, dict[str, Any]] = self.expected["generations"]
        return found

    @property
    def moving(self) -> dict[str, dict[str, Any]]:
        """Those that get another id, or a record of today's format."""
        return {path: one for path, one in self.generations.items() if "new_id" in one}

    @property
    def staying(self) -> dict[str, dict[str, Any]]:
        """Those that cannot be migrated."""
        return {path: one for path, one in self.generations.items() if one["reason"] == "stays"}


def copied(name: str, folder: Path) -> Golden:
    """Copy a pool, with what git does not keep: empty folders, times, modes."""
    root = folder / "pool"
    shutil.copytree(HERE / name / "pool", root, symlinks=True)
    for path in json.loads((HERE / name / "tree.json").read_text())["empty"]:
        (root / path).mkdir(parents=True)
    below = sorted(root.rglob("*"), key=lambda path: -len(path.parts))
    for number, path in enumerate(below):
        if path.is_symlink():
            continue
        path.chmod((0o755, 0o750)[number % 2] if path.is_dir() else (0o644, 0o640, 0o444)[number % 3])
        moment = 1_600_000_000_000_000_001 + number * 1_000_000_007
        os.utime(path, ns=(moment, moment))
    return Golden(name, root, json.loads((HERE / name / "expected.json").read_text()))


@pytest.fixture(params=LEGACY)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Golden:
    """Each pool that has something to migrate, in turn."""
    return copied(request.param, tmp_path)


@pytest.fixture(params=list(POOLS))
def any_golden(request: pytest.FixtureRequest, tmp_path: Path) -> Golden:
    """Each pool, in turn."""
    return copied(request.param, tmp_path)


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str


Type = "Callable[..., Said]"


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Type a command at a pool; neither a traceback nor an unforeseen error is ever an answer."""

    def run(golden: Golden, *words: str) -> Said:
        capsys.readouterr()
        code = main(["--pool", str(golden.root), *words])
        said = capsys.readouterr()
        assert code in {0, 1, 2, 3}, (words, said)
        assert "Traceback" not in said.err, (words, said.err)
        assert "defect" not in said.err, (words, said.err)
        return Said(code, said.out, said.err)

    return run


# --- the pools themselves -----------------------------------------------------------------------------


def test_the_pools_are_what_their_script_writes(tmp_path: Path) -> None:
    """In a process that cannot find genpool: what is expected is not computed by the code under test."""
    root = HERE.parents[2]
    script = (
        "import sys, types\n"
        "sys.modules['genpool'] = None\n"
        f"sys.path.insert(0, {str(root)!r})\n"
        "from pathlib import Path\n"
        "from tests.golden.pools.write import main\n"
        f"main(Path({str(tmp_path)!r}))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={"PATH": os.environ["PATH"]})
    for name in POOLS:
        assert _files(tmp_path / name) == _files(HERE / name), f"run: python -m tests.golden.pools.write ({name})"


def _files(folder: Path) -> dict[str, bytes | str]:
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_the_older_scheme_is_written_as_real_pools_have_it() -> None:
    vectors = json.loads((HERE.parent / "ids-daydreaming-0.json").read_text())["valid"]
    assert [daydreaming(one["stage"], *one["parts"]) for one in vectors] == [one["gen_id"] for one in vectors]


# --- planning -----------------------------------------------------------------------------------------


def planned(golden: Golden, typed: Callable[..., Said]) -> dict[str, Any]:
    """Plan; the exit code says whether anything stays."""
    said = typed(golden, "migrate", "plan", "--json")
    assert said.code == (3 if golden.staying else 0), said
    found: dict[str, Any] = json.loads(said.out)
    return found


def table(golden: Golden, plan: dict[str, Any], file: str) -> list[dict[str, str]]:
    with (golden.root / "migrations" / plan["migration_id"] / file).open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_generation_gets_the_id_that_was_worked_out_by_hand(golden: Golden, typed: Callable[..., Said]) -> None:
    rows = table(golden, planned(golden, typed), "mapping.csv")
    found = {
        f"{row['place']}/{row['stage']}/{row['old_id']}": (row["reason"], row["new_id"], int(row["replicate"]))
        for row in rows
        if row["place"].endswith("gens")
    }
    assert found == {path: (one["reason"], one["new_id"], one["slot"]) for path, one in golden.moving.items()}
    attempts = {path: new.rpartition("/")[2] for path, new in golden.expected["attempts"].items()}
    assert {
        f"{row['place']}/{row['stage']}/{row['old_id']}": row["new_id"]
        for row in rows
        if row["place"].endswith("attempts")
    } == {path: new for path, new in attempts.items() if not path.endswith(f"/{new}")}


def test_every_defect_is_named_with_its_path_and_nothing_else(golden: Golden, typed: Callable[..., Said]) -> None:
    found = table(golden, planned(golden, typed), "defects.csv")
    blocking = Counter((one["kind"], one["path"]) for one in found if one["path"] not in _noted(golden))
    assert blocking == Counter((one["kind"], one["path"]) for one in golden.staying.values())
    noted = Counter((one["kind"], one["path"]) for one in found if one["path"] in _noted(golden))
    assert noted == Counter((one["kind"], one["path"]) for one in golden.expected["notes"])
    assert all(one["said"] for one in found)


def _noted(golden: Golden) -> set[str]:
    return {one["path"] for one in golden.expected["notes"]}


def test_what_is_what_is_counted(any_golden: Golden, typed: Callable[..., Said]) -> None:
    stages = planned(any_golden, typed)["stages"]
    for stage, counts in stages.items():
        own = [one for path, one in any_golden.generations.items() if path.startswith(f"gens/{stage}/")]
        stays = [one["usable"] for one in own if one["reason"] == "stays"]
        assert counts.get("unusable", 0) == stays.count(False), stage
        assert counts.get("stays", 0) == stays.count(True), stage
        assert counts.get("to change", 0) == sum("new_id" in one for one in own), stage
        older = sum(one["reason"] == "daydreaming/0" for one in own)
        assert counts.get("daydreaming/0", 0) == older, stage
        assert sum(counts.get(one, 0) for one in ("right", "opaque", "daydreaming/0", "unusable")) == len(own), stage


def test_members_are_counted(any_golden: Golden, typed: Callable[..., Said]) -> None:
    plan = planned(any_golden, typed)
    if plan["migration_id"] is not None:
        assert plan["cohorts"] == any_golden.expected["cohorts"]


def test_planning_changes_nothing(any_golden: Golden, typed: Callable[..., Said]) -> None:
    before = whole_tree(any_golden.root)
    one = planned(any_golden, typed)
    assert whole_tree(any_golden.root) == before
    assert planned(any_golden, typed) == one


def test_a_strict_plan_is_not_applied_while_anything_stays(tmp_path: Path, typed: Callable[..., Said]) -> None:
    golden = copied("opaque", tmp_path)
    before = whole_tree(golden.root)
    typed(golden, "migrate", "plan", "--strict")
    assert typed(golden, "migrate", "apply").code == 1
    assert whole_tree(golden.root) == before


def test_nothing_is_made_of_what_is_right(tmp_path: Path, typed: Callable[..., Said]) -> None:
    golden = copied("right", tmp_path)
    plan = planned(golden, typed)
    assert plan["migration_id"] is None
    assert plan["findings"] == []
    assert not (golden.root / "migrations").exists()
    assert typed(golden, "migrate", "apply").code == 1


# --- applying, verifying, and back --------------------------------------------------------------------


def applied(golden: Golden, typed: Callable[..., Said]) -> dict[str, Any]:
    plan = planned(golden, typed)
    said = typed(golden, "migrate", "apply")
    assert said.code == 0, said
    said = typed(golden, "migrate", "verify")
    assert said.code == 0, said
    return plan


def test_after_it_everything_is_where_and_what_it_must_be(golden: Golden, typed: Callable[..., Said]) -> None:
    before = {path: _files(golden.root / path) for path in golden.generations if (golden.root / path).is_dir()}
    applied(golden, typed)
    places: dict[str, set[str]] = {}
    for path, one in golden.generations.items():
        folder, _, name = path.rpartition("/")
        places.setdefault(folder, set()).add(one.get("new_id", name))
        now = golden.root / folder / one.get("new_id", name)
        if path in before:
            _check_generation(before[path], _files(now), one, stage=folder.rpartition("/")[2])
    for folder, names in places.items():
        assert {path.name for path in (golden.root / folder).iterdir()} == names, folder


def _check_generation(
    before: dict[str, bytes | str], now: dict[str, bytes | str], expected: dict[str, Any], stage: str
) -> None:
    """Look that outputs are as they were, and that a record that was rewritten says all that it said."""
    if "new_id" not in expected:
        assert now == before
        return
    was, record = json.loads(before.pop("metadata.json")), json.loads(now.pop("metadata.json"))
    assert now == before
    assert record == self_sealed(record)
    today = {"format": "genpool.generation/1", "id_scheme": "genpool/1", "stage": stage, "gen_id": expected["new_id"]}
    origin = was.get("origin_cohort_id", was.get("cohort_id"))
    today |= {**expected["signature"], **({"origin_cohort_id": origin} if origin else {})}
    assert {name: record[name] for name in today} == today
    unchanged = {name: value for name, value in was.items() if name not in today and name != "self"}
    assert {name: value for name, value in record.items() if name not in today and name != "self"} == unchanged


def test_every_other_file_names_the_new_ids_and_is_else_as_it_was(golden: Golden, typed: Callable[..., Said]) -> None:
    before = _others(golden)
    applied(golden, typed)
    now = _others(golden)
    for path, after in golden.expected["books"].items():
        found = now.pop(path, None)
        before.pop(path)
        if after is None:
            assert found is None, path
        elif path.endswith((".json", ".jsonl")):
            assert _parsed(found) == _parsed(after.encode()), path
        else:
            assert found == after.encode(), path
    slots = now.pop("legacy.csv")
    assert isinstance(slots, bytes)
    assert slots.startswith(before.pop("legacy.csv", b""))  # type: ignore[arg-type]  # a file
    assert now == before


def _others(golden: Golden) -> dict[str, bytes | str]:
    """Return all files but generations, attempts, and the migration's own."""
    return {
        path: data
        for path, data in _files(golden.root).items()
        if not {"gens", "attempts", "migrations", ".genpool"} & {*path.split("/")[:3]}
    }


def _parsed(data: bytes | str | None) -> list[Any]:
    """Return the JSON values of a file; of lines that are none, the lines."""
    assert isinstance(data, bytes)
    try:
        return [json.loads(data)]
    except ValueError:
        return [json.loads(line) if line.endswith(b"}\n") else line for line in data.splitlines(keepends=True)]


def test_attempts_follow_their_tasks(tmp_path: Path, typed: Callable[..., Said]) -> None:
    golden = copied("mixed", tmp_path)
    before = {path: _files(golden.root / path) for path in golden.expected["attempts"]}
    applied(golden, typed)
    for path, new in golden.expected["attempts"].items():
        name = new.rpartition("/")[2]
        now = _files(golden.root / path.rpartition("/")[0] / name)
        assert now.keys() == before[path].keys()
        for file, data in now.items():
            if not file.endswith("metadata.json") or b'"format"' not in before[path][file]:  # type: ignore[operator]
                assert data == before[path][file], (path, file)
                continue
            record = json.loads(data)
            assert record == self_sealed(record)
            assert record["gen_id"] == name


def test_old_ids_lead_to_their_generations(golden: Golden, typed: Callable[..., Said]) -> None:
    applied(golden, typed)
    with (golden.root / "legacy.csv").open(newline="") as lines:
        became = {(row["stage"], row["gen_id"]): row["new_gen_id"] for row in csv.DictReader(lines)}
    aliases = {(stage, old): new for stage, old, new in golden.expected["aliases"]}
    assert aliases.items() <= became.items()
    made = {(path.split("/")[1], one["new_id"]) for path, one in golden.moving.items() if path.startswith("gens/")}
    sample = {stage: (old, new) for stage, old, new in golden.expected["aliases"] if (stage, new) in made}
    assert sample.keys() == {"draft", "essay", "evaluation"}
    for old, new in sample.values():
        assert typed(golden, "show", old).out == typed(golden, "show", new).out


def test_every_old_cohort_reuses_everything(golden: Golden, typed: Callable[..., Said]) -> None:
    applied(golden, typed)
    for cohort in golden.expected["planned"]:
        plan = json.loads(typed(golden, "plan", cohort, "--json").out)
        total = plan["total"]
        assert total["to_make"] == total["incomplete"] == total["legacy_ids"] == 0, (cohort, total)
        assert total["reused"] == total["wanted"] > 0, (cohort, total)


@pytest.mark.parametrize("name", ["daydreaming-0", "mixed"])
def test_tables_say_the_same_afterwards_but_for_ids(name: str, tmp_path: Path, typed: Callable[..., Said]) -> None:
    """What is made anew from the pool equals what it was; in `opaque` there is more, since older keys are read then."""
    golden = copied(name, tmp_path)
    became = {path.rpartition("/")[2]: one["new_id"] for path, one in golden.moving.items() if path.startswith("gens/")}
    cohorts = golden.expected["planned"]
    before = [_told(golden, typed, cohort, became) for cohort in cohorts]
    assert any(texts for _, texts in before)
    applied(golden, typed)
    assert [_told(golden, typed, cohort, {}) for cohort in cohorts] == before


def _told(golden: Golden, typed: Callable[..., Said], cohort: str, became: dict[str, str]) -> tuple[Any, list[Any]]:
    """Return the scores of a cohort and its texts with their lineage, under the ids that they have or get."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(one) for key, one in value.items()}
        if isinstance(value, list):
            return [renamed(one) for one in value]
        return became.get(value, value) if isinstance(value, str) else value

    lines = [json.loads(line) for line in typed(golden, "export", cohort, "--stdout").out.splitlines()]
    texts = sorted((renamed(one) for one in lines), key=lambda one: json.dumps(one, sort_keys=True))
    return renamed(json.loads(typed(golden, "scores", cohort, "--json").out)), texts


def test_back_to_the_byte(golden: Golden, typed: Callable[..., Said]) -> None:
    before = whole_tree(golden.root)
    plan = applied(golden, typed)
    assert whole_tree(golden.root) != before
    assert typed(golden, "migrate", "rollback").code == 0
    assert whole_tree(golden.root) == before
    assert typed(golden, "migrate", "verify").code == 0
    again = planned(golden, typed)
    assert again["migration_id"] == plan["migration_id"]
    assert typed(golden, "migrate", "apply").code == 0
    assert typed(golden, "migrate", "verify").code == 0
    assert typed(golden, "migrate", "close").code == 0
    left = json.loads(typed(golden, "migrate", "plan", "--json").out)
    assert left["migration_id"] is None, "nothing is left to do"


def test_a_rehearsal_leaves_the_pool_as_it_is(golden: Golden, typed: Callable[..., Said]) -> None:
    before = whole_tree(golden.root)
    planned(golden, typed)
    said = typed(golden, "migrate", "rehearse")
    assert said.code == 0, said
    assert whole_tree(golden.root) == before


# --- every verb -----------------------------------------------------------------------------------------


def questions(golden: Golden) -> Iterator[tuple[str, ...]]:
    """Yield commands that ask something of a pool, of every cohort and of some of every kind of generation."""
    yield from [("status",), ("status", "--json"), ("ls",), ("ls", "--json"), ("doctor",), ("doctor", "--json")]
    yield from [("audit", "spend"), ("audit", "spend", "--json"), ("trash", "ls"), ("migrate", "status")]
    for cohort in sorted(path.name for path in (golden.root / "cohorts").iterdir()):
        yield from [(verb, cohort) for verb in ("plan", "ls", "status", "missing")]
        yield ("drift", "show", cohort)
        yield from [("purge", cohort), ("plan", cohort, "--json"), ("ls", cohort, "--stage", "essay")]
        yield from [("manifest", "build", cohort), ("manifest", "check", cohort, "--deep"), ("scores", cohort)]
    seen = set()
    for path, one in golden.generations.items():
        what = (path.split("/")[-2], one["reason"], one.get("kind"))
        if what not in seen:
            seen.add(what)
            yield from [("show", Path(path).name), ("why", Path(path).name), ("show", Path(path).name, "--json")]


@pytest.mark.parametrize("when", ["before", "after"])
def test_no_verb_fails_where_it_should_answer(any_golden: Golden, typed: Callable[..., Said], when: str) -> None:
    if when == "after" and any_golden.moving:
        applied(any_golden, typed)
    unforeseen = []
    for words in questions(any_golden):
        said = typed(any_golden, *words)
        if said.code not in {0, 1, 3} and "no command is named" not in said.err:
            unforeseen.append((words, said.err))
    assert unforeseen == []


def test_the_doctor_names_what_stays_and_nothing_that_was_migrated(golden: Golden, typed: Callable[..., Said]) -> None:
    applied(golden, typed)
    findings = json.loads(typed(golden, "doctor", "--json").out)["findings"]
    moved = {f"{path.rpartition('/')[0]}/{one['new_id']}" for path, one in golden.moving.items()}
    assert not [
        one for one in findings if one["path"].removesuffix("/metadata.json") in moved and one["severity"] != "note"
    ]
    named = " ".join(one["path"] for one in findings)
    unusable = [
        path for path, one in golden.staying.items() if not one["usable"] and one["kind"] != "disagreeing-keys"
    ]  # keys that only a migration reads are the doctor's affair no more than a plan's
    assert [path for path in unusable if path not in named] == []


def test_digests_are_of_the_files_as_they_were(golden: Golden, typed: Callable[..., Said]) -> None:
    """The plan's digests.csv is set against the golden files, not against a copy that genpool could have touched."""
    rows = table(golden, planned(golden, typed), "digests.csv")
    stated = {row["path"]: row["sha256"] for row in rows}
    for path in golden.moving:
        data = (HERE / golden.name / "pool" / path / "metadata.json").read_bytes()
        assert stated[path] == hashlib.sha256(data).hexdigest()
