"""What a plan's calls will take: tokens and cost, low, expected and high.

From the pool's own history where there is some: what calls with the same choices took, else those of the same stage.
Where there is none, from the templates' length and the models' limits, which is rough and says so. A model without a
price is said to have none; its calls are left out of the cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Final

from genpool.errors import GenpoolError, InvalidTemplate
from genpool.finds import NOT_FOUND
from genpool.present import choices_key
from genpool.prompts import DEFAULT_TEMPLATE
from genpool.records import MODE_COPY
from genpool.stages import MODEL_FIELD, TEMPLATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from genpool.canonical import Json
    from genpool.catalog import Catalog
    from genpool.config import ModelEntry, PoolConfig
    from genpool.inputs import Inputs
    from genpool.planner import Plan, StagePlan
    from genpool.prompts import Template
    from genpool.signatures import FieldValue, Signature
    from genpool.stages import Stage
    from genpool.store import GenerationStore

Usage = tuple[int, int]
"""Tokens in and out of one call."""

History = Mapping[str, "Sequence[Usage]"]
"""Choices of a stage's generations (`choices_key`) to what their calls took."""

_Group = tuple[tuple["FieldValue", ...], str]
"""The levels of a stage's axes, and the model: calls that are estimated together."""

_Made = Mapping[str, tuple["Signature", str | None]]
"""Ids of a stage's generations to signature and mode."""

Lengths = Callable[["Stage", "Sequence[str]"], "Sequence[int]"]
"""The lengths in bytes of the texts of some generations of a stage; those that cannot be read are left out."""

_BYTES_A_TOKEN: Final = 4  # of English prose, roughly
_SAMPLE: Final = 100  # of a stage's texts that are looked at
_USUAL_SHARE: Final = 0.5  # of its limit that an answer takes, where nothing is known


@dataclass(frozen=True, slots=True)
class Range:
    """A number that is not known yet."""

    low: float = 0.0
    expected: float = 0.0
    high: float = 0.0

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def times(self, count: float) -> Range:
        """Return the range of several of these."""
        return Range(self.low * count, self.expected * count, self.high * count)

    def as_json(self) -> dict[str, Json]:
        """Return the range as a JSON object."""
        return {"low": self.low, "expected": self.expected, "high": self.high}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the calls of a plan will take."""

    calls: int = 0
    """Calls if every answer is acceptable at once."""
    most_calls: int = 0
    """Calls if every task needs all its attempts."""
    input_tokens: Range = Range()
    output_tokens: Range = Range()
    cost: Range | None = None
    """In the prices' currency; None where no model that is called has a price."""
    unpriced: tuple[str, ...] = ()
    """Models that are called and have no price."""
    unlimited: tuple[str, ...] = ()
    """Models that are called, have a price, and no limit of tokens: nobody can say what a call costs at the most."""
    without_history: int = 0
    """Calls for which the pool has no history, so that limits were used."""
    without_length: int = 0
    """Of these, calls whose answers have no limit either: they are counted as nothing."""

    def as_json(self) -> dict[str, Json]:
        """Return the estimate as a JSON object."""
        return {
            "calls": self.calls,
            "most_calls": self.most_calls,
            "input_tokens": self.input_tokens.as_json(),
            "output_tokens": self.output_tokens.as_json(),
            "cost": self.cost.as_json() if self.cost else None,
            "models_without_a_price": list(self.unpriced),
            "models_without_a_limit": list(self.unlimited),
            "calls_without_history": self.without_history,
            "calls_without_a_length": self.without_length,
        }


def estimate(
    plan: Plan, config: PoolConfig, inputs: Inputs, history: Callable[[Stage], History], lengths: Lengths
) -> Estimate:
    """Return what the calls of a plan will take.

    Args:
        plan: The plan.
        config: The pool's models: limits and prices.
        inputs: The templates.
        history: What the calls of a stage took so far.
        lengths: How long the texts of generations are.
    """

    def share(stage: StagePlan) -> _Share:
        to_make = stage.to_make()
        groups = Counter(
            (stage.variant(index)[:-1], plan.model_of(stage, index) or "")
            for index in to_make
            if not stage.copies(index)
        )
        kept = [one for one, making in zip(stage.gen_ids, stage.finds.makings, strict=True) if making != NOT_FOUND]
        return _Share(stage.stage, groups, len(to_make) - groups.total(), kept)

    return _estimated([share(stage) for stage in plan.stages], config, inputs, history, lengths)


