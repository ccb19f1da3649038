"""Ids as a person types them: whole, their beginning only, or as they were before a migration; and what they lead to.

What bears an id comes before what had it; a whole id comes before the beginning of another.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from genpool.aliases import read_aliases
from genpool.durable import is_there
from genpool.finding import beginning_with, find_attempts, find_generation
from genpool.signatures import reference_problem
from genpool.why import signature_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from genpool.catalog import Catalog
    from genpool.layout import PoolLayout
    from genpool.records import Record
    from genpool.signatures import Signature
    from genpool.stages import Pipeline, Stage
    from genpool.store import Attempt, GenerationStore


class TypedIds:
    """What typed ids lead to in one pool.

    Args:
        layout: The pool's paths.
        pipeline: The pool's stages.
        store: The pool's store.
        open_catalog: Opens its index, to be closed by the caller.
    """

    def __init__(
        self, layout: PoolLayout, pipeline: Pipeline, store: GenerationStore, open_catalog: Callable[[], Catalog]
    ) -> None:
        self._layout = layout
        self._pipeline = pipeline
        self._store = store
        self._open_catalog = open_catalog

    def present(self, typed: str) -> str:
        """Return the id that is meant: the typed one, or what it, or the only one that begins so, became."""
        aliases = read_aliases(self._layout)
        if not aliases or reference_problem(typed):
            return typed
        if any(is_there(self._layout.generation(stage.name, typed)) for stage in self._pipeline):
            return typed
        whole = {new for _, new in aliases.find(typed)}
        if len(whole) == 1:
            return whole.pop()
        now = None if self.is_generation(typed) else aliases.only(typed)
        return now[1] if now else typed

    def is_generation(self, beginning: str) -> bool:
        """Return whether anything that is kept as a generation has an id that begins so."""
        with closing(self._open_catalog()) as catalog:
            return any(beginning_with(catalog, stage, beginning, 1) for stage in self._pipeline)

    def generation(self, typed: str) -> Record:
        """Return the record of a generation; see `Pool.find_generation`."""
        return find_generation(self._pipeline, self._store, self._open_catalog, self.present(typed))

    def attempts(self, typed: str) -> tuple[Stage, str, tuple[Attempt, ...]] | None:
        """Return stage, id and attempts of a task; see `Pool.find_attempts`."""
        found = find_attempts(self._pipeline, self._store, typed)
        if found:
            return found
        now = read_aliases(self._layout).only(typed)
        return find_attempts(self._pipeline, self._store, now[1]) if now else None

    def signature(self, task: Signature | str, catalog: Catalog) -> Signature:
        """Return the signature of a task, by present ids: of one whose signature, or whose id, was typed.

        Raises:
            NotFound: No generation and no membership has the id.
        """
        if isinstance(task, str):
            return signature_of(self._layout, self._pipeline, catalog, self.present(task))
        return read_aliases(self._layout).signature(task)
