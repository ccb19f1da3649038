"""What was found of many tasks at once, in columns; and a stage's generations on a shelf where ids are looked up so.

A plan of a million tasks looks a million ids up. One object a generation would cost more than all else together, so
the generations of a large stage stand on a `Shelf`: sorted by id, in columns of numbers. Only what has an id of another
making is kept one by one. A small stage is a dict, and the answers are the same.

Digests are compared by their first 8 bytes; where one is to be told, the catalog has the whole.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.gen_ids import ID_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

Found = tuple[str, int, int, int]
"""A whole generation: its id; the number of its `Making`; `short` of the digest of its inputs; `short` of the digest of
inputs that a child has which was made from its text."""

NOT_FOUND: Final = -1


def short(digest: bytes | None) -> int:
    """Return a number for a digest: its first 8 bytes; 0 for none."""
    return 0 if digest is None else int.from_bytes(digest[:8].ljust(8, b"\0"))


@dataclass(frozen=True, slots=True)
class Finds:
    """What was found of some tasks, in columns of equal length."""

    makings: array[int]
    """The number of each one's `Making`; `NOT_FOUND` where there is no whole generation."""
    inputs: array[int]
    below: array[int]

    @classmethod
    def of(cls, found: Sequence[Found | None]) -> Finds:
        """Return what was found, given one by one."""
        return cls(
            array("q", [NOT_FOUND if one is None else one[1] for one in found]),
            array("Q", [0 if one is None else one[2] for one in found]),
            array("Q", [0 if one is None else one[3] for one in found]),
        )

    def put(self, at: int, one: Found | None) -> None:
        """Set what was found of one task."""
        _, self.makings[at], self.inputs[at], self.below[at] = one or ("", NOT_FOUND, 0, 0)

    def __len__(self) -> int:
        return len(self.makings)


def find(whole: Mapping[str, Found], gen_ids: Sequence[str]) -> Finds:
    """Return what was found of tasks, given the ids that they would be minted with."""
    if isinstance(whole, Shelf):
        return whole.find(gen_ids)
    return Finds.of(list(map(whole.get, gen_ids)))


class Shelf(Mapping[str, Found]):
    """The whole generations of a stage, by id; those with right ids in columns.

    Args:
        prefix: The prefix of the stage's ids.
        packed: Sorted by id, for each generation with a right id, as hexadecimal digits: the id's 32, 16 of the digest
            of its inputs, 16 of that of its children's inputs; zeros where there is no digest.
        makings: The number of the `Making` of each of them.
        others: The generations with other ids.
    """

    def __init__(self, prefix: str, packed: str, makings: NDArray[np.int64], others: Mapping[str, Found]) -> None:
        import numpy as np  # takes longer to bring in than a small plan: only where there is very much to look up

        self._prefix = f"{prefix}_"
        columns = np.frombuffer(bytes.fromhex(packed), ">u8").reshape(-1, 4).astype("u8")
        self._high, self._low, self._inputs, self._below = columns.T.copy()
        self._makings = makings
        self._others = others

    @property
    def is_sound(self) -> bool:
        """Whether ids can be looked up by their first half: they are sorted by it, and no two have the same."""
        return len(self._makings) == len(self._high) and bool((self._high[1:] > self._high[:-1]).all())

    def find(self, gen_ids: Sequence[str]) -> Finds:
        """Return what was found of tasks, given the ids that they would be minted with."""
        import numpy as np

        if not len(self._high):
            return Finds.of([None] * len(gen_ids))
        start = len(self._prefix)
        digits = "".join([gen_id[start:] for gen_id in gen_ids])
        wanted = np.frombuffer(bytes.fromhex(digits), ">u8").reshape(-1, 2)
        high = wanted[:, 0].astype("u8")
        at = np.minimum(np.searchsorted(self._high, high), len(self._high) - 1)
        there = (self._high[at] == high) & (self._low[at] == wanted[:, 1])
        return Finds(
            array("q", np.where(there, self._makings[at], NOT_FOUND).astype("i8").tobytes()),
            array("Q", np.where(there, self._inputs[at], 0).astype("u8").tobytes()),
            array("Q", np.where(there, self._below[at], 0).astype("u8").tobytes()),
        )

    def __getitem__(self, gen_id: str) -> Found:
        if gen_id in self._others:
            return self._others[gen_id]
        prefix, digits = gen_id[: len(self._prefix)], gen_id[len(self._prefix) :]
        if prefix != self._prefix or len(digits) != ID_DIGITS or not set(digits) <= _HEX:
            raise KeyError(gen_id)
        at = bisect_left(self._high, int(digits[:16], 16))
        if at == len(self._high) or (self._high[at], self._low[at]) != (int(digits[:16], 16), int(digits[16:], 16)):
            raise KeyError(gen_id)
        return gen_id, int(self._makings[at]), int(self._inputs[at]), int(self._below[at])

    def __iter__(self) -> Iterator[str]:
        for high, low in zip(self._high.tolist(), self._low.tolist(), strict=True):
            yield f"{self._prefix}{high:016x}{low:016x}"
        yield from self._others

    def __len__(self) -> int:
        return len(self._high) + len(self._others)


_HEX: Final = frozenset("0123456789abcdef")
