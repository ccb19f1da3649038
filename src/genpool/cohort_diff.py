"""Two cohorts side by side: their specs, the members they share, what names stood for, how texts were judged.

All but the specs is from memberships, catalog and scores: a cohort whose spec is gone can be compared too.
"""

from __future__ import annotations

import difflib
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from genpool.durable import reading
from genpool.errors import StorageFailed, UsageError
from genpool.scores import MADE_STATES, aggregated_scores, axes_of
from genpool.stages import MODEL_FIELD, TEMPLATE_FIELD
from genpool.standing import MISSING, UNUSABLE
from genpool.tables import Table, left_out, mean_scores, varying

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from genpool.catalog import Catalog
    from genpool.layout import PoolLayout
    from genpool.scope import CohortScope
    from genpool.stages import Stage
    from genpool.standing import StageColumns

_SHORT: Final = 12  # hex digits: enough to tell a handful of digests apart


@dataclass(frozen=True, slots=True)
class SharedMembers:
    """The members of one stage in two cohorts."""

    stage: str
    first: int
    """How many the first has."""
    second: int
    both: int
    only_first: int
    only_second: int
    missing_first: int
    """Of the first's, those without a usable generation."""
    missing_second: int


@dataclass(frozen=True, slots=True)
class Meaning:
    """A name that stood for different things when the members of two cohorts were made."""

    kind: str
    """`template` or `model`."""
    name: str
    first: Mapping[str, int]
    """The fingerprints in the first cohort, shortened, each with how many members were made by it."""
    second: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CohortDiff:
    """Two cohorts side by side."""

    first: str
    second: str
    spec: tuple[str, ...]
    """The lines of a text diff of the specs; none where they are the same."""
    members: tuple[SharedMembers, ...]
    drift: tuple[Meaning, ...]
    scores: Table
    """A row a combination of levels: mean, scale, texts and judgements in each, and the difference."""
    notes: tuple[str, ...]


def compare(
    layout: PoolLayout, open_catalog: Callable[[], Catalog], first: CohortScope, second: CohortScope
) -> CohortDiff:
    """Compare two cohorts.

    Args:
        layout: The pool's paths.
        open_catalog: Opens the index of the store.
        first: One.
        second: The other.

    Raises:
        UsageError: They are the same cohort.
    """
    if first.cohort_id == second.cohort_id:
        raise UsageError(f"{first.cohort_id!r} is compared with itself", hint="name two cohorts")
    spec, notes = _spec_diff(layout, first.cohort_id, second.cohort_id)
    columns = first.columns(), second.columns()
    stages = [stage for stage in first.pipeline if any(stage.name in one for one in columns)]
    with closing(open_catalog()) as catalog:
        drift = [one for stage in stages for one in _meanings(stage, catalog, *(c.get(stage.name) for c in columns))]
    return CohortDiff(
        first.cohort_id,
        second.cohort_id,
        tuple(spec),
        tuple(_shared(stage.name, *(one.get(stage.name) for one in columns)) for stage in stages),
        tuple(drift),
        _scores(first, second),
        tuple(notes),
    )


