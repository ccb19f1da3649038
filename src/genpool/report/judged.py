"""What one judging stage came to: coverage, scores, comparisons, agreement, and the texts to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.agreement import Agreement, Spread, agreement, spread
from genpool.comparison import Comparison, compare
from genpool.intervals import Mean, mean_of
from genpool.judgements import COMBO, JUDGE, RUBRIC, TEXT, VALUE, text_means
from genpool.report.texts import Read, read_texts
from genpool.scores import ABOVE, MADE_STATES, with_lineage
from genpool.stages import MODEL_FIELD, TEMPLATE_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

    from genpool.judgements import Judgements
    from genpool.report.asked import Asked
    from genpool.stages import Stage

BEST: Final = 5
DISPUTED: Final = 3
_ROWS: Final = 60
"""So many rows of the coverage map and the heat map are shown: those with the most to say."""
_BINS: Final = 20


@dataclass(frozen=True, slots=True)
class CoverageCell:
    """How many judgements of one path of choices by one rubric and judge there are."""

    path: str
    """The levels of the axes that vary, nearest the root first."""
    by: str
    """Rubric, and the judge where there are several."""
    wanted: int
    judged: int


@dataclass(frozen=True, slots=True)
class Bar:
    """How many judgements have a score in one place of a rubric's scale."""

    rubric: str
    low: float
    high: float
    """The same as `low` where each bar is one score."""
    judgements: int


@dataclass(frozen=True, slots=True)
class PivotCell:
    """What the texts of one path of choices came to by one measure."""

    path: str
    measure: str
    mean: float
    share: float
    """Where the mean is on its scale, from 0 to 1."""
    texts: int


@dataclass(frozen=True, slots=True)
class Overall:
    """What all texts together came to by one measure."""

    measure: str
    scale: str
    families: int
    judgements: int
    mean: Mean


@dataclass(frozen=True, slots=True)
class JudgedFacts:
    """What one judging stage came to."""

    stage: str
    judged: str
    """The stage whose texts were judged."""
    judgements: int
    texts: int
    families: int
    combos: tuple[str, ...]
    axes: dict[str, str]
    """The columns of the axes of what was judged, to what a person calls them."""
    varied: tuple[str, ...]
    """Those that have several levels."""
    measures: dict[str, str]
    """What texts are compared by, to its scale in words."""
    ranges: dict[str, tuple[float, float]]
    """The same to the ends of its scale."""
    overall: tuple[Overall, ...]
    coverage: tuple[CoverageCell, ...]
    there: tuple[int, int]
    """How many judgements are there, and how many were wanted, in all paths."""
    coverage_left: int
    """Paths that the coverage map has no room for."""
    bars: tuple[Bar, ...]
    pivot: tuple[PivotCell, ...]
    pivot_left: int
    comparisons: tuple[Comparison, ...]
    agreements: dict[str, Agreement]
    """Rubric to how far its judges agree."""
    spreads: dict[tuple[str, str], Spread]
    """Rubric and judge to how far it agrees with itself."""
    best: tuple[Read, ...]
    unranked: int
    """Texts that lack a rubric or a judge, so that they cannot be ranked with the others."""
    disputed: tuple[Read, ...]
    left_out: dict[str, int]


