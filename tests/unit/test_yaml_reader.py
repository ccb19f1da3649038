"""YAML that a person wrote: places, literal text, and no surprises."""

from __future__ import annotations

import time

import pytest

from genpool.errors import InputError, UnsupportedFormat
from genpool.yaml_reader import (
    MAX_BYTES,
    MAX_DEPTH,
    Items,
    Problems,
    Scalar,
    Table,
    check_format,
    is_version,
    read_yaml,
)


def read(text: str) -> object:
    problems = Problems("file.yaml")
    node = read_yaml(text, problems)
    problems.raise_if_any(InputError, "file.yaml")
    assert node is not None
    return node.value()


def refused(text: str) -> tuple[str, int | None]:
    problems = Problems("file.yaml")
    assert read_yaml(text, problems) is None or problems.found
    assert len(problems.found) == 1, problems.found
    return problems.found[0].message, problems.found[0].line


def test_lists_and_mappings_are_read() -> None:
    assert read("a: [1, two, {b: c}]\nd:\n  - e\n  - f: 1\n") == {"a": [1, "two", {"b": "c"}], "d": ["e", {"f": 1}]}


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("1", 1),
        ("-1", -1),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_a_plain_value_is_a_number_a_truth_value_or_nothing_by_the_core_schema(typed: str, value: object) -> None:
    found = read(f"a: {typed}")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)  # type: ignore[index]


@pytest.mark.parametrize(
    "typed", ["no", "yes", "on", "off", "2024-01-01", "12:30:00", "0x1F", "1_000", "True", ".inf", ".nan", "<<"]
)
def test_what_only_older_yaml_takes_for_something_else_is_text(typed: str) -> None:
    assert read(f"a: {typed}") == {"a": typed}


@pytest.mark.parametrize("typed", ['"1"', "'1'", '"true"', '"null"', '""'])
def test_a_quoted_value_is_text(typed: str) -> None:
    assert read(f"a: {typed}") == {"a": typed[1:-1]}


def test_a_whole_number_of_twenty_digits_is_text() -> None:
    assert read(f"a: {'9' * 20}") == {"a": "9" * 20}


@pytest.mark.parametrize("typed", ["1.10", "010", "no", "2024-01-01", "1e3", "~", "0x1F", "007"])
def test_what_was_typed_is_kept_beside_the_value(typed: str) -> None:
    node = read_yaml(f"a: {typed}", Problems("file.yaml"))
    assert isinstance(node, Table)
    found = node.entries["a"]
    assert isinstance(found, Scalar)
    assert found.text == typed


def test_every_value_and_key_knows_its_line() -> None:
    node = read_yaml("# a comment\na: 1\n\nb:\n  - x\n  - y\n", Problems("file.yaml"))
    assert isinstance(node, Table)
    items = node.entries["b"]
    assert isinstance(items, Items)
    assert (node.line_of("a"), node.line_of("b"), [item.line for item in items]) == (2, 4, [5, 6])


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_text_is_empty(text: str) -> None:
    assert read(text) in ({}, None)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read("\ufeffa: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' is given twice", 3),
        ("x:\n  a: 1\n  a: 1\n", "the key 'a' is given twice", 3),
        ("a: 1\nb: !!python/object:os.system x\n", "tags (!) are not allowed", 2),
        ("a: !!str 1\n", "tags (!) are not allowed", 1),
        ("a: !x {b: 1}\n", "tags (!) are not allowed", 1),
        ("\na: &x 1\n", "anchors and aliases (& and *) are not allowed", 2),
        ("a: &x [1]\nb: *x\n", "anchors and aliases", 1),
        ("a: 1\nb: *x\n", "anchors and aliases", 2),
        ("? [a, b]\n: 1\n", "a key must be plain text", 1),
        ("? {a: b}\n: 1\n", "a key must be plain text", 1),
        ("a: 1\n---\nb: 2\n", "a second document", 2),
        ("a: 1\nb: [1, 2\nc: 3\n", "not readable as YAML", 3),
        ("a: 'open\n", "not readable as YAML", 2),
        ("a: 1\n\tb: 2\n", "not readable as YAML", 2),
        ("a: b: c\n", "not readable as YAML", 1),
        ("a: @x\n", "not readable as YAML", 1),
        ("%BAD\n", "not readable as YAML", None),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_line(text: str, said: str, line: int | None) -> None:
    message, found = refused(text)
    assert said in message
    assert line is None or found == line


def test_a_value_that_begins_with_a_reserved_sign_is_told_to_be_quoted() -> None:
    problems = Problems("file.yaml")
    read_yaml("a: 1\nb: [x, @file:y.csv]\n", problems)
    assert [(problem.line, problem.hint) for problem in problems.found] == [(2, "put it in quotation marks: '@file:…'")]


@pytest.mark.parametrize("text", ["a: \x00", "a: \x07", "\ud800", "a: \udfff", '"\\ud800"'])
def test_a_character_that_no_yaml_may_hold_is_refused(text: str) -> None:
    assert "not readable as YAML" in refused(text)[0]


def test_a_billion_laughs_are_refused_at_once() -> None:
    lines = ["l0: &l0 [lol, lol, lol, lol]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    started = time.process_time()
    assert refused("\n".join(lines)) == ("anchors and aliases (& and *) are not allowed", 1)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "text",
    ["[" * 5000, "[" * 5000 + "]" * 5000, "{a: " * 5000, "- " * 5000, "? " * 5000],
    ids=["open", "closed", "mappings", "dashes", "keys"],
)
def test_five_thousand_brackets_are_refused_at_once(text: str) -> None:
    started = time.process_time()
    assert refused(text)[0] == f"nested deeper than {MAX_DEPTH} levels"
    assert time.process_time() - started < 0.5


