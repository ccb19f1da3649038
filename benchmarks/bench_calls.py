"""Calls a second through the OpenAI-compatible client, beside the plain SDK by either transport; server on loopback."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measure import print_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

import httpx2
import openai
from tests.servers.provider import Provider

from genpool.config import ModelEntry
from genpool.llm.client import Request
from genpool.llm.openai_compatible import OpenAICompatible
from genpool.prompts import Prompt

COUNT = 2000
AT_ONCE = 512
ROUNDS = 3
KEY = "sk-bench-0123456789"


async def all_of(ask: Callable[[int], Awaitable[object]]) -> None:
    """Ask everything, some at once."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            await ask(number)

    await asyncio.gather(*[one(number) for number in range(COUNT)])


async def by_genpool(url: str) -> None:
    """Ask through the client of genpool."""
    entry = ModelEntry("m", "openai", "m", base_url=url, concurrency=AT_ONCE)
    client = OpenAICompatible(entry, KEY)
    await all_of(lambda number: client.complete(Request(Prompt(f"Write {number}."), {}, number)))
    await client.aclose()


async def by_sdk(url: str, http: type[httpx2.AsyncClient]) -> None:
    """Ask through the SDK, without its retries."""
    limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    client = openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=http(limits=limits))
    await all_of(
        lambda number: client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": f"Write {number}."}], seed=number
        )
    )
    await client.close()


def main() -> None:
    """Print the table."""
    with Provider() as provider:
        url = provider.url("after_50_ms")
        things = {
            "genpool": lambda: by_genpool(url),
            "the SDK, by aiohttp": lambda: by_sdk(url, openai.DefaultAioHttpClient),
            "the SDK, by httpx": lambda: by_sdk(url, openai.DefaultAsyncHttpxClient),
        }
        best = dict.fromkeys(things, (float("inf"), float("inf")))
        for _ in range(ROUNDS):
            for name, thing in things.items():
                began, used = time.perf_counter(), time.process_time()
                asyncio.run(thing())
                took = (time.perf_counter() - began, time.process_time() - used)
                best[name] = (min(best[name][0], took[0]), min(best[name][1], took[1]))
    rows = [[name, f"{COUNT / wall:,.0f}", f"{cpu / COUNT * 1000:.2f}"] for name, (wall, cpu) in best.items()]
    title = (
        f"{COUNT} calls, {AT_ONCE} at once, answered after 50 ms (best of {ROUNDS}; the server is on the same machine)"
    )
    print_table(title, ["", "calls a second", "processor ms a call"], rows)


if __name__ == "__main__":
    main()
