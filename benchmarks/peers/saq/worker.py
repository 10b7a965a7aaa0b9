"""saq's worker."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import uvloop
from looped import Data, handle, start, work
from redis.asyncio import Redis
from saq import Worker
from saq.queue.redis import RedisQueue
from talk import Order, Tally, url

_NO_RESULT = -1
_GRACE_S = 1  # for what is in hand at the end; it always takes that long, as the reads of an empty queue never end


async def work_off(queue_name: str, order: Order, tally: Tally, stop: asyncio.Event) -> None:
    drop = order["keep"] == 0

    async def job(context: dict[str, Any], *, given: Data) -> None:
        if drop:
            # How long a job is kept is said by who adds it; its worker may say otherwise.
            context["job"].ttl = _NO_RESULT
        await handle(tally, given, context["job"].attempts - 1)

    queue = RedisQueue(Redis.from_url(url()), name=queue_name, dump=orjson.dumps, load=orjson.loads)
    await queue.connect()
    worker = Worker(queue, [("work", job)], concurrency=order["concurrency"], shutdown_grace_period_s=_GRACE_S)
    running = start(worker.start())
    await stop.wait()
    await worker.stop()
    await running
    await queue.disconnect()


if __name__ == "__main__":
    uvloop.run(work(work_off, "saq", "redis", "hiredis", "orjson", "uvloop"))
