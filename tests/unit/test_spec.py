"""cohort.yaml: what it selects, and everything that is wrong with it, with its line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from genpool.combos import Combo, combo_id, combo_lines
from genpool.errors import GenpoolError, InputError, InvalidSpec, NotFound, Problem, UnsupportedFormat
from genpool.spec import MAX_TASKS
from tests.written_pools import POOL, SPEC, only_problem, problem_with

if TYPE_CHECKING:
    from tests.written_pools import WrittenPool

HEAD = "format: genpool.cohort/1\n"
DRAFT = HEAD + "draft:\n  combo: {concepts: [moat, wheel], size: 1, level: sentence}\n"
AXES = "  template: [plain]\n  model: [writer]\n"
MOODS = POOL + "pipeline:\n  draft: {prefix: d, axes: [template, model, mood]}\n"


def levels(pool: WrittenPool, typed: str) -> tuple[str, ...]:
    """Return the levels that a user's own axis gets from what was typed."""
    pool.write("pool.yaml", MOODS)
    return pool.spec(f"{DRAFT}{AXES}  mood: {typed}\n").stages[0].levels["mood"]


def combos(pool: WrittenPool, typed: str) -> list[str]:
    """Return the ids of the combos that a combo axis selects."""
    spec = pool.spec(f"{HEAD}draft:\n  combo: {typed}\n{AXES}")
    axis = spec.stages[0].combos
    assert axis is not None
    made = [combo.combo_id for combo in axis.make()]
    assert len(made) == axis.count
    return made


def fault(pool: WrittenPool, text: str) -> Problem:
    with pytest.raises(InvalidSpec, match="cohort 'trial' is not usable") as error:
        pool.spec(text)
    problem = only_problem(error)
    assert problem.file == str(pool.root / "cohorts/trial/cohort.yaml")
    return problem


# --- what is read ---------------------------------------------------------------------------------


def test_a_spec_is_read_with_every_stage_and_axis(pool: WrittenPool) -> None:
    spec = pool.spec(SPEC + "description: does it work?\n")
    assert [(stage.stage.name, dict(stage.levels), stage.replicates) for stage in spec.stages] == [
        ("draft", {"template_id": ("plain",), "llm_model_id": ("writer",)}, 1),
        ("essay", {"template_id": ("story",)}, 1),
        ("evaluation", {"template_id": ("novelty",), "llm_model_id": ("judge",)}, 2),
    ]
    assert (spec.cohort_id, spec.description) == ("trial", "does it work?")


def test_replicates_are_the_specs_else_the_pools(pool: WrittenPool) -> None:
    assert pool.spec(f"{DRAFT}{AXES}  replicates: 7\n").stages[0].replicates == 7
    assert pool.spec(DRAFT + AXES).stages[0].replicates == 1


def test_stages_come_parents_first_whatever_the_order_of_the_file(pool: WrittenPool) -> None:
    spec = pool.spec(f"{HEAD}essay:\n  template: [story]\n" + (DRAFT + AXES).removeprefix(HEAD))
    assert [stage.stage.name for stage in spec.stages] == ["draft", "essay"]


@pytest.mark.parametrize("typed", ["1.10", "010", "no", "2024-01-01", "1e3", "0x1F", "~", "null", "true", "12:30"])
def test_a_level_stays_what_was_typed(pool: WrittenPool, typed: str) -> None:
    assert levels(pool, f"[{typed}, other]") == (typed, "other")


def test_levels_are_stripped_and_brought_to_nfc_and_nothing_else(pool: WrittenPool) -> None:
    assert levels(pool, "[' calm ', \"e\\u0301tude\", Calm, 'a  b']") == ("calm", "étude", "Calm", "a  b")


def test_all_is_every_name_of_the_catalog_in_order(pool: WrittenPool) -> None:
    spec = pool.spec(f"{DRAFT}  template: all\n  model: all\n")
    assert dict(spec.stages[0].levels) == {"template_id": ("other", "plain"), "llm_model_id": ("judge", "writer")}


def test_levels_come_from_the_column_of_a_file(pool: WrittenPool) -> None:
    pool.write("moods.csv", "\ufeffnote,mood\r\nx, calm \r\n\r\ny,1.10\r\nz,no\r\n")
    assert levels(pool, "'@file:moods.csv'") == ("calm", "1.10", "no")


