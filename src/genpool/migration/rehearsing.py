"""A rehearsal: the whole migration on a copy of the pool, verified there and taken back there.

Outputs are hard-linked into the copy and never opened for writing; what is rewritten is copied. The copy is in the
migration's own folder: another place might be on another file system, where nothing can be linked.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING, Final

from genpool.durable import is_there, mode_of, storage_errors
from genpool.layout import METADATA, PoolLayout
from genpool.migration.plan_file import PLAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genpool.migration.plan_file import Plan

COPY: Final = "rehearsal"
_NOT_COPIED: Final = {".genpool", "migrations"}


@contextmanager
def linked_copy(layout: PoolLayout, plan: Plan, tell: Callable[[str, int, int], None]) -> Iterator[PoolLayout]:
    """Make a copy of a pool, with one plan in it; it is removed at the end.

    Args:
        layout: The pool's paths.
        plan: The plan.
        tell: Told how far it is.

    Raises:
        StorageFailed: The file system refused, or knows no hard links.
    """
    copy = layout.migration(plan.migration_id) / COPY
    with storage_errors("cannot copy the pool for a rehearsal"):
        if is_there(copy):
            shutil.rmtree(copy)
        copied = frozenset([*plan.document["books"], "pool.yaml"])
        copy.mkdir()
        for done, top in enumerate(sorted(os.listdir(layout.root))):  # noqa: PTH208 - names will do
            if top not in _NOT_COPIED:
                tell("copying", done, 10)
                _copy(f"{layout.root}/{top}", f"{copy}/{top}", top, copied)
        target = copy / "migrations" / plan.migration_id
        target.mkdir(parents=True)
        for name in (PLAN, *plan.document["files"]):
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copy2(layout.migration(plan.migration_id) / name, target / name)
    try:
        yield PoolLayout(copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _copy(source: str, target: str, path: str, copied: frozenset[str]) -> None:
    """Copy a directory with all below: records and what else is rewritten as copies, the rest as links."""
    mode = mode_of(source)
    if S_ISLNK(mode):
        os.symlink(os.readlink(source), target)  # noqa: PTH115, PTH211 - a text
        return
    if not S_ISDIR(mode):
        if S_ISREG(mode):
            _copy_file(source, target, path, copied)
        return
    os.mkdir(target)  # noqa: PTH102 - a text
    with os.scandir(source) as entries:
        for entry in entries:
            below = f"{path}/{entry.name}"
            if entry.is_file(follow_symlinks=False):
                _copy_file(entry.path, f"{target}/{entry.name}", below, copied)
            else:
                _copy(entry.path, f"{target}/{entry.name}", below, copied)


def _copy_file(source: str, target: str, path: str, copied: frozenset[str]) -> None:
    if path.endswith(f"/{METADATA}") or path in copied:
        shutil.copy2(source, target)
    else:
        os.link(source, target, follow_symlinks=False)
