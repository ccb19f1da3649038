"""What a report states: read once from membership, catalog, metadata and ledgers, then shown as page, text or JSON.

Neither the spec nor the templates nor the network is asked.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from genpool.errors import GenpoolError
from genpool.judgements import judgements_of, text_axes
from genpool.report.asked import Asked
from genpool.report.judged import JudgedFacts, judged_facts
from genpool.scores import ABOVE, MADE_STATES, aggregated_scores, judging, lineage_columns
from genpool.stages import MODEL_FIELD, REPLICATE_FIELD, ROOT_FIELD, TEMPLATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from genpool.audit import Spend, Tally
    from genpool.catalog import Catalog
    from genpool.pool import Pool
    from genpool.present import Present
    from genpool.stages import Stage

_LEVELS: Final = 40
"""So many levels of an axis are named."""
_CHANGES: Final = 50


@dataclass(frozen=True, slots=True)
class AskedAxis:
    """What was asked for of one axis."""

    name: str
    levels: tuple[str, ...]
    """Its levels, sorted; at most forty of them."""
    count: int


@dataclass(frozen=True, slots=True)
class StageFacts:
    """One stage: what was asked for, and how it stands."""

    stage: str
    axes: tuple[AskedAxis, ...]
    states: dict[str, int]
    """`own`, `reused`, `missing`, `unusable` (of the pool: `made`) to how many members."""

    @property
    def wanted(self) -> int:
        """How many members there are."""
        return sum(self.states.values())


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What the calls of one model came to."""

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    """None where the model has no price."""
    worst: float | None
    """The most that it may have cost."""
    attempts: int
    """Answers that were paid for and are no generation."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What was bought by the runs of the cohorts."""

    models: tuple[ModelCost, ...]
    total: ModelCost | None
    unpriced: int = 0
    """Calls without a price."""
    reused: int = 0
    """Members that other cohorts' runs paid for."""
    said: tuple[str, ...] = ()
    """What the account lacks."""


@dataclass(frozen=True, slots=True)
class Change:
    """A name that stood for several things among the members."""

    kind: str
    """`template`, `model`, or `parent`: texts whose parent is not the text any more that they were made from."""
    name: str
    meanings: tuple[tuple[str, int], ...]
    """The beginning of each digest, and how many members were made under it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a report states."""

    title: str
    cohorts: tuple[str, ...]
    adopted: dict[str, str]
    """Cohort to when its membership was adopted."""
    stages: tuple[StageFacts, ...]
    judged: tuple[JudgedFacts, ...]
    cost: Cost
    changes: tuple[Change, ...]
    combos: dict[str, str]
    notes: tuple[str, ...] = field(default=())
    """What a reader should know of the pool before trusting a number."""


def gather(pool: Pool, cohorts: Sequence[str] = ()) -> Facts:
    """Return what a report states of some cohorts together, or of the whole pool.

    Raises:
        NotFound: A cohort has no membership; it was never run.
        CorruptFile: A membership is damaged.
    """
    return facts_of(Asked(pool, cohorts))


def facts_of(asked: Asked) -> Facts:
    """Return what a report states of some members."""
    frames = asked.frames()
    scores = aggregated_scores(asked)
    judged = []
    for stage in judging(asked.pipeline):
        axes = text_axes(asked.pipeline, stage, lineage_columns(asked.pipeline, stage))
        wanted = any(state != ABOVE for state in frames[stage.name]["state"])
        if wanted:
            judged.append(judged_facts(asked, stage, judgements_of(scores, stage, axes), frames))
    used = {one for facts in judged for one in facts.combos}
    return Facts(
        title=asked.title,
        cohorts=asked.cohorts,
        adopted=_adopted(asked.pool, asked.cohorts),
        stages=tuple(_stage_facts(asked, stage) for stage in asked.pipeline if _members(asked, stage).height),
        judged=tuple(judged),
        cost=_cost(asked),
        changes=tuple(_changes(asked)),
        combos={name: said for name, said in asked.combos.items() if name in used},
        notes=tuple(_notes(asked, judged)),
    )


def many(count: int, word: str) -> str:
    """Return a count with its word: `1 pair`, `2 pairs`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _members(asked: Asked, stage: Stage) -> pl.DataFrame:
    """Return the members of a stage, without what is only above members."""
    import polars as pl

    return asked.stage_frame(stage).filter(pl.col("state") != ABOVE)


def _adopted(pool: Pool, cohorts: Sequence[str]) -> dict[str, str]:
    """Return when each membership was adopted, as far as adopted.json says it."""
    found = {}
    for name in cohorts:
        try:
            value = orjson.loads(pool.layout.adopted(name).read_bytes())
            found[name] = str(value["adopted_at"])
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
            continue
    return found


def _stage_facts(asked: Asked, stage: Stage) -> StageFacts:
    members = _members(asked, stage)
    axes = []
    for name in (*((ROOT_FIELD,) if stage.parent is None else ()), *stage.axes, REPLICATE_FIELD):
        levels = sorted(members[name].drop_nulls().unique().to_list())
        said = [asked.combos.get(str(one), str(one)) for one in levels[:_LEVELS]]
        axes.append(AskedAxis("combo" if name == ROOT_FIELD else stage.axis_name(name), tuple(said), len(levels)))
    counts = dict(members["state"].value_counts().rows())
    order = ("own", "reused", "made", "missing", "unusable")
    return StageFacts(stage.name, tuple(axes), {name: counts[name] for name in order if name in counts})


# --- cost -----------------------------------------------------------------------------------------


def _cost(asked: Asked) -> Cost:
    """Return what the cohorts' runs bought, by the ledgers."""
    try:
        spend = asked.pool.audit()
    except GenpoolError as error:
        return Cost((), None, said=(f"the ledgers cannot be read: {error.message}",))
    chosen = [
        (model, tally)
        for (cohort, model), tally in spend.tallies.items()
        if not asked.cohorts or cohort in asked.cohorts
    ]
    by_model: dict[str, list[Tally]] = {}
    for model, tally in chosen:
        by_model.setdefault(model or "unknown model", []).append(tally)
    models = tuple(_sum(name, tallies) for name, tallies in sorted(by_model.items()))
    every = [tally for _, tally in chosen]
    reused = sum(int((_members(asked, stage)["state"] == "reused").sum()) for stage in asked.pipeline)
    total = _sum("total", every) if every else None
    return Cost(models, total, sum(one.unpriced for one in every), reused, tuple(_lacking(spend, every)))


