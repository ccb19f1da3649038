"""Records rewritten: what a generation's or an attempt's metadata.json becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import orjson

from genpool.canonical import Json, sha256
from genpool.layout import METADATA
from genpool.migration.batches import Rewrite, not_as_planned
from genpool.migration.reading import OLD_ORIGIN, ORIGIN, older_names, read_plain
from genpool.migration.renames import GENS
from genpool.migration.sealing import sealed
from genpool.records import FORMAT
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX, REPLICATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genpool.migration.identity import Change
    from genpool.migration.renames import Renames, Row
    from genpool.signatures import FieldValue


class Rewriter:
    """Rewrites the records of a plan.

    Args:
        root: The pool's directory.
        change: What changes.
        renames: By removal, old ids to new ones (`renames_of`).
        digests: Path to the digest that was planned with: of a generation's directory, or of an attempt's record.
    """

    def __init__(self, root: str, change: Change, renames: Mapping[str, Renames], digests: Mapping[str, str]) -> None:
        self._root = root
        self._change = change
        self._renames = renames
        self._digests = digests

    def files(self, row: Row) -> list[Rewrite]:
        """Return what becomes of the records in the directory of a row.

        Raises:
            PoolError: One is not as it was planned.
        """
        path = f"{row.place}/{row.stage}/{row.old_id}"
        if row.place.endswith(GENS):
            data = self._read(f"{path}/{METADATA}", self._digests[path])
            return [Rewrite(METADATA, data, self._rewritten(data, row, path))]
        found = []
        for where, digest in self._numbers.get(path, ()):
            data = self._read(where, digest)
            value = orjson.loads(data)
            if "format" in value or "id_scheme" in value:
                found.append(Rewrite(where[len(path) + 1 :], data, self._rewritten(data, row, path)))
        return found

    @property
    def _numbers(self) -> dict[str, list[tuple[str, str]]]:
        """The records of attempts that were planned with, by the folder of their task."""
        if self._by_task is None:
            self._by_task = {}
            for path, digest in self._digests.items():
                parts = path.split("/")
                if parts[-1] == METADATA and len(parts) > 4 and parts[-5] == "attempts":
                    self._by_task.setdefault("/".join(parts[:-2]), []).append((path, digest))
        return self._by_task

    _by_task: dict[str, list[tuple[str, str]]] | None = None

    def _read(self, where: str, digest: str) -> bytes:
        try:
            data = read_plain(f"{self._root}/{where}")
        except FileNotFoundError:
            raise not_as_planned(where) from None
        if sha256(data) != digest:
            raise not_as_planned(where)
        return data

    def _rewritten(self, data: bytes, row: Row, path: str) -> bytes:
        value: dict[str, Json] = orjson.loads(data)
        value.pop("self", None)
        target = self._change.target.pipeline[row.stage]
        if OLD_ORIGIN in value and ORIGIN not in value and isinstance(value[OLD_ORIGIN], str):
            value[ORIGIN] = value[OLD_ORIGIN]
        fields = self._fields(value, row)
        value.update(fields)
        value.update(
            format=value.get("format", FORMAT),
            id_scheme=self._change.target.scheme.name,
            gen_id=row.new_id,
            stage=row.stage,
        )
        values = tuple(cast("FieldValue", fields[name]) for name in target.fields)
        made = self._change.target.make(target, values)
        if made != row.new_id:
            raise not_as_planned(path)
        return sealed(value)

    def _fields(self, value: Mapping[str, Json], row: Row) -> dict[str, Json]:
        """Return the signature's fields after the migration."""
        stage = self._change.now.pipeline[row.stage]
        renames = self._renames.get(row.place.rpartition("/")[0], self._renames.get(""))
        stated = {one: value.get(one, self._older(value, one, row)) for one in stage.fields[:-1]}
        fields: dict[str, Json] = {}
        for name, item in self._change.values(stage, tuple(map(str, stated.values()))).items():
            if name.endswith(REFERENCE_SUFFIX) and renames is not None:
                parent = stage.parent if name == PARENT_FIELD else None
                new = renames.anywhere(item) if parent is None else renames.of(parent, item)
                fields[name] = new or item
            else:
                fields[name] = item
        return {**fields, REPLICATE_FIELD: row.replicate}

    def _older(self, value: Mapping[str, Json], one: str, row: Row) -> Json:
        stage = self._change.now.pipeline[row.stage]
        return next((value[name] for name in older_names(one, stage) if name in value), None)
