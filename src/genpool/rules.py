"""The rules of a spec, and what they leave of the levels: narrower axes, and relations between axes. Pure.

Rules are applied in a fixed order, whatever the order of the file: subsets, ties, pairs, tuples. Subsets and ties are
applied here, to the levels. What pairs and tuples allow becomes relations, which are joined when the spec is compiled.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from genpool.relations import Relation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from genpool.relations import Row
    from genpool.yaml_reader import Problems

COMBO_AXIS: Final = "combo"
"""The axis of a root stage whose levels are combo ids."""
_SHOWN: Final = 8


class Axis(NamedTuple):
    """An axis of a stage."""

    stage: str
    name: str
    """The axis as a person writes it: `template`, `model`, `combo`, or an axis of the user's own."""

    @property
    def is_combo(self) -> bool:
        """Whether its levels are the combos that a root starts from."""
        return self.name == COMBO_AXIS

    def __str__(self) -> str:
        return f"{self.stage}.{self.name}"


@dataclass(frozen=True, slots=True)
class Subset:
    """Only some levels of an axis are kept."""

    axis: Axis
    keep: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Tie:
    """Axes have the same value."""

    axes: tuple[Axis, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Coupling:
    """Axes move together: a pair, or a tuple of any number."""

    kind: str
    """The key it is written under: `pairs` or `tuples`."""
    axes: tuple[Axis, ...]
    allowed: tuple[Row, ...]
    line: int
    balanced: bool = False
    """Of a pair: whether every level must meet equally many of the other axis."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a spec, as written."""

    subsets: tuple[Subset, ...] = ()
    ties: tuple[Tie, ...] = ()
    couplings: tuple[Coupling, ...] = ()
    """Pairs, then tuples."""

    @property
    def axes(self) -> frozenset[Axis]:
        """Every axis that a rule addresses."""
        tied = [axis for tie in self.ties for axis in tie.axes]
        coupled = [axis for coupling in self.couplings for axis in coupling.axes]
        return frozenset([*(subset.axis for subset in self.subsets), *tied, *coupled])


@dataclass(frozen=True, slots=True)
class Limits:
    """What rules leave."""

    levels: Mapping[Axis, tuple[str, ...]] = field(default_factory=dict)
    """Axes that a subset or a tie narrows, to the levels that are left, in the order of the spec."""
    heads: Mapping[Axis, Axis] = field(default_factory=dict)
    """Every tied axis, to the one that stands for all that it is tied to."""
    relations: tuple[Relation, ...] = ()
    """What tied and coupled axes allow. The names of columns are axes; a tied one is there by its head alone."""
    lines: tuple[int, ...] = ()
    """The line of the rule that each relation comes from."""
    file: str = ""
    """The spec's file."""

    def head(self, axis: Axis) -> Axis:
        """Return the axis that stands for one in the relations."""
        return self.heads.get(axis, axis)


def apply_rules(rules: Rules, levels: Callable[[Axis], Sequence[str]], problems: Problems) -> Limits:
    """Return what the rules of a spec leave of its levels.

    Args:
        rules: The rules; every level that they name is one of its axis.
        levels: An axis to its levels in the order of the spec.
        problems: Told which rule leaves nothing, and which pair is not balanced.
    """
    left = _Levels(levels)
    known = len(problems.found)
    for subset in rules.subsets:
        left.keep(subset, problems)
    if len(problems.found) == known:  # else what ties and couplings lack is a consequence
        for tie in rules.ties:
            left.tie(tie, problems)
    if len(problems.found) > known:
        return Limits()
    relations = {}
    for tie in rules.ties:
        head = left.heads[tie.axes[0]]
        relations[head] = (Relation((head,), tuple((level,) for level in left.of(head))), tie.line)
    coupled = [(left.relation(one, problems), one.line) for one in rules.couplings]
    found = [*relations.values(), *coupled]
    narrowed = {axis: left.of(axis) for axis in left.narrowed}
    return Limits(narrowed, left.heads, tuple(one for one, _ in found), tuple(at for _, at in found), problems.file)


class _Levels:
    """The levels of axes while rules narrow them."""

    def __init__(self, levels: Callable[[Axis], Sequence[str]]) -> None:
        self._given = levels
        self.narrowed: dict[Axis, tuple[str, ...]] = {}
        self.heads: dict[Axis, Axis] = {}

    def of(self, axis: Axis) -> tuple[str, ...]:
        return self.narrowed[axis] if axis in self.narrowed else tuple(self._given(axis))

    def keep(self, subset: Subset, problems: Problems) -> None:
        kept = frozenset(subset.keep)
        before = self.of(subset.axis)
        self.narrowed[subset.axis] = tuple(level for level in before if level in kept)
        if not self.narrowed[subset.axis]:
            hint = f"a subset above keeps only {_listed(before)}"
            problems.add(f"rules.subsets: {subset.axis}: this leaves no level", subset.line, hint)

    def tie(self, tie: Tie, problems: Problems) -> None:
        """Tie axes, and all that they are tied to already."""
        heads = {self.heads.get(axis, axis) for axis in tie.axes}
        group = [axis for axis, head in self.heads.items() if head in heads]
        group += [axis for axis in tie.axes if axis not in self.heads]
        common = frozenset.intersection(*(frozenset(self.of(axis)) for axis in group))
        if not common:
            hint = "; ".join(f"{axis}: {_listed(self.of(axis))}" for axis in group)
            problems.add(f"rules.ties: {_named(group)} have no value in common", tie.line, hint)
            return
        for axis in group:
            self.heads[axis] = group[0]
            self.narrowed[axis] = tuple(level for level in self.of(axis) if level in common)

    def relation(self, coupling: Coupling, problems: Problems) -> Relation:
        """Return what is left of the allowed rows after subsets and ties."""
        where = f"rules.{coupling.kind}: {_named(coupling.axes)}"
        sides = [frozenset(self.of(axis)) for axis in coupling.axes]
        heads = [self.heads.get(axis, axis) for axis in coupling.axes]
        names = tuple(dict.fromkeys(heads))
        first = [heads.index(name) for name in names]
        same = [heads.index(head) for head in heads]
        rows = [
            row
            for row in coupling.allowed
            if all(value in side for value, side in zip(row, sides, strict=True))
            and all(value == row[place] for value, place in zip(row, same, strict=True))
        ]
        if not rows:
            hint = "the rules before it drop every row that this one allows" if coupling.allowed else None
            problems.add(f"{where}: this leaves nothing", coupling.line, hint)
        elif coupling.balanced:
            self._check_balance(coupling, rows, where, problems)
        return Relation(names, tuple(dict.fromkeys(tuple([row[place] for place in first]) for row in rows)))

    def _check_balance(self, coupling: Coupling, rows: Sequence[Row], where: str, problems: Problems) -> None:
        """Note a side of a pair whose levels do not meet equally many of the other side; one that meets none counts."""
        for side, axis in enumerate(coupling.axes):
            met = Counter(row[side] for row in rows)
            if len({met[level] for level in self.of(axis)}) > 1:
                counts = ", ".join(f"{level} {met[level]}" for level in self.of(axis))
                other = coupling.axes[1 - side]
                hint = f"each must meet equally many of {other}; a level that meets none is left out by a subset"
                problems.add(f"{where}: not balanced: {axis} has {counts}", coupling.line, hint)


def _named(axes: Sequence[Axis]) -> str:
    """Return axes in words: `a, b and c`."""
    words = [str(axis) for axis in axes]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _listed(levels: Sequence[str]) -> str:
    """Return levels in words, the first few of many."""
    return ", ".join(levels[:_SHOWN]) + (f", … ({len(levels):,} in all)" if len(levels) > _SHOWN else "")


def left_out(axis: Axis, levels: Sequence[str]) -> str:
    """Return the note on levels that no allowed row uses.

    Args:
        axis: Their axis.
        levels: The levels, at least one.
    """
    shown = ", ".join(repr(level) for level in levels[:_SHOWN])
    if len(levels) == 1:
        return f"{axis}: {shown} is left out by the rules"
    more = f" and {len(levels) - _SHOWN:,} more" if len(levels) > _SHOWN else ""
    return f"{axis}: {shown}{more} are left out by the rules"
