"""What a report says in words: the answers that a reader comes for, the same on the page and in the terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from genpool.report.facts import many

if TYPE_CHECKING:
    from genpool.comparison import Comparison, Difference
    from genpool.intervals import Mean
    from genpool.report.facts import Cost, Facts
    from genpool.report.judged import JudgedFacts


@dataclass(frozen=True, slots=True)
class Better:
    """Which level of an axis is better, by how much, and how sure that is."""

    axis: str
    better: str | None
    """The level that scored higher in these texts, surely or not; None where none did, or nobody can say."""
    which: str
    by: str
    sure: str
    more: str = ""
    """What else must be known: of several levels, of means that say otherwise, of rubrics one by one."""


@dataclass(frozen=True, slots=True)
class BestText:
    """One of the best texts."""

    gen_id: str
    path: str
    combo: str
    score: str
    place: str
    """The id of the element of the page that holds it."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The answers."""

    better: tuple[Better, ...]
    cost: str
    best: tuple[BestText, ...]
    lacking: tuple[str, ...]
    """Why there is no answer, where there is none."""


def findings_of(facts: Facts) -> Findings:
    """Return what some facts answer."""
    better: list[Better] = []
    best: list[BestText] = []
    lacking: list[str] = []
    several = len(facts.judged) > 1
    for at, one in enumerate(facts.judged):
        found = [better_of(one, comparison) for comparison in one.comparisons]
        better += [replace(each, axis=f"{each.axis} ({one.stage})") if several else each for each in found]
        if one.judgements and not one.varied:
            lacking.append(f"every {one.judged} was made by the same choices: there is nothing to compare")
        measure = next(iter(one.measures.values()), "")
        key = part_key(at)
        best = best or [  # those of one stage: what several judged is on no one scale
            BestText(read.gen_id, read.path, read.combo, f"{number(read.value)} on {measure}", f"{key}best-{place}")
            for place, read in enumerate(one.best, start=1)
        ]
    if not best:
        lacking.append("no text was judged: there are no scores")
    return Findings(tuple(better), cost_of(facts.cost), tuple(best[:3]), tuple(lacking))


def part_key(at: int) -> str:
    """Return what the ids of a judging stage's sections on the page begin with: nothing, for the first stage."""
    return f"{at + 1}-" if at else ""


def better_of(judged: JudgedFacts, comparison: Comparison) -> Better:
    """Return which level of an axis is better by the mean over the rubrics."""
    axis = judged.axes[comparison.axis]
    measure = next(iter(judged.measures))
    differences = comparison.between(measure)
    if not differences:
        return Better(axis, None, f"no two levels of {axis} were judged", "", "")
    first = _first(differences)
    mean = first.mean
    if mean.mean is None:
        which = f"{first.better} and {first.worse} cannot be compared"
        return Better(axis, None, which, "", first.said or "", _by_rubric(judged, comparison, first))
    if mean.mean == 0:
        which, better = f"{first.better} and {first.worse} scored the same", None
    else:
        unsure = "" if mean.is_sure else "no clear winner; "
        which, better = f"{unsure}{first.better} scored higher than {first.worse}", first.better
    by = f"by {number(mean.mean)} on a scale of {judged.measures[measure]}" if mean.mean else ""
    more = "; ".join(said for said in (_more(comparison), _of_other_texts(comparison, first)) if said)
    return Better(axis, better, which, by, sureness(mean), more)


def _by_rubric(judged: JudgedFacts, comparison: Comparison, overall: Difference) -> str:
    """Say what the rubrics answer one by one of two levels that nothing can be said of by all of them."""
    said = []
    for measure in judged.measures:
        for one in comparison.between(measure):
            if {one.better, one.worse} != {overall.better, overall.worse} or one.mean.mean is None:
                continue
            by = f"{one.better} higher by {number(one.mean.mean)}" if one.mean.mean else "the same"
            said.append(f"{measure}: {by} ({many(one.mean.values, 'pair')})")
    return "; ".join(said)


def _of_other_texts(comparison: Comparison, found: Difference) -> str:
    """Say it where the means of two levels are the other way round than their pairs: they are of other texts."""
    means = {one.level: one.mean.mean for one in comparison.of(found.measure)}
    better, worse = means.get(found.better), means.get(found.worse)
    if not found.mean.mean or better is None or worse is None or better >= worse:
        return ""
    return (
        f"over all their texts {found.better} has {number(better)} and {found.worse} {number(worse)}: "
        f"these means are of other texts too, which have no partner"
    )


def _first(differences: tuple[Difference, ...]) -> Difference:
    """Return the difference that answers: that of the two best levels; of later ones where these have no pair."""
    return next((one for one in differences if one.mean.mean is not None), differences[0])


def _more(comparison: Comparison) -> str:
    levels = comparison.multiplicity
    if levels < 2:
        return ""
    said = f"the intervals hold for all {levels:,} pairs of levels together (Bonferroni)"
    if comparison.not_compared:
        said += f"; {comparison.not_compared:,} levels more are not compared with the best"
    return said


def sureness(mean: Mean) -> str:
    """Return how sure the mean of some differences is."""
    of = f"{many(mean.values, 'pair')} from {many(mean.units, 'combo')}"
    if mean.low is None or mean.high is None:
        return f"no interval ({of}): {mean.said}"
    tells = "it leaves out 0: more than chance" if mean.is_sure else "it holds 0: this may be chance"
    return f"{level(mean)} interval {number(mean.low)} to {number(mean.high)}, {of}; {tells}"


def cost_of(cost: Cost) -> str:
    """Return what it all cost."""
    total = cost.total
    if total is None or not total.calls:
        return cost.said[0] if cost.said else "nothing was bought by these runs"
    said = f"{many(total.calls, 'call')}, {total.input_tokens:,} tokens in, {total.output_tokens:,} out"
    if total.cost is None:
        return f"{said}; no price is known for these models"
    said += f"; cost {total.cost:.4f}"
    if total.worst is not None and total.worst > total.cost:
        said += f", at worst {total.worst:.4f}"
    return f"{said}, without {many(cost.unpriced, 'call')} that have no price" if cost.unpriced else said


def number(value: float | None) -> str:
    """Return a number as a reader sees it."""
    if value is None:
        return "-"
    text = f"{value:.2f}"
    return f"{value:.1g}" if value and not text.strip("-0.") else text


def level(mean: Mean) -> str:
    """Return an interval's level in per cent."""
    return f"{100 * mean.level:.4g} %"


def interval(mean: Mean) -> str:
    """Return an interval, or a dash where there is none."""
    return "-" if mean.low is None else f"{number(mean.low)} to {number(mean.high)}"
