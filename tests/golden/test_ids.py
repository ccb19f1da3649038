"""Frozen ids. A failure here means that an existing pool would no longer find its generations.

Never edit a vector to make a test pass: a rule that moves one is a new scheme (`genpool/2`) beside
this one. New vectors are appended.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from genpool.combos import combo_id, combo_text
from genpool.errors import GenpoolError, InvalidPipeline, InvalidSignature
from genpool.gen_ids import SCHEME, canonical_text, gen_id, ids_below
from genpool.signatures import Signature
from genpool.stages import DEFAULT_PIPELINE, PARENT_FIELD, REPLICATE_FIELD, ROOT_FIELD, Stage

HERE = Path(__file__).parent
IDS = json.loads((HERE / "ids-genpool-1.json").read_text(encoding="utf-8"))
REFUSED = json.loads((HERE / "ids-genpool-1-refused.json").read_text(encoding="utf-8"))
COMBOS = json.loads((HERE / "combos-genpool-1.json").read_text(encoding="utf-8"))

FROZEN = "a new rule is a new scheme: bump SCHEME and keep this one readable; never edit the vector"

each_vector = pytest.mark.parametrize("vector", IDS["valid"], ids=lambda vector: vector["note"])
each_combo = pytest.mark.parametrize("vector", COMBOS["valid"], ids=lambda vector: vector["combo_id"])


def stage_of(vector: dict[str, Any]) -> Stage:
    """Return the vector's stage: the default one, with any axis that the vector has besides."""
    default = DEFAULT_PIPELINE[vector["stage"]]
    others = (REPLICATE_FIELD, ROOT_FIELD, PARENT_FIELD)
    axes = tuple(field for field in vector["signature"] if field not in others)
    return default if set(axes) == set(default.axes) else Stage(default.name, default.prefix, default.parent, axes)


def signature_of(vector: dict[str, Any]) -> Signature:
    return Signature.of(stage_of(vector), vector["signature"])


def test_the_vectors_are_of_the_present_scheme() -> None:
    assert IDS["scheme"] == COMBOS["scheme"] == SCHEME


def test_there_are_no_fewer_vectors_than_were_frozen() -> None:
    assert (len(IDS["valid"]) >= 17, len(REFUSED) >= 20, len(COMBOS["valid"]) >= 5) == (True, True, True)


def test_the_prefixes_of_the_default_stages_are_frozen() -> None:
    assert {stage.name: stage.prefix for stage in DEFAULT_PIPELINE} == IDS["prefixes"], FROZEN


@each_vector
def test_an_id_is_what_it_was(vector: dict[str, Any]) -> None:
    assert gen_id(signature_of(vector), vector.get("salt", "")) == vector["gen_id"], FROZEN


@each_vector
def test_a_canonical_text_is_what_it_was(vector: dict[str, Any]) -> None:
    assert canonical_text(signature_of(vector), vector.get("salt", "")) == vector["canonical"], FROZEN


@each_vector
def test_the_bulk_function_gives_the_same_id(vector: dict[str, Any]) -> None:
    source, *variant = signature_of(vector).values
    found = list(ids_below(stage_of(vector), [str(source)], [tuple(variant)], vector.get("salt", "")))
    assert found == [vector["gen_id"]], FROZEN


@each_vector
def test_the_order_in_which_a_stage_lists_its_axes_does_not_matter(vector: dict[str, Any]) -> None:
    stage = stage_of(vector)
    turned = Stage(stage.name, stage.prefix, stage.parent, stage.axes[::-1])
    assert gen_id(Signature.of(turned, vector["signature"]), vector.get("salt", "")) == vector["gen_id"], FROZEN


@each_vector
def test_an_id_can_be_computed_without_genpool(vector: dict[str, Any]) -> None:
    digest = hashlib.sha256(vector["canonical"].encode()).hexdigest()
    assert f"{IDS['prefixes'][vector['stage']]}_{digest[:32]}" == vector["gen_id"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum on this machine")
def test_an_id_can_be_computed_with_the_shell() -> None:
    vector = IDS["valid"][0]
    script = "printf '%s' \"$1\" | sha256sum | cut -c1-32"
    done = subprocess.run(["sh", "-c", script, "sh", vector["canonical"]], capture_output=True, check=True, text=True)
    assert f"d_{done.stdout.strip()}" == gen_id(signature_of(vector))


def test_no_two_vectors_share_an_id() -> None:
    found = [vector["gen_id"] for vector in IDS["valid"]]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["why"])
def test_a_signature_that_was_refused_is_refused(vector: dict[str, Any]) -> None:
    kind: type[GenpoolError] = InvalidSignature if vector["stage"] in DEFAULT_PIPELINE else InvalidPipeline
    with pytest.raises(kind) as error:
        Signature.of(DEFAULT_PIPELINE[vector["stage"]], vector["signature"])
    assert error.value.message


@each_combo
def test_a_combo_id_is_what_it_was(vector: dict[str, Any]) -> None:
    assert combo_id(vector["concepts"], vector["level"]) == vector["combo_id"], FROZEN


@each_combo
def test_a_canonical_text_of_a_combo_is_what_it_was(vector: dict[str, Any]) -> None:
    assert combo_text(vector["concepts"], vector["level"]) == vector["canonical"], FROZEN
