"""Stages and pipelines as data, and the default pipeline.

A pipeline is a forest of stages: a root stage starts from a combo of inputs, every other
stage from a generation of its parent stage. A stage's axes are the choices that its
generations differ in. This is the only module that knows the names of the default stages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.errors import InvalidPipeline, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT_FIELD: Final = "combo_id"
PARENT_FIELD: Final = "parent_gen_id"
TEMPLATE_FIELD: Final = "template_id"
MODEL_FIELD: Final = "llm_model_id"
REPLICATE_FIELD: Final = "replicate"
REFERENCE_SUFFIX: Final = "_gen_id"

AXIS_FIELDS: Final = {"template": TEMPLATE_FIELD, "model": MODEL_FIELD}
"""Axes whose signature field bears another name; every other axis is its own field."""

_PREFIX = re.compile(r"[a-z]{1,8}")
_AXIS = re.compile(r"[a-z][a-z0-9_]*")
_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

RESERVED: Final = frozenset(
    # fields of every signature, of the id's pre-image, and of metadata.json, which is flat
    "scheme stage salt replicate gen_id format id_scheme origin_cohort_id run_id created_at mode fingerprints "
    "call parser score self reason promoted attempt template_id llm_model_id combo_id parent_gen_id "
    # keys of a stage in pool.yaml and cohort.yaml
    "combo parent replicates prefix axes judges from".split()
)
"""Names that no axis of a user may have."""

RESERVED_STAGES: Final = frozenset(
    "format description rules from union difference parent concepts row replicate axes".split()
)
"""Names that no stage may have: keys of a spec, and what templates see."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a pipeline and the choices that define a task in it."""

    name: str
    """The stage's name; a folder under gens/ bears it."""
    prefix: str
    """What the ids of its generations start with."""
    parent: str | None = None
    """The stage whose generations it starts from; None for a root."""
    axes: tuple[str, ...] = ()
    """Its axes as signature fields, in the order of the configuration."""
    replicates: int = 1
    """How many replicates a cohort wants where its spec does not say."""
    judges: bool = False
    """Whether its generations bear scores."""

    @property
    def source_field(self) -> str:
        """The signature field that says what the task starts from."""
        return PARENT_FIELD if self.parent else ROOT_FIELD

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the signature's fields: source, axes, replicate."""
        return (self.source_field, *self.axes, REPLICATE_FIELD)

    @property
    def has_model(self) -> bool:
        """Whether the stage has a model axis of its own."""
        return MODEL_FIELD in self.axes

    def axis_name(self, field: str) -> str:
        """Return the name a person writes for one of the stage's fields."""
        return next((axis for axis, name in AXIS_FIELDS.items() if name == field), field)


def axis_field(axis: str) -> str:
    """Return the signature field of an axis as a person writes it (`template` → `template_id`)."""
    return AXIS_FIELDS.get(axis, axis)


class Pipeline:
    """The stages of a pool, parents before children.

    Args:
        stages: The stages in any order.

    Raises:
        InvalidPipeline: Names or prefixes repeat, a parent is unknown, stages form a cycle, an
            axis has a name that is not allowed, or there is no stage at all.
    """

    def __init__(self, stages: Iterable[Stage]) -> None:
        given = list(stages)
        if not given:
            raise InvalidPipeline("the pipeline has no stage", hint="leave `pipeline` out to get the default one")
        for stage in given:
            _check_stage(stage)
        self._stages = _parents_first(given)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages.values())

    def __contains__(self, name: object) -> bool:
        return name in self._stages

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pipeline) and self._stages == other._stages

    def __hash__(self) -> int:
        return hash(tuple(self._stages.values()))

    def __getitem__(self, name: str) -> Stage:
        """Return the stage of a name.

        Raises:
            InvalidPipeline: There is no such stage.
        """
        try:
            return self._stages[name]
        except KeyError:
            raise InvalidPipeline(f"no stage is named {name!r}", hint=nearest(name, self._stages)) from None

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' names, parents before children."""
        return tuple(self._stages)

    def ancestors(self, stage: Stage) -> tuple[Stage, ...]:
        """Return the stages above one, nearest first."""
        found: list[Stage] = []
        while stage.parent is not None:
            stage = self._stages[stage.parent]
            found.append(stage)
        return tuple(found)

    def children(self, stage: Stage) -> tuple[Stage, ...]:
        """Return the stages that start from one."""
        return tuple(other for other in self if other.parent == stage.name)

    def model_stage(self, stage: Stage) -> Stage | None:
        """Return the stage whose model a stage runs on: itself or its nearest ancestor with a model axis."""
        return next((one for one in (stage, *self.ancestors(stage)) if one.has_model), None)


