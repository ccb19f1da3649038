"""The id function and its bulk form; the frozen vectors are in tests/golden."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import product

import pytest

from genpool.errors import InvalidSignature
from genpool.gen_ids import canonical_text, check_salt, gen_id, ids_below
from genpool.signatures import Signature
from genpool.stages import DEFAULT_PIPELINE, Stage

DRAFT = DEFAULT_PIPELINE["draft"]
FIELDS = {"combo_id": "combo-1", "template_id": "plain", "llm_model_id": "writer", "replicate": 3}


def test_the_canonical_text_names_every_field_with_scheme_and_stage() -> None:
    assert canonical_text(Signature.of(DRAFT, FIELDS)) == (
        '{"combo_id":"combo-1","llm_model_id":"writer","replicate":3,"scheme":"genpool/1","stage":"draft",'
        '"template_id":"plain"}'
    )


def test_an_id_is_the_prefix_and_the_first_half_of_the_digest() -> None:
    signature = Signature.of(DRAFT, FIELDS)
    digest = hashlib.sha256(canonical_text(signature).encode()).hexdigest()
    assert gen_id(signature) == f"d_{digest[:32]}"
    assert re.fullmatch(r"d_[0-9a-f]{32}", gen_id(signature))


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_in_the_id(field: str) -> None:
    other = 4 if field == "replicate" else "other"
    assert gen_id(Signature.of(DRAFT, {**FIELDS, field: other})) != gen_id(Signature.of(DRAFT, FIELDS))


def test_equal_fields_in_two_stages_do_not_meet() -> None:
    one = Signature(Stage("one", "x"), ("c", 1))
    two = Signature(Stage("two", "x"), ("c", 1))
    assert gen_id(one) != gen_id(two)


def test_a_salt_moves_every_id_and_an_empty_one_none() -> None:
    signature = Signature.of(DRAFT, FIELDS)
    assert gen_id(signature, "lab-b") != gen_id(signature)
    assert gen_id(signature, "") == gen_id(signature)
    assert json.loads(canonical_text(signature, "lab-b"))["salt"] == "lab-b"


@pytest.mark.parametrize("salt", [" a", "a\n", "e\u0301", "x" * 257, "\ud800"])
def test_a_salt_obeys_the_rules_of_a_text(salt: str) -> None:
    with pytest.raises(InvalidSignature, match="salt = "):
        check_salt(salt)
    with pytest.raises(InvalidSignature, match="salt = "):
        gen_id(Signature.of(DRAFT, FIELDS), salt)


HOSTILE = ['"', "\\", '"combo_id":"0"', '"combo_id":', "0", '{"a":1}', "śnienie", '","combo_id":"', "\\u0022"]


@pytest.mark.parametrize("salt", ["", "lab-b", '"combo_id":"0"'])
def test_the_bulk_function_gives_the_same_ids_whatever_the_values(salt: str) -> None:
    variants = [(template, model, slot) for template, model, slot in product(HOSTILE, HOSTILE[:4], (1, 12))]
    expected = [gen_id(Signature(DRAFT, (source, *variant)), salt) for source in HOSTILE for variant in variants]
    assert list(ids_below(DRAFT, HOSTILE, variants, salt)) == expected


@pytest.mark.parametrize("axis", ["a", "aaa", "combo", "combo_i", "z", "paren"])
def test_the_bulk_function_finds_the_source_among_axes_that_sort_around_it(axis: str) -> None:
    stage = Stage("s", "s", None, (axis,))
    variants = [(value, 1) for value in HOSTILE]
    expected = [gen_id(Signature(stage, (source, *variant))) for source in HOSTILE for variant in variants]
    assert list(ids_below(stage, HOSTILE, variants)) == expected


def test_the_bulk_function_has_sources_outermost() -> None:
    essay = DEFAULT_PIPELINE["essay"]
    found = list(ids_below(essay, ["d_1", "d_2"], [("a", 1), ("b", 1)]))
    order = [("d_1", "a", 1), ("d_1", "b", 1), ("d_2", "a", 1), ("d_2", "b", 1)]
    assert found == [gen_id(Signature(essay, values)) for values in order]


def test_the_bulk_function_gives_nothing_below_nothing() -> None:
    assert list(ids_below(DRAFT, [], [("t", "m", 1)])) == []
    assert list(ids_below(DRAFT, ["c"], [])) == []
