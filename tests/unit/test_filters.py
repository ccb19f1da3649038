"""Filters: a task's own fields, those above it, whose run made it; and what nothing has is an error."""

from __future__ import annotations

import csv
import json
import shutil
from itertools import product
from typing import TYPE_CHECKING

import pytest

from genpool.errors import InvalidPipeline, UsageError
from genpool.pool import Pool
from tests.legacy_pools import write_legacy
from tests.small_pools import EVALUATIONS, make_pool, metadata, models, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MEMBERS = {"draft": 4, "essay": 8, "evaluation": 16}
"""The members of `second`."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Cohort `first` of row 0 and one template; `second` of rows 0 and 1, two draft and two essay templates."""
    made = make_pool(tmp_path_factory.mktemp("pools") / "pool", rows=1)
    write_spec(made.root, "first", essay="template: [story]", evaluation=EVALUATIONS)
    made.run("first", models=models())
    write_rows(made.root, [0, 1])
    drafts = "template: [plain, long], model: [writer]"
    write_spec(made.root, "second", draft=drafts, essay="template: [story, letter]", evaluation=EVALUATIONS)
    Pool.open(made.root).run("second", models=models())
    return Pool.open(made.root)


def lineages(root: Path, cohort: str) -> list[tuple[str, dict[str, dict[str, object]]]]:
    """Return the members' ids, each with the metadata of its lineage by stage, read without genpool."""
    parents = {"evaluation": "essay", "essay": "draft"}
    found = []
    with (root / "cohorts" / cohort / "membership.csv").open() as file:
        for row in csv.DictReader(file):
            stage, gen_id = row["stage"], row["gen_id"]
            chain = {stage: metadata(root, stage, gen_id)}
            while stage in parents:
                gen_id, stage = str(chain[stage]["parent_gen_id"]), parents[stage]
                chain[stage] = metadata(root, stage, gen_id)
            found.append((row["gen_id"], chain))
    return found


def wanted(
    root: Path, where: Mapping[str, Iterable[str]], origins: Iterable[str] = (), stage: str | None = None
) -> list[str]:
    """Return the members of `second` that a filter must find, by reading every file."""
    names = {"template": "template_id", "model": "llm_model_id", "combo": "combo_id"}
    kept = []
    for gen_id, chain in lineages(root, "second"):
        own = next(iter(chain))
        meets = stage in {None, own} and (not list(origins) or chain[own]["origin_cohort_id"] in origins)
        for typed, levels in where.items():
            of, _, name = typed.rpartition(".")
            record = chain.get(of or own, {})
            meets = meets and str(record.get(names.get(name, name), "")) in set(levels)
        if meets:
            kept.append(gen_id)
    return kept


@pytest.mark.parametrize(
    ("where", "origins", "stage"),
    [
        *product(
            [
                {},
                {"template": ["plain"]},
                {"template": ["plain", "letter"]},
                {"draft.template": ["long"]},
                {"draft.template": ["plain"], "template": ["story", "clarity"]},
                {"draft.combo": ["row-1"]},
                {"replicate": ["1"]},
            ],
            [(), ("first",), ("second",), ("first", "second")],
            [None],
        ),
        ({"essay.template": ["letter"], "replicate": ["2"]}, (), "evaluation"),
        ({"draft.template": ["plain"]}, ("first",), "evaluation"),
        ({"draft.template": ["plain", "long"], "draft.combo_id": ["row-0"]}, (), "essay"),
        ({"model": ["judge", "writer"]}, (), None),
    ],
)
def test_a_filter_finds_what_reading_every_file_finds(
    pool: Pool, where: dict[str, list[str]], origins: tuple[str, ...], stage: str | None
) -> None:
    found = pool.scope("second").matching(stage, where=where, origins=origins)
    assert [one.gen_id for one in found.members] == wanted(pool.root, where, origins, stage)
    assert found.unread == ()
    everywhere = pool.matching(stage, where=where, origins=origins)
    assert sorted(one.gen_id for one in everywhere.members) == sorted(wanted(pool.root, where, origins, stage))


