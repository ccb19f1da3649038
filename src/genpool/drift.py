"""Fingerprints then and now: what names stood for when a generation was made, against what they stand for today.

A generation is *drifted* if its template, its model or its inputs are not what their names stand for now; below a
root, if its parent's text is not the one that it was made from. Drift is shown, never silently reused and never
silently bought again: a person decides, and what they accept is noted in drift.csv.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from genpool.canonical import Json, canonical_json, hashed, sha256
from genpool.config import model_source
from genpool.durable import append_lines, reading, storage_errors
from genpool.errors import CorruptFile, NotFound
from genpool.finds import NOT_FOUND, short
from genpool.ledger import utc_now
from genpool.llm.client import parameters_sent
from genpool.locks import file_lock
from genpool.planner import Drift, State
from genpool.prompts import DEFAULT_TEMPLATE
from genpool.records import MODE_LLM
from genpool.stages import MODEL_FIELD, TEMPLATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from genpool.catalog import Catalog
    from genpool.combos import Combo
    from genpool.config import ModelEntry, PoolConfig
    from genpool.inputs import Inputs
    from genpool.layout import PoolLayout
    from genpool.planner import Plan, StagePlan
    from genpool.present import Making
    from genpool.prompts import Template

HEADER: Final = ("kind", "name", "stored", "present", "accepted_at")
TEMPLATE: Final = "template"
MODEL: Final = "model"
COMBO: Final = "combo"
PARENT: Final = "parent"


# --- what names stand for now ---------------------------------------------------------------------


def template_bytes(template: Template) -> bytes:
    """Return the pre-image of the `template` fingerprint."""
    return canonical_json(template.as_source())


def sent_by(entry: ModelEntry, template: Template) -> dict[str, Json]:
    """Return the sampling parameters that a call by a model for a template sends."""
    overrides: dict[str, Json] = {} if template.max_tokens is None else {"max_tokens": template.max_tokens}
    return parameters_sent({**entry.sampling, **overrides}, template.constraint, entry.way)


def model_bytes(entry: ModelEntry, template: Template) -> bytes:
    """Return the pre-image of the `model` fingerprint."""
    return canonical_json(model_source(entry, sent_by(entry, template)))


def combo_bytes(inputs: Inputs, combo: Combo) -> bytes:
    """Return the pre-image of the `inputs` fingerprint of a root task."""
    return canonical_json(inputs.context(combo))


# --- what drifted ---------------------------------------------------------------------------------


def find_drift(
    plan: Plan,
    config: PoolConfig,
    inputs: Inputs,
    catalog: Catalog,
    accepted: frozenset[tuple[str, ...]],
) -> list[Drift]:
    """Return what drifted under the reused generations of a plan, without what was accepted.

    Args:
        plan: The plan.
        config: The pool's models.
        inputs: What names stand for now.
        catalog: Has the whole digests.
        accepted: Pairs that a person accepted (`read_accepted`).
    """
    groups: dict[tuple[str, ...], Drift] = {}
    models: dict[str, list[str]] = {}
    for stage in (*plan.lineage, *plan.stages):
        models[stage.stage.name] = _models(stage, models)
    for stage in plan.stages:
        if stage.stage.name == plan.roots:
            continue  # they were chosen as they are, not by what names stand for
        meanings = _Meanings(plan, stage, config, inputs, catalog)
        for gen_id, key in meanings.drifted(models[stage.stage.name]):
            if key not in accepted:
                groups.setdefault(key, Drift(*key)).gen_ids.append(gen_id)
    return list(groups.values())


_Difference = tuple[str, str, str, str]
"""Kind, name, fingerprint then, fingerprint now."""


def _models(stage: StagePlan, above: Mapping[str, list[str]]) -> list[str]:
    """Return the model that every task of a stage runs on; empty where that is not known."""
    if stage.stage.has_model:
        place = stage.stage.fields.index(MODEL_FIELD) - 1
        names, columns = [str(choice[place]) for choice in stage.choices], stage.variants
    elif stage.stage.parent is None or stage.stage.parent not in above:
        return [""] * len(stage)
    else:
        names, columns = above[stage.stage.parent], stage.sources
    if State.GONE in stage.states:
        return ["" if state == State.GONE else names[at] for at, state in zip(columns, stage.states, strict=True)]
    return [names[at] for at in columns]


class _Meanings:
    """What the names of one stage's tasks stand for now; each looked up once."""

    def __init__(
        self,
        plan: Plan,
        stage: StagePlan,
        config: PoolConfig,
        inputs: Inputs,
        catalog: Catalog,
    ) -> None:
        self._plan = plan
        self._stage = stage
        self._config = config
        self._inputs = inputs
        self._catalog = catalog
        self._digest = lru_cache(catalog.digest)
        self._combos = {combo.combo_id: combo for combo in plan.combos}

    def drifted(self, models: Sequence[str]) -> Iterator[tuple[str, _Difference]]:
        """Yield every generation that differs from what its names stand for now, with the difference.

        Args:
            models: The model that each task runs on.
        """
        stage = self._stage
        columns = (stage.variants, models, stage.finds.makings)  # what is the same for all of these is compared once
        differ: dict[tuple[int, str, int], list[_Difference]] = {}
        for variant, model, making in set(zip(*columns, strict=True)):
            if making != NOT_FOUND and (differences := self._differences(variant, model, stage.makings[making])):
                differ[variant, model, making] = differences
        otherwise = [at for at, how in enumerate(zip(*columns, strict=True)) if how in differ] if differ else []
        estranged = set(self._estranged())
        for at in sorted(estranged.union(otherwise)):
            gen_id = stage.gen_ids[at]
            for key in differ.get((stage.variants[at], models[at], stage.finds.makings[at]), ()):
                yield gen_id, key
            if at in estranged:
                yield gen_id, self._source_difference(at)

    def _estranged(self) -> list[int]:
        """Return the generations whose source is not what they were made from, as far as both are known."""
        now, finds = self._sources(), self._stage.finds
        columns = zip(finds.inputs, self._stage.sources, strict=True)
        return [at for at, (then, source) in enumerate(columns) if then != now[source] and then and now[source]]

    def _differences(self, variant: int, model: str, made: Making) -> list[_Difference]:
        """Return in what template and model of some generations differ from what their names stand for now."""
        fields = dict(zip(self._stage.stage.fields[1:], self._stage.choices[variant], strict=True))
        template = self._inputs.template(self._stage.stage.name, str(fields.get(TEMPLATE_FIELD, DEFAULT_TEMPLATE)))
        differ: list[_Difference] = []
        then, now = self._digest(made.template), sha256(template_bytes(template))
        if then is not None and then != now:
            differ.append((TEMPLATE, f"{template.stage}/{template.template_id}", then, now))
        entry = self._config.models.get(model)
        then = self._digest(made.model)
        if made.mode == MODE_LLM and then is not None and entry is not None:
            now = sha256(model_bytes(entry, template))
            if then != now:
                differ.append((MODEL, model, then, now))
        return differ

    def _sources(self) -> Sequence[int]:
        """Return a number (`short`) for the fingerprint of each source that the tasks start from; 0 if not known."""
        parent = self._stage.stage.parent
        if parent is not None:
            return self._plan.stage(parent).finds.below
        columns = zip(self._stage.sources, self._stage.finds.makings, strict=True)
        compared = {source for source, making in columns if making != NOT_FOUND}
        return [short(self._combo(at)) if at in compared else 0 for at in range(len(self._stage.source_ids))]

    def _combo(self, at: int) -> bytes:
        return hashed(combo_bytes(self._inputs, self._combos[self._stage.source_ids[at]]))

    def _source_difference(self, at: int) -> _Difference:
        """Return kind and name of the source of a task, with its fingerprint then and now."""
        stage, source = self._stage.stage, self._stage.sources[at]
        name = self._stage.source_ids[source]
        then, _ = self._catalog.inputs(stage, self._stage.gen_ids[at])
        if stage.parent is None:
            return COMBO, name, then, self._combo(source).hex()
        _, now = self._catalog.inputs(self._plan.stage(stage.parent).stage, name)
        return PARENT, name, then, now


