"""A pool under random use against a plain model of it: a set of tasks that exist.

Specs change at random, cohorts are run, generations are removed or damaged behind genpool's back. The model knows
ids only by a formula of its own, written out here from the documented scheme.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from genpool.planner import State
from genpool.pool import Pool
from tests.small_pools import generations, make_pool, models, torn_generations, tree, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COHORTS = ("a", "b")
ROWS = 4
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


@dataclass(frozen=True)
class Wanted:
    """What a cohort's spec says."""

    rows: tuple[int, ...]
    drafts: tuple[str, ...]
    draft_replicates: int
    essays: tuple[str, ...]
    essay_replicates: int
    evaluation_replicates: int

    def tasks(self) -> Iterator[tuple[str, str]]:
        """Yield stage and id of every task, in plan order stage by stage."""
        drafts = [
            the_id("draft", "d", combo_id=f"row-{row}", template_id=template, llm_model_id="writer", replicate=number)
            for row, template, number in product(self.rows, self.drafts, range(1, self.draft_replicates + 1))
        ]
        essays = [
            the_id("essay", "e", parent_gen_id=parent, template_id=template, replicate=number)
            for parent, template in product(drafts, self.essays)
            for number in range(1, 2 if template == "same" else self.essay_replicates + 1)
        ]
        evaluations = [
            the_id("evaluation", "v", parent_gen_id=p, template_id="clarity", llm_model_id="judge", replicate=number)
            for p, number in product(essays, range(1, self.evaluation_replicates + 1))
        ]
        for stage, ids in (("draft", drafts), ("essay", essays), ("evaluation", evaluations)):
            yield from ((stage, name) for name in ids)


def the_id(stage: str, prefix: str, **fields: object) -> str:
    text = json.dumps({"scheme": "genpool/1", "stage": stage, **fields}, sort_keys=True, separators=(",", ":"))
    return f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def some(*names: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=len(names), unique=True).map(tuple)


SPECS = st.builds(
    Wanted,
    rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=2, unique=True).map(tuple),
    drafts=some("plain", "long"),
    draft_replicates=st.integers(1, 2),
    essays=some("story", "same"),
    essay_replicates=st.integers(1, 2),
    evaluation_replicates=st.integers(1, 2),
)


