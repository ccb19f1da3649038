"""Filters asked of the index, set against looking at every generation; and that no stage is read for a few of it."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.make_pool import Shape, make_pool

from genpool.errors import DoesNotFit, nearest
from genpool.membership import cohort_ids
from genpool.pool import Pool
from tests.catalogs import look
from tests.small_pools import make_pool as make_small_pool
from tests.small_pools import models, write_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from genpool.catalog import Catalog
    from genpool.signatures import Signature
    from genpool.stages import Stage

    Answer = tuple[Sequence[str], Sequence[str]] | tuple[str, str | None]
    """Ids of what fits and of what nobody knows; or message and hint of an error."""

FIELDS = {"template": "template_id", "model": "llm_model_id", "combo": "combo_id", "parent": "parent_gen_id"}
LEVELS = {
    "template": ["baseline", "rolling-thread", "narrative", "as-drafted", "coherence", "novelty", "novlety"],
    "model": ["writer-large", "writer-small", "judge", "nobody"],
    "replicate": ["1", "2", "3", "01", "9"],
}


class Everything:
    """All generations of a pool one by one, as the index has them; filters are applied to each."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        with closing(pool.catalog()) as catalog:
            self.signatures: dict[str, dict[str, Signature]] = {
                stage.name: dict(catalog.signatures(stage)) for stage in pool.config.pipeline
            }
            self.present = {stage.name: catalog.present(stage) for stage in pool.config.pipeline}

    def level(self, stage: Stage, gen_id: str, target: Stage, field: str) -> str | None:
        """Return the value of a field in a lineage; None where something on the way is not whole."""
        signature = self.signatures[stage.name].get(gen_id)
        if signature is None or stage == target:
            return None if signature is None else str(signature[field])
        return self.level(self.pool.config.pipeline[str(stage.parent)], signature.source, target, field)

    def matching(self, asked: str | None, where: Mapping[str, Iterable[str]], origins: Iterable[str]) -> Answer:
        """Return what `Pool.matching` must say."""
        pipeline, origins = self.pool.config.pipeline, set(origins)
        seen: dict[str, set[str]] = {typed: set() for typed in where}
        fits, unread, made_by = [], [], set(cohort_ids(self.pool.layout))
        stages = [stage for stage in pipeline if asked in {None, stage.name}]
        for stage in stages:
            for gen_id in self.signatures[stage.name]:
                levels = {one: self._level(stage, gen_id, one) for one in where}
                for typed, level in levels.items():
                    seen[typed] |= {level} - {None, ""}  # type: ignore[arg-type]
                origin = self.present[stage.name].origin(gen_id)
                made_by |= {origin} - {None}  # type: ignore[arg-type]
                meets = all(level is None or level in where[one] for one, level in levels.items())
                if meets and (not origins or origin in origins):
                    (unread if None in levels.values() else fits).append(gen_id)
        for typed, levels_seen in seen.items():
            for level in sorted(set(where[typed]) - levels_seen):
                hint = nearest(level, levels_seen) if len(levels_seen) <= 1000 else None
                return f"nothing here has {typed} = {level!r}", hint
        for name in sorted(origins - made_by):
            said = f"no cohort is named {name!r}, and none of that name made anything here"
            return said, nearest(name, made_by)
        return fits, [*unread, *(one for stage in stages for one in self.present[stage.name].unusable)]

    def _level(self, stage: Stage, gen_id: str, typed: str) -> str | None:
        """Return the level for a field as typed; empty where the stage has no such field in its lineage."""
        pipeline, (of, _, name) = self.pool.config.pipeline, typed.rpartition(".")
        target, field = (pipeline[of] if of else stage), FIELDS.get(name, name)
        if field not in target.fields or target not in (stage, *pipeline.ancestors(stage)):
            return ""
        return self.level(stage, gen_id, target, field)


def asked(pool: Pool, stage: str | None, where: Mapping[str, Iterable[str]], origins: Sequence[str]) -> Answer:
    try:
        found = pool.matching(stage, where=where, origins=origins)
    except DoesNotFit as error:
        return error.message, error.hint
    return [one.gen_id for one in found.members], found.unread