def estimate_again(
    tasks: Collection[tuple[str, str]], catalog: Catalog, config: PoolConfig, inputs: Inputs, lengths: Lengths
) -> Estimate:
    """Return what the calls will take that make some generations again.

    Args:
        tasks: Stage and id of each.
        catalog: What exists, these generations too.
        config: The pool's models: limits and prices.
        inputs: The templates: one that copies now makes no call, whatever it did then.
        lengths: How long the texts of generations are.
    """
    found = {stage.name: _signatures(stage, catalog) for stage in config.pipeline}
    shares = {stage.name: _Share(stage, Counter(), 0, []) for stage in config.pipeline}
    kept: dict[str, set[str]] = {stage.name: set() for stage in config.pipeline}
    goes = frozenset(tasks)
    for name, gen_id in tasks:
        signature, mode = found[name][gen_id]
        above = signature.stage.parent
        if above is not None and (above, signature.source) not in goes and signature.source in found[above]:
            kept[above].add(signature.source)
        if _copied(signature, mode, inputs):
            shares[name] = replace(shares[name], copies=shares[name].copies + 1)
        else:
            shares[name].groups[signature.values[1:-1], _model(signature, found)] += 1
    ordered = [replace(share, kept=sorted(kept[name])) for name, share in shares.items()]
    return _estimated(ordered, config, inputs, catalog.usage, lengths)


def lengths_in(store: GenerationStore) -> Lengths:
    """Return what tells how long texts of a store are."""

    def lengths(stage: Stage, gen_ids: Sequence[str]) -> list[int]:
        found = []
        for one in gen_ids:
            with suppress(GenpoolError):
                found.append(len(store.text(store.record(stage, one)).encode()))
        return found

    return lengths


def _signatures(stage: Stage, catalog: Catalog) -> _Made:
    present = catalog.present(stage)
    return {
        gen_id: (signature, present.makings[present.whole[gen_id][1]].mode)
        for gen_id, signature in catalog.signatures(stage)
    }


def _copied(signature: Signature, mode: str | None, inputs: Inputs) -> bool:
    """Return whether a task copies now; where its template cannot be read, whether its generation was a copy."""
    try:
        template = inputs.template(signature.stage.name, str(signature.get(TEMPLATE_FIELD) or DEFAULT_TEMPLATE))
    except InvalidTemplate:
        return mode == MODE_COPY
    return template.mode == MODE_COPY


def _model(signature: Signature, found: Mapping[str, _Made]) -> str:
    """Return the model that a task runs on; nothing where what it runs on is that of something that is gone."""
    while not signature.stage.has_model:
        above = found[signature.stage.parent].get(signature.source) if signature.stage.parent else None
        if above is None:
            return ""
        signature = above[0]
    return str(signature[MODEL_FIELD])


@dataclass(frozen=True, slots=True)
class _Share:
    """What an estimate is about in one stage."""

    stage: Stage
    groups: Counter[_Group]
    """The calls."""
    copies: int
    """How many tasks pass their parent's text on."""
    kept: Sequence[str]
    """Generations that exist already and may be read by what is made."""


def _estimated(
    shares: Iterable[_Share],
    config: PoolConfig,
    inputs: Inputs,
    history: Callable[[Stage], History],
    lengths: Lengths,
) -> Estimate:
    """Return what the calls of some stages will take, parents before children."""
    total = Estimate()
    texts: dict[str, Range] = {}
    for share in shares:
        known = history(share.stage) if share.groups else {}
        above = texts.get(str(share.stage.parent))
        kinds = [(_known_texts(share, lengths), len(share.kept)), (above or Range(), share.copies)]
        for (levels, model), count in share.groups.items():
            one = _one(share.stage, levels, config.models.get(model), inputs, known, above)
            total = _with(total, one, model, count, config)
            if _is_unlimited(share.stage, levels, config.models.get(model), inputs):
                total = replace(total, unlimited=tuple(sorted({*total.unlimited, model})))
            kinds.append((one[1], count))
        texts[share.stage.name] = _mixed(kinds)
    return total


