"""`genpool fill-gaps` as a user types it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.small_pools import make_pool, models, write_spec

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
    assert said.code == 1
    assert "did you mean 'draft.template'?" in said.err


def test_a_level_with_a_comma_is_typed_in_quotation_marks_or_as_an_option_of_its_own(
    genpool: Type, tmp_path: Path
) -> None:
    pool = make_pool(tmp_path / "commas")
    (pool.root / "rows.csv").write_text('id,topic\n"a, b",one\nc,two\n')
    write_spec(pool.root, draft="template: [plain, long], model: [writer]")
    lines = [
        json.dumps({"stage": "draft", **task.signature.as_dict()})
        for task in pool.plan("c").tasks()
        if task.signature["combo_id"] == "c" or task.signature["template_id"] == "plain"
    ]
    (tmp_path / "some.jsonl").write_text("\n".join(lines))
    pool.run("c", models=models(), only=tmp_path / "some.jsonl")
    words = ("--pool", str(pool.root), "fill-gaps", "c", "--axis", "draft.combo")
    said = [genpool(*words, *levels) for levels in (["--levels", '"a, b",c'], ["--levels", '"a, b"', "--levels", "c"])]
    assert said[0].code == 0, said[0].err
    assert "# tasks that have no generation: 1 (draft 1)\n" in said[0].out
    assert '["a, b", long, writer]' in said[0].out
    assert said[1] == said[0]
    assert "has no level 'a'" in genpool(*words, "--levels", "a, b,c").err
    assert "is not a list of levels" in genpool(*words, "--levels", '"a, b,c').err


def test_replicates_that_a_copy_cannot_have_are_told_as_that(genpool: Type, root: Path) -> None:
    rewrite(
        root / "cohorts/demo/cohort.yaml",
        "template: [narrative, as-drafted]",
        "template: [narrative, as-drafted]\n  replicates: 3",
    )
    assert genpool("run", "demo", "-q").code == 0
    said = genpool("fill-gaps", "demo", "--axis", "essay.template", "--levels", "narrative,as-drafted")
    assert said.code == 1
    assert "as-drafted, 2: it would copy its draft, and a copy has one replicate\n" in said.err
    assert "hint: name levels of which none copies" in said.err
