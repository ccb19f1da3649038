"""Dying in the middle of what changes files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.utime", "open", "os.rmdir", "os.truncate"}


def killed_at(nth: int, work: Callable[[], object]) -> bool:
    """Do something in a process of its own that dies at its n-th call that may change files; return whether it did."""
    child = os.fork()
    if child == 0:
        left = nth

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in EVENTS and not (event == "open" and not _writes(arguments)):
                left -= 1
                if left == 0:
                    os._exit(9)

        try:
            sys.addaudithook(count)
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the test must see it
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, 9}, f"it failed at point {nth}"
    return code == 9


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
