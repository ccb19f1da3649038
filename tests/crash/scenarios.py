"""Things that are done to a pool and may be killed on the way, each with what must hold afterwards.

A scenario prepares a folder, acts on it (in a child that may be killed at any system call), and then judges what
is left from a fresh start. The actor acknowledges by a file beside the folder, as soon as the call under test has
returned: what was acknowledged must be there.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Protocol

from genpool import durable
from genpool.adoption import adopt, membership_bytes
from genpool.directory_store import DirectoryStore
from genpool.errors import GenpoolError, NotFound
from genpool.layout import PoolLayout
from genpool.ledger import Ledger
from genpool.locks import pool_lock
from genpool.pool import Pool
from genpool.records import Reason
from genpool.stages import DEFAULT_PIPELINE
from genpool.testing import ScriptedModel, sample_generation
from tests.small_pools import generations, ledger_entries, make_pool, torn_generations, write_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from genpool.runner import RunReport

DRAFT = DEFAULT_PIPELINE["draft"]
MADE = sample_generation("the text\n" * 100)
RIVAL = sample_generation("the rival's text\n" * 100)
CUT = Reason("truncated", "cut off")


class Scenario(Protocol):
    """Something that may be killed on the way."""

    def prepare(self, root: Path) -> None:
        """Make what is there before."""

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        """Do it; acknowledge what has been promised."""

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        """Yield what is wrong with what is left; do it again, and yield what is wrong then."""


def acknowledger(folder: Path) -> Callable[[str], None]:
    """Return how an actor acknowledges: by a file that its death leaves there."""

    def ack(what: str) -> None:
        (folder / what).touch()

    return ack


def _is_whole(store: DirectoryStore, texts: dict[str, str]) -> str | None:
    """Return why a generation is not there with these texts, or None where it is."""
    try:
        record = store.record(DRAFT, MADE.gen_id)
        found = {name: store.text(record, name) for name in texts}
    except GenpoolError as error:
        return f"{type(error).__name__}: {error}"
    return None if found == texts else "it has other texts"


class Committing:
    """A generation is committed to an empty store."""

    def __init__(self, store: type[DirectoryStore] = DirectoryStore) -> None:
        self.open = lambda root: store(PoolLayout(root))

    def prepare(self, root: Path) -> None:
        root.mkdir()

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        store = self.open(root)
        with store.session():
            if store.commit(MADE):
                ack("committed")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        store = DirectoryStore(PoolLayout(root))
        if generations(root):
            said = _is_whole(store, dict(MADE.texts))
            if said:
                yield f"torn: {said}"
        elif acked:
            yield "lost: commit had returned"
        with store.session():
            store.commit(MADE)
        said = _is_whole(store, dict(MADE.texts))
        if said:
            yield f"after doing it again: {said}"
        if list((root / ".genpool" / "staging").iterdir()):
            yield "staging was not cleaned"


class CommittingTwice(Committing):
    """A generation is committed where another writer was first."""

    def prepare(self, root: Path) -> None:
        store = DirectoryStore(PoolLayout(root))
        with store.session():
            store.commit(MADE)

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        store = self.open(root)
        with store.session():
            store.commit(RIVAL)
            ack("kept as an attempt")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        store = DirectoryStore(PoolLayout(root))
        said = _is_whole(store, dict(MADE.texts))
        if said:
            yield f"what was there is not what it was: {said}"
        yield from _attempts_wrong(store, "bought_twice", RIVAL.text, expected=1 if acked else 0)
        with store.session():
            if store.commit(RIVAL):
                yield "the second writer won"


class CommittingOverIncomplete(Committing):
    """A generation is committed where some tool left an incomplete directory."""

    LEFT = b"somebody's work"

    def prepare(self, root: Path) -> None:
        folder = root / "gens" / "draft" / MADE.gen_id
        folder.mkdir(parents=True)
        (folder / "raw.txt").write_bytes(self.LEFT)

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        store = DirectoryStore(PoolLayout(root))
        if acked:
            said = _is_whole(store, dict(MADE.texts))
            if said:
                yield f"lost: {said}"
        if not store.incomplete(DRAFT, [MADE.gen_id]):
            said = _is_whole(store, dict(MADE.texts))
            if said:
                yield f"torn: {said}"
        if not self._kept(root):
            yield "what was left incomplete is gone"
        with store.session():
            store.commit(MADE)
        said = _is_whole(store, dict(MADE.texts))
        if said:
            yield f"after doing it again: {said}"
        if not self._kept(root):
            yield "what was left incomplete is gone after doing it again"

    def _kept(self, root: Path) -> bool:
        name = f"draft/{MADE.gen_id}"
        places = (*root.glob(f"gens/{name}/raw.txt"), *root.glob(f"attempts/{name}/*/raw.txt"))
        return any(path.read_bytes() == self.LEFT for path in places)


def _attempts_wrong(store: DirectoryStore, kind: str, text: str, expected: int) -> Iterator[str]:
    """Yield what is wrong with the attempts at the generation: each visible one must be whole."""
    found = store.attempts(DRAFT, MADE.gen_id)
    if len(found) < expected:
        yield f"{len(found)} attempts are there, {expected} were acknowledged"
    for attempt in found:
        folder = store.layout.attempts("draft", MADE.gen_id) / str(attempt.number)
        if attempt.reason.kind != kind:
            yield f"torn attempt: {attempt.reason.kind}"
        elif (folder / "parsed.txt").read_text() != text:
            yield "torn attempt: another text"


class KeepingAnAttempt(Committing):
    """Two attempts at a task are kept."""

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        store = self.open(root)
        with store.session():
            for number in (1, 2):
                store.keep_attempt(MADE, CUT)
                ack(str(number))

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        store = DirectoryStore(PoolLayout(root))
        yield from _attempts_wrong(store, CUT.kind, MADE.text, expected=len(acked))
        before = len(store.attempts(DRAFT, MADE.gen_id))
        with store.session():
            if store.keep_attempt(MADE, CUT).number != before + 1:
                yield "the next attempt has a wrong number"


class KeepingASource:
    """A source text is kept."""

    DATA = b"a template\r\n" * 50

    def prepare(self, root: Path) -> None:
        root.mkdir()

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        DirectoryStore(PoolLayout(root)).put_source(self.DATA)
        ack("kept")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        from hashlib import sha256

        store = DirectoryStore(PoolLayout(root))
        try:
            store.source(sha256(self.DATA).hexdigest())
        except NotFound:
            if acked:
                yield "lost: put_source had returned"
        if store.source(store.put_source(self.DATA)) != self.DATA:
            yield "after doing it again: another text"


class ReplacingAFile:
    """A file is replaced."""

    OLD, NEW = b"old\n" * 2000, b"new, and longer\n" * 2000

    def __init__(self, replace: Callable[[Path, bytes], None] = durable.replace_file) -> None:
        self.replace = replace

    def prepare(self, root: Path) -> None:
        root.mkdir()
        (root / "file").write_bytes(self.OLD)

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        self.replace(root / "file", self.NEW)
        ack("replaced")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        found = (root / "file").read_bytes()
        if found not in {self.OLD, self.NEW}:
            yield f"torn: {len(found)} bytes"
        elif acked and found != self.NEW:
            yield "lost: the replacement had returned"
        durable.replace_file(root / "file", self.NEW)
        if (root / "file").read_bytes() != self.NEW:
            yield "after doing it again: another content"


class AppendingLines:
    """Lines are appended to a file whose last line a crash has torn."""

    OLD = (b'{"line": 1}', b'{"line": 2}')
    NEW = (b'{"line": 3}', b'{"line": 4}')

    def __init__(self, append: Callable[[Path, bytes], None] = durable.append_lines) -> None:
        self.append = append

    def prepare(self, root: Path) -> None:
        root.mkdir()
        (root / "lines").write_bytes(b"\n".join(self.OLD) + b'\n{"li')

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        self.append(root / "lines", b"\n".join(self.NEW) + b"\n")
        ack("appended")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        whole = tuple((root / "lines").read_bytes().split(b"\n")[:-1])
        if whole[:2] != self.OLD:
            yield "a line that was there is gone"
        if whole[2:] not in {(), self.NEW}:
            yield f"torn: {whole[2:]}"
        if acked and whole[2:] != self.NEW:
            yield "lost: append had returned"
        self.append(root / "lines", b'{"line": 5}\n')
        for line in (root / "lines").read_bytes().splitlines():
            try:
                json.loads(line)
            except ValueError:
                yield f"after appending again: a line that is none: {line!r}"


class WritingTheLedger:
    """An intent is written and settled; then another."""

    def __init__(self, ledger: type[Ledger] = Ledger) -> None:
        self.ledger = ledger

    def prepare(self, root: Path) -> None:
        root.mkdir()

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        async def write() -> None:
            ledger = self.ledger(root / "ledger", "run-1", "c")
            for name in ("d_1", "d_2"):
                intent = await ledger.intend("draft", name, "writer", 0.5)
                ack(f"intent {name}")
                ledger.settle(intent, "committed", {})
            await ledger.close()
            for name in ("d_1", "d_2") if not ledger.failed else ():
                ack(f"settled {name}")

        asyncio.run(write())

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        entries = ledger_entries(root)
        if entries and entries[0].get("format") != "genpool.ledger/1":
            yield "the head is missing"
        there = {f"{'intent' if 'intent' in entry else 'settled'} {entry['gen_id']}" for entry in entries[1:]}
        if acked - there:
            yield f"lost: {sorted(acked - there)}"


class Adopting:
    """A cohort's plan becomes its membership, after another one was."""

    def prepare(self, root: Path) -> None:
        pool = make_pool(root, rows=2)
        write_spec(root)
        self._adopt(root)
        write_spec(root, draft="template: [plain, long], model: [writer]")
        (root / "rows.csv").write_text("id,topic\nrow-0,topic 0\nrow-9,topic 9\n")
        self.old = (root / "cohorts" / "c" / "membership.csv").read_bytes()
        self.new = membership_bytes(Pool.open(pool.root).plan("c"))
        assert self.old != self.new

    def _adopt(self, root: Path) -> None:
        pool = Pool.open(root)
        adopt(pool.layout, pool.spec("c"), pool.plan("c"), pool.inputs, pool.config.models)

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        self._adopt(root)
        ack("adopted")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        found = (root / "cohorts" / "c" / "membership.csv").read_bytes()
        if found not in {self.old, self.new}:
            yield f"torn membership: {len(found)} bytes"
        if acked and found != self.new:
            yield "lost: adopt had returned"
        self._adopt(root)
        if (root / "cohorts" / "c" / "membership.csv").read_bytes() != self.new:
            yield "after adopting again: another membership"
        combos = [json.loads(line)["combo_id"] for line in (root / "combos.jsonl").read_text().splitlines()]
        if combos != ["row-0", "row-1", "row-9"]:
            yield f"combos are recorded as {combos}"


