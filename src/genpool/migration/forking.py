"""A fork: the text that a template had comes back under a new name, and what was made with it gets that name.

Chosen are all generations of gens/ that were made with the old text, whatever cohorts they are in; with them go their
attempts and what the trash has under their ids, and all that descends from them follows. The file of the template is
written by the same migration, so that a rollback takes it away again. What cannot be done is refused beforehand.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.canonical import sha256
from genpool.combos import check_spelling
from genpool.drift import COMBO, MODEL, PARENT, TEMPLATE, template_bytes
from genpool.durable import storage_errors
from genpool.errors import InputError, InvalidTemplate, NotFound, PoolError, UsageError
from genpool.layout import METADATA, check_name
from genpool.migration.identity import Change, Identity, Relabel
from genpool.migration.migrations import Migrations
from genpool.migration.reading import read_plain
from genpool.migration.renames import FORK, GENS
from genpool.prompts import ENDING, parse_template, template_ids, template_text
from genpool.stages import REFERENCE_SUFFIX, TEMPLATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from genpool.config import PoolConfig
    from genpool.layout import PoolLayout
    from genpool.migration.planning import Planned
    from genpool.migration.verifying import Report
    from genpool.planner import Drift
    from genpool.removal import Removal
    from genpool.stages import Stage

_REFUSED: Final = {
    MODEL: (
        "a model cannot be forked: sources/ keeps what was sent, not where to; no entry of pool.yaml can be made of it",
        "`genpool drift accept` keeps what was made; or give the present entry another name in pool.yaml",
    ),
    COMBO: (
        "a combo cannot be forked: its id is made of its concepts' names",
        "give the concept's present text a file and a name of its own, and put the old text back",
    ),
    PARENT: (
        "a parent that was made anew cannot be forked: both texts are of one task",
        "`genpool drift accept` or `genpool drift regenerate`",
    ),
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a fork does, before it is planned."""

    drift: Drift
    change: Change
    path: str
    """The template's new file, relative to the pool."""
    text: bytes
    """Its content."""

    @property
    def tasks(self) -> list[tuple[str, str]]:
        """Stage and id of what was made with the old text."""
        relabel = self.change.relabel
        assert relabel is not None
        return [(relabel.stage, one) for one in sorted(relabel.gen_ids)]


@dataclass(frozen=True, slots=True)
class Fork:
    """A fork, planned: what becomes of what, and what it takes to make the old name's slots anew."""

    target: Target
    planned: Planned
    anew: Removal
    """What gets another id, as if it went: by cohort, and priced."""


# --- which drift ------------------------------------------------------------------------------------


def only_one(drifts: Sequence[Drift], then: str | None) -> Drift | None:
    """Return the drift that is forked: the only one; None where nothing drifted.

    Args:
        drifts: What drifted and is meant.
        then: How the fingerprint of the text begins that is meant, where a name stood for several.

    Raises:
        UsageError: Several are meant, or one that cannot be forked.
    """
    found = [one for one in drifts if then is None or one.stored.startswith(then.lower())]
    if not found:
        if drifts:
            known = ", ".join(sorted({one.stored for one in drifts}))
            raise UsageError(
                f"nothing was made with a text whose fingerprint begins with {then!r}", hint=f"known: {known}"
            )
        return None
    for one in found:
        if one.kind != TEMPLATE:
            said, hint = _REFUSED[one.kind]
            named = f"{one.kind}={one.name}"
            raise UsageError(f"{named}: {said}", hint=f"{hint}; a template is named alone: template=STAGE/NAME")
    if len({one.name for one in found}) > 1:
        named = ", ".join(sorted({f"template={one.name}" for one in found}))
        raise UsageError(f"{len(found)} templates drifted, and a new name is for one: {named}", hint="name one of them")
    if len(found) > 1:
        texts = ", ".join(one.stored[:12] for one in found)
        raise UsageError(
            f"template {found[0].name} had {len(found)} texts: {texts}",
            hint="one new name is for one text: say which by --then and the beginning of its fingerprint",
        )
    return found[0]


# --- what is done -----------------------------------------------------------------------------------


def fork_target(
    layout: PoolLayout, config: PoolConfig, drift: Drift, new_name: str, source: Callable[[str], bytes]
) -> Target:
    """Return what a fork does. Writes nothing.

    Args:
        layout: The pool's paths.
        config: The pool's pipeline and salt.
        drift: The template that drifted (`only_one`).
        new_name: What its old text is called from now on.
        source: Digest to pre-image, from sources/.

    Raises:
        InputError: The name cannot be one or is taken; no file gives the old text.
        PoolError: The stage has no template axis; the old text is not in sources/.
    """
    stage_name, _, name = drift.name.partition("/")
    stage = config.pipeline[stage_name]
    if TEMPLATE_FIELD not in stage.fields:
        raise PoolError(
            f"stage {stage_name!r} has no template axis: none of its generations names a template",
            hint="`genpool drift accept` or `genpool drift regenerate`",
        )
    _check_name(layout, stage_name, new_name)
    text = old_file(layout, stage_name, new_name, drift.stored, source)
    chosen = set()
    for gen_id, record in _records(layout, stage):
        if record.get(TEMPLATE_FIELD) == new_name:
            raise InputError(
                f"the name {new_name!r} is taken: {stage_name} {gen_id} was made under it", hint="choose another name"
            )
        prints = record.get("fingerprints")
        made_with = prints.get("template") if isinstance(prints, dict) else None
        if "format" in record and record.get(TEMPLATE_FIELD) == name and made_with == drift.stored:
            chosen.add(gen_id)
    identity = Identity(config.pipeline, config.salt)
    relabel = Relabel(stage_name, TEMPLATE_FIELD, name, new_name, frozenset(chosen))
    path = f"{layout.templates.name}/{stage_name}/{new_name}{ENDING}"
    return Target(drift, Change(identity, identity, relabel=relabel), path, text)


