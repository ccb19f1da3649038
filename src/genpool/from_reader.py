"""The key `from:` of a cohort.yaml: which generations a cohort starts from, as written and as found.

Reading it needs no store: ids are ids here, cohorts are names. Who finds the generations behind them is told where
each was written, so that every problem has its line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.columns import FILE, clean, names_file, read_columns
from genpool.combos import read_text
from genpool.errors import InputError, nearest
from genpool.yaml_reader import Items, Node, Problems, Scalar, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from genpool.canonical import Json
    from genpool.inputs import Inputs
    from genpool.stages import Pipeline, Stage

UNION: Final = "union"
DIFFERENCE: Final = "difference"
BEST: Final = "cohorts"
"""The key of a query by score, whose value is the cohorts that are looked at."""
ALL_COHORTS: Final = "all"
MEAN_SCORE: Final = "mean_score"
_KINDS: Final = (UNION, DIFFERENCE, BEST)
_BY_SCORE: Final = ("top", "by")
_RIGHT: Final = f"a list of gen ids, `{FILE}ids.csv`, or {{union: [cohort, …], stage: …}}"
_BEST_RIGHT: Final = "for instance {cohorts: [first, second], stage: essay, top: 30, by: mean_score}"


@dataclass(frozen=True, slots=True)
class Typed:
    """A gen id or a cohort's name, with its place."""

    text: str
    line: int
    place: str = ""
    """Where in another file it stands: `ids.csv:3: `; empty for the spec itself."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Generations that a spec lists."""

    ids: tuple[Typed, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Query:
    """Generations that are found through the memberships of other cohorts."""

    kind: str
    """`union`: the members of any of the cohorts; `difference`: those of the first that no other has; `cohorts`: the
    best of the members of any."""
    cohorts: tuple[Typed, ...]
    """The cohorts; none where the best of all cohorts are asked for."""
    stage: Stage
    line: int
    top: int = 0
    """How many of the best."""
    by: str = MEAN_SCORE
    """What they are ranked by: `mean_score`, a rubric, or `<rubric>:<judge>`."""

    def as_json(self) -> dict[str, Json]:
        """Return the query as it is kept in adopted.json."""
        if self.kind != BEST:
            return {self.kind: [one.text for one in self.cohorts], "stage": self.stage.name}
        cohorts: Json = [one.text for one in self.cohorts] or ALL_COHORTS
        return {self.kind: cohorts, "stage": self.stage.name, "top": self.top, "by": self.by}


From = Listed | Query


@dataclass(frozen=True, slots=True)
class Roots:
    """The generations that a cohort starts from."""

    stage: Stage
    """The stage that all are of."""
    gen_ids: tuple[str, ...]
    """Their ids, each once, in order."""
    query: dict[str, Json] | None = None
    """The query that they answer; None where the spec lists them."""
    notes: tuple[str, ...] = ()
    """What a person should know of how they were found."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best texts of some cohorts."""

    gen_ids: tuple[str, ...]
    """The best first; of equal ones the first by id."""
    notes: tuple[str, ...] = ()
    """What a person should know of how they were ranked."""


if TYPE_CHECKING:
    FindRoots = Callable[[str, From, Problems], Roots | None]
    """A cohort's name and what it starts from to the generations; problems are noted."""
    FindBest = Callable[[Stage, Sequence[str], int, str], Ranking]
    """Stage, cohorts, how many, and by what, to the best texts; raises `UsageError` where nothing was judged so."""


def read_from(node: Node, pipeline: Pipeline, inputs: Inputs, problems: Problems) -> From | None:
    """Return what a cohort starts from, as written, or None where it is not usable."""
    if isinstance(node, Table):
        return _query(node, pipeline, problems)
    if names_file(node):
        ids = _file(node, inputs, problems)
        return Listed(ids, node.line) if ids else None
    if not isinstance(node, Items):
        problems.add(f"from: must be {_RIGHT}", node.line)
        return None
    if not node.items:
        problems.add("from: the list is empty", node.line, "name at least one generation")
    ids = _texts(node, "a gen id", problems)
    return Listed(ids, node.line) if ids else None


def _texts(node: Items, what: str, problems: Problems) -> tuple[Typed, ...]:
    """Return the texts of a list; note what is none."""
    found = []
    for item in node:
        if isinstance(item, Scalar):
            found.append(Typed(clean(item.text), item.line))
        else:
            problems.add(f"from: {what} must be plain text", item.line)
    return tuple(found)


def _file(node: Scalar, inputs: Inputs, problems: Problems) -> tuple[Typed, ...]:
    """Return the ids of a CSV's column `gen_id`, or of a text with one id a line."""
    file = node.text.removeprefix(FILE).strip()
    if not file.endswith(".txt"):
        found = read_columns(inputs, node, [("gen_id",)], problems)
        return tuple(Typed(value, node.line, f"{place}: ") for place, (value,) in found)
    try:
        lines = read_text(inputs.path(file)).split("\n")
    except InputError as error:
        problems.add(error.message, node.line, error.hint)
        return ()
    ids = [Typed(clean(line), node.line, f"{file}:{number}: ") for number, line in enumerate(lines, 1) if line.strip()]
    if not ids:
        problems.add(f"{file}: there is no id in it", node.line, "one gen id a line")
    return tuple(ids)


def _query(table: Table, pipeline: Pipeline, problems: Problems) -> Query | None:
    """Return a query over other cohorts."""
    before = len(problems.found)
    kinds = [kind for kind in _KINDS if kind in table.entries]
    known = (*_KINDS, "stage", *_BY_SCORE)
    for key in table.entries:
        if key not in known:
            problems.add(f"from: unknown key {key!r}", table.line_of(key), nearest(key, known))
        elif key in _BY_SCORE and kinds != [BEST]:
            problems.add(f"from: {key!r} is of a query by score", table.line_of(key), _BEST_RIGHT)
    if len(problems.found) == before and len(kinds) != 1:
        said = f"from: either {' or '.join(kinds)}, not both" if kinds else "from: union or difference is missing"
        problems.add(said, table.line, "for instance {union: [first, second], stage: essay}")
    stage = _stage(table, pipeline, problems)
    cohorts = _cohorts(table.entries[kinds[0]], kinds[0], problems) if kinds else ()
    top, by = _rank(table, problems) if kinds == [BEST] else (0, MEAN_SCORE)
    if stage is None or len(problems.found) > before:
        return None
    return Query(kinds[0], cohorts, stage, table.line, top, by)


def _rank(table: Table, problems: Problems) -> tuple[int, str]:
    """Return how many of the best are asked for, and by what they are ranked."""
    if "top" not in table.entries:
        problems.add("from: the key 'top' is missing", table.line, "how many of the best?")
    by = problems.text(table, "by", "from")
    if by is not None and not by.strip():
        problems.add("from: by is empty", table.line_of("by"), f"{MEAN_SCORE}, a rubric, or rubric:judge")
    return problems.whole_number(table, "top", "from") or 0, MEAN_SCORE if by is None else clean(by)


def _stage(table: Table, pipeline: Pipeline, problems: Problems) -> Stage | None:
    """Return the stage that a query asks for."""
    name = problems.text(table, "stage", "from")
    if name is None:
        if "stage" not in table.entries:
            problems.add("from: the key 'stage' is missing", table.line, "of which stage are the generations?")
        return None
    if name not in pipeline:
        problems.add(f"from: no stage is named {name!r}", table.line_of("stage"), nearest(name, pipeline.names))
        return None
    return pipeline[name]


def _cohorts(node: Node, kind: str, problems: Problems) -> tuple[Typed, ...]:
    """Return the cohorts of a query, each once; none where it is about all."""
    if kind == BEST and isinstance(node, Scalar) and node.text == ALL_COHORTS:
        return ()
    if not isinstance(node, Items):
        problems.add(f"from: {kind} must be a list of cohorts", node.line)
        return ()
    found = _texts(node, "a cohort", problems)
    least = 2 if kind == DIFFERENCE else 1
    if len(node.items) < least:
        hint = "the first without what the others have" if least > 1 else "name at least one"
        problems.add(f"from: {kind} needs {least} cohorts or more", node.line, hint)
    seen: set[str] = set()
    for one in found:
        if one.text in seen:
            problems.add(f"from: {one.text!r} is listed twice", one.line)
        seen.add(one.text)
    return found
