"""The OpenAI-compatible client against a real server: llama.cpp's own, on loopback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.runner import RunReport

pytestmark = pytest.mark.model

KEY = "test-key-5f1c"
SENTENCE = 'root ::= [A-Z] [a-z ,]{30,120} "."'


def through(pool: Pool, server: str, more: str = "", key: str = "GENPOOL_TEST_KEY") -> Pool:
    """Return the pool with both models behind the server."""
    entry = f"client: openai, base_url: '{server}', key: {key}, model: any, temperature: 0.4, max_tokens: 300{more}"
    writer = f"{{{entry}, grammar: '{SENTENCE}'}}"
    entry = f"{{{entry}}}"
    pool.layout.config.write_text(
        "format: genpool.pool/1\nid_scheme: genpool/1\nmodels:\n"
        f"  smollm2-135m: {writer}\n  smollm2-135m-judge: {entry}\n"
    )
    return Pool.open(pool.root)


def everything_written(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".env")


def reasons(report: RunReport) -> str:
    return " ".join(f"{one.kind}: {one.message} {one.hint}" for one in report.failures)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPOOL_TEST_KEY", KEY)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("way", ["json_schema", "grammar"])
def test_a_cohort_runs_on_a_server_and_a_judge_is_constrained(pool: Pool, server: str, way: str) -> None:
    pool = through(pool, server, f", constrain: {way}")
    report = pool.run("small")
    assert report.complete, reasons(report)
    assert report.calls == 6 + sum(report.attempts.values())
    judged = next((pool.root / "gens/evaluation").iterdir())
    metadata = json.loads((judged / "metadata.json").read_text())
    assert metadata["score"]["max"] == 9
    assert metadata["call"]["provider"].startswith("openai 127.0.0.1:")
    assert ("grammar" if way == "grammar" else "response_format") in metadata["call"]["parameters"]
    assert metadata["call"]["usage"]["output_tokens"] > 0
    assert KEY.encode() not in everything_written(pool.root)


def test_a_key_comes_from_the_pools_env_file(pool: Pool, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENPOOL_TEST_KEY", raising=False)
    (pool.root / ".env").write_text(f"GENPOOL_TEST_KEY={KEY}\n")
    report = through(pool, server).run("small")
    assert report.complete, reasons(report)


def test_a_wrong_key_is_told_once_and_not_repeated(pool: Pool, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPOOL_TEST_KEY", "wrong-key-77")
    pool = through(pool, server)
    report = pool.run("small")
    assert [one.kind for one in report.failures] == ["model-unavailable"]
    assert "401" in reasons(report)
    assert "wrong-key-77" not in reasons(report)
    assert b"wrong-key-77" not in everything_written(pool.root)


@pytest.mark.usefixtures("key")
def test_an_answer_cut_at_the_token_limit_is_an_attempt(pool: Pool, server: str) -> None:
    pool = through(pool, server)
    config = pool.layout.config
    config.write_text(config.read_text().replace("max_tokens: 300", "max_tokens: 4"))
    report = Pool.open(pool.root).run("small")
    assert report.attempts == {"truncated": 2}
    assert report.stages["draft"].exhausted == 1


@pytest.mark.usefixtures("key")
def test_a_server_that_is_not_there_fails_the_task_and_says_where(pool: Pool) -> None:
    report = through(pool, "http://127.0.0.1:9/v1", more=", tries: 1").run("small")
    assert report.stages["draft"].failed == 1
    assert "can 127.0.0.1 be reached from here?" in reasons(report)
    ledger = next((pool.root / "ledger").iterdir()).read_text().splitlines()
    assert [json.loads(line).get("outcome") for line in ledger[1:]] == [None, "failed"]


@pytest.mark.usefixtures("key")
def test_a_parameter_that_the_server_refuses_is_a_failed_task(pool: Pool, server: str) -> None:
    pool = through(pool, server)
    config = pool.layout.config
    config.write_text(config.read_text().replace("root ::= [A-Z]", "root ::= (unclosed"))
    report = Pool.open(pool.root).run("small")
    assert report.stages["draft"].failed == 1
    assert report.failures[0].kind == "call-failed"
