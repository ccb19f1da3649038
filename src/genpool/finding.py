"""Finding generations in a whole pool: by what they are, by an id or its beginning; and what is above one."""

from __future__ import annotations

import re
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.aliases import read_aliases
from genpool.catalog_filters import fitting
from genpool.errors import NotFound
from genpool.filters import read_conditions
from genpool.membership import cohort_ids
from genpool.signatures import FILE_NAME
from genpool.stages import PARENT_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from genpool.catalog import Catalog
    from genpool.layout import PoolLayout
    from genpool.records import Record
    from genpool.signatures import FieldValue
    from genpool.stages import Pipeline, Stage
    from genpool.store import Attempt, GenerationStore

MADE: Final = "made"

_CANDIDATES: Final = 5
"""So many of the ids that an ambiguous beginning may stand for are told."""
_EVERY: Final = 2**62
_BEGINNING: Final = re.compile(r"[A-Za-z0-9._-]{0,128}")


@dataclass(frozen=True, slots=True)
class MemberState:
    """One member and how it stands."""

    stage: str
    gen_id: str
    state: str
    """`own` (this cohort's run made it), `reused` (another's), `missing`, or `unusable` (its record is damaged, or
    states another task); `made` where no cohort was asked about."""
    record: Record | None
    """Its record; None where it is missing or unusable."""
    fields: Mapping[str, FieldValue]
    """Its signature's fields: from the record, or where it is missing from the membership."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What was asked for, and how much of it nobody can tell."""

    members: tuple[MemberState, ...]
    unread: tuple[str, ...] = ()
    """Ids that were left out because they, or something above them, cannot be read."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What was asked for, each read when its turn comes: all records at once may be more than memory has room for."""

    members: Iterator[MemberState]
    unread: tuple[str, ...] = ()
    """See `Listing.unread`."""

    def listing(self) -> Listing:
        """Read all that is left."""
        return Listing(tuple(self.members), self.unread)


def stated(record: Record) -> dict[str, FieldValue]:
    """Return the fields that a record states: a legacy one may have no replicate."""
    return {name: value for name, value in record.stated().items() if value is not None}


def each_matching(
    layout: PoolLayout,
    pipeline: Pipeline,
    store: GenerationStore,
    open_catalog: Callable[[], Catalog],
    *,
    stage: str | None = None,
    where: Mapping[str, Iterable[str]] | None = None,
    origins: Collection[str] = (),
) -> Matches:
    """Return the generations of a whole pool that are asked for, by stage and id; see `Pool.matching`.

    A legacy generation's replicate is its slot.
    """
    asked = None if stage is None else pipeline[stage]
    conditions = read_conditions(pipeline, read_aliases(layout).conditions(where or {}), asked)
    with closing(open_catalog()) as catalog:
        stages = (asked,) if asked else tuple(pipeline)
        found = fitting(catalog, pipeline, stages, conditions, origins, cohort_ids(layout))

    def members() -> Iterator[MemberState]:
        for gen_id, signature in found:
            try:
                record = store.record(signature.stage, gen_id)
            except NotFound:
                if gen_id in store.listed(signature.stage):
                    raise
                continue  # it was removed meanwhile
            yield MemberState(signature.stage.name, gen_id, MADE, record, signature.as_dict())

    return Matches(members(), found.unread)


def lineage(pipeline: Pipeline, store: GenerationStore, record: Record) -> list[Record]:
    """Return the records above one, nearest first.

    Raises:
        NotFound: An ancestor does not exist.
        CorruptGeneration: An ancestor's record is damaged.
    """
    found = []
    while record.stage.parent is not None:
        record = store.record(pipeline[record.stage.parent], str(record.signature[PARENT_FIELD]))
        found.append(record)
    return found


def find_generation(
    pipeline: Pipeline, store: GenerationStore, open_catalog: Callable[[], Catalog], gen_id: str
) -> Record:
    """Return the record of a generation by its id, or by the only id that starts so.

    A whole id is looked up in the store itself; no stage is listed for it.

    Raises:
        NotFound: No generation, or more than one, has an id that starts so.
    """
    if FILE_NAME.fullmatch(gen_id):
        for stage in pipeline:
            with suppress(NotFound):
                return store.record(stage, gen_id)
    with closing(open_catalog()) as catalog:
        found = _only(pipeline, lambda stage: beginning_with(catalog, stage, gen_id), gen_id, "generations have an id")
    if found is None:
        raise NotFound(
            f"no generation has the id {gen_id!r}", hint="`genpool ls <cohort>` lists a cohort's generations"
        )
    return store.record(*found)


def beginning_with(
    catalog: Catalog, stage: Stage, beginning: str, limit: int = _EVERY, *, whole: bool = False
) -> list[str]:
    """Return the ids of a stage that begin so, as many as are wanted; what no id can begin with is no error."""
    return catalog.beginning_with(stage, beginning, limit, whole=whole) if _BEGINNING.fullmatch(beginning) else []


def find_attempts(
    pipeline: Pipeline, store: GenerationStore, gen_id: str
) -> tuple[Stage, str, tuple[Attempt, ...]] | None:
    """Return stage, id and attempts of a task by its id, or by the only one that starts so.

    Returns:
        None where no attempts were kept at a task with such an id.

    Raises:
        NotFound: Attempts at more than one such task were kept.
    """
    found = _only(pipeline, store.attempted, gen_id, "tasks with attempts have an id")
    return None if found is None else (*found, store.attempts(*found))


def _only(
    pipeline: Pipeline, listed: Callable[[Stage], Collection[str]], gen_id: str, what: str
) -> tuple[Stage, str] | None:
    """Return stage and id of what bears an id, or of the only thing whose id starts so; None where nothing does.

    Raises:
        NotFound: Several ids start so.
    """
    matches = []
    for stage in pipeline:
        names = listed(stage)
        if gen_id in names:
            return stage, gen_id
        matches += [(stage, one) for one in names if gen_id and one.startswith(gen_id)]
    if len(matches) > 1:
        ids = sorted(one for _, one in matches)
        shown = ", ".join(ids[:_CANDIDATES]) + (" …" if len(ids) > _CANDIDATES else "")
        raise NotFound(f"{len(ids)} {what} that starts with {gen_id!r}: {shown}", hint="type more of it")
    return matches[0] if matches else None
