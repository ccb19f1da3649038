"""metadata.json: nothing is lost on the way, and nothing damaged or foreign is believed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from genpool.errors import CorruptGeneration, GenpoolError, InvalidSignature, UnsupportedFormat
from genpool.gen_ids import gen_id
from genpool.records import Call, Price, Reason, Record, Score, Usage, decode_record, encode_sealed
from genpool.signatures import Signature
from genpool.stages import DEFAULT_PIPELINE, Stage

DRAFT = DEFAULT_PIPELINE["draft"]
SIGNATURE = Signature.of(
    DRAFT, {"combo_id": "combo_1", "template_id": "plain", "llm_model_id": "writer", "replicate": 2}
)
CALL = Call(
    provider="openai https://e.example",
    model="google/x",
    model_returned="google/x-001",
    parameters={"temperature": 0.7, "stop": ["a"]},
    seed=7,
    finish_reason="stop",
    usage=Usage(10, None),
    seconds=1.23456,
    attempts_before=1,
    price=Price(1.25, 10.0),
)
RECORD = Record(
    signature=SIGNATURE,
    gen_id=gen_id(SIGNATURE),
    origin_cohort_id="trial",
    run_id="r1",
    created_at="2026-01-02T03:04:05Z",
    mode="llm",
    fingerprints={"template": "0" * 64},
    call=CALL.as_json(),
    parser="text",
    score=Score(7.5, 0.0, 9.0),
    extra={"note": "śnienie", "nested": {"a": [1, None, 0.5]}},
)


def decode(data: bytes, *, stage: Stage = DRAFT, name: str = RECORD.gen_id, salt: str = "") -> Record:
    return decode_record(data, stage, name, salt, "gens/draft/x/metadata.json")


def as_written(**changes: Any) -> dict[str, Any]:
    """Return the object of a record's file with some keys changed; None takes one away."""
    value = {**json.loads(RECORD.encode()), **changes}
    return {key: item for key, item in value.items() if item is not ...}


def sealed(**changes: Any) -> bytes:
    """Return a record's file with some keys changed and its digest made anew."""
    value = as_written(**changes)
    value.pop("self", None)
    return encode_sealed(value)


# --- round trip -----------------------------------------------------------------------------------


def test_a_record_is_read_as_it_was_written() -> None:
    assert decode(RECORD.encode()) == RECORD


def test_the_same_record_gives_the_same_bytes() -> None:
    assert decode(RECORD.encode()).encode() == RECORD.encode()


def test_a_record_of_a_copy_is_read_as_it_was_written() -> None:
    essay = Signature.of(DEFAULT_PIPELINE["essay"], {"parent_gen_id": "d_1", "template_id": "copied", "replicate": 1})
    record = Record(essay, gen_id(essay), "trial", "r1", None, "copy")
    assert decode(record.encode(), stage=essay.stage, name=record.gen_id) == record


def test_a_record_of_a_salted_pool_is_read_with_its_salt() -> None:
    record = replace(RECORD, gen_id=gen_id(SIGNATURE, "lab-b"))
    assert decode(record.encode(), name=record.gen_id, salt="lab-b") == record


def test_the_file_is_one_flat_object_with_sorted_keys() -> None:
    value = json.loads(RECORD.encode())
    assert list(value) == sorted(value)
    assert {key: value[key] for key in ("format", "id_scheme", "stage", "combo_id", "template_id", "replicate")} == {
        "format": "genpool.generation/1",
        "id_scheme": "genpool/1",
        "stage": "draft",
        "combo_id": "combo_1",
        "template_id": "plain",
        "replicate": 2,
    }
    assert value["call"]["usage"] == {"input_tokens": 10, "output_tokens": None}
    assert value["call"]["seconds"] == 1.235
    assert value["score"] == {"value": 7.5, "min": 0.0, "max": 9.0}


def test_unknown_keys_are_kept_and_written_back() -> None:
    record = decode(sealed(added_later={"by": ["a newer minor version"]}))
    assert record.extra == {**RECORD.extra, "added_later": {"by": ["a newer minor version"]}}
    assert json.loads(record.encode())["added_later"] == {"by": ["a newer minor version"]}


def test_an_unknown_key_never_takes_the_place_of_a_known_one() -> None:
    assert json.loads(replace(RECORD, extra={"gen_id": "other", "combo_id": "other"}).encode())["combo_id"] == "combo_1"


def test_a_users_axis_stands_beside_the_other_fields() -> None:
    stage = Stage("poem", "p", None, ("mood",))
    signature = Signature.of(stage, {"combo_id": "c", "mood": "calm", "replicate": 1})
    record = Record(signature, gen_id(signature), "trial", None, None, "llm")
    found = decode(record.encode(), stage=stage, name=record.gen_id)
    assert found.signature["mood"] == "calm"
    assert found.extra == {}