def _known_texts(share: _Share, lengths: Lengths) -> Range:
    """Return how many tokens the texts that exist have, from a sample of them."""
    if not share.kept:
        return Range()
    found = lengths(share.stage, share.kept[:: -(-len(share.kept) // _SAMPLE)])
    return _spread(found).times(1 / _BYTES_A_TOKEN) if found else Range()


def _mixed(kinds: Sequence[tuple[Range, int]]) -> Range:
    """Return the range of a number that is of one of several kinds, each so many times."""
    some = [(kind, count) for kind, count in kinds if count]
    if not some:
        return Range()
    expected = sum(kind.expected * count for kind, count in some) / sum(count for _, count in some)
    return Range(min(kind.low for kind, _ in some), expected, max(kind.high for kind, _ in some))


def _one(
    stage: Stage,
    levels: Sequence[FieldValue],
    entry: ModelEntry | None,
    inputs: Inputs,
    known: History,
    above: Range | None,
) -> tuple[Range, Range, bool]:
    """Return tokens in and out of one call, and whether the pool's history says so."""
    usages = known.get(choices_key(levels)) or [usage for several in known.values() for usage in several]
    if usages:
        return _spread([usage[0] for usage in usages]), _spread([usage[1] for usage in usages]), True
    try:
        template = _template(stage, levels, inputs)
    except InvalidTemplate:  # nothing is known but how much the model may write
        prompt, limit = 0.0, (entry.max_tokens if entry else None) or 0
    else:
        prompt = len((template.source + (template.system or "")).encode()) / _BYTES_A_TOKEN
        limit = template.max_tokens or (entry.max_tokens if entry else None) or 0
    out = Range(0.0, limit * _USUAL_SHARE, float(limit))
    above = out if above is None else above  # what a root is rendered from is not known: a text of that length
    return Range(prompt + above.low, prompt + above.expected, prompt + above.high), out, False


def _template(stage: Stage, levels: Sequence[FieldValue], inputs: Inputs) -> Template:
    name = dict(zip(stage.axes, levels, strict=True)).get(TEMPLATE_FIELD, DEFAULT_TEMPLATE)
    return inputs.template(stage.name, str(name))


def _is_unlimited(stage: Stage, levels: Sequence[FieldValue], entry: ModelEntry | None, inputs: Inputs) -> bool:
    """Return whether calls cost something, and nothing says how many tokens an answer may have."""
    if entry is None or entry.price is None or {"max_tokens", "max_completion_tokens"}.intersection(entry.sampling):
        return False
    with suppress(InvalidTemplate):
        return _template(stage, levels, inputs).max_tokens is None
    return True


def _spread(values: Sequence[int]) -> Range:
    """Return the 5th percentile, the mean and the 95th percentile of what was seen."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return Range(float(ordered[int(0.05 * last)]), fmean(ordered), float(ordered[-(-95 * last // 100)]))


def _with(total: Estimate, one: tuple[Range, Range, bool], model: str, count: int, config: PoolConfig) -> Estimate:
    """Return an estimate with some more calls of one kind."""
    tokens_in, tokens_out, from_history = one
    entry = config.models.get(model)
    cost = total.cost
    if entry is not None and entry.price is not None:
        price = entry.price
        each = Range(
            price.cost(tokens_in.low, tokens_out.low),
            price.cost(tokens_in.expected, tokens_out.expected),
            price.cost(tokens_in.high, tokens_out.high),
        )
        cost = (cost or Range()) + each.times(count)
    unpriced = {*total.unpriced, *(() if entry is not None and entry.price is not None else (model,))}
    return replace(
        total,
        calls=total.calls + count,
        most_calls=total.most_calls + count * (entry.attempts if entry else 1),
        input_tokens=total.input_tokens + tokens_in.times(count),
        output_tokens=total.output_tokens + tokens_out.times(count),
        cost=cost,
        unpriced=tuple(sorted(unpriced)),
        without_history=total.without_history + (0 if from_history else count),
        without_length=total.without_length + (0 if from_history or tokens_out.high else count),
    )
