"""Frozen ids, computed once more by a database: docs/gen_ids.sql.

Every vector of tests/golden is computed, those with quotation marks, backslashes, letters of many scripts, axes of a
user and a salt included. What SQL does not do is refuse values that are not allowed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from benchmarks.make_pool import TASKS_A_ROW, Shape, make_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
IDS = json.loads((HERE / "ids-genpool-1.json").read_text(encoding="utf-8"))
COMBOS = json.loads((HERE / "combos-genpool-1.json").read_text(encoding="utf-8"))
OF_STAGE = {
    "draft": "draft_id($combo_id, $template_id, $llm_model_id, $replicate)",
    "essay": "essay_id($parent_gen_id, $template_id, $replicate)",
    "evaluation": "evaluation_id($parent_gen_id, $template_id, $llm_model_id, $replicate)",
}
usual = [one for one in IDS["valid"] if all(f"${key}" in OF_STAGE[one["stage"]] for key in one["signature"])]


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=lambda one: one.get("note", one.get("combo_id")))


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute((DOCS / "gen_ids.sql").read_text(encoding="utf-8"))
        yield connection


def answer(database: duckdb.DuckDBPyConnection, query: str, values: object = None) -> tuple[Any, ...]:
    row = database.execute(query, values).fetchone()
    assert row is not None
    return row


@named(IDS["valid"])
def test_every_golden_id_and_its_canonical_text(vector: dict[str, Any], database: duckdb.DuckDBPyConnection) -> None:
    fields = {key: value for key, value in vector["signature"].items() if key != "replicate"}
    query = "SELECT canonical_text($2, MAP($3, $4), $5, salt := $6), gen_id($1, $2, MAP($3, $4), $5, salt := $6)"
    stage, replicate, salt = vector["stage"], vector["signature"]["replicate"], vector.get("salt", "")
    values = [IDS["prefixes"][stage], stage, list(fields), list(fields.values()), replicate, salt]
    assert answer(database, query, values) == (vector["canonical"], vector["gen_id"])


@named([one for one in usual if "salt" not in one])
def test_the_macros_of_the_default_stages_give_the_same(
    vector: dict[str, Any], database: duckdb.DuckDBPyConnection
) -> None:
    assert answer(database, f"SELECT {OF_STAGE[vector['stage']]}", vector["signature"]) == (vector["gen_id"],)


@named(COMBOS["valid"])
def test_every_golden_combo_id(vector: dict[str, Any], database: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT combo_id_of($1, $2)"
    assert answer(database, query, [vector["concepts"], vector["level"]]) == (vector["combo_id"],)


def test_the_page_computes_a_whole_cohort_from_its_catalogs(
    tmp_path: Path, database: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = Shape(tasks=500, present=60)
    made = make_pool(tmp_path / "pool", shape)
    monkeypatch.chdir(tmp_path / "pool")
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert queries
    for query in queries:
        database.execute(query)
    members = "read_csv('cohorts/whole/membership.csv', all_varchar = true)"
    tasks = shape.rows * TASKS_A_ROW
    assert answer(database, "SELECT count(*), count(DISTINCT gen_id) FROM tasks") == (tasks, tasks)
    assert answer(database, f"SELECT count(*) FROM tasks JOIN {members} USING (stage, gen_id)") == (tasks,)
    assert answer(database, "SELECT count(*) FROM missing") == (tasks - made,)
