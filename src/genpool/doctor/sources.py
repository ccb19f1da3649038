"""What stands under sources/: each file is named by its digest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from genpool.doctor.findings import Finding, from_error
from genpool.doctor.folders import TEMPORARY, entries_of, unknown
from genpool.doctor.reading import digest_of, is_folder, kind_of
from genpool.errors import GenpoolError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from genpool.doctor.examined import Examined

DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def sources(pool: Examined, counts: Counter[str], tell: Callable[[int], None]) -> Iterator[Finding]:
    """Yield what is wrong under sources/.

    Args:
        pool: The pool.
        counts: Counts what was read.
        tell: Told how many were read, after each of them.
    """
    folder = pool.place("sources")
    if not is_folder(folder):
        return
    for entry in entries_of(folder, "sources"):
        if isinstance(entry, Finding):
            yield entry
            continue
        path = f"sources/{entry.name}"
        if TEMPORARY.fullmatch(entry.name) or kind_of(entry) == "a symbolic link":
            continue  # the walk over the pool names it
        if not DIGEST.fullmatch(entry.name):
            yield unknown(path)
            continue
        try:
            digest, _ = digest_of(entry.path)
        except GenpoolError as error:
            yield from_error(error, path)
            continue
        counts["sources"] += 1
        tell(counts["sources"])
        if digest != entry.name:
            said = "its content has another digest than its name: it was damaged or edited"
            todo = "restore it from a copy, or remove it: a run that uses the same text writes it anew"
            yield Finding("damaged-source", path, said, todo)
