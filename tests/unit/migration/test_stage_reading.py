"""Records read the quick way or the careful one, by one process or by several: the same comes of it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpool.migration.identity import Identity
from genpool.migration.inventory import MANY, Inventory, Reader
from genpool.migration.reading import is_plainly_written, read_directory
from genpool.migration.stage_reading import StageReader
from genpool.stages import DEFAULT_PIPELINE
from tests.golden.pools.making import daydreaming
from tests.legacy_pools import right_id, write_folder, write_legacy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genpool.migration.mapping import Nodes

IDENTITY = Identity(DEFAULT_PIPELINE)
RECORD = {
    "combo_id": "row-0",
    "template_id": "plain",
    "llm_model_id": "writer",
    "replicate": 1,
    "created_at": "2024-01-01T00:00:00Z",
    "usage": {"cost": 0.5},
}
TEXT = json.dumps(RECORD)
RIGHT = right_id("draft", {name: RECORD[name] for name in ("combo_id", "template_id", "llm_model_id", "replicate")})
ODD: dict[str, str] = {
    "as it should be": TEXT,
    "another layout": json.dumps(RECORD, indent=4, separators=(" , ", " : ")),
    "escapes": json.dumps({**RECORD, "combo_id": 'r\u00f6w "0"\u2028'}),
    "a control": json.dumps({**RECORD, "note": "\u0001"}),
    "doubled alike": TEXT[:-1] + ', "template_id": "plain"}',
    "doubled": TEXT[:-1] + ', "template_id": "long"}',
    "doubled in escapes": TEXT[:-1] + ', "\\u0074emplate_id": "long"}',
    "doubled, with as many marks": TEXT[:-1] + ', "template_id": "\\u0022"}',
    "doubled, a number": TEXT[:-1] + ', "replicate": 2}',
    "a large number": json.dumps({**RECORD, "seed": 2**53}),
    "a number that fits": json.dumps({**RECORD, "seed": 2**53 - 1}),
    "a number below": json.dumps({**RECORD, "seed": {"deep": [-(2**53)]}}),
    "deep": TEXT[:-1] + ', "deep": ' + "[" * 300 + "]" * 300 + "}",
    "long": json.dumps({**RECORD, "note": "x" * 70_000}),
    "a list": "[1]",
    "nothing": "",
    "torn": TEXT[:-9],
    "no replicate": json.dumps({**RECORD, "replicate": None}),
    "a replicate as text": json.dumps({**RECORD, "replicate": "2"}),
    "true": json.dumps({**RECORD, "replicate": True}),
    "a replicate of 0": json.dumps({**RECORD, "replicate": 0}),
    "a fraction": json.dumps({**RECORD, "replicate": 1.0}),
    "another id": json.dumps({**RECORD, "gen_id": "somebody"}),
    "another stage": json.dumps({**RECORD, "stage": "essay"}),
    "an older key": json.dumps({**RECORD, "model_id": "writer"}),
    "an older key that disagrees": json.dumps({**RECORD, "model_id": "reader"}),
    "a cohort": json.dumps({**RECORD, "cohort_id": "c"}),
    "of our format": json.dumps({**RECORD, "format": "genpool.generation/1"}),
    "of our scheme": json.dumps({**RECORD, "id_scheme": "genpool/1"}),
    "no text": json.dumps({**RECORD, "template_id": ["plain"]}),
    "an empty text": json.dumps({**RECORD, "llm_model_id": ""}),
    "no such source": json.dumps({**RECORD, "combo_id": " row"}),
    "a field less": json.dumps({name: item for name, item in RECORD.items() if name != "template_id"}),
    "no time": json.dumps({**RECORD, "created_at": 7}),
}
NAMES = ("old", "OLD", "d_old", "d_" + "0" * 32, RIGHT, daydreaming("draft", "row-0", "plain", "writer", 1))


def both(root: Path, name: str) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What is read of a draft the quick way where that can be, and the careful way."""
    stage = DEFAULT_PIPELINE["draft"]
    (one,), defects = StageReader(str(root), "gens", stage, IDENTITY).block([name], frozenset())
    found = read_directory(str(root), "gens", stage, name, IDENTITY)
    node = found.node
    careful = (
        found.digest
        if node is None
        else (node.made_by, node.values, node.stated, node.created, node.digest, node.sealed)
    )
    return (one, defects), (careful, found.defects)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("odd", ODD)
def test_the_quick_way_finds_what_the_careful_one_finds(tmp_path: Path, odd: str, name: str) -> None:
    write_folder(tmp_path / "gens/draft" / name, ODD[odd].encode())
    quick, careful = both(tmp_path, name)
    assert quick == careful


