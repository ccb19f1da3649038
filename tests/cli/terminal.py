"""A pseudo-terminal at which genpool is typed, as a process of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SECONDS = 60.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """A command that runs at a terminal of some width."""

    words: Sequence[str]
    columns: int = 80
    env: Mapping[str, str] = field(default_factory=dict)
    said: str = ""

    def __post_init__(self) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, self.columns, 0, 0))
        plain = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genpool", *self.words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**plain, "TERM": "xterm-256color", **self.env},
            start_new_session=True,
        )
        os.close(theirs)

    @property
    def plain(self) -> str:
        """What was said, without escapes."""
        return _ESCAPES.sub("", self.said).replace("\r", "")

    def read_until(self, text: str | None = None) -> None:
        """Read until a text was said, or to the end; a command that takes too long fails the test."""
        end = time.monotonic() + _SECONDS
        while text is None or text not in self.plain:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"not said in time: {text!r}; said: {self.plain}"
            try:
                chunk = os.read(self._ours, 65536)
            except OSError:  # the other side was closed
                chunk = b""
            if not chunk:
                assert text is None, f"{text!r} was not said: {self.plain}"
                return
            self.said += chunk.decode(errors="replace")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Read to the end; return the exit code."""
        self.read_until()
        code = self.process.wait(_SECONDS)
        os.close(self._ours)
        return code


def at_terminal(*words: str, columns: int = 80, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Type a command; return its exit code, what it said, and the same without escapes."""
    terminal = Terminal(words, columns, env or {})
    code = terminal.end()
    return code, terminal.said, terminal.plain
