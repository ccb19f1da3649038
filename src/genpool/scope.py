"""CohortScope: read-only questions about one cohort, answered from its membership, the catalog and the store.

It never needs the spec, the templates or the network.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from genpool.catalog import of_another_task
from genpool.errors import CorruptGeneration, InvalidSignature, NotFound, PoolError
from genpool.gen_ids import gen_id as id_of
from genpool.membership import Member, read_membership
from genpool.notebook import counts_table
from genpool.planner import unacceptable
from genpool.signatures import Signature
from genpool.stages import PARENT_FIELD, REPLICATE_FIELD, TEMPLATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from genpool.catalog import Present
    from genpool.layout import PoolLayout
    from genpool.records import Record
    from genpool.signatures import FieldValue
    from genpool.stages import Pipeline, Stage
    from genpool.store import GenerationStore

OWN = "own"
REUSED = "reused"
MISSING = "missing"
UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class MemberState:
    """One member and how it stands."""

    stage: str
    gen_id: str
    state: str
    """`own` (this cohort's run made it), `reused` (another's), `missing`, or `unusable` (its record is damaged, or
    states another task)."""
    record: Record | None
    """Its record; None where it is missing or unusable."""
    fields: Mapping[str, FieldValue]
    """Its signature's fields: from the record, or where it is missing from the membership."""


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
        fields = record.signature.as_dict()
        if record.is_legacy and member.fields.get(REPLICATE_FIELD):
            fields[REPLICATE_FIELD] = int(member.fields[REPLICATE_FIELD])  # its slot in this cohort's plan
        return MemberState(member.stage, member.gen_id, state, record, fields)

    def _standing(self, member: Member) -> str:
        """Return how a member stands, from the catalog alone."""
        present = self._present[member.stage]
        found = present.whole.get(member.gen_id)
        if found is None:
            return UNUSABLE if member.gen_id in present.unusable else MISSING
        if self._of_another_task(member) is not None:
            return UNUSABLE
        return OWN if found[1] == self.cohort_id else REUSED

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
    matches = []
    for stage in pipeline:
        listed = store.listed(stage)
        if gen_id in listed:
            return store.record(stage, gen_id)
        matches += [(stage, one) for one in listed if one.startswith(gen_id)]
    if len(matches) == 1 and gen_id:
        return store.record(*matches[0])
    if matches and gen_id:
        shown = ", ".join(sorted(one for _, one in matches)[:5])
        raise NotFound(
            f"{len(matches)} generations have an id that starts with {gen_id!r}: {shown} …",
            hint="type more of it",
        )
    raise NotFound(f"no generation has the id {gen_id!r}", hint="`genpool ls <cohort>` lists a cohort's generations")
