"""Stages and pipelines as data."""

from __future__ import annotations

import pytest

from genpool.errors import InvalidPipeline
from genpool.stages import DEFAULT_PIPELINE, MODEL_FIELD, RESERVED, TEMPLATE_FIELD, Pipeline, Stage, axis_field


def test_the_default_pipeline_is_drafts_essays_evaluations() -> None:
    assert DEFAULT_PIPELINE.names == ("draft", "essay", "evaluation")


@pytest.mark.parametrize(
    ("stage", "prefix", "fields"),
    [
        ("draft", "d", ("combo_id", "template_id", "llm_model_id", "replicate")),
        ("essay", "e", ("parent_gen_id", "template_id", "replicate")),
        ("evaluation", "v", ("parent_gen_id", "template_id", "llm_model_id", "replicate")),
    ],
)
def test_a_default_stage_has_its_prefix_and_fields(stage: str, prefix: str, fields: tuple[str, ...]) -> None:
    found = DEFAULT_PIPELINE[stage]
    assert (found.prefix, found.fields) == (prefix, fields)


def test_only_the_evaluation_judges_and_it_does_so_twice() -> None:
    assert [(stage.judges, stage.replicates) for stage in DEFAULT_PIPELINE] == [(False, 1), (False, 1), (True, 2)]


def test_parents_come_before_children_in_whatever_order_they_are_given() -> None:
    stages = [Stage("c", "c", "b"), Stage("b", "b", "a"), Stage("a", "a")]
    assert Pipeline(stages).names == ("a", "b", "c")


def test_a_pipeline_can_have_several_roots_and_branches() -> None:
    pipeline = Pipeline([Stage("a", "a"), Stage("b", "b"), Stage("x", "x", "a"), Stage("y", "y", "a")])
    assert [stage.name for stage in pipeline.children(pipeline["a"])] == ["x", "y"]


def test_ancestors_are_listed_nearest_first() -> None:
    assert [stage.name for stage in DEFAULT_PIPELINE.ancestors(DEFAULT_PIPELINE["evaluation"])] == ["essay", "draft"]


@pytest.mark.parametrize(("stage", "runs_on"), [("draft", "draft"), ("essay", "draft"), ("evaluation", "evaluation")])
def test_a_stage_runs_on_the_model_of_its_nearest_ancestor_that_has_one(stage: str, runs_on: str) -> None:
    found = DEFAULT_PIPELINE.model_stage(DEFAULT_PIPELINE[stage])
    assert found is not None
    assert found.name == runs_on


def test_a_pipeline_without_a_model_axis_runs_on_none() -> None:
    pipeline = Pipeline([Stage("a", "a", axes=(TEMPLATE_FIELD,))])
    assert pipeline.model_stage(pipeline["a"]) is None


@pytest.mark.parametrize(("axis", "field"), [("template", "template_id"), ("model", "llm_model_id"), ("mood", "mood")])
def test_an_axis_and_its_field_translate_both_ways(axis: str, field: str) -> None:
    assert axis_field(axis) == field
    assert Stage("a", "a", axes=(field,)).axis_name(field) == axis


def test_an_unknown_stage_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidPipeline, match="no stage is named 'esay'") as error:
        DEFAULT_PIPELINE["esay"]
    assert error.value.hint == "did you mean 'essay'?"


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([], "has no stage"),
        ([Stage("a", "a"), Stage("A", "b")], "case does not count"),
        ([Stage("a", "a"), Stage("b", "a")], "share the prefix 'a'"),
        ([Stage("a", "a", "b"), Stage("b", "b", "a")], "cycle"),
        ([Stage("a", "a", "a")], "cycle"),
        ([Stage("a", "a", "z")], "no stage is named 'z'"),
        ([Stage("../a", "a")], "not a name that a folder can have"),
        ([Stage("", "a")], "not a name that a folder can have"),
        ([Stage("a" * 129, "a")], "not a name that a folder can have"),
        ([Stage("a\n", "a")], "not a name that a folder can have"),
        ([Stage("a", "")], "prefix ''"),
        ([Stage("a", "A")], "prefix 'A'"),
        ([Stage("a", "a1")], "prefix 'a1'"),
        ([Stage("a", "abcdefghi")], "prefix 'abcdefghi'"),
        ([Stage("a", "a", replicates=0)], "replicates is 0"),
        ([Stage("a", "a", replicates=-1)], "replicates is -1"),
        ([Stage("a", "a", replicates=2**31)], "replicates is 2147483648"),
        ([Stage("a", "a", replicates=True)], "replicates is True"),
        ([Stage("a", "a", replicates=1.5)], "replicates is 1.5"),  # type: ignore[arg-type]
        ([Stage("a", "a", axes=("x", "x"))], "listed twice"),
        ([Stage("a", "a", axes=("Mood",))], "'Mood' cannot be an axis"),
        ([Stage("a", "a", axes=("9x",))], "'9x' cannot be an axis"),
        ([Stage("a", "a", axes=("template",))], "'template' cannot be an axis"),
    ],
)
def test_stages_that_form_no_pipeline_are_refused(stages: list[Stage], said: str) -> None:
    with pytest.raises(InvalidPipeline) as error:
        Pipeline(stages)
    assert said in error.value.message


@pytest.mark.parametrize("name", sorted(RESERVED - {TEMPLATE_FIELD, MODEL_FIELD}))
def test_no_axis_takes_a_name_that_genpool_uses_itself(name: str) -> None:
    with pytest.raises(InvalidPipeline, match="cannot be an axis"):
        Pipeline([Stage("a", "a", axes=(name,))])


@pytest.mark.parametrize("name", ["scheme", "stage", "salt", "replicate", "self", "format", "combo_id"])
def test_the_names_of_the_pre_image_are_reserved(name: str) -> None:
    assert name in RESERVED


def test_two_pipelines_of_the_same_stages_are_equal() -> None:
    again = Pipeline(list(DEFAULT_PIPELINE))
    assert again == DEFAULT_PIPELINE
    assert hash(again) == hash(DEFAULT_PIPELINE)
    assert again != Pipeline([Stage("a", "a")])
