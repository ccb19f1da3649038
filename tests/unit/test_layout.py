"""Paths of a pool; no name becomes a path unchecked."""

from __future__ import annotations

from pathlib import Path

import pytest

from genpool.errors import InputError
from genpool.layout import PoolLayout, check_name

LAYOUT = PoolLayout(Path("pool"))


def test_the_files_of_a_pool_are_where_they_are_documented() -> None:
    found = {
        LAYOUT.config,
        LAYOUT.combos,
        LAYOUT.spec("c"),
        LAYOUT.membership("c"),
        LAYOUT.adopted("c"),
        LAYOUT.generation("draft", "d_1"),
        LAYOUT.attempts("draft", "d_1"),
        LAYOUT.sources,
        LAYOUT.ledger,
        LAYOUT.staging,
        LAYOUT.locks,
    }
    assert {path.as_posix() for path in found} == {
        "pool/pool.yaml",
        "pool/combos.jsonl",
        "pool/cohorts/c/cohort.yaml",
        "pool/cohorts/c/membership.csv",
        "pool/cohorts/c/adopted.json",
        "pool/gens/draft/d_1",
        "pool/attempts/draft/d_1",
        "pool/sources",
        "pool/ledger",
        "pool/.genpool/staging",
        "pool/.genpool/locks",
    }


BAD = ["", ".", "..", "../x", "a/b", "/a", "a\\b", ".hidden", "-rf", "_a", "a b", "a\n", "é", "a\x00", "x" * 129]


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(InputError) as error:
        check_name(name, "cohort")
    assert error.value.message == f"cohort {name!r} is not a name that a file can have"
    assert error.value.hint


@pytest.mark.parametrize("name", ["a", "A.b-c_d", "0", "x" * 128, "a..b"])
def test_a_plain_name_is_returned_as_it_is(name: str) -> None:
    assert check_name(name, "cohort") == name


def test_the_nearest_known_name_is_offered() -> None:
    with pytest.raises(InputError) as error:
        check_name("demo/", "cohort", ["demo", "other"])
    assert error.value.hint == "did you mean 'demo'?"


@pytest.mark.parametrize("name", ["..", "a/b", ""])
@pytest.mark.parametrize("method", ["cohort", "spec", "membership", "adopted", "stage"])
def test_every_path_of_one_name_checks_it(method: str, name: str) -> None:
    with pytest.raises(InputError):
        getattr(LAYOUT, method)(name)


@pytest.mark.parametrize("method", ["generation", "attempts"])
@pytest.mark.parametrize("names", [("..", "d_1"), ("draft", ".."), ("draft", "a/b"), ("", "d_1")])
def test_every_path_of_two_names_checks_both(method: str, names: tuple[str, str]) -> None:
    with pytest.raises(InputError):
        getattr(LAYOUT, method)(*names)