# --- what a person accepted -----------------------------------------------------------------------


def read_accepted(layout: PoolLayout) -> frozenset[tuple[str, ...]]:
    """Read drift.csv: kind, name, fingerprint then, fingerprint now.

    Raises:
        CorruptFile: A line is not of that form.
    """
    try:
        with reading(layout.drift):
            text = layout.drift.read_text(encoding="utf-8")
    except FileNotFoundError:
        return frozenset()
    whole, _, _ = text.rpartition("\n")  # a last line without its end was torn by a crash
    rows = list(csv.reader(io.StringIO(whole, newline="")))
    if rows and tuple(rows[0]) != HEADER:
        raise CorruptFile(f"{layout.drift}:1: the header must be {','.join(HEADER)}")
    wrong = next((number for number, row in enumerate(rows[1:], start=2) if row and len(row) != len(HEADER)), None)
    if wrong is not None:
        raise CorruptFile(f"{layout.drift}:{wrong}: not an accepted drift")
    return frozenset(tuple(row[:4]) for row in rows[1:] if row)


def among(drifts: Iterable[Drift], names: Collection[tuple[str, str]] | None) -> list[Drift]:
    """Return what of some drift has one of the names (kind and name); all of it where these are None."""
    return [one for one in drifts if names is None or (one.kind, one.name) in names]


