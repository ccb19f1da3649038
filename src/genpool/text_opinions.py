"""The mean score of every rubric by what it judged, for one screen: the numbers of `level_means`, without data frames.

A run prints them at its end; importing what tables need would take longer than a run that has nothing to do.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import fmean

Score = tuple[float, float, float]
"""A score and the ends of its scale."""


@dataclass(slots=True)
class RubricOpinions:
    """What the judges of one rubric said of the texts, by what these were made of."""

    scores: dict[str, dict[str, dict[str, list[Score]]]] = field(default_factory=dict)
    """What was judged to text to judge to its scores."""
    judges: set[str] = field(default_factory=set)
    """All who spoke."""

    def add(self, judged: str, text: str, judge: str, score: Score) -> None:
        """Add one judgement."""
        self.judges.add(judge)
        self.scores.setdefault(judged, defaultdict(lambda: defaultdict(list)))[text][judge].append(score)

    def mean(self, judged: str) -> OpinionMean:
        """Return the mean over the texts that all judges have spoken of: each that of its judges, however often."""
        texts = self.scores[judged]
        scales = {(least, most) for said in texts.values() for one in said.values() for _, least, most in one}
        least, most = next(iter(scales)) if len(scales) == 1 else (0.0, 1.0)
        whole = [said for said in texts.values() if len(said) == len(self.judges)]
        values = [
            fmean(fmean(_value(one, len(scales) > 1) for one in judge) for judge in said.values()) for said in whole
        ]
        judgements = sum(len(judge) for said in whole for judge in said.values())
        return OpinionMean(least, most, fmean(values) if values else None, len(whole), judgements, len(texts))


@dataclass(frozen=True, slots=True)
class OpinionMean:
    """The mean of some texts by one rubric."""

    least: float
    """The least score of the scale; 0 where judgements on several scales were normalised."""
    most: float
    mean: float | None
    """None where no text was judged by all judges."""
    texts: int
    judgements: int
    """What the mean is of."""
    judged: int
    """How many texts have any judgement."""


def _value(score: Score, normalised: bool) -> float:
    value, least, most = score
    return (value - least) / (most - least) if normalised else value