def _check_name(layout: PoolLayout, stage: str, new_name: str) -> None:
    known = template_ids(layout, stage)
    check_name(new_name, "template")
    if new_name in known:
        raise InputError(
            f"the name {new_name!r} is taken: {layout.templates / stage / new_name}{ENDING} is there",
            hint="choose another name",
        )
    check_spelling(new_name, [*known, new_name], f"templates of stage {stage!r}")


def _records(layout: PoolLayout, stage: Stage) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records of a stage's generations that can be read; the others stay as they are."""
    folder = layout.generations / stage.name
    with storage_errors(f"cannot list {folder}"):
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names will do
    for name in names:
        try:
            value = orjson.loads(read_plain(f"{folder}/{name}/{METADATA}"))
        except (OSError, orjson.JSONDecodeError):
            continue
        if isinstance(value, dict):
            yield name, value


def old_file(layout: PoolLayout, stage: str, new_name: str, digest: str, source: Callable[[str], bytes]) -> bytes:
    """Return the file of a template that has the fingerprint of an old text.

    Raises:
        PoolError: The old text is not in sources/.
        InputError: No file has that fingerprint: what it includes was changed, or is not there.
    """
    try:
        then = json.loads(source(digest))
    except NotFound:
        raise PoolError(
            f"the text of then is not in sources/: {digest}", hint="restore that file from a copy of the pool"
        ) from None
    text = template_text(then["source"], then["front"])
    data = text.encode()
    for name, included in sorted(then["includes"].items()):
        _check_included(layout, name, included)
    try:
        template = parse_template(layout, stage, new_name, data.decode("utf-8-sig"))
    except InvalidTemplate as error:
        raise InputError(f"the text of then cannot be a file of today: {error.message}", hint=error.hint) from None
    if sha256(template_bytes(template)) != digest:
        raise InputError(
            f"no file gives the text of then: its fingerprint would not be {digest}",
            hint="`genpool drift accept` or `genpool drift regenerate`; nothing was changed",
        )
    return data


def _check_included(layout: PoolLayout, name: str, then: str) -> None:
    """Refuse where an included text is not what it was: a file that includes it by this name would have the new one."""
    path = layout.templates.joinpath(*name.split("/"))
    try:
        same = path.read_bytes().decode("utf-8-sig") == then
    except (OSError, UnicodeDecodeError):
        same = False
    if not same:
        raise InputError(
            f"the text of then includes {name!r}, and {path} is not what it was then",
            hint="put its old text back, and give the new one another name; then the template drifted by itself",
        )


# --- what would be left behind ----------------------------------------------------------------------


def refuse_left_behind(planned: Planned) -> None:
    """Refuse a fork that would leave something below an id that is given up.

    Raises:
        PoolError: A record that a fork does not rewrite refers to one that it renames.
    """
    moved = {(row.stage, row.old_id) for row in planned.rows if row.place == GENS}
    ids = {gen_id for _, gen_id in moved}
    pipeline = planned.change.now.pipeline
    for node in planned.inventory.nodes:
        stage = pipeline[node.stage]
        refers = [
            value
            for name, value in zip(stage.fields, node.values, strict=False)
            if name.endswith(REFERENCE_SUFFIX) and value in ids
        ]
        if refers and (node.blocked or not node.sealed):
            raise PoolError(
                f"{node.path} starts from {refers[0]}, which would get another id, and cannot follow it",
                hint="`genpool migrate plan` says what it is, and gives ids of today to what has others",
            )
    forked = sum(row.reason == FORK and row.place == GENS for row in planned.rows)
    relabel = planned.change.relabel
    if relabel is not None and forked != len(relabel.gen_ids):
        wrong = next(one for one in sorted(relabel.gen_ids) if (relabel.stage, one) not in moved)
        raise PoolError(
            f"gens/{relabel.stage}/{wrong} was made with the text of then, but cannot get another id",
            hint="`genpool doctor` says what is wrong with it",
        )


# --- planned and carried out ------------------------------------------------------------------------


def planned_fork(
    layout: PoolLayout, config: PoolConfig, drift: Drift, new_name: str, source: Callable[[str], bytes]
) -> tuple[Target, Planned]:
    """Return what a fork does and the migration that does it. Writes nothing; for errors see `fork_target`.

    Raises:
        PoolError: Something would be left behind.
        PoolBusy: A migration or another fork is open.
    """
    target = fork_target(layout, config, drift, new_name, source)
    planned = Migrations(layout).plan(target.change, added={target.path: target.text})
    refuse_left_behind(planned)
    return target, planned


def carried_out(layout: PoolLayout, fork: Fork, tell: Callable[[str, int, int], None]) -> Report:
    """Carry a fork out: apply its migration and verify it; for arguments and errors see `Pool.fork`."""
    migrations = Migrations(layout, tell=tell)
    migration_id = migrations.write(fork.planned).migration_id
    migrations.apply(migration_id)
    return migrations.verify(migration_id)
