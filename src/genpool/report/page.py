"""A report as one HTML file that needs nothing else: styles, charts and their JavaScript are in it.

Texts that models wrote are hostile until proven otherwise. Jinja escapes everything that it is given; the charts' data
are JSON in which nothing can end the element that holds it; and the page's Content-Security-Policy lets run only the
scripts whose digests it names, and lets nothing be loaded from anywhere. Vega's expressions are interpreted, so no eval
is allowed.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import orjson
from markupsafe import Markup

from genpool import __version__
from genpool.durable import replace_file, storage_errors
from genpool.intervals import FEWEST
from genpool.report import charts
from genpool.report.facts import many
from genpool.report.findings import findings_of, interval, level, number, part_key
from genpool.visible import shown

if TYPE_CHECKING:
    from pathlib import Path

    from jinja2 import Template

    from genpool.comparison import Comparison, Difference, LevelMean
    from genpool.report.charts import Chart
    from genpool.report.facts import Facts
    from genpool.report.findings import Findings
    from genpool.report.judged import JudgedFacts

_STATES: Final = {
    "own": "made",
    "made": "made",
    "reused": "reused",
    "missing": "missing",
    "unusable": "unusable",
}
_ROWS: Final = 90
"""So many rows of a table of levels are shown."""


@dataclass(frozen=True, slots=True)
class ComparedAxis:
    """One axis on the page."""

    key: str
    axis: str
    levels: Chart | None
    differences: Chart | None
    level_rows: tuple[LevelMean, ...]
    levels_left: int
    difference_rows: tuple[Difference, ...]
    level: str
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What the page shows of one judging stage."""

    judged: JudgedFacts
    key: str
    """What the ids of its sections begin with: nothing, for the first stage."""
    prefix: str
    sections: tuple[tuple[str, str], ...]
    coverage: Chart
    bars: tuple[Chart, ...] = ()
    pivot: Chart | None = None
    comparisons: tuple[ComparedAxis, ...] = ()

    def charts(self) -> dict[str, Chart]:
        """Return every chart by the key of its place."""
        found = {f"{self.key}coverage": self.coverage}
        found |= {f"{self.key}bars-{number}": one for number, one in enumerate(self.bars, start=1)}
        if self.pivot is not None:
            found[f"{self.key}pivot"] = self.pivot
        for one in self.comparisons:
            if one.levels is not None:
                found[f"{one.key}levels"] = one.levels
            if one.differences is not None:
                found[f"{one.key}differences"] = one.differences
        return found


def write_page(facts: Facts, target: Path) -> int:
    """Write a report as one HTML file, by one rename; return its size in bytes.

    Raises:
        StorageFailed: The file system refused.
    """
    data = page_of(facts).encode()
    with storage_errors(f"cannot write {target}"):
        replace_file(target, data)
    return len(data)


def page_of(facts: Facts, findings: Findings | None = None) -> str:
    """Return the HTML of a report; the same facts give the same page."""
    parts = [_part(one, at, len(facts.judged)) for at, one in enumerate(facts.judged)]
    drawn = {key: chart.spec for part in parts for key, chart in part.charts().items()}
    bundle, script = _bundle(), _read("page.js")
    return _template().render(
        facts=facts,
        findings=findings or findings_of(facts),
        parts=parts,
        states=[name for name in _STATES if any(name in one.states for one in facts.stages)],
        state_names=_STATES,
        number=number,
        interval=interval,
        many=many,
        fewest=FEWEST,
        version=__version__,
        css=Markup(_read("page.css")),  # noqa: S704 - our own file
        policy=_policy(bundle, script),
        charts=Markup(embedded_json(drawn)),  # noqa: S704 - nothing in it can end the element
        bundle=Markup(bundle),  # noqa: S704 - the libraries' code
        script=Markup(script),  # noqa: S704 - our own file
    )


def embedded_json(value: Any) -> str:
    """Return JSON that can stand in a script element: it holds no `<`, `>`, `&`, and no separators of lines."""
    text = orjson.dumps(value).decode()
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _policy(*scripts: str) -> str:
    """Return the Content-Security-Policy: only these scripts run, and nothing is loaded."""
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@cache
def _bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stubs know no default
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _read(name: str) -> str:
    return (resources.files("genpool.report") / name).read_text(encoding="utf-8")


def _harmless(value: Any) -> Any:
    """Return a value as the page shows it: the controls of foreign text are visible; our own markup stays."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_harmless
    )
    return environment.from_string(_read("page.html.j2"))


def _part(judged: JudgedFacts, at: int, of: int) -> Part:
    key = part_key(at)
    prefix = f"{judged.stage}: " if of > 1 else ""
    names = ["Coverage"]
    if judged.judgements:
        names += ["Scores", "Comparison", "Agreement", "Best texts", "Most disputed texts"]
    ids = ["coverage", "scores", "comparison", "agreement", "best", "disputed"]
    sections = tuple((f"{key}{one}", f"{prefix}{name}") for one, name in zip(ids, names, strict=False))
    covered = charts.coverage(judged)
    if not judged.judgements:
        return Part(judged, key, prefix, sections, covered)
    compared = tuple(
        _compared(judged, one, f"{key}axis-{number}-") for number, one in enumerate(judged.comparisons, start=1)
    )
    return Part(judged, key, prefix, sections, covered, tuple(charts.bars(judged)), charts.pivot(judged), compared)


def _compared(judged: JudgedFacts, comparison: Comparison, key: str) -> ComparedAxis:
    there = [one for one in comparison.differences if one.mean.mean is not None]
    said = []
    if not there:
        said.append("No family has two of these levels with everything else the same: they cannot be compared.")
    if judged.unranked:
        said.append(
            f"{many(judged.unranked, judged.judged + ' text')} lack a rubric or a judge. They are in no level's mean, "
            f"but in a pair where both of its sides have the same rubric and judge."
        )
    if comparison.multiplicity > 1:
        said.append(
            f"There are {comparison.multiplicity:,} pairs of levels: each interval of a difference is widened to "
            f"{level(comparison.differences[0].mean)}, so that all of them together hold at 95 %."
        )
    if comparison.not_compared:
        said.append(f"{comparison.not_compared:,} levels are not compared with the best.")
    return ComparedAxis(
        key=key,
        axis=judged.axes[comparison.axis],
        levels=charts.levels(judged, comparison),
        differences=charts.differences(judged, comparison) if there else None,
        level_rows=comparison.levels[:_ROWS],
        levels_left=max(0, len(comparison.levels) - _ROWS),
        difference_rows=comparison.differences[:_ROWS],
        level=level(comparison.differences[0].mean) if comparison.differences else "95 %",
        said=tuple(said),
    )
