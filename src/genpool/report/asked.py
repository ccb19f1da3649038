"""What a report is about: the members of one cohort, of several together, or everything that the pool holds."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from genpool.scope import MISSING, OWN, REUSED, UNUSABLE
from genpool.scores import frame_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from genpool.pool import Pool
    from genpool.stages import Pipeline, Stage

MADE: Final = "made"
ABOVE: Final = "above"

_ORDER: Final = (OWN, REUSED, MADE, MISSING, UNUSABLE, ABOVE)
"""What a member of several cohorts counts as: the first of these that it is in any."""

PRESENT: Final = (OWN, REUSED, MADE)
"""How a generation stands that exists."""


class Asked:
    """The members that a report is about, once each.

    Args:
        pool: The pool.
        cohorts: The cohorts; none for the whole pool.

    Raises:
        NotFound: A cohort has no membership.
    """

    def __init__(self, pool: Pool, cohorts: Sequence[str]) -> None:
        self.pool = pool
        self.cohorts = tuple(dict.fromkeys(cohorts))
        self._scopes = [pool.scope(name) for name in self.cohorts]
        self._frames: dict[str, pl.DataFrame] = {}

    @property
    def title(self) -> str:
        """What it is called."""
        if not self.cohorts:
            return "the whole pool"
        return f"cohort {self.cohorts[0]}" if len(self.cohorts) == 1 else f"cohorts {', '.join(self.cohorts)}"

    @property
    def pipeline(self) -> Pipeline:
        """The pool's stages."""
        return self.pool.config.pipeline

    def stage_frame(self, stage: Stage) -> pl.DataFrame:
        """Return the members of a stage, and what is above members, as `genpool.scores` describes it."""
        if stage.name not in self._frames:
            self._frames[stage.name] = self._together(stage) if self.cohorts else self._of_the_pool(stage)
        return self._frames[stage.name]

    def _together(self, stage: Stage) -> pl.DataFrame:
        import polars as pl

        frames = [scope.stage_frame(stage) for scope in self._scopes]
        if len(frames) == 1:
            return frames[0]
        rank = pl.col("state").replace_strict(list(_ORDER), list(range(len(_ORDER))), default=len(_ORDER))
        together = pl.concat(frames).with_row_index(" row").with_columns(rank.alias(" rank"))
        best = together.sort(" rank", " row").unique("gen_id", keep="first", maintain_order=True)
        return best.sort(" row").drop(" row", " rank")

    def _of_the_pool(self, stage: Stage) -> pl.DataFrame:
        import polars as pl

        rows = []
        for one in self.pool.matching(stage.name).members:
            record = one.record
            score = record.score if record else None
            numbers = (score.value, score.min, score.max) if score else (None, None, None)
            fields = [one.fields.get(name) for name in stage.fields]
            rows.append((one.gen_id, record.origin_cohort_id if record else None, one.state, *numbers, *fields))
        return pl.DataFrame(rows, schema=frame_schema(stage), orient="row", strict=False)

    def reasons(self, stage: Stage, gen_ids: Sequence[str]) -> list[str | None]:
        """Return what judges gave as their reasons; None where a text cannot be read or has none."""
        from genpool.errors import InvalidSignature, PoolError
        from genpool.parsers import reason_of

        found: list[str | None] = []
        for gen_id in gen_ids:
            try:
                found.append(reason_of(self.pool.store.text(self.pool.store.record(stage, gen_id))))
            except (PoolError, InvalidSignature):
                found.append(None)
        return found

    def problems(self) -> dict[str, str]:
        """Return the members that are unusable, each with what is wrong."""
        return {gen_id: said for scope in self._scopes for gen_id, said in scope.problems().items()}

    @cached_property
    def combos(self) -> dict[str, str]:
        """What combo ids stand for, in the words of their concepts; nothing where combos.jsonl cannot be read."""
        from genpool.combos import read_combo_book
        from genpool.errors import GenpoolError

        try:
            recorded = read_combo_book(self.pool.layout).by_id
        except GenpoolError:
            return {}
        return {name: " + ".join(one.concepts) for name, one in recorded.items() if one.concepts}
