"""What a plan's calls will take: from history where there is some, else from limits; cost where there are prices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from genpool.cli.plan import print_estimate
from genpool.estimate import Range
from genpool.llm.client import Completion
from genpool.pool import Pool
from genpool.records import Usage
from genpool.testing import ScriptedModel
from tests.legacy_pools import write_legacy
from tests.small_pools import make_pool, models, whole_cohort, write_spec

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.llm.client import Request

PRICED = {
    "writer": "{client: scripted, max_tokens: 100, price: {input: 1, output: 2}, attempts: 3}",
    "judge": "{client: scripted, max_tokens: 40}",
}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    made = make_pool(tmp_path / "pool", models=PRICED)
    whole_cohort(made.root)
    return Pool.open(made.root)


def test_without_history_limits_bound_it_and_it_says_so(pool: Pool) -> None:
    plan = pool.plan("c")
    expected = pool.estimate(plan)
    calls = sum(not stage.copies(index) for stage in plan.stages for index in stage.to_make())
    assert (expected.calls, expected.without_history) == (calls, calls)
    assert expected.output_tokens.low <= expected.output_tokens.expected <= expected.output_tokens.high
    assert expected.input_tokens.low < expected.input_tokens.high


def test_answers_of_which_nobody_knows_how_long_they_will_be_are_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_pool(tmp_path / "pool", models={"writer": "{client: scripted}", "judge": PRICED["judge"]})
    whole_cohort(made.root)
    pool = Pool.open(made.root)
    plan = pool.plan("c")
    expected = pool.estimate(plan)
    unknown = sum(
        plan.model_of(stage, at) == "writer" for stage in plan.stages for at in stage.to_make() if not stage.copies(at)
    )
    assert 0 < expected.without_length <= unknown, "a template may have a limit of its own"
    print_estimate(expected)
    assert f"how long {expected.without_length} answers will be is not known" in capsys.readouterr().out
    pool.run("c", models=models())
    assert pool.estimate(pool.plan("c")).without_length == 0


def test_models_without_a_price_are_named_and_left_out_of_the_cost(pool: Pool) -> None:
    expected = pool.estimate(pool.plan("c"))
    assert expected.unpriced == ("judge",)
    assert expected.cost is not None
    assert 0 <= expected.cost.low < expected.cost.expected < expected.cost.high


def test_attempts_bound_the_calls(pool: Pool) -> None:
    plan = pool.plan("c")
    by_model = {"writer": 0, "judge": 0}
    for stage in plan.stages:
        for index in stage.to_make():
            if not stage.copies(index):
                by_model[str(plan.model_of(stage, index))] += 1
    assert pool.estimate(plan).most_calls == 3 * by_model["writer"] + 2 * by_model["judge"]


def test_with_history_it_is_what_such_calls_took(pool: Pool) -> None:
    def counted(request: Request) -> Completion:
        return Completion("A text.", "stop", "m", Usage(70, 30), "scripted")

    pool.run("c", models=models(writer=ScriptedModel(counted)))
    for path in (pool.root / "gens" / "draft").iterdir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
        break
    expected = pool.estimate(pool.plan("c"))
    assert expected.calls == 1
    assert expected.without_history == 0
    assert expected.input_tokens == Range(70, 70, 70)
    assert expected.output_tokens == Range(30, 30, 30)
    assert expected.cost is not None
    assert expected.cost.expected == pytest.approx((70 * 1 + 30 * 2) / 1e6)


def test_texts_that_are_reused_and_that_no_call_tells_of_are_as_long_as_they_are(pool: Pool) -> None:
    for row in range(2):
        write_legacy(pool.root, "draft", f"old-{row}", f"row-{row}", "plain", "writer", text="word " * 800)
    template = len("{{ draft.text }}\nTell it as a story.\n") / 4
    write_spec(pool.root, essay="template: [story]")
    expected = pool.estimate(pool.plan("c"))
    assert (expected.calls, expected.without_history) == (2, 2)
    assert expected.input_tokens == Range(2 * (1000 + template), 2 * (1000 + template), 2 * (1000 + template))


def test_what_is_below_calls_with_a_history_is_expected_to_read_what_they_wrote(pool: Pool) -> None:
    """The drafts that were made tell how long the next will be; the essays have no history of their own."""
    pool.run(write_spec(pool.root), models=models(writer=ScriptedModel(["word " * 400])))
    template = len("{{ draft.text }}\nTell it as a story.\n") / 4
    write_spec(pool.root, draft="template: [plain], model: [writer], replicates: 2", essay="template: [story]")
    plan = pool.plan("c")
    essays = pool.estimate(plan).input_tokens
    drafts = pool.estimate(replace(plan, stages=plan.stages[:1])).input_tokens
    assert essays.expected - drafts.expected >= 4 * (400 + template)


def test_nothing_to_make_takes_nothing(pool: Pool) -> None:
    pool.run("c", models=models())
    expected = pool.estimate(pool.plan("c"))
    assert (expected.calls, expected.cost, expected.unpriced) == (0, None, ())


# --- making again what goes -------------------------------------------------------------------------


def drifted(pool: Pool) -> None:
    path = pool.root / "templates" / "draft" / "plain.j2"
    path.write_text(path.read_text().replace("Write about", "Write on"))


def usage_of(request: Request) -> Completion:
    return Completion("A text.", "stop", "m", Usage(70, 30), "scripted")


def test_what_a_regeneration_takes_is_what_the_run_after_it_takes(pool: Pool) -> None:
    pool.run("c", models=models(writer=ScriptedModel(usage_of)))
    drifted(pool)
    _, removal = pool.plan_regeneration("c")
    again = removal.again
    assert again is not None
    assert again.without_history == 0
    assert again.unpriced == ("judge",)
    pool.regenerate("c")
    plan = pool.plan("c")
    after = pool.estimate(plan)
    assert (again.calls, again.most_calls) == (after.calls, after.most_calls)
    assert again.calls < len(removal.goes) == plan.to_make, "copies make no call"
    report = pool.run("c", models=models(writer=ScriptedModel(usage_of)))
    assert again.calls == report.calls
    assert again.cost is not None
    assert again.cost.expected == pytest.approx(report.cost)


def test_generations_of_other_cohorts_are_priced_too(pool: Pool) -> None:
    write_spec(pool.root, "other", essay="template: [letter]")
    for cohort in ("c", "other"):
        pool.run(cohort, models=models(writer=ScriptedModel(usage_of)))
    drifted(pool)
    _, removal = pool.plan_regeneration("c")
    assert removal.again is not None
    # two drafts, and of each a story, a letter and a copy, with two judgements of the story and of the copy
    assert removal.again.calls == 2 * (1 + 2 + 4)
    pool.regenerate("c")
    reports = [pool.run(name, models=models(writer=ScriptedModel(usage_of))) for name in ("c", "other")]
    assert removal.again.calls == sum(one.calls for one in reports)


def test_a_template_that_copies_now_costs_nothing_and_one_that_asks_now_costs_a_call(pool: Pool) -> None:
    pool.run("c", models=models())
    templates = pool.root / "templates" / "essay"
    story, same = (templates / "story.j2").read_text(), (templates / "same.j2").read_text()
    (templates / "same.j2").write_text(story)
    _, asks = pool.plan_regeneration("c")
    (templates / "same.j2").write_text(same)
    (templates / "story.j2").write_text(same)
    _, copies = pool.plan_regeneration("c")
    assert (asks.again.calls, copies.again.calls) == (2 + 4, 4)  # type: ignore[union-attr]


def test_a_purge_is_not_priced(pool: Pool) -> None:
    pool.run("c", models=models())
    assert pool.plan_purge("c").again is None
