"""Runs that something beside them steers: drains, aborts, or lets models answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genpool.pool import Pool
    from genpool.runner import Runner, RunReport
    from genpool.testing import ScriptedModel

PATIENCE = 20.0  # seconds until a test calls a run stuck


def steered(pool: Pool, clients: dict[str, ScriptedModel], steer, cohort_id: str = "c") -> RunReport:
    """Run a cohort beside something that steers the run; neither may take for ever."""

    async def both() -> RunReport:
        begun: asyncio.Future[Runner] = asyncio.get_running_loop().create_future()
        run = asyncio.create_task(pool.arun(cohort_id, models=clients, started=begun.set_result))
        async with asyncio.timeout(PATIENCE):
            await steer(await begun)
            return await run

    return asyncio.run(both())


async def until(condition) -> None:
    """Wait until something is seen to be so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - seen from outside, nobody tells
            await asyncio.sleep(0.005)
