"""CSV without quotation marks: read and written as the csv module does, or left to that."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from genpool.migration import books
from genpool.migration.identity import Change, Identity
from genpool.migration.plain_csv import plain_csv, plain_lines
from genpool.migration.renames import Renames
from genpool.stages import DEFAULT_PIPELINE

_CELLS = st.text(st.sampled_from("ab ,\"\n\r;\u00e9\u2028\x00'"), max_size=3)
_PLAIN = st.text(st.sampled_from("ab \u00e9\u2028"), max_size=3)


def as_csv(rows: list[tuple[object, ...]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


@given(st.lists(st.tuples(_CELLS, st.integers(), _CELLS), max_size=4))
def test_what_is_written_is_what_the_module_writes(rows: list[tuple[object, ...]]) -> None:
    assert plain_csv(rows, 3) in {as_csv(rows), None}


@given(st.lists(st.tuples(_PLAIN, _PLAIN), max_size=2100))
def test_plain_rows_are_written_however_many_they_are(rows: list[tuple[object, ...]]) -> None:
    assert plain_csv(rows, 2) == as_csv(rows)


@given(st.text(st.sampled_from('ab,"\n\r \u2028\x00'), max_size=12))
def test_what_is_read_is_what_the_module_reads(text: str) -> None:
    lines = plain_lines(text)
    if lines is None:
        assert '"' in text or "\r" in text
    else:
        assert [line.split(",") if line else [] for line in lines] == list(csv.reader(io.StringIO(text, newline="")))


def test_a_line_longer_than_the_module_reads_is_left_to_it() -> None:
    most = csv.field_size_limit()
    assert plain_lines("x" * most) == ["x" * most]
    assert plain_lines("x" * (most + 1)) is None


# --- memberships: whether a line is rewritten at once or by the module --------------------------------

RENAMES = Renames([{"draft": {"a": "d_a", "b": "d_b"}, "essay": {"a": "e_a"}}])
IDENTITY = Identity(DEFAULT_PIPELINE)
_ROWS = st.lists(st.lists(st.sampled_from(("draft", "essay", "other", "a", "b", "", "c d")), max_size=5), max_size=6)
_HEADERS = st.permutations(("stage", "gen_id", "parent_gen_id", "note")) | st.just(["stage", "gen_id", "gen_id"])


@given(_HEADERS, _ROWS, st.booleans())
def test_a_membership_is_rewritten_alike_with_and_without_quotation_marks(
    header: list[str], rows: list[list[str]], ends: bool
) -> None:
    text = "\n".join(",".join(row) for row in [header, *rows]) + "\n" * ends
    quoted = text.replace("c d", '"c d"') + '\n"q"'  # the same members, and one of no stage
    plain = books.membership(text.encode(), RENAMES, DEFAULT_PIPELINE, Change(IDENTITY, IDENTITY)).decode()
    careful = books.membership(quoted.encode(), RENAMES, DEFAULT_PIPELINE, Change(IDENTITY, IDENTITY)).decode()
    assert list(csv.reader(io.StringIO(plain + '\n"q"'))) == list(csv.reader(io.StringIO(careful)))
    assert plain.count("\n") == text.count("\n")


def test_a_new_id_that_needs_quotation_marks_gets_them() -> None:
    renames = Renames([{"draft": {"a": "d,a"}}])
    assert books.membership(b"stage,gen_id\ndraft,a\n", renames, DEFAULT_PIPELINE) == b'stage,gen_id\ndraft,"d,a"\n'
