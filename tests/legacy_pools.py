"""Pools as other tools left them, and a plain reader of what is there.

Generations are written by hand, in the shapes that real stores have: opaque ids, replicates as text, from 0, doubled
or not stated, keys that mean nothing here. The reader opens every file and applies the documented rules, spelled out
once more: neither it nor what writes uses genpool's own code.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

PREFIXES = {"draft": "d", "essay": "e", "evaluation": "v"}
CHOICES = {
    "draft": ("combo_id", "template_id", "llm_model_id"),
    "essay": ("parent_gen_id", "template_id"),
    "evaluation": ("parent_gen_id", "template_id", "llm_model_id"),
}
"""The signature's fields of every stage, but for the replicate."""
PARENTS = {"draft": None, "essay": "draft", "evaluation": "essay"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NOT_STATED = object()


# --- writing ----------------------------------------------------------------------------------------


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    """Return canonical JSON; good for texts and everyday numbers, which is all that these pools hold."""
    return json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _whole(value: object) -> object:
    """Return a JSON value with 4.0 as 4, as canonical JSON has it."""
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def right_id(stage: str, fields: Mapping[str, object], salt: str = "") -> str:
    """Return the deterministic id of a signature."""
    tagged = {"scheme": "genpool/1", "stage": stage, **fields, **({"salt": salt} if salt else {})}
    return f"{PREFIXES[stage]}_{digest(canonical(tagged))[:32]}"


def fields_of(stage: str, family: Sequence[str], replicate: int) -> dict[str, object]:
    """Return a signature as an object."""
    return {**dict(zip(CHOICES[stage], family, strict=True)), "replicate": replicate}


def write_folder(folder: Path, metadata: bytes, text: str | None = "A text.\n") -> Path:
    """Write a generation's directory; without a text it is incomplete."""
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "parsed.txt").write_text(text)
    (folder / "metadata.json").write_bytes(metadata)
    return folder


def write_right(
    root: Path,
    stage: str,
    *values: str,
    replicate: int = 1,
    origin: str = "new",
    salt: str = "",
    text: str | None = "A text.\n",
    **keys: object,
) -> str:
    """Write a generation with its deterministic id; return the id. The values are the stage's `CHOICES`."""
    fields = fields_of(stage, values, replicate)
    gen_id = right_id(stage, fields, salt)
    record = {"format": "genpool.generation/1", "id_scheme": "genpool/1", "gen_id": gen_id, "stage": stage, **fields}
    record |= {"origin_cohort_id": origin, "created_at": "2025-01-01T00:00:00+00:00", "mode": "llm", **keys}
    sealed = {**record, "self": digest(canonical(record))}
    write_folder(root / "gens" / stage / gen_id, f"{json.dumps(sealed, sort_keys=True)}\n".encode(), text)
    return gen_id


def write_legacy(
    root: Path,
    stage: str,
    gen_id: str,
    /,
    *values: str,
    replicate: object = _NOT_STATED,
    origin: str | None = "old",
    created_at: str | None = "2024-01-01T00:00:00+00:00",
    text: str | None = "An old text.\n",
    **keys: object,
) -> str:
    """Write a generation of another tool under an opaque id; return the id. The values are the stage's `CHOICES`."""
    record: dict[str, Any] = {**dict(zip(CHOICES[stage], values, strict=True)), "stage": stage, "gen_id": gen_id}
    record |= {"task_id": f"task-{gen_id}", "files": {"parsed": "/elsewhere/parsed.txt"}, **keys}
    for name, value in (("origin_cohort_id", origin), ("created_at", created_at)):
        if value is not None:
            record[name] = value
    if replicate is not _NOT_STATED:
        record["replicate"] = replicate
    write_folder(root / "gens" / stage / gen_id, json.dumps(record, indent=2).encode(), text)
    return gen_id


def record_slots(root: Path, lines: Sequence[tuple[str, str, int]]) -> None:
    """Write legacy.csv as an earlier run would have left it."""
    body = "".join(f"{stage},{gen_id},{slot},\n" for stage, gen_id, slot in lines)
    (root / "legacy.csv").write_text(f"stage,gen_id,replicate,new_gen_id\n{body}")


# --- reading ----------------------------------------------------------------------------------------

Family = tuple[str, ...]
"""A signature's values but for the replicate."""


