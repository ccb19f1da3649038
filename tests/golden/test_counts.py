"""The numbers that `genpool migrate` tells of the golden pools: parts add up, and every verb tells the same ones."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from genpool.canonical import canonical_json, sha256
from genpool.cli.main import main
from tests.golden.pools.write import POOLS
from tests.golden.test_pools import LEGACY, Golden, copied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Type = Callable[..., str]
    Counts = Mapping[str, Mapping[str, int]]

TOTALS = {"entries", "lines", "changed", "rewritten"}
LINE = re.compile(r"(gens|trash|attempts|members|ids|files): ([\d,]+) (\w+) = (.+)")
ONE = {"entry": "entries", "line": "lines", "restored": "rewritten"}


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Type:
    """Type `genpool migrate …` at a pool; return what it prints."""

    def run(golden: Golden, *words: str) -> str:
        capsys.readouterr()
        code = main(["--pool", str(golden.root), "migrate", *words])
        said = capsys.readouterr()
        assert code in {0, 3}, (words, said)
        return said.out

    return run


def last_json(text: str) -> dict[str, Any]:
    """Return the document that a command ends with: the only one, or the last after a line a batch."""
    found: dict[str, Any] = {}
    rest = text
    while rest := rest.lstrip():
        found, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:]
    return found


def printed(text: str) -> dict[str, dict[str, int]]:
    """Return the numbers of a text: group to name to number."""
    found = {}
    for line in text.splitlines():
        if match := LINE.fullmatch(line):
            group, total, name, parts = match.groups()
            assert group not in found, line
            numbers = {ONE.get(name, name): int(total.replace(",", ""))}
            for part in parts.split(" + "):
                label, _, count = part.rpartition(" ")
                numbers[label.replace(" ", "_")] = int(count.replace(",", ""))
            found[group] = numbers
    return found


def that_are_printed(counts: Counts) -> dict[str, Mapping[str, int]]:
    """Return the numbers that a text has: groups of something, stages in their table."""
    return {group: numbers for group, numbers in counts.items() if "/" not in group and any(map(numbers.get, numbers))}


def check_sums(counts: Counts) -> None:
    for group, numbers in counts.items():
        totals = numbers.keys() & TOTALS
        assert len(totals) == 1, group
        total = numbers[totals.pop()]
        assert total == sum(numbers.values()) - total, (group, numbers)
        assert min(numbers.values()) >= 0, (group, numbers)


def tables(text: str) -> list[list[dict[str, str]]]:
    """Return the tables of a text: rows of heading to cell."""
    found = []
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if line.startswith("─"):
            head = re.split(r" {2,}", lines[at - 1])
            end = lines.index("", at)
            found.append([dict(zip(head, re.split(r" {2,}", one), strict=True)) for one in lines[at + 1 : end]])
    return found


# --- a plan -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POOLS)
def test_the_parts_of_a_plan_add_up_to_what_is_there(name: str, tmp_path: Path, typed: Type) -> None:
    golden = copied(name, tmp_path)
    plan = json.loads(typed(golden, "plan", "--json"))
    counts, stages = plan["counts"], plan["stages"]
    check_sums(counts)
    for stage, found in stages.items():
        of = counts[f"gens/{stage}"]
        there = len(list((golden.root / "gens" / stage).iterdir()))
        made = sum(count for what, count in found.items() if what not in {"to change", "stays"})
        assert of["entries"] == made == there, stage
        assert of["another_id"] + of["sealed"] == found.get("to change", 0), stage
        assert of["stays"] == found.get("stays", 0) + found.get("unusable", 0), stage
    for part, count in counts["gens"].items():
        assert count == sum(counts[f"gens/{stage}"][part] for stage in stages), part
    for group, below in (("trash", "trash/*/gens/*/*"), ("attempts", "attempts/*/*")):
        trashed = len(list(golden.root.glob("trash/*/attempts/*/*"))) if group == "attempts" else 0
        assert counts[group]["entries"] == len(list(golden.root.glob(below))) + trashed, group


@pytest.mark.parametrize("name", LEGACY)
def test_a_plan_says_as_many_as_its_tables_list(name: str, tmp_path: Path, typed: Type) -> None:
    golden = copied(name, tmp_path)
    plan = json.loads(typed(golden, "plan", "--json"))
    counts = plan["counts"]
    with (golden.root / "migrations" / plan["migration_id"] / "mapping.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    moves = [row for row in rows if row["old_id"] != row["new_id"]]
    assert counts["ids"]["changed"] == len({(row["stage"], row["old_id"]) for row in moves})
    assert counts["ids"]["gens"] == counts["gens"]["another_id"] == sum(row["place"] == "gens" for row in moves)
    assert counts["gens"]["sealed"] == sum(row["place"] == "gens" for row in rows) - counts["gens"]["another_id"]
    assert counts["attempts"]["another_id"] == sum(row["place"].endswith("attempts") for row in moves)
    assert counts["files"]["records"] == sum(row["place"].endswith("gens") for row in rows)
    assert counts["files"]["others"] == len(plan["books"])
    cohorts = golden.expected["cohorts"].values()
    assert counts["members"]["lines"] == sum(one["members"] for one in cohorts)
    assert counts["members"]["another_id"] == sum(one["renamed"] for one in cohorts)
    stays = {path for path in golden.staying if len(path.split("/")) > 2}  # a folder of no stage is no entry
    assert counts["gens"]["stays"] + counts["trash"]["stays"] + counts["attempts"]["stays"] == len(stays)


@pytest.mark.parametrize("name", POOLS)
def test_what_a_plan_prints_is_what_its_json_says(name: str, tmp_path: Path, typed: Type) -> None:
    golden = copied(name, tmp_path)
    plan, text = json.loads(typed(golden, "plan", "--json")), typed(golden, "plan")
    counts = plan["counts"]
    assert printed(text) == that_are_printed(counts)
    made, becomes = tables(text)
    for table in (made, becomes):
        for row in table:
            stage, entries, *parts = row.values()
            group = "gens" if stage == "total" else f"gens/{stage}"
            assert int(entries) == sum(map(int, parts)) == counts[group]["entries"], row
    for row in becomes:
        group = counts["gens" if row["stage"] == "total" else f"gens/{row['stage']}"]
        assert {label.replace(" ", "_"): int(cell) for label, cell in row.items() if label != "stage"} == group


@pytest.mark.parametrize("name", LEGACY)
def test_a_list_has_as_many_lines_as_its_heading_says(name: str, tmp_path: Path, typed: Type) -> None:
    golden = copied(name, tmp_path)
    plan, text = json.loads(typed(golden, "plan", "--json")), typed(golden, "plan")
    notes = sum(not one["blocks"] for one in plan["findings"])
    stays = sum(plan["counts"][group]["stays"] for group in ("gens", "trash", "attempts"))
    for word, heading, count in (("stays", r"stays: (\d+) entr\w+", stays), ("note", r"noted: (\d+) finding", notes)):
        listed = len(re.findall(rf"^{word}: [a-z]+[/.].*\[.*\]$", text, re.MULTILINE))
        assert sum(map(int, re.findall(heading, text))) == count, word
        strays = sum(map(int, re.findall(r", and (\d+) folder", text))) if word == "stays" else 0
        first, line = next(((one, one) for one in text.splitlines() if re.match(heading, one)), ("", ""))
        cut = re.search(r"; (\d+) of (\d+) are printed, defects.csv lists all", line)
        assert bool(first) == bool(count)
        assert listed == (int(cut[1]) if cut else count + strays), word
        assert not cut or int(cut[2]) == count + strays, word


# --- the other verbs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEGACY)
def test_every_verb_prints_the_same_numbers(name: str, tmp_path: Path, typed: Type) -> None:
    golden = copied(name, tmp_path)
    plan = printed(typed(golden, "plan"))
    verbs = ("rehearse", "apply", "verify", "status", "rollback", "status", "apply", "verify", "close", "status")
    for verb in verbs:
        assert printed(typed(golden, verb)) == plan, verb
    closed = printed(typed(golden, "verify"))
    assert closed == {group: numbers for group, numbers in plan.items() if group != "files"}


@pytest.mark.parametrize("name", LEGACY)
def test_every_verb_has_the_same_numbers_in_its_json(name: str, tmp_path: Path, typed: Type) -> None:
    golden = copied(name, tmp_path)
    counts = last_json(typed(golden, "plan", "--json"))["counts"]
    before = (golden.root / "legacy.csv").read_text() if (golden.root / "legacy.csv").exists() else "header\n"
    assert last_json(typed(golden, "rehearse", "--json"))["counts"] == counts
    assert last_json(typed(golden, "apply", "--json"))["counts"] == counts
    aliases = (golden.root / "legacy.csv").read_text().count("\n") - before.count("\n")
    report = last_json(typed(golden, "verify", "--json"))
    assert report["counts"] == counts
    checked = report["checked"]
    assert aliases == checked["aliases"] == counts["ids"]["changed"]
    assert checked["directories"] == sum(counts[group]["entries"] for group in ("gens", "trash", "attempts"))
    assert checked["ids"] == counts["files"]["records"]
    assert checked["rewritten files"] == counts["files"]["rewritten"] + checked.get("manifests", 0)
    assert checked["members"] == counts["members"]["lines"]
    assert last_json(typed(golden, "status", "--json"))["migrations"][0]["counts"] == counts
    assert last_json(typed(golden, "rollback", "--json"))["counts"] == counts


@pytest.mark.parametrize("name", LEGACY)
def test_after_a_rollback_nothing_has_another_id(name: str, tmp_path: Path, typed: Type) -> None:
    golden = copied(name, tmp_path)
    plan = last_json(typed(golden, "plan", "--json"))["counts"]
    typed(golden, "apply")
    typed(golden, "rollback")
    back = last_json(typed(golden, "verify", "--json"))["counts"]
    check_sums(back)
    assert printed(typed(golden, "verify")) == that_are_printed(back)
    assert back["files"] == plan["files"]
    for group in ("gens", "trash", "attempts", "members"):
        total = "lines" if group == "members" else "entries"
        assert back[group][total] == plan[group][total]
        assert back[group].get("stays") == plan[group].get("stays")
        assert back[group]["another_id"] == back[group].get("sealed", 0) == 0
    (one,) = last_json(typed(golden, "status", "--json"))["migrations"]
    assert one["done"] == one["batches"]


def test_what_is_missing_is_not_counted(tmp_path: Path, typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    golden = copied("opaque", tmp_path)
    plan = last_json(typed(golden, "plan", "--json"))
    typed(golden, "apply")
    with (golden.root / "migrations" / plan["migration_id"] / "mapping.csv").open(newline="") as lines:
        row = next(csv.DictReader(lines))
    (golden.root / "gens" / row["stage"] / row["new_id"]).rename(tmp_path / "away")
    capsys.readouterr()
    assert main(["--pool", str(golden.root), "migrate", "verify", "--json"]) == 1
    counts = json.loads(capsys.readouterr().out)["counts"]
    check_sums(counts)
    assert counts["gens"]["entries"] == plan["counts"]["gens"]["entries"] - 1
    assert counts["gens"]["another_id"] == plan["counts"]["gens"]["another_id"] - 1


def test_a_plan_from_before_plans_had_numbers(tmp_path: Path, typed: Type) -> None:
    golden = copied("mixed", tmp_path)
    plan = last_json(typed(golden, "plan", "--json"))
    folder = golden.root / "migrations" / plan["migration_id"]
    document = json.loads((folder / "plan.json").read_text())
    counts = document.pop("counts")
    del document["migration_id"]
    name = f"migration-{sha256(canonical_json(document))[:12]}"
    (folder / "plan.json").write_text(json.dumps({"migration_id": name, **document}))
    folder.rename(folder.with_name(name))
    for verb in ("apply", "status"):
        assert printed(typed(golden, verb)) == {}
    assert printed(typed(golden, "verify")) == that_are_printed(counts)
