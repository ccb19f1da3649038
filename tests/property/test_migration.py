"""Pools with defects at random: a plan never guesses, apply and verify go through, a rollback restores every byte."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.legacy_pools import CHOICES, PARENTS, right_id, write_folder, write_legacy, write_right
from tests.small_pools import make_pool, memory_folder
from tests.unit.migration.conftest import migrations, whole_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.migration.plan_file import Plan

ODD_REPLICATES = (1, 2, 3, "1", "2", 0, None, "x", -1, True)


def random_pool(root: Path, rng: random.Random) -> None:
    """Write generations of three stages in the shapes of real stores, then harm some."""
    make_pool(root)
    ids: dict[str, list[str]] = {"draft": [], "essay": [], "evaluation": []}
    for stage, fields in CHOICES.items():
        above = ids[str(PARENTS[stage])] if PARENTS[stage] else []
        for number in range(rng.randrange(1, 9)):
            source = f"row-{rng.randrange(2)}"
            if PARENTS[stage]:
                source = rng.choice([*above, *above, "nowhere", *ids["evaluation"][:1]])
            values = (source, *(rng.choice(("plain", "long")) for _ in fields[1:]))
            stated = rng.choice(ODD_REPLICATES)
            name = rng.choice((f"old-{stage}-{number}", f"Old{number}", f"x{number}"))
            if rng.random() < 0.15:  # an id that another one would get
                name = right_id(stage, {**dict(zip(fields, values, strict=True)), "replicate": rng.randrange(1, 4)})
            if (root / "gens" / stage / name).exists():
                continue
            if rng.random() < 0.3:
                made = right_id(stage, {**dict(zip(fields, values, strict=True)), "replicate": 1})
                if not (root / "gens" / stage / made).exists():
                    ids[stage].append(write_right(root, stage, *values))
                continue
            keys = {} if stated is None else {"replicate": stated}
            text = rng.choice(("An old text.\n", "Another.\n"))
            ids[stage].append(write_legacy(root, stage, name, *values, text=text, **keys))
    for _ in range(rng.randrange(4)):
        rng.choice(HARMS)(root, rng)
    members = [f"{stage},{gen_id}" for stage, found in ids.items() for gen_id in found if rng.random() < 0.8]
    (root / "cohorts/c").mkdir(parents=True)
    (root / "cohorts/c/membership.csv").write_text("\n".join(["stage,gen_id", *members, "draft,gone", ""]))


def some(root: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(path for path in root.glob("gens/*/*") if not path.is_symlink()))


def rewritten(root: Path, rng: random.Random, change: Callable[[dict[str, object]], object]) -> None:
    path = some(root, rng) / "metadata.json"
    if path.is_file():
        try:
            value = json.loads(path.read_text())
        except ValueError:
            return
        if not isinstance(value, dict):
            return
        change(value)
        path.write_text(json.dumps(value))


def renamed_key(root: Path, rng: random.Random) -> None:
    old, new = rng.choice((("llm_model_id", "model_id"), ("template_id", "essay_template")))
    rewritten(root, rng, lambda value: value.update({new: value.pop(old)}) if old in value else None)


HARMS: tuple[Callable[[Path, random.Random], object], ...] = (
    lambda root, rng: (some(root, rng) / "metadata.json").unlink(missing_ok=True),
    lambda root, rng: (some(root, rng) / "parsed.txt").unlink(missing_ok=True),
    lambda root, rng: (some(root, rng) / "metadata.json").write_bytes(b'{"torn'),
    lambda root, rng: rewritten(root, rng, lambda value: value.pop("template_id", None)),
    lambda root, rng: rewritten(root, rng, lambda value: value.update(template_id="changed")),
    lambda root, rng: rewritten(root, rng, lambda value: value.update(gen_id="another")),
    lambda root, rng: rewritten(root, rng, lambda value: value.update(big=2**60)),
    renamed_key,
    lambda root, rng: (root / f"gens/draft/link{rng.random()}").symlink_to("nowhere"),
    lambda root, rng: (root / "gens/essay/empty").mkdir(exist_ok=True),
    lambda root, rng: write_folder(root / f"gens/essay/list{rng.random()}", b"[]"),
)


def check_mapping(plan: Plan, root: Path) -> None:
    """No id is given twice or to two, and each is the hash of what the record says, under its parent's new id."""
    rows = [row for row in plan.rows if row.place == "gens"]
    new = {(row.stage, row.old_id): row.new_id for row in rows}
    assert len({(row.stage, row.new_id) for row in rows}) == len(rows)
    for row in rows:
        value = json.loads((root / "gens" / row.stage / row.old_id / "metadata.json").read_text())
        fields: dict[str, object] = {}
        for name in CHOICES[row.stage]:
            older = {"llm_model_id": "model_id", "template_id": f"{row.stage}_template"}.get(name, name)
            fields[name] = value.get(name, value.get(older))
        parent = PARENTS[row.stage]
        if parent:
            source = str(fields["parent_gen_id"])
            fields["parent_gen_id"] = new.get((parent, source), source)
        assert row.new_id == right_id(row.stage, {**fields, "replicate": row.replicate})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_is_wrong_with_a_pool(seed: int) -> None:
    rng = random.Random(seed)
    with memory_folder() as folder:
        root = folder / "pool"
        random_pool(root, rng)
        before = whole_tree(root)
        at = migrations(root, batch=rng.choice((1, 2, 5, 100)))
        planned = at.plan()
        touched = {(row.stage, row.old_id) for row in planned.rows}
        for one in planned.blocking:
            stage, gen_id = one.path.split("/")[1:3]
            assert (stage, gen_id) not in touched, one
        there = {(path.parent.name, path.name) for path in root.glob("gens/*/*")}
        there |= {("draft", name) for name in os.listdir(root / "gens/draft")}  # noqa: PTH208 - dangling links too
        right = {(stage, gen_id) for stage, gen_id in there - touched}
        named = {tuple(one.path.split("/")[1:3]) for one in planned.blocking}
        unnamed = right - named
        for stage, gen_id in unnamed:  # what is neither touched nor named is right as it stands
            value = json.loads((root / "gens" / stage / gen_id / "metadata.json").read_text())
            assert value["id_scheme"] == "genpool/1", (stage, gen_id)
        if planned.is_empty:
            return
        plan = at.write(planned)
        check_mapping(plan, root)
        at.apply(plan.migration_id)
        report = at.verify(plan.migration_id)
        assert report.is_right, report.problems
        again = at.standing(plan.migration_id).state
        assert again == "applied"
        at.roll_back(plan.migration_id)
        assert whole_tree(root) == before
        assert at.verify(plan.migration_id).is_right
