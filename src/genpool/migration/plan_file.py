"""A plan on disk: migrations/<migration_id>/ with plan.json, mapping.csv, digests.csv, defects.csv, and pool.yaml.

The same pool gives the same plan, to the byte, and so the same id: planning twice leaves one plan.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import secrets
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.canonical import canonical_json, sha256
from genpool.durable import (
    READABLE,
    flush_directory,
    is_there,
    make_directory,
    moved,
    refuse_link,
    remove_folder,
    storage_errors,
    write_directory,
)
from genpool.errors import CorruptFile, NotFound, UnsupportedFormat, nearest
from genpool.migration.plain_csv import plain_csv
from genpool.migration.renames import Row
from genpool.yaml_reader import is_version

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from genpool.layout import PoolLayout
    from genpool.migration.planning import Planned

FORMAT: Final = "genpool.migration/1"
PLAN: Final = "plan.json"
MAPPING: Final = "mapping.csv"
DIGESTS: Final = "digests.csv"
DEFECTS: Final = "defects.csv"
BEFORE: Final = "before"
"""The folder with the pool.yaml that the plan was made under; only where it changes."""
AFTER: Final = "after"
"""The folder with the pool.yaml that the pool gets."""
CONFIGS: Final = {BEFORE: "before/pool.yaml", AFTER: "after/pool.yaml"}

_DIGESTS_HEADER: Final = ("path", "sha256")
_DEFECTS_HEADER: Final = ("kind", "blocks", "path", "said")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it was written."""

    migration_id: str
    document: Mapping[str, Any]
    """plan.json."""
    rows: tuple[Row, ...] = ()
    """mapping.csv, in the order in which they are done."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """digests.csv: every directory and file that was read, to its digest; empty for one without a record."""
    configs: Mapping[str, bytes] = field(default_factory=dict)
    """The pool.yaml `before` and `after`; empty where it stays."""
    added: Mapping[str, bytes] = field(default_factory=dict)
    """The files that the pool gets: path to content."""

    @property
    def config(self) -> bytes | None:
        """The pool.yaml that the pool gets; None where it stays."""
        return self.configs.get(AFTER)


def write_plan(layout: PoolLayout, planned: Planned, *, strict: bool = False) -> Plan:
    """Write a plan under migrations/; where the same one is there already, nothing is written.

    Raises:
        StorageFailed: The pool cannot be written.
    """
    files = _files_of(planned)
    document = _document(planned, files, strict=strict)
    migration_id = f"migration-{sha256(canonical_json(document))[:12]}"
    document = {"migration_id": migration_id, **document}
    files[PLAN] = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    folder = layout.migration(migration_id)
    with storage_errors(f"cannot write the plan {folder}"):
        refuse_link(layout.migrations)
        make_directory(layout.migrations)
        if not is_there(folder / PLAN):
            staged = layout.migrations / f".{migration_id}.{secrets.token_hex(6)}.tmp"
            try:
                write_directory(staged, {name: data for name, data in files.items() if "/" not in name})
                for name in files:
                    if "/" in name:
                        write_directory((staged / name).parent, {(staged / name).name: files[name]})
                flush_directory(staged)
                moved(staged, folder)
                flush_directory(layout.migrations)
            finally:
                remove_folder(staged)
    return Plan(migration_id, document, tuple(planned.rows), _digests(planned), planned.configs, planned.added)


def _digests(planned: Planned) -> dict[str, str]:
    return {**planned.inventory.digests, **planned.books}


def _files_of(planned: Planned) -> dict[str, bytes]:
    files = {
        MAPPING: _csv(Row._fields, planned.rows),
        DIGESTS: _csv(_DIGESTS_HEADER, _digests(planned).items()),
        DEFECTS: _csv(
            _DEFECTS_HEADER, [(d.kind, "yes" if d.blocks else "no", d.path, d.said) for d in planned.defects]
        ),
    }
    added = dict(zip(_added_names(planned.added), planned.added.values(), strict=True))
    return {**files, **{CONFIGS[name]: data for name, data in planned.configs.items()}, **added}


def _added_names(added: Mapping[str, bytes]) -> list[str]:
    """Return the names under which a plan keeps the files that the pool gets."""
    return [f"added-{number}" for number in range(1, len(added) + 1)]


def _csv(header: tuple[str, ...], rows: Collection[tuple[object, ...]]) -> bytes:
    plain = plain_csv(chain([header], rows), len(header))
    if plain is not None:
        return plain.encode("utf-8", "surrogateescape")
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode("utf-8", "surrogateescape")


def _document(planned: Planned, files: Mapping[str, bytes], *, strict: bool) -> dict[str, Any]:
    change = planned.change
    kinds = Counter((one.kind, one.blocks) for one in planned.defects)
    return {
        "format": FORMAT,
        "now": {"id_scheme": change.now.scheme.name, "salt": change.now.salt},
        "target": {"id_scheme": change.target.scheme.name, "salt": change.target.salt},
        "sets": [{"stage": stage, "field": name, "value": value} for (stage, name), value in change.sets.items()],
        "strict": strict,
        "stages": planned.classes,
        "cohorts": planned.cohorts,
        "changes": dict(Counter(row.reason for row in planned.rows)),
        "counts": planned.counts(),
        "defects": [
            {"kind": kind, "blocks": blocks, "count": count} for (kind, blocks), count in sorted(kinds.items())
        ],
        "listed": planned.inventory.listed,
        "books": list(planned.books),
        "files": {name: sha256(data) for name, data in files.items()},
        **_fork_of(planned),
    }


def _fork_of(planned: Planned) -> dict[str, Any]:
    """Return what the plan of a fork says more; nothing for any other."""
    relabel = planned.change.relabel
    if relabel is None:
        return {}
    levels = {"stage": relabel.stage, "field": relabel.field, "was": relabel.was, "becomes": relabel.becomes}
    return {"fork": levels, "added": dict(zip(planned.added, _added_names(planned.added), strict=True))}


# --- reading ----------------------------------------------------------------------------------------


def read_plan(layout: PoolLayout, migration_id: str) -> Plan:
    """Read a plan; its files have the digests that plan.json states.

    Raises:
        NotFound: There is no such plan.
        CorruptFile: It was damaged or edited.
        UnsupportedFormat: A newer genpool wrote it.
    """
    folder = layout.migration(migration_id)
    document = read_document(layout, migration_id)
    files = {}
    for name, digest in document["files"].items():
        with storage_errors(f"cannot read {folder / name}"):
            files[name] = _read(folder / name)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise CorruptFile(f"{folder / name} is not as it was planned: its digest differs", hint=_AGAIN)
    rows = tuple(
        Row(old, new, stage, reason, int(replicate), place)
        for old, new, stage, reason, replicate, place in _rows(files[MAPPING])
    )
    digests: dict[str, str] = dict(_rows(files[DIGESTS]))
    configs = {name: files[file] for name, file in CONFIGS.items() if file in files}
    added = {path: files[name] for path, name in document.get("added", {}).items()}
    return Plan(migration_id, document, rows, digests, configs, added)


_AGAIN: Final = "plan again: `genpool migrate plan`"


def _read(path: Path) -> bytes:
    refuse_link(path)
    return path.read_bytes()


def _rows(data: bytes) -> Any:
    reader = csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline=""))
    next(reader, None)
    return reader


def read_document(layout: PoolLayout, migration_id: str) -> dict[str, Any]:
    """Read plan.json alone.

    Raises:
        NotFound: There is no such plan.
        CorruptFile: It was damaged or edited.
        UnsupportedFormat: A newer genpool wrote it.
    """
    path = layout.migration(migration_id) / PLAN
    try:
        with storage_errors(f"cannot read {path}"):
            data = _read(path)
            value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CorruptFile(f"{path}: not readable as JSON: {error}", hint=_AGAIN) from None
    except OSError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            known = migration_ids(layout)
            hint = nearest(migration_id, known) or "`genpool migrate plan` makes one"
            raise NotFound(f"there is no migration {migration_id!r}", hint=hint) from None
        raise
    name, _, version = str(value.get("format") if isinstance(value, dict) else None).partition("/")
    known_format = FORMAT.partition("/")
    if name == known_format[0] and is_version(version) and int(version) > int(known_format[2]):
        raise UnsupportedFormat(f"{path}: format {name}/{version} is newer than this genpool reads ({FORMAT})")
    if f"{name}/{version}" != FORMAT or value.get("migration_id") != migration_id:
        raise CorruptFile(f"{path}: not the plan of {migration_id}", hint=_AGAIN)
    rest = {key: item for key, item in value.items() if key != "migration_id"}
    try:
        right = f"migration-{sha256(canonical_json(rest))[:12]}"
    except (ValueError, TypeError):
        right = ""
    if right != migration_id:
        raise CorruptFile(f"{path}: the plan was damaged or edited; its id would be {right}", hint=_AGAIN)
    found: dict[str, Any] = value
    return found


def read_defects(layout: PoolLayout, migration_id: str) -> list[tuple[str, bool, str, str]]:
    """Read what a plan found: kind, whether it blocks, path, words."""
    with storage_errors("cannot read a plan"):
        data = _read(layout.migration(migration_id) / DEFECTS)
    return [(kind, blocks == "yes", path, said) for kind, blocks, path, said in _rows(data)]


def migration_ids(layout: PoolLayout) -> list[str]:
    """Return the ids of the migrations that have a plan, sorted."""
    with storage_errors(f"cannot list {layout.migrations}", denied=READABLE):
        try:
            names = sorted(os.listdir(layout.migrations))  # noqa: PTH208 - names will do
        except (FileNotFoundError, NotADirectoryError):
            return []
    return [one for one in names if not one.startswith(".") and is_there(layout.migrations / one / PLAN)]
