"""What a pool is to become: another salt, prefixes, axes added to its stages. The pool.yaml that says so."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from genpool.config import PoolConfig, read_config
from genpool.durable import storage_errors
from genpool.errors import DoesNotFit, NotFound, UsageError, nearest
from genpool.gen_ids import check_salt
from genpool.layout import PoolLayout
from genpool.migration.identity import Change, Identity
from genpool.migration.plan_file import AFTER, BEFORE
from genpool.signatures import field_problem
from genpool.stages import axis_field

if TYPE_CHECKING:
    from collections.abc import Mapping

_SALT: Final = re.compile(r"^salt:.*$", re.MULTILINE)
_SCHEME: Final = re.compile(r"^id_scheme:.*\n", re.MULTILINE)


def change_to(
    layout: PoolLayout,
    *,
    salt: str | None = None,
    config: str | None = None,
    sets: Mapping[tuple[str, str], str] | None = None,
) -> tuple[Change, dict[str, bytes]]:
    """Return what changes, and the pool.yaml before and after: nothing where no argument is given.

    Args:
        layout: The pool's paths.
        salt: The salt that the pool gets.
        config: A file that becomes the pool's pool.yaml.
        sets: Stage and axis, as a person writes it, to the value of an axis that the stage gets.

    Raises:
        UsageError: A value is missing, or is for an axis that no stage gets; both a salt and a file are given.
        InvalidConfig: The file is no pool.yaml.
    """
    now = read_config(layout)
    identity = Identity(now.pipeline, now.salt)
    if salt is None and config is None:
        if sets:
            raise UsageError("an axis is added by a new pool.yaml", hint="give that one with --config")
        return Change(identity, identity), {}
    if salt is not None and config is not None:
        raise UsageError("--salt and --config exclude each other", hint="write the salt into the file")
    with storage_errors(f"cannot read {layout.config}"):
        before = layout.config.read_bytes()
    after = _with_salt(before, salt) if salt is not None else _file(str(config))
    target = _read(after)
    if salt is not None and target != _resalted(now, salt):
        raise DoesNotFit(
            "pool.yaml cannot be given a salt by itself", hint="write a new one, and give it with --config"
        )
    return Change(identity, Identity(target.pipeline, target.salt), _added(now, target, sets or {})), {
        BEFORE: before,
        AFTER: after,
    }


def _resalted(config: PoolConfig, salt: str) -> PoolConfig:
    from dataclasses import replace

    return replace(config, salt=salt)


def _with_salt(text: bytes, salt: str) -> bytes:
    """Return a pool.yaml with another salt, all else as it is."""
    check_salt(salt)
    line = f"salt: {_quoted(salt)}"
    decoded = text.decode()
    if _SALT.search(decoded):
        return _SALT.sub(lambda _: line, decoded, count=1).encode()
    return _SCHEME.sub(lambda found: f"{found[0]}{line}\n", decoded, count=1).encode()


def _quoted(salt: str) -> str:
    escaped = salt.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _file(config: str) -> bytes:
    with storage_errors(f"cannot read {config}"):
        try:
            return Path(config).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"there is no file {config}") from None


def _read(text: bytes) -> PoolConfig:
    """Return what a pool.yaml says that is not in its place yet."""
    with tempfile.TemporaryDirectory() as folder:
        layout = PoolLayout(Path(folder))
        layout.config.write_bytes(text)
        return read_config(layout)


def _added(now: PoolConfig, target: PoolConfig, sets: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Return the values of the axes that stages get, checked."""
    given = {(stage, axis_field(axis)): value for (stage, axis), value in sets.items()}
    added = set()
    for stage in now.pipeline:
        if stage.name not in target.pipeline:
            raise DoesNotFit(f"the new pool.yaml has no stage {stage.name!r}", hint="a migration keeps every stage")
        become = target.pipeline[stage.name]
        if become.parent != stage.parent or set(stage.axes) - set(become.axes):
            raise DoesNotFit(
                f"stage {stage.name!r} would lose an axis or get another parent: a migration adds axes",
                hint="make another stage for it",
            )
        added |= {(stage.name, name) for name in become.axes if name not in stage.axes}
    for task in given.keys() - added:
        raise DoesNotFit(
            f"stage {task[0]!r} gets no axis {task[1]!r}", hint=nearest(task[1], [one for _, one in added])
        )
    for task in sorted(added - given.keys()):
        said = f"stage {task[0]!r} gets the axis {task[1]!r}: which value have its generations?"
        raise DoesNotFit(said, hint=f"--set {task[0]}.{now.pipeline[task[0]].axis_name(task[1])}=VALUE")
    for (stage_name, name), value in given.items():
        problem = field_problem(name, value)
        if problem:
            raise DoesNotFit(f"{stage_name}.{name} = {value!r} {problem}")
    return given
