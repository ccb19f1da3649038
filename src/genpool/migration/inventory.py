"""Everything in a pool that a migration could touch, read once."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISLNK
from typing import TYPE_CHECKING, Final

from genpool.durable import READABLE, lies_with_the_file, mode_of, names_in, refuse_link, storage_errors
from genpool.layout import METADATA
from genpool.migration import defects as kinds
from genpool.migration.defects import Defect
from genpool.migration.mapping import Nodes
from genpool.migration.reading import Node, attempt_values, read_plain
from genpool.migration.renames import ATTEMPTS, GENS
from genpool.migration.stage_reading import reading
from genpool.processes import Helpers, processors
from genpool.signatures import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from genpool.migration.identity import Identity
    from genpool.migration.stage_reading import Batch, Block
    from genpool.stages import Stage

Progress = "Callable[[str, int, int], None]"
"""Told what is being done, how much of it is done, and how much there is."""

_PORTION: Final = 500  # records that are read by one process, one after another
MANY: Final = 10_000  # records that other processes are started for; that takes a tenth of a second


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
        many: Records that other processes are started for.
    """

    def __init__(self, root: str, identity: Identity, tell: Callable[[str, int, int], None], many: int = MANY) -> None:
        self._root = root
        self._many = many
        self._identity = identity
        self._tell = tell
        self.found = Inventory()

    def read(self) -> Inventory:
        """Read all of it.

        Raises:
            StorageFailed: A folder of stages, or a removal's, is a link; or the file system refused.
        """
        self._refuse_links()
        self._read([(place, stage, None) for place in self.places(GENS) for stage in self._identity.pipeline])
        for place in self.places(GENS):
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
        for trash_id in names_in(f"{self._root}/trash"):
            if S_ISDIR(mode_of(f"{self._root}/trash/{trash_id}/{kind}", follow=True)):
                yield f"trash/{trash_id}/{kind}"

    def names(self, place: str, stage: Stage) -> list[str]:
        """Return what is in the folder of a stage, sorted."""
        return names_in(f"{self._root}/{place}/{stage.name}")

    def read_stage(self, place: str, stage: Stage, names: Sequence[str]) -> None:
        """Read some generations of a stage."""
        self._read([(place, stage, names)])

    def _read(self, folders: Iterable[tuple[str, Stage, Sequence[str] | None]]) -> None:
        """Read generations: folder of stage folders, stage, and names in its folder; None for all of them."""
        batches: list[tuple[int, int, Batch]] = []
        for place, stage, some in folders:
            folder = f"{place}/{stage.name}"
            there, links = self._listed(folder)
            names = there if some is None else some
            self.found.listed[folder] = len(names)
            for start in range(0, len(names), _PORTION):
                portion = names[start : start + _PORTION]
                batch = (place, stage.name, portion, links.intersection(portion) if links else links)
                batches.append((start, len(names), batch))
        processes = processors() if sum(len(one[2]) for _, _, one in batches) > self._many else 1
        with closing(Helpers(partial(reading, self._root, self._identity), processes)) as helpers:
            answers = helpers.answers([batch for _, _, batch in batches])
            for done, many, batch in batches:
                self._tell(f"reading {batch[0]}/{batch[1]}", done, many)
                self._take(batch, next(answers))

    def _take(self, batch: Batch, block: Block) -> None:
        """Take what came of a batch."""
        place, stage, names, _ = batch
        found, defects = block
        self.found.defects += defects
        nodes, digests, left = self.found.nodes.folder(place, stage), self.found.digests, self.found.left
        for name, one in zip(names, found, strict=True):
            path = f"{place}/{stage}/{name}"
            if isinstance(one, str):
                digests[path] = one
                left.add(path)
            else:
                digests[path] = one[4]
                nodes[name] = Node(place, stage, name, *one)

    def _listed(self, folder: str) -> tuple[list[str], frozenset[str]]:
        """Return what is in a folder, sorted, and which of it are links; nothing where it is not there."""
        with storage_errors(f"cannot list {folder}", denied=READABLE):
            try:
                with os.scandir(f"{self._root}/{folder}") as entries:
                    found = list(entries)
            except (FileNotFoundError, NotADirectoryError):
                return [], frozenset()
            return sorted([one.name for one in found]), frozenset([one.name for one in found if one.is_symlink()])

    def _name_strays(self, place: str) -> None:
        for name in names_in(f"{self._root}/{place}"):
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
            if not FILE_NAME.fullmatch(task) or S_ISLNK(mode_of(f"{self._root}/{path}")):
                self.found.defects.append(Defect(kinds.FOREIGN, path, "is no folder of attempts"))
                continue
            self.found.attempts.append(self._attempts_at(AttemptTask(place, stage.name, task), stage))

    def _attempts_at(self, one: AttemptTask, stage: Stage) -> AttemptTask:
        sealed = []
        for number in names_in(f"{self._root}/{one.path}"):
            where = f"{one.path}/{number}/{METADATA}"
            try:
                data = read_plain(f"{self._root}/{where}")
            except OSError as error:
                if lies_with_the_file(error):
                    continue  # an incomplete directory, kept as it was found
                raise
            self.found.digests[where] = hashlib.sha256(data).hexdigest()
            before = len(self.found.defects)
            stated = attempt_values(data, stage, one.task, self._identity, where, self.found.defects)
            one.broken = one.broken or len(self.found.defects) > before
            if stated is not None:
                one.values, one.replicate = stated
                sealed.append(number)
        one.sealed = tuple(sealed)
        return one
