"""One pass over a pool: what is wrong with it. And a second, short one over what was found: what can be mended.

An examination writes nothing and takes no lock, so it works on a disk that cannot be written; it may run beside a
run, whose own files it does not take for leftovers. It holds nothing of what it reads but what it finds.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from genpool.doctor.books import BookCheck
from genpool.doctor.catalog_file import CatalogFile
from genpool.doctor.examined import Examined
from genpool.doctor.findings import Finding, Fix
from genpool.doctor.generations import MISSING_SOURCE, Checked
from genpool.doctor.leftovers import LeftoverCheck, still_stands
from genpool.doctor.manifest_files import manifest_findings
from genpool.doctor.mending import mended
from genpool.doctor.sources import sources
from genpool.doctor.spreading import checked
from genpool.doctor.walk import ATTEMPTS, GENS, batches, count, stray_folders
from genpool.locks import pool_lock
from genpool.migration.waiting import refuse_while_half_done

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from genpool.directory_store import DirectoryStore
    from genpool.doctor.walk import Batch
    from genpool.layout import PoolLayout
    from genpool.stages import Pipeline

_COUNTED: Final = "generations attempts texts sources combos cohorts members ledgers removals".split()


Progress = Callable[[str, int, int | None], None]
"""Told what is being read, how much of it was, and of how much where that is known."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was looked at, and what was found."""

    findings: tuple[Finding, ...]
    """What is wrong or worth knowing: problems first, then by path."""
    checked: Mapping[str, int] = field(default_factory=dict)
    """How many of what were read: generations, attempts, texts and so on."""

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong and was not mended."""
        return tuple(one for one in self.findings if one.is_left)

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def examine(
    layout: PoolLayout,
    pipeline: Pipeline,
    store: DirectoryStore,
    progress: Progress | None = None,
    processes: int = 1,
) -> Examination:
    """Read every file of a pool and say what is wrong.

    Args:
        layout: The pool's paths.
        pipeline: The pool's stages.
        store: The pool's store.
        progress: Told what is being read, how much of it was, and of how much where that is known.
        processes: How many processes read at a time, where there are many generations.

    Raises:
        StorageFailed: One of these processes was killed from outside.
    """
    pool = Examined(layout, pipeline, store.salt)
    tell = progress or _nobody
    found: list[Finding] = []
    read = Checked()
    with closing(CatalogFile(pool)) as catalog:
        for top in (GENS, ATTEMPTS):
            expected = None if progress is None else count(pool, top)
            read.directories = 0
            for part in checked(pool, catalog, _without_findings(batches(pool, top), found), processes):
                read.add(part)
                tell(top, read.directories, expected)
        books = BookCheck(pool, lambda done: tell("cohorts", done, None))
        leftovers = LeftoverCheck(layout)
        found += _legacy(read)
        found += stray_folders(pool)
        found += sources(pool, read.counts, lambda done: tell("sources", done, None))
        for book in (books.combos, books.slots, books.drift, books.ledgers, books.cohorts):
            found += book()
        found += leftovers.names()
        found += leftovers.private()
        found += leftovers.trash()
        catalog.look_for_strangers()
        found += _of_catalog(layout, catalog)
        found += manifest_findings(pool, catalog.content)
    counts = read.counts + books.counts + leftovers.counts
    standing = {one: None for one in (*read.findings, *found) if one.fix is None or _stands(layout, one)}
    ordered = _once_a_source(sorted(standing, key=lambda one: (one.is_note, one.path, one.line or 0)))
    return Examination(tuple(ordered), {name: counts[name] for name in _COUNTED})


def _once_a_source(findings: Sequence[Finding]) -> list[Finding]:
    """Tell a source that is gone once, at the first generation that names it, with how many name it."""
    named = Counter(one.what for one in findings if one.kind == MISSING_SOURCE)
    told: dict[str, None] = {}
    found = []
    for one in findings:
        if one.kind != MISSING_SOURCE or named[one.what] == 1:
            found.append(one)
        elif one.what not in told:
            told[one.what] = None
            said = f"{one.what}; {named[one.what]:,} generations and attempts name it, this is the first"
            found.append(replace(one, what=said))
    return found


def _nobody(reading: str, done: int, of: int | None) -> None:
    """Be told how far an examination is, and do nothing."""


def _without_findings(walked: Iterable[Batch | Finding], found: list[Finding]) -> Iterator[Batch]:
    """Yield the batches of a walk; put what it found into a list."""
    for one in walked:
        if isinstance(one, Finding):
            found.append(one)
        else:
            yield one


def _legacy(read: Checked) -> Iterator[Finding]:
    for stage, legacy in read.legacy.items():
        if legacy:
            said = f"legacy generations, read and never changed: {legacy:,} of this stage"
            yield Finding("legacy", f"gens/{stage}", said, stage=stage, is_note=True)


def mend(
    layout: PoolLayout,
    pipeline: Pipeline,
    store: DirectoryStore,
    progress: Progress | None = None,
    processes: int = 1,
) -> Examination:
    """Examine a pool, and mend what can be without losing anything, with the pool to itself; see `Pool.mend`."""
    with pool_lock(layout, "genpool doctor --fix", exclusive=True):
        refuse_while_half_done(layout)
        found = examine(layout, pipeline, store, progress, processes)
        return Examination(tuple(mended(layout, pipeline, store, one) for one in found.findings), found.checked)


def _stands(layout: PoolLayout, finding: Finding) -> bool:
    """Return whether what may have been somebody's work in progress is still there at the end of the pass."""
    if finding.fix in {Fix.CUT_LINE, Fix.END_LINE}:
        return _is_torn(layout, finding)
    return still_stands(layout, finding)


def _is_torn(layout: PoolLayout, finding: Finding) -> bool:
    try:
        with (layout.root / finding.path).open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:
        return False


def _of_catalog(layout: PoolLayout, catalog: CatalogFile) -> Iterator[Finding]:
    path = layout.catalog.relative_to(layout.root).as_posix()
    if catalog.defect is not None:
        said = f"the index is damaged: {catalog.defect}"
    elif catalog.differing:
        stage, gen_id = catalog.differing[0]
        said = f"the index does not say what the files do, of {len(catalog.differing):,}: first {stage} {gen_id}"
    else:
        return
    todo = "`genpool doctor --fix` makes it anew from the files; or delete it while nothing runs: it is a cache"
    yield Finding("catalog", path, said, todo, fix=Fix.REBUILD_CATALOG)
