"""What a provider's word for an error stands for."""

from __future__ import annotations

import pytest

from genpool.llm.error_codes import status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429}, 429),
        ({"code": "429"}, 429),
        ({"code": "rate_limit_exceeded", "type": "requests"}, 429),
        ({"code": "rate_limit_exceeded", "type": "insufficient_quota"}, 402),
        ({"code": 429, "type": "insufficient_quota"}, 402),
        ({"code": "invalid_api_key", "type": "invalid_request_error"}, 401),
        ({"code": None, "type": "invalid_request_error"}, 400),
        ({"code": "content_filter"}, 400),
        ({"code": "Content-Filter"}, 400),
        ({"code": "invalid_something_new"}, 400),
        ({"code": "model_not_found"}, 404),
        ({"code": 403, "status": "PERMISSION_DENIED"}, 403),
        ({"status": "UNAVAILABLE"}, 503),
        ({"type": "overloaded_error"}, 503),
        ({"code": "E-4711", "type": "overloaded_error"}, 503),
    ],
)
def test_a_word_stands_for_a_status(error: dict[str, object], status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize(
    "code", ["E-4711", "", 200, 7, True, 10**30, None, [429], {"code": 429}, "\u0664\u0662\u0669", 4.0e2]
)
def test_what_nobody_knows_stands_for_nothing(code: object) -> None:
    assert status_of({"code": code}) is None
