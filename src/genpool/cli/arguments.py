"""Arguments that several verbs share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")


def typed_fields(typed: Iterable[str]) -> dict[str, str | int]:
    """Return the fields of a signature as typed, FIELD=VALUE each; a replicate that is a number is one."""
    return dict(_field(one) for one in typed)


def _field(typed: str) -> tuple[str, str | int]:
    name, equals, value = typed.partition("=")
    if not equals:
        raise click.UsageError(f"{typed!r} is not FIELD=VALUE", click.get_current_context())
    return name, int(value) if name == "replicate" and _WHOLE.fullmatch(value) and len(value) < 20 else value