@dataclass
class Scanned:
    """What one stage holds, by a plain scan of its files."""

    whole: dict[str, str | None] = field(default_factory=dict)
    """Id to origin."""
    incomplete: set[str] = field(default_factory=set)
    unusable: set[str] = field(default_factory=set)
    legacy: set[str] = field(default_factory=set)
    families: dict[Family, dict[int, str]] = field(default_factory=dict)
    """For families with a legacy generation: slot to id."""


@dataclass(frozen=True)
class Member:
    """One generation of a family."""

    gen_id: str
    stated: int | None
    legacy: bool
    created: datetime | None


def scan(root: Path, stage: str, salt: str = "") -> Scanned:
    """Open every generation of a stage and apply the rules."""
    seen = Scanned()
    members: dict[Family, list[Member]] = {}
    folder = root / "gens" / stage
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = place.name
        if not _NAME.fullmatch(name):
            continue
        if not ((place / "metadata.json").exists() and (place / "parsed.txt").exists()):
            seen.incomplete.add(name)
            continue
        known = None if place.is_symlink() else _understood(place / "metadata.json", stage, name, salt)
        if known is None:
            seen.unusable.add(name)
            continue
        record, family, member = known
        origin = record.get("origin_cohort_id")
        seen.whole[name] = origin if isinstance(origin, str) else None
        members.setdefault(family, []).append(member)
        if member.legacy:
            seen.legacy.add(name)
    recorded = _recorded(root, stage)
    for family, siblings in members.items():
        if any(one.legacy for one in siblings):
            seen.families[family] = slots_of(siblings, recorded)
    return seen


def _understood(path: Path, stage: str, name: str, salt: str) -> tuple[dict[str, Any], Family, Member] | None:
    """Return a record with what it says, or None where it cannot be used."""
    try:
        record = json.loads(path.read_bytes())
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    family = tuple(record.get(one) for one in CHOICES[stage])
    if not all(isinstance(one, str) and one and one == one.strip() for one in family):
        return None
    if PARENTS[stage] and not _NAME.fullmatch(family[0]):
        return None
    signature = dict(zip(CHOICES[stage], family, strict=True))
    said = stated(record.get("replicate"))
    right = None if said is None else right_id(stage, {**signature, "replicate": said}, salt)
    if "format" in record or "id_scheme" in record:
        rest = {key: value for key, value in record.items() if key != "self"}
        if right != name or record.get("stage") != stage or record.get("self") != digest(canonical(rest)):
            return None
    return record, family, Member(name, said, right != name, _moment(record.get("created_at")))


