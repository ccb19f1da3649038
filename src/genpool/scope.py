"""CohortScope: read-only questions about one cohort, answered from its membership, the catalog and the store.

It never needs the spec, the templates or the network.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from genpool.errors import CorruptGeneration, InvalidSignature, NotFound, PoolError
from genpool.filters import Candidate, choose, read_conditions
from genpool.gen_ids import gen_id as id_of
from genpool.membership import Member, cohort_ids, read_membership
from genpool.notebook import counts_table
from genpool.planner import unacceptable
from genpool.present import of_another_task
from genpool.scores import ABOVE, aggregated_scores, frame_schema, read_reasons
from genpool.signatures import Signature
from genpool.stages import PARENT_FIELD, REPLICATE_FIELD, TEMPLATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    import polars as pl

    from genpool.catalog import Catalog
    from genpool.layout import PoolLayout
    from genpool.present import Present
    from genpool.records import Record
    from genpool.signatures import FieldValue
    from genpool.stages import Pipeline, Stage
    from genpool.store import Attempt, GenerationStore

OWN = "own"
REUSED = "reused"
MISSING = "missing"
UNUSABLE = "unusable"
MADE = "made"

_CANDIDATES = 5
"""So many of the ids that an ambiguous beginning may stand for are told."""


@dataclass(frozen=True, slots=True)
class MemberState:
    """One member and how it stands."""

    stage: str
    gen_id: str
    state: str
    """`own` (this cohort's run made it), `reused` (another's), `missing`, or `unusable` (its record is damaged, or
    states another task); `made` where no cohort was asked about."""
    record: Record | None
    """Its record; None where it is missing or unusable."""
    fields: Mapping[str, FieldValue]
    """Its signature's fields: from the record, or where it is missing from the membership."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What was asked for, and how much of it nobody can tell."""

    members: tuple[MemberState, ...]
    unread: tuple[str, ...] = ()
    """Ids that were left out because they, or something above them, cannot be read."""


@dataclass(slots=True)
class StageCounts:
    """How the members of one stage stand."""

    wanted: int = 0
    own: int = 0
    reused: int = 0
    missing: int = 0
    unusable: int = 0
    """Members whose directory holds something that is not that generation; `problems` says what."""
    attempts: int = 0
    """Attempts kept at missing members: output that was paid for and is not acceptable."""


@dataclass(frozen=True, slots=True)
class MeanScore:
    """The mean of some judgements by one rubric."""

    judged: str
    """The templates of what was judged, nearest the root first."""
    rubric: str
    """The judging template."""
    least: float
    """The least score of the rubric's scale."""
    most: float
    """The most."""
    mean: float
    judgements: int


