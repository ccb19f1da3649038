"""A pool under random use, held against plain dicts after every step.

Specs change, cohorts are run with models that fail, templates and models are edited, drift is accepted or made anew,
cohorts are purged and brought back, other tools bring generations of their own or take some away: all behind genpool's
back, or through it. `tests.dict_model` says what the pool must hold and say; ids, slots and counts are its own.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from genpool.errors import CallFailed, Drifted, NotFound, StorageFailed
from genpool.pool import Pool
from genpool.signatures import Signature
from genpool.testing import ScriptedModel
from genpool.writer import seed_of
from tests.bars import least
from tests.dict_model import Broken, DictPool, Gen, Task, lacking_above
from tests.legacy_pools import PARENTS, Wants, counted, fields_of, right_id, stated, write_folder, write_legacy
from tests.small_pools import TEMPLATES, answer, generations, make_pool, memory_folder, tree, write_config, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from genpool.llm.client import Completion, Request
    from genpool.planner import Plan
    from genpool.removal import Removal
    from genpool.runner import Runner, RunReport
    from genpool.trash import Trashed
    from tests.conftest import Statement
    from tests.dict_model import Plan as Wanted
    from tests.dict_model import Taken
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
ODD_KEYS: tuple[dict[str, Any], ...] = (
    {},
    {"score": "high", "call": [1], "mode": 3, "run_id": 7, "fingerprints": "none"},
    {
        "stage": "something",
        "gen_id": "something-else",
        "axes": {"a": 1},
        "fingerprints": {"template": 5, "inputs": "zz"},
    },
)
MOMENTS = (None, "2024-01-01T00:00:00Z", "2024-01-02T00:00:00+02:00", "2024-01-03", "yesterday")

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

    def __init__(self, machine: PoolMachine, seeds: Mapping[int, str], script: Mapping[str, list[str]]) -> None:
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


class PoolMachine(RuleBasedStateMachine):
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

    @initialize(data=st.data(), first=SPECS, second=SPECS, salt=st.sampled_from(["", "lab"]))
    def begin(self, data: st.DataObject, first: Wants, second: Wants, salt: str) -> None:
        self.model.salt = salt
        make_pool(self.root, rows=ROWS, salt=salt)
        for name in TEMPLATES:
            self.model.now["template", name.removesuffix(".j2")] = "0"
        for name in ("writer", "judge"):
            self.model.now["model", name] = "0"
        for row in range(ROWS):
            self.model.now["combo", f"row-{row}"] = "0"
        self.edit_model("writer", "0")
        self.write("a", first)
        self.write("b", second)
        self.bring_old_ones(data, 3)
        self.check_run("a", self.model.plan("a"), {})

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

    # -- drift -------------------------------------------------------------------------------------

    @precondition(lambda self: any(self.model.drift(cohort) for cohort in self.model.wants))
    @rule(data=st.data(), every=st.booleans())
    def accept(self, data: st.DataObject, every: bool) -> None:
        cohort, names = self.some_drift(data, every)
        for (kind, name), groups in self.model.drift(cohort).items():
            if names is None or (kind, name) in names:
                self.model.accepted |= {(kind, name, *change) for change in groups}
        self.pool.accept_drift(cohort, names)

    @precondition(lambda self: any(self.model.drift(cohort) for cohort in self.model.wants))
    @rule(data=st.data(), every=st.booleans())
    def regenerate(self, data: st.DataObject, every: bool) -> None:
        cohort, names = self.some_drift(data, every)
        taken = self.model.regenerated(cohort, names)
        before = tree(self.root)
        self.check_removal(self.pool.plan_regeneration(cohort, names)[1], taken)
        assert tree(self.root) == before, "a dry run wrote something"
        _, removal, trashed = self.pool.regenerate(cohort, names)
        self.note_removal(removal, taken, trashed)

    def some_drift(self, data: st.DataObject, every: bool) -> tuple[str, set[tuple[str, str]] | None]:
        cohort = data.draw(st.sampled_from([one for one in sorted(self.model.wants) if self.model.drift(one)]))
        return cohort, None if every else {data.draw(st.sampled_from(sorted(self.model.drift(cohort))))}

    # -- removing ----------------------------------------------------------------------------------

    @rule(data=st.data(), really=st.booleans())
    def purge(self, data: st.DataObject, really: bool) -> None:
        cohort = data.draw(st.sampled_from(sorted(self.model.members) * 2 + ["c"]))
        taken = self.model.purged(cohort)
        if taken is None:
            with pytest.raises(NotFound):
                self.pool.plan_purge(cohort)
            return
        before = tree(self.root)
        self.check_removal(self.pool.plan_purge(cohort), taken)
        assert tree(self.root) == before, "a dry run wrote something"
        if really:
            removal, trashed = self.pool.purge(cohort)
            self.note_removal(removal, taken, trashed)

    def check_removal(self, removal: Removal, taken: Taken) -> None:
        assert set(removal.goes) == taken.gens.keys()
        assert len(removal.goes) == len(taken.gens)
        assert set(removal.attempts) == taken.attempts.keys()
        assert removal.folder == (taken.cohort is not None)

    def note_removal(self, removal: Removal, taken: Taken, trashed: Trashed | None) -> None:
        self.check_removal(removal, taken)
        assert (trashed is not None) == bool(taken)
        if trashed is not None:
            self.model.take(trashed.trash_id, taken)

    @precondition(lambda self: self.model.trash)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        trash_id = data.draw(st.sampled_from(list(self.model.trash)))
        taken = self.model.trash[trash_id]
        before = tree(self.root)
        if not self.model.can_undo(taken):
            with pytest.raises(StorageFailed):
                self.pool.undo_removal(trash_id)
            assert self.same_but_for_locks(before)
            return
        self.pool.undo_removal(trash_id)
        self.model.undo(trash_id)
        after = tree(self.root)
        kept = f"trash/{trash_id}/"
        for name, known in before.items():
            if name.startswith(kept) and name != f"{kept}trash.json":
                assert after.get(name.removeprefix(kept), known)[2] == known[2]
        for task, gen in taken.gens.items():
            assert digest(self.read(task)["parsed.txt"]) == gen.text

    # -- what other tools do -----------------------------------------------------------------------

    @precondition(lambda self: self.model.wants)
    @rule(data=st.data(), count=st.integers(1, 3))
    def bring_old_ones(self, data: st.DataObject, count: int) -> None:
        """Bring generations with ids of another making, for families that are wanted."""
        wanted = list(self.model.wants_of_all())
        for _ in range(count):
            stage, one = data.draw(st.sampled_from(wanted))
            numbers = [one.slot, one.slot, str(one.slot), one.slot - 1, "0", 0, None, 1, "first", True, 1.0, "²"]
            number = data.draw(st.sampled_from(numbers))
            family = one.family if data.draw(st.integers(0, 9)) else ("nobody", *one.family[1:])
            self.old(data, stage, family, number)

    def old(self, data: st.DataObject, stage: str, family: tuple[str, ...], number: object) -> None:
        self.named += 1
        gen_id = f"{data.draw(st.sampled_from(['a', 'm', 'z']))}{self.named}"
        if not data.draw(st.integers(0, 3)):  # under the id of another task, or of itself
            others = [(at, one.gen_id) for at, one in self.model.wants_of_all() if at == stage]
            gen_id = data.draw(st.sampled_from(others))[1]
        task = stage, gen_id
        if task in self.model.gens or task in self.model.broken:
            return
        made, origin = data.draw(st.sampled_from(MOMENTS)), data.draw(st.sampled_from([None, "old", *COHORTS]))
        keys = data.draw(st.sampled_from(ODD_KEYS)) | ({} if number is None else {"replicate": number})
        text = f"An old text, the {self.named}th.\n"
        write_legacy(self.root, stage, gen_id, *family, origin=origin, created_at=made, text=text, **keys)
        slot = stated(number)
        right = slot is not None and right_id(stage, fields_of(stage, family, slot), self.model.salt) == gen_id
        created = None
        if made not in {None, "yesterday"}:
            moment = datetime.fromisoformat(str(made))
            created = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        self.files[task] = self.read(task)
        self.model.gens[task] = Gen(
            family, slot, not right, origin, digest(text.encode()), created=created, sealed=False
        )

    @precondition(lambda self: self.model.gens or self.model.broken)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted({*self.model.gens, *self.model.broken})))
        shutil.rmtree(self.place(task))
        self.model.gens.pop(task, None)
        self.model.broken.pop(task, None)

    @precondition(lambda self: self.model.gens)
    @rule(data=st.data(), how=st.sampled_from(["metadata.json", "parsed.txt", "unusable"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        """Put a part of a generation back, as a sync does that was interrupted, or something else."""
        task = data.draw(st.sampled_from(sorted(self.model.gens)))
        if how == "unusable" and any(one.state == how and at == task[0] for (at, _), one in self.model.broken.items()):
            return  # two of these and nothing else in a stage mean another pool.yaml
        place = self.place(task)
        if how == "unusable":
            (place / "metadata.json").write_text("{")
        else:
            (place / how).unlink()
        place.rename(place.with_name("moving"))
        place.with_name("moving").rename(place)
        gen = self.model.gens.pop(task)
        parent = gen.family[0] if how == "parsed.txt" and PARENTS[task[0]] else None
        self.model.broken[task] = Broken("unusable" if how == "unusable" else "incomplete", parent)

    @precondition(lambda self: self.model.wants)
    @rule(data=st.data())
    def leave_half(self, data: st.DataObject) -> None:
        """Leave a directory without a text in the place of something that is to be made."""
        tasks = sorted({(stage, one.gen_id) for stage, one in self.model.wants_of_all() if one.state == "mint"})
        if tasks:
            task = data.draw(st.sampled_from(tasks))
            write_folder(self.place(task), b"{}", text=None)
            self.model.broken[task] = Broken("incomplete")

    @rule()
    def forget_caches(self) -> None:
        shutil.rmtree(self.root / ".genpool", ignore_errors=True)

    @rule()
    def open_anew(self) -> None:
        self.pool = Pool.open(self.root)

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
        lines = self.model.members[cohort]
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

    def place(self, task: Task) -> Path:
        return self.root / "gens" / task[0] / task[1]

    def read(self, task: Task) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.place(task).iterdir()}

    def same_but_for_locks(self, before: Mapping[str, object]) -> bool:
        def shown(found: Mapping[str, object]) -> Iterator[tuple[str, object]]:
            return ((name, known) for name, known in found.items() if not name.startswith(".genpool/"))

        return dict(shown(before)) == dict(shown(tree(self.root)))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.bar("random use")
@pytest.mark.timeout(3600)
def test_a_pool_under_random_use_holds_and_says_what_the_dicts_do(full: bool, proof: Statement) -> None:
    class Counted(PoolMachine):
        runs = comparisons = 0

        @invariant()
        def counted(self) -> None:
            Counted.comparisons += 1

        def teardown(self) -> None:
            super().teardown()
            Counted.runs += 1

    run_state_machine_as_test(
        Counted,
        settings=settings(
            max_examples=least("random use", "runs") if full else 35,
            stateful_step_count=15 if full else 12,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],  # shrinking takes longer than a test may; 15 steps can be read
            suppress_health_check=list(HealthCheck),
        ),
    )
    said = f"{Counted.runs} pools under random use, all compared with the dicts {Counted.comparisons} times"
    proof(said, runs=Counted.runs, comparisons=Counted.comparisons)
