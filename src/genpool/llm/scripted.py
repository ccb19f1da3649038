"""A model that answers from a script: for tests, and for trying a pool without paying.

In pool.yaml: `{client: scripted, answers: ["…", "…"], seconds: 0.05}`. An answer is picked by the
call's seed, so the same task gets the same answer. Without a script it answers something that the
template's parser can read.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from genpool.llm.client import Completion, Request, clean_text
from genpool.records import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.canonical import Json

PROVIDER: Final = "scripted"

Script = Callable[[Request], "Completion | str"]
"""What decides an answer: a text, or a whole completion; it may raise."""


class ScriptedModel:
    """A model whose answers are written down.

    Args:
        script: Texts to pick from by seed, a function of the request, or None for a readable default.
        seconds: How long an answer takes.
        calls_log: A file that gets one line a call, before the answer: a witness of what was called.
    """

    def __init__(
        self,
        script: Script | Sequence[str] | None = None,
        seconds: float = 0.0,
        calls_log: Path | None = None,
    ) -> None:
        self._script = script
        self._seconds = seconds
        self._calls_log = calls_log
        self.requests: list[Request] = []
        """Every request, in order."""

    async def complete(self, request: Request) -> Completion:
        """See `ModelClient.complete`."""
        self.requests.append(request)
        if self._calls_log is not None:
            with self._calls_log.open("a", encoding="utf-8") as log:
                log.write(f"{request.seed}\n")
        if self._seconds:
            await asyncio.sleep(self._seconds)
        answer = self._answer(request)
        if isinstance(answer, Completion):
            return answer
        usage = Usage(len(request.prompt.as_text().split()), len(answer.split()))
        return Completion(clean_text(answer), "stop", PROVIDER, usage, PROVIDER)

    async def aclose(self) -> None:
        """See `ModelClient.aclose`."""

    def _answer(self, request: Request) -> Completion | str:
        if callable(self._script):
            return self._script(request)
        if self._script:
            return self._script[request.seed % len(self._script)]
        return _readable(request)


def _readable(request: Request) -> str:
    """Return an answer that the request's parser can read."""
    schema = request.constraint.json_schema if request.constraint else None
    if schema is not None:
        properties = cast("dict[str, dict[str, Json]]", schema["properties"])
        scores = cast("list[float]", properties["score"].get("enum") or [properties["score"].get("minimum", 0)])
        return json.dumps(
            {"reason": f"scripted reason {request.seed % 97}", "score": scores[request.seed % len(scores)]}
        )
    if request.constraint is not None and request.constraint.grammar:
        return _forced(request.constraint.grammar, request.seed)
    words = request.prompt.user.split()
    return f"Scripted text {request.seed}: {' '.join(words[-12:])}"


def _forced(grammar: str, seed: int) -> str:
    """Return an answer of the shape that a parser's grammar forces, with scores picked by the seed."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
    scores = [json.loads(one) for one in rules["score"].split(" | ")]
    said = []
    for number, word in enumerate(re.findall(r'"(?:\\.|[^"\\])*"|\w+', rules["root"])):
        if word == "score":
            said.append(scores[(seed + number) % len(scores)])
        else:
            said.append(f"Scripted reason {seed % 97}" if word == "reason" else json.loads(word))
    return "".join(said)


def from_entry(script: dict[str, Json], root: Path) -> ScriptedModel:
    """Return the scripted model of an entry in pool.yaml."""
    answers = script.get("answers")
    seconds = script.get("seconds")
    log = script.get("calls_log")
    return ScriptedModel(
        [str(one) for one in answers] if isinstance(answers, list) else None,
        float(seconds) if isinstance(seconds, int | float) else 0.0,
        root / str(log) if log else None,
    )
