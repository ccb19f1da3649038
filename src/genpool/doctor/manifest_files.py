"""Cohorts' manifests, looked at from outside: is each whole, and is it of what is there now?

A manifest is a cache: one that is damaged or stale is passed over by every question, so that its worst is the time
that this takes. What one says of its members is set against their records by `genpool manifest check --deep`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from genpool.change_tokens import still_holds
from genpool.doctor.findings import Finding, Fix
from genpool.doctor.reading import digest_of
from genpool.errors import GenpoolError
from genpool.manifests import Fault, Manifests, Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genpool.catalog import Catalog
    from genpool.doctor.examined import Examined
    from genpool.layout import PoolLayout
    from genpool.manifest import Manifest

_NOT_OURS: Final = {Fault.NEWER, Fault.UNREADABLE}


def manifest_findings(pool: Examined, content: Callable[[str], str | None]) -> Iterator[Finding]:
    """Yield what is wrong with the manifests of a pool's cohorts.

    Args:
        pool: The pool.
        content: A stage's content as an up-to-date catalog states it; None where there is none.
    """
    manifests = Manifests(pool.layout, pool.pipeline, pool.salt, _no_catalog)
    try:
        names = sorted(os.listdir(pool.layout.cohorts))  # noqa: PTH208 - names, which need not be those of cohorts
    except OSError:
        return
    for name in names:
        path = f"cohorts/{name}/manifest.json"
        if not os.path.lexists(pool.place(path)):
            continue
        try:
            found = manifests.stored(name)
        except GenpoolError:
            continue  # the folder's name is none of a cohort
        if isinstance(found, Unfit):
            yield _unfit(pool.layout, path, name, found)
        elif (moved := _moved_on(pool, found, content)) is not None:
            todo = f"nothing: it is passed over, and `genpool run {name}` or `genpool manifest build {name}` renews it"
            yield Finding("stale-manifest", path, moved, todo, is_note=True, fix=Fix.REMOVE_FILE)


def _no_catalog() -> Catalog:
    raise AssertionError("an examination makes no catalog")


def _unfit(layout: PoolLayout, path: str, name: str, found: Unfit) -> Finding:
    """Return the finding that a manifest is which cannot be used."""
    said = found.message.removeprefix(f"{layout.root / path}: ")
    if found.fault in _NOT_OURS:
        kind = "unsupported-format" if found.fault is Fault.NEWER else "unreadable"
        return Finding(kind, path, said, "nothing: it is passed over; move it away to have it made anew", is_note=True)
    todo = f"`genpool doctor --fix` removes it, `genpool manifest build {name}` makes it anew: it is a cache"
    return Finding("manifest", path, said, todo, fix=Fix.REMOVE_FILE)


def _moved_on(pool: Examined, manifest: Manifest, content: Callable[[str], str | None]) -> str | None:
    """Return why a manifest is older than what it is of, as far as that can be told without making a catalog."""
    try:
        if digest_of(pool.layout.membership(manifest.head.cohort_id))[0] != manifest.head.membership:
            return "membership.csv is another than when it was written"
        for name, token in manifest.head.tokens.items():
            if not still_holds(pool.layout, pool.pipeline[name], token) and content(name) not in {None, token.content}:
                return f"generations of stage {name!r} were added, removed or replaced since it was written"
    except GenpoolError:
        return None  # that is told where it was read
    return None
