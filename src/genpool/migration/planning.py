"""What a migration would do to a pool: read, classified, mapped. Writes nothing."""

from __future__ import annotations

import gc
import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from operator import attrgetter
from stat import S_ISLNK
from typing import TYPE_CHECKING, Final

from genpool.durable import lies_with_the_file, mode_of, names_in, reading, refuse_link
from genpool.layout import PARSED
from genpool.migration import books
from genpool.migration import defects as kinds
from genpool.migration.book_writer import CACHE, BookWriter, book_paths, why_left
from genpool.migration.counts import FILES, IDS, MEMBERS, entry_counts, file_counts, id_counts, member_counts, staying
from genpool.migration.defects import Defect
from genpool.migration.inventory import AttemptTask, Inventory, Reader
from genpool.migration.mapping import Mapper, Task, reason_of
from genpool.migration.reading import RIGHT, Node, read_plain
from genpool.migration.renames import ATTEMPTS, FORK, GENS, MEMBER, Row, aliases_of
from genpool.signatures import field_problem
from genpool.slots import read_slots
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX, REPLICATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from genpool.layout import PoolLayout
    from genpool.migration.counts import Counts
    from genpool.migration.identity import Change
    from genpool.signatures import FieldValue


@dataclass(slots=True)
class Planned:
    """What a migration would do."""

    change: Change
    rows: list[Row]
    defects: list[Defect]
    inventory: Inventory
    books: dict[str, str]
    """The files beside records that are rewritten or, where the digest is empty, taken away: path to digest now."""
    cohorts: dict[str, dict[str, int]]
    """Cohort to how many members it lists, and how many of them get another id."""
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Stage to how many generations are what."""
    configs: Mapping[str, bytes] = field(default_factory=dict)
    """The pool.yaml `before` and `after`; empty where it stays."""
    added: Mapping[str, bytes] = field(default_factory=dict)
    """The files that the pool gets: path to content."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.rows and not self.configs

    @property
    def blocking(self) -> list[Defect]:
        """The defects that keep something as it is."""
        return [one for one in self.defects if one.blocks]

    def counts(self) -> Counts:
        """Return how much of the pool it is about."""
        rows, found = self.rows, self.inventory
        moving = {(row.place, row.stage, row.old_id) for row in rows if row.place.endswith(ATTEMPTS)}
        attempts = (len(one.sealed) for one in found.attempts if (one.place, one.stage, one.task) in moving)
        records = sum(row.place.endswith(GENS) for row in rows)
        return {
            **entry_counts(found.listed, rows, staying(found.listed, (one.path for one in self.blocking))),
            MEMBERS: member_counts(self.cohorts.values()),
            IDS: id_counts(aliases_of(rows)),
            FILES: file_counts({"records": records, ATTEMPTS: sum(attempts), "others": len(self.books)}),
        }


@dataclass(slots=True)
class _Members:
    """What a membership lists."""

    count: int = 0
    renamed: int = 0
    """How many of those that are there get another id."""
    unmade: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """The lines of those that are not there: number, and cells by column."""


_NONE: Final[dict[str, Node]] = {}


