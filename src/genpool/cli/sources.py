"""What a scope's answers came from, for who asks; and that a manifest had to be passed over, for everybody."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genpool.pool import Pool
    from genpool.scope import CohortScope


def tell_sources(scope: CohortScope, *, verbose: bool) -> None:
    """Say on standard error what answered, where that is asked for; and always where a manifest is not what it was.

    A stale one is nothing to worry about: any run that shares the cohort's stages makes it so.
    """
    from genpool.cli.arguments import command_line
    from genpool.cli.output import one_line, shown
    from genpool.manifests import Fault

    unfit = scope.unfit
    if unfit is None and not verbose:
        return
    if unfit is not None and unfit.fault is Fault.STALE and not verbose:
        return
    sys.stdout.flush()
    if verbose:
        print(f"cohort {one_line(scope.cohort_id)}: answered from {scope.answered_from}", file=sys.stderr)
    if unfit is not None:
        again = command_line("manifest", "build", scope.cohort_id)
        print(f"note: the manifest is not used: {shown(unfit.message)}; anew: {again}", file=sys.stderr)


def tell_misnamed(pool: Pool) -> None:
    """Say on standard error which folders under cohorts/ are none because of their names."""
    from genpool.cli.output import one_line

    misnamed = pool.misnamed_cohorts()
    if misnamed:
        sys.stdout.flush()
    for name in misnamed:
        place = one_line(str(pool.layout.cohorts / name))
        grammar = "letters, digits, dot, underscore and hyphen; at most 128"
        print(f"note: {place} is left out: a cohort's name is {grammar}; rename the folder", file=sys.stderr)


def sources_document(scope: CohortScope) -> dict[str, object]:
    """Return what a scope's answers came from, and why not from its manifest, as JSON."""
    unfit = scope.unfit
    told = None if unfit is None else {"kind": unfit.fault.value, "message": unfit.message}
    return {"from": scope.answered_from, "unfit": told}
