"""Every exception of genpool, grouped by what a caller can do about it.

One root, `GenpoolError`. Each class has an exit code for the command line and each error a
stable `kind` for machines: kinds are only ever added, never renamed. A message says what is
wrong and where; the hint says what to do next.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file that a person wrote."""

    message: str
    """What is wrong, with the offending value."""
    file: str | None = None
    """The file, as a path that the reader can open."""
    line: int | None = None
    """The line in that file, counted from 1."""
    hint: str | None = None
    """What would be right."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.message}"


class GenpoolError(Exception):
    """The root of every error that genpool raises on purpose.

    Args:
        message: What went wrong and where.
        hint: What to do next, if there is something to say.
    """

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_json(self) -> dict[str, object]:
        """Return the error as a JSON object: kind, message, hint."""
        return {"kind": self.kind, "message": self.message, "hint": self.hint}


# --- the command or call itself must change -------------------------------------------------------


class UsageError(GenpoolError):
    """The call's arguments do not fit together."""

    kind = "usage"
    exit_code = 2


class DoesNotFit(UsageError):
    """The call's arguments are right in themselves, and do not fit what is in the pool.

    The same words are right in another pool, or in this one tomorrow: so it ends with 1, as everything does that is
    wrong with what a call names.
    """

    kind = "does-not-fit"
    exit_code = 1


# --- a file that a person wrote must change -------------------------------------------------------


class InputError(GenpoolError):
    """What a person wrote is not usable; nothing was written.

    Args:
        message: A summary in one line.
        problems: Every problem found, each with its place.
        hint: What to do next.
    """

    kind = "invalid-input"

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """Return the message with every problem, for notebooks and logs."""
        return "\n".join([self.message, *(f"  {problem}" for problem in self.problems)])

    def as_json(self) -> dict[str, object]:
        """Return the error as a JSON object, with a list of problems."""
        problems = [{"file": p.file, "line": p.line, "message": p.message, "hint": p.hint} for p in self.problems]
        return {**super().as_json(), "problems": problems}


class InvalidSignature(InputError, ValueError):
    """A value cannot be part of an identity."""

    kind = "invalid-signature"


class InvalidPipeline(InputError, ValueError):
    """The stages of a pool do not form a pipeline."""

    kind = "invalid-pipeline"


class InvalidConfig(InputError):
    """pool.yaml is not usable."""

    kind = "invalid-config"


class InvalidSpec(InputError):
    """A cohort's spec is not usable."""

    kind = "invalid-spec"


class InvalidTemplate(InputError):
    """A prompt template is not usable."""

    kind = "invalid-template"


class InvalidCombo(InputError):
    """A concept, a row or a combo is not usable."""

    kind = "invalid-combo"


class Drifted(InputError):
    """A run was told to fail where something drifted, and something did."""

    kind = "drifted"


class MissingKey(InputError):
    """The environment variable that holds a key is not set."""

    kind = "missing-key"


# --- the pool is not what it should be ------------------------------------------------------------


class PoolError(GenpoolError):
    """The pool as a whole cannot be used."""

    kind = "pool"


class NotAPool(PoolError):
    """The directory is not a pool."""

    kind = "not-a-pool"


class UnsupportedFormat(PoolError):
    """A file was written by a newer genpool."""

    kind = "unsupported-format"


class UnsupportedPlatform(PoolError):
    """The operating or file system cannot keep the store's promises."""

    kind = "unsupported-platform"


class PipelineChanged(PoolError):
    """pool.yaml no longer has the salt or the stages that the pool's generations were made with."""

    kind = "pipeline-changed"


class PoolBusy(PoolError):
    """Somebody else holds the lock that is needed."""

    kind = "pool-busy"


class NotFound(PoolError, LookupError):
    """No generation, cohort or source of that name exists."""

    kind = "not-found"


class CorruptGeneration(PoolError):
    """A stored generation is not what its name or its digests say."""

    kind = "corrupt-generation"


class CorruptFile(PoolError):
    """A file that genpool writes is damaged."""

    kind = "corrupt-file"


class StorageFailed(PoolError, OSError):
    """The file system refused: no space, no permission, an input/output error."""

    kind = "storage-failed"


class StorageFull(StorageFailed):
    """The disk is full."""

    kind = "storage-full"


# --- what was allowed is used up ------------------------------------------------------------------


class BudgetReached(GenpoolError):
    """The next call could cost more than is left of the pool's budget.

    Args:
        message: What was spent, and what the limit is.
        pending: Whether calls of this run are in flight, which may cost less than was set against them.
        hint: What to do next.
    """

    kind = "budget-reached"

    def __init__(self, message: str, *, pending: bool, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.pending = pending


# --- a model did not answer -----------------------------------------------------------------------


class ModelError(GenpoolError):
    """A model could not be asked or did not answer."""

    kind = "model"


class ModelUnavailable(ModelError):
    """No call to this model can succeed until something is mended: weights, key, name, endpoint."""

    kind = "model-unavailable"


class CallFailed(ModelError):
    """One call failed; another may succeed.

    Args:
        message: What happened.
        transient: Whether the same call may succeed later (a time-out, a 429, a reset).
        sent: Whether the request may have reached the model, so that nobody can know whether it was paid for.
        retry_after: Seconds that the server asked to wait before the next try, uncapped; None where it did not.
        hint: What to do next.
    """

    kind = "call-failed"

    def __init__(
        self,
        message: str,
        *,
        transient: bool,
        sent: bool,
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient
        self.sent = sent
        self.retry_after = retry_after


class WeightsInvalid(ModelUnavailable):
    """The weights of an embedded model are not the published ones."""

    kind = "weights-invalid"


_MOST_NAMED: Final = 30


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the hint that offers the nearest known names, or None where nothing is near."""
    candidates = list(known)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not candidates:
        return None
    shown = ", ".join(sorted(candidates)[:_MOST_NAMED])
    left = len(candidates) - _MOST_NAMED
    return f"known: {shown}" + (f", and {left} more" if left > 0 else "")
