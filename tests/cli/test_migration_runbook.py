"""docs/migration.md, typed line by line at the pool that it describes: every command, and every line of its output."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from genpool.cli.main import main
from genpool.pool import Pool
from tests.legacy_pools import write_legacy, write_right
from tests.small_pools import make_pool, write_spec
from tests.unit.migration.conftest import whole_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

RUNBOOK = Path(__file__).parents[2] / "docs/migration.md"


def mixed_pool(root: Path) -> Path:
    """The pool of the runbook: ids of three makings, and some of what is wrong with real stores."""
    make_pool(root)
    write_legacy(root, "draft", "draft-0007", "row-0", "plain", "writer", replicate="1")
    write_legacy(root, "draft", "draft-0009", "row-1", "plain", "writer", replicate=1)
    path = root / "gens/draft/draft-0009/metadata.json"
    record = json.loads(path.read_text())
    record["model_id"] = record.pop("llm_model_id")
    path.write_text(json.dumps(record, indent=2))
    write_right(root, "draft", "row-0", "plain", "writer", replicate=2, origin="spring")
    write_legacy(root, "essay", "essay-0012", "draft-0007", "story", replicate=1)
    child = write_right(root, "essay", "draft-0009", "story", origin="spring")
    write_legacy(root, "essay", "essay-0031", "draft-0003", "story", replicate=1)
    for gen_id in ("score-a", "score-b"):
        write_legacy(root, "evaluation", gen_id, "essay-0012", "clarity", "judge", replicate=1)
    write_spec(
        root,
        "spring",
        draft="template: [plain], model: [writer]",
        essay="template: [story]",
        evaluation="template: [clarity], model: [judge], replicates: 1",
    )
    members = ["draft,draft-0007", "draft,draft-0009", "essay,essay-0012", f"essay,{child}", "evaluation,score-a"]
    (root / "cohorts/spring/membership.csv").write_text("\n".join(["stage,gen_id", *members, ""]))
    return root


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield every command of the runbook's console blocks, with the output that it shows."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed, _, shown = part.partition("\n")
            yield typed, shown


def said(typed: str, capsys: pytest.CaptureFixture[str]) -> str:
    words = typed.split()
    if words[0] != "genpool":
        return subprocess.run(typed, shell=True, capture_output=True, text=True, check=True).stdout
    capsys.readouterr()
    assert main(words[1:]) in {0, 3}
    return capsys.readouterr().out


def test_the_runbook_is_true(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = mixed_pool(tmp_path / "pool")
    monkeypatch.chdir(root)
    monkeypatch.delenv("GENPOOL_POOL", raising=False)
    before = whole_tree(root)
    typed = list(commands(RUNBOOK.read_text()))
    verbs = [command.split()[2] for command, _ in typed if command.startswith("genpool migrate")]
    assert verbs == [
        *("plan", "rehearse", "apply", "status", "verify"),
        *("rollback", "verify", "apply", "verify", "close", "status"),
    ]
    for command, shown in typed:
        assert said(command, capsys) == shown, command
        if command.startswith("genpool migrate rollback"):
            assert whole_tree(root) == before
    found = Pool.open(root).plan("spring")
    assert found.stage("draft").row("spring")["reused"] == found.stage("essay").row("spring")["reused"] == 2