def _spec_diff(layout: PoolLayout, first: str, second: str) -> tuple[list[str], list[str]]:
    """Return the text diff of two specs, and what is to be said where one cannot be read."""
    texts, notes = [], []
    for name in (first, second):
        path = layout.spec(name)
        try:
            with reading(path):
                texts.append(path.read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            notes.append(f"cohort {name} has no spec any more: specs are not compared")
        except (UnicodeDecodeError, StorageFailed) as error:
            notes.append(f"the spec of {name} cannot be read, so specs are not compared: {error}")
    if notes:
        return [], notes
    old, new = texts
    return list(difflib.unified_diff(old, new, f"{first}/cohort.yaml", f"{second}/cohort.yaml", lineterm="")), []


def _shared(stage: str, first: StageColumns | None, second: StageColumns | None) -> SharedMembers:
    sets = [frozenset(one.gen_ids) if one else frozenset() for one in (first, second)]
    lacking = []
    for one in (first, second):
        tally = one.states.tally() if one else {}
        lacking.append(tally.get(MISSING, 0) + tally.get(UNUSABLE, 0))
    both = len(sets[0] & sets[1])
    counts = len(sets[0]), len(sets[1])
    return SharedMembers(stage, *counts, both, counts[0] - both, counts[1] - both, *lacking)


# --- what names stood for ---------------------------------------------------------------------------


def _meanings(stage: Stage, catalog: Catalog, first: StageColumns | None, second: StageColumns | None) -> list[Meaning]:
    """Return the names of a stage that members of two cohorts share and that stood for different things in them."""
    if first is None or second is None:
        return []
    present = catalog.present(stage)
    digest = lru_cache(catalog.digest)
    found: list[dict[tuple[str, str], Counter[str]]] = []
    for columns in (first, second):
        counts: dict[tuple[str, str], Counter[str]] = {}
        for row, gen_id in enumerate(columns.gen_ids):
            if columns.states[row] not in MADE_STATES or gen_id not in present.whole:
                continue
            making = present.makings[present.whole[gen_id][1]]
            for (kind, name), number in zip(_names(stage, columns, row), (making.template, making.model), strict=False):
                stated = digest(number)
                if stated is not None:
                    counts.setdefault((kind, name), Counter())[stated[:_SHORT]] += 1
        found.append(counts)
    return [
        Meaning(*key, dict(found[0][key]), dict(found[1][key]))
        for key in found[0]
        if key in found[1] and found[0][key].keys() != found[1][key].keys()
    ]


def _names(stage: Stage, columns: StageColumns, row: int) -> list[tuple[str, str]]:
    """Return what a member's template and model are called; a model is told apart by the template it was called for."""
    template = f"{stage.name}/{columns.fields[TEMPLATE_FIELD][row]}" if TEMPLATE_FIELD in columns.fields else stage.name
    model = columns.fields[MODEL_FIELD][row] if MODEL_FIELD in columns.fields else "model"
    return [("template", template), ("model", f"{model} for {template}")]


# --- scores -----------------------------------------------------------------------------------------


def _scores(first: CohortScope, second: CohortScope) -> Table:
    """Return the means of two cohorts by every axis that has several levels in either."""
    import polars as pl

    frames = [aggregated_scores(one).with_columns(pl.lit(one.cohort_id).alias(_COHORT)) for one in (first, second)]
    together = pl.concat(frames, how="diagonal")
    by = varying(together, axes_of(first.pipeline))
    means = mean_scores(together, [_COHORT, *by])
    keys = [one for one in means.frame.columns if one in by or one == "stage"]
    sides = [
        means.frame.filter(pl.col(_COHORT) == one.cohort_id)
        .drop(_COHORT)
        .rename({name: f"{name} in {one.cohort_id}" for name in ("mean", "scale", "texts", "judgements", "note")})
        .with_columns(pl.lit(1).alias(_ONE))
        for one in (first, second)
    ]
    table = sides[0].join(
        sides[1], on=[*keys, _ONE], how="full", coalesce=True, nulls_equal=True, maintain_order="left_right"
    )
    a, b = first.cohort_id, second.cohort_id
    same = pl.col(f"scale in {a}") == pl.col(f"scale in {b}")
    difference = pl.when(same).then(pl.col(f"mean in {b}") - pl.col(f"mean in {a}")).alias("difference")
    return Table(table.drop(_ONE).with_columns(difference), _said_once(together, means.notes))


def _said_once(together: pl.DataFrame, notes: Sequence[str]) -> tuple[str, ...]:
    """Return the notes on means where a judgement that both cohorts share is counted once."""
    of_rows = set(left_out(together))
    distinct = together.unique(["stage", "gen_id"], keep="first", maintain_order=True)
    return (*left_out(distinct), *(one for one in notes if one not in of_rows))


_COHORT: Final = "cohort"
_ONE: Final = " one"
