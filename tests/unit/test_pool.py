"""A pool from Python: opened, made, planned and run; what it promises across cohorts and pools."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from genpool.errors import InputError, InvalidSpec, InvalidTemplate, NotAPool, NotFound, PoolBusy, StorageFailed
from genpool.locks import pool_lock
from genpool.pool import Pool
from tests.small_pools import (
    HeldModel,
    generations,
    ledger_entries,
    make_pool,
    metadata,
    models,
    remounted,
    small_disk,
    torn_generations,
    tree,
    whole_cohort,
    write_rows,
    write_spec,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return make_pool(tmp_path / "pool")


# --- opening and making -----------------------------------------------------------------------------


def test_a_new_pool_can_be_opened_and_has_no_cohort(tmp_path: Path) -> None:
    made = Pool.init(tmp_path / "deep" / "pool")
    assert Pool.open(tmp_path / "deep" / "pool").config == made.config
    assert made.cohort_ids() == []
    assert {path.name for path in made.root.iterdir()} == {"pool.yaml", "concepts", "cohorts", "templates"}


def test_the_example_is_a_pool_whose_cohort_runs(tmp_path: Path) -> None:
    pool = Pool.init(tmp_path / "pool", example=True)
    assert pool.cohort_ids() == ["demo"]
    from genpool.testing import ScriptedModel

    clients = {name: ScriptedModel() for name in pool.config.models}
    report = pool.run("demo", models=clients)
    assert report.complete
    assert torn_generations(pool) == []
    assert report.made == report.calls + 6


@pytest.mark.parametrize("content", ["pool.yaml", "notes.txt"])
def test_a_pool_is_not_made_where_something_is(tmp_path: Path, content: str) -> None:
    (tmp_path / content).write_text("mine")
    with pytest.raises(StorageFailed, match="nothing was changed"):
        Pool.init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [content]


def test_what_is_no_pool_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(NotAPool):
            Pool.open(place)


def test_the_nearest_pool_above_is_found(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENPOOL_POOL", raising=False)
    monkeypatch.chdir(pool.root / "templates" / "draft")
    assert Pool.find().root == pool.root
    monkeypatch.chdir("/")
    with pytest.raises(NotAPool):
        Pool.find()
    monkeypatch.setenv("GENPOOL_POOL", str(pool.root))
    assert Pool.find().root == pool.root
    with pytest.raises(NotAPool):
        Pool.find(pool.root / "templates")


# --- what can be wrong before anything is paid for --------------------------------------------------


def test_a_cohort_that_does_not_exist_is_not_found_and_nothing_is_written(pool: Pool) -> None:
    write_spec(pool.root, "demo")
    before = tree(pool.root)
    for ask in (pool.plan, pool.run, pool.scope):
        with pytest.raises(NotFound):
            ask("dem")
    assert tree(pool.root) == before


def test_a_template_that_cannot_be_rendered_stops_the_run_before_any_call(pool: Pool) -> None:
    whole_cohort(pool.root)
    (pool.root / "templates" / "evaluation" / "clarity.j2").write_text(
        "---\nparser: json_score\nscale: [0, 9]\n---\n{{ esay.text }}\n"
    )
    before = tree(pool.root)
    clients = models()
    with pytest.raises(InvalidTemplate, match="esay"):
        pool.run("c", models=clients)
    assert clients["writer"].requests == []
    assert tree(pool.root) == before


def test_a_spec_that_is_wrong_writes_nothing(pool: Pool) -> None:
    write_spec(pool.root, draft="template: [plaim], model: [writer]")
    before = tree(pool.root)
    with pytest.raises(InvalidSpec, match="plaim"):
        pool.run("c", models=models())
    assert tree(pool.root) == before


# --- who may write at the same time -----------------------------------------------------------------


def test_a_run_is_refused_while_an_exclusive_command_holds_the_pool(pool: Pool) -> None:
    write_spec(pool.root)
    clients = models()
    with (
        pool_lock(pool.layout, "genpool migrate", exclusive=True),
        pytest.raises(PoolBusy, match="genpool migrate"),
    ):
        pool.run("c", models=clients)
    assert clients["writer"].requests == []
    assert pool.run("c", models=clients).complete


def test_an_exclusive_command_is_refused_while_a_run_goes_on_and_names_its_cohort(pool: Pool) -> None:
    write_spec(pool.root)
    writer = HeldModel()

    async def run_and_migrate() -> None:
        run = asyncio.create_task(pool.arun("c", models=models(writer=writer)))
        await asyncio.wait_for(writer.called.wait(), 20)
        with pytest.raises(PoolBusy, match="genpool run c"), pool_lock(pool.layout, "genpool purge", exclusive=True):
            pass
        writer.let_go.set()
        assert (await run).complete

    asyncio.run(run_and_migrate())


def test_one_pool_object_runs_one_cohort_at_a_time_and_says_so(pool: Pool) -> None:
    write_spec(pool.root, "a")
    write_rows(pool.root, [7], "more.csv")
    write_spec(pool.root, "b", rows="more.csv")
    writer = HeldModel()

    async def both() -> None:
        first = asyncio.create_task(pool.arun("a", models=models(writer=writer)))
        await asyncio.wait_for(writer.called.wait(), 20)
        with pytest.raises(PoolBusy):
            await pool.arun("b", models=models())
        writer.let_go.set()
        assert (await first).complete

    asyncio.run(both())
    assert pool.run("b", models=models()).complete


def test_two_cohorts_run_at_the_same_time_from_two_pool_objects(pool: Pool) -> None:
    write_spec(pool.root, "a")
    write_rows(pool.root, [7, 8], "more.csv")
    write_spec(pool.root, "b", rows="more.csv")

    async def both() -> None:
        reports = await asyncio.gather(pool.arun("a", models=models()), Pool.open(pool.root).arun("b", models=models()))
        assert [report.complete for report in reports] == [True, True]

    asyncio.run(both())
    assert len(generations(pool.root)) == 4


# --- ids are a function of the task -----------------------------------------------------------------


def test_the_same_spec_gives_the_same_ids_in_another_pool(tmp_path: Path) -> None:
    pools = [make_pool(tmp_path / name) for name in ("one", "two")]
    for pool in pools:
        whole_cohort(pool.root)
        assert pool.run("c", models=models()).complete
    first, second = pools
    assert generations(first.root) == generations(second.root)
    for name in ("cohorts/c/membership.csv", "combos.jsonl"):
        assert (first.root / name).read_bytes() == (second.root / name).read_bytes()
    for stage, gen_id in generations(first.root):
        place = Path("gens") / stage / gen_id / "parsed.txt"
        assert (first.root / place).read_bytes() == (second.root / place).read_bytes()


def test_another_salt_gives_other_ids(tmp_path: Path) -> None:
    pools = [make_pool(tmp_path / name, salt=name) for name in ("one", "two")]
    for pool in pools:
        whole_cohort(pool.root)
    ids = [{task.gen_id for task in pool.plan("c").tasks()} for pool in pools]
    assert len(ids[0]) == len(ids[1]) == 14
    assert not ids[0] & ids[1]


def test_generations_copied_into_a_pool_are_reused_there(tmp_path: Path) -> None:
    one, two = (make_pool(tmp_path / name) for name in ("one", "two"))
    for pool in (one, two):
        whole_cohort(pool.root)
    one.run("c", models=models())
    shutil.copytree(one.root / "gens", two.root / "gens")
    report = two.run("c", models=models())
    assert (report.calls, report.complete) == (0, True)


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_ids_do_not_depend_on_which_cohort_ran_first_and_the_origin_is_kept(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    pool = make_pool(tmp_path, rows=4)
    write_rows(tmp_path, [0, 1], "left.csv")
    write_rows(tmp_path, [1, 2], "right.csv")
    for name in ("left", "right"):
        # the shared row must be one combo, so both name it by its id from one file
        write_spec(tmp_path, f"all-{name}")
    Pool.open(tmp_path).run("all-left", models=models())
    shutil.rmtree(tmp_path / "gens")
    rows = {"left": "[row-0, row-1]", "right": "[row-1, row-2]"}
    for name in order:
        (tmp_path / "cohorts" / name).mkdir()
        (tmp_path / "cohorts" / name / "cohort.yaml").write_text(
            "format: genpool.cohort/1\n"
            f"draft: {{combo: {rows[name]}, template: [plain], model: [writer]}}\n"
            "essay: {template: [story]}\n"
        )
    planned = {name: pool.plan(name).stage("draft").gen_ids for name in order}
    calls = [Pool.open(tmp_path).run(name, models=models()).calls for name in order]
    assert calls == [4, 2]
    first, second = order
    shared = set(planned[first]) & set(planned[second])
    assert len(shared) == 1
    origins = {name: metadata(tmp_path, "draft", name)["origin_cohort_id"] for _, name in drafts(tmp_path)}
    assert origins == {**dict.fromkeys(planned[second], second), **dict.fromkeys(planned[first], first)}
    assert Pool.open(tmp_path).scope(second).counts()["draft"].reused == 1
    assert Pool.open(tmp_path).scope(first).counts()["draft"].own == 2


def drafts(root: Path) -> set[tuple[str, str]]:
    return {one for one in generations(root) if one[0] == "draft"}


def test_a_generation_keeps_its_origin_when_other_cohorts_reuse_it(pool: Pool) -> None:
    whole_cohort(pool.root, "first")
    whole_cohort(pool.root, "second")
    pool.run("first", models=models())
    before = tree(pool.root / "gens")
    report = pool.run("second", models=models())
    assert (report.calls, report.complete) == (0, True)
    assert tree(pool.root / "gens") == before
    assert {one.state for one in pool.scope("second").members()} == {"reused"}
    assert {one.state for one in pool.scope("first").members()} == {"own"}


def test_caches_and_locks_may_be_deleted_between_runs(pool: Pool) -> None:
    whole_cohort(pool.root)
    pool.run("c", models=models())
    shutil.rmtree(pool.root / ".genpool")
    report = Pool.open(pool.root).run("c", models=models())
    assert (report.calls, report.complete) == (0, True)


# --- disks that refuse ------------------------------------------------------------------------------


@pytest.fixture
def mounted_pool(tmp_path: Path) -> Iterator[Pool]:
    """A pool on a file system of its own, of 1.5 MiB."""
    place = tmp_path / "disk"
    entry = "{client: scripted, concurrency: 2, attempts: 2}"
    with small_disk(place, "1536k"):
        yield make_pool(place / "pool", rows=60, models={"writer": entry, "judge": entry})


def test_a_read_only_pool_can_be_read_and_refuses_to_run_before_any_call(mounted_pool: Pool) -> None:
    root = mounted_pool.root
    write_rows(root, [0, 1])
    whole_cohort(root)
    Pool.open(root).run("c", models=models())
    write_spec(root, "more", draft="template: [plain, long], model: [writer]")
    assert remounted(root.parent, "ro")
    reader = Pool.open(root)
    assert (reader.plan("c").missing, reader.plan("more").to_make) == (0, 2)
    assert reader.scope("c").counts()["essay"].own == 4
    clients = models()
    with pytest.raises(StorageFailed) as refused:
        reader.run("more", models=clients)
    assert clients["writer"].requests == []
    assert "writable" in (refused.value.hint or "")
    assert remounted(root.parent, "rw")
    assert reader.run("more", models=clients).complete


def test_a_disk_that_fills_up_stops_the_run_keeps_what_was_in_flight_and_the_run_goes_on(mounted_pool: Pool) -> None:
    from genpool.errors import StorageFull
    from genpool.testing import ScriptedModel

    pool = mounted_pool
    write_spec(pool.root)
    writer = ScriptedModel(lambda request: f"{request.seed} " + "x" * 30_000, seconds=0.001)
    report = pool.run("c", models=models(writer=writer))
    assert isinstance(report.stopped_by, StorageFull)
    assert "free some space" in (report.stopped_by.hint or "")
    assert not report.complete
    assert torn_generations(pool) == []
    made = generations(pool.root)
    assert 0 < len(made) == report.made < 60
    assert report.calls == len(writer.requests) == report.made, "an answer that was paid for was lost"
    intents = [entry for entry in ledger_entries(pool.root) if "intent" in entry]
    assert {entry["gen_id"] for entry in intents} >= {name for _, name in made}

    assert remounted(pool.root.parent, "size=16m")
    again = ScriptedModel(lambda request: f"{request.seed} " + "x" * 30_000)
    finished = pool.run("c", models=models(writer=again))
    assert (finished.complete, finished.stopped_by) == (True, None)
    assert len(again.requests) == 60 - len(made)
    assert torn_generations(pool) == []


@pytest.mark.parametrize("name", ["surrogate\udcff", "nul\x00", "../other", ""])
def test_a_name_that_nothing_can_have_is_refused_before_the_pool_is_locked(tmp_path: Path, name: str) -> None:
    pool = make_pool(tmp_path / "pool")
    for removing in (pool.purge, pool.regenerate, pool.undo_removal):
        with pytest.raises(InputError, match="is not a name that a file can have"):
            removing(name)
    assert not pool.layout.locks.exists()