def accept(layout: PoolLayout, drifts: Iterable[Drift]) -> None:
    """Note in drift.csv that a person accepts some drift.

    Raises:
        PoolBusy: Another process holds the lock all the time.
        StorageFailed: drift.csv cannot be written.
    """
    header = ",".join(HEADER) + "\n"
    out = io.StringIO(newline="")
    with file_lock(layout, "drift", "drift.csv"), storage_errors("cannot write drift.csv"):
        when = utc_now()
        rows = ((one.kind, one.name, one.stored, one.present, when) for one in drifts)
        csv.writer(out, lineterminator="\n").writerows(rows)
        append_lines(layout.drift, out.getvalue().encode(), header=header.encode())


# --- showing it -----------------------------------------------------------------------------------


def text_diff(drift: Drift, now: Mapping[str, bytes], then: Callable[[str], bytes]) -> list[str]:
    """Return a unified diff of what a name stood for then and stands for now.

    Args:
        drift: What drifted.
        now: Digest to pre-image, for what names stand for now.
        then: Digest to pre-image, from sources/.
    """
    try:
        before = _lines(then(drift.stored))
    except NotFound:
        return [f"(the text of then is not in sources/: {drift.stored})"]
    after = _lines(now[drift.present]) if drift.present in now else []
    return list(difflib.unified_diff(before, after, "then", "now", lineterm=""))


def _lines(data: bytes) -> list[str]:
    """Return a pre-image as lines that a person can compare: texts as they are, the rest as indented JSON."""
    value: Any = json.loads(data)
    if isinstance(value, dict) and "source" in value:
        front = json.dumps(
            {"front": value.get("front"), "includes": value.get("includes")}, indent=2, ensure_ascii=False
        )
        return [*front.splitlines(), *str(value["source"]).splitlines()]
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True).splitlines()


def sources_now(plan: Plan, config: PoolConfig, inputs: Inputs) -> dict[str, bytes]:
    """Return digest to pre-image of everything that the names in a plan stand for now."""
    found: dict[str, bytes] = {}
    for combo in plan.combos:
        found[sha256(combo_bytes(inputs, combo))] = combo_bytes(inputs, combo)
    for stage in plan.stages:
        if stage.stage.name == plan.roots:
            continue
        for variant in {one[:-1]: one for one in stage.choices}.values():
            fields = dict(zip(stage.stage.fields[1:], variant, strict=True))
            template = inputs.template(stage.stage.name, str(fields.get(TEMPLATE_FIELD, DEFAULT_TEMPLATE)))
            found[sha256(template_bytes(template))] = template_bytes(template)
            for entry in config.models.values():
                found[sha256(model_bytes(entry, template))] = model_bytes(entry, template)
    return found
