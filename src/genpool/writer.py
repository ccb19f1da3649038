"""Making one generation: render, ask, parse, keep; or keep the attempt with its reason."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from genpool.calls import Answer, Caller, Errand, Stopped
from genpool.canonical import Json, sha256
from genpool.catalog_rows import parent_bytes
from genpool.drift import combo_bytes, model_bytes, sent_by, template_bytes
from genpool.errors import GenpoolError, ModelUnavailable, nearest
from genpool.grouping import Grouped, to_the_end
from genpool.inputs import Inputs, child_context, own_context
from genpool.ledger import Ledger, utc_now
from genpool.llm.client import Completion, Request
from genpool.parsers import Parsed, ParseFailure
from genpool.planner import Plan, StagePlan, unacceptable
from genpool.prompts import DEFAULT_TEMPLATE
from genpool.records import MODE_COPY, MODE_LLM, Call, Reason, Record
from genpool.stages import TEMPLATE_FIELD
from genpool.store import BOUGHT_TWICE, Attempt, Generation, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from genpool.calls import Place
    from genpool.config import ModelEntry, PoolConfig
    from genpool.directory_store import DirectoryStore
    from genpool.llm.clients import Clients
    from genpool.prompts import Prompt, Template

_TEXTS_KEPT: Final = 512
_TOKENS_AROUND: Final = 64  # more than any chat template puts around a message
_SEED_RANGE: Final = 2**31


class Outcome(Enum):
    """What became of a task."""

    COMMITTED = "committed"
    EXHAUSTED = "exhausted"
    LEFT = "left"
    """Given up for this run; its attempts do not exhaust it yet."""


@dataclass(frozen=True, slots=True)
class Made:
    """What making a task came to."""

    outcome: Outcome
    low_on_space: bool = False
    """Whether the disk filled up while it was kept."""
    others: bool = False
    """Whether the generation that is there now is of another run, which was first."""
    origin: str | None = None
    """The cohort of that run."""


@dataclass(frozen=True, slots=True)
class Books:
    """Who is told of answers and attempts while a run goes on."""

    answered: Callable[[int | None, int | None, float | None], None]
    attempted: Callable[[Reason], None]


class TaskWriter:
    """Makes the generations of one run.

    Args:
        plan: The plan that tasks are of.
        config: The pool's configuration.
        inputs: What prompts are rendered from.
        store: Where generations are kept; its session must be open.
        ledger: The run's ledger.
        clients: The models.
        run_id: The run.
        caller: Asks the models.
        books: Who is told of answers.
        retry_exhausted: Whether tasks beyond their model's limit of attempts are tried again.
    """

    def __init__(
        self,
        plan: Plan,
        config: PoolConfig,
        inputs: Inputs,
        store: DirectoryStore,
        ledger: Ledger,
        clients: Clients,
        run_id: str,
        caller: Caller,
        books: Books,
        *,
        retry_exhausted: bool = False,
    ) -> None:
        self.plan = plan
        self.config = config
        self.inputs = inputs
        self.store = store
        self.ledger = ledger
        self.clients = clients
        self.run_id = run_id
        self.caller = caller
        self.books = books
        self.retry_exhausted = retry_exhausted
        self._combos = {combo.combo_id: combo for combo in plan.combos}
        self._text = lru_cache(_TEXTS_KEPT)(self._read_text)
        self._digests: dict[tuple[str, ...], str] = {}
        self._sources: dict[str, bytes] = {}
        self._keeper: Grouped[Output, Attempt | None] = Grouped(store.keep)

    def template(self, stage: StagePlan, index: int) -> Template:
        """Return the template of a task."""
        name = stage.value(index, TEMPLATE_FIELD)
        return self.inputs.template(stage.stage.name, DEFAULT_TEMPLATE if name is None else str(name))

    async def make(self, stage: StagePlan, index: int, place: Place) -> Made:
        """Make one task, which is claimed; what another run has made since the plan is found, not made again.

        Args:
            stage: The stage's plan.
            index: The task's position in it.
            place: Held while a call may be in flight; given back while its answer is kept.

        Raises:
            CallFailed: The call failed.
            ModelUnavailable: The model cannot be asked at all.
            InputError: The prompt cannot be rendered.
            CorruptGeneration: The parent's text, or what another run made of this task, is damaged.
            StorageFailed: The pool cannot be written.
        """
        gen_id = stage.gen_ids[index]
        if not self.store.incomplete(stage.stage, [gen_id]):
            return self._of_another(self.store.record(stage.stage, gen_id))
        if stage.copies(index):
            return await self._copy(stage, index)
        entry = self._entry(stage, index)
        client = await self.clients.client(entry.model_id)
        kept = len(unacceptable(self.store, stage.stage, gen_id))
        limit = kept + entry.attempts if self.retry_exhausted and kept >= entry.attempts else entry.attempts
        while kept < limit and not self.low_on_space:  # what is on its way needs the space that is left
            work = self._prepare(stage, index, entry, kept)
            errand = Errand(stage.stage.name, gen_id, entry, work.request, work.worst_price)
            await place.take()
            try:
                answer = await self.caller.ask(client, errand)
            except Stopped:
                break
            place.give_back()
            reason, parsed = _judged(answer.completion, work.template)
            generation = self._generation(stage, index, work, answer, parsed)
            made = await to_the_end(self._keep(generation, reason, answer, entry))
            if made.outcome is Outcome.COMMITTED:
                return made
            kept += 1
        return Made(Outcome.EXHAUSTED if kept >= limit else Outcome.LEFT, self.low_on_space)

    async def drained(self) -> None:
        """Return when everything that was handed over has been kept."""
        await self._keeper.drained()

    @property
    def low_on_space(self) -> bool:
        """Whether the disk filled up or refused a write: what is on its way is kept, nothing more should be bought."""
        return self.store.low_on_space or self.ledger.failed

    def _entry(self, stage: StagePlan, index: int) -> ModelEntry:
        model = self.plan.model_of(stage, index)
        if model is None or model not in self.config.models:
            known = nearest(model or "", self.config.models)
            raise ModelUnavailable(f"the pool has no model named {model!r}", hint=known)
        return self.config.models[model]

    # -- what goes in ------------------------------------------------------------------------------

    def _prepare(self, stage: StagePlan, index: int, entry: ModelEntry, kept: int) -> _Work:
        """Render the prompt and collect everything that a call needs."""
        template = self.template(stage, index)
        context = self._context(stage, index)
        prompt = self.inputs.renderer(stage.stage.name, template.template_id).render(context)
        sent = sent_by(entry, template)
        gen_id = stage.gen_ids[index]
        fingerprints = {
            **self._fingerprints(stage, index, template),
            "model": self._digest(
                ("model", entry.model_id, stage.stage.name, template.template_id), lambda: model_bytes(entry, template)
            ),
        }
        request = Request(prompt, sent, seed_of(gen_id, kept), template.constraint)
        return _Work(gen_id, template, prompt, request, kept, entry, fingerprints)

    def _fingerprints(self, stage: StagePlan, index: int, template: Template) -> dict[str, str]:
        """Return the digests of what a task is made from; the texts behind them are kept with its output."""
        inputs = self._inputs_digest(stage, index)
        name = ("template", template.stage, template.template_id)
        return {"template": self._digest(name, lambda: template_bytes(template)), "inputs": inputs}

    def _inputs_digest(self, stage: StagePlan, index: int) -> str:
        source = stage.source_ids[stage.sources[index]]
        if stage.stage.parent is None:
            return self._digest(("inputs", source), lambda: combo_bytes(self.inputs, self._combos[source]))
        # not kept as a source: the parent's record has the same digest
        return sha256(parent_bytes(sha256(self._text(stage.stage.parent, source).encode())))

    def _digest(self, name: tuple[str, ...], source: Callable[[], bytes]) -> str:
        """Return the digest of a source, computed once a run; it is kept with the first output that names it."""
        if name not in self._digests:
            data = source()
            self._digests[name] = digest = sha256(data)
            self._sources[digest] = data
        return self._digests[name]

    async def _kept(self, generation: Generation, reason: Reason | None = None) -> Attempt | None:
        """Keep an output with the sources that it names and nobody has kept yet."""
        named = generation.record.fingerprints.values()
        sources = {digest: self._sources[digest] for digest in named if digest in self._sources}
        attempt = await self._keeper.send(Output(generation, reason, sources))
        for digest in sources:
            self._sources.pop(digest, None)
        return attempt

    def _context(self, stage: StagePlan, index: int) -> dict[str, Any]:
        """Return what a task's template is rendered with."""
        known = own_context(stage.stage, stage.variant(index))
        source = stage.source_ids[stage.sources[index]]
        if stage.stage.parent is None:
            return {**self.inputs.context(self._combos[source]), **known}
        texts: dict[str, str] = {}
        at, where = stage, index
        while at.stage.parent is not None:
            where = at.sources[where]
            at = self.plan.stage(at.stage.parent)
            texts[at.stage.name] = self._text(at.stage.name, at.gen_ids[where])
        return {**child_context(texts, stage.stage.parent), **known}

    def _read_text(self, stage: str, gen_id: str) -> str:
        """Return the text of a committed generation, its identity and digest checked."""
        return self.store.text(self.store.record(self.config.pipeline[stage], gen_id))

    # -- what comes out ----------------------------------------------------------------------------

    def _generation(
        self,
        stage: StagePlan,
        index: int,
        work: _Work,
        answer: Answer,
        parsed: Parsed | None,
    ) -> Generation:
        """Return the generation, or what there is of it, that an answer makes."""
        completion = answer.completion
        texts = {"prompt": work.prompt.as_text(), "raw": completion.text}
        if parsed is not None:
            texts["parsed"] = parsed.text
        call = Call(
            provider=completion.provider,
            model=work.entry.model,
            model_returned=completion.model_returned,
            parameters=work.request.parameters,
            seed=work.request.seed,
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            seconds=answer.seconds,
            attempts_before=work.kept,
            price=work.entry.price,
        )
        record = self._record(stage, index, work.fingerprints, texts, MODE_LLM, call, work.template.parser.name, parsed)
        return Generation(record, texts)

    def _record(
        self,
        stage: StagePlan,
        index: int,
        fingerprints: Mapping[str, str],
        texts: Mapping[str, str],
        mode: str,
        call: Call | None = None,
        parser: str | None = None,
        parsed: Parsed | None = None,
    ) -> Record:
        return Record(
            signature=stage.signature(index),
            gen_id=stage.gen_ids[index],
            origin_cohort_id=self.plan.cohort_id,
            run_id=self.run_id,
            created_at=utc_now(),
            mode=mode,
            fingerprints={**fingerprints, **{name: sha256(text.encode()) for name, text in texts.items()}},
            call=call.as_json() if call else None,
            parser=parser,
            score=parsed.score if parsed else None,
        )

    async def _keep(self, generation: Generation, reason: Reason | None, answer: Answer, entry: ModelEntry) -> Made:
        """Commit a generation or keep it as an attempt; settle the intent either way."""
        attempt = await self._kept(generation, reason)
        reason = None if attempt is None else attempt.reason
        usage = answer.completion.usage
        cost = entry.price.cost(usage.input_tokens or 0, usage.output_tokens or 0) if entry.price else None
        facts: dict[str, Json] = {"cost": cost, **usage.as_json()}
        if reason is not None:
            facts["reason"] = reason.kind
            self.books.attempted(reason)
        self.books.answered(usage.input_tokens, usage.output_tokens, cost)
        self.ledger.settle(answer.intent, "committed" if reason is None else "attempt", facts)
        if reason == BOUGHT_TWICE:
            return self._found(generation.record)
        return Made(Outcome.COMMITTED if reason is None else Outcome.LEFT, self.low_on_space)

    def _found(self, mine: Record) -> Made:
        """Return that another run was first with a task that this run made too."""
        with suppress(GenpoolError):  # it is there; what is wrong with it, if anything, the next look at it tells
            return self._of_another(self.store.record(mine.stage, mine.gen_id))
        return Made(Outcome.COMMITTED, self.low_on_space, others=True)

    def _of_another(self, record: Record) -> Made:
        return Made(Outcome.COMMITTED, self.low_on_space, others=True, origin=record.origin_cohort_id)

    async def _copy(self, stage: StagePlan, index: int) -> Made:
        """Pass the parent's text on."""
        assert stage.stage.parent is not None
        text = self._text(stage.stage.parent, stage.source_ids[stage.sources[index]])
        texts = {"parsed": text}
        fingerprints = self._fingerprints(stage, index, self.template(stage, index))
        record = self._record(stage, index, fingerprints, texts, MODE_COPY)
        attempt = await to_the_end(self._kept(Generation(record, texts)))
        return Made(Outcome.COMMITTED, self.low_on_space) if attempt is None else self._found(record)


