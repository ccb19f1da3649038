"""pool.yaml: what it says, and what is said of a wrong one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from genpool.config import ModelEntry, model_source, read_config
from genpool.errors import InvalidConfig, NotAPool, UnsupportedFormat
from genpool.layout import PoolLayout
from genpool.stages import DEFAULT_PIPELINE
from tests.written_pools import POOL, WrittenPool, only_problem, problem_with

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "format: genpool.pool/1\nid_scheme: genpool/1\n"
PIPELINE = HEAD + "pipeline:\n  draft: {prefix: d, axes: [template, model]}\n"


def model(pool: WrittenPool, inside: str) -> ModelEntry:
    return pool.config(f"{HEAD}models:\n  m: {{{inside}}}\n").models["m"]


def test_the_pipeline_is_the_default_one_where_none_is_given(pool: WrittenPool) -> None:
    assert pool.config(HEAD).pipeline == DEFAULT_PIPELINE
    assert pool.config(HEAD + "pipeline:\n").pipeline == DEFAULT_PIPELINE


def test_the_salt_is_empty_where_none_is_given(pool: WrittenPool) -> None:
    assert pool.config(HEAD).salt == ""
    assert pool.config(HEAD + "salt:\n").salt == ""


def test_a_salt_is_kept_as_typed(pool: WrittenPool) -> None:
    assert pool.config(HEAD + "salt: 1.10\n").salt == "1.10"


def test_a_byte_order_mark_does_not_matter(pool: WrittenPool) -> None:
    assert pool.config(b"\xef\xbb\xbf" + POOL.encode()) == pool.config(POOL)


def test_windows_line_ends_do_not_matter(pool: WrittenPool) -> None:
    assert pool.config(POOL.replace("\n", "\r\n")) == pool.config(POOL)


def test_stages_are_read_with_their_axes_replicates_and_role(pool: WrittenPool) -> None:
    config = pool.config(
        HEAD
        + "pipeline:\n  poem: {prefix: po, axes: [model, mood], replicates: 3}\n"
        + "  verdict: {prefix: w, parent: poem, axes: [template, model], judges: true}\n"
    )
    poem, verdict = config.pipeline
    assert (poem.prefix, poem.parent, poem.axes, poem.replicates) == ("po", None, ("llm_model_id", "mood"), 3)
    assert (verdict.parent, verdict.judges, verdict.replicates) == ("poem", True, 1)


def test_a_model_is_read_with_its_sampling_parameters_apart_from_the_rest(pool: WrittenPool) -> None:
    entry = model(
        pool,
        "client: openai, model: google/x, base_url: 'https://e.example/v1', key: MY_KEY, temperature: 0.7, "
        "max_tokens: 40, concurrency: 16, price: {input: 1.25, output: 10}, extra: {provider: {order: [a]}}",
    )
    assert entry.sampling == {"temperature": 0.7, "max_tokens": 40, "provider": {"order": ["a"]}}
    assert (entry.key, entry.concurrency, entry.max_tokens) == ("MY_KEY", 16, 40)
    assert entry.price is not None
    assert (entry.price.input, entry.price.output) == (1.25, 10.0)


def test_a_scripted_model_needs_no_name(pool: WrittenPool) -> None:
    assert model(pool, "client: scripted").model == "m"


def test_what_decides_the_output_is_in_the_models_source_and_nothing_else() -> None:
    entry = ModelEntry("m", "openai", "google/x", {"temperature": 0.7}, base_url="https://e.example", key="K")
    assert model_source(entry, {"temperature": 0.7, "max_tokens": 5}) == {
        "client": "openai",
        "model": "google/x",
        "temperature": 0.7,
        "max_tokens": 5,
    }


@pytest.mark.parametrize(
    ("inside", "way"),
    [
        ("client: embedded, model: x", "grammar"),
        ("client: embedded, model: x, constrain: none", "none"),
        ("client: openai, model: x", "json_schema"),
        ("client: openai, model: x, constrain: grammar", "grammar"),
    ],
)
def test_how_a_judges_answer_is_constrained_is_up_to_the_entry(pool: WrittenPool, inside: str, way: str) -> None:
    assert model(pool, inside).way == way


def test_a_budget_is_read(pool: WrittenPool) -> None:
    assert pool.config(HEAD + "budget: {pool: 50}\n").budget == 50.0
    assert pool.config(HEAD).budget is None


# --- what is wrong --------------------------------------------------------------------------------


def test_a_directory_without_the_file_is_not_a_pool(pool: WrittenPool) -> None:
    (pool.root / "pool.yaml").unlink()
    with pytest.raises(NotAPool, match="is not a pool: it has no pool") as error:
        pool.config()
    assert "genpool init" in str(error.value.hint)


def test_a_file_is_not_a_pool(pool: WrittenPool) -> None:
    with pytest.raises(NotAPool, match="is a file"):
        WrittenPool(pool.root / "pool.yaml").config()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(pool: WrittenPool) -> None:
    from genpool.errors import StorageFailed

    (pool.root / "pool.yaml").chmod(0)
    with pytest.raises(StorageFailed, match="cannot read"):
        pool.config()


def test_a_newer_format_is_refused_by_file_and_version(pool: WrittenPool) -> None:
    with pytest.raises(UnsupportedFormat, match=r"pool\.yaml: format genpool.pool/2 is newer"):
        pool.config(POOL.replace("genpool.pool/1", "genpool.pool/2"))


@pytest.mark.parametrize("scheme", ["genpool/2", "daydreaming/0", "''"])
def test_an_unknown_id_scheme_is_refused(pool: WrittenPool, scheme: str) -> None:
    with pytest.raises(UnsupportedFormat, match="id scheme"):
        pool.config(POOL.replace("id_scheme: genpool/1", f"id_scheme: {scheme}"))


def test_a_missing_id_scheme_is_noted(pool: WrittenPool) -> None:
    with pytest.raises(InvalidConfig) as error:
        pool.config("format: genpool.pool/1\n")
    assert only_problem(error).hint == "write `id_scheme: genpool/1`"


def test_a_text_that_is_not_utf_8_is_refused(pool: WrittenPool) -> None:
    with pytest.raises(InvalidConfig) as error:
        pool.config(POOL.encode() + b"# caf\xe9\n")
    problem = only_problem(error)
    assert "not UTF-8" in problem.message
    assert str(problem.file).endswith("pool.yaml")


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("- a\n", "pool.yaml must be a mapping", 1),
        ("just words\n", "pool.yaml must be a mapping", 1),
        (HEAD + "modles: {}\n", "unknown key 'modles'", 3),
        (HEAD + "salt: ' a'\n", "salt = ' a' has white space at an end", 3),
        (HEAD + "salt: null\n", "salt is null, which is no text", 3),
        (HEAD + "salt: [a]\n", "salt must be text", 3),
        (HEAD + "budget: 50\n", "budget must be a mapping", 3),
        (HEAD + "budget:\n  pool: -1\n", "pool must be a number of 0 or more", 4),
        (HEAD + "budget: {cohort: 1}\n", "unknown key 'cohort'", 3),
        (HEAD + "models: [a]\n", "models must be a mapping", 3),
        (HEAD + "models:\n  m: gpt\n", "model 'm' must be a mapping", 4),
        (HEAD + "models:\n  ' m': {client: scripted}\n", "model ' m' has white space at an end", 4),
        (HEAD + "models:\n  m:\n    model: x\n", "the key `client` is missing", 5),
        (HEAD + "models:\n  m: {client: opnai, model: x}\n", "client is 'opnai'", 4),
        (HEAD + "models:\n  m: {client: null, model: x}\n", "client is null", 4),
        (HEAD + "models:\n  m: {client: openai}\n", "the key `model` is missing", 4),
        (HEAD + "models:\n  m: {client: scripted, temprature: 1}\n", "unknown key 'temprature'", 4),
        (HEAD + "models:\n  m: {client: scripted, temperature: hot}\n", "temperature must be a number", 4),
        (HEAD + "models:\n  m: {client: scripted, max_tokens: 0}\n", "max_tokens is '0'", 4),
        (HEAD + "models:\n  m: {client: scripted, dry_penalty_last_n: -1}\n", "dry_penalty_last_n is '-1'", 4),
        (HEAD + "models:\n  m: {client: scripted, concurrency: 0}\n", "concurrency is '0'", 4),
        (HEAD + "models:\n  m: {client: scripted, constrain: regex}\n", "constrain is 'regex'", 4),
        (HEAD + "models:\n  m: {client: scripted, price: 1}\n", "price must be a mapping", 4),
        (HEAD + "models:\n  m: {client: scripted, price: {input: 1}}\n", "price needs `input` and `output`", 4),
        (HEAD + "models:\n  m: {client: scripted, top_k: 9007199254740993}\n", "top_k has a number", 4),
        (HEAD + "models:\n  m: {client: scripted, top_k: 1e999}\n", "top_k has a number", 4),
        (HEAD + "models:\n  m: {client: scripted, stop: [1e999]}\n", "stop has a number", 4),
        (HEAD + "models:\n  m:\n    client: scripted\n    extra: {x: {y: 1e999}}\n", "x has a number", 6),
        (HEAD + "models:\n  m: {client: scripted, extra: 1}\n", "extra must be a mapping", 4),
        (HEAD + "pipeline: [draft]\n", "pipeline must be a mapping", 3),
        (HEAD + "pipeline: {}\n", "the pipeline has no stage", 3),
        (HEAD + "pipeline:\n  draft:\n", "stage 'draft' must be a mapping", 4),
        (HEAD + "pipeline:\n  draft: {axes: [model]}\n", "the key `prefix` is missing", 4),
        (PIPELINE + "  essay: {prefix: d}\n", "share the prefix 'd'", 4),
        (PIPELINE + "  essay: {prefix: e, parent: drift}\n", "no stage is named 'drift'", 4),
        (PIPELINE + "  essay: {prefix: e, axis: [model]}\n", "unknown key 'axis'", 5),
        (PIPELINE + "  essay: {prefix: e, axes: model}\n", "axes must be a list", 5),
        (PIPELINE + "  essay: {prefix: e, axes: [[model]]}\n", "an axis must be a name", 5),
        (PIPELINE + "  essay: {prefix: e, axes: [combo]}\n", "'combo' cannot be listed", 5),
        (PIPELINE + "  essay: {prefix: e, axes: [template_id]}\n", "'template_id' cannot be listed", 5),
        (PIPELINE + "  essay: {prefix: e, axes: [salt]}\n", "'salt' cannot be an axis", 4),
        (PIPELINE + "  essay: {prefix: e, replicates: 0}\n", "replicates is '0'", 5),
        (PIPELINE + "  essay: {prefix: e, replicates: -1}\n", "replicates is '-1'", 5),
        (PIPELINE + "  essay: {prefix: e, replicates: 1.5}\n", "replicates is '1.5'", 5),
        (PIPELINE + "  essay: {prefix: e, judges: yes}\n", "judges must be true or false", 5),
        (PIPELINE + "  ../x: {prefix: e}\n", "not a name that a folder can have", 4),
    ],
)
def test_what_is_wrong_is_named_with_its_line(pool: WrittenPool, text: str, said: str, line: int) -> None:
    with pytest.raises(InvalidConfig) as error:
        pool.config(text)
    problem = problem_with(error, said)
    assert (problem.file, problem.line) == (str(pool.root / "pool.yaml"), line)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (HEAD + "modles: {}\n", "did you mean 'models'?"),
        (HEAD + "models:\n  m: {client: scripted, temprature: 1}\n", "did you mean 'temperature'?"),
        (PIPELINE + "  essay: {prefix: e, parent: drft}\n", "did you mean 'draft'?"),
        (PIPELINE + "  essay: {prefix: e, axes: [template_id]}\n", "write `template`"),
        (PIPELINE + "  essay: {prefix: e, axes: [llm_model_id]}\n", "write `model`"),
        (HEAD + "models:\n  m: {client: opnai, model: x}\n", "one of embedded, openai, scripted"),
    ],
)
def test_what_would_be_right_is_said(pool: WrittenPool, text: str, hint: str) -> None:
    with pytest.raises(InvalidConfig) as error:
        pool.config(text)
    assert hint in [problem.hint for problem in error.value.problems]


def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(pool: WrittenPool) -> None:
    with pytest.raises(InvalidConfig) as error:
        model(pool, "client: openai, model: x, key: sk-or-v1-abcdef")
    assert "environment variable" in only_problem(error).message
    assert "abcdef" not in str(error.value.as_json())


def test_every_problem_is_reported_together(pool: WrittenPool) -> None:
    with pytest.raises(InvalidConfig, match="3 problems") as error:
        pool.config(HEAD + "modles: {}\nbudget: 3\nmodels:\n  m: {client: opnai, model: x}\n")
    assert [problem.line for problem in error.value.problems] == [3, 6, 4]


@pytest.mark.parametrize("name", ["nul\x00", "surrogate\ud800"])
def test_a_name_that_no_directory_can_have_is_no_pool(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotAPool, match="cannot be a directory"):
        read_config(PoolLayout(tmp_path / name))


@pytest.mark.parametrize("file", ["/tmp/calls.txt", "../calls.txt", "logs/../../calls.txt"])
def test_a_scripted_models_log_is_a_file_of_the_pool(pool: WrittenPool, file: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        model(pool, f"client: scripted, calls_log: {file}")
    assert "is outside the pool" in str(caught.value)
    assert model(pool, "client: scripted, calls_log: logs/calls.txt").script == {"calls_log": "logs/calls.txt"}
