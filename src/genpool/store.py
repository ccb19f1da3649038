"""Where generations are kept: the contract. `directory_store` keeps them in a directory.

Visible means complete; returned means durable. What exists is never overwritten, what was paid for is never thrown
away, and what some other tool left incomplete is never reused and never deleted.

`genpool.testing.StoreContract` holds the contract as tests that any store can inherit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from genpool.records import PROMOTED, Reason, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from genpool.errors import GenpoolError
    from genpool.stages import Stage

BOUGHT_TWICE: Final = Reason("bought_twice", "another writer committed this generation first; this output is kept here")


@dataclass(frozen=True, slots=True)
class Generation:
    """A task that has been materialised: its record and its texts."""

    record: Record
    texts: Mapping[str, str]
    """`parsed`, and where a model was called `prompt` and `raw`."""

    @property
    def gen_id(self) -> str:
        """The generation's id."""
        return self.record.gen_id

    @property
    def text(self) -> str:
        """The text that children read."""
        return self.texts["parsed"]


@dataclass(frozen=True, slots=True)
class Output:
    """What a call or a copy came to, to be kept."""

    generation: Generation
    reason: Reason | None = None
    """Why it is not a generation; None where it is one."""
    sources: Mapping[str, bytes] = field(default_factory=dict)
    """Texts that its fingerprints name and that may not be kept yet, by SHA-256: kept before it is visible."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Output that was paid for and is not a generation."""

    number: int
    """Its number among the attempts at this task, from 1."""
    reason: Reason
    """Why it is not a generation."""
    gen_id: str


class GenerationStore(Protocol):
    """The contract of a store. It assumes no path: ids and stages are all it is asked by."""

    low_on_space: bool
    """Whether the store filled up: what was on its way could still be kept, nothing more should be bought."""

    def listed(self, stage: Stage) -> frozenset[str]:
        """Return the ids of a stage under which anything is kept, complete or not."""
        ...

    def incomplete(self, stage: Stage, gen_ids: Iterable[str]) -> frozenset[str]:
        """Return those of some listed ids that are not whole generations."""
        ...

    def record(self, stage: Stage, gen_id: str) -> Record:
        """Return a generation's record, its identity checked.

        Raises:
            NotFound: There is no such generation.
            CorruptGeneration: What is there is not that generation.
        """
        ...

    def text(self, record: Record, name: str = "parsed") -> str:
        """Return one of a generation's texts, its digest checked.

        Raises:
            NotFound: The generation has no such text.
            CorruptGeneration: The text is not the one that was committed.
        """
        ...

    def commit(self, generation: Generation) -> bool:
        """Keep a generation for good.

        When this returns, the generation survives a power cut. Where the id is taken already, the output
        becomes an attempt with the reason `bought_twice`.

        Returns:
            Whether it was committed; False where another was first.

        Raises:
            StorageFailed: It could not be kept; nothing is visible of it.
        """
        ...

    def keep_attempt(self, generation: Generation, reason: Reason) -> Attempt:
        """Keep output that was paid for and is not a generation, with the reason."""
        ...

    def keep(self, outputs: Sequence[Output]) -> list[Attempt | GenpoolError | None]:
        """Keep several outputs, each as `commit` and `keep_attempt` do, at the price of few flushes.

        Returns:
            For each, in order: None where it was committed; the attempt that it became; or why it could not be kept.
        """
        ...

    def attempts(self, stage: Stage, gen_id: str) -> tuple[Attempt, ...]:
        """Return the attempts at a task, in order."""
        ...

    def attempted(self, stage: Stage) -> frozenset[str]:
        """Return the ids of a stage that have attempts."""
        ...

    def output(self, stage: Stage, gen_id: str, number: int) -> Generation:
        """Return what an attempt holds, its identity and the digests of its texts checked.

        Raises:
            NotFound: There is no such attempt, or it lacks one of the texts that its record names.
            CorruptGeneration: It is damaged, or is not an attempt at this task.
            UnsupportedFormat: A newer genpool wrote it.
        """
        ...

    def promote(self, generation: Generation) -> bool:
        """Commit what was an attempt until now, as `commit` does. The attempt stays until `consume`.

        Returns:
            Whether it was committed; False where the id is taken: then nothing is changed.
        """
        ...

    def consume(self, record: Record, number: int) -> None:
        """Take away the attempt that a generation was promoted from: what was bought once is kept once.

        Raises:
            CorruptGeneration: The generation does not hold what the attempt holds; the attempt stays.
        """
        ...

    def put_source(self, data: bytes) -> str:
        """Keep a text that fingerprints name; return its SHA-256."""
        ...

    def source(self, digest: str) -> bytes:
        """Return a text by its SHA-256.

        Raises:
            NotFound: It is not kept here.
            CorruptGeneration: What is kept has another digest.
        """
        ...


def same_purchase(made: Record, attempt: Record) -> bool:
    """Return whether a generation holds what was bought as an attempt: the same prompt and answer of the same call."""

    def bought(record: Record) -> tuple[object, ...]:
        prints = record.fingerprints
        return record.run_id, record.created_at, record.call, prints.get("prompt"), prints.get("raw")

    return PROMOTED in made.extra and "raw" in made.fingerprints and bought(made) == bought(attempt)
