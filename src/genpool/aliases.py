"""Aliases: the ids that generations had before a migration, and what they became. legacy.csv keeps them for good.

An old id leads to its generation wherever an id is taken: in notes, in an old membership, in an old export. An id that
a generation bears now is never taken for an alias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genpool.durable import is_there, reading
from genpool.signatures import Signature
from genpool.slots import alias_of
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from genpool.layout import PoolLayout
    from genpool.stages import Stage


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

    def noted(self, stage: str, gen_id: str) -> str:
        """Return what legacy.csv says that an id became, whatever bears it now; the id itself where it says nothing."""
        return self._became.get((stage, gen_id), gen_id)

    def misleading(self, stage: str, gen_ids: Iterable[str]) -> list[str]:
        """Return which ids of tasks lead elsewhere: a fork gave these tasks up, and somebody wants them again."""
        return [one for one in gen_ids if (stage, one) in self._became and self.resolve(stage, one) != one]

    def find(self, typed: str, *, prefix: bool = False) -> Iterator[tuple[str, str]]:
        """Yield stage and present id of what had an id, or where asked one that begins so."""
        for stage, old in self._became:
            if old == typed or (prefix and typed and old.startswith(typed)):
                new = self.resolve(stage, old)
                if new != old:
                    yield stage, new

    def before(self, beginning: str) -> set[tuple[str, str]]:
        """Return stage and old id of whatever became, by however many steps, what has an id that begins so."""
        found: set[tuple[str, str]] = set()
        while True:
            more = {
                (stage, old)
                for (stage, old), new in self._became.items()
                if new.startswith(beginning) or (stage, new) in found
            }
            if more <= found:
                return found
            found |= more

    def only(self, typed: str) -> tuple[str, str] | None:
        """Return stage and present id of the only task that had an id, or whose old id begins so; None for no such."""
        for prefix in (False, True):
            found = set(self.find(typed, prefix=prefix))
            if found:
                return found.pop() if len(found) == 1 else None
        return None

    def signature(self, signature: Signature) -> Signature:
        """Return a signature whose references are by present ids."""
        stage = signature.stage
        values = [
            self._reference(stage, name, str(value)) if name.endswith(REFERENCE_SUFFIX) else value
            for name, value in zip(stage.fields, signature.values, strict=True)
        ]
        return Signature(stage, tuple(values))

    def _reference(self, stage: Stage, name: str, gen_id: str) -> str:
        if name == PARENT_FIELD:
            return self.resolve(str(stage.parent), gen_id)
        found = {new for _, new in self.find(gen_id)}
        return found.pop() if len(found) == 1 else gen_id

    def conditions(self, where: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """Return conditions (field to levels) in which levels that were ids are present ids."""
        return {
            typed: [new for level in levels for new in (self._levels(level) if _refers(typed) else [level])]
            for typed, levels in where.items()
        }

    def _levels(self, level: str) -> list[str]:
        return sorted({new for _, new in self.find(level)}) or [level]


def _refers(typed: str) -> bool:
    """Return whether a field as a person writes it is a reference to a generation."""
    name = typed.rpartition(".")[2]
    return name == "parent" or name.endswith(REFERENCE_SUFFIX)


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
    became: dict[tuple[str, str], str] = {}
    for line in text.rpartition("\n")[0].split("\n"):
        found = alias_of(line)
        if found is None:
            continue
        if found[1] == found[2]:
            became.pop(found[:2], None)
        else:
            became[found[0], found[1]] = found[2]
    return Aliases(layout, became)
