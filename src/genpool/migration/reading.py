"""One record as a migration reads it: what it states, how its id came about, and what is wrong with it.

Nothing is guessed: a field under an older name is taken where it is the only one, and two that disagree are a defect.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson

from genpool.canonical import sha256
from genpool.errors import StorageFailed
from genpool.layout import METADATA, PARSED
from genpool.migration import defects as kinds
from genpool.migration.defects import Defect
from genpool.migration.identity import DAYDREAMING_0, Identity, is_daydreaming_0
from genpool.migration.sealing import can_be_sealed, has_its_digest
from genpool.records import ATTEMPT_FORMAT, FORMAT, stated_replicate
from genpool.signatures import field_problem
from genpool.stages import MODEL_FIELD, REPLICATE_FIELD, ROOT_FIELD, TEMPLATE_FIELD
from genpool.yaml_reader import is_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genpool.canonical import Json
    from genpool.stages import Stage

RIGHT: Final = "right"
OPAQUE: Final = "opaque"

ORIGIN: Final = "origin_cohort_id"
OLD_ORIGIN: Final = "cohort_id"


@dataclass(slots=True, eq=False)
class Node:
    """One generation: what its record states, and what the plan makes of it."""

    place: str
    """The folder of stage folders that it is in: `gens`, or `trash/<trash_id>/gens`."""
    stage: str
    gen_id: str
    made_by: str
    """`right`, `opaque`, or the name of the older scheme that gives its id."""
    values: tuple[str, ...]
    """The signature's values but for the replicate, in the order of the stage's fields."""
    stated: int | None
    """The replicate that its record states."""
    created: str | None
    """When it was made, as its record says."""
    digest: str
    """SHA-256 of metadata.json."""
    sealed: bool
    """Whether the record is of our own format."""
    new_id: str | None = None
    slot: int | None = None
    blocked: bool = False
    moved_parent: bool = False
    """Whether something that it refers to gets another id."""

    @property
    def path(self) -> str:
        """Where it is, relative to the pool."""
        return f"{self.place}/{self.stage}/{self.gen_id}"


@dataclass(slots=True)
class Found:
    """What was found at one directory."""

    node: Node | None = None
    defects: list[Defect] = field(default_factory=list)
    digest: str = ""
    """SHA-256 of metadata.json; empty where there is none that can be read."""


class _Refused(Exception):
    """A record that stays as it is; the defect says why."""


# --- one directory ----------------------------------------------------------------------------------


def read_directory(root: str, place: str, stage: Stage, name: str, identity: Identity) -> Found:
    """Read one generation's directory.

    Args:
        root: The pool's directory.
        place: The folder of stage folders that it is in, relative to the pool.
        stage: The stage whose folder it is in.
        name: Its name.
        identity: What the pool's ids are made with.

    Raises:
        StorageFailed: The file system refused for a reason that is not the file's own.
    """
    path = f"{place}/{stage.name}/{name}"
    folder = f"{root}/{path}"
    found = Found()
    try:
        data = read_plain(f"{folder}/{METADATA}")
    except (FileNotFoundError, NotADirectoryError):
        found.defects.append(_without_metadata(folder, path))
        return found
    except OSError as error:
        found.defects.append(Defect(_kind_of(error), f"{path}/{METADATA}", f"cannot be read: {error.strerror}"))
        return found
    try:
        os.stat(f"{folder}/{PARSED}")  # noqa: PTH116 - a hundred thousand of them
    except FileNotFoundError:
        said = f"there is no {PARSED}: it is not a whole generation"
        found.digest = sha256(data)
        found.defects.append(Defect(kinds.METADATA_ONLY, path, said))
        return found
    return found_in(data, place, stage, name, identity)


def found_in(data: bytes, place: str, stage: Stage, name: str, identity: Identity) -> Found:
    """Return what some bytes say that are the metadata.json of a whole generation; see `read_directory`."""
    found = Found(digest=sha256(data))
    with suppress(_Refused):
        found.node = _node(data, place, stage, name, identity, found)
    return found


def read_plain(path: str) -> bytes:
    """Return the content of a plain file that is no link.

    Raises:
        OSError: It is not there, cannot be read, or is something else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = os.read(descriptor, _AT_ONCE)
        if len(data) < _AT_ONCE:
            return data
        parts = [data]
        while part := os.read(descriptor, _AT_ONCE):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


