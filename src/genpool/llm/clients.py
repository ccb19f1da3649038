"""Opening clients: one for each model entry, embedded weights loaded once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from genpool.config import ModelEntry
    from genpool.llm.client import ModelClient


class Clients:
    """The clients of one run, opened when first asked for.

    Args:
        entries: The pool's models.
        root: The pool; keys and paths are looked up from there.
        given: Clients to use instead of opening one, by model id.
    """

    def __init__(
        self, entries: Mapping[str, ModelEntry], root: Path, given: Mapping[str, ModelClient] | None = None
    ) -> None:
        self._entries = entries
        self._root = root
        self._open: dict[str, ModelClient] = dict(given or {})
        self._loaded: dict[tuple[str, int], ModelClient] = {}
        self._opening = asyncio.Lock()

    async def client(self, model_id: str) -> ModelClient:
        """Return the client of a model entry.

        Raises:
            ModelUnavailable: The model cannot be had: package, weights or endpoint.
            MissingKey: Its key is not set.
        """
        async with self._opening:
            if model_id not in self._open:
                self._open[model_id] = await asyncio.to_thread(self._opened, self._entries[model_id])
        return self._open[model_id]

    def _opened(self, entry: ModelEntry) -> ModelClient:
        if entry.client == "embedded":
            return self._embedded(entry)
        if entry.client == "openai":
            from genpool.llm.openai_compatible import OpenAICompatible, find_key

            return OpenAICompatible(entry, find_key(entry, self._root))
        from genpool.llm.scripted import from_entry

        return from_entry(dict(entry.script), self._root)

    def _embedded(self, entry: ModelEntry) -> ModelClient:
        from genpool.llm import weights
        from genpool.llm.embedded import EmbeddedModel

        key = (entry.model, entry.context)
        if key not in self._loaded:
            sharing = [
                one for one in self._entries.values() if one.client == "embedded" and (one.model, one.context) == key
            ]
            slots = sum(one.concurrency for one in sharing)  # no call waits inside its deadline
            self._loaded[key] = EmbeddedModel(
                weights.locate(entry.model, self._root), entry.model, entry.context, slots
            )
        return self._loaded[key]

    async def aclose(self) -> None:
        """Close every client that was opened."""
        for client in {id(one): one for one in (*self._open.values(), *self._loaded.values())}.values():
            await client.aclose()
