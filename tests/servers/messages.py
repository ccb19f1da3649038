"""What a server's messages are made of: answers, heads, and bodies of any size."""

from __future__ import annotations

import json
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.servers.serving import Call

END = "THE END."
HUGE = 400 * 2**20
"""Bytes of the bodies that are too large."""


def text_of(body: dict[str, Any]) -> str:
    """Return an answer's text: what the request's schema asks for, or some sentences with an end mark."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    properties = schema.get("properties")
    if properties:
        score = properties["score"]
        return json.dumps({"reason": "a reason", "score": (score.get("enum") or [score.get("minimum", 0)])[0]})
    words = " ".join(str(message.get("content")) for message in body.get("messages", [])).split()[-12:]
    return f"Served for {' '.join(words)}. " + "A sentence of some length follows. " * 20 + END


def answer_of(call: Call, choice: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return an answer as an object, changed as it is asked for."""
    message = {"role": "assistant", "content": text_of(call.body)}
    choices = [{"index": 0, "finish_reason": "stop", "message": message, **(choice or {})}]
    usage = {"prompt_tokens": 11, "completion_tokens": 13, "total_tokens": 24}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": choices, "usage": usage}
    return {**whole, **changes}


def bytes_of(call: Call, **changes: Any) -> bytes:
    return json.dumps(answer_of(call, **changes)).encode()


def head(status: int = 200, reason: str = "", kind: str | None = "application/json", **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status} {reason or 'Whatever'}"]
    lines += [f"Content-Type: {kind}"] if kind else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def whole(call: Call, body: bytes, status: int = 200, kind: str | None = "application/json", **more: Any) -> None:
    """Send a whole message and leave the connection as it is."""
    call.keep = True
    await call.send(head(status, kind=kind, Content_Length=len(body), **more) + body)


async def refuse(call: Call, status: int, message: str = "no", code: str | None = None, **headers: object) -> None:
    body = {"error": {"message": message, "type": "some_error", "code": code}}
    await whole(call, json.dumps(body).encode(), status, **headers)


def gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return packer.compress(data) + packer.flush()


@cache
def bomb() -> bytes:
    """Return some 400 kB that unpack to `HUGE` bytes."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    piece = b" " * 2**20
    return b"".join(packer.compress(piece) for _ in range(HUGE // len(piece))) + packer.flush()


async def send_huge(call: Call) -> None:
    """Send `HUGE` bytes of a body."""
    piece = b"x" * 2**18
    for _ in range(HUGE // len(piece)):
        await call.send(piece)
