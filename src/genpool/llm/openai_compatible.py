"""Any endpoint that speaks the OpenAI chat completions protocol. The one module on the network.

The client's own retries are off: each call here is one request. Foreign errors are mapped to ours in
one place, and a key never gets into a message, whatever a server echoes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from genpool.errors import CallFailed, MissingKey, ModelError, ModelUnavailable
from genpool.llm.client import Completion, Request, clean_text
from genpool.llm.hiding import Hiding
from genpool.llm.unlogged import unlogged
from genpool.records import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.config import ModelEntry

_TRANSIENT: Final = {408, 409, 425, 429}
_UNAVAILABLE: Final = {401, 404}
_NEVER_SENT: Final = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError"}
_MOST: Final = 300  # characters of a foreign message
_TOO_MANY: Final = 2**53


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
        file = folder / ".env"
        try:
            value = dotenv_values(file).get(entry.key) if file.is_file() else None
        except (OSError, UnicodeDecodeError) as error:
            raise MissingKey(f"{file} cannot be read: {error}", hint="it must be text in UTF-8: NAME=value") from None
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
        self._hiding = Hiding(key, entry.base_url)
        self._openai = openai
        try:
            self._client = openai.AsyncOpenAI(
                api_key=key or "none", base_url=entry.base_url, max_retries=0, timeout=entry.timeout
            )
        except Exception as error:  # noqa: BLE001 - whatever it says of a URL that is none
            raise ModelUnavailable(self._hide(f"model {entry.model_id!r}: {error}")) from None
        host = urlsplit(str(self._client.base_url)).netloc.rpartition("@")[2]
        self._provider = f"openai {host}"

    @unlogged
    async def complete(self, request: Request) -> Completion:
        """See `ModelClient.complete`."""
        try:
            answer = await self._client.chat.completions.create(
                model=self._entry.model,
                messages=request.messages(),  # type: ignore[arg-type]  # plain dicts of the same shape
                extra_body={**request.parameters, "seed": request.seed},
            )
        except Exception as error:  # noqa: BLE001 - the boundary: everything foreign is mapped here
            raise self._mapped(error) from None
        try:
            return self._completion(answer)
        except Exception as error:
            if isinstance(error, CallFailed):
                raise
            said = self._hide(f"{self._provider} answered in a shape that is not read: {error}")
            raise CallFailed(_bearable(said), transient=True, sent=True) from None

    @unlogged
    async def aclose(self) -> None:
        """See `ModelClient.aclose`."""
        await self._client.close()

    def _completion(self, answer: Any) -> Completion:
        """Return an answer in our terms; what is not an answer is a failed call."""
        if not isinstance(answer, self._openai.types.chat.ChatCompletion):
            raise CallFailed(f"{self._provider} answered with something else than JSON", transient=True, sent=True)
        choices = answer.choices or []
        if not choices or choices[0].message is None:
            raise CallFailed(f"{self._provider} answered without a choice", transient=True, sent=True)
        message, usage = choices[0].message, answer.usage
        refusal = getattr(message, "refusal", None)
        return Completion(
            text=self._hiding.secret(_text_of(message.content or refusal)),
            finish_reason="refusal" if refusal and not message.content else self._word(choices[0].finish_reason),
            model_returned=self._word(answer.model),
            usage=Usage(_count(usage.prompt_tokens), _count(usage.completion_tokens)) if usage else Usage(),
            provider=self._provider,
        )

    def _mapped(self, error: Exception) -> ModelError:
        """Return one of our errors for one of theirs."""
        said = _bearable(self._hide(f"{self._provider}: {_words(error)}"))
        status = getattr(error, "status_code", None)
        if isinstance(error, self._openai.APITimeoutError):
            late = f"{self._provider}: no answer within {self._entry.timeout:g} s"
            return CallFailed(late, transient=True, sent=True)
        if isinstance(error, self._openai.APIConnectionError):
            refused = type(error.__cause__).__name__ in _NEVER_SENT
            where = self._client.base_url.host
            return CallFailed(said, transient=True, sent=not refused, hint=f"can {where} be reached from here?")
        if status in _UNAVAILABLE:
            hint = f"look at `key`, `model` and `base_url` of {self._entry.model_id!r} in pool.yaml"
            return ModelUnavailable(said, hint=hint)
        if isinstance(status, int):
            return CallFailed(said, transient=status in _TRANSIENT or status >= 500, sent=status >= 500)
        return CallFailed(said, transient=True, sent=True)

    def _hide(self, text: str) -> str:
        """Return a text without keys."""
        return self._hiding(text)

    def _word(self, value: object) -> str | None:
        return self._hide(clean_text(value)) if isinstance(value, str) else None


def _words(error: Exception) -> str:
    """Return what an error says, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    cause = error.__cause__
    if cause is not None and str(cause) and str(cause) not in text:
        text = f"{text} ({' '.join(str(cause).split())})"
    return text


def _bearable(text: str) -> str:
    """Return a text of bearable length; keys are hidden before, or a part of one could be left."""
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def _text_of(content: object) -> str:
    """Return an answer's text, also where it comes in parts."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else getattr(part, "text", None) for part in content]
        content = "".join(part for part in parts if isinstance(part, str))
    return clean_text(content) if isinstance(content, str) else ""


def _count(value: object) -> int | None:
    """Return a count of tokens, or None where the provider gave none that can be one."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _TOO_MANY:
        return None
    return value
