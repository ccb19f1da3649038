"""The bars that reliability is held to: what each one measures, and the numbers that it asks for in a full proof.

A proof names its bar by `@pytest.mark.bar(...)` and states figures of it through the fixture `proof`; what all proofs
of a bar come to is printed as one table (`tests.bar_table`). Numbers that a bar asks for stand nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Number = int | float
Stated = int | float | str | tuple[str, ...]
"""A number, or texts of which the different ones are counted."""


class Adding(Enum):
    """What the statements of several proofs come to."""

    SUM = "sum"
    HIGHEST = "highest"
    LOWEST = "lowest"
    DIFFERENT = "different"
    """How many different texts there are."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a bar. Without a least and a most it is told, and nothing is asked of it."""

    name: str
    """What a proof states it as."""
    what: str
    least: Number | None = None
    most: Number | None = None
    adding: Adding = Adding.SUM
    among: frozenset[str] | None = None
    """The texts that count; None for any."""

    def of(self, stated: Sequence[Stated]) -> Number:
        """Return what statements come to; at least one is there."""
        if self.adding is Adding.DIFFERENT:
            texts = {text for one in stated for text in ((one,) if isinstance(one, str) else tuple(one))}
            return len(texts if self.among is None else texts & self.among)
        numbers = [one for one in stated if isinstance(one, int | float)]
        return {Adding.SUM: sum, Adding.HIGHEST: max, Adding.LOWEST: min}[self.adding](numbers)

    def lacks(self, value: Number) -> Number:
        """Return by how much a value is below what is asked for; 0 where it is not."""
        return 0 if self.least is None else max(0, self.least - value)

    def exceeds(self, value: Number) -> Number:
        """Return by how much a value is above what is asked for; 0 where it is not."""
        return 0 if self.most is None else max(0, value - self.most)


@dataclass(frozen=True, slots=True)
class Bar:
    """What is asked for, in the order in which it is shown."""

    key: int | str
    """Its number; a name where it is one of our own beside the numbered ones."""
    what: str
    figures: tuple[Figure, ...]

    def __getitem__(self, name: str) -> Figure:
        for figure in self.figures:
            if figure.name == name:
                return figure
        known = ", ".join(figure.name for figure in self.figures)
        raise KeyError(f"bar {self.key} has no figure {name!r}; it has {known} (tests/bars.py)")


PROTOCOLS: Final = frozenset(
    {
        "no file flush",
        "no directory flush",
        "written into place",
        "acknowledged early",
        "metadata first",
        "unchecked short write",
        "unfenced claim",
        "unflushed journal",
    }
)
"""The broken protocols that must be among those that are caught."""

_WRONG = Figure("wrong", "found torn, lost, or not completed by the next run", most=0)