class Planner:
    """Plans a migration.

    Args:
        layout: The pool's paths.
        change: What changes.
        configs: The pool.yaml `before` and `after`; empty where it stays.
        tell: Told how far it is.
        added: The files that the pool gets: path to content.
    """

    def __init__(
        self,
        layout: PoolLayout,
        change: Change,
        configs: Mapping[str, bytes],
        tell: Callable[[str, int, int], None],
        added: Mapping[str, bytes] | None = None,
    ) -> None:
        self._added = added or {}
        self._layout = layout
        self._root = os.fspath(layout.root)
        self._change = change
        self._configs = configs
        self._tell = tell
        self._ids: dict[Task, str | None] = {}
        self._replicates: dict[Task, int] = {}
        self._member_rows: dict[Task, Row] = {}
        self._told: set[Task] = set()
        self._defects: list[Defect] = []

    def plan(self) -> Planned:
        """Return what would be done.

        Raises:
            CorruptFile: legacy.csv is damaged: nobody knows which slots are recorded.
            StorageFailed: The file system refused.
        """
        collects = gc.isenabled()
        gc.disable()  # a hundred thousand values that stay: looking through them again and again frees nothing
        try:
            return self._planned()
        finally:
            if collects:
                if not gc.get_freeze_count():  # else somebody else froze what is to stay frozen
                    gc.freeze()
                    gc.unfreeze()  # both at once make them old: the next young collection passes them over
                gc.enable()

    def _planned(self) -> Planned:
        found = Reader(self._root, self._change.now, self._tell).read()
        self._found = found
        self._tell("computing ids", 0, 1)
        refuse_link(self._layout.legacy)
        recorded = read_slots(self._layout)
        mapper = Mapper(found.nodes, self._change, recorded, frozenset(found.left), self._text_of)
        mapper.map()
        rows = list(self._rows())
        cohorts = self._read_members()
        rows += [row for one in found.attempts if (row := self._attempts_row(one)) is not None]
        rows += self._member_rows.values()
        rows = self._free_places(rows)
        touched = self._books(rows)
        defects = sorted({*found.defects, *mapper.defects, *self._defects}, key=attrgetter("path", "kind", "said"))
        classes = self._classes(mapper.defects)
        return Planned(self._change, rows, defects, found, touched, cohorts, classes, self._configs, self._added)

    # -- generations -------------------------------------------------------------------------------

    def _ordered(self) -> Iterator[Node]:
        for place in self._found.nodes.places():
            for stage in self._change.now.pipeline:
                yield from self._found.nodes.of(place, stage.name).values()

    def _is_touched(self, node: Node) -> bool:
        if node.blocked:
            return False
        return node.new_id != node.gen_id or not (node.sealed or self._change.relabel is not None)

    def _rows(self) -> Iterator[Row]:
        relabel = self._change.relabel
        for node in filter(self._is_touched, self._ordered()):
            forked = relabel is not None and relabel.holds(node.stage, node.gen_id)
            reason = FORK if forked else node.made_by if node.made_by != RIGHT else reason_of(node)
            yield Row(node.gen_id, str(node.new_id), node.stage, reason, node.slot or 0, node.place)

    def _text_of(self, node: Node) -> str:
        try:
            return hashlib.sha256(read_plain(f"{self._root}/{node.path}/{PARSED}")).hexdigest()
        except OSError as error:
            if not lies_with_the_file(error):
                raise
            return f"unreadable: {error.errno} {node.path}"

    def _classes(self, mapped: list[Defect]) -> dict[str, dict[str, int]]:
        """Return how many directories of each stage of gens/ are what."""
        blocked = {defect.path for defect in mapped if defect.blocks}
        counts: dict[str, dict[str, int]] = {}
        for stage in self._change.now.pipeline:
            nodes = self._found.nodes.of(GENS, stage.name).values()
            unusable = self._found.listed.get(f"{GENS}/{stage.name}", 0) - len(nodes)
            if nodes:
                made_by = Counter([node.made_by for node in nodes])
                first, *others = made_by  # what is printed first; the order is part of the plan's bytes
                counts[stage.name] = {
                    first: made_by[first],
                    "to change": sum(map(self._is_touched, nodes)),
                    "stays": sum(node.path in blocked for node in nodes) if blocked else 0,
                    **{one: made_by[one] for one in others},
                    "unusable": unusable,
                }
            elif unusable:
                counts[stage.name] = {"unusable": unusable}
        return counts

    # -- what is not made, and attempts ------------------------------------------------------------

    def _new_id(self, stage_name: str, values: Mapping[str, str], replicate: int, place: str) -> str | None:
        """Return the new id of a task that is no generation, or None where what it refers to is not known."""
        stage = self._change.now.pipeline[stage_name]
        fields: dict[str, FieldValue] = dict(
            self._change.values(stage, tuple(values[one] for one in stage.fields[:-1]))
        )
        for name, value in list(fields.items()):
            if name.endswith(REFERENCE_SUFFIX):
                if name != PARENT_FIELD:
                    return None
                new = self._task_id(str(stage.parent), str(value), place)
                if new is None:
                    return None
                fields[name] = new
        target = self._change.target.pipeline[stage_name]
        return self._change.target.make(target, (*fields.values(), replicate))

    def _task_id(self, stage: str, gen_id: str, place: str) -> str | None:
        """Return the new id of a generation or of a missing member; None where it stays or is not known."""
        for where in (f"{place.rpartition('/')[0]}/{GENS}".lstrip("/"), GENS):
            node = self._found.nodes.get(where, stage, gen_id)
            if node is not None:
                return node.new_id
        return self._ids.get((stage, gen_id))

    def _attempts_row(self, one: AttemptTask) -> Row | None:
        """Return what becomes of the attempts at a task; None where they stay."""
        sibling = f"{one.place.rpartition('/')[0]}/{GENS}".lstrip("/")
        node = self._found.nodes.get(sibling, one.stage, one.task) or self._found.nodes.get(GENS, one.stage, one.task)
        new_id: str | None = None
        slot = one.replicate or 0
        if node is not None:
            new_id, slot = node.new_id, node.slot or slot
        elif one.values is not None and one.replicate is not None:
            stage = self._change.now.pipeline[one.stage]
            new_id = self._new_id(
                one.stage, dict(zip(stage.fields, one.values, strict=False)), one.replicate, one.place
            )
        elif row := self._member_rows.get((one.stage, one.task)):
            new_id, slot = row.new_id, row.replicate
        if new_id is None or one.broken or not slot:
            said = "attempts at a task that keeps its id, or that nobody can tell; they stay where they are"
            if node is None or not node.blocked or one.broken:
                self._defects.append(Defect(kinds.UNKNOWN_TASK, one.path, said))
            return None
        if new_id == one.task:
            return None
        return Row(one.task, new_id, one.stage, "attempts", slot, one.place)

    def _free_places(self, rows: list[Row]) -> list[Row]:
        """Return the rows without those of attempts whose place is taken by attempts that stay or come too."""
        attempts = [row for row in rows if row.place.endswith(ATTEMPTS)]
        if not attempts:
            return rows
        going = {(row.place, row.stage, row.old_id) for row in attempts}
        wanted = Counter((row.place, row.stage, row.new_id) for row in attempts)
        kept = []
        for row in rows:
            target = (row.place, row.stage, row.new_id)
            stays = target not in going and f"{row.place}/{row.stage}/{row.new_id}" in self._found.digests
            if row.place.endswith(ATTEMPTS) and (wanted[target] > 1 or stays):
                said = f"there are attempts under its new id {row.new_id} too; they stay where they are"
                path = f"{row.place}/{row.stage}/{row.old_id}"
                self._defects.append(Defect(kinds.UNKNOWN_TASK, path, said))
            else:
                kept.append(row)
        return kept

    def _read_members(self) -> dict[str, dict[str, int]]:
        """Give the members that are not there their new ids; return how many members each cohort lists."""
        listed = {folder: found for folder in self._cohort_folders() if (found := self._members_of(folder)) is not None}
        self._tell_tasks(listed)
        self._tell_odd_books()
        counts: dict[str, dict[str, int]] = {}
        for folder, found in listed.items():
            renamed = found.renamed + sum(self._member(folder, number, row) for number, row in found.unmade)
            if not folder.startswith("trash/"):
                counts[folder.removeprefix("cohorts/")] = {"members": found.count, "renamed": renamed}
        return counts

    def _tell_odd_books(self) -> None:
        """Name the files that are left because they are no plain files of this pool."""
        for path in book_paths(self._root):
            if said := why_left(self._root, path):
                self._defects.append(books.unreadable(path, books.BookProblem(said)))

    def _members_of(self, folder: str) -> _Members | None:
        """Return what a cohort's membership lists; None where there is none that can be read."""
        path = f"{folder}/membership.csv"
        if why_left(self._root, path):
            return None
        try:
            return self._set_apart(folder, self._listed(path))
        except FileNotFoundError:
            return None
        except books.BookProblem as problem:
            self._defects.append(books.unreadable(path, problem))
            return None

    def _set_apart(self, folder: str, listed: Iterable[tuple[int, list[str], list[str]]]) -> _Members:
        """Tell the members that are there from those that are not.

        In the trash a generation beside the cohort counts first.
        """
        places = [GENS]
        if folder.startswith("trash/"):
            places.insert(0, f"{folder.rpartition('cohorts/')[0]}{GENS}")
        stages = self._change.now.pipeline.names
        layers = [{stage: self._found.nodes.of(place, stage) for stage in stages} for place in places]
        found = _Members()
        known: list[str] = []
        at_stage = at_id = 0
        for number, header, cells in listed:
            found.count += 1
            if header is not known:
                known = header
                at_stage, at_id = (len(header) - 1 - header[::-1].index(name) for name in ("stage", "gen_id"))
            if len(cells) < len(header):
                stage, gen_id = _task_of(dict(zip(header, cells, strict=False)))
            else:
                stage, gen_id = cells[at_stage], cells[at_id]  # of two columns of one name the last one counts
            for nodes in layers:
                node = nodes.get(stage, _NONE).get(gen_id)
                if node is not None:
                    found.renamed += not node.blocked and node.new_id != gen_id
                    break
            else:
                found.unmade.append((number, dict(zip(header, cells, strict=False))))
        return found

    def _listed(self, path: str) -> Iterator[tuple[int, list[str], list[str]]]:
        with reading(self._layout.root / path):
            try:
                data = read_plain(f"{self._root}/{path}")
            except OSError as error:
                if isinstance(error, FileNotFoundError) or not lies_with_the_file(error):
                    raise  # nobody knows what it says: left as it is, it would have ids that are given up
                raise books.BookProblem(f"cannot be read: {error.strerror}") from None
        first = True
        for number, header, cells in books.member_cells(data):
            if first and (more := set(header[: len(cells)]) - self._known_columns):
                named = ", ".join(sorted(map(str, more)))
                self._defects.append(
                    Defect(kinds.WIDE_MEMBERSHIP, path, f"has columns of its own, which stay: {named}")
                )
            first = False
            yield number, header, cells

    @property
    def _known_columns(self) -> set[str]:
        return {"stage", "gen_id", *(name for stage in self._change.now.pipeline for name in stage.fields)}

    def _tell_tasks(self, listed: Mapping[str, _Members]) -> None:
        """Give the tasks that are not made their new ids: those that attempts at them, or any membership, state.

        Repeated, since what one starts from may be stated further on.
        """
        stated = [
            ((one.stage, one.task), one.values, one.replicate, one.place)
            for one in self._found.attempts
            if one.values is not None and one.replicate is not None and not one.broken
        ]
        for folder, found in listed.items():
            for _, row in found.unmade:
                task = _task_of(row)
                if (signature := self._signature_of(task, row)) is not None:
                    stated.append((task, *signature, f"{folder.rpartition('cohorts/')[0]}{GENS}"))
        for _ in self._change.now.pipeline:
            stated = [one for one in stated if self._ids.get(one[0]) is None]
            for task, values, replicate, place in stated:
                fields = dict(zip(self._change.now.pipeline[task[0]].fields, values, strict=False))
                self._ids[task] = self._new_id(task[0], fields, replicate, place)
                self._replicates[task] = replicate

    def _member(self, folder: str, number: int, row: Mapping[str, str]) -> bool:
        """Look at a member that is not there; return whether its id changes."""
        task = _task_of(row)
        if f"{GENS}/{task[0]}/{task[1]}" in self._found.left:
            return False
        new_id = self._ids.get(task)
        if new_id is None:
            if task not in self._told:
                self._told.add(task)
                where = f"{folder}/membership.csv:{number}"
                self._defects.append(Defect(kinds.UNKNOWN_MEMBER, where, self._unknown(task, row)))
            return False
        if new_id != task[1]:
            self._member_rows[task] = Row(task[1], new_id, task[0], "member", self._replicates[task], MEMBER)
        return new_id != task[1]

    def _unknown(self, task: Task, row: Mapping[str, str]) -> str:
        """Say why nobody can tell what a member that is not there becomes."""
        stage, gen_id = task
        if stage not in self._change.now.pipeline:
            return f"no stage is named {stage!r}"
        if self._signature_of(task, row) is None:
            return f"{stage} {gen_id} is not there, and the line does not say which task it is; it stays"
        return f"{stage} {gen_id} is not there, and what it starts from keeps its id or is not known; it stays"

    def _signature_of(self, task: Task, row: Mapping[str, str]) -> tuple[tuple[str, ...], int] | None:
        """Return the signature's values and the replicate that a line states, if they give its id."""
        if task[0] not in self._change.now.pipeline:
            return None
        stage = self._change.now.pipeline[task[0]]
        values = tuple([row.get(one, "") for one in stage.fields[:-1]])
        stated = row.get(REPLICATE_FIELD, "")
        replicate = int(stated) if stated.isascii() and stated.isdecimal() and len(stated) < 11 else 0
        if any(field_problem(one, value) for one, value in zip(stage.fields, values, strict=False)):
            return None
        if field_problem(REPLICATE_FIELD, replicate):
            return None
        return (values, replicate) if self._change.now.make(stage, (*values, replicate)) == task[1] else None

    def _cohort_folders(self) -> list[str]:
        """Return the folders of cohorts, relative to the pool; those in the trash too."""
        tops = ["", *(f"trash/{one}/" for one in names_in(f"{self._root}/trash"))]
        folders = [f"{top}cohorts/{one}" for top in tops for one in names_in(f"{self._root}/{top}cohorts")]
        return [one for one in folders if not S_ISLNK(mode_of(f"{self._root}/{one}"))]

    # -- books -------------------------------------------------------------------------------------

    def _books(self, rows: list[Row]) -> dict[str, str]:
        """Return the files beside records that would be touched, each with its digest now."""
        if not rows and not self._configs:
            return {}
        found: dict[str, str] = {}
        writer = BookWriter(self._root, rows, self._change, self._configs.get("after"), self._added)
        for path in writer.paths():
            if path.endswith(CACHE):
                continue  # whatever it is when the migration is applied, it goes
            before = writer.before(path)
            try:
                after = writer.after(path)
            except books.BookProblem as problem:
                if not path.endswith("membership.csv"):  # told where its members were read
                    self._defects.append(books.unreadable(path, problem))
                continue
            if after != before:
                found[path] = hashlib.sha256(before).hexdigest() if before is not None else ""
        return found


def _task_of(row: Mapping[str, str]) -> Task:
    """Return stage and id of a line of a membership."""
    return row.get("stage", ""), row.get("gen_id", "")
