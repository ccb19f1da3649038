"""Applying a plan, and going on after a crash: batch by batch, each journaled before and after it is done."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import orjson

from genpool.canonical import sha256
from genpool.catalog_opening import remove_index
from genpool.durable import is_there, lies_with_the_file, make_directory, replace_file, storage_errors
from genpool.errors import CorruptFile, PoolError, StorageFailed, StorageFull
from genpool.layout import METADATA
from genpool.migration import journal as kinds
from genpool.migration.batches import not_as_planned
from genpool.migration.reading import read_plain
from genpool.migration.renames import ATTEMPTS, GENS, MEMBER
from genpool.migration.rest import note_rest
from genpool.migration.rounds import FOLDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from genpool.layout import PoolLayout
    from genpool.migration.rounds import Round

_EACH: Final = 2 * 4096
"""Bytes that a record takes that is written anew: its block, and what it adds to folders and journal."""
_SPARE: Final = 1 << 24


# --- before the first change ------------------------------------------------------------------------


def check_fits(one: Round, tell: Callable[[str, int, int], None]) -> None:
    """Refuse where the pool is not as it was when it was planned.

    Raises:
        PoolError: Something was added, removed or changed since.
    """
    root, digests = one.root, one.plan.digests
    _check_listings(one)
    _check_attempts(one)
    for done, (path, digest) in enumerate(digests.items()):
        if done % 1000 == 0:
            tell("checking", done, len(digests))
        if not digest:
            if path in one.plan.document["books"] and is_there(f"{root}/{path}"):
                raise not_as_planned(path)
            continue
        file = f"{path}/{METADATA}" if is_generation(path) else path
        try:
            data = read_plain(f"{root}/{file}")
        except OSError as error:
            if lies_with_the_file(error):
                raise not_as_planned(file) from None
            raise  # the machine refused; nobody knows what is there
        if sha256(data) != digest:
            raise not_as_planned(file)


def is_generation(path: str) -> bool:
    """Return whether a path of digests.csv is the directory of a generation."""
    parts = path.split("/")
    return (len(parts) == 3 and parts[0] == GENS) or (len(parts) == 5 and parts[0] == "trash" and parts[2] == GENS)


def _check_listings(one: Round) -> None:
    """Refuse where a stage's folder has more or fewer directories than were planned with."""
    planned: dict[str, set[str]] = {folder: set() for folder in one.plan.document["listed"]}
    for path in one.plan.digests:
        folder, _, name = path.rpartition("/")
        if folder in planned:
            planned[folder].add(name)
    tops = [one.layout.generations, one.layout.all_attempts]
    with suppress(FileNotFoundError):
        for trash_id in os.listdir(one.layout.trash):  # noqa: PTH208 - names will do
            tops += [one.layout.trash / trash_id / kind for kind in (GENS, ATTEMPTS)]
    for top in tops:
        for name in _names(top):
            folder = (top / name).relative_to(one.layout.root).as_posix()
            there = set(_names(top / name))
            known = planned.get(folder, set())
            if there != known and (folder in planned or name in one.pipeline_names):
                odd = sorted(there ^ known)[0]
                raise PoolError(
                    f"{folder} is not as it was planned: {odd} was {'added' if odd in there else 'removed'} since",
                    hint="plan again: `genpool migrate plan`",
                )


def _check_attempts(one: Round) -> None:
    """Refuse where a task has attempts that were not planned with."""
    for path, digest in one.plan.digests.items():
        parts = path.split("/")
        if digest or parts[-3:-2] != [ATTEMPTS]:
            continue
        for number in _names(one.layout.root / path):
            record = f"{path}/{number}/{METADATA}"
            if record not in one.plan.digests and is_there(f"{one.root}/{record}"):
                raise not_as_planned(record)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names will do
    except (FileNotFoundError, NotADirectoryError):
        return []


def check_room(one: Round) -> None:
    """Refuse where the disk is too full, or where the pool's folders are not on one file system.

    Raises:
        StorageFull: There is not enough space for what is written anew.
        StorageFailed: A folder is on another file system, so that nothing can be renamed into it, or cannot be written.
    """
    rows = [row for row in one.plan.rows if row.place != MEMBER]
    books = 0
    for path in one.plan.document["books"]:
        with suppress(OSError):
            books += os.stat(f"{one.root}/{path}").st_size  # noqa: PTH116 - a text
    needed = len(rows) * (_EACH + 1024) + 2 * books + _SPARE
    status = os.statvfs(one.root)
    free = status.f_bavail * status.f_frsize
    nodes = len(rows) * 2 + 1000
    if free < needed or (status.f_files and status.f_favail < nodes):
        raise StorageFull(
            f"the disk has {free >> 20:,} MiB and {status.f_favail:,} inodes left; the migration may need "
            f"{needed >> 20:,} MiB and {nodes:,} inodes",
            hint="free some space; nothing was changed",
        )
    device = os.stat(one.layout.migrations).st_dev  # noqa: PTH116 - a text
    for folder in sorted(
        {f"{row.place}/{row.stage}" for row in rows} | {_parent(p) for p in one.plan.document["books"]}
    ):
        if os.stat(f"{one.root}/{folder}").st_dev != device:  # noqa: PTH116 - a text
            raise StorageFailed(
                f"{folder} is on another file system than {one.layout.migrations}: nothing can be renamed between them",
                hint="migrate a copy of the pool that is on one file system",
            )
        if not os.access(f"{one.root}/{folder}", os.W_OK | os.X_OK):
            # the call says only yes or no: a disk that fails looks like a missing right
            why = " or ".join(os.strerror(one) for one in (errno.EACCES, errno.EROFS, errno.EIO))
            raise StorageFailed(f"{folder} cannot be written ({why})", hint="nothing was changed")


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "."


