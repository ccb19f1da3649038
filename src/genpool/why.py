"""Why a task is reused or minted: its generation and whose it is, or the nearest signature that exists."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from genpool.catalog_rows import Condition
from genpool.errors import NotFound
from genpool.finding import beginning_with
from genpool.gen_ids import gen_id as id_of
from genpool.membership import cohort_ids, find_members, typed_value
from genpool.planner import unacceptable
from genpool.present import of_another_task
from genpool.signatures import Signature
from genpool.stages import MODEL_FIELD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genpool.catalog import Catalog
    from genpool.config import PoolConfig
    from genpool.layout import PoolLayout
    from genpool.membership import Member
    from genpool.signatures import FieldValue
    from genpool.stages import Pipeline, Stage
    from genpool.store import GenerationStore

_CANDIDATES: Final = 8
"""So many ids are named where several could be meant."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The existing signature that a task's is nearest to."""

    gen_id: str
    differs: Mapping[str, tuple[FieldValue, FieldValue]]
    """Field to the task's value and the existing one's."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why a task is reused or to be made."""

    signature: Signature
    gen_id: str
    """The id that a plan gives it: that of its generation, or the one it would be minted with."""
    exists: bool
    origin: str | None
    """The cohort whose run made it, where it exists and says so."""
    cohorts: tuple[str, ...]
    """The cohorts that it is a member of."""
    problem: str | None = None
    """What is wrong with what stands in its place."""
    exhausted: tuple[str, int] | None = None
    """The model that was asked as often as it may be, and how often; only `--retry-exhausted` pays again."""
    nearest: Nearest | None = None
    """Where it does not exist: the nearest signature that does, if the stage has any generation."""


def explain(
    layout: PoolLayout, catalog: Catalog, config: PoolConfig, store: GenerationStore, signature: Signature
) -> Why:
    """Return why a task is reused or to be made.

    Args:
        layout: The pool's paths.
        catalog: What exists.
        config: The pool's pipeline and salt, and how often its models may be asked.
        store: Has the task's attempts.
        signature: The task.
    """
    pipeline = config.pipeline
    odd = catalog.odd(signature.stage)
    minted = id_of(signature, config.salt)
    gen_id = odd.in_slot(signature) or minted
    problem = of_another_task(odd, signature, gen_id) if gen_id == minted else None
    entry = catalog.entry(signature.stage, gen_id) if problem is None else None
    found = entry if entry is not None and entry.condition is Condition.WHOLE else None
    return Why(
        signature=signature,
        gen_id=gen_id,
        exists=found is not None,
        origin=found.origin if found else None,
        cohorts=tuple(_cohorts_of(layout, pipeline, gen_id)),
        problem=problem or odd.unusable.get(gen_id),
        exhausted=None if found else _exhausted(layout, catalog, config, store, signature, gen_id),
        nearest=None if found else _nearest(catalog, signature),
    )


def _exhausted(
    layout: PoolLayout,
    catalog: Catalog,
    config: PoolConfig,
    store: GenerationStore,
    signature: Signature,
    gen_id: str,
) -> tuple[str, int] | None:
    """Return the model of a task and how often it was asked in vain, where that is as often as it may be."""
    tried = len(unacceptable(store, signature.stage, gen_id))
    above = signature
    while tried and not above.stage.has_model and above.stage.parent is not None:
        try:
            above = signature_of(layout, config.pipeline, catalog, str(above.source))
        except NotFound:
            return None
    model = str(above.as_dict().get(MODEL_FIELD, ""))
    entry = config.models.get(model)
    return (model, tried) if tried and entry is not None and tried >= entry.attempts else None


def signature_of(layout: PoolLayout, pipeline: Pipeline, catalog: Catalog, gen_id: str) -> Signature:
    """Return the signature behind an id, or the only one that starts so: of a generation, or of a member of a cohort.

    Raises:
        NotFound: No generation and no membership has the id (an id cannot be turned back into its signature); or
            several start so.
    """
    for stage in pipeline:
        signature = catalog.signature(stage, gen_id)
        if signature is not None:
            return signature
    starting: dict[str, Stage | Signature] = {
        one: stage for stage in pipeline for one in beginning_with(catalog, stage, gen_id, whole=True)
    }
    for cohort_id in _adopted(layout) if gen_id else ():
        for member in find_members(layout, pipeline, cohort_id, gen_id):
            if member.gen_id == gen_id:
                return _signature(pipeline, member)
            if member.gen_id not in starting:
                starting[member.gen_id] = _signature(pipeline, member)
    if len(starting) > 1:
        ids = sorted(starting)
        shown = ", ".join(ids[:_CANDIDATES]) + (" …" if len(ids) > _CANDIDATES else "")
        raise NotFound(f"{len(ids)} tasks have an id that starts with {gen_id!r}: {shown}", hint="type more of it")
    for one, found in starting.items():
        signature = found if isinstance(found, Signature) else catalog.signature(found, one)
        if signature is not None:  # else it was removed since
            return signature
    raise NotFound(
        f"no generation and no member of a cohort has the id {gen_id!r}",
        hint="an id cannot be turned back into its signature: give that, `genpool why draft combo_id=…`",
    )


def _signature(pipeline: Pipeline, member: Member) -> Signature:
    typed = {name: typed_value(name, value) for name, value in member.fields.items()}
    return Signature.of(pipeline[member.stage], typed)


def _cohorts_of(layout: PoolLayout, pipeline: Pipeline, gen_id: str) -> list[str]:
    return [
        name
        for name in _adopted(layout)
        if any(one.gen_id == gen_id for one in find_members(layout, pipeline, name, gen_id))
    ]


def _adopted(layout: PoolLayout) -> list[str]:
    return [name for name in cohort_ids(layout) if layout.membership(name).is_file()]


def _nearest(catalog: Catalog, signature: Signature) -> Nearest | None:
    """Return the existing signature of the stage that agrees in most fields; the replicate counts least."""
    best: tuple[tuple[int, bool], str, Signature] | None = None
    for gen_id, other in sorted(catalog.near(signature), key=itemgetter(0)):
        same = sum(one == two for one, two in zip(signature.values[:-1], other.values[:-1], strict=True))
        rank = (same, signature.replicate == other.replicate)
        if best is None or rank > best[0]:
            best = (rank, gen_id, other)
    if best is None:
        return None
    fields = signature.stage.fields
    differs = {
        name: (mine, theirs)
        for name, mine, theirs in zip(fields, signature.values, best[2].values, strict=True)
        if mine != theirs
    }
    return Nearest(best[1], differs)
