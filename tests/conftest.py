"""Options and settings of the whole test run."""

from __future__ import annotations

import os
from typing import Any

import pytest

pytest.register_assert_rewrite("genpool.testing")

NOT_RUN = "NOT RUN"
"""What the reason of a skipped proof begins with."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="sweep every crash point, use pools at random for longer (also: CRASH_FULL=1)",
    )


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether crash sweeps take every point, and random use goes on for longer."""
    return bool(request.config.getoption("--full") or os.environ.get("CRASH_FULL"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly which proofs this machine could not run."""
    for report in terminalreporter.stats.get("skipped", ()):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if NOT_RUN in reason:
            terminalreporter.write_line(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}", red=True, bold=True)
