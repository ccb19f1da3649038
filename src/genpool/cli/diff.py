"""`genpool diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from genpool.cohort_diff import CohortDiff, Meaning


@click.command("diff")
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(root: str | None, first: str, second: str, *, as_json: bool) -> None:
    """Set two cohorts side by side: spec, members, drift, scores.

    Members are told by stage: in both, or in one alone. Drift is a name (a template, a model) that stood for one thing
    when members of FIRST were made and for another when those of SECOND were. Means are by every axis that has several
    levels in either; a difference is given where both are on one scale.
    """
    from genpool.cli.output import print_json
    from genpool.cohort_diff import compare
    from genpool.pool import Pool

    pool = Pool.find(root)
    found = compare(pool.layout, pool.catalog, pool.scope(first), pool.scope(second))
    if as_json:
        print_json(_document(found))
    else:
        _print(found)


def _document(found: CohortDiff) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "format": "genpool.diff/1",
        "first": found.first,
        "second": found.second,
        "spec": list(found.spec),
        "members": [asdict(one) for one in found.members],
        "drift": [asdict(one) for one in found.drift],
        "scores": found.scores.frame.to_dicts(),
        "notes": [*found.notes, *found.scores.notes],
    }


def _print(found: CohortDiff) -> None:
    from genpool.cli.output import one_line, print_table, shown
    from genpool.cli.scores import print_scores
    from genpool.tables import Table

    print("\n".join(one_line(line) for line in found.spec) or ("" if found.notes else "the specs are the same"))
    for note in found.notes:
        print(f"note: {shown(note)}")
    print()
    first, second = found.first, found.second
    heads = ["in both", f"only {first}", f"only {second}", f"missing {first}", f"missing {second}"]
    rows: list[list[object]] = [
        [one.stage, one.both, one.only_first, one.only_second, one.missing_first, one.missing_second]
        for one in found.members
    ]
    print_table(["stage", *heads], rows, right=heads)
    print()
    for one in found.drift:
        print(_drift_line(one, found))
    print() if found.drift else print("no name stood for different things\n")
    print_scores(Table(_compact(found), found.scores.notes))


def _compact(found: CohortDiff) -> pl.DataFrame:
    """Return the scores as they fit a screen: what is in the document is in it, but for the counts of judgements."""
    import polars as pl

    frame = found.scores.frame
    first, second = (f"scale in {name}" for name in (found.first, found.second))
    scale = pl.coalesce(first, second).alias("scale")
    both = pl.when(pl.col(first) != pl.col(second)).then(pl.format("{}; {}", first, second)).otherwise(scale)
    sides = [one for name in (found.first, found.second) for one in (f"mean in {name}", f"texts in {name}")]
    named = {"mean", "scale", "texts", "judgements", "note"}
    axes = [one for one in frame.columns if one != "difference" and one.split(" in ")[0] not in named]
    return frame.select(*axes, *sides, "difference", both.alias("scale"))


def _drift_line(one: Meaning, found: CohortDiff) -> str:
    from genpool.cli.output import shown

    sides = f"{found.first}: {_made_by(one.first)}; {found.second}: {_made_by(one.second)}"
    return shown(f"{one.kind} {one.name} stood for different things: {sides}")


def _made_by(digests: Mapping[str, int]) -> str:
    return ", ".join(f"{digest} ({count})" for digest, count in digests.items())
