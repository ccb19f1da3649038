"""The report's page as a person meets it: charts, answers, narrow screens, print, keyboard; nothing leaves it."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from genpool.comparison import compare
from genpool.judgements import OVERALL, judgements_of, text_axes, text_means
from genpool.pool import Pool
from genpool.report.facts import facts_of, gather
from genpool.report.page import write_page
from genpool.scores import lineage_columns
from tests.browser.chromium import context, opened
from tests.made_reports import Made

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

PRICED = """\
format: genpool.pool/1
id_scheme: genpool/1
salt: ""
models:
  smollm2-135m: {client: scripted, price: {input: 10, output: 40}}
  smollm2-135m-judge: {client: scripted, price: {input: 1, output: 4}}
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """The example, run with models that answer from a script and have a price."""
    root = tmp_path_factory.mktemp("demo") / "pool"
    Pool.init(root, example=True).layout.config.write_text(PRICED)
    pool = Pool.open(root)
    assert pool.run("demo").complete
    return pool


@pytest.fixture(scope="module")
def page_file(demo: Pool) -> Path:
    file = demo.layout.reports("demo") / "report.html"
    write_page(gather(demo, ["demo"]), file)
    return file


def said(page: Page, selector: str) -> str:
    """Return the text of what is shown there."""
    found = page.locator(selector)
    assert found.is_visible(), f"{selector} is not shown"
    return " ".join(found.inner_text().split())


def test_the_charts_are_drawn_and_nothing_leaves_the_page(page_file: Path) -> None:
    with opened(page_file) as found:
        boxes = found.page.locator("[data-chart]")
        assert boxes.count() == 8  # coverage, two rubrics, means by choices, and twice levels and differences
        for box in boxes.all():
            marks = box.locator("svg .mark-rect path, svg .mark-symbol path, svg .mark-text text")
            size = box.locator("svg").bounding_box()
            assert marks.count() > 0
            assert size is not None
            assert size["width"] > 200
            assert size["height"] > 40
        assert found.page.locator("[data-drawn=yes]").count() == 8
        assert (found.console, found.requests, found.refused) == ([], [], [])


def test_five_questions_have_their_answer(page_file: Path, demo: Pool) -> None:
    """Which draft template is better, by how much, how sure, what did it cost, and which three texts are best?

    What the page says is held against numbers that are worked out here another way.
    """
    scores = demo.scores("demo")
    stage = demo.config.pipeline["evaluation"]
    axes = text_axes(demo.config.pipeline, stage, lineage_columns(demo.config.pipeline, stage))
    judgements = judgements_of(scores, stage, axes)
    means = {
        level: scores.filter(scores["draft_template"] == level)["score"].mean()
        for level in ("baseline", "rolling-thread")
    }  # every text was judged equally often, so the plain means of the judgements differ as the pairs do
    better, worse = sorted(means, key=lambda level: -means[level])
    (difference,) = compare(judgements, "draft_template").between(OVERALL)
    texts = text_means(judgements).filter(text_means(judgements)["measure"] == OVERALL)
    ranked = sorted(texts.select("judged_gen_id", "value").rows(), key=lambda row: (-row[1], row[0]))
    bought = demo.audit("demo").total

    with opened(page_file) as found:
        card = "[data-question=better][data-axis='draft template']"
        which, by, sure = (said(found.page, f"{card} [data-answer={name}]") for name in ("which", "by", "sure"))
        unsure = "no clear winner; " if difference.mean.low < 0 < difference.mean.high else ""
        assert which == f"{unsure}{better} scored higher than {worse}"
        assert by == f"by {means[better] - means[worse]:.2f} on a scale of 0 to 9"
        assert sure.startswith(
            f"95 % interval {difference.mean.low:.2f} to {difference.mean.high:.2f}, 6 pairs from 3 combos"
        )
        assert ("it holds 0: this may be chance" in sure) == (difference.mean.low < 0 < difference.mean.high)
        assert said(found.page, "[data-answer=cost]") == (
            f"60 calls, {bought.input_tokens:,} tokens in, {bought.output_tokens:,} out; cost {bought.cost:.4f}"
        )
        listed = found.page.locator("[data-question=best] li")
        assert [one.get_attribute("data-gen-id") for one in listed.all()] == [text for text, _ in ranked[:3]]
        for one, (text, value) in zip(listed.all(), ranked, strict=False):
            assert text in one.inner_text()
            assert f"{value:.2f} on 0 to 9" in one.inner_text()


def test_the_best_texts_are_there_to_read_with_lineage_and_prompts(page_file: Path, demo: Pool) -> None:
    with opened(page_file) as found:
        first = found.page.locator("#best-1")
        gen_id = first.get_attribute("data-gen-id")
        text = demo.store.text(demo.find_generation(str(gen_id)))
        assert text in first.locator(".words").first.inner_text()
        prompt = first.locator(".prompt").first
        assert not prompt.is_visible()
        first.get_by_text("Lineage and prompts").click()
        assert prompt.is_visible()
        assert "can work together" in prompt.inner_text() or "reminds us of" in prompt.inner_text()
        first.get_by_text("What judges said (4)").click()
        assert "scripted reason" in first.locator(".verdicts").inner_text()


class Fewer(Made):
    """Many choices with long names, of texts that are not there."""

    judgements = 3_000