_AT_ONCE: Final = 1 << 16


def _kind_of(error: OSError) -> str:
    """Return the kind of defect that a refusal to open a file is; where the machine is at fault it is no defect."""
    import errno

    if error.errno == errno.ELOOP:
        return kinds.LINK
    if error.errno in {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENXIO, errno.ENOTDIR, errno.EAGAIN}:
        return kinds.UNREADABLE
    raise StorageFailed(f"cannot read {error.filename}: {error.strerror}") from error


def _without_metadata(folder: str, path: str) -> Defect:
    """Return what a directory without metadata.json is."""
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return Defect(kinds.EMPTY, path, "is not there")
    if stat.S_ISLNK(status.st_mode):
        return Defect(kinds.LINK, path, f"is a link to {os.readlink(folder)!r}; links are not followed")  # noqa: PTH115
    if not stat.S_ISDIR(status.st_mode):
        return Defect(kinds.FOREIGN, path, "is no directory")
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names will do
    except PermissionError as error:
        return Defect(kinds.UNREADABLE, path, f"cannot be listed: {error.strerror}")
    if not names:
        return Defect(kinds.EMPTY, path, "is empty")
    return Defect(kinds.OUTPUTS_ONLY, path, f"has no {METADATA}, but {', '.join(names[:3])}")


# --- one record -------------------------------------------------------------------------------------


def _node(data: bytes, place: str, stage: Stage, name: str, identity: Identity, found: Found) -> Node:
    where = f"{place}/{stage.name}/{name}/{METADATA}"
    value = json_object(data, where, found.defects)
    plain = is_plainly_written(value, data)
    if not plain:
        _refuse_doubled(data, stage, where, found.defects)
    created = value.get("created_at")
    created = created if isinstance(created, str) else None
    if "format" in value or "id_scheme" in value:
        values, replicate = sealed_values(value, stage, name, identity, where, found.defects, FORMAT)
        return Node(place, stage.name, name, RIGHT, values, replicate, created, found.digest, sealed=True)
    return _legacy_node(value, place, stage, name, identity, found, created, plain=plain)


def is_plainly_written(value: Mapping[str, Json], data: bytes) -> bool:
    """Return whether it is plain that some JSON states no key twice, and no number that cannot be sealed.

    It is where the same bytes are written again. A key that stands twice is lost when the JSON is read, with two
    quotation marks at the least; nothing else changes their number but one that is written as an escape.

    Args:
        value: What was read.
        data: What it was read from.
    """
    try:
        again = orjson.dumps(value, option=_AS_USUAL)
    except TypeError:
        return False
    if data.startswith(again):
        return True
    return data.count(b'"') == again.count(b'"') and (b"\\" not in data or b"\\u00" not in data)


_AS_USUAL: Final = orjson.OPT_INDENT_2 | orjson.OPT_STRICT_INTEGER  # which refuses integers beyond 2^53