def test_a_description_that_mentions_a_file_of_levels_stays_readable(pool: WrittenPool) -> None:
    text = SPEC.replace("\n", "\ndescription: 'see mood: @file:x.csv'\n", 1)
    assert pool.spec(text).description == "see mood: @file:x.csv"


def test_many_combos_are_counted_before_they_are_made(pool: WrittenPool) -> None:
    pool.write("names.csv", "concept\n" + "".join(f"c{number}\n" for number in range(3000)))
    for number in range(3000):
        pool.write(f"concepts/c{number}.yaml", f"format: genpool.concept/1\nlevels: {{sentence: c{number}}}\n")
    axis = pool.spec(f"{COMBO}{{concepts: '@file:names.csv', size: 2, level: sentence}}\n").stages[0].combos
    assert axis is not None
    assert axis.count == 4_498_500


@pytest.mark.parametrize("typed", ["@file:moods.csv", "'@file:moods.csv'", '"@file:moods.csv"'])
def test_a_file_needs_no_quotation_marks_though_yaml_wants_them(pool: WrittenPool, typed: str) -> None:
    pool.write("moods.csv", "mood\ncalm\n")
    assert levels(pool, typed) == ("calm",)


def test_many_levels_are_read_in_a_moment(pool: WrittenPool) -> None:
    pool.write("moods.csv", "mood\n" + "".join(f"mood-{number}\n" for number in range(40_000)))
    started = time.process_time()
    assert len(levels(pool, "'@file:moods.csv'")) == 40_000
    assert time.process_time() - started < 2


# --- combos ---------------------------------------------------------------------------------------


def test_combos_are_every_choice_of_concepts_of_a_size(pool: WrittenPool) -> None:
    assert combos(pool, "{concepts: [wheel, moat, path], size: 2, level: sentence}") == [
        combo_id(pair, "sentence") for pair in (["wheel", "moat"], ["wheel", "path"], ["moat", "path"])
    ]


def test_all_concepts_may_be_chosen_from(pool: WrittenPool) -> None:
    assert combos(pool, "{concepts: all, size: 3, level: sentence}") == [
        combo_id(["moat", "path", "wheel"], "sentence")
    ]


def test_concepts_come_from_the_column_of_a_file(pool: WrittenPool) -> None:
    pool.write("chosen.csv", "concept,why\nmoat,x\nwheel,y\n")
    assert combos(pool, "{concepts: '@file:chosen.csv', size: 1, level: sentence}") == [
        combo_id(["moat"], "sentence"),
        combo_id(["wheel"], "sentence"),
    ]


def test_an_older_name_of_a_combo_is_used_again(pool: WrittenPool) -> None:
    pool.write("combos.jsonl", combo_lines([Combo("old-name", ("moat", "wheel"), "sentence")]))
    assert combos(pool, "{concepts: [moat, wheel], size: 2, level: sentence}") == ["old-name"]


def test_recorded_combos_may_be_named(pool: WrittenPool) -> None:
    pool.write("combos.jsonl", combo_lines([Combo("old-name", ("moat", "wheel"), "sentence")]))
    assert combos(pool, "[old-name]") == ["old-name"]


def test_rows_of_a_file_are_combos(pool: WrittenPool) -> None:
    pool.write("data.csv", "id,topic\nr2,tea\nr1,salt\n")
    pool.write("data.jsonl", '{"id": "r3"}\n')
    assert combos(pool, "{rows: data.csv}") == ["r2", "r1"]
    assert combos(pool, "{rows: data.jsonl}") == ["r3"]


def test_an_id_that_is_recorded_under_another_meaning_is_refused(pool: WrittenPool) -> None:
    pool.write("combos.jsonl", combo_lines([Combo("r1", ("moat",), "sentence")]))
    pool.write("data.csv", "id,topic\nr1,tea\n")
    problem = fault(pool, f"{HEAD}draft:\n  combo: {{rows: data.csv}}\n{AXES}")
    assert problem.message == (
        "combo id 'r1' stands for moat at level 'sentence' in this pool, not for a row of data.csv"
    )
    assert problem.line == 3


