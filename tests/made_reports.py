"""A report of very many judgements that no pool holds."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from genpool.report.asked import Asked
from genpool.scores import frame_schema

if TYPE_CHECKING:
    from collections.abc import Mapping


class Made(Asked):
    """Members that are in no store: two rubrics, two judges and a mark each for many essays by many templates."""

    judgements = 100_000

    @cached_property
    def _frames(self) -> Mapping[str, pl.DataFrame]:
        rng = np.random.default_rng(4)
        texts = self.judgements // 4
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
            "gen_id": [f"v_{number:032x}" for number in range(self.judgements)],
            "parent_gen_id": [f"e_{number // 4:032x}" for number in range(self.judgements)],
            "template_id": ["novelty" if number % 4 < 2 else "coherence" for number in range(self.judgements)],
            "llm_model_id": [f"judge-{number % 2}" for number in range(self.judgements)],
            "score": rng.integers(0, 10, self.judgements).astype(float),
            "min": [0.0] * self.judgements,
            "max": [9.0] * self.judgements,
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
