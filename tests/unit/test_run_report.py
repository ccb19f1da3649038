"""What a run says of itself: calls, tokens, cost, and every task counted once."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.errors import CallFailed, ModelUnavailable
from genpool.testing import ScriptedModel
from tests.small_pools import (
    EVALUATIONS,
    generations,
    ledger_entries,
    make_pool,
    metadata,
    models,
    whole_cohort,
    write_spec,
)

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.llm.client import Request
    from genpool.pool import Pool
    from genpool.runner import RunReport


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return make_pool(tmp_path / "pool")


# --- the report -------------------------------------------------------------------------------------


def test_the_report_counts_calls_tokens_and_cost(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, models={"writer": "{client: scripted, price: {input: 2, output: 10}}"})
    whole_cohort(pool.root)
    clients = models()
    report = pool.run("c", models=clients)
    assert report.calls == sum(len(client.requests) for client in clients.values()) == 12
    paid = [entry for entry in ledger_entries(pool.root) if entry.get("cost") is not None]
    assert len(paid) == len(clients["writer"].requests) == 4
    assert report.cost == pytest.approx(sum(float(str(entry["cost"])) for entry in paid))
    settled = [entry for entry in ledger_entries(pool.root) if "settled" in entry]
    assert report.input_tokens == sum(int(str(entry["input_tokens"])) for entry in settled) > 0
    assert report.output_tokens == sum(int(str(entry["output_tokens"])) for entry in settled) > 0


def test_a_run_without_a_price_says_no_cost(pool: Pool) -> None:
    write_spec(pool.root)
    assert pool.run("c", models=models()).cost is None


def test_copies_make_no_call_and_no_ledger_entry(pool: Pool) -> None:
    write_spec(pool.root, essay="template: [same]", evaluation=EVALUATIONS)
    pool.run("c", models=models())
    intents = [entry["stage"] for entry in ledger_entries(pool.root) if "intent" in entry]
    assert sorted(set(intents)) == ["draft", "evaluation"]


# --- what a report counts -----------------------------------------------------------------------------


def two_templates(root: Path) -> None:
    write_spec(root, "again", draft="template: [plain, long], model: [writer]", essay="template: [story]")


def test_what_is_reused_is_counted_by_the_cohort_whose_run_made_it(pool: Pool) -> None:
    whole_cohort(pool.root)
    two_templates(pool.root)
    pool.run("c", models=models())
    shutil.rmtree(pool.root / "gens" / "essay")
    report = pool.run("again", models=models())
    assert report.stages["draft"].origins == {"c": 2}
    assert report.stages["essay"].origins == {}
    row = report.stages["draft"].row("again")
    assert (row["wanted"], row["reused"], row["own"], row["others"], row["made"]) == (4, 2, 0, 2, 2)
    again = pool.run("again", models=models())
    assert again.stages["draft"].origins == {"c": 2, "again": 2}
    assert again.stages["draft"].row("again")["own"] == 2


def test_every_task_is_counted_once_whatever_became_of_it(tmp_path: Path) -> None:
    entries = dict.fromkeys(("writer", "other", "cut"), "{client: scripted}")
    entries["judge"] = "{client: scripted, concurrency: 1}"
    pool = make_pool(tmp_path, rows=3, models=entries)
    write_spec(pool.root, draft="template: [plain], model: [writer]")
    pool.run("c", models=models())
    made = next((pool.root / "gens" / "draft").iterdir())
    (made / "metadata.json").unlink()  # a record that is edited in its place would be noticed when it is read
    (made / "metadata.json").write_text("{")
    write_spec(pool.root, draft="template: [plain], model: [writer, other, cut, judge]", essay="template: [story]")

    def fails(_: Request) -> str:
        raise CallFailed("no", transient=False, sent=False)

    def gone(_: Request) -> str:
        raise ModelUnavailable("no such model")

    clients = {
        "writer": ScriptedModel(),
        "other": ScriptedModel(fails),
        "cut": ScriptedModel([" "]),
        "judge": ScriptedModel(gone),
    }
    report = pool.run("c", models=clients)
    draft, essay = (report.stages[name].row("c") for name in ("draft", "essay"))
    assert draft == {
        **dict.fromkeys(draft, 0),
        "wanted": 12,
        "reused": 2,
        "own": 2,
        "exhausted": 3,
        "unusable": 1,
        "failed": 4,
        "left": 2,
    }
    assert essay == {**dict.fromkeys(essay, 0), "wanted": 12, "made": 2, "blocked": 4, "left": 6}
    ends = ("reused", "made", "failed", "exhausted", "unusable", "blocked", "left")
    for row in (draft, essay):
        assert sum(row[name] for name in ends) == row["wanted"]
        assert row["own"] + row["others"] == row["reused"]


def test_of_two_runs_at_once_each_makes_what_the_other_does_not_and_names_whose_it_reused(pool: Pool) -> None:
    names = ("c", "quick")
    for name in names:
        write_spec(pool.root, name, essay="template: [story, same]")
    pools = [make_pool(pool.root) for _ in names]

    async def both() -> list[RunReport]:
        runs = (
            one.arun(name, models=models(writer=ScriptedModel(seconds=0.05)))
            for one, name in zip(pools, names, strict=True)
        )
        return list(await asyncio.gather(*runs))

    reports = asyncio.run(both())
    for report, other in zip(reports, reversed(names), strict=True):
        assert report.complete
        for tally in report.stages.values():
            assert tally.reused + tally.made == tally.wanted
            assert tally.origins == ({other: tally.reused} if tally.reused else {})
        by_it = [
            one for one in generations(pool.root) if metadata(pool.root, *one)["origin_cohort_id"] == report.cohort_id
        ]
        assert report.made == len(by_it)
    assert sum(report.made for report in reports) == len(generations(pool.root)) == 6
    assert sum(report.calls for report in reports) == 4
    assert not (pool.root / "attempts").exists()
