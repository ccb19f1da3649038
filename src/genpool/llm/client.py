"""The protocol of a model client, and what goes in and comes out of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from genpool.records import Reason, Usage

if TYPE_CHECKING:
    from genpool.canonical import Json
    from genpool.parsers import Constraint
    from genpool.prompts import Prompt

_ENDS: Final = {"stop", "end_turn", "eos"}
_CUT: Final = {"length", "max_tokens"}
_NOT_PORTABLE: Final = {"maxLength", "minimum", "maximum"}
_REFUSED: Final = {"content_filter", "refusal", "safety"}


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model."""

    prompt: Prompt
    parameters: Mapping[str, Json]
    """Sampling parameters, sent as they are (`parameters_sent`)."""
    seed: int
    constraint: Constraint | None = None
    """What the answer should be kept to; what the backend can do of it is in `parameters` already."""

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


def parameters_sent(parameters: Mapping[str, Json], constraint: Constraint | None, way: str) -> dict[str, Json]:
    """Return the sampling parameters as they are sent: a judge's constraint takes the place of an entry's grammar.

    Args:
        parameters: Those of the model entry and the template.
        constraint: What the answer is to be kept to, if anything.
        way: What the backend takes: `grammar` (llama.cpp), `json_schema` (the portable part of it), or `none`.
    """
    added: dict[str, Json] = {}
    if constraint is not None and way == "grammar" and constraint.grammar is not None:
        added = {"grammar": constraint.grammar}
    elif constraint is not None and way != "none" and constraint.json_schema is not None:
        schema = constraint.json_schema if way == "grammar" else _portable(constraint.json_schema)
        named: Json = {"name": "answer", "strict": True, "schema": schema}
        added = {"response_format": {"type": "json_schema", "json_schema": named}}
    if not added:
        return dict(parameters)
    return {**{key: value for key, value in parameters.items() if key != "grammar"}, **added}


def _portable(schema: Json) -> Json:
    """Return a schema without the keywords that some providers refuse in strict mode."""
    if isinstance(schema, Mapping):
        return {key: _portable(value) for key, value in schema.items() if key not in _NOT_PORTABLE}
    return schema
