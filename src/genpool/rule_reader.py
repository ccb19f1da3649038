"""The section `rules:` of a cohort.yaml to Rules: every axis and level known, every problem noted with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from genpool.columns import FILE, clean, names_file, read_columns
from genpool.errors import nearest
from genpool.rules import COMBO_AXIS, Axis, Coupling, Rules, Subset, Tie
from genpool.yaml_reader import Items, Node, Problems, Scalar, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from genpool.inputs import Inputs
    from genpool.relations import Row
    from genpool.stages import Pipeline, Stage

_KINDS: Final = ("subsets", "ties", "pairs", "tuples")
_MOST_TOLD: Final = 20
"""So many wrong rows of one rule are told one by one."""
_MOST_COMPARED: Final = 1000
"""Among more levels than these no nearest one is looked for."""

_T = TypeVar("_T")
_Placed = tuple[str, int, "Row"]
"""Values with their place: what stands before a message (file and line of a CSV), and the line of the spec."""


class RuleReader:
    """Reads the rules of one spec, collecting what is wrong.

    Args:
        pipeline: The pool's stages.
        selected: The names of those that the spec selects.
        levels: An axis of these to its levels, or None where they could not be read.
        inputs: Where the pool's files are.
        problems: Told what is wrong.
        roots: The stage of the generations that the spec starts from, where it has `from:`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        selected: Collection[str],
        levels: Callable[[Axis], Sequence[str] | None],
        inputs: Inputs,
        problems: Problems,
        roots: Stage | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.selected = selected
        self.levels = levels
        self.inputs = inputs
        self.problems = problems
        self.given = () if roots is None else (roots.name, *(one.name for one in pipeline.ancestors(roots)))

    def read(self, node: Node | None) -> Rules:
        """Return the rules that are usable, each kind in the order of the file."""
        table = self.problems.table(node, "rules")
        if table is None:
            return Rules()
        self.problems.known_keys(table, _KINDS, "rules")
        pairs = self._each(table, "pairs", self._pair)
        return Rules(
            subsets=self._each(table, "subsets", self._subset),
            ties=self._each(table, "ties", self._tie),
            couplings=(*pairs, *self._each(table, "tuples", self._tuple)),
        )

    def _each(self, table: Table, kind: str, read_one: Callable[[Node, str], _T | None]) -> tuple[_T, ...]:
        node = table.entries.get(kind)
        where = f"rules.{kind}"
        if node is not None and not isinstance(node, Items):
            self.problems.add(f"{where} must be a list of rules", node.line)
        found = [read_one(item, where) for item in node] if isinstance(node, Items) else []
        return tuple(one for one in found if one is not None)

    # -- one rule ----------------------------------------------------------------------------------

    def _subset(self, node: Node, where: str) -> Subset | None:
        table = self._entries(node, where, ("axis", "keep"))
        if table is None:
            return None
        axis = self._axis(table.entries["axis"], where)
        keep = table.entries["keep"]
        if axis is None:
            return None
        if names_file(keep):
            typed = self._file(keep, [(str(axis), axis.name)])
        elif isinstance(keep, Items):
            self._not_empty(keep, f"{where}: keep", "level")
            rows = Items(tuple(Items((item,), item.line) for item in keep), keep.line)
            typed = list(self._rows(rows, [axis], where))
        else:
            self.problems.add(f"{where}: keep must be a list of levels or `{FILE}…`", keep.line)
            return None
        return Subset(axis, tuple(level for (level,) in self._known(typed, [axis], where)), node.line)

    def _tie(self, node: Node, where: str) -> Tie | None:
        if not isinstance(node, Items):
            self.problems.add(f"{where}: a tie is a list of axes", node.line, "for instance [draft.model, essay.model]")
            return None
        axes = self._axes(node, where)
        if axes is not None and len(axes) < 2:
            self.problems.add(f"{where}: a tie needs two axes or more", node.line)
            return None
        return None if axes is None else Tie(axes, node.line)

    def _pair(self, node: Node, where: str) -> Coupling | None:
        table = self._entries(node, where, ("left", "right", "allowed"), ("balanced",))
        if table is None:
            return None
        balanced = self.problems.flag(table, "balanced", where) or False
        sides = Items((table.entries["left"], table.entries["right"]), table.line)
        return self._coupling("pairs", sides, table, where, balanced=balanced)

    def _tuple(self, node: Node, where: str) -> Coupling | None:
        table = self._entries(node, where, ("axes", "allowed"))
        if table is None:
            return None
        axes = table.entries["axes"]
        if not isinstance(axes, Items):
            self.problems.add(f"{where}: axes must be a list of axes", axes.line)
            return None
        self._not_empty(axes, f"{where}: axes", "axis")
        return self._coupling("tuples", axes, table, where) if axes.items else None

    def _coupling(self, kind: str, node: Items, table: Table, where: str, *, balanced: bool = False) -> Coupling | None:
        axes = self._axes(node, where)
        if axes is None:
            return None
        allowed = table.entries["allowed"]
        if names_file(allowed):
            typed = self._file(allowed, [(str(axis),) for axis in axes])
        elif isinstance(allowed, Items):
            self._not_empty(allowed, f"{where}: allowed", "row")
            typed = list(self._rows(allowed, axes, where))
        else:
            self.problems.add(f"{where}: allowed must be a list of rows or `{FILE}…`", allowed.line)
            return None
        return Coupling(kind, axes, self._known(typed, axes, where), table.line, balanced)

    # -- its parts ---------------------------------------------------------------------------------

    def _entries(self, node: Node, where: str, needed: Sequence[str], others: Sequence[str] = ()) -> Table | None:
        """Return a rule as a table that has all that it needs."""
        known = (*needed, *others)
        if not isinstance(node, Table):
            self.problems.add(f"{where}: a rule is a mapping of {', '.join(known)}", node.line)
            return None
        self.problems.known_keys(node, known, where)
        lacking = [key for key in needed if key not in node.entries]
        for key in lacking:
            self.problems.add(f"{where}: the key {key!r} is missing", node.line)
        return None if lacking else node

    def _not_empty(self, node: Items, where: str, what: str) -> None:
        if not node.items:
            self.problems.add(f"{where} is empty", node.line, f"name at least one {what}, or leave the rule out")

    def _axes(self, nodes: Items, where: str) -> tuple[Axis, ...] | None:
        """Return different axes, or None where one of them is none or comes twice."""
        axes: dict[Axis, None] = {}
        sound = True
        for node in nodes:
            axis = self._axis(node, where)
            if axis is not None and axis in axes:
                self.problems.add(f"{where}: {axis} is given twice", node.line)
            sound = sound and axis is not None and axis not in axes
            if axis is not None:
                axes[axis] = None
        return tuple(axes) if sound else None

    def _axis(self, node: Node, where: str) -> Axis | None:
        """Return an axis that is typed as `stage.axis`."""
        if not isinstance(node, Scalar):
            self.problems.add(f"{where}: an axis is written stage.axis", node.line)
            return None
        typed = clean(node.text)
        stage_name, dot, name = typed.rpartition(".")
        if not dot:
            known = [str(axis) for one in self.selected for axis in _axes_of(self.pipeline[one])]
            hint = nearest(typed, known)
            self.problems.add(f"{where}: {typed!r} is not an axis; an axis is written stage.axis", node.line, hint)
        elif stage_name not in self.pipeline:
            hint = nearest(stage_name, self.pipeline.names)
            self.problems.add(f"{where}: unknown stage {stage_name!r} in {typed!r}", node.line, hint)
        elif stage_name in self.given:
            said = (
                f"the cohort starts from {self.given[0]} generations that exist, and rules are for what is below them"
            )
            hint = "list under `from:` the generations that you want, or leave the rule out"
            self.problems.add(f"{where}: {typed!r}: {said}", node.line, hint)
        elif name == "replicates":
            hint = f"`replicates: …` in the section `{stage_name}:` sets their number"
            self.problems.add(f"{where}: {typed!r}: replicates are not an axis", node.line, hint)
        elif (axis := Axis(stage_name, name)) not in (axes := _axes_of(self.pipeline[stage_name])):
            hint = nearest(name, [one.name for one in axes])
            self.problems.add(f"{where}: stage {stage_name!r} has no axis {name!r}", node.line, hint)
        elif stage_name not in self.selected:
            hint = f"add a section `{stage_name}:`, or leave the rule out"
            self.problems.add(f"{where}: {typed!r}: stage {stage_name!r} is not selected", node.line, hint)
        else:
            return axis
        return None

    def _rows(self, node: Items, axes: Sequence[Axis], where: str) -> Iterator[_Placed]:
        """Yield the rows of a list that have a value for every axis."""
        right = f"{len(axes)} values: {', '.join(map(str, axes))}" if len(axes) > 1 else f"1 value: {axes[0]}"
        for item in node:
            if not isinstance(item, Items):
                self.problems.add(f"{where}: a row is a list of {right}", item.line)
            elif len(item.items) != len(axes):
                self.problems.add(f"{where}: a row has {right}; this one has {len(item.items)}", item.line)
            else:
                row = tuple(clean(value.text) for value in item if isinstance(value, Scalar))
                if len(row) < len(axes):
                    self.problems.add(f"{where}: a level must be plain text", item.line)
                else:
                    yield "", item.line, row

    def _file(self, node: Scalar, headings: Sequence[Sequence[str]]) -> list[_Placed]:
        found = read_columns(self.inputs, node, headings, self.problems)
        return [(f"{place}: ", node.line, values) for place, values in found]

    def _known(self, typed: Iterable[_Placed], axes: Sequence[Axis], where: str) -> tuple[Row, ...]:
        """Return the rows whose levels the axes have, each once; note the others."""
        levels = [self.levels(axis) for axis in axes]
        sets = [None if known is None else frozenset(known) for known in levels]
        rows: dict[Row, None] = {}
        wrong = 0
        last = 0
        for place, line, row in typed:
            unknown = [at for at, known in enumerate(sets) if known is not None and row[at] not in known]
            if not unknown and row not in rows:
                rows[row] = None
                continue
            wrong, last = wrong + 1, line
            if wrong > _MOST_TOLD:
                continue
            for at in unknown:
                self._unknown(f"{place}{where}", axes[at], row[at], levels[at] or (), line)
            if not unknown:
                self.problems.add(f"{place}{where}: {', '.join(row)} is listed twice", line)
        if wrong > _MOST_TOLD:
            self.problems.add(f"{where}: {wrong - _MOST_TOLD:,} more rows are wrong", last)
        return tuple(rows)

    def _unknown(self, where: str, axis: Axis, value: str, known: Sequence[str], line: int) -> None:
        hint = nearest(value, known) if len(known) <= _MOST_COMPARED else None
        self.problems.add(f"{where}: the spec has no level {value!r} on {axis}", line, hint)


def _axes_of(stage: Stage) -> list[Axis]:
    """Return the axes of a stage; those of a root begin with its combos."""
    names = [stage.axis_name(field) for field in stage.axes]
    return [Axis(stage.name, name) for name in ([COMBO_AXIS, *names] if stage.parent is None else names)]
