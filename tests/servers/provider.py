"""A provider that misbehaves on request: a real HTTP server on loopback, in a process of its own.

Which fault a request meets is in its URL: `/<plan>/v1/chat/completions`. A plan is a comma-separated list of names
of `FAULTS`; the n-th request of a task meets the n-th, later ones the last: `busy,reset_in_body,answer` answers a
task's third request. A task is what the messages say, whatever the seed. `GET /` tells what was asked and answered.

    with Provider() as provider:
        ask(provider.url("drip"))
        assert provider.seen().requests == 1

It serves any number of clients and processes; it ends with its owner (when its standard input closes).
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.servers.faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server has seen and said."""

    requests: int
    """How many requests came, whatever became of them."""
    most_at_once: int
    """How many were in flight at the same time, at the most."""
    elsewhere: int
    """Connections to the other host that redirects point to."""
    times: list[float]
    """When each request was read in full, in seconds."""
    asked: dict[str, int]
    """Requests of each task."""
    answered: dict[str, int]
    """Answers of each task that were sent in full and can be used."""
    faults: dict[str, int]
    """How often each fault was met."""
    bodies: list[dict[str, Any]]
    """The latest requests' bodies, 100 at the most."""

    def most_within(self, seconds: float) -> int:
        """Return the most requests that came in any window of time."""
        times, first, most = sorted(self.times), 0, 0
        for last, time in enumerate(times):
            while times[first] <= time - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


class Provider:
    """The server, from start to end; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.serving"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.pid = self._process.pid

    def url(self, plan: str = "answer") -> str:
        """Return the base URL at which requests meet a plan of faults."""
        unknown = set(plan.split(",")) - set(FAULTS)
        assert not unknown, f"no such faults: {unknown}"
        return f"http://127.0.0.1:{self.port}/{plan}/v1"

    def seen(self) -> Seen:
        """Return what was asked and answered so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=60) as answer:
            return Seen(**json.load(answer))

    def forget(self) -> None:
        """Count from nothing again; what is in flight is still counted when it ends."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
