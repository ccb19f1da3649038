"""How a cohort's members stand, as columns: what of its membership exists, whose it is, how it was judged.

Own, reused and missing come from setting the membership against the catalog. A member that exists has the fields that
its record states, one that does not has those of the membership. A legacy generation's replicate is its slot: the one
that the membership gives it, else that of its family. No generation's files are opened here.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
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
    from genpool.catalog_rows import Rows
    from genpool.change_tokens import StageToken
    from genpool.membership import Members, StageMembers
    from genpool.present import Present
    from genpool.signatures import FieldValue
    from genpool.stages import Stage

OWN: Final = "own"
REUSED: Final = "reused"
MISSING: Final = "missing"
UNUSABLE: Final = "unusable"
_AT_ONCE: Final = 20_000
"""So many rows of the catalog are turned into columns at once."""
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
        return _stated(self.stage, {name: column[row] for name, column in self.fields.items()})


def _stated(stage: Stage, said: Mapping[str, FieldValue | None]) -> Signature:
    return Signature.of(stage, {name: value for name, value in said.items() if value is not None})


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

    def missing(self, stage: str, row: int) -> Signature:
        """Return the signature of a member that has no generation, as the membership states it.

        Raises:
            InvalidSignature: The membership does not state a whole one.
        """
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
        self._states: dict[str, Coded[str]] = {}
        self._columns: dict[str, StageColumns] = {}
        self.tokens: dict[str, StageToken] = {}
        """Of the stages whose columns were asked for: the change token of the moment that the columns are of."""
        self.runs: Sequence[tuple[str, int]] = members.runs
        self.stages: Sequence[str] = tuple(members.stages)

    def gen_ids(self, stage: str) -> Sequence[str]:
        """See `Standing.gen_ids`."""
        return self._members.stages[stage].gen_ids

    def states(self, stage: str) -> Coded[str]:
        """See `Standing.states`. Of the catalog only ids and their makings are read."""
        if stage not in self._states:
            members = self._members.stages[stage]
            with closing(self._open()) as catalog:
                found = catalog.snapshot(members.stage, _IDS, _by_id)
            makings = Coded.of(map(found.rows.get, members.gen_ids))
            self._states[stage] = self._standing(members, makings, found.odd)
        return self._states[stage]

    def _standing(self, members: StageMembers, makings: Coded[int | None], odd: Present) -> Coded[str]:
        """Return how members stand, each given the number of its generation's making; None where it has none."""
        of_making = {number: OWN if one.origin == self._cohort_id else REUSED for number, one in odd.makings.items()}
        states = Coded.recoded(
            [MISSING if number is None else of_making[number] for number in makings.values], makings.codes
        )
        if not odd.unusable and not odd.legacy:
            return states
        found = list(states)
        for row in range(len(found)):
            if _problem(members, row, odd, self._salt) is not None:
                found[row] = UNUSABLE
        return Coded.of(found)

    def problem(self, stage: str, row: int) -> str | None:
        """Return what is wrong with a member that is unusable."""
        members = self._members.stages[stage]
        with closing(self._open()) as catalog:
            entry = catalog.entry(members.stage, members.gen_ids[row])
            if entry is None:
                return None
            odd = catalog.snapshot(members.stage, ("gen_id",), lambda _: None).odd
            return entry.problem or _problem(members, row, odd, self._salt)

    def columns(self, stage: str) -> StageColumns:
        """See `Standing.columns`."""
        if stage not in self._columns:
            members = self._members.stages[stage]
            wanted = frozenset(members.gen_ids)
            with closing(self._open()) as catalog:
                found = catalog.snapshot(members.stage, _READ, lambda rows: _Known(members.stage, wanted, rows))
            self._columns[stage] = self._joined(members, found.rows, found.odd)
            self._states[stage] = self._columns[stage].states
            self.tokens[stage] = found.token
        return self._columns[stage]

    def missing(self, stage: str, row: int) -> Signature:
        """See `Standing.missing`. Of the catalog nothing is read: it has nothing of such a member."""
        members = self._members.stages[stage]
        return _stated(members.stage, {name: members.value(row, name) for name in members.fields})

    def _joined(self, members: StageMembers, known: _Known, odd: Present) -> StageColumns:
        """Return what membership and catalog together say of a stage's members."""
        places = [known.rows.get(gen_id, -1) for gen_id in members.gen_ids]
        making = known.columns["making"]
        states = self._standing(members, _taken(places, making), odd)
        usable = [state in (OWN, REUSED) for state in states.values]
        rows = [place if usable[code] else -1 for place, code in zip(places, states.codes, strict=True)]
        fields = {name: _chosen(rows, known.columns[name], members, name) for name in members.stage.fields}
        slots = _slots_of(odd)
        if slots:
            fields[REPLICATE_FIELD] = _slots(members, rows, fields[REPLICATE_FIELD], slots)
        numbers = _taken(rows, making)
        origins = [None if number is None else odd.makings[number].origin for number in numbers.values]
        scores, least, most = (_taken(rows, known.columns[name]) for name in _SCORE)
        return StageColumns(
            members.stage,
            members.gen_ids,
            fields,
            states,
            Coded.recoded(origins, numbers.codes),
            scores,
            least,
            most,
        )


