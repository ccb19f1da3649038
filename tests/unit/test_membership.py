"""A cohort's membership is what it adopted: replaced as a whole, only when it changes, and readable alone."""

from __future__ import annotations

import csv
import json
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genpool.adoption import adopt, membership_bytes
from genpool.errors import CorruptFile, InputError, InvalidCombo, NotFound, StorageFailed
from genpool.locks import cohort_lock
from genpool.membership import are_file_names, cohort_ids, each_member, find_members, members_of, read_membership
from genpool.pool import Pool
from genpool.signatures import FILE_NAME
from genpool.stages import DEFAULT_PIPELINE
from tests.small_pools import ESSAYS, make_pool, tree, whole_cohort, write_rows, write_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.membership import Member


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return make_pool(tmp_path / "pool")


def adopted(pool: Pool, cohort_id: str = "c") -> bool:
    """Adopt a cohort's plan as a run does, with a pool opened anew."""
    fresh = Pool.open(pool.root)
    return adopt(fresh.layout, fresh.spec(cohort_id), fresh.plan(cohort_id), fresh.inputs, fresh.config.models)


def lines(pool: Pool, cohort_id: str = "c") -> list[dict[str, str]]:
    with (pool.root / "cohorts" / cohort_id / "membership.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_membership_lists_every_task_in_plan_order_with_its_signature(pool: Pool) -> None:
    whole_cohort(pool.root)
    assert adopted(pool) is True
    tasks = list(pool.plan("c").tasks())
    assert [(line["stage"], line["gen_id"]) for line in lines(pool)] == [(one.stage.name, one.gen_id) for one in tasks]
    for line, task in zip(lines(pool), tasks, strict=True):
        signature = {key: str(value) for key, value in task.signature.as_dict().items()}
        assert {key: value for key, value in line.items() if value and key not in {"stage", "gen_id"}} == signature


def test_the_membership_begins_with_the_two_columns_that_readers_need(pool: Pool) -> None:
    whole_cohort(pool.root)
    adopted(pool)
    header = (pool.root / "cohorts" / "c" / "membership.csv").read_text().split("\n")[0]
    assert header == "stage,gen_id,combo_id,template_id,llm_model_id,parent_gen_id,replicate"


def test_values_with_commas_quotes_and_rare_characters_come_back(tmp_path: Path) -> None:
    pool = make_pool(tmp_path)
    (tmp_path / "rows.csv").write_text('id,topic\n"a, ""b""; ü",one\n=1+1,two\n')
    write_spec(tmp_path)
    adopted(pool)
    assert [line["combo_id"] for line in lines(pool)] == ['a, "b"; ü', "=1+1"]


def test_adopting_the_same_again_writes_nothing(pool: Pool) -> None:
    whole_cohort(pool.root)
    adopted(pool)
    before = tree(pool.root)
    assert adopted(pool) is False
    assert tree(pool.root) == before


def test_a_spec_that_selects_other_tasks_replaces_the_membership(pool: Pool) -> None:
    write_spec(pool.root)
    adopted(pool)
    write_spec(pool.root, essay=ESSAYS)
    assert adopted(pool) is True
    assert [line["stage"] for line in lines(pool)] == ["draft"] * 2 + ["essay"] * 4


def test_a_damaged_or_half_written_adoption_is_written_anew(pool: Pool) -> None:
    write_spec(pool.root)
    adopted(pool)
    right = (pool.root / "cohorts" / "c" / "membership.csv").read_bytes()
    folder = pool.root / "cohorts" / "c"
    for name, damage in (
        ("membership.csv", right[:-5]),
        ("adopted.json", b""),
        ("adopted.json", b"[]"),
        ("adopted.json", None),
        ("membership.csv", None),
    ):
        if damage is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(damage)
        assert adopted(pool) is True, (name, damage)
        assert (folder / "membership.csv").read_bytes() == right
        assert adopted(pool) is False


def test_what_was_adopted_says_from_which_spec_and_when(pool: Pool) -> None:
    write_spec(pool.root)
    adopted(pool)
    said = json.loads((pool.root / "cohorts" / "c" / "adopted.json").read_text())
    assert (said["format"], said["cohort_id"], said["roots"]) == ("genpool.adopted/1", "c", [])
    assert said["adopted_at"].endswith("Z")
    before = said["spec"]
    spec = pool.root / "cohorts" / "c" / "cohort.yaml"
    spec.write_text(spec.read_text() + "description: another text\n")
    adopted(pool)
    assert json.loads((pool.root / "cohorts" / "c" / "adopted.json").read_text())["spec"] != before


def test_combos_are_recorded_once_and_never_taken_away(pool: Pool) -> None:
    write_spec(pool.root)
    adopted(pool)
    write_rows(pool.root, [1, 2])
    adopted(pool)
    recorded = [json.loads(line)["combo_id"] for line in (pool.root / "combos.jsonl").read_text().splitlines()]
    assert recorded == ["row-0", "row-1", "row-2"]


def test_a_combo_id_keeps_its_meaning(pool: Pool) -> None:
    write_spec(pool.root)
    adopted(pool)
    (pool.root / "other.csv").write_text("id,topic\nrow-1,another topic\n")
    write_spec(pool.root, "d", rows="other.csv")
    with pytest.raises(InputError, match="row-1"):
        adopted(pool, "d")
    assert not (pool.root / "cohorts" / "d" / "membership.csv").exists()


def test_a_combo_that_another_process_recorded_under_another_meaning_is_refused(pool: Pool) -> None:
    write_spec(pool.root)
    ours = Pool.open(pool.root)
    plan, spec, inputs = ours.plan("c"), ours.spec("c"), ours.inputs
    assert inputs.book.by_id == {}  # read before the other process records
    (pool.root / "other.csv").write_text("id,topic\nrow-1,another topic\n")
    write_spec(pool.root, "d", rows="other.csv")
    adopted(pool, "d")
    with pytest.raises(InvalidCombo, match="row-1"):
        adopt(ours.layout, spec, plan, inputs, ours.config.models)
    assert not (pool.root / "cohorts" / "c" / "membership.csv").exists()


def test_a_membership_that_somebody_is_writing_is_waited_for(pool: Pool) -> None:
    write_spec(pool.root)
    held = threading.Event()

    def hold() -> None:
        with cohort_lock(pool.layout, "c"):
            held.set()
            threading.Event().wait(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    assert adopted(pool) is True
    holder.join()


# --- reading ----------------------------------------------------------------------------------------


def test_reading_needs_only_the_first_two_columns(pool: Pool) -> None:
    folder = pool.root / "cohorts" / "c"
    folder.mkdir(parents=True)
    (folder / "membership.csv").write_text("stage,gen_id\ndraft,d_1\nessay,any-legacy.id\n")
    found = read_membership(pool.layout, pool.config.pipeline, "c")
    assert [(one.stage, one.gen_id) for one in found] == [("draft", "d_1"), ("essay", "any-legacy.id")]


def test_what_was_written_is_what_is_read(pool: Pool) -> None:
    whole_cohort(pool.root)
    plan = pool.plan("c")
    folder = pool.root / "cohorts" / "c"
    (folder / "membership.csv").write_bytes(membership_bytes(plan))
    read = read_membership(pool.layout, pool.config.pipeline, "c")
    assert [one.gen_id for one in read] == [task.gen_id for task in plan.tasks()]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", ":1:"),
        (b"gen_id\nd_1\n", ":1:"),
        (b"stage,gen_id\ndraft,d_1\ndraft,../../etc/passwd\n", ":3:"),
        (b"stage,gen_id\nsketch,d_1\n", ":2:"),
        (b"stage,gen_id\ndraft\n", ":2:"),
        (b"stage,gen_id\ndraft,d_\xff\n", "membership.csv"),
        (b"stage,gen_id\ndraft," + b"x" * 200_000 + b"\n", "membership.csv"),
        (b'stage,gen_id\ndraft,"d_1\n', ":"),
    ],
)
def test_a_damaged_membership_is_refused_with_its_place(pool: Pool, content: bytes, where: str) -> None:
    folder = pool.root / "cohorts" / "c"
    folder.mkdir(parents=True)
    (folder / "membership.csv").write_bytes(content)
    with pytest.raises(CorruptFile) as refused:
        read_membership(pool.layout, pool.config.pipeline, "c")
    assert where in refused.value.message
    assert "genpool run" in (refused.value.hint or "")


