"""What is wanted against what is present, to a Plan. Pure: it writes nothing.

A plan keeps its tasks in columns, a few machine words each: an object is made only for the task that
one asks for. Ids are computed for every stage at once, parents first, so a child's id is known before
its parent has been made.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from genpool.finds import NOT_FOUND, find
from genpool.gen_ids import ids_below
from genpool.notebook import counts_table
from genpool.present import choices_key, misnamed
from genpool.signatures import FieldValue, Signature
from genpool.stages import MODEL_FIELD, Pipeline, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from genpool.combos import Combo
    from genpool.compiler import Selection, StageSelection, Variant
    from genpool.config import PoolConfig
    from genpool.finds import Finds
    from genpool.present import Making, Present
    from genpool.store import GenerationStore


class State(IntEnum):
    """What a plan says of a task."""

    REUSE = 0
    """Its generation exists."""
    MINT = 1
    """It is to be made."""
    INCOMPLETE = 2
    """It is to be made; a directory that some tool left incomplete is in its place."""
    EXHAUSTED = 3
    """Its attempts reached the model's limit; only `--retry-exhausted` pays again."""
    BLOCKED = 4
    """It cannot be made: a task above it is exhausted or unusable."""
    UNUSABLE = 5
    """What is in its place is damaged or is not this generation: neither reused nor made over."""
    HELD = 6
    """It is to be made, but not by this run, which makes only some tasks."""
    GONE = 7
    """In the lineage of roots: it was removed, so what it was is not known."""


_TO_MAKE = frozenset({State.MINT, State.INCOMPLETE})
_STUCK = frozenset({State.EXHAUSTED, State.BLOCKED, State.UNUSABLE, State.GONE})


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a plan."""

    signature: Signature
    gen_id: str
    state: State
    parent: int | None
    """The parent's position in the plan of the parent's stage; None at a root."""

    @property
    def stage(self) -> Stage:
        """The task's stage."""
        return self.signature.stage


@dataclass(frozen=True, slots=True)
class StagePlan:
    """The tasks of one stage, in columns of equal length, in plan order."""

    stage: Stage
    gen_ids: list[str]
    sources: array[int]
    """Position of the source: in the parent stage's plan, or among the combos at a root."""
    variants: array[int]
    """Position among `choices`."""
    choices: tuple[Variant, ...]
    states: bytearray
    """A `State` each."""
    source_ids: Sequence[str]
    """The ids that sources stand for."""
    branches: array[int]
    """What rules can tell apart in a task's lineage, as a number."""
    finds: Finds
    """What the store has of each task."""
    makings: Mapping[int, Making] = field(default_factory=dict)
    """How these were made, by the number in `finds`."""
    legacy: frozenset[str] = frozenset()
    """Reused ids that are not those of their signature."""
    slots: Mapping[str, int] = field(default_factory=dict)
    """Legacy generations of the families that the plan touches: id to slot."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Ids that are not usable, with what is wrong."""
    copying: frozenset[int] = frozenset()
    """The choices, by position, that copy."""
    claimed: frozenset[str] = frozenset()
    """Tasks to be made that another run is making at this moment."""
    drifted: frozenset[str] = frozenset()
    """Reused ids under which something drifted."""

    def __len__(self) -> int:
        return len(self.gen_ids)

    def variant(self, index: int) -> Variant:
        """Return a task's axis values and replicate."""
        return self.choices[self.variants[index]]

    def signature(self, index: int) -> Signature:
        """Return a task's signature."""
        return Signature(self.stage, (self.source_ids[self.sources[index]], *self.variant(index)))

    def task(self, index: int) -> Task:
        """Return one task."""
        parent = self.sources[index] if self.stage.parent else None
        return Task(self.signature(index), self.gen_ids[index], State(self.states[index]), parent)

    def value(self, index: int, field: str) -> FieldValue | None:
        """Return the value of one of a task's fields, or None where the stage has no such axis."""
        if field == self.stage.source_field:
            return self.source_ids[self.sources[index]]
        fields = self.stage.fields
        return self.variant(index)[fields.index(field) - 1] if field in fields else None

    def copies(self, index: int) -> bool:
        """Return whether a task passes its parent's text on, so that no model is called."""
        return self.variants[index] in self.copying

    def to_make(self) -> list[int]:
        """Return the positions of the tasks that a run would make."""
        return [index for index, state in enumerate(self.states) if state in _TO_MAKE]

    def origins(self) -> dict[str | None, int]:
        """Return how many reused generations each cohort's runs made; None stands for those that do not say."""
        counts: Counter[str | None] = Counter()
        for making, count in Counter(self.finds.makings).items():
            if making != NOT_FOUND:
                counts[self.makings[making].origin] += count
        return dict(counts)

    def row(self, cohort_id: str) -> dict[str, int]:
        """Return the counts of the stage by column: what is wanted, reused by origin, to be made, or cannot be."""
        counts = self.counts()
        to_make = self.to_make()
        own = self.origins().get(cohort_id, 0)
        return {
            "wanted": len(self),
            "reused": counts[State.REUSE],
            "own": own,
            "others": counts[State.REUSE] - own,
            "legacy ids": self._reused_under(self.legacy),
            "drifted": self._reused_under(self.drifted),
            "to make": len(to_make),
            "claimed": sum(self.gen_ids[index] in self.claimed for index in to_make) if self.claimed else 0,
            "calls": sum(not self.copies(index) for index in to_make),
            "incomplete": counts[State.INCOMPLETE],
            "exhausted": counts[State.EXHAUSTED],
            "unusable": counts[State.UNUSABLE],
            "blocked": counts[State.BLOCKED],
        }

    def _reused_under(self, ids: frozenset[str]) -> int:
        """Return how many tasks reuse one of some generations: one that is below an id of two tasks counts for both."""
        if not ids:
            return 0
        reused = zip(self.gen_ids, self.states, strict=True)
        return sum(state == State.REUSE and gen_id in ids for gen_id, state in reused)

    def counts(self) -> dict[State, int]:
        """Return how many tasks are in each state."""
        found = Counter(self.states)
        return {state: found.get(state, 0) for state in State}


