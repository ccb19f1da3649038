"""A migration verified: everything is read again and set against the plan. Nothing less than all of it is success."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from genpool.aliases import read_aliases
from genpool.canonical import sha256
from genpool.durable import is_there, lies_with_the_file, replace_file
from genpool.layout import METADATA
from genpool.migration import books
from genpool.migration import journal as kinds
from genpool.migration.applying import is_generation
from genpool.migration.batches import Batch, digests_below
from genpool.migration.book_writer import CACHE
from genpool.migration.counts import (
    FILES,
    IDS,
    MEMBERS,
    Counts,
    entry_counts,
    file_counts,
    id_counts,
    kind_of_file,
    member_counts,
    staying,
)
from genpool.migration.plan_file import read_defects
from genpool.migration.reading import read_directory, read_plain
from genpool.migration.renames import GENS, MEMBER, aliases_of
from genpool.migration.rest import changed_rest
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from genpool.migration.batches import Intent
    from genpool.migration.identity import Change
    from genpool.migration.renames import Row
    from genpool.migration.rounds import Round

FORMAT: Final = "genpool.migration-report/1"
_TOLD_EVERY: Final = 200


@dataclass(slots=True)
class Report:
    """What a verification came to."""

    migration_id: str
    state: str
    checked: Counter[str] = field(default_factory=Counter)
    """How much of what was looked at."""
    counts: Counts = field(default_factory=dict)
    """How much of what was found as it must be; where everything is, the numbers of the plan. After a rollback nothing
    has another id; once it is closed nobody knows which files were rewritten."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Path, and what is wrong."""
    since: list[str] = field(default_factory=list)
    """Generations that were made since, and files that were written since: no fault."""

    @property
    def is_right(self) -> bool:
        """Whether everything is as planned."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "format": FORMAT,
            "migration_id": self.migration_id,
            "state": self.state,
            "right": self.is_right,
            "checked": dict(self.checked),
            "counts": self.counts,
            "problems": [{"path": path, "said": said} for path, said in self.problems],
            "since": self.since,
        }

    def encode(self) -> bytes:
        """Return the bytes of a report."""
        return orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


class Verifier:
    """Verifies one round of a migration.

    Args:
        one: The round.
        change: What the plan changes.
        tell: Told how far it is.
    """

    def __init__(self, one: Round, change: Change, tell: Callable[[str, int, int], None]) -> None:
        self._one = one
        self._root = one.root
        self._change = change
        self._tell = tell
        self._report = Report(one.plan.migration_id, one.journal.state)
        self._applied = one.journal.state in {kinds.APPLIED, kinds.CLOSED}
        self._files: Counter[str] = Counter()
        self._found: set[str] = set()

    def verify(self) -> Report:
        """Do it.

        Raises:
            CorruptFile: The journal, or what it vouches for, was damaged.
        """
        if self._one.journal.state != kinds.CLOSED:
            self._intents()
        self._listings()
        self._entries()
        self._untouched()
        self._rest()
        if self._applied:
            self._generations()
            self._aliases()
        self._memberships()
        self._report.since = list(dict.fromkeys(self._report.since))
        return self._report

    @property
    def _is_fork(self) -> bool:
        """Whether the old ids may be taken again since, by what is made for the present text."""
        return self._change.relabel is not None

    def _wrong(self, path: str, said: str) -> None:
        self._report.problems.append((path, said))

    # -- what was done -----------------------------------------------------------------------------

    def _intents(self) -> None:
        """Set every file of every step against its digests; of what was rewritten, look that the original is kept."""
        begun = self._one.journal.find(kinds.INTENT)
        for done, entry in enumerate(begun):
            self._tell("verifying files", done, len(begun))
            if isinstance(entry["batch"], str):
                continue  # what came since, carried over by a rollback
            batch = self._one.batch(str(entry["folder"]))
            number = 0
            for intent in batch.intents(str(entry["sha256"])):
                self._intent(intent, batch, number)
                number += len(intent.files)
        self._report.counts[FILES] = file_counts(self._files)

    def _intent(self, intent: Intent, batch: Batch, number: int) -> None:
        folder = self._place_of(intent)
        for at, one in enumerate(intent.files, start=number):
            path = f"{folder}/{one.name}"
            expected = one.becomes if self._applied else one.was
            found = _digest(f"{self._root}/{path}")
            self._report.checked["rewritten files"] += 1
            if path.endswith(CACHE):
                self._report.checked["manifests"] += 1
            elif found == expected or (intent.source == intent.target and found is not None):
                self._files[kind_of_file(path)] += 1
            if found != expected and intent.source == intent.target and found is not None:
                self._report.since.append(path)
            elif found != expected:
                self._wrong(path, "not what the migration wrote" if self._applied else "not what it was before")
            if self._applied and one.was is not None and _digest(batch.original(at)) != one.was:
                self._wrong(path, f"its original is not kept as it was ({batch.original(at)})")
        if intent.texts:
            self._texts(folder, intent)

    def _place_of(self, intent: Intent) -> str:
        """Return where the directory of a step belongs now: what made room was moved on."""
        if not self._applied:
            return intent.source
        return self._moved_on.get(intent.target, intent.target)

    @property
    def _moved_on(self) -> dict[str, str]:
        if self._on is None:
            self._on = self._one.moved_on()
        return self._on

    _on: dict[str, str] | None = None

    def _texts(self, folder: str, intent: Intent) -> None:
        """Set the outputs of a directory against the digests that they had before."""
        try:
            now = digests_below(f"{self._root}/{folder}", without=frozenset(one.name for one in intent.files))
        except OSError as error:
            if not lies_with_the_file(error):
                raise
            self._wrong(folder, f"cannot be read: {error.strerror}")
            return
        self._report.checked["texts"] += len(now)
        for name in sorted(now.keys() | intent.texts.keys()):
            if now.get(name) != intent.texts.get(name):
                gone = name not in now
                said = "is gone" if gone else "was added" if name not in intent.texts else "is not what it was before"
                if name not in intent.texts and folder.startswith("attempts/"):
                    self._report.since.append(f"{folder}/{name}")
                else:
                    self._wrong(f"{folder}/{name}", said)

    # -- what there is -----------------------------------------------------------------------------

    def _expected(self) -> dict[str, str]:
        """Return the directories that there must be, by path, each with the path that it was planned with."""
        expected = {path: path for path in self._one.plan.digests if path.rpartition("/")[0] in self._listed}
        if not self._applied:
            return expected
        moved = [row for row in self._one.plan.rows if row.place != MEMBER and row.old_id != row.new_id]
        for row in moved:
            expected.pop(f"{row.place}/{row.stage}/{row.old_id}", None)
        for row in moved:
            expected[f"{row.place}/{row.stage}/{row.new_id}"] = f"{row.place}/{row.stage}/{row.old_id}"
        return expected

    @property
    def _listed(self) -> dict[str, int]:
        listed: dict[str, int] = self._one.plan.document["listed"]
        return listed

    def _listings(self) -> None:
        """Look that every directory is there, and that no other one is but what was made since."""
        expected = self._expected()
        there: set[str] = set()
        for folder in self._listed:
            with suppress(FileNotFoundError):
                there |= {f"{folder}/{name}" for name in os.listdir(f"{self._root}/{folder}")}  # noqa: PTH208
        for path in sorted(expected.keys() - there):
            self._wrong(path, "is not there")
        old = {f"{row.place}/{row.stage}/{row.old_id}" for row in self._one.plan.rows if row.place != MEMBER}
        for path in sorted(there - expected.keys()):
            if path in old and self._applied and not self._is_fork:
                self._wrong(path, "still has its old id")
            else:
                self._report.since.append(path)
        self._report.checked["directories"] += len(expected)
        self._found = there & expected.keys()

    def _entries(self) -> None:
        """Count the directories that are there as they must be, by what became of them."""
        listed = dict.fromkeys(self._listed, 0) | Counter(path.rpartition("/")[0] for path in self._found)
        done = [row for row in self._one.plan.rows if self._is_done(row)]
        wrong = read_defects(self._one.layout, self._one.plan.migration_id)
        stays = staying(listed, (path for _, blocks, path, _ in wrong if blocks)) & self._found
        self._report.counts |= entry_counts(listed, done, stays)

    def _is_done(self, row: Row) -> bool:
        return self._applied and row.place != MEMBER and f"{row.place}/{row.stage}/{row.new_id}" in self._found

    def _untouched(self) -> None:
        """Look that what the plan leaves alone has the record that it had."""
        touched = {f"{row.place}/{row.stage}/{row.old_id}" for row in self._one.plan.rows} if self._applied else set()
        for path, digest in self._one.plan.digests.items():
            if path in touched or not digest or not is_generation(path):
                continue
            self._report.checked["untouched records"] += 1
            if _digest(f"{self._root}/{path}/{METADATA}") != digest:
                self._wrong(f"{path}/{METADATA}", "the plan leaves it alone, but it is not what it was")

    def _rest(self) -> None:
        """Look that nothing else in the pool was lost or replaced."""
        begun = self._one.journal.find(kinds.BEGIN)[0]
        count, wrong, since = changed_rest(self._one, str(begun["rest"]))
        self._report.checked["other files"] += count
        self._report.since += since
        for path in wrong:
            self._wrong(path, "the plan leaves it alone, but it is not what it was")

    def _generations(self) -> None:
        """Recompute the id of every migrated generation from its record, and follow its references."""
        rows = [row for row in self._one.plan.rows if row.place.endswith(GENS)]
        for done, row in enumerate(rows):
            if done % _TOLD_EVERY == 0:
                self._tell("verifying ids", done, len(rows))
            target = self._change.target
            stage = target.pipeline[row.stage]
            found = read_directory(self._root, row.place, stage, row.new_id, target)
            path = f"{row.place}/{row.stage}/{row.new_id}"
            self._report.checked["ids"] += 1
            if found.node is None or not found.node.sealed:
                said = found.defects[0].said if found.defects else "it is not of our format"
                self._wrong(path, said)
                continue
            for name, value in zip(stage.fields, found.node.values, strict=False):
                if name.endswith(REFERENCE_SUFFIX) and not self._is_there(row.place, stage.parent, name, value):
                    self._wrong(path, f"its {name} {value} is not there")

    def _is_there(self, place: str, parent: str | None, name: str, gen_id: str) -> bool:
        """Return whether what a record refers to is there; of something in the trash it may be in the trash too."""
        stages = [parent] if name == PARENT_FIELD else list(self._change.target.pipeline.names)
        places = [place, GENS]
        if place != GENS:
            places += [f"trash/{one}/{GENS}" for one in sorted(os.listdir(f"{self._root}/trash"))]  # noqa: PTH208
        return any(is_there(f"{self._root}/{where}/{stage}/{gen_id}") for where in places for stage in stages)

    def _aliases(self) -> None:
        """Look that every old id leads to its new one."""
        aliases = read_aliases(self._one.layout)
        listed = {(row.stage, row.old_id) for row in self._one.plan.rows if row.place == MEMBER}
        right = []
        for row in aliases_of(self._one.plan.rows):
            self._report.checked["aliases"] += 1
            if row.place != GENS and (row.stage, row.old_id) not in listed:
                leads = aliases.noted(row.stage, row.old_id)  # what has this id may be in the trash, or not made
            elif is_there(f"{self._root}/{GENS}/{row.stage}/{row.old_id}"):
                leads = row.new_id  # another generation bears the old id now
            else:
                leads = aliases.resolve(row.stage, row.old_id)
            if leads == row.new_id or (self._is_fork and leads == row.old_id):
                right.append(row)
            else:
                self._wrong("legacy.csv", f"{row.stage} {row.old_id} does not lead to {row.new_id}")
        self._report.counts[IDS] = id_counts(right)

    def _memberships(self) -> None:
        """Look that every cohort lists as many members as planned, and that each one resolves."""
        expected = self._expected()
        unmade = {(row.stage, row.new_id if self._applied else row.old_id) for row in self._one.plan.rows}
        found = []
        for cohort, counts in self._one.plan.document["cohorts"].items():
            path = f"cohorts/{cohort}/membership.csv"
            try:
                rows = [row for _, row in books.membership_rows(read_plain(f"{self._root}/{path}"))]
            except (OSError, books.BookProblem) as error:
                if isinstance(error, OSError) and not lies_with_the_file(error):
                    raise
                self._wrong(path, f"cannot be read: {error}")
                continue
            self._report.checked["members"] += len(rows)
            found.append({"members": len(rows), "renamed": counts["renamed"] if self._applied else 0})
            if len(rows) != counts["members"]:
                self._report.since.append(path)
            if not self._applied or self._is_fork:
                continue  # after a fork the old ids are tasks again; a membership that is unchanged has its digest
            for row in rows:
                task = (row.get("stage", ""), row.get("gen_id", ""))
                if f"{GENS}/{task[0]}/{task[1]}" not in expected and task not in unmade and self._had(*task):
                    self._wrong(path, f"{task[0]} {task[1]} is an old id")
        self._report.counts[MEMBERS] = member_counts(found)

    def _had(self, stage: str, gen_id: str) -> bool:
        """Return whether the plan gives an id another one."""
        if self._old is None:
            self._old = {(row.stage, row.old_id) for row in self._one.plan.rows if row.old_id != row.new_id}
        return (stage, gen_id) in self._old

    _old: set[tuple[str, str]] | None = None


def _digest(path: str) -> str | None:
    try:
        return hashlib.sha256(read_plain(path)).hexdigest()
    except OSError as error:
        if lies_with_the_file(error):
            return None
        raise  # the machine refused: that is no finding about the pool


def write_report(one: Round, report: Report) -> None:
    """Keep a report beside the journal, and note in the journal what it came to.

    Raises:
        OSError: It could not be written.
    """
    data = report.encode()
    replace_file(one.folder / "verification.json", data)
    one.journal.add(kinds.VERIFIED, ok=report.is_right, sha256=sha256(data), problems=len(report.problems))
