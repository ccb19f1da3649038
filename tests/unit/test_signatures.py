"""Signatures: validated choices, never mended."""

from __future__ import annotations

import unicodedata

import pytest

from genpool.errors import InvalidSignature
from genpool.signatures import MAX_REPLICATE, Signature, field_problem, replicate_problem, text_problem
from genpool.stages import DEFAULT_PIPELINE, Stage

DRAFT = DEFAULT_PIPELINE["draft"]
FIELDS = {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 1}


def test_values_stand_in_the_order_of_the_stage_whatever_the_order_given() -> None:
    assert Signature.of(DRAFT, dict(reversed(FIELDS.items()))).values == ("c", "t", "m", 1)


def test_a_signature_gives_its_fields_back() -> None:
    assert Signature.of(DRAFT, FIELDS).as_dict() == FIELDS


def test_a_signature_answers_by_field() -> None:
    signature = Signature.of(DRAFT, FIELDS)
    assert (signature["template_id"], signature.get("mood")) == ("t", None)
    assert (signature.source, signature.replicate) == ("c", 1)


def test_a_missing_field_is_named_with_all_that_there_must_be() -> None:
    with pytest.raises(InvalidSignature, match="draft: the field 'llm_model_id' is missing") as error:
        Signature.of(DRAFT, {key: value for key, value in FIELDS.items() if key != "llm_model_id"})
    assert error.value.hint == "a task of this stage is defined by combo_id, template_id, llm_model_id, replicate"


def test_an_unknown_field_is_named_with_its_value_and_the_nearest() -> None:
    with pytest.raises(InvalidSignature, match="unknown field 'template' = 'x'") as error:
        Signature.of(DRAFT, {**FIELDS, "template": "x"})
    assert error.value.hint == "did you mean 'template_id'?"


def test_a_refused_value_is_named_with_field_value_and_reason() -> None:
    with pytest.raises(InvalidSignature) as error:
        Signature.of(DRAFT, {**FIELDS, "template_id": " t"})
    assert error.value.message == "draft: template_id = ' t' has white space at an end"


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "~",
        "a b",
        "1.10",
        "no",
        "x" * 256,
        "é",
        "é" * 128,
        "a\u00a0b",
        "\u200bzero-width space is not white space",
        "夢🌀",
        'say "hi"\\now',
        "\ufeffBOM is a format character",
    ],
)
def test_a_text_is_allowed(value: str) -> None:
    assert text_problem(value) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "is empty"),
        (" a", "white space at an end"),
        ("a ", "white space at an end"),
        ("a\u00a0", "white space at an end"),
        ("\u3000a", "white space at an end"),
        ("a\u202f", "white space at an end"),
        ("a\n", "a control character (U+000A)"),
        ("a\tb", "a control character (U+0009)"),
        ("\x00", "a control character (U+0000)"),
        ("a\x7fb", "a control character (U+007F)"),
        ("a\x85b", "a control character (U+0085)"),
        ("a\u2028b", "a line separator"),
        ("a\u2029b", "a paragraph separator"),
        ("a\ud800", "a lone surrogate (U+D800)"),
        ("e\u0301", "NFC"),
        ("\u212b", "NFC"),  # the Ångström sign is a canonical duplicate
        ("x" * 257, "is 257 bytes long; at most 256"),
        ("é" * 129, "is 258 bytes long"),
        (None, "must be text, not NoneType"),
        (1, "must be text, not int"),
        (True, "must be text, not bool"),
        (b"a", "must be text, not bytes"),
        (["a"], "must be text, not list"),
    ],
)
def test_a_text_is_refused_with_the_reason(value: object, reason: str) -> None:
    problem = text_problem(value)
    assert problem is not None
    assert reason in problem


def test_white_space_at_an_end_is_refused_for_every_unicode_space() -> None:
    spaces = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Zs"]
    assert len(spaces) > 10
    assert [space for space in spaces if text_problem(f"a{space}") is None or text_problem(f"{space}a") is None] == []


@pytest.mark.parametrize("value", [1, 10, MAX_REPLICATE])
def test_a_replicate_is_allowed(value: int) -> None:
    assert replicate_problem(value) is None


@pytest.mark.parametrize("value", [0, -1, MAX_REPLICATE + 1, True, False, 1.0, 1.5, "1", None, float("nan")])
def test_a_replicate_is_refused(value: object) -> None:
    assert replicate_problem(value) is not None


@pytest.mark.parametrize("value", ["d_182eb8f3e890bc2a4c0e97722c99e71f", "vtt9vuxeila0t9rp", "A.b-c_d", "0", "x" * 128])
def test_a_reference_is_the_name_of_a_file(value: str) -> None:
    assert field_problem("parent_gen_id", value) is None


@pytest.mark.parametrize(
    "value", ["", ".", "..", "../x", "a/b", ".a", "-a", "_a", "a b", "é", "x" * 129, "a\n", 1, None]
)
def test_a_reference_is_refused_where_no_file_could_bear_it(value: object) -> None:
    assert field_problem("parent_gen_id", value) is not None


def test_every_field_that_ends_in_gen_id_is_a_reference() -> None:
    stage = Stage("merge", "m", "draft", ("other_gen_id",))
    with pytest.raises(InvalidSignature, match=r"other_gen_id = '\.\./x' is not a gen id"):
        Signature.of(stage, {"parent_gen_id": "d_1", "other_gen_id": "../x", "replicate": 1})


def test_signatures_are_equal_by_stage_and_values() -> None:
    assert Signature.of(DRAFT, FIELDS) == Signature.of(DRAFT, dict(FIELDS))
    assert Signature.of(DRAFT, FIELDS) != Signature.of(DRAFT, {**FIELDS, "replicate": 2})
