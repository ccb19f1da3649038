"""A pool that a person writes for, and runs: specs, templates and models change, and models fail."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
)

from genpool.errors import CallFailed, Drifted
from genpool.pool import Pool
from genpool.testing import ScriptedModel
from genpool.writer import seed_of
from tests.dict_model import Task, lacking_above
from tests.legacy_pools import PARENTS, Wants, fields_of
from tests.property.told_pools import ToldPool, digest
from tests.small_pools import TEMPLATES, answer, tree, write_config, write_spec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from genpool.llm.client import Completion, Request
    from genpool.runner import Runner, RunReport
    from tests.dict_model import Plan as Wanted
    from tests.legacy_pools import Expected

COHORTS = ("a", "b", "c")
ROWS = 3
EDITED = ("draft/plain", "essay/story", "evaluation/clarity")
BAD = {
    "truncated": answer("It was", "length"),
    "empty": answer(" "),
    "refused": answer("No.", "content_filter"),
    "no_end": answer("It was", None),
}
COHORT = st.sampled_from(COHORTS)
TWO_OR_LESS = st.sampled_from([1, 2])


def some(*names: Any, most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=most, unique=True).map(tuple)


SPECS = st.builds(
    Wants,
    rows=some(*range(ROWS)).map(sorted).map(tuple),
    drafts=some("plain", "plain", "long").map(lambda names: tuple(dict.fromkeys(names))),
    draft_replicates=TWO_OR_LESS,
    essays=some("story", "same"),
    essay_replicates=TWO_OR_LESS,
    evaluation_replicates=st.sampled_from([0, 1, 2]),
)


class FailingModel(ScriptedModel):
    """A model that fails as it is told to, and notes what became of every call."""

    def __init__(self, machine: ToldPool, seeds: Mapping[int, str], script: Mapping[str, list[str]]) -> None:
        super().__init__(self.answer_to)
        self.machine = machine
        self.seeds = seeds
        self.left = {name: list(kinds) for name, kinds in script.items()}
        self.outcomes: list[tuple[str, str]] = []
        self.runner: Runner | None = None
        self.limit: int | None = None

    def answer_to(self, request: Request) -> Completion | str:
        gen_id = self.seeds.get(request.seed, "")
        kinds = self.left.get(gen_id)
        kind = kinds.pop(0) if kinds else "good"
        self.outcomes.append((gen_id, kind))
        if self.limit is not None and len(self.outcomes) >= self.limit and self.runner is not None:
            self.runner.drain()
        if kind == "error":
            raise CallFailed("the line is down", transient=False, sent=True)
        if kind == "unparseable":
            return "no score" if request.constraint else BAD["empty"]
        if kind in BAD:
            return BAD[kind]
        self.machine.texts += 1
        said = f"Text {self.machine.texts}, and nobody else has it."
        return json.dumps({"reason": said, "score": self.machine.texts % 10}) if request.constraint else said


class UsedPool(ToldPool):
    """What a person does with a pool: write, and run."""

    # -- what a person writes ----------------------------------------------------------------------

    @rule(cohort=COHORT, wants=SPECS)
    def write(self, cohort: str, wants: Wants) -> None:
        self.model.wants[cohort] = wants
        rows = ", ".join(f"row-{row}" for row in wants.rows)
        write_spec(self.root, cohort, **wants.spec(), rules=f"subsets: [{{axis: draft.combo, keep: [{rows}]}}]")

    @precondition(lambda self: self.model.wants)
    @rule(data=st.data(), by=st.sampled_from([-1, 1]), stage=st.sampled_from(list(PARENTS)))
    def replicate(self, data: st.DataObject, by: int, stage: str) -> None:
        cohort = self.a_cohort(data)
        wants, field = self.model.wants[cohort], f"{stage}_replicates"
        self.write(cohort, replace(wants, **{field: min(3, max(1, getattr(wants, field) + by))}))

    def raise_one(self, cohort: str) -> None:
        """Have something to make: one more draft a family, up to three."""
        wants = self.model.wants[cohort]
        self.write(cohort, replace(wants, draft_replicates=min(3, wants.draft_replicates + 1)))

    @rule(name=st.sampled_from(EDITED), edition=st.sampled_from("012"))
    def edit_template(self, name: str, edition: str) -> None:
        more = "" if edition == "0" else f"This is edition {edition}.\n"
        (self.root / "templates" / f"{name}.j2").write_text(TEMPLATES[f"{name}.j2"] + more)
        self.model.now["template", name] = edition

    @rule(name=st.sampled_from(["writer", "judge"]), heat=st.sampled_from("01"))
    def edit_model(self, name: str, heat: str) -> None:
        self.model.now["model", name] = heat
        heats = {one: self.model.now["model", one] for one in ("writer", "judge")}
        entries = {one: f"{{client: scripted, temperature: 0.{heat}}}" for one, heat in heats.items()}
        write_config(self.root, models=entries, salt=self.model.salt)
        self.pool = Pool.open(self.root)

    @rule(row=st.sampled_from(range(ROWS)), edition=st.sampled_from("01"))
    def edit_row(self, row: int, edition: str) -> None:
        self.model.now["combo", f"row-{row}"] = edition
        editions = [self.model.now["combo", f"row-{row}"] for row in range(ROWS)]
        lines = [f"row-{row},topic {row}{' anew' * int(edition)}\n" for row, edition in enumerate(editions)]
        (self.root / "rows.csv").write_text("id,topic\n" + "".join(lines))

    # -- runs --------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.wants)
    @rule(data=st.data())
    def run(self, data: st.DataObject) -> None:
        cohort = self.a_cohort(data)
        self.check_run(cohort, self.model.plan(cohort), {})

    @precondition(lambda self: self.model.wants)
    @rule(data=st.data(), retry=st.booleans())
    def run_while_it_fails(self, data: st.DataObject, retry: bool) -> None:
        cohort = self.a_cohort(data)
        self.raise_one(cohort)
        plan = self.model.plan(cohort)
        script = self.a_script(data, plan)
        self.check_run(cohort, plan, script)
        if retry:  # what failed fails once more
            plan = self.model.plan(cohort, limit=sys.maxsize)
            self.check_run(cohort, plan, {name: kinds[:1] for name, kinds in script.items()}, retry=True)

    @precondition(lambda self: self.model.wants)
    @rule(data=st.data(), limit=st.integers(1, 6))
    def run_a_few_calls(self, data: st.DataObject, limit: int) -> None:
        """Stop a run after a few calls, and have the next one go on: which tasks were made until then is chance."""
        cohort = self.a_cohort(data)
        plan = self.model.plan(cohort)
        whole = self.model.fate(plan, {})
        first = self.check_run(cohort, plan, {}, limit=limit)
        self.every_cohort_is_told_as_it_is()
        second = self.check_run(cohort, self.model.plan(cohort), {})
        assert (first.calls + second.calls, first.made + second.made) == (whole.calls, len(whole.made))

    @precondition(lambda self: self.model.wants)
    @rule(data=st.data())
    def run_only_some(self, data: st.DataObject) -> None:
        cohort = self.a_cohort(data)
        plan = self.model.plan(cohort)
        # where a record stands under the id of its sibling, what is below both is named twice by one signature
        first = {(stage, one.family, one.slot): one for stage, several in plan.items() for one in reversed(several)}
        tasks = [(stage, one) for (stage, _, _), one in sorted(first.items())]
        chosen = data.draw(st.lists(st.sampled_from(tasks), min_size=1, max_size=3, unique_by=id))
        lines = [{"stage": stage, **fields_of(stage, one.family, one.slot)} for stage, one in chosen]
        file = self.root.parent / "only.jsonl"
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        only = {(stage, one.gen_id) for stage, one in chosen}
        only |= {above for stage, one in chosen for above in lacking_above(plan, stage, one)}
        self.check_run(cohort, plan, {}, only=only, file=file)

    @precondition(lambda self: self.model.wants)
    @rule(data=st.data())
    def run_unless_it_drifted(self, data: st.DataObject) -> None:
        cohort = self.a_cohort(data)
        if not self.model.drift(cohort):
            self.check_run(cohort, self.model.plan(cohort), {})
            return
        before = tree(self.root)
        with pytest.raises(Drifted):
            self.pool.run(cohort, models={}, on_drift="fail")
        assert self.same_but_for_locks(before)

    def check_run(
        self,
        cohort: str,
        plan: Wanted,
        script: Mapping[str, list[str]],
        *,
        retry: bool = False,
        only: set[Task] | None = None,
        file: Path | None = None,
        limit: int | None = None,
    ) -> RunReport:
        """Run a cohort; hold what was called, made and kept against the model, then note it there."""
        errors = {name for name, kinds in script.items() if kinds[0] == "error"}
        failing = {name: len(kinds) for name, kinds in script.items() if name not in errors}
        fate = self.model.fate(plan, failing, broken_off=errors, retry=retry, only=only)
        ids = [one.gen_id for tasks in plan.values() for one in tasks if one.state in {"mint", "incomplete"}]
        client = FailingModel(self, {seed_of(name, count): name for count in range(20) for name in ids}, script)
        client.limit = limit
        report = self.pool.run(
            cohort,
            models={"writer": client, "judge": client},
            retry_exhausted=retry,
            only=file,
            started=lambda runner: setattr(client, "runner", runner),
        )
        self.model.adopt(cohort, plan)
        good = [name for name, kind in client.outcomes if kind == "good"]
        assert len(good) == len(set(good)), "a generation was bought twice"
        assert "bought_twice" not in report.attempts
        assert report.calls == len(client.outcomes)
        made = {task: one for task, one in fate.made.items() if (self.place(task) / "parsed.txt").exists()}
        assert {one.gen_id for one in made.values() if not one.copies} == set(good)
        failed = Counter(name for name, kind in client.outcomes if kind not in {"good", "error"})
        if limit is None or len(client.outcomes) < limit:
            assert (made.keys(), report.calls) == (fate.made.keys(), fate.calls)
            assert failed == {name: count for (_, name), count in fate.failed.items()}
        assert report.made == len(made)
        assert sum(report.attempts.values()) == failed.total()
        assert report.complete == (len(made) == sum(one.state != "reuse" for tasks in plan.values() for one in tasks))
        self.note(cohort, plan, made, failed, report)
        return report

    def note(
        self, cohort: str, plan: Wanted, made: Mapping[Task, Expected], failed: Counter[str], report: RunReport
    ) -> None:
        """Put what a run did into the model."""
        for stage, tasks in plan.items():
            for one in tasks:
                task = stage, one.gen_id
                if count := failed.pop(one.gen_id, 0):
                    self.model.attempts[task] = self.model.attempts.get(task, 0) + count
                if task in made:
                    self.files[task] = self.read(task)
                    self.model.commit(cohort, plan, stage, one, digest(self.files[task]["parsed.txt"]))
                    self.check_made(cohort, stage, one, report)
        assert not failed, "attempts at tasks that are not to be made"

    def check_made(self, cohort: str, stage: str, one: Expected, report: RunReport) -> None:
        """Check that a new generation says what it is, and was made from what it says."""
        files = self.files[stage, one.gen_id]
        record = json.loads(files["metadata.json"])
        told = {**fields_of(stage, one.family, one.slot), "stage": stage, "gen_id": one.gen_id}
        told |= {"origin_cohort_id": cohort, "run_id": report.run_id, "mode": "copy" if one.copies else "llm"}
        assert told.items() <= record.items()
        parent = PARENTS[stage]
        read = self.files[parent, one.family[0]]["parsed.txt"].decode().strip() if parent else None
        if one.copies:
            assert files["parsed.txt"].decode().strip() == read
        else:
            assert (read or f"topic {one.family[0][-1]}") in files["prompt.txt"].decode()

    # -- helpers -----------------------------------------------------------------------------------

    def a_script(self, data: st.DataObject, plan: Wanted) -> dict[str, list[str]]:
        """Draw which tasks fail, how, and how often."""
        tasks = [one for tasks in plan.values() for one in tasks]
        ids = [one.gen_id for one in tasks if one.state in {"mint", "incomplete"} and not one.copies]
        if not ids:
            return {}
        some_kinds = st.sampled_from([*BAD, "unparseable"])
        kinds = st.lists(some_kinds, min_size=1, max_size=1) | st.lists(some_kinds, min_size=2, max_size=3)
        dictionaries = st.dictionaries(st.sampled_from(ids), kinds | st.just(["error"]), min_size=1, max_size=4)
        drawn: dict[str, list[str]] = data.draw(dictionaries)
        return drawn
