"""A manifest set against the pool: every member of which it says something else than is so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from genpool.durable import lies_with_the_file
from genpool.errors import GenpoolError, NotFound, StorageFailed
from genpool.stages import REPLICATE_FIELD
from genpool.standing import MISSING, OWN, REUSED, UNUSABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from genpool.coded import Coded
    from genpool.manifest import Manifest
    from genpool.records import Record
    from genpool.stages import Stage
    from genpool.standing import StageColumns, Standing
    from genpool.store import GenerationStore

_TOLD_EVERY = 500


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a manifest says otherwise than it is."""

    stage: str
    gen_id: str
    what: str
    """`member` (it is one in only one of them), `order`, `state`, `origin`, `score`, `least`, `most`, or a field."""
    manifest: object
    """What the manifest says."""
    pool: object
    """What is so."""


def differences(manifest: Manifest, standing: Standing) -> Iterator[Difference]:
    """Yield what a manifest says otherwise than membership and catalog do, by stage, in plan order."""
    if manifest.runs != tuple(standing.runs):
        yield Difference("", "", "order", list(map(list, manifest.runs)), list(map(list, standing.runs)))
    for name in dict.fromkeys((*manifest.stages, *standing.stages)):
        said = manifest.stages.get(name)
        right = standing.columns(name) if name in standing.stages else None
        if said is None or right is None or list(said.gen_ids) != list(right.gen_ids):
            yield from _other_members(name, said, right)
        else:
            yield from _other_values(name, said, right)


def _other_members(name: str, said: StageColumns | None, right: StageColumns | None) -> Iterator[Difference]:
    """Yield the members that only one has; where both have the same, their order is another."""
    ours, theirs = (dict.fromkeys(one.gen_ids) if one else {} for one in (said, right))
    for gen_id in ours.keys() | theirs.keys():
        if (gen_id in ours) != (gen_id in theirs):
            yield Difference(name, gen_id, "member", gen_id in ours, gen_id in theirs)
    if ours.keys() == theirs.keys():
        yield Difference(name, "", "order", list(ours), list(theirs))


def _other_values(name: str, said: StageColumns, right: StageColumns) -> Iterator[Difference]:
    ours, theirs = _columns(said), _columns(right)
    for what, column in ours.items():
        if column == theirs[what]:
            continue
        for row, (one, other) in enumerate(zip(column, theirs[what], strict=True)):
            if one != other:
                yield Difference(name, said.gen_ids[row], what, one, other)


def _columns(one: StageColumns) -> Mapping[str, Coded[object]]:
    facts = {"state": one.states, "origin": one.origins, "score": one.scores, "least": one.least, "most": one.most}
    return {**one.fields, **facts}  # type: ignore[dict-item]  # of whatever they are columns


def deep_differences(
    manifest: Manifest, store: GenerationStore, progress: Callable[[int, int], None] | None = None
) -> Iterator[Difference]:
    """Yield what a manifest says otherwise than every member's metadata.json does; texts are not read.

    Args:
        manifest: The manifest.
        store: The pool's store.
        progress: Told how many members of how many were looked at.
    """
    done, members = 0, sum(len(one.gen_ids) for one in manifest.stages.values())
    for name, columns in manifest.stages.items():
        ours = _columns(columns)
        for row, gen_id in enumerate(columns.gen_ids):
            said = {what: column[row] for what, column in ours.items()}
            for what, right in _by_record(columns.stage, gen_id, said, store, manifest.head.cohort_id).items():
                if said[what] != right:
                    yield Difference(name, gen_id, what, said[what], right)
            done += 1
            if progress is not None and done % _TOLD_EVERY == 0:
                progress(done, members)


def _by_record(
    stage: Stage, gen_id: str, said: Mapping[str, object], store: GenerationStore, cohort_id: str
) -> dict[str, object]:
    """Return what a member's files say of it, as far as they alone can say it."""
    nothing: dict[str, object] = dict.fromkeys(("origin", "score", "least", "most"))
    if store.incomplete(stage, [gen_id]):
        return {**nothing, "state": MISSING}
    try:
        record = store.record(stage, gen_id)
    except NotFound:
        return {**nothing, "state": MISSING}
    except GenpoolError as error:
        if isinstance(error, StorageFailed) and not lies_with_the_file(error.__cause__):
            raise
        return {**nothing, "state": UNUSABLE}
    if record.is_legacy and said["state"] == UNUSABLE:
        return {}  # whole, but in another task's place: its family says so, not its own files
    return _stated(record, cohort_id, judges=stage.judges)


def _stated(record: Record, cohort_id: str, *, judges: bool) -> dict[str, object]:
    score = record.score if judges else None
    fields: dict[str, object] = {name: value for name, value in record.stated().items() if value is not None}
    if record.is_legacy:
        fields.pop(REPLICATE_FIELD, None)  # its slot is its family's affair
    return {
        **fields,
        "state": OWN if record.origin_cohort_id == cohort_id else REUSED,
        "origin": record.origin_cohort_id,
        "score": score.value if score else None,
        "least": score.min if score else None,
        "most": score.max if score else None,
    }
