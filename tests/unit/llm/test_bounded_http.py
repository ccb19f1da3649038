"""What a request is sent with and by which way, and what becomes of a packed answer; a real server on loopback."""

from __future__ import annotations

import asyncio
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from genpool.config import ModelEntry
from genpool.errors import CallFailed, ModelUnavailable
from genpool.llm.bounded_http import Answer, Broken, Carrier, without_credentials
from genpool.llm.client import Request
from genpool.llm.openai_compatible import OpenAICompatible
from genpool.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server(ThreadingHTTPServer):
    """Answers with what it was told; remembers what it was asked."""

    body = b"{}"
    coding: str | None = None
    asked: tuple[str, dict[str, str], int] = ("", {}, 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked = self.path, {name.lower(): value for name, value in self.headers.items()}, length
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.send_header("Set-Cookie", "seen=1")
        if self.server.coding is not None:
            self.send_header("Content-Encoding", self.server.coding)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def post(url: str, data: bytes = b"{}", times: int = 1) -> Answer:
    async def posted() -> Answer:
        carrier = Carrier(url, {"Authorization": "Bearer k"}, 1, 5.0)
        try:
            return [await carrier.post(data) for _ in range(times)][-1]
        finally:
            await carrier.aclose()

    return asyncio.run(posted())


def test_a_request_says_what_it_is_and_nothing_of_earlier_ones(server: Server) -> None:
    post(f"{server.url}/v1/x", times=2)
    path, headers, _ = server.asked
    assert path == "/v1/x"
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert headers["authorization"] == "Bearer k"
    assert "cookie" not in headers


def test_a_long_request_is_sent_whole(server: Server) -> None:
    post(server.url, b"x" * 3_000_000)
    assert server.asked[2] == 3_000_000


def test_a_proxy_that_the_environment_names_is_asked_in_its_place(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url.replace("//", "//me:p%40ss@"))
    assert post("http://model.invalid/v1").status == 200
    path, headers, _ = server.asked
    assert path == "http://model.invalid/v1"
    assert headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
    monkeypatch.setenv("no_proxy", "model.invalid")
    with pytest.raises(Broken):
        post("http://model.invalid/v1")


@pytest.mark.parametrize(
    ("coding", "wbits"), [("deflate", zlib.MAX_WBITS), ("deflate", -zlib.MAX_WBITS), ("GZip", 16 + zlib.MAX_WBITS)]
)
def test_a_packed_answer_is_unpacked_in_every_form_that_servers_use(server: Server, coding: str, wbits: int) -> None:
    packed = zlib.compressobj(wbits=wbits)
    server.body, server.coding = packed.compress(b'{"a": 1}') + packed.flush(), coding
    assert post(server.url).body == b'{"a": 1}'


@pytest.mark.parametrize(
    ("url", "where", "shown"),
    [
        ("https://h.example/v1", "https://h.example/v1", None),
        ("https://me:p%40ss@h.example:8/v1?a=b", "https://h.example:8/v1?a=b", "Basic bWU6cEBzcw=="),
        ("https://token@h.example/v1", "https://h.example/v1", "Basic dG9rZW46"),
    ],
)
def test_user_and_password_of_an_address_become_a_header(url: str, where: str, shown: str | None) -> None:
    assert without_credentials(url) == (where, shown)


@pytest.mark.parametrize("url", ["not a url", "ftp://h.example/v1", "http://", "http://[::1/v1", "http://h:99999/v1"])
def test_an_address_that_is_none_is_told_when_the_client_is_made(url: str) -> None:
    with pytest.raises(ModelUnavailable, match="`base_url` is no address") as error:
        OpenAICompatible(ModelEntry("m", "openai", "m", base_url=url), "k")
    assert error.value.hint == "it looks like https://host/v1"


def test_the_path_is_put_behind_that_of_the_base_url(server: Server) -> None:

    async def ask(url: str) -> None:
        client = OpenAICompatible(ModelEntry("m", "openai", "m", base_url=url), "k")
        with pytest.raises(CallFailed):
            await client.complete(Request(Prompt("Write."), {}, 7))
        await client.aclose()

    for url, path in (
        (server.url, "/chat/completions"),
        (f"{server.url}/api/v1/", "/api/v1/chat/completions"),
        (f"{server.url}/v1?version=2", "/v1/chat/completions?version=2"),
    ):
        asyncio.run(ask(url))
        assert server.asked[0] == path
