"""Forks: the file that has the fingerprint of an old text, what would be left behind, and ids that became ids again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genpool.aliases import read_aliases
from genpool.canonical import sha256
from genpool.drift import template_bytes
from genpool.errors import InputError, PoolError
from genpool.layout import PoolLayout
from genpool.migration.forking import old_file
from genpool.migration.migrations import Migrations
from genpool.migration.targets import change_to
from genpool.pool import Pool
from genpool.prompts import parse_template, read_template
from tests.legacy_pools import write_legacy
from tests.small_pools import ESSAYS, generations, make_pool, metadata, models, whole_cohort, write_spec

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [
    "Write.\n",
    "---\nmode: llm\n---\nWrite.",
    "---\n---\n---\nno front matter, and hyphens in the text\n",
    "---\n---\n\ufeffa mark of byte order in the text",
    '---\nsystem: |\n  You: "are" # brief\n  and \\ kind\nmax_tokens: 30\n---\r\nWrite\r\n--- \r\n',
    "---\nparser: json_score\nscale: [-1.5, 1e3]\n---\n{{ essay.text }}\n",
    "---\nsystem: 'yes'\nformat: genpool.template/1\n---\nöäü 🙂 \u2028 {% include \"style.j2\" %}",
    '---\nsystem: "a\\tb\\x7f\\u0085c"\n---\nx',
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_file_of_an_old_text_has_its_fingerprint(tmp_path: Path, text: str) -> None:
    layout = make_pool(tmp_path / "pool").layout
    (layout.templates / "style.j2").write_text("Be brief.")
    then = template_bytes(parse_template(layout, "draft", "plain", text))
    data = old_file(layout, "draft", "again", sha256(then), lambda _: then)
    (layout.templates / "draft/again.j2").write_bytes(data)
    assert template_bytes(read_template(layout, "draft", "again")) == then


def test_a_source_that_no_file_gives_is_refused(tmp_path: Path) -> None:
    layout = make_pool(tmp_path / "pool").layout
    then = b'{"front":{"parser":"gone"},"includes":{},"source":"x"}'
    with pytest.raises(InputError, match="cannot be a file of today"):
        old_file(layout, "draft", "again", sha256(then), lambda _: then)
    then = b'{"front":{},"includes":{"draft/plain.j2":"x"},"source":"x"}'
    with pytest.raises(InputError, match=r"includes 'draft/plain\.j2'"):
        old_file(layout, "draft", "again", sha256(then), lambda _: then)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pool with a cohort whose draft template was changed since."""
    root = make_pool(tmp_path / "pool").root
    whole_cohort(root)
    run(root)
    return root


def run(root: Path) -> None:
    Pool.open(root).run("c", models=models())


def edit(root: Path) -> None:
    path = root / "templates/draft/plain.j2"
    path.write_text(path.read_text().replace("Write about", "Write on"))


def fork(root: Path) -> dict[str, str]:
    """Fork the draft template; return old ids to new ones."""
    pool = Pool.open(root)
    planned = pool.plan_fork("c", "plain-1")
    assert planned is not None
    assert pool.fork(planned).is_right
    return {row.old_id: row.new_id for row in planned.planned.rows}


def test_what_a_plan_prices_is_what_gets_another_id(root: Path) -> None:
    edit(root)
    planned = Pool.open(root).plan_fork("c", "plain-1")
    assert planned is not None
    assert {(row.stage, row.old_id) for row in planned.planned.rows if row.place == "gens"} == set(planned.anew.goes)
    assert set(planned.anew.goes) == generations(root)


def test_a_record_of_another_tool_that_could_not_follow_is_refused(root: Path) -> None:
    edit(root)
    draft = next(gen_id for stage, gen_id in generations(root) if stage == "draft")
    write_legacy(root, "essay", "old-essay", draft, "letter", replicate=1)
    with pytest.raises(PoolError, match="gens/essay/old-essay starts from"):
        Pool.open(root).plan_fork("c", "plain-1")


def test_other_records_of_another_tool_stay_as_they_are(root: Path) -> None:
    edit(root)
    write_legacy(root, "draft", "old-1", "row-1", "long", "writer", replicate=1)
    write_legacy(root, "essay", "old-essay", "old-1", "story", replicate=1)
    before = metadata(root, "essay", "old-essay")
    assert "old-essay" not in fork(root)
    assert metadata(root, "essay", "old-essay") == before


def test_an_id_of_before_an_earlier_migration_leads_to_the_old_text_for_good(root: Path) -> None:
    earlier = {
        gen_id: metadata(root, "draft", gen_id)["created_at"] for stage, gen_id in generations(root) if stage == "draft"
    }
    at = Migrations(PoolLayout(root))
    plan = at.write(at.plan(*change_to(PoolLayout(root), salt="pepper")))
    at.apply(plan.migration_id)
    at.close(plan.migration_id, unverified=True)
    edit(root)
    became = fork(root)
    run(root)
    for gen_id, made in earlier.items():
        now = read_aliases(PoolLayout(root)).resolve("draft", gen_id)
        assert now in became.values()
        assert metadata(root, "draft", now)["created_at"] == made


def test_what_the_trash_has_under_an_old_id_goes_along(root: Path) -> None:
    draft = next(gen_id for stage, gen_id in sorted(generations(root)) if stage == "draft")
    edit(root)
    pool = Pool.open(root)
    _, _, trashed = pool.regenerate("c")
    assert trashed is not None
    run(root)
    path = root / "templates/draft/plain.j2"
    path.write_text(path.read_text().replace("Write on", "Sing of"))
    became = fork(root)
    assert (root / "trash" / trashed.trash_id / "gens/draft" / became[draft]).is_dir()
    assert not [one for one in Pool.open(root).examine().findings if not one.is_note]
    migration_id = Migrations(PoolLayout(root)).all()[0].migration_id
    Migrations(PoolLayout(root)).roll_back(migration_id)
    assert (root / "trash" / trashed.trash_id / "gens/draft" / draft).is_dir()


def test_a_spec_may_have_both_names(root: Path) -> None:
    edit(root)
    fork(root)
    write_spec(root, draft="template: [plain, plain-1], model: [writer]", essay=ESSAYS)
    plan = Pool.open(root).plan("c")
    assert (plan.stage("draft").row("c")["reused"], plan.stage("draft").row("c")["to make"]) == (2, 2)
    assert not plan.drift
