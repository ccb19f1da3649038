"""A pool and, beside it, what it must hold: what it says is compared with `tests.dict_model` after every step."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from genpool.signatures import Signature
from tests.dict_model import DictPool, Task
from tests.legacy_pools import PARENTS, counted, fields_of
from tests.small_pools import generations, memory_folder, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from genpool.planner import Plan
    from genpool.pool import Pool


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class ToldPool(RuleBasedStateMachine):
    """The pool and, beside it, what it must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.places = ExitStack()
        self.root = self.places.enter_context(memory_folder()) / "pool"
        self.model = DictPool()
        self.files: dict[Task, dict[str, bytes]] = {}
        """The bytes of every whole generation, of those in the trash too."""
        self.texts = 0
        self.named = 0
        self.legacy_lines: list[bytes] = []
        self.pool: Pool

    def teardown(self) -> None:
        self.places.close()

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def every_cohort_is_told_as_it_is(self) -> None:
        before = tree(self.root) if self.model.wants else {}
        for cohort in sorted(self.model.wants):
            self.check_plan(cohort, self.pool.plan(cohort))
        scans = self.model.scans()
        for cohort in sorted(self.model.members):
            self.check_scope(cohort, scans)
        if self.model.wants:
            assert tree(self.root) == before, "looking wrote something"

    def check_plan(self, cohort: str, plan: Plan) -> None:
        wanted = self.model.plan(cohort)
        groups = [ids for drift in self.model.drift(cohort).values() for ids in drift.values()]
        drifted = {gen_id for ids in groups for gen_id in ids}
        assert [part.stage.name for part in plan.stages] == list(wanted)
        for part in plan.stages:
            tasks = wanted[part.stage.name]
            assert part.gen_ids == [one.gen_id for one in tasks]
            assert part.row(cohort) == counted(tasks, cohort, drifted)
            assert [(task.gen_id, task.state.name.lower()) for task in plan.tasks() if task.stage == part.stage] == [
                (one.gen_id, one.state) for one in tasks
            ]
            for gen_id, slot in part.slots.items():
                self.check_slot(part.stage.name, gen_id, slot)
        lost = {
            stage: sum(
                note.startswith(f"{stage}: {count:,} generation") and " unusable, " in note for note in plan.notes
            )
            for stage, count in self.model.hidden(wanted).items()
        }
        assert all(count == 1 for count in lost.values())
        assert sum(" unusable, and" in note for note in plan.notes) == len(lost)
        drifted = Counter((one.kind, one.name, gen_id) for one in plan.drift for gen_id in one.gen_ids)
        assert drifted == Counter(
            (*key, gen_id)
            for key, groups in self.model.drift(cohort).items()
            for ids in groups.values()
            for gen_id in ids
        )

    def check_slot(self, stage: str, gen_id: str, slot: int) -> None:
        """Check that a slot that was recorded has not moved, unless another has a better right to it."""
        recorded = self.model.recorded.get((stage, gen_id), slot)
        if recorded != slot:
            family = self.model.gens[stage, gen_id].family
            others = [name for name, gen in self.model.gens.items() if name[0] == stage and gen.family == family]
            assert any(
                name != (stage, gen_id)
                and (self.model.recorded.get(name) == recorded or self.model.gens[name].stated == recorded)
                and (not self.model.gens[name].legacy or name in self.model.recorded)
                for name in others
            )

    def check_scope(self, cohort: str, scans: Any) -> None:
        scope = self.pool.scope(cohort)
        lines = list(dict.fromkeys(self.model.members[cohort]))  # a line that is there twice is one member
        assert scope.member_ids == tuple(line.gen_id for line in lines)
        states = [self.model.standing(cohort, line, scans) for line in lines]
        assert [member.state for member in scope.members()] == states
        counts = {stage: asdict(one) for stage, one in scope.counts().items()}
        for stage in PARENTS:
            here = [(line, state) for line, state in zip(lines, states, strict=True) if line.stage == stage]
            if here:
                found = counts.pop(stage)
                kept = sum(self.model.attempts.get(line.task, 0) for line, state in here if state == "missing")
                tally = Counter(state for _, state in here)
                assert found == {
                    "wanted": len(here),
                    **{state: tally[state] for state in ("own", "reused", "missing", "unusable")},
                    "attempts": kept,
                }
        assert not counts
        missing = [line for line, state in zip(lines, states, strict=True) if state == "missing"]
        told = [(one.stage.name, dict(one.as_dict())) for one in scope.missing()]
        assert told == [(line.stage, fields_of(line.stage, line.family, line.slot)) for line in missing]

    @precondition(lambda self: self.model.wants)
    @rule(data=st.data())
    def ask_why(self, data: st.DataObject) -> None:
        stage, one = data.draw(st.sampled_from(list(self.model.wants_of_all())))
        signature = Signature.of(self.pool.config.pipeline[stage], fields_of(stage, one.family, one.slot))
        why = self.pool.why(signature)
        assert (why.gen_id, why.exists) == (one.gen_id, one.state == "reuse")
        assert why.origin == one.origin
        assert (why.problem is not None) == (one.state == "unusable")

    @invariant()
    def what_is_there_is_what_must_be_there(self) -> None:
        assert generations(self.root) == {*self.model.gens, *self.model.broken}
        for task in self.model.gens:
            assert self.read(task) == self.files[task], f"{task} is not what it was"
        folders = {(path.parent.name, path.name) for path in (self.root / "attempts").glob("*/*")}
        assert folders == self.model.attempts.keys()
        open_entries = {one.trash_id for one in self.pool.trash() if one.state == "done"} if self.model.now else set()
        assert open_entries == self.model.trash.keys()

    @invariant()
    def recorded_slots_never_move(self) -> None:
        path = self.root / "legacy.csv"
        lines = path.read_bytes().splitlines() if path.exists() else []
        assert lines[: len(self.legacy_lines)] == self.legacy_lines
        self.legacy_lines = lines
        rows = list(csv.DictReader(line.decode() for line in lines))
        assert len(rows) == len(self.model.recorded)
        assert {(row["stage"], row["gen_id"]): int(row["replicate"]) for row in rows} == self.model.recorded

    # -- helpers -----------------------------------------------------------------------------------

    def a_cohort(self, data: st.DataObject) -> str:
        chosen: str = data.draw(st.sampled_from(sorted(self.model.wants)))
        return chosen

    def place(self, task: Task) -> Path:
        return self.root / "gens" / task[0] / task[1]

    def read(self, task: Task) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.place(task).iterdir()}

    def same_but_for_locks(self, before: Mapping[str, object]) -> bool:
        def shown(found: Mapping[str, object]) -> Iterator[tuple[str, object]]:
            return ((name, known) for name, known in found.items() if not name.startswith(".genpool/"))

        return dict(shown(before)) == dict(shown(tree(self.root)))
