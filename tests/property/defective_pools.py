"""Pools with random defects, out of those that real stores were seen to have, and what a migration makes of them.

What is expected follows from how a pool was drawn and from the documented rules, spelled out once more by
`tests.legacy_pools`: nothing here reads files, and nothing uses genpool's own code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.golden.pools.making import daydreaming, self_sealed
from tests.legacy_pools import CHOICES, PARENTS, PREFIXES, Member, fields_of, record_slots, right_id, slots_of, stated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Draw = Callable[[st.SearchStrategy[Any]], Any]

LEVELS = {"draft": ("plain", "long"), "essay": ("story", "letter"), "evaluation": ("clarity",)}
MODELS = {"draft": ("writer",), "essay": (), "evaluation": ("judge", "Judge")}
REPLICATES = (1, 2, 3, "1", "2", 0, "0", "x", True, None, "absent")
TIMES = (None, "2024-01-01T00:00:00Z", "2024-01-01T00:00:00", "2024-03-01T00:00:00+02:00", "once", 7)
DEFECTS = (
    *("metadata-only", "outputs-only", "empty", "link", "file", "torn", "list", "not-utf-8", "newer", "renamed"),
    *("of-another-stage", "no-template", "blank", "two-templates", "resealed"),
)
GONE = "gone-for-good"

Path2 = tuple[str, str]
"""Stage and name."""


@dataclass(frozen=True)
class Known:
    """What the record of a generation in order says."""

    values: tuple[str, ...]
    """Its signature but for the replicate."""
    stated: int | None
    created: datetime | None
    sealed: bool
    origin: str | None


@dataclass(frozen=True)
class Directory:
    """Something below gens/<stage>."""

    stage: str
    name: str
    files: Mapping[str, bytes] | None
    """None for a link that leads nowhere."""
    known: Known | None
    """None where it cannot be used."""
    is_file: bool = False

    @property
    def path(self) -> str:
        return f"gens/{self.stage}/{self.name}"


@dataclass
class Drawn:
    """A pool that was drawn."""

    directories: list[Directory] = field(default_factory=list)
    slots: list[tuple[str, str, int]] = field(default_factory=list)
    """legacy.csv."""
    memberships: dict[str, str] = field(default_factory=dict)
    attempts: list[Path2] = field(default_factory=list)
    """Tasks at which another tool tried before."""

    def write(self, root: Path) -> None:
        """Write it into a pool without generations."""
        for one in self.directories:
            _write(root / one.path, one)
        if self.slots:
            record_slots(root, self.slots)
        for cohort, text in self.memberships.items():
            (root / "cohorts" / cohort).mkdir(parents=True)
            (root / "cohorts" / cohort / "membership.csv").write_text(text)
        for stage, name in self.attempts:
            folder = root / "attempts" / stage / name / "1"
            folder.mkdir(parents=True)
            (folder / "metadata.json").write_text(json.dumps({"why": "cut off"}))
            (folder / "raw.txt").write_text("cut of")


def _write(place: Path, one: Directory) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if one.is_file:
        place.write_text("no directory")
    elif one.files is None:
        place.symlink_to("nowhere")
    else:
        place.mkdir()
        for name, data in one.files.items():
            (place / name).write_bytes(data)


# --- drawing --------------------------------------------------------------------------------------------


@st.composite
def defective_pools(draw: Draw) -> Drawn:
    """Draw a pool."""
    pool = Drawn()
    taken: set[Path2] = set()
    for stage in CHOICES:
        for _ in range(draw(st.integers(1, 4 if stage == "draft" else 3))):
            one = _directory(draw, stage, pool.directories)
            if (stage, one.name) not in taken:
                taken.add((stage, one.name))
                pool.directories.append(one)
    legacy = [one for one in pool.directories if one.known and not one.known.sealed]
    for one in legacy:
        in_the_way = _in_the_way(draw, one)
        if in_the_way and (one.stage, in_the_way.name) not in taken:
            taken.add((one.stage, in_the_way.name))
            pool.directories.append(in_the_way)
        if draw(st.integers(0, 5)) == 0:
            pool.slots.append((one.stage, one.name, draw(st.integers(1, 3))))
        if draw(st.integers(0, 5)) == 0:
            pool.attempts.append((one.stage, one.name))
    for cohort in ("a", "b"):
        if draw(st.booleans()):
            pool.memberships[cohort] = _membership(draw, pool.directories)
    return pool


def _directory(draw: Draw, stage: str, above: Sequence[Directory]) -> Directory:
    source = draw(st.sampled_from(("row-0", "row-1")) if stage == "draft" else st.sampled_from(_parents(stage, above)))
    models = (draw(st.sampled_from(MODELS[stage])),) if MODELS[stage] else ()
    values = (source, draw(st.sampled_from(LEVELS[stage])), *models)
    replicate = draw(st.sampled_from(REPLICATES))
    form = draw(st.sampled_from(("opaque", "opaque", "Upper", "older", "sealed", "sealed", "unsealed", "another's")))
    defect = draw(st.sampled_from(DEFECTS)) if draw(st.integers(0, 4)) == 0 else None
    text = draw(st.sampled_from((b"A text.\n", b"Another.\n")))
    if form in {"sealed", "unsealed"}:
        replicate = draw(st.integers(1, 3))
    name = _name(draw, form, stage, values, replicate)
    record = _record(draw, stage, name, values, replicate, sealed=form == "sealed")
    return _made(stage, name, record, text, defect, values, sealed=form == "sealed")


def _in_the_way(draw: Draw, one: Directory) -> Directory | None:
    """Return, sometimes, what cannot be used and stands where a generation may belong."""
    if one.known is None or draw(st.integers(0, 5)):
        return None
    name = right_id(one.stage, fields_of(one.stage, one.known.values, one.known.stated or 1))
    files = draw(st.sampled_from(({}, {"parsed.txt": b"x"}, {"metadata.json": b"{}"})))
    return Directory(one.stage, name, files, None)


def _parents(stage: str, above: Sequence[Directory]) -> list[str]:
    """Names that a parent may have: of the stage above mostly, of another one, of nothing."""
    right = [one.name for one in above if one.stage == PARENTS[stage]]
    return [*right, *right, *right, *(one.name for one in above[:2]), GONE]


def _name(draw: Draw, form: str, stage: str, values: tuple[str, ...], replicate: object) -> str:
    if form in {"sealed", "unsealed"}:
        return right_id(stage, fields_of(stage, values, int(str(replicate))))
    if form == "another's":
        return right_id(stage, fields_of(stage, values, draw(st.integers(1, 3))))
    if form == "older":
        shown = 1 if replicate in {"absent", None} else replicate
        return daydreaming(stage, *values, shown, collision=draw(st.integers(0, 1)))
    name: str = draw(st.sampled_from("abcdefg"))
    return f"{stage}-{name}" if form == "opaque" else f"{stage}-{name}".upper()


def _record(
    draw: Draw, stage: str, name: str, values: tuple[str, ...], replicate: object, *, sealed: bool
) -> dict[str, Any]:
    record: dict[str, Any] = {"gen_id": name, "stage": stage, **dict(zip(CHOICES[stage], values, strict=True))}
    created = draw(st.sampled_from(TIMES))
    if created is not None:
        record["created_at"] = created
    if replicate != "absent":
        record["replicate"] = replicate
    if sealed:
        record |= {"format": "genpool.generation/1", "id_scheme": "genpool/1", "origin_cohort_id": "new"}
        return self_sealed(record)
    if draw(st.booleans()):
        record[draw(st.sampled_from(("cohort_id", "origin_cohort_id")))] = "old"
    for key, older in (("template_id", f"{stage}_template"), ("llm_model_id", "model_id")):
        if key in record and draw(st.integers(0, 3)) == 0:
            record[older] = record.pop(key)
    if stage != "draft" and draw(st.booleans()):
        record["combo_id"] = "row-9"
    for key in ("gen_id", "stage"):
        if draw(st.integers(0, 3)) == 0:
            del record[key]
    record |= draw(st.sampled_from(({}, {"score": {"value": 4.5, "min": 0, "max": 9}}, {"naïve": ["☃\u2028", 1e-7]})))
    return record


def _made(
    stage: str,
    name: str,
    record: dict[str, Any],
    text: bytes,
    defect: str | None,
    values: tuple[str, ...],
    *,
    sealed: bool,
) -> Directory:
    """Return the directory of a record, damaged as drawn."""
    data = json.dumps(record, ensure_ascii=False).encode()
    files = {"metadata.json": data, "parsed.txt": text, "raw.txt": b"<" + text}
    if defect is None:
        origin = record.get("origin_cohort_id", record.get("cohort_id"))
        known = Known(values, stated(record.get("replicate")), _moment(record.get("created_at")), sealed, origin)
        return Directory(stage, name, files, known)
    spoilt: dict[str, Mapping[str, bytes] | None] = {
        "metadata-only": {"metadata.json": data},
        "outputs-only": {"parsed.txt": text},
        "empty": {},
        "link": None,
        "file": {},
        "torn": {**files, "metadata.json": data[: len(data) // 2]},
        "list": {**files, "metadata.json": b"[" + data + b"]"},
        "not-utf-8": {**files, "metadata.json": data.replace(b"{", b'{"\xff": 1, ', 1)},
    }
    if defect in spoilt:
        return Directory(stage, name, spoilt[defect], None, is_file=defect == "file")
    if sealed and defect not in {"newer", "resealed"}:
        record = {key: item for key, item in record.items() if key not in {"format", "id_scheme", "self"}}
    wrong = {**record, **_wrong(defect, stage, record)}
    kept = {key: item for key, item in wrong.items() if item is not _DROPPED}
    if defect == "resealed":
        kept = self_sealed({**kept, "format": "genpool.generation/1", "id_scheme": "genpool/1"})
    return Directory(stage, name, {**files, "metadata.json": json.dumps(kept).encode()}, None)


_DROPPED = object()


def _wrong(defect: str, stage: str, record: Mapping[str, Any]) -> dict[str, Any]:
    template = f"{stage}_template" if "template_id" not in record else "template_id"
    return {
        "newer": {"format": "genpool.generation/2"},
        "renamed": {"gen_id": "its-name-before"},
        "of-another-stage": {"stage": "poem"},
        "no-template": {"template_id": _DROPPED, f"{stage}_template": _DROPPED},
        "blank": {template: "plain "},
        "two-templates": {"template_id": "one", f"{stage}_template": "another"},
        "resealed": {"template_id": "edited-by-hand"},
    }[defect]


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text)) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _membership(draw: Draw, directories: Sequence[Directory]) -> str:
    """Draw a membership: narrow, or wide with the signature's fields, of what is there and what is not."""
    lines = [(one.stage, one.name) for one in directories if draw(st.booleans()) and "," not in one.name]
    if draw(st.booleans()):
        lines.append(("draft", GONE))
    wide = draw(st.booleans())
    head = "stage,gen_id" + (",remark" if wide else "")
    return "".join(f"{line}\n" for line in (head, *(",".join((*one, *(("x",) if wide else ()))) for one in lines)))


