"""Concepts, rows, and what combo ids stand for."""

from __future__ import annotations

import json
import os

import pytest

from genpool.combos import (
    Combo,
    ComboBook,
    combo_id,
    combo_lines,
    list_names,
    read_combo_book,
    read_concept,
    read_rows,
    read_text,
    row_digest,
)
from genpool.errors import CorruptFile, InputError, InvalidCombo, UnsupportedFormat
from tests.written_pools import CONCEPT, WrittenPool, only_problem

# --- ids ------------------------------------------------------------------------------------------


def test_the_order_of_concepts_does_not_matter_and_their_level_does() -> None:
    assert combo_id(["b", "a"], "sentence") == combo_id(["a", "b"], "sentence")
    assert combo_id(["a", "b"], "sentence") != combo_id(["a", "b"], "paragraph")


@pytest.mark.parametrize("concepts", [[], ["a", "a"], ["a", ""], ["a", " b"], ["a", "b\n"], ["e\u0301"]])
def test_concepts_that_make_no_combo_are_refused(concepts: list[str]) -> None:
    with pytest.raises(InvalidCombo):
        combo_id(concepts, "sentence")


def test_a_level_obeys_the_rules_of_a_text() -> None:
    with pytest.raises(InvalidCombo, match="white space"):
        combo_id(["a"], "sentence ")


# --- the book -------------------------------------------------------------------------------------

OWN = combo_id(["a", "b"], "sentence")
OLD = Combo("old-name", ("a", "b"), "sentence")
OLDER = Combo("older-name", ("a", "b"), "sentence")


def test_a_combo_that_nobody_recorded_gets_its_own_id_and_sorted_concepts() -> None:
    assert ComboBook([]).of_concepts(["b", "a"], "sentence") == Combo(OWN, ("a", "b"), "sentence")


def test_the_one_older_name_of_a_combo_is_used_again() -> None:
    assert ComboBook([OLD]).of_concepts(["b", "a"], "sentence") == OLD


def test_an_older_name_at_another_level_is_another_combo() -> None:
    assert ComboBook([OLD]).of_concepts(["a", "b"], "paragraph").combo_id == combo_id(["a", "b"], "paragraph")


def test_its_own_id_wins_over_older_names() -> None:
    book = ComboBook([OLD, OLDER, Combo(OWN, ("a", "b"), "sentence")])
    assert book.of_concepts(["a", "b"], "sentence").combo_id == OWN


def test_several_older_names_are_an_error_that_lists_them() -> None:
    with pytest.raises(
        InvalidCombo, match=r"several ids for a \+ b at level 'sentence': old-name, older-name"
    ) as error:
        ComboBook([OLD, OLDER]).of_concepts(["a", "b"], "sentence")
    assert "list combo ids" in str(error.value.hint)


def test_a_name_that_is_recorded_twice_alike_is_one_name() -> None:
    assert ComboBook([OLD, OLD]).of_concepts(["a", "b"], "sentence") == OLD


@pytest.mark.parametrize(
    "other",
    [
        Combo("old-name", ("a", "c"), "sentence"),
        Combo("old-name", ("a",), "sentence"),
        Combo("old-name", ("a", "b"), "paragraph"),
        Combo("old-name", rows="data.csv", digest="0"),
    ],
)
def test_an_id_is_never_used_under_another_meaning(other: Combo) -> None:
    with pytest.raises(InvalidCombo, match=r"'old-name' stands for a \+ b at level 'sentence' in this pool") as error:
        ComboBook([OLD]).check(other)
    assert error.value.hint == "an id never changes its meaning: give the new inputs another id"


def test_a_book_in_which_an_id_has_two_meanings_is_refused() -> None:
    with pytest.raises(InvalidCombo, match="stands for"):
        ComboBook([OLD, Combo("old-name", ("c",), "sentence")])


def test_a_row_whose_file_was_renamed_is_the_same_combo() -> None:
    ComboBook([Combo("r1", rows="old.csv", digest="d")]).check(Combo("r1", rows="new.csv", digest="d"))


def test_another_row_of_another_file_under_the_same_id_is_refused() -> None:
    with pytest.raises(InvalidCombo, match=r"stands for a row of old\.csv in this pool, not for a row of new\.csv"):
        ComboBook([Combo("r1", rows="old.csv", digest="d")]).check(Combo("r1", rows="new.csv", digest="e"))


