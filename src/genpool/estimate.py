"""What a plan's calls will take: tokens and cost, low, expected and high.

From the pool's own history where there is some: what calls with the same choices took, else those of the same stage.
Where there is none, from the length of the templates and of the texts that they are rendered from, and from the models'
limits, which is rough and says so. A model without a price is said to have none; its calls are left out of the cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

from genpool.catalog import choices_key
from genpool.planner import State
from genpool.prompts import DEFAULT_TEMPLATE
from genpool.stages import TEMPLATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from genpool.canonical import Json
    from genpool.config import PoolConfig
    from genpool.inputs import Inputs
    from genpool.planner import Plan, StagePlan
    from genpool.stages import Stage

Usage = tuple[int, int]
"""Tokens in and out of one call."""

History = Mapping[str, "Sequence[Usage]"]
"""Choices of a stage's generations (`choices_key`) to what their calls took."""

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
    without_history: int = 0
    """Calls for which the pool has no history, so that limits were used."""

    def as_json(self) -> dict[str, Json]:
        """Return the estimate as a JSON object."""
        return {
            "calls": self.calls,
            "most_calls": self.most_calls,
            "input_tokens": self.input_tokens.as_json(),
            "output_tokens": self.output_tokens.as_json(),
            "cost": self.cost.as_json() if self.cost else None,
            "models_without_a_price": list(self.unpriced),
            "calls_without_history": self.without_history,
        }


def estimate(
    plan: Plan,
    config: PoolConfig,
    inputs: Inputs,
    history: Callable[[Stage], History],
    lengths: Callable[[Stage, Sequence[str]], Sequence[int]],
) -> Estimate:
    """Return what the calls of a plan will take.

    Args:
        plan: The plan.
        config: The pool's models: limits and prices.
        inputs: The templates.
        history: What the calls of a stage took so far.
        lengths: The lengths in bytes of the texts of some generations; those that cannot be read are left out.
    """
    total = Estimate()
    texts: dict[str, Range] = {}
    for stage in plan.stages:
        groups = Counter(
            (choices_key(stage.variant(index)[:-1]), plan.model_of(stage, index) or "")
            for index in stage.to_make()
            if not stage.copies(index)
        )
        known = history(stage.stage) if groups else {}
        above = texts.get(str(stage.stage.parent))
        kinds = [(_known_texts(stage, lengths), stage.counts()[State.REUSE])]
        for (choices, model), count in groups.items():
            one = _one(stage, choices, model, config, inputs, known, above)
            total = _with(total, one, model, count, config)
            kinds.append((one[1], count))
        kinds.append((above or Range(), len(stage.to_make()) - sum(groups.values())))  # copies
        texts[stage.stage.name] = _mixed(kinds)
    return total


def _known_texts(stage: StagePlan, lengths: Callable[[Stage, Sequence[str]], Sequence[int]]) -> Range:
    """Return how many tokens the texts of a stage's reused generations have, from a sample of them."""
    reused = [gen_id for gen_id, found in zip(stage.gen_ids, stage.found, strict=True) if found is not None]
    if not reused:
        return Range()
    found = lengths(stage.stage, reused[:: -(-len(reused) // _SAMPLE)])
    return _spread(found).times(1 / _BYTES_A_TOKEN) if found else Range()


def _mixed(kinds: Sequence[tuple[Range, int]]) -> Range:
    """Return the range of a number that is of one of several kinds, each so many times."""
    some = [(kind, count) for kind, count in kinds if count]
    if not some:
        return Range()
    expected = sum(kind.expected * count for kind, count in some) / sum(count for _, count in some)
    return Range(min(kind.low for kind, _ in some), expected, max(kind.high for kind, _ in some))


def _one(
    stage: StagePlan,
    choices: str,
    model: str,
    config: PoolConfig,
    inputs: Inputs,
    known: History,
    above: Range | None,
) -> tuple[Range, Range, bool]:
    """Return tokens in and out of one call, and whether the pool's history says so."""
    usages = known.get(choices) or [usage for several in known.values() for usage in several]
    if usages:
        return _spread([usage[0] for usage in usages]), _spread([usage[1] for usage in usages]), True
    fields = stage.stage.fields[1:-1]
    variant = next(one for one in stage.choices if choices_key(one[:-1]) == choices)
    name = dict(zip(fields, variant, strict=False)).get(TEMPLATE_FIELD, DEFAULT_TEMPLATE)
    template = inputs.template(stage.stage.name, str(name))
    entry = config.models.get(model)
    limit = template.max_tokens or (entry.max_tokens if entry else None) or 0
    prompt = len((template.source + (template.system or "")).encode()) / _BYTES_A_TOKEN
    out = Range(0.0, limit * _USUAL_SHARE, float(limit))
    above = out if above is None else above  # what a root is rendered from is not known: a text of that length
    return Range(prompt + above.low, prompt + above.expected, prompt + above.high), out, False


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
    return Estimate(
        calls=total.calls + count,
        most_calls=total.most_calls + count * (entry.attempts if entry else 1),
        input_tokens=total.input_tokens + tokens_in.times(count),
        output_tokens=total.output_tokens + tokens_out.times(count),
        cost=cost,
        unpriced=tuple(sorted(unpriced)),
        without_history=total.without_history + (0 if from_history else count),
    )
