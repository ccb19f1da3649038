"""What can go wrong at a provider: every fault, each by its name."""

from __future__ import annotations

from tests.servers import broken_answers, odd_answers, refusals  # noqa: F401 - each registers its faults
from tests.servers.registry import FAULTS, KINDS, Fault

__all__ = ["FAULTS", "KINDS", "Fault"]
