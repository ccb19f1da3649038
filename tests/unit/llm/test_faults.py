"""A provider that misbehaves, and what the OpenAI-compatible client makes of it, fault by fault."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from genpool.calls import in_time
from genpool.config import ModelEntry
from genpool.errors import CallFailed, ModelError, ModelUnavailable
from genpool.llm.client import Completion, Request
from genpool.llm.openai_compatible import OpenAICompatible
from genpool.prompts import Prompt
from tests.bars import most
from tests.servers.faults import FAULTS, KINDS, Fault
from tests.servers.messages import END, HUGE
from tests.servers.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Statement

pytestmark = pytest.mark.bar(7)

KEY = "sk-test-KEY/0123456789+abcdefghijklmnopqrstuvwxyz"
KINDS_OF_FAILURE = {
    "paid": (True, True),
    "late": (True, True),
    "later": (True, False),
    "never": (False, False),
    "spent": (False, True),
}
"""What is transient, and what may have been paid for."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as started:
        yield started


def ask(url: str, timeout: float = 60.0) -> Completion | ModelError:
    """Return what a call comes to: an answer, or the error as a value."""

    async def asked() -> Completion | ModelError:
        entry = ModelEntry("m", "openai", "m", base_url=url, timeout=timeout)
        client = OpenAICompatible(entry, KEY)
        try:
            return await in_time(client.complete(Request(Prompt("Write."), {"temperature": 0.5}, 7)), entry)
        except ModelError as error:
            return error
        finally:
            await client.aclose()

    return asyncio.run(asked())


def kind_of(outcome: Completion | ModelError) -> str:
    """Return which of the kinds of faults an outcome is; `late` is told as `paid`."""
    if isinstance(outcome, Completion):
        return "answer" if outcome.defect() is None else "attempt"
    if isinstance(outcome, ModelUnavailable):
        return "unavailable"
    assert isinstance(outcome, CallFailed)
    facts = (outcome.transient, outcome.sent)
    return next(kind for kind, meant in KINDS_OF_FAILURE.items() if meant == facts)


def everything_told(outcome: Completion | ModelError) -> str:
    if isinstance(outcome, Completion):
        return repr(outcome)
    return f"{outcome.message} {outcome.hint} {outcome!r} {''.join(traceback.format_exception(outcome))}"


def forms_of(key: str) -> list[str]:
    """Return every form that a key may leak in: plain, in part, percent-encoded, base64 at any offset."""
    inside = [base64.b64encode(b"x" * shift + key.encode()).decode()[4:40] for shift in range(3)]
    return [key, key[:16], quote(key, safe=""), *inside]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_a_fault_is_told_as_what_it_is(
    provider: Provider, fault: Fault, caplog: pytest.LogCaptureFixture, proof: Statement
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.forget()
    outcome = ask(provider.url(fault.name), timeout=0.3 if fault.kind == "late" else 60.0)
    kind = "paid" if fault.kind == "late" else fault.kind
    seen = provider.seen()
    well = (kind_of(outcome), seen.requests, seen.elsewhere) == (kind, 1, 0)
    proof(faults=fault.name, mistold=not well)
    assert kind_of(outcome) == kind, everything_told(outcome)
    assert (seen.requests, seen.elsewhere) == (1, 0)  # one call is one request, and none to another host
    if isinstance(outcome, CallFailed):
        assert outcome.retry_after == fault.retry_after
    if fault.kind == "answer":
        assert isinstance(outcome, Completion)
        assert END in outcome.text
    told = everything_told(outcome) + caplog.text
    assert not any(form in told for form in forms_of(KEY))
    assert isinstance(outcome, Completion) or outcome.message.isprintable()


def test_every_kind_of_fault_is_there() -> None:
    assert {fault.kind for fault in FAULTS.values()} == set(KINDS)
    assert len(FAULTS) > 100


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS.values() if fault.kind == "late"])
def test_the_deadline_is_for_the_whole_call_and_says_so(
    provider: Provider, fault: str, full: bool, proof: Statement
) -> None:
    """In full, the bar is 10% of a second, alone and with 63 others; else only that it ends long before the answer."""
    timeout, calls = (1.0, 64) if full else (0.3, 1)
    taken = [*asyncio.run(late(provider.url(fault), timeout, 1))]
    taken += asyncio.run(late(provider.url(fault), timeout, calls)) if full else []
    late_by = 100 * (max(taken) / timeout - 1)
    proof(late=late_by)
    assert min(taken) >= timeout
    if full:
        assert late_by <= most(7, "late")
    assert max(taken) < 30  # whole, the slowest would come after minutes
    print(f"{fault}: {timeout:g} s became {max(taken):.3f} s at the most in {len(taken)} calls")