def stated(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value):
        value = int(value)
    return value if isinstance(value, int) and 1 <= value < 2**31 else None


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _recorded(root: Path, stage: str) -> dict[str, int]:
    """Return the recorded slots of a stage, the first line about a generation first."""
    found: dict[str, int] = {}
    if (root / "legacy.csv").exists():
        with (root / "legacy.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row["stage"] == stage:
                    found.setdefault(row["gen_id"], int(row["replicate"]))
    return found


def slots_of(siblings: Sequence[Member], recorded: Mapping[str, int]) -> dict[int, str]:
    """Return slot to id, by the rule as it is written down."""
    taken = {one.stated: one.gen_id for one in siblings if not one.legacy and one.stated is not None}
    rest = []
    for one in sorted((one for one in siblings if one.legacy), key=lambda one: one.gen_id):
        if recorded.get(one.gen_id, 0) and recorded[one.gen_id] not in taken:
            taken[recorded[one.gen_id]] = one.gen_id
        else:
            rest.append(one)
    last = datetime.max.replace(tzinfo=UTC)
    for one in sorted(rest, key=lambda one: (one.created or last, one.gen_id)):
        own = one.stated if one.stated is not None and one.stated not in taken else None
        taken[own or next(slot for slot in count(1) if slot not in taken)] = one.gen_id
    return taken


# --- a plan by brute force --------------------------------------------------------------------------


@dataclass(frozen=True)
class Wants:
    """What a cohort selects."""

    rows: Sequence[int]
    drafts: Sequence[str] = ("plain",)
    draft_replicates: int = 1
    essays: Sequence[str] = ()
    essay_replicates: int = 1
    evaluation_replicates: int = 0

    def spec(self) -> dict[str, str]:
        """Return the stages of its spec, as `write_spec` takes them."""
        told = {"draft": f"template: [{', '.join(self.drafts)}], model: [writer], replicates: {self.draft_replicates}"}
        if self.essays:
            told["essay"] = f"template: [{', '.join(self.essays)}], replicates: {self.essay_replicates}"
        if self.evaluation_replicates:
            told["evaluation"] = f"template: [clarity], model: [judge], replicates: {self.evaluation_replicates}"
        return told

    def below(self, stage: str) -> Iterator[tuple[tuple[str, ...], int, bool]]:
        """Yield what is wanted below one source: the choices, the replicates, and whether it is a copy."""
        if stage == "draft":
            yield from (((name, "writer"), self.draft_replicates, False) for name in self.drafts)
        elif stage == "essay":
            for name in self.essays:
                yield (name,), 1 if name == "same" else self.essay_replicates, name == "same"
        elif self.evaluation_replicates:
            yield ("clarity", "judge"), self.evaluation_replicates, False


@dataclass(frozen=True)
class Expected:
    """What must become of one task."""

    gen_id: str
    state: str
    copies: bool
    origin: str | None
    legacy: bool
    family: Family = ()
    slot: int = 0
    at: int = -1
    """The position of the parent among the tasks of its stage."""


def expected(
    root: Path | None,
    wants: Wants,
    *,
    limit: int = 2,
    scans: Mapping[str, Scanned] | None = None,
    failed: Mapping[tuple[str, str], int] | None = None,
    salt: str = "",
) -> dict[str, list[Expected]]:
    """Return every task of a cohort, in plan order by stage.

    What there is comes from the files below root, else from whoever knows it: `scans` by stage, and `failed`, how many
    attempts at a task count.
    """
    plan: dict[str, list[Expected]] = {}
    sources = [(f"row-{row}", (), -1) for row in wants.rows]
    stuck = {"exhausted", "blocked", "unusable"}
    for stage in CHOICES:
        seen = scans[stage] if scans else scan(cast("Path", root), stage, salt)
        tasks: list[Expected] = []
        below = []
        for source, above, at in sources:
            for choices, replicates, copies in wants.below(stage):
                family = (source, *choices)
                for slot in range(1, replicates + 1):
                    filled = seen.families.get(family, {}).get(slot)
                    gen_id = filled or right_id(stage, fields_of(stage, family, slot), salt)
                    state = "unusable" if not filled and gen_id in seen.legacy else _state(gen_id, seen)
                    waits = next((one for one in above if one != "reuse"), None)
                    if state in {"mint", "incomplete"} and waits in stuck:
                        state = "blocked"
                    elif state in {"mint", "incomplete"} and not copies:
                        tried = _failed(root, stage, gen_id) if root else (failed or {}).get((stage, gen_id), 0)
                        state = "exhausted" if tried >= limit else state
                    legacy = state == "reuse" and gen_id in seen.legacy
                    origin = seen.whole.get(gen_id) if state == "reuse" else None
                    below.append((gen_id, (state, *above), len(tasks)))
                    tasks.append(Expected(gen_id, state, copies, origin, legacy, family, slot, at))
        if tasks:
            plan[stage] = tasks
        sources = below
    return plan


def _state(gen_id: str, seen: Scanned) -> str:
    if gen_id in seen.whole:
        return "reuse"
    return "incomplete" if gen_id in seen.incomplete else "unusable" if gen_id in seen.unusable else "mint"


def _failed(root: Path, stage: str, gen_id: str) -> int:
    """Count the attempts that exhaust a task."""
    place = root / "attempts" / stage / gen_id
    said = [json.loads(path.read_bytes())["reason"]["kind"] for path in place.glob("*/metadata.json")]
    return sum(kind in {"truncated", "empty", "refused", "unparseable", "no_end"} for kind in said)


def counted(
    tasks: Sequence[Expected], cohort_id: str, drifted: Collection[str] = (), claimed: Collection[str] = ()
) -> dict[str, int]:
    """Return the counts that a plan must show of one stage, where some ids are drifted and some claimed."""
    by_state = {
        name: sum(one.state == name for one in tasks)
        for name in ("reuse", "mint", "incomplete", "exhausted", "blocked", "unusable")
    }
    own = sum(one.state == "reuse" and one.origin == cohort_id for one in tasks)
    to_make = [one for one in tasks if one.state in {"mint", "incomplete"}]
    return {
        "wanted": len(tasks),
        "reused": by_state["reuse"],
        "own": own,
        "others": by_state["reuse"] - own,
        "legacy ids": sum(one.legacy for one in tasks),
        "drifted": sum(one.state == "reuse" and one.gen_id in drifted for one in tasks),
        "to make": len(to_make),
        "claimed": sum(one.gen_id in claimed for one in to_make),
        "calls": sum(not one.copies for one in to_make),
        **{name: by_state[name] for name in ("incomplete", "exhausted", "unusable", "blocked")},
    }
