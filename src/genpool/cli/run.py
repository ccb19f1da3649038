"""`genpool run`."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from genpool.cli.main import INTERRUPTED, reader_may_leave

if TYPE_CHECKING:
    from genpool.pool import Pool
    from genpool.runner import Runner, RunReport, Watcher

INCOMPLETE = 3


@click.command("run")
@click.argument("cohort")
@click.option("--retry-exhausted", is_flag=True, help="Try tasks again whose attempts reached their model's limit.")
@click.option(
    "--on-drift",
    type=click.Choice(["reuse", "fail"]),
    default="reuse",
    show_default=True,
    help="Reuse what drifted and warn, or fail before anything is made.",
)
@click.option("--refresh", is_flag=True, help="Resolve a query under `from:` anew, and adopt its answer.")
@click.option(
    "--only",
    metavar="FILE",
    help="Make only the tasks of FILE (lines of `missing` or `plan --tasks`), and what they start from.",
)
@click.option("--any-file-system", is_flag=True, help="Go on where locks may not keep two runs apart: a network disk.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end, and nothing before.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.pass_obj
def command(root: str | None, /, cohort: str, *, as_json: bool, quiet: bool, **options: Any) -> int:
    """Make what a cohort lacks.

    What exists is reused, whichever cohort made it; a run that stopped for any reason goes on where it was. The
    first Ctrl-C lets running calls finish, the second gives them up.

    Where pool.yaml has a `budget`, a call that could cost more than is left of it is not made, and the calls of its
    model end there.

    Exit codes: 0 every task has its generation, 1 error, or something stopped the run (a full disk, the budget), 3 some
    have not, 130 interrupted.
    """
    from genpool.cli.live import watched
    from genpool.cli.output import print_json
    from genpool.pool import Pool

    pool = Pool.find(root)
    with watched(quiet=quiet or as_json) as watch:
        report = _carried_out(pool, cohort, watch, **options)
    if as_json:
        with reader_may_leave():
            print_json(run_document(report))
    else:
        with reader_may_leave():
            print_report(pool, report)
    _tell_empty(options["only"])
    tell_cause(report)
    return _exit_code(report)


def _tell_empty(only: str | None) -> None:
    """Say on standard error that a file of `--only` names no task: it is no error where nothing is missing."""
    from pathlib import Path

    if only is not None and Path(only).is_file() and not Path(only).read_bytes().strip():
        with suppress(OSError):
            print(f"note: {only} names no task, so that nothing was to be made", file=sys.stderr)


def _carried_out(pool: Pool, cohort: str, watch: Watcher, **options: Any) -> RunReport:
    """Run the cohort with Ctrl-C in our hands."""
    import asyncio

    async def carried_out() -> RunReport:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        loop = asyncio.get_running_loop()

        def started(runner: Runner) -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, _interrupt, runner)
            watch(runner.report)

        return await pool.arun(cohort, watch=watch, started=started, **options)

    before = signal.getsignal(signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # half a loop cannot be taken down
    try:
        return asyncio.run(carried_out())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)  # the loop has set it back to Python's own


def _interrupt(runner: Runner) -> None:
    """Let running calls finish at the first signal; give them up at the second."""
    if not runner.report.interrupted:
        runner.drain()
        said = "stopping when the running calls have finished; Ctrl-C again gives them up"
    else:
        runner.abort()
        said = "giving the running calls up"
    with suppress(OSError):  # nobody looks any more
        print(f"\n{said}", file=sys.stderr, flush=True)


def _exit_code(report: RunReport) -> int:
    if report.complete and report.stopped_by is None:
        return 0
    if report.interrupted:
        return INTERRUPTED
    return INCOMPLETE if report.stopped_by is None else report.stopped_by.exit_code


def tell_cause(report: RunReport) -> None:
    """Print the traceback of what nobody foresaw and ended the run, where GENPOOL_TRACEBACK asks for it."""
    cause = report.stopped_by.__cause__ if report.stopped_by is not None else None
    if cause is not None and os.environ.get("GENPOOL_TRACEBACK"):
        with suppress(OSError):
            traceback.print_exception(cause, file=sys.stderr)


def run_document(report: RunReport) -> dict[str, Any]:
    """Return what a run did as one JSON document."""
    from dataclasses import asdict

    from genpool.cli.output import as_keys, origins_document

    rows = {stage: as_keys(tally.row(report.cohort_id)) for stage, tally in report.stages.items()}
    return {
        "format": "genpool.run/1",
        "cohort_id": report.cohort_id,
        "run_id": report.run_id,
        "complete": report.complete,
        "interrupted": report.interrupted,
        "stages": rows,
        "total": {key: sum(row[key] for row in rows.values()) for key in next(iter(rows.values()), {})},
        "reused_from": origins_document({name: tally.origins for name, tally in report.stages.items()}),
        "calls": report.calls,
        "input_tokens": report.input_tokens,
        "output_tokens": report.output_tokens,
        "cost": report.cost,
        "priced_calls": report.priced_calls,
        "unpriced_calls": report.unpriced_calls,
        "attempts": report.attempts,
        "failures": [asdict(failure) for failure in report.failures],
        "notes": list(report.notes),
        "stopped_by": report.stopped_by.as_json() if report.stopped_by else None,
    }


def print_report(pool: Pool, report: RunReport) -> None:
    """Print what a run did: what was made and reused, what went wrong, scores, where the texts are."""
    from genpool.cli.arguments import command_line
    from genpool.cli.drift import print_drift
    from genpool.cli.output import many, one_line, print_counts, print_origins, shown

    print(f"cohort {one_line(report.cohort_id)}\n")
    rows = {stage: tally.row(report.cohort_id) for stage, tally in report.stages.items()}
    print_counts(rows, ("wanted", "reused", "made"))
    print_origins(report.cohort_id, {stage: tally.origins for stage, tally in report.stages.items()})
    used = f" ({report.input_tokens:,} tokens in, {report.output_tokens:,} out{_cost(report)})" if report.calls else ""
    nothing = ": everything existed already" if report.complete and not report.made else ""
    print(f"\n{many(report.calls, 'call')}{used}{nothing}")
    for note in report.notes:
        print(f"note: {shown(note)}")
    print_drift(report.cohort_id, report.drift)
    _print_troubles(report)
    scored = _print_scores(pool, report)
    print(f"texts: {pool.layout.generations}/<stage>/<gen_id>/parsed.txt")
    if scored:
        print(f"report: {command_line('report', report.cohort_id)}")
    _print_next(report)


def _cost(report: RunReport) -> str:
    """Return what the calls cost in words, and how many of them have no price."""
    from genpool.cli.output import many

    if report.cost is None:
        return ""
    if not report.unpriced_calls:
        return f", cost {report.cost:.4f}"
    without = f"{many(report.unpriced_calls, 'call')} by models without a price"
    return f", cost {report.cost:.4f} for {many(report.priced_calls, 'call')}; {without}"


def _print_troubles(report: RunReport) -> None:
    """Print what was kept as attempts, and why tasks failed, the same reason once."""
    from genpool.cli.arguments import command_line, for_this_pool
    from genpool.cli.output import many, one_line, shown

    root = click.get_current_context().obj
    unacceptable = {kind: count for kind, count in sorted(report.attempts.items()) if kind != "bought_twice"}
    if unacceptable:
        kinds = ", ".join(f"{count} {one_line(kind)}" for kind, count in unacceptable.items())
        print(f"{many(sum(unacceptable.values()), 'answer')} not acceptable and kept under attempts/: {kinds}")
    if "unparseable" in unacceptable:
        mended = command_line("reparse", "--cohort", report.cohort_id)
        print("  unparseable: read some. Where the answer has what is asked for, mend `parser:` or `scale:` of the")
        print(f"  template, and {mended} reads them anew without a call; where it has not, the model cannot do it")
    if "truncated" in unacceptable:
        print("  truncated: the answer reached max_tokens; raise it in the template or in the model's entry")
    second = report.attempts.get("bought_twice", 0)
    if second:
        print(f"{many(second, 'answer')} came second: another run had made these; kept under attempts/")
    reasons: dict[str, list[str]] = {}
    for failure in report.failures:
        reasons.setdefault(failure.message, []).append(failure.gen_id)
    hints = {failure.message: failure.hint for failure in report.failures}
    for message, gen_ids in reasons.items():
        print(
            f"{many(len(gen_ids), 'task')} failed ({gen_ids[0]}{', …' if len(gen_ids) > 1 else ''}): {shown(message)}"
        )
        if hints[message]:
            print(f"  hint: {shown(for_this_pool(hints[message], root) or '')}")
    if report.stopped_by is not None:
        print(f"the run stopped: {shown(report.stopped_by.message)}")
        if report.stopped_by.hint:
            print(f"  hint: {shown(for_this_pool(report.stopped_by.hint, root) or '')}")


def _print_scores(pool: Pool, report: RunReport) -> bool:
    """Print the mean score by rubric and by the templates of what was judged; return whether there is any."""
    from genpool.cli.output import print_table

    scores = pool.scope(report.cohort_id).mean_scores()
    if not scores:
        return False
    lines = [
        [one.judged, one.rubric, f"{one.least:g} to {one.most:g}", one.mean, one.texts, one.judgements]
        for one in scores
    ]
    print("\nmean score by template\n")
    numbers = ["mean", "texts", "judgements"]
    print_table(["judged", "rubric", "scale", *numbers], lines, right=numbers)
    left_out = sum(one.left_out for one in scores)
    if left_out:
        print(f"note: {left_out} times a text has not been judged by every judge of a rubric: it is not in that mean")
    print()
    return True


def _print_next(report: RunReport) -> None:
    """Print how to go on."""
    from genpool.cli.arguments import command_line
    from genpool.cli.output import many

    again = command_line("run", report.cohort_id)
    if report.complete:
        return
    left = sum(tally.wanted - tally.reused - tally.made for tally in report.stages.values())
    exhausted = sum(tally.exhausted for tally in report.stages.values())
    if report.interrupted:
        with suppress(OSError):
            print(f"interrupted; {many(left, 'task')} left: {again}", file=sys.stderr)
    elif exhausted:
        print(f"incomplete: {left} tasks lack a generation, {exhausted} of them exhausted; {again} --retry-exhausted")
    else:
        does = "tries these again" if report.failures or report.stopped_by else "makes them"
        print(f"incomplete: {left} tasks lack a generation; {again} {does}")
