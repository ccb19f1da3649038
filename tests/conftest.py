"""Options and settings of the whole test run; the table of what its proofs stated."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.bar_table import NOT_RUN, Ending, Extent, Proof, Table, made_from
from tests.bars import BARS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bars import Stated

__all__ = ["NOT_RUN"]

pytest.register_assert_rewrite("genpool.testing")

_BAR, _FIGURES, _SAID = "bar", "figures", "said"
"""The properties of a test in which its bar and its statements are kept; what reaches the process that prints, too."""
_TABLE = pytest.StashKey[Table]()
_BEGAN = pytest.StashKey[float]()
_ENDINGS = {"failed": Ending.FAILED, "error": Ending.FAILED, "skipped": Ending.NOT_RUN, "passed": Ending.PASSED}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="sweep every crash point, use pools at random for longer (also: CRASH_FULL=1)",
    )
    parser.addoption(
        "--every-bar",
        action="store_true",
        help="with --full: hold the run to every bar; one that is missed, or that no proof stated, fails it",
    )
    parser.addoption("--table", metavar="FILE", help="with --full: write the table of the bars as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "bar(key): a proof of this bar (tests/bars.py)")
    config.stash[_BEGAN] = time.monotonic()
    for option in ("--every-bar", "--table"):
        if config.getoption(option) and not is_full(config):
            raise pytest.UsageError(f"{option} is about a proof in full: add --full")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note each proof's bar where every report of it has it, that of a skipped one too."""
    for item in items:
        marker = item.get_closest_marker(_BAR)
        if marker is not None:
            if marker.args[0] not in BARS:
                raise pytest.UsageError(f"{item.nodeid}: there is no bar {marker.args[0]!r} in tests/bars.py")
            item.user_properties.append((_BAR, marker.args[0]))


def is_full(config: pytest.Config) -> bool:
    return bool(config.getoption("--full") or os.environ.get("CRASH_FULL"))


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether crash sweeps take every point, and random use goes on for longer."""
    return is_full(request.config)


class Statement:
    """By which a proof, marked with its bar, states its figures: what is asserted after it cannot hide them.

    Args:
        test: The proof.
        capsys: What keeps its output.
    """

    def __init__(self, test: pytest.Item, capsys: pytest.CaptureFixture[str]) -> None:
        marker = test.get_closest_marker(_BAR)
        assert marker is not None, "a proof says which bar it is of: @pytest.mark.bar(...)"
        self._bar = BARS[marker.args[0]]
        self._test = test
        self._capsys = capsys

    @property
    def case(self) -> str:
        """Which of the cases of a parametrized proof this is."""
        return str(self._test.callspec.id)  # type: ignore[attr-defined]

    def __call__(self, said: str = "", /, **figures: Stated) -> None:
        """State figures of the bar, and say something to those who watch."""
        for name in figures:
            _ = self._bar[name]
        self._test.user_properties.append((_FIGURES, figures))
        if not said:
            return
        if hasattr(self._test.config, "workerinput"):  # one of several processes: what it prints, nobody sees
            self._test.user_properties.append((_SAID, said))
        else:
            with self._capsys.disabled():
                print(f"\n  {said}", end="")


@pytest.fixture
def proof(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Statement:
    """Return what a proof states its figures by."""
    return Statement(request.node, capsys)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print what a proof in another process has said."""
    if report.when == "call":
        for said in [value for name, value in report.user_properties if name == _SAID]:
            print(f"\n  {said}", end="", flush=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Make the table; fail a full run in which something is missed, or was left out."""
    config = session.config
    if hasattr(config, "workerinput"):
        return  # the process that started this one makes the table of all
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    extent = Extent.SHORT
    if is_full(config):
        extent = Extent.WHOLE if config.getoption("--every-bar") else Extent.PART
    table = config.stash[_TABLE] = made_from(list(_proofs(reporter.stats, extent)), extent)
    if table.bad and extent is not Extent.SHORT and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if file := config.getoption("--table"):
        Path(file).write_text(f"{table.markdown()}\n{_conditions(config)}\n")


def _proofs(stats: dict[str, list[Any]], extent: Extent) -> Iterator[Proof]:
    """Yield the proofs of a run; one that failed twice (in its end too) once.

    What a short run skips on purpose is none.
    """
    seen = set()
    for outcome, ending in _ENDINGS.items():
        for report in stats.get(outcome, ()):
            properties = getattr(report, "user_properties", ())
            bars = [value for name, value in properties if name == _BAR]
            if bars and report.nodeid not in seen:
                seen.add(report.nodeid)
                figures = [pair for name, value in properties if name == _FIGURES for pair in value.items()]
                not_run = ending is not Ending.PASSED and _reason(report).startswith(NOT_RUN)
                if not_run or outcome != "skipped" or extent is not Extent.SHORT:
                    yield Proof(bars[0], Ending.NOT_RUN if not_run else ending, tuple(figures))


def _reason(report: Any) -> str:
    """Return why a proof was skipped, or what it failed with."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr).removeprefix("Failed: ")


def _conditions(config: pytest.Config) -> str:
    """Return on what, and in which time, a run was made."""
    minutes, seconds = divmod(round(time.monotonic() - config.stash[_BEGAN]), 60)
    machine = f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}, {os.cpu_count()} cores"
    return f"Python {platform.python_version()}, {machine}: {minutes} min {seconds} s."


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say loudly which proofs this machine could not run; print the table."""
    for report in terminalreporter.stats.get("skipped", ()):
        if _reason(report).startswith(NOT_RUN):
            terminalreporter.write_line(f"{report.nodeid}: {_reason(report)}", red=True, bold=True)
    table = config.stash.get(_TABLE, None)
    if table is None or not table.parts:
        return
    terminalreporter.section(f"bars, {table.extent.value}")
    for line, is_bad in table.lines():
        terminalreporter.write_line(line, red=is_bad, bold=is_bad)
    terminalreporter.write_line(_conditions(config))
