"""Files that name generations: only ids change, everything else keeps its bytes."""

from __future__ import annotations

import pytest

from genpool.canonical import sha256
from genpool.migration import books
from genpool.migration.renames import Renames, Row, aliases_of, renames_of
from genpool.stages import DEFAULT_PIPELINE

RENAMES = Renames([{"draft": {"a": "A", "x": "X"}, "essay": {"a": "E", "e": "E2"}}])


def test_a_membership_keeps_what_is_no_id() -> None:
    data = b'stage,note,gen_id,parent_gen_id\r\ndraft,"a, ""b""\r\nc",a,\r\nessay,a,e,a\r\n\r\nother,a,a,a\r\n'
    new = b'stage,note,gen_id,parent_gen_id\r\ndraft,"a, ""b""\r\nc",A,\r\nessay,a,E2,A\r\n\r\nother,a,a,a\r\n'
    assert books.membership(data, RENAMES, DEFAULT_PIPELINE) == new


def test_a_membership_whose_ids_stay_keeps_its_bytes() -> None:
    data = b'"stage",gen_id\ndraft , "b"\ndraft,"c"'
    assert books.membership(data, RENAMES, DEFAULT_PIPELINE) == data


@pytest.mark.parametrize("data", [b"gen_id\na\n", b"\xff", b""])
def test_what_is_no_membership_is_told(data: bytes) -> None:
    with pytest.raises(books.BookProblem):
        list(books.membership_rows(data))


def test_adopted_roots_follow_and_it_vouches_for_the_new_membership() -> None:
    data = b'{"format":"genpool.adopted/1","membership":"%s","roots":["x","other","a"]}' % sha256(b"old").encode()
    new = books.adopted(data, RENAMES, b"old", b"new")
    assert b'"X"' in new
    assert b'"other"' in new
    assert sha256(b"new").encode() in new
    assert b'"a"' in new, "two stages have it: nobody can tell which one is meant"
    assert books.adopted(b'{"roots":[]}', RENAMES, None, None) == b'{"roots":[]}'


def test_ledgers_follow_line_by_line() -> None:
    data = (
        b'{"format":"genpool.ledger/1"}\n'
        b'{"intent":1,"stage":"draft","gen_id":"a"}\n'
        b'{"intent": 2, "stage": "essay", "gen_id": "kept"}\n'
        b'{"settled":1,"gen_id":"a","outcome":"committed"}\n'
        b'{"promoted":"e","stage":"essay"}\n'
        b"not json\n"
        b'{"torn'
    )
    new = data.replace(b'"gen_id":"a"', b'"gen_id":"A"').replace(b'"promoted":"e"', b'"promoted":"E2"')
    assert books.ledger(data, RENAMES) == new


def test_only_parents_of_drift_follow() -> None:
    data = b"kind,name,stored,present,accepted_at\nparent,x,1,2,3\ntemplate,x,1,2,3\n"
    assert books.drift(data, RENAMES) == data.replace(b"parent,x", b"parent,X")


def test_what_was_removed_goes_back_under_its_new_id() -> None:
    data = (
        b'{"moves":[{"from":"gens/draft/a","to":"trash/t/gens/draft/a"},{"from":"cohorts/a","to":"trash/t/cohorts/a"}]}'
    )
    new = books.trashed(data, RENAMES)
    assert b"gens/draft/A" in new
    assert b"trash/t/gens/draft/A" in new
    assert b'"cohorts/a"' in new


def test_legacy_lines_are_added_and_taken_away_again() -> None:
    rows = [Row("a", "A", "draft", "opaque", 3, "gens"), Row("s", "s", "draft", "seal", 1, "gens")]
    before = b"stage,gen_id,replicate,new_gen_id\ndraft,other,2,\n"
    applied = books.legacy(before, aliases_of(rows))
    assert applied == before + b"draft,a,3,A\n"
    assert books.legacy(None, aliases_of(rows)) == b"stage,gen_id,replicate,new_gen_id\ndraft,a,3,A\n"
    back = renames_of(rows, back=True)[""]
    assert books.legacy_back(applied + b"draft,A,4,\n", applied, before, back) == before + b"draft,a,4,\n"
    assert (
        books.legacy_back(books.legacy(None, aliases_of(rows)), books.legacy(None, aliases_of(rows)), None, back)
        is None
    )
    with pytest.raises(books.BookProblem):
        books.legacy_back(b"something else\n", applied, before, back)