def test_a_row_that_changed_in_its_file_is_still_the_same_combo() -> None:
    ComboBook([Combo("r1", rows="data.csv", digest="d")]).check(Combo("r1", rows="data.csv", digest="e"))


def test_only_what_is_not_recorded_yet_is_new() -> None:
    new = Combo("new", ("c",), "sentence")
    assert ComboBook([OLD]).new([OLD, new]) == [new]


# --- combos.jsonl ---------------------------------------------------------------------------------

ROW = Combo("r1", rows="data.csv", digest="d")


def test_a_book_is_read_as_it_was_written(pool: WrittenPool) -> None:
    pool.write("combos.jsonl", combo_lines([OLD, ROW]))
    book = read_combo_book(pool.layout)
    assert list(book.by_id.values()) == [OLD, ROW]
    assert book.by_id["r1"].digest == "d"


def test_a_pool_without_a_book_has_recorded_nothing(pool: WrittenPool) -> None:
    assert read_combo_book(pool.layout).by_id == {}


@pytest.mark.parametrize("torn", ['{"combo_id": "x", "kin', "garbage", "\x00\x00"])
def test_a_last_line_that_a_crash_tore_is_left_out(pool: WrittenPool, torn: str) -> None:
    pool.write("combos.jsonl", combo_lines([OLD]) + torn.encode())
    assert list(read_combo_book(pool.layout).by_id) == ["old-name"]


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        "[1]",
        '"text"',
        "7",
        "null",
        "{}",
        '{"combo_id": "x"}',
        '{"combo_id": "x", "kind": "row"}',
        '{"combo_id": "x", "concepts": ["a"]}',
        '{"combo_id": "x", "concepts": 3, "level": "sentence"}',
        '{"combo_id": "", "concepts": ["a"], "level": "sentence"}',
        '{"combo_id": 7, "concepts": ["a"], "level": "sentence"}',
        "\ufffd",
    ],
)
def test_a_line_that_is_no_combo_is_named_with_its_number(pool: WrittenPool, line: str) -> None:
    pool.write("combos.jsonl", combo_lines([OLD]) + b"\n" + line.encode() + b"\n")
    with pytest.raises(CorruptFile, match=r"combos\.jsonl:3: "):
        read_combo_book(pool.layout)


# --- concepts -------------------------------------------------------------------------------------


def test_a_concept_has_a_name_and_a_text_of_each_level(pool: WrittenPool) -> None:
    concept = read_concept(pool.layout, "moat")
    assert concept.at("sentence") == {"id": "moat", "name": "Moat", "text": "Moat in one sentence."}


def test_a_concept_without_a_name_is_named_by_its_file(pool: WrittenPool) -> None:
    pool.write("concepts/new.yaml", "format: genpool.concept/1\nlevels: {sentence: 1.10}\n")
    assert read_concept(pool.layout, "new").at("sentence") == {"id": "new", "name": "new", "text": "1.10"}


def test_a_level_that_a_concept_lacks_is_told_the_nearest(pool: WrittenPool) -> None:
    with pytest.raises(InvalidCombo, match="concept 'moat' has no text of level 'paragaph'") as error:
        read_concept(pool.layout, "moat").at("paragaph")
    assert error.value.hint == "did you mean 'paragraph'?"


def test_an_unknown_concept_is_told_the_nearest(pool: WrittenPool) -> None:
    with pytest.raises(InvalidCombo, match="no concept is named 'wheal'") as error:
        read_concept(pool.layout, "wheal")
    assert error.value.hint == "did you mean 'wheel'?"


@pytest.mark.parametrize("name", ["../pool", "a/b", ".", "", "moat\n", "é"])
def test_a_concept_that_no_file_can_be_named_after_is_refused(pool: WrittenPool, name: str) -> None:
    with pytest.raises(InputError, match="is not a name that a file can have"):
        read_concept(pool.layout, name)


def test_two_concepts_that_differ_only_in_case_are_refused(pool: WrittenPool) -> None:
    pool.write("concepts/Moat.yaml", CONCEPT.format(name="Moat"))
    with pytest.raises(InputError, match="concepts 'moat' and 'Moat' differ only in case"):
        read_concept(pool.layout, "moat")


