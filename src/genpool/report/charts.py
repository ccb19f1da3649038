"""The charts of a report, as Vega-Lite specifications that Altair makes.

Names from a pool are data, never a part of a specification: fields are `row`, `mean` and the like, so a name with
dots, brackets or quotes is only ever drawn. Colours are CSS variables of the page, which follow light, dark and print.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import altair as alt

    from genpool.comparison import Comparison
    from genpool.report.judged import JudgedFacts

_MOST_ROWS: Final = 40
_COLOURS: Final = [f"var(--c{number})" for number in range(1, 9)]
_INK: Final = "var(--ink)"
_BREAK: Final = "\n"
"""Where the name of a row may be broken."""
_NARROW: Final = 340
"""Below so many pixels it is."""
_LONG: Final = 44
"""Or where it has more characters."""
_LINE: Final = 18
"""Characters of a line of such a name."""
_BAND: Final = 30
"""Pixels of height for a row."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart of the page."""

    title: str
    said: str
    """What it shows, for who cannot see it."""
    spec: dict[str, Any]


def bars(judged: JudgedFacts) -> list[Chart]:
    """Return the distribution of every rubric's scores."""
    import altair as alt

    charts = []
    for rubric in judged.agreements:
        mine = [one for one in judged.bars if one.rubric == rubric]
        low, high = judged.ranges[rubric]
        half = 0.42 * (high - low) / max(1, len(mine) - 1) if mine and mine[0].low == mine[0].high else 0.0
        rows = [
            {
                "low": one.low - half,
                "high": one.high + half,
                "judgements": one.judgements,
                "score": _place(one.low, one.high),
            }
            for one in mine
        ]
        chart = (
            alt.Chart(_data(rows))
            .mark_rect(color=_COLOURS[0])
            .encode(
                x=alt.X(
                    "low:Q", title="score", scale=alt.Scale(domain=[low - half, high + half], nice=False, zero=False)
                ),
                x2="high:Q",
                y=alt.Y("judgements:Q", title="judgements", axis=alt.Axis(tickMinStep=1, tickCount=5)),
                y2=alt.value(160),
                tooltip=[alt.Tooltip("score:N"), alt.Tooltip("judgements:Q")],
            )
            .properties(width="container", height=160)
        )
        most = max(mine, key=lambda one: one.judgements)
        said = f"scores by {rubric}: {_place(most.low, most.high)} is the most frequent, {most.judgements} times"
        charts.append(Chart(f"{rubric}, {judged.measures[rubric]}", said, _spec(chart)))
    return charts


