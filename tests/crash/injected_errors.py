"""Errors at system calls: a call on a pool's own files fails, once or for ever after, and what follows is watched."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.crash import system_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.system_calls import Call

SHORT: Final = 0
"""Instead of an error number: a write that writes half."""
_NO_DESCRIPTOR: Final = (errno.EMFILE,)
_PATIENCE: Final = 20
"""How often a call is interrupted where it is `for ever`: an endless storm of signals ends no program's patience."""

_CACHE: Final = "/.genpool/catalog.sqlite"
"""SQLite's own affair: a cache, which is rebuilt."""


@dataclass(frozen=True, slots=True)
class InjectedError:
    """What is to go wrong."""

    at: int
    """At which of the calls that may fail, from 1."""
    number: int
    """The error, or `SHORT`."""
    for_ever: bool
    """Whether every later call that may fail so does; else it is this one alone."""

    def __str__(self) -> str:
        name = errno.errorcode.get(self.number, "a short write")
        return f"{name} at call {self.at}{' and for ever after' if self.for_ever else ''}"


@dataclass(slots=True)
class WatchedFiles:
    """Watches the calls on the files below a folder; makes one fail.

    Also it watches what the child does after a flush that failed: the kernel has forgotten then what was to be
    written, so a second flush that succeeds proves nothing, and what was flushed so must not be published.
    """

    root: Path
    error: InjectedError | None = None
    seen: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    """Every call that may fail, with the errors that it may fail with."""
    paths: list[str] = field(default_factory=list)
    """What each of them was about."""
    injected: int = 0
    wrong: list[str] = field(default_factory=list)
    _held: dict[int, Call] = field(default_factory=dict)
    _unflushed: dict[int, str] = field(default_factory=dict)
    """Open descriptors whose flush has failed, with their paths."""
    _lost: set[str] = field(default_factory=set)
    """Everything whose flush has failed."""

    def entered(self, thread: int) -> None:
        call = system_calls.entered(thread)
        if (
            call is None
            or (call.path and not self._is_ours(call.path))
            or not (call.path or call.errors == _NO_DESCRIPTOR)
        ):
            return
        may = (*call.errors, *((SHORT,) if call.name in {"write", "pwrite64"} else ()))
        self.seen.append((call.name, may))
        self.paths.append(call.path)
        self._watch(call)
        if self.error is not None and self.error.number in may and self._is_due(self.error):
            self.injected += 1
            self._meddle(call, self.error.number)

    def left(self, thread: int) -> None:
        call = self._held.pop(thread, None)
        if call is not None and self.error is not None:
            call.say(self.error.number)

    def errors(self) -> Iterator[InjectedError]:
        """Yield every error that there can be in a run like the one that was watched."""
        for at, (_, errors) in enumerate(self.seen, start=1):
            for number in errors:
                yield InjectedError(at, number, for_ever=False)
                yield InjectedError(at, number, for_ever=True)

    def _is_ours(self, path: str) -> bool:
        if path == f"{self.root}/calls.txt":  # the scripted model's, a witness
            return False
        return path == str(self.root) or path.startswith(f"{self.root}/")

    def _is_due(self, error: InjectedError) -> bool:
        if error.number == errno.EINTR and self.injected >= _PATIENCE:
            return False
        return len(self.seen) == error.at or (error.for_ever and len(self.seen) > error.at)

    def _meddle(self, call: Call, number: int) -> None:
        if number == SHORT:
            call.cut_short()
            return
        call.refuse()
        self._held[call.thread] = call
        if call.name in system_calls.FLUSHES and number != errno.EINTR and call.descriptor is not None:
            self._unflushed[call.descriptor] = call.path
            self._lost.add(call.path)
            if call.name == "syncfs":  # it was for everything that is there
                self._lost.update(str(path) for path in Path(call.path).iterdir())

    def _watch(self, call: Call) -> None:
        """Note what must not be done with a file whose flush has failed."""
        if _CACHE in call.path:
            return
        if call.name in system_calls.FLUSHES and self._unflushed.get(call.descriptor or 0) == call.path:
            self.wrong.append(f"a failed flush was retried on the same descriptor: {call.path}")
        if call.name in system_calls.RENAMES:
            failed = [path for path in self._lost if f"{path}/".startswith(f"{call.path}/")]
            self.wrong += [f"{path} was published though its flush had failed" for path in failed]
        if call.name in {"unlink", "unlinkat"}:
            self._lost.discard(call.path)
        if call.name == "close" and call.descriptor in self._unflushed:
            del self._unflushed[call.descriptor]
