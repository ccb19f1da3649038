"""What a removal would take away, and what stays and why: a value to be shown first, then applied by `trash`.

References are every field of a signature whose name ends in `_gen_id`, and what a membership states of a member that
is not there. The rule of a purge is by reachability: nothing goes that another cohort reaches, nor anything that a
generation which stays starts from. What cannot be read is never moved; what it seems to start from stays too.

Everything here is pure, but for `read_holdings`.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from genpool.durable import READABLE, is_there, lies_with_the_file, storage_errors
from genpool.errors import CorruptFile, CorruptGeneration, NotFound, StorageFailed, nearest
from genpool.layout import METADATA
from genpool.membership import cohort_ids, read_membership
from genpool.records import decode_object
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX
from genpool.trash import DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from genpool.catalog import Catalog
    from genpool.directory_store import DirectoryStore
    from genpool.estimate import Estimate
    from genpool.layout import PoolLayout
    from genpool.present import Present
    from genpool.stages import Pipeline, Stage
    from genpool.trash import Trashed

PURGE: Final = "purge"
REGENERATE: Final = "drift regenerate"

BY_COHORT: Final = "cohort"
BY_GENERATION: Final = "generation"
DAMAGED: Final = "damaged"

Task = tuple[str, str]
"""Stage and id of what is, or was, or should be a generation."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a pool holds, as far as a removal must know it."""

    stages: tuple[str, ...]
    """The names of the stages, parents before children."""
    origins: Mapping[Task, str | None]
    """Every whole generation, with the cohort whose run made it."""
    damaged: frozenset[Task] = frozenset()
    """What is under gens/ and is no whole generation of a known stage."""
    sources: Mapping[Task, tuple[Task, ...]] = field(default_factory=dict)
    """What each task starts from; for damaged and missing ones as far as anything says it."""
    members: Mapping[str, frozenset[Task]] = field(default_factory=dict)
    """Cohort to members, present or not, of every cohort that has a membership."""
    attempted: frozenset[Task] = frozenset()
    """The tasks that have attempts."""
    cohorts: frozenset[str] = frozenset()
    """The cohorts that have a folder."""


@dataclass(frozen=True, slots=True)
class Stay:
    """One generation that stays, and why."""

    task: Task
    why: str
    """`cohort` (others reach it), `generation` (one that stays starts from it), or `damaged` (it cannot be read)."""
    by: tuple[str, ...] = ()
    """The cohorts that reach it, or the generation that starts from it."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal takes away, and what not."""

    verb: str
    cohort: str
    goes: tuple[Task, ...]
    """The generations that go, children before what they start from."""
    stays: tuple[Stay, ...] = ()
    """What the removal would have taken, were it not for others; parents first."""
    attempts: tuple[Task, ...] = ()
    """The tasks whose attempts go."""
    folder: bool = False
    """Whether the cohort's own folder goes."""
    by_cohort: Mapping[str | None, Mapping[str, int]] = field(default_factory=dict)
    """Cohort to stage to how many of its members go; None for those that no cohort has as a member."""
    again: Estimate | None = None
    """What the calls take that make again what goes; None where nobody means to."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes."""
        return not (self.goes or self.attempts or self.folder)

    def paths(self, layout: PoolLayout) -> list[Path]:
        """Return the directories that go, in the order in which they do: children first, the cohort's folder last."""
        found = [layout.generation(*task) for task in self.goes]
        found += [layout.attempts(*task) for task in self.attempts]
        return [*found, layout.cohort(self.cohort)] if self.folder else found


def carried_out(finished: Iterable[Trashed], verb: str, cohort: str) -> tuple[Removal, Trashed] | None:
    """Return the removal that a command had begun before it was interrupted, if that is finished now.

    What stayed then, and whose members went, is not recorded.
    """
    for one in finished:
        if (one.verb, one.cohort, one.state) == (verb, cohort, DONE):
            paths = [path.split("/") for path in one.moved]
            goes, attempts = (
                tuple((path[1], path[2]) for path in paths if path[0] == kind) for kind in ("gens", "attempts")
            )
            folder = any(path[0] == "cohorts" for path in paths)
            return Removal(verb, cohort, goes, attempts=attempts, folder=folder), one
    return None


# --- what goes ------------------------------------------------------------------------------------


