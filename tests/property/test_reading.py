"""Whatever people, models or broken disks write, the readers give a result or an error of genpool."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genpool.combos import read_combo_book, read_concept
from genpool.compiler import compile_spec
from genpool.errors import GenpoolError
from genpool.gen_ids import gen_id
from genpool.parsers import PARSERS, ParseFailure
from genpool.prompts import Renderer
from genpool.records import Record, decode_record, encode_sealed
from genpool.signatures import Signature
from genpool.spec import read_spec
from genpool.stages import DEFAULT_PIPELINE
from genpool.yaml_reader import Problems, read_yaml
from tests.written_pools import CONCEPT, POOL, SPEC, TEMPLATES, WrittenPool, write_pool

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = settings(max_examples=120, deadline=2000, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> WrittenPool:
    """One pool for all examples: each test overwrites one file, and puts nothing else there."""
    return write_pool(tmp_path_factory.mktemp("reading") / "pool")


# --- texts that are nearly right ------------------------------------------------------------------

WORDS = (
    "format: genpool.pool/1 genpool.cohort/1 genpool.concept/1 id_scheme: genpool/1 salt: null ~ [] {} [ ] { } : , - "
    "? !!str &a *a <<: | > ' \" # % @file:x.csv @ --- ... é 1e999 -1 0 1.5 9007199254740993 99999999999999999999 true "
    "no 2024-01-01 .nan all draft: essay: evaluation: combo: concepts: size: level: rows: template: model: replicates: "
    "rules: from: pipeline: models: client: scripted prefix: parent: axes: mode: copy parser: json_score score_line "
    "scale: system: {{ }} {% %} {% include 'a' %} {{ x | y }} {{ concepts[0].text }} {{ row.x }} {# plain writer moat "
    'sentence id,topic r1 "id" score reason'
)
SIGNS = ["\n", "\n\n", "\t", "\r\n", "\x00", "\x85", "\u2028", "\ufeff", "\ud800", "{% include 'a' %}", "{{ nope }}"]
SCRAPS = st.sampled_from(WORDS.split() + SIGNS)


def nearly(text: str) -> st.SearchStrategy[str]:
    """Return texts that are a right one with pieces cut out, doubled or put in."""

    @st.composite
    def edited(draw: st.DrawFn) -> str:
        found = text
        for _ in range(draw(st.integers(1, 4))):
            start = draw(st.integers(0, len(found)))
            end = draw(st.integers(start, min(len(found), start + 30)))
            put = draw(SCRAPS | st.text(max_size=8) | st.just(found[start:end] * 2))
            found = found[:start] + put + found[end:]
        return found

    return edited() | st.lists(SCRAPS, max_size=30).map(" ".join)


def contents(text: str) -> st.SearchStrategy[bytes]:
    """Return what a file may hold: a text that is nearly right, or any bytes."""
    return nearly(text).map(lambda found: found.encode("utf-8", "surrogatepass")) | st.binary(max_size=60)


def survives(read: Callable[[], object]) -> None:
    """Call a reader, which may only fail with an error of genpool that says something and can be shown."""
    error = None
    try:
        read()
    except GenpoolError as raised:
        error = raised
    if error is not None:
        assert error.message
        assert str(error)
        json.dumps(error.as_json()).encode()


# --- files that people write ----------------------------------------------------------------------


@EXAMPLES
@given(st.text(max_size=200) | nearly(SPEC) | nearly(POOL))
def test_any_text_is_a_tree_or_has_problems(text: str) -> None:
    problems = Problems("file.yaml")
    node = read_yaml(text, problems)
    assert node is not None or problems.found
    if node is not None:
        node.value()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b c", "é"]), inner, max_size=4),
    max_leaves=20,
)


@EXAMPLES
@given(JSON)
def test_json_is_read_as_what_it_is(value: Any) -> None:
    problems = Problems("file.yaml")
    node = read_yaml(json.dumps(value), problems)
    assert problems.found == []
    assert node is not None
    assert node.value() == value


@EXAMPLES
@given(contents(POOL + "pipeline:\n  draft: {prefix: d, axes: [template, model]}\nbudget: {pool: 5}\nsalt: x\n"))
def test_any_pool_yaml_is_read_or_refused(pool: WrittenPool, content: bytes) -> None:
    pool.write("pool.yaml", content)
    survives(pool.config)


@EXAMPLES
@given(contents(SPEC), st.sampled_from(["combo_id,topic\n", "id,topic\nr1,tea\n"]))
def test_any_spec_is_read_or_refused(pool: WrittenPool, content: bytes, rows: str) -> None:
    pool.write("pool.yaml", POOL)
    pool.write("x.csv", rows)
    survives(lambda: pool.spec(content))


AXIS = st.sampled_from(["all", "[]", "[plain]", "[plain, story]", "'@file:x.csv'", "x", "{}", "[[]]", "[writer]", "~"])


@EXAMPLES
@given(
    st.sampled_from(["{rows: x.csv}", "{concepts: all, size: 2, level: sentence}", "[a]", "all", "{}", "[]"]),
    st.lists(AXIS, min_size=5, max_size=5),
    st.sampled_from(["1", "0", "7", "1.5", "2147483647", "many"]),
)
def test_any_choice_of_axes_gives_a_selection_or_a_list_of_problems(
    pool: WrittenPool, combo: str, axes: list[str], replicates: str
) -> None:
    pool.write("pool.yaml", POOL)
    pool.write("x.csv", "id,template,model\nr1,plain,writer\n")
    draft, writer, essay, evaluation, judge = axes
    text = (
        f"format: genpool.cohort/1\ndraft:\n  combo: {combo}\n  template: {draft}\n  model: {writer}\n"
        f"essay:\n  template: {essay}\n  replicates: {replicates}\n"
        f"evaluation:\n  template: {evaluation}\n  model: {judge}\n"
    )

    def select() -> None:
        selection = pool.select(text)
        for stage in selection.stages:
            assert stage.count > 0
            assert stage.variants

    survives(select)


RULES = """\
rules:
  subsets: [{axis: draft.template, keep: [plain, other]}]
  ties: [[draft.model, evaluation.model]]
  pairs: [{left: draft.template, right: essay.template, allowed: [[plain, story], [other, story]], balanced: false}]
  tuples: [{axes: [draft.template, draft.model, essay.template], allowed: @file:x.csv}]
