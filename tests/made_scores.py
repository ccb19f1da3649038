"""Judgements made up from a known truth, as `aggregated_scores` gives them, without a pool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from genpool.judgements import judgements_of
from genpool.stages import DEFAULT_PIPELINE

if TYPE_CHECKING:
    import numpy as np

    from genpool.judgements import Judgements

AXES = {"draft_template": "draft template", "essay_template": "essay template"}
JUDGING = DEFAULT_PIPELINE["evaluation"]
SCHEMA = {
    "stage": pl.String,
    "gen_id": pl.String,
    "judged_gen_id": pl.String,
    "rubric": pl.String,
    "judge": pl.String,
    "replicate": pl.Int64,
    "score": pl.Float64,
    "min": pl.Float64,
    "max": pl.Float64,
    "normalised": pl.Float64,
    "problem": pl.String,
    "combo": pl.String,
    "draft_template": pl.String,
    "essay_template": pl.String,
}


@dataclass
class Scores:
    """A table of judgements, filled by hand: `add` says what one text got."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        *scores: float | None,
        combo: str = "c1",
        draft: str = "plain",
        essay: str = "story",
        text: str = "1",
        rubric: str = "clarity",
        judge: str = "judge",
        scale: tuple[float, float] = (0, 9),
    ) -> Scores:
        """Add judgements of one text by one judge; None is a judgement that does not count."""
        least, most = scale
        for replicate, score in enumerate(scores, start=1):
            self.rows.append(
                {
                    "stage": "evaluation",
                    "gen_id": f"v_{len(self.rows)}",
                    "judged_gen_id": f"e_{combo}_{draft}_{essay}_{text}",
                    "rubric": rubric,
                    "judge": judge,
                    "replicate": replicate,
                    "score": score,
                    "min": least,
                    "max": most,
                    "normalised": None if score is None else (score - least) / (most - least),
                    "problem": "its score is not a number" if score is None else None,
                    "combo": combo,
                    "draft_template": draft,
                    "essay_template": essay,
                }
            )
        return self

    @property
    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(self.rows, schema=SCHEMA)

    @property
    def judgements(self) -> Judgements:
        return judgements_of(self.frame, JUDGING, AXES)


def random_scores(rng: np.random.Generator, combos: int, *, better: float = 0.7) -> Scores:
    """Return scores of texts whose truth is known: their mean is 5, and `long` is better than `plain` by so much.

    Combos differ, families of a combo differ, replicates of a family differ a little, judgements of a text differ. How
    many replicates a family has, and how often a text was judged, says nothing about its scores.
    """
    found = Scores()
    for number in range(combos):
        combo = 5 + rng.normal(0, 1.0)
        for draft, effect in (("plain", -better / 2), ("long", better / 2)):
            family = combo + effect + rng.normal(0, 0.8)
            for text in range(int(rng.integers(1, 4))):
                true = family + rng.normal(0, 0.3)
                scores = true + rng.normal(0, 1.0, int(rng.integers(1, 4)))
                found.add(*scores.tolist(), combo=f"c{number}", draft=draft, text=str(text), scale=(-50, 60))
    return found
