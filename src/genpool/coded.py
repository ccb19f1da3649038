"""Columns whose values repeat: each value once, and for every row the place of its value.

A million rows of six columns are a few bytes a row this way, and nothing here makes an object a row.
"""

from __future__ import annotations

import string
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Generic, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

T = TypeVar("T", bound="Hashable")

_IN_A_BYTE: Final = 256


@dataclass(frozen=True, slots=True)
class Coded(Generic[T]):
    """One column."""

    values: Sequence[T]
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


_PLAIN: Final = f"{string.ascii_letters}{string.digits}_-.".encode()
"""The bytes that JSON writes as they are and that are no punctuation of its own."""


SEPARATOR: Final = b'","'


class Texts(Sequence[str]):
    """Texts that are kept as the JSON that they were read from, until somebody asks for one.

    A million ids are a million objects less where nobody does; `joined` goes to a data frame as it is.
    """

    def __init__(self, inner: bytes, count: int, width: int) -> None:
        self.joined = inner
        """All texts as one, with `SEPARATOR` between them."""
        self.width = width
        """How many bytes each text has; 0 where they have not all as many."""
        self._count = count

    @classmethod
    def read(cls, inner: bytes) -> Texts | None:
        """Return the texts of a JSON array, given what is between its brackets; None unless all are plain.

        Plain are texts of letters, digits, `_`, `-` and `.`, with nothing between them but commas.
        """
        marks = inner.translate(None, _PLAIN)
        count = (len(marks) + 1) // 3
        if marks + b"," != b'"",' * count or inner[:1] != b'"' or inner[-1:] != b'"':
            return None
        step = len(inner) // count + 1  # from a text to the next, where all are as long: that is quick to look at
        even = len(inner) + 1 == step * count and inner[step - 1 :: step] == b"," * (count - 1)
        if even and inner[::step] == inner[step - 2 :: step] == b'"' * count:
            return cls(inner[1:-1], count, step - len(SEPARATOR))
        return cls(inner[1:-1], count, 0) if inner.count(SEPARATOR) == count - 1 else None

    @cached_property
    def _all(self) -> list[str]:
        return self.joined.decode().split(SEPARATOR.decode())

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        return self._all[at]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Texts):
            return self.joined == other.joined
        return isinstance(other, list | tuple) and self._all == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self._all))
