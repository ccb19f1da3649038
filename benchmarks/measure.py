"""Timing for the benchmark programs: each thing several times, interleaved, and the best of each.

The best of several runs is what the code costs when the machine does nothing else; ratios between rows of
one run hold on other machines, single times do not.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is timed has its bytecode, as an installed genpool has


def best_of(
    rounds: int, things: Mapping[str, Callable[[], Any]], clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the best time of each thing in seconds, by some clock; all are run once a round, in turn."""
    best: dict[str, float] = dict.fromkeys(things, float("inf"))
    for _ in range(rounds):
        for name, thing in things.items():
            started = clock()
            thing()
            best[name] = min(best[name], clock() - started)
    return best


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table in plain text."""
    widths = [max(len(line[at]) for line in [columns, *rows]) for at in range(len(columns))]
    print(f"\n{title}\n")
    for line in [columns, ["-" * width for width in widths], *rows]:
        print(
            "  ".join(
                text.ljust(width) if at == 0 else text.rjust(width)
                for at, (text, width) in enumerate(zip(line, widths, strict=True))
            )
        )
