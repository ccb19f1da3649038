"""The client for OpenAI-compatible endpoints against a real local server that gives odd answers."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from genpool.config import ModelEntry
from genpool.errors import CallFailed, MissingKey, ModelError, ModelUnavailable
from genpool.llm.client import Completion, Request
from genpool.llm.openai_compatible import OpenAICompatible, find_key
from genpool.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-SECRET-0123456789-SECRET"


def answer(**changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "A text."}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return {**whole, **changes}


def choice(finish_reason: object = "stop", **message: Any) -> list[dict[str, Any]]:
    said = {"role": "assistant", "content": "A text.", **message}
    return [{"index": 0, "finish_reason": finish_reason, "message": said}]


class Server(ThreadingHTTPServer):
    """Answers every request with what it was told."""

    body: bytes = b""
    status = 200
    kind = "application/json"
    cut = False
    seen: list[dict[str, Any]]

    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Type", self.server.kind)
        extra = 5000 if self.server.cut else 0
        self.send_header("Content-Length", str(len(self.server.body) + extra))
        self.end_headers()
        self.wfile.write(self.server.body)
        if self.server.cut:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.seen = []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def ask(url: str, timeout: float = 60.0, prompt: str = "Write.", **request: Any) -> Completion:
    async def asked() -> Completion:
        client = OpenAICompatible(ModelEntry("m", "openai", "m", base_url=url, timeout=timeout), KEY)
        try:
            return await client.complete(Request(Prompt(prompt), {"temperature": 0.5}, 7, **request))
        finally:
            await client.aclose()

    return asyncio.run(asked())


def says(server: Server, value: object) -> Completion:
    server.body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return ask(server.url())


def fails(server: Server, value: object) -> ModelError:
    with pytest.raises(ModelError) as error:
        says(server, value)
    assert KEY not in str(error.value)
    return error.value


def test_an_answer_is_read_and_the_request_is_what_was_asked_for(server: Server) -> None:
    given = says(server, answer())
    assert (given.text, given.finish_reason, given.model_returned) == ("A text.", "stop", "m")
    assert (given.usage.input_tokens, given.usage.output_tokens) == (3, 4)
    assert server.seen == [
        {"messages": [{"role": "user", "content": "Write."}], "model": "m", "temperature": 0.5, "seed": 7}
    ]


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": "3", "completion_tokens": 4}, (None, 4)),
        ({"prompt_tokens": 2**60, "completion_tokens": -1}, (None, None)),
        ({"prompt_tokens": True, "completion_tokens": 1.5}, (None, None)),
        (None, (None, None)),
    ],
)
def test_odd_token_counts_are_none(server: Server, usage: object, counts: tuple[object, object]) -> None:
    given = says(server, answer(usage=usage))
    assert (given.usage.input_tokens, given.usage.output_tokens) == counts


def test_text_in_parts_is_joined(server: Server) -> None:
    parts = [{"type": "text", "text": "A "}, {"type": "text", "text": "text."}, {"type": "image"}, "x"]
    assert says(server, answer(choices=choice(content=parts))).text == "A text."


@pytest.mark.parametrize("finish", [None, {"a": 1}, 5, "length", "content_filter", "tool_calls"])
def test_what_did_not_end_by_itself_is_no_answer(server: Server, finish: object) -> None:
    assert says(server, answer(choices=choice(finish))).defect() is not None


def test_a_refusal_is_kept_in_its_words(server: Server) -> None:
    given = says(server, answer(choices=choice(content=None, refusal="I will not.")))
    assert given.text == "I will not."
    reason = given.defect()
    assert reason is not None
    assert reason.kind == "refused"


def test_half_a_character_in_a_name_or_text_can_be_kept(server: Server) -> None:
    server.body = json.dumps(answer(model="\ud800", choices=choice(content="x\ud800y"))).encode()
    given = ask(server.url())
    assert given.text.encode()
    assert (given.model_returned or "").encode()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>busy</html>",
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        json.dumps(answer(choices=[])).encode(),
        b'{"choices": 5}',
    ],
)
def test_what_is_not_an_answer_is_a_failed_call_that_may_have_been_paid_for(server: Server, body: bytes) -> None:
    error = fails(server, body)
    assert isinstance(error, CallFailed)
    assert error.sent


def test_html_with_status_200_is_a_failed_call(server: Server) -> None:
    server.kind = "text/html"
    assert isinstance(fails(server, b"<html>maintenance</html>"), CallFailed)


def test_a_body_that_is_cut_may_have_been_paid_for(server: Server) -> None:
    server.cut = True
    error = fails(server, answer())
    assert isinstance(error, CallFailed)
    assert (error.transient, error.sent) == (True, True)


NEVER, LATER, LATER_AND_PAID = (False, False), (True, False), (True, True)


@pytest.mark.parametrize(
    ("status", "transient_and_sent"),
    [(400, NEVER), (403, NEVER), (409, LATER), (422, NEVER), (429, LATER)]
    + [(status, LATER_AND_PAID) for status in (408, 500, 502, 503)],
)
def test_a_status_says_whether_to_try_again_and_whether_it_may_cost(
    server: Server, status: int, transient_and_sent: tuple[bool, bool]
) -> None:
    server.status = status
    error = fails(server, {"error": {"message": "no"}})
    assert isinstance(error, CallFailed)
    assert (error.transient, error.sent) == transient_and_sent


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_model_makes_the_model_unavailable(server: Server, status: int) -> None:
    server.status = status
    assert isinstance(fails(server, {"error": {"message": "no"}}), ModelUnavailable)


@pytest.mark.parametrize("before", range(260, 300, 4))
def test_no_part_of_a_key_that_a_server_echoes_gets_into_a_message(server: Server, before: int) -> None:
    server.status = 400
    said = str(fails(server, {"error": {"message": "x" * before + KEY}}))
    assert not any(KEY[:length] in said for length in range(6, len(KEY)))


def test_one_call_is_one_request_whatever_happens(server: Server) -> None:
    server.status = 500
    fails(server, {"error": {"message": "no"}})
    assert len(server.seen) == 1


def test_a_connection_that_is_refused_was_not_sent(server: Server) -> None:
    server.shutdown()
    with pytest.raises(CallFailed, match="reached from here") as error:
        _raise_hint(lambda: ask("http://127.0.0.1:9/v1"))
    assert not error.value.sent


def _raise_hint(call: Any) -> None:
    """Raise a failed call's error with its hint in the message."""
    try:
        call()
    except CallFailed as error:
        error.args = (f"{error.message} {error.hint}",)
        raise


