"""The page stays small however much was judged: it holds sums and a few texts, never the judgements."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from genpool.pool import Pool
from genpool.report.asked import Asked
from genpool.report.facts import facts_of
from genpool.report.page import page_of
from genpool.scores import frame_schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

JUDGEMENTS = 100_000


class Made(Asked):
    """Members that are in no store: two rubrics, two judges and a mark each for many essays by many templates."""

    @cached_property
    def _frames(self) -> Mapping[str, pl.DataFrame]:
        rng = np.random.default_rng(4)
        texts = JUDGEMENTS // 4
        essays = {
            "gen_id": [f"e_{number:032x}" for number in range(texts)],
            "parent_gen_id": [f"d_{number // 2:032x}" for number in range(texts)],
            "template_id": [f"template-{number % 2}" for number in range(texts)],
        }
        drafts = {
            "gen_id": [f"d_{number:032x}" for number in range(texts // 2)],
            "combo_id": [f"combo_{number // 125:020x}" for number in range(texts // 2)],
            "template_id": [f"a template with a name of some length {number % 25}" for number in range(texts // 2)],
            "llm_model_id": [f"provider/model-{number % 125 // 25}" for number in range(texts // 2)],
        }
        marks = {
            "gen_id": [f"v_{number:032x}" for number in range(JUDGEMENTS)],
            "parent_gen_id": [f"e_{number // 4:032x}" for number in range(JUDGEMENTS)],
            "template_id": ["novelty" if number % 4 < 2 else "coherence" for number in range(JUDGEMENTS)],
            "llm_model_id": [f"judge-{number % 2}" for number in range(JUDGEMENTS)],
            "score": rng.integers(0, 10, JUDGEMENTS).astype(float),
            "min": [0.0] * JUDGEMENTS,
            "max": [9.0] * JUDGEMENTS,
        }
        return {
            stage.name: self._frame(stage.name, columns)
            for stage, columns in zip(self.pipeline, (drafts, essays, marks), strict=True)
        }

    def _frame(self, stage: str, columns: Mapping[str, object]) -> pl.DataFrame:
        schema = frame_schema(self.pipeline[stage])
        size = len(columns["gen_id"])  # type: ignore[arg-type]
        whole = {"state": ["own"] * size, "origin": ["c"] * size, "replicate": [1] * size, **columns}
        return pl.DataFrame({name: whole.get(name, [None] * size) for name in schema}, schema=schema)


@pytest.fixture
def asked(tmp_path: Path) -> Made:
    return Made(Pool.init(tmp_path / "pool"), [])


def test_a_hundred_thousand_judgements_make_a_page_of_less_than_three_megabytes(asked: Made) -> None:
    facts = facts_of(asked)
    (judged,) = facts.judged
    assert (judged.judgements, judged.texts, len(judged.combos)) == (JUDGEMENTS, JUDGEMENTS // 4, 100)
    page = page_of(facts)
    assert len(page.encode()) < 3_000_000
    assert "100,000 judgements of 25,000 essays from 100 combos" in page
    assert "paths of choices" in page  # 250 of them: what is left out is said
    assert "levels are not compared" not in page
    assert len(judged.comparisons[0].differences) == 3 * 24
