"""Options and settings of the whole test run."""

from __future__ import annotations

import os

import pytest

pytest.register_assert_rewrite("genpool.testing")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="sweep every crash point, not every k-th (also: CRASH_FULL=1)")


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether crash sweeps take every point."""
    return bool(request.config.getoption("--full") or os.environ.get("CRASH_FULL"))
