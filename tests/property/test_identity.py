"""Identity, for all values: one task, one text, one id; and no value that slips through."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genpool.combos import combo_id
from genpool.errors import InvalidCombo, InvalidPipeline, InvalidSignature
from genpool.gen_ids import SCHEME, canonical_text, gen_id, ids_below
from genpool.signatures import MAX_REPLICATE, Signature, text_problem
from genpool.stages import DEFAULT_PIPELINE, Pipeline, Stage

EXAMPLES = settings(max_examples=150, deadline=None)

HOSTILE = st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        '"combo_id":"0"',
        '","combo_id":"',
        "0",
        "{}",
        "\\u0022",
        "|",
        "a|b",
        "💥",
        "é",
        "e\u0301",
        "\ud800",
    ]
)
ANYTHING = st.text(max_size=40) | HOSTILE | st.text(st.characters(), max_size=300)
TEXTS = ANYTHING.filter(lambda value: text_problem(value) is None)
REPLICATES = st.integers(1, MAX_REPLICATE)
GEN_IDS = st.from_regex(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}"), fullmatch=True)
SALTS = st.just("") | TEXTS
AXES = st.lists(
    st.sampled_from(["template_id", "llm_model_id", "a", "combo", "mood", "paren", "zz"]), unique=True, max_size=4
)
STAGES = st.builds(
    Stage,
    name=st.sampled_from(["draft", "essay", "Draft-2", "a.b"]),
    prefix=st.sampled_from(["d", "e", "long"]),
    parent=st.none() | st.just("root"),
    axes=AXES.map(tuple),
)


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    stage = draw(STAGES)
    source = draw(TEXTS if stage.parent is None else GEN_IDS)
    fields = {stage.source_field: source, "replicate": draw(REPLICATES), **{axis: draw(TEXTS) for axis in stage.axes}}
    return Signature.of(stage, fields)


@EXAMPLES
@given(signatures(), signatures(), SALTS, SALTS)
def test_two_tasks_share_a_canonical_text_only_if_they_are_one(
    one: Signature, other: Signature, salt: str, other_salt: str
) -> None:
    same = (one.stage.name, one.as_dict(), salt) == (other.stage.name, other.as_dict(), other_salt)
    assert (canonical_text(one, salt) == canonical_text(other, other_salt)) is same


@EXAMPLES
@given(st.text('ab|,:"\\\\{}', min_size=3, max_size=12), st.data())
def test_moving_the_border_between_two_values_gives_another_id(text: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, len(text) - 1), min_size=2, max_size=2, unique=True))
    stage = Stage("s", "s", None, ("a", "b"))
    parts = [{"combo_id": "c", "a": text[:cut], "b": text[cut:], "replicate": 1} for cut in cuts]
    assert gen_id(Signature.of(stage, parts[0])) != gen_id(Signature.of(stage, parts[1]))


@EXAMPLES
@given(signatures(), SALTS)
def test_a_canonical_text_is_json_that_says_the_same(signature: Signature, salt: str) -> None:
    expected = {"scheme": SCHEME, "stage": signature.stage.name, **signature.as_dict()}
    text = canonical_text(signature, salt)
    assert json.loads(text) == ({**expected, "salt": salt} if salt else expected)
    assert list(json.loads(text)) == sorted(json.loads(text))


@EXAMPLES
@given(signatures(), SALTS)
def test_an_id_is_a_file_name_that_tells_its_stage(signature: Signature, salt: str) -> None:
    found = gen_id(signature, salt)
    assert re.fullmatch(r"[a-z]{1,8}_[0-9a-f]{32}", found)
    assert found.startswith(signature.stage.prefix + "_")


@EXAMPLES
@given(signatures(), st.data())
def test_the_order_of_the_axes_does_not_matter(signature: Signature, data: st.DataObject) -> None:
    stage = signature.stage
    turned = Stage(stage.name, stage.prefix, stage.parent, tuple(data.draw(st.permutations(stage.axes))))
    assert gen_id(Signature.of(turned, signature.as_dict())) == gen_id(signature)


@EXAMPLES
@given(STAGES, SALTS, st.data())
def test_the_bulk_function_gives_the_ids_of_the_id_function(stage: Stage, salt: str, data: st.DataObject) -> None:
    sources = data.draw(st.lists(TEXTS if stage.parent is None else GEN_IDS, max_size=4))
    variant = st.tuples(*(TEXTS for _ in stage.axes), REPLICATES)
    variants = data.draw(st.lists(variant, max_size=4))
    expected = [gen_id(Signature(stage, (source, *values)), salt) for source in sources for values in variants]
    assert list(ids_below(stage, sources, variants, salt)) == expected


VALUES = ANYTHING | st.integers() | st.floats() | st.booleans() | st.none() | st.binary(max_size=5) | st.just([1])


@EXAMPLES
@given(
    st.sampled_from([stage.name for stage in DEFAULT_PIPELINE]),
    st.dictionaries(
        st.sampled_from(["combo_id", "parent_gen_id", "template_id", "llm_model_id", "replicate", "mood", ""]), VALUES
    ),
    ANYTHING,
)
def test_any_fields_and_salt_give_a_stable_id_or_are_refused(name: str, fields: dict[str, object], salt: str) -> None:
    stage = DEFAULT_PIPELINE[name]
    complete = {**dict.fromkeys(stage.fields, "x"), "replicate": 1, **fields}
    for given_fields in (fields, {field: complete[field] for field in stage.fields}):
        try:
            found = gen_id(Signature.of(stage, given_fields), salt)
        except InvalidSignature:
            continue
        assert found == gen_id(Signature.of(stage, dict(given_fields)), salt)


@EXAMPLES
@given(ANYTHING)
def test_an_allowed_text_survives_a_file_and_its_name_in_messages(value: str) -> None:
    if text_problem(value) is None:
        assert value.encode().decode() == value
        assert value == value.strip()
        assert len(value.splitlines()) == 1
    else:
        with pytest.raises(InvalidSignature) as error:
            Signature.of(Stage("a", "a", None, ("mood",)), {"combo_id": "c", "mood": value, "replicate": 1})
        str(error.value).encode()


@EXAMPLES
@given(st.lists(ANYTHING, max_size=4), ANYTHING)
def test_any_concepts_make_one_combo_in_whatever_order_or_are_refused(concepts: list[str], level: str) -> None:
    shuffled = sorted(concepts, reverse=True)
    try:
        found = combo_id(concepts, level)
    except InvalidCombo:
        with pytest.raises(InvalidCombo):
            combo_id(shuffled, level)
        return
    assert combo_id(shuffled, level) == found
    assert re.fullmatch(r"combo_[0-9a-f]{20}", found)


@EXAMPLES
@given(st.lists(st.builds(Stage, ANYTHING, ANYTHING, st.none() | ANYTHING, AXES.map(tuple), st.integers()), max_size=4))
def test_any_stages_make_a_pipeline_or_are_refused(stages: list[Stage]) -> None:
    try:
        pipeline = Pipeline(stages)
    except InvalidPipeline:
        return
    assert {stage.name for stage in pipeline} == {stage.name for stage in stages}
