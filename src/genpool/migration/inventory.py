"""Everything in a pool that a migration could touch, read once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from genpool.durable import refuse_link, storage_errors
from genpool.layout import METADATA
from genpool.migration import defects as kinds
from genpool.migration.defects import Defect
from genpool.migration.mapping import Nodes
from genpool.migration.reading import attempt_values, read_directory, read_plain
from genpool.migration.renames import ATTEMPTS, GENS
from genpool.signatures import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from genpool.migration.identity import Identity
    from genpool.migration.reading import Found
    from genpool.stages import Stage

Progress = "Callable[[str, int, int], None]"
"""Told what is being done, how much of it is done, and how much there is."""

_TOLD_EVERY: Final = 500


@dataclass(slots=True)
class AttemptTask:
    """The attempts at one task."""

    place: str
    """`attempts`, or `trash/<trash_id>/attempts`."""
    stage: str
    task: str
    values: tuple[str, ...] | None = None
    """The signature's values but for the replicate, as our own records state them; None where none does."""
    replicate: int | None = None
    sealed: tuple[str, ...] = ()
    """The numbers whose record is of our own format."""
    broken: bool = False
    """Whether a record of our own format cannot be read."""

    @property
    def path(self) -> str:
        """Where they are, relative to the pool."""
        return f"{self.place}/{self.stage}/{self.task}"


@dataclass(slots=True)
class Inventory:
    """What was read."""

    nodes: Nodes = field(default_factory=Nodes)
    attempts: list[AttemptTask] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    """Directories without a usable record."""
    defects: list[Defect] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    """Path to the SHA-256 of what was read: records; empty for a directory without one."""
    listed: dict[str, int] = field(default_factory=dict)
    """Folder of a stage to how many directories are in it."""


class Reader:
    """Reads a pool.

    Args:
        root: The pool's directory.
        identity: What its ids are made with.
        tell: Told how far it is.
    """

    def __init__(self, root: str, identity: Identity, tell: Callable[[str, int, int], None]) -> None:
        self._root = root
        self._identity = identity
        self._tell = tell
        self.found = Inventory()

    def read(self) -> Inventory:
        """Read all of it.

        Raises:
            StorageFailed: A folder of stages, or a removal's, is a link; or the file system refused.
        """
        self._refuse_links()
        for place in self.places(GENS):
            for stage in self._identity.pipeline:
                self.read_stage(place, stage, self.names(place, stage))
            self._name_strays(place)
        for place in self.places(ATTEMPTS):
            for stage in self._identity.pipeline:
                self.read_attempts(place, stage, self.names(place, stage))
        return self.found

    def _refuse_links(self) -> None:
        """Refuse a pool with folders that are links: what would be renamed there may lie outside of it.

        Raises:
            StorageFailed: One is.
        """
        root = Path(self._root)
        for kind in (GENS, ATTEMPTS):
            for pattern in (f"{kind}/*", f"trash/*/{kind}/*"):
                for path in root.glob(pattern):
                    if path.name in self._identity.pipeline:
                        refuse_link(path)
        for path in root.glob("trash/*"):
            refuse_link(path)

    def places(self, kind: str) -> Iterator[str]:
        """Yield the folders of stage folders: the pool's own, then those of the trash."""
        yield kind
        for trash_id in _listdir(f"{self._root}/trash"):
            if os.path.isdir(f"{self._root}/trash/{trash_id}/{kind}"):  # noqa: PTH112 - a text
                yield f"trash/{trash_id}/{kind}"

    def names(self, place: str, stage: Stage) -> list[str]:
        """Return what is in the folder of a stage, sorted."""
        return _listdir(f"{self._root}/{place}/{stage.name}")

    def read_stage(self, place: str, stage: Stage, names: Collection[str]) -> None:
        """Read some generations of a stage."""
        folder = f"{place}/{stage.name}"
        self.found.listed[folder] = len(names)
        links = self._links(folder)
        for done, name in enumerate(names):
            if done % _TOLD_EVERY == 0:
                self._tell(f"reading {folder}", done, len(names))
            path = f"{folder}/{name}"
            if name in links or not FILE_NAME.fullmatch(name):
                self._leave(path, self._odd(path, is_link=name in links))
                continue
            self._take(path, read_directory(self._root, place, stage, name, self._identity))

    def _take(self, path: str, found: Found) -> None:
        self.found.digests[path] = found.digest
        self.found.defects += found.defects
        if found.node is None:
            self.found.left.add(path)
        else:
            self.found.nodes.add(found.node)

    def _leave(self, path: str, defect: Defect) -> None:
        self.found.digests[path] = ""
        self.found.left.add(path)
        self.found.defects.append(defect)

    def _links(self, folder: str) -> set[str]:
        with storage_errors(f"cannot list {folder}"):
            if not os.path.isdir(f"{self._root}/{folder}"):  # noqa: PTH112 - a text
                return set()
            with os.scandir(f"{self._root}/{folder}") as entries:
                return {entry.name for entry in entries if entry.is_symlink()}

    def _odd(self, path: str, *, is_link: bool) -> Defect:
        if not is_link:
            return Defect(kinds.FOREIGN, path, "is not a name that a generation can have")
        target = os.readlink(f"{self._root}/{path}")  # noqa: PTH115 - a text
        dangling = "" if os.path.exists(f"{self._root}/{path}") else ", which is not there"  # noqa: PTH110
        return Defect(kinds.LINK, path, f"is a link to {target!r}{dangling}; links are not followed")

    def _name_strays(self, place: str) -> None:
        for name in _listdir(f"{self._root}/{place}"):
            if name not in self._identity.pipeline:
                said = "pool.yaml has no stage of this name; what is in it stays as it is"
                self.found.defects.append(Defect(kinds.FOREIGN, f"{place}/{name}", said))

    # -- attempts ----------------------------------------------------------------------------------

    def read_attempts(self, place: str, stage: Stage, names: Collection[str]) -> None:
        """Read the attempts at some tasks of a stage."""
        folder = f"{place}/{stage.name}"
        if names:
            self.found.listed[folder] = len(names)
        for task in names:
            path = f"{folder}/{task}"
            self.found.digests[path] = ""
            if not FILE_NAME.fullmatch(task) or os.path.islink(f"{self._root}/{path}"):  # noqa: PTH114 - a text
                self.found.defects.append(Defect(kinds.FOREIGN, path, "is no folder of attempts"))
                continue
            self.found.attempts.append(self._attempts_at(AttemptTask(place, stage.name, task), stage))

    def _attempts_at(self, one: AttemptTask, stage: Stage) -> AttemptTask:
        sealed = []
        for number in _listdir(f"{self._root}/{one.path}"):
            where = f"{one.path}/{number}/{METADATA}"
            try:
                data = read_plain(f"{self._root}/{where}")
            except OSError:
                continue  # an incomplete directory, kept as it was found
            self.found.digests[where] = hashlib.sha256(data).hexdigest()
            before = len(self.found.defects)
            stated = attempt_values(data, stage, one.task, self._identity, where, self.found.defects)
            one.broken = one.broken or len(self.found.defects) > before
            if stated is not None:
                one.values, one.replicate = stated
                sealed.append(number)
        one.sealed = tuple(sealed)
        return one


def _listdir(folder: str) -> list[str]:
    """Return what is in a folder, sorted; nothing where it is not there."""
    with storage_errors(f"cannot list {folder}"):
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208 - names will do
        except (FileNotFoundError, NotADirectoryError):
            return []
