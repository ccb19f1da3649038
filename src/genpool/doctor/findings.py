"""What an examination finds, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genpool.canonical import Json
    from genpool.errors import GenpoolError


class Fix(Enum):
    """How a finding is mended. Whatever is not here is for a person to decide."""

    REMOVE_FILE = "remove the file"
    """A temporary file, a claim or a note whose owner is gone."""
    REMOVE_STAGING = "remove the folder"
    """What a dead process left in staging: nothing in it was acknowledged."""
    END_LINE = "end the last line"
    """It is whole, and lacks only its newline."""
    CUT_LINE = "cut the torn line, and keep it beside the file"
    REBUILD_CATALOG = "rebuild the catalog"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing."""

    kind: str
    """A stable word; `docs/store.md` lists them."""
    path: str
    """The file or directory, relative to the pool."""
    what: str
    """What is wrong with it."""
    todo: str | None = None
    """What to do next."""
    stage: str | None = None
    gen_id: str | None = None
    line: int | None = None
    """The line in the file, counted from 1."""
    is_note: bool = False
    """Whether nothing is wrong: it is only worth knowing."""
    fix: Fix | None = None
    """How `--fix` mends it; None where it does not."""
    mended: bool = False

    @property
    def place(self) -> str:
        """The path, with the line where there is one."""
        return f"{self.path}:{self.line}" if self.line else self.path

    @property
    def is_left(self) -> bool:
        """Whether it is a problem that still stands."""
        return not (self.is_note or self.mended)

    def as_json(self) -> dict[str, Json]:
        """Return the finding as a JSON object."""
        return {
            "kind": self.kind,
            "severity": "note" if self.is_note else "problem",
            "path": _encodable(self.path),
            "line": self.line,
            "stage": self.stage,
            "gen_id": _encodable(self.gen_id),
            "what": _encodable(self.what),
            "todo": _encodable(self.todo),
            "fix": self.fix.value if self.fix else None,
            "mended": self.mended,
        }


def _encodable(text: str | None) -> str | None:
    """Return a text that may hold a file's name as one that JSON can: a name need not be UTF-8."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def from_error(error: GenpoolError, path: str, stage: str | None = None, gen_id: str | None = None) -> Finding:
    """Return the finding that an error of a reader is; the reader was told the same path."""
    return Finding(error.kind, path, error.message.removeprefix(f"{path}: "), error.hint, stage, gen_id)
