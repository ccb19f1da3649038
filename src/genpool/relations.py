"""Relations between named columns: counted, projected and joined without making more rows than a limit. Pure.

Relations that form a tree (their join is *acyclic*) are counted without being joined, by messages from the leaves to
the root, and joined without a row that is dropped later (Yannakakis 1981, "Algorithms for acyclic database schemes").
Those that form a circle are joined two at a time, the smallest join first, until no circle is left; every join is
counted before it is made.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """Rows that are allowed."""

    names: tuple[Hashable, ...]
    """What the columns stand for, each once."""
    rows: tuple[Row, ...]
    """The rows, each once."""

    def columns(self, names: Sequence[Hashable]) -> Iterator[Row]:
        """Yield every row's values in some columns."""
        at = [self.names.index(name) for name in names]
        return (tuple([row[place] for place in at]) for row in self.rows)

    def onto(self, names: Sequence[Hashable]) -> Relation:
        """Return the relation of some columns only."""
        return Relation(tuple(names), tuple(dict.fromkeys(self.columns(names))))

    def where(self, other: Relation) -> Relation:
        """Return the rows that go together with a row of another relation."""
        shared = _shared(self, other)
        allowed = set(other.columns(shared))
        kept = [row for row, key in zip(self.rows, self.columns(shared), strict=True) if key in allowed]
        return self if len(kept) == len(self.rows) else Relation(self.names, tuple(kept))


def projected(relations: Sequence[Relation], kept: AbstractSet[Hashable], limit: int) -> list[Relation]:
    """Return relations whose join is that of others, in some of its columns only.

    Args:
        relations: The others.
        kept: The columns to keep.
        limit: The most rows to make on the way.

    Raises:
        OverflowError: A join on the way has more rows.
    """
    left = list(relations)
    while True:
        left = _simplified(left, kept)
        pairs = [pair for pair in combinations(left, 2) if not kept >= set(_shared(*pair))]
        if not pairs:
            return left
        left = _merged(left, pairs, limit)


def counted(relations: Sequence[Relation], weights: Mapping[Hashable, Callable[[str], int]], limit: int) -> int:
    """Return how many rows the join of some relations has, without making it.

    Args:
        relations: The relations.
        weights: For some columns what a value counts for; elsewhere it counts for 1.
        limit: The most rows to make on the way.

    Raises:
        OverflowError: Relations form a circle, and a join of two of them has more rows than the limit.
    """
    if not relations:
        return 1
    left, tree = _tree(relations, limit)
    numbers = [[1] * len(relation.rows) for relation in left]
    for name, weigh in weights.items():
        at = next((at for at, relation in enumerate(left) if name in relation.names), None)
        if at is not None:
            column = left[at].names.index(name)
            numbers[at] = [number * weigh(row[column]) for number, row in zip(numbers[at], left[at].rows, strict=True)]
    for leaf, branch in tree:
        shared = _shared(left[leaf], left[branch])
        message: Counter[Row] = Counter()
        for key, number in zip(left[leaf].columns(shared), numbers[leaf], strict=True):
            message[key] += number
        keys = left[branch].columns(shared)
        numbers[branch] = [number * message[key] for number, key in zip(numbers[branch], keys, strict=True)]
    return sum(numbers[_root(left, tree)])


def joined(relations: Sequence[Relation], limit: int) -> Relation:
    """Return the join of some relations.

    Args:
        relations: The relations, at least one.
        limit: The most rows to make.

    Raises:
        OverflowError: The join, or one on the way, has more rows.
    """
    left, tree = _tree(relations, limit)
    for leaf, branch in tree:
        left[branch] = left[branch].where(left[leaf])
    whole = left[_root(left, tree)]
    for leaf, _ in reversed(tree):
        whole = _join(whole, left[leaf], limit)
    return whole


