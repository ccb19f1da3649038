"""Scopes wider than one cohort: all that a pool holds, and several cohorts together; for tables of their judgements.

What is asked of them is what tables are made from (`genpool.scores.Judged`). Where no one cohort is asked about, nobody
made or reused anything for it: what exists is `made`.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from genpool.errors import InvalidSignature, PoolError
from genpool.scope import MADE, MISSING, UNUSABLE
from genpool.scores import ABOVE, frame_schema, read_reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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

    def stage_frame(self, stage: Stage) -> pl.DataFrame:
        """See `genpool.scores.Judged.stage_frame`."""
        import polars as pl

        return pl.DataFrame(list(self._rows(stage)), schema=frame_schema(stage), orient="row", strict=False)

    def _rows(self, stage: Stage) -> Iterator[tuple[object, ...]]:
        with closing(self._open()) as catalog:
            present = catalog.present(stage)
            for gen_id, signature in catalog.signatures(stage):
                try:
                    score = self._store.record(stage, gen_id).score if stage.judges else None
                except (PoolError, InvalidSignature):
                    score = None
                numbers = (score.value, score.min, score.max) if score else (None, None, None)
                yield (gen_id, present.origin(gen_id), MADE, *numbers, *signature.values)
            for gen_id in sorted(present.unusable):
                yield (gen_id, None, UNUSABLE, None, None, None, *(None for _ in stage.fields))

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

    def stage_frame(self, stage: Stage) -> pl.DataFrame:
        """See `genpool.scores.Judged.stage_frame`."""
        import polars as pl

        frames = [scope.stage_frame(stage) for scope in self._scopes]
        known = pl.col("state").is_in([MISSING, UNUSABLE, ABOVE])
        rank = pl.when(pl.col("state") == ABOVE).then(1).otherwise(0)  # a member of one may be above members of another
        return (
            pl.concat(frames)
            .with_columns(pl.when(known).then("state").otherwise(pl.lit(MADE)).alias("state"))
            .with_columns(rank.alias(" rank"))
            .sort(" rank", maintain_order=True)
            .unique("gen_id", keep="first", maintain_order=True)
            .drop(" rank")
        )

    def reasons(self, stage: Stage, gen_ids: Sequence[str]) -> list[str | None]:
        """See `genpool.scores.Judged.reasons`."""
        return self._scopes[0].reasons(stage, gen_ids)