class WritingAManifest:
    """A cohort's manifest is written in the place of one that is stale."""

    def prepare(self, root: Path) -> None:
        make_pool(root, rows=2)
        write_spec(root)
        Pool.open(root).run("c", models={"writer": ScriptedModel()})
        shutil.rmtree(next((root / "gens/draft").iterdir()))

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        Pool.open(root).manifests.write("c")
        ack("written")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        yield from self._wrong_answers(root)
        if acked and Pool.open(root).scope("c").answered_from != "manifest":
            yield "lost: write had returned"
        self.act(root, lambda _: None)
        yield from self._wrong_answers(root)
        if Pool.open(root).scope("c").answered_from != "manifest":
            yield "after writing again: it is not used"

    def _wrong_answers(self, root: Path) -> Iterator[str]:
        counts = Pool.open(root).scope("c").counts()["draft"]
        if (counts.wanted, counts.own, counts.missing) != (2, 1, 1):
            yield f"wrong: {counts}"
        try:
            json.loads((root / "cohorts/c/manifest.json").read_bytes())
        except ValueError as error:
            yield f"torn: {error}"


class LockingThePool:
    """The pool is locked and let go."""

    def prepare(self, root: Path) -> None:
        root.mkdir()

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        with pool_lock(PoolLayout(root), "genpool migrate", exclusive=True):
            ack("held")

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        try:
            with pool_lock(PoolLayout(root), "genpool run"):
                pass
        except GenpoolError as error:
            yield f"the lock outlived its holder: {error}"