def plan_purge(holdings: Holdings, cohort: str) -> Removal:
    """Return what purging a cohort takes away.

    Its members go, and what its runs made and no cohort has as a member; but not what other cohorts reach, nor what
    a generation that stays starts from.

    Raises:
        NotFound: There is no such cohort, nor anything that it made.
    """
    members = holdings.members.get(cohort, frozenset())
    everyones = frozenset[Task]().union(*holdings.members.values())
    strays = {task for task, origin in holdings.origins.items() if origin == cohort and task not in everyones}
    if cohort not in holdings.cohorts and not strays:
        raise NotFound(f"no cohort is named {cohort!r}", hint=nearest(cohort, holdings.cohorts))
    wanted = members | strays
    reached = _reached_by_others(holdings, cohort)
    whole = {task for task in wanted if task in holdings.origins}
    free = whole - reached.keys()
    # everything else that exists: it may start from one of these, even where no cohort knows it
    staying = ((holdings.origins.keys() | holdings.damaged) - free) - reached.keys()
    held = _held_by(holdings, staying)
    stays = [Stay(task, DAMAGED) for task in wanted & holdings.damaged]
    stays += [Stay(task, BY_COHORT, tuple(sorted(reached[task]))) for task in whole & reached.keys()]
    stays += [Stay(task, BY_GENERATION, (held[task][1],)) for task in free & held.keys()]
    goes = free - held.keys()
    unmade = wanted - holdings.origins.keys() - holdings.damaged - reached.keys()
    return _removal(holdings, PURGE, cohort, goes, stays, unmade, folder=cohort in holdings.cohorts)


def plan_regeneration(holdings: Holdings, cohort: str, drifted: Iterable[Task]) -> Removal:
    """Return what goes so that some generations can be made anew: they, and all that descends from them.

    Args:
        holdings: What the pool holds.
        cohort: The cohort under which they drifted.
        drifted: The generations.
    """
    children: dict[Task, list[Task]] = defaultdict(list)
    for task, sources in holdings.sources.items():
        for source in sources:
            children[source].append(task)
    below = _closure(drifted, children)
    stays = [Stay(task, DAMAGED) for task in below & holdings.damaged]
    unmade = below - holdings.origins.keys() - holdings.damaged  # their attempts read what goes
    return _removal(holdings, REGENERATE, cohort, below & holdings.origins.keys(), stays, unmade)


def _removal(
    holdings: Holdings,
    verb: str,
    cohort: str,
    goes: Iterable[Task],
    stays: Iterable[Stay],
    unmade: Iterable[Task],
    *,
    folder: bool = False,
) -> Removal:
    """Return a removal, everything in it in order and counted by cohort."""
    depth = {stage: number for number, stage in enumerate(holdings.stages)}
    going = sorted(goes, key=lambda task: (-depth[task[0]], task[1]))
    counts: dict[str | None, Counter[str]] = {}
    for name in sorted(holdings.members):
        if its_own := [task for task in going if task in holdings.members[name]]:
            counts[name] = Counter(stage for stage, _ in its_own)
    everyones = frozenset[Task]().union(*holdings.members.values())
    if nobodys := [task for task in going if task not in everyones]:
        counts[None] = Counter(stage for stage, _ in nobodys)
    return Removal(
        verb,
        cohort,
        tuple(going),
        tuple(sorted(stays, key=lambda one: (depth.get(one.task[0], len(depth)), one.task[1]))),
        tuple(sorted((set(going) | set(unmade)) & holdings.attempted)),
        folder,
        counts,
    )


def _closure(start: Iterable[Task], edges: Mapping[Task, Iterable[Task]]) -> set[Task]:
    """Return some tasks and all that edges lead to from them."""
    found = set(start)
    waiting = list(found)
    while waiting:
        for task in edges.get(waiting.pop(), ()):
            if task not in found:
                found.add(task)
                waiting.append(task)
    return found


def _reached_by_others(holdings: Holdings, cohort: str) -> dict[Task, list[str]]:
    """Return every task that other cohorts have as a member or above one, with these cohorts."""
    reached: dict[Task, list[str]] = defaultdict(list)
    for name in sorted(holdings.members):
        if name != cohort:
            for task in _closure(holdings.members[name], holdings.sources):
                reached[task].append(name)
    return dict(reached)


def _held_by(holdings: Holdings, staying: Iterable[Task]) -> dict[Task, Task]:
    """Return every task above one that stays, with the one of these that was found first."""
    held: dict[Task, Task] = {}
    for keeper in sorted(staying):
        waiting = [keeper]
        while waiting:
            for task in holdings.sources.get(waiting.pop(), ()):
                if task not in held:
                    held[task] = keeper
                    waiting.append(task)
    return held


# --- what there is --------------------------------------------------------------------------------


