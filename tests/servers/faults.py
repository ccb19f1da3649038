"""What can go wrong at a provider, each by name: what the server does, and what a client is to make of it."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.servers.messages import (
    HUGE,
    answer_of,
    bomb,
    bytes_of,
    gzipped,
    head,
    refuse,
    send_huge,
    text_of,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.servers.serving import Call

WIDE = 15 * 2**20
"""Bytes of a body that is not too large, and becomes many objects."""

KINDS = {
    "answer": "an answer, whole and acceptable",
    "attempt": "an answer, whole but not acceptable: kept with its reason",
    "paid": "try again; nobody knows whether it was paid for",
    "later": "try again; it was not paid for",
    "spent": "the same call would end the same; it may have been paid for",
    "late": "nothing whole within the deadline: try again; nobody knows whether it was paid for",
    "never": "the same call can never succeed",
    "unavailable": "no call to this model can succeed",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to answer."""

    name: str
    kind: str
    """What a client is to make of it: one of `KINDS`."""
    act: Callable[[Call], Awaitable[None]]
    retry_after: float | None = None
    """Seconds that the client is to have read from Retry-After."""


FAULTS: dict[str, Fault] = {}


def fault(kind: str, name: str = "", retry_after: float | None = None) -> Callable[[Any], Any]:
    """Register what a function does under its name."""

    def registered(act: Callable[[Call], Awaitable[None]]) -> Callable[[Call], Awaitable[None]]:
        assert kind in KINDS
        called = name or act.__name__
        assert called not in FAULTS, called
        FAULTS[called] = Fault(called, kind, act, retry_after)
        return act

    return registered


# --- answers that are answers, however odd ----------------------------------------------------------


@fault("answer")
async def answer(call: Call) -> None:
    await whole(call, bytes_of(call))


@fault("answer")
async def slow_first_byte(call: Call) -> None:
    await asyncio.sleep(0.2)
    await whole(call, bytes_of(call))


@fault("answer")
async def after_50_ms(call: Call) -> None:
    await asyncio.sleep(0.05)
    await whole(call, bytes_of(call))


@fault("answer")
async def after_2_s(call: Call) -> None:
    await asyncio.sleep(2)
    await whole(call, bytes_of(call))


@fault("answer")
async def short_drip(call: Call) -> None:
    body = bytes_of(call)
    await call.drip(head(Content_Length=len(body)) + body, 0.005, size=100)


@fault("answer")
async def chunked(call: Call) -> None:
    body = bytes_of(call)
    pieces = [body[start : start + 97] for start in range(0, len(body), 97)]
    await call.send(head(Transfer_Encoding="chunked"))
    await call.send(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n")


@fault("answer")
async def without_length(call: Call) -> None:
    await call.send(head(Connection="close") + bytes_of(call))


@fault("answer")
async def compressed(call: Call) -> None:
    await whole(call, gzipped(bytes_of(call)), Content_Encoding="gzip")


@fault("answer")
async def wrong_content_type(call: Call) -> None:
    await whole(call, bytes_of(call), kind="text/html; charset=latin-1")


@fault("answer")
async def no_content_type(call: Call) -> None:
    await whole(call, bytes_of(call), kind=None)


@fault("answer")
async def early_hints_first(call: Call) -> None:
    await call.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    await whole(call, bytes_of(call))


@fault("answer")
async def spaces_before(call: Call) -> None:
    await whole(call, b"\n " * 5000 + bytes_of(call))  # OpenRouter's way of keeping a connection busy


@fault("answer")
async def missing_usage(call: Call) -> None:
    await whole(call, json.dumps({key: value for key, value in answer_of(call).items() if key != "usage"}).encode())


@fault("answer")
async def absurd_usage(call: Call) -> None:
    usage = {"prompt_tokens": -5, "completion_tokens": 10**30, "total_tokens": "many", "cost": "NaN"}
    await whole(call, bytes_of(call, usage=usage))


@fault("answer")
async def usage_is_a_list(call: Call) -> None:
    await whole(call, bytes_of(call, usage=[1, 2]))


@fault("answer")
async def closed_afterwards(call: Call) -> None:
    await whole(call, bytes_of(call))  # says that the connection lives, and ends it
    call.keep = False


# --- whole, but not acceptable ----------------------------------------------------------------------


def _finish(name: str, choice: dict[str, Any]) -> None:
    async def act(call: Call) -> None:
        await whole(call, bytes_of(call, choice=choice))

    fault("attempt", name)(act)


def _said(content: object, **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **more}}


_finish("finish_null", {"finish_reason": None})
_finish("finish_length", {"finish_reason": "length", **_said("cut in the mid")})
_finish("finish_content_filter", {"finish_reason": "content_filter", **_said("")})
_finish("finish_error", {"finish_reason": "error", "error": {"code": 502, "message": "upstream"}, **_said("half an")})
_finish("finish_is_a_list", {"finish_reason": ["stop"]})
_finish("tool_calls", {"finish_reason": "tool_calls", **_said(None, tool_calls=[{"id": "1"}])})
_finish("empty_text", _said(" \n"))
_finish("text_is_a_number", _said(17))
_finish("refusal", _said(None, refusal="I will not."))


@fault("attempt")
async def finish_missing(call: Call) -> None:
    said = answer_of(call)
    del said["choices"][0]["finish_reason"]
    await whole(call, json.dumps(said).encode())


