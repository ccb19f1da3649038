"""Replies of models, and what parsers must make of them: a score and a reason, or a failure that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genpool.parsers import PARSERS, ParseFailure, reason_of

REPLIES = json.loads(Path(__file__).with_name("replies.json").read_text())["replies"]


@pytest.mark.parametrize("one", REPLIES, ids=lambda one: f"{one['parser']}: {one['reply'][:40]!r}")
def test_a_reply_gives_its_score_and_reason_or_its_failure(one: dict[str, Any]) -> None:
    scale = tuple(map(float, one["scale"]))
    if "fails" in one:
        with pytest.raises(ParseFailure) as failure:
            PARSERS[one["parser"]].parse(one["reply"], scale)
        assert str(failure.value) == one["fails"]
        return
    parsed = PARSERS[one["parser"]].parse(one["reply"], scale)
    assert parsed.score is not None
    assert (parsed.score.value, parsed.score.min, parsed.score.max) == (one["score"], *scale)
    assert reason_of(parsed.text) == one["reason"]


def test_every_parser_that_reads_a_score_has_replies_that_it_reads_and_replies_that_it_refuses() -> None:
    for wanted in ("score", "fails"):
        assert {one["parser"] for one in REPLIES if wanted in one} == {n for n, one in PARSERS.items() if one.scores}
