"""The server's side of `tests.servers.provider`: connections, counting, and what a fault may do with a connection."""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import socket
import struct
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from tests.servers.faults import FAULTS

BACKLOG = 4096
OVER = (ConnectionError, asyncio.IncompleteReadError, TimeoutError)


def task_of(messages: object) -> str:
    """Return what counts as one task: what the messages say."""
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:16]


@dataclass(slots=True)
class Book:
    """What was asked and answered."""

    requests: int = 0
    in_flight: int = 0
    most_at_once: int = 0
    elsewhere: int = 0
    times: list[float] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    bodies: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=100))

    def as_json(self) -> bytes:
        names = ("requests", "most_at_once", "elsewhere", "times", "asked", "answered", "faults")
        return json.dumps({**{name: getattr(self, name) for name in names}, "bodies": list(self.bodies)}).encode()


@dataclass(slots=True)
class Call:
    """One request, and the connection that a fault answers it on."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    headers: dict[str, str]
    body: dict[str, Any]
    elsewhere: str
    """Another host's URL, for redirects."""
    keep: bool = False
    """Whether the connection may carry another request."""

    @property
    def task(self) -> str:
        """Which task this is a request of."""
        return task_of(self.body.get("messages"))

    @property
    def key(self) -> str:
        """The key that came with the request."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, pause: float, size: int = 1) -> None:
        """Send bytes a few at a time."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await asyncio.sleep(pause)

    async def stall(self) -> None:
        """Say nothing more until the client goes away."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        """End the connection with an RST; what was sent and not yet received is lost."""
        peer: socket.socket = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    """Answers requests with the faults that their URLs name."""

    def __init__(self) -> None:
        self.book = Book()
        self.elsewhere = ""

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection to its end."""
        try:
            while await self._request(reader, writer):
                pass
        except OVER:
            pass
        finally:
            writer.close()

    async def other_host(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count a connection that should not have come, and answer what came with it."""
        self.book.elsewhere += 1
        try:
            await self._request(reader, writer)
        except OVER:
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether there may be another."""
        first = await reader.readexactly(1)
        if not first.isalpha():
            return False  # no HTTP: somebody's TLS
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if not path.endswith("/chat/completions"):
            await self._tell(method, writer)
            return True
        call = Call(reader, writer, headers, json.loads(body), self.elsewhere)
        await self._meet(call, path.split("/")[1].split(","))
        return call.keep

    async def _tell(self, method: str, writer: asyncio.StreamWriter) -> None:
        if method == "DELETE":
            self.book = Book(in_flight=self.book.in_flight)
        told = self.book.as_json()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
        await writer.drain()

    async def _meet(self, call: Call, plan: list[str]) -> None:
        """Let a request meet its fault, and keep the books."""
        book, task = self.book, call.task
        fault = FAULTS[plan[min(book.asked[task], len(plan) - 1)]]
        book.requests += 1
        book.in_flight += 1
        book.most_at_once = max(book.most_at_once, book.in_flight)
        book.times.append(time.monotonic())
        book.asked[task] += 1
        book.faults[fault.name] += 1
        book.bodies.append(call.body)
        try:
            await fault.act(call)
            book.answered[task] += fault.kind == "answer"
        finally:
            self.book.in_flight -= 1  # of the books that are kept now


async def serve() -> None:
    """Serve until standard input is closed."""
    made = Server()
    listening = await asyncio.start_server(made.connection, "127.0.0.1", 0, backlog=BACKLOG)
    other = await asyncio.start_server(made.other_host, "127.0.0.1", 0, backlog=BACKLOG)
    made.elsewhere = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}/answer/v1/chat/completions"
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Run the server as a program."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 16384)), hard))
    asyncio.run(serve())


if __name__ == "__main__":
    main()
