"""`genpool doctor`."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from genpool.doctor import Examination, Finding, Progress

_SHOWN: Final = 20
"""How many findings of a kind are printed; `--json` has them all."""
_SECONDS: Final = 0.2
_DONE: Final = {
    "REMOVE_FILE": "the file was removed",
    "REMOVE_STAGING": "the folder was removed",
    "END_LINE": "the line was given its end",
    "CUT_LINE": "the torn line was cut off; it is kept beside the file, in .torn",
    "REBUILD_CATALOG": "the catalog was made anew",
}
"""The name of a fix to what was done."""
_WORDS: Final = {
    "generations": "generation",
    "attempts": "attempt",
    "texts": "text",
    "sources": "source",
    "combos": "combo",
    "cohorts": "cohort",
    "members": "member",
    "ledgers": "ledger",
    "removals": "removal",
}


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Mend what is safe: leftovers, torn last lines, the catalog.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, *, fix: bool, as_json: bool) -> int:
    """Check the whole pool, and mend what is safe.

    Reads every file: identity, digests and references of every generation and attempt, sources, ledgers, memberships,
    the trash, leftovers of dead processes, links, the catalog. Says what is wrong, where, and what to do next. Without
    --fix nothing is written and no lock is taken; with it the pool must not be in use. A large pool is read by as many
    processes as there are cores; on a terminal it says how far it is.

    Exit code 1: something is wrong and was not mended. Notes alone end with 0.
    """
    from genpool.cli.output import print_json
    from genpool.pool import Pool

    pool = Pool.find(root)
    processes = os.cpu_count() or 1
    with _watched(quiet=as_json) as progress:
        found = pool.mend(progress, processes) if fix else pool.examine(progress, processes)
    if as_json:
        print_json(_document(found))
    else:
        _print(found)
    return int(not found.is_healthy)


@contextmanager
def _watched(*, quiet: bool) -> Iterator[Progress | None]:
    """Yield what shows how far an examination is: one line on a terminal, gone when it ends; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from genpool.cli.output import console
    from genpool.cli.pace import Pace

    with console(stderr=True).status("reading the pool") as status:
        last = time.monotonic()
        pace = Pace()

        def show(reading: str, done: int, of: int | None) -> None:
            nonlocal last
            words = pace.words(reading, done, of)
            if time.monotonic() - last > _SECONDS:
                last = time.monotonic()
                status.update(f"reading {reading}/: {words}")

        yield show


def _document(found: Examination) -> dict[str, Any]:
    return {
        "format": "genpool.doctor/1",
        "healthy": found.is_healthy,
        "checked": dict(found.checked),
        "problems": len(found.problems),
        "mended": sum(one.mended for one in found.findings),
        "findings": [one.as_json() for one in found.findings],
    }


def _print(found: Examination) -> None:
    """Print what is wrong, then what is worth knowing, then one line that sums up."""
    shown: Counter[tuple[str, bool]] = Counter()
    for one in found.findings:
        shown[one.kind, one.is_note] += 1
        if shown[one.kind, one.is_note] <= _SHOWN:
            _print_finding(one)
    for (kind, _), count in shown.items():
        if count > _SHOWN:
            print(f"{count - _SHOWN:,} more of the kind {kind}; --json lists them")
    print(_summary(found))


def _print_finding(one: Finding) -> None:
    from genpool.cli.arguments import for_this_pool
    from genpool.cli.output import one_line

    label = "mended" if one.mended else "note" if one.is_note else "problem"
    print(f"{label}: {one_line(one.place)}: {one_line(one.what)} [{one.kind}]")
    if one.mended and one.fix is not None:
        print(f"  done: {_DONE[one.fix.name]}")
    todo = for_this_pool(one.todo, click.get_current_context().obj)
    if todo and not one.mended:
        print(f"  next: {one_line(todo)}")


def _summary(found: Examination) -> str:
    mended = sum(one.mended for one in found.findings)
    left, fixable = len(found.problems), sum(one.fix is not None for one in found.problems)
    said = []
    if mended:
        said.append(f"{mended:,} mended")
    if left:
        said.append(f"{left:,} {'problem' if left == 1 else 'problems'}")
    if fixable:
        said.append(f"{fixable:,} of them for `--fix`")
    return f"{', '.join(said) or 'healthy'}: read {_counts(found.checked)}"


def _counts(checked: Mapping[str, int]) -> str:
    from genpool.cli.output import many

    return ", ".join(many(count, _WORDS[name]) for name, count in checked.items() if count) or "an empty pool"
