"""Every count of a plan is that of a brute-force scan, in a pool of more than ten thousand generations.

Five cohorts overlap; a third of the generations has ids of another tool, with replicates as such tools state them;
some places are incomplete, some unusable, some tasks exhausted, some claimed, and some templates are others today.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from dataclasses import asdict
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from genpool.adoption import membership_bytes
from genpool.claims import Claims
from genpool.layout import PoolLayout
from genpool.planner import State
from genpool.pool import Pool
from tests.legacy_pools import (
    CHOICES,
    Wants,
    counted,
    expected,
    record_slots,
    right_id,
    scan,
    write_folder,
    write_legacy,
    write_right,
)
from tests.small_pools import make_pool, memory_folder, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genpool.planner import Plan
    from tests.legacy_pools import Scanned

ROWS = 150
COHORTS = {
    "one": Wants(range(80), ("plain",), 2, ("story", "same"), 2, 2),
    "two": Wants(range(40, 120), ("plain", "long"), 1, ("story",), 3, 1),
    "three": Wants(range(70, 150), ("long",), 3, ("letter", "same"), 1, 3),
    "four": Wants(range(0, 150, 2), ("plain", "long"), 2, ("story", "letter"), 1, 2),
    "five": Wants(range(149, -1, -3), ("long", "plain"), 4, ("same", "letter", "story"), 2, 2),
}
STATES = {
    State.REUSE: "reuse", State.MINT: "mint", State.INCOMPLETE: "incomplete", State.EXHAUSTED: "exhausted",
    State.BLOCKED: "blocked", State.UNUSABLE: "unusable",
}  # fmt: skip


class Filler:
    """Writes generations of all stages, top down."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.chance = random.Random(20)
        self.written = 0
        self.legacy = 0
        self.slots: list[tuple[str, str, int]] = []
        self.lacking: list[tuple[str, str]] = []

    def fill(self) -> None:
        for row, template in product(range(ROWS), ("plain", "long")):
            for draft in self.family("draft", (f"row-{row}", template, "writer"), 3):
                for name, most in (("story", 2), ("letter", 2), ("same", 1)):
                    for essay in self.family("essay", (draft, name), most):
                        self.family("evaluation", (essay, "clarity", "judge"), 2)
        record_slots(self.root, self.slots)

    def family(self, stage: str, values: tuple[str, ...], most: int) -> list[str]:
        """Write most replicates of a family; return their ids, and now and then one that is not there."""
        ids = []
        free = list(range(1, 6))
        self.chance.shuffle(free)
        for replicate in range(1, most + 1):
            fate = self.chance.random()
            if fate < 0.12:
                self.lack(stage, values, replicate, fate)
            elif fate < 0.42:
                ids.append(self.old(stage, values, replicate))
                if self.chance.random() < 0.2:
                    self.slots.append((stage, ids[-1], free.pop()))
            else:
                origin = self.chance.choice(list(COHORTS))
                ids.append(write_right(self.root, stage, *values, replicate=replicate, origin=origin, text=""))
                self.written += 1
        return ids

    def old(self, stage: str, values: tuple[str, ...], replicate: int) -> str:
        number = self.chance.choice([replicate, str(replicate), replicate - 1, 0, None, 1, "2", "first"])
        made = self.chance.choice([None, "2024-01-01", f"2024-02-{self.chance.randint(1, 28):02}T10:00:00+02:00"])
        origin = self.chance.choice([None, "long-ago", *COHORTS])
        gen_id = f"{self.chance.getrandbits(60):x}"
        prints = {"template": self.chance.choice([template_digest(self.root, stage, values[1]), "0" * 64])}
        keys: dict[str, Any] = {"fingerprints": prints} if self.chance.random() < 0.3 else {}
        write_legacy(
            self.root, stage, gen_id, *values, replicate=number, created_at=made, origin=origin, text="", **keys
        )
        self.written += 1
        self.legacy += 1
        return gen_id

    def lack(self, stage: str, values: tuple[str, ...], replicate: int, fate: float) -> None:
        """Leave a task without generation, some with something else in its place."""
        gen_id = right_id(stage, {**dict(zip(CHOICES[stage], values, strict=True)), "replicate": replicate})
        place = self.root / "gens" / stage / gen_id
        self.lacking.append((stage, gen_id))
        if fate < 0.005:
            write_folder(place, b"{}")
        elif fate < 0.01:
            write_folder(place.with_name(f"{gen_id}.broken"), b"{")
        elif fate < 0.02:
            write_folder(place, b"{}", text=None)
        elif fate < 0.04:
            for number, kind in enumerate(["truncated", self.chance.choice(["empty", "bought_twice"])], start=1):
                attempt = {"reason": {"kind": kind, "message": "as it was"}}
                write_folder(self.root / "attempts" / stage / gen_id / str(number), json.dumps(attempt).encode())


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with memory_folder() as folder:
        root = make_pool(folder / "pool").root
        for cohort_id, wants in COHORTS.items():
            write_rows(root, wants.rows, f"{cohort_id}.csv")
            write_spec(root, cohort_id, rows=f"{cohort_id}.csv", **wants.spec())
        filler = Filler(root)
        filler.fill()
        print(f"\n{filler.written:,} generations, {filler.legacy:,} of them with legacy ids")
        assert filler.written >= 10_000
        assert 0.3 < filler.legacy / filler.written < 0.37
        claims = Claims(PoolLayout(root))
        for stage, gen_id in filler.lacking[::7]:
            assert claims.take(stage, gen_id)
        (root / "claimed.txt").write_text("".join(f"{stage} {gen_id}\n" for stage, gen_id in filler.lacking[::7]))
        yield root