def test_a_cohort_that_was_never_run_has_no_membership(pool: Pool) -> None:
    write_spec(pool.root, "demo")
    with pytest.raises(NotFound) as never_run:
        read_membership(pool.layout, pool.config.pipeline, "demo")
    assert "genpool run demo" in (never_run.value.hint or "")
    with pytest.raises(NotFound) as misspelt:
        read_membership(pool.layout, pool.config.pipeline, "dmo")
    assert "'demo'" in (misspelt.value.hint or "")


def test_cohorts_are_listed_by_name(pool: Pool) -> None:
    assert list(cohort_ids(pool.layout)) == []
    for name in ("b", "a"):
        write_spec(pool.root, name)
    (pool.root / "cohorts" / "empty").mkdir()
    (pool.root / "cohorts" / "stray.txt").touch()
    assert list(cohort_ids(pool.layout)) == ["a", "b"]


def test_a_cohort_that_is_a_link_is_not_read(pool: Pool) -> None:
    whole_cohort(pool.root)
    adopted(pool)
    outside = pool.root.parent / "elsewhere"
    (pool.root / "cohorts/c").rename(outside)
    (pool.root / "cohorts/c").symlink_to(outside)
    with pytest.raises(StorageFailed, match="is a link; links are not followed"):
        read_membership(pool.layout, pool.config.pipeline, "c")


