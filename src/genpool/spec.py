"""cohort.yaml to CohortSpec: what a cohort selects, every name resolved.

This is the one reader that tolerates sloppy input: axis values are taken as literal text (`1.10`,
`010`, `no` and dates stay what was typed), stripped, and brought to Unicode form NFC. Nothing else is
mended. Every problem is collected before the reader fails, each with its line and what would be right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Final

from genpool.columns import FILE, clean, names_file, read_columns
from genpool.combos import Combo, check_spelling, list_names, read_text
from genpool.errors import InputError, InvalidSpec, NotFound, nearest
from genpool.from_reader import read_from
from genpool.prompts import DEFAULT_TEMPLATE, SCORING_HINT, lack_of_score
from genpool.records import MODE_COPY
from genpool.rule_reader import RuleReader
from genpool.rules import COMBO_AXIS, Axis, Limits, apply_rules
from genpool.signatures import field_problem
from genpool.stages import MODEL_FIELD, TEMPLATE_FIELD, Pipeline, Stage, axis_field
from genpool.yaml_reader import Items, Node, Problems, Scalar, Table, check_format, read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from genpool.config import PoolConfig
    from genpool.from_reader import FindRoots, Roots
    from genpool.inputs import Inputs

FORMAT: Final = "genpool.cohort/1"
MAX_TASKS: Final = 5_000_000
"""The most tasks that one spec may select."""
_FEW_COMBOS: Final = 1000
_ALL: Final = "all"
_BARE_FILE: Final = re.compile(r"""^([^'"#|>\n]*:[ \t]+)(@file:[^\s,}\]'"#]+)""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ComboAxis:
    """The combos that a root stage starts from: counted at once, made when their number is known to be bearable."""

    count: int
    """How many there are."""
    make: Callable[[], Sequence[Combo]] = field(compare=False)
    """Makes them, in order; each checked against what the pool recorded and rendered from what exists."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What a spec selects in one stage."""

    stage: Stage
    levels: Mapping[str, tuple[str, ...]]
    """Signature field of each axis to its levels, in the order of the spec."""
    replicates: int
    combos: ComboAxis | None = None
    """What a root stage starts from; None below a root."""


@dataclass(frozen=True, slots=True)
class CohortSpec:
    """What a cohort selects."""

    cohort_id: str
    description: str
    stages: tuple[StageSpec, ...]
    """The selected stages, parents before children."""
    text: str
    """The spec as written."""
    limits: Limits = field(default_factory=Limits)
    """What its rules leave of the levels."""
    roots: Roots | None = None
    """The generations that it starts from, where it has `from:`; else None."""


def read_spec(cohort_id: str, config: PoolConfig, inputs: Inputs, find_roots: FindRoots | None = None) -> CohortSpec:
    """Read a cohort's spec.

    Args:
        cohort_id: The cohort.
        config: The pool's configuration.
        inputs: The pool's inputs.
        find_roots: Finds the generations behind `from:`; left out, a spec with that key is refused.

    Raises:
        NotFound: There is no such cohort.
        UnsupportedFormat: A newer genpool's format.
        InvalidSpec: It is not usable; every problem is listed.
    """
    layout = inputs.layout
    path = layout.spec(cohort_id)
    known = list_names(layout.cohorts, "")
    if not path.is_file():
        raise NotFound(
            f"no cohort is named {cohort_id!r}: {path} does not exist",
            hint=(cohort_id not in known and nearest(cohort_id, known))
            or "write its cohort.yaml first; docs/formats.md shows one",
        )
    check_spelling(cohort_id, known, "cohorts")
    return parse_spec(cohort_id, read_text(path, layout.root), str(path), config, inputs, find_roots)


def parse_spec(
    cohort_id: str, text: str, file: str, config: PoolConfig, inputs: Inputs, find_roots: FindRoots | None = None
) -> CohortSpec:
    """Return the spec of a text; `file` is where problems say that it is. The rest is as for `read_spec`."""
    reader = _SpecReader(config, inputs, Problems(file), find_roots)
    spec = reader.read(cohort_id, text)
    reader.problems.raise_if_any(InvalidSpec, f"cohort {cohort_id!r} is not usable")
    assert spec is not None
    return spec


def _quote_files(text: str) -> str:
    """Return a spec's text with its bare `@file:…` values in quotation marks: YAML reserves the character @."""
    found = 1
    while found:  # the last of each line is found first
        text, found = _BARE_FILE.subn(r"\1'\2'", text)
    return text


class _SpecReader:
    """Reads one spec, collecting what is wrong."""

    def __init__(self, config: PoolConfig, inputs: Inputs, problems: Problems, find_roots: FindRoots | None) -> None:
        self.pipeline: Pipeline = config.pipeline
        self.models = config.models
        self.inputs = inputs
        self.problems = problems
        self.find_roots = find_roots
        self.unread: set[Axis] = set()
        """Axes with a problem: what rules say of their levels cannot be judged."""

    def read(self, cohort_id: str, text: str) -> CohortSpec | None:
        tree = self.problems.table(read_yaml(_quote_files(text), self.problems), "a spec")
        if tree is None:
            return None
        check_format(tree, FORMAT, self.problems)
        self.problems.known_keys(tree, ("format", "description", "from", "rules", *self.pipeline.names), "a spec")
        rooted = "from" in tree.entries
        roots = self._roots(cohort_id, tree) if rooted else None
        stages = []
        for stage in self.pipeline:
            table = self.problems.table(tree.entries.get(stage.name), f"stage {stage.name!r}")
            if table is None:
                continue
            if rooted == (roots is not None) and not self._starts(stage, roots, tree):
                continue
            stages.append(self._stage(stage, table))
        if not stages and not rooted and not self.problems.found:
            tops = ", ".join(stage.name for stage in self.pipeline if stage.parent is None)
            self.problems.add("no stage is selected", tree.line, f"start with a section for {tops}")
        description = self.problems.text(tree, "description", "a spec") or ""
        return CohortSpec(cohort_id, description, tuple(stages), text, self._limits(tree, stages, roots), roots)

    def _roots(self, cohort_id: str, tree: Table) -> Roots | None:
        """Return the generations that the cohort starts from."""
        node = tree.entries["from"]
        source = read_from(node, self.pipeline, self.inputs, self.problems)
        if source is not None and self.find_roots is None:
            self.problems.add("from: cannot be used here, where what exists is not known", node.line)
        return self.find_roots(cohort_id, source, self.problems) if source and self.find_roots else None

    def _starts(self, stage: Stage, roots: Roots | None, tree: Table) -> bool:
        """Return whether a stage has its place below the roots; note a stage without the one that it starts from."""
        line = tree.entries[stage.name].line
        above = self.pipeline.ancestors(stage)
        if roots is not None and roots.stage not in above:
            start = roots.stage
            if stage == start or stage in self.pipeline.ancestors(start):
                why = f"the cohort starts from {start.name} generations that exist; it makes none of this stage"
            else:
                why = f"it does not start from {start.name}, and the cohort does"
            self.problems.add(f"stage {stage.name!r}: {why}", line, "leave the section out, or `from:`")
            return False
        start_name = roots.stage.name if roots else None
        if stage.parent not in {None, start_name} and stage.parent not in tree.entries:
            said = f"stage {stage.name!r} starts from {stage.parent!r}, which is not selected"
            self.problems.add(said, line, f"add a section `{stage.parent}:`")
        return True

    def _limits(self, tree: Table, stages: Sequence[StageSpec], roots: Roots | None) -> Limits:
        """Read the rules, and apply them where all is known that they speak of."""

        @cache
        def levels(axis: Axis) -> tuple[str, ...] | None:
            chosen = next((one for one in stages if one.stage.name == axis.stage), None)
            if chosen is None or axis in self.unread:
                return None
            if axis.name != COMBO_AXIS:
                return chosen.levels.get(axis_field(axis.name))
            try:
                return tuple(combo.combo_id for combo in chosen.combos.make()) if chosen.combos else None
            except InputError as error:
                self._adopt(error, tree.line_of(axis.stage))
                return None

        before = len(self.problems.found)
        selected = [stage.name for stage in self.pipeline if stage.name in tree.entries]
        start = roots.stage if roots else None
        reader = RuleReader(self.pipeline, selected, levels, self.inputs, self.problems, start)
        rules = reader.read(tree.entries.get("rules"))
        if len(self.problems.found) > before or any(levels(axis) is None for axis in rules.axes):
            return Limits()
        return apply_rules(rules, lambda axis: levels(axis) or (), self.problems)

    # -- stages and axes ---------------------------------------------------------------------------

    def _stage(self, stage: Stage, table: Table) -> StageSpec:
        axes = {stage.axis_name(name): name for name in stage.axes}
        self._known_axes(stage, table, axes)
        levels: dict[str, tuple[str, ...]] = {}
        for axis, signature_field in axes.items():
            if axis not in table.entries:
                self.problems.add(
                    f"stage {stage.name!r}: the axis {axis!r} is missing",
                    table.line,
                    f"for instance `{axis}: {'[level, …]' if self._known(stage, signature_field) is None else 'all'}`",
                )
                continue
            node = table.entries[axis]
            before = len(self.problems.found)
            values = self._levels(stage, axis, signature_field, node)
            if len(self.problems.found) > before:
                self.unread.add(Axis(stage.name, axis))
            if isinstance(node, Items) and not node.items:
                self.problems.add(
                    f"{stage.name}.{axis}: the list is empty", table.line_of(axis), "name at least one level"
                )
            levels[signature_field] = tuple(values)
        replicates = self.problems.whole_number(table, "replicates", f"stage {stage.name!r}") or stage.replicates
        self._check_modes(stage, levels, table)
        before = len(self.problems.found)
        combos = self._combos(stage, table) if stage.parent is None else None
        if len(self.problems.found) > before:
            self.unread.add(Axis(stage.name, COMBO_AXIS))
        return StageSpec(stage, levels, replicates, combos)

    def _known_axes(self, stage: Stage, table: Table, axes: Mapping[str, str]) -> None:
        """Note keys that the stage does not have; a model where none belongs gets its own hint."""
        known = {*axes, "replicates", *(("combo",) if stage.parent is None else ())}
        for key in table.entries:
            if key in known:
                continue
            hint = nearest(key, known)
            if key == "model":
                above = self.pipeline.model_stage(stage)
                runs_on = f"it runs on the model of its {above.name}; " if above else ""
                hint = (
                    f"{runs_on}to choose models here, give the stage a model axis in pool.yaml: axes: [template, model]"
                )
            self.problems.add(f"stage {stage.name!r} has no axis {key!r}", table.line_of(key), hint)

    def _levels(self, stage: Stage, axis: str, field: str, node: Node) -> list[str]:
        """Return the levels of an axis: a list, `all`, or `@file:levels.csv`."""
        where = f"{stage.name}.{axis}"
        known = self._known(stage, field)
        if isinstance(node, Scalar) and node.text.strip() == _ALL:
            if known is None:
                self.problems.add(
                    f"{where}: `all` needs a catalog, and this axis has none", node.line, "list its levels"
                )
            elif not known:
                self.problems.add(f"{where}: `all` finds none", node.line, self._where_to_add(stage, field))
            typed = [(name, node.line) for name in known or ()]
        elif names_file(node):
            typed = [(value, node.line) for value in self._column(node, axis)]
        elif isinstance(node, Items):
            typed = list(self._items(node, where))
        else:
            self.problems.add(f"{where} must be a list, `all` or `{FILE}…`", node.line)
            return []
        return self._checked(typed, where, field, known)

    def _items(self, node: Items, where: str) -> Sequence[tuple[str, int]]:
        typed = []
        for item in node:
            if isinstance(item, Scalar):
                typed.append((clean(item.text), item.line))
            else:
                self.problems.add(f"{where}: a level must be plain text", item.line)
        return typed

    def _checked(
        self, typed: Sequence[tuple[str, int]], where: str, field: str, known: Sequence[str] | None
    ) -> list[str]:
        """Return the levels that are allowed, known and not repeated."""
        values: dict[str, None] = {}  # in order, each once
        names = None if known is None else frozenset(known)
        for value, line in typed:
            problem = field_problem(field, value)
            if problem:
                self.problems.add(f"{where}: {value!r} {problem}", line)
            elif known is not None and names is not None and value not in names:
                self.problems.add(f"{where}: unknown {where.rpartition('.')[2]} {value!r}", line, nearest(value, known))
            elif value in values:
                self.problems.add(f"{where}: {value!r} is listed twice", line)
            else:
                values[value] = None
        return list(values)

    def _known(self, stage: Stage, field: str) -> list[str] | None:
        """Return the names that an axis can have, or None where any text will do."""
        if field == TEMPLATE_FIELD:
            return self.inputs.template_ids(stage.name)
        if field == MODEL_FIELD:
            return sorted(self.models)
        return None

    def _where_to_add(self, stage: Stage, field: str) -> str:
        return f"put a .j2 file into templates/{stage.name}/" if field == TEMPLATE_FIELD else "name models in pool.yaml"

    def _column(self, node: Scalar, axis: str) -> list[str]:
        """Return one column of a CSV with a header."""
        return [value for _, (value,) in read_columns(self.inputs, node, [(axis,)], self.problems)]

    def _check_modes(self, stage: Stage, levels: Mapping[str, tuple[str, ...]], table: Table) -> None:
        """Read the templates: note those that are not usable or do not fit the stage."""
        line = table.line_of("template")
        named = (DEFAULT_TEMPLATE,) if TEMPLATE_FIELD not in stage.axes else levels.get(TEMPLATE_FIELD, ())
        for template_id in named:
            try:
                template = self.inputs.template(stage.name, template_id)
            except InputError as error:
                self._adopt(error, line)
                continue
            if template.mode == MODE_COPY and (stage.parent is None or stage.has_model):
                why = "has no parent to copy" if stage.parent is None else "has a model axis, and a copy calls no model"
                self.problems.add(f"{stage.name}.template: {template_id!r} copies, but the stage {why}", line)
            elif template.mode != MODE_COPY and self.pipeline.model_stage(stage) is None:
                hint = "give it a model axis in pool.yaml"
                self.problems.add(
                    f"{stage.name}.template: {template_id!r} needs a model, and no stage above has one",
                    line,
                    hint,
                )
            elif wrong := lack_of_score(stage, template):
                self.problems.add(f"{stage.name}.template: {wrong}", line, SCORING_HINT)

    def _adopt(self, error: InputError, line: int) -> None:
        """Take over the problems of a file that the spec names."""
        if error.problems:
            self.problems.found.extend(error.problems)
        else:
            self.problems.add(error.message, line, error.hint)

    # -- combos ------------------------------------------------------------------------------------

    def _combos(self, stage: Stage, table: Table) -> ComboAxis | None:
        node = table.entries.get("combo")
        where = f"{stage.name}.combo"
        try:
            if isinstance(node, Items):
                return self._combos_by_id(node, where)
            if isinstance(node, Table):
                return self._rows(node, where) if "rows" in node.entries else self._choices(node, where)
        except InputError as error:
            self._adopt(error, table.line_of("combo"))
            return None
        if node is None:
            hint = "for instance `combo: {concepts: all, size: 2, level: paragraph}`"
            self.problems.add(f"stage {stage.name!r}: the axis 'combo' is missing", table.line, hint)
        else:
            self.problems.add(
                f"{where} must be a list of combo ids, or {{concepts, size, level}}, or {{rows}}", node.line
            )
        return None

    def _combos_by_id(self, node: Items, where: str) -> ComboAxis:
        known = self.inputs.book.by_id
        names = self._checked(self._items(node, where), where, "combo_id", sorted(known))
        if not node.items:
            self.problems.add(f"{where}: the list is empty", node.line, "name at least one combo")
        combos = [known[name] for name in names]
        for combo in combos:
            self.inputs.context(combo)
        return ComboAxis(len(combos), lambda: combos)

    def _rows(self, table: Table, where: str) -> ComboAxis:
        self.problems.known_keys(table, ("rows",), where)
        file = self.problems.text(table, "rows", where) or ""
        combos = [self.inputs.row_combo(file, row_id) for row_id in self.inputs.rows(file)]
        return ComboAxis(len(combos), lambda: combos)

    def _choices(self, table: Table, where: str) -> ComboAxis | None:
        """Return every choice of `size` concepts."""
        self.problems.known_keys(table, ("concepts", "size", "level", "rows"), where)
        size = self.problems.whole_number(table, "size", where)
        level = self.problems.text(table, "level", where)
        for key in ("concepts", "size", "level"):
            if key not in table.entries:
                self.problems.add(f"{where}: the key {key!r} is missing", table.line)
        before = len(self.problems.found)
        concepts = self._concepts(table, where)
        if size is None or level is None or not concepts:
            return None
        if size > len(concepts):
            if len(self.problems.found) == before:  # else some are unknown, which is told already
                said = f"{where}: size {size} of {len(concepts)} concepts gives no combo"
                self.problems.add(said, table.line_of("size"))
            return None
        count = comb(len(concepts), size)
        if count > MAX_TASKS:
            said = f"{where}: {count:,} combos; at most {MAX_TASKS:,} tasks are allowed"
            self.problems.add(said, table.line, "a smaller size, or fewer concepts")
            return None
        self._have_level(concepts, level, table.line_of("level"))
        book = self.inputs.book

        @cache
        def made() -> list[Combo]:
            combos = [book.of_concepts(chosen, level) for chosen in combinations(concepts, size)]
            for combo in combos:
                book.check(combo)
            return combos

        if count <= _FEW_COMBOS:
            made()  # so that what is wrong with them is told with the other problems
        return ComboAxis(count, made)

    def _have_level(self, concepts: Sequence[str], level: str, line: int) -> None:
        """Note concepts that are not usable, and as one problem those that have no text of a level."""
        lacking: list[str] = []
        others: set[str] = set()
        for name in concepts:
            try:
                levels = self.inputs.concept(name).levels
            except InputError as error:
                self._adopt(error, line)
                continue
            if level not in levels:
                lacking.append(repr(name))
                others.update(levels)
        if lacking:
            some = ", ".join(lacking[:5]) + (", …" if len(lacking) > 5 else "")
            said = f"concept {some} has" if len(lacking) == 1 else f"{len(lacking)} concepts have"
            more = "" if len(lacking) == 1 else f": {some}"
            self.problems.add(f"{said} no text of level {level!r}{more}", line, nearest(level, others))

    def _concepts(self, table: Table, where: str) -> list[str]:
        node = table.entries.get("concepts")
        known = self.inputs.concept_ids()
        if isinstance(node, Scalar) and node.text.strip() == _ALL:
            if not known:
                self.problems.add(f"{where}: `all` finds no concept", node.line, "put a .yaml file into concepts/")
            return known
        if names_file(node):
            typed: Sequence[tuple[str, int]] = [(value, node.line) for value in self._column(node, "concept")]
        elif isinstance(node, Items):
            typed = self._items(node, where)
            if not node.items:
                self.problems.add(f"{where}: the list of concepts is empty", node.line, "name at least one concept")
        else:
            if node is not None:
                self.problems.add(f"{where}: concepts must be a list, `all` or `{FILE}…`", node.line)
            return []
        return self._checked(typed, f"{where}.concept", "concept", known)