def test_a_url_that_is_none_makes_the_model_unavailable() -> None:
    with pytest.raises(ModelError):
        ask("not a url")


def test_a_request_that_cannot_be_made_is_never_sent(server: Server) -> None:
    with pytest.raises(CallFailed, match="cannot be made") as error:
        ask(server.url(), prompt="half a character: \ud800")
    assert (error.value.transient, error.value.sent) == (False, False)
    assert server.seen == []


def test_an_error_with_status_200_counts_by_its_code(server: Server) -> None:
    error = fails(server, {"error": {"code": 400, "message": "no"}})
    assert isinstance(error, CallFailed)
    assert (error.transient, error.sent) == (False, True)
    assert isinstance(fails(server, {"error": {"code": 402, "message": "no credit"}}), ModelUnavailable)
    error = fails(server, {"error": "busy"})
    assert isinstance(error, CallFailed)
    assert error.transient


# --- keys -----------------------------------------------------------------------------------------

ENTRY = ModelEntry("m", "openai", "m", key="GENPOOL_TEST_KEY_X")


def test_the_environment_comes_before_the_pools_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("GENPOOL_TEST_KEY_X=from-file\n")
    monkeypatch.delenv("GENPOOL_TEST_KEY_X", raising=False)
    assert find_key(ENTRY, tmp_path) == "from-file"
    monkeypatch.setenv("GENPOOL_TEST_KEY_X", "from-environment")
    assert find_key(ENTRY, tmp_path) == "from-environment"


def test_space_around_a_key_is_not_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPOOL_TEST_KEY_X", " from-environment\r\n")
    assert find_key(ENTRY, tmp_path) == "from-environment"


@pytest.mark.parametrize("key", ["sk-SECRET-\n-SECRET", "sk-SECRET-\u2019"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ModelUnavailable, match="characters that no key") as error:
        OpenAICompatible(ENTRY, key)
    assert "SECRET" not in f"{error.value} {error.value.hint}"


def test_a_model_without_a_key_needs_none(tmp_path: Path) -> None:
    assert find_key(ModelEntry("m", "openai", "m"), tmp_path) is None


def test_an_env_file_that_is_not_text_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENPOOL_TEST_KEY_X", raising=False)
    (tmp_path / ".env").write_bytes(b"GENPOOL_TEST_KEY_X=\xff\xfe")
    with pytest.raises(MissingKey, match=r"\.env"):
        find_key(ENTRY, tmp_path)
