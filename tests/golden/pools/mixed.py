"""The golden pool in which some ids are right and some are not, with every book that a pool has; see `write.py`."""

from __future__ import annotations

import json

from tests.golden.pools.making import WRITER, Ids, Pool, csv_text, json_text, right, score, self_sealed, sha256


def mixed() -> Pool:
    """Right and legacy generations beside and below each other, shared by cohorts, with every book that a pool has."""
    pool = Pool(rows=8)
    ids = _mixed_families(pool)
    _mixed_slots(pool)
    _names_that_change_places(pool)
    _mixed_damage(pool)
    _mixed_attempts(pool, ids)
    _mixed_trash(pool)
    _mixed_books(pool, ids)
    return pool


def _mixed_families(pool: Pool) -> Ids:
    """Row 0 begins with a legacy draft, and all below it bears an id made from that; row 1 is right."""
    old = pool.legacy("draft", "8d7e0a44b1", combo_id="row-0", **WRITER, replicate=1, origin_cohort_id="spring")
    ids = {"draft": old, "draft'": pool.becomes("draft", old, "row-0", "plain", "writer")}
    sound = pool.keeps("draft", pool.sealed("draft", "row-1", "plain", "writer", note="naïve ☃ \u2028 text", half=0.5))
    for draft, new in ((old, ids["draft'"]), (sound, sound)):
        for template in ("story", "same"):
            mode = {"mode": "copy"} if template == "same" else {}
            essay = pool.sealed("essay", draft, template, **mode)
            judged = pool.sealed("evaluation", essay, "clarity", "judge", score=score(4.5))
            if draft == sound:
                pool.keeps("essay", essay)
                pool.keeps("evaluation", judged)
                continue
            moved = pool.becomes("essay", essay, new, template, was="parent")
            pool.becomes("evaluation", judged, moved, "clarity", "judge", was="parent")
            ids |= {template: essay, f"{template}'": moved, f"judged {template}": judged}
    return {**ids, "sound": sound}


def _mixed_slots(pool: Pool) -> None:
    """A family with a right generation, one whose slot legacy.csv has, and one whose own number is taken."""
    pool.keeps("draft", pool.sealed("draft", "row-2", "plain", "writer", replicate=2))
    pool.legacy("draft", "family-x", combo_id="row-2", **WRITER, replicate=2)
    pool.legacy("draft", "family-y", combo_id="row-2", **WRITER, replicate=1)
    pool.becomes("draft", "family-x", "row-2", "plain", "writer", slot=1)
    new = pool.becomes("draft", "family-y", "row-2", "plain", "writer", slot=3)
    pool.note("same-signature", f"gens/draft/{'family-x'}")
    pool.legacy("essay", "below-y", parent_gen_id="family-y", template_id="story", replicate=1)
    pool.becomes("essay", "below-y", new, "story")
    unsealed = right("draft", "row-3", "plain", "writer")
    pool.legacy("draft", unsealed, combo_id="row-3", **WRITER, replicate=1)
    pool.becomes("draft", unsealed, "row-3", "plain", "writer", was="seal")


def _names_that_change_places(pool: Pool) -> None:
    """Two generations each under the id that is the other's, and an essay below each."""
    one, two = (right("draft", "row-4", "plain", "writer", replicate=n) for n in (1, 2))
    for gen_id, replicate in ((one, 2), (two, 1)):
        pool.legacy("draft", gen_id, combo_id="row-4", **WRITER, replicate=replicate)
        new = pool.becomes("draft", gen_id, "row-4", "plain", "writer", slot=replicate)
        essay = pool.sealed("essay", gen_id, "story")
        pool.becomes("essay", essay, new, "story", was="parent")