_IDS: Final = ("group_concat(gen_id, ' ')", "group_concat(making, ' ')")
"""Ids and makings, each as one text that SQLite makes: to hand a million rows over costs more than what follows."""


def _by_id(rows: Rows) -> dict[str, int]:
    """Return the making of each generation by its id."""
    ((gen_ids, makings),) = rows
    if gen_ids is None:
        return {}
    numbers = makings.split(" ")
    if len(set(numbers)) == 1:
        return dict.fromkeys(gen_ids.split(" "), int(numbers[0]))
    number = {text: int(text) for text in set(numbers)}
    return dict(zip(gen_ids.split(" "), map(number.__getitem__, numbers), strict=True))


_SCORE: Final = ("score", "least", "most")
_READ: Final = ("gen_id", "source", "choices", "replicate", "making", *_SCORE)


def columns_of(stage: Stage, gen_ids: Iterable[str] | None, catalog: Catalog, state: str) -> StageColumns:
    """Return what the catalog holds of generations, whatever cohorts they are in; in no order that means anything.

    Args:
        stage: Their stage.
        gen_ids: Which; None for all. What is not whole is left out.
        catalog: The index of the store.
        state: What their state is called.
    """
    wanted = None if gen_ids is None else frozenset(gen_ids)
    found = catalog.snapshot(stage, _READ, lambda rows: _Known(stage, wanted, rows))
    known, slots = found.rows, _slots_of(found.odd)
    fields = {name: known.columns[name] for name in stage.fields}
    if slots:
        replicates = zip(known.rows, fields[REPLICATE_FIELD], strict=True)
        fields[REPLICATE_FIELD] = Coded.of(slots.get(gen_id, replicate) for gen_id, replicate in replicates)
    making = known.columns["making"]
    origins = Coded.recoded([found.odd.makings[number].origin for number in making.values], making.codes)
    states = Coded.constant(state, len(known.rows))
    scores, least, most = (known.columns[name] for name in _SCORE)
    return StageColumns(stage, list(known.rows), fields, states, origins, scores, least, most)


class _Known:
    """What the catalog holds of some generations of a stage, in columns of its own order."""

    def __init__(self, stage: Stage, wanted: frozenset[str] | None, rows: Rows) -> None:
        sources, choices, replicates, makings, scores = coders = tuple(Coder[Any]() for _ in range(5))
        self.rows: dict[str, int] = {}
        while chunk := list(islice(rows, _AT_ONCE)):
            kept = chunk if wanted is None else [row for row in chunk if row[0] in wanted]
            self.rows.update(zip((row[0] for row in kept), count(len(self.rows)), strict=False))
            for at, coder in enumerate(coders[:-1], start=1):
                coder.extend([row[at] for row in kept])
            scores.extend([row[-3:] for row in kept])
        self.columns: dict[str, Coded[Any]] = {
            stage.fields[0]: sources.column(),
            REPLICATE_FIELD: replicates.column(),
            "making": makings.column(),
            **_axes(stage, choices.column()),
            **_judged(stage, scores.column()),
        }


def _slots_of(odd: Present) -> dict[str, int]:
    """Return the slots of legacy generations in their families."""
    slots: dict[str, int] = {}
    for family in odd.families.values():
        slots.update((gen_id, slot) for slot, gen_id in family.items() if gen_id in odd.legacy)
    return slots


def _axes(stage: Stage, choices: Coded[str]) -> dict[str, Coded[Any]]:
    """Return the columns of a stage's axes, of a column of their values as canonical JSON."""
    values = [orjson.loads(one) for one in choices.values]
    return {
        name: Coded.recoded([one[place] for one in values], choices.codes)
        for place, name in enumerate(stage.fields[1:-1])
    }


def _judged(stage: Stage, found: Coded[tuple[float | None, ...]]) -> dict[str, Coded[Any]]:
    """Return the columns of the scores and their scales; what is no number is none, as it is where nothing judges."""
    unscored = (None, None, None)
    scores = [one if stage.judges and _is_finite(one) else unscored for one in found.values]
    return {name: Coded.recoded([one[at] for one in scores], found.codes) for at, name in enumerate(_SCORE)}


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


def _problem(members: StageMembers, row: int, odd: Present, salt: str) -> str | None:
    """Return what is wrong with what is kept under a member's id."""
    return odd.unusable.get(members.gen_ids[row]) or _of_another_task(members, row, odd, salt)


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
