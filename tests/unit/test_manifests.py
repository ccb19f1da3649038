"""Manifests are used where they are good: what is passed over, and why."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from genpool.manifests import Fault
from genpool.pool import Pool
from tests.catalogs import SECOND, fill
from tests.legacy_pools import record_slots, write_legacy
from tests.manifest_pools import answers, manifest_of, remove_one, scope_of, sealed, two_cohorts
from tests.small_pools import (
    make_pool,
    models,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return two_cohorts(tmp_path / "pool")


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
