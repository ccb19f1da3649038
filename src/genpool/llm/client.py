"""The protocol of a model client, and what goes in and comes out of a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from genpool.records import Reason, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genpool.canonical import Json
    from genpool.parsers import Constraint
    from genpool.prompts import Prompt

_ENDS: Final = {"stop", "end_turn", "eos"}
_CUT: Final = {"length", "max_tokens"}
_REFUSED: Final = {"content_filter", "refusal", "safety"}


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model."""

    prompt: Prompt
    parameters: Mapping[str, Json]
    """Sampling parameters, sent as they are."""
    seed: int
    constraint: Constraint | None = None
    """What the answer is to be kept to, where the backend can."""

    def messages(self) -> list[dict[str, str]]:
        """Return the prompt as chat messages."""
        system = [{"role": "system", "content": self.prompt.system}] if self.prompt.system else []
        return [*system, {"role": "user", "content": self.prompt.user}]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered."""

    text: str
    finish_reason: str | None
    """Why the answer ended, in the provider's word; None where it did not say."""
    model_returned: str | None = None
    usage: Usage = field(default_factory=Usage)
    provider: str = ""
    sent: Mapping[str, Json] = field(default_factory=dict)
    """The parameters as they were sent, the constraint included."""

    def defect(self) -> Reason | None:
        """Return why the answer is not one, or None: only an explicit end is an answer."""
        if self.finish_reason in _CUT:
            said = f" after {self.usage.output_tokens} tokens" if self.usage.output_tokens else ""
            return Reason("truncated", f"the answer was cut off at the token limit{said}")
        if self.finish_reason in _REFUSED:
            return Reason("refused", f"the provider withheld the answer ({self.finish_reason})")
        if self.finish_reason not in _ENDS:
            return Reason("no_end", f"the answer came without an explicit end (finish reason {self.finish_reason!r})")
        if not self.text.strip():
            return Reason("empty", "the model returned nothing")
        return None


class ModelClient(Protocol):
    """A way to ask one model. Open clients with `genpool.llm.clients.Clients`."""

    async def complete(self, request: Request) -> Completion:
        """Ask the model once: no retry, no cache.

        Raises:
            CallFailed: This call failed; another may succeed.
            ModelUnavailable: No call can succeed until something is mended.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections and memory."""
        ...


def clean_text(text: str) -> str:
    """Return a model's text as valid Unicode: lone surrogates become the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def constrained(parameters: Mapping[str, Json], constraint: Mapping[str, Json]) -> dict[str, Json]:
    """Return the parameters to send: a judge's constraint takes the place of a grammar of the model entry."""
    if not constraint:
        return dict(parameters)
    return {**{key: value for key, value in parameters.items() if key != "grammar"}, **constraint}
