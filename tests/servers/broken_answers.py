"""Answers that break on the way: cut, damaged, of another shape, endless, or never there."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.servers.messages import HUGE, bomb, bytes_of, gzipped, head, send_huge, text_of, whole
from tests.servers.registry import fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.serving import Call

WIDE = 15 * 2**20
"""Bytes of a body that is not too large, and becomes many objects."""


# --- connections that end early ---------------------------------------------------------------------


@fault("paid")
async def reset_before_answer(call: Call) -> None:
    call.reset()


@fault("paid")
async def reset_in_headers(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    await asyncio.sleep(0.05)
    call.reset()


@fault("paid")
async def reset_in_body(call: Call) -> None:
    body = bytes_of(call)
    await call.send(head(Content_Length=len(body)) + body[: len(body) // 2])
    await asyncio.sleep(0.05)
    call.reset()


@fault("paid")
async def closed_before_answer(call: Call) -> None:
    """Close without a byte."""


@fault("paid")
async def closed_in_headers(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\nContent-Type: app")


@fault("paid")
async def closed_in_body(call: Call) -> None:
    body = bytes_of(call)
    await call.send(head(Content_Length=len(body)) + body[: len(body) // 2])


@fault("paid")
async def closed_before_last_byte(call: Call) -> None:
    body = bytes_of(call)
    await call.send(head(Content_Length=len(body)) + body[:-1])


@fault("paid")
async def whole_but_longer_announced(call: Call) -> None:
    body = bytes_of(call)
    await call.send(head(Content_Length=len(body) + 10) + body)


@fault("paid")
async def chunked_without_end(call: Call) -> None:
    body = bytes_of(call)
    await call.send(head(Transfer_Encoding="chunked") + b"%x\r\n%b\r\n" % (len(body), body))


@fault("paid")
async def chunk_cut(call: Call) -> None:
    body = bytes_of(call)
    await call.send(head(Transfer_Encoding="chunked") + b"%x\r\n%b" % (len(body), body[:-50]))


@fault("paid")
async def cut_without_length(call: Call) -> None:
    await call.send(head(Connection="close") + bytes_of(call)[:-40])


# --- messages that are whole and no answer ----------------------------------------------------------


def _instead(name: str, body: bytes | Callable[[Call], bytes], kind: str = "application/json", **more: Any) -> None:
    _shaped("paid", name, body, kind, **more)


def _misshapen(name: str, body: bytes | Callable[[Call], bytes], kind: str = "application/json", **more: Any) -> None:
    _shaped("spent", name, body, kind, **more)


def _shaped(means: str, name: str, body: bytes | Callable[[Call], bytes], kind: str, **more: Any) -> None:
    async def act(call: Call) -> None:
        await whole(call, body if isinstance(body, bytes) else body(call), kind=kind, **more)

    fault(means, name)(act)


def _anthropic(call: Call) -> bytes:
    content = [{"type": "text", "text": text_of(call.body)}]
    return json.dumps({"type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"}).encode()


def _ollama(call: Call) -> bytes:
    said = {"role": "assistant", "content": text_of(call.body)}
    return json.dumps({"model": "m", "message": said, "done": True, "done_reason": "stop"}).encode()


def _sse(call: Call) -> bytes:
    delta = {"choices": [{"index": 0, "delta": {"content": text_of(call.body)}, "finish_reason": "stop"}]}
    return f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n".encode()


def _legacy(call: Call) -> bytes:
    return json.dumps({"choices": [{"text": text_of(call.body), "index": 0, "finish_reason": "stop"}]}).encode()


_instead("cut_json", lambda call: bytes_of(call)[:-40])
_instead("html_200", b"<!doctype html><title>Maintenance</title>", "text/html")
_instead("html_as_json", b"<!doctype html><title>Maintenance</title>")
_instead("empty_body", b"")
_misshapen("null", b"null")
_misshapen("wide_json", lambda _: b'{"choices": [' + b"[]," * (WIDE // 3) + b"{}]}")
_instead("not_utf8", b'{"choices": "\xff\xfe\xfa"}')
_instead("deep_json", b"[" * 500_000)
_instead("many_digits", b'{"choices": ' + b"9" * 50_000 + b"}")
_misshapen("empty_choices", lambda call: bytes_of(call, choices=[]))
_misshapen("choices_of_null", lambda call: bytes_of(call, choices=[None]))
_misshapen("no_choices", b'{"id": "1", "object": "chat.completion", "model": "m"}')
_misshapen("no_message", b'{"choices": [{"finish_reason": "stop"}]}')
_misshapen("choices_is_a_map", lambda call: bytes_of(call, choices={"0": {}}))
_misshapen("anthropic_protocol", _anthropic)
_misshapen("ollama_protocol", _ollama)
_misshapen("stream_unasked", _sse, "text/event-stream")
_misshapen("legacy_completion", _legacy)
_instead("gzip_garbage", b"this is no gzip", Content_Encoding="gzip")
_instead("gzip_cut", lambda call: gzipped(bytes_of(call))[:-30], Content_Encoding="gzip")
_instead("gzip_ten_times", lambda call: bytes_of(call), Content_Encoding=", ".join(["gzip"] * 10))
_misshapen("gzip_bomb", lambda _: bomb(), Content_Encoding="gzip")
_misshapen("gzip_bomb_twice", lambda _: gzipped(bomb()), Content_Encoding="gzip, gzip")
_instead("unknown_encoding", lambda call: gzipped(bytes_of(call)), Content_Encoding="zpaq")


@fault("paid")
async def length_too_small(call: Call) -> None:
    body = bytes_of(call)
    await call.send(head(Content_Length=len(body) - 40) + body)


@fault("paid")
async def no_content_204(call: Call) -> None:
    await call.send(head(204))


@fault("paid")
async def not_http(call: Call) -> None:
    await call.send(b"220 mail.example ESMTP ready\r\n" * 5)


@fault("paid")
async def endless_header(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 2**20 + b"\r\n\r\n{}")


@fault("paid")
async def many_headers(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(200_000)))


@fault("spent")
async def huge_body(call: Call) -> None:
    await call.send(head(Content_Length=HUGE) + b'{"choices": [{"message": {"content": "')
    await send_huge(call)


@fault("spent")
async def huge_body_without_length(call: Call) -> None:
    await call.send(head(Connection="close") + b'{"choices": [{"message": {"content": "')
    await send_huge(call)


# --- answers that do not come -----------------------------------------------------------------------


@fault("late")
async def stall_before_answer(call: Call) -> None:
    await call.stall()


@fault("late")
async def stall_after_headers(call: Call) -> None:
    await call.send(head(Content_Length=5000))
    await call.stall()


@fault("late")
async def stall_in_body(call: Call) -> None:
    body = bytes_of(call)
    await call.send(head(Content_Length=len(body)) + body[:-1])
    await call.stall()


@fault("late")
async def drip(call: Call) -> None:
    body = bytes_of(call)
    await call.drip(head(Content_Length=len(body)) + body, 0.05)


@fault("late")
async def drip_of_spaces(call: Call) -> None:
    await call.send(head(Connection="close"))
    await call.drip(b" " * 100_000, 0.02)


@fault("late")
async def drip_of_chunks(call: Call) -> None:
    await call.send(head(Transfer_Encoding="chunked"))
    await call.drip(b"1\r\n \r\n" * 100_000, 0.02, size=6)


@fault("late")
async def drip_of_hints(call: Call) -> None:
    one = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    await call.drip(one * 100_000, 0.02, size=len(one))
