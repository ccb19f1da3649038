"""Writes the golden pools: `python -m tests.golden.pools.write [folder]`.

The pools are committed, and are what the tests read. This says how each of their files came about, and what a migration
is to make of each generation: written by hand from docs/identity.md, docs/cohorts.md and docs/migration.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.golden.pools.making import (
    JUDGED,
    WRITER,
    Ids,
    Pool,
    daydreaming,
    score,
)
from tests.golden.pools.mixed import mixed

# --- opaque ids, and every defect that real stores were seen to have ----------------------------------


def opaque() -> Pool:
    pool = Pool(rows=12)
    sound = _sound_families(pool)
    _counts_from_0_and_from_1(pool)
    _older_keys(pool)
    _one_signature_twice(pool)
    _unusable_directories(pool)
    _unusable_records(pool)
    _lost_parents(pool, sound)
    _odd_memberships(pool, sound)
    return pool


def _sound_families(pool: Pool) -> Ids:
    """Two families through all three stages; the records say the same in several ways."""
    d1 = pool.legacy("draft", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", combo_id="row-0", **WRITER, replicate=1)
    d2 = pool.legacy("draft", "Gen-A7F3", combo_id="row-1", **WRITER, origin_cohort_id="spring")
    pool.told("no-replicate", "draft", d2)
    pool.told("upper-case", "draft", d2)
    n1 = pool.becomes("draft", d1, "row-0", "plain", "writer")
    n2 = pool.becomes("draft", d2, "row-1", "plain", "writer")

    e1 = pool.legacy(
        "essay", "e5d1c9a2-7b1e-4a30-8f00-000000000001", parent_gen_id=d1, essay_template="story", combo_id="row-0",
        replicate=1,
    )  # fmt: skip
    pool.told("old-key", "essay", e1)
    pool.told("repeated-combo", "essay", e1)
    e2 = pool.legacy(
        "essay", "ESSAY-2", parent_gen_id=d2, template_id="story", essay_template="story", model_id="writer"
    )  # a model in a stage that has no such axis is information
    pool.told("no-replicate", "essay", e2)
    pool.told("upper-case", "essay", e2)
    m1 = pool.becomes("essay", e1, n1, "story")
    m2 = pool.becomes("essay", e2, n2, "story")

    v1 = pool.legacy(
        "evaluation", "eval-1", parent_gen_id=e1, evaluation_template="clarity", model_id="judge", cohort_id="spring",
        combo_id="row-0", replicate=1, score=score(7),
    )  # fmt: skip
    pool.told("old-key", "evaluation", v1, v1, v1)
    pool.told("repeated-combo", "evaluation", v1)
    v2 = pool.legacy("evaluation", "eval-2", parent_gen_id=e1, **JUDGED, replicate="2", score=score(4.5))
    pool.told("text-replicate", "evaluation", v2)
    v3 = pool.legacy("evaluation", "eval-3", parent_gen_id=e2, **JUDGED, replicate=0, score=score(3))
    v4 = pool.legacy("evaluation", "eval-4", parent_gen_id=e2, **JUDGED, replicate=1, score=score(5))
    pool.told("odd-replicate", "evaluation", v3)
    pool.becomes("evaluation", v1, m1, "clarity", "judge")
    pool.becomes("evaluation", v2, m1, "clarity", "judge", slot=2)
    # of one age: in the order of the ids; 0 counts as none stated, so that eval-3 takes the lowest free one
    pool.becomes("evaluation", v3, m2, "clarity", "judge", slot=1)
    pool.becomes("evaluation", v4, m2, "clarity", "judge", slot=2)
    return {"d1": d1, "d2": d2, "e1": e1, "e2": e2, "v1": v1, "v2": v2, "v3": v3, "v4": v4}


def _counts_from_0_and_from_1(pool: Pool) -> None:
    """A family that one tool counted from 0 and a later one from 1: in the order of their making, 0 is no number."""
    family: dict[str, str] = {"combo_id": "row-3", **WRITER}
    zero, one, two, anew = (f"c0ffee0{n}-0000-4000-8000-00000000000{n}" for n in (3, 1, 2, 0))
    for hour, (gen_id, replicate) in enumerate(((zero, 0), (one, 1), (two, 2))):
        pool.legacy("draft", gen_id, **family, replicate=replicate, at=f"2024-01-01T1{hour}:00:00")
    pool.legacy("draft", anew, **family, replicate=1, at="2024-02-01T00:00:00+02:00")
    pool.told("odd-replicate", "draft", zero)
    pool.note("same-signature", f"gens/draft/{one}")
    ids = [pool.becomes("draft", gen_id, "row-3", "plain", "writer", slot=slot) for gen_id, slot in (
        (zero, 1), (one, 2), (two, 3), (anew, 4),
    )]  # fmt: skip
    below = pool.legacy("essay", "below-the-third", parent_gen_id=two, template_id="story", replicate=1, at=None)
    pool.becomes("essay", below, ids[2], "story")
    pool.rows("rows-autumn.csv", [3])
    pool.spec("autumn", "rows-autumn.csv", "template: [plain], model: [writer], replicates: 4")
    pool.membership(
        "autumn", [["stage", "gen_id"], *(["draft", one] for one in (zero, one, two, anew)), ["essay", "essay-orphan"]]
    )


def _older_keys(pool: Pool) -> None:
    gen_id = pool.legacy(
        "draft", "old.keys.1", combo_id="row-4", draft_template="plain", model_id="writer", cohort_id="winter",
        replicate=1,
    )  # fmt: skip
    pool.told("old-key", "draft", gen_id, gen_id, gen_id)
    pool.becomes("draft", gen_id, "row-4", "plain", "writer")
    both = pool.legacy(
        "draft", "two-origins", combo_id="row-7", **WRITER, cohort_id="winter", origin_cohort_id="autumn", replicate=1
    )
    pool.told("two-origins", "draft", both)
    pool.becomes("draft", both, "row-7", "plain", "writer")
    second = pool.legacy("draft", "only-the-second", combo_id="row-2", **WRITER, replicate="2")
    pool.told("text-replicate", "draft", second)
    pool.becomes("draft", second, "row-2", "plain", "writer", slot=2)


def _one_signature_twice(pool: Pool) -> None:
    for gen_id in ("twin-a", "twin-b"):
        pool.legacy("draft", gen_id, combo_id="row-5", **WRITER, replicate=1, text="The same bytes.\n")
    pool.note("identical-twins", "gens/draft/twin-b")
    pool.becomes("draft", "twin-a", "row-5", "plain", "writer")
    twin = pool.becomes("draft", "twin-b", "row-5", "plain", "writer", slot=2)
    pool.legacy("draft", "sibling-a", combo_id="row-6", **WRITER, replicate=1, at="2024-03-01T00:00:00Z")
    pool.legacy("draft", "sibling-b", combo_id="row-6", **WRITER, replicate=1, at="2024-02-01T00:00:00Z")
    pool.note("same-signature", "gens/draft/sibling-b")
    pool.becomes("draft", "sibling-b", "row-6", "plain", "writer")
    pool.becomes("draft", "sibling-a", "row-6", "plain", "writer", slot=2)
    pool.legacy("essay", "below-the-twin", parent_gen_id="twin-b", template_id="story", replicate=1)
    pool.becomes("essay", "below-the-twin", twin, "story")
    pool.rows("rows-winter.csv", [4, 5, 6])
    pool.spec("winter", "rows-winter.csv", "template: [plain], model: [writer]")
    pool.membership(
        "winter", [["stage", "gen_id"], ["draft", "old.keys.1"], ["draft", "twin-a"], ["draft", "sibling-b"]]
    )


def _unusable_directories(pool: Pool) -> None:
    record = {"combo_id": "row-8", **WRITER, "replicate": 1}
    pool.file("gens/draft/metadata-only/metadata.json", json.dumps(record))
    pool.stays("gens/draft/metadata-only", "metadata-only")
    pool.file("gens/draft/outputs-only/raw.txt", "what was said")
    pool.file("gens/draft/outputs-only/parsed.txt", "what was said")
    pool.stays("gens/draft/outputs-only", "outputs-only")
    pool.empty += ["gens/draft/empty", "gens/essay/empty"]
    pool.stays("gens/draft/empty", "empty-directory")
    pool.stays("gens/essay/empty", "empty-directory")
    pool.links["gens/draft/dangling"] = "../../../elsewhere/draft-9"
    pool.stays("gens/draft/dangling", "link")
    pool.file("gens/draft/a-file", "no directory\n")
    pool.stays("gens/draft/a-file", "foreign")
    pool.file("gens/draft/a name with spaces/parsed.txt", "x")
    pool.stays("gens/draft/a name with spaces", "foreign")
    pool.legacy("essay", "below-metadata-only", parent_gen_id="metadata-only", template_id="story", replicate=1)
    pool.stays("gens/essay/below-metadata-only", "parent-stays", usable=True)


def _unusable_records(pool: Pool) -> None:
    for gen_id, data, kind in (
        ("torn-json", b'{"combo_id": "row-0", "templ', "unreadable"),
        ("not-utf-8", b'{"combo_id": "row-0\xff"}', "unreadable"),
        ("a-list", b"[]", "unreadable"),
        ("newer", b'{"format": "genpool.generation/2"}', "newer-format"),
        ("stated-twice", b'{"combo_id": "row-9", "template_id": "plain", "template_id": "long"}', "disagreeing-keys"),
    ):
        pool.file(f"gens/draft/{gen_id}/metadata.json", data)
        pool.outputs(f"gens/draft/{gen_id}", "a text\n")
        pool.stays(f"gens/draft/{gen_id}", kind, at="metadata.json")
    for gen_id, keys, kind in (
        ("no-template", {"combo_id": "row-9", "llm_model_id": "writer"}, "missing-field"),
        ("blank-at-its-end", {"combo_id": "row-9", "template_id": "plain ", "llm_model_id": "writer"}, "invalid-value"),
        ("two-models", {"combo_id": "row-9", **WRITER, "model_id": "another"}, "disagreeing-keys"),
        ("moved-by-hand", {"combo_id": "row-9", **WRITER, "gen_id": "its-name-before"}, "disagreeing-keys"),
        ("of-another-stage", {"combo_id": "row-9", **WRITER, "stage": "essay"}, "disagreeing-keys"),
    ):
        record = {"replicate": 1, **keys}
        pool.file(f"gens/draft/{gen_id}/metadata.json", json.dumps(record))
        pool.outputs(f"gens/draft/{gen_id}", "a text\n")
        pool.stays(f"gens/draft/{gen_id}", kind, at="metadata.json")
    pool.legacy("essay", "below-torn-json", parent_gen_id="torn-json", template_id="story", replicate=1)
    pool.stays("gens/essay/below-torn-json", "parent-stays", usable=True)


def _lost_parents(pool: Pool, sound: Ids) -> None:
    pool.legacy("essay", "essay-orphan", parent_gen_id="gone-for-good", template_id="story", replicate=1)
    pool.stays("gens/essay/essay-orphan", "orphan", usable=True)
    pool.legacy("evaluation", "below-the-orphan", parent_gen_id="essay-orphan", **JUDGED, replicate=1)
    pool.stays("gens/evaluation/below-the-orphan", "parent-stays", usable=True)
    pool.legacy("essay", "essay-of-an-essay", parent_gen_id=sound["e1"], template_id="story", replicate=1)
    pool.stays("gens/essay/essay-of-an-essay", "parent-in-other-stage", usable=True)
    pool.legacy("evaluation", "judged-draft", parent_gen_id=sound["d1"], **JUDGED, replicate=1)
    pool.stays("gens/evaluation/judged-draft", "parent-in-other-stage", usable=True)


def _odd_memberships(pool: Pool, sound: Ids) -> None:
    """A wide membership that lists what is not there, with quotes and commas in it."""
    pool.rows("rows-spring.csv", [0, 1])
    judged = "evaluation: {template: [clarity], model: [judge], replicates: 2}"
    pool.spec("spring", "rows-spring.csv", "template: [plain], model: [writer]", "essay: {template: [story]}", judged)
    drafts = [["draft", sound[one], "plain", 'said "yes", twice', ""] for one in ("d1", "d2")]
    essays = [["essay", sound[f"e{n}"], "story", "", sound[f"d{n}"]] for n in (1, 2)]
    scores = [["evaluation", sound[f"v{n}"], "clarity", "", sound[f"e{1 + n // 3}"]] for n in (1, 2, 3, 4)]
    lost = [["draft", "never-was", "plain", "", ""], ["essay", "essay-orphan", "story", "", "gone-for-good"]]
    header = ["stage", "gen_id", "template_id", "remark", "parent_gen_id"]
    pool.membership("spring", [header, *drafts, *essays, *scores, *lost])
    pool.note("wide-membership", "cohorts/spring/membership.csv")
    pool.note("unknown-member", "cohorts/spring/membership.csv:10")
    pool.file("gens/notes/2024.md", "a stage that no pipeline has\n")
    pool.note("foreign", "gens/notes")


# --- the older scheme ---------------------------------------------------------------------------------


def daydreaming_0() -> Pool:
    """Ids of the scheme daydreaming/0. Two of them are of real pools (ids-daydreaming-0.json)."""
    pool = Pool(rows=4)
    made = "daydreaming/0"
    real = ("combo_v1_85128e4e5ef3", "creative-synthesis-v10", "gemini_25_pro")
    old = pool.legacy("draft", "d_5ezrffv9uf3lr37d", **_draft(*real), replicate=1)
    new = pool.becomes("draft", old, *real, was=made)
    essay = pool.legacy("essay", "e_sq5klak2lljyyom", parent_gen_id=old, template_id=real[1], replicate=1)
    pool.becomes("essay", essay, new, real[1], was=made)

    # the scheme folds case: three tasks of one hash, told apart by suffixes
    folded = []
    for collision, template in enumerate(("plain", "Plain", "PLAIN")):
        values = ("row-0", template, "writer")
        gen_id = daydreaming("draft", *values, 1, collision=collision)
        pool.legacy("draft", gen_id, **_draft(*values), replicate=1)
        folded.append((gen_id, pool.becomes("draft", gen_id, *values, was=made)))
    for old, new in folded:
        gen_id = daydreaming("essay", old, "story", 1)
        pool.legacy("essay", gen_id, parent_gen_id=old, template_id="story", replicate=1)
        essay = pool.becomes("essay", gen_id, new, "story", was=made)
        judged = daydreaming("evaluation", gen_id, "clarity", "judge", 1)
        pool.legacy("evaluation", judged, parent_gen_id=gen_id, **JUDGED, replicate=1, score=score(6))
        pool.becomes("evaluation", judged, essay, "clarity", "judge", was=made)

    # the same signature and the same hash: a collision with itself; the scheme's suffix is no replicate
    again = [daydreaming("draft", "row-1", "plain", "writer", 1, collision=n) for n in (0, 1)]
    for gen_id in again:
        pool.legacy("draft", gen_id, combo_id="row-1", **WRITER, replicate=1, text=f"Of {gen_id}.\n")
    first, second = sorted(again)
    pool.note("same-signature", f"gens/draft/{second}")
    pool.becomes("draft", first, "row-1", "plain", "writer", was=made)
    pool.becomes("draft", second, "row-1", "plain", "writer", slot=2, was=made)

    as_text = daydreaming("draft", "row-2", "plain", "writer", "2")
    pool.legacy("draft", as_text, combo_id="row-2", **WRITER, replicate="2")
    pool.told("text-replicate", "draft", as_text)
    pool.becomes("draft", as_text, "row-2", "plain", "writer", slot=2, was=made)

    # what looks like the scheme and is not: a suffix that was not hashed, and another task's id
    looks = daydreaming("draft", "row-3", "plain", "writer", 1) + "-1"
    pool.legacy("draft", looks, combo_id="row-3", **WRITER, replicate=1)
    pool.becomes("draft", looks, "row-3", "plain", "writer")
    other = "d_3cxfemmhegfzaguo"
    pool.legacy("draft", other, combo_id="row-3", **WRITER, replicate=2)
    pool.becomes("draft", other, "row-3", "plain", "writer", slot=2)

    pool.rows("rows-dream.csv", [0])
    pool.spec(
        "dream", "rows-dream.csv", "template: [plain], model: [writer]", "essay: {template: [story]}",
        "evaluation: {template: [clarity], model: [judge], replicates: 1}",
    )  # fmt: skip
    draft = folded[0][0]
    essay = daydreaming("essay", draft, "story", 1)
    pool.membership("dream", [
        ["stage", "gen_id", "combo_id", "template_id", "llm_model_id", "parent_gen_id", "replicate"],
        ["draft", draft, "row-0", "plain", "writer", "", "1"],
        ["essay", essay, "", "story", "", draft, "1"],
        ["evaluation", daydreaming("evaluation", essay, "clarity", "judge", 1), "", "clarity", "judge", essay, "1"],
    ])  # fmt: skip
    return pool


def _draft(combo: str, template: str, model: str) -> dict[str, str]:
    return {"combo_id": combo, "template_id": template, "llm_model_id": model}


# --- already right ------------------------------------------------------------------------------------


def already_right() -> Pool:
    pool = Pool(rows=2)
    rows = [["stage", "gen_id"]]
    for row in ("row-0", "row-1"):
        draft = pool.keeps("draft", pool.sealed("draft", row, "plain", "writer"))
        essay = pool.keeps("essay", pool.sealed("essay", draft, "story"))
        judged = [pool.sealed("evaluation", essay, "clarity", "judge", replicate=n, score=score(n)) for n in (1, 2)]
        rows += [["draft", draft], ["essay", essay], *(["evaluation", pool.keeps("evaluation", one)] for one in judged)]
    pool.spec(
        "spring", "rows.csv", "template: [plain], model: [writer]", "essay: {template: [story]}",
        "evaluation: {template: [clarity], model: [judge], replicates: 2}",
    )  # fmt: skip
    pool.membership("spring", rows)
    return pool


POOLS = {"opaque": opaque, "daydreaming-0": daydreaming_0, "mixed": mixed, "right": already_right}


def main(folder: Path) -> None:
    """Write every pool below a folder."""
    for name, make in POOLS.items():
        make().write(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
