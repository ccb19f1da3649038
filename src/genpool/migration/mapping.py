"""New ids: slots by family, then ids from the root down, each child from its parent's new id.

Pure, but for texts that are compared where two generations have one signature.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from genpool.migration import defects as kinds
from genpool.migration.defects import Defect
from genpool.migration.reading import OPAQUE, RIGHT, Node
from genpool.slots import Sibling, assign, seconds_of
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from genpool.migration.identity import Change
    from genpool.signatures import FieldValue
    from genpool.stages import Stage

GENS = "gens"
_MOST_VARIANTS: Final = 10_000  # of a stage, of which it is kept how their ids are made

Task = tuple[str, str]
"""Stage and id."""


class Nodes:
    """The generations of a pool, by where they are."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], dict[str, Node]] = {}
        self._bearing: dict[str, list[Node]] | None = None

    def folder(self, place: str, stage: str) -> dict[str, Node]:
        """Return the generations of a stage at a place by id, to be added to before anything is asked."""
        return self._found.setdefault((place, stage), {})

    def get(self, place: str, stage: str, gen_id: str) -> Node | None:
        """Return what stands at a place."""
        return self._found.get((place, stage), {}).get(gen_id)

    def of(self, place: str, stage: str) -> Mapping[str, Node]:
        """Return the generations of a stage at a place, by id."""
        return self._found.get((place, stage), {})

    def folders(self) -> Iterator[tuple[str, str, Mapping[str, Node]]]:
        """Yield every place and stage with its generations by id."""
        for (place, stage), found in self._found.items():
            yield place, stage, found

    def places(self) -> list[str]:
        """Return the places: `gens` first, then the trash."""
        return sorted({place for place, _ in self._found}, key=lambda one: (one != GENS, one))

    def __iter__(self) -> Iterator[Node]:
        for found in self._found.values():
            yield from found.values()

    def bearing(self, gen_id: str) -> list[Node]:
        """Return what bears an id, in any stage of any place."""
        if self._bearing is None:
            self._bearing = defaultdict(list)
            for found in self._found.values():
                for node in found.values():
                    self._bearing[node.gen_id].append(node)
        return self._bearing.get(gen_id, [])


