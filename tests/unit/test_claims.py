"""A claim keeps everybody else from a task for as long as its holder lives, and no longer."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from genpool.claims import Claims, claimed
from genpool.errors import StorageFailed
from genpool.layout import PoolLayout

if TYPE_CHECKING:
    from pathlib import Path

TASK = ("draft", "d_1")
HOLD = """
import sys
from pathlib import Path
from genpool.claims import Claims
from genpool.layout import PoolLayout
claims = Claims(PoolLayout(Path(sys.argv[1])))
print(claims.take("draft", "d_1"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def layout(tmp_path: Path) -> PoolLayout:
    return PoolLayout(tmp_path)


def test_what_one_holds_another_does_not_get_until_it_is_given_back(layout: PoolLayout) -> None:
    mine, other = Claims(layout), Claims(layout)
    assert mine.take(*TASK)
    assert not other.take(*TASK)
    assert not other.is_free(*TASK)
    assert other.take("draft", "d_2")
    assert claimed(layout, "draft") == {"d_1", "d_2"}
    mine.give_back(*TASK)
    assert other.is_free(*TASK)
    assert other.take(*TASK)


def test_a_claim_that_is_given_back_leaves_nothing(layout: PoolLayout) -> None:
    claims = Claims(layout)
    for _ in range(3):
        assert claims.take(*TASK)
        claims.give_back(*TASK)
    assert list(layout.claims.rglob("d_*")) == []
    assert claimed(layout, "draft") == claimed(layout, "essay") == frozenset()


def test_a_claim_dies_with_the_process_that_holds_it(layout: PoolLayout) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(layout.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    claims = Claims(layout)
    assert not claims.take(*TASK)
    holder.kill()
    holder.communicate()
    assert layout.claim(*TASK).exists()
    assert claimed(layout, "draft") == frozenset()
    assert claims.take(*TASK)


def test_of_many_that_want_a_task_at_once_one_gets_it_whatever_is_given_back_meanwhile(layout: PoolLayout) -> None:
    """The file of a claim is removed when it is given back: whoever has opened it by then holds the lock of nothing."""
    held: list[int] = []
    most: list[int] = []

    def work(_: int) -> int:
        claims, got = Claims(layout), 0
        for _ in range(3000):
            if claims.take(*TASK):
                held.append(1)
                time.sleep(0)  # whoever thinks that it holds the task too, comes now
                most.append(len(held))
                got += 1
                held.pop()
                claims.give_back(*TASK)
        return got

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as threads:
            got = list(threads.map(work, range(8)))
    finally:
        sys.setswitchinterval(before)
    assert sum(got) == len(most) > 100
    assert set(most) == {1}


def test_a_claim_that_cannot_be_written_says_so(layout: PoolLayout) -> None:
    layout.private.mkdir()
    layout.claims.write_text("in the way")
    with pytest.raises(StorageFailed, match="cannot claim d_1"):
        Claims(layout).take(*TASK)


def test_a_link_in_the_place_of_a_claim_is_not_followed(layout: PoolLayout, tmp_path: Path) -> None:
    place = layout.claim(*TASK)
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed, match="cannot claim d_1"):
        Claims(layout).take(*TASK)
    assert not (tmp_path / "elsewhere").exists()


def test_a_program_that_is_started_meanwhile_does_not_inherit_claims(layout: PoolLayout) -> None:
    claims = Claims(layout)
    assert claims.take(*TASK)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        claims.give_back(*TASK)
        assert Claims(layout).take(*TASK)
    finally:
        child.communicate()
