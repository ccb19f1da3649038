"""Retries: what is tried again, when, and when not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpool.errors import CallFailed
from genpool.llm.retries import RetryPolicy, read_http_date, read_retry_after

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def failed(retry_after: float | None = None, transient: bool = True) -> CallFailed:
    return CallFailed("no", transient=transient, sent=False, retry_after=retry_after)


def nearly_one() -> float:
    return 1 - 2**-53


def test_what_is_not_transient_is_never_tried_again() -> None:
    assert RetryPolicy().wait(failed(transient=False, retry_after=1), 1, 0.0, nearly_one) is None


@pytest.mark.parametrize(("tries", "most"), [(1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (5000, 10.0)])
def test_the_wait_doubles_up_to_its_cap(tries: int, most: float) -> None:
    policy = RetryPolicy(tries=9999, base=2.0, cap=10.0)
    assert policy.wait(failed(), tries, 0.0, nearly_one) == pytest.approx(most)
    assert policy.wait(failed(), tries, 0.0, lambda: 0.25) == pytest.approx(most / 4)


def test_after_the_last_try_the_policy_gives_up() -> None:
    policy = RetryPolicy(tries=3)
    waits = [policy.wait(failed(), tries, 0.0, nearly_one) is not None for tries in (1, 2, 3, 4)]
    assert waits == [True, True, False, False]


def test_no_try_is_begun_after_the_total_time() -> None:
    policy = RetryPolicy(base=4.0, total=60.0)
    assert policy.wait(failed(), 1, 56.0, lambda: 1.0) == 4.0
    assert policy.wait(failed(), 1, 56.1, lambda: 1.0) is None


def test_what_a_server_asked_for_is_the_least_wait_and_capped() -> None:
    policy = RetryPolicy(base=1.0, longest_asked=120.0)
    assert policy.wait(failed(retry_after=7), 1, 0.0, lambda: 0.0) == 7
    assert policy.wait(failed(retry_after=7), 1, 0.0, lambda: 0.5) == 7.5  # those who were sent away together spread
    assert policy.wait(failed(retry_after=1e9), 1, 0.0, lambda: 0.0) == 120


@given(st.floats(0, 1e12), st.integers(1, 40), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True), st.integers(1, 40))
def test_a_wait_is_within_the_policys_bounds(
    asked: float, tries: int, elapsed: float, drawn: float, limit: int
) -> None:
    policy = RetryPolicy(tries=limit)
    wait = policy.wait(failed(retry_after=asked), tries, elapsed, lambda: drawn)
    if tries >= limit:
        assert wait is None
    if wait is not None:
        assert min(asked, 120) <= wait <= 120 + 60
        assert elapsed + wait <= policy.total


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("20", 20.0),
        (" 20 ", 20.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("1000000000", 1e9),
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1_000", None),
        ("9" * 400, None),
        ("\u0663", None),
        ("Mon, 99 Foo 2026 25:61:61 GMT", None),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Monday, 23-Nov-26 12:00:05 GMT", 5.0),
        ("Mon Nov 23 12:00:05 2026", 5.0),
    ],
)
def test_retry_after_is_read(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, NOW) == seconds


@given(st.text())
def test_no_text_makes_the_reader_fail(text: str) -> None:
    seconds = read_retry_after(text, NOW)
    assert seconds is None or seconds >= 0
    date = read_http_date(text)
    assert date is None or date.tzinfo is not None
