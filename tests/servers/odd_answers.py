"""Answers that are whole: acceptable ones, however odd, and some that are not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.servers.messages import answer_of, bytes_of, gzipped, head, whole
from tests.servers.registry import fault

if TYPE_CHECKING:
    from tests.servers.serving import Call


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
async def long_header(call: Call) -> None:
    await whole(call, bytes_of(call), X_Trace="t" * 40_000)


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