@given(st.lists(st.tuples(st.sampled_from(["draft", "essay"]), st.sampled_from(["d_1", "d_2", "old.3"])), max_size=30))
def test_a_plain_text_is_read_as_one_with_quotation_marks_is(rows: list[tuple[str, str]]) -> None:
    """The quick way to the ids of a text as genpool writes it gives what the careful way does."""
    lines = [f"{stage},{gen_id},row-{at % 3},plain,{at}" for at, (stage, gen_id) in enumerate(rows)]
    plain = "\n".join(["stage,gen_id,combo_id,template_id,replicate", *lines, ""])
    quoted = plain.replace("stage,", '"stage",', 1)
    quick, careful = (list(each_member(members_of(one.encode(), DEFAULT_PIPELINE, "it"))) for one in (plain, quoted))
    assert quick == careful
    assert [(one.stage, one.gen_id) for one in quick] == rows
    both = [members_of(one.encode(), DEFAULT_PIPELINE, "it").runs for one in (plain, quoted)]
    assert both[0] == both[1]


CELLS = ["draft", "essay", "sketch", "d_1", "d_12", "d_2", "old.3", "e/1", "", "row-1", "1", '"d_1"', "é", "a b"]
MEMBERSHIPS = st.builds(
    lambda head, lines, end, tail: (end.join([head, *(",".join(line) for line in lines)]) + tail).encode(),
    st.sampled_from(["stage,gen_id", "stage,gen_id,combo_id,replicate", "gen_id,stage", "stage,gen_id,replicate,more"]),
    st.lists(
        st.tuples(st.sampled_from(["draft", "essay"]), st.sampled_from(CELLS[3:7]), st.sampled_from(CELLS))
        | st.lists(st.sampled_from(CELLS), max_size=5),
        max_size=8,
    ),
    st.sampled_from(["\n", "\n", "\n\n", "\r\n"]),
    st.sampled_from(["", "\n", "\n\n"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=MEMBERSHIPS | st.just(b"stage,gen_id\ndraft,d_1,\xff\n"),
    typed=st.sampled_from(["d_1", "d", "old.3", "e", "é"]),
)
def test_members_are_found_as_if_all_were_read(pool: Pool, data: bytes, typed: str) -> None:
    path = pool.layout.membership("c")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    layout, pipeline = pool.layout, pool.config.pipeline

    def outcome(read: Callable[[], list[Member]]) -> list[Member] | str:
        try:
            return [one for one in read() if one.gen_id.startswith(typed)]
        except CorruptFile as error:
            return error.message

    expected = outcome(lambda: read_membership(layout, pipeline, "c"))
    assert outcome(lambda: find_members(layout, pipeline, "c", typed)) == expected


@pytest.mark.parametrize("name", ["", ".d", "-d", "d/1", "d 1", "d\n", "dé", "d" * 129, "ok\x00", "_d"])
def test_many_names_are_looked_at_as_each_is(name: str) -> None:
    assert FILE_NAME.fullmatch(name) is None
    assert not are_file_names(["d_1", name, "e-2.x"])
    assert are_file_names(["d_1", "E-2.x", "d" * 128])