async def late(url: str, seconds: float, calls: int) -> list[float]:
    """Return how long some calls at once took to be given up."""
    entry = ModelEntry("m", "openai", "m", base_url=url, timeout=seconds, concurrency=calls)
    client = OpenAICompatible(entry, KEY)

    async def one(number: int) -> float:
        began = time.monotonic()
        with pytest.raises(CallFailed, match=f"no answer within {seconds:g} s"):
            await in_time(client.complete(Request(Prompt(f"Write {number}."), {}, 7)), entry)
        return time.monotonic() - began

    try:
        return await asyncio.gather(*[one(number) for number in range(calls)])
    finally:
        await client.aclose()


def test_as_many_calls_are_in_flight_as_an_entry_allows(provider: Provider) -> None:
    calls, url = 512, provider.url("stall_before_answer")
    provider.forget()

    async def asked() -> int:
        entry = ModelEntry("m", "openai", "m", base_url=url, timeout=200, concurrency=calls)
        client = OpenAICompatible(entry, KEY)
        waiting = [
            asyncio.create_task(client.complete(Request(Prompt(f"Write {number}."), {}, 7))) for number in range(calls)
        ]
        most = 0
        while most < calls:  # the test's own time limit ends it where connections are held back
            await asyncio.sleep(0.1)
            most = (await asyncio.to_thread(provider.seen)).most_at_once
        for one in waiting:
            one.cancel()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        await client.aclose()
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        return most

    assert asyncio.run(asked()) == calls


ASK_ONCE = """
import asyncio, pathlib, resource, sys
from genpool.config import ModelEntry
from genpool.errors import CallFailed
from genpool.llm.client import Request
from genpool.llm.openai_compatible import OpenAICompatible
from genpool.prompts import Prompt

async def asked(url):
    client = OpenAICompatible(ModelEntry("m", "openai", "m", base_url=url), "k" * 20)
    try:
        await client.complete(Request(Prompt("Write."), {}, 7))
    except CallFailed as error:
        print(error.message)
    await client.aclose()

def peak():
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # getrusage would tell the peak of the process that started this one
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak()
asyncio.run(asked(sys.argv[1]))
print(peak() - before)
"""


@pytest.mark.parametrize(
    "fault",
    ["huge_body", "huge_body_without_length", "gzip_bomb", "gzip_bomb_twice", "huge_400", "many_headers", "wide_json"],
)
def test_no_answer_takes_all_the_memory(provider: Provider, fault: str) -> None:
    asked = [sys.executable, "-c", ASK_ONCE, provider.url(fault)]
    *said, grown = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]
    assert said
    assert int(grown) < 1.5 * HUGE  # twice that if all was read
    print(f"{fault}: {int(grown) / 2**20:.0f} MiB")


def test_an_https_url_of_a_server_without_it_was_not_sent(provider: Provider) -> None:
    provider.forget()
    outcome = ask(provider.url().replace("http:", "https:"))
    assert kind_of(outcome) == "later"
    assert provider.seen().requests == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_that_nobody_vouches_for_makes_the_model_unavailable(tmp_path: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    both = [tmp_path / "key.pem", tmp_path / "cert.pem"]
    subprocess.run([*made, "-keyout", both[0], "-out", both[1]], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both[1], both[0])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)

        def serve() -> None:
            peer, _ = listening.accept()
            with contextlib.suppress(OSError), context.wrap_socket(peer, server_side=True) as shaken:
                shaken.recv(1)
            peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        outcome = ask(f"https://127.0.0.1:{listening.getsockname()[1]}/v1")
        thread.join()
    assert isinstance(outcome, ModelUnavailable), outcome
    assert "certificate" in outcome.message.lower()


@pytest.mark.parametrize("code", [301, 307])
def test_a_redirect_names_where_it_points_to(provider: Provider, code: int) -> None:
    outcome = ask(provider.url(f"redirect_{code}"))
    assert isinstance(outcome, ModelUnavailable)
    assert outcome.hint is not None
    assert "if 127.0.0.1:" in outcome.hint


def test_what_is_no_json_is_shown(provider: Provider) -> None:
    outcome = ask(provider.url("html_200"))
    assert isinstance(outcome, CallFailed)
    assert "<title>Maintenance" in outcome.message


def test_a_task_meets_the_faults_of_its_plan_in_turn(provider: Provider) -> None:
    provider.forget()
    url = provider.url("busy,reset_in_body,answer")
    assert [kind_of(ask(url)) for _ in range(4)] == ["later", "paid", "answer", "answer"]
    assert list(provider.seen().answered.values()) == [2]