def template_digest(root: Path, stage: str, name: str) -> str:
    """Return the fingerprint of a template that has neither front matter nor includes."""
    source = (root / "templates" / stage / f"{name}.j2").read_text()
    front: dict[str, object] = {}
    if source.startswith("---\n"):
        head, source = source.removeprefix("---\n").split("---\n", 1)
        front = yaml.safe_load(head)
    value = {"source": source, "front": front, "includes": {}}
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def drifted_in(root: Path, stage: str) -> set[str]:
    """Return the generations of a stage whose template is not what its name stands for now, by reading them all."""
    found = set()
    for path in (root / "gens" / stage).glob("*/metadata.json"):
        try:
            record = json.loads(path.read_text())
        except ValueError:
            continue
        stated = record.get("fingerprints", {}).get("template")
        if stated and stated != template_digest(root, stage, record["template_id"]):
            found.add(path.parent.name)
    return found


def claimed_in(root: Path, stage: str) -> set[str]:
    lines = (line.split() for line in (root / "claimed.txt").read_text().splitlines())
    return {gen_id for name, gen_id in lines if name == stage}


@pytest.fixture(scope="module")
def plans(root: Path) -> dict[str, Plan]:
    return {cohort_id: Pool.open(root).plan(cohort_id) for cohort_id in COHORTS}


@pytest.fixture(scope="module")
def scans(root: Path) -> dict[str, Scanned]:
    return {stage: scan(root, stage) for stage in CHOICES}


@pytest.mark.parametrize("cohort_id", COHORTS)
def test_every_count_of_every_plan_is_that_of_the_files(
    root: Path, plans: dict[str, Plan], scans: dict[str, Scanned], cohort_id: str
) -> None:
    plan = plans[cohort_id]
    tasks = expected(root, COHORTS[cohort_id], scans=scans)
    assert [part.stage.name for part in plan.stages] == list(tasks)
    for part in plan.stages:
        name = part.stage.name
        also = drifted_in(root, name), claimed_in(root, name)
        assert part.row(plan.cohort_id) == counted(tasks[name], cohort_id, *also), name
        assert part.gen_ids == [one.gen_id for one in tasks[name]]
        assert [STATES[State(state)] for state in part.states] == [one.state for one in tasks[name]]
        assert part.origins() == Counter(one.origin for one in tasks[name] if one.state == "reuse")
    every = [one for stage in tasks.values() for one in stage]
    assert plan.missing == sum(one.state != "reuse" for one in every)
    assert plan.to_make == sum(one.state in {"mint", "incomplete"} for one in every)


def test_the_cohorts_meet_every_case(plans: dict[str, Plan]) -> None:
    """Or the test above shows less than it says."""
    rows = [part.row(plan.cohort_id) for plan in plans.values() for part in plan.stages]
    assert all(sum(row[name] for row in rows) > 0 for name in rows[0]), rows


@pytest.mark.parametrize("cohort_id", ["one", "five"])
def test_a_scope_counts_what_the_plan_counted(root: Path, plans: dict[str, Plan], cohort_id: str) -> None:
    pool, plan = Pool.open(root), plans[cohort_id]
    pool.layout.membership(cohort_id).write_bytes(membership_bytes(plan))
    counts = {name: asdict(one) for name, one in pool.scope(cohort_id).counts().items()}
    for part in plan.stages:
        row = part.row(plan.cohort_id)
        unusable, here = row["unusable"], counts[part.stage.name]
        assert (here["wanted"], here["own"], here["reused"]) == (row["wanted"], row["own"], row["others"])
        assert (here["unusable"], here["missing"]) == (unusable, row["wanted"] - row["reused"] - unusable)
