"""Whole runs against a server on this machine, beside the bare SDK asking the same in a loop.

Each side is a process of its own that says what its work took, from before the first call to after the last: for
genpool planning, claims, ledger, rendering, parsing, and commits that are on disk; for the SDK nothing but the calls,
by the faster of its transports (aiohttp). The server shares the processors, and answers after 50 ms or 2 s.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import print_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.servers.provider import Provider

from genpool.pool import Pool

CASES = (("after_50_ms", 64, 2000), ("after_50_ms", 256, 3000), ("after_50_ms", 512, 3000))
CASES += (("after_2_s", 64, 256), ("after_2_s", 256, 1024), ("after_2_s", 512, 2048))
ROUNDS = 3
KEY = "sk-bench-0123456789"


def make_pool(root: Path, url: str, tasks: int, in_flight: int) -> None:
    """Make a pool whose cohort `c` has some drafts of one model."""
    (root / "cohorts/c").mkdir(parents=True)
    (root / "templates/draft").mkdir(parents=True)
    (root / "templates/draft/t.j2").write_text("Write about {{ row.topic }}.")
    (root / "rows.csv").write_text("id,topic\n" + "".join(f"row-{n},topic {n}\n" for n in range(tasks)))
    (root / "pool.yaml").write_text(
        "format: genpool.pool/1\nid_scheme: genpool/1\nmodels:\n"
        f"  m: {{client: openai, base_url: '{url}', model: m, concurrency: {in_flight},\n"
        "    price: {input: 1, output: 1}}\n"
    )
    (root / "cohorts/c/cohort.yaml").write_text(
        "format: genpool.cohort/1\ndraft: {combo: {rows: rows.csv}, template: [t], model: [m]}\n"
    )


def run_genpool(root: str) -> None:
    """Run the cohort."""
    report = Pool.open(root).run("c")
    if not report.complete:
        raise SystemExit(f"the run is not complete: {report.failures[:3]}")


def run_sdk(url: str, tasks: str, in_flight: str) -> None:
    """Ask the same with the SDK alone."""
    import openai

    async def everything() -> None:
        most = int(in_flight)
        http = openai.DefaultAioHttpClient(limits=_limits(most))
        client = openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=http)
        numbers = iter(range(int(tasks)))

        async def worker() -> None:
            for number in numbers:
                message = {"role": "user", "content": f"Write about topic {number}."}
                answer = await client.chat.completions.create(model="m", messages=[message], seed=number)
                if answer.choices[0].finish_reason != "stop":
                    raise SystemExit("not an answer")

        await asyncio.gather(*[worker() for _ in range(most)])
        await client.close()

    asyncio.run(everything())


def _limits(most: int) -> object:
    import httpx2

    return httpx2.Limits(max_connections=most, max_keepalive_connections=most)


def told(side: str, *words: str) -> tuple[float, float]:
    """Run one side in a process of its own; return its seconds and processor seconds."""
    command = [sys.executable, __file__, side, *words]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, used = json.loads(out)
    return seconds, used


def measure(server: Provider, below: str, fault: str, in_flight: int, tasks: int) -> list[str]:
    """Return a row of the table; the pools are left below a folder."""
    best = {"genpool": (float("inf"), float("inf")), "sdk": (float("inf"), float("inf"))}
    for _ in range(ROUNDS):
        folder = tempfile.mkdtemp(dir=below)
        make_pool(Path(folder), server.url(fault), tasks, in_flight)
        took = {
            "sdk": told("sdk", server.url(fault), str(tasks), str(in_flight)),
            "genpool": told("genpool", folder),
        }
        best = {side: (min(best[side][0], took[side][0]), min(best[side][1], took[side][1])) for side in best}
    (mine, my_cpu), (bare, bare_cpu) = best["genpool"], best["sdk"]
    return [
        fault.replace("_", " "),
        str(in_flight),
        str(tasks),
        f"{tasks / bare:,.0f}",
        f"{tasks / mine:,.0f}",
        f"{bare / mine:.0%}",
        f"{bare_cpu / tasks * 1e3:.2f}",
        f"{my_cpu / tasks * 1e3:.2f}",
    ]


def main() -> None:
    """Print the table."""
    # ext4 steps over inodes that were freed within the last 40 seconds, one by one: nothing is deleted in between
    with Provider() as server, tempfile.TemporaryDirectory(dir=Path.cwd()) as below:
        rows = [measure(server, below, *case) for case in CASES]
    columns = ["answers", "in flight", "tasks", "SDK/s", "genpool/s", "of the SDK", "SDK CPU ms", "genpool CPU ms"]
    print_table(f"whole runs, best of {ROUNDS}; CPU milliseconds a call, the server's left out", columns, rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        started = time.perf_counter()
        {"genpool": run_genpool, "sdk": run_sdk}[sys.argv[1]](*sys.argv[2:])
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps([time.perf_counter() - started, used.ru_utime + used.ru_stime]))
    else:
        main()
