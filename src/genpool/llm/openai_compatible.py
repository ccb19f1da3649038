"""Any endpoint that speaks the OpenAI chat completions protocol. With `bounded_http`, the one way to the network.

Each call is one request; nothing is tried again here. Its deadline is the caller's matter (`calls`), whatever client is
asked. Answers are asked for whole, never as a stream. What went wrong is mapped to our errors in one place, and a key
never gets into a message, whatever a server echoes.

The protocol is one request and one answer in JSON, so the openai package is not needed for it: making a request with
that takes longer than all that a run does for a call besides.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson

from genpool import __version__
from genpool.errors import CallFailed, MissingKey, ModelError, ModelUnavailable
from genpool.llm.client import Completion, Request, clean_text
from genpool.llm.error_codes import NO_CREDIT, status_of
from genpool.llm.hiding import Hiding
from genpool.llm.retries import read_http_date, read_retry_after
from genpool.llm.unlogged import unlogged
from genpool.records import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.config import ModelEntry
    from genpool.llm.bounded_http import Answer, Broken

_OPENAI: Final = "https://api.openai.com/v1"
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

    Raises:
        ModelUnavailable: The base URL is not one, or no header can hold the key.
    """

    def __init__(self, entry: ModelEntry, key: str | None) -> None:
        from genpool.llm import bounded_http  # only when a model is asked

        self._entry = entry
        self._hide = Hiding(key, entry.base_url)
        self._http = bounded_http
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ModelUnavailable(
                f"model {entry.model_id!r}: the key has characters that no key can have",
                hint=f"look at the value of {entry.key}: a line break, or a character that is not ASCII?",
            )
        try:
            where, credentials = bounded_http.without_credentials(entry.base_url or _OPENAI)
            parts = urlsplit(where)
            self._provider, self._host = f"openai {parts.netloc}", parts.hostname
            headers = {
                "Authorization": credentials or f"Bearer {key or 'none'}",
                "User-Agent": f"genpool/{__version__}",
            }
            url = parts._replace(path=f"{parts.path.rstrip('/')}/chat/completions").geturl()
            self._carrier = bounded_http.Carrier(url, headers, entry.concurrency, entry.timeout)
        except ValueError as error:
            said = self._shown(f"model {entry.model_id!r}: `base_url` is no address: {error}")
            raise ModelUnavailable(said, hint="it looks like https://host/v1") from None

    @unlogged
    async def complete(self, request: Request) -> Completion:
        """See `ModelClient.complete`."""
        body = self._body(request)
        try:
            answer = await self._carrier.post(body)
        except self._http.TooLarge:
            most = self._http.MOST // 2**20
            too_large = f"{self._provider} answered with more than {most} MiB"
            raise CallFailed(too_large, transient=False, sent=True) from None
        except self._http.Broken as error:
            raise self._told_broken(error) from None
        if not answer.is_success:
            raise self._refused(answer)
        return self._completion(self._parsed(answer.body, answer.headers.get("content-type", "")))

    def _body(self, request: Request) -> bytes:
        asked: dict[str, Any] = {"messages": request.messages(), "model": self._entry.model}
        try:
            return orjson.dumps({**asked, **request.parameters, "seed": request.seed})
        except TypeError as error:  # half a character, or a number that is none
            said = self._shown(f"{self._provider}: the request cannot be made: {error}")
            raise CallFailed(said, transient=False, sent=False) from None

    @unlogged
    async def aclose(self) -> None:
        """See `ModelClient.aclose`."""
        await self._carrier.aclose()

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

    def _told_broken(self, error: Broken) -> ModelError:
        """Return one of our errors for a request that got no whole answer."""
        said = self._shown(f"{self._provider}: {error.message}")
        if error.hopeless:
            return ModelUnavailable(said, hint=self._look())
        hint = None if error.sent else f"can {self._host} be reached from here?"
        return CallFailed(said, transient=True, sent=error.sent, hint=hint)

    def _refused(self, answer: Answer) -> ModelError:
        """Return the error for a status that is not success.

        No call can succeed with a wrong key (401), without credit (402, or 429 with a code that says so), without the
        model (404), or where the endpoint is elsewhere (3xx). A 403 is this call's only: routers send it for a prompt.
        A 408 may have been paid for: a proxy says it too, of a request that the model behind it was at work on.
        """
        status, headers = answer.status, answer.headers
        facts = _error_in(answer.body)
        message = facts.get("message")
        told = f" - {message}" if message and isinstance(message, str) else ""
        said = self._shown(f"{self._provider}: Error code: {status}{told}")
        if 300 <= status < 400:
            where = urlsplit(headers.get("location", "")).netloc or "another address"
            hint = f"redirects are not followed; if {where} is right, make it the `base_url` in pool.yaml"
            return ModelUnavailable(said, hint=self._shown(hint))
        if status in _UNAVAILABLE or status_of(facts) == NO_CREDIT:
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


def _error_in(body: bytes) -> dict[str, object]:
    """Return the error that a body tells, at the top of it or under `error`; empty where it tells none in JSON."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    facts = told.get("error", told) if isinstance(told, dict) else None
    return facts if isinstance(facts, dict) else {}


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
