"""What HTTP libraries log in the course of a call is dropped, what they log otherwise is not."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from genpool.llm.unlogged import unlogged

if TYPE_CHECKING:
    import pytest


def test_what_is_logged_in_a_call_is_dropped_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    loggers = [logging.getLogger(name) for name in ("httpx2", "httpcore2.made_for_this_test", "openai", "the_program")]

    @unlogged
    async def call() -> str:
        for logger in loggers:
            logger.warning("in a call")
        return "answer"

    async def both() -> str:
        answer = await call()
        for logger in loggers:
            logger.warning("elsewhere")
        return answer

    assert asyncio.run(both()) == "answer"
    assert [(one.name, one.message) for one in caplog.records if one.message == "in a call"] == [
        ("the_program", "in a call")
    ]
    assert len([one for one in caplog.records if one.message == "elsewhere"]) == len(loggers)
