"""Folders listed with suspicion: what is in them, and what is something else than belongs there."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from genpool.doctor.findings import Finding, Fix
from genpool.doctor.reading import kind_of
from genpool.signatures import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")
"""The names of files that are being written, as `durable.replace_file` gives them."""

AWAY: Final = "move it out of the pool, or put back what it was"


def entries_of(folder: str | os.PathLike[str], path: str | None = None) -> Iterator[os.DirEntry[str] | Finding]:
    """Yield the entries of a folder, in no order; and a finding where it cannot be listed to its end.

    Args:
        folder: The folder.
        path: Its path relative to the pool; the last two names of the folder where it is not given.
    """
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return  # moved away in the meantime
    except OSError as error:
        named = path or "/".join(os.fspath(folder).split("/")[-2:])
        said = f"the folder cannot be listed: {error.strerror}"
        yield Finding("unreadable", named, said, "look at its permissions")


def directories_in(folder: str | os.PathLike[str], path: str) -> Iterator[os.DirEntry[str] | Finding]:
    """Yield the directories of a folder that holds nothing else, and a finding for everything else that it holds.

    Args:
        folder: The folder.
        path: Its path relative to the pool.
    """
    for entry in entries_of(folder, path):
        if isinstance(entry, Finding):
            yield entry
        else:
            yield _odd_entry(entry, f"{path}/{entry.name}") or entry


def _odd_entry(entry: os.DirEntry[str], path: str) -> Finding | None:
    """Return what is wrong with an entry where a directory with a name of the grammar belongs."""
    kind = kind_of(entry)
    if kind == "a symbolic link":
        said = "a symbolic link where a directory belongs; links are not followed"
        return Finding("link", path, said, "put the directory itself there")
    if kind is None and TEMPORARY.fullmatch(entry.name):
        return litter(path)
    if kind is None and entry.name.startswith("."):
        return unknown(path)  # a system's or an editor's
    if kind != "a directory":
        return Finding("foreign", path, f"{kind or 'a file'} where a directory belongs", AWAY)
    if not FILE_NAME.fullmatch(entry.name):
        said = "its name is none that genpool gives: letters, digits, dot, underscore and hyphen, at most 128"
        return Finding("foreign", path, said, AWAY)
    return None


def litter(path: str) -> Finding:
    """Return the finding that a temporary file is."""
    said = "a temporary file that a process left when it died"
    return Finding("litter", path, said, "`genpool doctor --fix` removes it", fix=Fix.REMOVE_FILE)


def unknown(path: str, stage: str | None = None, gen_id: str | None = None) -> Finding:
    """Return the note that a file is which no part of genpool reads."""
    said = "a file that genpool does not know; it is not used"
    return Finding("foreign", path, said, None, stage, gen_id, is_note=True)
