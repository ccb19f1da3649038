"""`genpool manifest`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from genpool.manifest import Manifest
    from genpool.manifest_check import Difference
    from genpool.manifests import Unfit
    from genpool.pool import Pool

_SHOWN: Final = 20
"""How many differences of a cohort are printed; `--json` has them all."""


@click.group("manifest")
def command() -> None:
    """Make, check or remove the caches of how cohorts' members stand."""


_EVERY = click.option("--all", "every", is_flag=True, help="Of every cohort that has a membership.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@command.command("build")
@click.argument("cohorts", metavar="[COHORT]...", nargs=-1)
@_EVERY
@_JSON
@click.pass_obj
def build(root: str | None, cohorts: tuple[str, ...], *, every: bool, as_json: bool) -> int:
    """Write manifests, from membership.csv and the catalog.

    Also of cohorts that were run before there were manifests, and of a membership with nothing but stage and gen_id.
    A run does it by itself.

    Exit code 1: the membership of a cohort cannot be read; the others are written.
    """
    from genpool.cli.output import many, one_line, print_json, shown
    from genpool.errors import GenpoolError
    from genpool.pool import Pool

    pool = Pool.find(root)
    found: dict[str, Manifest | GenpoolError] = {}
    for name in _chosen(pool, cohorts, every=every):
        try:
            found[name] = pool.manifests.write(name)
        except GenpoolError as error:
            if not every:
                raise
            found[name] = error
    if as_json:
        print_json({"format": "genpool.manifest-build/1", "cohorts": [_built(pool, *one) for one in found.items()]})
    else:
        for name, one in found.items():
            if isinstance(one, GenpoolError):
                print(f"{one_line(name)}: not written: {shown(one.message)}")
            else:
                members = sum(len(stage.gen_ids) for stage in one.stages.values())
                print(f"{one_line(name)}: {many(members, 'member')}, {pool.layout.manifest(name)}")
    return int(any(isinstance(one, GenpoolError) for one in found.values()))


def _built(pool: Pool, name: str, one: Manifest | Any) -> dict[str, Any]:
    from genpool.errors import GenpoolError

    if isinstance(one, GenpoolError):
        return {"cohort_id": name, "error": one.as_json()}
    members = {stage: len(columns.gen_ids) for stage, columns in one.stages.items()}
    return {"cohort_id": name, "path": str(pool.layout.manifest(name)), "members": members}


@command.command("check")
@click.argument("cohorts", metavar="[COHORT]...", nargs=-1)
@click.option("--deep", is_flag=True, help="Read the metadata.json of every member, too.")
@_JSON
@click.pass_obj
def check(root: str | None, cohorts: tuple[str, ...], *, deep: bool, as_json: bool) -> int:
    """Set manifests against the pool, and list every difference.

    Of every cohort that has one, where none is named. A stale manifest is compared all the same: it is passed over by
    every question until its cohort is next run, so what differs in it has misled nobody.

    Exit code 1: a manifest is not good, or differs.
    """
    from genpool.cli.output import print_json
    from genpool.pool import Pool

    pool = Pool.find(root)
    names = cohorts or tuple(name for name in pool.cohort_ids() if pool.layout.manifest(name).is_file())
    with _watched(quiet=as_json) as progress:
        found = [_Checked(pool, name, progress, deep=deep) for name in _known(pool, names)]
    if as_json:
        print_json({"format": "genpool.manifest-check/1", "deep": deep, "manifests": [one.document() for one in found]})
    else:
        for one in found:
            one.print()
        if not found:
            print("no cohort has a manifest: `genpool manifest build --all` writes them")
    return int(any(one.unfit is not None or one.differences for one in found))


class _Checked:
    """One manifest, and what became of it."""

    def __init__(self, pool: Pool, name: str, progress: Callable[[int, int], None] | None, *, deep: bool) -> None:
        from genpool.manifest_check import deep_differences, differences
        from genpool.manifests import Unfit

        self.cohort_id = name
        good = pool.manifests.good(name)
        self.unfit: Unfit | None = good if isinstance(good, Unfit) else None
        stored = pool.manifests.stored(name) if isinstance(good, Unfit) else good
        self.differences: list[Difference] = []
        self.compared = not isinstance(stored, Unfit)
        if not isinstance(stored, Unfit):
            apart = differences(stored, pool.scope(name).from_catalog)
            deeper = deep_differences(stored, pool.store, progress) if deep else iter(())
            self.differences = list({_key(one): one for one in chain(apart, deeper)}.values())

    def document(self) -> dict[str, Any]:
        """Return the check as JSON."""
        return {
            "cohort_id": self.cohort_id,
            "good": self.unfit is None,
            "fault": self.unfit and {"kind": self.unfit.fault.value, "message": self.unfit.message},
            "compared": self.compared,
            "differences": [
                {"stage": one.stage, "gen_id": one.gen_id, "what": one.what, "manifest": one.manifest, "pool": one.pool}
                for one in self.differences
            ],
        }

    def print(self) -> None:
        """Print the check for a person."""
        from genpool.cli.output import many, one_line, shown

        said = "good" if self.unfit is None else f"{self.unfit.fault.value}: {shown(self.unfit.message)}"
        print(f"{one_line(self.cohort_id)}: {said}")
        for one in self.differences[:_SHOWN]:
            print(f"  {one_line(_sentence(one))}")
        if len(self.differences) > _SHOWN:
            print(f"  {len(self.differences) - _SHOWN:,} more; --json lists them")
        if self.compared:
            print(f"  {many(len(self.differences), 'difference')}")


def _key(one: Difference) -> tuple[object, ...]:
    return one.stage, one.gen_id, one.what, str(one.pool)


def _sentence(one: Difference) -> str:
    if one.what == "order":
        return f"{one.stage or 'the members'}: in another order than in membership.csv"
    if one.what == "member":
        return f"{one.stage} {one.gen_id}: a member {'here' if one.manifest else 'in membership.csv'} alone"
    return f"{one.stage} {one.gen_id}: {one.what} is {_value(one.manifest)} here, {_value(one.pool)} in the pool"


def _value(value: object) -> str:
    return "nothing" if value is None else str(value)


@command.command("rm")
@click.argument("cohorts", metavar="[COHORT]...", nargs=-1)
@_EVERY
@_JSON
@click.pass_obj
def remove(root: str | None, cohorts: tuple[str, ...], *, every: bool, as_json: bool) -> None:
    """Remove manifests. No answer changes by that."""
    from genpool.cli.output import many, print_json
    from genpool.pool import Pool

    pool = Pool.find(root)
    chosen = pool.cohort_ids() if every and not cohorts else _chosen(pool, cohorts, every=every)
    removed = [name for name in _known(pool, chosen) if pool.manifests.remove(name)]
    if as_json:
        print_json({"format": "genpool.manifest-rm/1", "removed": removed})
    else:
        print(f"{many(len(removed), 'manifest')} removed")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of a manifest."""
    from genpool.manifest import json_schema

    sys.stdout.write(json_schema())


def _chosen(pool: Pool, cohorts: Sequence[str], *, every: bool) -> Sequence[str]:
    """Return the cohorts that are named, or all that have a membership."""
    from genpool.cli.arguments import usage

    if bool(cohorts) == every:
        raise usage("name cohorts, or give --all" if not cohorts else "a COHORT and --all exclude each other")
    if every:
        return [name for name in pool.cohort_ids() if pool.layout.membership(name).is_file()]
    return cohorts


def _known(pool: Pool, cohorts: Sequence[str]) -> Iterator[str]:
    """Yield cohorts by name, each looked at first.

    Raises:
        NotFound: There is no such cohort.
    """
    from genpool.errors import NotFound, nearest

    known = pool.cohort_ids()
    for name in cohorts:
        if name not in known:
            raise NotFound(f"there is no cohort {name!r}", hint=nearest(name, known))
        yield name


@contextmanager
def _watched(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Yield what shows how many members were read: one line on a terminal, gone at the end; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from genpool.cli.output import console

    with console(stderr=True).status("reading manifests") as status:
        yield lambda done, members: status.update(f"reading metadata: {done:,} of {members:,} members")
