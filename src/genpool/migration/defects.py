"""What is wrong with a pool that is to be migrated, or worth knowing: each thing with its path."""

from __future__ import annotations

from typing import Final, NamedTuple


class Defect(NamedTuple):
    """One thing that a plan found."""

    kind: str
    """A stable word."""
    path: str
    """Where, relative to the pool."""
    said: str
    """What is wrong, with the offending value."""

    @property
    def blocks(self) -> bool:
        """Whether what it was found at stays as it is, with all that descends from it."""
        return self.kind in BLOCKING


UNREADABLE: Final = "unreadable"
CORRUPT: Final = "corrupt"
NEWER: Final = "newer-format"
MISSING_FIELD: Final = "missing-field"
INVALID_VALUE: Final = "invalid-value"
DISAGREEING: Final = "disagreeing-keys"
ORPHAN: Final = "orphan"
OTHER_STAGE: Final = "parent-in-other-stage"
AMBIGUOUS: Final = "ambiguous-reference"
PARENT_BLOCKED: Final = "parent-stays"
CYCLE: Final = "cycle"
PLACE_TAKEN: Final = "place-taken"
METADATA_ONLY: Final = "metadata-only"
OUTPUTS_ONLY: Final = "outputs-only"
EMPTY: Final = "empty-directory"
LINK: Final = "link"
FOREIGN: Final = "foreign"

BLOCKING: Final = frozenset(
    {
        UNREADABLE,
        CORRUPT,
        NEWER,
        MISSING_FIELD,
        INVALID_VALUE,
        DISAGREEING,
        ORPHAN,
        OTHER_STAGE,
        AMBIGUOUS,
        PARENT_BLOCKED,
        CYCLE,
        PLACE_TAKEN,
        METADATA_ONLY,
        OUTPUTS_ONLY,
        EMPTY,
        LINK,
        FOREIGN,
    }
)
"""What keeps a directory, and what descends from it, as it is."""

NO_REPLICATE: Final = "no-replicate"
TEXT_REPLICATE: Final = "text-replicate"
ODD_REPLICATE: Final = "odd-replicate"
OLD_KEY: Final = "old-key"
TWO_ORIGINS: Final = "two-origins"
REPEATED_COMBO: Final = "repeated-combo"
UPPER_CASE: Final = "upper-case"
SAME_SIGNATURE: Final = "same-signature"
TWINS: Final = "identical-twins"
UNKNOWN_MEMBER: Final = "unknown-member"
WIDE_MEMBERSHIP: Final = "wide-membership"
UNREADABLE_BOOK: Final = "unreadable-book"
UNKNOWN_TASK: Final = "unknown-task"
