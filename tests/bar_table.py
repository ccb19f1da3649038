"""What the proofs of a run stated, set against what the bars ask for: one table, for a terminal or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from tests.bars import BARS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bars import Bar, Figure, Number, Stated

NOT_RUN: Final = "NOT RUN"
"""What the reason of a skipped proof begins with, and the verdict on it."""
MET: Final = "met"
_MISSED: Final = "missed"


class Extent(Enum):
    """How much of the bars a run is."""

    SHORT = "short"
    """Few points each: nothing is compared with what the bars ask for."""
    PART = "part"
    """In full, but some proofs only: a count below what is asked for says nothing."""
    WHOLE = "whole"


class Ending(Enum):
    """How a proof ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Proof:
    """One proof that was to be run."""

    bar: int | str
    ending: Ending
    figures: tuple[tuple[str, Stated], ...] = ()
    """What it stated."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one bar, in words."""

    figure: str
    measured: str
    asked: str
    verdict: str

    @property
    def is_bad(self) -> bool:
        """Whether it keeps a run from being a proof."""
        return self.verdict.startswith((_MISSED, NOT_RUN))


@dataclass(slots=True)
class Table:
    """All rows, by bar, in order."""

    extent: Extent
    parts: list[tuple[Bar, list[Row]]] = field(default_factory=list)

    @property
    def bad(self) -> list[str]:
        """What is missed or was not run."""
        return [f"bar {bar.key}, {row.figure}: {row.verdict}" for bar, rows in self.parts for row in rows if row.is_bad]

    def lines(self) -> Iterator[tuple[str, bool]]:
        """Yield the table's lines for a terminal, and whether each is about something bad."""
        rows = [row for _, of_bar in self.parts for row in of_bar]
        wide = [
            max(len(text) for text in column)
            for column in zip(*[(row.figure, row.measured, row.asked) for row in (_HEAD, *rows)], strict=True)
        ]

        def line(row: Row) -> str:
            cells = (row.figure.ljust(wide[0]), row.measured.rjust(wide[1]), row.asked.ljust(wide[2]), row.verdict)
            return f"    {'   '.join(cells)}".rstrip()

        yield line(_HEAD), False
        for bar, of_bar in self.parts:
            yield f"{_named(bar)}: {bar.what}", False
            yield from ((line(row), row.is_bad) for row in of_bar)

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = ["| bar | figure | measured | asked for | verdict |", "|---|---|---:|---|---|"]
        for bar, of_bar in self.parts:
            lines.append(f"| **{bar.key}** | **{bar.what}** | | | |")
            lines += [f"| | {row.figure} | {row.measured} | {row.asked} | {row.verdict} |" for row in of_bar]
        return "".join(f"{line}\n" for line in lines)


_HEAD: Final = Row("", "measured", "asked for", "")


def _named(bar: Bar) -> str:
    return f"bar {bar.key}" if isinstance(bar.key, int) else bar.key


def made_from(proofs: list[Proof], extent: Extent) -> Table:
    """Add up what proofs stated and set it against the bars. In a run of the whole every bar is in the table."""
    table = Table(extent)
    for key, bar in BARS.items():
        of_bar = [proof for proof in proofs if proof.bar == key]
        if of_bar or extent is Extent.WHOLE:
            table.parts.append((bar, [*_figures(bar, of_bar, extent), *_endings(of_bar)]))
    return table


def _figures(bar: Bar, proofs: list[Proof], extent: Extent) -> Iterator[Row]:
    """Yield a row for each figure; one that nobody stated is a row only in a run of the whole."""
    for figure in bar.figures:
        stated = [value for proof in proofs for name, value in proof.figures if name == figure.name]
        if stated:
            value = figure.of(stated)
            yield Row(figure.what, _written(value), _asked(figure, extent), _verdict(figure, value, extent))
        elif extent is Extent.WHOLE:
            yield Row(figure.what, "", _asked(figure, extent), NOT_RUN)


def _endings(proofs: list[Proof]) -> Iterator[Row]:
    """Yield rows for proofs that failed or were not run, whatever the figures of others say."""
    endings = [proof.ending for proof in proofs]
    if failed := endings.count(Ending.FAILED):
        yield Row("proofs that failed", _written(failed), "0", f"{_MISSED}: by {failed:,}")
    if left_out := endings.count(Ending.NOT_RUN):
        yield Row("proofs that were not run", _written(left_out), "0", NOT_RUN)


def _verdict(figure: Figure, value: Number, extent: Extent) -> str:
    if extent is Extent.SHORT or (figure.least is None and figure.most is None):
        return ""
    if over := figure.exceeds(value):
        return f"{_MISSED}: by {_written(over)}"
    if lacking := figure.lacks(value):
        return "in part" if extent is Extent.PART else f"{_MISSED}: by {_written(lacking)}"
    return MET


def _asked(figure: Figure, extent: Extent) -> str:
    """Return what is asked for, in words."""
    if figure.least is None and figure.most is None:
        return ""
    if extent is Extent.SHORT:
        return extent.value
    if figure.least == figure.most and figure.least is not None:
        return f"exactly {_written(figure.least)}"
    if figure.most == 0:
        return "0"
    return f"at most {_written(figure.most)}" if figure.most is not None else f"{_written(figure.least or 0)} or more"


def _written(value: Number) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