def test_without_a_filter_all_members_are_found_in_plan_order(pool: Pool) -> None:
    scope = pool.scope("second")
    assert tuple(one.gen_id for one in scope.matching().members) == scope.member_ids
    assert [len(scope.matching(stage).members) for stage in MEMBERS] == list(MEMBERS.values())


def test_a_field_has_the_name_that_people_write_and_that_of_the_file(pool: Pool) -> None:
    scope = pool.scope("second")
    essay = scope.matching("essay").members[0]
    for typed in ("template", "template_id"):
        assert len(scope.matching("draft", where={typed: ["plain"]}).members) == 2
    for typed in ("parent", "parent_gen_id"):
        assert scope.matching(where={typed: [str(essay.fields["parent_gen_id"])]}).members[0] == essay
    both = scope.matching("draft", where={"template": ["plain"], "template_id": ["long"]})
    assert len(both.members) == 4, "two names of one field add their levels"


def test_states_are_asked_for_besides(pool: Pool) -> None:
    scope = pool.scope("second")
    reused = scope.matching(where={"draft.template": ["plain"]}, states=["reused"]).members
    assert [one.stage for one in reused] == ["draft", "essay", "evaluation", "evaluation"]
    assert {one.state for one in pool.matching("draft").members} == {"made"}


# --- what nothing has -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "typed", "said", "hint"),
    [
        (None, "tempate", "no stage has a field 'tempate'", "did you mean 'template'?"),
        ("essay", "tempate", "stage 'essay' has no field 'tempate'", "did you mean 'template'?"),
        ("essay", "model", "stage 'essay' has no field 'model'", "did you mean 'draft.model'?"),
        ("evaluation", "combo", "stage 'evaluation' has no field 'combo'", "did you mean 'draft.combo'?"),
        (None, "drft.template", "no stage is named 'drft'", "did you mean 'draft'?"),
        (None, "draft.parent", "stage 'draft' has no field 'parent'", "known: combo, model, replicate, template"),
        ("draft", "essay.template", "'essay' is neither 'draft' nor a stage above it", "known: draft"),
    ],
)
def test_an_unknown_field_is_told_with_the_nearest(
    pool: Pool, stage: str | None, typed: str, said: str, hint: str
) -> None:
    for ask in (pool.matching, pool.scope("second").matching):
        with pytest.raises(UsageError) as refused:
            ask(stage, where={typed: ["plain"]})
        assert said in refused.value.message
        assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("typed", "level", "hint"),
    [
        ("template", "plan", "did you mean 'plain'?"),
        ("draft.template", "story", "known: long, plain"),
        ("replicate", "9", "known: 1, 2"),
        ("replicate", "01", "did you mean '1'?"),
    ],
)
def test_an_unknown_level_is_told_with_the_nearest(pool: Pool, typed: str, level: str, hint: str) -> None:
    for ask in (pool.matching, pool.scope("second").matching):
        with pytest.raises(UsageError) as refused:
            ask(where={typed: [level]})
        assert refused.value.message == f"nothing here has {typed} = {level!r}"
        assert refused.value.hint == hint


def test_one_unknown_level_among_known_ones_is_told(pool: Pool) -> None:
    with pytest.raises(UsageError, match="'plan'"):
        pool.scope("second").matching(where={"template": ["plain", "plan"]})


def test_an_unknown_origin_is_told_and_a_cohort_that_made_nothing_is_none(pool: Pool) -> None:
    with pytest.raises(UsageError) as refused:
        pool.matching(origins=["frst"])
    assert refused.value.hint == "did you mean 'first'?"
    assert pool.scope("first").matching(origins=["second"]).members == ()


def test_no_level_and_no_such_stage_are_refused(pool: Pool) -> None:
    with pytest.raises(UsageError, match="no level"):
        pool.matching(where={"template": []})
    with pytest.raises(InvalidPipeline, match="esay"):
        pool.matching("esay")


# --- what is not there, or not whole ----------------------------------------------------------------


