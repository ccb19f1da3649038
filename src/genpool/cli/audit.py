"""`genpool audit`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from genpool.audit import Spend, Tally
    from genpool.purchases import Purchase

_COLUMNS = ("calls", "committed", "promoted", "attempts", "failed", "unknown", "in flight", "going on")
_ALWAYS = ("calls", "committed", "attempts")
_TWICE = {
    "twice": "bought twice: another writer was first",
    "made_anew": "bought again: its generation had been removed",
    "perhaps": "perhaps bought twice: nobody knows what became of an earlier call",
}


@click.group("audit")
def command() -> None:
    """Give an account of everything bought."""


@command.command("spend")
@click.option("--cohort", metavar="COHORT", help="Only what the runs of this cohort bought.")
@click.option(
    "--since", metavar="TIME", help="Only calls sent since then: 2026-05-01, 2026-05-01T12:00+02:00; else UTC."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def spend(root: str | None, cohort: str | None, since: str | None, *, as_json: bool) -> int:
    """Say what was bought, by model and by cohort, valid or not.

    From the ledgers, so what was purged since is in it. A call that was in flight when its process died, and one that
    timed out or was reset, is named and counts as spent at its worst price; so is a task that was bought twice, or
    perhaps was. Writes nothing.

    Exit code 1: something in the ledgers cannot be read; it is named, and the rest is shown.
    """
    from genpool.cli.output import print_json
    from genpool.pool import Pool

    found = Pool.find(root).audit(cohort, _time(since))
    if as_json:
        print_json(_document(found))
    else:
        _print(found)
    return int(bool(found.problems))


def _time(since: str | None) -> datetime | None:
    from datetime import UTC, datetime

    from genpool.cli.arguments import usage

    if since is None:
        return None
    try:
        at = datetime.fromisoformat(since)
        return at.replace(tzinfo=at.tzinfo or UTC)
    except ValueError:
        raise usage(f"--since {since!r} is not a time: 2026-05-01, or 2026-05-01T12:00:00Z") from None


# --- for machines ---------------------------------------------------------------------------------


def _document(found: Spend) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "format": "genpool.spend/1",
        "total": _tally(found.total),
        "models": {name: _tally(one) for name, one in found.by_model.items()},
        "cohorts": {name: _tally(one) for name, one in found.by_cohort.items()},
        "in_doubt": [asdict(one) for one in found.doubtful],
        "never_settled": [asdict(one) for one in found.unsettled],
        "bought_twice": [asdict(one) for one in found.twice],
        "problems": [asdict(one) for one in (*found.problems, *found.notes)],
    }


def _tally(one: Tally) -> dict[str, Any]:
    return {
        **{column.replace(" ", "_"): _count(one, column) for column in _COLUMNS},
        "attempts": dict(sorted(one.attempts.items())),
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "cost": one.cost,
        "worst_cost": one.worst,
        "priced_calls": one.priced,
        "unpriced_calls": one.unpriced,
        "calls_without_a_worst_price": one.unbounded,
    }


def _count(one: Tally, column: str) -> int:
    if column == "attempts":
        return one.attempts.total()
    count: int = getattr(one, column.replace(" ", "_"))
    return count


# --- for people -----------------------------------------------------------------------------------


def _print(found: Spend) -> None:
    from genpool.cli.output import many, shown

    total = found.total
    if not total.calls:
        print("nothing was bought")
    else:
        _print_tallies("model", found.by_model, total)
        _print_tallies("cohort", found.by_cohort, total)
        _print_sums(total)
    by_run = Counter(one.run_id for one in found.of("going_on"))
    for run_id, count in by_run.items():
        print(f"going on: {shown(run_id)} has {many(count, 'call')} in flight now")
    _print_calls("in flight when its process died", found.of("in_flight"))
    _print_calls("nobody knows whether it was charged", found.of("unknown"))
    _print_calls("never settled, but kept: bought once", found.unsettled)
    for task in found.twice:
        print(f"{_TWICE[task.kind]}: {shown(task.stage)} {shown(task.gen_id)}")
        for one in task.purchases:
            print(f"  {_call(one)}")
    for note in found.notes:
        print(f"note: {shown(str(note))} (a crash, or a line that is just being written); nothing is lost by it")
    for problem in found.problems:
        print(f"unreadable: {shown(str(problem))}")


def _print_tallies(head: str, tallies: Mapping[str, Tally], total: Tally) -> None:
    from genpool.cli.output import print_table

    columns = [name for name in _COLUMNS if name in _ALWAYS or _count(total, name)]
    rows = [[name or "?", *_cells(one, columns)] for name, one in tallies.items()]
    if len(rows) > 1:
        rows.append(["total", *_cells(total, columns)])
    print_table([head, *columns, "tokens in", "out", "cost", "at worst"], rows, right=[*columns, *_MONEY])
    print()


_MONEY = ("tokens in", "out", "cost", "at worst")


def _cells(one: Tally, columns: Sequence[str]) -> list[object]:
    money = [f"{one.cost:.4f}", f"{one.worst:.4f}"] if one.priced or one.doubtful else [None, None]
    return [*(_count(one, name) for name in columns), one.input_tokens, one.output_tokens, *money]


def _print_sums(total: Tally) -> None:
    """Print what is not valid by its reason, and how sure the cost is."""
    from genpool.cli.output import many, one_line

    if total.attempts:
        reasons = ", ".join(f"{one_line(kind)} {count:,}" for kind, count in sorted(total.attempts.items()))
        print(f"attempts: {reasons}")
    if total.promoted:
        print(f"promoted: {many(total.promoted, 'attempt')} became a generation when a parser was mended")
    if total.failed:
        print(f"failed without charge: {many(total.failed, 'call')}")
    if total.priced or total.doubtful:
        print(f"spent: {total.cost:.4f} for certain, {total.worst:.4f} at worst")
    if total.unpriced:
        print(f"not in the cost: {many(total.unpriced, 'call')} by models without a price")
    if total.unbounded:
        print(f"not in the worst: {many(total.unbounded, 'call')} in doubt without a worst price")


def _print_calls(what: str, calls: Sequence[Purchase]) -> None:
    for one in calls:
        print(f"{what}: {_call(one)}")


def _call(one: Purchase) -> str:
    """Return one call in a line."""
    from genpool.cli.output import one_line

    outcome = one.outcome.replace("_", " ") + (f" ({one.reason})" if one.reason else "")
    worst = "no worst price" if one.worst_price is None else f"at worst {one.worst_price:.4f}"
    price = worst if one.is_doubtful else "no price" if one.cost is None else f"cost {one.cost:.4f}"
    said = (one.stage, one.gen_id, f"{one.at or '?'},", f"{one.run_id},", f"cohort {one.cohort_id or '?'},")
    return one_line(f"{' '.join(said)} {one.model or '?'}: {outcome}, {price}")
