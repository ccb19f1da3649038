"""`genpool ls` with filters, as a user types it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from genpool.pool import Pool
from tests.small_pools import make_pool, whole_cohort, write_rows, write_spec

from .conftest import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Type


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Cohort `c` of rows 0 and 1, all stages; `other` of rows 0 and 2 and two draft templates, stories only."""
    pool = make_pool(tmp_path / "pool")
    whole_cohort(pool.root)
    write_rows(pool.root, [0, 2], "others.csv")
    drafts = "template: [plain, long], model: [writer]"
    write_spec(pool.root, "other", rows="others.csv", draft=drafts, essay="template: [story]")
    for cohort in ("c", "other"):
        assert pool.run(cohort).complete
    return pool.root


def listed(genpool: Type, *words: str) -> list[dict[str, object]]:
    said = genpool("ls", *words, "--json")
    assert said.code == 0, said.out
    found: list[dict[str, object]] = said.json["members" if "members" in said.json else "generations"]
    return found


def test_conditions_are_anded_and_levels_are_alternatives(genpool: Type) -> None:
    templates = ("--where", "template=story", "--where", "template=long")
    assert len(listed(genpool, "other", *templates)) == 4 + 2
    assert listed(genpool, "other", *templates) == listed(genpool, "other", "--where", "template=long,story")
    below = listed(genpool, "other", *templates, "--where", "draft.template=long")
    assert [(one["stage"], one["template_id"]) for one in below] == [
        ("draft", "long"),
        ("draft", "long"),
        ("essay", "story"),
        ("essay", "story"),
    ]
    (only,) = listed(genpool, "other", *templates[2:], "--where", "draft.combo=row-2", "--stage", "draft")
    assert (only["combo_id"], only["template_id"]) == ("row-2", "long")


def test_an_origin_and_a_state_narrow_it_further(genpool: Type) -> None:
    by_c = listed(genpool, "other", "--origin", "c")
    assert {(one["stage"], one["state"], one["origin_cohort_id"]) for one in by_c} == {
        ("draft", "reused", "c"),
        ("essay", "reused", "c"),
    }
    assert by_c == listed(genpool, "other", "--state", "reused")
    assert listed(genpool, "other", "--origin", "c", "--state", "own") == []
    assert len(listed(genpool, "other", "--origin", "c,other")) == 8


def test_without_a_cohort_a_filter_lists_the_whole_pool(genpool: Type, root: Path) -> None:
    stories = listed(genpool, "--where", "template=story")
    assert len(stories) == len(list((root / "gens/essay").iterdir())) - 2  # but for the two copies
    assert {one["origin_cohort_id"] for one in stories} == {"c", "other"}
    assert len(listed(genpool, "--stage", "draft")) == len(list((root / "gens/draft").iterdir()))
    table = genpool("ls", "--origin", "other", "--where", "draft.template=long").out.splitlines()
    assert table[0].split() == ["gen_id", "origin", "choices", "replicate", "from", "score"]
    assert [line.split()[1] for line in table[2:]] == ["other"] * 4
    assert genpool("ls").out.split()[:2] == ["cohort", "members"]


_WRONG_IN_THEMSELVES = {"'template' is not FIELD=LEVEL", "'template' is given no level", "is not a list of levels"}


@pytest.mark.parametrize("words", [(), ("other",)])
@pytest.mark.parametrize(
    ("typed", "said", "hint"),
    [
        (("--where", "template=stori"), "nothing here has template = 'stori'", "did you mean 'story'?"),
        (("--where", "temlpate=story"), "no stage has a field 'temlpate'", "did you mean 'template'?"),
        (("--stage", "essay", "--where", "combo=row-0"), "stage 'essay' has no field", "did you mean 'draft.combo'?"),
        (("--where", "template"), "'template' is not FIELD=LEVEL", "--help"),
        (("--where", "template="), "'template' is given no level", "template=first,second"),
        (("--where", 'template="story'), "is not a list of levels", "--help"),
        (("--stage", "essays"), "no stage is named", "did you mean 'essay'?"),
        (("--origin", "othr"), "no cohort is named 'othr'", "did you mean 'other'?"),
    ],
)
def test_what_nothing_has_is_an_error_with_the_nearest(
    genpool: Type, words: tuple[str, ...], typed: tuple[str, ...], said: str, hint: str
) -> None:
    refused = genpool("ls", *words, *typed)
    assert refused.code == (2 if said in _WRONG_IN_THEMSELVES else 1), "2 is what is wrong whatever the pool holds"
    assert refused.out == ""
    assert said in refused.err
    assert hint in refused.err


def test_a_level_with_a_comma_is_typed_in_quotation_marks(genpool: Type, root: Path) -> None:
    (root / "topics.csv").write_text('id,topic\n"a, b",one\n"say ""c""",two\n')
    write_spec(root, "comma", rows="topics.csv")
    Pool.open(root).run("comma")
    assert [one["combo_id"] for one in listed(genpool, "comma", "--where", 'combo="a, b"')] == ["a, b"]
    assert len(listed(genpool, "--where", 'draft.combo=row-0, "a, b","say ""c"""', "--stage", "draft")) == 4
    assert "nothing here has combo = 'a'" in genpool("ls", "comma", "--where", "combo=a, b").err


def test_what_cannot_be_told_is_counted(genpool: Type, root: Path) -> None:
    damaged = next((root / "gens/draft").iterdir())
    replace_file(damaged / "metadata.json", "{")
    said = genpool("ls", "--stage", "draft")
    assert said.code == 0
    assert damaged.name not in said.out
    assert said.err.startswith("1 generation left out")
    assert genpool("ls", "--stage", "draft", "--json").json["unread"] == [damaged.name]


def test_a_damaged_member_shows_no_none(genpool: Type, root: Path) -> None:
    (min((root / "gens/draft").iterdir()) / "metadata.json").write_text("{")
    shutil.rmtree(root / ".genpool")
    for manifest in root.glob("cohorts/*/manifest.json"):
        manifest.unlink()
    said = genpool("ls", "c", "--stage", "draft").out
    assert "unusable" in said
    assert "None" not in said
