"""CohortScope: read-only questions about one cohort.

They are answered from the cohort's manifest where there is a good one, otherwise from its membership and the catalog,
and the answers are the same; records are read where what is asked for is in them. It never needs the spec, the
templates or the network.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from genpool.aliases import read_aliases
from genpool.coded import Coded
from genpool.errors import CorruptGeneration, InvalidSignature, PoolError
from genpool.filters import choose_rows, read_conditions
from genpool.finding import Listing, Matches, MemberState, lineage, stated
from genpool.manifest import ManifestStanding
from genpool.manifests import Fault, Manifests, Unfit
from genpool.membership import cohort_ids, read_members
from genpool.notebook import counts_table
from genpool.planner import unacceptable
from genpool.scores import aggregated_scores, read_reasons, stage_frames
from genpool.stages import MODEL_FIELD, REPLICATE_FIELD, TEMPLATE_FIELD
from genpool.standing import MISSING, UNUSABLE, CatalogStanding, StageColumns
from genpool.text_opinions import RubricOpinions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    import polars as pl

    from genpool.catalog import Catalog
    from genpool.layout import PoolLayout
    from genpool.records import Record
    from genpool.signatures import FieldValue, Signature
    from genpool.stages import Pipeline, Stage
    from genpool.standing import Standing
    from genpool.store import GenerationStore


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
    """The most; 0 and 1 where judgements were made on several scales, and were normalised."""
    mean: float | None
    """Over texts, each the mean of its judges; None where no text was judged by every judge of the rubric."""
    texts: int
    judgements: int
    """What the mean is of."""
    left_out: int
    """Texts that a judge of the rubric has not judged: they are in no mean."""


class CohortScope:
    """Questions about one cohort.

    Args:
        layout: The pool's paths.
        pipeline: The pool's pipeline.
        store: The pool's store.
        open_catalog: Opens the index of the store.
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
        open_catalog: Callable[[], Catalog],
        cohort_id: str,
        salt: str,
    ) -> None:
        self.cohort_id = cohort_id
        self._salt = salt
        self._open = open_catalog
        self._layout = layout
        self._pipeline = pipeline
        self._store = store
        self._manifest = Manifests(layout, pipeline, salt, open_catalog).good(cohort_id)
        self._standing: Standing = (
            self.from_catalog if isinstance(self._manifest, Unfit) else ManifestStanding(self._manifest)
        )

    @cached_property
    def from_catalog(self) -> CatalogStanding:
        """How the members stand by membership and catalog, whatever a manifest says."""
        members = read_members(self._layout, self._pipeline, self.cohort_id)
        return CatalogStanding(members, self._open, self.cohort_id, self._salt)

    @property
    def answered_from(self) -> str:
        """What the answers come from: `manifest` or `catalog`. They are the same."""
        return "catalog" if isinstance(self._manifest, Unfit) else "manifest"

    @property
    def unfit(self) -> Unfit | None:
        """Why the cohort's manifest is not used; None where it is, or there is none."""
        found = self._manifest
        return found if isinstance(found, Unfit) and found.fault is not Fault.ABSENT else None

    @property
    def size(self) -> int:
        """How many members the cohort has."""
        return sum(count for _, count in self._standing.runs)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that have a member, in plan order."""
        return tuple(self._standing.stages)

    @cached_property
    def member_ids(self) -> tuple[str, ...]:
        """The gen ids of all members, in plan order."""
        ids = {name: self._standing.gen_ids(name) for name in self._standing.stages}
        return tuple(ids[name][row] for name, row in self._rows())

    def columns(self, stage: str | None = None) -> dict[str, StageColumns]:
        """Return what is known of the members without opening a file of a generation, as columns by stage.

        They are the same whether a manifest or the catalog answers.

        Args:
            stage: Only this stage's.
        """
        return {name: self._standing.columns(name) for name in self._standing.stages if stage in {None, name}}

    def _rows(self, stage: str | None = None) -> Iterator[tuple[str, int]]:
        """Yield stage and row of every member, in plan order."""
        next_row = dict.fromkeys(self._standing.stages, 0)
        for name, count in self._standing.runs:
            start = next_row[name]
            next_row[name] = start + count
            if stage in {None, name}:
                yield from ((name, row) for row in range(start, start + count))

    def problems(self) -> dict[str, str]:
        """Return the members that are unusable, each with what is wrong."""
        found = {}
        for name, row in self._standing_rows(UNUSABLE):
            said = self.from_catalog.problem(name, row)
            if said is not None:
                found[self._standing.gen_ids(name)[row]] = said
        return found

    def _standing_rows(self, *states: str) -> list[tuple[str, int]]:
        """Return stage and row of the members that are in some state, in plan order."""
        rows = {name: self._standing.states(name).rows_of(*states) for name in self._standing.stages}
        if not any(rows.values()):
            return []
        chosen = {name: frozenset(found) for name, found in rows.items()}
        return [(name, row) for name, row in self._rows() if row in chosen[name]]

    def members(self, stage: str | None = None) -> Iterator[MemberState]:
        """Yield the members, in plan order, each with how it stands.

        Args:
            stage: Only this stage's members.

        Raises:
            CorruptGeneration: A member's record is damaged.
        """
        for name, row in self._rows(stage):
            yield self._state(name, row)

    def _state(self, name: str, row: int) -> MemberState:
        columns = self._standing.columns(name)
        gen_id, state = columns.gen_ids[row], columns.states[row]
        if state in {MISSING, UNUSABLE}:
            said = {field: column[row] for field, column in columns.fields.items()}
            known = {field: value for field, value in said.items() if value is not None}
            return MemberState(name, gen_id, state, None, known)
        record = self._record(columns.stage, gen_id)
        fields = stated(record)
        slot = columns.fields[REPLICATE_FIELD][row]
        if record.is_legacy and slot is not None:
            fields[REPLICATE_FIELD] = slot
        return MemberState(name, gen_id, state, record, fields)

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
        return self.each_matching(stage, where=where, origins=origins, states=states).listing()

    def each_matching(
        self,
        stage: str | None = None,
        *,
        where: Mapping[str, Iterable[str]] | None = None,
        origins: Collection[str] = (),
        states: Collection[str] = (),
    ) -> Matches:
        """Return what `matching` does, each member read when its turn comes; so do its errors of reading."""
        asked = None if stage is None else self._pipeline[stage]
        conditions = read_conditions(self._pipeline, read_aliases(self._layout).conditions(where or {}), asked)
        tables = {name: self._standing.columns(name) for name in self._standing.stages if stage in {None, name}}
        known = cohort_ids(self._layout) if origins else ()
        chosen = choose_rows(self._pipeline, tables, self._field_of, conditions, origins, known)

        def kept(rows: Mapping[str, Collection[int]]) -> list[tuple[str, int]]:
            return [
                (name, row)
                for name, row in self._rows(stage)
                if row in rows[name] and (not states or tables[name].states[row] in states)
            ]

        unread = tuple(tables[name].gen_ids[row] for name, row in kept(chosen.unread))
        return Matches((self._state(*one) for one in kept(chosen.rows)), unread)

    @cached_property
    def _row_of(self) -> dict[str, dict[str, int]]:
        """Stage to gen id to row, for the stages that were asked for."""
        return {}

    def _member_row(self, stage: Stage, gen_id: str) -> int | None:
        """Return the row of a member by its id; None where it is no member."""
        if stage.name not in self._standing.stages:
            return None
        if stage.name not in self._row_of:
            ids = self._standing.gen_ids(stage.name)
            self._row_of[stage.name] = dict(zip(reversed(ids), range(len(ids) - 1, -1, -1), strict=True))
        return self._row_of[stage.name].get(gen_id)

    def _field_of(self, stage: Stage, gen_id: str, field: str) -> FieldValue | None:
        """Return one of `_fields_of`; None where there is none."""
        row = self._member_row(stage, gen_id)
        if row is not None and row not in self._unstated(stage.name):
            return self._standing.columns(stage.name).fields[field][row]
        fields = self._fields_of(stage, gen_id)
        return None if fields is None else fields.get(field)

    def _unstated(self, stage: str) -> frozenset[int]:
        """Return the rows of members of which the columns do not say every field."""
        if stage not in self._lacking:
            columns = self._standing.columns(stage).fields.values()
            self._lacking[stage] = frozenset(row for column in columns for row in column.rows_of(None))
        return self._lacking[stage]

    @cached_property
    def _lacking(self) -> dict[str, frozenset[int]]:
        """Stage to `_unstated`, for the stages that were asked for."""
        return {}

    def _fields_of(self, stage: Stage, gen_id: str) -> Mapping[str, FieldValue] | None:
        """Return the fields of a member or of what is above one: of the columns, else of its record."""
        row = self._member_row(stage, gen_id)
        if row is not None:
            columns = self._standing.columns(stage.name)
            fields = {name: column[row] for name, column in columns.fields.items()}
            if all(value is not None for value in fields.values()):
                return {name: value for name, value in fields.items() if value is not None}
        try:
            return stated(self._store.record(stage, gen_id))
        except (PoolError, InvalidSignature):
            return None

    def _record(self, stage: Stage, gen_id: str) -> Record:
        try:
            return self._store.record(stage, gen_id)
        except InvalidSignature as error:
            raise CorruptGeneration(error.message, hint=error.hint) from None

    def counts(self) -> dict[str, StageCounts]:
        """Return how the members of every stage stand. No generation's files are opened."""
        found: dict[str, StageCounts] = {}
        for name in self._standing.stages:
            tally = self._standing.states(name).tally()
            found[name] = StageCounts(wanted=sum(tally.values()), **tally)
            if found[name].missing:
                found[name].attempts = self._attempts(self._pipeline[name])
        return found

    def _attempts(self, stage: Stage) -> int:
        """Return how many attempts at a stage's missing members are kept."""
        attempted = self._store.attempted(stage)
        if not attempted:
            return 0
        ids = self._standing.gen_ids(stage.name)
        missing = (ids[row] for row in self._standing.states(stage.name).rows_of(MISSING))
        return sum(len(unacceptable(self._store, stage, gen_id)) for gen_id in missing if gen_id in attempted)

    def mean_scores(self) -> list[MeanScore]:
        """Return the mean score of every rubric for every chain of templates that it judged, as tables give them.

        Repeated judgements of a text by one judge are one opinion, a text is the mean of its judges, and a text that
        not every judge of the rubric has judged is in no mean. Scores stay on their rubric's own scale. A judgement
        that cannot be read, or above which something cannot, is left out; `counts` and `problems` tell of it.
        """
        found = []
        for name in self._standing.stages:
            if self._pipeline[name].judges:
                for rubric, opinions in self._opinions(self._standing.columns(name)).items():
                    for judged in opinions.scores:
                        one = opinions.mean(judged)
                        left_out = one.judged - one.texts
                        ends = one.least, one.most
                        found.append(MeanScore(judged, rubric, *ends, one.mean, one.texts, one.judgements, left_out))
        return sorted(found, key=lambda one: (one.judged, one.rubric))

    def _opinions(self, columns: StageColumns) -> dict[str, RubricOpinions]:
        """Return what a stage's judges said, by rubric and by the chain of templates that they judged."""
        stage = columns.stage
        sources = columns.fields[stage.fields[0]]
        chains = [self._chain(stage, str(source)) for source in sources.values]
        rubrics = columns.fields.get(TEMPLATE_FIELD) or Coded.constant(stage.name, len(columns.gen_ids))
        judges = columns.fields.get(MODEL_FIELD) or Coded.constant("", len(columns.gen_ids))
        found: dict[str, RubricOpinions] = defaultdict(RubricOpinions)
        for row, (code, score) in enumerate(zip(sources.codes, columns.scores, strict=True)):
            judged, least, most = chains[code], columns.least[row], columns.most[row]
            if judged is None or score is None or least is None or most is None:
                continue
            found[str(rubrics[row])].add(judged, str(sources.values[code]), str(judges[row]), (score, least, most))
        return found

    @cached_property
    def _chains(self) -> dict[tuple[str, str], str | None]:
        """The templates of generations and of those above them, as far as they were looked up."""
        return {}

    def _chain(self, stage: Stage, source: str) -> str | None:
        """Return the templates above a task, nearest the root first; None where something above cannot be read."""
        if stage.parent is None:
            return ""
        key = stage.parent, source
        if key not in self._chains:
            self._chains[key] = self._chain_of(self._pipeline[stage.parent], source)
        return self._chains[key]

    def _chain_of(self, stage: Stage, gen_id: str) -> str | None:
        row = self._member_row(stage, gen_id)
        if row is not None and self._standing.states(stage.name)[row] in {MISSING, UNUSABLE}:
            return None
        fields = self._fields_of(stage, gen_id)
        above = None if fields is None else self._chain(stage, str(fields[stage.fields[0]]))
        if fields is None or above is None:
            return None
        own = str(fields.get(TEMPLATE_FIELD) or stage.name)
        return f"{above} → {own}" if above else own

    # -- scores ------------------------------------------------------------------------------------

    @property
    def pipeline(self) -> Pipeline:
        """The pool's stages."""
        return self._pipeline

    def scores(self, *, reasons: bool = False) -> pl.DataFrame:
        """Return a row a judgement, its lineage in columns; see `genpool.scores.aggregated_scores`."""
        return aggregated_scores(self, reasons=reasons)

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return every stage's members, and what is above members; see `genpool.scores.Judged`."""
        return stage_frames(self._pipeline, self.columns(), self._open)

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
        for name, row in self._standing_rows(MISSING):
            if stage in {None, name}:
                yield self._standing.missing(name, row)

    def ancestors(self, record: Record) -> list[Record]:
        """Return the records above one, nearest first."""
        return lineage(self._pipeline, self._store, record)
