"""Any endpoint that speaks the OpenAI chat completions protocol. The one module on the network.

The client's own retries are off: each call here is one request. Foreign errors are mapped to ours in
one place, and a key never gets into a message, whatever a server echoes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from genpool.errors import CallFailed, MissingKey, ModelError, ModelUnavailable
from genpool.llm.client import Completion, Request, clean_text, constrained
from genpool.records import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.canonical import Json
    from genpool.config import ModelEntry

_TRANSIENT: Final = {408, 409, 425, 429}
_UNAVAILABLE: Final = {401, 403, 404}
_HIDDEN: Final = "[key]"


def find_key(entry: ModelEntry, root: Path) -> str | None:
    """Return the key of a model entry: from the environment, else from a .env file.

    Args:
        entry: The model entry; it holds the variable's name only.
        root: The pool; its .env is read, then the one in the current directory.

    Raises:
        MissingKey: The entry names a variable that is nowhere set.
    """
    if entry.key is None:
        return None
    if os.environ.get(entry.key):
        return os.environ[entry.key]
    from dotenv import dotenv_values  # only where a key is not in the environment

    for folder in (root, root.cwd()):
        value = dotenv_values(folder / ".env").get(entry.key) if (folder / ".env").is_file() else None
        if value:
            return value
    raise MissingKey(
        f"model {entry.model_id!r} needs a key: the environment variable {entry.key} is not set",
        hint=f"export {entry.key}=… or put it into {root / '.env'}",
    )


class OpenAICompatible:
    """A model behind an OpenAI-compatible endpoint.

    Args:
        entry: The model entry.
        key: Its key, or None where the endpoint wants none.

    Raises:
        ModelUnavailable: The base URL is not one.
    """

    def __init__(self, entry: ModelEntry, key: str | None) -> None:
        import openai  # half a second: only when a model is asked

        self._entry = entry
        self._key = key
        self._openai = openai
        try:
            self._client = openai.AsyncOpenAI(
                api_key=key or "none", base_url=entry.base_url, max_retries=0, timeout=entry.timeout
            )
        except Exception as error:  # noqa: BLE001 - whatever it says of a URL that is none
            raise ModelUnavailable(self._hide(f"model {entry.model_id!r}: {error}")) from None
        host = urlsplit(str(self._client.base_url)).netloc.rpartition("@")[2]
        self._provider = f"openai {host}"

    async def complete(self, request: Request) -> Completion:
        """See `ModelClient.complete`."""
        sent = constrained(request.parameters, _constraint(request, self._entry.constrain))
        try:
            answer = await self._client.chat.completions.create(
                model=self._entry.model,
                messages=request.messages(),  # type: ignore[arg-type]  # plain dicts of the same shape
                extra_body={**sent, "seed": request.seed},
            )
        except Exception as error:  # noqa: BLE001 - the boundary: everything foreign is mapped here
            raise self._mapped(error) from None
        return self._completion(answer, sent)

    async def aclose(self) -> None:
        """See `ModelClient.aclose`."""
        await self._client.close()

    def _completion(self, answer: Any, sent: dict[str, Json]) -> Completion:
        """Return an answer in our terms; what is not an answer is a failed call."""
        if not isinstance(answer, self._openai.types.chat.ChatCompletion):
            raise CallFailed(f"{self._provider} answered with something else than JSON", transient=True)
        choices = answer.choices or []
        if not choices or choices[0].message is None:
            raise CallFailed(f"{self._provider} answered without a choice", transient=True)
        usage = answer.usage
        return Completion(
            text=clean_text(choices[0].message.content or ""),
            finish_reason=choices[0].finish_reason,
            model_returned=answer.model,
            usage=Usage(usage.prompt_tokens, usage.completion_tokens) if usage else Usage(),
            provider=self._provider,
            sent=sent,
        )

    def _mapped(self, error: Exception) -> ModelError:
        """Return one of our errors for one of theirs."""
        said = self._hide(f"{self._provider}: {_words(error)}")
        status = getattr(error, "status_code", None)
        if isinstance(error, self._openai.APITimeoutError):
            return CallFailed(f"{self._provider}: no answer within {self._entry.timeout:g} s", transient=True)
        if isinstance(error, self._openai.APIConnectionError):
            return CallFailed(said, transient=True, hint=f"is {self._entry.base_url or 'the endpoint'} reachable?")
        if status in _UNAVAILABLE:
            return ModelUnavailable(
                said, hint=f"look at `key`, `model` and `base_url` of {self._entry.model_id!r} in pool.yaml"
            )
        if isinstance(status, int):
            return CallFailed(said, transient=status in _TRANSIENT or status >= 500)
        return CallFailed(said, transient=True)

    def _hide(self, text: str) -> str:
        """Return a text without the key."""
        return text.replace(self._key, _HIDDEN) if self._key else text


def _words(error: Exception) -> str:
    """Return what an error says, in one line of bearable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    cause = error.__cause__
    if cause is not None and str(cause) and str(cause) not in text:
        text = f"{text} ({' '.join(str(cause).split())})"
    return text if len(text) <= 300 else f"{text[:300]}…"


def _constraint(request: Request, way: str) -> dict[str, Json]:
    """Return the parameters that keep the answer to what the parser reads, in the endpoint's way."""
    constraint = request.constraint
    if constraint is None or way == "none":
        return {}
    if way == "grammar" and constraint.grammar is not None:
        return {"grammar": constraint.grammar}
    if constraint.json_schema is not None:
        named = {"name": "answer", "strict": True, "schema": _portable(constraint.json_schema)}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {}


def _portable(schema: Any) -> Any:
    """Return a schema without the keywords that some providers refuse in strict mode."""
    if isinstance(schema, dict):
        return {
            key: _portable(value) for key, value in schema.items() if key not in {"maxLength", "minimum", "maximum"}
        }
    return schema
