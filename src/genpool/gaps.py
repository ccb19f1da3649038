"""What two levels of an axis lack to be comparable in a cohort, as a spec.

A family is every choice that led to a leaf but the one on the axis, replicates included. Where a cohort has a leaf of
a family for one level and not for another, that leaf is missing, with whatever above it is not there either. The spec
has these families as rows of a rule; since a spec counts replicates for a whole stage, it may have to make more, and
then it is said how many. The text is planned as it is printed: what is said of it is what a run will do.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.errors import DoesNotFit, InputError, NotFound, UsageError, nearest
from genpool.membership import read_membership
from genpool.planner import State
from genpool.rules import COMBO_AXIS, Axis
from genpool.spec import FORMAT
from genpool.stages import MODEL_FIELD, REPLICATE_FIELD, TEMPLATE_FIELD, axis_field

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from genpool.planner import Plan
    from genpool.pool import Pool
    from genpool.signatures import FieldValue
    from genpool.stages import Stage

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Chain = tuple["FieldValue", ...]
"""Every choice from the combo to a generation: the combo, then each stage's axes and replicate, the root's first."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """A spec that fills gaps, and what it makes."""

    text: str
    """The spec, to be saved as a cohort.yaml; empty where nothing is missing."""
    rows: int
    """How many leaves are there for one level and not for another."""
    missing: Mapping[str, int]
    """Stage to the tasks that have no generation and are needed."""
    extra: Mapping[str, int]
    """Stage to the tasks that the spec makes besides, because it cannot leave them out."""
    unread: int = 0
    """Leaves that were left out because something above them is not there."""


def find_gaps(pool: Pool, cohort_id: str, axis: str, levels: Sequence[str], leaf: str | None = None) -> Gaps:
    """Return the spec that makes levels of an axis comparable on what a cohort has.

    Args:
        pool: The pool.
        cohort_id: The cohort; what of its membership exists is compared.
        axis: The axis, written stage.axis.
        levels: The levels, two or more.
        leaf: The stage whose generations are compared; left out, that which judges, or the only one without children.

    Raises:
        NotFound: The cohort has no membership.
        DoesNotFit: The axis or a level is none, or the leaf must be named.
        InputError: No spec has these tasks.
    """
    members = read_membership(pool.layout, pool.config.pipeline, cohort_id)
    last = _leaf(pool, Counter(one.stage for one in members), leaf)
    path = (*reversed(pool.config.pipeline.ancestors(last)), last)
    columns = _columns(path)
    place = _place(columns, axis)
    chains, unread = _chains(pool, path, [one.gen_id for one in members if one.stage == last.name])
    _check_levels(pool, columns[place], levels, {str(chain[place]) for chain in chains})
    rows = _missing(chains, place, levels)
    if not rows:
        return Gaps("", 0, {}, {}, unread)
    body = _spec_text(path, columns, rows)
    plan = pool.plan_text("fill-gaps", body, "the spec that fills the gaps")
    needed, extra = _judged(plan, path, rows)
    head = _comment(cohort_id, axis, levels, len(rows), needed, extra)
    return Gaps(head + body, len(rows), needed, extra, unread)


def _no_spec(stage: Stage, lacking: Collection[Chain], copies: Collection[Chain]) -> InputError:
    """Return the error that tasks are which no spec can have; some would be further replicates of a copy."""
    shown = ", ".join(map(str, min(copies or lacking, key=str)))
    said = f"no spec has {len(lacking)} of the {stage.name} tasks, for instance {shown}"
    if not copies:
        return InputError(said)
    return InputError(
        f"{said}: it would copy its {stage.parent}, and a copy has one replicate",
        hint=f"name levels of which none copies, or compare texts with one replicate of {stage.name}",
    )


# --- what is there, and what is not -----------------------------------------------------------------


def _leaf(pool: Pool, stages: Iterable[str], asked: str | None) -> Stage:
    """Return the stage whose generations are compared."""
    pipeline = pool.config.pipeline
    selected = [pipeline[name] for name in stages]
    if asked is not None:
        if pipeline[asked] not in selected:
            raise DoesNotFit(f"the cohort has no {asked}", hint=f"it has {', '.join(one.name for one in selected)}")
        return pipeline[asked]
    parents = {one.parent for one in selected}
    leaves = [one for one in selected if one.name not in parents]
    judging = [one for one in leaves if one.judges] or leaves
    if not judging:
        raise NotFound("the cohort has no members")
    if len(judging) > 1:
        names = ", ".join(one.name for one in judging)
        raise DoesNotFit(f"the cohort has several stages to compare: {names}", hint="name one of them: --stage")
    return judging[0]


def _columns(path: Sequence[Stage]) -> list[Axis]:
    """Return what the values of a chain stand for; replicates are there under their own name."""
    columns = [Axis(path[0].name, COMBO_AXIS)]
    for stage in path:
        columns += [Axis(stage.name, stage.axis_name(field)) for field in stage.fields[1:]]
    return columns


def _place(columns: Sequence[Axis], typed: str) -> int:
    """Return where an axis is among the columns."""
    known = [str(axis) for axis in columns if axis.name != REPLICATE_FIELD]
    if typed not in known:
        raise DoesNotFit(f"{typed!r} is not an axis of what is compared", hint=nearest(typed, known))
    return [str(axis) for axis in columns].index(typed)


def _chains(pool: Pool, path: Sequence[Stage], leaves: Sequence[str]) -> tuple[list[Chain], int]:
    """Return the chains of those leaves that exist, and how many have something above them that does not."""
    known: dict[str, Chain] = {}
    with closing(pool.catalog()) as catalog:
        for stage in path:
            found = {}
            for gen_id, one in catalog.signatures(stage):
                if stage.parent is None:
                    found[gen_id] = one.values
                elif one.source in known:
                    found[gen_id] = (*known[one.source], *one.values[1:])
            known = found
        whole = catalog.present(path[-1]).whole
    chains = [known[gen_id] for gen_id in leaves if gen_id in known]
    return chains, sum(gen_id in whole and gen_id not in known for gen_id in leaves)


def _check_levels(pool: Pool, axis: Axis, levels: Sequence[str], there: set[str]) -> None:
    """Refuse a level that neither the cohort nor the pool has."""
    if len(set(levels)) < 2 or len(set(levels)) < len(levels):
        raise UsageError("two different levels or more are compared", hint="--levels first,second")
    field = axis_field(axis.name)
    named = {
        TEMPLATE_FIELD: lambda: pool.inputs.template_ids(axis.stage),
        MODEL_FIELD: lambda: list(pool.config.models),
    }
    known = there | set(named[field]() if field in named else ())
    for level in levels:
        if level not in known:
            raise DoesNotFit(f"{axis} has no level {level!r}", hint=nearest(level, known))


def _missing(chains: Sequence[Chain], place: int, levels: Sequence[str]) -> list[Chain]:
    """Return the chains that a family lacks at one level while it has another, in the order of the cohort."""
    families: dict[Chain, set[str]] = {}
    for chain in chains:
        if chain[place] in levels:
            families.setdefault((*chain[:place], *chain[place + 1 :]), set()).add(str(chain[place]))
    return [
        (*family[:place], level, *family[place:])
        for family, has in families.items()
        for level in levels
        if level not in has
    ]


# --- the spec ---------------------------------------------------------------------------------------


def _spec_text(path: Sequence[Stage], columns: Sequence[Axis], rows: Sequence[Chain]) -> str:
    """Return the spec that has some chains: their levels on every axis, and as a rule which of these go together."""
    levels = [list(dict.fromkeys(row[at] for row in rows)) for at in range(len(columns))]
    lines = [f"format: {FORMAT}"]
    for stage in path:
        lines.append(f"{_quoted(stage.name)}:")
        for axis, values in zip(columns, levels, strict=True):
            if axis.stage != stage.name:
                continue
            if axis.name == REPLICATE_FIELD:
                lines.append(f"  replicates: {max(int(value) for value in values)}")
            else:
                lines.append(f"  {axis.name}: {_listed(values)}")
    kept = [at for at, axis in enumerate(columns) if axis.name != REPLICATE_FIELD]
    lines += ["rules:", "  tuples:", f"    - axes: {_listed([str(columns[at]) for at in kept])}", "      allowed:"]
    together = dict.fromkeys(tuple(row[at] for at in kept) for row in rows)
    lines += [f"        - {_listed(row)}" for row in together]
    return "\n".join(lines) + "\n"


def _quoted(value: FieldValue) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _listed(values: Iterable[FieldValue]) -> str:
    return f"[{', '.join(_quoted(value) for value in values)}]"


def _judged(plan: Plan, path: Sequence[Stage], rows: Sequence[Chain]) -> tuple[dict[str, int], dict[str, int]]:
    """Return by stage how many of the tasks without a generation are needed, and how many are not.

    Raises:
        InputError: The plan does not have one of the chains.
    """
    needed: dict[str, int] = {}
    extra: dict[str, int] = {}
    above: list[Chain] = []
    for stage in path:
        part = plan.stage(stage.name)
        starts = above or [(one,) for one in part.source_ids]
        above = [(*starts[source], *part.variant(index)) for index, source in enumerate(part.sources)]
        length = len(above[0])
        wanted = {row[:length] for row in rows}
        lacking = wanted.difference(above)
        if lacking:
            copied = {chain[:-1] for at, chain in enumerate(above) if part.copies(at)}
            raise _no_spec(stage, lacking, {chain for chain in lacking if chain[:-1] in copied})
        open_ = [chain in wanted for chain, state in zip(above, part.states, strict=True) if state != State.REUSE]
        needed[stage.name], extra[stage.name] = sum(open_), len(open_) - sum(open_)
    return needed, extra


def _comment(
    cohort_id: str,
    axis: str,
    levels: Sequence[str],
    rows: int,
    needed: Mapping[str, int],
    extra: Mapping[str, int],
) -> str:
    """Return what a person should know of the spec."""
    leaf = list(needed)[-1]
    missing, more = sum(needed.values()), sum(extra.values())
    by_stage = ", ".join(f"{name} {count:,}" for name, count in needed.items() if count) or "everything exists"
    lines = [
        f"{cohort_id}: {axis} at {', '.join(levels)}",
        f"{leaf} tasks that one level has and another lacks in the cohort: {rows:,}",
        f"tasks that have no generation: {missing:,} ({by_stage})",
    ]
    if more:
        besides = ", ".join(f"{name} {count:,}" for name, count in extra.items() if count)
        lines += [
            "replicates are counted for a whole stage, so these tasks cannot be had alone: the fewest that one",
            f"spec with them makes are {missing + more:,}, which is {more:,} more than are missing ({besides})",
        ]
    else:
        lines.append("a run makes exactly these")
    return "".join(f"# {line}\n" for line in lines)