def json_object(data: bytes, where: str, found: list[Defect]) -> dict[str, Json]:
    """Return the JSON object of some bytes; refuse, with a defect, where they are none."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _refused(found, kinds.UNREADABLE, where, f"not readable as JSON: {error}") from None
    if not isinstance(value, dict):
        raise _refused(found, kinds.UNREADABLE, where, "not a JSON object")
    return value


def _refuse_doubled(data: bytes, stage: Stage, where: str, found: list[Defect]) -> None:
    """Refuse a record that states a key twice, and not alike: taking either value would be a guess.

    Where no key that is read here stands there twice, and none is written in escapes, nothing more is looked at.
    """
    if b"\\u00" not in data and not any(data.count(key) > 1 for key in _keys_of(stage)):
        return
    if doubled := _doubled(data):
        raise _refused(found, kinds.DISAGREEING, where, f"{doubled} is stated twice, and not alike")


@lru_cache(maxsize=256)
def _keys_of(stage: Stage) -> tuple[bytes, ...]:
    """Return what a record is read for, as it stands in JSON."""
    read = {name for one, olders in _fields_of(stage) for name in (one, *olders)}
    return tuple(
        f'"{name}"'.encode() for name in sorted(read | {"gen_id", "stage", REPLICATE_FIELD, ORIGIN, OLD_ORIGIN})
    )


def _doubled(data: bytes) -> str | None:
    """Return a key that a JSON object states twice with different values; what reads one value would guess."""
    wrong: list[str] = []

    def look(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found = dict(pairs)
        wrong.clear()  # of what is in it: only the outermost object, which comes last, is a record
        wrong.extend(key for key, value in pairs if value != found[key])
        return found

    json.loads(data, object_pairs_hook=look)
    return wrong[0] if wrong else None


def _refused(found: list[Defect], kind: str, where: str, said: str) -> _Refused:
    found.append(Defect(kind, where, said))
    return _Refused()


def sealed_values(
    value: Mapping[str, Json],
    stage: Stage,
    name: str,
    identity: Identity,
    where: str,
    found: list[Defect],
    expected: str,
) -> tuple[tuple[str, ...], int]:
    """Return the signature's values of a record of our own format, everything about it checked.

    Raises:
        _Refused: It is not what it says; a defect was added.
    """
    stated = str(value.get("format"))
    kind, _, version = stated.partition("/")
    if stated != expected:
        known = expected.partition("/")
        newer = kind == known[0] and is_version(version) and int(version) > int(known[2])
        said = f"format is {stated!r}; this genpool reads {expected}"
        raise _refused(found, kinds.NEWER if newer else kinds.CORRUPT, where, said)
    if value.get("id_scheme") != identity.scheme.name:
        said = f"id scheme {value.get('id_scheme')!r}, but the pool's is {identity.scheme.name}"
        raise _refused(found, kinds.CORRUPT, where, said)
    if not has_its_digest(dict(value)):
        raise _refused(found, kinds.CORRUPT, where, "the record does not have the digest that it states")
    values = [value.get(one) for one in stage.fields]
    for one, stands in zip(stage.fields, values, strict=True):
        problem = field_problem(one, stands)
        if problem:
            raise _refused(found, kinds.CORRUPT, where, f"{one} = {stands!r} {problem}")
    right = identity.make(stage, tuple(values))  # type: ignore[arg-type]  # checked field by field
    if value.get("stage") != stage.name or right != name or value.get("gen_id") != name:
        said = f"its signature gives the id {right} of stage {value.get('stage')!r}, but it stands under {name}"
        raise _refused(found, kinds.CORRUPT, where, said)
    return tuple(map(str, values[:-1])), int(values[-1])  # type: ignore[arg-type]  # a checked replicate


def _legacy_node(
    value: dict[str, Json],
    place: str,
    stage: Stage,
    name: str,
    identity: Identity,
    found: Found,
    created: str | None,
    *,
    plain: bool,
) -> Node:
    """Return what a record of another tool states."""
    where = f"{place}/{stage.name}/{name}/{METADATA}"
    for key, right in (("gen_id", name), ("stage", stage.name)):
        if key in value and value[key] != right:
            said = f"{key} is {value[key]!r}, but it stands under {place}/{stage.name}/{name}"
            raise _refused(found.defects, kinds.DISAGREEING, where, said)
    values = tuple([_field(value, one, older, where, found.defects) for one, older in _fields_of(stage)])
    if not plain and not can_be_sealed(value):
        said = "holds a number that canonical JSON cannot write (beyond 2^53)"
        raise _refused(found.defects, kinds.INVALID_VALUE, where, said)
    replicate = stated_replicate(value.get(REPLICATE_FIELD))
    _note_oddities(value, stage, name, where, replicate, found.defects)
    by = made_by(name, stage, values, replicate, str(value.get(REPLICATE_FIELD, 1)), identity)
    return Node(place, stage.name, name, by, values, replicate, created, found.digest, sealed=False)


def made_by(
    name: str, stage: Stage, values: tuple[str, ...], replicate: int | None, stated: str, identity: Identity
) -> str:
    """Return what made the id of a record of another tool: `right`, `opaque`, or an older scheme's name.

    Args:
        name: The id.
        stage: Its stage.
        values: The signature's values but for the replicate.
        replicate: The replicate; None where the record states none.
        stated: The replicate as the record states it; 1 where it does not.
        identity: What the pool's ids are made with.
    """
    could_be_right = replicate is not None and len(name) == len(stage.prefix) + 1 + identity.scheme.digits
    if could_be_right and identity.make(stage, (*values, replicate or 0)) == name:
        return RIGHT
    return DAYDREAMING_0 if is_daydreaming_0(name, stage.prefix, [*values, stated]) else OPAQUE


def older_names(one: str, stage: Stage) -> tuple[str, ...]:
    """Return the names that a field had in older stores."""
    if one == MODEL_FIELD:
        return ("model_id",)
    return (f"{stage.name}_template",) if one == TEMPLATE_FIELD else ()


@lru_cache(maxsize=256)
def _fields_of(stage: Stage) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the fields of a stage's signature but for the replicate, each with its older names."""
    return tuple((one, older_names(one, stage)) for one in stage.fields[:-1])


