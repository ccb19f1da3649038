"""Which slot a legacy generation fills: the rule, case by case and as a property."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpool.durable import append_lines
from genpool.errors import CorruptFile
from genpool.layout import PoolLayout
from genpool.records import stated_replicate
from genpool.slots import HEADER_LINE, Sibling, assign, read_slots, seconds_of, slot_lines

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "stage,gen_id,replicate,new_gen_id\n"


def old(gen_id: str, replicate: int | None = None, created: float | None = None) -> Sibling:
    return Sibling(gen_id, replicate, legacy=True, created=created)


def right(replicate: int, created: float | None = None) -> Sibling:
    return Sibling(f"right-{replicate}", replicate, legacy=False, created=created)


# --- what a record states ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1), (7, 7), ("1", 1), ("2", 2), ("007", 7), (2**31 - 1, 2**31 - 1), (str(2**31 - 1), 2**31 - 1)],
)
def test_integers_and_integer_texts_from_1_are_numbers(value: int | str, number: int) -> None:
    assert stated_replicate(value) == number


@pytest.mark.parametrize(
    "value",
    [None, 0, "0", -1, "-1", "+1", " 1", "1 ", "1.0", 1.0, "", "one", True, False, [1], {}, "٣", "²", 2**31, "9" * 30],
    ids=repr,
)
def test_whatever_else_counts_as_none(value: object) -> None:
    assert stated_replicate(value) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T00:01:00", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("1970-01-01T00:01:00.25+00:00", 60.25),
        ("1970-01-02", 86400.0),
        ("0001-01-01T00:00:00+14:00", -62135647200.0),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_without_a_zone_is_utc_and_one_that_cannot_be_read_is_none(text: str | None, seconds: object) -> None:
    assert seconds_of(text) == seconds


# --- the rule, case by case -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("siblings", "recorded", "slots"),
    [
        ([], {}, {}),
        ([old("a", 2)], {}, {2: "a"}),
        ([old("a"), old("b")], {}, {1: "a", 2: "b"}),
        ([old("a", 3), old("b")], {}, {3: "a", 1: "b"}),
        ([old("a", 1), old("b", 1)], {}, {1: "a", 2: "b"}),
        ([old("a", 2), old("b", 2), old("c", 2)], {}, {2: "a", 1: "b", 3: "c"}),
        ([old("a"), old("b", 1), old("c", 2)], {}, {1: "a", 2: "b", 3: "c"}),
        ([old("a", created=9), old("b", created=1)], {}, {1: "b", 2: "a"}),
        ([old("a", 1, created=9), old("b", 1, created=1)], {}, {1: "b", 2: "a"}),
        ([old("a"), old("b", created=9)], {}, {1: "b", 2: "a"}),
        ([old("a"), old("b", created=-9)], {}, {1: "b", 2: "a"}),
        ([old("b", created=1), old("a", created=1)], {}, {1: "a", 2: "b"}),
        ([old("B", created=1), old("a", created=1)], {}, {1: "B", 2: "a"}),
        ([right(1), old("a", 1, created=0)], {}, {1: "right-1", 2: "a"}),
        ([right(2), old("a"), old("b")], {}, {2: "right-2", 1: "a", 3: "b"}),
        ([right(900), old("a", 900)], {}, {900: "right-900", 1: "a"}),
        ([right(1), right(3), old("a", 3), old("b", 1)], {}, {1: "right-1", 3: "right-3", 2: "a", 4: "b"}),
        ([old("a", created=1), old("b", created=9)], {"b": 1}, {1: "b", 2: "a"}),
        ([old("a", 1), old("b", 2)], {"a": 2}, {2: "a", 1: "b"}),
        ([old("a", 1)], {"a": 5}, {5: "a"}),
        ([old("a", 5), old("b")], {"b": 5}, {5: "b", 1: "a"}),
        ([right(1), old("a", 4)], {"a": 1}, {1: "right-1", 4: "a"}),
        ([right(1), old("a")], {"a": 1}, {1: "right-1", 2: "a"}),
        ([right(1), old("a", created=1)], {"right-1": 7, "a": 3}, {1: "right-1", 3: "a"}),
        ([old("a"), old("b")], {"gone": 1, "b": 2}, {1: "a", 2: "b"}),
        ([old("b"), old("a")], {"a": 1, "b": 1}, {1: "a", 2: "b"}),
    ],
    ids=[
        "nobody",
        "its own number",
        "none: the lowest that are free",
        "none: the lowest beside a number",
        "doubled: the second gets the lowest",
        "tripled: the lowest around it",
        "an older one without number takes a number first",
        "the older first",
        "doubled: the older keeps it",
        "no time last",
        "no time last, though the other was before 1970",
        "equal times: by id",
        "ids compared by code point",
        "a right id keeps its slot before any age",
        "the lowest beside a right id",
        "a right id keeps a slot far beyond",
        "two right ids",
        "recorded before age",
        "recorded before its own number",
        "recorded alone",
        "recorded before another's number",
        "recorded, but a right id holds it: its own number",
        "recorded, but a right id holds it: the lowest",
        "what is recorded of a right id means nothing",
        "what is recorded of one that is gone holds nothing",
        "two recorded in one slot: by id",
    ],
)
def test_the_rule(siblings: list[Sibling], recorded: dict[str, int], slots: dict[int, str]) -> None:
    assert assign(siblings, recorded) == slots
    assert assign(reversed(siblings), recorded) == slots


def test_a_recorded_slot_stays_when_older_generations_come_later() -> None:
    family = [old("m", 1, created=5), old("n", created=6)]
    before = assign(family, {})
    assert before == {1: "m", 2: "n"}
    recorded = {gen_id: slot for slot, gen_id in before.items()}
    more = [*family, old("a", 1, created=1), old("b", 2, created=2), right(4)]
    assert assign(more, recorded) == {1: "m", 2: "n", 3: "a", 4: "right-4", 5: "b"}
    assert assign(more, {}) != assign(more, recorded), "without the record they would have moved"


# --- the rule as a property -------------------------------------------------------------------------


@st.composite
def families(draw: st.DrawFn) -> tuple[list[Sibling], dict[str, int]]:
    numbers = st.integers(1, 8)
    rights = [right(number) for number in draw(st.sets(numbers, max_size=4))]
    names = draw(st.lists(st.text("abAB0-_.", min_size=1, max_size=3).map("x".__add__), max_size=7, unique=True))
    times = st.one_of(st.none(), st.integers(-2, 2).map(float))
    olds = [old(name, draw(st.one_of(st.none(), numbers)), draw(times)) for name in names]
    known = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    slots = draw(st.lists(numbers, min_size=len(known), max_size=len(known), unique=True))
    return draw(st.permutations(rights + olds)), dict(zip(known, slots, strict=True))


@given(families())
def test_every_sibling_has_one_slot_and_nothing_that_is_settled_moves(
    given_family: tuple[list[Sibling], dict[str, int]],
) -> None:
    siblings, recorded = given_family
    slots = assign(siblings, recorded)
    assert sorted(slots.values()) == sorted(one.gen_id for one in siblings)
    assert min(slots, default=1) >= 1
    held = {one.replicate for one in siblings if not one.legacy}
    of = {gen_id: slot for slot, gen_id in slots.items()}
    for one in siblings:
        if not one.legacy:
            assert of[one.gen_id] == one.replicate
        elif one.gen_id in recorded and recorded[one.gen_id] not in held:
            assert of[one.gen_id] == recorded[one.gen_id]
    assert assign(sorted(siblings, key=lambda one: one.gen_id), recorded) == slots
    assert assign(reversed(siblings), recorded) == slots


@given(families(), st.data())
def test_once_recorded_no_newcomer_with_a_legacy_id_moves_anybody(
    given_family: tuple[list[Sibling], dict[str, int]], data: st.DataObject
) -> None:
    siblings, recorded = given_family
    before = assign(siblings, recorded)
    settled = {gen_id: slot for slot, gen_id in before.items() if not gen_id.startswith("right")}
    newcomers = [
        old(f"new{at}", data.draw(st.one_of(st.none(), st.integers(1, 8))), data.draw(st.sampled_from([None, -9.0])))
        for at in range(data.draw(st.integers(1, 3)))
    ]
    after = assign([*newcomers, *siblings], settled)
    assert {slot: gen_id for slot, gen_id in after.items() if not gen_id.startswith("new")} == before


# --- legacy.csv -------------------------------------------------------------------------------------


@pytest.fixture
def layout(tmp_path: Path) -> PoolLayout:
    return PoolLayout(tmp_path)


def written(layout: PoolLayout, text: str) -> dict[str, dict[str, int]]:
    layout.legacy.write_bytes(text.encode())
    return read_slots(layout)


def test_a_pool_without_the_file_has_no_recorded_slot(layout: PoolLayout) -> None:
    assert read_slots(layout) == {}


def test_what_is_written_is_read_again_and_can_be_added_to(layout: PoolLayout) -> None:
    some = [("draft", "a", 1), ("draft", "b", 12), ("essay", "a", 2**31 - 1)]
    append_lines(layout.legacy, slot_lines(some[:1]), header=HEADER_LINE)
    append_lines(layout.legacy, slot_lines(some[1:]), header=HEADER_LINE)
    assert read_slots(layout) == {"draft": {"a": 1, "b": 12}, "essay": {"a": 2**31 - 1}}
    assert layout.legacy.read_text() == f"{HEADER}draft,a,1,\ndraft,b,12,\nessay,a,2147483647,\n"


def test_the_first_line_about_a_generation_counts(layout: PoolLayout) -> None:
    assert written(layout, f"{HEADER}draft,a,1,\ndraft,a,2,d_new\n") == {"draft": {"a": 1}}


@pytest.mark.parametrize("torn", ["d", "draft,b", "draft,b,", "draft,b,2", "draft,b,2,", 'draft,b,"2', "draft,,x"])
def test_a_torn_last_line_is_no_line(layout: PoolLayout, torn: str) -> None:
    assert written(layout, f"{HEADER}draft,a,1,\n{torn}") == {"draft": {"a": 1}}


@pytest.mark.parametrize("torn", ["", "sta", HEADER.rstrip()])
def test_a_torn_header_is_a_file_without_lines(layout: PoolLayout, torn: str) -> None:
    assert written(layout, torn) == {}
    append_lines(layout.legacy, slot_lines([("draft", "a", 1)]), header=HEADER_LINE)
    assert layout.legacy.read_text() == f"{HEADER}draft,a,1,\n"


def test_blank_lines_and_windows_line_ends_and_further_columns_are_read_over(layout: PoolLayout) -> None:
    text = f"{HEADER}\ndraft,a,1,d_new,note\n\n\nessay,b,2\n"
    assert (
        written(layout, text) == written(layout, text.replace("\n", "\r\n")) == {"draft": {"a": 1}, "essay": {"b": 2}}
    )


@pytest.mark.parametrize(
    "line",
    [
        "draft",
        "draft,b",
        "draft,b,",
        "draft,b,0,",
        "draft,b,-1,",
        "draft,b,1.0,",
        "draft,b,one,",
        "draft,b,²,",
        "draft,b,٣,",
        f"draft,b,{2**31},",
        f"draft,b,{'9' * 5000},",
        "draft,,1,",
        "draft,../b,1,",
        "draft,b b,1,",
        'draft,"b,1,',
        f'draft,"{"b" * 200_000},1,',
    ],
    ids=lambda line: line[:20],
)
def test_a_damaged_line_is_named_with_its_number(layout: PoolLayout, line: str) -> None:
    with pytest.raises(CorruptFile) as refused:
        written(layout, f"{HEADER}draft,a,1,\n\n{line}\ndraft,c,3,\n")
    assert refused.value.message.startswith(f"{layout.legacy}:4: ")


def test_a_quotation_mark_that_is_never_closed_swallows_no_other_line(layout: PoolLayout) -> None:
    assert written(layout, f'{HEADER}draft,a,1,"\ndraft,b,2,\n') == {"draft": {"a": 1, "b": 2}}


@pytest.mark.parametrize("header", ["", "stage,gen_id\n", "gen_id,stage,replicate,new_gen_id\n", "draft,a,1,\n", "\n"])
def test_another_header_is_refused(layout: PoolLayout, header: str) -> None:
    with pytest.raises(CorruptFile, match=r"legacy\.csv:1: the header must be"):
        written(layout, f"{header}draft,a,1,\n")


def test_what_is_not_utf_8_is_refused(layout: PoolLayout) -> None:
    layout.legacy.write_bytes(HEADER.encode() + b"draft,\xff,1,\n")
    with pytest.raises(CorruptFile, match="not UTF-8"):
        read_slots(layout)
