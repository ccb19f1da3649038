"""Faults by name: what a server does, and what a client is to make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.servers.serving import Call

KINDS = {
    "answer": "an answer, whole and acceptable",
    "attempt": "an answer, whole but not acceptable: kept with its reason",
    "paid": "try again; nobody knows whether it was paid for",
    "later": "try again; it was not paid for",
    "spent": "the same call would end the same; it may have been paid for",
    "late": "nothing whole within the deadline: try again; nobody knows whether it was paid for",
    "never": "the same call can never succeed",
    "unavailable": "no call to this model can succeed",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to answer."""

    name: str
    kind: str
    """What a client is to make of it: one of `KINDS`."""
    act: Callable[[Call], Awaitable[None]]
    retry_after: float | None = None
    """Seconds that the client is to have read from Retry-After."""


FAULTS: dict[str, Fault] = {}


def fault(kind: str, name: str = "", retry_after: float | None = None) -> Callable[[Any], Any]:
    """Register what a function does under its name."""

    def registered(act: Callable[[Call], Awaitable[None]]) -> Callable[[Call], Awaitable[None]]:
        assert kind in KINDS
        called = name or act.__name__
        assert called not in FAULTS, called
        FAULTS[called] = Fault(called, kind, act, retry_after)
        return act

    return registered
