"""Change tokens: what says whether a stage's generations are what they were.

A token of a stage is two things. Its *trusted change time*, with which a few stat calls show that nothing was added,
removed or renamed since; and its *content*, a sum over all that the catalog holds of every generation, which is the
same whenever the same generations are there: after the folder was only touched, after the catalog was deleted and made
anew. Equal contents mean equal answers, whatever the change times say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.canonical import sha256
from genpool.durable import reading
from genpool.errors import StorageFailed

if TYPE_CHECKING:
    from genpool.layout import PoolLayout
    from genpool.stages import Stage

DISTRUST: Final = 2_000_000_000
"""Nanoseconds: what was younger than this when it was looked at may have changed again within the same tick of a file
system's coarse clock."""

NEVER: Final = -1
"""The change time of a folder that was never looked at: no folder has it."""


@dataclass(frozen=True, slots=True)
class StageToken:
    """What a stage held at one look."""

    changed: int
    """The change time (ctime) of the stage's folder, in nanoseconds; 0 where there is none, `NEVER` if never seen."""
    looked: int
    """When the folder was looked at, in nanoseconds since the epoch."""
    content: str
    """The sum over what the catalog holds of every generation, modulo 2^128, as 32 hex digits."""
    unsettled: int = 0
    """How many directories are incomplete or unusable: they are looked at again every time, so that stat calls on the
    stage's folder say nothing about them."""
    slots: str = ""
    """The SHA-256 of legacy.csv where the stage has legacy generations, whose slots it records; else empty."""

    def same_content(self, other: StageToken) -> bool:
        """Return whether two tokens stand for the same generations, in the same slots."""
        return (self.content, self.slots) == (other.content, other.slots)


def folder_changed(layout: PoolLayout, stage: Stage) -> int:
    """Return the change time of a stage's folder in nanoseconds; 0 where there is none.

    Raises:
        StorageFailed: It cannot be looked at.
    """
    folder = layout.stage(stage.name)
    try:
        return folder.stat().st_ctime_ns
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageFailed(f"cannot look at {folder}: {error.strerror}") from error


def is_trusted(changed: int, snapshot: tuple[int, int] | None) -> bool:
    """Return whether what was noted of a stage's folder holds: nothing was added, removed or renamed since.

    Args:
        changed: The folder's change time now, in nanoseconds.
        snapshot: Its change time then, and when it was looked at; None where it never was.
    """
    return snapshot is not None and snapshot[0] == changed and snapshot[1] - changed > DISTRUST


def still_holds(layout: PoolLayout, stage: Stage, token: StageToken) -> bool:
    """Return whether a token is known to be that of now, by one stat call (and legacy.csv, where slots count).

    False means only that it is not known: then `Catalog.token` says, and the contents are to be compared.

    Raises:
        StorageFailed: The stage's folder, or legacy.csv, cannot be looked at.
    """
    if token.unsettled or not is_trusted(folder_changed(layout, stage), (token.changed, token.looked)):
        return False
    return not token.slots or token.slots == slots_digest(layout)


def slots_digest(layout: PoolLayout) -> str:
    """Return the SHA-256 of legacy.csv, which records the slots of legacy generations; of no bytes where there is none.

    Raises:
        StorageFailed: It cannot be read.
    """
    try:
        with reading(layout.legacy):
            return sha256(layout.legacy.read_bytes())
    except FileNotFoundError:
        return sha256(b"")