# --- what is to be expected ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a migration must make of a pool."""

    moves: dict[Path2, tuple[str, int]]
    """Stage and name to the id of then and the slot, for all that is in order."""
    stays: set[Path2]


def outcome(pool: Drawn) -> Outcome:
    """Work it out: slots by family, ids from the root down, and what stays with all that descends from it."""
    known = {(one.stage, one.name): one.known for one in pool.directories if one.known}
    slots = _slots(pool, known)
    stays = {(one.stage, one.name) for one in pool.directories if one.known is None}
    while True:
        before = len(stays)
        moves = {}
        for stage in CHOICES:
            for task, one in known.items():
                if task[0] != stage or task in stays:
                    continue
                source = one.values[0]
                if parent := PARENTS[stage]:
                    if (parent, source) not in moves:
                        stays.add(task)
                        continue
                    source = moves[parent, source][0]
                new_id = right_id(stage, fields_of(stage, (source, *one.values[1:]), slots[task]))
                moves[task] = (new_id, slots[task])
        stays |= {task for task, (new_id, _) in moves.items() if (task[0], new_id) in stays}
        if len(stays) == before:
            return Outcome(moves, stays)


def _slots(pool: Drawn, known: Mapping[Path2, Known]) -> dict[Path2, int]:
    families: dict[tuple[str, tuple[str, ...]], list[Member]] = {}
    for (stage, name), one in known.items():
        right = one.stated is not None and right_id(stage, fields_of(stage, one.values, one.stated)) == name
        member = Member(name, one.stated, not right, one.created)
        families.setdefault((stage, one.values), []).append(member)
    recorded: dict[str, dict[str, int]] = {stage: {} for stage in PREFIXES}
    for stage, name, slot in pool.slots:
        recorded[stage].setdefault(name, slot)
    return {
        (stage, name): slot
        for (stage, _), members in families.items()
        for slot, name in slots_of(members, recorded[stage]).items()
    }