class CohortScope:
    """Questions about one cohort.

    Args:
        layout: The pool's paths.
        pipeline: The pool's pipeline.
        store: The pool's store.
        present: What each stage holds: a catalog's `present`.
        cohort_id: The cohort.
        salt: The pool's salt.

    Raises:
        NotFound: The cohort has no membership.
    """

    def __init__(
        self,
        layout: PoolLayout,
        pipeline: Pipeline,
        store: GenerationStore,
        present: Callable[[Stage], Present],
        cohort_id: str,
        salt: str,
    ) -> None:
        self.cohort_id = cohort_id
        self._salt = salt
        self._look = present
        self._layout = layout
        self._pipeline = pipeline
        self._store = store
        self._members = read_membership(layout, pipeline, cohort_id)

    @property
    def member_ids(self) -> tuple[str, ...]:
        """The gen ids of all members, in plan order."""
        return tuple(member.gen_id for member in self._members)

    @cached_property
    def _present(self) -> Mapping[str, Present]:
        """Stage name to what the store holds of it, for every stage that has a member."""
        return {name: self._look(self._pipeline[name]) for name in {member.stage for member in self._members}}

    def problems(self) -> dict[str, str]:
        """Return the members that are unusable, each with what is wrong."""
        found = {}
        for member in self._members:
            said = self._present[member.stage].unusable.get(member.gen_id) or self._of_another_task(member)
            if said is not None:
                found[member.gen_id] = said
        return found

    def members(self, stage: str | None = None) -> Iterator[MemberState]:
        """Yield the members, in plan order, each with how it stands.

        Args:
            stage: Only this stage's members.

        Raises:
            CorruptGeneration: A member's record is damaged.
        """
        for member in self._members:
            if stage in {None, member.stage}:
                yield self._state(member)

    def _state(self, member: Member) -> MemberState:
        state = self._standing(member)
        if state in {MISSING, UNUSABLE}:
            return MemberState(member.stage, member.gen_id, state, None, member.fields)
        record = self._record(self._pipeline[member.stage], member.gen_id)
        fields = _stated(record)
        if record.is_legacy and member.fields.get(REPLICATE_FIELD):
            fields[REPLICATE_FIELD] = int(member.fields[REPLICATE_FIELD])  # its slot in this cohort's plan
        return MemberState(member.stage, member.gen_id, state, record, fields)

    def matching(
        self,
        stage: str | None = None,
        *,
        where: Mapping[str, Iterable[str]] | None = None,
        origins: Collection[str] = (),
        states: Collection[str] = (),
    ) -> Listing:
        """Return the members that are asked for, in plan order.

        Args:
            stage: Only this stage's members.
            where: Field to the levels of which it must have one: `template` is a member's own, `draft.template` that
                of the draft in its lineage. All fields must hold.
            origins: Only what runs of these cohorts made.
            states: Only these states (see `MemberState`).

        Raises:
            UsageError: No member has such a field or level, or no cohort is named so.
            CorruptGeneration: The record of a member that is asked for is damaged.
        """
        asked = None if stage is None else self._pipeline[stage]
        conditions = read_conditions(self._pipeline, where or {}, asked)
        members = [one for one in self._members if stage in {None, one.stage}]
        candidates = [Candidate(self._pipeline[one.stage], one.gen_id, self._origin(one)) for one in members]
        chosen = choose(
            self._pipeline,
            candidates,
            self._fields_of,
            conditions,
            origins,
            cohort_ids(self._layout) if origins else (),
        )

        def kept(places: Iterable[int]) -> list[Member]:
            return [members[at] for at in places if not states or self._standing(members[at]) in states]

        return Listing(
            tuple(self._state(one) for one in kept(chosen.places)), tuple(one.gen_id for one in kept(chosen.unread))
        )

    def _origin(self, member: Member) -> str | None:
        present = self._present[member.stage]
        return present.origin(member.gen_id) if member.gen_id in present.whole else None

    @cached_property
    def _known(self) -> dict[tuple[str, str], Mapping[str, FieldValue] | None]:
        """The fields of tasks as far as they were looked up; the membership's lines to begin with."""
        return {
            (one.stage, one.gen_id): one.fields
            for one in self._members
            if len(one.fields) == len(self._pipeline[one.stage].fields)
        }

    def _fields_of(self, stage: Stage, gen_id: str) -> Mapping[str, FieldValue] | None:
        """Return the fields of a member or of what is above one: as the membership says, else its record."""
        key = stage.name, gen_id
        if key not in self._known:
            try:
                self._known[key] = _stated(self._store.record(stage, gen_id))
            except (PoolError, InvalidSignature):
                self._known[key] = None
        return self._known[key]

    def _standing(self, member: Member) -> str:
        """Return how a member stands, from the catalog alone."""
        present = self._present[member.stage]
        if member.gen_id not in present.whole:
            return UNUSABLE if member.gen_id in present.unusable else MISSING
        if self._of_another_task(member) is not None:
            return UNUSABLE
        return OWN if present.origin(member.gen_id) == self.cohort_id else REUSED

    def _of_another_task(self, member: Member) -> str | None:
        """Return what is wrong where a legacy record of another task stands under a member's id, as a plan says it."""
        present = self._present[member.stage]
        if member.gen_id not in present.legacy:
            return None
        try:
            signature = self._signature(member)
        except InvalidSignature:
            return None  # a membership need not have the fields: then the record says what it is
        minted = id_of(signature, self._salt)
        return of_another_task(present, signature, minted) if minted == member.gen_id else None

    def _signature(self, member: Member) -> Signature:
        """Return the signature that the membership states.

        Raises:
            InvalidSignature: It does not state a whole one.
        """
        fields: dict[str, FieldValue] = dict(member.fields)
        stated = member.fields.get(REPLICATE_FIELD, "")
        if stated.isascii() and stated.isdecimal() and len(stated) < 11:
            fields[REPLICATE_FIELD] = int(stated)
        return Signature.of(self._pipeline[member.stage], fields)

    def _record(self, stage: Stage, gen_id: str) -> Record:
        try:
            return self._store.record(stage, gen_id)
        except InvalidSignature as error:
            raise CorruptGeneration(error.message, hint=error.hint) from None

    def counts(self) -> dict[str, StageCounts]:
        """Return how the members of every stage stand. No generation's files are opened."""
        found: dict[str, StageCounts] = {}
        attempted = {stage.name: self._store.attempted(stage) for stage in self._pipeline}
        for member in self._members:
            counts = found.setdefault(member.stage, StageCounts())
            state = self._standing(member)
            counts.wanted += 1
            setattr(counts, state, getattr(counts, state) + 1)
            if state == MISSING and member.gen_id in attempted[member.stage]:
                counts.attempts += len(unacceptable(self._store, self._pipeline[member.stage], member.gen_id))
        return found

    def mean_scores(self) -> list[MeanScore]:
        """Return the mean score of every rubric for every chain of templates that it judged.

        Scores stay on their rubric's own scale; judgements on different scales are not mixed. A judgement whose record,
        or one above it, cannot be read is left out; `counts` and `problems` tell of it.
        """
        values: dict[tuple[str, str, float, float], list[float]] = defaultdict(list)
        chains: dict[str, str | None] = {}
        for member in self._members:
            if not self._pipeline[member.stage].judges or self._standing(member) in {MISSING, UNUSABLE}:
                continue
            try:
                record = self._record(self._pipeline[member.stage], member.gen_id)
            except PoolError:
                continue
            judged = self._chain(record, chains)
            if judged is None or record.score is None:
                continue
            score = record.score
            rubric = str(record.signature.get(TEMPLATE_FIELD) or member.stage)
            values[judged, rubric, score.min, score.max].append(score.value)
        return [MeanScore(*key, sum(scores) / len(scores), len(scores)) for key, scores in sorted(values.items())]

    def _chain(self, record: Record, chains: dict[str, str | None]) -> str | None:
        """Return the templates above a record, nearest the root first; None where one above cannot be read."""
        source = record.signature.source
        if source not in chains:
            try:
                above = [str(one.signature.get(TEMPLATE_FIELD) or one.stage.name) for one in self.ancestors(record)]
                chains[source] = " → ".join(reversed(above))
            except (PoolError, InvalidSignature):
                chains[source] = None
        return chains[source]

    # -- scores ------------------------------------------------------------------------------------

    @property
    def pipeline(self) -> Pipeline:
        """The pool's stages."""
        return self._pipeline

    def scores(self, *, reasons: bool = False) -> pl.DataFrame:
        """Return a row a judgement, its lineage in columns; see `genpool.scores.aggregated_scores`."""
        return aggregated_scores(self, reasons=reasons)

    def stage_frame(self, stage: Stage) -> pl.DataFrame:
        """Return the members of a stage, and below them what is above members, as a frame (`genpool.scores.FRAME`)."""
        import polars as pl

        return pl.DataFrame(list(self._rows(stage)), schema=frame_schema(stage), orient="row", strict=False)

    def _rows(self, stage: Stage) -> Iterator[tuple[object, ...]]:
        for member in self._members:
            if member.stage != stage.name:
                continue
            try:
                one = self._state(member)
            except PoolError:
                one = MemberState(member.stage, member.gen_id, UNUSABLE, None, member.fields)
            score = one.record.score if one.record else None
            numbers = (score.value, score.min, score.max) if score else (None, None, None)
            origin = one.record.origin_cohort_id if one.record else None
            yield (member.gen_id, origin, one.state, *numbers, *_values(stage, one.fields))
        for gen_id in self._above(stage):
            fields = self._fields_of(stage, gen_id)
            if fields is not None:
                yield (gen_id, None, ABOVE, None, None, None, *_values(stage, fields))

    def _above(self, stage: Stage) -> list[str]:
        """Return what is above members and is none itself."""
        members = {one.gen_id for one in self._members if one.stage == stage.name}
        found: dict[str, None] = {}
        for child in self._pipeline.children(stage):
            ids = [one.gen_id for one in self._members if one.stage == child.name]
            for gen_id in (*ids, *self._above(child)):
                fields = self._fields_of(child, gen_id)
                if fields and fields.get(PARENT_FIELD) and fields[PARENT_FIELD] not in members:
                    found[str(fields[PARENT_FIELD])] = None
        return list(found)

    def reasons(self, stage: Stage, gen_ids: Iterable[str]) -> list[str | None]:
        """Return what judges gave as their reasons; None where a text cannot be read or has none."""
        return read_reasons(self._store, stage, gen_ids)

    def _repr_html_(self) -> str:
        """Return the counts as a table for a notebook."""
        return counts_table(f"cohort {self.cohort_id}", {stage: asdict(one) for stage, one in self.counts().items()})

    def missing(self, stage: str | None = None) -> Iterator[Signature]:
        """Yield the signature of every member that has no generation, in plan order.

        Args:
            stage: Only this stage's members.

        Raises:
            InvalidSignature: The membership does not have the signature of a missing member.
        """
        for member in self._members:
            if stage in {None, member.stage} and self._standing(member) == MISSING:
                yield self._signature(member)

    def ancestors(self, record: Record) -> list[Record]:
        """Return the records above one, nearest first."""
        return lineage(self._pipeline, self._store, record)


