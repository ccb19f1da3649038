"""How far something long is, in words."""

from __future__ import annotations

import pytest

from genpool.cli.pace import Pace


@pytest.mark.parametrize(
    ("done", "of", "passed", "said"),
    [
        (0, 1_000, 60, "0 of 1,000"),
        (10, 1_000, 1, "10 of 1,000"),
        (500, 1_000, 60, "500 of 1,000, about 60 s left"),
        (999, 1_000, 60, "999 of 1,000, about 1 s left"),
        (100, 1_000, 60, "100 of 1,000, about 9 min left"),
        (100_000, 10_000_000, 60, "100,000 of 10,000,000, about 1 h 39 min left"),
        (1_000, 1_000, 60, "1,000 of 1,000"),
        (1_500, 1_000, 60, "1,500 of 1,000"),
        (1_500, None, 60, "1,500"),
    ],
)
def test_the_rest_takes_as_long_as_what_was_done_did(done: int, of: int | None, passed: float, said: str) -> None:
    assert Pace(started=100.0).words("gens", done, of, now=100.0 + passed) == said


def test_each_part_has_its_own_time() -> None:
    pace = Pace(started=0.0)
    assert pace.words("gens", 1, 2, now=50.0) == "1 of 2, about 50 s left"
    assert pace.words("attempts", 1, 2, now=60.0) == "1 of 2"
    assert pace.words("attempts", 1, 2, now=70.0) == "1 of 2, about 10 s left"
