"""Parsers: raw output to the text that children read, and a score where a judge spoke. Pure.

A parser is named in a template's front matter. It either returns what it read or raises
`ParseFailure` with a reason; nothing is guessed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from genpool.records import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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


_MARKS: Final = r"[\s*_`~]*"
_NUMBER: Final = r"[-+]?[0-9]+(?:\.[0-9]+)?"
_SCORE_LINE: Final = re.compile(
    rf"[\s>*_#`~-]*score{_MARKS}[:=]{_MARKS}(?P<score>{_NUMBER})(?:\s*/\s*(?P<of>[0-9]+(?:\.[0-9]+)?))?[\s*_`~.]*",
    re.IGNORECASE,
)
_FRACTION: Final = re.compile(  # 7,5/10 is not 5, nor is the end of a range a score
    rf"(?<![\w./+\u2212-])(?<![0-9][,'\u2019\u00b7\u2013\u2014])(?<![0-9]\s(?:to|or)\s)"
    rf"(?P<score>{_NUMBER})(?:\s?/\s?|\sout\sof\s)(?P<of>[0-9]+(?:\.[0-9]+)?)(?=[\s*_`~.!)\]]*\Z)",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(  # `Part 2 - 8/10` is none: what stands after a noun is its number
    rf"(?:\A[\s>*_#`~-]*|[:=(),;.!?]{_MARKS}|\b(?:scores?|ratings?|grade|mark|an?|of|is|it|about|around|roughly)\s{_MARKS})"
    rf"{_NUMBER}(?:\s?/\s?[0-9]+(?:\.[0-9]+)?)?{_MARKS}[\u2212\u2013\u2014-]{_MARKS}{_NUMBER}\Z",
    re.IGNORECASE,
)
_DIGITS: Final = re.compile(
    rf"(?:[\s>*_#`~]|-(?![0-9]))*+(?:scores?{_MARKS}[:=]{_MARKS})?"  # possessive: an answer that runs on is no trap
    rf"(?:({_NUMBER})(?:\s*[,;/|]\s*|\s+)({_NUMBER})(?:\s*[,;/|]\s*|\s+)({_NUMBER})|([0-9])([0-9])([0-9]))[\s*_`~.]*",
    re.IGNORECASE,
)
_BARE: Final = re.compile(_NUMBER)
_MOST_TOLD: Final = 5


def _score_line(raw: str, scale: Scale | None) -> Parsed:
    """Read the last line that is not empty, as `SCORE: 7`; markdown around it does not matter."""
    lines = raw.strip().splitlines()
    found = _SCORE_LINE.fullmatch(lines[-1]) if lines else None
    if found is None:
        raise ParseFailure("the last line is not `SCORE: <number>`")
    _check_of(found["of"], scale)
    others = (_SCORE_LINE.fullmatch(line) for line in lines[:-1])
    _agree([*(one["score"] for one in others if one), found["score"]])
    return Parsed(raw.strip(), _checked(float(found["score"]), scale))


def _fraction_score(raw: str, scale: Scale | None) -> Parsed:
    """Read the end of the last line that is not empty, as `7/10` or `7 out of 10`; a scale ends at what it is out of.

    A line that begins with the same words and says another score is a contradiction; one with other words (a part's
    score before that of the whole) is none.
    """
    lines = raw.strip().splitlines()
    found = _FRACTION.search(lines[-1]) if lines else None
    if found is None:
        raise ParseFailure("the last line does not end with a score like `7/10`")
    if _RANGE.search(lines[-1][: found.end("score")]):
        raise ParseFailure(f"the last line ends with a range up to {found['score']}, not with one score")
    _check_of(found["of"], scale)
    label = _plain_words(lines[-1][: found.start()])
    others = [(line, _FRACTION.search(line)) for line in lines[:-1]]
    same = [one["score"] for line, one in others if one and _plain_words(line[: one.start()]) == label]
    _agree([*same, found["score"]])
    return _with_score_line(raw, _checked(float(found["score"]), scale))


def _digits_score(raw: str, scale: Scale | None) -> Parsed:
    """Read three scores on the last line that is not empty, as `7 8 6`; the score is their mean.

    On a scale within 0 to 9 three digits may run together: `786`.
    """
    lines = raw.strip().splitlines()
    found = _three(lines[-1], scale) if lines else None
    if found is None:
        raise ParseFailure("the last line is not three scores, as `7 8 6`")
    for line in lines[:-1]:
        other = _three(line, scale)
        if other is not None and [*map(float, other)] != [*map(float, found)]:
            raise ParseFailure(f"several scores that disagree: {' '.join(other)} and {' '.join(found)}")
    values = [_checked(float(one), scale) for one in found]
    mean = sum(one.value for one in values) / len(values)
    return _with_score_line(raw, Score(mean, values[0].min, values[0].max))


def _three(line: str, scale: Scale | None) -> list[str] | None:
    """Return the three scores that a line is, or None where it is something else."""
    found = _DIGITS.fullmatch(line)
    if found is None or line.count("/") == 1:
        return None  # in `7 8/10` the 10 may be what the 8 is out of; `7/8/6` is three
    values = [one for one in found.groups() if one is not None]
    if found[4] is not None and scale is not None and not 0 <= scale[0] <= scale[1] <= 9:
        return None  # three digits that run together could be one score, or 10 could be in them
    return values


def _bare_score(raw: str, scale: Scale | None) -> Parsed:
    """Read an answer that is a number and nothing else, as a grammar forces it."""
    found = _BARE.fullmatch(raw.strip())
    if found is None:
        raise ParseFailure("the answer is not a number and nothing else")
    score = _checked(float(found[0]), scale)
    return Parsed(f"SCORE: {_plain(score.value)}", score)


def _with_score_line(raw: str, score: Score) -> Parsed:
    """Return the whole answer, and below it its score as the last line."""
    return Parsed(f"{raw.strip()}\nSCORE: {_plain(score.value)}", score)


def _check_of(of: str | None, scale: Scale | None) -> None:
    """Refuse a score that is out of something else than the most of the scale."""
    if of is not None and scale is not None and float(of) != scale[1]:
        raise ParseFailure(f"the score is out of {of}, but the scale ends at {scale[1]:g}")


def _agree(scores: Sequence[str]) -> None:
    """Refuse several scores that are not one: which of them the judge meant, nobody can know."""
    distinct = list(dict.fromkeys(float(one) for one in scores))
    if len(distinct) > 1:
        told = ", ".join(_short(one) for one in distinct[:_MOST_TOLD]) + (", …" if len(distinct) > _MOST_TOLD else "")
        raise ParseFailure(f"several scores that disagree: {told}")


def _plain_words(text: str) -> str:
    """Return what a line says before its score, without markdown and case."""
    return re.sub(r"[\W_]+", " ", text).strip().casefold()


def reason_of(text: str) -> str | None:
    """Return the reason in a judgement's text: all of it but a last line with the score; None where that is nothing."""
    lines = text.strip().splitlines()
    if lines and _SCORE_LINE.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines).strip() or None


