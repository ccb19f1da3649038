"""Signatures: the named choices that define a task, validated.

Nothing is folded, trimmed or repaired on the way into an identity: a value that is not
allowed is refused with its field's name, the value and the reason.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.errors import InvalidSignature, nearest
from genpool.stages import REFERENCE_SUFFIX, REPLICATE_FIELD, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_VALUE_BYTES: Final = 256
"""The longest text value, in bytes of UTF-8."""
MAX_REPLICATE: Final = 2**31 - 1
"""The largest replicate."""

FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""The grammar of every gen id, and of every name that becomes a file name."""

_REFUSED_CATEGORIES: Final = {
    "Cc": "a control character",
    "Cs": "a lone surrogate",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_PLAIN = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")  # printable ASCII: nearly every value, one match

FieldValue = str | int
"""A signature's value: text, or the replicate."""


def text_problem(value: object) -> str | None:
    """Return why a value may not be a text of a signature, or None where it may."""
    if not isinstance(value, str):
        return f"must be text, not {type(value).__name__}"
    if _PLAIN.fullmatch(value):
        return None
    if not value:
        return "is empty"
    for char in value:
        refused = _REFUSED_CATEGORIES.get(unicodedata.category(char))
        if refused:
            return f"holds {refused} (U+{ord(char):04X})"
    if value != unicodedata.normalize("NFC", value):
        return "is not in Unicode form NFC"
    if value[0].isspace() or value[-1].isspace():
        return "has white space at an end"
    if len(value.encode()) > MAX_VALUE_BYTES:
        return f"is {len(value.encode())} bytes long; at most {MAX_VALUE_BYTES} are allowed"
    return None


def replicate_problem(value: object) -> str | None:
    """Return why a value may not be a replicate, or None where it may."""
    if isinstance(value, bool) or not isinstance(value, int):
        return f"must be an integer, not {type(value).__name__}"
    if not 1 <= value <= MAX_REPLICATE:
        return f"must be from 1 to {MAX_REPLICATE}"
    return None


def reference_problem(value: object) -> str | None:
    """Return why a value may not be a gen id, or None where it may."""
    if not isinstance(value, str):
        return f"must be text, not {type(value).__name__}"
    if not FILE_NAME.fullmatch(value):
        return "is not a gen id: it must be a file name of letters, digits, dot, underscore and hyphen, at most 128"
    return None


def field_problem(field: str, value: object) -> str | None:
    """Return why a value may not stand in a signature field, or None where it may."""
    if field == REPLICATE_FIELD:
        return replicate_problem(value)
    if field.endswith(REFERENCE_SUFFIX):
        return reference_problem(value)
    return text_problem(value)


@dataclass(frozen=True, slots=True)
class Signature:
    """The choices that define one task. Make one with `Signature.of`, which validates."""

    stage: Stage
    """The task's stage."""
    values: tuple[FieldValue, ...]
    """The values, in the order of `stage.fields`."""

    @classmethod
    def of(cls, stage: Stage, fields: Mapping[str, object]) -> Signature:
        """Return the signature of some fields.

        Args:
            stage: The stage; its axes say which fields there must be.
            fields: Every field of the stage and no other.

        Raises:
            InvalidSignature: A field is missing, unknown, or has a value that is not allowed.
        """
        for name in fields:
            if name not in stage.fields:
                raise InvalidSignature(
                    f"{stage.name}: unknown field {name!r} = {fields[name]!r}",
                    hint=nearest(name, stage.fields),
                )
        values: list[FieldValue] = []
        for name in stage.fields:
            if name not in fields:
                raise InvalidSignature(
                    f"{stage.name}: the field {name!r} is missing",
                    hint=f"a task of this stage is defined by {', '.join(stage.fields)}",
                )
            value = fields[name]
            problem = field_problem(name, value)
            if problem:
                raise InvalidSignature(f"{stage.name}: {name} = {value!r} {problem}")
            assert isinstance(value, str | int)
            values.append(value)
        return cls(stage, tuple(values))

    def as_dict(self) -> dict[str, FieldValue]:
        """Return the fields by name."""
        return dict(zip(self.stage.fields, self.values, strict=True))

    def __getitem__(self, field: str) -> FieldValue:
        """Return one field's value."""
        return self.values[self.stage.fields.index(field)]

    def get(self, field: str) -> FieldValue | None:
        """Return one field's value, or None where the stage has no such field."""
        return self[field] if field in self.stage.fields else None

    @property
    def source(self) -> str:
        """The combo id or parent gen id that the task starts from."""
        return str(self.values[0])

    @property
    def replicate(self) -> int:
        """The replicate."""
        return int(self.values[-1])