def test_an_attempt_bears_its_reason_and_is_no_generation() -> None:
    data = RECORD.encode_attempt(Reason("truncated", "no end"))
    assert json.loads(data)["reason"] == {"kind": "truncated", "message": "no end"}
    with pytest.raises(CorruptGeneration, match=r"format is 'genpool\.attempt/1'"):
        decode(data)


def test_the_cost_of_tokens_is_by_the_million() -> None:
    assert Price(1.25, 10.0).cost(1_000_000, 500_000) == 6.25


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b'"a"', b"null", b"\xff\xfe", RECORD.encode()[:-20]])
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptGeneration, match=r"gens/draft/x/metadata\.json: not ") as error:
        decode(data)
    assert "restore it, or move the whole directory away" in str(error.value.hint)


@pytest.mark.parametrize(
    "changes",
    [
        {"self": "0" * 64},
        {"self": None},
        {"self": ...},
        {"origin_cohort_id": "other"},
        {"score": {"value": 9, "min": 0, "max": 9}},
        {"created_at": ...},
        {"added": 1},
        {"fingerprints": {}},
    ],
)
def test_a_record_that_was_changed_does_not_have_its_digest(changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptGeneration, match="does not have the digest that it states"):
        decode(orjson.dumps(as_written(**changes)))


def test_every_flipped_bit_of_a_record_is_noticed() -> None:
    data = RECORD.encode()
    believed = []
    for at in range(0, len(data), 3):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            found = decode(flipped)
        except GenpoolError:
            continue
        if found != RECORD:
            believed.append(at)
    assert believed == []


def test_a_reformatted_record_is_the_same_record() -> None:
    assert decode(orjson.dumps(as_written())) == RECORD


@pytest.mark.parametrize("number", [2**53, 2**63])
def test_a_number_that_has_no_canonical_form_is_damage(number: int) -> None:
    with pytest.raises(CorruptGeneration):
        decode(orjson.dumps(as_written(added=number)))


def test_a_record_that_is_nested_without_end_is_damage() -> None:
    data = orjson.dumps(as_written())[:-1] + b',"added":' + b"[" * 900 + b"]" * 900 + b"}"
    with pytest.raises(CorruptGeneration):
        decode(data)


# --- identity -------------------------------------------------------------------------------------


def test_a_renamed_directory_is_refused_with_both_names() -> None:
    with pytest.raises(CorruptGeneration) as error:
        decode(RECORD.encode(), name="d_other")
    assert error.value.message.endswith(f"its signature gives the id {RECORD.gen_id}, but its directory is d_other")
    assert "renamed, edited or copied from a pool of another salt" in str(error.value.hint)


def test_a_record_of_a_pool_with_another_salt_is_refused() -> None:
    with pytest.raises(CorruptGeneration, match="its signature gives the id"):
        decode(RECORD.encode(), salt="lab-b")


def test_a_record_whose_signature_was_edited_is_refused_even_with_a_new_digest() -> None:
    with pytest.raises(CorruptGeneration, match="its signature gives the id"):
        decode(sealed(template_id="other"))


def test_a_record_that_states_another_id_is_refused() -> None:
    with pytest.raises(CorruptGeneration, match="its signature gives the id"):
        decode(sealed(gen_id="d_other"))


def test_a_record_of_another_stage_is_refused() -> None:
    with pytest.raises(CorruptGeneration, match="stage is 'essay', found under 'draft'"):
        decode(sealed(stage="essay"))


@pytest.mark.parametrize("changes", [{"template_id": ...}, {"replicate": "2"}, {"replicate": 0}, {"combo_id": ""}])
def test_a_record_without_a_whole_signature_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptGeneration):
        decode(sealed(**changes))


# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2", "10"])
def test_a_newer_format_is_refused_by_version_even_with_a_digest_of_another_kind(version: str) -> None:
    with pytest.raises(UnsupportedFormat, match=rf"genpool\.generation/{version} is newer than this genpool reads"):
        decode(orjson.dumps(as_written(format=f"genpool.generation/{version}", self="another rule")))


@pytest.mark.parametrize("scheme", ["genpool/2", "daydreaming/0", None, 1])
def test_an_unknown_id_scheme_is_refused(scheme: object) -> None:
    with pytest.raises(UnsupportedFormat, match="id scheme"):
        decode(sealed(id_scheme=scheme))


@pytest.mark.parametrize(
    "text", ["genpool.generation", "genpool.generation/x", "genpool.generation/²", "genpool.generation/0", "other/1", 1]
)
def test_a_format_that_is_none_is_damage(text: object) -> None:
    with pytest.raises(CorruptGeneration, match=r"it must be genpool\.generation/1"):
        decode(sealed(format=text))