def question(dice: random.Random, everything: Everything) -> tuple[str | None, dict[str, list[str]], list[str]]:
    """Return any filter that is a question: fields that the stages have, with levels that something has, or nothing."""
    pipeline = everything.pool.config.pipeline
    stage = dice.choice([None, *pipeline.names])
    lineage = [pipeline[stage], *pipeline.ancestors(pipeline[stage])] if stage else list(pipeline)
    own = [name for one in (lineage[:1] if stage else lineage) for name in map(one.axis_name, one.fields)]
    typed = [*own, *(f"{one.name}.{one.axis_name(name)}" for one in lineage for name in one.fields)]
    where = {}
    for name in dice.sample(typed, dice.choice([0, 1, 1, 2, 3])):
        short = {"combo_id": "combo", "parent_gen_id": "parent"}.get(last := name.rpartition(".")[2], last)
        levels = LEVELS.get(short) or [
            str(one.source) for stage in pipeline for one in everything.signatures[stage.name].values()
        ]
        where[name.removesuffix(last) + short] = dice.sample([*levels, levels[0]], dice.choice([1, 1, 2, 4]))
    return stage, where, dice.choice([[], [], ["slice-1"], ["whole", "slice-2"], ["slice-9"]])


@pytest.fixture(scope="module", params=[0, 15], ids=["right", "legacy"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of 250 generations: some lack what they descend from, some are damaged, some incomplete."""
    root = tmp_path_factory.mktemp("filters") / "pool"
    make_pool(root, Shape(tasks=308, present=85, legacy=request.param), processes=1)
    dice = random.Random(5)
    for stage in ("draft", "essay"):
        gone, damaged, torn = dice.sample(sorted((root / "gens" / stage).iterdir()), 3)
        shutil.rmtree(gone)
        (damaged / "metadata.json").write_text("{")
        (torn / "parsed.txt").unlink()
    return root


def as_it_is(root: Path) -> None:
    Pool.open(root).matching("draft")


def without_catalog(root: Path) -> None:
    shutil.rmtree(root / ".genpool", ignore_errors=True)


def with_a_damaged_catalog(root: Path) -> None:
    as_it_is(root)
    path = root / ".genpool" / "catalog.sqlite"
    data = bytearray(path.read_bytes())
    data[len(data) // 3 :: 97] = b"\x5a" * len(data[len(data) // 3 :: 97])
    path.write_bytes(data)


def where_no_catalog_can_be_written(root: Path) -> None:
    without_catalog(root)
    (root / ".genpool").write_text("a file is in its place")


STATES: list[Callable[[Path], None]] = [
    as_it_is,
    without_catalog,
    with_a_damaged_catalog,
    where_no_catalog_can_be_written,
]


@pytest.mark.parametrize("happening", STATES, ids=lambda one: one.__name__)
def test_what_the_index_says_is_what_looking_at_everything_says(
    root: Path, tmp_path: Path, happening: Callable[[Path], None]
) -> None:
    shutil.copytree(root, tmp_path / "pool", ignore=shutil.ignore_patterns(".genpool"))
    everything = Everything(Pool.open(tmp_path / "pool"))
    happening(tmp_path / "pool")
    dice, answers = random.Random(happening.__name__), Counter[str]()
    for _ in range(120 if happening is as_it_is else 12):
        stage, where, origins = question(dice, everything)
        expected = everything.matching(stage, where, origins)
        found = asked(Pool.open(tmp_path / "pool"), stage, where, origins)
        assert tuple(map(_listed, found)) == tuple(map(_listed, expected)), (stage, where, origins)
        answers["refused" if isinstance(found[0], str) else "found" if found[0] else "nothing"] += 1
        answers["unread"] += not isinstance(found[0], str) and bool(found[1])
    assert happening is not as_it_is or min(answers[one] for one in ("refused", "found", "unread")) > 5, answers


def _listed(part: object) -> object:
    return list(part) if isinstance(part, list | tuple) else part


@pytest.mark.parametrize("level", ["\udcff", "\0", "𝄞", '"', "a\nb", "%' OR 1", ""])
def test_a_level_may_be_any_text(root: Path, level: str) -> None:
    for where in ({"template": [level]}, {"draft.combo": ["row-0000001", level]}, {"draft.replicate": [level]}):
        with pytest.raises(DoesNotFit) as refused:
            Pool.open(root).matching(where=where)
        assert refused.value.message.endswith(f"= {level!r}")


def test_a_value_of_any_script_is_found(tmp_path: Path) -> None:
    pool = make_small_pool(tmp_path / "pool")
    odd = ["𝄞 clef", 'say "so"', "back\\slash", "ärmel", "a\u00a0b"]
    rows = ["id,topic", *('"{}",x'.format(one.replace('"', '""')) for one in odd)]
    (pool.root / "rows.csv").write_text("\n".join(rows) + "\n")
    write_spec(pool.root, essay="template: [story]")
    pool.run("c", models=models())
    for one in odd:
        (found,) = pool.matching("essay", where={"draft.combo": [one]}).members
        (above,) = pool.matching("draft", where={"combo": [one]}).members
        assert (found.fields["parent_gen_id"], above.fields["combo_id"]) == (above.gen_id, one)


# --- how much of a stage is read --------------------------------------------------------------------


class CountingPool(Pool):
    """A pool whose index counts the rows that it hands over, and what SQLite does for them."""

    rows = 0
    steps = 0

    def catalog(self) -> Catalog:
        catalog = super().catalog()
        for stage in self.config.pipeline:
            catalog.token(stage)
        database = catalog._open()
        database.row_factory = self._row
        database.set_progress_handler(self._step, 10)
        return catalog

    def _row(self, _cursor: object, row: tuple[Any, ...]) -> tuple[Any, ...]:
        self.rows += 1
        return row

    def _step(self) -> None:
        self.steps += 10


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Pools of 220 and of 2,200 tasks, looked at when nothing had changed for long."""
    found = {}
    for tasks in (220, 2200):
        found[tasks] = tmp_path_factory.mktemp("sizes") / "pool"
        make_pool(found[tasks], Shape(tasks=tasks, present=95), processes=1)
        look(found[tasks])
    return found


def first_member(root: Path, stage: str, *, made: bool) -> str:
    lines = (line.split(",") for line in (root / "cohorts/whole/membership.csv").read_text().splitlines()[1:])
    return next(one[1] for one in lines if one[0] == stage and (root / "gens" / stage / one[1]).is_dir() == made)


def why_made(pool: Pool) -> object:
    return pool.why(first_member(pool.root, "evaluation", made=True))


def why_missing(pool: Pool) -> object:
    return pool.why(first_member(pool.root, "evaluation", made=False))


def children(pool: Pool) -> object:
    return pool.children(pool.find_generation(first_member(pool.root, "draft", made=True)))


def of_one_combo(pool: Pool) -> object:
    return pool.matching("evaluation", where={"draft.combo": ["row-0000003"]}).members


def of_no_such_template(pool: Pool) -> object:
    with pytest.raises(DoesNotFit):
        pool.matching("evaluation", where={"draft.template": ["basline"]})
    return True


@pytest.mark.parametrize("ask", [why_made, why_missing, children, of_one_combo, of_no_such_template])
def test_no_more_rows_are_read_where_a_stage_has_ten_times_as_many(
    sizes: dict[int, Path], ask: Callable[[Pool], object]
) -> None:
    rows = {}
    for tasks, root in sizes.items():
        pool = CountingPool(root)
        assert ask(pool)
        rows[tasks] = pool.rows
    assert 0 < rows[2200] <= rows[220] + 20 < 200, rows


@pytest.mark.parametrize("ask", [why_made, children])
def test_sqlite_finds_what_starts_from_one_by_its_index(sizes: dict[int, Path], ask: Callable[[Pool], object]) -> None:
    steps = {}
    for tasks, root in sizes.items():
        pool = CountingPool(root)
        assert ask(pool)
        steps[tasks] = pool.steps
    assert steps[2200] < 2 * steps[220] + 100, steps


def test_families_of_legacy_generations_do_not_each_read_their_stage(tmp_path: Path) -> None:
    steps = {}
    for tasks in (440, 1760):
        make_pool(tmp_path / str(tasks), Shape(tasks=tasks, legacy=20), processes=1)
        look(tmp_path / str(tasks))
        pool = CountingPool(tmp_path / str(tasks))
        with closing(pool.catalog()) as catalog:
            before = pool.steps
            assert len(catalog.odd(pool.config.pipeline["evaluation"]).families) > tasks // 20
        steps[tasks] = pool.steps - before
    assert steps[1760] < 4 * steps[440] * 1.5, steps
