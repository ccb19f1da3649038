"""A pool under random use, held against plain dicts after every step.

Specs change, cohorts are run with models that fail, templates and models are edited, drift is accepted or made anew,
cohorts are purged and brought back, other tools bring generations of their own or take some away: all behind genpool's
back, or through it. `tests.dict_model` says what the pool must hold and say; ids, slots and counts are its own.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from genpool.errors import NotFound, StorageFailed
from genpool.pool import Pool
from tests.bars import least
from tests.dict_model import Broken, Gen
from tests.legacy_pools import PARENTS, Wants, fields_of, right_id, stated, write_folder, write_legacy
from tests.property.told_pools import digest
from tests.property.used_pools import COHORTS, ROWS, SPECS, UsedPool
from tests.small_pools import TEMPLATES, make_pool, tree

if TYPE_CHECKING:
    from genpool.removal import Removal
    from genpool.trash import Trashed
    from tests.conftest import Statement
    from tests.dict_model import Taken

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


class PoolMachine(UsedPool):
    """Everything at random: use, drift that is accepted or made anew, removals, what other tools do."""

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