def _json_score(raw: str, scale: Scale | None) -> Parsed:
    """Read one JSON object with `score` and, where the judge gave one, `reason`; fenced, or the whole answer."""
    found = [_json_object(body) for body in _bodies(raw.strip())]
    for value in found:
        if isinstance(value["score"], bool) or not isinstance(value["score"], int | float):
            raise ParseFailure(f"score is {json.dumps(value['score'])}, not a number")
    checked = [_checked(value["score"], scale) for value in found]
    _agree([repr(one.value) for one in checked])
    reason = found[-1].get("reason")
    said = f"{reason.strip()}\n" if isinstance(reason, str) and reason.strip() else ""
    if any("\ud800" <= char <= "\udfff" for char in said):
        raise ParseFailure("the reason holds half a character (a lone surrogate), which no file can hold")
    return Parsed(f"{said}SCORE: {_plain(checked[-1].value)}", checked[-1])


def _json_object(body: str) -> dict[str, Any]:
    """Return the JSON object with a score that a text is."""
    try:
        value = json.loads(body, object_pairs_hook=_once)
    except RecursionError:
        raise ParseFailure("the answer is not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        raise ParseFailure(f"the answer is not JSON: {error}") from None
    if not isinstance(value, dict) or "score" not in value:
        raise ParseFailure("the answer is not a JSON object with `score`")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; JSON lets a key stand in it twice, and would take the last."""
    scores = dict.fromkeys(json.dumps(value) for key, value in pairs if key == "score")
    if len(scores) > 1:
        raise ParseFailure(f"several scores that disagree: {', '.join(list(scores)[:_MOST_TOLD])}")
    return dict(pairs)


def _plain(value: float) -> str:
    """Return a number without a needless fraction."""
    return str(int(value)) if value.is_integer() else repr(value)


def _bodies(answer: str) -> list[str]:
    """Return the JSON texts of an answer: what its fenced code blocks hold, or the whole where there is no fence."""
    if len(answer) >= 2 * len(_FENCE) and answer.startswith(_FENCE) and answer.endswith(_FENCE):
        whole = answer.removeprefix(_FENCE).removesuffix(_FENCE).removeprefix("json")
        if _FENCE not in whole:
            return [whole]
    parts = answer.split(_FENCE)
    if answer.startswith("{") or len(parts) < 3 or len(parts) % 2 == 0:
        return [answer]
    blocks = [block.removeprefix("json").strip() for block in parts[1::2]]
    return [block for block in blocks if block.startswith("{")] or [answer]


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


def _lines_constraint(last: str) -> Callable[[Scale], Constraint]:
    """Return what makes a grammar of one line of reasoning and a last line with whole scores on the scale.

    Args:
        last: The last line in the grammar; `{most}` stands for the most of the scale.
    """

    def constraint(scale: Scale) -> Constraint:
        if not _whole(scale):
            return Constraint()
        return Constraint(
            grammar=f'root ::= reason "\\nSCORE: " {last.format(most=int(scale[1]))}\n'
            f"reason ::= [A-Z] [^\\n]{{10,{_REASON_LENGTH}}}\nscore ::= {_alternatives(scale)}\n"
        )

    return constraint


def _bare_constraint(scale: Scale) -> Constraint:
    """Return a grammar of a whole score on the scale and nothing else."""
    return Constraint(grammar=f"root ::= score\nscore ::= {_alternatives(scale)}\n") if _whole(scale) else Constraint()


def _alternatives(scale: Scale) -> str:
    """Return the whole scores of a scale as alternatives of a grammar."""
    return " | ".join(f'"{value}"' for value in range(int(scale[0]), int(scale[1]) + 1))


PARSERS: Final[Mapping[str, Parser]] = {
    parser.name: parser
    for parser in (
        Parser("text", _text),
        Parser("score_line", _score_line, scores=True, constraint=_lines_constraint("score")),
        Parser("json_score", _json_score, scores=True, constraint=_json_constraint),
        Parser("fraction_score", _fraction_score, scores=True, constraint=_lines_constraint('score "/{most}"')),
        Parser("digits_score", _digits_score, scores=True, constraint=_lines_constraint('score " " score " " score')),
        Parser("bare_score", _bare_score, scores=True, constraint=_bare_constraint),
    )
}
"""Every parser by name."""