def test_several_older_names_of_a_combo_are_refused_with_their_list(pool: WrittenPool) -> None:
    recorded = [Combo(name, ("moat", "wheel"), "sentence") for name in ("one", "two")]
    pool.write("combos.jsonl", combo_lines(recorded))
    assert "several ids for moat + wheel at level 'sentence': one, two" in fault(pool, SPEC).message


COMBO = f"{HEAD}draft:\n{AXES}  combo: "


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("all", "draft.combo must be a list of combo ids"),
        ("[]", "draft.combo: the list is empty"),
        ("[nobody]", "draft.combo: unknown combo 'nobody'"),
        ("[[moat]]", "draft.combo: a level must be plain text"),
        ("{concepts: [moat], size: 2, level: sentence}", "size 2 of 1 concepts gives no combo"),
        ("{concepts: [moat], size: 0, level: sentence}", "size is '0'"),
        ("{concepts: [moat], size: 1.5, level: sentence}", "size is '1.5'"),
        ("{concepts: [moat], size: one, level: sentence}", "size is 'one'"),
        ("{concepts: [moat], size: 1}", "the key 'level' is missing"),
        ("{concepts: [moat], level: sentence}", "the key 'size' is missing"),
        ("{size: 1, level: sentence}", "the key 'concepts' is missing"),
        ("{concepts: [moat], size: 1, level: [sentence]}", "level must be text"),
        ("{concepts: [moat], size: 1, level: null}", "level is null"),
        ("{concepts: [moat], size: 1, level: sentense}", "concept 'moat' has no text of level 'sentense'"),
        ("{concepts: [], size: 1, level: sentence}", "the list of concepts is empty"),
        ("{concepts: [moot], size: 1, level: sentence}", "unknown concept 'moot'"),
        ("{concepts: [moat, moat], size: 1, level: sentence}", "'moat' is listed twice"),
        ("{concepts: moat, size: 1, level: sentence}", "concepts must be a list, `all` or"),
        ("{concepts: {a: b}, size: 1, level: sentence}", "concepts must be a list, `all` or"),
        ("{concepts: [moat], size: 1, levle: a, level: sentence}", "unknown key 'levle'"),
        ("{rows: data.csv, size: 1}", "unknown key 'size'"),
        ("{rows: none.csv}", "the file 'none.csv' does not exist in the pool"),
        ("{rows: ../data.csv}", "the file '../data.csv' is outside the pool"),
        ("{rows: ''}", "the file '' does not exist in the pool"),
    ],
)
def test_a_combo_axis_that_cannot_be_used_is_named_with_its_line(pool: WrittenPool, typed: str, said: str) -> None:
    pool.write("data.csv", "id,topic\nr1,tea\n")
    problem = fault(pool, COMBO + typed + "\n")
    assert said in problem.message
    assert problem.line == 5


def test_a_pool_without_concepts_has_none_to_take_all_of(pool: WrittenPool) -> None:
    for path in (pool.root / "concepts").iterdir():
        path.unlink()
    problem = fault(pool, COMBO + "{concepts: all, size: 1, level: sentence}\n")
    assert (problem.line, problem.hint) == (5, "put a .yaml file into concepts/")


def test_a_fault_in_a_concept_is_told_with_the_concepts_file_and_line(pool: WrittenPool) -> None:
    path = pool.write("concepts/moat.yaml", "format: genpool.concept/1\nname: x\nlevels: [x]\n")
    with pytest.raises(InvalidSpec) as error:
        pool.spec(SPEC)
    problem = only_problem(error)
    assert (problem.file, problem.line) == (str(path), 3)


def test_a_fault_in_the_rows_is_told_with_the_files_line(pool: WrittenPool) -> None:
    pool.write("data.csv", "id,topic\nr1,tea\nr2\nr1,milk\n")
    with pytest.raises(InvalidSpec) as error:
        pool.spec(f"{COMBO}{{rows: data.csv}}\n")
    assert {(problem.file, problem.line) for problem in error.value.problems} == {("data.csv", 3), ("data.csv", 4)}