def _field(value: Mapping[str, Json], one: str, olders: tuple[str, ...], where: str, found: list[Defect]) -> str:
    """Return a field of a signature, under its own or an older name."""
    stated = value.get(one)
    for older in olders:
        if older not in value:
            continue
        if one not in value:
            found.append(Defect(kinds.OLD_KEY, where, f"{older} where {one} belongs"))
            stated = value[older]
        elif value[older] != stated:
            raise _refused(found, kinds.DISAGREEING, where, f"{one} is {stated!r}, but {older} is {value[older]!r}")
    if stated is None:
        raise _refused(found, kinds.MISSING_FIELD, where, f"the field {one} is missing")
    problem = field_problem(one, stated)
    if problem:
        raise _refused(found, kinds.INVALID_VALUE, where, f"{one} = {stated!r} {problem}")
    return str(stated)


def _note_oddities(
    value: Mapping[str, Json], stage: Stage, name: str, where: str, replicate: int | None, found: list[Defect]
) -> None:
    """Note what is handled, and worth knowing."""
    stated = value.get(REPLICATE_FIELD)
    if stated is None:
        found.append(Defect(kinds.NO_REPLICATE, where, "states no replicate; its slot is found among its family"))
    elif replicate is None:
        found.append(Defect(kinds.ODD_REPLICATE, where, f"replicate is {stated!r}, which counts as none"))
    elif not isinstance(stated, int):
        found.append(Defect(kinds.TEXT_REPLICATE, where, f"replicate is {stated!r}, which is read as {replicate}"))
    if OLD_ORIGIN in value:
        if ORIGIN not in value:
            found.append(Defect(kinds.OLD_KEY, where, f"{OLD_ORIGIN} where {ORIGIN} belongs"))
        elif value[OLD_ORIGIN] != value[ORIGIN]:
            said = f"{ORIGIN} is {value[ORIGIN]!r}, {OLD_ORIGIN} is {value[OLD_ORIGIN]!r}; the first one counts"
            found.append(Defect(kinds.TWO_ORIGINS, where, said))
    if stage.parent is not None and ROOT_FIELD in value:
        said = f"{ROOT_FIELD} {value[ROOT_FIELD]!r} is repeated below a root; it is information"
        found.append(Defect(kinds.REPEATED_COMBO, where, said))
    if name != name.lower():
        found.append(Defect(kinds.UPPER_CASE, where, "its id has upper case"))


# --- attempts ---------------------------------------------------------------------------------------


def attempt_values(
    data: bytes, stage: Stage, task: str, identity: Identity, where: str, found: list[Defect]
) -> tuple[tuple[str, ...], int] | None:
    """Return the signature's values of an attempt's record; None where it is of another tool, or damaged.

    A record of another tool is not rewritten; a damaged one is a defect.
    """
    try:
        value = json_object(data, where, found)
        if "format" not in value and "id_scheme" not in value:
            return None
        expected = FORMAT if str(value.get("format")).startswith(FORMAT.partition("/")[0] + "/") else ATTEMPT_FORMAT
        return sealed_values(value, stage, task, identity, where, found, expected)
    except _Refused:
        return None
