"""How a cohort's members stand, as columns: what of its membership exists, whose it is, how it was judged.

Own, reused and missing come from setting the membership against the catalog. A member that exists has the fields that
its record states, one that does not has those of the membership. A legacy generation's replicate is its slot: the one
that the membership gives it, else that of its family. No generation's files are opened here.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from genpool.coded import Coded, Coder
from genpool.errors import InvalidSignature
from genpool.gen_ids import gen_id as id_of
from genpool.membership import typed_value
from genpool.present import of_another_task
from genpool.signatures import Signature
from genpool.stages import PARENT_FIELD, REPLICATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from genpool.catalog import Catalog
    from genpool.membership import Members, StageMembers
    from genpool.present import Present
    from genpool.signatures import FieldValue
    from genpool.stages import Stage

OWN: Final = "own"
REUSED: Final = "reused"
MISSING: Final = "missing"
UNUSABLE: Final = "unusable"
STATES: Final = frozenset({OWN, REUSED, MISSING, UNUSABLE})


@dataclass(frozen=True, slots=True)
class StageColumns:
    """The members of one stage and how they stand: a row a member, in plan order."""

    stage: Stage
    gen_ids: Sequence[str]
    fields: Mapping[str, Coded[FieldValue | None]]
    """The signature's fields by name; None where neither a record nor the membership says it."""
    states: Coded[str]
    """`own` (this cohort's run made it), `reused` (another's), `missing`, or `unusable` (its record is damaged, or
    states another task)."""
    origins: Coded[str | None]
    """The cohort whose run made it; None where it is missing or unusable, or nothing says so."""
    scores: Coded[float | None]
    """The score; None where it was given none."""
    least: Coded[float | None]
    """The least score of the scale that it was given on."""
    most: Coded[float | None]
    """The most."""

    @property
    def parents(self) -> Coded[FieldValue | None] | None:
        """What each starts from; None where the stage is a root."""
        return self.fields.get(PARENT_FIELD)

    def signature(self, row: int) -> Signature:
        """Return a member's signature.

        Raises:
            InvalidSignature: Neither a record nor the membership states a whole one.
        """
        said = {name: column[row] for name, column in self.fields.items()}
        return Signature.of(self.stage, {name: value for name, value in said.items() if value is not None})


class Standing(Protocol):
    """How the members of one cohort stand, wherever that comes from."""

    @property
    def runs(self) -> Sequence[tuple[str, int]]:
        """The plan order: a stage, and how many of its members come next."""
        ...

    @property
    def stages(self) -> Sequence[str]:
        """The stages that have a member, in the order in which they first do."""
        ...

    def gen_ids(self, stage: str) -> Sequence[str]:
        """Return the ids of a stage's members, in plan order."""
        ...

    def states(self, stage: str) -> Coded[str]:
        """Return how a stage's members stand."""
        ...

    def columns(self, stage: str) -> StageColumns:
        """Return all that is known of a stage's members."""
        ...


class CatalogStanding:
    """How members stand by membership and catalog.

    Args:
        members: The membership.
        open_catalog: Opens the index of the store.
        cohort_id: The cohort.
        salt: The pool's salt.
    """

    def __init__(self, members: Members, open_catalog: Callable[[], Catalog], cohort_id: str, salt: str) -> None:
        self._members = members
        self._open = open_catalog
        self._cohort_id = cohort_id
        self._salt = salt
        self.runs: Sequence[tuple[str, int]] = members.runs
        self.stages: Sequence[str] = tuple(members.stages)
        self.present = cache(self._present)
        self.states = cache(self._states)
        self.columns = cache(self._columns)

    def gen_ids(self, stage: str) -> Sequence[str]:
        """See `Standing.gen_ids`."""
        return self._members.stages[stage].gen_ids

    def _present(self, stage: str) -> Present:
        """Return what the store holds of a stage."""
        with closing(self._open()) as catalog:
            return catalog.present(self._members.stages[stage].stage)

    def problem(self, stage: str, row: int) -> str | None:
        """Return what is wrong with a member that is unusable."""
        members = self._members.stages[stage]
        present = self.present(stage)
        return present.unusable.get(members.gen_ids[row]) or _of_another_task(members, row, present, self._salt)

    def _states(self, stage: str) -> Coded[str]:
        members, present = self._members.stages[stage], self.present(stage)
        whole, makings = present.whole, present.makings
        of_making = {number: OWN if one.origin == self._cohort_id else REUSED for number, one in makings.items()}
        found = [whole.get(gen_id) for gen_id in members.gen_ids]
        states = [MISSING if one is None else of_making[one[1]] for one in found]
        if present.unusable or present.legacy:
            for row, gen_id in enumerate(members.gen_ids):
                if gen_id in present.unusable or (
                    gen_id in present.legacy and _of_another_task(members, row, present, self._salt) is not None
                ):
                    states[row] = UNUSABLE
        return Coded.of(states)

    def _columns(self, stage: str) -> StageColumns:
        members, states = self._members.stages[stage], self.states(stage)
        with closing(self._open()) as catalog:
            known = _Known(members.stage, frozenset(members.gen_ids), catalog, self.present(stage))
        usable = [state in (OWN, REUSED) for state in states.values]
        rows = [
            known.rows.get(gen_id, -1) if usable[code] else -1
            for gen_id, code in zip(members.gen_ids, states.codes, strict=True)
        ]
        fields = {name: _chosen(rows, known.columns[name], members, name) for name in members.stage.fields}
        if known.slots:
            fields[REPLICATE_FIELD] = _slots(members, rows, fields[REPLICATE_FIELD], known.slots)
        found = {name: _taken(rows, known.columns[name]) for name in ("origin", "score", "least", "most")}
        return StageColumns(
            members.stage,
            members.gen_ids,
            fields,
            states,
            found["origin"],
            found["score"],
            found["least"],
            found["most"],
        )


