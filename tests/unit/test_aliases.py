"""Old ids lead to their generations, in every place that takes an id; what bears an id now is never taken for one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from genpool.aliases import read_aliases
from genpool.cli.main import main
from genpool.errors import NotFound
from genpool.layout import PoolLayout
from genpool.membership import find_members, read_membership
from genpool.migration.migrations import Migrations
from genpool.migration.targets import change_to
from genpool.pool import Pool
from genpool.signatures import Signature
from tests.legacy_pools import right_id, write_legacy
from tests.small_pools import EVALUATIONS, make_pool, models, write_spec

if TYPE_CHECKING:
    from pathlib import Path

DRAFT = right_id("draft", {"combo_id": "row-0", "template_id": "plain", "llm_model_id": "writer", "replicate": 1})
ESSAY = right_id("essay", {"parent_gen_id": DRAFT, "template_id": "story", "replicate": 1})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pool that was migrated: `old-draft` and `old-essay` have their ids of today."""
    root = make_pool(tmp_path / "pool", rows=1).root
    write_legacy(root, "draft", "old-draft", "row-0", "plain", "writer", replicate=1)
    write_legacy(root, "essay", "old-essay", "old-draft", "story", replicate=1)
    migrate(root)
    write_spec(root, essay="template: [story, same]", evaluation=EVALUATIONS)
    Pool.open(root).run("c", models=models())
    return root


def migrate(root: Path, salt: str | None = None) -> None:
    at = Migrations(PoolLayout(root))
    plan = at.write(at.plan(*change_to(PoolLayout(root), salt=salt)))
    at.apply(plan.migration_id)
    at.close(plan.migration_id, unverified=True)


def said(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["--pool", str(root), *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("typed", ["old-essay", "old-e"])
def test_show_and_why_take_old_ids(root: Path, capsys: pytest.CaptureFixture[str], typed: str) -> None:
    assert said(root, capsys, "show", typed) == said(root, capsys, "show", ESSAY)
    if typed == "old-essay":
        assert ESSAY in said(root, capsys, "why", typed)


def test_a_beginning_of_several_is_no_id(root: Path) -> None:
    with pytest.raises(NotFound):
        Pool.open(root).find_generation("old-")


def test_a_parent_may_be_given_by_its_old_id(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = ("parent_gen_id=old-draft", "template_id=story", "replicate=1")
    assert said(root, capsys, "id", "essay", *fields).strip() == ESSAY
    assert ESSAY in said(root, capsys, "why", "essay", *fields)
    for listed in (("ls", "c"), ("ls",)):
        assert ESSAY in said(root, capsys, *listed, "--stage", "essay", "--where", "parent=old-draft")


def test_an_old_membership_resolves(root: Path) -> None:
    path = root / "cohorts/c/membership.csv"
    path.write_text(path.read_text().replace(DRAFT, "old-draft").replace(ESSAY, "old-essay"))
    scope = Pool.open(root).scope("c")
    assert DRAFT in scope.member_ids
    assert ESSAY in scope.member_ids
    assert sum(counts.missing for counts in scope.counts().values()) == 0


@pytest.mark.parametrize("typed", ["old-", "old-draft", "old-e", "d_", "e_", "v_"])
def test_members_are_found_by_present_ids_in_an_old_membership(root: Path, typed: str) -> None:
    layout, pipeline = PoolLayout(root), Pool.open(root).config.pipeline
    path = layout.membership("c")
    now = {one.gen_id for one in read_membership(layout, pipeline, "c")}
    path.write_text(path.read_text().replace(DRAFT, "old-draft").replace(ESSAY, "old-essay"))
    members = read_membership(layout, pipeline, "c")
    assert {one.gen_id for one in members} == now
    for beginning in (typed, *(one.gen_id for one in members)):
        found = find_members(layout, pipeline, "c", beginning)
        assert found == [one for one in members if one.gen_id.startswith(beginning)]


def test_a_spec_may_start_from_old_ids(root: Path) -> None:
    folder = root / "cohorts/again"
    folder.mkdir()
    spec = "format: genpool.cohort/1\nfrom: [old-essay]\nevaluation: {template: [clarity], model: [judge]}\n"
    (folder / "cohort.yaml").write_text(spec)
    plan = Pool.open(root).plan("again")
    assert plan.to_make == 0
    assert plan.stage("essay").gen_ids == [ESSAY]


def test_a_list_of_tasks_may_have_old_ids(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    task = {"stage": "essay", "gen_id": "old-essay", "parent_gen_id": "old-draft", "template_id": "story"}
    file.write_text(json.dumps({**task, "replicate": 1}))
    assert Pool.open(root).run("c", models=models(), only=file).calls == 0


def test_ids_of_two_migrations_lead_on(root: Path) -> None:
    migrate(root, "pepper")
    found = Pool.open(root).find_generation("old-draft")
    assert found.gen_id == Pool.open(root).find_generation(DRAFT).gen_id != DRAFT
    stage = Pool.open(root).config.pipeline["essay"]
    fields = {"parent_gen_id": "old-draft", "template_id": "story", "replicate": 1}
    assert read_aliases(PoolLayout(root)).signature(Signature.of(stage, fields)).source == found.gen_id


def test_what_bears_an_id_comes_before_what_had_it(root: Path) -> None:
    write_legacy(root, "draft", "old-draft", "row-0", "long", "writer", replicate=1)
    assert Pool.open(root).find_generation("old-draft").signature["template_id"] == "long"


def test_circles_and_damaged_lines_are_no_aliases(root: Path) -> None:
    with (root / "legacy.csv").open("a") as file:
        file.write('draft,x,1,y\ndraft,y,1,x\ndraft,"torn\ndraft,../z,1,w\n')
    aliases = read_aliases(PoolLayout(root))
    assert aliases.resolve("draft", "x") in {"x", "y"}
    assert aliases.resolve("draft", "../z") == "../z"
    assert aliases.resolve("draft", "old-draft") == DRAFT
