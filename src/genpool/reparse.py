"""Reading answers anew that no parser could read: what can be read now becomes a generation, without a call.

An attempt with the reason `unparseable` is a whole answer; only its parser, or the scale it was read on, was wrong.
When these are mended in the template's front matter, the answer is read again with what stands there today. Of a
task's attempts the earliest that can be read is *promoted*: committed by the store's own exclusive rename, told in
the ledger, and taken away as an attempt. A process may die between any two of these; the next reparse finishes it.
So what was bought once is always kept, and counted once.

What a promoted generation says is what was true when it was bought: origin, run, time, call, the fingerprints of
prompt, answer, inputs and model. New are the parsed text, the parser, the score, and the `template` fingerprint: that
of the text which the prompt was rendered from, with the parser and the scale of today. Where nothing but these was
changed it is the fingerprint of today's template; where the prompt was changed too, a plan tells it as drift.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.canonical import canonical_json, sha256
from genpool.catalog_follower import following
from genpool.claims import Claims
from genpool.drift import template_bytes
from genpool.errors import CorruptGeneration, GenpoolError
from genpool.ledger import REPARSE, Ledger, utc_now
from genpool.locks import file_lock, pool_lock
from genpool.membership import read_membership
from genpool.migration import waiting
from genpool.parsers import ParseFailure
from genpool.prompts import DEFAULT_TEMPLATE
from genpool.records import MODE_LLM, PROMOTED
from genpool.stages import TEMPLATE_FIELD
from genpool.store import Generation, same_purchase
from genpool.trash import refuse_while_open

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from genpool.canonical import Json
    from genpool.catalog import Catalog
    from genpool.directory_store import DirectoryStore
    from genpool.inputs import Inputs
    from genpool.layout import PoolLayout
    from genpool.present import Present
    from genpool.prompts import Template
    from genpool.records import Record, Score
    from genpool.stages import Pipeline, Stage
    from genpool.store import Attempt

UNPARSEABLE: Final = "unparseable"
_INCOMPLETE: Final = "incomplete"
_READING: Final = ("format", "parser", "scale")
"""What of a front matter says how an answer is read; the rest says what is sent."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """An attempt that can be read now."""

    stage: str
    gen_id: str
    attempt: int
    template_id: str
    parser: str
    """Today's."""
    score: Score | None
    run_id: str | None
    """The run that bought it."""
    origin_cohort_id: str | None
    drifted: bool
    """Whether its prompt was rendered from another text of the template than today's."""


@dataclass(frozen=True, slots=True)
class Left:
    """An attempt that is left as it is, and why."""

    stage: str
    gen_id: str
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class Reparse:
    """What reading attempts anew comes to."""

    promotions: tuple[Promotion, ...] = ()
    """One a task: what would be promoted, or was."""
    unreadable: tuple[Left, ...] = ()
    """Attempts that today's parser cannot read either."""
    left: tuple[Left, ...] = ()
    """Attempts that are damaged, or no attempts of genpool's, or whose template cannot be had."""
    filled: int = 0
    """Tasks with unreadable answers that have a generation already."""
    unfinished: tuple[Left, ...] = ()
    """Attempts that were promoted already by a reparse that was interrupted."""


