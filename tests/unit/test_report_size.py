"""The page stays small however much was judged: it holds sums and a few texts, never the judgements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from genpool.report.facts import facts_of
from genpool.report.page import page_of
from tests.made_reports import Made

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def asked(tmp_path: Path) -> Made:
    return Made(Pool.init(tmp_path / "pool"), [])


def test_a_hundred_thousand_judgements_make_a_page_of_less_than_three_megabytes(asked: Made) -> None:
    facts = facts_of(asked)
    (judged,) = facts.judged
    assert (judged.judgements, judged.texts, len(judged.combos)) == (Made.judgements, Made.judgements // 4, 100)
    page = page_of(facts)
    assert len(page.encode()) < 3_000_000
    assert "100,000 judgements of 25,000 essays from 100 combos" in page
    assert "100,000 of 100,000 judgements are there" in page
    assert "paths of choices" in page  # 250 of them: what is left out is said
    assert "levels are not compared" not in page
    assert len(judged.comparisons[0].differences) == 3 * 24