def test_what_is_plainly_in_order_has_no_findings(tmp_path: Path) -> None:
    write_folder(tmp_path / "gens/draft/old", TEXT.encode())
    (stated, defects), _ = both(tmp_path, "old")
    assert stated[:4] == ("opaque", ("row-0", "plain", "writer"), 1, "2024-01-01T00:00:00Z")
    assert defects == []


@pytest.mark.parametrize("name", [RIGHT, daydreaming("draft", "row-0", "plain", "writer", 1)])
def test_ids_that_a_scheme_gives_are_recognised(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "gens/draft" / name, TEXT.encode())
    (stated, _), _ = both(tmp_path, name)
    assert stated[0] == ("right" if name == RIGHT else "daydreaming/0")


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "no text": lambda folder: (folder / "parsed.txt").unlink(),
    "no record": lambda folder: (folder / "metadata.json").unlink(),
    "a record that is a link": lambda folder: _link(folder / "metadata.json"),
    "a record that is a folder": lambda folder: (
        (folder / "metadata.json").unlink(),  # type: ignore[func-returns-value]
        (folder / "metadata.json").mkdir(),
    )[-1],
    "nothing": lambda folder: shutil.rmtree(folder),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_whole_is_named_in_both_ways(tmp_path: Path, damage: str) -> None:
    DAMAGE[damage](write_folder(tmp_path / "gens/draft/old", TEXT.encode()))
    quick, careful = both(tmp_path, "old")
    assert quick == careful
    assert quick[1]


# --- plainly written ----------------------------------------------------------------------------------

_TEXTS = st.text(st.sampled_from('ab"\\\u00e9\u0001'), max_size=2)


class _Object(list[tuple[str, Any]]):
    """The members of a JSON object, in their order; keys may come twice."""


_VALUES = st.recursive(
    _TEXTS | st.integers(-(2**54), 2**54) | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.lists(st.tuples(_TEXTS, inner), max_size=3).map(_Object),
    max_leaves=6,
)


def _written(value: object, ascii_only: bool) -> str:
    if isinstance(value, _Object):
        members = (f"{json.dumps(key, ensure_ascii=ascii_only)}: {_written(one, ascii_only)}" for key, one in value)
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_written(one, ascii_only) for one in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def _is_odd(value: object) -> bool:
    """Return whether a key stands twice in it, or a number is beyond 2^53."""
    if isinstance(value, _Object):
        return len({key for key, _ in value}) < len(value) or any(_is_odd(one) for _, one in value)
    if isinstance(value, list):
        return any(map(_is_odd, value))
    return isinstance(value, int) and not -(2**53) < value < 2**53


@given(st.lists(st.tuples(_TEXTS, _VALUES), max_size=4).map(_Object), st.booleans())
def test_no_record_with_a_doubled_key_or_a_large_number_is_plainly_written(value: _Object, ascii_only: bool) -> None:
    data = _written(value, ascii_only).encode()
    if is_plainly_written(orjson.loads(data), data):
        assert not _is_odd(value)
    elif not _is_odd(value):
        assert b"\\u00" in data


# --- by several processes -----------------------------------------------------------------------------


def _pool(root: Path) -> None:
    for number in range(1203):
        write_legacy(root, "draft", f"draft-{number:04d}", f"row-{number}", "plain", "writer", replicate=number % 3)
    for number in range(40):
        write_legacy(root, "essay", f"essay-{number}", f"draft-{number:04d}", "story", replicate=1)
    for number in range(0, 1203, 100):
        write_folder(root / f"gens/draft/draft-{number:04d}b", b"{}")
    (root / "gens/draft/a link").symlink_to("draft-0001")
    (root / "gens/draft/draft-0500-link").symlink_to("draft-0001")
    write_folder(root / "trash/one/gens/draft/draft-x", TEXT.encode())


def read(root: Path, many: int) -> tuple[Inventory, list[tuple[str, int, int]]]:
    told: list[tuple[str, int, int]] = []
    return Reader(str(root), IDENTITY, lambda *one: told.append(one), many).read(), told


def values_of(nodes: Nodes) -> list[tuple[object, ...]]:
    return [tuple(getattr(node, name) for name in node.__slots__) for node in nodes]


def test_several_processes_read_what_one_does_in_the_same_order(tmp_path: Path) -> None:
    _pool(tmp_path)
    one, told = read(tmp_path, MANY)
    several, told_too = read(tmp_path, 0)
    assert values_of(several.nodes) == values_of(one.nodes)
    assert list(several.digests.items()) == list(one.digests.items())
    assert list(one.digests)[:1203] == sorted(one.digests)[:1203]
    assert (several.defects, several.left, several.listed) == (one.defects, one.left, one.listed)
    assert told == told_too
    assert ("reading gens/draft", 500, 1218) in told