def _values(stage: Stage, fields: Mapping[str, FieldValue]) -> list[FieldValue | None]:
    """Return a signature's values as a frame has them."""
    values = [fields.get(name) for name in stage.fields]
    last = str(values[-1])
    return [*values[:-1], int(last) if last.isascii() and last.isdecimal() and len(last) < 11 else None]


def _stated(record: Record) -> dict[str, FieldValue]:
    """Return the fields that a record states: a legacy one may have no replicate."""
    return {name: value for name, value in record.stated().items() if value is not None}


def all_matching(
    pipeline: Pipeline,
    store: GenerationStore,
    catalog: Catalog,
    cohorts: Iterable[str],
    *,
    stage: Stage | None = None,
    where: Mapping[str, Iterable[str]] | None = None,
    origins: Collection[str] = (),
) -> Listing:
    """Return the generations of a whole pool that are asked for, by stage and id; see `CohortScope.matching`.

    A legacy generation's replicate is its slot.
    """
    conditions = read_conditions(pipeline, where or {}, stage)
    signatures = {one.name: dict(catalog.signatures(one)) for one in pipeline}
    present = {one.name: catalog.present(one) for one in ((stage,) if stage else pipeline)}

    def fields_of(of: Stage, gen_id: str) -> Mapping[str, FieldValue] | None:
        found = signatures[of.name].get(gen_id)
        return None if found is None else found.as_dict()

    candidates = [
        Candidate(pipeline[name], gen_id, present[name].origin(gen_id))
        for name in present
        for gen_id in signatures[name]
    ]
    chosen = choose(pipeline, candidates, fields_of, conditions, origins, cohorts)
    members = []
    for one in (candidates[at] for at in chosen.places):
        fields = signatures[one.stage.name][one.gen_id].as_dict()
        members.append(MemberState(one.stage.name, one.gen_id, MADE, store.record(one.stage, one.gen_id), fields))
    damaged = [gen_id for name in present for gen_id in present[name].unusable]
    return Listing(tuple(members), (*(candidates[at].gen_id for at in chosen.unread), *damaged))


