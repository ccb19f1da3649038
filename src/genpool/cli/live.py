"""How a run is watched: a live view on a terminal, plain lines elsewhere, nothing for machines."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from genpool.cli.main import give_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID

    from genpool.runner import RunReport, Watcher

_LINE_SECONDS: Final = 5.0


@contextmanager
def watched(*, quiet: bool) -> Iterator[Watcher]:
    """Yield what watches a run; the terminal is as before when it ends.

    A run goes on to its end when its progress cannot be written any more: nobody looks, and nothing is told.
    """
    if quiet:
        yield lambda _: None
        return
    shows = _Bars() if sys.stderr.isatty() else _Lines()
    with suppress(OSError):
        shows.start()
    looking = True

    def show(report: RunReport) -> None:
        nonlocal looking
        if looking:
            try:
                shows.show(report)
            except OSError:
                looking = False

    try:
        yield show
    finally:
        with suppress(OSError):
            shows.stop()
        with suppress(OSError):
            print(file=sys.stderr, flush=True)
        _leave_if_broken()


def _leave_if_broken() -> None:
    """Let standard error lead nowhere where it cannot be written: the interpreter would complain at its end."""
    try:
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)


class _Bars:
    """A bar a stage with what was made, reused and failed; tokens and time left below."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        from genpool.cli.output import console

        self._progress: Progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:>6,.0f}/{task.total:<6,.0f}"),
            TextColumn("{task.fields[said]}"),
            console=console(stderr=True),
            refresh_per_second=5,
        )
        self._stages: dict[str, TaskID] = {}
        self._last: TaskID | None = None
        self._pace = _Pace()

    def start(self) -> None:
        """Take over the lines below the cursor."""
        self._progress.start()

    def stop(self) -> None:
        """Leave the last state on the terminal."""
        self._progress.stop()

    def show(self, report: RunReport) -> None:
        """Show where a run is."""
        for name, tally in report.stages.items():
            if name not in self._stages:
                self._stages[name] = self._progress.add_task(name, total=tally.wanted, said="")
            said = [f"{tally.made:,} made", f"{tally.reused:,} reused" if tally.reused else ""]
            said += [
                f"{tally.failed:,} failed" if tally.failed else "",
                f"{tally.exhausted:,} exhausted" if tally.exhausted else "",
            ]
            self._progress.update(
                self._stages[name], completed=tally.made + tally.reused, said=" · ".join(filter(None, said))
            )
        if self._last is None:
            self._last = self._progress.add_task(
                "all", total=sum(tally.wanted for tally in report.stages.values()), said=""
            )
        done = sum(tally.made + tally.reused for tally in report.stages.values())
        self._progress.update(self._last, completed=done, said=self._pace.said(report))


class _Lines:
    """A plain line now and then."""

    def __init__(self) -> None:
        self._pace = _Pace()
        self._next = 0.0

    def start(self) -> None:
        """Do nothing yet."""

    def stop(self) -> None:
        """Do nothing more."""

    def show(self, report: RunReport) -> None:
        """Print where a run is, if it is time to."""
        done = sum(tally.made + tally.reused for tally in report.stages.values())
        wanted = sum(tally.wanted for tally in report.stages.values())
        if time.monotonic() < self._next and done < wanted:
            return
        self._next = time.monotonic() + _LINE_SECONDS
        stages = ", ".join(
            f"{name} {tally.made + tally.reused}/{tally.wanted}" for name, tally in report.stages.items()
        )
        print(f"{done}/{wanted}  {stages}  {self._pace.said(report)}", file=sys.stderr, flush=True)


class _Pace:
    """Tokens and time left, from the pace so far."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def said(self, report: RunReport) -> str:
        """Return tokens, failures and time left in words."""
        seconds = time.monotonic() - self._started
        tallies = report.stages.values()
        tried = sum(tally.made + tally.failed + tally.exhausted for tally in tallies)
        left = sum(tally.left for tally in tallies)
        parts = [f"{report.output_tokens:,} tokens written"]
        unacceptable = sum(report.attempts.values()) - report.attempts.get("bought_twice", 0)
        if unacceptable:
            parts.append(f"{unacceptable} not acceptable")
        if report.failures:
            parts.append(f"{len(report.failures)} failed")
        if report.waiting:
            parts.append(f"{report.waiting} waiting for another run")
        if tried and left and not report.interrupted:
            parts.append(f"{duration(seconds / tried * left)} left")
        if report.interrupted:
            parts.append("stopping")
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """Return a time as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
