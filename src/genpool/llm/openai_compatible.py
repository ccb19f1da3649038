"""Any endpoint that speaks the OpenAI chat completions protocol. With `bounded_http`, the one way to the network.

The SDK's own retries are off: each call here is one request. Its deadline is the caller's matter (`calls`), whatever
client is asked. Answers are asked for whole, never as a stream. Foreign errors are mapped to ours in one place, and a
key never gets into a message, whatever a server echoes.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from genpool.errors import CallFailed, MissingKey, ModelError, ModelUnavailable
from genpool.llm.client import Completion, Request, clean_text
from genpool.llm.error_codes import NO_CREDIT, status_of
from genpool.llm.hiding import Hiding
from genpool.llm.retries import read_http_date, read_retry_after
from genpool.llm.unlogged import unlogged
from genpool.records import Usage

if TYPE_CHECKING:
    from pathlib import Path

    import openai

    from genpool.config import ModelEntry

_TRANSIENT: Final = {408, 409, 425, 429}
_UNAVAILABLE: Final = {401, 402, 404}
_TIMED_OUT: Final = 408
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
    in_environment = os.environ.get(entry.key, "").strip()  # a line break behind it is a copy's, not the key's
    if in_environment:
        return in_environment
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
        carrier: What requests travel by: `aiohttp`, or `httpx`, which is slower.

    Raises:
        ModelUnavailable: The base URL is not one, or no header can hold the key.
    """

    def __init__(self, entry: ModelEntry, key: str | None, carrier: str = "aiohttp") -> None:
        import openai  # half a second: only when a model is asked

        from genpool.llm import bounded_http

        self._entry = entry
        self._hide = Hiding(key, entry.base_url)
        self._openai = openai
        self._http = bounded_http
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ModelUnavailable(
                f"model {entry.model_id!r}: the key has characters that no key can have",
                hint=f"look at the value of {entry.key}: a line break, or a character that is not ASCII?",
            )
        try:
            self._client = openai.AsyncOpenAI(
                api_key=key or "none",
                base_url=entry.base_url,
                max_retries=0,
                timeout=bounded_http.timeouts(entry.timeout),
                http_client=bounded_http.open_http(carrier, entry.concurrency),
            )
        except Exception as error:  # noqa: BLE001 - whatever it says of a URL that is none
            raise ModelUnavailable(self._hide(f"model {entry.model_id!r}: {error}")) from None
        host = urlsplit(str(self._client.base_url)).netloc.rpartition("@")[2]
        self._provider = f"openai {host}"

    @unlogged
    async def complete(self, request: Request) -> Completion:
        """See `ModelClient.complete`."""
        try:
            answer = await self._client.post(  # as it is: `create` looks at every field, for a third of the time
                "/chat/completions", cast_to=self._http.Response, body=self._body(request)
            )
        except Exception as error:  # noqa: BLE001 - the boundary: everything foreign is mapped here
            raise self._mapped(error) from None
        return self._completion(self._parsed(answer.content, answer.headers.get("content-type", "")))

    def _body(self, request: Request) -> dict[str, Any]:
        asked: dict[str, Any] = {"messages": request.messages(), "model": self._entry.model}
        return {**asked, **request.parameters, "seed": request.seed}

    @unlogged
    async def aclose(self) -> None:
        """See `ModelClient.aclose`."""
        await self._client.close()

    # -- an answer ---------------------------------------------------------------------------------

    def _parsed(self, body: bytes, kind: str) -> dict[str, Any]:
        """Return an answer's object, whatever content type it claims: the text was paid for.

        What is no JSON was broken on the way (cut, or a gateway's page) and may come whole the next time. What is
        JSON of another shape would come again, and be paid for again.
        """
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            said = f"{self._provider} answered with something else than JSON: {self._described(body)}"
            stream = kind.startswith("text/event-stream")  # nobody asked for one: it would come again
            raise CallFailed(said, transient=not stream, sent=True) from None
        if not isinstance(answer, dict):
            raise CallFailed(f"{self._provider} answered with JSON that is no object", transient=False, sent=True)
        return answer

    def _described(self, body: bytes) -> str:
        """Return what came, in words: a page of a gateway says what is wrong; a text of a model belongs elsewhere."""
        start = body[:_MOST].decode("utf-8", "replace").strip()
        if start.startswith(("{", "[", "data:", "event:")):
            return f"{len(body):,} bytes that are cut off or damaged"
        return self._shown(start) or "nothing"

    def _completion(self, answer: dict[str, Any]) -> Completion:
        """Return an answer in our terms; what is not an answer is a failed call."""
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if choice is None and answer.get("error"):
            raise self._told(answer["error"])
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise CallFailed(f"{self._provider} answered without a choice", transient=False, sent=True)
        refusal, usage = message.get("refusal"), answer.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        return Completion(
            text=self._hide.secret(_text_of(message.get("content") or refusal)),
            finish_reason="refusal" if refusal and not message.get("content") else self._word(choice, "finish_reason"),
            model_returned=self._word(answer, "model"),
            usage=Usage(_count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))),
            provider=self._provider,
        )

    def _told(self, error: object) -> ModelError:
        """Return the error that a provider told with status 200, as routers do once they have begun to answer.

        It counts as the status that its code stands for; of one that nobody knows, as broken on the way.
        """
        facts = error if isinstance(error, dict) else {"message": error}
        status = status_of(facts)
        said = self._shown(
            f"{self._provider} answered with an error: {facts.get('message')} (code {facts.get('code')})"
        )
        if status in _UNAVAILABLE:
            return ModelUnavailable(said, hint=self._look())
        return CallFailed(said, transient=status is None or _is_transient(status), sent=True)

    def _word(self, table: dict[str, Any], name: str) -> str | None:
        value = table.get(name)
        return self._hide.secret(clean_text(value)) if isinstance(value, str) else None

    # -- no answer ---------------------------------------------------------------------------------

    def _mapped(self, error: Exception) -> ModelError:
        """Return one of our errors for one of theirs."""
        if isinstance(error, self._http.TooLarge):
            most = self._http.MOST // 2**20
            return CallFailed(f"{self._provider} answered with more than {most} MiB", transient=False, sent=True)
        if isinstance(error, self._http.Broken):
            said = self._shown(f"{self._provider}: {error.message}")
            if error.hopeless:
                return ModelUnavailable(said, hint=self._look())
            hint = None if error.sent else f"can {self._client.base_url.host} be reached from here?"
            return CallFailed(said, transient=True, sent=error.sent, hint=hint)
        if isinstance(error, self._openai.APIStatusError):
            return self._refused(error)
        said = self._shown(f"{self._provider}: the request cannot be made: {type(error).__name__}: {error}")
        return CallFailed(said, transient=False, sent=False)

    def _refused(self, error: openai.APIStatusError) -> ModelError:
        """Return the error for a status that is not success.

        No call can succeed with a wrong key (401), without credit (402, or 429 with a code that says so), without the
        model (404), or where the endpoint is elsewhere (3xx). A 403 is this call's only: routers send it for a prompt.
        A 408 may have been paid for: a proxy says it too, of a request that the model behind it was at work on.
        """
        status, headers = error.status_code, error.response.headers
        said = self._shown(f"{self._provider}: {error.message}")
        if 300 <= status < 400:
            where = urlsplit(headers.get("location", "")).netloc or "another address"
            hint = f"redirects are not followed; if {where} is right, make it the `base_url` in pool.yaml"
            return ModelUnavailable(said, hint=self._shown(hint))
        if status in _UNAVAILABLE or status_of({"code": error.code, "type": error.type}) == NO_CREDIT:
            return ModelUnavailable(said, hint=self._look())
        date = read_http_date(headers.get("date", ""))
        return CallFailed(
            said,
            transient=_is_transient(status),
            sent=status >= 500 or status == _TIMED_OUT,
            retry_after=read_retry_after(headers.get("retry-after"), date or datetime.now(UTC)),
        )

    def _look(self) -> str:
        return (
            f"look at `key`, `model` and `base_url` of {self._entry.model_id!r} in pool.yaml, and at your credit there"
        )

    def _shown(self, text: str) -> str:
        """Return a foreign text in one line that can be shown anywhere, without the key, of bearable length."""
        line = " ".join(self._hide(text).split())
        plain = "".join(character if character.isprintable() else "\ufffd" for character in line[:_MOST])
        return plain if len(line) <= _MOST else f"{plain}…"


def _is_transient(status: int) -> bool:
    """Return whether the same call may succeed later."""
    return status in _TRANSIENT or status >= 500


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
