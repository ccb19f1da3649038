"""Parsers: raw output to the text that children read, and a score where a judge spoke. Pure.

A parser is named in a template's front matter. It either returns what it read or raises
`ParseFailure` with a reason; nothing is guessed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.records import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from genpool.canonical import Json

Scale = tuple[float, float]
"""The least and the most that a rubric's score can be."""

_FENCE: Final = "```"
_MOST_STEPS: Final = 100
_REASON_LENGTH: Final = 160  # characters: one sentence, and a small model does not run on


class ParseFailure(Exception):
    """The output cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser read."""

    text: str
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """How decoding can be kept to what the parser reads, for backends that can."""

    json_schema: Mapping[str, Json] | None = None
    """A JSON schema of the whole answer."""
    grammar: str | None = None
    """A GBNF grammar of it (llama.cpp): tighter than the schema, without idle white space."""


@dataclass(frozen=True, slots=True)
class Parser:
    """A named parser."""

    name: str
    parse: Callable[[str, Scale | None], Parsed]
    scores: bool = False
    """Whether it reads a score; then the template must name a scale."""
    constraint: Callable[[Scale], Constraint] | None = None
    """What an answer on a scale can be constrained to."""


def _text(raw: str, scale: Scale | None) -> Parsed:
    """Return the output without white space at its ends."""
    del scale
    return Parsed(raw.strip())


_SCORE_LINE: Final = re.compile(
    r"[\s>*_#`~-]*score[\s*_`~]*[:=][\s*_`~]*(?P<score>[-+]?[0-9]+(?:\.[0-9]+)?)(?:\s*/\s*(?P<of>[0-9]+(?:\.[0-9]+)?))?[\s*_`~.]*",
    re.IGNORECASE,
)


def _score_line(raw: str, scale: Scale | None) -> Parsed:
    """Read the last line that is not empty, as `SCORE: 7`; markdown around it does not matter."""
    lines = raw.strip().splitlines()
    found = _SCORE_LINE.fullmatch(lines[-1]) if lines else None
    if found is None:
        raise ParseFailure("the last line is not `SCORE: <number>`")
    if found["of"] is not None and scale is not None and float(found["of"]) != scale[1]:
        raise ParseFailure(f"the score is out of {found['of']}, but the scale ends at {scale[1]:g}")
    return Parsed(raw.strip(), _checked(float(found["score"]), scale))


def reason_of(text: str) -> str | None:
    """Return the reason in a judgement's text: all of it but a last line with the score; None where that is nothing."""
    lines = text.strip().splitlines()
    if lines and _SCORE_LINE.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines).strip() or None


def _json_score(raw: str, scale: Scale | None) -> Parsed:
    """Read one JSON object with `score` and, where the judge gave one, `reason`."""
    try:
        value = json.loads(_unfenced(raw.strip()))
    except RecursionError:
        raise ParseFailure("the answer is not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        raise ParseFailure(f"the answer is not JSON: {error}") from None
    if not isinstance(value, dict) or "score" not in value:
        raise ParseFailure("the answer is not a JSON object with `score`")
    score = value["score"]
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise ParseFailure(f"score is {json.dumps(score)}, not a number")
    reason = value.get("reason")
    checked = _checked(score, scale)
    said = f"{reason.strip()}\n" if isinstance(reason, str) and reason.strip() else ""
    if any("\ud800" <= char <= "\udfff" for char in said):
        raise ParseFailure("the reason holds half a character (a lone surrogate), which no file can hold")
    return Parsed(f"{said}SCORE: {_plain(checked.value)}", checked)


def _plain(value: float) -> str:
    """Return a number without a needless fraction."""
    return str(int(value)) if value.is_integer() else repr(value)


def _unfenced(body: str) -> str:
    """Return what stands in a fenced code block, or the whole where there is no fence."""
    if len(body) < 2 * len(_FENCE) or not (body.startswith(_FENCE) and body.endswith(_FENCE)):
        return body
    return body.removeprefix(_FENCE).removesuffix(_FENCE).removeprefix("json")


def _checked(value: float, scale: Scale | None) -> Score:
    """Return a score on its scale, or fail where it is off it."""
    if scale is None:
        raise ParseFailure("the template names no scale")
    least, most = scale
    if not least <= value <= most:  # NaN fails too
        raise ParseFailure(f"the score {_short(value)} is off the scale from {least:g} to {most:g}")
    return Score(float(value), least, most)


def _short(value: float) -> str:
    """Return a number for a message; a whole one can be too large to be a float."""
    try:
        return f"{value:g}"
    except OverflowError:
        return "(a whole number of hundreds of digits)"


def _whole(scale: Scale) -> bool:
    """Return whether a scale has few whole steps, so that they can be listed."""
    return all(float(end).is_integer() for end in scale) and scale[1] - scale[0] <= _MOST_STEPS


def _json_constraint(scale: Scale) -> Constraint:
    """Return the schema of a reason and a score; the reason comes first, so that it can bear on the score."""
    number: dict[str, Json] = {"type": "number", "minimum": scale[0], "maximum": scale[1]}
    grammar = None
    if _whole(scale):
        number = {"type": "integer", "enum": list(range(int(scale[0]), int(scale[1]) + 1))}
        grammar = (
            'root ::= "{\\"reason\\": \\"" reason "\\", \\"score\\": " score "}"\n'
            f'reason ::= [A-Z] [^"\\\\\\n]{{10,{_REASON_LENGTH}}}\nscore ::= {_alternatives(scale)}\n'
        )
    return Constraint(
        json_schema={
            "type": "object",
            "properties": {"reason": {"type": "string", "maxLength": _REASON_LENGTH}, "score": number},
            "required": ["reason", "score"],
            "additionalProperties": False,
        },
        grammar=grammar,
    )


def _line_constraint(scale: Scale) -> Constraint:
    """Return a grammar of one line of reasoning and a line with a whole score on the scale."""
    if not _whole(scale):
        return Constraint()
    return Constraint(
        grammar='root ::= reason "\\nSCORE: " score\n'
        f"reason ::= [A-Z] [^\\n]{{10,{_REASON_LENGTH}}}\nscore ::= {_alternatives(scale)}\n"
    )


def _alternatives(scale: Scale) -> str:
    """Return the whole scores of a scale as alternatives of a grammar."""
    return " | ".join(f'"{value}"' for value in range(int(scale[0]), int(scale[1]) + 1))


PARSERS: Final[Mapping[str, Parser]] = {
    parser.name: parser
    for parser in (
        Parser("text", _text),
        Parser("score_line", _score_line, scores=True, constraint=_line_constraint),
        Parser("json_score", _json_score, scores=True, constraint=_json_constraint),
    )
}
"""Every parser by name."""
