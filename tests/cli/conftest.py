"""A pool with scripted models, and a way to type commands at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from genpool.cli.main import main
from genpool.pool import Pool

if TYPE_CHECKING:
    from pathlib import Path

SCRIPTED = """\
format: genpool.pool/1
id_scheme: genpool/1
salt: ""
models:
  smollm2-135m: {client: scripted}
  smollm2-135m-judge: {client: scripted}
"""


@dataclass(frozen=True)
class Typed:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Type = Callable[..., Typed]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The example pool, with models that answer from a script."""
    pool = Pool.init(tmp_path / "pool", example=True)
    pool.layout.config.write_text(SCRIPTED)
    return pool.root


@pytest.fixture
def genpool(root: Path, capsys: pytest.CaptureFixture[str]) -> Type:
    """Type a command at the pool, as a user would."""

    def typed(*words: str) -> Typed:
        capsys.readouterr()
        code = main(["--pool", str(root), *words])
        said = capsys.readouterr()
        return Typed(code, said.out, said.err)

    return typed


def replace_file(path: Path, text: str) -> None:
    """Give a file another content as an editor does: by another file, so that its folder is seen to have changed."""
    path.unlink()
    path.write_text(text)


def rewrite(path: Path, old: str, new: str) -> None:
    """Change a text in a file; it must be there."""
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new))
