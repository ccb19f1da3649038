"""The manifests of a pool: used where they are good, written, compared with the pool, removed.

A manifest is good when it is whole, of this genpool's format, of this cohort, of these stages and this salt, of
membership.csv as it stands, and every stage that has a member is what it was: by the change time of its folder, for
which a few stat calls are enough, else by the content that the catalog states. One that is not is passed over, with the
reason, and written anew when its cohort is next run. Deleting one changes no answer.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from genpool.aliases import read_aliases
from genpool.change_tokens import still_holds
from genpool.durable import flush_directory, reading, refuse_link, replace_file, storage_errors
from genpool.errors import CorruptFile, GenpoolError, StorageFailed, UnsupportedFormat
from genpool.locks import cohort_lock
from genpool.manifest import Head, Manifest, decode, decode_head, encode, pipeline_digest, split
from genpool.membership import members_of, membership_data
from genpool.standing import CatalogStanding

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader
    from pathlib import Path

    from genpool.catalog import Catalog
    from genpool.layout import PoolLayout
    from genpool.stages import Pipeline


class Fault(StrEnum):
    """Why a manifest is not used."""

    ABSENT = "absent"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"
    """Cut off, edited, or no manifest at all."""
    NEWER = "newer"
    """A newer genpool wrote it."""
    FOREIGN = "foreign"
    """It is another cohort's, or of another salt or other stages."""
    STALE = "stale"
    """The membership, or what a stage holds, is no longer what it was."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A manifest that is not used."""

    fault: Fault
    message: str
    """What is wrong with it, and the file."""


