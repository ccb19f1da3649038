"""What a piece of code opened and started, as the interpreter itself tells it (audit events).

A hook cannot be taken away again, so there is one for the whole process, and it looks only while it is asked to.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPENING = {
    "open",
    "os.listdir",
    "os.scandir",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
}
_STARTING = {
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn"),
    *("socket.connect", "socket.getaddrinfo", "ctypes.dlopen", "webbrowser.open"),
}


@dataclass(slots=True)
class Witness:
    """What happened while it looked."""

    opened: list[str] = field(default_factory=list)
    """Absolute paths that were opened, listed, made or taken away; links in them are as they were given."""
    started: list[str] = field(default_factory=list)
    """Processes, connections, libraries."""


_looking: list[Witness] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not _looking:
        return
    if event in _OPENING:
        for path in arguments[: 2 if event in {"os.rename", "os.link", "os.symlink"} else 1]:
            if isinstance(path, str | bytes):
                _looking[-1].opened.append(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - links as they are
    elif event in _STARTING:
        _looking[-1].started.append(f"{event}{arguments!r}"[:200])


sys.addaudithook(_hook)


@contextmanager
def witnessed() -> Iterator[Witness]:
    """Look at what the body of a `with` opens and starts."""
    witness = Witness()
    _looking.append(witness)
    try:
        yield witness
    finally:
        _looking.remove(witness)