def _place(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def coverage(judged: JudgedFacts) -> Chart:
    """Return how much of what was wanted is judged, by path and rubric."""
    rows = [
        {
            "row": one.path,
            "column": one.by,
            "share": one.judged / one.wanted,
            "text": f"{one.judged:,}/{one.wanted:,}",
        }
        for one in judged.coverage
    ]
    said = f"{judged.there[0]:,} of {judged.there[1]:,} judgements are there"
    return Chart("Judgements there, of those wanted", said, _heat(rows, "judged of wanted"))


def pivot(judged: JudgedFacts) -> Chart | None:
    """Return what every path of choices came to by every measure; None where nothing has a mean."""
    if not judged.pivot:
        return None
    rows = [
        {"row": one.path, "column": one.measure, "share": one.share, "text": f"{one.mean:.2f}"} for one in judged.pivot
    ]
    best = judged.pivot[0]
    said = f"mean scores by {best.measure}: the best is {best.path} with {best.mean:.2f}"
    return Chart("Mean score by choices and rubric", said, _heat(rows, "mean"))


def _heat(rows: Sequence[Mapping[str, object]], what: str) -> dict[str, Any]:
    """Return a heat map of shares from 0 to 1; columns and rows in the order of the data."""
    import altair as alt

    rows = _broken(rows)
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("column:N", title=None, sort=None, axis=_top_axis(len({one["column"] for one in rows}))),
        y=alt.Y("row:N", title=None, sort=None, axis=_row_axis()),
        tooltip=[
            alt.Tooltip("row:N", title="choices"),
            alt.Tooltip("column:N", title="by"),
            alt.Tooltip("text:N", title=what),
        ],
    )
    opacity = alt.Opacity("share:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[0.06, 0.9], clamp=True))
    cells = base.mark_rect(color="var(--heat)", stroke="var(--page)", strokeWidth=2).encode(opacity=opacity)
    words = base.mark_text(color=_INK, fontSize=12).encode(text="text:N")
    columns = len({one["column"] for one in rows})  # the page slants their names where they have little room
    chart = (cells + words).properties(width="container", height=_height(rows, 1), usermeta={"columns": columns})
    return _spec(chart)


def levels(judged: JudgedFacts, comparison: Comparison) -> Chart | None:
    """Return the means of an axis's levels with their intervals, by the first measure that any has a mean of."""
    measure = next((name for name in judged.measures if comparison.of(name)), None)
    if measure is None:
        return None
    low, high = judged.ranges[measure]
    mine = comparison.of(measure)[:_MOST_ROWS]
    rows = [
        {
            "row": one.level,
            "mean": one.mean.mean,
            "low": one.mean.low,
            "high": one.mean.high,
            "colour": one.measure,
        }
        for one in mine
    ]
    axis = judged.axes[comparison.axis]
    said = f"mean score by {axis}: " + ", ".join(f"{one.level} {one.mean.mean:.2f}" for one in mine[:6])
    title = f"Mean score by {axis} ({measure}, {judged.measures[measure]})"
    return Chart(title, said, _dots(rows, "mean score", [low, high], zero=False))


def differences(judged: JudgedFacts, comparison: Comparison) -> Chart:
    """Return by how much levels differ, with intervals, by every measure that has the scale of the first."""
    first = next(iter(judged.measures))
    shown = [name for name, scale in judged.measures.items() if scale == judged.measures[first]]
    rows: list[dict[str, object]] = []
    order: dict[frozenset[str], tuple[str, str]] = {}
    for one in comparison.differences:
        pair = order.setdefault(frozenset((one.better, one.worse)), (one.better, one.worse))
        if one.measure in shown and one.mean.mean is not None:
            turn = 1 if pair == (one.better, one.worse) else -1
            rows.append(
                {
                    "row": f"{pair[0]} minus {pair[1]}",
                    "mean": turn * one.mean.mean,
                    "low": _turned(one.mean.low if turn > 0 else one.mean.high, turn),
                    "high": _turned(one.mean.high if turn > 0 else one.mean.low, turn),
                    "colour": one.measure,
                }
            )
    axis = judged.axes[comparison.axis]
    told = [f"{one['row']} {one['mean']:.2f}" for one in rows[:4]]
    said = f"differences between levels of {axis}: {', '.join(told)}"
    return Chart(f"Differences between levels of {axis}", said, _dots(rows, "difference in score", None, zero=True))


def _turned(value: float | None, turn: int) -> float | None:
    return None if value is None else turn * value


def _dots(
    rows: Sequence[Mapping[str, object]], title: str, domain: Sequence[float] | None, *, zero: bool
) -> dict[str, Any]:
    """Return means as dots with their intervals as lines."""
    import altair as alt

    rows = _broken(rows)
    several = len({one["colour"] for one in rows}) > 1
    scale = alt.Scale(domain=list(domain), nice=False) if domain else alt.Scale(zero=True)
    order = list(dict.fromkeys(str(one["colour"]) for one in rows))
    colour = alt.Color(
        "colour:N",
        sort=order,
        scale=alt.Scale(domain=order, range=_COLOURS[: len(order)]) if len(order) <= len(_COLOURS) else alt.Undefined,
        legend=alt.Legend(orient="top", title=None, columns=2, symbolOpacity=1) if several else None,
    )
    base = alt.Chart(_data(rows)).encode(
        y=alt.Y("row:N", title=None, sort=None, axis=_row_axis()),
        color=colour,
        tooltip=[
            alt.Tooltip("row:N", title="level"),
            alt.Tooltip("colour:N", title="by"),
            *(alt.Tooltip(f"{name}:Q", format=".2f") for name in ("mean", "low", "high")),
        ],
    )
    if several:
        base = base.encode(yOffset=alt.YOffset("colour:N", sort=order))
    line = base.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q", title=title, scale=scale), x2="high:Q")
    line = line.transform_filter("isValid(datum.low)")
    dot = base.mark_point(filled=True, size=90, opacity=1).encode(x=alt.X("mean:Q", title=title, scale=scale))
    layers: list[alt.Chart] = [line, dot]
    if zero:
        layers.insert(0, alt.Chart(_data([{"zero": 0}])).mark_rule(color=_INK, strokeDash=[4, 3]).encode(x="zero:Q"))
    return _spec(alt.layer(*layers).properties(width="container", height=_height(rows, len(order))))


def _broken(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Return rows whose names say where they are broken where there is little room; different names stay different."""
    names = {str(one["row"]): _BREAK.join(wrap(str(one["row"]), _LINE, break_on_hyphens=False)) for one in rows}
    if len(set(names.values())) < len(names):
        return [dict(one) for one in rows]
    return [{**one, "row": names[str(one["row"])]} for one in rows]


def _row_axis() -> alt.Axis:
    """Return the axis of rows: their names take several lines where there is little room."""
    import altair as alt

    lines = "split(datum.label, '\\n')"
    is_broken = f"(width < {_NARROW} || length(datum.label) > {_LONG})"
    upwards = f"{is_broken} ? -6.5 * (length({lines}) - 1) : 0"  # Vega sets the first line on the middle of the row
    return alt.Axis(
        grid=False,
        domain=False,
        ticks=False,
        labelExpr=f"{is_broken} ? {lines} : join({lines}, ' ')",
        labelOffset={"condition": {"test": "true", "expr": upwards}, "value": 0},
    )


def _top_axis(columns: int) -> alt.Axis:
    import altair as alt

    limit = alt.ExprRef(f"width / {columns} - 4")
    return alt.Axis(
        orient="top", labelAngle=0, labelLimit=limit, labelOverlap=False, domain=False, ticks=False, grid=False
    )


def _height(rows: Sequence[Mapping[str, object]], lanes: int) -> int:
    """Return the pixels of height that rows take, each with so many lanes."""
    lines = max((str(one["row"]).count(_BREAK) + 1 for one in rows), default=1)
    return len({one["row"] for one in rows}) * max(_BAND, 18 * lanes, 15 * lines + 6)


def _data(rows: Sequence[Mapping[str, object]]) -> alt.InlineData:
    import altair as alt

    return alt.InlineData(values=[dict(one) for one in rows])


def _spec(chart: Any) -> dict[str, Any]:
    """Return a chart as JSON, without Altair's own look: the page has one."""
    spec: dict[str, Any] = chart.to_dict()
    spec.pop("config", None)
    return spec
