"""Scopes wider than one cohort: all that a pool holds, and several cohorts together; for tables of their judgements.

What is asked of them is what tables are made from (`genpool.scores.Judged`). Where no one cohort is asked about, nobody
made or reused anything for it: what exists is `made`.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from genpool.finding import MADE
from genpool.scores import ABOVE, MADE_STATES, frame_of, read_reasons
from genpool.standing import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from genpool.catalog import Catalog
    from genpool.scores import Judged
    from genpool.stages import Pipeline, Stage
    from genpool.store import GenerationStore


class PoolScope:
    """All generations of a pool.

    Args:
        pipeline: The pool's stages.
        store: The pool's store.
        open_catalog: Opens the index of the store.
    """

    def __init__(self, pipeline: Pipeline, store: GenerationStore, open_catalog: Callable[[], Catalog]) -> None:
        self.pipeline = pipeline
        self._store = store
        self._open = open_catalog

    def frames(self) -> dict[str, pl.DataFrame]:
        """See `genpool.scores.Judged.frames`; generations come by their ids."""
        frames = {}
        for stage in self.pipeline:
            with closing(self._open()) as catalog:
                frames[stage.name] = frame_of(columns_of(stage, None, catalog, MADE)).sort("gen_id")
        return frames

    def reasons(self, stage: Stage, gen_ids: Sequence[str]) -> list[str | None]:
        """See `genpool.scores.Judged.reasons`."""
        return read_reasons(self._store, stage, gen_ids)


class JointScope:
    """Several cohorts together: a member of several is there once.

    Args:
        scopes: Their scopes; one or more.
    """

    def __init__(self, scopes: Sequence[Judged]) -> None:
        self.pipeline = scopes[0].pipeline
        self._scopes = scopes

    def frames(self) -> dict[str, pl.DataFrame]:
        """See `genpool.scores.Judged.frames`; members come in the order of the cohorts."""
        all_frames = [scope.frames() for scope in self._scopes]
        return {stage.name: _joined([frames[stage.name] for frames in all_frames]) for stage in self.pipeline}

    def reasons(self, stage: Stage, gen_ids: Sequence[str]) -> list[str | None]:
        """See `genpool.scores.Judged.reasons`."""
        return self._scopes[0].reasons(stage, gen_ids)


def _joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the frames of one stage in several cohorts as one, every generation once."""
    import polars as pl

    state = pl.col("state")
    above = state == ABOVE  # a member of one cohort may be above members of another
    return (
        pl.concat(frames)
        .with_columns(pl.when(state.is_in(MADE_STATES)).then(pl.lit(MADE)).otherwise(state).alias("state"))
        .sort(above, maintain_order=True)
        .unique("gen_id", keep="first", maintain_order=True)
    )
