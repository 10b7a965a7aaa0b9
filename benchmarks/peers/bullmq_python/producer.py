"""BullMQ's producer in Python."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import bullmq
import uvloop
from looped import Data, Queue, produce
from pool import Pool
from talk import url


class BullmqQueue:
    def __init__(self, queue: bullmq.Queue) -> None:
        self._queue = queue

    async def add(self, given: Data, **options: int) -> object:
        return await self._queue.add("job", given, options)

    async def add_many(self, lot: Sequence[Data], **options: int) -> object:
        return await self._queue.addBulk([{"name": "job", "data": given, "opts": options} for given in lot])

    async def waiting(self) -> int:
        return int(await self._queue.getWaitingCount())


@asynccontextmanager
async def open_queue(name: str) -> AsyncIterator[Queue]:
    pool = Pool(url())
    yield BullmqQueue(bullmq.Queue(name, {"connection": pool.client()}))
    await pool.close()


if __name__ == "__main__":
    uvloop.run(produce(open_queue, "bullmq", "redis", "hiredis", "uvloop"))