class RunningACohort:
    """A cohort of two drafts and two essays of each, one of them a copy, is run."""

    TASKS, CALLS = 6, 4

    def __init__(self, calls_log: str = "calls.txt") -> None:
        self.calls_log = calls_log
        self.outside = calls_log.startswith("..")

    def prepare(self, root: Path) -> None:
        log = "" if self.outside else f"calls_log: {self.calls_log}, "
        make_pool(root, rows=2, models={"writer": f"{{client: scripted, {log}concurrency: 1}}"})
        write_spec(root, essay="template: [story, same]")

    def act(self, root: Path, ack: Callable[[str], None]) -> None:
        if self.run(root).complete:
            ack("complete")

    def run(self, root: Path) -> RunReport:
        """Run the cohort with a model that notes its calls, elsewhere where the pool's disk is one that forgets."""
        models = {"writer": ScriptedModel(calls_log=root / self.calls_log)} if self.outside else None
        return Pool.open(root).run("c", models=models)

    def wrong(self, root: Path, acked: set[str]) -> Iterator[str]:
        pool = Pool.open(root)
        yield from torn_generations(pool)
        if acked and len(generations(root)) != self.TASKS:
            yield "lost: the run had returned"
        entries = ledger_entries(root)
        in_flight = sum("intent" in entry for entry in entries) - sum("settled" in entry for entry in entries)
        if in_flight not in {0, 1}:
            yield f"{in_flight} intents are unsettled, and one call at a time was allowed"
        if not self.run(root).complete:
            yield "the next run does not complete it"
        yield from torn_generations(pool)
        calls = len((root / self.calls_log).read_text().splitlines())
        if not self.CALLS <= calls <= self.CALLS + in_flight:
            yield f"{calls} calls for {self.CALLS} tasks, with {in_flight} unsettled intents"
