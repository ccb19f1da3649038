"""Generations that a cohort starts from, and what is above them, as plans of their stages. Pure.

Everything below asks them what it asks of any other stage: an ancestor's id and text, the model that it ran on, what
its source is. The roots are members; what is above them is not, and is never made.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from genpool.errors import NotFound
from genpool.finds import Finds
from genpool.planner import StagePlan, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from genpool.compiler import Variant
    from genpool.from_reader import Roots
    from genpool.present import Present
    from genpool.signatures import Signature
    from genpool.stages import Pipeline, Stage


def plan_roots(
    roots: Roots,
    pipeline: Pipeline,
    present: Callable[[Stage], Present],
    signatures: Callable[[Stage], Iterable[tuple[str, Signature]]],
) -> tuple[StagePlan, ...]:
    """Return the plans of the stages from the top of the pipeline to the roots, which are last.

    Args:
        roots: The generations.
        pipeline: The pool's stages.
        present: What each stage holds.
        signatures: Id and signature of every whole generation of a stage.

    Raises:
        NotFound: One of the roots is not there.
    """
    plans: list[StagePlan] = []
    wanted: Sequence[str] = roots.gen_ids
    for stage in (roots.stage, *pipeline.ancestors(roots.stage)):
        asked = frozenset(wanted)
        known = {gen_id: one for gen_id, one in signatures(stage) if gen_id in asked}
        plan = _stage_plan(stage, wanted, known, present(stage))
        plans.append(plan)
        wanted = plan.source_ids
    lost = next(
        (gen_id for gen_id, state in zip(roots.gen_ids, plans[0].states, strict=True) if state == State.GONE), None
    )
    if lost is not None:
        raise NotFound(f"{roots.stage.name} {lost}, which the cohort starts from, was removed in the meantime")
    return tuple(reversed(plans))


def _stage_plan(stage: Stage, gen_ids: Sequence[str], known: Mapping[str, Signature], present: Present) -> StagePlan:
    """Return what is known of some generations of a stage; one that is not whole is gone."""
    source_at: dict[str, int] = {}
    variant_at: dict[Variant, int] = {}
    sources, variants = array("I"), array("I")
    for gen_id in gen_ids:
        signature = known.get(gen_id)
        if signature is None:  # its place is filled so that columns stay of equal length; nobody looks behind it
            sources.append(0)
            variants.append(0)
            continue
        sources.append(source_at.setdefault(signature.source, len(source_at)))
        variants.append(variant_at.setdefault(signature.values[1:], len(variant_at)))
    whole = [present.whole.get(gen_id) if gen_id in known else None for gen_id in gen_ids]
    return StagePlan(
        stage=stage,
        gen_ids=list(gen_ids),
        sources=sources,
        variants=variants,
        choices=tuple(variant_at),
        states=bytearray(State.GONE if one is None else State.REUSE for one in whole),
        source_ids=list(source_at),
        branches=array("I", bytes(4 * len(gen_ids))),
        finds=Finds.of(whole),
        makings=present.makings,
        legacy=present.legacy.intersection(gen_ids),
        slots=_slots(known.values(), present),
        problems={gen_id: present.unusable[gen_id] for gen_id in gen_ids if gen_id in present.unusable},
    )


def _slots(signatures: Iterable[Signature], present: Present) -> dict[str, int]:
    """Return the slots of every legacy generation of the families that some signatures are of."""
    slots: dict[str, int] = {}
    for signature in signatures if present.families else ():
        slots.update((gen_id, slot) for slot, gen_id in present.family(signature).items() if gen_id in present.legacy)
    return slots