def test_a_version_of_thousands_of_digits_is_damage() -> None:
    with pytest.raises(CorruptGeneration):
        decode(sealed(format="genpool.generation/" + "9" * 5000))


# --- legacy ---------------------------------------------------------------------------------------

LEGACY = {
    "combo_id": "combo_1",
    "template_id": "plain",
    "llm_model_id": "writer",
    "replicate": 1,
    "created_at": "2024-05-06T07:08:09",
    "origin_cohort_id": "first",
    "task_id": "kept",
}


def test_a_record_with_neither_format_nor_scheme_is_legacy_whatever_its_id() -> None:
    record = decode(orjson.dumps(LEGACY), name="vtt9vuxeila0t9rp")
    assert record.is_legacy
    assert (record.gen_id, record.id_scheme) == ("vtt9vuxeila0t9rp", None)
    assert (record.origin_cohort_id, record.created_at) == ("first", "2024-05-06T07:08:09")
    assert record.extra == {"task_id": "kept"}


def test_a_legacy_id_may_look_like_one_of_the_scheme() -> None:
    assert decode(orjson.dumps(LEGACY), name="d_" + "0" * 32).is_legacy


def test_a_record_of_the_scheme_is_not_legacy() -> None:
    assert not decode(RECORD.encode()).is_legacy


@pytest.mark.parametrize("key", ["format", "id_scheme"])
def test_one_of_the_two_keys_is_enough_to_be_held_to_the_scheme(key: str) -> None:
    other = "id_scheme" if key == "format" else "format"
    assert decode(sealed(**{other: ...})).gen_id == RECORD.gen_id
    with pytest.raises(CorruptGeneration):
        decode(sealed(**{other: ...}), name="d_other")


@pytest.mark.parametrize("changes", [{"combo_id": " c"}, {"template_id": None}, {"llm_model_id": 7}])
def test_a_legacy_record_with_a_value_that_is_not_allowed_is_told_by_its_field(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignature, match=rf"metadata\.json: draft: {next(iter(changes))}"):
        decode(orjson.dumps({**LEGACY, **changes}))


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ("1", 1),
        ("12", 12),
        (3, 3),
        (0, 0),
        ("0", 0),
        ("-1", 0),
        ("one", 0),
        ("²", 0),
        (None, 0),
        (1.0, 0),
        (True, 0),
        ([1], 0),
    ],
)
def test_a_legacy_record_states_a_replicate_as_a_number_or_as_text(stated: object, read: int) -> None:
    assert decode(orjson.dumps({**LEGACY, "replicate": stated})).signature.replicate == read


def test_a_legacy_record_may_state_no_replicate() -> None:
    assert (
        decode(orjson.dumps({key: one for key, one in LEGACY.items() if key != "replicate"})).signature.replicate == 0
    )


def test_a_legacy_record_without_a_field_is_told_so() -> None:
    with pytest.raises(InvalidSignature, match="the field 'llm_model_id' is missing"):
        decode(orjson.dumps({key: value for key, value in LEGACY.items() if key != "llm_model_id"}))


@pytest.mark.parametrize(
    "changes",
    [{"score": 7}, {"score": {"value": 7}}, {"score": {"value": "7", "min": 0, "max": 9}}, {"call": []}, {"mode": 3}],
)
def test_a_legacy_record_with_other_shapes_is_read_without_them(changes: dict[str, Any]) -> None:
    record = decode(orjson.dumps({**LEGACY, **changes}))
    assert (record.score, record.call, record.mode) == (None, None, "llm")


def test_a_legacy_record_is_shown_as_it_is_stored_and_null_where_it_says_nothing() -> None:
    stored = {**LEGACY, "replicate": "2", "score": {"value": 1.5, "by": "hand"}, "run_id": 7}
    record = decode(orjson.dumps(stored), name="old-1")
    shown = record.as_json()
    assert {key: shown[key] for key in stored} == stored
    unsaid = ("format", "id_scheme", "mode", "fingerprints", "call", "parser")
    assert [shown[key] for key in unsaid] == [None] * len(unsaid)
    assert (shown["gen_id"], shown["stage"]) == ("old-1", "draft")
    nothing = {key: value for key, value in LEGACY.items() if key not in {"replicate", "origin_cohort_id"}}
    silent = decode(orjson.dumps(nothing))
    assert (silent.as_json()["replicate"], silent.as_json()["origin_cohort_id"]) == (None, None)
    assert silent.stated() == {**silent.signature.as_dict(), "replicate": None}
    assert decode(orjson.dumps(LEGACY)).stated()["replicate"] == 1