def read_holdings(
    layout: PoolLayout,
    pipeline: Pipeline,
    store: DirectoryStore,
    catalog: Catalog,
    present: Callable[[Stage], Present],
) -> Holdings:
    """Read what a pool holds.

    Args:
        layout: The pool's paths.
        pipeline: The pool's stages.
        store: The pool's store.
        catalog: Its index.
        present: What the index says that a stage holds.

    Raises:
        CorruptFile: A cohort's membership cannot be read, so that nobody knows what it needs.
        StorageFailed: The file system refused.
    """
    origins: dict[Task, str | None] = {}
    fields: dict[Task, dict[str, object]] = {}
    damaged: set[Task] = set()
    for stage in pipeline:
        found = present(stage)
        for gen_id, signature in catalog.signatures(stage):
            task = stage.name, gen_id
            origins[task] = found.origin(gen_id)
            fields[task] = {name: value for name, value in signature.as_dict().items() if _refers(name)}
        damaged.update((stage.name, gen_id) for gen_id in {*found.unusable, *found.incomplete})
    damaged.update(_of_unknown_stages(layout, pipeline))
    for task in damaged:
        fields[task] = _said_by(layout.generations / task[0] / task[1] / METADATA)
    members = _read_members(layout, pipeline, fields)
    return Holdings(
        stages=pipeline.names,
        origins=origins,
        damaged=frozenset(damaged),
        sources=_resolved(pipeline, fields),
        members=members,
        attempted=frozenset((stage.name, gen_id) for stage in pipeline for gen_id in store.attempted(stage)),
        cohorts=frozenset(name for name in _names(layout.cohorts) if (layout.cohorts / name).is_dir()),
    )


def _refers(field_name: str) -> bool:
    return field_name.endswith(REFERENCE_SUFFIX)


def _names(folder: Path) -> list[str]:
    with storage_errors(f"cannot list {folder}", denied=READABLE):
        return sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208 - names are what is needed


def _of_unknown_stages(layout: PoolLayout, pipeline: Pipeline) -> list[Task]:
    """Return what lies under gens/ in folders of stages that pool.yaml does not have (any more)."""
    folders = [name for name in _names(layout.generations) if name not in pipeline]
    return [(folder, name) for folder in folders for name in _names(layout.generations / folder)]


def _said_by(path: Path) -> dict[str, object]:
    """Return the references in a record that is not trusted otherwise: nothing, where it cannot be read at all."""
    try:
        value = decode_object(path.read_bytes(), str(path))
    except CorruptGeneration:
        return {}
    except OSError as error:
        if not lies_with_the_file(error):
            raise StorageFailed(f"cannot read {path}: {error.strerror}") from error
        return {}
    return {name: item for name, item in value.items() if _refers(name) and isinstance(item, str)}


def _read_members(
    layout: PoolLayout, pipeline: Pipeline, fields: dict[Task, dict[str, object]]
) -> dict[str, frozenset[Task]]:
    """Return every cohort's members; note what memberships state of members that are not there."""
    members: dict[str, frozenset[Task]] = {}
    for name in sorted({*cohort_ids(layout), *_names(layout.cohorts)}):
        path = layout.cohorts / name / "membership.csv"
        if not is_there(path):
            if is_there(path.with_name("adopted.json")):
                raise CorruptFile(
                    f"cohort {name!r} was run, but its membership is gone ({path}): nobody knows what it needs",
                    hint=f"`genpool run {name}` writes it anew",
                )
            continue
        with storage_errors(f"cannot read the membership of {name!r}", denied=READABLE):
            listed = read_membership(layout, pipeline, name)
        members[name] = frozenset((one.stage, one.gen_id) for one in listed)
        for one in listed:
            stated = {field: value for field, value in one.fields.items() if _refers(field)}
            if stated:
                known = fields.setdefault((one.stage, one.gen_id), {})
                fields[one.stage, one.gen_id] = {**stated, **known}
    return members


def _resolved(pipeline: Pipeline, fields: Mapping[Task, Mapping[str, object]]) -> dict[Task, tuple[Task, ...]]:
    """Return what each task starts from; a reference other than to the parent is to whatever bears the id."""
    bearing: dict[str, list[Task]] = defaultdict(list)
    for task in fields:
        bearing[task[1]].append(task)
    sources: dict[Task, tuple[Task, ...]] = {}
    for task, references in fields.items():
        found: dict[Task, None] = {}
        for name, value in references.items():
            parent = pipeline[task[0]].parent if name == PARENT_FIELD and task[0] in pipeline else None
            found.update(dict.fromkeys([(parent, str(value))] if parent is not None else bearing.get(str(value), [])))
        if found:
            sources[task] = tuple(found)
    return sources
