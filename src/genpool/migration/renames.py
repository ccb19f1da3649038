"""Which ids become which, for the files of a pool that name generations. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

GENS: Final = "gens"
ATTEMPTS: Final = "attempts"
MEMBER: Final = "member"
FORK: Final = "fork"
"""The reason of what gets another level of an axis."""


class Row(NamedTuple):
    """One line of mapping.csv: something that is touched, or an id that becomes another one."""

    old_id: str
    new_id: str
    stage: str
    reason: str
    """`opaque`, an older scheme's name, `parent` (what it refers to gets another id), `identity` (salt, scheme or axes
    change), `fork` (it gets another level of an axis), `seal` (the id stays, the record gets our format)."""
    replicate: int
    place: str
    """The folder of stage folders that it is in: `gens`, `attempts`, or one of these in the trash; `member` for a task
    that only memberships name."""


@dataclass(slots=True)
class Renames:
    """Old id to new id, by stage."""

    layers: list[dict[str, dict[str, str]]] = field(default_factory=list)
    """Stage to old id to new id; the first layer that knows an id counts."""

    def of(self, stage: str, gen_id: str) -> str:
        """Return the id that a task gets; its own where it keeps it."""
        for layer in self.layers:
            found = layer.get(stage, _NONE).get(gen_id)
            if found is not None:
                return found
        return gen_id

    def anywhere(self, gen_id: str) -> str | None:
        """Return the id that whatever bears an id gets; None where several stages would give it several."""
        found = {new for layer in self.layers[:1] for ids in layer.values() if (new := ids.get(gen_id)) is not None}
        for layer in self.layers[1:]:
            if not found:
                found = {new for ids in layer.values() if (new := ids.get(gen_id)) is not None}
        return next(iter(found or {gen_id})) if len(found) < 2 else None

    def first(self, layer: dict[str, dict[str, str]]) -> Renames:
        """Return these renames after others that come first."""
        return Renames([layer, *self.layers])


_NONE: Final[Mapping[str, str]] = {}


def renames_of(rows: Iterable[Row], *, back: bool = False) -> dict[str, Renames]:
    """Return the renames for the books of a pool, and for those of each removal in its trash.

    Args:
        rows: The mapping.
        back: Whether new ids become old ones again.

    Returns:
        The folder of the removal (`trash/<trash_id>`) to its renames; the empty text stands for the pool itself.
    """
    by_place: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        old, new = (row.new_id, row.old_id) if back else (row.old_id, row.new_id)
        if old != new:
            by_place.setdefault(row.place, {}).setdefault(row.stage, {})[old] = new
    ordered = sorted(by_place, key=lambda one: (one not in _FIRST, _FIRST.get(one, 0), one))
    general = Renames([by_place[place] for place in ordered])
    found = {"": general}
    for place in by_place:
        folder = place.rpartition("/")[0]
        if folder:
            own = [by_place[f"{folder}/{name}"] for name in (GENS, ATTEMPTS) if f"{folder}/{name}" in by_place]
            found[folder] = Renames([*own, *general.layers])
    return found


_FIRST: Final = {GENS: 0, ATTEMPTS: 1, MEMBER: 2}


def aliases_of(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield one row for every id that becomes another one: those of generations count first."""
    seen: set[tuple[str, str]] = set()
    ordered = sorted(rows, key=lambda row: (row.place not in _FIRST, _FIRST.get(row.place, 0)))
    if ordered and ordered[-1].place == GENS:  # directories all: no id is there twice in a stage
        yield from (row for row in ordered if row.old_id != row.new_id)
        return
    for row in ordered:
        if row.old_id != row.new_id and (row.stage, row.old_id) not in seen:
            seen.add((row.stage, row.old_id))
            yield row