# --- statuses ---------------------------------------------------------------------------------------


def _status(name: str, kind: str, status: int, retry_after: float | None = None, **more: Any) -> None:
    async def act(call: Call) -> None:
        await refuse(call, status, **more)

    fault(kind, name, retry_after)(act)


_status("busy", "later", 429)
_status("busy_seconds", "later", 429, 2.0, Retry_After="2")
_status("busy_negative", "later", 429, 0.0, Retry_After="-30")
_status("busy_absurd", "later", 429, 1e9, Retry_After="1000000000")
_status("busy_garbage", "later", 429, None, Retry_After="when it suits")
_status("busy_nan", "later", 429, None, Retry_After="nan")
_status("timeout_408", "later", 408)
_status("conflict_409", "later", 409)
_status("too_early_425", "later", 425)
_status("error_500", "paid", 500)
_status("error_502", "paid", 502)
_status("error_503_seconds", "paid", 503, 7.0, Retry_After="7")
_status("error_504", "paid", 504)
_status("overloaded_529", "paid", 529)
_status("bad_request_400", "never", 400)
_status("content_filter_400", "never", 400, code="content_filter")
_status("forbidden_403", "never", 403)
_status("too_large_413", "never", 413)
_status("unprocessable_422", "never", 422)
_status("unauthorized_401", "unavailable", 401)
_status("payment_402", "unavailable", 402)
_status("not_found_404", "unavailable", 404)
_status("insufficient_quota_429", "unavailable", 429, code="insufficient_quota")
_status("hostile_message", "never", 400, message="\x1b[2J\x1b]0;owned\x07 \ud800 \u202e " + "x" * 1000)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _date(name: str, later: timedelta, seconds: float) -> None:
    asked = {"Date": format_datetime(NOON, usegmt=True), "Retry_After": format_datetime(NOON + later, usegmt=True)}
    _status(name, "later", 429, seconds, **asked)


_date("busy_date", timedelta(seconds=20), 20.0)
_date("busy_date_past", timedelta(days=-300), 0.0)
_date("busy_date_far", timedelta(days=365_000), 365_000 * 86400.0)


@fault("paid")
async def html_503(call: Call) -> None:
    await whole(call, b"<html><h1>Bad gateway</h1>" + b"<br>" * 2000 + b"</html>", 503, kind="text/html")


@fault("never")
async def huge_400(call: Call) -> None:
    await call.send(head(400, kind="text/plain", Content_Length=HUGE))
    await send_huge(call)


@fault("never")
async def stalled_400(call: Call) -> None:
    await call.send(head(400, Content_Length=5000) + b'{"error": {"message": "no')
    await call.stall()


@fault("later")
async def reset_in_429(call: Call) -> None:
    await call.send(head(429, Content_Length=5000) + b'{"error": {"message": "no')
    await asyncio.sleep(0.05)
    call.reset()


def _redirect(status: int) -> None:
    async def act(call: Call) -> None:
        await call.send(head(status, Location=call.elsewhere, Content_Length=0))

    fault("unavailable", f"redirect_{status}")(act)


for _code in (301, 302, 303, 307, 308):
    _redirect(_code)


@fault("unavailable")
async def redirect_to_itself(call: Call) -> None:
    await whole(call, b"", 307, Location="/redirect_to_itself/v1/chat/completions")


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
_instead("error_with_200", b'{"error": {"code": 502, "message": "the provider behind us failed"}}')
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


# --- keys that are echoed ---------------------------------------------------------------------------


@fault("never")
async def key_in_message(call: Call) -> None:
    await refuse(call, 400, f"the key {call.key} is not liked; {quote(call.key, safe='')}; Bearer {call.key}")


@fault("never")
async def key_in_message_cut(call: Call) -> None:
    await refuse(call, 400, f"you sent Authorization: Bearer {call.key[:-3]}")


@fault("never")
async def key_in_message_as_base64(call: Call) -> None:
    forms = [base64.b64encode(b"x" * shift + call.key.encode()).decode() for shift in range(3)]
    await refuse(call, 400, " ".join(forms))


@fault("paid")
async def key_in_body(call: Call) -> None:
    await whole(call, f"<html>{call.headers}</html>".encode(), kind="text/html")


@fault("unavailable")
async def key_in_headers(call: Call) -> None:
    await call.send(
        head(
            401,
            f"No {call.key}",
            WWW_Authenticate=f'Bearer realm="{call.key}"',
            X_Request_Id=call.key,
            Content_Length=0,
        )
    )


@fault("unavailable")
async def key_in_location(call: Call) -> None:
    await call.send(head(302, Location=f"http://{call.key}.example/?key={call.key}", Content_Length=0))


@fault("paid")
async def key_in_a_wrong_status_line(call: Call) -> None:
    await call.send(f"{call.key} HTTP/1.1 {call.key}\r\nContent-Length: {call.key}\r\n\r\n".encode())


@fault("paid")
async def key_in_error_with_200(call: Call) -> None:
    await whole(call, json.dumps({"error": {"message": call.key, "code": call.key}}).encode())


@fault("answer")
async def key_in_answer(call: Call) -> None:
    said = {"message": {"content": f"{text_of(call.body)} {call.key}"}}
    await whole(call, bytes_of(call, choice=said, model=call.key))
