"""The section `rules:` of a spec: what is read, and everything that is wrong with it, with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genpool.errors import InvalidSpec, Problem
from tests.written_pools import POOL, only_problem, problem_with

if TYPE_CHECKING:
    from tests.written_pools import WrittenPool

SPEC = """\
format: genpool.cohort/1
draft:
  combo: {rows: rows.csv}
  template: [plain, other]
  model: [writer, judge]
essay:
  template: [story, copied]
rules:
"""
LINE = SPEC.count("\n") + 2
"""The line of a rule that is written below the name of its kind."""


@pytest.fixture(autouse=True)
def _rows(pool: WrittenPool) -> None:
    pool.write("rows.csv", "id,topic\nr1,tea\nr2,salt\n")
    pool.write("keep.csv", "draft.template\nplain\n")
    pool.write("pairs.csv", "note,essay.template,draft.template\nx,story,plain\ny,copied,other\n")


def rows(pool: WrittenPool, rules: str) -> list[set[tuple[str, ...]]]:
    """Return what relations are made of rules."""
    return [set(relation.rows) for relation in pool.spec(SPEC + rules).limits.relations]


def fault(pool: WrittenPool, rules: str) -> Problem:
    with pytest.raises(InvalidSpec) as error:
        pool.spec(SPEC + rules)
    return only_problem(error)


PLAIN_STORY = [{("plain", "story"), ("other", "copied")}]


@pytest.mark.parametrize(
    "typed",
    [
        "{left: draft.template, right: essay.template, allowed: [[plain, story], [other, copied]]}",
        "{left: draft.template, right: essay.template, allowed: @file:pairs.csv}",
        "{left: draft.template, right: essay.template, allowed: '@file:pairs.csv', balanced: true}",
        "{left: ' draft.template', right: \"essay.template\", allowed: [[' plain ', story], [other, copied]]}",
    ],
)
def test_a_pair_is_read_from_the_spec_or_a_file(pool: WrittenPool, typed: str) -> None:
    assert rows(pool, f"  pairs:\n    - {typed}\n") == PLAIN_STORY


@pytest.mark.parametrize("allowed", ["[[plain, story], [other, copied]]", "@file:pairs.csv"])
def test_a_tuple_is_read_from_the_spec_or_a_file(pool: WrittenPool, allowed: str) -> None:
    typed = f"  tuples:\n    - axes: [draft.template, essay.template]\n      allowed: {allowed}\n"
    assert rows(pool, typed) == PLAIN_STORY


@pytest.mark.parametrize("keep", ["[plain]", "@file:keep.csv", "@file:short.csv"])
def test_a_subset_is_read_from_the_spec_or_a_file(pool: WrittenPool, keep: str) -> None:
    pool.write("short.csv", "template\nplain\n")
    limits = pool.spec(f"{SPEC}  subsets: [{{axis: draft.template, keep: {keep}}}]\n").limits
    assert list(limits.levels.values()) == [("plain",)]


def test_several_files_may_be_named_in_one_line(pool: WrittenPool) -> None:
    one = "{axis: draft.template, keep: @file:keep.csv}"
    assert pool.spec(f"{SPEC}  subsets: [{one}, {one}]\n").limits.levels


def test_a_tie_is_a_list_of_axes(pool: WrittenPool) -> None:
    pool.write("pool.yaml", POOL + MODELS)
    text = SPEC.replace("essay:\n", "essay:\n  model: [judge]\n").replace(", copied", "")
    limits = pool.spec(f"{text}  ties:\n    - [draft.model, essay.model]\n").limits
    assert set(limits.levels.values()) == {("judge",)}


MODELS = """\
pipeline:
  draft: {prefix: d, axes: [template, model]}
  essay: {prefix: e, parent: draft, axes: [template, model]}
