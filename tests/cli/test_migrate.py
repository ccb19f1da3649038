"""`genpool migrate` as a user types it: what it says, exit codes, --json; what is wrong is told without a traceback."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from genpool.cli.main import main
from genpool.layout import PoolLayout
from genpool.migration.migrations import Migrations
from tests.cli.conftest import Typed
from tests.cli.test_migration_runbook import mixed_pool
from tests.legacy_pools import write_legacy
from tests.unit.migration.conftest import whole_tree
from tests.unit.migration.test_applying import killed_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Type = Callable[..., Typed]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return mixed_pool(tmp_path / "pool")


@pytest.fixture
def genpool(root: Path, capsys: pytest.CaptureFixture[str]) -> Type:
    """Type a command at the pool."""

    def typed(*words: str) -> Typed:
        capsys.readouterr()
        code = main(["--pool", str(root), *words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Typed(code, said.out, said.err)

    return typed


def plan(genpool: Type) -> str:
    found: str = genpool("migrate", "plan", "--json").json["migration_id"]
    return found


def test_a_plan_as_json_has_every_finding(genpool: Type) -> None:
    typed = genpool("migrate", "plan", "--json")
    assert typed.code == 3
    assert typed.json["format"] == "genpool.migration/1"
    assert [one["kind"] for one in typed.json["findings"] if one["blocks"]] == ["orphan"]
    assert typed.json["changes"] == {"opaque": 5, "parent": 1}


def test_a_plan_of_what_can_all_be_migrated_ends_with_0(root: Path, genpool: Type) -> None:
    os.rename(root / "gens/essay/essay-0031", root / "away")  # noqa: PTH104 - out of the pool's stages
    assert genpool("migrate", "plan").code == 0


def test_every_batch_is_a_line_of_json(genpool: Type) -> None:
    plan(genpool)
    lines = [json.loads(line) for line in genpool("migrate", "apply", "--json").out.splitlines()]
    assert [line.get("what") for line in lines[:-1]] == ["aliases", "generations", "books"]
    assert lines[-1]["state"] == "applied"
    assert lines[-2]["done"] == lines[-2]["all"]
    document = genpool("migrate", "verify", "--json").json
    assert document["right"] is True
    assert genpool("migrate", "status", "--json").json["migrations"][0]["verified"] is True


def test_a_rehearsal_as_json_is_a_document_a_line_to_its_last(genpool: Type) -> None:
    plan(genpool)
    lines = [json.loads(line) for line in genpool("migrate", "rehearse", "--json").out.splitlines()]
    assert all("batch" in line for line in lines[:-1])
    assert (lines[-1]["format"], lines[-1]["right"]) == ("genpool.migration-report/1", True)


def test_verifying_what_was_harmed_ends_with_1(root: Path, genpool: Type) -> None:
    plan(genpool)
    genpool("migrate", "apply")
    next(root.glob("gens/draft/*/parsed.txt")).write_text("\x1b[31mharm")
    typed = genpool("migrate", "verify")
    assert typed.code == 1
    assert "problem: gens/draft/" in typed.out
    assert genpool("migrate", "status").out.count("with problems") == 1


def test_what_models_and_people_wrote_is_shown_not_obeyed(root: Path, genpool: Type) -> None:
    write_legacy(root, "draft", "odd", "row-0", "pl\x1b[31main", "writer", replicate=1)
    typed = genpool("migrate", "plan")
    assert "\x1b" not in typed.out
    assert "invalid-value" in typed.out


WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such migration": (("apply", "migration-0"), 1, "there is no migration 'migration-0'"),
    "a path": (("status", "../x"), 1, "not a name that a file can have"),
    "nothing to resume": (("resume",), 1, "no migration is applying"),
    "nothing to roll back": (("rollback",), 1, "no migration is"),
    "not applied": (("verify",), 1, "no migration is"),
    "a set without a config": (("plan", "--set", "essay.model=x"), 2, "--config"),
    "no set": (("plan", "--set", "essay"), 2, "STAGE.AXIS=VALUE"),
    "a salt that is none": (("plan", "--salt", " x"), 1, "white space"),
    "no such file": (("plan", "--config", "nowhere.yaml"), 1, "nowhere.yaml"),
    "no such verb": (("undo",), 2, "No such command"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told(root: Path, genpool: Type, what: str) -> None:
    words, code, said = WRONG[what]
    before = whole_tree(root)
    typed = genpool("migrate", *words)
    assert (typed.code, said in typed.err) == (code, True), typed
    assert whole_tree(root) == before


def test_two_that_could_be_meant(root: Path, genpool: Type) -> None:
    plan(genpool)
    genpool("migrate", "plan", "--salt", "pepper")
    typed = genpool("migrate", "apply")
    assert typed.code == 1
    assert "2 migrations are planned" in typed.err


def test_half_done_it_is_said_by_readers_and_in_the_way_of_others(root: Path, genpool: Type) -> None:
    name = plan(genpool)
    assert killed_at(30, lambda: Migrations(PoolLayout(root), batch=2).apply(name))
    assert Migrations(PoolLayout(root)).standing(name).state == "applying"
    assert "interrupted; go on:" in genpool("migrate", "status").out
    for words in (("status",), ("ls", "spring"), ("show", "essay-0012")):
        typed = genpool(*words)
        assert typed.code == 0, typed
        assert "is being applied" in typed.err
    for words in (("plan", "spring"), ("run", "spring"), ("purge", "spring", "--yes"), ("migrate", "plan")):
        typed = genpool(*words)
        assert typed.code == 1
        assert f"`genpool --pool {root} migrate resume {name}`" in typed.err
    assert genpool("migrate", "resume").code == 0
    assert genpool("migrate", "verify").code == 0
    assert genpool("status").err == ""