def judged_facts(asked: Asked, stage: Stage, judgements: Judgements, frames: Mapping[str, pl.DataFrame]) -> JudgedFacts:
    """Return what the judgements of one stage came to.

    Args:
        asked: What the report is about.
        stage: The judging stage.
        judgements: Those that count.
        frames: Stage name to its members.
    """
    means = text_means(judgements)
    covered, there, coverage_left = _coverage(asked, stage, judgements, frames)
    pivot, pivot_left = _pivot(judgements, means)
    order = ranked(judgements, means)
    frame = judgements.frame
    texts = frame[TEXT].n_unique()
    best, disputed = order[:BEST], _disputed(judgements)
    return JudgedFacts(
        stage=judgements.stage,
        judged=judgements.judged,
        judgements=frame.height,
        texts=texts,
        families=frame.select(COMBO, *judgements.axes).n_unique(),
        combos=tuple(sorted(frame[COMBO].unique().to_list())),
        axes=judgements.axes,
        varied=judgements.varied,
        measures={name: str(scale) for name, scale in judgements.measures.items()},
        ranges={name: (scale.low, scale.high) for name, scale in judgements.measures.items()},
        overall=tuple(_overall(judgements, means)),
        coverage=covered,
        there=there,
        coverage_left=coverage_left,
        bars=tuple(_bars(judgements)),
        pivot=pivot,
        pivot_left=pivot_left,
        comparisons=tuple(compare(judgements, axis, means) for axis in judgements.varied),
        agreements=_agreements(judgements),
        spreads=_spreads(judgements),
        best=read_texts(asked, stage, judgements, best),
        unranked=texts - len(order),
        disputed=read_texts(asked, stage, judgements, disputed),
        left_out=judgements.left_out,
    )


def _overall(judgements: Judgements, means: pl.DataFrame) -> list[Overall]:
    import polars as pl

    found = []
    for measure, scale in judgements.measures.items():
        part = means.filter(pl.col("measure") == measure)
        families = part.select(COMBO, *judgements.axes).n_unique()
        mean = mean_of(part[VALUE].to_numpy(), part[COMBO].to_numpy(), within=(scale.low, scale.high))
        found.append(Overall(measure, str(scale), families, int(part["judgements"].sum()), mean))
    return found


def _path(axes: Iterable[str]) -> pl.Expr:
    """Return the levels of some axes as one text."""
    import polars as pl

    columns = [pl.col(axis).fill_null("?") for axis in axes]
    return (pl.concat_str(columns, separator=" → ") if columns else pl.lit("all texts")).alias("path")


def _coverage(
    asked: Asked, stage: Stage, judgements: Judgements, frames: Mapping[str, pl.DataFrame]
) -> tuple[tuple[CoverageCell, ...], tuple[int, int], int]:
    """Return how many judgements are there, by path and rubric; of how many in all; how many paths were left out."""
    import polars as pl

    members = frames[stage.name].filter(pl.col("state") != ABOVE)
    table = with_lineage(asked.pipeline, stage, members, frames)
    varied = [axis for axis in judgements.axes if table[axis].n_unique() > 1]
    names = [name for name in (TEMPLATE_FIELD, MODEL_FIELD) if name in stage.axes and _several(table, name)]
    by = pl.concat_str([pl.col(one).fill_null("?") for one in names], separator=", ") if names else pl.lit(stage.name)
    cells = (
        table.with_columns(_path(varied), by.alias("by"))
        .group_by("path", "by", maintain_order=True)
        .agg(pl.len().alias("wanted"), pl.col("state").is_in(MADE_STATES).sum().alias("judged"))
    )
    lacking = cells.group_by("path", maintain_order=True).agg(
        (pl.col("wanted") - pl.col("judged")).sum().alias("lacks")
    )
    shown = lacking.sort("lacks", descending=True, maintain_order=True).head(_ROWS)["path"].to_list()
    chosen = cells.filter(pl.col("path").is_in(shown)).select("path", "by", "wanted", "judged")
    there = int(cells["judged"].sum()), int(cells["wanted"].sum())
    return tuple(CoverageCell(*row) for row in chosen.rows()), there, lacking.height - len(shown)


def _several(table: pl.DataFrame, name: str) -> bool:
    return name == TEMPLATE_FIELD or table[name].n_unique() > 1