class PoolMachine(RuleBasedStateMachine):
    """The pool and, beside it, which generations there must be."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.root = Path(self.folder.name) / "pool"
        self.wanted: dict[str, Wanted] = {}
        self.whole: dict[tuple[str, str], str] = {}
        """Every generation that is whole, to the cohort that paid for it."""
        self.incomplete: set[tuple[str, str]] = set()

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(first=SPECS, second=SPECS)
    def begin(self, first: Wanted, second: Wanted) -> None:
        make_pool(self.root, rows=ROWS)
        for cohort_id, wanted in zip(COHORTS, (first, second), strict=True):
            self.write(cohort_id, wanted)
        self.run(COHORTS[0])

    # -- what a person does ------------------------------------------------------------------------

    @rule(cohort_id=st.sampled_from(COHORTS), wanted=SPECS)
    def write(self, cohort_id: str, wanted: Wanted) -> None:
        self.wanted[cohort_id] = wanted
        rows = f"rows-{cohort_id}.csv"
        write_rows(self.root, wanted.rows, rows)
        write_spec(
            self.root,
            cohort_id,
            rows=rows,
            draft=f"template: [{', '.join(wanted.drafts)}], model: [writer], replicates: {wanted.draft_replicates}",
            essay=f"template: [{', '.join(wanted.essays)}], replicates: {wanted.essay_replicates}",
            evaluation=f"template: [clarity], model: [judge], replicates: {wanted.evaluation_replicates}",
        )

    @rule(cohort_id=st.sampled_from(COHORTS), by=st.sampled_from([-1, 1]))
    def raise_or_lower_replicates(self, cohort_id: str, by: int) -> None:
        before = self.wanted[cohort_id]
        changed = {**vars(before), "draft_replicates": min(3, max(1, before.draft_replicates + by))}
        self.write(cohort_id, Wanted(**changed))

    @rule(cohort_id=st.sampled_from(COHORTS))
    def run(self, cohort_id: str) -> None:
        wanted = set(self.wanted[cohort_id].tasks())
        missing = wanted - set(self.whole)
        clients = models()
        report = Pool.open(self.root).run(cohort_id, models=clients)
        assert report.complete
        assert report.made == len(missing)
        copies = sum(report.stages[name].made for name in report.stages) - report.calls
        assert report.calls == sum(len(client.requests) for client in clients.values())
        assert copies == len(missing & set(self.copies(cohort_id)))
        self.whole.update(dict.fromkeys(missing, cohort_id))
        self.incomplete -= missing

    @precondition(lambda self: self.whole)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        for stage, name in data.draw(
            st.lists(st.sampled_from(sorted(self.whole)), min_size=1, max_size=3, unique=True)
        ):
            shutil.rmtree(self.root / "gens" / stage / name)
            del self.whole[stage, name]

    @precondition(lambda self: self.whole)
    @rule(data=st.data(), file=st.sampled_from(["metadata.json", "parsed.txt"]))
    def damage(self, data: st.DataObject, file: str) -> None:
        stage, name = data.draw(st.sampled_from(sorted(self.whole)))
        place = self.root / "gens" / stage / name
        (place / file).unlink()
        place.rename(place.with_name("moving"))  # another tool puts a part of it back, as a sync does
        place.with_name("moving").rename(place)
        del self.whole[stage, name]
        self.incomplete.add((stage, name))

    @rule()
    def forget_caches(self) -> None:
        shutil.rmtree(self.root / ".genpool", ignore_errors=True)

    # -- what must hold ----------------------------------------------------------------------------

    @rule(cohort_id=st.sampled_from(COHORTS))
    def plan(self, cohort_id: str) -> None:
        before = tree(self.root)
        plan = Pool.open(self.root).plan(cohort_id)
        assert tree(self.root) == before, "planning wrote something"
        expected = list(self.wanted[cohort_id].tasks())
        assert [(task.stage.name, task.gen_id) for task in plan.tasks()] == expected
        assert self.counted(plan.stages) == Counter((task[0], self.state(task)) for task in expected)
        assert plan.to_make == plan.missing == sum(task not in self.whole for task in expected)

    @precondition(lambda self: self.whole)
    @rule(cohort_id=st.sampled_from(COHORTS))
    def ask(self, cohort_id: str) -> None:
        if not (self.root / "cohorts" / cohort_id / "membership.csv").exists():
            return
        for member in Pool.open(self.root).scope(cohort_id).members():
            origin = self.whole.get((member.stage, member.gen_id))
            assert member.state == ("missing" if origin is None else "own" if origin == cohort_id else "reused")

    @invariant()
    def what_is_there_is_what_must_be_there(self) -> None:
        if self.wanted:
            assert generations(self.root) == set(self.whole) | self.incomplete
            wrong = torn_generations(Pool.open(self.root))
            assert len(wrong) == len(self.incomplete), wrong

    # -- the model ---------------------------------------------------------------------------------

    def state(self, task: tuple[str, str]) -> State:
        if task in self.whole:
            return State.REUSE
        return State.INCOMPLETE if task in self.incomplete else State.MINT

    def counted(self, stages) -> Counter[tuple[str, State]]:
        found: Counter[tuple[str, State]] = Counter()
        for part in stages:
            found.update({(part.stage.name, state): number for state, number in part.counts().items() if number})
        return found

    def copies(self, cohort_id: str) -> Iterator[tuple[str, str]]:
        wanted: Mapping[str, object] = vars(self.wanted[cohort_id])
        if "same" not in self.wanted[cohort_id].essays:
            return iter(())
        only_copies = Wanted(**{**wanted, "essays": ("same",)})  # type: ignore[arg-type]
        return (task for task in only_copies.tasks() if task[0] == "essay")


PoolMachine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes longer than a test may; 15 steps can be read
    suppress_health_check=list(HealthCheck),
)
TestPoolUnderRandomUse = PoolMachine.TestCase
