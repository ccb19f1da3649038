"""The budget of a pool: what counts as spent, what is refused, and what a run and a plan say of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from genpool.budget import Budget, standing
from genpool.errors import BudgetReached, CallFailed, CorruptFile, StorageFailed
from genpool.layout import PoolLayout
from genpool.ledger import Ledger
from genpool.llm.client import Completion, Request
from genpool.records import Usage
from genpool.testing import ScriptedModel
from tests.small_pools import (
    EVALUATIONS,
    HeldModel,
    ledger_entries,
    make_pool,
    models,
    write_spec,
)
from tests.steering import steered, until

if TYPE_CHECKING:
    from pathlib import Path

    from genpool.pool import Pool
    from genpool.runner import Runner

PRICED = "{client: scripted, max_tokens: 10, price: {input: 0, output: 100000}, concurrency: 4}"
"""A model whose calls cost up to 1, and 0.1 a token."""


def pool_with(root: Path, budget: float, *, rows: int = 8, writer: str = PRICED, **models: str) -> Pool:
    """Make a pool with a budget whose cohort wants a draft a row."""
    pool = make_pool(root, rows=rows, models={"writer": writer, **models})
    set_budget(root, budget)
    write_spec(root)
    return type(pool).open(root)


def set_budget(root: Path, budget: float) -> None:
    config = root / "pool.yaml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("budget")]
    config.write_text("\n".join([*kept, f"budget: {{pool: {budget}}}", ""]))


def of_tokens(count: int | None) -> ScriptedModel:
    """Return a model whose every answer takes so many tokens, as far as the provider says."""
    return ScriptedModel(lambda _: Completion("A text.", "stop", "m", Usage(5, count), "scripted"))


def intents(root: Path) -> int:
    return sum("intent" in entry for entry in ledger_entries(root))


# --- a run --------------------------------------------------------------------------------------------


def test_a_run_ends_where_the_next_call_could_exceed_the_budget(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, 3)
    report = pool.run("c", models=models(writer=of_tokens(10)))
    assert (report.calls, report.made, report.cost, report.failures) == (3, 3, 3.0, [])
    assert isinstance(report.stopped_by, BudgetReached)
    assert report.stopped_by.message == (
        "the budget of 3 is reached: 3.0000 spent; the next call of model 'writer' may cost up to 1.0000"
    )
    assert "raise `budget` in pool.yaml" in (report.stopped_by.hint or "")
    assert report.stages["draft"].left == 5
    assert intents(tmp_path) == 3, "what was refused is not in the ledger"
    again = pool.run("c", models=models(writer=of_tokens(10)))
    assert (again.calls, again.made) == (0, 0)


def test_with_a_higher_budget_it_goes_on_where_it_was(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, 3)
    pool.run("c", models=models(writer=of_tokens(10)))
    set_budget(tmp_path, 8)
    report = make_again(pool).run("c", models=models(writer=of_tokens(10)))
    assert (report.complete, report.calls, report.stopped_by) == (True, 5, None)


def make_again(pool: Pool) -> Pool:
    return type(pool).open(pool.root)


def test_calls_that_cost_less_than_their_worst_price_make_room_for_others(tmp_path: Path) -> None:
    """Two fit at their worst price, and four workers want to call: they take turns, and nothing is given up."""
    pool = pool_with(tmp_path, 2.5)
    report = pool.run("c", models=models(writer=of_tokens(1)))
    assert (report.complete, report.calls, report.stopped_by) == (True, 8, None)
    assert standing(pool.layout, 2.5).spent == pytest.approx(0.8)


def test_what_waits_for_room_ends_with_the_run(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, 1.5)
    held = HeldModel(lambda _: Completion("A text.", "stop", "m", Usage(5, 1), "scripted"))

    async def stop_while_one_is_in_flight_and_three_wait(runner: Runner) -> None:
        await held.called.wait()
        await asyncio.sleep(0.1)
        assert held.in_flight == 1
        runner.drain()
        await asyncio.sleep(0.3)
        held.let_go.set()

    report = steered(pool, models(writer=held), stop_while_one_is_in_flight_and_three_wait)
    assert (report.interrupted, report.calls, report.made, report.failures) == (True, 1, 1, [])
    assert intents(tmp_path) == 1


def test_what_waits_for_room_is_given_up_with_the_run(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, 1)
    held = HeldModel()

    async def give_up(runner: Runner) -> None:
        await held.called.wait()
        await asyncio.sleep(0.1)
        runner.abort()

    report = steered(pool, models(writer=held), give_up)
    assert (report.interrupted, report.calls, report.made) == (True, 1, 0)
    assert intents(tmp_path) == 1


def test_models_without_a_price_go_on(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, 2, judge="{client: scripted}")
    write_spec(pool.root, essay="template: [same]", evaluation=EVALUATIONS)
    report = make_again(pool).run("c", models=models(writer=of_tokens(10)))
    assert isinstance(report.stopped_by, BudgetReached)
    assert (report.stages["draft"].made, report.stages["evaluation"].made) == (2, 4)


def test_a_budget_of_nothing_lets_nothing_with_a_price_through(tmp_path: Path) -> None:
    report = pool_with(tmp_path, 0).run("c", models=models())
    assert (report.calls, report.made) == (0, 0)
    assert isinstance(report.stopped_by, BudgetReached)


def test_what_nothing_bounds_is_let_through_until_the_budget_is_spent(tmp_path: Path) -> None:
    writer = "{client: scripted, price: {input: 0, output: 100000}, concurrency: 1}"
    pool = pool_with(tmp_path, 2.5, writer=writer)
    report = pool.run("c", models=models(writer=of_tokens(10)))
    assert (report.calls, report.cost) == (3, 3.0)
    assert isinstance(report.stopped_by, BudgetReached)


def test_a_failed_call_costs_nothing_and_an_unknown_one_its_worst_price(tmp_path: Path) -> None:
    writer = PRICED.replace("concurrency: 4", "concurrency: 1, tries: 1")
    pool = pool_with(tmp_path, 3, writer=writer)
    sent = [False, True, False, True]

    def fails_first(_: Request) -> Completion:
        if sent:
            raise CallFailed("no", transient=False, sent=sent.pop(0))
        return Completion("A text.", "stop", "m", Usage(5, 10), "scripted")

    report = pool.run("c", models=models(writer=ScriptedModel(fails_first)))
    assert (report.calls, report.made) == (5, 1)
    now = standing(pool.layout, 3)
    assert (now.spent, now.reserved, now.left) == (1.0, 2.0, 0.0)


def test_an_answer_of_unknown_length_counts_at_its_worst_price(tmp_path: Path) -> None:
    report = pool_with(tmp_path, 3).run("c", models=models(writer=of_tokens(None)))
    assert (report.calls, report.made) == (3, 3)


def test_amounts_that_no_binary_fraction_holds_are_added_exactly(tmp_path: Path) -> None:
    writer = "{client: scripted, max_tokens: 1, price: {input: 0, output: 100000}, concurrency: 2}"
    pool = pool_with(tmp_path, 0.3, writer=writer)
    report = pool.run("c", models=models(writer=of_tokens(1)))
    assert report.calls == 3  # in floating point, three times 0.1 is more than 0.3


# --- ledgers ------------------------------------------------------------------------------------------


def ledger_of(root: Path, run_id: str, budget: float = 3, models: tuple[str, ...] = ("writer",)) -> Ledger:
    layout = PoolLayout(root)
    return Ledger(layout.ledger, run_id, "c", Budget(layout, budget, run_id, models))


def test_two_ledgers_see_each_others_intents(tmp_path: Path) -> None:
    async def both() -> None:
        one, other = ledger_of(tmp_path, "run-1"), ledger_of(tmp_path, "run-2")
        first = await one.intend("draft", "d_1", "writer", 1.0)
        await other.intend("draft", "d_2", "writer", 1.0)
        await one.intend("draft", "d_3", "writer", 1.0)
        for ledger, pending in ((one, True), (other, True), (ledger_of(tmp_path, "run-3"), False)):
            with pytest.raises(BudgetReached) as error:
                await ledger.intend("draft", "d_4", "writer", 1.0)
            assert error.value.pending is pending
        one.settle(first, "committed", {"cost": 0.25, "input_tokens": 1, "output_tokens": 2})
        await until(lambda: b"committed" in one.path.read_bytes())  # nobody waits for a settlement
        with pytest.raises(BudgetReached):
            await other.intend("draft", "d_5", "writer", 1.0)
        await other.intend("draft", "d_6", "writer", 0.75)
        await asyncio.gather(one.close(), other.close())

    asyncio.run(both())
    now = standing(PoolLayout(tmp_path), 3)
    assert (now.spent, now.reserved) == (0.25, 2.75)


def test_while_one_decides_and_writes_no_other_does(tmp_path: Path) -> None:
    layout = PoolLayout(tmp_path)
    one, other = (Budget(layout, 1, run_id, ["writer"]) for run_id in ("run-1", "run-2"))
    intent = {"intent": 1, "stage": "draft", "gen_id": "d_1", "model": "writer", "worst_price": 1.0}
    told: list[object] = []

    def decide() -> None:
        with other.passing([intent]) as refused:
            told.extend(refused)

    second = threading.Thread(target=decide)
    with one.passing([intent]) as refused:
        assert list(refused) == [None]
        second.start()
        second.join(0.3)
        assert told == []
        layout.ledger.mkdir()
        (layout.ledger / "run-1.jsonl").write_text(json.dumps(intent) + "\n")
    second.join(20)
    assert isinstance(told[0], BudgetReached)
    one.close()
    other.close()


def test_of_a_group_only_what_fits_is_written(tmp_path: Path) -> None:
    async def many() -> list[object]:
        ledger = ledger_of(tmp_path, "run-1")
        told = await asyncio.gather(
            *(ledger.intend("draft", f"d_{n}", "writer", 1.0) for n in range(20)), return_exceptions=True
        )
        await ledger.close()
        return list(told)

    told = asyncio.run(many())
    assert sum(isinstance(one, BudgetReached) for one in told) == 17
    assert intents(tmp_path) == 3


def test_a_ledger_of_which_the_end_was_taken_back_is_read_anew(tmp_path: Path) -> None:
    async def written() -> None:
        one = ledger_of(tmp_path, "run-1")
        await one.intend("draft", "d_1", "writer", 1.0)
        other = ledger_of(tmp_path, "run-2")
        await other.intend("draft", "d_2", "writer", 1.0)
        lines = one.path.read_bytes().splitlines(keepends=True)
        one.path.write_bytes(lines[0])  # as after a flush that failed
        await other.intend("draft", "d_3", "writer", 1.0)
        with one.path.open("ab") as file:
            file.write(
                b'{"intent":1234567,"stage":"draft","gen_id":"d_4","model":"writer","worst_price":0.5,"at":""}\n'
            )
        with pytest.raises(BudgetReached):
            await other.intend("draft", "d_5", "writer", 1.0)
        await other.intend("draft", "d_6", "writer", 0.5)
        await asyncio.gather(one.close(), other.close())

    asyncio.run(written())


def test_a_copy_of_a_ledger_is_not_counted_twice(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, 4)
    pool.run("c", models=models(writer=of_tokens(10)))
    (ledger,) = pool.layout.ledger.iterdir()
    shutil.copy(ledger, ledger.with_name("copy.jsonl"))
    assert standing(pool.layout, 4).spent == 4.0


def test_a_torn_last_line_means_nothing(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, 4)
    pool.run("c", models=models(writer=of_tokens(10)))
    (ledger,) = pool.layout.ledger.iterdir()
    with ledger.open("ab") as file:
        file.write(b'{"intent":99,"worst_pr')
    assert standing(pool.layout, 4).spent == 4.0


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"intent": [1]}', '{"neither": 1}', '{"format": "genpool.ledger/2"}', "x" * (1 << 20)]
)
def test_where_nobody_knows_what_was_spent_nothing_is_bought(tmp_path: Path, line: str) -> None:
    pool = pool_with(tmp_path, 4)
    pool.layout.ledger.mkdir()
    (pool.layout.ledger / "run-old.jsonl").write_text(f"{line}\n")
    with pytest.raises(CorruptFile, match="nobody knows what was spent") as error:
        pool.run("c", models=models())
    assert "run-old.jsonl:" in error.value.message
    assert "take `budget` out of pool.yaml" in (error.value.hint or "")
    assert not (pool.root / "gens").exists()


def test_a_ledger_that_is_a_link_is_refused(tmp_path: Path) -> None:
    pool = pool_with(tmp_path / "pool", 4)
    pool.layout.ledger.mkdir()
    (tmp_path / "elsewhere.jsonl").write_text("{}\n")
    (pool.layout.ledger / "run-old.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(StorageFailed):
        pool.run("c", models=models())


def test_a_ledger_that_is_damaged_while_a_run_goes_on_ends_the_run(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, 4)
    held = HeldModel(lambda _: Completion("A text.", "stop", "m", Usage(5, 10), "scripted"))

    async def damage(runner: Runner) -> None:
        await until(lambda: held.in_flight == 4)
        (pool.layout.ledger / "run-old.jsonl").write_text("{\n")
        held.let_go.set()

    report = steered(pool, models(writer=held), damage)
    assert isinstance(report.stopped_by, CorruptFile)
    assert (report.made, report.failures) == (4, [])


# --- a plan -------------------------------------------------------------------------------------------


def test_a_plan_says_what_is_left_and_whether_the_cost_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from genpool.cli.main import main

    pool = pool_with(tmp_path, 5)
    pool.run("c", models=models(writer=of_tokens(10)))
    write_spec(pool.root, "more", draft="template: [plain, long], model: [writer]")
    assert main(["--pool", str(tmp_path), "plan", "more"]) == 0
    said = capsys.readouterr().out
    assert "budget 5: 5.0000 spent, 0.0000 left\n" in said
    assert "the cost is more than is left: a run stops there; `budget` in pool.yaml raises it\n" in said
    set_budget(tmp_path, 100)
    assert main(["--pool", str(tmp_path), "plan", "more"]) == 0
    said = capsys.readouterr().out
    assert "budget 100: 5.0000 spent, 95.0000 left\n" in said
    assert "more than is left" not in said
    assert main(["--pool", str(tmp_path), "plan", "more", "--json"]) == 0
    budget = json.loads(capsys.readouterr().out)["budget"]
    assert budget == {"limit": 100.0, "spent": 5.0, "reserved": 0.0, "left": 95.0, "enough": True}


def test_a_plan_names_the_models_that_the_budget_does_not_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from genpool.cli.main import main

    priced = "{client: scripted, price: {input: 0, output: 100000}}"
    pool = pool_with(tmp_path, 5, writer=priced, free="{client: scripted}")
    write_spec(pool.root, draft="template: [plain], model: [writer, free]")
    assert main(["--pool", str(tmp_path), "plan", "c"]) == 0
    said = capsys.readouterr().out
    assert "the budget does not bound what has no price: free\n" in said
    assert "the budget bounds only roughly what has no max_tokens: writer\n" in said


def test_without_a_budget_a_plan_says_nothing_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from genpool.cli.main import main

    pool = make_pool(tmp_path, models={"writer": PRICED})
    write_spec(pool.root)
    assert main(["--pool", str(tmp_path), "plan", "c"]) == 0
    assert "\nbudget " not in capsys.readouterr().out


def test_a_command_that_met_the_budget_says_so_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from genpool.cli.main import main

    pool_with(tmp_path, 2, writer=PRICED.replace("max_tokens: 10", "max_tokens: 10, answers: [one two three]"))
    assert main(["--pool", str(tmp_path), "run", "c", "-q"]) == 1
    said = capsys.readouterr().out
    assert "the run stopped: the budget of 2 is reached" in said
    assert "hint: raise `budget` in pool.yaml" in said
