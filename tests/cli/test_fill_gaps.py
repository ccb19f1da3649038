"""`genpool fill-gaps` as a user types it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conftest import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type

LEVELS = ("--levels", "baseline,rolling-thread")


def test_what_is_printed_is_a_spec_that_makes_what_is_missing(genpool: Type, root: Path) -> None:
    spec = root / "cohorts/demo/cohort.yaml"
    rewrite(spec, "template: [baseline, rolling-thread]", "template: [baseline]")
    assert genpool("run", "demo", "-q").code == 0
    said = genpool("fill-gaps", "demo", "--axis", "draft.template", *LEVELS)
    assert said.code == 0
    assert said.err == ""
    assert said.out.startswith("# demo: draft.template at baseline, rolling-thread\n")
    (root / "cohorts/gaps").mkdir()
    (root / "cohorts/gaps/cohort.yaml").write_text(said.out)
    assert genpool("plan", "gaps", "--json").json["total"]["to_make"] == 3 + 6 + 24
    assert "tasks that have no generation: 33 (draft 3, essay 6, evaluation 24)\n" in said.out
    assert genpool("run", "gaps", "-q").code == 0


def test_where_nothing_is_missing_no_spec_is_printed(genpool: Type) -> None:
    genpool("run", "demo", "-q")
    said = genpool("fill-gaps", "demo", "--axis", "draft.template", *LEVELS)
    assert (said.code, said.out) == (0, "")
    assert said.err.startswith("nothing is missing")


def test_an_axis_that_is_none_gets_the_nearest(genpool: Type) -> None:
    genpool("run", "demo", "-q")
    said = genpool("fill-gaps", "demo", "--axis", "draft.templates", *LEVELS)
    assert said.code == 2
    assert "did you mean 'draft.template'?" in said.err
