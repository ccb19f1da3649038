"""The real model in this process, end to end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from genpool.errors import CallFailed, ModelUnavailable
from genpool.llm.client import Request, parameters_sent
from genpool.llm.embedded import EmbeddedModel
from genpool.llm.weights import KNOWN, check, locate, pull
from genpool.parsers import PARSERS
from genpool.pool import Pool
from genpool.prompts import Prompt

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.model


def ask(weights: Path, *requests: Request, context: int = 1024) -> list[str]:
    async def asked() -> list[str]:
        model = EmbeddedModel(weights, "smollm2-135m", context, slots=2)
        try:
            return [answer.text for answer in await asyncio.gather(*(model.complete(one) for one in requests))]
        finally:
            await model.aclose()

    return asyncio.run(asked())


def test_a_cohort_runs_end_to_end_and_a_second_run_makes_no_call(pool: Pool) -> None:
    report = pool.run("small")
    assert report.complete, report
    assert report.calls == 6
    drafts = [one.record for one in pool.scope("small").members("draft")]
    assert drafts[0] is not None
    text = pool.store.text(drafts[0])
    assert len(text.split()) > 20
    assert text.rstrip()[-1] in ".!?"
    scores = [one.record.score for one in pool.scope("small").members("evaluation") if one.record]
    assert len(scores) == 4
    assert all(score is not None and 0 <= score.value <= 9 for score in scores)
    again = pool.run("small")
    assert (again.calls, again.complete) == (0, True)


def test_the_record_of_a_call_says_how_it_was_made(pool: Pool) -> None:
    pool.run("small")
    folder = next((pool.root / "gens/draft").iterdir())
    call = json.loads((folder / "metadata.json").read_text())["call"]
    assert call["provider"] == "embedded"
    assert call["finish_reason"] == "stop"
    assert call["parameters"]["temperature"] == 0.4
    assert call["seed"] == int(folder.name[2:10], 16) // 2
    assert call["usage"]["output_tokens"] > 10


def test_a_token_limit_that_is_hit_is_an_attempt_not_a_text(pool: Pool) -> None:
    config = pool.layout.config
    config.write_text(config.read_text().replace("max_tokens: 500", "max_tokens: 5"))
    pool = Pool.open(pool.root)
    report = pool.run("small")
    assert not report.complete
    assert report.attempts == {"truncated": 2}
    assert report.stages["draft"].exhausted == 1
    kept = next((pool.root / "attempts/draft").iterdir())
    assert json.loads((kept / "1/metadata.json").read_text())["reason"]["kind"] == "truncated"
    assert (
        json.loads((kept / "2/metadata.json").read_text())["call"]["seed"]
        != (json.loads((kept / "1/metadata.json").read_text())["call"]["seed"])
    )
    assert not (pool.root / "gens/draft").exists() or not list((pool.root / "gens/draft").iterdir())


@pytest.mark.parametrize("parser", ["json_score", "score_line"])
def test_a_small_judge_always_gives_a_score_that_the_parser_reads(weights: Path, parser: str) -> None:
    constraint = PARSERS[parser].constraint
    assert constraint is not None
    prompt = Prompt("A castle with a moat is safe.\n\nHow new is this idea? Give a score from 0 to 9.")
    sent = parameters_sent({"max_tokens": 300, "temperature": 1.2}, constraint((0, 9)), "grammar")
    requests = [Request(prompt, sent, seed) for seed in range(6)]
    for text in ask(weights, *requests):
        assert PARSERS[parser].parse(text, (0, 9)).score is not None


def test_seeds_differ_and_repeat(weights: Path) -> None:
    prompt = Prompt("Say something about rivers.")
    requests = [Request(prompt, {"max_tokens": 30, "temperature": 1.0}, seed) for seed in (1, 2, 1)]
    one, two, again = (ask(weights, request)[0] for request in requests)
    assert one == again
    assert one != two


def test_a_prompt_beyond_the_context_is_a_failed_call_with_the_reason(weights: Path) -> None:
    with pytest.raises(CallFailed, match="context"):
        ask(weights, Request(Prompt("word " * 3000), {"max_tokens": 10}, 1), context=512)


def test_a_cancelled_call_stops_at_its_next_token(weights: Path) -> None:
    async def cancelled() -> float:
        model = EmbeddedModel(weights, "smollm2-135m", 4096, slots=1)
        endless = Request(Prompt("Count."), {"max_tokens": 3000, "grammar": 'root ::= ("one " | "two "){600,900}'}, 1)
        call = asyncio.create_task(model.complete(endless))
        await asyncio.sleep(1.0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        started = time.monotonic()
        await model.complete(Request(Prompt("Say yes."), {"max_tokens": 5}, 1))
        return time.monotonic() - started

    assert asyncio.run(cancelled()) < 5


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelUnavailable, match="cannot load"):
        EmbeddedModel(locate("x.gguf", tmp_path), "x", 512, 1)


def test_weights_that_are_here_are_verified_not_fetched(weights: Path) -> None:
    check(weights, KNOWN["smollm2-135m"])
    assert pull("smollm2-135m", lambda *_: pytest.fail("nothing is to be fetched")) == weights


def test_two_interrupts_stop_a_run_at_once_and_it_goes_on_later(pool: Pool) -> None:
    command = [sys.executable, "-m", "genpool", "--pool", str(pool.root), "run", "demo"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stderr is not None
    while (line := running.stderr.readline()).startswith("0/66"):
        assert running.poll() is None, line
    os.kill(running.pid, signal.SIGINT)
    time.sleep(0.3)
    os.kill(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert re.search(r"interrupted; \d+ tasks left: genpool .*run demo", err)
    assert pool.plan("demo").missing < 66
