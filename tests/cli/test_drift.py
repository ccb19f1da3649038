"""Drift as a user meets it: shown with a diff, a run that fails on it, accepted, and not told again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from .conftest import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type

BASELINE = "templates/draft/baseline.j2"


@pytest.fixture(autouse=True)
def ran(genpool: Type) -> None:
    genpool("run", "demo", "-q")


def drifted(genpool: Type) -> dict[tuple[str, str], int]:
    return {(one["kind"], one["name"]): len(one["gen_ids"]) for one in genpool("plan", "demo", "--json").json["drift"]}


def test_nothing_drifted_where_nothing_changed(genpool: Type) -> None:
    assert drifted(genpool) == {}
    assert "nothing drifted" in genpool("drift", "show", "demo").out


def test_a_changed_template_is_counted_and_shown_as_a_diff(genpool: Type, root: Path) -> None:
    rewrite(root / BASELINE, "work together", "fight each other")
    assert drifted(genpool) == {("template", "draft/baseline"): 3}
    said = genpool("drift", "show", "demo").out
    assert "-Explain how" in said
    assert "can fight each other" in said
    assert "3 generations were made from it" in genpool("plan", "demo").out
    made = [path.parent for path in (root / "gens/draft").glob("*/metadata.json") if "baseline" in path.read_text()]
    for folder in made[1:]:
        shutil.rmtree(folder)
    assert "changed since 1 generation was made from it" in genpool("plan", "demo").out


def test_a_changed_model_and_a_changed_concept_are_told(genpool: Type, root: Path) -> None:
    rewrite(
        root / "pool.yaml", "smollm2-135m: {client: scripted}", "smollm2-135m: {client: scripted, temperature: 0.9}"
    )
    rewrite(root / "concepts/mind-wandering.yaml", "wash dishes", "mow the lawn")
    kinds = [kind for kind, _ in drifted(genpool)]
    assert sorted(kinds) == ["combo", "combo", "model"]
    assert drifted(genpool)["model", "smollm2-135m"] == 12  # six drafts and the six essays that run on their model


def test_a_child_of_a_parent_that_was_made_anew_is_told(genpool: Type, root: Path) -> None:
    rewrite(root / BASELINE, "work together", "fight each other")
    genpool("drift", "accept", "demo")
    gone = next(
        path for path in (root / "gens/draft").iterdir() if '"baseline"' in (path / "metadata.json").read_text()
    )
    shutil.rmtree(gone)
    assert "essay: 2 generations exist whose parents do not" in genpool("plan", "demo").out
    genpool("run", "demo", "-q")
    assert drifted(genpool) == {("parent", gone.name): 2}


def test_prices_limits_and_keys_are_no_drift(genpool: Type, root: Path) -> None:
    rewrite(
        root / "pool.yaml",
        "smollm2-135m: {client: scripted}",
        "smollm2-135m: {client: scripted, concurrency: 1, price: {input: 1, output: 2}, timeout: 9}",
    )
    assert drifted(genpool) == {}


def test_a_run_can_fail_on_drift_before_anything_is_made(genpool: Type, root: Path) -> None:
    rewrite(root / BASELINE, "work together", "fight each other")
    rewrite(root / "cohorts/demo/cohort.yaml", "replicates: 2", "replicates: 3")
    failed = genpool("run", "demo", "-q", "--on-drift", "fail")
    assert failed.code == 1
    assert "drift show demo`" in failed.err
    assert len(list((root / "gens/evaluation").iterdir())) == 48
    assert genpool("run", "demo", "-q").code == 0


def test_what_is_accepted_is_not_told_again_until_it_changes_again(genpool: Type, root: Path) -> None:
    rewrite(root / BASELINE, "work together", "fight each other")
    accepted = genpool("drift", "accept", "demo", "template=draft/baseline")
    assert accepted.code == 0
    assert "template draft/baseline: 3 generations of demo\n" in accepted.out
    assert "accepted for the whole pool: no other cohort is told of these either" in accepted.out
    assert drifted(genpool) == {}
    assert (root / "drift.csv").read_text().count("\n") == 2
    rewrite(root / BASELINE, "fight each other", "sing")
    assert drifted(genpool) == {("template", "draft/baseline"): 3}


def test_accepting_needs_names_of_a_known_kind(genpool: Type) -> None:
    assert genpool("drift", "accept", "demo", "colour=red").code == 2


def test_what_is_accepted_counts_where_a_crash_left_drift_csv_without_its_header(genpool: Type, root: Path) -> None:
    rewrite(root / BASELINE, "work together", "fight each other")
    (root / "drift.csv").write_text("kind,na")
    genpool("drift", "accept", "demo")
    assert (root / "drift.csv").read_text().splitlines()[0] == "kind,name,stored,present,accepted_at"
    assert drifted(genpool) == {}
