"""A provider that misbehaves, and what the OpenAI-compatible client makes of it: every fault, by either carrier."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from genpool.config import ModelEntry
from genpool.errors import CallFailed, ModelError, ModelUnavailable
from genpool.llm.client import Completion, Request
from genpool.llm.openai_compatible import OpenAICompatible
from genpool.prompts import Prompt
from tests.servers.faults import END, FAULTS, KINDS, Fault
from tests.servers.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture(params=["aiohttp", "httpx"])
def carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(url: str, carrier: str = "aiohttp", timeout: float = 60.0) -> Completion | ModelError:
    """Return what a call comes to: an answer, or the error as a value."""

    async def asked() -> Completion | ModelError:
        client = OpenAICompatible(ModelEntry("m", "openai", "m", base_url=url, timeout=timeout), KEY, carrier)
        try:
            return await client.complete(Request(Prompt("Write."), {"temperature": 0.5}, 7))
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
    provider: Provider, carrier: str, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.forget()
    outcome = ask(provider.url(fault.name), carrier, timeout=0.5 if fault.kind == "late" else 60.0)
    assert kind_of(outcome) == ("paid" if fault.kind == "late" else fault.kind), everything_told(outcome)
    seen = provider.seen()
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


def test_the_deadline_is_for_the_whole_call_and_says_so(provider: Provider, carrier: str) -> None:
    began = time.monotonic()
    outcome = ask(provider.url("drip"), carrier, timeout=0.5)
    assert isinstance(outcome, CallFailed)
    assert "no answer within 0.5 s" in outcome.message
    assert 0.5 <= time.monotonic() - began < 30  # the whole answer would drip for over 40 s


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
