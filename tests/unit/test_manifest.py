"""A manifest changes no answer: where it is good it says what membership and files say, else it is passed over."""

from __future__ import annotations

import csv
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from genpool.errors import CorruptFile, NotFound, StorageFailed
from genpool.manifest import encode, json_schema
from genpool.manifests import Fault, Unfit
from genpool.pool import Pool
from tests.catalogs import SECOND, fill, snapshot
from tests.legacy_pools import CHOICES, write_legacy
from tests.manifest_pools import answers, manifest_of, remove_one, scope_of, two_cohorts
from tests.small_pools import (
    ESSAYS,
    EVALUATIONS,
    make_pool,
    metadata,
    models,
    remounted,
    small_disk,
    write_rows,
    write_spec,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return two_cohorts(tmp_path / "pool")


# --- equal answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cohort", ["first", "second"])
def test_answers_are_the_same_from_manifest_and_catalog(root: Path, cohort: str) -> None:
    good = answers(root, cohort)
    manifest_of(root, cohort).unlink()
    without = answers(root, cohort)
    assert (good[0], without[0]) == ("manifest", "catalog")
    assert good[1] == without[1]


def test_its_columns_say_what_membership_and_metadata_say(root: Path) -> None:
    """Set against the files, read without genpool."""
    document = json.loads(manifest_of(root).read_bytes())
    with (root / "cohorts/second/membership.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["gen_id"] for row in rows] == [one for stage in document["stages"].values() for one in stage["gen_ids"]]
    assert document["order"] == [["draft", 2], ["essay", 4], ["evaluation", 8]]
    seen = {"own": 0, "reused": 0, "missing": 0}
    for name, stage in document["stages"].items():
        for at, gen_id in enumerate(stage["gen_ids"]):
            said = {field: _value(column, at) for field, column in stage["fields"].items()}
            facts = {one: _value(stage[one], at) for one in ("states", "origins")}
            seen[facts["states"]] += 1
            if facts["states"] == "missing":
                row = next(one for one in rows if one["gen_id"] == gen_id)
                assert said == {**{field: row[field] for field in said}, "replicate": int(row["replicate"])}
                assert not (root / "gens" / name / gen_id).exists()
                continue
            record = metadata(root, name, gen_id)
            assert said == {field: record[field] for field in said}
            assert facts["origins"] == record["origin_cohort_id"]
            assert facts["states"] == ("own" if record["origin_cohort_id"] == "second" else "reused")
            if name == "evaluation":
                score = {"value": _value(stage["scores"], at), "min": _value(stage["least"], at)}
                assert {**score, "max": _value(stage["most"], at)} == record["score"]
    assert all(seen.values()), seen


def _value(column: dict[str, Any], at: int) -> Any:
    return column["values"][column["codes"][at] if "codes" in column else 0]


def test_legacy_generations_are_the_same_from_both(tmp_path: Path) -> None:
    root = tmp_path / "pool"
    make_pool(root)
    fill(root)
    write_legacy(root, "draft", "broken", "row-5", "plain", "writer")
    (root / "gens/draft/broken/metadata.json").write_text("{")
    (root / "cohorts/new").mkdir(parents=True)
    members = [(stage, one.name) for stage in CHOICES for one in sorted((root / "gens" / stage).iterdir())]
    lines = [f"{stage},{gen_id}" for stage, gen_id in [*members, ("draft", "never-made"), ("draft", "old-1")]]
    (root / "cohorts/new/membership.csv").write_text("stage,gen_id\n" + "\n".join(lines) + "\n")
    before = answers(root, "new")
    Pool.open(root).manifests.write("new")
    after = answers(root, "new")
    assert (before[0], after[0]) == ("catalog", "manifest")
    assert before[1] == after[1]
    columns = scope_of(root, "new").columns("draft")["draft"]
    assert columns.states.tally() == {"reused": len(members_of(members, "draft")) - 1, "unusable": 1, "missing": 1}
    slots = dict(zip(columns.gen_ids, columns.fields["replicate"], strict=True))
    assert (slots["old-1"], slots["old-2"]) == (3, 1), "a legacy generation's replicate is its slot"


def members_of(members: list[tuple[str, str]], stage: str) -> list[str]:
    return [gen_id for name, gen_id in members if name == stage]


@pytest.mark.parametrize(
    "lines",
    [
        "stage,gen_id\n{}",
        "gen_id,stage\n{}",
        "comment,stage,gen_id,template_id,nonsense\n{}",
        "stage,gen_id,replicate\n{}",
        '"stage","gen_id"\r\n{}',
        "stage,gen_id\n\n{}\n\n",
    ],
)
def test_a_membership_of_any_width_gives_a_manifest(root: Path, lines: str) -> None:
    members = [(stage, one.name) for stage in ("draft", "essay") for one in sorted((root / "gens" / stage).iterdir())]
    head = lines.split("\n", 1)[0].replace('"', "").strip()
    rows = [
        ",".join({"stage": stage, "gen_id": gen_id, "replicate": "1"}.get(name, "") for name in head.split(","))
        for stage, gen_id in [*members[:2], members[-1], *members[2:-1]]
    ]
    (root / "cohorts/old").mkdir()
    (root / "cohorts/old/membership.csv").write_text(lines.format("\n".join(rows)))
    before = answers(root, "old")
    Pool.open(root).manifests.write("old")
    after = answers(root, "old")
    assert (before[0], after[0]) == ("catalog", "manifest")
    assert before[1] == after[1]
    assert [one.gen_id for one in scope_of(root, "old").members()] == [
        gen_id for _, gen_id in [*members[:2], members[-1], *members[2:-1]]
    ]
    template = scope_of(root, "old").columns("draft")["draft"].fields["template_id"]
    assert set(template) == {"plain"}, "what the membership does not say, the records do"


def test_a_doubled_line_is_one_member(root: Path) -> None:
    path = root / "cohorts/second/membership.csv"
    lines = path.read_text().splitlines(keepends=True)
    before = scope_of(root).counts()
    path.write_text("".join([*lines, lines[1], lines[5], lines[1]]))
    assert scope_of(root).counts() == before
    assert len(scope_of(root).member_ids) == len(set(scope_of(root).member_ids)) == len(lines) - 1


# --- written ----------------------------------------------------------------------------------------


def test_a_run_writes_it(root: Path) -> None:
    manifest_of(root, "first").unlink()
    Pool.open(root).run("first", models=models())
    assert scope_of(root, "first").answered_from == "manifest"


def test_a_run_that_finds_it_good_leaves_it(root: Path) -> None:
    write_rows(root, [0, 1])
    Pool.open(root).run("first", models=models())
    before = manifest_of(root, "first").stat()
    Pool.open(root).run("first", models=models())
    assert manifest_of(root, "first").stat().st_ino == before.st_ino


def test_the_same_contents_give_the_same_bytes(root: Path) -> None:
    before = manifest_of(root).read_bytes()
    manifest = Pool.open(root).manifests.good("second")
    assert not isinstance(manifest, Unfit)
    assert encode(manifest) == before
    for name in CHOICES:
        snapshot(root, name, looked=60 * SECOND)
    first = _written(root)
    assert _written(root) == first
    (root / ".genpool/catalog.sqlite").unlink()
    assert [line for at, line in enumerate(_written(root).splitlines()) if at == 2] == first.splitlines()[2:]


def _written(root: Path) -> bytes:
    Pool.open(root).manifests.write("second")
    return manifest_of(root).read_bytes()


def test_it_is_what_the_published_schema_says(root: Path) -> None:
    schema = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(manifest_of(root).read_bytes())
    validator.validate(document)
    document["stages"]["draft"]["states"] = {"values": ["lost"]}
    assert not validator.is_valid(document)


def test_a_file_that_cannot_be_written_stops_no_run(root: Path) -> None:
    manifest_of(root, "first").unlink()
    manifest_of(root, "first").mkdir()
    assert Pool.open(root).run("first", models=models()).complete
    with pytest.raises(StorageFailed):
        Pool.open(root).manifests.write("first")
    assert scope_of(root, "first").unfit is not None


# --- a membership that is not one -------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["sketch,d_1", "draft,../x", "draft", "", 'draft,"d_1', "draft,d_\x00"], ids=lambda line: line or "header"
)
def test_no_manifest_is_written_of_a_membership_that_cannot_be_read(root: Path, line: str) -> None:
    path = root / "cohorts/second/membership.csv"
    before = manifest_of(root).read_bytes()
    path.write_text(f"stage,gen_id\n{line}\n" if line else "gen_id\nd_1\n")
    with pytest.raises(CorruptFile, match=r"membership\.csv"):
        Pool.open(root).manifests.write("second")
    with pytest.raises(CorruptFile, match=r"membership\.csv"):
        scope_of(root)
    assert manifest_of(root).read_bytes() == before


def test_a_manifest_alone_makes_no_cohort(root: Path) -> None:
    (root / "cohorts/second/membership.csv").unlink()
    with pytest.raises(NotFound):
        scope_of(root)


# --- where nothing can be written -------------------------------------------------------------------


@pytest.mark.parametrize("good", [True, False])
def test_a_pool_that_cannot_be_written_is_answered(root: Path, tmp_path: Path, good: bool) -> None:
    before = answers(root, "second")[1]
    if not good:
        remove_one(root)
        before = answers(root, "second")[1]
    with small_disk(tmp_path / "disk", "64m"):
        pool = shutil.copytree(root, tmp_path / "disk/pool")
        shutil.rmtree(pool / ".genpool")
        assert remounted(tmp_path / "disk", "ro")
        assert answers(pool, "second") == ("manifest" if good else "catalog", before)
        with pytest.raises(StorageFailed, match="Read-only"):
            Pool.open(pool).manifests.write("second")
        with pytest.raises(StorageFailed, match="Read-only"):
            Pool.open(pool).manifests.remove("second")


def test_a_specs_essays_and_judgements_are_no_part_of_it(root: Path) -> None:
    """A manifest is of the membership: the spec may be edited, or go."""
    write_spec(root, "second", essay=ESSAYS, evaluation=EVALUATIONS.replace("clarity", "novelty"))
    assert scope_of(root).answered_from == "manifest"
    (root / "cohorts/second/cohort.yaml").unlink()
    assert scope_of(root).answered_from == "manifest"


def test_a_pipe_in_its_place_is_not_waited_for(root: Path) -> None:
    manifest_of(root).unlink()
    os.mkfifo(manifest_of(root))
    scope = scope_of(root)
    assert scope.answered_from == "catalog"
    assert scope.unfit is not None
    assert scope.unfit.fault is Fault.UNREADABLE
