"""What a report is about: the members of one cohort, of several together, or everything that the pool holds."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from genpool.pool import Pool
    from genpool.stages import Pipeline, Stage


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
        self._scope = pool.wide_scope(self.cohorts)

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

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """Return every stage's members, and what is above members; see `genpool.scores.Judged`. Read once."""
        return self._frames

    @cached_property
    def _frames(self) -> Mapping[str, pl.DataFrame]:
        return self._scope.frames()

    def stage_frame(self, stage: Stage) -> pl.DataFrame:
        """Return the members of one stage, and what is above members."""
        return self._frames[stage.name]

    def reasons(self, stage: Stage, gen_ids: Sequence[str]) -> list[str | None]:
        """Return what judges gave as their reasons; None where a text cannot be read or has none."""
        return self._scope.reasons(stage, gen_ids)

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