def test_the_deepest_nesting_that_is_allowed_is_read() -> None:
    read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert "nested deeper" in refused("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))[0]


def test_a_text_that_is_too_large_is_refused_before_it_is_read() -> None:
    assert refused("a" * (MAX_BYTES + 1))[0] == "the text is larger than 8 MiB"


def test_lines_are_counted_from_where_the_text_begins_in_its_file() -> None:
    problems = Problems("file.j2", first_line=2)
    read_yaml("a: 1\na: 2\n", problems)
    assert problems.found[0].line == 3


# --- typed access ---------------------------------------------------------------------------------


def access(method: str, text: str) -> tuple[object, list[str]]:
    problems = Problems("file.yaml")
    table = read_yaml(text, problems)
    assert isinstance(table, Table)
    return getattr(problems, method)(table, "a", "here"), [problem.message for problem in problems.found]


@pytest.mark.parametrize("method", ["text", "whole_number", "number", "flag"])
def test_an_entry_that_is_not_there_is_none_and_no_problem(method: str) -> None:
    assert access(method, "b: 1") == (None, [])


@pytest.mark.parametrize(
    ("method", "typed", "value"),
    [
        ("text", "1.10", "1.10"),
        ("text", "no", "no"),
        ("text", '"null"', "null"),
        ("text", "", ""),
        ("whole_number", "1", 1),
        ("whole_number", "2147483647", 2**31 - 1),
        ("number", "0", 0.0),
        ("number", "0.7", 0.7),
        ("flag", "true", True),
        ("flag", "false", False),
    ],
)
def test_an_entry_is_read_as_its_type(method: str, typed: str, value: object) -> None:
    assert access(method, f"a: {typed}") == (value, [])


@pytest.mark.parametrize(
    ("method", "typed", "said"),
    [
        ("text", "[x]", "here: a must be text"),
        ("text", "{x: y}", "here: a must be text"),
        ("text", "null", "here: a is null, which is no text"),
        ("text", "~", "here: a is ~, which is no text"),
        ("whole_number", "0", "here: a is '0'; it must be a whole number from 1"),
        ("whole_number", "-3", "here: a is '-3'; it must be a whole number from 1"),
        ("whole_number", "1.5", "here: a is '1.5'; it must be a whole number from 1"),
        ("whole_number", "2.0", "here: a is '2.0'; it must be a whole number from 1"),
        ("whole_number", "1e3", "here: a is '1e3'; it must be a whole number from 1"),
        ("whole_number", "true", "here: a is 'true'; it must be a whole number from 1"),
        ("whole_number", "'2'", "here: a is '2'; it must be a whole number from 1"),
        ("whole_number", "2147483648", "here: a is '2147483648'; it must be a whole number from 1 to 2147483647"),
        ("whole_number", "[2]", "here: a is a list or mapping; it must be a whole number from 1"),
        ("whole_number", "", "here: a is ''; it must be a whole number from 1"),
        ("number", "-0.1", "here: a must be a number of 0 or more"),
        ("number", "1e999", "here: a must be a number of 0 or more"),
        ("number", "true", "here: a must be a number of 0 or more"),
        ("number", "much", "here: a must be a number of 0 or more"),
        ("flag", "yes", "here: a must be true or false"),
        ("flag", "1", "here: a must be true or false"),
    ],
)
def test_an_entry_of_another_type_is_noted(method: str, typed: str, said: str) -> None:
    assert access(method, f"a: {typed}") == (None, [said])


def test_unknown_keys_are_noted_each_with_its_line_and_the_nearest() -> None:
    problems = Problems("file.yaml")
    table = read_yaml("a: 1\nmodle: 2\nzzz: 3\n", problems)
    assert isinstance(table, Table)
    problems.known_keys(table, ("a", "model"), "here")
    assert [(one.message, one.line, one.hint) for one in problems.found] == [
        ("here: unknown key 'modle'", 2, "did you mean 'model'?"),
        ("here: unknown key 'zzz'", 3, "known: a, model"),
    ]


# --- the format key -------------------------------------------------------------------------------


def check(text: str) -> list[str]:
    problems = Problems("file.yaml")
    table = read_yaml(text, problems)
    assert isinstance(table, Table)
    check_format(table, "genpool.pool/1", problems)
    return [problem.message for problem in problems.found]


def test_the_present_format_is_accepted() -> None:
    assert check("format: genpool.pool/1") == []


@pytest.mark.parametrize("version", ["2", "10", "999999999"])
def test_a_newer_format_is_refused_by_file_and_version(version: str) -> None:
    with pytest.raises(UnsupportedFormat) as error:
        check(f"format: genpool.pool/{version}")
    assert error.value.message == (
        f"file.yaml: format genpool.pool/{version} is newer than this genpool reads (genpool.pool/1)"
    )
    assert error.value.hint


@pytest.mark.parametrize(
    "typed", ["genpool.pool", "genpool.pool/0", "genpool.pool/x", "genpool.pool/²", "genpool.cohort/1", "''", "2"]
)
def test_another_format_is_noted(typed: str) -> None:
    assert check(f"format: {typed}") == [f"format is {typed.strip(chr(39))!r}"]


def test_a_version_of_thousands_of_digits_is_noted() -> None:
    assert len(check(f"format: genpool.pool/{'9' * 5000}")) == 1


@pytest.mark.parametrize("text", ["a: 1", "format: [1]"])
def test_a_missing_format_is_noted(text: str) -> None:
    assert check(text) == ["the key `format` is missing"]


@pytest.mark.parametrize(("text", "whether"), [("1", True), ("12", True), ("0", False), ("01", False), ("٣", False)])
def test_a_version_is_a_whole_number_from_one(text: str, whether: bool) -> None:
    assert is_version(text) is whether
