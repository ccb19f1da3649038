"""Two cohorts with manifests, and what is asked of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from genpool.pool import Pool
from tests.small_pools import (
    make_pool,
    models,
    whole_cohort,
    write_rows,
)

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.scope import CohortScope


def two_cohorts(root: Path) -> Path:
    """Make a pool with cohorts `first` (rows 0 and 1) and `second` (rows 1 and 2), both run; one draft is gone."""
    pool = make_pool(root, rows=3)
    whole_cohort(pool.root, "first")
    whole_cohort(pool.root, "second")
    write_rows(pool.root, [0, 1])
    pool.run("first", models=models())
    write_rows(pool.root, [1, 2])
    Pool.open(pool.root).run("second", models=models())
    gone = Pool.open(pool.root).scope("second").columns("draft")["draft"].gen_ids[1]
    shutil.rmtree(pool.root / "gens" / "draft" / gone)
    for cohort in ("first", "second"):
        Pool.open(pool.root).manifests.write(cohort)
    return pool.root


def manifest_of(root: Path, cohort: str = "second") -> Path:
    return root / "cohorts" / cohort / "manifest.json"


def scope_of(root: Path, cohort: str = "second") -> CohortScope:
    return Pool.open(root).scope(cohort)


def answers(root: Path, cohort: str) -> tuple[str, Any]:
    """Return what a scope's answers came from, and all of them."""
    scope = scope_of(root, cohort)
    listing = scope.matching(where={"replicate": ["1"]})
    told = (
        scope.member_ids,
        scope.counts(),
        scope.columns(),
        scope.problems(),
        list(scope.missing()) if all(one.fields for one in scope.members()) else None,
        scope.mean_scores(),
        [(one.gen_id, one.state, one.fields) for one in listing.members],
        listing.unread,
    )
    return scope.answered_from, told


def sealed(value: dict[str, Any], rest: bytes | None = None) -> bytes:
    """Return a manifest's bytes with the checksum that fits, whatever they say."""
    of = {name: one for name, one in value.items() if name not in {"format", "checksum", "order", "stages"}}
    columns = {name: value[name] for name in ("order", "stages") if name in value}
    lines = rest or f"{json.dumps(of)[1:-1]},\n{json.dumps(columns)[1:]}\n".encode()
    return b'{"format":"%s","checksum":"%s",\n%s' % (
        value["format"].encode(),
        hashlib.sha256(lines).hexdigest().encode(),
        lines,
    )


def remove_one(root: Path) -> None:
    shutil.rmtree(next((root / "gens/essay").iterdir()))
