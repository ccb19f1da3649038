"""What stands under gens/ and attempts/, read to its last byte: is it what its name, its record and its digests say?

Every directory is read once, and nothing of it is kept but what is found. Legacy generations are read as far as they
can be judged: they have no digests of themselves.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from genpool.doctor.findings import Finding, from_error
from genpool.doctor.folders import AWAY, TEMPORARY, directories_in, entries_of, litter, unknown
from genpool.doctor.reading import digest_of, is_folder, kind_of, read_record
from genpool.errors import CorruptGeneration, GenpoolError
from genpool.layout import METADATA, PARSED, PROMPT, RAW
from genpool.records import decode_attempt, decode_record, is_as_written
from genpool.stages import PARENT_FIELD, REFERENCE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genpool.doctor.catalog_file import CatalogFile
    from genpool.doctor.examined import Examined
    from genpool.records import Record
    from genpool.stages import Stage

_TEXTS: Final = {PROMPT: "prompt", RAW: "raw", PARSED: "parsed"}
_KEPT: Final = ("template", "model", "inputs")
"""Fingerprints whose texts are in sources/; but for `inputs` below a root."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_RESTORE: Final = "restore it from a copy, or move the whole directory away to have it made again"


class GenerationCheck:
    """Examines gens/ and attempts/.

    Args:
        pool: The pool.
        catalog: What the catalog says, to be compared.
        tell: Told after every directory that was read.
    """

    def __init__(self, pool: Examined, catalog: CatalogFile, tell: Callable[[], None]) -> None:
        self._pool = pool
        self._catalog = catalog
        self._tell = tell
        self.counts: Counter[str] = Counter()
        """How much of what was read."""
        self._has_source = lru_cache(100_000)(self._is_source)

    # -- folders -----------------------------------------------------------------------------------

    def generations(self) -> Iterator[Finding]:
        """Yield what is wrong under gens/."""
        for stage, path in self._stage_folders("gens"):
            alike: dict[str, str] = {}
            legacy = 0
            folder = self._pool.place(path)
            for entry in directories_in(folder, path):
                if isinstance(entry, Finding):
                    yield entry
                    continue
                here = f"{path}/{entry.name}"
                yield from _spelling(entry.name, folder, here, alike, stage.name)
                record, found = self._generation(stage, entry, here)
                if found and not is_folder(entry.path):
                    continue  # a removal beside us took it away meanwhile
                yield from found
                legacy += record is not None and record.is_legacy
                self._catalog.compare(stage.name, entry.name, record)
                self._tell()
            if legacy:
                said = f"legacy generations, read and never changed: {legacy:,} of this stage"
                yield Finding("legacy", path, said, stage=stage.name, is_note=True)

    def attempts(self) -> Iterator[Finding]:
        """Yield what is wrong under attempts/."""
        for stage, path in self._stage_folders("attempts"):
            for task in directories_in(self._pool.place(path), path):
                if isinstance(task, Finding):
                    yield task
                    continue
                for entry in directories_in(task.path, f"{path}/{task.name}"):
                    if isinstance(entry, Finding):
                        yield entry
                    else:
                        yield from self._numbered(stage, task.name, entry, f"{path}/{task.name}/{entry.name}")

    def _numbered(self, stage: Stage, gen_id: str, entry: os.DirEntry[str], path: str) -> Iterator[Finding]:
        """Yield what is wrong with one directory in a task's folder of attempts."""
        if entry.name.isascii() and entry.name.isdigit():
            yield from self._attempt(stage, gen_id, entry, path)
            self._tell()
        else:
            yield Finding("foreign", path, "an attempt has a number for a name", AWAY, stage.name, gen_id)

    def _stage_folders(self, top: str) -> Iterator[tuple[Stage, str]]:
        """Yield known stages with their folder's path; `stray_folders` names what else is there."""
        if is_folder(self._pool.place(top)):
            for stage in self._pool.pipeline:
                if is_folder(self._pool.place(f"{top}/{stage.name}")):
                    yield stage, f"{top}/{stage.name}"

    def stray_folders(self) -> Iterator[Finding]:
        """Yield what is in gens/ and attempts/ beside the folders of the pool's stages."""
        for top in ("gens", "attempts"):
            if not is_folder(self._pool.place(top)):
                continue  # the walk over the pool names it
            for entry in directories_in(self._pool.place(top), top):
                if isinstance(entry, Finding):
                    yield entry
                elif entry.name not in self._pool.pipeline:
                    said = "pool.yaml has no stage of this name: what is in it cannot be checked and is not used"
                    todo = "put the stage back into pool.yaml, or move the folder away"
                    yield Finding("unknown-stage", f"{top}/{entry.name}", said, todo)

    # -- one directory -----------------------------------------------------------------------------

    def _generation(self, stage: Stage, entry: os.DirEntry[str], path: str) -> tuple[Record | None, list[Finding]]:
        """Return the record of a directory under gens/, None where it cannot be used, and what is wrong with it."""
        files, found = self._files(stage, entry.name, entry.path, path)
        missing = [name for name in (METADATA, PARSED) if name not in files]
        told = {one.path for one in found}
        if any(f"{path}/{name}" not in told for name in missing) and path not in told:
            said = f"incomplete: there is no {' and no '.join(missing)}"
            todo = "nothing: a run that fills the place moves it to attempts/; or restore what is missing"
            found.append(Finding("incomplete", path, said, todo, stage.name, entry.name))
        if METADATA not in files:
            return None, found
        try:
            data = read_record(f"{entry.path}/{METADATA}")
            record = decode_record(data, stage, entry.name, self._pool.salt, f"{path}/{METADATA}")
        except GenpoolError as error:
            return None, [*found, from_error(error, f"{path}/{METADATA}", stage.name, entry.name)]
        self.counts["generations"] += not missing
        found += self._as_written(record, data, path)
        found += self._texts(record, files, entry.path, path, whole=not missing)
        found += self._references(record, path)
        # as the catalog has it: a link in the place of a text is found when the text is read
        return record if os.path.exists(f"{entry.path}/{PARSED}") else None, found  # noqa: PTH110 - a text, not a Path

    def _attempt(self, stage: Stage, gen_id: str, entry: os.DirEntry[str], path: str) -> list[Finding]:
        """Return what is wrong with one attempt."""
        files, found = self._files(stage, gen_id, entry.path, path)
        if METADATA not in files:
            if not any(one.path in {path, f"{path}/{METADATA}"} for one in found):
                said = "an attempt without metadata.json: a directory that was left incomplete, kept here"
                found.append(Finding("incomplete", path, said, None, stage.name, gen_id, is_note=True))
            return found
        try:
            data = read_record(f"{entry.path}/{METADATA}")
            record, reason = decode_attempt(data, stage, gen_id, self._pool.salt, f"{path}/{METADATA}")
        except GenpoolError as error:
            return [*found, from_error(error, f"{path}/{METADATA}", stage.name, gen_id)]
        self.counts["attempts"] += 1
        found += self._as_written(record, data, path)
        return found + self._texts(record, files, entry.path, path, whole=reason is not None)

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
                self.counts["texts"] += 1
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
        for field in stage.fields:
            if not field.endswith(REFERENCE_SUFFIX):
                continue
            named = str(record.signature[field])
            stages = [str(stage.parent)] if field == PARENT_FIELD else list(self._pool.pipeline.names)
            if not any(self._pool.has(one, named) for one in stages):
                said = f"orphan: its {field} {named} is not there ({' or '.join(f'gens/{one}' for one in stages)})"
                found.append(Finding("orphan", path, said, self._way_back(stages, named), stage.name, gen_id))
        if record.is_legacy:
            return found
        for name in _KEPT:
            digest = record.fingerprints.get(name)
            if digest is None or (name == "inputs" and stage.parent is not None):
                continue
            if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
                said = f"its fingerprint of {name} is no digest: {digest!r}"
                found.append(Finding("missing-source", f"{path}/{METADATA}", said, None, stage.name, gen_id))
            elif not self._has_source(digest):
                said = f"sources/{digest}, which its fingerprint of {name} names, is not there"
                todo = "restore it from a copy; without it, drift cannot show what the text was then"
                found.append(Finding("missing-source", f"{path}/{METADATA}", said, todo, stage.name, gen_id))
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

    # -- sources -----------------------------------------------------------------------------------

    def sources(self) -> Iterator[Finding]:
        """Yield what is wrong under sources/: each file is named by its digest."""
        folder = self._pool.layout.sources
        if not is_folder(folder):
            return
        for entry in entries_of(folder, "sources"):
            if isinstance(entry, Finding):
                yield entry
                continue
            path = f"sources/{entry.name}"
            if TEMPORARY.fullmatch(entry.name) or kind_of(entry) == "a symbolic link":
                continue  # the walk over the pool names it
            if not _DIGEST.fullmatch(entry.name):
                yield unknown(path)
                continue
            try:
                digest, _ = digest_of(entry.path)
            except GenpoolError as error:
                yield from_error(error, path)
                continue
            self.counts["sources"] += 1
            if digest != entry.name:
                said = "its content has another digest than its name: it was damaged or edited"
                todo = "restore it from a copy, or remove it: a run that uses the same text writes it anew"
                yield Finding("damaged-source", path, said, todo)


def _spelling(name: str, folder: str, path: str, alike: dict[str, str], stage: str) -> Iterator[Finding]:
    """Yield what a file system that folds case would make of a name.

    Names without capitals are not kept: two of them cannot be alike.
    """
    folded = name.lower()
    if name == folded:
        return
    other = alike.setdefault(folded, name)
    if other == name:
        with suppress(OSError):  # there is no such other
            is_same = os.path.samestat(os.lstat(f"{folder}/{folded}"), os.lstat(f"{folder}/{name}"))
            other = name if is_same else folded  # a file system that folds case finds the same
    if other != name:
        said = f"{name} and {other} differ only in case: on some file systems they are one directory"
        yield Finding("case-collision", path, said, "keep the pool where case counts, or move one away", stage, name)
    else:
        said = "its name has capitals; no id that genpool makes does"
        yield Finding("upper-case", path, said, None, stage, name, is_note=True)
