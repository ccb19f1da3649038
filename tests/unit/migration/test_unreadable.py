"""Folders that nobody may enter: a plan says which one it is, and never takes it for one that is not there.

Whoever runs the tests may be root, to whom no mode forbids anything: the refusal comes from the system call.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from genpool.cli.main import main
from genpool.durable import mode_of, names_in
from genpool.errors import StorageFailed
from tests.unit.migration.conftest import whole_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Refuse what the system refuses of a folder of mode 000: to list it, and to look at or open what is in it."""
    denied = os.fspath(folder)

    def refused(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(path: Any = ".", *rest: Any, **more: Any) -> Any:
            text = "" if isinstance(path, int) else os.fspath(path)
            if text.startswith(f"{denied}/") or (text == denied and name in {"listdir", "scandir"}):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), text)
            return real(path, *rest, **more)

        return call

    for name in ("listdir", "scandir", "stat", "lstat", "open"):
        monkeypatch.setattr(os, name, refused(name))


def test_a_refusal_is_no_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shut/inside").mkdir(parents=True)
    assert mode_of(tmp_path / "nowhere/inside") == 0
    assert names_in(f"{tmp_path}/nowhere") == []
    forbid(monkeypatch, tmp_path / "shut")
    with pytest.raises(PermissionError):
        mode_of(tmp_path / "shut/inside")
    with pytest.raises(StorageFailed, match=r"cannot list .*shut: Permission denied") as refused:
        names_in(f"{tmp_path}/shut")
    assert "allowed to read" in str(refused.value.hint)


SHUT = (
    "trash",
    "trash/trash-1",
    "trash/trash-1/gens",
    "trash/trash-1/cohorts",
    "gens",
    "gens/draft",
    "attempts/draft",
    "attempts/draft/old-1",
    "cohorts",
    "cohorts/c",
    "migrations",
)


@pytest.mark.parametrize("shut", SHUT)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_plan_names_what_cannot_be_read(
    old: Path, shut: str, as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("trash/trash-1/gens/draft", "trash/trash-1/cohorts/gone", "attempts/draft/old-1/1", "migrations"):
        (old / folder).mkdir(parents=True)
    shutil.copytree(old / "gens/draft/old-1", old / "trash/trash-1/gens/draft/old-9")
    before = whole_tree(old)
    with monkeypatch.context() as patched:
        forbid(patched, old / shut)
        code = main(["--pool", str(old), "migrate", "plan", *(["--json"] if as_json else [])])
    said = capsys.readouterr()
    told = said.out if as_json else said.err
    assert code == 1
    assert "Permission denied" in told
    assert shut in told
    assert "must be allowed to read it" in told
    assert "Traceback" not in told
    assert "is a defect" not in told
    assert whole_tree(old) == before


def test_a_directory_that_cannot_be_entered_stays(
    old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        forbid(patched, old / "gens/draft/old-1")
        assert main(["--pool", str(old), "migrate", "plan"]) == 3
    said = capsys.readouterr().out
    assert "stays: gens/draft/old-1/metadata.json: cannot be read: Permission denied [unreadable]" in said
    assert "stays: gens/essay/old-essay" in said
