"""What several verbs share of the command line: arguments as typed, and commands to type next."""

from __future__ import annotations

import csv
import re
import shlex
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_TOLD: Final = re.compile(r"`genpool (?!init\b|models pull\b|--)")
"""A command in a hint that would be typed at a pool."""


def typed_fields(typed: Iterable[str]) -> dict[str, str | int]:
    """Return the fields of a signature as typed, FIELD=VALUE each; a replicate that is a number is one."""
    fields: dict[str, str | int] = {}
    for name, value in map(_field, typed):
        if name in fields:
            raise usage(f"the field {name!r} is given twice")
        fields[name] = value
    return fields


def _field(typed: str) -> tuple[str, str | int]:
    name, equals, value = typed.partition("=")
    if not equals:
        raise usage(f"{typed!r} is not FIELD=VALUE")
    return name, int(value) if name == "replicate" and _WHOLE.fullmatch(value) and len(value) < 20 else value


def typed_levels(typed: Iterable[str]) -> list[str]:
    """Return the levels of an option that may be given several times, several in one text.

    They are separated by commas; one that has a comma or begins with a quotation mark itself stands in such marks,
    doubled within, as in a CSV. Blanks around a level do not count.
    """
    return [level for text in typed for level in _listed(text)]


def _listed(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise usage(f"{text!r} is not a list of levels: {error}; a level with a comma is written '\"a,b\"'") from None
    return [level.strip() for row in rows for level in row if level.strip()]


def typed_conditions(typed: Iterable[str]) -> dict[str, list[str]]:
    """Return conditions as typed, FIELD=LEVEL[,LEVEL…] each, as field to levels: the same field twice adds levels."""
    conditions: dict[str, list[str]] = {}
    for text in typed:
        name, equals, levels = text.partition("=")
        if not equals:
            raise usage(f"{text!r} is not FIELD=LEVEL")
        conditions.setdefault(name.strip(), []).extend(_listed(levels))
    return conditions


def refuse_together(**given: object) -> None:
    """Refuse options that exclude each other.

    Args:
        given: Option name to whether, or with what, it was given.

    Raises:
        click.UsageError: More than one was.
    """
    chosen = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(chosen) > 1:
        raise usage(f"{' and '.join(chosen)} exclude each other")


def usage(message: str) -> click.UsageError:
    """Return the error for a command line that is wrong in itself."""
    return click.UsageError(message, click.get_current_context())


def command_line(*words: str) -> str:
    """Return a command to type next, for the same pool as the one that is running."""
    return shlex.join(["genpool", *_pool_words(), *words])


def for_this_pool(hint: str | None, root: str | None) -> str | None:
    """Return a hint whose commands are for the pool that `--pool` named."""
    if hint is None or root is None:
        return hint
    return _TOLD.sub(lambda _: f"`genpool --pool {shlex.quote(root)} ", hint)


def _pool_words() -> list[str]:
    context = click.get_current_context(silent=True)
    return ["--pool", context.obj] if context is not None and context.obj else []
