"""A manifest changes no answer: where it is good it says what membership and files say, else it is passed over."""

from __future__ import annotations

import csv
import hashlib
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
from tests.legacy_pools import CHOICES, record_slots, write_legacy
from tests.small_pools import (
    ESSAYS,
    EVALUATIONS,
    make_pool,
    metadata,
    models,
    remounted,
    small_disk,
    whole_cohort,
    write_rows,
    write_spec,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.scope import CohortScope


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pool with cohort `first` (rows 0 and 1) and cohort `second` (rows 1 and 2), both run; one draft is gone."""
    pool = make_pool(tmp_path / "pool", rows=3)
    whole_cohort(pool.root, "first")
    whole_cohort(pool.root, "second")
    write_rows(pool.root, [0, 1])
    pool.run("first", models=models())
    write_rows(pool.root, [1, 2])
    Pool.open(pool.root).run("second", models=models())
    gone = Pool.open(pool.root).scope("second").columns("draft")["draft"].gen_ids[1]
    shutil.rmtree(pool.root / "gens" / "draft" / gone)
    for cohort in ("first", "second"):
        Pool.open(pool.root).manifests.write(cohort)
    return pool.root


def manifest_of(root: Path, cohort: str = "second") -> Path:
    return root / "cohorts" / cohort / "manifest.json"


def scope_of(root: Path, cohort: str = "second") -> CohortScope:
    return Pool.open(root).scope(cohort)


def answers(root: Path, cohort: str) -> tuple[str, Any]:
    """Return what a scope's answers came from, and all of them."""
    scope = scope_of(root, cohort)
    listing = scope.matching(where={"replicate": ["1"]})
    told = (
        scope.member_ids,
        scope.counts(),
        scope.columns(),
        scope.problems(),
        list(scope.missing()) if all(one.fields for one in scope.members()) else None,
        scope.mean_scores(),
        [(one.gen_id, one.state, one.fields) for one in listing.members],
        listing.unread,
    )
    return scope.answered_from, told


def sealed(value: dict[str, Any], rest: bytes | None = None) -> bytes:
    """Return a manifest's bytes with the checksum that fits, whatever they say."""
    of = {name: one for name, one in value.items() if name not in {"format", "checksum", "order", "stages"}}
    columns = {name: value[name] for name in ("order", "stages") if name in value}
    lines = rest or f"{json.dumps(of)[1:-1]},\n{json.dumps(columns)[1:]}\n".encode()
    return b'{"format":"%s","checksum":"%s",\n%s' % (
        value["format"].encode(),
        hashlib.sha256(lines).hexdigest().encode(),
        lines,
    )


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


# --- passed over ------------------------------------------------------------------------------------


def _edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Return what changes a manifest's document and gives it the checksum that fits."""

    def edit(path: Path) -> None:
        value = json.loads(path.read_bytes())
        change(value)
        path.write_bytes(sealed(value))

    return edit


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(path.read_bytes())) and None


def _another_cohorts(path: Path) -> None:
    shutil.copy(path.parent.parent / "first" / "manifest.json", path)


def _a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere.json"))
    path.symlink_to("elsewhere.json")


def _a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _states(value: dict[str, Any], column: dict[str, Any]) -> None:
    value["stages"]["draft"]["states"] = column