@dataclass(slots=True)
class Drift:
    """One name that stands for something else than when some generations were made."""

    kind: str
    """`template`, `model`, `combo`, or `parent` (the parent was made anew since)."""
    name: str
    """The template as stage/id, the model, the combo, or the parent's id."""
    stored: str
    """The fingerprint of then."""
    present: str
    """The fingerprint of now."""
    gen_ids: list[str] = field(default_factory=list)
    """The generations that were made from what was then."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cohort wants, set against what exists."""

    cohort_id: str
    pipeline: Pipeline
    stages: tuple[StagePlan, ...]
    combos: tuple[Combo, ...]
    notes: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()
    """What drifted under the generations that it reuses."""
    roots: str | None = None
    """The stage of the generations that the cohort starts from, where it has `from:`; else None."""
    lineage: tuple[StagePlan, ...] = ()
    """What is above these: every stage's generations, known but no members."""

    def __len__(self) -> int:
        return sum(len(stage) for stage in self.stages)

    def _repr_html_(self) -> str:
        """Return the counts as a table for a notebook."""
        return counts_table(
            f"plan of {self.cohort_id}", {one.stage.name: one.row(self.cohort_id) for one in self.stages}
        )

    def stage(self, name: str) -> StagePlan:
        """Return the plan of one stage, or what is known of a stage above the roots.

        Raises:
            KeyError: The cohort selects nothing in that stage.
        """
        for plan in (*self.stages, *self.lineage):
            if plan.stage.name == name:
                return plan
        raise KeyError(name)

    def model_of(self, plan: StagePlan, index: int) -> str | None:
        """Return the model that a task runs on: its own, or that of its nearest ancestor that has one.

        None where no stage above has a model, or where the ancestor was removed.
        """
        at, where = plan, index
        while not at.stage.has_model and at.states[where] != State.GONE:
            if at.stage.parent is None:
                return None
            where = at.sources[where]
            at = self.stage(at.stage.parent)
        return None if at.states[where] == State.GONE else str(at.value(where, MODEL_FIELD))

    def lacking_above(self, plan: StagePlan, index: int) -> tuple[StagePlan, int] | None:
        """Return the nearest task above one that has no generation, or None where all have.

        A template may use the text of any ancestor, so a task waits for all of them, not for its parent alone: the
        parent can exist while its own parent was removed.
        """
        while plan.stage.parent is not None:
            index = plan.sources[index]
            plan = self.stage(plan.stage.parent)
            if plan.states[index] != State.REUSE:
                return plan, index
        return None

    def with_present(self, drift: Sequence[Drift], claimed: Callable[[Stage, list[str]], frozenset[str]]) -> Plan:
        """Return the plan with what drifted under what it reuses, and with what other runs are making now.

        Args:
            drift: What drifted.
            claimed: Those of a stage's tasks that some run is making.
        """
        ids = frozenset(gen_id for one in drift for gen_id in one.gen_ids)
        stages = tuple(
            replace(one, drifted=ids.intersection(one.gen_ids) if ids else ids, claimed=claimed(one.stage, one.gen_ids))
            for one in self.stages
        )
        return replace(self, stages=stages, drift=tuple(drift))

    def tasks(self) -> Iterator[Task]:
        """Yield every task, in plan order."""
        for stage in self.stages:
            for index in range(len(stage)):
                yield stage.task(index)

    @property
    def missing(self) -> int:
        """How many tasks have no generation yet."""
        return sum(len(stage) - stage.counts()[State.REUSE] for stage in self.stages)

    @property
    def to_make(self) -> int:
        """How many generations a run would make."""
        return sum(len(stage.to_make()) for stage in self.stages)