def test_a_newer_format_of_a_concept_is_refused(pool: WrittenPool) -> None:
    pool.write("concepts/new.yaml", CONCEPT.format(name="x").replace("concept/1", "concept/2"))
    with pytest.raises(UnsupportedFormat, match=r"new\.yaml: format genpool.concept/2 is newer"):
        read_concept(pool.layout, "new")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("format: genpool.concept/1\nname: x\n", None, "a concept needs a text"),
        ("format: genpool.concept/1\nlevels:\n  sentence: ''\n", 3, "level 'sentence' must be a text"),
        ("format: genpool.concept/1\nlevels:\n  sentence: [x]\n", 3, "level 'sentence' must be a text"),
        ("format: genpool.concept/1\nlevels: x\n", 2, "levels must be a mapping"),
        ("format: genpool.concept/1\nlevel: {sentence: x}\nlevels: {a: b}\n", 2, "unknown key 'level'"),
        ("name: x\nlevels: {a: b}\n", 1, "the key `format` is missing"),
        ("- x\n", 1, "a concept must be a mapping"),
        ("format: genpool.concept/1\nname: [x]\nlevels: {a: b}\n", 2, "name must be text"),
        ("format: genpool.concept/1\nlevels: {a: *x}\n", 2, "anchors and aliases"),
    ],
)
def test_what_is_wrong_in_a_concept_is_named_with_its_line(
    pool: WrittenPool, text: str, line: int | None, said: str
) -> None:
    path = pool.write("concepts/new.yaml", text)
    with pytest.raises(InvalidCombo, match="concept 'new' is not usable") as error:
        read_concept(pool.layout, "new")
    problem = only_problem(error)
    assert said in problem.message
    assert (problem.file, problem.line) == (str(path), line)


def test_a_concept_that_is_a_link_is_refused(pool: WrittenPool) -> None:
    (pool.root / "concepts/linked.yaml").symlink_to("moat.yaml")
    with pytest.raises(InputError, match="links are not followed"):
        read_concept(pool.layout, "linked")


def test_a_concept_that_is_a_folder_is_refused(pool: WrittenPool) -> None:
    (pool.root / "concepts/folder.yaml").mkdir()
    with pytest.raises(InputError, match="cannot read"):
        read_concept(pool.layout, "folder")


def test_a_text_outside_the_pool_is_not_read(pool: WrittenPool) -> None:
    outside = pool.root.parent / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("secret")
    (pool.root / "inside").symlink_to(outside)
    with pytest.raises(InputError, match="leads out of the pool"):
        read_text(pool.root / "inside" / "a.txt", pool.root)


def test_names_are_listed_in_the_order_of_code_points(pool: WrittenPool) -> None:
    pool.write("concepts/Zeta.yaml", "")
    pool.write("concepts/notes.md", "")
    assert list_names(pool.layout.concepts, ".yaml") == ["Zeta", "moat", "path", "wheel"]
    assert list_names(pool.root / "nothing", ".yaml") == []
    assert list_names(pool.root / "pool.yaml", ".yaml") == []


# --- rows -----------------------------------------------------------------------------------------


def rows(pool: WrittenPool, text: str | bytes, file: str = "data.csv") -> dict[str, dict[str, str]]:
    return read_rows(pool.write(file, text), file)


def refused(pool: WrittenPool, text: str | bytes, file: str = "data.csv") -> str:
    with pytest.raises(InputError) as error:
        rows(pool, text, file)
    return str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "id,topic,n\nr1,tea,1.10\nr2,no,010\n",
        "\ufeffid,topic,n\r\nr1,tea,1.10\r\nr2,no,010\r\n",
        'topic,n,id\n"tea",1.10,r1\n\nno,"010",r2',
    ],
)
def test_rows_are_read_by_id_as_they_were_typed(pool: WrittenPool, text: str) -> None:
    assert rows(pool, text) == {"r1": {"topic": "tea", "n": "1.10"}, "r2": {"topic": "no", "n": "010"}}


def test_a_value_may_hold_commas_and_line_ends(pool: WrittenPool) -> None:
    assert rows(pool, 'id,text\nr1,"a, ""b""\nc"\n') == {"r1": {"text": 'a, "b"\nc'}}


@pytest.mark.parametrize(("text", "file"), [("id,a\n" + "x\n" * 5000, "data.csv"), ("not JSON\n" * 5000, "data.jsonl")])
def test_a_file_that_is_all_wrong_is_not_read_to_its_end(pool: WrittenPool, text: str, file: str) -> None:
    with pytest.raises(InvalidCombo) as error:
        rows(pool, text, file)
    assert len(error.value.problems) == 101
    assert "reading ended here: 100 problems were found above" in str(error.value.problems[-1])


