"""`genpool report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.pool import Pool
    from genpool.report.facts import Facts
    from genpool.report.findings import Better, Findings
    from genpool.report.judged import JudgedFacts, Overall


@click.command("report")
@click.argument("cohorts", metavar="[COHORT]...", nargs=-1)
@click.option("--out", metavar="FILE", help="Write the page there; else reports/report.html in the cohort's folder.")
@click.option("--no-page", is_flag=True, help="Write no page; print the summary only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the summary.")
@click.pass_obj
def command(root: str | None, cohorts: tuple[str, ...], *, out: str | None, no_page: bool, as_json: bool) -> None:
    """Say what was learnt, and write it as a page.

    Which choices are better, by how much, how sure that is, what it cost, which texts are best: of one COHORT, of
    several together, or of the whole pool. Writes one HTML file that needs no network, and prints a summary with the
    same numbers. Answered from membership, metadata and ledgers; neither the spec nor the templates are read. The page
    of several cohorts, or of the pool, is reports/report.html in the pool.
    """
    from genpool.cli.arguments import refuse_together
    from genpool.cli.output import print_json
    from genpool.pool import Pool
    from genpool.report.facts import gather
    from genpool.report.findings import findings_of

    refuse_together(out=out, no_page=no_page)
    pool = Pool.find(root)
    facts = gather(pool, cohorts)
    findings = findings_of(facts)
    page = None if no_page else _write(pool, facts, out)
    if as_json:
        print_json(_document(facts, findings, page))
    else:
        _print(facts, findings, page)


def _write(pool: Pool, facts: Facts, out: str | None) -> Path:
    """Write the page; return where it is."""
    from pathlib import Path

    from genpool.report.page import write_page

    folder = pool.layout.reports(facts.cohorts[0] if len(facts.cohorts) == 1 else None)
    target = folder / "report.html" if out is None else Path(out)
    write_page(facts, target)
    return target


# --- for machines ---------------------------------------------------------------------------------


def _document(facts: Facts, findings: Findings, page: Path | None) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "format": "genpool.report/1",
        "cohorts": list(facts.cohorts),
        "page": None if page is None else str(page),
        "findings": asdict(findings),
        "stages": [{**asdict(one), "wanted": one.wanted} for one in facts.stages],
        "judged": [_judged(one) for one in facts.judged],
        "cost": asdict(facts.cost),
        "changes": [asdict(one) for one in facts.changes],
        "notes": list(facts.notes),
    }


def _judged(one: JudgedFacts) -> dict[str, Any]:
    from dataclasses import asdict

    found = asdict(one)
    spreads = [{"rubric": rubric, "judge": judge, **asdict(spread)} for (rubric, judge), spread in one.spreads.items()]
    return {**found, "spreads": spreads}


# --- for people -----------------------------------------------------------------------------------


def _print(facts: Facts, findings: Findings, page: Path | None) -> None:
    from genpool.cli.output import one_line, shown

    print(f"{one_line(facts.title)}\n")
    for note in facts.notes:
        print(f"note: {shown(note)}")
    for one in facts.judged:
        _print_means(one)
    for better in findings.better:
        _print_better(better)
    for said in findings.lacking:
        print(shown(said))
    if findings.best:
        print("best texts")
        for number, text in enumerate(findings.best, start=1):
            print(f"  {number}. {one_line(text.gen_id)}  {text.score}  {one_line(text.path)}  {one_line(text.combo)}")
        print()
    _print_agreement(facts)
    print(f"cost: {shown(findings.cost)}")
    for change in facts.changes:
        meanings = ", ".join(f"{digest} {count:,}" for digest, count in change.meanings)
        print(f"drift: {change.kind} {one_line(change.name)} stood for several things: {meanings}")
    if page is not None:
        print(f"\npage: {shown(str(page))}")


def _print_means(one: JudgedFacts) -> None:
    """Print the mean of every path of choices and of all texts."""
    from genpool.cli.output import print_table
    from genpool.report.findings import interval

    rows = [
        [row.measure, row.scale, *_counts(row), row.mean.mean, row.mean.sd, row.mean.said or interval(row.mean)]
        for row in one.overall
    ]
    if not rows:
        return
    numbers = ["texts", "families", "combos", "judgements", "mean", "sd"]
    print_table([f"{one.judged} by", "scale", *numbers, "95 % interval"], rows, right=numbers)
    print()


def _counts(row: Overall) -> list[int]:
    return [row.mean.values, row.families, row.mean.units, row.judgements]


def _print_better(one: Better) -> None:
    from genpool.cli.output import one_line

    print(one_line(f"{one.axis}: {one.which} {one.by}".rstrip()))
    for said in (one.sure, one.more):
        if said:
            print(f"  {one_line(said)}")
    print()


def _print_agreement(facts: Facts) -> None:
    """Print how far judges agree, a line a rubric."""
    from genpool.cli.output import one_line
    from genpool.report.findings import number

    for one in facts.judged:
        for rubric, found in one.agreements.items():
            alpha = f"alpha {number(found.ordinal)} ordinal, {number(found.interval)} interval, {found.texts:,} texts"
            print(f"agreement on {one_line(rubric)}: {one_line(found.said or alpha)}")
        for (rubric, judge), spread in one.spreads.items():
            said = spread.said or f"sd {number(spread.sd)} within a text, {number(spread.between)} between texts"
            print(f"{one_line(judge)} with itself on {one_line(rubric)}: {one_line(said)}")
    if facts.judged:
        print()