# --- axes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "said", "hint"),
    [
        (f"{DRAFT}  template: [plian]\n  model: [writer]\n", 4, "unknown template 'plian'", "did you mean 'plain'?"),
        (f"{DRAFT}  template: [plain]\n  model: [writter]\n", 5, "unknown model 'writter'", "did you mean 'writer'?"),
        (f"{DRAFT}  template: [Plain]\n  model: [writer]\n", 4, "unknown template 'Plain'", "did you mean 'plain'?"),
        (f"{DRAFT}{AXES}  replicate: 2\n", 6, "stage 'draft' has no axis 'replicate'", "did you mean 'replicates'?"),
        (f"{DRAFT}{AXES}desciption: x\n", 6, "unknown key 'desciption'", "did you mean 'description'?"),
        (f"{DRAFT}{AXES}esay: {{template: [story]}}\n", 6, "unknown key 'esay'", "did you mean 'essay'?"),
        (f"{DRAFT}  model: [writer]\n", 3, "the axis 'template' is missing", "for instance `template: all`"),
        (
            f"{DRAFT}  template: []\n  model: [writer]\n",
            4,
            "draft.template: the list is empty",
            "name at least one level",
        ),
        (f"{DRAFT}  template: plain\n  model: [writer]\n", 4, "draft.template must be a list, `all` or", None),
        (f"{DRAFT}  template: {{a: b}}\n  model: [writer]\n", 4, "draft.template must be a list, `all` or", None),
        (f"{DRAFT}  template: [[plain]]\n  model: [writer]\n", 4, "a level must be plain text", None),
        (f"{DRAFT}  template: [plain, plain]\n  model: [writer]\n", 4, "'plain' is listed twice", None),
        (f"{DRAFT}  template: [plain, ' plain']\n  model: [writer]\n", 4, "'plain' is listed twice", None),
        (f"{DRAFT}  template: [plain, '']\n  model: [writer]\n", 4, "'' is empty", None),
        (f"{DRAFT}{AXES}  replicates: 0\n", 6, "replicates is '0'; it must be a whole number from 1", None),
        (f"{DRAFT}{AXES}  replicates: -2\n", 6, "replicates is '-2'; it must be a whole number from 1", None),
        (f"{DRAFT}{AXES}  replicates: 1.5\n", 6, "replicates is '1.5'; it must be a whole number from 1", None),
        (f"{DRAFT}{AXES}  replicates: 2147483648\n", 6, "it must be a whole number from 1", None),
        (f"{DRAFT}{AXES}  replicates: many\n", 6, "replicates is 'many'", None),
        (f"{HEAD}draft:\n{AXES}", 3, "the axis 'combo' is missing", None),
        (f"{HEAD}draft: x\n", 2, "stage 'draft' must be a mapping", None),
        (
            f"{HEAD}essay:\n  template: [story]\n",
            3,
            "starts from 'draft', which is not selected",
            "add a section `draft:`",
        ),
        (f"{DRAFT}{AXES}essay:\n  template: [story]\n  combo: [x]\n", 8, "stage 'essay' has no axis 'combo'", None),
        (HEAD, 1, "no stage is selected", "start with a section for draft"),
        ("draft: {}\n" * 2, 2, "the key 'draft' is given twice", None),
        ("- draft\n", 1, "a spec must be a mapping", None),
        ("[" * 5000, 1, "nested deeper than 32 levels", None),
        (f"{DRAFT}{AXES}description: &x y\n", 6, "anchors and aliases", None),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_would_be_right(
    pool: WrittenPool, text: str, line: int, said: str, hint: str | None
) -> None:
    with pytest.raises(InvalidSpec) as error:
        pool.spec(text)
    problem = problem_with(error, said)
    assert problem.line == line
    assert hint is None or problem.hint == hint


def test_models_in_a_stage_without_that_axis_are_refused_with_the_way_to_have_them(pool: WrittenPool) -> None:
    problem = fault(pool, SPEC.replace("[story]", "[story]\n  model: [writer, judge]"))
    assert (problem.message, problem.line) == ("stage 'essay' has no axis 'model'", 8)
    assert problem.hint == (
        "it runs on the model of its draft; to choose models here, give the stage a model axis in pool.yaml: "
        "axes: [template, model]"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("colour\nred\n", "moods.csv:1: the header has no column 'mood' (it has colour)"),
        ("calm\nwild\n", "moods.csv:1: the header has no column 'mood' (it has calm)"),
        ("", "moods.csv:1: the header has no column 'mood' (it has nothing)"),
        ("mood\n", "moods.csv: there is no line below the header"),
        ("note,mood\na,calm\nb\n", "moods.csv:3: the line has no value for 'mood'"),
        ('note,mood\n"a\nb",calm\nc\n', "moods.csv:4: the line has no value for 'mood'"),
        ('mood\n"calm\n', "moods.csv: not readable as CSV"),
        ("mood\ncalm\ncalm\n", "draft.mood: 'calm' is listed twice"),
        (b"mood\ncaf\xe9\n", "not UTF-8"),
    ],
)
def test_a_file_of_levels_that_cannot_be_used_is_refused(pool: WrittenPool, content: str | bytes, said: str) -> None:
    pool.write("pool.yaml", MOODS)
    pool.write("moods.csv", content)
    problem = fault(pool, f"{DRAFT}{AXES}  mood: '@file:moods.csv'\n")
    assert said in problem.message
    assert problem.line == 6


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("mods.csv", "the file 'mods.csv' does not exist in the pool"),
        ("../moods.csv", "the file '../moods.csv' is outside the pool"),
        ("/etc/passwd", "the file '/etc/passwd' is outside the pool"),
        ("a\\0b.csv", "cannot be had"),
    ],
)
def test_a_file_of_levels_that_cannot_be_had_is_refused(pool: WrittenPool, file: str, said: str) -> None:
    pool.write("pool.yaml", MOODS)
    pool.write("moods.csv", "mood\ncalm\n")
    assert said in fault(pool, f'{DRAFT}{AXES}  mood: "@file:{file}"\n').message


