"""Keys never get out of a run, whatever a server echoes: not into output, logs, the pool or temporary files."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from tests.bars import least
from tests.small_pools import make_pool, memory_folder, write_spec

from .echoing_server import ANSWER, WAYS, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.conftest import Statement

pytestmark = pytest.mark.bar(12)
KEYS = {
    "hexadecimal": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "prefixed": "sk-proj-T3BlbkFJx9Qm2vLr8ZtYw6KcNe4HsGdU1aXo7PbV5iRjMf0S",
    "base64": "qL8R+ZcT/6vWb0yXkE2mJ9sHn4DgA7fUoP1iK5eNtV3rCwQx==",
    "url-special": "a&b=c?d#e/f%20g+h;i:j@k,l$m!n*o'p(q)r~s1",
    "quotes": "kq\"uo'te\\back9slash\\\\x{y}z",
    "short": "k9Zq7w2x",
    "hardly-longer": "hJ4-pQ8_tZ",
    "long": "L0ng" + "kEy7Vt" * 60,
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsImlhdCI6MTV9.Qx7mN2pLrT9vWzYb4KcHs6dUfAe1GjXo",
    "numbers": "49302817746501928374655102938475",
    "letters": "QwErTyUiOpAsDfGhJkLzXcVbNmQaZwSx",
    "dots-and-lines": "genpool.key_v1-a.b_c-d.e_f-0123.4567",
}
"""Twelve keys, by what is special about each."""

PROMPT = "canary-prompt-2240"
"""What every prompt has in it: bodies do not belong into logs either."""

LOUD = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")
for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "aiohttp.client", "asyncio", "h11"):
    logging.getLogger(name).setLevel(logging.DEBUG)
"""
LOUDER = (
    LOUD
    + """
for name in ("openai", "httpx2", "httpcore2", "httpx", "httpcore", "aiohttp"):
    logging.getLogger(name).addHandler(logging.FileHandler(f"{name}.log"))
"""
)
"""Logging of a program that wants to know everything, turned up before anything else is imported."""

VERBOSITY = {"quiet": "", "loud": LOUD, "louder": LOUDER}


def forms(secret: str) -> Iterator[bytes]:
    """Yield what to search for: as it is, in a URL, in JSON, and in base64 at each of the three alignments."""
    written = [
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
    ]
    written += [written[1].lower(), json.dumps(secret)[1:-1].replace("/", "\\/")]
    for one in dict.fromkeys(written):
        yield one.encode()
    for before in range(3):
        for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
            first = alphabet(b"\0" * before + secret.encode() + b"\0\0\0")
            second = alphabet(b"\xff" * before + secret.encode() + b"\xff\xff\xff")
            same = [a == b for a, b in zip(first, second, strict=True)]
            start = same.index(True)
            yield first[start : start + same[start:].index(False)]  # what does not depend on the neighbours


@dataclass(frozen=True)
class Ran:
    code: int
    out: bytes
    err: bytes
    files: dict[str, bytes]
    """Everything that was written, by its path; what the test itself wrote is left out where it has not changed."""

    def hits(self, secret: str) -> list[str]:
        """Return where a secret stands, in any form."""
        places = {"stdout": self.out, "stderr": self.err, **self.files}
        wanted = set(forms(secret))
        return [f"{place}: {form!r}" for place, data in places.items() for form in wanted if form in data]


def prepared(folder: Path, port: int, key: str, *, url_user: str = "", ways: list[str] = WAYS) -> Path:
    """Make a pool with a model for each way to misbehave; the key comes from .env."""
    entry = (
        "{{client: openai, base_url: 'http://{user}127.0.0.1:{port}/{way}/v1', key: CANARY_KEY, model: m, "
        "timeout: 3, tries: 1}}"
    )
    entries = {f"m-{way}": entry.format(user=url_user, port=port, way=way) for way in ways}
    entries["m-closed"] = entry.format(user=url_user, port=1, way="x")
    root = make_pool(folder / "pool", rows=1, models=entries).root
    (root / "templates/draft/plain.j2").write_text(f"{PROMPT} {{{{ row.topic }}}}")
    write_spec(root, draft=f"template: [plain], model: [{', '.join(entries)}]")
    quoted = key.replace("\\", "\\\\").replace("'", "\\'")
    (root / ".env").write_text(f"CANARY_KEY='{quoted}'\n")
    return root


def run(folder: Path, words: list[str], logging_code: str, **environment: str) -> Ran:
    """Run a real process with everything of it in `folder`, its logs turned up; return what it wrote."""
    for name in ("home", "tmp", "work", "site"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "site/sitecustomize.py").write_text(logging_code)
    before = _files(folder)
    loud = {"GENPOOL_TRACEBACK": "1", "PYTHONASYNCIODEBUG": "1", "OPENAI_LOG": "debug"} if logging_code else {}
    source = str(Path(__file__).parents[2] / "src")
    known = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), source]),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "genpool", "--pool", str(folder / "pool"), *words],
        capture_output=True,
        cwd=folder / "work",
        env={**known, **loud, **environment},
        timeout=120,
        check=False,
    )
    after = _files(folder)
    written = {name: data for name, data in after.items() if before.get(name) != data}
    return Ran(done.returncode, done.stdout, done.stderr, written)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def everything(folder: Path, logging_code: str, **environment: str) -> list[Ran]:
    """Run a cohort, again as a machine reads it, then ask what became of it."""
    words = (["run", "c"], ["run", "c", "--json"], ["status", "c"], ["ls", "c"])
    return [run(folder, list(one), logging_code, **environment) for one in words]


