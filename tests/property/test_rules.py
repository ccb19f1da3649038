"""Rules against a brute force: the full product, filtered by one rule after another, projected on every stage."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from genpool.combos import Combo
from genpool.compiler import Selection, compile_spec
from genpool.config import PoolConfig
from genpool.errors import InvalidSpec
from genpool.gen_ids import gen_id
from genpool.planner import make_plan
from genpool.present import Present
from genpool.records import MODE_COPY
from genpool.rules import Axis, Coupling, Rules, Subset, Tie, apply_rules
from genpool.signatures import Signature
from genpool.spec import CohortSpec, ComboAxis, StageSpec
from genpool.stages import TEMPLATE_FIELD, Pipeline, Stage
from genpool.yaml_reader import Problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LEVELS = ("a", "b", "c")
COPY = "c"
"""The template that copies, where its stage has a parent and no model."""

PIPELINES = [
    Pipeline(
        [
            Stage("draft", "d", None, (TEMPLATE_FIELD, "llm_model_id")),
            Stage("essay", "e", "draft", (TEMPLATE_FIELD,)),
            Stage("evaluation", "v", "essay", (TEMPLATE_FIELD, "llm_model_id")),
        ]
    ),
    Pipeline(
        [
            Stage("draft", "d", None, (TEMPLATE_FIELD, "mood")),
            Stage("essay", "e", "draft", (TEMPLATE_FIELD, "tone")),
            Stage("summary", "s", "draft", ("tone",)),
            Stage("grade", "g", "summary", (TEMPLATE_FIELD,)),
        ]
    ),
    Pipeline(
        [
            Stage("draft", "d", None, (TEMPLATE_FIELD,)),
            Stage("essay", "e", "draft", (TEMPLATE_FIELD,)),
            Stage("plan", "p", None, ("mood",)),
            Stage("poem", "q", "plan", (TEMPLATE_FIELD, "mood")),
            Stage("song", "o", "plan", (TEMPLATE_FIELD,)),
        ]
    ),
    Pipeline(
        [
            Stage("a", "a", None, ("x", "y")),
            Stage("b", "b", "a"),
            Stage("c", "c", "b", ("x",)),
            Stage("e", "e", "c", ("y",)),
        ]
    ),
]


@dataclass(frozen=True)
class Case:
    """A spec with rules, as data."""

    pipeline: Pipeline
    levels: Mapping[Axis, tuple[str, ...]]
    """Every axis, the roots' combos included, in the order of the stages."""
    replicates: Mapping[str, int]
    rules: Rules

    def copies(self, stage: str, template_id: str) -> bool:
        return template_id == COPY and self.pipeline[stage].parent is not None and not self.pipeline[stage].has_model

    def spec(self, problems: Problems) -> CohortSpec:
        stages = []
        for stage in self.pipeline:
            names = {field: self.levels[Axis(stage.name, stage.axis_name(field))] for field in stage.axes}
            combos = [Combo(name, ("x",), "y") for name in self.levels.get(Axis(stage.name, "combo"), ())]
            axis = ComboAxis(len(combos), lambda combos=combos: combos) if combos else None
            stages.append(StageSpec(stage, names, self.replicates[stage.name], axis))
        limits = apply_rules(self.rules, self.levels.__getitem__, problems)
        return CohortSpec("c", "", tuple(stages), "", limits)

    def select(self) -> Selection:
        problems = Problems("cohort.yaml")
        spec = self.spec(problems)
        problems.raise_if_any(InvalidSpec, "c")
        template = lambda stage, name: SimpleNamespace(mode=MODE_COPY if self.copies(stage, name) else "llm")  # noqa: E731
        return compile_spec(spec, cast("Any", template))

    # -- the brute force ---------------------------------------------------------------------------

    def rows(self) -> list[dict[Axis, str]]:
        """Return the full product, filtered by one rule after another."""
        rows = [dict(zip(self.levels, values, strict=True)) for values in product(*self.levels.values())]
        for subset in self.rules.subsets:
            rows = [row for row in rows if row[subset.axis] in subset.keep]
        for tie in self.rules.ties:
            rows = [row for row in rows if len({row[axis] for axis in tie.axes}) == 1]
        for one in self.rules.couplings:
            rows = [row for row in rows if tuple(row[axis] for axis in one.axes) in one.allowed]
        return rows

    def tasks(self, rows: Sequence[Mapping[Axis, str]]) -> dict[str, list[tuple[Any, ...]]]:
        """Return every stage's tasks in the order of the spec: combo, then levels and replicate of each stage."""
        made: dict[str, list[tuple[Any, ...]]] = {}
        for stage in self.pipeline:
            lineage = [*reversed(self.pipeline.ancestors(stage)), stage]
            axes = [axis for one in lineage for axis in self.levels if axis.stage == one.name]
            allowed = {tuple(row[axis] for axis in axes) for row in rows}
            above = made[stage.parent] if stage.parent else [(one,) for one in self.levels[Axis(stage.name, "combo")]]
            made[stage.name] = [
                (*source, (*levels, slot))
                for source in above
                for levels in product(
                    *(self.levels[one] for one in axes if one.stage == stage.name and not one.is_combo)
                )
                if (source[0], *(value for part in source[1:] for value in part[:-1]), *levels) in allowed
                for slot in range(1, self.slots(stage, levels) + 1)
            ]
        return made

    def slots(self, stage: Stage, levels: Sequence[str]) -> int:
        template = levels[0] if TEMPLATE_FIELD in stage.axes else "default"
        return 1 if self.copies(stage.name, template) else self.replicates[stage.name]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    pipeline = draw(st.sampled_from(PIPELINES))
    axes = [
        Axis(stage.name, name)
        for stage in pipeline
        for name in [*(["combo"] if stage.parent is None else []), *(stage.axis_name(field) for field in stage.axes)]
    ]
    levels = {axis: tuple(draw(st.permutations(LEVELS)))[: draw(st.integers(1, 3))] for axis in axes}
    several = lambda least, most: st.lists(st.sampled_from(axes), min_size=least, max_size=most, unique=True).map(tuple)  # noqa: E731
    some = lambda values: st.lists(st.sampled_from(values), min_size=(len(values) + 1) // 2, unique=True).map(tuple)  # noqa: E731

    rows = lambda chosen: draw(some(list(product(*(levels[axis] for axis in chosen)))))  # noqa: E731
    if draw(st.booleans()):  # rules that have no axis in common: each carries its own past along
        order = draw(st.permutations(axes))
        apart = [tuple(order[at : at + 2]) for at in range(0, 2 * draw(st.integers(1, 3)), 2) if order[at + 1 :]]
        tied = [draw(st.booleans()) for _ in apart]
        rules = Rules(
            ties=tuple(Tie(chosen, line=1) for chosen, tie in zip(apart, tied, strict=True) if tie),
            couplings=tuple(
                Coupling("pairs", chosen, rows(chosen), line=1)
                for chosen, tie in zip(apart, tied, strict=True)
                if not tie
            ),
        )
    else:
        wide = [draw(several(2, 2)) for _ in range(draw(st.integers(0, 3)))]
        wider = [draw(several(1, 3)) for _ in range(draw(st.integers(0, 2)))]
        rules = Rules(
            subsets=tuple(Subset(axis, draw(some(levels[axis])), line=1) for axis in draw(several(0, 2))),
            ties=tuple(Tie(draw(several(2, 3)), line=1) for _ in range(draw(st.integers(0, 2)))),
            couplings=tuple(Coupling("tuples", chosen, rows(chosen), line=1) for chosen in (*wide, *wider)),
        )
    replicates = {stage.name: draw(st.integers(1, 2)) for stage in pipeline}
    return Case(pipeline, levels, replicates, rules)


def expanded(selection: Selection) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Yield every stage's tasks as a selection has them, by its branches."""
    made: dict[str, list[tuple[Any, ...]]] = {}
    branches: dict[str, list[int]] = {}
    for chosen in selection.stages:
        name, parent = chosen.stage.name, str(chosen.stage.parent)
        above = made.get(parent, [(combo.combo_id,) for combo in chosen.combos])
        made[name], branches[name] = [], []
        for source, branch in zip(above, branches.get(parent, chosen.combo_branches), strict=True):
            made[name] += [(*source, chosen.variants[at]) for at in chosen.follow[branch]]
            branches[name] += chosen.leads_to[branch]
        yield name, made[name]


EXAMPLES = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


@EXAMPLES
@given(cases())
def test_rules_leave_what_a_brute_force_leaves_in_the_same_order(case: Case) -> None:
    rows = case.rows()
    event("nothing left" if not rows else "something left")
    if not rows:
        try:
            case.select()
        except InvalidSpec:
            return
        raise AssertionError("a selection of nothing")
    selection = case.select()
    wanted = case.tasks(rows)
    assert dict(expanded(selection)) == wanted
    assert {one.stage.name: one.count for one in selection.stages} == {
        name: len(tasks) for name, tasks in wanted.items()
    }
    for one in selection.stages:
        used = {at for positions in one.follow for at in positions}
        assert used == set(range(len(one.variants)))
        assert (
            len(one.follow)
            == len(one.leads_to)
            <= max(1, len(wanted.get(str(one.stage.parent), [])) or len(one.combos))
        )


@EXAMPLES
@given(cases())
def test_levels_that_no_allowed_row_uses_are_told(case: Case) -> None:
    rows = case.rows()
    if rows:
        lacking = [axis for axis in case.levels if {row[axis] for row in rows} != set(case.levels[axis])]
        said = [note for note in case.select().notes if "left out by the rules" in note]
        assert sorted(note.partition(":")[0] for note in said) == sorted(map(str, lacking))
        for axis in lacking:
            note = next(note for note in said if note.startswith(f"{axis}: "))
            unused = set(case.levels[axis]) - {row[axis] for row in rows}
            assert {level for level in LEVELS if repr(level) in note} == unused


class Empty:
    """A store that has nothing."""

    def attempted(self, stage: Stage) -> frozenset[str]:
        return frozenset()


@settings(EXAMPLES, max_examples=100)
@given(cases())
def test_the_ids_of_a_plan_are_those_of_its_signatures(case: Case) -> None:
    rows = case.rows()
    if not rows:
        return
    config = PoolConfig(salt="s", pipeline=case.pipeline, models={})
    plan = make_plan("c", case.select(), config, cast("Any", Empty()), lambda _: Present({}))
    wanted = case.tasks(rows)
    ids: dict[str, list[str]] = {}
    for part in plan.stages:
        sources = ids.get(str(part.stage.parent))
        above = wanted.get(str(part.stage.parent))
        ids[part.stage.name] = [
            gen_id(
                Signature(part.stage, (sources[above.index(task[:-1])] if sources and above else task[0], *task[-1])),
                "s",
            )
            for task in wanted[part.stage.name]
        ]
        assert part.gen_ids == ids[part.stage.name]
        assert [gen_id(part.signature(at), "s") for at in range(len(part))] == part.gen_ids
