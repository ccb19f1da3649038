"""Errors: one root, stable kinds, exit codes, and messages that a person can act on."""

from __future__ import annotations

import inspect

import pytest

from genpool import errors
from genpool.errors import GenpoolError, InputError, Problem, nearest

KINDS = {
    "GenpoolError": ("error", 1),
    "UsageError": ("usage", 2),
    "DoesNotFit": ("does-not-fit", 1),
    "InputError": ("invalid-input", 1),
    "InvalidSignature": ("invalid-signature", 1),
    "InvalidPipeline": ("invalid-pipeline", 1),
    "InvalidConfig": ("invalid-config", 1),
    "InvalidSpec": ("invalid-spec", 1),
    "InvalidTemplate": ("invalid-template", 1),
    "InvalidCombo": ("invalid-combo", 1),
    "Drifted": ("drifted", 1),
    "MissingKey": ("missing-key", 1),
    "PoolError": ("pool", 1),
    "NotAPool": ("not-a-pool", 1),
    "UnsupportedFormat": ("unsupported-format", 1),
    "UnsupportedPlatform": ("unsupported-platform", 1),
    "PipelineChanged": ("pipeline-changed", 1),
    "PoolBusy": ("pool-busy", 1),
    "NotFound": ("not-found", 1),
    "CorruptGeneration": ("corrupt-generation", 1),
    "CorruptFile": ("corrupt-file", 1),
    "StorageFailed": ("storage-failed", 1),
    "StorageFull": ("storage-full", 1),
    "BudgetReached": ("budget-reached", 1),
    "ModelError": ("model", 1),
    "ModelUnavailable": ("model-unavailable", 1),
    "CallFailed": ("call-failed", 1),
    "WeightsInvalid": ("weights-invalid", 1),
}
"""Kinds and exit codes that scripts rely on: a line may be added, never changed."""


def classes() -> dict[str, type[GenpoolError]]:
    found = inspect.getmembers(errors, inspect.isclass)
    return {name: one for name, one in found if issubclass(one, Exception)}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_and_its_exit_code_never_change(name: str) -> None:
    error = classes()[name]
    assert (error.kind, error.exit_code) == KINDS[name]


def test_every_error_is_in_the_list_above() -> None:
    assert set(classes()) == set(KINDS)


def test_every_error_has_the_one_root() -> None:
    assert all(issubclass(error, GenpoolError) for error in classes().values())


def test_no_two_errors_share_a_kind() -> None:
    kinds = [error.kind for error in classes().values()]
    assert len(set(kinds)) == len(kinds)


def test_every_error_says_of_itself_what_it_is() -> None:
    assert all(error.__doc__ and "kind" in vars(error) for error in classes().values())


@pytest.mark.parametrize(
    ("name", "base"),
    [("InvalidSignature", ValueError), ("NotFound", LookupError), ("StorageFull", OSError)],
)
def test_an_error_can_be_caught_as_the_built_in_that_it_resembles(name: str, base: type[Exception]) -> None:
    assert issubclass(classes()[name], base)


def test_an_input_error_shows_every_problem_with_its_place() -> None:
    problems = [Problem("no such axis", "a.yaml", 3, "did you mean 'model'?"), Problem("empty", "b.yaml")]
    error = InputError("not usable: 2 problems", problems=problems)
    assert str(error) == "not usable: 2 problems\n  a.yaml:3: no such axis\n  b.yaml: empty"


def test_a_problem_without_a_place_is_its_message() -> None:
    assert str(Problem("wrong")) == "wrong"


def test_an_error_is_written_as_json_with_its_hint() -> None:
    error = GenpoolError("gone", hint="look elsewhere")
    assert error.as_json() == {"kind": "error", "message": "gone", "hint": "look elsewhere"}


def test_an_input_error_is_written_as_json_with_its_problems() -> None:
    error = InputError("bad", problems=[Problem("wrong", "a.yaml", 3, "do so")])
    assert error.as_json()["problems"] == [{"file": "a.yaml", "line": 3, "message": "wrong", "hint": "do so"}]


def test_a_storage_error_keeps_its_message() -> None:
    assert str(errors.StorageFailed("no permission", hint="ask")) == "no permission"


def test_a_failed_call_says_whether_it_may_succeed_later() -> None:
    assert errors.CallFailed("429", transient=True, sent=False).transient is True


def test_the_nearest_name_is_offered() -> None:
    assert nearest("templte", ["model", "template"]) == "did you mean 'template'?"


def test_where_nothing_is_near_the_known_names_are_listed() -> None:
    assert nearest("xyz", ["b", "a"]) == "known: a, b"


def test_a_long_list_of_known_names_is_cut() -> None:
    hint = nearest("xyz", [f"name-{number:02}" for number in range(50)])
    assert hint is not None
    assert hint.endswith("name-29, and 20 more")


def test_where_nothing_is_known_there_is_no_hint() -> None:
    assert nearest("xyz", []) is None