def test_a_file_in_a_list_without_quotation_marks_is_told_to_have_them(pool: WrittenPool) -> None:
    problem = fault(pool, f"{DRAFT}  template: [@file:names.csv]\n  model: [writer]\n")
    assert (problem.line, problem.hint) == (4, "put it in quotation marks: '@file:…'")


def test_all_needs_a_catalog(pool: WrittenPool) -> None:
    pool.write("pool.yaml", MOODS)
    problem = fault(pool, f"{DRAFT}{AXES}  mood: all\n")
    assert problem.message == "draft.mood: `all` needs a catalog, and this axis has none"


def test_all_of_an_empty_catalog_is_refused_with_where_to_add(pool: WrittenPool) -> None:
    for path in (pool.root / "templates/draft").iterdir():
        path.unlink()
    problem = fault(pool, f"{DRAFT}  template: all\n  model: [writer]\n")
    assert (problem.message, problem.hint) == (
        "draft.template: `all` finds none",
        "put a .j2 file into templates/draft/",
    )


# --- templates that do not fit --------------------------------------------------------------------


def test_a_copy_in_a_root_stage_is_refused(pool: WrittenPool) -> None:
    pool.write("templates/draft/plain.j2", "---\nmode: copy\n---\n")
    assert fault(pool, SPEC).message == ("draft.template: 'plain' copies, but the stage has no parent to copy")


def test_a_copy_in_a_stage_with_a_model_axis_is_refused(pool: WrittenPool) -> None:
    pool.write("templates/evaluation/novelty.j2", "---\nmode: copy\n---\n")
    problem = fault(pool, SPEC)
    assert problem.message == (
        "evaluation.template: 'novelty' copies, but the stage has a model axis, and a copy calls no model"
    )
    assert problem.line == 9


def test_a_template_that_needs_a_model_where_none_is_to_be_had_is_refused(pool: WrittenPool) -> None:
    pool.write("pool.yaml", POOL + "pipeline:\n  draft: {prefix: d, axes: [template]}\n")
    problem = fault(pool, f"{DRAFT}  template: [plain]\n")
    assert "needs a model, and no stage above has one" in problem.message
    assert problem.hint == "give it a model axis in pool.yaml"


def test_a_judge_whose_template_reads_no_score_is_refused(pool: WrittenPool) -> None:
    pool.write("templates/evaluation/novelty.j2", "How new is it?")
    assert "the stage judges, but 'novelty' has no parser that reads a score" in fault(pool, SPEC).message