_ALL = (
    Bar(
        1,
        "killed at every system call of a writer",
        (Figure("points", "points", least=2_000), _WRONG),
    ),
    Bar(
        2,
        "killed at every system call of migrate apply, resume and rollback",
        (
            Figure("points", "points", least=3_000),
            Figure("again", "of these second kills, inside a recovery", least=500),
            Figure("generations", "generations of the pool", least=40, adding=Adding.LOWEST),
            Figure("wrong", "not right after resume, or not as before after rollback", most=0),
        ),
    ),
    Bar(
        3,
        "power cut at those points, on ext4",
        (Figure("cuts", "power cuts", least=1_000), _WRONG),
    ),
    Bar(
        4,
        "broken protocols, caught by the same proofs",
        (
            Figure("protocols", "of the eight that are named", least=8, adding=Adding.DIFFERENT, among=PROTOCOLS),
            Figure("caught", "of all, with flushes left out of genpool's own writers"),
            Figure("unnoticed", "not caught", most=0),
        ),
    ),
    Bar(
        5,
        "an error at every system call, once and for ever after",
        (
            Figure("runs", "runs with an error", least=4_000),
            Figure("refused", "of these told as an error; the others got over it"),
            Figure("wrong", "tracebacks, torn or lost files, flushes retried, next runs that fail", most=0),
        ),
    ),
    Bar(
        6,
        "8 processes that want the same 1,000 tasks",
        (
            Figure("seeds", "seeds", least=20),
            Figure("processes", "processes that ended well and had nothing to complain of", least=160),
            Figure("calls", "calls of all seeds", least=20_000, most=20_000),
            Figure("twice", "tasks bought twice", most=0),
            Figure("kills", "kills in another run", least=40),
            Figure("again", "tasks bought again after these kills"),
            Figure("unlisted", "of these more than were in flight, or not listed by the audit", most=0),
            Figure("stopped", "calls where three of the eight stand still for 5 s", least=1_000, most=1_000),
        ),
    ),
    Bar(
        7,
        "faults of a provider",
        (
            Figure("faults", "different faults", least=25, adding=Adding.DIFFERENT),
            Figure("mistold", "told as something else, or more than one request sent", most=0),
            Figure("late", "the latest end of a call after its deadline, %", most=10, adding=Adding.HIGHEST),
            Figure("met", "met by a task of a whole run"),
            Figure("truncated", "cut answers kept as generations there", most=0),
            Figure("unasked", "requests there beyond what tries and attempts come to, or short of it", most=0),
            Figure("over_limit", "requests beyond a limit a minute, in the busiest one", most=0),
        ),
    ),
    Bar(
        8,
        "generations changed behind the catalog's back",
        (
            Figure("runs", "pools under random changes", least=2_000),
            Figure("steps", "changes, after which catalog, manifest and a scan of the files agree", least=100_000),
            Figure("manifests", "of these with a good manifest, which answered"),
        ),
    ),
    Bar(
        9,
        "bits flipped and files cut",
        (
            Figure("damages", "places in generations", least=10_000),
            Figure("unnamed", "of these not found and named by doctor", most=0),
            Figure("elsewhere", "places in ledgers, catalogs and other files"),
            Figure("worse", "made worse by doctor --fix, in either", most=0),
            Figure("flips", "bits flipped in the catalog", least=400),
            Figure("misled", "of these with another answer, or a traceback", most=0),
        ),
    ),
    Bar(
        10,
        "bad files, ids and names",
        (
            Figure("files", "bad files planned with", least=10_000),
            Figure("names", "bad ids and names", least=50_000),
            Figure("commands", "of both as commands in processes of their own"),
            Figure("tracebacks", "tracebacks", most=0),
            Figure("outside", "opened outside the pool, or started", most=0),
            Figure("slowest", "the slowest, s", most=1.0, adding=Adding.HIGHEST),
            Figure("memory", "the most memory, MiB", most=300, adding=Adding.HIGHEST),
            Figure("huge", "10^12 tasks refused, s", most=0.1, adding=Adding.HIGHEST),
        ),
    ),
    Bar(
        11,
        "hostile texts on the report's page, in Chromium",
        (
            Figure("payloads", "payloads", least=200, adding=Adding.DIFFERENT),
            Figure("fields", "fields that each stood in", least=6, adding=Adding.DIFFERENT),
            Figure("shown", "of these together shown as text", least=1_200),
            Figure("executed", "executed", most=0),
            Figure("requests", "requests out of the page", most=0),
            Figure("refused", "left for the page's policy to refuse", most=0),
            Figure("unescaped", "of the same as markup that run or call out, %", least=60, adding=Adding.LOWEST),
        ),
    ),
    Bar(
        12,
        "canary keys",
        (
            Figure("keys", "keys", least=12, adding=Adding.DIFFERENT),
            Figure("faults", "ways of a server to fail and to echo", adding=Adding.HIGHEST),
            Figure("bytes", "bytes searched"),
            Figure("hits", "found in them", most=0),
            Figure("bare", "faults at which the bare library tells the key, %", least=80, adding=Adding.LOWEST),
        ),
    ),
    Bar(
        13,
        "templates that try to get out",
        (
            Figure("payloads", "templates", least=300),
            Figure("runs", "of these run as cohorts"),
            Figure("escapes", "escapes", most=0),
            Figure("unsandboxed", "of the same without a sandbox that get out, %", least=80, adding=Adding.LOWEST),
            Figure("texts", "texts that look like templates, in prompts as they are"),
        ),
    ),
    Bar(
        "random kills",
        "one cohort, run and killed at random moments",
        (
            Figure("kills", "kills", least=20),
            Figure("calls", "calls that the model saw"),
            Figure("again", "of these bought again, each in flight at a kill"),
            Figure("wrong", "torn generations, and calls that no ledger explains", most=0),
        ),
    ),
    Bar(
        "random use",
        "a pool under random use, held against plain dicts",
        (
            Figure("runs", "pools", least=500),
            Figure("comparisons", "comparisons of everything with the dicts, one after every step"),
        ),
    ),
)

BARS: Final = {bar.key: bar for bar in _ALL}
"""Every bar that there is a proof of, in the order of the table."""


def least(bar: int | str, figure: str) -> int:
    """Return the least that a bar asks for in full."""
    value = BARS[bar][figure].least
    assert value is not None, f"bar {bar} asks for no least of {figure!r}"
    return int(value)


def most(bar: int | str, figure: str) -> Number:
    """Return the most that a bar allows."""
    value = BARS[bar][figure].most
    assert value is not None, f"bar {bar} asks for no most of {figure!r}"
    return value