# --- doing ------------------------------------------------------------------------------------------


def begin(one: Round) -> None:
    """Note when the pool's folders were changed, and that the migration has begun."""
    with storage_errors("cannot begin the migration"):
        make_directory(one.folder)
        data = b"".join(orjson.dumps(line) + b"\n" for line in _folder_times(one.layout, one.plan.added))
        replace_file(one.folder / FOLDERS, data)
        rest = note_rest(one)
        count = len(one.batches())
        one.journal.add(
            kinds.BEGIN,
            format=kinds.FORMAT,
            migration_id=one.plan.migration_id,
            size=one.size,
            batches=count,
            steps=sum(steps.count for steps in one.batches()),
            folders=sha256(data),
            rest=rest,
        )


def _folder_times(layout: PoolLayout, added: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield the folders in which something may be renamed or replaced, each with when it was changed."""
    patterns = ("", "gens", "gens/*", "attempts", "attempts/*", "cohorts", "cohorts/*", "ledger")
    gets = sorted({path.rpartition("/")[0] for path in added})
    for pattern in (*patterns, *gets, "trash", *(f"trash/*/{one}".rstrip("/") for one in patterns)):
        for path in sorted(layout.root.glob(pattern)) if pattern else [layout.root]:
            if path.is_dir() and not path.is_symlink():
                yield path.relative_to(layout.root).as_posix(), path.stat().st_mtime_ns


def carry_on(one: Round, tell: Callable[[str, int, int], None], watch: Callable[[dict[str, object]], None]) -> None:
    """Do every batch that is not done; then the migration is applied.

    Args:
        one: The round; it has begun.
        tell: Told how far it is.
        watch: Given a JSON object a batch.

    Raises:
        PoolError: Something is not as it was planned, or the file system refused.
    """
    begun = {int(entry["batch"]): entry for entry in one.journal.find(kinds.INTENT)}
    done = {int(entry["batch"]) for entry in one.journal.find(kinds.DONE)}
    batches = one.batches()
    total = sum(steps.count for steps in batches)
    before = 0
    for number, steps in enumerate(batches, start=1):
        tell(f"applying: {steps.what}", before, total)
        if number not in done:
            if number not in begun:
                name = one.free_name(f"batch-{number}")
                with storage_errors("cannot prepare a batch of the migration"):
                    digest = one.batch(name).prepare(steps.make())
                    _forget(one, number, name)
                    one.journal.add(kinds.INTENT, batch=number, what=steps.what, folder=name, sha256=digest)
            else:
                name, digest = str(begun[number]["folder"]), str(begun[number]["sha256"])
            _do(one, number, name, digest)
        before += steps.count
        watch({"batch": number, "batches": len(batches), "what": steps.what, "done": before, "all": total})
    tell("applying", total, total)
    finish(one)
    one.journal.add(kinds.APPLIED)


def _do(one: Round, number: int, name: str, digest: str) -> None:
    batch = one.batch(name)
    with storage_errors("cannot go on with the migration"):
        try:
            intents = batch.intents(digest)
        except FileNotFoundError:
            raise CorruptFile(
                f"{one.folder / name} is gone, though the journal names it", hint="restore it from a copy"
            ) from None
        batch.do(intents)
        one.journal.add(kinds.DONE, batch=number)


def _forget(one: Round, number: int, name: str) -> None:
    """Let go of what earlier tries to prepare a batch left."""
    for path in sorted(one.folder.glob(f"batch-{number}.*")):
        if path.name != name:
            let_go(path)


def let_go(folder: Path) -> None:
    """Remove a batch that the journal does not name: it was never done.

    Only second names are removed. Were a file's only name here, the journal would have lost a line.
    """
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("o") or path.stat(follow_symlinks=False).st_nlink > 1:
            path.unlink()
    with suppress(OSError):
        folder.rmdir()


def finish(one: Round) -> None:
    """Take away what is rebuilt from the pool: the catalog."""
    remove_index(one.layout)


def refuse_strict(one: Round) -> None:
    """Refuse a strict plan that leaves something as it is.

    Raises:
        PoolError: It does.
    """
    blocking = sum(entry["count"] for entry in one.plan.document["defects"] if entry["blocks"])
    if one.plan.document["strict"] and blocking:
        raise PoolError(
            f"{one.plan.migration_id} was planned with --strict, and something must stay as it is, for {blocking:,} "
            f"reason{'s' * (blocking != 1)}",
            hint="`genpool migrate plan --strict` says what and why; mend it, or plan without --strict",
        )