class Reparser:
    """Reads a pool's unparseable attempts anew.

    Args:
        store: The pool's store.
        catalog: The index of what exists.
        inputs: The templates of today.
        stages: The stages to look at.
        members: Only these tasks, by stage; None for every task.
    """

    def __init__(
        self,
        store: DirectoryStore,
        catalog: Catalog,
        inputs: Inputs,
        stages: Collection[Stage],
        members: Collection[tuple[str, str]] | None = None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._inputs = inputs
        self._stages = stages
        self._members = None if members is None else frozenset(members)

    def plan(self) -> Reparse:
        """Return what would be promoted. Writes nothing but a cache."""
        found = _Found()
        for stage in self._stages:
            present = self._catalog.present(stage)
            for gen_id in sorted(self._store.attempted(stage)):
                if self._members is None or (stage.name, gen_id) in self._members:
                    self._look(stage, gen_id, present, found)
        return found.result()

    def promote(self, planned: Reparse, ledger: Ledger, claims: Claims, reparse_id: str) -> Reparse:
        """Promote what was planned; finish what an interrupted reparse left. The store's session must be open.

        Returns:
            What was done: a task that got its generation from elsewhere meanwhile is counted as filled; one that a run
            is making at this moment is left.

        Raises:
            StorageFailed: The pool cannot be written; what was promoted until then stays so.
            CorruptGeneration: An attempt was damaged meanwhile.
        """
        stages = {stage.name: stage for stage in self._stages}
        for one in planned.unfinished:
            self._finish(self._store.record(stages[one.stage], one.gen_id), one.attempt, ledger)
        done, left, filled = [], list(planned.left), planned.filled
        for promotion in planned.promotions:
            task = promotion.stage, promotion.gen_id
            if not claims.take(*task):
                left.append(Left(*task, promotion.attempt, "a run is making it at this moment"))
                continue
            try:
                generation = self._made(stages[promotion.stage], promotion, reparse_id)
                if self._store.promote(generation):
                    self._finish(generation.record, promotion.attempt, ledger)
                    done.append(promotion)
                else:
                    filled += 1
            finally:
                claims.give_back(*task)
        return replace(planned, promotions=tuple(done), left=tuple(left), filled=filled)

    def _finish(self, record: Record, attempt: int, ledger: Ledger) -> None:
        ledger.promote(record.stage.name, record.gen_id, attempt, record.run_id, record.created_at)
        self._store.consume(record, attempt)

    # -- looking -----------------------------------------------------------------------------------

    def _look(self, stage: Stage, gen_id: str, present: Present, found: _Found) -> None:
        """Find what can be promoted of one task."""
        wanted = []
        for attempt in self._store.attempts(stage, gen_id):
            if attempt.reason.kind == UNPARSEABLE:
                wanted.append(attempt)
            elif attempt.reason.kind == _INCOMPLETE:
                found.left.append(Left(stage.name, gen_id, attempt.number, "it has no record that can be read"))
        outputs = list(self._outputs(stage, wanted, found))
        if not outputs:
            return
        if gen_id in present.whole or gen_id in present.unusable:
            self._look_at_filled(stage, gen_id, present, outputs, found)
        elif present.in_slot(outputs[0][1].record.signature) is not None:
            found.filled += 1  # under a legacy id
        else:
            self._choose(stage, outputs, found)

    def _outputs(self, stage: Stage, attempts: list[Attempt], found: _Found) -> Iterator[tuple[Attempt, Generation]]:
        """Yield what attempts hold; a damaged one is named and left."""
        for attempt in attempts:
            try:
                output = self._store.output(stage, attempt.gen_id, attempt.number)
                if not {"prompt", "raw"} <= output.texts.keys():
                    raise CorruptGeneration("its record names no prompt or no answer")
            except GenpoolError as error:
                found.left.append(Left(stage.name, attempt.gen_id, attempt.number, error.message))
            else:
                yield attempt, output

    def _look_at_filled(
        self, stage: Stage, gen_id: str, present: Present, outputs: list[tuple[Attempt, Generation]], found: _Found
    ) -> None:
        """Tell a task that has its generation from one whose promotion was interrupted."""
        if gen_id in present.whole:
            made = self._store.record(stage, gen_id)
            for attempt, output in outputs:
                if same_purchase(made, output.record):
                    why = "it was promoted by a reparse that was interrupted"
                    found.unfinished.append(Left(stage.name, gen_id, attempt.number, why))
                    return
        found.filled += 1

    def _choose(self, stage: Stage, outputs: list[tuple[Attempt, Generation]], found: _Found) -> None:
        """Take the earliest attempt of a task that can be read."""
        for attempt, output in outputs:
            where = (stage.name, attempt.gen_id, attempt.number)
            try:
                template = self._template(output.record)
                parsed = template.parser.parse(output.texts["raw"], template.scale)
                then = self._rendered_from(output.record)
            except ParseFailure as failure:
                found.unreadable.append(Left(*where, f"parser {template.parser.name}: {failure}"))
            except GenpoolError as error:
                found.left.append(Left(*where, error.message))
            else:
                record = output.record
                found.promotions.append(
                    Promotion(
                        *where,
                        template_id=template.template_id,
                        parser=template.parser.name,
                        score=parsed.score,
                        run_id=record.run_id,
                        origin_cohort_id=record.origin_cohort_id,
                        drifted=read_as(then, template) != template_bytes(template),
                    )
                )
                return

    def _template(self, record: Record) -> Template:
        """Return today's template of a task.

        Raises:
            InvalidTemplate: It does not exist or is not usable.
            CorruptGeneration: It calls no model any more.
        """
        named = dict(zip(record.stage.fields, record.signature.values, strict=True)).get(TEMPLATE_FIELD)
        template = self._inputs.template(record.stage.name, str(named or DEFAULT_TEMPLATE))
        if template.mode != MODE_LLM:
            raise CorruptGeneration(f"{template.file}: its mode is {template.mode} now, which reads no answer")
        return template

    def _rendered_from(self, record: Record) -> dict[str, Any]:
        """Return the pre-image of the template that an attempt's prompt was rendered from.

        Raises:
            NotFound: It is not in sources/ any more.
            CorruptGeneration: It is damaged, or the record names none.
        """
        digest = record.fingerprints.get("template")
        source = orjson.loads(self._store.source(digest)) if digest else None
        if not isinstance(source, dict) or not isinstance(source.get("front"), dict):
            raise CorruptGeneration("its record does not name the template that it was made with")
        return source

    # -- making ------------------------------------------------------------------------------------

    def _made(self, stage: Stage, promotion: Promotion, reparse_id: str) -> Generation:
        """Return the generation that an attempt becomes."""
        output = self._store.output(stage, promotion.gen_id, promotion.attempt)
        record, template = output.record, self._template(output.record)
        reasons = {one.number: one.reason for one in self._store.attempts(stage, promotion.gen_id)}
        parsed = template.parser.parse(output.texts["raw"], template.scale)
        source = self._store.put_source(read_as(self._rendered_from(record), template))
        before: dict[str, Json] = {
            "attempt": promotion.attempt,
            "at": utc_now(),
            "by": reparse_id,
            "parser": record.parser,
            "reason": dict(reasons[promotion.attempt].as_json()),
            "template": record.fingerprints["template"],
        }
        made = replace(
            record,
            fingerprints={**record.fingerprints, "template": source, "parsed": sha256(parsed.text.encode())},
            parser=template.parser.name,
            score=parsed.score,
            extra={**record.extra, PROMOTED: before},
        )
        return Generation(made, {**output.texts, "parsed": parsed.text})


def read_as(then: dict[str, Any], template: Template) -> bytes:
    """Return the pre-image of a template of then, whose answers are read as those of the template today."""
    now = template.as_source()["front"]
    assert isinstance(now, dict)
    front = {key: value for key, value in then["front"].items() if key not in _READING}
    return canonical_json({**then, "front": {**front, **{key: now[key] for key in _READING if key in now}}})


def reparse_attempts(
    layout: PoolLayout,
    pipeline: Pipeline,
    store: DirectoryStore,
    open_catalog: Callable[[], Catalog],
    inputs: Inputs,
    cohort_id: str | None = None,
    stage: str | None = None,
    *,
    apply: bool = False,
) -> Reparse:
    """Read a pool's unparseable attempts anew; promote what can be read.

    Args:
        layout: The pool's paths.
        pipeline: The pool's pipeline.
        store: The pool's store.
        open_catalog: Opens the index of what exists.
        inputs: The templates of today.
        cohort_id: Only tasks that are members of this cohort.
        stage: Only tasks of this stage.
        apply: Whether to do it; else nothing is written but a cache.

    Raises:
        InvalidPipeline: There is no such stage.
        NotFound: The cohort has no membership.
        PoolBusy: Somebody else uses the pool in a way that excludes this, or reparses it.
        StorageFailed: The pool cannot be written; what was promoted until then stays so.
    """
    stages = tuple(pipeline) if stage is None else (pipeline[stage],)
    members = None
    if cohort_id is not None:
        members = [(one.stage, one.gen_id) for one in read_membership(layout, pipeline, cohort_id)]
    with closing(open_catalog()) as catalog, following(store, pipeline):
        reparser = Reparser(store, catalog, inputs, stages, members)
        return _promoted(reparser, layout, store, cohort_id) if apply else reparser.plan()


def _promoted(reparser: Reparser, layout: PoolLayout, store: DirectoryStore, cohort_id: str | None) -> Reparse:
    """Promote what can be read, beside runs and alone among those who read anew."""
    with (
        pool_lock(layout, "genpool reparse --yes"),
        file_lock(layout, "reparse", "what is read anew"),
        store.session(),
    ):
        refuse_while_open(layout)
        waiting.refuse_while_open(layout)  # a promotion takes an attempt away that a rollback must find
        reparse_id = f"{REPARSE}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        ledger = Ledger(layout.ledger, reparse_id, cohort_id)
        try:
            return reparser.promote(reparser.plan(), ledger, Claims(layout), reparse_id)
        finally:
            ledger.close_file()


class _Found:
    """What looking has found so far."""

    def __init__(self) -> None:
        self.promotions: list[Promotion] = []
        self.unreadable: list[Left] = []
        self.left: list[Left] = []
        self.unfinished: list[Left] = []
        self.filled = 0

    def result(self) -> Reparse:
        return Reparse(
            tuple(self.promotions), tuple(self.unreadable), tuple(self.left), self.filled, tuple(self.unfinished)
        )
