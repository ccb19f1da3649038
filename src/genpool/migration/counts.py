"""How much of a pool a migration is about: everything is counted once, and parts add up to what they are parts of.

The groups, each a total and its parts:

- `gens/<stage>`, `gens` (all of its stages), `trash` (the generations in it), `attempts` (a folder for each task; the
  trash's too): `entries` in the folders, by what becomes of them.
- `members`: `lines` of the memberships of cohorts, but for those in the trash.
- `ids`: `changed` ids, each counted once, by what bears it; where several do, the first counts. Each is an alias.
- `files`: `rewritten` files. Manifests, caches that are taken away, are none of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from genpool.migration.renames import ATTEMPTS, GENS, MEMBER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from genpool.migration.renames import Row

TRASH: Final = "trash"
MEMBERS: Final = "members"
IDS: Final = "ids"
FILES: Final = "files"

ENTRIES: Final = "entries"
ANOTHER_ID: Final = "another_id"
"""It gets another id, and with it a record of our format."""
SEALED: Final = "sealed"
"""It keeps its id; its record gets our format."""
NO_CHANGE: Final = "no_change"
"""It has the id and the record that it would get, or is no affair of the migration."""
STAYS: Final = "stays"
"""It must stay as it is, for a reason that the plan's defects name."""

_ENTRIES: Final = (ENTRIES, ANOTHER_ID, SEALED, NO_CHANGE, STAYS)
_LINES: Final = ("lines", ANOTHER_ID, NO_CHANGE)
_IDS: Final = ("changed", GENS, TRASH, ATTEMPTS, MEMBERS)
_FILES: Final = ("rewritten", "records", ATTEMPTS, "others")
TOTALS: Final = {GENS: ENTRIES, TRASH: ENTRIES, ATTEMPTS: ENTRIES, MEMBERS: "lines", IDS: "changed", FILES: "rewritten"}
"""Group to the name of its total; the other numbers of a group are its parts."""

Counts = dict[str, dict[str, int]]
"""Group to name to number."""


def entry_counts(listed: Mapping[str, int], rows: Iterable[Row], stays: Iterable[str]) -> Counts:
    """Return how many entries of the folders of stages become what.

    Args:
        listed: Folder of a stage to how many entries are in it.
        rows: What becomes what.
        stays: The paths of those that must stay.
    """
    found: dict[str, Counter[str]] = {GENS: Counter(), TRASH: Counter(), ATTEMPTS: Counter()}
    for folder, count in listed.items():
        _add(found, folder, ENTRIES, count)
    touched = Counter((row.place, row.stage, row.old_id != row.new_id) for row in rows if row.place != MEMBER)
    for (place, stage, moves), count in touched.items():
        _add(found, f"{place}/{stage}", ANOTHER_ID if moves else SEALED, count)
    for folder, count in Counter(path.rpartition("/")[0] for path in stays).items():
        _add(found, folder, STAYS, count)
    for group in found.values():
        group[NO_CHANGE] = group[ENTRIES] - group[ANOTHER_ID] - group[SEALED] - group[STAYS]
    return {name: _in_order(group, _ENTRIES) for name, group in found.items()}


def _add(found: dict[str, Counter[str]], folder: str, name: str, count: int) -> None:
    group = group_of(folder)
    found[group][name] += count
    if group == GENS:
        found.setdefault(folder, Counter())[name] += count


def group_of(path: str) -> str:
    """Return the group of something in gens/, attempts/ or one of these in the trash."""
    top, _, rest = path.partition("/")
    if top != TRASH:
        return top
    return ATTEMPTS if rest.split("/")[1:2] == [ATTEMPTS] else TRASH


def staying(listed: Mapping[str, int], paths: Iterable[str]) -> set[str]:
    """Return the entries that something is wrong with which keeps them as they are.

    Args:
        listed: Folder of a stage to how many entries are in it.
        paths: Where something is wrong: at an entry, in it, or at what is no entry.
    """
    found = (entry_of(path) for path in paths)
    return {path for path in found if path.rpartition("/")[0] in listed}


def entry_of(path: str) -> str:
    """Return the entry of a stage's folder that a path is in."""
    parts = path.split("/")
    return "/".join(parts[: 5 if parts[0] == TRASH else 3])


def member_counts(cohorts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return how many lines memberships have, and how many of them get another id.

    Args:
        cohorts: Of each cohort `members`, and how many of them are `renamed`.
    """
    lines = renamed = 0
    for one in cohorts:
        lines += one["members"]
        renamed += one["renamed"]
    return _in_order({"lines": lines, ANOTHER_ID: renamed, NO_CHANGE: lines - renamed}, _LINES)


def id_counts(aliases: Iterable[Row]) -> dict[str, int]:
    """Return how many ids change.

    Args:
        aliases: A row for each of them (`aliases_of`).
    """
    places = Counter(row.place for row in aliases)
    found = Counter({"changed": places.total()})
    for place, count in places.items():
        found[MEMBERS if place == MEMBER else group_of(place)] += count
    return _in_order(found, _IDS)


def file_counts(files: Mapping[str, int]) -> dict[str, int]:
    """Return how many files are rewritten: records of generations, of attempts, and others."""
    return _in_order({**files, "rewritten": sum(files.values())}, _FILES)


def kind_of_file(path: str) -> str:
    """Return which of the parts a rewritten file is counted with."""
    parts = path.split("/")
    place = parts[2:3] if parts[0] == TRASH else parts[:1]
    return {GENS: "records", ATTEMPTS: ATTEMPTS}.get("".join(place), "others")


def _in_order(found: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    return {name: found.get(name, 0) for name in names}
