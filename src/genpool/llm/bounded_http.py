"""HTTP as a call to a model needs it: one request, no redirect followed, an answer of bounded size.

aiohttp carries the requests; with hundreds in flight it takes less processor time than the SDK and httpx do
(benchmarks/bench_calls.py). What it raises becomes `Broken`: nobody else has to know it. Address, headers, proxy and
certificates are looked at once, when a carrier is opened, and not for every request.

Promises: an answer's body is never more than `MOST` bytes in memory, unpacked; of an error's body only the beginning is
read, and a status that came is told even where its body never ends. Deadlines are the caller's matter.
"""

from __future__ import annotations

import asyncio
import io
import os
import platform
import ssl
import zlib
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST: Final = 16 * 2**20
"""Bytes of an answer's body, unpacked: several times what the longest text takes. The objects that JSON
is read into may take 30 times as much."""

_MOST_OF_ERROR: Final = 64 * 2**10
_SECONDS_FOR_ERROR: Final = 2.0
_SECONDS_TO_CONNECT: Final = 30.0
_SECONDS_IDLE: Final = 3.0  # shorter than servers keep an idle connection: one that is just being closed fails a call
_HEADERS: Final = ("content-type", "date", "location", "retry-after")  # others nobody reads
_HEADER: Final = 2**16  # bytes of a line of headers; gateways write longer ones than the usual 8 KiB
_AT_ONCE: Final = 2**20  # bytes of a request that are written in one go
_PACKED: Final = {
    "gzip": (16 + zlib.MAX_WBITS,),
    "x-gzip": (16 + zlib.MAX_WBITS,),
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),  # some servers leave the wrapping out
}
"""Content codings (RFC 9110, 8.4.1) and the forms that zlib knows them by."""
_CERTIFICATES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)
"""Where Linux distributions keep certificates, for a Python that was built for another one."""

_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
_HOPELESS: Final = (aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL, ssl.SSLCertVerificationError)


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


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Those that anybody reads, by name in lower case."""
    body: bytes
    """Unpacked; where the status is not success, the beginning."""

    @property
    def is_success(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300


class Carrier:
    """Carries requests to one address, each as JSON by POST.

    Args:
        url: The address, without user and password.
        headers: What every request is sent with.
        concurrency: How many may be in flight at once.
        seconds: The most that a connection may take; the whole request has a deadline elsewhere.

    Raises:
        ValueError: The address is none of HTTP.
    """

    def __init__(self, url: str, headers: Mapping[str, str], concurrency: int, seconds: float) -> None:
        self._url = URL(url)
        if self._url.scheme not in {"http", "https"} or not self._url.host:
            raise ValueError("no address of http: or https:")
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "content-type": "application/json",
            **headers,
        }
        self._proxy, self._to_proxy = _proxy_for(self._url)
        self._most = 2 * concurrency  # one that is being closed takes no place from the next
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=min(seconds, _SECONDS_TO_CONNECT))
        self._session: aiohttp.ClientSession | None = None

    async def post(self, data: bytes) -> Answer:
        """Send one request and read its answer.

        Raises:
            Broken: No whole answer came.
            TooLarge: The answer is too large.
        """
        session = self._session or self._open()
        try:
            async with session.post(
                self._url,
                data=data if len(data) < _AT_ONCE else io.BytesIO(data),
                headers=self._headers,  # of the session they would go to a proxy too, the key among them
                allow_redirects=False,  # a redirect would take key and prompt to another host
                proxy=self._proxy,
                proxy_headers=self._to_proxy,
            ) as response:
                is_success = 200 <= response.status < 300
                body = await (_whole(response) if is_success else _beginning(response))
                headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
                return Answer(response.status, headers, body)
        except (TooLarge, Broken):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it raises is told as what it means
            raise _broken(error) from None

    def _open(self) -> aiohttp.ClientSession:
        """Open the connections' pool; it belongs to the event loop that runs now."""
        tls = _certificates() if self._url.scheme == "https" else True
        connector = aiohttp.TCPConnector(limit=self._most, keepalive_timeout=_SECONDS_IDLE, ssl=tls)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            max_line_size=_HEADER,
            max_field_size=_HEADER,
        )
        return self._session

    async def aclose(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def basic(user: str, password: str) -> str:
    """Return the value of a header that gives user and password (RFC 7617)."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def _proxy_for(url: URL) -> tuple[str | None, dict[str, str] | None]:
    """Return the proxy that the environment names for an address, and what it wants to be told."""
    named = None if proxy_bypass(url.host or "") else getproxies().get(url.scheme, getproxies().get("all"))
    if not named:
        return None, None
    proxy = URL(named if "://" in named else f"http://{named}")
    # aiohttp makes Proxy-Authorization of it, for http: and for https: alike
    told = {"Authorization": basic(proxy.user, proxy.password or "")} if proxy.user else None
    return str(proxy.with_user(None)), told


def _certificates() -> ssl.SSLContext:
    """Return whom to believe: the system's certificates, or those that SSL_CERT_FILE and SSL_CERT_DIR name."""
    if platform.system() == "Darwin" and not os.environ.get("SSL_CERT_FILE"):
        import truststore  # the keychain, which OpenSSL does not read

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):
        found = next(filter(os.path.isfile, _CERTIFICATES), None)
        if found is not None:
            context.load_verify_locations(found)
    return context


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """Return a body, unpacked within bounds: a small one may unpack to any size."""
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > MOST:
            raise TooLarge
        pieces.append(piece)
    return _unpacked(b"".join(pieces), response.headers.get("content-encoding"))


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return what can be had of an error's body: its status is what counts."""
    body = b""
    try:
        async with asyncio.timeout(_SECONDS_FOR_ERROR):
            async for piece in response.content.iter_any():
                body += piece[: _MOST_OF_ERROR - len(body)]
                if len(body) == _MOST_OF_ERROR:
                    break
    except Exception:  # noqa: BLE001, S110 - cut, late or damaged: the status came
        pass
    try:
        return _unpacked(body, response.headers.get("content-encoding"))[:_MOST_OF_ERROR]
    except (Broken, TooLarge):
        return b""


def _unpacked(body: bytes, codings: str | None) -> bytes:
    """Return a body as it was before it was packed; a coding that nobody asked for is left as it is."""
    for coding in reversed((codings or "").split(",")):
        forms = _PACKED.get(coding.strip().lower(), ())
        if forms:
            body = _opened(body, forms)
    return body


def _opened(body: bytes, forms: tuple[int, ...]) -> bytes:
    for form in forms:
        packed = zlib.decompressobj(form)
        try:
            opened = packed.decompress(body, MOST + 1)
        except zlib.error:
            continue
        if len(opened) > MOST:
            raise TooLarge
        if packed.eof:
            return opened
    raise Broken("the answer is packed, and is cut off or damaged", sent=True)


def _broken(error: Exception) -> Broken:
    """Return what a carrier's error means."""
    chain = list(_chain(error))
    said = next((str(one) for one in chain if str(one)), "")
    return Broken(
        f"{type(error).__name__}: {said}" if said else type(error).__name__,
        sent=not isinstance(error, _NEVER_SENT),
        hopeless=any(isinstance(one, _HOPELESS) for one in chain),
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Iterate over an error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def without_credentials(url: str) -> tuple[str, str | None]:
    """Return an address without user and password, and the header's value that stands for them, if there are any."""
    parts = urlsplit(url)
    where = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.username is None and parts.password is None:
        return where, None
    return where, basic(unquote(parts.username or ""), unquote(parts.password or ""))