def connected(relations: Sequence[Relation]) -> list[list[Relation]]:
    """Return relations in groups that share no column with one another."""
    groups: list[list[Relation]] = []
    for relation in relations:
        touched = [group for group in groups if any(_shared(relation, other) for other in group)]
        groups = [group for group in groups if not any(group is one for one in touched)]
        groups.append([*(one for group in touched for one in group), relation])
    return groups


def _shared(one: Relation, other: Relation) -> list[Hashable]:
    return [name for name in one.names if name in other.names]


def _simplified(relations: Sequence[Relation], kept: AbstractSet[Hashable]) -> list[Relation]:
    """Drop columns that only one relation has and nobody wants, and relations that another can take in."""
    left = list(relations)
    while True:
        seen = Counter(name for relation in left for name in relation.names)
        for at, relation in enumerate(left):
            names = [name for name in relation.names if name in kept or seen[name] > 1]
            if len(names) < len(relation.names):
                left[at] = relation.onto(names)
        within = next(
            (
                (small, large)
                for small, one in enumerate(left)
                for large, other in enumerate(left)
                if small != large and set(other.names).issuperset(one.names)
            ),
            None,
        )
        if within is None:
            return left
        small, large = within
        left[large] = left[large].where(left[small])
        del left[small]


def _tree(relations: Sequence[Relation], limit: int) -> tuple[list[Relation], list[tuple[int, int]]]:
    """Return relations that form a tree, with the same join, and the tree: leaf and branch, leaves first."""
    left = list(relations)
    while True:
        tree = _leaves_first(left)
        if tree is not None:
            return left, tree
        left = _merged(left, [pair for pair in combinations(left, 2) if _shared(*pair)], limit)


def _leaves_first(relations: Sequence[Relation]) -> list[tuple[int, int]] | None:
    """Return the tree that relations form, or None where they form a circle.

    A relation is a leaf if what it shares with all others it shares with one of them (Graham's reduction).
    """
    tree = []
    there = set(range(len(relations)))
    while len(there) > 1:
        branches = ((leaf, _branch(relations, there, leaf)) for leaf in sorted(there))
        found = next(((leaf, branch) for leaf, branch in branches if branch is not None), None)
        if found is None:
            return None
        tree.append(found)
        there.remove(found[0])
    return tree


def _branch(relations: Sequence[Relation], there: AbstractSet[int], leaf: int) -> int | None:
    others = sorted(there - {leaf})
    elsewhere = {name for other in others for name in relations[other].names}
    shared = elsewhere.intersection(relations[leaf].names)
    return next((other for other in others if shared.issubset(relations[other].names)), None)


def _root(relations: Sequence[Relation], tree: Sequence[tuple[int, int]]) -> int:
    return tree[-1][1] if tree else len(relations) - 1


def _merged(left: Sequence[Relation], pairs: Sequence[tuple[Relation, Relation]], limit: int) -> list[Relation]:
    """Return relations with the two of them joined whose join is the smallest."""
    one, other = min(pairs, key=lambda pair: _join_size(*pair))
    whole = _join(one, other, limit)
    return [*(relation for relation in left if relation is not one and relation is not other), whole]


def _join_size(one: Relation, other: Relation) -> int:
    shared = _shared(one, other)
    found = Counter(other.columns(shared))
    return sum(found[key] for key in one.columns(shared))


def _join(one: Relation, other: Relation, limit: int) -> Relation:
    size = _join_size(one, other)
    if size > limit:
        raise OverflowError(f"{size:,} rows")
    shared = _shared(one, other)
    new = [name for name in other.names if name not in one.names]
    tails: dict[Row, list[Row]] = {}
    for key, tail in zip(other.columns(shared), other.columns(new), strict=True):
        tails.setdefault(key, []).append(tail)
    rows = (row + tail for row, key in zip(one.rows, one.columns(shared), strict=True) for tail in tails.get(key, ()))
    return Relation((*one.names, *new), tuple(rows))
