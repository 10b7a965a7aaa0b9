"""BullMQ's worker in Python."""

from __future__ import annotations

import asyncio
import sys
from functools import cache
from typing import Any

import uvloop
from bullmq import Job, Worker
from looped import handle, start, work
from pool import Pool
from talk import Order, Tally, url


async def work_off(queue: str, order: Order, tally: Tally, stop: asyncio.Event) -> None:
    async def job(job: Job, token: str) -> None:
        await handle(tally, job.data, job.attemptsMade)

    worker = Worker(queue, job, {"connection": _pool().client(), **_options(order)})
    # Nobody hears of a failure inside the library otherwise.
    worker.on("error", _tell)
    running = start(worker.run())
    await stop.wait()
    await worker.close()
    await running


@cache
def _pool() -> Pool:
    """One for all queues, made once there is a loop."""
    return Pool(url())


def _options(order: Order) -> dict[str, Any]:
    options: dict[str, Any] = {"autorun": False, "concurrency": order["concurrency"]}
    if order["keep"] is not None:
        options["removeOnComplete"] = {"count": order["keep"]}
    if "lock" in order:
        options["lockDuration"] = order["lock"]
    if "sweep" in order:
        options["stalledInterval"] = order["sweep"]
    return options


def _tell(*what: object) -> None:
    print(*what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    uvloop.run(work(work_off, "bullmq", "redis", "hiredis", "uvloop"))
