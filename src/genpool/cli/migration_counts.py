"""What a migration's numbers are printed as: in every verb the same line for the same numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from genpool.migration.defects import Defect
    from genpool.migration.planning import Planned
    from genpool.migration.verifying import Report

    Numbers = Mapping[str, Mapping[str, int]]

_SHOWN: Final = 5
"""So many findings of a kind are printed; the plan's defects.csv has them all."""
_MADE_BY: Final = ("right", "opaque")
"""What is always among the columns; an older scheme's name stands between them."""


def print_counts(counts: Numbers | None, *, back: bool = False) -> None:
    """Print a line for each group of numbers: its total, and the parts that add up to it.

    Args:
        counts: The numbers (`genpool.migration.counts`); None of a plan from before plans had any.
        back: Whether what was rewritten was given back what it was.
    """
    from genpool.migration.counts import ENTRIES, TOTALS

    for group, name in TOTALS.items():
        found = (counts or {}).get(group, {})
        total = found.get(name, 0)
        if not total:
            continue
        noun = {ENTRIES: _entries(total), "lines": f"{total:,} line{'s' * (total != 1)}"}.get(name)
        noun = noun or f"{total:,} {'restored' if back and name == 'rewritten' else name}"
        print(f"{group}: {noun} = " + " + ".join(f"{_label(one)} {found[one]:,}" for one in found if one != name))


def print_report(report: Report) -> None:
    """Print what a verification counted, and what else it set against what it was before."""
    from genpool.cli.output import many
    from genpool.migration.counts import ANOTHER_ID, ENTRIES, FILES, SEALED, TRASH
    from genpool.migration.renames import GENS

    back, checked = report.state == "rolled-back", report.checked
    print_counts(report.counts, back=back)
    groups = [report.counts[one] for one in (GENS, TRASH)]
    left = sum(one[ENTRIES] - one[ANOTHER_ID] - one[SEALED] for one in groups)
    same = [f"{many(checked['untouched records'], 'record')} of {_entries(left)} left alone"]
    same.append(many(checked["other files"], "other file"))
    if FILES in report.counts:
        same.insert(0, f"{many(checked['texts'], 'file')} beside rewritten records")
    print(f"as before: {', '.join(same)}")
    if checked["manifests"]:
        print(f"{many(checked['manifests'], 'manifest')} {'restored' if back else 'taken away'}: made anew when needed")
    if report.since:
        print(f"since then {many(len(report.since), 'path')} came or changed, no part of it; --json lists them")


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _label(name: str) -> str:
    return name.replace("_", " ")


# --- a plan -----------------------------------------------------------------------------------------


def print_stages(classes: Mapping[str, Mapping[str, int]], counts: Numbers) -> None:
    """Print how many entries each stage's folder has: by what made their ids, and by what becomes of them."""
    from genpool.migration.counts import ANOTHER_ID, ENTRIES, NO_CHANGE, SEALED, STAYS
    from genpool.migration.renames import GENS

    made = {
        stage: {name: count for name, count in found.items() if name not in {"to change", "stays"}}
        for stage, found in classes.items()
    }
    named = {name for found in made.values() for name, count in found.items() if count} - {*_MADE_BY, "unusable"}
    columns = ["right", *sorted(named), "opaque", "unusable"]
    made = {stage: {**found, ENTRIES: sum(found.values())} for stage, found in made.items()}
    _print_parts("gens/, by what made the ids", columns, made)
    columns = [ANOTHER_ID, SEALED, NO_CHANGE, STAYS]
    _print_parts("the same, by what becomes of them", columns, {one: counts[f"{GENS}/{one}"] for one in classes})


def _print_parts(title: str, parts: Sequence[str], found: Numbers) -> None:
    from genpool.cli.output import print_table

    columns = ["entries", *parts]
    rows: list[list[object]] = [[stage, *(counts.get(one, 0) for one in columns)] for stage, counts in found.items()]
    rows.append(["total", *(sum(counts.get(one, 0) for counts in found.values()) for one in columns)])
    headings = [_label(one) for one in columns]
    print(f"{title}:")
    print_table(["stage", *headings], rows, right=headings)
    print()


def print_findings(planned: Planned, *, lists: str) -> None:
    """Print what was found: what keeps something as it is, then what is worth knowing.

    Args:
        planned: The plan.
        lists: What lists all of it.
    """
    from genpool.migration.counts import entry_of, staying

    entries = len(staying(planned.inventory.listed, (one.path for one in planned.blocking)))
    by_entry: dict[str, list[Defect]] = {}
    for one in planned.blocking:
        by_entry.setdefault(entry_of(one.path), []).append(one)
    strays = len(by_entry) - entries
    besides = f", and {strays:,} folder{'s' * (strays != 1)} of no stage" if strays else ""
    _print_listed(f"stays: {_entries(entries)}{besides}", list(by_entry.values()), "stays", lists)
    notes = [[one] for one in planned.defects if not one.blocks]
    _print_listed(f"noted: {len(notes):,} finding{'s' * (len(notes) != 1)}", notes, "note", lists)


def _print_listed(heading: str, found: list[list[Defect]], word: str, lists: str) -> None:
    """Print findings, a line each, and in the heading how many of them are printed."""
    from genpool.cli.output import one_line

    if not found:
        return
    found = sorted(found, key=lambda one: (one[0].kind, one[0].path))
    every = Counter(one[0].kind for one in found)
    shown = sum(min(count, _SHOWN) for count in every.values())
    print(heading + (f"; {shown:,} of {len(found):,} are printed, {lists} lists all" if shown < len(found) else ""))
    seen: Counter[str] = Counter()
    for same in found:
        kind = same[0].kind
        seen[kind] += 1
        if seen[kind] > _SHOWN:
            continue
        said = "; ".join(one_line(one.said) for one in same)
        of = f", {seen[kind]} of {every[kind]:,}" if every[kind] > _SHOWN else ""
        print(f"{word}: {one_line(same[0].path)}: {said} [{kind}{of}]")
    print()
