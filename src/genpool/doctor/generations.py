"""What stands under gens/ and attempts/, read to its last byte: is it what its name, its record and its digests say?

Every directory is read once, and nothing of it is kept but what is found. Legacy generations are read as far as they
can be judged: they have no digests of themselves.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from genpool.doctor.findings import Finding, from_error
from genpool.doctor.folders import AWAY, TEMPORARY, directories_in, entries_of, litter, unknown
from genpool.doctor.reading import digest_of, is_folder, kind_of, read_record
from genpool.doctor.sources import DIGEST
from genpool.doctor.walk import GENS
from genpool.errors import CorruptGeneration, GenpoolError
from genpool.layout import METADATA, PARSED, PROMPT, RAW
from genpool.records import decode_attempt, decode_record, is_as_written
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX

if TYPE_CHECKING:
    from genpool.doctor.catalog_file import CatalogFile
    from genpool.doctor.examined import Examined
    from genpool.doctor.walk import Batch
    from genpool.records import Record
    from genpool.stages import Stage

_TEXTS: Final = {PROMPT: "prompt", RAW: "raw", PARSED: "parsed"}
_KEPT: Final = ("template", "model", "inputs")
"""Fingerprints whose texts are in sources/; but for `inputs` below a root."""
MISSING_SOURCE: Final = "missing-source"
_RESTORE: Final = "restore it from a copy, or move the whole directory away to have it made again"


@dataclass(slots=True)
class Checked:
    """What came of some directories; sent from one process to another."""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """How much of what was read."""
    legacy: Counter[str] = field(default_factory=Counter)
    """How many legacy generations, by stage."""
    directories: int = 0
    """How many directories were examined: generations, or attempts."""

    def add(self, other: Checked) -> None:
        """Add what came of others."""
        self.findings += other.findings
        self.counts.update(other.counts)
        self.legacy.update(other.legacy)
        self.directories += other.directories


class GenerationCheck:
    """Examines directories of gens/ and attempts/.

    Args:
        pool: The pool.
        catalog: What the catalog says, to be compared.
    """

    def __init__(self, pool: Examined, catalog: CatalogFile) -> None:
        self._pool = pool
        self._catalog = catalog
        self._counts: Counter[str] = Counter()
        self._has_source = lru_cache(100_000)(self._is_source)

    def check(self, batch: Batch) -> Checked:
        """Return what is wrong with the directories of a batch, and how much was read."""
        checked = Checked()
        self._counts = checked.counts
        stage = self._pool.pipeline[batch.stage]
        for name in batch.names:
            path = f"{batch.top}/{stage.name}/{name}"
            if batch.top == GENS:
                self._check_generation(stage, name, path, checked)
            else:
                self._check_attempts(stage, name, path, checked)
        return checked

    def _check_generation(self, stage: Stage, gen_id: str, path: str, checked: Checked) -> None:
        record, found = self._generation(stage, gen_id, path)
        if found and not is_folder(self._pool.place(path)):
            return  # a removal beside us took it away meanwhile
        checked.findings += found
        checked.legacy[stage.name] += record is not None and record.is_legacy
        self._catalog.compare(stage.name, gen_id, record)
        checked.directories += 1

    def _check_attempts(self, stage: Stage, gen_id: str, path: str, checked: Checked) -> None:
        for entry in directories_in(self._pool.place(path), path):
            if isinstance(entry, Finding):
                checked.findings.append(entry)
            elif entry.name.isascii() and entry.name.isdigit():
                checked.findings += self._attempt(stage, gen_id, f"{path}/{entry.name}")
                checked.directories += 1
            else:
                said = "an attempt has a number for a name"
                checked.findings.append(Finding("foreign", f"{path}/{entry.name}", said, AWAY, stage.name, gen_id))

    # -- one directory -----------------------------------------------------------------------------

    def _generation(self, stage: Stage, gen_id: str, path: str) -> tuple[Record | None, list[Finding]]:
        """Return the record of a directory under gens/, None where it cannot be used, and what is wrong with it."""
        folder = self._pool.place(path)
        files, found = self._files(stage, gen_id, folder, path)
        missing = [name for name in (METADATA, PARSED) if name not in files]
        told = {one.path for one in found}
        if any(f"{path}/{name}" not in told for name in missing) and path not in told:
            said = f"incomplete: there is no {' and no '.join(missing)}"
            todo = "nothing: a run that fills the place moves it to attempts/; or restore what is missing"
            found.append(Finding("incomplete", path, said, todo, stage.name, gen_id))
        if METADATA not in files:
            return None, found
        try:
            data = read_record(f"{folder}/{METADATA}")
            record = decode_record(data, stage, gen_id, self._pool.salt, f"{path}/{METADATA}")
        except GenpoolError as error:
            return None, [*found, from_error(error, f"{path}/{METADATA}", stage.name, gen_id)]
        self._counts["generations"] += not missing
        found += self._as_written(record, data, path)
        found += self._texts(record, files, folder, path, whole=not missing)
        found += self._references(record, path)
        # as the catalog has it: a link in the place of a text is found when the text is read
        whole = PARSED in files or os.path.exists(f"{folder}/{PARSED}")  # noqa: PTH110 - a text, not a Path
        return record if whole else None, found

    def _attempt(self, stage: Stage, gen_id: str, path: str) -> list[Finding]:
        """Return what is wrong with one attempt."""
        folder = self._pool.place(path)
        files, found = self._files(stage, gen_id, folder, path)
        if METADATA not in files:
            if not any(one.path in {path, f"{path}/{METADATA}"} for one in found):
                said = "an attempt without metadata.json: a directory that was left incomplete, kept here"
                found.append(Finding("incomplete", path, said, None, stage.name, gen_id, is_note=True))
            return found
        try:
            data = read_record(f"{folder}/{METADATA}")
            record, reason = decode_attempt(data, stage, gen_id, self._pool.salt, f"{path}/{METADATA}")
        except GenpoolError as error:
            return [*found, from_error(error, f"{path}/{METADATA}", stage.name, gen_id)]
        self._counts["attempts"] += 1
        found += self._as_written(record, data, path)
        return found + self._texts(record, files, folder, path, whole=reason is not None)

    def _files(self, stage: Stage, gen_id: str, folder: str, path: str) -> tuple[set[str], list[Finding]]:
        """Return the plain files of a directory, and what else is in it."""
        files: set[str] = set()
        found = []
        for entry in entries_of(folder, path):
            if isinstance(entry, Finding):
                found.append(entry)
                continue
            here = f"{path}/{entry.name}"
            kind = kind_of(entry)
            if kind is None and TEMPORARY.fullmatch(entry.name):
                found.append(litter(here))
            elif kind is None:
                files.add(entry.name)
            else:
                named = entry.name == METADATA or entry.name in _TEXTS
                said = f"{kind} where a file belongs" if named else f"{kind}: a generation is plain files"
                kinds = "link" if entry.is_symlink() else "wrong-type"
                found.append(Finding(kinds, here, said, AWAY, stage.name, gen_id))
        return files, found

    def _as_written(self, record: Record, data: bytes, path: str) -> list[Finding]:
        if record.is_legacy or is_as_written(data):
            return []
        said = "what it says is right, but its bytes are not those that genpool writes: it was damaged or edited"
        where = f"{path}/{METADATA}"
        return [Finding("rewritten", where, said, _RESTORE, record.stage.name, record.gen_id)]

    def _texts(self, record: Record, files: set[str], folder: str, path: str, *, whole: bool) -> list[Finding]:
        """Return what is wrong with the texts of a record: each is read, and set against its fingerprint."""
        found = []
        stage, gen_id = record.stage.name, record.gen_id
        for file, name in _TEXTS.items():
            here = f"{path}/{file}"
            stated = record.fingerprints.get(name)
            if file not in files:
                if stated is not None and whole:
                    said = "metadata.json has its digest, but the file is not there"
                    found.append(Finding("missing-text", here, said, _RESTORE, stage, gen_id))
                continue
            try:
                digest, is_text = digest_of(f"{folder}/{file}")
                self._counts["texts"] += 1
                if stated is not None and digest != stated:
                    said = "the text is not the one that was committed: its digest differs from metadata.json"
                    raise CorruptGeneration(said, hint=_RESTORE)
                if not is_text:
                    raise CorruptGeneration("not UTF-8", hint=_RESTORE)
            except GenpoolError as error:
                found.append(from_error(error, here, stage, gen_id))
                continue
            if stated is None and not record.is_legacy:
                said = "metadata.json has no digest of it: nobody can tell whether it is what was written"
                found.append(Finding("unverified", here, said, None, stage, gen_id, is_note=True))
        if not record.is_legacy:
            found += [unknown(f"{path}/{name}", stage, gen_id) for name in sorted(files - {METADATA, *_TEXTS})]
        return found

    def _references(self, record: Record, path: str) -> list[Finding]:
        """Return what a generation refers to and is not there."""
        found = []
        stage, gen_id = record.stage, record.gen_id
        for name in stage.fields:
            if not name.endswith(REFERENCE_SUFFIX):
                continue
            named = str(record.signature[name])
            stages = [str(stage.parent)] if name == PARENT_FIELD else list(self._pool.pipeline.names)
            if not any(self._pool.has(one, named) for one in stages):
                said = f"orphan: its {name} {named} is not there ({' or '.join(f'gens/{one}' for one in stages)})"
                found.append(Finding("orphan", path, said, self._way_back(stages, named), stage.name, gen_id))
        if record.is_legacy:
            return found
        for name in _KEPT:
            digest = record.fingerprints.get(name)
            if digest is None or (name == "inputs" and stage.parent is not None):
                continue
            if not (isinstance(digest, str) and DIGEST.fullmatch(digest)):
                said = f"its fingerprint of {name} is no digest: {digest!r}"
                found.append(Finding(MISSING_SOURCE, f"{path}/{METADATA}", said, None, stage.name, gen_id))
            elif not self._has_source(digest):
                said = f"sources/{digest}, which its fingerprint of {name} names, is not there"
                todo = "restore it from a copy; without it, drift cannot show what the text was then"
                found.append(Finding(MISSING_SOURCE, f"{path}/{METADATA}", said, todo, stage.name, gen_id))
        return found

    def _way_back(self, stages: list[str], gen_id: str) -> str:
        """Return what to do about an orphan: what it starts from may be in the trash."""
        for entry in entries_of(self._pool.layout.trash, "trash"):
            if isinstance(entry, Finding):
                continue
            if any(is_folder(f"{entry.path}/gens/{stage}/{gen_id}") for stage in stages):
                return f"`genpool trash undo {entry.name}` brings it back"
        return "restore it from a copy; made anew, its text will differ from what was read"

    def _is_source(self, digest: str) -> bool:
        return os.path.lexists(self._pool.place(f"sources/{digest}"))  # what it is, its own reading tells