def lineage(pipeline: Pipeline, store: GenerationStore, record: Record) -> list[Record]:
    """Return the records above one, nearest first.

    Raises:
        NotFound: An ancestor does not exist.
        CorruptGeneration: An ancestor's record is damaged.
    """
    found = []
    while record.stage.parent is not None:
        record = store.record(pipeline[record.stage.parent], str(record.signature[PARENT_FIELD]))
        found.append(record)
    return found


def find_generation(pipeline: Pipeline, store: GenerationStore, gen_id: str) -> Record:
    """Return the record of a generation by its id, or by the only id that starts so.

    Raises:
        NotFound: No generation, or more than one, has an id that starts so.
    """
    found = _only(pipeline, store.listed, gen_id, "generations have an id")
    if found is None:
        raise NotFound(
            f"no generation has the id {gen_id!r}", hint="`genpool ls <cohort>` lists a cohort's generations"
        )
    return store.record(*found)


def find_attempts(
    pipeline: Pipeline, store: GenerationStore, gen_id: str
) -> tuple[Stage, str, tuple[Attempt, ...]] | None:
    """Return stage, id and attempts of a task by its id, or by the only one that starts so.

    Returns:
        None where no attempts were kept at a task with such an id.

    Raises:
        NotFound: Attempts at more than one such task were kept.
    """
    found = _only(pipeline, store.attempted, gen_id, "tasks with attempts have an id")
    return None if found is None else (*found, store.attempts(*found))


def _only(
    pipeline: Pipeline, listed: Callable[[Stage], frozenset[str]], gen_id: str, what: str
) -> tuple[Stage, str] | None:
    """Return stage and id of what bears an id, or of the only thing whose id starts so; None where nothing does.

    Raises:
        NotFound: Several ids start so.
    """
    matches = []
    for stage in pipeline:
        names = listed(stage)
        if gen_id in names:
            return stage, gen_id
        matches += [(stage, one) for one in names if gen_id and one.startswith(gen_id)]
    if len(matches) > 1:
        ids = sorted(one for _, one in matches)
        shown = ", ".join(ids[:_CANDIDATES]) + (" …" if len(ids) > _CANDIDATES else "")
        raise NotFound(f"{len(ids)} {what} that starts with {gen_id!r}: {shown}", hint="type more of it")
    return matches[0] if matches else None
