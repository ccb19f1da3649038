"""What is examined: a pool's paths, stages and salt."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from genpool.doctor.reading import is_folder

if TYPE_CHECKING:
    from genpool.layout import PoolLayout
    from genpool.stages import Pipeline


@dataclass(frozen=True, slots=True)
class Examined:
    """A pool that is examined."""

    layout: PoolLayout
    """The pool's paths."""
    pipeline: Pipeline
    """The pool's stages."""
    salt: str
    """The pool's salt."""
    root: str = field(init=False)
    """The pool's directory as text: a path that is asked for a million times is put together as text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", os.fspath(self.layout.root))

    def place(self, path: str) -> str:
        """Return where a path relative to the pool is."""
        return f"{self.root}/{path}"

    def has(self, stage: str, gen_id: str) -> bool:
        """Return whether the directory of a generation is there, whatever is in it."""
        return is_folder(f"{self.root}/gens/{stage}/{gen_id}")