DAMAGES: dict[str, tuple[Callable[[Path], None], Fault]] = {
    "empty": (_bytes(lambda _: b""), Fault.DAMAGED),
    "cut off": (_bytes(lambda data: data[: len(data) // 2]), Fault.DAMAGED),
    "cut off in its first line": (_bytes(lambda data: data[:40]), Fault.DAMAGED),
    "without its last byte": (_bytes(lambda data: data[:-1]), Fault.DAMAGED),
    "no JSON": (_bytes(lambda data: b"\x00" * len(data)), Fault.DAMAGED),
    "hand-edited": (_bytes(lambda data: data.replace(b'"own"', b'"missing"')), Fault.DAMAGED),
    "pretty-printed": (_bytes(lambda data: json.dumps(json.loads(data), indent=1).encode()), Fault.DAMAGED),
    "wrong checksum": (_bytes(lambda data: data.replace(data[41:49], b"00000000", 1)), Fault.DAMAGED),
    "newer": (_bytes(lambda data: data.replace(b"manifest/1", b"manifest/2", 1)), Fault.NEWER),
    "another cohort's": (_another_cohorts, Fault.FOREIGN),
    "of another salt": (_edited(lambda value: value.update(pipeline="0" * 64)), Fault.FOREIGN),
    "of another membership": (_edited(lambda value: value.update(membership="0" * 64)), Fault.STALE),
    "of another id scheme": (_edited(lambda value: value.update(id_scheme="genpool/2")), Fault.DAMAGED),
    "of other generations": (
        _edited(lambda value: value["tokens"]["draft"].update(content="0" * 32, changed=1)),
        Fault.STALE,
    ),
    "a link": (_a_link, Fault.UNREADABLE),
    "a directory": (_a_directory, Fault.UNREADABLE),
    # with a checksum that fits: by a hand that knows how
    "no tokens": (_edited(lambda value: value.update(tokens={})), Fault.DAMAGED),
    "tokens that are none": (_edited(lambda value: value["tokens"].update(draft=7)), Fault.DAMAGED),
    "a token with a text": (_edited(lambda value: value["tokens"]["draft"].update(changed="now")), Fault.DAMAGED),
    "a stage that is none": (
        _edited(lambda value: value["tokens"].update(sketch=value["tokens"]["draft"])),
        Fault.STALE,
    ),
    "no stages": (_edited(lambda value: value.pop("stages")), Fault.DAMAGED),
    "an unknown state": (_edited(lambda value: _states(value, {"values": ["lost"]})), Fault.DAMAGED),
    "too few codes": (
        _edited(lambda value: _states(value, {"values": ["own", "missing"], "codes": [0]})),
        Fault.DAMAGED,
    ),
    "a code without a value": (
        _edited(lambda value: _states(value, {"values": ["own", "missing"], "codes": [0, 2]})),
        Fault.DAMAGED,
    ),
    "a code below zero": (
        _edited(lambda value: _states(value, {"values": ["own", "missing"], "codes": [0, -1]})),
        Fault.DAMAGED,
    ),
    "codes that are a number": (
        _edited(lambda value: _states(value, {"values": ["own", "missing"], "codes": 10**12})),
        Fault.DAMAGED,
    ),
    "a missing field": (_edited(lambda value: value["stages"]["draft"]["fields"].pop("combo_id")), Fault.DAMAGED),
    "ids that are numbers": (_edited(lambda value: value["stages"]["draft"].update(gen_ids=[1, 2])), Fault.DAMAGED),
    "another order": (_edited(lambda value: value.update(order=[["draft", 1]])), Fault.DAMAGED),
    "an order below zero": (
        _edited(lambda value: value.update(order=[["draft", -1], ["draft", 3], *value["order"][1:]])),
        Fault.DAMAGED,
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_that_is_not_good_is_passed_over_with_the_reason(root: Path, damage: str) -> None:
    good = answers(root, "second")
    change, fault = DAMAGES[damage]
    change(manifest_of(root))
    assert answers(root, "second") == ("catalog", good[1])
    unfit = scope_of(root).unfit
    assert unfit is not None
    assert unfit.fault is fault, unfit.message
    assert str(manifest_of(root)) in unfit.message
    write_rows(root, [1, 2])
    if damage != "a directory":
        Pool.open(root).run("second", models=models())
        assert scope_of(root).answered_from == "manifest", "rebuilt when the cohort is next written"


def test_every_changed_byte_is_noticed(root: Path) -> None:
    path = manifest_of(root)
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        assert scope_of(root).answered_from == "catalog", f"byte {at}"


def remove_one(root: Path) -> None:
    shutil.rmtree(next((root / "gens/essay").iterdir()))


def add_one(root: Path) -> None:
    write_legacy(root, "evaluation", "stranger", "e_1", "clarity", "judge")


def swap_one(root: Path) -> None:
    one = sorted((root / "gens/essay").iterdir())[0]
    aside = root / "aside"
    one.rename(aside)
    shutil.copytree(aside, one)
    (one / "metadata.json").write_text("{}")


def lose_a_text(root: Path) -> None:
    one = sorted((root / "gens/draft").iterdir())[0]
    (one / "parsed.txt").unlink()
    one.rename(one.with_name("aside"))
    one.with_name("aside").rename(one)


@pytest.mark.parametrize("change", [remove_one, add_one, swap_one, lose_a_text])
def test_one_that_is_older_than_the_pool_is_passed_over(root: Path, change: Callable[[Path], None]) -> None:
    assert scope_of(root).answered_from == "manifest"
    change(root)
    unfit = scope_of(root).unfit
    assert unfit is not None
    assert unfit.fault is Fault.STALE
    told = answers(root, "second")
    manifest_of(root).unlink()
    (root / ".genpool/catalog.sqlite").unlink()
    assert answers(root, "second") == told


def test_a_folder_that_was_only_touched_makes_nothing_stale(root: Path) -> None:
    draft = root / "gens/draft"
    (draft / "new").mkdir()
    (draft / "new").rmdir()
    shutil.rmtree(root / ".genpool")
    assert scope_of(root).answered_from == "manifest"


def test_where_the_change_times_are_trusted_no_catalog_is_asked(root: Path) -> None:
    _age(root)
    shutil.rmtree(root / ".genpool")
    assert scope_of(root).answered_from == "manifest"
    assert scope_of(root).counts()["draft"].missing == 1
    assert not (root / ".genpool").exists(), "no index was made for the answer"


def _age(root: Path) -> None:
    """Let the manifest be of a pool that nobody changed for long."""

    def older(value: dict[str, Any]) -> None:
        for token in value["tokens"].values():
            token["looked"] = token["changed"] + 3 * SECOND

    _edited(older)(manifest_of(root))


def test_change_times_are_not_trusted_where_something_is_unfinished(root: Path) -> None:
    """A directory that is incomplete may be made whole without its stage's folder noticing."""
    gen_id = scope_of(root).columns("essay")["essay"].gen_ids[0]
    text = root / "gens/essay" / gen_id / "parsed.txt"
    content = text.read_bytes()
    text.unlink()
    text.parent.rename(root / "aside")
    (root / "aside").rename(text.parent)
    Pool.open(root).manifests.write("second")
    _age(root)
    assert scope_of(root).counts()["essay"].missing == 1
    text.write_bytes(content)
    assert scope_of(root).counts()["essay"].missing == 0


def test_slots_that_are_recorded_anew_make_it_stale(tmp_path: Path) -> None:
    root = tmp_path / "pool"
    make_pool(root)
    fill(root)
    (root / "cohorts/old").mkdir(parents=True)
    (root / "cohorts/old/membership.csv").write_text("stage,gen_id\ndraft,old-1\n")
    Pool.open(root).manifests.write("old")
    assert list(scope_of(root, "old").columns("draft")["draft"].fields["replicate"]) == [3]
    record_slots(root, [("draft", "old-1", 9)])
    scope = scope_of(root, "old")
    assert scope.answered_from == "catalog"
    assert list(scope.columns("draft")["draft"].fields["replicate"]) == [9]


def test_attempts_are_counted_as_they_are_now(root: Path) -> None:
    draft = scope_of(root).columns("draft")["draft"]
    gen_id = draft.gen_ids[list(draft.states).index("missing")]
    folder = root / "attempts/draft" / gen_id / "1"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps({"reason": {"kind": "truncated", "message": "cut"}}))
    scope = scope_of(root)
    assert (scope.answered_from, scope.counts()["draft"].attempts) == ("manifest", 1)


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