def _sum(name: str, tallies: Sequence[Tally]) -> ModelCost:
    priced = any(one.priced for one in tallies)
    doubtful = any(one.doubtful for one in tallies)
    return ModelCost(
        model=name,
        calls=sum(one.calls for one in tallies),
        input_tokens=sum(one.input_tokens for one in tallies),
        output_tokens=sum(one.output_tokens for one in tallies),
        cost=sum(one.cost for one in tallies) if priced else None,
        worst=sum(one.worst for one in tallies) if priced or doubtful else None,
        attempts=sum(one.attempts.total() for one in tallies),
    )


def _lacking(spend: Spend, tallies: Sequence[Tally]) -> list[str]:
    """Return in words what the account cannot know."""
    said = []
    doubtful = sum(one.in_flight + one.unknown + one.going_on for one in tallies)
    if doubtful:
        said.append(f"nobody knows whether {many(doubtful, 'call')} were charged: `genpool audit spend` names them")
    if spend.problems:
        places = many(len(spend.problems), "place")
        said.append(f"{places} of the ledgers cannot be read; what they held is not in the sum")
    return said


# --- what names stood for -------------------------------------------------------------------------


def _changes(asked: Asked) -> list[Change]:
    """Return the names that stood for several things among the members, by the fingerprints in their metadata."""
    found: list[Change] = []
    with closing(asked.pool.catalog()) as catalog:
        present = {stage.name: catalog.present(stage) for stage in asked.pipeline}
        for stage in asked.pipeline:
            found += _meanings(asked, stage, present[stage.name], catalog)
            other = _of_other_parents(asked, stage, present)
            if other:
                found.append(Change("parent", stage.name, (("another text", other),)))
    return found[:_CHANGES]


def _meanings(asked: Asked, stage: Stage, present: Present, catalog: Catalog) -> Iterator[Change]:
    """Yield the templates and models of a stage that stood for several things."""
    frame = asked.stage_frame(stage)
    names = [frame[name].to_list() if name in stage.axes else None for name in (TEMPLATE_FIELD, MODEL_FIELD)]
    meanings: dict[tuple[str, str], Counter[int]] = {}
    for at, gen_id in enumerate(frame["gen_id"].to_list()):
        whole = present.whole.get(gen_id)
        if whole is None:
            continue
        making = present.makings[whole[1]]
        template, model = (str(column[at]) if column else "" for column in names)
        if names[0] and making.template is not None:
            meanings.setdefault(("template", f"{stage.name}/{template}"), Counter())[making.template] += 1
        if names[1] and making.model is not None:  # what is sent to it depends on the template too
            of = f"{model} for {stage.name}/{template}" if template else model
            meanings.setdefault(("model", of), Counter())[making.model] += 1
    for (kind, name), counts in sorted(meanings.items()):
        if len(counts) > 1:
            told = sorted(((catalog.digest(number) or "?")[:12], count) for number, count in counts.items())
            yield Change(kind, name, tuple(told))


def _of_other_parents(asked: Asked, stage: Stage, present: Mapping[str, Present]) -> int:
    """Return how many members were made from another text than their parent holds today."""
    if stage.parent is None:
        return 0
    frame = asked.stage_frame(stage)
    above, count = present[stage.parent].whole, 0
    for gen_id, parent in zip(frame["gen_id"].to_list(), frame[stage.source_field].to_list(), strict=True):
        mine, theirs = present[stage.name].whole.get(gen_id), above.get(parent)
        if mine is not None and theirs is not None and 0 not in (mine[2], theirs[3]):  # 0: it does not say
            count += mine[2] != theirs[3]
    return count


def _notes(asked: Asked, judged: Sequence[JudgedFacts]) -> list[str]:
    """Return what a reader should know first."""
    said = []
    missing = sum(
        int((~_members(asked, stage)["state"].is_in(MADE_STATES)).sum()) for stage in asked.pipeline if asked.cohorts
    )
    if missing:
        verb = "is" if missing == 1 else "are"
        said.append(f"{many(missing, 'member')} {verb} missing or unusable: every number is of what is there")
    if not judging(asked.pipeline):
        said.append("the pipeline has no judging stage: there are no scores")
    elif not judged:
        said.append("no member is a judgement: there are no scores")
    for one in judged:
        if one.unranked:
            lack = "lacks" if one.unranked == 1 else "lack"
            said.append(
                f"{many(one.unranked, one.judged)} {lack} a rubric or a judge that others have: no mean over these"
            )
        said += [f"{many(count, 'judgement')} left out ({one.stage}): {why}" for why, count in one.left_out.items()]
    return said
