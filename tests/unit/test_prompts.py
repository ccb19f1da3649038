"""Templates: read strictly, rendered in a sandbox, and every fault named with file and line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genpool.errors import GenpoolError, InputError, InvalidTemplate, UnsupportedFormat
from genpool.inputs import child_context
from genpool.prompts import Renderer, Template, template_ids
from tests.written_pools import WrittenPool, only_problem

if TYPE_CHECKING:
    from pathlib import Path

FRONT = "---\nmode: llm\nparser: text\n---\n"  # the text begins on line 5


def fault_of_reading(pool: WrittenPool, text: str | bytes) -> tuple[str, int | None, str]:
    """Return file, line and message of the one problem that reading a template gives."""
    with pytest.raises(InvalidTemplate) as error:
        pool.template("draft", "rendered", text)
    problem = only_problem(error)
    return str(problem.file).removeprefix(f"{pool.root}/templates/"), problem.line, problem.message


def fault_of_rendering(pool: WrittenPool, text: str, **context: object) -> tuple[str, int | None, str]:
    """Return file, line and message of the one problem that rendering a template gives."""
    renderer = Renderer(pool.template("draft", "rendered", text))
    with pytest.raises(InvalidTemplate) as error:
        renderer.render(context)
    problem = only_problem(error)
    return str(problem.file).removeprefix(f"{pool.root}/templates/"), problem.line, problem.message


# --- front matter ---------------------------------------------------------------------------------


def test_a_template_without_front_matter_asks_a_model_for_text(pool: WrittenPool) -> None:
    found = pool.template("draft", "new", "Hello\n")
    assert (found.mode, found.parser.name, found.scale, found.system, found.front) == ("llm", "text", None, None, {})


def test_the_front_matter_is_read_and_is_no_part_of_the_text(pool: WrittenPool) -> None:
    found = pool.template(
        "draft", "new", "---\nparser: score_line\nscale: [1, 5.5]\nsystem: You judge.\nmax_tokens: 300\n---\nJudge.\n"
    )
    assert (found.source, found.first_line) == ("Judge.\n", 7)
    assert (found.parser.name, found.scale, found.system, found.max_tokens) == (
        "score_line",
        (1.0, 5.5),
        "You judge.",
        300,
    )


def test_the_pre_image_holds_text_front_matter_and_includes(pool: WrittenPool) -> None:
    pool.write("templates/shared/tone.j2", "Be brief.")
    found = pool.template("draft", "new", '---\nmax_tokens: 300\n---\n{% include "shared/tone.j2" %}\n')
    assert found.as_source() == {
        "source": '{% include "shared/tone.j2" %}\n',
        "front": {"max_tokens": 300},
        "includes": {"shared/tone.j2": "Be brief."},
    }


def test_a_line_of_hyphens_inside_the_system_message_does_not_end_the_front_matter(pool: WrittenPool) -> None:
    found = pool.template("draft", "new", "---\nsystem: |\n  One\n  ---\n  Two\n---\nText\n")
    assert (found.system, found.source) == ("One\n---\nTwo\n", "Text\n")


def test_hyphens_in_the_text_are_text(pool: WrittenPool) -> None:
    assert pool.template("draft", "new", "Text\n---\nmode: copy\n---\n").mode == "llm"


def test_windows_line_ends_and_a_byte_order_mark_do_not_matter(pool: WrittenPool) -> None:
    found = pool.template("draft", "new", b"\xef\xbb\xbf---\r\nmax_tokens: 3\r\n---\r\nText\r\n")
    assert (found.max_tokens, found.first_line, found.source) == (3, 4, "Text\r\n")


@pytest.mark.parametrize(
    ("front", "line", "said"),
    [
        ("mode: cpoy", 2, "mode is 'cpoy'"),
        ("parser: text\nmode: [llm]", 3, "mode must be text"),
        ("parser: scoreline", 2, "no parser is named 'scoreline'"),
        ("parser: json_score", 2, "needs a scale"),
        ("parser: text\nmax_tokens: 0", 3, "max_tokens is '0'"),
        ("max_tokens: 1.5", 2, "max_tokens is '1.5'"),
        ("pasrer: text", 2, "unknown key 'pasrer'"),
        ("- text", 2, "the front matter must be a mapping"),
        ("mode: llm\nmode: llm", 3, "given twice"),
        ("a: b: c", 2, "not readable as YAML"),
        ("system: null", 2, "system is null"),
        *[
            (f"scale: {scale}", 2, "scale must be two numbers")
            for scale in (
                "9",
                "[9, 0]",
                "[0, 0]",
                "[0]",
                "[0, 5, 9]",
                "[0, [5], 9]",
                "[0, x]",
                "['0', '9']",
                "[false, true]",
                "[0, 1e999]",
                "[0, 9007199254740993]",
                "{least: 0, most: 9}",
            )
        ],
    ],
)
def test_what_is_wrong_in_the_front_matter_is_named_with_its_line(
    pool: WrittenPool, front: str, line: int, said: str
) -> None:
    file, found, message = fault_of_reading(pool, f"---\n{front}\n---\nText\n")
    assert (file, found) == ("draft/rendered.j2", line)
    assert said in message


def test_a_misspelt_parser_is_told_the_nearest(pool: WrittenPool) -> None:
    with pytest.raises(InvalidTemplate) as error:
        pool.template("draft", "new", "---\nparser: score_lin\n---\n")
    assert only_problem(error).hint == "did you mean 'score_line'?"


def test_front_matter_without_an_end_is_refused(pool: WrittenPool) -> None:
    with pytest.raises(InvalidTemplate, match="the front matter has no end") as error:
        pool.template("draft", "new", "---\nmode: llm\nText\n")
    assert "draft/new.j2" in error.value.message
    assert error.value.hint == "close it with a line of three hyphens"


def test_a_newer_format_is_refused(pool: WrittenPool) -> None:
    with pytest.raises(UnsupportedFormat, match=r"draft/new\.j2: format genpool.template/2 is newer"):
        pool.template("draft", "new", "---\nformat: genpool.template/2\n---\n")


# --- names ----------------------------------------------------------------------------------------


def test_the_templates_of_a_stage_are_listed_in_order(pool: WrittenPool) -> None:
    pool.write("templates/draft/notes.txt", "")
    assert template_ids(pool.layout, "draft") == ["other", "plain"]
    assert template_ids(pool.layout, "nothing") == []


def test_an_unknown_template_is_told_the_nearest(pool: WrittenPool) -> None:
    with pytest.raises(InvalidTemplate, match="no template of stage 'draft' is named 'plian'") as error:
        pool.template("draft", "plian")
    assert error.value.hint == "did you mean 'plain'?"


@pytest.mark.parametrize("name", ["../pool", "a/b", "", "..", "plain\n", "x" * 129])
def test_a_name_that_is_a_path_is_refused(pool: WrittenPool, name: str) -> None:
    with pytest.raises(InputError, match="is not a name that a file can have"):
        pool.template("draft", name)


@pytest.mark.parametrize("used", ["plain", "Plain"])
def test_two_templates_that_differ_only_in_case_are_refused_when_either_is_used(pool: WrittenPool, used: str) -> None:
    pool.write("templates/draft/Plain.j2", "x")
    with pytest.raises(InputError, match="differ only in case"):
        pool.template("draft", used)


def test_other_templates_may_still_be_used(pool: WrittenPool) -> None:
    pool.write("templates/draft/Plain.j2", "x")
    assert pool.template("draft", "other").template_id == "other"


def test_a_template_that_is_not_utf_8_is_refused(pool: WrittenPool) -> None:
    with pytest.raises(InputError, match=r"draft/new\.j2: not UTF-8 .* at byte 3"):
        pool.template("draft", "new", b"caf\xe9")


@pytest.mark.parametrize("target", ["other.j2", "../../secret.j2"])
def test_a_template_that_is_a_link_is_refused(pool: WrittenPool, target: str) -> None:
    pool.write("secret.j2", "secret")
    (pool.root / "templates/draft/linked.j2").symlink_to(target)
    with pytest.raises(InputError, match=r"linked\.j2 is a link; links are not followed"):
        pool.template("draft", "linked")


def test_a_stage_folder_that_leads_out_of_the_pool_is_refused(pool: WrittenPool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.j2").write_text("secret")
    (pool.root / "templates/poem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads out of the pool"):
        pool.template("poem", "a")


# --- syntax ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{{ x", 1),
        ("a\n{% if x %}\nb\n", 3),
        ("a\n{% endif %}\n", 2),
        ("a\nb\n{{ x | nofilter }}\n", 3),
        ("a\n{{ x is notest }}\n", 2),
        ("a\n{% unknown %}\n", 2),
        ("{% block a %}{% endblock %}\n{% block a %}{% endblock %}\n", 2),
        ("{# open\n", 1),
    ],
)
@pytest.mark.parametrize("front", ["", FRONT])
def test_a_syntax_error_is_named_with_its_line_in_the_file(pool: WrittenPool, front: str, text: str, line: int) -> None:
    file, found, message = fault_of_reading(pool, front + text)
    assert message.startswith("syntax error: ")
    assert (file, found) == ("draft/rendered.j2", line + front.count("\n"))


def test_a_syntax_error_in_the_system_message_is_named_with_its_line(pool: WrittenPool) -> None:
    file, line, message = fault_of_reading(pool, "---\nmode: llm\nsystem: You are {{ x\n---\nText\n")
    assert (file, line) == ("draft/rendered.j2", 3)
    assert "syntax error" in message


def test_a_syntax_error_in_an_include_names_the_included_file(pool: WrittenPool) -> None:
    pool.write("templates/shared/tone.j2", "One\n{{ x\n")
    file, line, message = fault_of_reading(pool, FRONT + '{% include "shared/tone.j2" %}\n')
    assert (file, line) == ("shared/tone.j2", 2)
    assert "syntax error" in message


@pytest.mark.parametrize(
    "text", ["{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{% for a in b %}" * 40 + "{% endfor %}" * 40]
)
def test_a_template_that_is_nested_too_deeply_is_refused(pool: WrittenPool, text: str) -> None:
    with pytest.raises(InvalidTemplate, match="nested too deeply"):
        pool.template("draft", "new", text)


# --- rendering ------------------------------------------------------------------------------------


def test_a_prompt_is_rendered_without_white_space_at_its_ends(pool: WrittenPool) -> None:
    assert pool.render("\n{% if yes %}\nHello {{ name }}\n{% endif %}\n", yes=True, name="you") == "Hello you"


def test_a_system_message_is_rendered_too(pool: WrittenPool) -> None:
    text = "---\nsystem: You are {{ role }}.\n---\nHello\n"
    assert pool.render(text, role="a poet") == "[system]\nYou are a poet.\n\n[user]\nHello"


def test_what_is_rendered_into_a_template_is_never_a_template_itself(pool: WrittenPool) -> None:
    assert pool.render("{{ text }}", text="{{ 7 * 7 }} <b>&</b>") == "{{ 7 * 7 }} <b>&</b>"


def test_an_ancestors_text_is_had_by_its_stage_and_as_parent(pool: WrittenPool) -> None:
    context = child_context({"draft": "A draft.", "essay": "An essay."}, "essay")
    text = "{{ draft.text }}|{{ essay }}|{{ parent.text }}|{{ parent | upper }}"
    assert pool.render(text, **context) == "A draft.|An essay.|An essay.|AN ESSAY."


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a\n{{ nope }}\n", 2, "'nope' is undefined"),
        ("a\nb\n{% if nope %}{% endif %}\n", 3, "'nope' is undefined"),
        ("{{ row.txt }}\n", 1, "has no attribute 'txt'"),
        ("{% for x in row.items %}\n{{ x }}\n{% endfor %}\n", 1, "TypeError"),
        ("a\n\n{{ 1 / 0 }}\n", 3, "ZeroDivisionError"),
        ("{{ row.__class__.__mro__ }}\n", 1, "SecurityError"),
        ("{% macro m() %}\n{{ nope }}\n{% endmacro %}\n{{ m() }}\n", 2, "'nope' is undefined"),
    ],
)
@pytest.mark.parametrize("front", ["", FRONT])
def test_a_fault_of_rendering_is_named_with_its_line_in_the_file(
    pool: WrittenPool, front: str, text: str, line: int, said: str
) -> None:
    file, found, message = fault_of_rendering(pool, front + text, row={"text": "x"})
    assert (file, found) == ("draft/rendered.j2", line + front.count("\n"))
    assert said in message


def test_the_names_that_are_known_are_said(pool: WrittenPool) -> None:
    renderer = Renderer(pool.template("draft", "new", "{{ nope }}"))
    with pytest.raises(InvalidTemplate) as error:
        renderer.render({"row": {}, "replicate": 1})
    assert only_problem(error).hint == "known here: replicate, row"


def test_an_undefined_name_in_the_system_message_is_named_with_its_line(pool: WrittenPool) -> None:
    file, line, _ = fault_of_rendering(pool, "---\nmode: llm\nsystem: You are {{ nope }}\n---\nText\n")
    assert (file, line) == ("draft/rendered.j2", 3)


def test_an_undefined_name_in_an_include_names_the_included_file(pool: WrittenPool) -> None:
    pool.write("templates/shared/tone.j2", "One\nTwo\n{{ nope }}\n")
    file, line, _ = fault_of_rendering(pool, FRONT + 'a\n{% include "shared/tone.j2" %}\n')
    assert (file, line) == ("shared/tone.j2", 3)


def test_an_undefined_name_behind_an_include_names_the_including_file(pool: WrittenPool) -> None:
    pool.write("templates/shared/tone.j2", "One\nTwo\n")
    file, line, _ = fault_of_rendering(pool, FRONT + '{% include "shared/tone.j2" %}\n{{ nope }}\n')
    assert (file, line) == ("draft/rendered.j2", 6)


# --- includes -------------------------------------------------------------------------------------


def test_includes_of_includes_are_found_and_rendered(pool: WrittenPool) -> None:
    pool.write("templates/shared/a.j2", 'A {% include "shared/b.j2" %}')
    pool.write("templates/shared/b.j2", "B {{ name }}")
    text = '---\nsystem: \'{% include "shared/b.j2" %}\'\n---\n{% include "shared/a.j2" %}'
    assert list(pool.template("draft", "new", text).includes) == ["shared/a.j2", "shared/b.j2"]
    assert pool.render(text, name="x") == "[system]\nB x\n\n[user]\nA B x"


def test_macros_of_another_file_are_included_too(pool: WrittenPool) -> None:
    pool.write("templates/shared/macros.j2", "{% macro bold(x) %}**{{ x }}**{% endmacro %}")
    assert pool.render('{% from "shared/macros.j2" import bold %}{{ bold("a") }}') == "**a**"


def test_a_file_that_includes_itself_is_refused_when_rendered(pool: WrittenPool) -> None:
    pool.write("templates/shared/a.j2", '{% include "shared/a.j2" %}')
    assert "a template includes itself" in fault_of_rendering(pool, '{% include "shared/a.j2" %}')[2]


@pytest.mark.parametrize(
    "name", ["../pool.yaml", "/etc/passwd", "shared/../../pool.yaml", "./draft/plain.j2", "shared//a.j2", ".git/a", ""]
)
def test_an_include_out_of_the_templates_is_refused(pool: WrittenPool, name: str) -> None:
    with pytest.raises(InputError, match="is not a name that a file can have") as error:
        pool.template("draft", "new", f'{{% include "{name}" %}}')
    assert "draft/new.j2: the included" in error.value.message


def test_an_include_by_an_expression_is_refused(pool: WrittenPool) -> None:
    with pytest.raises(InvalidTemplate, match=r"draft/new\.j2: includes must be by a literal name"):
        pool.template("draft", "new", "{% include name %}")


def test_an_include_that_does_not_exist_is_refused(pool: WrittenPool) -> None:
    with pytest.raises(InvalidTemplate, match=r"draft/new\.j2: includes what cannot be had: .*shared/none\.j2"):
        pool.template("draft", "new", '{% include "shared/none.j2" %}')


def test_an_included_link_is_refused(pool: WrittenPool) -> None:
    pool.write("secret.j2", "secret")
    pool.write("templates/shared/a.j2", "x")
    (pool.root / "templates/shared/linked.j2").symlink_to("../../secret.j2")
    with pytest.raises(InvalidTemplate, match="links are not followed"):
        pool.template("draft", "new", '{% include "shared/linked.j2" %}')


@pytest.mark.parametrize("name", ["shared/a.j2", "shared/deep/a.j2"])
def test_an_include_through_a_linked_folder_is_refused(pool: WrittenPool, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "a.j2").write_text("secret")
    (tmp_path / "elsewhere" / "deep" / "a.j2").write_text("secret")
    (pool.root / "templates/shared").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidTemplate, match="templates/shared is a link; links are not followed"):
        pool.template("draft", "new", f'{{% include "{name}" %}}')


def test_a_template_built_by_hand_renders_without_a_pool() -> None:
    assert Renderer(Template("draft", "t", "t.j2", "Hello {{ x }}")).render({"x": 1}).user == "Hello 1"


def test_every_fault_is_an_error_of_genpool(pool: WrittenPool) -> None:
    with pytest.raises(GenpoolError):
        pool.render("{{ x.y.z }}", x=object())
