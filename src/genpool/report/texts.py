"""The texts that a report shows to be read: with their lineage, their prompts, and what was said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.errors import InvalidSignature, PoolError
from genpool.finding import lineage
from genpool.judgements import JUDGE, RUBRIC, TEXT, VALUE
from genpool.records import MODE_COPY
from genpool.stages import PARENT_FIELD, REPLICATE_FIELD, ROOT_FIELD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genpool.judgements import Judgements
    from genpool.records import Record
    from genpool.report.asked import Asked
    from genpool.stages import Stage

LONGEST: Final = 8_000
"""Characters of a text or prompt that are shown; of what is longer, it is said how much was cut."""
_REASON: Final = 600
_JUDGEMENTS: Final = 24
"""Judgements of one text that are listed."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Some text, perhaps cut."""

    text: str
    cut: int = 0
    """How many characters were left out at its end."""


@dataclass(frozen=True, slots=True)
class Step:
    """One generation in the lineage of a text."""

    stage: str
    gen_id: str
    choices: str
    origin: str | None
    prompt: Passage | None
    said: str | None = None
    """Why there is no prompt."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one judgement said."""

    rubric: str
    judge: str
    score: float
    reason: Passage | None


@dataclass(frozen=True, slots=True)
class Read:
    """One text to read."""

    gen_id: str
    value: float
    """What it is shown for: its mean score, or how far its judgements lie apart."""
    text: Passage | None
    said: str | None
    """Why the text cannot be shown."""
    path: str
    """The choices that led to it."""
    combo: str
    steps: tuple[Step, ...]
    """Its lineage, from the root to itself."""
    verdicts: tuple[Verdict, ...]
    more: int
    """Judgements that are not listed."""


def read_texts(
    asked: Asked, stage: Stage, judgements: Judgements, chosen: Sequence[tuple[str, float]]
) -> tuple[Read, ...]:
    """Return some judged texts as they are shown.

    Args:
        asked: What the report is about.
        stage: The judging stage.
        judgements: Its judgements.
        chosen: Gen id and what it is shown for, in order.
    """
    if stage.parent is None:
        return ()
    return tuple(_read(asked, stage, judgements, gen_id, value) for gen_id, value in chosen)


def _read(asked: Asked, stage: Stage, judgements: Judgements, gen_id: str, value: float) -> Read:
    import polars as pl

    mine = judgements.frame.filter(pl.col(TEXT) == gen_id).sort(RUBRIC, JUDGE, "replicate", "gen_id")
    first = mine.row(0, named=True)
    listed = mine.head(_JUDGEMENTS)
    reasons = asked.reasons(stage, listed["gen_id"].to_list())
    verdicts = tuple(
        Verdict(rubric, judge, score, None if reason is None else passage(reason, _REASON))
        for (rubric, judge, score), reason in zip(listed.select(RUBRIC, JUDGE, VALUE).rows(), reasons, strict=True)
    )
    text, said = None, None
    steps: tuple[Step, ...] = ()
    try:
        record = asked.pool.store.record(asked.pipeline[str(stage.parent)], gen_id)
        steps = tuple(_steps(asked, record))
        text = passage(asked.pool.store.text(record), LONGEST)
    except (PoolError, InvalidSignature) as error:
        said = f"the text cannot be shown: {error.message}"
    path = " → ".join(str(first[axis]) for axis in judgements.varied or judgements.axes)
    combo = asked.combos.get(first["combo"], first["combo"])
    return Read(gen_id, value, text, said, path, combo, steps, verdicts, mine.height - listed.height)


def passage(text: str, longest: int) -> Passage:
    """Return a text, cut where it is longer than so many characters."""
    return Passage(text[:longest], max(0, len(text) - longest))


def _steps(asked: Asked, record: Record) -> list[Step]:
    """Return the lineage of a text from its root to itself, each with the prompt that was sent."""
    found = []
    for one in reversed([record, *lineage(asked.pipeline, asked.pool.store, record)]):
        prompt, said = None, None
        if one.mode == MODE_COPY:
            said = "a copy: no model was asked"
        else:
            try:
                prompt = passage(asked.pool.store.text(one, "prompt"), LONGEST)
            except PoolError as error:
                said = f"the prompt cannot be shown: {error.message}"
        choices = [
            f"{one.stage.axis_name(name)} {level}"
            for name, level in one.stated().items()
            if level is not None and name not in {PARENT_FIELD, ROOT_FIELD, REPLICATE_FIELD}
        ]
        replicate = one.stated().get(REPLICATE_FIELD)
        if replicate is not None:
            choices.append(f"replicate {replicate}")
        found.append(Step(one.stage.name, one.gen_id, ", ".join(choices), one.origin_cohort_id, prompt, said))
    return found
