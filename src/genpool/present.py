"""What one stage holds, as the catalog says: a value for planner, scope and the rest to ask.

Promise: nothing here reads a file or the index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from genpool.canonical import canonical_json
from genpool.errors import PipelineChanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from genpool.finds import Found
    from genpool.signatures import FieldValue, Signature
    from genpool.stages import Stage

Family = tuple[str, str]
"""The source of a family's tasks, and their axis values as canonical JSON."""


@dataclass(frozen=True, slots=True)
class Making:
    """How some generations were made; few ways, shared by many."""

    origin: str | None
    """The cohort whose run made them; None where they do not say."""
    mode: str
    template: int | None
    """The digest of the template as a short number (`Catalog.digest`)."""
    model: int | None
    """The digest of the model's parameters, likewise."""


@dataclass(frozen=True, slots=True)
class Present:
    """What one stage holds."""

    whole: Mapping[str, Found]
    """Every whole generation by its id, legacy ones too; of a large stage it may be a `Shelf`."""
    makings: Mapping[int, Making] = field(default_factory=dict)
    """How they were made, by the number in `Found`."""
    incomplete: frozenset[str] = frozenset()
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Id to what is wrong with it."""
    legacy: frozenset[str] = frozenset()
    """The whole generations whose id is not that of their signature."""
    families: Mapping[Family, Mapping[int, str]] = field(default_factory=dict)
    """For families with a legacy generation: slot to id."""

    def origin(self, gen_id: str) -> str | None:
        """Return the cohort whose run made a whole generation; None where it does not say."""
        return self.makings[self.whole[gen_id][1]].origin

    def family(self, signature: Signature) -> Mapping[int, str]:
        """Return slot to id for a signature's family: nothing where it has no legacy generation."""
        return self.families.get((signature.source, choices_key(signature.values[1:-1])), {})

    def slots(self) -> dict[str, int]:
        """Return id to slot for every generation of a family that has a legacy one."""
        return {gen_id: slot for family in self.families.values() for slot, gen_id in family.items()}

    def in_slot(self, signature: Signature) -> str | None:
        """Return the legacy generation, or the right one, that fills a signature's slot in a family with legacy ids."""
        return self.family(signature).get(signature.replicate)


def choices_key(values: Iterable[FieldValue]) -> str:
    """Return axis values, without source and replicate, as a text that can be looked up."""
    return canonical_json(list(values)).decode()


def of_another_task(present: Present, signature: Signature, minted: str) -> str | None:
    """Return what is wrong with what bears a task's minted id, where that is a legacy record of another task.

    Such a record is whole, and reused in the slot that it fills; but it is not the generation of this task.

    Args:
        present: What the stage holds.
        signature: The task.
        minted: The deterministic id of the signature.
    """
    if minted not in present.legacy:
        return None
    return None if present.in_slot(signature) == minted else misnamed(signature.stage, minted)


def misnamed(stage: Stage, gen_id: str) -> str:
    """Return the words for a legacy record that stands under the id of another task."""
    return f"{stage.name} {gen_id}: its record states another task than its id"


def as_configured(stage: Stage, present: Present) -> Present:
    """Return what a stage holds, unless its generations were made under another salt or another stage.

    Raises:
        PipelineChanged: Not one of several generations has the id that the configuration gives it.
    """
    if present.whole or len(present.unusable) <= 1:
        return present
    first = next(iter(present.unusable.values()))
    raise PipelineChanged(
        f"none of the {len(present.unusable)} generations of stage {stage.name!r} fits pool.yaml; the first: {first}",
        hint="salt, and a stage's prefix, parent and axes are fixed once it has generations: undo the change there",
    )
