"""Columns whose values repeat: each value once, and for every row the place of its value.

A million rows of six columns are a few bytes a row this way, and nothing here makes an object a row.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

T = TypeVar("T", bound="Hashable")

_IN_A_BYTE: Final = 256


@dataclass(frozen=True, slots=True)
class Coded(Generic[T]):
    """One column."""

    values: tuple[T, ...]
    """The values that occur, each once, in the order in which they first do."""
    codes: Sequence[int]
    """For every row the place of its value."""

    @classmethod
    def of(cls, rows: Iterable[T]) -> Coded[T]:
        """Return the column of some rows."""
        coder: Coder[T] = Coder()
        coder.extend(rows)
        return coder.column()

    @classmethod
    def constant(cls, value: T, rows: int) -> Coded[T]:
        """Return a column that has one value in all its rows."""
        return cls((value,) if rows else (), bytes(rows))

    @classmethod
    def recoded(cls, values: Sequence[T], codes: Sequence[int]) -> Coded[T]:
        """Return the column of some codes into values in any order, of which some may not occur, or be equal."""
        places: dict[T, int] = {}
        placed = {code: places.setdefault(values[code], len(places)) for code in dict.fromkeys(codes)}
        if len(places) <= 1:
            return cls(tuple(places), bytes(len(codes)))
        small = [placed[code] for code in codes]
        return cls(tuple(places), bytes(small) if len(places) <= _IN_A_BYTE else array("I", small))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> T:
        return self.values[self.codes[row]]

    def __iter__(self) -> Iterator[T]:
        return map(self.values.__getitem__, self.codes)

    def tally(self) -> dict[T, int]:
        """Return how many rows have each value."""
        if len(self.values) == 1:
            return {self.values[0]: len(self.codes)}
        return {value: self.codes.count(place) for place, value in enumerate(self.values)}

    def rows_of(self, *wanted: T) -> list[int]:
        """Return the rows that have one of some values, in order."""
        asked = frozenset(wanted)
        places = {place for place, value in enumerate(self.values) if value in asked}
        if not places:
            return []
        return [row for row, code in enumerate(self.codes) if code in places]


class Coder(Generic[T]):
    """Makes a column, some rows at a time."""

    __slots__ = ("_codes", "_places")

    def __init__(self) -> None:
        self._places: dict[T, int] = {}
        self._codes = array("I")

    def append(self, value: T) -> None:
        """Add a row."""
        self._codes.append(self._places.setdefault(value, len(self._places)))

    def extend(self, rows: Iterable[T]) -> None:
        """Add rows."""
        rows = list(rows)
        places = self._places
        for value in dict.fromkeys(rows):
            places.setdefault(value, len(places))
        self._codes.extend([places[value] for value in rows])

    def column(self) -> Coded[T]:
        """Return the column of all rows that were added."""
        values = tuple(self._places)
        return Coded(values, bytes(self._codes.tolist()) if len(values) <= _IN_A_BYTE else self._codes)
