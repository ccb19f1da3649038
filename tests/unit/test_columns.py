"""Columns of a CSV that a spec names: by their headings, with the place of every line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genpool.columns import names_file, read_columns
from genpool.yaml_reader import Items, Problems, Scalar

if TYPE_CHECKING:
    from tests.written_pools import WrittenPool

NODE = Scalar("@file:x.csv", 7)


def test_columns_are_found_by_name_in_any_order_and_others_are_passed_over(pool: WrittenPool) -> None:
    pool.write("x.csv", "note,b, a \n-, 2 ,e\u0301\n\n-,4,3\n")
    problems = Problems("cohort.yaml")
    found = read_columns(pool.inputs(), NODE, [("a",), ("B", "b")], problems)
    assert found == [("x.csv:2", ("é", "2")), ("x.csv:4", ("3", "4"))]
    assert problems.found == []


def test_a_lacking_column_is_told_by_its_usual_name(pool: WrittenPool) -> None:
    pool.write("x.csv", "a\n1\n")
    problems = Problems("cohort.yaml")
    assert read_columns(pool.inputs(), NODE, [("a",), ("draft.b", "b")], problems) == []
    (problem,) = problems.found
    assert (problem.message, problem.line) == ("x.csv:1: the header has no column 'draft.b' (it has a)", 7)


def test_a_short_line_is_told_with_the_column_that_it_lacks(pool: WrittenPool) -> None:
    pool.write("x.csv", "a,b\n1,2\n3\n")
    problems = Problems("cohort.yaml")
    assert read_columns(pool.inputs(), NODE, [("a",), ("b",)], problems) == []
    assert problems.found[0].message == "x.csv:3: the line has no value for 'b'"


def test_only_a_text_that_begins_so_names_a_file() -> None:
    assert names_file(NODE)
    assert not names_file(Scalar("x.csv", 1))
    assert not names_file(Items((), 1))
    assert not names_file(None)
