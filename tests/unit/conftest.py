"""A small pool on disk, for the readers of what people write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.written_pools import WrittenPool, write_pool

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pool(tmp_path: Path) -> WrittenPool:
    """A pool with three concepts, a template or two a stage, and two scripted models."""
    return write_pool(tmp_path / "pool")