@dataclass(frozen=True, slots=True)
class _Work:
    """Everything that one call needs."""

    gen_id: str
    template: Template
    prompt: Prompt
    request: Request
    kept: int
    entry: ModelEntry
    fingerprints: Mapping[str, str]

    @property
    def worst_price(self) -> float | None:
        """The most that the call can cost: a token is at least one byte, and the answer is bounded by max_tokens."""
        sent = self.request.parameters
        limit = sent.get("max_completion_tokens", sent.get("max_tokens"))
        if self.entry.price is None or not isinstance(limit, int):
            return None
        chat_template = _TOKENS_AROUND * len(self.request.messages())
        return self.entry.price.cost(len(self.prompt.as_text().encode()) + chat_template, limit)


def seed_of(gen_id: str, attempt: int) -> int:
    """Return the seed of a call: the first 31 bits of the id's hash, so that replicates differ and repeat.

    Args:
        gen_id: A deterministic id.
        attempt: How many attempts were kept before; each counts the seed on, or a retry would repeat its failure.
    """
    return (int(gen_id.rpartition("_")[2][:8], 16) // 2 + attempt) % _SEED_RANGE


def _judged(answer: Completion, template: Template) -> tuple[Reason | None, Parsed | None]:
    """Return why an answer is not acceptable, or what the template's parser read."""
    defect = answer.defect()
    if defect is not None:
        return defect, None
    try:
        parsed = template.parser.parse(answer.text, template.scale)
    except ParseFailure as failure:
        return Reason("unparseable", f"parser {template.parser.name}: {failure}"), None
    return None, parsed
