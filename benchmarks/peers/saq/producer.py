"""saq's producer. It has no bulk call that does not wait for results."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvloop
from looped import Data, Queue, produce
from redis.asyncio import Redis
from saq.queue.redis import RedisQueue
from talk import url


class SaqQueue:
    def __init__(self, queue: Any) -> None:
        self._queue = queue

    async def add(self, given: Data, *, delay: int = 0, attempts: int = 1) -> object:
        # saq has whole seconds; rounded up, as no job may begin too early.
        due = math.ceil(time.time() + delay / 1000) if delay else 0
        return await self._queue.enqueue("work", given=given, scheduled=due, retries=attempts)

    async def add_many(self, lot: object, **_options: int) -> object:
        raise NotImplementedError

    async def waiting(self) -> int:
        return int(await self._queue.count("queued"))


@asynccontextmanager
async def open_queue(name: str) -> AsyncIterator[Queue]:
    queue = RedisQueue(Redis.from_url(url()), name=name, dump=orjson.dumps, load=orjson.loads)
    await queue.connect()
    yield SaqQueue(queue)
    await queue.disconnect()


if __name__ == "__main__":
    uvloop.run(produce(open_queue, "saq", "redis", "hiredis", "orjson", "uvloop"))