"""


def test_combos_are_an_axis_of_their_root(pool: WrittenPool) -> None:
    pair = "{left: draft.combo, right: draft.model, allowed: [[r1, writer], [r2, judge]]}"
    assert rows(pool, f"  pairs:\n    - {pair}\n") == [{("r1", "writer"), ("r2", "judge")}]


def test_rules_that_say_nothing_are_no_rules(pool: WrittenPool) -> None:
    for typed in ("rules: {}", "rules: {pairs: [], ties: []}"):
        assert pool.spec(SPEC.replace("rules:", typed)).limits.relations == ()


SUBSET = "  subsets:\n    - "
TIE = "  ties:\n    - "
PAIR = "  pairs:\n    - "
TUPLE = "  tuples:\n    - "
SIDES = "left: draft.template, right: essay.template"
AXES = "axes: [draft.template, draft.model, essay.template]"


@pytest.mark.parametrize(
    ("typed", "said", "hint"),
    [
        (SUBSET + "{axis: drft.template, keep: [plain]}", "unknown stage 'drft' in 'drft.template'", "'draft'"),
        (SUBSET + "{axis: draft.tempalte, keep: [plain]}", "stage 'draft' has no axis 'tempalte'", "'template'"),
        (SUBSET + "{axis: essay.combo, keep: [r1]}", "stage 'essay' has no axis 'combo'", "known: template"),
        (SUBSET + "{axis: essay.model, keep: [x]}", "stage 'essay' has no axis 'model'", "known: template"),
        (SUBSET + "{axis: draft.template_id, keep: [plain]}", "no axis 'template_id'", "'template'"),
        (
            SUBSET + "{axis: template, keep: [plain]}",
            "'template' is not an axis; an axis is written stage.axis",
            ".template'",
        ),
        (SUBSET + "{axis: draft.replicates, keep: [1]}", "replicates are not an axis", "`replicates: …`"),
        (SUBSET + "{axis: [draft.template], keep: [plain]}", "an axis is written stage.axis", None),
        (SUBSET + "{axis: evaluation.model, keep: [judge]}", "stage 'evaluation' is not selected", "`evaluation:`"),
        (
            SUBSET + "{axis: draft.template, keep: [plian]}",
            "the spec has no level 'plian' on draft.template",
            "'plain'",
        ),
        (SUBSET + "{axis: draft.combo, keep: [r3]}", "the spec has no level 'r3' on draft.combo", "known: r1, r2"),
        (SUBSET + "{axis: draft.template, keep: []}", "rules.subsets: keep is empty", "at least one level"),
        (SUBSET + "{axis: draft.template, keep: plain}", "keep must be a list of levels or `@file:…`", None),
        (SUBSET + "{axis: draft.template, keep: [[plain]]}", "a level must be plain text", None),
        (SUBSET + "{axis: draft.template, keep: [plain, plain]}", "plain is listed twice", None),
        (
            SUBSET + "{axis: draft.template, kepe: [plain], keep: [plain]}",
            "rules.subsets: unknown key 'kepe'",
            "'keep'",
        ),
        (SUBSET + "{axis: draft.template}", "rules.subsets: the key 'keep' is missing", None),
        (SUBSET + "draft.template", "rules.subsets: a rule is a mapping of axis, keep", None),
        (SUBSET + "{axis: draft.template, keep: @file:none.csv}", "the file 'none.csv' does not exist", None),
        (
            SUBSET + "{axis: draft.model, keep: @file:keep.csv}",
            "keep.csv:1: the header has no column 'draft.model'",
            None,
        ),
        (TIE + "[draft.model]", "rules.ties: a tie needs two axes or more", None),
        (TIE + "[draft.model, draft.model]", "rules.ties: draft.model is given twice", None),
        (
            TIE + "[draft.model, draft.template]",
            "draft.model and draft.template have no value in common",
            "writer, judge",
        ),
        (TIE + "{axes: [draft.model, essay.template]}", "rules.ties: a tie is a list of axes", "[draft.model, "),
        (PAIR + f"{{{SIDES}, allowed: []}}", "rules.pairs: allowed is empty", "at least one row"),
        (PAIR + f"{{{SIDES}, allowed: all}}", "allowed must be a list of rows or `@file:…`", None),
        (PAIR + f"{{{SIDES}, allowed: [plain, story]}}", None, None),
        (
            PAIR + f"{{{SIDES}, allowed: [[plain]]}}",
            "a row has 2 values: draft.template, essay.template; this one has 1",
            None,
        ),
        (PAIR + f"{{{SIDES}, allowed: [[plain, story, x]]}}", "this one has 3", None),
        (PAIR + f"{{{SIDES}, allowed: [[plain, stroy]]}}", "no level 'stroy' on essay.template", "'story'"),
        (PAIR + f"{{{SIDES}, allowed: [[plain, story], [plain, story]]}}", "plain, story is listed twice", None),
        (PAIR + f"{{{SIDES}, allowed: [[plain, {{a: b}}]]}}", "a level must be plain text", None),
        (PAIR + f"{{{SIDES}, allowed: [[plain, story]], balanced: maybe}}", "balanced must be true or false", None),
        (PAIR + f"{{{SIDES}, allowed: [[plain, story]], balanced: true}}", None, None),
        (PAIR + f"{{{SIDES}, allowed: [[plain, story]], balance: true}}", "unknown key 'balance'", "'balanced'"),
        (PAIR + "{left: draft.template, allowed: [[plain, story]]}", "rules.pairs: the key 'right' is missing", None),
        (
            PAIR + "{left: draft.model, right: draft.model, allowed: [[judge, judge]]}",
            "draft.model is given twice",
            None,
        ),
        (TUPLE + f"{{{AXES}, allowed: [[plain, writer]]}}", "this one has 2", None),
        (TUPLE + f"{{{AXES}, allowed: @file:pairs.csv}}", "pairs.csv:1: the header has no column 'draft.model'", None),
        (TUPLE + "{axes: [], allowed: [[plain]]}", "rules.tuples: axes is empty", "at least one axis"),
        (TUPLE + "{axes: draft.template, allowed: [[plain]]}", "rules.tuples: axes must be a list of axes", None),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_would_be_right(
    pool: WrittenPool, typed: str, said: str | None, hint: str | None
) -> None:
    if said is None:  # several problems of one rule
        with pytest.raises(InvalidSpec) as error:
            pool.spec(f"{SPEC}{typed}\n")
        assert {problem.line for problem in error.value.problems} == {LINE}
        assert len(error.value.problems) == 2
        return
    problem = fault(pool, f"{typed}\n")
    assert said in problem.message
    assert problem.line == LINE
    assert hint is None or hint in (problem.hint or "")


@pytest.mark.parametrize(
    ("typed", "said", "line"),
    [
        ("  pair: []\n", "rules: unknown key 'pair'", LINE - 1),
        ("  pairs: {}\n", "rules.pairs must be a list of rules", LINE - 1),
        ("  - pairs\n", "rules must be a mapping", LINE - 1),
        (
            f"{TUPLE}axes: [draft.model]\n      allowed:\n      - [judge]\n      - [writer]\n      - [judge, x]\n",
            "this one has 2",
            LINE + 4,
        ),
    ],
)
def test_what_is_wrong_is_named_where_it_is(pool: WrittenPool, typed: str, said: str, line: int) -> None:
    problem = fault(pool, typed)
    assert said in problem.message
    assert problem.line == line


HEAD = "draft.template,essay.template\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{HEAD}plain,story\nplain\n", "pairs.csv:3: the line has no value for 'essay.template'"),
        (f"{HEAD}plain,story\n\nother,stroy\n", "pairs.csv:4: rules.pairs: the spec has no level 'stroy'"),
        (f"{HEAD}plain,story\nplain,story\n", "pairs.csv:3: rules.pairs: plain, story is listed twice"),
        ("template,essay.template\nplain,story\n", "pairs.csv:1: the header has no column 'draft.template'"),
        ("plain,story\n", "pairs.csv:1: the header has no column 'draft.template' (it has plain, story)"),
        (f"{HEAD}", "pairs.csv: there is no line below the header"),
        (f'{HEAD}"plain,story\n', "pairs.csv: not readable as CSV"),
    ],
)
def test_a_file_of_rows_that_is_wrong_is_told_with_its_line(pool: WrittenPool, content: str, said: str) -> None:
    pool.write("pairs.csv", content)
    problem = fault(pool, f"{PAIR}{{{SIDES}, allowed: @file:pairs.csv}}\n")
    assert said in problem.message
    assert problem.line == LINE


def test_of_very_many_wrong_rows_the_first_are_told(pool: WrittenPool) -> None:
    pool.write("pairs.csv", "draft.template,essay.template\n" + "plain,stroy\n" * 10_000)
    with pytest.raises(InvalidSpec) as error:
        pool.spec(f"{SPEC}{PAIR}{{{SIDES}, allowed: @file:pairs.csv}}\n")
    assert len(error.value.problems) == 21
    assert error.value.problems[-1].message == "rules.pairs: 9,980 more rows are wrong"


def test_rules_are_told_together_with_all_else(pool: WrittenPool) -> None:
    rules = f"{SUBSET}{{axis: draft.modle, keep: [x]}}\n    - {{axis: draft.template, keep: [plian]}}\n{TIE}[a, b]\n"
    with pytest.raises(InvalidSpec) as error:
        pool.spec(SPEC.replace("[writer, judge]", "[writter]") + rules)
    assert [problem.line for problem in error.value.problems] == [5, LINE, LINE + 1, LINE + 3, LINE + 3]


def test_a_misspelt_level_is_told_once_not_by_every_rule_that_has_it_right(pool: WrittenPool) -> None:
    rules = f"{SUBSET}{{axis: draft.template, keep: [plain]}}\n"
    with pytest.raises(InvalidSpec) as error:
        pool.spec(SPEC.replace("[plain, other]", "[plian]") + rules)
    assert "unknown template 'plian'" in only_problem(error).message
    with pytest.raises(InvalidSpec) as error:
        pool.spec(SPEC.replace("rows.csv", "none.csv") + rules.replace("template, keep: [plain]", "combo, keep: [r1]"))
    assert "none.csv" in only_problem(error).message


def test_rules_that_leave_nothing_together_name_the_first_that_cannot_join_the_others(pool: WrittenPool) -> None:
    pairs = (
        f"{PAIR}{{{SIDES}, allowed: [[plain, story]]}}\n"
        "    - {left: draft.template, right: draft.model, allowed: [[plain, judge]]}\n"
        "    - {left: draft.model, right: essay.template, allowed: [[writer, story]]}\n"
    )
    with pytest.raises(InvalidSpec, match="cohort 'trial' is not usable: 1 problem") as error:
        pool.select(SPEC + pairs)
    problem = problem_with(error, "with the rules before it, this leaves nothing")
    assert problem.message.startswith("rules: draft.model and essay.template")
    assert (problem.line, problem.file) == (LINE + 2, str(pool.root / "cohorts/trial/cohort.yaml"))