def _mixed_damage(pool: Pool) -> None:
    """A record of our own that does not say what its name says, resealed by hand; what descends from it stays."""
    gen_id = right("draft", "row-5", "plain", "writer")
    record = {"format": "genpool.generation/1", "gen_id": gen_id, "id_scheme": "genpool/1", "stage": "draft"}
    edited = self_sealed(
        {**record, "combo_id": "row-5", "template_id": "long", "llm_model_id": "writer", "replicate": 1}
    )
    pool.file(f"gens/draft/{gen_id}/metadata.json", json_text(edited))
    pool.outputs(f"gens/draft/{gen_id}", "a text\n")
    pool.stays(f"gens/draft/{gen_id}", "corrupt", at="metadata.json")
    essay = pool.sealed("essay", gen_id, "story")
    pool.stays(f"gens/essay/{essay}", "parent-stays", usable=True)
    torn = right("draft", "row-6", "plain", "writer")
    whole = json_text(self_sealed({**record, "gen_id": torn, "combo_id": "row-6", **WRITER, "replicate": 1}))
    pool.file(f"gens/draft/{torn}/metadata.json", whole.replace("row-6", "row-7"))
    pool.outputs(f"gens/draft/{torn}", "a text\n")
    pool.stays(f"gens/draft/{torn}", "corrupt", at="metadata.json")
    # what would get the place of something that stays stays too
    pool.legacy("draft", "wants-a-place", combo_id="row-6", **WRITER, replicate=1)
    pool.stays("gens/draft/wants-a-place", "place-taken", usable=True)


def _mixed_attempts(pool: Pool, ids: Ids) -> None:
    reason = {"kind": "unparseable", "message": "no JSON"}
    third = pool.sealed(
        "evaluation", ids["story"], "clarity", "judge", replicate=3, place="attempts", attempt=1, reason=reason
    )
    again = pool.sealed(
        "evaluation", ids["story"], "clarity", "judge", replicate=3, place="attempts", attempt=2, reason=reason
    )
    assert third == again
    pool.attempts[f"attempts/evaluation/{third}"] = right("evaluation", ids["story'"], "clarity", "judge", replicate=3)
    pool.member("evaluation", third, pool.attempts[f"attempts/evaluation/{third}"])
    stays = pool.sealed("draft", "row-7", "plain", "writer", place="attempts", attempt=1, reason=reason)
    pool.attempts[f"attempts/draft/{stays}"] = stays
    pool.file(f"attempts/draft/{ids['draft']}/1/metadata.json", json.dumps({"why": "cut off", "gen_id": ids["draft"]}))
    pool.file(f"attempts/draft/{ids['draft']}/1/raw.txt", "cut of")
    pool.attempts[f"attempts/draft/{ids['draft']}"] = ids["draft'"]
    pool.file("attempts/draft/mystery/1/raw.txt", "of a task that nobody can tell")
    pool.attempts["attempts/draft/mystery"] = "mystery"
    pool.note("unknown-task", "attempts/draft/mystery")


TRASH = "trash/trash-20240601T000000Z-a1b2c3"


def _mixed_trash(pool: Pool) -> None:
    """A cohort that was purged: a legacy draft, the essay below it, attempts at its judgement."""
    pool.legacy("draft", "in-the-trash", place=f"{TRASH}/gens", combo_id="row-7", **WRITER, replicate=1)
    draft = pool.becomes("draft", "in-the-trash", "row-7", "plain", "writer", place=f"{TRASH}/gens")
    essay = pool.sealed("essay", "in-the-trash", "story", place=f"{TRASH}/gens")
    moved = pool.becomes("essay", essay, draft, "story", was="parent", place=f"{TRASH}/gens")
    tried = pool.sealed(
        "evaluation", essay, "clarity", "judge", place=f"{TRASH}/attempts", attempt=1,
        reason={"kind": "truncated", "message": "cut off"},
    )  # fmt: skip
    pool.attempts[f"{TRASH}/attempts/evaluation/{tried}"] = right("evaluation", moved, "clarity", "judge")
    pool.file(f"{TRASH}/cohorts/gone/cohort.yaml", "format: genpool.cohort/1\ndescription: it was purged\n")
    pool.book(
        f"{TRASH}/cohorts/gone/membership.csv",
        csv_text([["stage", "gen_id"], ["draft", "in-the-trash"], ["essay", essay]]),
        csv_text([["stage", "gen_id"], ["draft", draft], ["essay", moved]]),
    )

    def record(*moves: str) -> str:
        head = {"format": "genpool.trash/1", "trash_id": TRASH.partition("/")[2], "verb": "purge", "cohort": "gone"}
        moved = [{"from": one, "to": f"{TRASH}/{one}"} for one in moves]
        return json_text({**head, "when": "2024-06-01T00:00:00.000Z", "state": "done", "moves": moved})

    pool.book(
        f"{TRASH}/trash.json",
        record(f"gens/essay/{essay}", "gens/draft/in-the-trash", f"attempts/evaluation/{tried}", "cohorts/gone"),
        record(
            f"gens/essay/{moved}",
            f"gens/draft/{draft}",
            f"attempts/evaluation/{pool.attempts[f'{TRASH}/attempts/evaluation/{tried}']}",
            "cohorts/gone",
        ),
    )