@pytest.fixture(scope="module")
def long_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("long")
    file = root / "report.html"
    write_page(facts_of(Fewer(Pool.init(root / "pool"), [])), file)
    return file


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (360, "light")])
@pytest.mark.parametrize("name", ["page_file", "long_page"])
def test_nothing_is_wider_than_the_screen(request: pytest.FixtureRequest, name: str, width: int, scheme: str) -> None:
    file = request.getfixturevalue(name)
    with opened(file, viewport={"width": width, "height": 800}, color_scheme=scheme) as found:
        assert found.page.evaluate("document.documentElement.scrollWidth") == width
        for box in found.page.locator("figure, .answer, .text").all():
            place = box.bounding_box()
            assert place is not None
            assert place["x"] >= 0
            assert place["x"] + place["width"] <= width
        found.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert found.page.evaluate("document.documentElement.scrollWidth") == width
        sizes = found.page.evaluate(
            "[...document.querySelectorAll('svg text')].map(one => getComputedStyle(one).fontSize)"
        )
        assert {float(one.removesuffix("px")) >= 11 for one in sizes} == {True}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_charts_stand_out_from_what_is_behind_them(page_file: Path, scheme: str) -> None:
    """Every text has the contrast of WCAG AA (4.5), lines and dots that of graphics (3)."""
    with opened(page_file, color_scheme=scheme) as found:
        colours = found.page.evaluate(
            """() => {
              const shade = (name) => {
                const probe = document.body.appendChild(document.createElement("i"));
                probe.style.color = `var(${name})`;
                const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number);
                probe.remove();
                const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
              };
              const names = "page card mark ink soft link heat warn c1 c2 c3 c4 c5 c6 c7 c8".split(" ");
              return Object.fromEntries(names.map((name) => [name, shade(`--${name}`)]));
            }"""
        )

    def contrast(one: str, other: str) -> float:
        light, dark = sorted((colours[one], colours[other]), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    for behind in ("page", "card", "mark"):
        assert min(contrast(name, behind) for name in ("ink", "soft", "link", "warn")) >= 4.5
    assert min(contrast(f"c{number}", "card") for number in range(1, 9)) >= 3
    assert contrast("ink", "heat") >= 4.5


def test_it_can_be_used_by_keyboard(page_file: Path) -> None:
    with opened(page_file) as found:
        page = found.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
        assert page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.locator("summary").first.focus()
        details = page.locator("details").first
        page.keyboard.press("Enter")
        assert details.evaluate("one => one.open")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        levels = [
            int(one) for one in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => h.tagName[1])")
        ]
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        unnamed = """() => [
          ...[...document.querySelectorAll("[role=img]")].filter((one) => !one.getAttribute("aria-label")),
          ...[...document.querySelectorAll("table")].filter((one) => !one.caption),
          ...[...document.querySelectorAll("[aria-labelledby]")].filter(
            (one) => !document.getElementById(one.getAttribute("aria-labelledby"))),
        ].length"""
        assert page.evaluate(unnamed) == 0
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids))
        links = page.evaluate("[...document.querySelectorAll('a')].map(one => one.getAttribute('href'))")
        assert {one for one in links if not one.startswith("#") or one[1:] not in ids} == set()


def test_in_print_it_is_dark_on_white_with_every_table_open(page_file: Path) -> None:
    with opened(page_file, color_scheme="dark") as found:
        found.page.emulate_media(media="print")
        assert found.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        ink = found.page.evaluate("getComputedStyle(document.querySelector('svg .role-axis-label text')).fill")
        assert ink == "rgb(0, 0, 0)"
        assert not found.page.locator("nav").is_visible()
        found.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        tables = found.page.locator("details.numbers table")
        assert tables.count() == 5
        assert all(one.is_visible() for one in tables.all())
        data = found.page.pdf()
        assert data.startswith(b"%PDF-")
        assert len(re.findall(rb"/Type\\s*/Page\\b", data)) < 20


def test_without_scripts_every_number_is_still_there(page_file: Path) -> None:
    with context(java_script_enabled=False) as made:
        page = made.new_page()
        page.goto(page_file.as_uri())
        assert "Charts need JavaScript" in page.inner_text("noscript, body")
        assert "scored higher than" in page.inner_text("#short")
        assert page.locator("details.numbers table").count() == 5


def test_what_got_into_the_page_all_the_same_could_neither_run_nor_call_out(page_file: Path) -> None:
    """The policy is the second line of defence: markup that is put into the page is refused."""
    with opened(page_file) as found:
        found.page.evaluate(
            """() => {
              const script = document.createElement("script");
              script.textContent = "window.ran.push('inline')";
              document.body.append(script);
              const add = (markup) => document.body.insertAdjacentHTML("beforeend", markup);
              add("<img src=http://evil.test/1 onerror=window.ran.push('handler')>");
              add("<iframe srcdoc='<script>top.ran.push(1)<\\/script>'></iframe>");
              const made = document.createElement("script");
              made.src = "http://evil.test/2";
              document.body.append(made);
              fetch("http://evil.test/3").catch(() => null);
              setTimeout(() => { try { window.ran.push(new Function("return 'eval'")()); } catch { /* refused */ } });
            }"""
        )
        found.page.wait_for_timeout(300)
        directives = {one.split()[0] for one in found.refused}
        assert {"script-src-elem", "script-src-attr", "script-src", "img-src", "connect-src"} <= directives
        assert found.ran == []
        assert found.failures == {"csp"}  # what was asked for never left the browser
