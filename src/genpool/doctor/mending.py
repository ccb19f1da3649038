"""Mending what can be mended without losing anything.

Only leftovers of dead processes, torn last lines and the catalog are touched, each looked at once more before. What was
torn off is kept beside its file, on disk before it is cut. The caller has the pool to itself.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from genpool.catalog import Catalog
from genpool.doctor.findings import Finding, Fix
from genpool.doctor.leftovers import still_stands
from genpool.doctor.reading import lines_of
from genpool.durable import append_lines, flush_descriptor, flush_directory, refuse_link, storage_errors, write_all
from genpool.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from genpool.directory_store import DirectoryStore
    from genpool.layout import PoolLayout
    from genpool.stages import Pipeline

_LOCKS: Final = {"combos.jsonl": "combos", "legacy.csv": "legacy", "drift.csv": "drift"}
"""The locks that the appenders to files take."""


def mended(layout: PoolLayout, pipeline: Pipeline, store: DirectoryStore, finding: Finding) -> Finding:
    """Mend a finding; return it as it stands then.

    Raises:
        StorageFailed: The file system refused.
        PoolBusy: Another process is appending to the file.
    """
    path = layout.root / finding.path
    if finding.fix is None:
        return finding
    with storage_errors(f"cannot mend {finding.path}"):
        if finding.fix is Fix.REBUILD_CATALOG:
            with closing(Catalog(layout, pipeline, store)) as catalog:
                catalog.rebuild()
                return replace(finding, mended=not catalog.in_memory)
        if finding.fix in {Fix.CUT_LINE, Fix.END_LINE}:
            with _appenders_lock(layout, finding.path):
                return replace(finding, mended=_end_lines(path, keep=finding.fix is Fix.CUT_LINE))
        with _staging_lock(layout, finding):
            if still_stands(layout, finding):
                _remove(path)
                return replace(finding, mended=True)
            return replace(finding, mended=not os.path.lexists(path))


def _appenders_lock(layout: PoolLayout, path: str) -> AbstractContextManager[None]:
    return file_lock(layout, _LOCKS[path], path) if path in _LOCKS else nullcontext()


@contextmanager
def _staging_lock(layout: PoolLayout, finding: Finding) -> Iterator[None]:
    """Keep new staging folders away meanwhile: one not yet locked looks like one whose owner is gone."""
    if finding.fix is Fix.REMOVE_STAGING:
        with file_lock(layout, "staging", "the staging folder"):
            yield
    else:
        yield


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    flush_directory(path.parent)


def _end_lines(path: Path, *, keep: bool) -> bool:
    """Make the last line of a file end: cut off what is torn and keep it beside the file, or add the newline.

    Returns:
        Whether it ends now: not where what is torn is longer than any line, which is something else.
    """
    refuse_link(path)
    last = b""
    for _, line, ended in lines_of(path):
        last = b"" if ended else line
    if not last:
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        start = size - len(last)
        whole = start >= 0 and os.pread(descriptor, len(last) + 1, start) == last
        if not whole or (start and os.pread(descriptor, 1, start - 1) != b"\n"):
            return False
        if keep:
            append_lines(path.with_name(f"{path.name}.torn"), last + b"\n")
            os.ftruncate(descriptor, start)
        else:
            os.lseek(descriptor, size, os.SEEK_SET)
            write_all(descriptor, b"\n")
        flush_descriptor(descriptor)
        return True
    finally:
        os.close(descriptor)