def _bars(judgements: Judgements) -> list[Bar]:
    """Return the distribution of every rubric's scores: a bar a score where these are few, else equal parts."""
    import numpy as np
    import polars as pl

    found = []
    for rubric, scale in judgements.scales.items():
        values = judgements.frame.filter(pl.col(RUBRIC) == rubric)[VALUE].to_numpy()
        whole = bool((values == np.round(values)).all())
        if whole and scale.high - scale.low <= _BINS:
            numbers, counts = np.unique(values, return_counts=True)
            there = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
            steps = np.arange(np.ceil(scale.low), scale.high + 1).tolist()
            found += [Bar(rubric, step, step, there.get(step, 0)) for step in steps]
        else:
            counts, edges = np.histogram(values, bins=_BINS, range=(scale.low, scale.high))
            found += [
                Bar(rubric, float(low), float(high), int(many))
                for low, high, many in zip(edges[:-1], edges[1:], counts, strict=True)
            ]
    return found


def _pivot(judgements: Judgements, means: pl.DataFrame) -> tuple[tuple[PivotCell, ...], int]:
    """Return what every path of choices came to by every measure, the best path first."""
    import polars as pl

    cells = (
        means.with_columns(_path(judgements.varied))
        .group_by("path", "measure")
        .agg(pl.col(VALUE).mean(), pl.len().alias("texts"))
    )
    order = list(judgements.measures)
    first = cells.filter(pl.col("measure") == order[0]) if order else cells
    ranked = first.sort([VALUE, "path"], descending=[True, False])["path"].to_list()
    ranked += [path for path in sorted(cells["path"].unique().to_list()) if path not in set(ranked)]
    rank = {path: at for at, path in enumerate(ranked[:_ROWS])}
    found = []
    for path, measure, value, texts in cells.select("path", "measure", VALUE, "texts").rows():
        if path in rank:
            scale = judgements.measures[measure]
            share = (value - scale.low) / (scale.high - scale.low)
            found.append(PivotCell(path, measure, value, share, texts))
    found.sort(key=lambda one: (rank[one.path], order.index(one.measure)))
    return tuple(found), len(ranked) - len(rank)


def _agreements(judgements: Judgements) -> dict[str, Agreement]:
    import polars as pl

    found = {}
    for rubric in judgements.rubrics:
        part = judgements.frame.filter(pl.col(RUBRIC) == rubric)
        found[rubric] = agreement(part[TEXT].to_list(), part[JUDGE].to_list(), part[VALUE].to_numpy())
    return found


def _spreads(judgements: Judgements) -> dict[tuple[str, str], Spread]:
    groups = sorted(judgements.frame.group_by(RUBRIC, JUDGE), key=lambda one: str(one[0]))
    return {(str(key[0]), str(key[1])): spread(part[TEXT].to_list(), part[VALUE].to_numpy()) for key, part in groups}


# --- which texts to read --------------------------------------------------------------------------


def ranked(judgements: Judgements, means: pl.DataFrame) -> list[tuple[str, float]]:
    """Return the texts that have a mean over the rubrics, the best first; of equal ones the first by id."""
    import polars as pl

    measure = next(iter(judgements.measures), "")
    order = pl.col(VALUE).round(12)  # as `top_texts` does
    part = means.filter(pl.col("measure") == measure).sort(order, TEXT, descending=[True, False])
    return [(str(text), float(value)) for text, value in part.select(TEXT, VALUE).rows()]


def _disputed(judgements: Judgements) -> list[tuple[str, float]]:
    """Return the texts whose judgements by one rubric lie farthest apart, as a share of its scale, farthest first."""
    import polars as pl

    spreads = (
        judgements.frame.group_by(TEXT, RUBRIC)
        .agg(pl.col("normalised").std().alias("apart"))
        .group_by(TEXT)
        .agg(pl.col("apart").max())
        .filter(pl.col("apart") > 0)
        .sort(["apart", TEXT], descending=[True, False])
        .head(DISPUTED)
    )
    return [(str(text), float(apart)) for text, apart in spreads.select(TEXT, "apart").rows()]