"""


@EXAMPLES
@given(contents(RULES))
def test_any_rules_are_read_or_refused(pool: WrittenPool, content: bytes) -> None:
    pool.write("pool.yaml", POOL)
    pool.write("x.csv", "draft.model,draft.template,essay.template\nwriter,plain,story\njudge,plain,story\n")
    text = SPEC.replace("[plain]", "[plain, other]").replace("[judge]", "[judge, writer]").replace("[writer]", "all")

    def select() -> None:
        pool.write("cohorts/trial/cohort.yaml", text.encode() + content)
        spec = read_spec("trial", pool.config(), pool.inputs())
        assert compile_spec(spec, pool.inputs().template).count > 0

    survives(select)


@EXAMPLES
@given(contents(CONCEPT.format(name="Moat")))
def test_any_concept_is_read_or_refused(pool: WrittenPool, content: bytes) -> None:
    pool.write("concepts/any.yaml", content)
    try:
        survives(lambda: read_concept(pool.layout, "any").at("sentence"))
    finally:
        (pool.root / "concepts/any.yaml").unlink()


TEMPLATE = "---\nmode: llm\nparser: json_score\nscale: [0, 9]\nsystem: You are {{ replicate }}\nmax_tokens: 30\n---\n"


@EXAMPLES
@given(contents(TEMPLATE + TEMPLATES["draft/plain"]))
def test_any_template_is_rendered_or_refused(pool: WrittenPool, content: bytes) -> None:
    def render() -> None:
        template = pool.template("draft", "any", content)
        encode_sealed({"template": template.as_source()})  # type: ignore[dict-item]  # every template has a fingerprint
        Renderer(template).render({"concepts": [{"name": "a", "text": "b"}], "replicate": 1})

    try:
        survives(render)
    finally:
        (pool.root / "templates/draft/any.j2").unlink()


@EXAMPLES
@given(
    st.sampled_from(["any.csv", "any.jsonl"]),
    contents('id,topic\nr1,tea\n"r2","a, ""b""\nc"\n') | contents('{"id": "r1", "topic": "tea"}\n{"id": 2}\n'),
)
def test_any_rows_are_read_or_refused(pool: WrittenPool, file: str, content: bytes) -> None:
    pool.write(file, content)
    survives(lambda: [pool.inputs().row_combo(file, name) for name in pool.inputs().rows(file)])


@EXAMPLES
@given(st.text(max_size=30) | SCRAPS | st.sampled_from(["../x", "x\x00", "templates", "pool.yaml", "a" * 300]))
def test_any_name_of_a_file_is_found_or_refused(pool: WrittenPool, file: str) -> None:
    survives(lambda: pool.inputs().path(file))


# --- files that genpool writes --------------------------------------------------------------------

BOOK = (
    '{"combo_id": "a", "kind": "concepts", "concepts": ["b"], "level": "c"}\n'
    '{"combo_id": "r", "kind": "row", "rows": "x.csv"}\n'
)


@EXAMPLES
@given(contents(BOOK))
def test_any_combo_book_is_read_or_refused(pool: WrittenPool, content: bytes) -> None:
    pool.write("combos.jsonl", content)
    try:
        survives(lambda: read_combo_book(pool.layout))
    finally:
        (pool.root / "combos.jsonl").unlink()


DRAFT = DEFAULT_PIPELINE["draft"]
SIGNATURE = Signature.of(DRAFT, {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 1})
RECORD = Record(SIGNATURE, gen_id(SIGNATURE), "trial", "r1", "2026-01-02T03:04:05Z", "llm").encode()
VALUES = JSON | st.text(max_size=5) | st.integers(-(2**70), 2**70)


@EXAMPLES
@given(contents(RECORD.decode()))
def test_any_metadata_is_read_or_refused(content: bytes) -> None:
    survives(lambda: decode_record(content, DRAFT, gen_id(SIGNATURE), "", "metadata.json"))


@EXAMPLES
@given(st.dictionaries(st.sampled_from([*json.loads(RECORD), "added"]), VALUES), st.booleans(), st.booleans())
def test_metadata_with_any_values_is_read_or_refused(changes: dict[str, Any], seal: bool, legacy: bool) -> None:
    value = {**json.loads(RECORD), **changes}
    for key in ("self", *(("format", "id_scheme") if legacy else ())):
        value.pop(key)
    with suppress(ValueError):  # a number that has no canonical form cannot be sealed, but can be found
        value = json.loads(encode_sealed(value)) if seal else value
    with suppress(orjson.JSONEncodeError):
        data = orjson.dumps(value)
        survives(lambda: decode_record(data, DRAFT, gen_id(SIGNATURE), "", "metadata.json"))


# --- what models say ------------------------------------------------------------------------------

ANSWERS = (
    nearly('```json\n{"reason": "It is new.", "score": 7}\n```') | nearly("Good.\n**SCORE:** 7.5 / 9\n") | st.text()
)


@EXAMPLES
@given(st.sampled_from(sorted(PARSERS)), ANSWERS)
def test_any_answer_is_read_on_its_scale_or_refused_with_a_reason(name: str, raw: str) -> None:
    try:
        parsed = PARSERS[name].parse(raw, (0.0, 9.0))
    except ParseFailure:
        return
    assert (parsed.score is not None) is PARSERS[name].scores
    if parsed.score is not None:
        assert 0 <= parsed.score.value <= 9


@EXAMPLES
@given(st.floats(0, 9), st.text(max_size=40))
def test_what_a_judge_says_as_json_is_what_is_read(score: float, reason: str) -> None:
    parsed = PARSERS["json_score"].parse(json.dumps({"reason": reason, "score": score}), (0.0, 9.0))
    assert parsed.score is not None
    assert parsed.score.value == score
    assert parsed.text.startswith(reason.strip())