def test_a_fault_in_a_template_is_told_with_the_templates_file_and_line(pool: WrittenPool) -> None:
    path = pool.write("templates/draft/plain.j2", "---\nmode: llm\n---\na\n{{ x | nofilter }}\n")
    with pytest.raises(InvalidSpec) as error:
        pool.spec(SPEC)
    problem = only_problem(error)
    assert (problem.file, problem.line) == (str(path), 5)


# --- the whole ------------------------------------------------------------------------------------


def test_every_problem_of_a_spec_is_reported_together(pool: WrittenPool) -> None:
    text = (
        "format: genpool.cohort/1\n"
        "desciption: x\n"
        "draft:\n"
        "  combo: {concepts: [moot], size: 1, level: sentence}\n"
        "  template: [plian, other]\n"
        "  model: []\n"
        "  replicates: 0\n"
        "essay:\n"
        "  model: [writer]\n"
        "evaluation:\n"
        "  template: '@file:none.csv'\n"
        "  model: [jugde]\n"
    )
    with pytest.raises(InvalidSpec, match="cohort 'trial' is not usable: 9 problems") as error:
        pool.spec(text)
    assert sorted(problem.line or 0 for problem in error.value.problems) == [2, 4, 5, 6, 7, 9, 9, 11, 12]
    assert str(error.value).count("\n") == 9


def test_a_newer_format_is_refused(pool: WrittenPool) -> None:
    with pytest.raises(UnsupportedFormat, match=r"cohort\.yaml: format genpool.cohort/2 is newer"):
        pool.spec(SPEC.replace("cohort/1", "cohort/2"))


def test_a_spec_that_is_not_utf_8_is_refused(pool: WrittenPool) -> None:
    with pytest.raises(InputError, match=r"cohort\.yaml: not UTF-8"):
        pool.spec(SPEC.encode() + b"# caf\xe9\n")


def test_a_byte_order_mark_does_not_matter(pool: WrittenPool) -> None:
    assert pool.spec(b"\xef\xbb\xbf" + SPEC.encode()) == pool.spec(SPEC)


def test_an_unknown_cohort_is_told_the_nearest(pool: WrittenPool) -> None:
    from genpool.spec import read_spec

    pool.spec()
    with pytest.raises(NotFound, match="no cohort is named 'trail'") as error:
        read_spec("trail", pool.config(), pool.inputs())
    assert error.value.hint == "did you mean 'trial'?"


@pytest.mark.parametrize("name", ["../trial", "a/b", "", "é"])
def test_a_cohort_whose_name_is_a_path_is_refused(pool: WrittenPool, name: str) -> None:
    from genpool.spec import read_spec

    with pytest.raises(InputError, match="is not a name that a file can have"):
        read_spec(name, pool.config(), pool.inputs())


def test_two_cohorts_that_differ_only_in_case_are_refused(pool: WrittenPool) -> None:
    pool.write("cohorts/Trial/cohort.yaml", SPEC)
    with pytest.raises(InputError, match="cohorts 'trial' and 'Trial' differ only in case"):
        pool.spec()


def test_a_spec_in_a_folder_outside_the_pool_is_refused(pool: WrittenPool) -> None:
    outside = pool.root.parent / "outside"
    outside.mkdir()
    (pool.root / "cohorts").mkdir()
    (pool.root / "cohorts/trial").symlink_to(outside)
    with pytest.raises(GenpoolError, match="leads out of the pool"):
        pool.spec()


def test_too_many_combos_are_refused_at_once_with_their_number(pool: WrittenPool) -> None:
    pool.write("names.csv", "concept\n" + "".join(f"c{number}\n" for number in range(60)))
    for number in range(60):
        pool.write(f"concepts/c{number}.yaml", "")
    started = time.process_time()
    problem = fault(pool, COMBO + "{concepts: '@file:names.csv', size: 30, level: sentence}\n")
    assert time.process_time() - started < 0.2
    assert problem.message == (f"draft.combo: 118,264,581,564,861,424 combos; at most {MAX_TASKS:,} tasks are allowed")