def test_rows_of_jsonl_are_read_by_id(pool: WrittenPool) -> None:
    text = '{"id": "r1", "topic": "tea", "n": 1.5}\n\n{"id": 2, "tags": ["a"], "yes": true}\n'
    assert rows(pool, text, "data.jsonl") == {
        "r1": {"topic": "tea", "n": "1.5"},
        "2": {"tags": '["a"]', "yes": "true"},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("topic\ntea\n", "data.csv:1: the header has no column `id` (it has topic)"),
        ("id,topic\nr1,a\n,b\n", "data.csv:3: id '' is empty"),
        ("id,topic\nr1,a\n r2,b\n", "data.csv:3: id ' r2' has white space at an end"),
        ("id,topic\nr1,a\nr2,b\nr1,c\n", "data.csv:4: id 'r1' is given twice"),
        ('id,topic\nr1,"a\nb"\nr1,c\n', "data.csv:4: id 'r1' is given twice"),
        ("id,topic\nr1,a\nr2\n", "data.csv:3: the line has not as many values as the header"),
        ("id,topic\nr1,a\nr2,b,c\n", "data.csv:3: the line has not as many values as the header"),
        ("id,topic,topic\nr1,a,b\n", "data.csv:1: two columns are named 'topic'"),
        ("id,id\nr1,a\n", "data.csv:1: two columns are named 'id'"),
        ('id,topic\nr1,"a\n', "data.csv:2: not readable as CSV"),
        ('id,topic\nr1,"a"b\n', "data.csv:2: not readable as CSV"),
        ("id,topic\n", "there is no row"),
        ("", "there is no row"),
        (b"id,topic\nr1,caf\xe9\n", "not UTF-8"),
    ],
)
def test_rows_that_cannot_be_used_are_named_with_file_and_line(pool: WrittenPool, text: str | bytes, said: str) -> None:
    assert said in refused(pool, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"topic": "tea"}\n', "data.jsonl:1: id None is missing"),
        ('{"id": "a"}\n{"id": null}\n', "data.jsonl:2: id None is missing"),
        ('{"id": "a"}\n{"id": true}\n', "data.jsonl:2: id None is missing"),
        ('{"id": "a"}\n{"id": 1.0}\n', "data.jsonl:2: id None is missing"),
        ('{"id": "a"}\n{"id": ["b"]}\n', "data.jsonl:2: id None is missing"),
        ('{"id": "a"}\n\n{"id": "a"}\n', "data.jsonl:3: id 'a' is given twice"),
        ('{"id": "a"}\n{"id": "b"\n', "data.jsonl:2: not readable as JSON"),
        ('{"id": "a"}\n["b"]\n', "data.jsonl:2: not a JSON object"),
        ('{"id": "\\ud800"}\n', "data.jsonl:1: not readable as JSON"),
        ("", "there is no row"),
    ],
)
def test_rows_of_jsonl_that_cannot_be_used_are_named_with_file_and_line(
    pool: WrittenPool, text: str, said: str
) -> None:
    assert said in refused(pool, text, "data.jsonl")


def test_every_wrong_id_is_reported_together(pool: WrittenPool) -> None:
    assert refused(pool, "id,x\n,1\na,2\na,3\nb ,4\n").count("data.csv:") == 3


def test_a_file_of_another_kind_is_refused(pool: WrittenPool) -> None:
    assert refused(pool, "id\nr1\n", "data.xlsx") == r"data.xlsx: rows come from a .csv or a .jsonl file"


def test_the_digest_of_a_row_is_of_its_columns_whatever_their_order() -> None:
    assert row_digest({"a": "1", "b": "2"}) == row_digest({"b": "2", "a": "1"})
    assert row_digest({"a": "1", "b": "2"}) != row_digest({"a": "2", "b": "1"})


def test_a_line_of_the_book_names_all_that_an_id_stands_for() -> None:
    assert [json.loads(line) for line in combo_lines([OLD, ROW]).splitlines()] == [
        {"combo_id": "old-name", "kind": "concepts", "concepts": ["a", "b"], "level": "sentence"},
        {"combo_id": "r1", "kind": "row", "rows": "data.csv", "digest": "d"},
    ]


def test_a_pipe_in_place_of_a_file_is_not_waited_for(pool: WrittenPool) -> None:
    (pool.root / "concepts/moat.yaml").unlink()
    os.mkfifo(pool.root / "concepts/moat.yaml")
    with pytest.raises(InputError, match="is not a file"):
        pool.inputs().concept("moat")
