"""Cohorts that start from generations that exist: which these are, what is made below them, when they are frozen."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.errors import InvalidSpec
from genpool.planner import State
from genpool.pool import Pool
from genpool.testing import ScriptedModel
from tests.small_pools import (
    ESSAYS,
    EVALUATIONS,
    generations,
    make_pool,
    models,
    seeds_of,
    tree,
    whole_cohort,
    write_rows,
    write_spec,
)

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.errors import Problem


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """A pool in which cohorts `a` (rows 0, 1) and `b` (rows 1, 2) have drafts and essays."""
    pool = make_pool(tmp_path / "pool")
    write_rows(pool.root, [1, 2], "others.csv")
    write_spec(pool.root, "a", essay=ESSAYS)
    write_spec(pool.root, "b", rows="others.csv", essay=ESSAYS)
    for name in ("a", "b"):
        assert pool.run(name, models=models()).complete
    return pool


def start(pool: Pool, source: str, cohort_id: str = "c", **stages: str) -> str:
    """Write a cohort that starts from something; judgements below it unless stages are given."""
    folder = pool.root / "cohorts" / cohort_id
    folder.mkdir(parents=True, exist_ok=True)
    chosen = stages or {"evaluation": EVALUATIONS}
    sections = "".join(f"{stage}: {{{inside}}}\n" for stage, inside in chosen.items())
    (folder / "cohort.yaml").write_text(f"format: genpool.cohort/1\nfrom: {source}\n{sections}")
    return cohort_id


def members(pool: Pool, cohort_id: str, stage: str) -> list[str]:
    return [one.gen_id for one in pool.scope(cohort_id).members(stage)]


def told(pool: Pool, cohort_id: str = "c") -> list[Problem]:
    before = tree(pool.root)
    with pytest.raises(InvalidSpec) as caught:
        pool.plan(cohort_id)
    assert tree(pool.root) == before
    return list(caught.value.problems)


UNION = "{union: [a, b], stage: essay}"


# --- what is made -----------------------------------------------------------------------------------


def test_judgements_over_the_essays_of_two_cohorts_and_exactly_these(pool: Pool) -> None:
    before = generations(pool.root)
    start(pool, UNION)
    essays = list(dict.fromkeys([*members(pool, "a", "essay"), *members(pool, "b", "essay")]))
    plan = pool.plan("c")
    assert [stage.stage.name for stage in plan.stages] == ["essay", "evaluation"]
    assert plan.stage("essay").gen_ids == essays
    assert plan.stage("essay").counts()[State.REUSE] == len(essays) == 6
    judge = ScriptedModel()
    report = pool.run("c", models=models(judge=judge))
    assert report.complete
    assert (report.made, report.calls) == (12, 12)
    assert report.stages["essay"].reused == 6
    made = generations(pool.root) - before
    judged = [(pool.store.record(pool.config.pipeline[stage], one).signature, stage) for stage, one in made]
    assert {stage for _, stage in judged} == {"evaluation"}
    assert sorted((one.source, one.replicate) for one, _ in judged) == sorted((e, n) for e in essays for n in (1, 2))
    assert {request.seed for request in judge.requests} == {
        seed for seed, gen_id in seeds_of(plan).items() if gen_id in {one for _, one in made}
    }
    assert pool.run("c", models=models()).made == 0


def test_the_ids_are_those_of_a_cohort_from_the_top(pool: Pool) -> None:
    start(pool, "{union: [a], stage: essay}")
    whole_cohort(pool.root, "top")
    assert pool.plan("c").stage("evaluation").gen_ids == pool.plan("top").stage("evaluation").gen_ids


def test_roots_are_members_and_their_ancestors_are_lineage(pool: Pool) -> None:
    start(pool, UNION)
    pool.run("c", models=models())
    assert {one.stage for one in pool.scope("c").members()} == {"essay", "evaluation"}
    counts = pool.scope("c").counts()
    assert (counts["essay"].reused, counts["evaluation"].own) == (6, 12)
    [mean] = {one.judged for one in pool.scope("c").mean_scores()} - {"plain → same"}
    assert mean == "plain → story"


def test_a_child_without_a_model_runs_on_that_of_its_draft_and_reads_it(pool: Pool) -> None:
    """Essays below drafts that exist: their model is the draft's, which is in no stage of this cohort's own."""
    start(pool, "{union: [a], stage: draft}", essay="template: [letter]", evaluation=EVALUATIONS)
    writer = ScriptedModel()
    assert pool.run("c", models=models(writer=writer)).complete
    assert len(writer.requests) == 2
    drafts = [pool.store.record(pool.config.pipeline["draft"], one) for one in members(pool, "a", "draft")]
    texts = [pool.store.text(one) for one in drafts]
    assert all(any(text in str(request.messages()) for text in texts) for request in writer.requests)


def test_a_template_reads_every_ancestor_through_the_lineage(pool: Pool) -> None:
    template = pool.root / "templates/evaluation/clarity.j2"
    template.write_text(template.read_text().replace("{{ essay.text }}", "{{ draft.text }} AND {{ essay.text }}"))
    start(pool, UNION)
    judge = ScriptedModel()
    assert pool.run("c", models=models(judge=judge)).complete
    record = pool.store.record(pool.config.pipeline["essay"], members(pool, "a", "essay")[0])
    draft = pool.store.record(pool.config.pipeline["draft"], record.signature.source)
    wanted = f"{pool.store.text(draft)} AND {pool.store.text(record)}"
    assert any(wanted in str(request.prompt.as_text()) for request in judge.requests)


def test_roots_alone_are_a_cohort(pool: Pool) -> None:
    folder = pool.root / "cohorts" / "c"
    folder.mkdir()
    (folder / "cohort.yaml").write_text(f"format: genpool.cohort/1\nfrom: {UNION}\n")
    report = pool.run("c")
    assert report.complete
    assert len(members(pool, "c", "essay")) == 6


def test_rules_couple_the_axes_below_the_roots(pool: Pool) -> None:
    rule = "\nrules: {pairs: [{left: essay.template, right: evaluation.model, allowed: [[story, judge]]}]}"
    both = "template: [story, letter]"
    start(pool, "{union: [a], stage: draft}", essay=both, evaluation="template: [clarity], model: [judge, writer]")
    path = pool.root / "cohorts/c/cohort.yaml"
    path.write_text(path.read_text() + rule.lstrip("\n") + "\n")
    plan = pool.plan("c")
    assert [len(stage) for stage in plan.stages] == [2, 2, 4]
    assert "essay.template: 'letter' is left out by the rules" in plan.notes


def test_names_of_the_roots_may_be_gone(pool: Pool) -> None:
    """Roots are taken as they are: neither their templates nor their rows are needed, and they do not drift."""
    start(pool, UNION)
    shutil.rmtree(pool.root / "templates/essay")
    shutil.rmtree(pool.root / "templates/draft")
    (pool.root / "rows.csv").unlink()
    plan = pool.plan("c")
    assert plan.drift == ()
    assert pool.run("c", models=models()).complete
    assert pool.drift_diffs("c") == []


def test_below_a_draft_that_was_removed_nothing_is_made_and_it_is_told(pool: Pool) -> None:
    start(pool, "{union: [a], stage: essay}")
    gone = members(pool, "a", "draft")[0]
    shutil.rmtree(pool.root / "gens/draft" / gone)
    plan = pool.plan("c")
    assert plan.stage("evaluation").counts()[State.BLOCKED] == 4
    assert plan.to_make == 4
    [note] = [note for note in plan.notes if gone in note]
    assert note.endswith("what is to be made below is blocked")
    report = pool.run("c", models=models())
    assert (report.made, report.stages["evaluation"].blocked) == (4, 4)
    assert pool.plan("c").drift == ()


def test_essays_below_a_draft_that_was_removed_have_no_model_but_are_still_planned(pool: Pool) -> None:
    start(pool, "{union: [a], stage: essay}")
    pool.run("c", models=models())
    shutil.rmtree(pool.root / "gens/draft")
    plan = pool.plan("c")
    assert plan.missing == 0
    assert plan.drift == ()


def test_what_ran_on_the_model_of_a_removed_draft_is_still_reused(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "deep")
    with (pool.root / "pool.yaml").open("a") as file:
        file.write(
            "pipeline:\n  draft: {prefix: d, axes: [template, model]}\n"
            "  essay: {prefix: e, parent: draft, axes: [template]}\n"
            "  echo: {prefix: o, parent: essay, axes: [template]}\n"
        )
    (pool.root / "templates/echo").mkdir()
    (pool.root / "templates/echo/again.j2").write_text("{{ essay }} again")
    pool = Pool.open(pool.root)
    write_spec(pool.root, "a", essay="template: [story]")
    pool.run("a", models=models())
    start(pool, "{union: [a], stage: essay}", echo="template: [again]")
    writer = ScriptedModel()
    assert pool.run("c", models=models(writer=writer)).complete
    assert len(writer.requests) == 2, "an echo runs on the model of its draft, two stages above"
    gone = pool.plan("c").lineage[0].gen_ids[0]
    shutil.rmtree(pool.root / "gens/draft" / gone)
    plan = pool.plan("c")
    assert plan.missing == 0
    assert plan.drift == ()
    echoes = plan.stage("echo")
    assert [plan.model_of(echoes, index) for index in range(2)] == [None, "writer"]
    start(pool, "{union: [a], stage: essay}", echo="template: [again], replicates: 2")
    assert (pool.plan("c").to_make, pool.plan("c").missing) == (1, 2)


def legacy(pool: Pool, stage: str, gen_id: str, old: str, **changed: object) -> None:
    """Make a generation one that an older program wrote: its id is not that of its signature."""
    folder = pool.root / "gens" / stage
    (folder / gen_id).rename(folder / old)
    path = folder / old / "metadata.json"
    value = {**json.loads(path.read_text()), "gen_id": old, **changed}
    for name in ("format", "id_scheme"):
        value.pop(name, None)
    path.write_text(json.dumps(value))


def test_roots_with_legacy_ids_and_legacy_parents(pool: Pool) -> None:
    [draft, *_] = members(pool, "a", "draft")
    record = next(one.record for one in pool.scope("a").members("essay") if one.fields["parent_gen_id"] == draft)
    assert record is not None
    legacy(pool, "draft", draft, "olddraft01")
    legacy(pool, "essay", record.gen_id, "oldessay01", parent_gen_id="olddraft01")
    start(pool, "[oldessay01]", evaluation=EVALUATIONS)
    plan = pool.plan("c")
    assert plan.stage("essay").legacy == {"oldessay01"}
    assert plan.stage("essay").source_ids == ["olddraft01"]
    assert pool.run("c", models=models()).complete
    judged = [one.fields["parent_gen_id"] for one in pool.scope("c").members("evaluation")]
    assert judged == ["oldessay01", "oldessay01"]
    assert "essay,oldessay01,1," in (pool.root / "legacy.csv").read_text()


# --- which they are ---------------------------------------------------------------------------------


def test_a_list_a_csv_and_a_text_mean_the_same(pool: Pool) -> None:
    essays = members(pool, "a", "essay")[::-1]
    (pool.root / "ids.csv").write_text("note,gen_id\n" + "".join(f"x,{one}\n" for one in essays))
    (pool.root / "ids.txt").write_text("\n".join(f" {one} " for one in essays) + "\n\n")
    for source in (f"[{', '.join(essays)}]", "@file:ids.csv", "@file:ids.txt"):
        start(pool, source)
        assert pool.plan("c").stage("essay").gen_ids == essays


def test_the_beginning_of_an_id_is_enough_where_it_is_the_only_one(pool: Pool) -> None:
    essay = members(pool, "a", "essay")[0]
    start(pool, f"[{essay[:14]}]")
    assert pool.plan("c").stage("essay").gen_ids == [essay]


def test_a_difference_is_the_first_without_the_others(pool: Pool) -> None:
    start(pool, "{difference: [a, b], stage: essay}")
    others = set(members(pool, "b", "essay"))
    assert pool.plan("c").stage("essay").gen_ids == [one for one in members(pool, "a", "essay") if one not in others]


def test_wrong_ids_are_told_with_their_place(pool: Pool) -> None:
    essay, draft = members(pool, "a", "essay")[0], members(pool, "a", "draft")[0]
    (pool.root / "ids.txt").write_text(
        f"{essay}\n{essay[:-1]}{'0' if essay[-1] != '0' else '1'}\ne_\n{draft}\n{essay}\n"
    )
    start(pool, "@file:ids.txt")
    unknown, ambiguous, stage, twice = told(pool)
    assert {one.line for one in (unknown, ambiguous, stage, twice)} == {2}
    assert unknown.message.startswith("ids.txt:2: from: no generation has the id")
    assert unknown.hint == f"did you mean {essay!r}?"
    assert ambiguous.message == "ids.txt:3: from: 6 generations have an id that begins with 'e_'"
    assert stage.message == f"ids.txt:4: from: {draft} is of stage 'draft', but {essay} of 'essay'"
    assert twice.message == f"ids.txt:5: from: {essay} is listed twice"


def test_a_damaged_generation_is_no_root(pool: Pool) -> None:
    essay = members(pool, "a", "essay")[0]
    folder = pool.root / "gens/essay" / essay
    folder.rename(pool.root / "away")
    shutil.copytree(pool.root / "away", folder)
    (folder / "metadata.json").write_text("{")
    start(pool, f"[{essay}]")
    assert "is not usable" in told(pool)[0].message


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("[]", "from: the list is empty"),
        ("plenty", "from: must be a list of gen ids"),
        ("[[x]]", "from: a gen id must be plain text"),
        ("@file:none.csv", "none.csv"),
        ("@file:none.txt", "none.txt"),
        ("{union: [a, b]}", "from: the key 'stage' is missing"),
        ("{stage: essay}", "from: union or difference is missing"),
        ("{union: [a], difference: [a, b], stage: essay}", "from: either union or difference, not both"),
        ("{union: [a, a], stage: essay}", "from: 'a' is listed twice"),
        ("{union: [], stage: essay}", "from: union needs 1 cohorts or more"),
        ("{union: a, stage: essay}", "from: union must be a list of cohorts"),
        ("{difference: [a], stage: essay}", "from: difference needs 2 cohorts or more"),
        ("{union: [a], stage: esay}", "from: no stage is named 'esay'"),
        ("{union: [a], stage: evaluation}", "from: cohort 'a' has no member of stage 'evaluation'"),
        ("{union: [a, c], stage: essay}", "from: 'c' cannot start from itself"),
        ("{union: [a, nobody], stage: essay}", "from: there is no cohort 'nobody'"),
        ("{unio: [a], stage: essay}", "from: unknown key 'unio'"),
        ("{union: [a], stage: essay, top: 3}", "from: 'top' is of a query by score"),
        ("{cohorts: [a], union: [b], stage: essay, top: 3}", "from: 'top' is of a query by score"),
        ("{cohorts: [a], union: [b], stage: essay}", "from: either union or cohorts, not both"),
        ("{cohorts: [a], stage: essay}", "from: the key 'top' is missing"),
        ("{cohorts: [a], stage: essay, top: 0}", "from: top is '0'; it must be a whole number from 1"),
        ("{cohorts: [a], stage: essay, top: 3, by: ''}", "from: by is empty"),
        ("{cohorts: [a], stage: essay, top: 3, by: [x]}", "from: by must be text"),
        ("{cohorts: [c], stage: essay, top: 3}", "from: 'c' cannot start from itself"),
        ("{cohorts: [nobody], stage: essay, top: 3}", "from: there is no cohort 'nobody'"),
        ("{cohorts: [], stage: essay, top: 3}", "from: cohorts needs 1 cohorts or more"),
        ("{cohorts: some, stage: essay, top: 3}", "from: cohorts must be a list of cohorts"),
        ("{cohorts: [a], stage: evaluation, top: 3}", "from: cohort 'a' has no member of stage 'evaluation'"),
        ("{cohorts: all, stage: evaluation, top: 3}", "no other cohort has a member of stage 'evaluation'"),
        (
            "{cohorts: [a, b], stage: essay, top: 3}",
            "the best essay texts of a, b: there is none: there are no judgements",
        ),
        ("{cohorts: [a, b], stage: essay, top: 3, by: clarity}", "nothing was judged by 'clarity'"),
    ],
)
def test_what_is_wrong_with_from_is_told_with_its_line(pool: Pool, source: str, said: str) -> None:
    start(pool, source)
    problems = told(pool)
    assert any(said in one.message for one in problems), problems
    assert {one.line for one in problems} == {2}


def test_an_empty_difference_is_an_error(pool: Pool) -> None:
    write_spec(pool.root, "same", essay=ESSAYS)
    pool.run("same", models=models())
    start(pool, "{difference: [a, same], stage: essay}")
    assert [one.message for one in told(pool)] == ["from: difference of a, same: no essay is left"]


def test_sections_are_for_stages_below_the_roots(pool: Pool) -> None:
    start(pool, UNION, draft="template: [plain], model: [writer]", essay=ESSAYS, evaluation=EVALUATIONS)
    draft, essay = told(pool)
    assert (draft.line, essay.line) == (3, 4)
    assert draft.message.startswith("stage 'draft': the cohort starts from essay generations that exist")
    start(pool, "{union: [a], stage: draft}", evaluation=EVALUATIONS)
    assert [one.message for one in told(pool)] == ["stage 'evaluation' starts from 'essay', which is not selected"]


def test_a_wrong_from_does_not_hide_what_else_is_wrong(pool: Pool) -> None:
    start(pool, "[nothing]", evaluation="template: [clearity], model: [judge]")
    assert [one.line for one in told(pool)] == [2, 3]


# --- when they are frozen ---------------------------------------------------------------------------


def grown(pool: Pool) -> None:
    """Let cohort `b` have one more row."""
    write_rows(pool.root, [1, 2, 3], "others.csv")
    assert pool.run("b", models=models()).complete


def test_a_query_is_frozen_when_it_is_adopted(pool: Pool) -> None:
    start(pool, UNION)
    pool.run("c", models=models())
    before = pool.plan("c")
    frozen = json.loads((pool.root / "cohorts/c/adopted.json").read_text())
    assert frozen["roots"] == before.stage("essay").gen_ids
    grown(pool)
    after = pool.plan("c")
    assert after.stage("essay").gen_ids == before.stage("essay").gen_ids
    assert any("the query gives 2 more now than the 6 that were adopted" in note for note in after.notes)
    assert pool.run("c", models=models()).made == 0
    assert len(pool.plan("c", refresh=True).stage("essay")) == 8
    assert len(pool.plan("c").stage("essay")) == 6, "a plan freezes nothing"
    assert pool.run("c", models=models(), refresh=True).made == 4
    assert len(pool.plan("c").stage("essay")) == 8
    assert pool.plan("c").notes == ()


def test_a_frozen_cohort_needs_the_others_no_more(pool: Pool) -> None:
    start(pool, UNION)
    pool.run("c", models=models())
    shutil.rmtree(pool.root / "cohorts/a")
    assert pool.plan("c").missing == 0
    with pytest.raises(InvalidSpec):
        pool.plan("c", refresh=True)


def test_a_query_that_was_edited_is_resolved_anew(pool: Pool) -> None:
    start(pool, UNION)
    pool.run("c", models=models())
    start(pool, "{union: [a], stage: essay}")
    plan = pool.plan("c")
    assert len(plan.stage("essay")) == 4
    assert any("not the one that was adopted" in note for note in plan.notes)


def test_a_list_is_used_as_written_whatever_was_adopted(pool: Pool) -> None:
    essays = members(pool, "a", "essay")
    start(pool, f"[{essays[0]}]")
    pool.run("c", models=models())
    start(pool, f"[{essays[1]}]")
    assert pool.plan("c").stage("essay").gen_ids == [essays[1]]


def test_a_frozen_root_that_was_removed_is_told(pool: Pool) -> None:
    start(pool, UNION)
    pool.run("c", models=models())
    shutil.rmtree(pool.root / "gens/essay" / members(pool, "a", "essay")[0])
    [problem] = told(pool)
    assert "1 of 6 adopted generations are no longer there" in problem.message
    assert len(pool.plan("c", refresh=True).stage("essay")) == 5


def test_a_damaged_record_of_the_adoption_is_told(pool: Pool) -> None:
    start(pool, UNION)
    pool.run("c", models=models())
    (pool.root / "cohorts/c/adopted.json").write_text("{")
    assert "adopted.json is damaged" in told(pool)[0].message
    assert pool.run("c", models=models(), refresh=True).complete


def test_members_without_a_generation_are_left_out_and_told(pool: Pool) -> None:
    write_rows(pool.root, [1, 2, 3], "others.csv")
    (pool.root / "none.jsonl").touch()
    pool.run("b", models=models(), only=pool.root / "none.jsonl")
    start(pool, UNION)
    plan = pool.plan("c")
    assert len(plan.stage("essay")) == 6
    assert plan.notes[0].startswith("from: 2 of 8 essay members have no generation yet and are left out")


@pytest.mark.parametrize("axis", ["essay.template", "essay.replicates", "draft.model", "draft.combo"])
def test_a_rule_on_what_a_cohort_starts_from_is_told_what_to_do_instead(pool: Pool, axis: str) -> None:
    start(pool, UNION)
    spec = pool.layout.spec("c")
    spec.write_text(spec.read_text() + f"rules:\n  subsets:\n    - {{axis: {axis}, keep: [story]}}\n")
    (problem,) = told(pool)
    assert problem.message == (
        f"rules.subsets: {axis!r}: the cohort starts from essay generations that exist, "
        "and rules are for what is below them"
    )
    assert problem.hint == "list under `from:` the generations that you want, or leave the rule out"
    assert problem.line == 6
    rewritten = spec.read_text().replace(axis, "evaluation.template").replace("story", "clarity")
    spec.write_text(rewritten)
    assert pool.plan("c").to_make