@dataclass(slots=True)
class Found:
    hits: list[str] = field(default_factory=list)
    processes: int = 0
    lines: int = 0
    searched: int = 0

    def add(self, name: str, ran: Ran, secrets: Sequence[str]) -> None:
        self.hits += [f"{name}: {hit}" for secret in secrets for hit in ran.hits(secret)]
        self.hits += [
            f"{name}: {text} in what is printed" for text in (PROMPT, ANSWER) if text.encode() in ran.out + ran.err
        ]
        self.processes += 1
        self.lines += len(ran.err.splitlines())
        self.searched += len(ran.out) + len(ran.err) + sum(len(data) for data in ran.files.values())

    def __str__(self) -> str:
        return f"{self.processes} processes, {self.lines} lines of logs, {self.searched} bytes: {len(self.hits)} hits"


@pytest.mark.timeout(1200)
def test_keys_are_written_nowhere(full: bool, proof: Statement) -> None:
    chosen = KEYS if full else {name: KEYS[name] for name in ("url-special", "short", "token")}
    found = Found()
    for name, key in chosen.items():
        for level in VERBOSITY if full else ["louder"]:
            with serving() as server, memory_folder() as folder:
                prepared(folder, server.port, key)
                for ran in everything(folder, VERBOSITY[level]):
                    found.add(f"{name}, {level}", ran, [key])
                assert {path.split("/")[1] for path in server.asked} == set(WAYS)
                texts = [data for file, data in _files(folder).items() if file.endswith("raw.txt")]
                assert any(b"[key]" in text for text in texts), "an answer that echoes the key is kept, the key hidden"
                assert any(ANSWER.encode() in text for text in texts)
    said = f"{len(chosen)} keys, {len(WAYS)} faults, {found}"
    proof(said, keys=tuple(chosen), faults=len(WAYS), bytes=found.searched, hits=len(found.hits))
    assert found.hits == []


@pytest.mark.timeout(600)
def test_keys_in_an_address_are_written_nowhere(full: bool, proof: Statement) -> None:
    """A password in `base_url` goes to the server as basic authorization; it stays in pool.yaml."""
    chosen = ["hexadecimal", "url-special", "base64", "short", "token"] if full else ["url-special"]
    found = Found()
    for name in chosen:
        with serving() as server, memory_folder() as folder:
            prepared(folder, server.port, "another-key-4711-0815", url_user=f"user:{quote(KEYS[name], safe='')}@")
            for ran in everything(folder, LOUDER):
                found.add(name, ran, [KEYS[name], f"user:{KEYS[name]}", "another-key-4711-0815"])
            assert {path.split("/")[1] for path in server.asked} == set(WAYS)
    said = f"{len(chosen)} passwords in addresses, {found}"
    proof(said, bytes=found.searched, hits=len(found.hits))
    assert found.hits == []


def test_a_key_from_the_environment_is_written_nowhere(proof: Statement) -> None:
    found = Found()
    with serving() as server, memory_folder() as folder:
        prepared(folder, server.port, "not-this-one")
        for ran in everything(folder, LOUDER, CANARY_KEY=KEYS["prefixed"]):
            found.add("prefixed", ran, [KEYS["prefixed"]])
        assert len(server.asked) == len(WAYS)
    proof(bytes=found.searched, hits=len(found.hits))
    assert found.hits == []


PLAIN = """
import asyncio, openai, os, sys
async def ask(way):
    url = f"http://127.0.0.1:{sys.argv[1]}/{way}/v1"
    client = openai.AsyncOpenAI(api_key=os.environ["CANARY_KEY"], base_url=url, timeout=1, max_retries=0)
    try:
        print((await client.chat.completions.create(model="m", messages=[])).model_dump_json())
    except Exception as error:
        print(error)
for way in sys.argv[2:]:
    asyncio.run(ask(way))
"""


@pytest.mark.timeout(600)
def test_the_search_finds_keys_where_nothing_hides_them(full: bool, proof: Statement) -> None:
    """The same server, logging and search, with the bare library in place of genpool: nearly every fault tells."""
    ways = WAYS if full else WAYS[::4]
    telling = set()
    with serving() as server, memory_folder() as folder:
        (folder / "sitecustomize.py").write_text(LOUD)
        for way in ways:
            ran = subprocess.run(
                [sys.executable, "-c", PLAIN, str(server.port), way],
                capture_output=True,
                env={**os.environ, "PYTHONPATH": str(folder), "CANARY_KEY": KEYS["url-special"]},
                check=True,
            )
            if Ran(0, ran.stdout, ran.stderr, {}).hits(KEYS["url-special"]):
                telling.add(way)
    share = 100 * len(telling) / len(ways)
    proof(f"with the bare library {len(telling)} of {len(ways)} faults tell the key, and are seen to", bare=share)
    assert share >= least(12, "bare")