def columns_of(stage: Stage, gen_ids: Iterable[str] | None, catalog: Catalog, state: str) -> StageColumns:
    """Return what the catalog holds of generations, whatever cohorts they are in; in no order that means anything.

    Args:
        stage: Their stage.
        gen_ids: Which; None for all. What is not whole is left out.
        catalog: The index of the store.
        state: What their state is called.
    """
    present = catalog.present(stage)
    known = _Known(stage, frozenset(present.whole if gen_ids is None else gen_ids), catalog, present)
    columns = known.columns
    if known.slots:
        replicates = zip(known.rows, columns[REPLICATE_FIELD], strict=True)
        columns[REPLICATE_FIELD] = Coded.of(known.slots.get(gen_id, replicate) for gen_id, replicate in replicates)
    return StageColumns(
        stage,
        list(known.rows),
        {name: columns[name] for name in stage.fields},
        Coded.constant(state, len(known.rows)),
        columns["origin"],
        columns["score"],
        columns["least"],
        columns["most"],
    )


class _Known:
    """What the catalog holds of some generations of a stage, in columns of its own order."""

    def __init__(self, stage: Stage, wanted: frozenset[str], catalog: Catalog, present: Present) -> None:
        sources, choices, replicates, origins = (Coder[Any]() for _ in range(4))
        self.rows: dict[str, int] = {}
        for gen_id, *values in catalog.whole(stage):
            if gen_id in wanted:
                self.rows[gen_id] = len(self.rows)
                for coder, value in zip((sources, choices, replicates, origins), values, strict=True):
                    coder.append(value)
        self.columns: dict[str, Coded[Any]] = {
            stage.fields[0]: sources.column(),
            REPLICATE_FIELD: replicates.column(),
            "origin": origins.column(),
            **_axes(stage, choices.column()),
            **_judged(catalog.scores(stage) if stage.judges else {}, self.rows),
        }
        self.slots = {
            gen_id: slot
            for family in present.families.values()
            for slot, gen_id in family.items()
            if gen_id in present.legacy
        }
        """The legacy ones, each with its slot in its family."""


def _axes(stage: Stage, choices: Coded[str]) -> dict[str, Coded[Any]]:
    """Return the columns of a stage's axes, of a column of their values as canonical JSON."""
    values = [orjson.loads(one) for one in choices.values]
    return {
        name: Coded.recoded([one[place] for one in values], choices.codes)
        for place, name in enumerate(stage.fields[1:-1])
    }


def _judged(scores: Mapping[str, tuple[float, float, float]], gen_ids: Iterable[str]) -> dict[str, Coded[Any]]:
    """Return the columns of the scores and their scales; what is no number is none."""
    unscored = (None, None, None)
    found = Coded.of(scores.get(gen_id, unscored) for gen_id in gen_ids)
    finite = [one if _is_finite(one) else unscored for one in found.values]
    return {
        name: Coded.recoded([one[place] for one in finite], found.codes)
        for place, name in enumerate(("score", "least", "most"))
    }


def _is_finite(numbers: Iterable[float | None]) -> bool:
    return all(number is not None and isfinite(number) for number in numbers)


def _chosen(
    rows: Sequence[int], known: Coded[FieldValue], members: StageMembers, name: str
) -> Coded[FieldValue | None]:
    """Return a field's column: as the catalog has it, and where a row has no place there as the membership does."""
    said = members.fields[name]
    places: dict[FieldValue | None, int] = {}
    from_catalog = [places.setdefault(value, len(places)) for value in known.values]
    from_members = [places.setdefault(typed_value(name, text), len(places)) for text in said.values]
    codes = [
        from_members[other] if row < 0 else from_catalog[known.codes[row]]
        for row, other in zip(rows, said.codes, strict=True)
    ]
    return Coded.recoded(tuple(places), codes)


def _taken(rows: Sequence[int], known: Coded[Any]) -> Coded[Any]:
    """Return a column as the catalog has it; None where a row has no place there."""
    nothing = len(known.values)
    codes = [nothing if row < 0 else known.codes[row] for row in rows]
    return Coded.recoded((*known.values, None), codes)


def _slots(
    members: StageMembers, rows: Sequence[int], column: Coded[FieldValue | None], slots: Mapping[str, int]
) -> Coded[FieldValue | None]:
    """Return the replicates, those of legacy generations by their slots: the membership's, else the family's."""
    values = list(column)
    for row, gen_id in enumerate(members.gen_ids):
        if rows[row] >= 0 and gen_id in slots:
            said = members.value(row, REPLICATE_FIELD)
            values[row] = said if isinstance(said, int) else slots[gen_id]
    return Coded.of(values)


def _of_another_task(members: StageMembers, row: int, present: Present, salt: str) -> str | None:
    """Return what is wrong where a legacy record of another task stands under a member's id, as a plan says it."""
    gen_id = members.gen_ids[row]
    if gen_id not in present.legacy:
        return None
    said = {name: members.value(row, name) for name in members.stage.fields}
    try:
        signature = Signature.of(members.stage, {name: value for name, value in said.items() if value is not None})
    except InvalidSignature:
        return None  # a membership need not have the fields: then the record says what it is
    minted = id_of(signature, salt)
    return of_another_task(present, signature, minted) if minted == gen_id else None
