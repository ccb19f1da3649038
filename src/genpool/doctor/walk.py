"""The walk over gens/ and attempts/: names what does not belong there, and hands out the directories in batches.

A batch is examined on its own, by this process or another, so that a pool of any size is never in memory.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.doctor.findings import Finding
from genpool.doctor.folders import directories_in
from genpool.doctor.reading import is_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genpool.doctor.examined import Examined

GENS: Final = "gens"
ATTEMPTS: Final = "attempts"
_IN_A_BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class Batch:
    """Some directories of one stage."""

    top: str
    """`gens` or `attempts`."""
    stage: str
    names: tuple[str, ...]
    """Gen ids: the names of generations, or of tasks that have attempts."""


def batches(pool: Examined, top: str) -> Iterator[Batch | Finding]:
    """Yield the directories under gens/ or attempts/ in batches, and findings of what else is among them."""
    for stage in _stages(pool, top):
        path = f"{top}/{stage}"
        alike: dict[str, str] = {}
        names: list[str] = []
        for entry in directories_in(pool.place(path), path):
            if isinstance(entry, Finding):
                yield entry
                continue
            if top == GENS:
                yield from _spelling(entry.name, pool.place(path), f"{path}/{entry.name}", alike, stage)
            names.append(entry.name)
            if len(names) == _IN_A_BATCH:
                yield Batch(top, stage, tuple(names))
                names.clear()
        if names:
            yield Batch(top, stage, tuple(names))


def count(pool: Examined, top: str) -> int:
    """Return how many directories there are to examine, what is something else among them included."""
    found = 0
    for stage in _stages(pool, top):
        with suppress(OSError), os.scandir(pool.place(f"{top}/{stage}")) as entries:
            found += sum(1 for _ in entries)
    return found


def _stages(pool: Examined, top: str) -> list[str]:
    """Return the known stages that have a folder; `stray_folders` names what else is there."""
    if not is_folder(pool.place(top)):
        return []
    return [name for name in pool.pipeline.names if is_folder(pool.place(f"{top}/{name}"))]


def stray_folders(pool: Examined) -> Iterator[Finding]:
    """Yield what is in gens/ and attempts/ beside the folders of the pool's stages."""
    for top in (GENS, ATTEMPTS):
        if not is_folder(pool.place(top)):
            continue  # the walk over the pool names it
        for entry in directories_in(pool.place(top), top):
            if isinstance(entry, Finding):
                yield entry
            elif entry.name not in pool.pipeline:
                said = "pool.yaml has no stage of this name: what is in it cannot be checked and is not used"
                todo = "put the stage back into pool.yaml, or move the folder away"
                yield Finding("unknown-stage", f"{top}/{entry.name}", said, todo)


def _spelling(name: str, folder: str, path: str, alike: dict[str, str], stage: str) -> Iterator[Finding]:
    """Yield what a file system that folds case would make of a name.

    Names without capitals are not kept: two of them cannot be alike.
    """
    folded = name.lower()
    if name == folded:
        return
    other = alike.setdefault(folded, name)
    if other == name:
        with suppress(OSError):  # there is no such other
            is_same = os.path.samestat(os.lstat(f"{folder}/{folded}"), os.lstat(f"{folder}/{name}"))
            other = name if is_same else folded  # a file system that folds case finds the same
    if other != name:
        said = f"{name} and {other} differ only in case: on some file systems they are one directory"
        yield Finding("case-collision", path, said, "keep the pool where case counts, or move one away", stage, name)
    else:
        said = "its name has capitals; no id that genpool makes does"
        yield Finding("upper-case", path, said, None, stage, name, is_note=True)