class Manifests:
    """The manifests of a pool.

    Args:
        layout: The pool's paths.
        pipeline: The pool's pipeline.
        salt: The pool's salt.
        open_catalog: Opens the index of the store.
    """

    def __init__(self, layout: PoolLayout, pipeline: Pipeline, salt: str, open_catalog: Callable[[], Catalog]) -> None:
        self._layout = layout
        self._pipeline = pipeline
        self._salt = salt
        self._open = open_catalog

    def good(self, cohort_id: str) -> Manifest | Unfit:
        """Return a cohort's manifest, or why it is not used."""
        found = self._read(cohort_id)
        if isinstance(found, Unfit):
            return found
        membership = _Digest(lambda: _file_digest(self._layout.membership(cohort_id)))
        unfit = self._of_another(cohort_id, found.head)
        manifest = unfit or self._moved_on(cohort_id, found.head) or self._decoded(cohort_id, found)
        # the digests were made meanwhile
        return self._damage(cohort_id, found) or unfit or self._misfit(cohort_id, found.head, membership) or manifest

    def stored(self, cohort_id: str) -> Manifest | Unfit:
        """Return a cohort's manifest whether or not it is stale, or why it cannot be read."""
        found = self._read(cohort_id)
        if isinstance(found, Unfit):
            return found
        unfit = self._damage(cohort_id, found) or self._of_another(cohort_id, found.head)
        return unfit or self._decoded(cohort_id, found)

    def _read(self, cohort_id: str) -> _Read | Unfit:
        """Return the bytes of a cohort's manifest and what it says that it is of."""
        path = self._layout.manifest(cohort_id)
        try:
            with reading(path), _opened(path) as file:
                data = file.read()
            stated, rest, line = split(data, str(path))
            return _Read(data, decode_head(line, str(path)), stated, _Digest(lambda: hashlib.sha256(rest).hexdigest()))
        except FileNotFoundError:
            return Unfit(Fault.ABSENT, f"there is no {path}")
        except UnsupportedFormat as error:
            return Unfit(Fault.NEWER, error.message)
        except CorruptFile as error:
            return Unfit(Fault.DAMAGED, error.message)
        except StorageFailed as error:
            return Unfit(Fault.UNREADABLE, error.message)

    def _damage(self, cohort_id: str, found: _Read) -> Unfit | None:
        if found.digest.value() == found.stated:
            return None
        said = f"{self._layout.manifest(cohort_id)}: its checksum is another than it states: edited, cut off or damaged"
        return Unfit(Fault.DAMAGED, said)

    def _decoded(self, cohort_id: str, found: _Read) -> Manifest | Unfit:
        try:
            return decode(found.data, found.head, self._pipeline, str(self._layout.manifest(cohort_id)))
        except CorruptFile as error:
            return Unfit(Fault.DAMAGED, error.message)

    def _of_another(self, cohort_id: str, head: Head) -> Unfit | None:
        path = self._layout.manifest(cohort_id)
        if head.cohort_id != cohort_id:
            return Unfit(Fault.FOREIGN, f"{path}: it is that of the cohort {head.cohort_id!r}")
        if head.pipeline != pipeline_digest(self._pipeline, self._salt):
            said = "it was written under another salt, or for other stages, than pool.yaml has"
            return Unfit(Fault.FOREIGN, f"{path}: {said}")
        return None

    def _misfit(self, cohort_id: str, head: Head, membership: _Digest) -> Unfit | None:
        """Return why a manifest is not that of the membership as it stands."""
        if membership.value() == head.membership:
            return None
        path = self._layout.manifest(cohort_id)
        return Unfit(Fault.STALE, f"{path}: membership.csv is another than when it was written")

    def _moved_on(self, cohort_id: str, head: Head) -> Unfit | None:
        """Return why a manifest is not that of the generations as they are."""
        path = self._layout.manifest(cohort_id)
        try:
            changed = self._changed(head)
        except GenpoolError as error:
            return Unfit(Fault.UNREADABLE, f"{path}: nobody can tell whether it is stale: {error.message}")
        if changed is None:
            return None
        said = f"generations of stage {changed!r} were added, removed or replaced since it was written"
        return Unfit(Fault.STALE, f"{path}: {said}")

    def _changed(self, head: Head) -> str | None:
        """Return the first stage that is not what it was, or None."""
        unknown = head.tokens.keys() - {stage.name for stage in self._pipeline}
        if unknown:
            return min(unknown)
        asked = [
            name for name, token in head.tokens.items() if not still_holds(self._layout, self._pipeline[name], token)
        ]
        if not asked:
            return None
        with closing(self._open()) as catalog:
            for name in asked:
                if not catalog.token(self._pipeline[name]).same_content(head.tokens[name]):
                    return name
        return None

    # -- writing -----------------------------------------------------------------------------------

    def write(self, cohort_id: str) -> Manifest:
        """Write a cohort's manifest, from its membership and the catalog.

        Raises:
            NotFound: The cohort has no membership.
            CorruptFile: Its membership cannot be read.
            PoolBusy: Somebody else writes the cohort's files.
            StorageFailed: It cannot be written.
        """
        with cohort_lock(self._layout, cohort_id):
            manifest = self._made(cohort_id)
            path = self._layout.manifest(cohort_id)
            with storage_errors(f"cannot write the manifest of {cohort_id!r}"):
                replace_file(path, encode(manifest))
        return manifest

    def keep_up(self, cohort_id: str) -> None:
        """Write a cohort's manifest unless it is good. Where that cannot be, nothing is lost but time later."""
        with suppress(GenpoolError):
            if isinstance(self.good(cohort_id), Unfit):
                self.write(cohort_id)

    def _made(self, cohort_id: str) -> Manifest:
        """Return what a cohort's manifest must hold now."""
        data = membership_data(self._layout, cohort_id)
        members = members_of(data, self._pipeline, str(self._layout.membership(cohort_id)), read_aliases(self._layout))
        standing = CatalogStanding(members, self._open, cohort_id, self._salt)
        stages = {name: standing.columns(name) for name in standing.stages}
        digest = hashlib.sha256(data).hexdigest()
        head = Head(cohort_id, pipeline_digest(self._pipeline, self._salt), digest, standing.tokens)
        return Manifest(head, members.runs, stages)

    def remove(self, cohort_id: str) -> bool:
        """Remove a cohort's manifest; return whether there was one.

        Raises:
            StorageFailed: It cannot be removed.
        """
        path = self._layout.manifest(cohort_id)
        with storage_errors(f"cannot remove the manifest of {cohort_id!r}"):
            refuse_link(path.parent)
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            flush_directory(path.parent)
        return True


@dataclass(frozen=True, slots=True)
class _Read:
    """The bytes of a manifest, and what it says that it is of."""

    data: bytes
    head: Head
    stated: str
    """The checksum that it states."""
    digest: _Digest
    """The one that it has."""


class _Digest:
    """A digest that is made in a thread of its own: hashing lets others work meanwhile."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._found: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError, GenpoolError):  # what cannot be read has no digest, and so not the right one
            self._found = self._make()

    def value(self) -> str | None:
        """Return the digest when it is made; None where there is nothing to read."""
        self._thread.join()
        return self._found


def _file_digest(path: Path) -> str:
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> BufferedReader:
    """Open a file for reading; neither it nor its folder may be a link, and a pipe is not waited for.

    Raises:
        OSError: It is no file, or cannot be read.
    """
    refuse_link(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageFailed(f"{path} is no file", hint="something else is where genpool keeps this; move it away")
    return os.fdopen(descriptor, "rb")
