"""The nearest signature, asked of the index, set against looking at all of a stage."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from benchmarks.make_pool import Shape, make_pool

from genpool.pool import Pool
from genpool.signatures import Signature

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.signatures import FieldValue
    from genpool.why import Why


def nearest_of(pool: Pool, signature: Signature) -> str | None:
    """Look at everything: most fields agree, then the replicate, then the first id."""
    with closing(pool.catalog()) as catalog:
        ranked = [
            (
                -sum(one == two for one, two in zip(signature.values[:-1], other.values[:-1], strict=True)),
                signature.replicate != other.replicate,
                gen_id,
            )
            for gen_id, other in catalog.signatures(signature.stage)
        ]
    return min(ranked)[2] if ranked else None


def altered(signature: Signature, others: list[Signature], dice: random.Random) -> Signature:
    """Return a signature with some of its values exchanged for those of another, or for some that nothing has."""
    fields: dict[str, FieldValue] = dict(signature.as_dict())
    for name in dice.sample(sorted(fields), dice.randint(1, len(fields))):
        if name == "replicate":
            fields[name] = dice.choice([1, 2, 3, 77])
        else:
            fields[name] = dice.choice([dice.choice(others).as_dict()[name], "unknown"])
    return Signature.of(signature.stage, fields)


def found(why: Why) -> str | None:
    return why.gen_id if why.exists else why.nearest and why.nearest.gen_id


@pytest.mark.parametrize("legacy", [0, 10])
def test_the_nearest_signature_is_that_of_all_of_the_stage(tmp_path: Path, legacy: int) -> None:
    make_pool(tmp_path / "pool", Shape(tasks=440, legacy=legacy))
    pool, dice, near = Pool.open(tmp_path / "pool"), random.Random(legacy), 0
    for stage in pool.config.pipeline:
        with closing(pool.catalog()) as catalog:
            there = [signature for _, signature in catalog.signatures(stage) if signature.replicate]
        for _ in range(60):
            asked = altered(dice.choice(there), there, dice)
            why = pool.why(asked)
            near += not why.exists
            assert found(why) == nearest_of(pool, asked) or why.exists, asked
    assert near > 50


def test_of_a_stage_without_generations_nothing_is_nearest(tmp_path: Path) -> None:
    make_pool(tmp_path / "pool", Shape(tasks=440))
    pool = Pool.open(tmp_path / "pool")
    stage = pool.config.pipeline["draft"]
    with closing(pool.catalog()) as catalog:
        some = next(signature for _, signature in catalog.signatures(stage))
    pool.layout.stage("draft").rename(tmp_path / "elsewhere")
    why = pool.why(some)
    assert not why.exists
    assert why.nearest is None