@pytest.fixture
def torn(pool: Pool, tmp_path: Path) -> Pool:
    """The same pool, to be damaged."""
    shutil.copytree(pool.root, tmp_path / "pool")
    shutil.rmtree(tmp_path / "pool" / ".genpool")
    return Pool.open(tmp_path / "pool")


def test_missing_members_are_found_by_what_the_membership_says_of_them(torn: Pool) -> None:
    where = {"draft.template": ["plain"], "draft.combo": ["row-1"]}
    expected = wanted(torn.root, where)
    for stage in MEMBERS:
        shutil.rmtree(torn.root / "gens" / stage)
    found = torn.scope("second").matching(where=where)
    assert [one.gen_id for one in found.members] == expected
    assert {one.state for one in found.members} == {"missing"}
    assert torn.scope("second").matching(origins=["first"]).members == ()


def below_essays(pool: Pool) -> list[str]:
    """Make a cohort that starts from the essays of `second`; return their drafts' ids."""
    folder = pool.root / "cohorts" / "below"
    folder.mkdir()
    text = f"format: genpool.cohort/1\nfrom: {{union: [second], stage: essay}}\nevaluation: {{{EVALUATIONS}}}\n"
    (folder / "cohort.yaml").write_text(text)
    pool.run("below", models=models())
    return [gen_id for gen_id, chain in lineages(pool.root, "second") if next(iter(chain)) == "draft"]


def test_what_is_above_the_roots_of_a_cohort_is_read_from_the_store(torn: Pool) -> None:
    drafts = below_essays(torn)
    found = torn.scope("below").matching("evaluation", where={"draft.template": ["plain"]})
    assert sorted(one.gen_id for one in found.members) == sorted(
        wanted(torn.root, {"draft.template": ["plain"]}, stage="evaluation")
    )
    shutil.rmtree(torn.root / "gens" / "draft" / drafts[0])
    again = torn.scope("below").matching("evaluation", where={"draft.template": ["plain"]})
    assert (len(again.members), len(again.unread)) == (4, 4)
    assert {*(one.gen_id for one in again.members), *again.unread} == {one.gen_id for one in found.members}
    story = torn.scope("below").matching("evaluation", where={"draft.template": ["plain"], "essay.template": ["story"]})
    assert (len(story.members), len(story.unread)) == (2, 2), "what cannot fit anyway is not in doubt"
    assert len(torn.scope("below").matching("evaluation", states=["own"]).unread) == 0


def test_in_the_whole_pool_what_is_damaged_is_told_of(torn: Pool) -> None:
    draft = torn.scope("second").member_ids[0]
    (torn.root / "gens" / "draft" / draft / "metadata.json").write_text("{")
    found = torn.matching("draft", where={"template": ["plain", "long"]})
    assert (len(found.members), found.unread) == (3, (draft,))
    below = torn.matching("essay", where={"draft.template": ["long"]})
    assert (len(below.members), len(below.unread)) == (4, 2)


def test_a_foreign_membership_with_two_columns_will_do(torn: Pool) -> None:
    path = torn.root / "cohorts" / "second" / "membership.csv"
    lines = [",".join(line.split(",")[:2]) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    where = {"draft.template": ["long"], "template": ["letter"]}
    found = torn.scope("second").matching(where=where)
    assert [one.gen_id for one in found.members] == wanted(torn.root, where)


def test_a_legacy_replicate_is_its_slot(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, rows=1)
    write_legacy(pool.root, "draft", "old-1", "row-0", "plain", "writer", created_at="2020-01-01")
    write_legacy(pool.root, "draft", "old-2", "row-0", "plain", "writer", created_at="2021-01-01", replicate="0")
    write_spec(pool.root, draft="template: [plain], model: [writer], replicates: 2")
    assert pool.run("c", models=models()).made == 0
    assert [one.gen_id for one in pool.scope("c").matching(where={"replicate": ["2"]}).members] == ["old-2"]
    (found,) = pool.matching(where={"replicate": ["2"]}).members
    assert (found.gen_id, found.fields["replicate"]) == ("old-2", 2)
    assert json.loads((tmp_path / "gens/draft/old-2/metadata.json").read_text())["replicate"] == "0"