def make_plan(
    cohort_id: str,
    selection: Selection,
    config: PoolConfig,
    store: GenerationStore,
    present: Callable[[Stage], Present],
    *,
    lineage: Sequence[StagePlan] = (),
    retry_exhausted: bool = False,
) -> Plan:
    """Return the plan of a selection.

    Args:
        cohort_id: The cohort.
        selection: What the cohort selects.
        config: The pool's configuration: salt, models' limits of attempts.
        store: What was attempted.
        present: What each stage holds.
        lineage: Where the selection starts from generations: these last, before them the stages above.
        retry_exhausted: Whether exhausted tasks are planned to be tried again.

    Raises:
        StorageFailed: The store cannot be read.
    """
    stages = {one.stage.name: one for one in lineage[-1:]}
    unreadable: list[str] = []
    for chosen in selection.stages:
        stage = chosen.stage
        above = stages.get(stage.parent) if stage.parent else None
        here = present(stage)
        stages[stage.name] = plan = _stage_plan(chosen, above, config.salt, here)
        unreadable.extend(_unreadable(plan, here))
    made = Plan(
        cohort_id,
        config.pipeline,
        tuple(stages.values()),
        selection.combos,
        selection.notes,
        roots=lineage[-1].stage.name if lineage else None,
        lineage=tuple(lineage[:-1]),
    )
    for plan in made.stages:
        _mark_stuck(made, plan, config, store, retry_exhausted=retry_exhausted)
    return replace(made, notes=(*made.notes, *unreadable, *_orphans(made), *_gone(made)))


def _unreadable(plan: StagePlan, present: Present) -> Iterator[str]:
    """Say what is not usable and stands in no task's place: what nobody can read may be any legacy generation."""
    lost = sorted(present.unusable.keys() - plan.problems.keys())
    if lost:
        what = "1 generation is" if len(lost) == 1 else f"{len(lost):,} generations are"
        said = f"{plan.stage.name}: {what} unusable, and no task's id says whose; if of this cohort, it is made anew"
        yield f"{said}. The first: {present.unusable[lost[0]]}"


def _gone(plan: Plan) -> Iterator[str]:
    """Say which generations above the roots are not there."""
    for stage in plan.lineage:
        gone = [gen_id for gen_id, state in zip(stage.gen_ids, stage.states, strict=True) if state == State.GONE]
        if gone:
            more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
            said = f"from: above the {plan.roots} roots, {stage.stage.name} {gone[0]}{more} cannot be read"
            yield f"{said}; what is to be made below is blocked"


def _orphans(plan: Plan) -> Iterator[str]:
    """Say where generations exist whose parent is to be made: they were made from another text than it will have."""
    for stage in plan.stages:
        if stage.stage.parent is None or stage.stage.name == plan.roots:
            continue
        above = plan.stage(stage.stage.parent)
        lacking = [state != State.REUSE for state in above.states]
        if not any(lacking):
            continue
        reuse = int(State.REUSE)
        count = sum(
            [lacking[source] for state, source in zip(stage.states, stage.sources, strict=True) if state == reuse]
        )
        if count:
            noun = "generation exists whose parent does" if count == 1 else "generations exist whose parents do"
            told = "made anew, a parent's text will differ from what was read"
            yield f"{stage.stage.name}: {count:,} {noun} not; {told}"


