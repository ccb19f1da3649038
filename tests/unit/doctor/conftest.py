"""A pool with nothing wrong, to be damaged and examined."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.sound_pools import sound_pool

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="package")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound_pool(tmp_path_factory.mktemp("sound") / "pool").root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A pool with something of everything in it and nothing wrong."""
    return shutil.copytree(sound, tmp_path / "pool", symlinks=True)
