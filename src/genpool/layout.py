"""Every path of a pool. No I/O here, except that names are checked before they become a path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from genpool.errors import InputError, nearest
from genpool.signatures import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

METADATA: Final = "metadata.json"
PROMPT: Final = "prompt.txt"
RAW: Final = "raw.txt"
PARSED: Final = "parsed.txt"
TEXT_FILES: Final = {"prompt": PROMPT, "raw": RAW, "parsed": PARSED}
"""Name of a text to its file."""


def check_name(name: str, what: str, known: Iterable[str] = ()) -> str:
    """Return a name that may become a file name.

    Args:
        name: The name as a person gave it.
        what: What it names, for the message.
        known: Names that exist, to offer the nearest.

    Raises:
        InputError: The name is not of the grammar.
    """
    if not FILE_NAME.fullmatch(name):
        raise InputError(
            f"{what} {name!r} is not a name that a file can have",
            hint=nearest(name, known) or "letters, digits, dot, underscore and hyphen; at most 128; no path",
        )
    return name


@dataclass(frozen=True, slots=True)
class PoolLayout:
    """Where things are in one pool."""

    root: Path
    """The pool's directory."""

    @property
    def config(self) -> Path:
        """pool.yaml."""
        return self.root / "pool.yaml"

    @property
    def concepts(self) -> Path:
        """One YAML file a concept."""
        return self.root / "concepts"

    @property
    def templates(self) -> Path:
        """One folder a stage, one .j2 file a template."""
        return self.root / "templates"

    @property
    def combos(self) -> Path:
        """What each combo id stands for; append-only."""
        return self.root / "combos.jsonl"

    @property
    def cohorts(self) -> Path:
        """One folder a cohort."""
        return self.root / "cohorts"

    def cohort(self, cohort_id: str) -> Path:
        """Return a cohort's folder."""
        return self.cohorts / check_name(cohort_id, "cohort")

    def spec(self, cohort_id: str) -> Path:
        """Return the path of a cohort's spec."""
        return self.cohort(cohort_id) / "cohort.yaml"

    def membership(self, cohort_id: str) -> Path:
        """Return the path of what a cohort's spec selected."""
        return self.cohort(cohort_id) / "membership.csv"

    def adopted(self, cohort_id: str) -> Path:
        """Return the path of when and from what the membership was made."""
        return self.cohort(cohort_id) / "adopted.json"

    def reports(self, cohort_id: str | None = None) -> Path:
        """Return the folder of a cohort's tables and reports; without a cohort, of those of the whole pool."""
        return self.root / "reports" if cohort_id is None else self.cohort(cohort_id) / "reports"

    def manifest(self, cohort_id: str) -> Path:
        """Return the path of how a cohort's members stand: a cache."""
        return self.cohort(cohort_id) / "manifest.json"

    @property
    def generations(self) -> Path:
        """One folder a stage, one folder a generation."""
        return self.root / "gens"

    def stage(self, stage: str) -> Path:
        """Return the folder of a stage's generations."""
        return self.generations / check_name(stage, "stage")

    def generation(self, stage: str, gen_id: str) -> Path:
        """Return the folder of a generation."""
        return self.stage(stage) / check_name(gen_id, "gen id")

    @property
    def sources(self) -> Path:
        """The texts that fingerprints name, by their SHA-256."""
        return self.root / "sources"

    def attempts(self, stage: str, gen_id: str) -> Path:
        """Return the folder of a task's attempts."""
        return self.root / "attempts" / check_name(stage, "stage") / check_name(gen_id, "gen id")

    @property
    def all_attempts(self) -> Path:
        """The folder of every attempt."""
        return self.root / "attempts"

    @property
    def legacy(self) -> Path:
        """Slots and new ids of legacy generations; append-only."""
        return self.root / "legacy.csv"

    @property
    def drift(self) -> Path:
        """Drift that a person accepted; append-only."""
        return self.root / "drift.csv"

    @property
    def catalog(self) -> Path:
        """The index of gens/: a cache."""
        return self.private / "catalog.sqlite"

    @property
    def ledger(self) -> Path:
        """The account of everything bought: one JSONL file a run."""
        return self.root / "ledger"

    @property
    def trash(self) -> Path:
        """What was removed, with undo: one folder a removal."""
        return self.root / "trash"

    def trashed(self, trash_id: str) -> Path:
        """Return the path of a removal's record."""
        return self.trash / check_name(trash_id, "trash id") / "trash.json"

    @property
    def migrations(self) -> Path:
        """One folder a migration: its plan, what it did, and the originals until it is closed."""
        return self.root / "migrations"

    def migration(self, migration_id: str) -> Path:
        """Return the folder of a migration."""
        return self.migrations / check_name(migration_id, "migration id")

    @property
    def private(self) -> Path:
        """Caches, staging and locks; may be deleted when no run is active."""
        return self.root / ".genpool"

    @property
    def staging(self) -> Path:
        """Where generations are written before they are moved into place."""
        return self.private / "staging"

    @property
    def claims(self) -> Path:
        """Who makes what now."""
        return self.private / "claims"

    def claims_of(self, stage: str) -> Path:
        """Return the lock file of a stage's claims, where each is a byte of it."""
        return self.claims / f"{check_name(stage, 'stage')}.lock"

    def claim(self, stage: str, gen_id: str) -> Path:
        """Return the lock file of a task's claim, where each has its own."""
        return self.claims / check_name(stage, "stage") / check_name(gen_id, "gen id")

    @property
    def locks(self) -> Path:
        """Lock files."""
        return self.private / "locks"