def _stage_plan(chosen: StageSelection, above: StagePlan | None, salt: str, present: Present) -> StagePlan:
    """Return a stage's tasks with their ids, each reused or to be minted."""
    stage = chosen.stage
    source_ids = above.gen_ids if above is not None else [combo.combo_id for combo in chosen.combos]
    branches = above.branches if above is not None else chosen.combo_branches
    gen_ids = list(ids_below(stage, source_ids, chosen.variants, salt, branches=branches, follow=chosen.follow))
    sources, variants, led_to = array("I"), array("I"), array("I")
    for index, branch in enumerate(branches):
        followed = chosen.follow[branch]
        sources.extend([index] * len(followed))
        variants.extend(followed)
        led_to.extend(chosen.leads_to[branch])
    finds = find(present.whole, gen_ids)
    slots, filled = _take_legacy(present, chosen, gen_ids, source_ids, sources, variants)
    for index in filled:
        finds.put(index, present.whole.get(gen_ids[index]))
    states, problems = _standing(present, stage, gen_ids, filled, finds)
    return StagePlan(
        stage=stage,
        gen_ids=gen_ids,
        sources=sources,
        variants=variants,
        choices=chosen.variants,
        states=states,
        source_ids=source_ids,
        branches=led_to,
        finds=finds,
        makings=present.makings,
        legacy=present.legacy.intersection(gen_ids[at] for at in filled),
        slots=slots,
        problems=problems,
        copying=chosen.copies,
    )


def _standing(
    present: Present, stage: Stage, gen_ids: Sequence[str], filled: Collection[int], finds: Finds
) -> tuple[bytearray, dict[str, str]]:
    """Return the state of every task; and what is wrong, by id.

    Args:
        present: What the stage holds.
        stage: The stage.
        gen_ids: The tasks' ids, in families with legacy generations those that fill the slots.
        filled: The positions of these.
        finds: What was found of them; what turns out to be another task's is taken out.
    """
    reuse, mint = int(State.REUSE), int(State.MINT)
    states = bytearray([mint if making == NOT_FOUND else reuse for making in finds.makings])
    problems: dict[str, str] = {}
    odd = dict.fromkeys(present.incomplete, State.INCOMPLETE) | dict.fromkeys(present.unusable, State.UNUSABLE)
    if odd:
        for index, gen_id in enumerate(gen_ids):
            states[index] = odd.get(gen_id, states[index])
        problems = {gen_id: present.unusable[gen_id] for gen_id in gen_ids if gen_id in present.unusable}
    if present.legacy:
        for index, gen_id in enumerate(gen_ids):
            if index not in filled and gen_id in present.legacy:
                finds.put(index, None)
                states[index] = State.UNUSABLE
                problems[gen_id] = misnamed(stage, gen_id)
    return states, problems


def _take_legacy(
    present: Present,
    chosen: StageSelection,
    gen_ids: list[str],
    source_ids: Sequence[str],
    sources: array[int],
    variants: array[int],
) -> tuple[dict[str, int], set[int]]:
    """Put the ids of families with legacy generations into the slots that they fill.

    Returns:
        The slots of every legacy generation of these families, and the positions that were filled.
    """
    filled: set[int] = set()
    if not present.families:
        return {}, filled
    keys = [choices_key(variant[:-1]) for variant in chosen.variants]
    slots: dict[str, int] = {}
    for index, variant in enumerate(variants):
        family = present.families.get((source_ids[sources[index]], keys[variant]))
        if family is None:
            continue
        present_id = family.get(int(chosen.variants[variant][-1]))
        if present_id is not None:
            gen_ids[index] = present_id
            filled.add(index)
        slots.update((gen_id, slot) for slot, gen_id in family.items() if gen_id in present.legacy)
    return slots, filled


def _mark_stuck(
    plan: Plan, stage_plan: StagePlan, config: PoolConfig, store: GenerationStore, *, retry_exhausted: bool
) -> None:
    """Mark the tasks whose attempts reached the limit, and those that wait in vain for a task above."""
    attempted = frozenset() if retry_exhausted else store.attempted(stage_plan.stage)
    above = {stage.name for stage in plan.pipeline.ancestors(stage_plan.stage)}
    over = [one for one in (*plan.stages, *plan.lineage) if one.stage.name in above]
    stuck = any(not _STUCK.isdisjoint(one.states) for one in over)
    if not attempted and not stuck:
        return
    for index in stage_plan.to_make():
        lacking = plan.lacking_above(stage_plan, index) if stuck else None
        if lacking is not None and lacking[0].states[lacking[1]] in _STUCK:
            stage_plan.states[index] = State.BLOCKED
        elif stage_plan.gen_ids[index] in attempted and not stage_plan.copies(index):
            model = config.models.get(plan.model_of(stage_plan, index) or "")
            if model and len(unacceptable(store, stage_plan.stage, stage_plan.gen_ids[index])) >= model.attempts:
                stage_plan.states[index] = State.EXHAUSTED


def unacceptable(store: GenerationStore, stage: Stage, gen_id: str) -> list[str]:
    """Return the reasons of a task's attempts that count towards its model's limit."""
    counted = {"truncated", "empty", "refused", "unparseable", "no_end"}
    return [attempt.reason.kind for attempt in store.attempts(stage, gen_id) if attempt.reason.kind in counted]