def _mixed_books(pool: Pool, ids: Ids) -> None:
    slots = "stage,gen_id,replicate,new_gen_id\ndraft,family-y,3,\n"
    pool.file("legacy.csv", slots)
    pool.book("drift.csv", _accepted(ids["draft"]), _accepted(ids["draft'"]))
    _ledger(pool, ids)
    stages = ("essay: {template: [story, same]}", "evaluation: {template: [clarity], model: [judge], replicates: 1}")
    pool.rows("rows-shared.csv", [0, 1])
    pool.spec("spring", "rows-shared.csv", "template: [plain], model: [writer]", *stages)
    pool.spec("summer", "rows-shared.csv", "template: [plain], model: [writer]", stages[0])
    sound = {template: right("essay", ids["sound"], template) for template in ("story", "same")}
    essays = [["essay", ids["story"], ids["draft"], ""], ["essay", ids["same"], ids["draft"], ""]]
    essays += [["essay", one, ids["sound"], ""] for one in sound.values()]
    drafts = [["draft", ids["draft"], "", ""], ["draft", ids["sound"], "", ""]]
    judged = [["evaluation", right("evaluation", one[1], "clarity", "judge"), one[1], ""] for one in essays]
    third = right("evaluation", ids["story"], "clarity", "judge", replicate=3)
    lists = [*drafts, *essays, *judged, ["evaluation", third, ids["story"], "3"]]
    header = ["stage", "gen_id", "parent_gen_id", "of-my-own"]
    after = pool.membership("spring", [header, *lists])
    pool.note("wide-membership", "cohorts/spring/membership.csv")
    _adopted(pool, "spring", after, [])
    after = pool.membership("summer", [["stage", "gen_id"], *(row[:2] for row in (*drafts, *essays))])
    _adopted(pool, "summer", after, [ids["story"]])
    pool.book("cohorts/spring/manifest.json", "{}\n", None)


def _accepted(draft: str) -> str:
    at = "2025-01-02T00:00:00Z"
    rows = [["kind", "name", "stored", "present", "accepted_at"], ["parent", draft, "aa", "bb", at]]
    return csv_text([*rows, ["template", "draft/plain", "cc", "dd", at]])


def _adopted(pool: Pool, cohort: str, after: str, roots: list[str]) -> None:
    """Write an adopted.json that vouches for a membership."""
    before = pool.files[f"cohorts/{cohort}/membership.csv"]
    value = {"format": "genpool.adopted/1", "cohort_id": cohort, "adopted_at": "2025-01-01T00:00:00.000Z", "from": None}
    value |= {"spec": "0" * 64, "catalogs": {}}
    pool.book(
        f"cohorts/{cohort}/adopted.json",
        json_text({**value, "membership": sha256(before), "roots": roots}),
        json_text({
            **value, "membership": sha256(after.encode()), "roots": [pool.became("essay", one) for one in roots],
        }),
    )  # fmt: skip


def _ledger(pool: Pool, ids: Ids) -> None:
    """The account of the run that made row 0; its last line was torn by a crash."""
    tried = right("evaluation", ids["story"], "clarity", "judge", replicate=3)

    def lines(essay: str, attempt: str) -> str:
        at = {"at": "2025-01-01T00:00:00.000Z"}
        head = {"format": "genpool.ledger/1", "run_id": "run-20250101T000000Z-abcdef", "cohort_id": "spring", **at}
        entries = [
            {**head, "pid": 1, "host": "elsewhere"},
            {"intent": 1, "stage": "essay", "gen_id": essay, "model": "writer", "worst_price": None, **at},
            {"intent": 2, "stage": "evaluation", "gen_id": attempt, "model": "judge", "worst_price": None, **at},
            {"settled": 1, "gen_id": essay, "outcome": "committed", "cost": None, **at},
            {"settled": 2, "gen_id": attempt, "outcome": "attempt", "cost": None, **at},
        ]
        return "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in entries) + '{"intent":3,"stage":"es'

    pool.book(
        "ledger/run-20250101T000000Z-abcdef.jsonl",
        lines(ids["story"], tried),
        lines(ids["story'"], pool.became("evaluation", tried)),
    )
