"""What prompts are rendered from, by name, and nothing from outside the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genpool.combos import Combo, combo_lines, row_digest
from genpool.errors import GenpoolError, InvalidCombo
from genpool.inputs import AncestorText, child_context

if TYPE_CHECKING:
    from tests.written_pools import WrittenPool

ROWS = "id,topic\nr1,tea\nr2,salt\n"


def test_concepts_are_listed_and_read_by_name(pool: WrittenPool) -> None:
    inputs = pool.inputs()
    assert inputs.concept_ids() == ["moat", "path", "wheel"]
    assert inputs.concept("moat").name == "Moat"


def test_what_was_read_once_is_not_read_again(pool: WrittenPool) -> None:
    pool.write("data.csv", ROWS)
    inputs = pool.inputs()
    before = (inputs.concept("moat"), inputs.template("draft", "plain"), inputs.rows("data.csv"))
    for file in ("concepts/moat.yaml", "templates/draft/plain.j2", "data.csv"):
        (pool.root / file).unlink()
    assert (inputs.concept("moat"), inputs.template("draft", "plain"), inputs.rows("data.csv")) == before


def test_the_context_of_concepts_is_in_the_combos_order_with_texts_of_its_level(pool: WrittenPool) -> None:
    assert pool.inputs().context(Combo("c", ("moat", "wheel"), "sentence")) == {
        "concepts": [
            {"id": "moat", "name": "Moat", "text": "Moat in one sentence."},
            {"id": "wheel", "name": "Wheel", "text": "Wheel in one sentence."},
        ]
    }


def test_the_context_of_a_row_is_its_columns_with_the_id(pool: WrittenPool) -> None:
    pool.write("data.csv", ROWS)
    assert pool.inputs().context(Combo("r1", rows="data.csv")) == {"row": {"id": "r1", "topic": "tea"}}


def test_a_row_that_is_gone_is_told_the_nearest(pool: WrittenPool) -> None:
    pool.write("data.csv", ROWS)
    with pytest.raises(InvalidCombo, match=r"data\.csv has no row with the id 'r3'") as error:
        pool.inputs().context(Combo("r3", rows="data.csv"))
    assert error.value.hint


def test_a_row_of_a_renamed_file_keeps_its_id(pool: WrittenPool) -> None:
    pool.write("combos.jsonl", combo_lines([Combo("r1", rows="old.csv", digest=row_digest({"topic": "tea"}))]))
    pool.write("new.csv", ROWS)
    assert pool.inputs().row_combo("new.csv", "r1").rows == "new.csv"


def test_another_row_under_a_recorded_id_is_refused(pool: WrittenPool) -> None:
    pool.write("combos.jsonl", combo_lines([Combo("r1", rows="old.csv", digest=row_digest({"topic": "milk"}))]))
    pool.write("new.csv", ROWS)
    with pytest.raises(InvalidCombo, match=r"stands for a row of old\.csv"):
        pool.inputs().row_combo("new.csv", "r1")


def test_a_file_in_a_folder_of_the_pool_is_found(pool: WrittenPool) -> None:
    pool.write("data/rows.csv", ROWS)
    assert list(pool.inputs().rows("data/rows.csv")) == ["r1", "r2"]


@pytest.mark.parametrize("file", ["../outside.csv", "data/../../outside.csv", "/etc/passwd", "linked/outside.csv"])
def test_a_file_outside_the_pool_is_refused(pool: WrittenPool, file: str) -> None:
    (pool.root.parent / "outside.csv").write_text(ROWS)
    (pool.root / "linked").symlink_to(pool.root.parent)
    with pytest.raises(InvalidCombo, match="is outside the pool") as error:
        pool.inputs().path(file)
    assert error.value.hint == "copy it into the pool's folder"


def test_a_file_that_does_not_exist_is_told_the_nearest(pool: WrittenPool) -> None:
    pool.write("data/rows.csv", ROWS)
    with pytest.raises(InvalidCombo, match=r"'data/row\.csv' does not exist in the pool") as error:
        pool.inputs().rows("data/row.csv")
    assert error.value.hint == "did you mean 'rows.csv'?"


@pytest.mark.parametrize("file", ["", ".", "templates", "no/such/folder.csv", "pool.yaml/x.csv"])
def test_what_is_no_file_does_not_exist(pool: WrittenPool, file: str) -> None:
    with pytest.raises(InvalidCombo, match="does not exist in the pool"):
        pool.inputs().path(file)


@pytest.mark.parametrize("file", ["a\x00b.csv", "x" * 5000, "circle/a.csv", "circle"])
def test_a_path_that_no_file_can_have_is_refused(pool: WrittenPool, file: str) -> None:
    (pool.root / "circle").symlink_to("circle")
    with pytest.raises(GenpoolError):
        pool.inputs().path(file)


def test_a_file_that_is_a_link_is_refused(pool: WrittenPool) -> None:
    pool.write("data.csv", ROWS)
    (pool.root / "linked.csv").symlink_to("data.csv")
    with pytest.raises(GenpoolError, match="links are not followed"):
        pool.inputs().rows("linked.csv")


def test_an_ancestors_text_is_its_own_text() -> None:
    assert AncestorText("a").text == "a"
    assert AncestorText("a") == "a"


def test_the_parent_is_known_by_both_its_names() -> None:
    context = child_context({"draft": "a", "essay": "b"}, "essay")
    assert {name: str(text) for name, text in context.items()} == {"draft": "a", "essay": "b", "parent": "b"}


def test_a_renderer_is_compiled_once(pool: WrittenPool) -> None:
    inputs = pool.inputs()
    assert inputs.renderer("draft", "plain") is inputs.renderer("draft", "plain")


@pytest.mark.parametrize("file", ["", ".", "./"])
def test_what_is_beside_the_pool_is_not_offered(pool: WrittenPool, file: str) -> None:
    (pool.root.parent / "beside.csv").write_text(ROWS)
    with pytest.raises(InvalidCombo, match="does not exist") as caught:
        pool.inputs().path(file)
    assert caught.value.hint is None
