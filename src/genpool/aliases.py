"""Aliases: the ids that generations had before a migration, and what they became. legacy.csv keeps them for good.

An old id leads to its generation wherever an id is taken: in notes, in an old membership, in an old export. An id that
a generation bears now is never taken for an alias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genpool.durable import is_there, reading
from genpool.slots import alias_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from genpool.layout import PoolLayout


class Aliases:
    """What old ids became.

    Args:
        layout: The pool's paths.
        became: Stage and old id to new id.
    """

    def __init__(self, layout: PoolLayout, became: Mapping[tuple[str, str], str]) -> None:
        self._layout = layout
        self._became = became

    def __bool__(self) -> bool:
        return bool(self._became)

    def resolve(self, stage: str, gen_id: str) -> str:
        """Return the id that a task has now: the id itself where a generation bears it, or where it became nothing."""
        seen = set()
        while gen_id not in seen and (new := self._became.get((stage, gen_id))) is not None:
            if is_there(self._layout.generation(stage, gen_id)):
                break
            seen.add(gen_id)
            gen_id = new
        return gen_id

    def find(self, typed: str, *, prefix: bool = False) -> Iterator[tuple[str, str]]:
        """Yield stage and present id of what had an id, or where asked one that begins so."""
        for stage, old in self._became:
            if old == typed or (prefix and typed and old.startswith(typed)):
                new = self.resolve(stage, old)
                if new != old:
                    yield stage, new


def read_aliases(layout: PoolLayout) -> Aliases:
    """Read the aliases of a pool; the last line about an id counts. Damaged lines are `read_slots`' affair.

    Raises:
        StorageFailed: legacy.csv cannot be read.
    """
    try:
        with reading(layout.legacy):
            text = layout.legacy.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return Aliases(layout, {})
    became = {}
    for line in text.rpartition("\n")[0].split("\n"):
        found = alias_of(line)
        if found is not None:
            became[found[0], found[1]] = found[2]
    return Aliases(layout, became)