class Mapper:
    """Gives every generation its slot and its new id, or says why it stays.

    Args:
        nodes: The generations.
        change: What changes.
        recorded: Stage to gen id to slot, as legacy.csv has it.
        left: Directories that stay as they are (path, without a node): what refers to one stays too.
        texts: A generation to the digest of its text; asked where two have one signature.
    """

    def __init__(
        self,
        nodes: Nodes,
        change: Change,
        recorded: Mapping[str, Mapping[str, int]],
        left: frozenset[str],
        texts: Callable[[Node], str],
    ) -> None:
        self._nodes = nodes
        self._change = change
        self._recorded = recorded
        self._left = left
        self._texts = texts
        self._plain = {
            stage.name: change.target.pipeline[stage.name]
            for stage in change.now.pipeline
            if change.target.pipeline[stage.name].fields == stage.fields
            and not any(name.endswith(REFERENCE_SUFFIX) for name in stage.axes)
            and (change.relabel is None or change.relabel.stage != stage.name)
        }
        self.defects: list[Defect] = []

    def map(self) -> None:
        """Do it."""
        self._assign_slots()
        pipeline = self._change.now.pipeline
        waiting = [
            node for place in self._nodes.places() for stage in pipeline for node in self._unsettled(place, stage)
        ]
        while waiting:
            later = [node for node in waiting if not self._settle(node)]
            if len(later) == len(waiting):
                for node in later:
                    self._block(node, kinds.CYCLE, "its references lead back to itself")
                break
            waiting = later
        self._refuse_taken()

    # -- slots -------------------------------------------------------------------------------------

    def _assign_slots(self) -> None:
        """Give every generation its slot among what shares its signature but for the replicate.

        What is in the trash comes after what is not: its undo must find its place free.
        """
        places = self._nodes.places()
        for stage in self._change.now.pipeline:
            families: dict[tuple[str, ...], list[Node]] = defaultdict(list)
            for place in places:
                for node in self._nodes.of(place, stage.name).values():
                    if node.sealed:
                        node.slot = node.stated
                    if place == GENS or not node.sealed:
                        families[node.values].append(node)
            self._assign_families(families.values(), self._recorded.get(stage.name, {}))

    def _assign_families(self, families: Iterable[list[Node]], recorded: Mapping[str, int]) -> None:
        for members in families:
            if len(members) == 1 and members[0].place == GENS:
                only = members[0]
                if not only.sealed:
                    kept = only.stated if only.made_by == RIGHT else None
                    only.slot = kept or recorded.get(only.gen_id) or only.stated or 1
                continue
            if all(node.sealed for node in members):
                continue
            self._note_same(members)
            living = {one.gen_id: one for one in members if one.place == GENS}
            self._assign(living, members, recorded)

    @staticmethod
    def _assign(living: Mapping[str, Node], members: list[Node], recorded: Mapping[str, int]) -> None:
        siblings = [
            Sibling(one.gen_id, one.stated, one.made_by != RIGHT, seconds_of(one.created)) for one in living.values()
        ]
        slots = assign(siblings, recorded)
        for slot, gen_id in slots.items():
            living[gen_id].slot = slot
        taken = set(slots)
        for node in sorted((one for one in members if one.place != GENS), key=lambda one: one.path):
            wanted = node.stated or recorded.get(node.gen_id)
            if node.made_by != RIGHT and (wanted is None or wanted in taken):
                wanted = next(slot for slot in range(1, len(taken) + 2) if slot not in taken)
            node.slot = wanted
            taken.add(wanted or 0)

    def _note_same(self, members: list[Node]) -> None:
        """Name generations that state one signature; those whose texts are equal too as twins."""
        stating: dict[int | None, list[Node]] = defaultdict(list)
        for node in members:
            if node.place == GENS:
                stating[node.stated].append(node)
        for alike in stating.values():
            if len(alike) < 2:
                continue
            alike.sort(key=lambda one: one.gen_id)
            texts: dict[str, str] = {}
            for node in alike:
                digest = self._texts(node)
                first = texts.setdefault(digest, node.gen_id)
                if first != node.gen_id:
                    said = f"has the signature and the text of {first}; each gets a slot of its own"
                    self.defects.append(Defect(kinds.TWINS, node.path, said))
                elif node is not alike[0]:
                    said = f"has the signature of {alike[0].gen_id}, and another text; each gets a slot of its own"
                    self.defects.append(Defect(kinds.SAME_SIGNATURE, node.path, said))

    # -- ids ---------------------------------------------------------------------------------------

    def _unsettled(self, place: str, stage: Stage) -> list[Node]:
        """Give the generations of a folder their new ids where that is plain; return the others.

        It is plain in a stage whose fields stay and whose only reference is its parent, which stands beside and has its
        new id: nearly everywhere.
        """
        nodes = self._nodes.of(place, stage.name)
        target = self._plain.get(stage.name)
        if target is None or self._change.relabel is not None:
            return list(nodes.values())
        parents = None if stage.parent is None else self._nodes.of(place, stage.parent)
        makers: dict[tuple[tuple[str, ...], int], Callable[[str], str]] = {}
        others = []
        for node in nodes.values():
            source, variant = node.values[0], (node.values[1:], node.slot or 0)
            if parents is not None:
                parent = parents.get(source)
                if parent is None or parent.new_id is None:
                    others.append(node)
                    continue
                node.moved_parent = parent.new_id != source
                source = parent.new_id
            make = makers.get(variant)
            if make is None:
                if len(makers) > _MOST_VARIANTS:
                    makers.clear()
                make = makers[variant] = self._change.target.make.below(target, (*variant[0], variant[1]))
            node.new_id = make(source)
        return others

    def _settle(self, node: Node) -> bool:
        """Give a generation its new id; return False where what it refers to must be settled first."""
        stage = self._change.now.pipeline[node.stage]
        if self._change.relabel is not None and not node.sealed:
            node.new_id = node.gen_id  # a fork is about what has fingerprints; other records are no affair of it
            return True
        if node.stage in self._plain:
            return self._settle_plainly(node, stage)
        fields: dict[str, FieldValue] = dict(self._change.values(stage, node.values, node.gen_id))
        for name, value in list(fields.items()):
            if not name.endswith(REFERENCE_SUFFIX):
                continue
            referred = self._referred(node, stage, name, str(value))
            if referred is None:
                return True
            if referred.blocked:
                said = f"its {name} {value} ({referred.path}) stays as it is"
                self._block(node, kinds.PARENT_BLOCKED, said)
                return True
            if referred.new_id is None:
                return False
            node.moved_parent = node.moved_parent or referred.new_id != referred.gen_id
            fields[name] = referred.new_id
        assert node.slot is not None
        target = self._change.target.pipeline[node.stage]
        node.new_id = self._change.target.make(target, (*fields.values(), node.slot))
        return True

    def _settle_plainly(self, node: Node, stage: Stage) -> bool:
        """Do the same in a stage whose fields stay and whose only reference is its parent: nearly every stage."""
        source = node.values[0]
        if stage.parent is not None:
            parent = self._nodes.get(node.place, stage.parent, source)
            if parent is None or parent.blocked:
                parent = self._referred(node, stage, PARENT_FIELD, source)
            if parent is None:
                return True
            if parent.blocked:
                said = f"its {PARENT_FIELD} {source} ({parent.path}) stays as it is"
                self._block(node, kinds.PARENT_BLOCKED, said)
                return True
            if parent.new_id is None:
                return False
            node.moved_parent = parent.new_id != source
            source = parent.new_id
        node.new_id = self._change.target.make(self._plain[stage.name], (source, *node.values[1:], node.slot or 0))
        return True

    def _referred(self, node: Node, stage: Stage, name: str, gen_id: str) -> Node | None:
        """Return what a field refers to; None, and the generation stays, where that is not clear."""
        if name == PARENT_FIELD:
            assert stage.parent is not None
            found = self._in_stage(node, stage.parent, gen_id)
        else:
            among = [one for one in self._nodes.bearing(gen_id) if one.place == GENS]
            if len(among) > 1:
                where = " and ".join(one.path for one in among)
                self._block(node, kinds.AMBIGUOUS, f"its {name} {gen_id} is {where}")
                return None
            found = among[0] if among else None
        if found is None:
            self._block(node, *self._orphaned(stage, name, gen_id))
        return found

    def _in_stage(self, node: Node, stage: str, gen_id: str) -> Node | None:
        """Return a generation by its id: beside the one that refers to it, else in gens/, else in the trash."""
        for place in (node.place, GENS):
            if found := self._nodes.get(place, stage, gen_id):
                return found
        if node.place == GENS:
            return None
        others = [one for place in self._nodes.places() if (one := self._nodes.get(place, stage, gen_id))]
        return others[0] if len(others) == 1 else None

    def _orphaned(self, stage: Stage, name: str, gen_id: str) -> tuple[str, str]:
        """Return kind and words for a reference that leads nowhere."""
        stages = [str(stage.parent)] if name == PARENT_FIELD else list(self._change.now.pipeline.names)
        for one in stages:
            if f"{GENS}/{one}/{gen_id}" in self._left:
                return kinds.PARENT_BLOCKED, f"its {name} {gen_id} (gens/{one}/{gen_id}) stays as it is"
        elsewhere = [
            one
            for one in self._change.now.pipeline.names
            if self._nodes.get(GENS, one, gen_id) or f"{GENS}/{one}/{gen_id}" in self._left
        ]
        if elsewhere:
            said = f"its {name} {gen_id} is of stage {elsewhere[0]!r}, not of {stage.parent!r}"
            return kinds.OTHER_STAGE, said
        return kinds.ORPHAN, f"its {name} {gen_id} is not there"

    def _block(self, node: Node, kind: str, said: str) -> None:
        node.blocked = True
        node.new_id = None
        self.defects.append(Defect(kind, node.path, said))

    # -- places ------------------------------------------------------------------------------------

    def _refuse_taken(self) -> None:
        """Block what would get an id that something bears which stays, until nothing of that is left."""
        left: dict[str, set[str]] = defaultdict(set)
        for path in self._left:
            folder, _, name = path.rpartition("/")
            left[folder].add(name)
        while True:
            wrong: list[tuple[Node, str]] = []
            for place, stage, nodes in self._nodes.folders():
                going = [node for node in nodes.values() if not node.blocked]
                staying = {node.gen_id for node in nodes.values() if node.blocked} | left.get(f"{place}/{stage}", set())
                ids = {node.new_id for node in going}
                if len(ids) < len(going) or not ids.isdisjoint(staying):
                    wrong += self._taken(f"{place}/{stage}", going, staying)
            for node, said in wrong:
                self._block(node, kinds.PLACE_TAKEN, said)
            if not wrong:
                return
            self._block_descendants()

    @staticmethod
    def _taken(folder: str, going: list[Node], staying: set[str]) -> Iterator[tuple[Node, str]]:
        """Yield what would get an id in a folder that something bears which stays, or that others get too."""
        wanted: dict[str, list[Node]] = defaultdict(list)
        for node in going:
            wanted[str(node.new_id)].append(node)
        for new_id, nodes in wanted.items():
            if new_id in staying:
                yield from ((node, f"its new id is taken: {folder}/{new_id} stays as it is") for node in nodes)
            elif len(nodes) > 1:
                named = " and ".join(node.gen_id for node in nodes)
                yield from ((node, f"{named} would have one id, {new_id}") for node in nodes)

    def _block_descendants(self) -> None:
        """Block what refers to something that is blocked."""
        again = True
        while again:
            again = False
            for node in self._nodes:
                if node.blocked:
                    continue
                stage = self._change.now.pipeline[node.stage]
                for name, value in zip(stage.fields, node.values, strict=False):
                    if name.endswith(REFERENCE_SUFFIX):
                        before = len(self.defects)
                        referred = self._referred(node, stage, name, value)
                        if referred is None:
                            assert len(self.defects) > before
                        elif referred.blocked:
                            self._block(node, kinds.PARENT_BLOCKED, f"its {name} {value} ({referred.path}) stays")
                            again = True


def reason_of(node: Node) -> str:
    """Return why a generation is touched: `opaque`, an older scheme's name, `parent`, `identity`, `seal`."""
    if node.made_by not in {RIGHT, OPAQUE}:
        return node.made_by
    if node.made_by == OPAQUE:
        return OPAQUE
    if node.moved_parent:
        return "parent"
    return "identity" if node.new_id != node.gen_id else "seal"
