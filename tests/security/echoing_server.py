"""A provider that misbehaves and says back, in every form, what it was sent: keys above all."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = "The-model-wrote-this-7731."
"""What every answer has in it, to be looked for."""


def completion(text: str, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
        **more,
    }


def echoes(secret: str) -> str:
    """Return a secret in every form that a server might write it in."""
    forms = [secret, quote(secret, safe=""), quote(secret), json.dumps(secret), json.dumps(secret).replace("/", "\\/")]
    for before in ("", "a", "ab", "user:"):
        forms.append(base64.b64encode(f"{before}{secret}after".encode()).decode())
        forms.append(base64.urlsafe_b64encode(f"{before}{secret}".encode()).decode())
    return " ".join([*forms, f"https://user:{quote(secret, safe='')}@host/?key={quote(secret, safe='')}"])


class Server(ThreadingHTTPServer):
    """Fails in the way that the path names; asked again, it refuses the key, so that nobody retries for long."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: whoever is gone is gone on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        way = self.path.split("/")[1]
        self.server.asked[self.path] += 1
        if self.server.asked[self.path] > 1 and not way.startswith("answer"):
            way = "401"
        getattr(self, f"way_{way.replace('-', '_')}")()

    @property
    def secrets(self) -> list[str]:
        """What the request has that must not be told: the header, the token in it, what basic authorization hides."""
        header = self.headers.get("Authorization", "")
        token = header.partition(" ")[2]
        found = [header, token]
        if header.startswith("Basic "):
            with suppress(ValueError):
                user, _, password = base64.b64decode(token).decode().partition(":")
                found += [user, password]
        return [one for one in found if one]

    @property
    def said(self) -> str:
        return " ".join(echoes(one) for one in self.secrets)

    def way_answer(self) -> None:
        self._json(200, completion(ANSWER))

    def way_answer_with_key(self) -> None:
        self._json(200, completion(f"{ANSWER} {self.said}", model=f"m {self.said}", system_fingerprint=self.said))

    def way_answer_in_parts(self) -> None:
        whole = completion("")
        whole["choices"][0]["message"]["content"] = [{"type": "text", "text": f"{ANSWER} {self.said}"}]
        self._json(200, whole)

    def way_answer_refused(self) -> None:
        whole = completion("")
        whole["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": f"{ANSWER} {self.said}"}
        self._json(200, whole)

    def way_answer_ends_oddly(self) -> None:
        whole = completion(ANSWER)
        whole["choices"][0]["finish_reason"] = f"because of {self.said}"
        self._json(200, whole)

    def way_401(self) -> None:
        self._json(401, {"error": {"message": f"Incorrect API key provided: {self.said}", "code": self.said}})

    def way_429(self) -> None:
        self._json(429, {"error": {"message": f"slow down, {self.said}", "type": self.said}}, {"Retry-After": "0"})

    def way_500(self) -> None:
        self._json(500, {"error": {"message": self.said, "headers": dict(self.headers)}})

    def way_500_text(self) -> None:
        self._send(500, f"{dict(self.headers)} {self.said}".encode(), "text/plain")

    def way_html(self) -> None:
        self._send(200, f"<html><title>{self.said}</title></html>".encode(), "text/html")

    def way_html_502(self) -> None:
        self._send(502, f"<html><h1>Bad gateway</h1>{self.said}</html>".encode(), "text/html")

    def way_cut(self) -> None:
        body = json.dumps(completion(f"{ANSWER} {self.said}")).encode()
        self._send(200, body[: len(body) - 40], "application/json")

    def way_cut_inside_key(self) -> None:
        body = json.dumps(completion(f"{ANSWER} {self.secrets[-1]}")).encode()
        at = body.index(self.secrets[-1].encode())
        self._send(200, body[: at + len(self.secrets[-1]) - 1], "application/json", length=len(body))

    def way_reset(self) -> None:
        self.wfile.write(f"HTTP/1.1 200 OK\r\nX-Echo: {self.said}\r\n".encode())
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def way_nonsense(self) -> None:
        self.wfile.write(f"NOT HTTP {self.said}\r\n\r\n".encode())
        self.close_connection = True

    def way_silent(self) -> None:
        threading.Event().wait(3)

    def way_odd_shape(self) -> None:
        self._json(
            200, {"choices": [{"message": {"content": {"key": self.said}}, "finish_reason": 1}], "id": self.said}
        )

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), "application/json", headers=headers)

    def _send(
        self, status: int, body: bytes, kind: str, *, length: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status, f"Status of {self.secrets[-1] if self.secrets else 'nobody'}")
        said = {
            "Content-Type": kind,
            "Content-Length": str(length or len(body)),
            "X-Echo": self.said,
            **(headers or {}),
        }
        for name, value in {
            **said,
            "Set-Cookie": f"key={self.said}",
            "WWW-Authenticate": f"Bearer {self.said}",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if length:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


WAYS = sorted(name.removeprefix("way_").replace("_", "-") for name in vars(_Handler) if name.startswith("way_"))
"""Every way to misbehave, as the beginning of a path."""


@contextmanager
def serving() -> Iterator[Server]:
    """Give a server on loopback."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
