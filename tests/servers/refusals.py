"""Refusals: statuses, redirects, errors told with status 200, and keys that are echoed."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.servers.messages import HUGE, bytes_of, head, refuse, send_huge, text_of, whole
from tests.servers.registry import fault

if TYPE_CHECKING:
    from tests.servers.serving import Call


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
_status("timeout_408", "paid", 408)
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


# --- errors that are told with status 200 -----------------------------------------------------------


def _told(name: str, kind: str, **error: Any) -> None:
    async def act(call: Call) -> None:
        await whole(call, json.dumps({"error": {"message": "no", **error}}).encode())

    fault(kind, f"{name}_with_200")(act)


_told("error", "paid", code=502, message="the provider behind us failed")
_told("nameless_error", "paid", code="E-4711")
_told("rate_limit", "paid", code="rate_limit_exceeded")
_told("overloaded", "paid", type="overloaded_error")
_told("bad_request", "spent", code="400")
_told("content_filter", "spent", code="content_filter")
_told("invalid_parameter", "spent", code="invalid_top_k", type="invalid_request_error")
_told("permission_denied", "spent", status="PERMISSION_DENIED")
_told("quota", "unavailable", code="insufficient_quota")
_told("quota_as_429", "unavailable", code=429, type="insufficient_quota")
_told("wrong_key", "unavailable", code="invalid_api_key", type="invalid_request_error")
_told("no_model", "unavailable", code="model_not_found")


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
