"""HTTP as a call to a model needs it: one request, no redirect followed, an answer of bounded size.

Both of the SDK's carriers are here. aiohttp is what calls travel by: with hundreds in flight it takes less processor
time than httpx (benchmarks/bench_calls.py). What either raises becomes `Broken`: nobody else has to know them.

Promises: an answer's body is never more than `MOST` bytes in memory, unpacked; of an error's body only the beginning is
read, and a status that came is told even where its body never ends. Deadlines are the caller's matter.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx2
import openai

if TYPE_CHECKING:
    from collections.abc import Iterator

Response = httpx2.Response
"""An answer as it came."""

MOST: Final = 16 * 2**20
"""Bytes of an answer's body, unpacked: several times what the longest text takes. The objects that JSON
is read into may take 30 times as much."""

_MOST_OF_ERROR: Final = 64 * 2**10
_SECONDS_FOR_ERROR: Final = 2.0
_SECONDS_TO_CONNECT: Final = 30.0
_SECONDS_IDLE: Final = 3.0  # shorter than servers keep an idle connection: one that is just being closed fails a call
_HEADERS: Final = ("content-type", "date", "location", "retry-after")  # others nobody reads, and the SDK logs some

_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.InvalidURL,
    httpx2.LocalProtocolError,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
_HOPELESS: Final = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.InvalidURL,
    httpx2.InvalidURL,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
    ssl.SSLCertVerificationError,
)


class Broken(Exception):
    """No whole answer came.

    Args:
        message: What happened, in the carrier's words; may hold what the server sent.
        sent: Whether the request may have reached the server.
        hopeless: Whether every other request would end the same: the address or the certificate is wrong.
    """

    def __init__(self, message: str, *, sent: bool, hopeless: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.sent = sent
        self.hopeless = hopeless


class TooLarge(Exception):
    """An answer's body is larger than `MOST`."""


class _Bounded(httpx2.AsyncClient):
    """A client that sends one request, follows nothing and reads no more than it should."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request and read its answer.

        Raises:
            Broken: No whole answer came.
            TooLarge: The answer is too large.
        """
        if request.url.userinfo:  # aiohttp refuses these beside a header
            name, password = request.url.username, request.url.password
            request.headers["authorization"] = f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"
            request.url = request.url.copy_with(userinfo=b"")
        options.update(stream=True, follow_redirects=False)  # a redirect would take key and prompt to another host
        try:
            response = await super().send(request, **options)
            try:
                body = await (_whole(response) if response.is_success else _beginning(response))
            finally:
                await response.aclose()
        except TooLarge:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever a carrier raises is told as what it means
            raise _broken(error) from None
        headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
        return httpx2.Response(response.status_code, headers=headers, content=body, request=request)


class _ByAiohttp(_Bounded, openai.DefaultAioHttpClient):
    """Carried by aiohttp."""


class _ByHttpx(_Bounded, openai.DefaultAsyncHttpxClient):
    """Carried by httpx, the SDK's own choice."""


CARRIERS: Final = {"aiohttp": _ByAiohttp, "httpx": _ByHttpx}


def timeouts(seconds: float) -> httpx2.Timeout:
    """Return the carrier's own time limits: only for a connection; the whole call has a deadline elsewhere."""
    return httpx2.Timeout(None, connect=min(seconds, _SECONDS_TO_CONNECT))


def open_http(carrier: str, concurrency: int) -> httpx2.AsyncClient:
    """Return a client whose connections are enough for some calls at once.

    Args:
        carrier: One of `CARRIERS`.
        concurrency: How many calls may be in flight.
    """
    most = 2 * concurrency  # one that is being closed takes no place from the next
    limits = httpx2.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=_SECONDS_IDLE)
    return CARRIERS[carrier](limits=limits)


async def _whole(response: httpx2.Response) -> bytes:
    """Return a body, unpacked piece by piece: a small one may unpack to any size."""
    pieces, size = [], 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > MOST:
            raise TooLarge
        pieces.append(piece)
    return b"".join(pieces)


async def _beginning(response: httpx2.Response) -> bytes:
    """Return what can be had of an error's body: its status is what counts."""
    body = b""
    try:
        async with asyncio.timeout(_SECONDS_FOR_ERROR):
            async for piece in response.aiter_bytes():
                body += piece[: _MOST_OF_ERROR - len(body)]
                if len(body) == _MOST_OF_ERROR:
                    break
    except Exception:  # noqa: BLE001, S110 - cut, late or damaged: the status came
        pass
    return body


def _broken(error: Exception) -> Broken:
    """Return what a carrier's error means."""
    chain = list(_chain(error))
    # the SDK's adapter turns many an error of aiohttp into httpx's ConnectTimeout: aiohttp's own says what happened
    cause = next((one for one in chain if isinstance(one, aiohttp.ClientError)), error)
    said = str(cause) or next((str(one) for one in chain if str(one)), "")
    return Broken(
        f"{type(cause).__name__}: {said}" if said else type(cause).__name__,
        sent=not isinstance(cause, _NEVER_SENT),
        hopeless=any(isinstance(one, _HOPELESS) for one in chain),
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Iterate over an error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
