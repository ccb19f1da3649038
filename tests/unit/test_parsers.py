"""Parsers: what a model says, read or refused; nothing is guessed."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

import pytest

from genpool.llm.client import Request
from genpool.parsers import PARSERS, Constraint, ParseFailure, Scale
from genpool.prompts import Prompt
from genpool.testing import ScriptedModel

NINE: Scale = (0.0, 9.0)


def score(parser: str, raw: str, scale: Scale | None = NINE) -> float:
    found = PARSERS[parser].parse(raw, scale).score
    assert found is not None
    assert scale is not None
    assert (found.min, found.max) == scale
    return found.value


def refused(parser: str, raw: str, scale: Scale | None = NINE) -> str:
    with pytest.raises(ParseFailure) as error:
        PARSERS[parser].parse(raw, scale)
    return str(error.value)


def test_the_parsers_are_these() -> None:
    assert {name: parser.scores for name, parser in PARSERS.items()} == {
        "text": False,
        "score_line": True,
        "json_score": True,
        "fraction_score": True,
        "digits_score": True,
        "bare_score": True,
    }


def test_the_documented_parsers_are_these() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    table = text.split("| parser | reads |\n|---|---|\n")[1].split("\n\n")[0]
    assert [row.split("`")[1] for row in table.splitlines()] == list(PARSERS)
    front = re.search(r"^parser: .*# (.*)$", text, re.MULTILINE)
    assert front is not None
    assert [word.removesuffix(" (default)") for word in front[1].split(" | ")] == list(PARSERS)


@pytest.mark.parametrize("scale", [None, NINE])
def test_text_is_the_output_without_white_space_at_its_ends(scale: Scale | None) -> None:
    parsed = PARSERS["text"].parse("\n  One.\n\nTwo. \n", scale)
    assert (parsed.text, parsed.score) == ("One.\n\nTwo.", None)


# --- a line with a score --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SCORE: 7", 7),
        ("Score: 7", 7),
        ("score:7", 7),
        ("SCORE = 7", 7),
        ("SCORE: 7.5", 7.5),
        ("SCORE: 7.", 7),
        ("SCORE: +7", 7),
        ("SCORE: 0", 0),
        ("SCORE: -0", 0),
        ("SCORE: 9.0", 9),
        ("SCORE: 07", 7),
        ("SCORE: 7/9", 7),
        ("SCORE: 7 / 9", 7),
        ("**SCORE: 7**", 7),
        ("**SCORE:** 7", 7),
        ("**Score**: 7", 7),
        ("### Score: 7", 7),
        ("- SCORE: 7", 7),
        ("> SCORE: 7", 7),
        ("`SCORE: 7`", 7),
        ("__SCORE: 7__.", 7),
        ("\tSCORE:\t7", 7),
        ("SCORE: 7\r\n", 7),
        ("SCORE: 7\n\n  \n", 7),
    ],
)
def test_a_score_line_is_read_in_the_forms_that_models_write(line: str, value: float) -> None:
    assert score("score_line", f"It holds together.\n{line}") == value


def test_the_whole_answer_is_the_text_of_a_score_line() -> None:
    assert PARSERS["score_line"].parse("\nGood.\nSCORE: 7\n", NINE).text == "Good.\nSCORE: 7"


def test_only_the_last_line_counts_and_a_line_that_says_otherwise_is_a_contradiction() -> None:
    assert score("score_line", "He gets a SCORE: 2\nNo, better:\nSCORE: 8") == 8
    assert refused("score_line", "SCORE: 2\nNo, better:\nSCORE: 8") == "several scores that disagree: 2, 8"


def test_of_many_scores_that_disagree_some_are_told() -> None:
    said = refused("score_line", "\n".join(f"SCORE: {one}" for one in range(8)))
    assert said == "several scores that disagree: 0, 1, 2, 3, 4, …"


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "\n \n",
        "7",
        "SCORE",
        "SCORE:",
        "SCORE: seven",
        "SCORE: 7 or 8",
        "SCORE: 7-8",
        "SCORE: 7, because it is good",
        "SCORE: 7,5",
        "SCORE: 1e1",
        "SCORE: NaN",
        "SCORE: inf",
        "SCORE: \u0667",
        "SCORE: <7>",
        "My score: 7",
        "SCORES: 7",
        "SCORE: 7\nI hope this helps!",
        '{"score": 7}',
    ],
)
def test_an_answer_without_a_score_line_at_its_end_is_refused(raw: str) -> None:
    assert refused("score_line", raw) == "the last line is not `SCORE: <number>`"


@pytest.mark.parametrize(("line", "shown"), [("SCORE: 10", "10"), ("SCORE: -1", "-1"), ("SCORE: 9.01", "9.01")])
def test_a_score_off_its_scale_is_refused(line: str, shown: str) -> None:
    assert refused("score_line", line) == f"the score {shown} is off the scale from 0 to 9"


def test_a_score_of_a_thousand_digits_is_off_the_scale() -> None:
    assert "off the scale" in refused("score_line", f"SCORE: {'9' * 1000}")


def test_a_scale_can_begin_below_zero() -> None:
    assert score("score_line", "SCORE: -2", (-3.0, 3.0)) == -2


@pytest.mark.parametrize(
    ("parser", "raw"),
    [
        ("score_line", "SCORE: 7"),
        ("json_score", '{"score": 7}'),
        ("fraction_score", "7/9"),
        ("digits_score", "7 7 7"),
        ("bare_score", "7"),
    ],
)
def test_without_a_scale_there_is_no_score(parser: str, raw: str) -> None:
    assert refused(parser, raw, None) == "the template names no scale"


# --- a JSON answer --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        '{"reason": "It is new.", "score": 7}',
        '{"score": 7, "reason": "It is new."}',
        '\n  {"reason": "It is new.",\n   "score": 7}\n',
        '{"reason": " It is new. ", "score": 7.0, "confidence": "high"}',
        '```json\n{"reason": "It is new.", "score": 7}\n```',
        '```\n{"reason": "It is new.", "score": 7}\n```\n',
        '```json{"reason": "It is new.", "score": 7}```',
    ],
)
def test_a_json_answer_is_read_with_or_without_a_fence(raw: str) -> None:
    parsed = PARSERS["json_score"].parse(raw, NINE)
    assert parsed.text == "It is new.\nSCORE: 7"
    assert parsed.score is not None
    assert parsed.score.value == 7


@pytest.mark.parametrize("reason", ["", "  ", None, 3, ["x"]])
def test_a_json_answer_need_not_give_a_reason(reason: object) -> None:
    assert PARSERS["json_score"].parse(json.dumps({"reason": reason, "score": 7}), NINE).text == "SCORE: 7"


@pytest.mark.parametrize(
    "raw", ["7,5/9", "7'5/9", "7\u00b75/9", "7\u20138/9", "7 to 8/9", "7 or 8/9", "Score: \u22123/9"]
)
def test_a_part_of_a_number_or_of_a_range_is_no_score(raw: str) -> None:
    assert "does not end with a score" in refused("fraction_score", raw)


@pytest.mark.parametrize(
    "raw", ["Clarity,7/9", "Clarity \u2013 7/9", "Part 2 \u2013 7/9", "2, 7/9", "from me to you: 7/9"]
)
def test_what_stands_before_a_score_may_end_with_a_comma_or_a_dash(raw: str) -> None:
    assert score("fraction_score", raw) == 7


@pytest.mark.parametrize(
    "raw",
    [
        "7 - 8/9",
        "7- 8/9",
        "6.5 \u2013 8/9",
        "**7** \u2014 **8/9**",
        "- 7 \u2212 8/9",
        "Clarity: 7 - 8/9",
        "7/9 - 8/9",
        "It is a 7 - 8/9",
        "Good. 7 - 8 out of 9",
    ],
)
def test_the_end_of_a_range_with_blanks_in_it_is_no_score(raw: str) -> None:
    assert refused("fraction_score", raw) == "the last line ends with a range up to 8, not with one score"


@pytest.mark.parametrize("raw", ["Part 2 - 8/9", "**Part 2** \u2014 8/9", "- 8/9", "Clarity - 8/9", "2 - Clarity: 8/9"])
def test_the_number_of_what_is_judged_makes_no_range(raw: str) -> None:
    assert score("fraction_score", raw) == 8


@pytest.mark.parametrize("raw", ["7 8/9", "7, 8/9", "7/9 8", "SCORES: 7 8 / 9"])
def test_a_score_with_what_it_is_out_of_is_not_two_of_three(raw: str) -> None:
    assert refused("digits_score", raw) == "the last line is not three scores, as `7 8 6`"


def test_three_scores_may_be_told_apart_by_slashes() -> None:
    assert score("digits_score", "7/8/9") == 8
    assert score("digits_score", "7 / 8 / 9") == 8


def test_a_fraction_is_kept() -> None:
    assert score("json_score", '{"score": 6.25}') == 6.25


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("", "not JSON"),
        ("7", "not a JSON object with `score`"),
        ("[7]", "not a JSON object with `score`"),
        ("null", "not a JSON object with `score`"),
        ("{}", "not a JSON object with `score`"),
        ('{"Score": 7}', "not a JSON object with `score`"),
        ('{"score": 7', "not JSON"),
        ("{'score': 7}", "not JSON"),
        ('{"score": 7} I hope this helps!', "not JSON"),
        ('Here it is: {"score": 7}', "not JSON"),
        ('{"score": 7}{"score": 8}', "not JSON"),
        ("```json\n```", "not JSON"),
        ("```", "not JSON"),
        ("``````", "not JSON"),
        ('{"score": "7"}', 'score is "7", not a number'),
        ('{"score": null}', "score is null, not a number"),
        ('{"score": true}', "score is true, not a number"),
        ('{"score": [7]}', "score is [7], not a number"),
        ('{"score": {"value": 7}}', "not a number"),
        ('{"score": 10}', "the score 10 is off the scale from 0 to 9"),
        ('{"score": -1}', "off the scale"),
        ('{"score": NaN}', "off the scale"),
        ('{"score": Infinity}', "off the scale"),
        ('{"score": -Infinity}', "off the scale"),
        ('{"score": 1e999}', "off the scale"),
        ('{"score": 1' + "0" * 400 + "}", "off the scale"),
        ('{"score": 1' + "0" * 5000 + "}", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"score": 7, "reason": "\\ud83d"}', "lone surrogate"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_json_answer_that_cannot_be_used_is_refused_with_the_reason(raw: str, said: str) -> None:
    assert said in refused("json_score", raw)


@pytest.mark.parametrize("parser", [name for name, parser in PARSERS.items() if parser.scores])
@pytest.mark.parametrize(
    "raw",
    [
        "```" + " " * 20_000 + "x",
        "score: 7" + " " * 20_000 + "x",
        "*" * 20_000,
        "7/" * 9999,
        "score: 1 2" + " " * 20_000 + "x",
        "7" * 20_000 + "x",
        "```x" * 10_000,
        "SCORE: 7\n" * 10_000 + "x",
    ],
    ids=range(8),
)
def test_an_answer_that_runs_on_is_refused_in_a_moment(parser: str, raw: str) -> None:
    started = time.process_time()
    refused(parser, raw)
    assert time.process_time() - started < 1


# --- what an answer is constrained to -------------------------------------------------------------


def constraint(parser: str, scale: Scale) -> tuple[object, str | None]:
    made = PARSERS[parser].constraint
    assert made is not None
    found = made(scale)
    return found.json_schema, found.grammar


def test_the_schema_of_few_whole_steps_lists_them() -> None:
    schema, _ = constraint("json_score", (1.0, 5.0))
    assert schema == {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": 160},
            "score": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
        },
        "required": ["reason", "score"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("scale", [(0.0, 1.5), (0.5, 3.0), (0.0, 101.0)])
def test_the_schema_of_any_other_scale_gives_its_ends(scale: Scale) -> None:
    schema, grammar = constraint("json_score", scale)
    assert isinstance(schema, dict)
    assert schema["properties"]["score"] == {"type": "number", "minimum": scale[0], "maximum": scale[1]}
    assert grammar is None


def test_the_reason_comes_before_the_score_so_that_it_can_bear_on_it() -> None:
    schema, grammar = constraint("json_score", NINE)
    assert isinstance(schema, dict)
    assert list(schema["properties"]) == ["reason", "score"]
    assert grammar is not None
    assert grammar.index("reason") < grammar.index("score")


@pytest.mark.parametrize("parser", [name for name, parser in PARSERS.items() if parser.scores])
def test_the_grammar_allows_the_whole_scores_of_the_scale_and_no_other(parser: str) -> None:
    _, grammar = constraint(parser, (-1.0, 2.0))
    assert grammar is not None
    assert grammar.endswith('score ::= "-1" | "0" | "1" | "2"\n')


def test_the_grammars_are_these() -> None:
    assert constraint("json_score", (0.0, 1.0))[1] == (
        'root ::= "{\\"reason\\": \\"" reason "\\", \\"score\\": " score "}"\n'
        'reason ::= [A-Z] [^"\\\\\\n]{10,160}\n'
        'score ::= "0" | "1"\n'
    )
    assert constraint("score_line", (0.0, 1.0)) == (
        None,
        'root ::= reason "\\nSCORE: " score\nreason ::= [A-Z] [^\\n]{10,160}\nscore ::= "0" | "1"\n',
    )


def test_a_score_line_on_a_scale_of_fractions_is_not_constrained() -> None:
    assert constraint("score_line", (0.0, 1.5)) == (None, None)


@pytest.mark.parametrize(
    ("parser", "root"),
    [
        ("fraction_score", 'reason "\\nSCORE: " score "/4"'),
        ("digits_score", 'reason "\\nSCORE: " score " " score " " score'),
        ("bare_score", "score"),
    ],
)
def test_the_last_line_of_a_grammar_is_what_its_parser_reads(parser: str, root: str) -> None:
    assert (constraint(parser, (0.0, 4.0))[1] or "").splitlines()[0] == f"root ::= {root}"
    request = Request(Prompt("judge"), {}, 5, Constraint(grammar=constraint(parser, (0.0, 4.0))[1]))
    answer = asyncio.run(ScriptedModel().complete(request)).text
    assert 0 <= score(parser, answer, (0.0, 4.0)) <= 4


def test_what_the_grammar_allows_is_what_the_parser_reads() -> None:
    reason = "A fresh idea, well told"
    assert score("json_score", f'{{"reason": "{reason}", "score": 4}}') == 4
    assert score("score_line", f"{reason}\nSCORE: 4") == 4


def test_plain_text_is_not_constrained() -> None:
    assert PARSERS["text"].constraint is None