def _check_stage(stage: Stage) -> None:
    """Refuse a stage whose own names or numbers are not allowed."""
    where = f"stage {stage.name!r}"
    if not _STAGE.fullmatch(stage.name):
        raise InvalidPipeline(
            f"{where}: not a name that a folder can have",
            hint="letters, digits, dot, underscore and hyphen, at most 128",
        )
    if stage.name in RESERVED_STAGES:
        raise InvalidPipeline(f"{where}: the name is used by specs or templates", hint="give the stage another name")
    if not _PREFIX.fullmatch(stage.prefix):
        raise InvalidPipeline(f"{where}: prefix {stage.prefix!r} must be 1 to 8 letters a-z")
    if type(stage.replicates) is not int or not 1 <= stage.replicates <= 2**31 - 1:
        raise InvalidPipeline(f"{where}: replicates is {stage.replicates!r}; it must be a whole number from 1")
    if len(set(stage.axes)) != len(stage.axes):
        raise InvalidPipeline(f"{where}: an axis is listed twice: {', '.join(stage.axes)}")
    for field in stage.axes:
        if field in AXIS_FIELDS.values():
            continue
        if not _AXIS.fullmatch(field) or field in RESERVED or field in AXIS_FIELDS:
            raise InvalidPipeline(
                f"{where}: {field!r} cannot be an axis",
                hint="write `template` or `model`, or a name of a-z, 0-9 and _ that genpool does not use itself",
            )


def _parents_first(stages: list[Stage]) -> dict[str, Stage]:
    """Return the stages by name in an order in which every parent precedes its children."""
    by_name: dict[str, Stage] = {}
    prefixes: dict[str, str] = {}
    for stage in stages:
        if stage.name.lower() in (name.lower() for name in by_name):
            raise InvalidPipeline(f"two stages are named {stage.name!r} (case does not count)")
        if stage.prefix in prefixes:
            raise InvalidPipeline(
                f"stages {prefixes[stage.prefix]!r} and {stage.name!r} share the prefix {stage.prefix!r}"
            )
        by_name[stage.name] = stage
        prefixes[stage.prefix] = stage.name
    ordered: dict[str, Stage] = {}
    waiting = list(stages)
    while waiting:
        ready = [stage for stage in waiting if stage.parent is None or stage.parent in ordered]
        if not ready:
            raise _unreachable(waiting, by_name)
        ordered.update((stage.name, stage) for stage in ready)
        waiting = [stage for stage in waiting if stage.name not in ordered]
    return ordered


def _unreachable(waiting: list[Stage], by_name: dict[str, Stage]) -> InvalidPipeline:
    """Return the error for stages that no root leads to."""
    for stage in waiting:
        if stage.parent not in by_name:
            parent = str(stage.parent)
            return InvalidPipeline(f"stage {stage.name!r}: no stage is named {parent!r}", hint=nearest(parent, by_name))
    return InvalidPipeline(f"stages form a cycle: {', '.join(stage.name for stage in waiting)}")


DEFAULT_PIPELINE: Final = Pipeline(
    [
        Stage("draft", "d", None, (TEMPLATE_FIELD, MODEL_FIELD)),
        Stage("essay", "e", "draft", (TEMPLATE_FIELD,)),
        Stage("evaluation", "v", "essay", (TEMPLATE_FIELD, MODEL_FIELD), replicates=2, judges=True),
    ]
)
"""Drafts from combos, essays from drafts, evaluations of essays."""
