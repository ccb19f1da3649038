"""A claim keeps everybody else from a task for as long as its holder lives, and no longer."""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genpool import locks
from genpool.claims import Claims, claimed
from genpool.errors import StorageFailed
from genpool.layout import PoolLayout

TASK = ("draft", "d_1")
HOLD = """
import sys
from pathlib import Path
from genpool.claims import Claims
from genpool.layout import PoolLayout
claims = Claims(PoolLayout(Path(sys.argv[1])), bytewise=sys.argv[2] == "True")
print(claims.take("draft", "d_1"), flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[True, False] if locks.HAS_BYTE_LOCKS else [False], ids=lambda one: "bytes" if one else "files")
def bytewise(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def layout(tmp_path: Path) -> PoolLayout:
    return PoolLayout(tmp_path)


def test_what_one_holds_another_does_not_get_until_it_is_given_back(layout: PoolLayout, bytewise: bool) -> None:
    mine, other = Claims(layout, bytewise=bytewise), Claims(layout, bytewise=bytewise)
    assert mine.take(*TASK)
    assert not mine.take(*TASK)
    assert not other.take(*TASK)
    assert not other.is_free(*TASK)
    assert other.take("draft", "d_2")
    many = [f"d_{number}" for number in range(1000)]
    assert claimed(layout, "draft", many, bytewise=bytewise) == {"d_1", "d_2"}
    assert claimed(layout, "draft", ["d_2"], bytewise=bytewise) == {"d_2"}
    mine.give_back(*TASK)
    assert claimed(layout, "draft", many, bytewise=bytewise) == {"d_2"}
    assert other.is_free(*TASK)
    assert other.take(*TASK)


def test_a_claim_that_is_given_back_leaves_nothing(layout: PoolLayout, bytewise: bool) -> None:
    claims = Claims(layout, bytewise=bytewise)
    for _ in range(3):
        assert claims.take(*TASK)
        claims.give_back(*TASK)
    assert list(layout.claims.rglob("d_*")) == []
    assert not any(str(layout.claims) in one for one in open_files())
    for stage in ("draft", "essay"):
        assert claimed(layout, stage, ["d_1"], bytewise=bytewise) == frozenset()


def test_a_claim_dies_with_the_process_that_holds_it(layout: PoolLayout, bytewise: bool) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(layout.root), str(bytewise)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    claims = Claims(layout, bytewise=bytewise)
    assert not claims.take(*TASK)
    holder.kill()
    holder.communicate()
    assert layout.claim(*TASK).exists() is not bytewise
    assert claimed(layout, "draft", ["d_1"], bytewise=bytewise) == frozenset()
    assert claims.take(*TASK)


def test_of_many_that_want_a_task_at_once_one_gets_it_whatever_is_given_back_meanwhile(
    layout: PoolLayout, bytewise: bool
) -> None:
    """The file of a claim is removed when it is given back: whoever has opened it by then holds the lock of nothing."""
    held: list[int] = []
    most: list[int] = []

    def work(_: int) -> int:
        claims, got = Claims(layout, bytewise=bytewise), 0
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


def test_a_claim_that_cannot_be_written_says_so(layout: PoolLayout, bytewise: bool) -> None:
    layout.private.mkdir()
    layout.claims.write_text("in the way")
    with pytest.raises(StorageFailed, match="cannot claim d_1"):
        Claims(layout, bytewise=bytewise).take(*TASK)


def test_a_link_in_the_place_of_a_claim_is_not_followed(layout: PoolLayout, tmp_path: Path, bytewise: bool) -> None:
    place = layout.claims_of("draft") if bytewise else layout.claim(*TASK)
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "elsewhere")
    claims = Claims(layout, bytewise=bytewise)
    with pytest.raises(StorageFailed, match="cannot claim d_1"):
        claims.take(*TASK)
    assert not (tmp_path / "elsewhere").exists()
    if bytewise:
        with pytest.raises(StorageFailed, match="cannot see who makes d_1"):
            claims.is_free(*TASK)


def test_a_program_that_is_started_meanwhile_does_not_inherit_claims(layout: PoolLayout, bytewise: bool) -> None:
    claims = Claims(layout, bytewise=bytewise)
    assert claims.take(*TASK)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        claims.give_back(*TASK)
        assert Claims(layout, bytewise=bytewise).take(*TASK)
    finally:
        child.communicate()


@pytest.mark.skipif(not locks.HAS_BYTE_LOCKS, reason="claims are files of their own here")
def test_a_process_that_was_forked_meanwhile_keeps_nobody_from_what_is_given_back(layout: PoolLayout) -> None:
    claims = Claims(layout)
    assert claims.take(*TASK)
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        os.close(begin)
        os.read(end, 1)
        os._exit(0)
    try:
        assert not Claims(layout).take(*TASK)
        claims.give_back(*TASK)
        assert Claims(layout).take(*TASK)
    finally:
        os.close(begin)
        os.close(end)
        os.waitpid(child, 0)


@pytest.mark.skipif(not locks.HAS_BYTE_LOCKS, reason="claims are files of their own here")
def test_every_claim_of_many_holders_is_seen_and_no_other(layout: PoolLayout) -> None:
    """The system tells one lock that is in the way, not the first one: none may be stepped over."""
    ids = [f"d_{number}" for number in range(3000)]
    holders = [Claims(layout) for _ in range(5)]
    drawn = random.Random(1)
    held = set(drawn.sample(ids, 300))
    for one in sorted(held):
        assert drawn.choice(holders).take("draft", one)
    assert claimed(layout, "draft", ids) == held


@pytest.mark.skipif(not locks.HAS_BYTE_LOCKS, reason="claims are files of their own here")
def test_whoever_locks_all_of_the_file_holds_every_task(layout: PoolLayout) -> None:
    claims = Claims(layout)
    assert claims.take(*TASK)
    claims.give_back(*TASK)
    with layout.claims_of("draft").open("rb+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)  # 0 bytes: to the end, wherever that is
        assert claimed(layout, "draft", ["d_1", "d_2"]) == {"d_1", "d_2"}
        fcntl.lockf(file, fcntl.LOCK_EX)  # such a lock went with the other descriptor
        assert not claims.take(*TASK)


def open_files() -> list[str]:
    """Return the files that this process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    return [str(one.readlink()) for one in folder.iterdir() if one.is_symlink()] if folder.exists() else []
