"""streaq's producer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import uvloop
from looped import Data, Queue, produce
from streaq import Worker
from talk import url


async def _task(given: Data, attempts: int = 1) -> None:
    """Stands for the worker's function of that name; never called here."""


class StreaqQueue:
    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._task = worker.task(name="work")(_task)

    def _made(self, given: Data, delay: int, attempts: int) -> Any:
        task = self._task.enqueue(given, attempts) if attempts > 1 else self._task.enqueue(given)
        return task.start(delay=timedelta(milliseconds=delay)) if delay else task

    async def add(self, given: Data, *, delay: int = 0, attempts: int = 1) -> object:
        return await self._made(given, delay, attempts)

    async def add_many(self, lot: Sequence[Data], *, delay: int = 0, attempts: int = 1) -> object:
        return await self._worker.enqueue_many([self._made(given, delay, attempts) for given in lot])

    async def waiting(self) -> int:
        redis, stream = self._worker.redis, self._worker.stream_key + self._worker.priorities[0]
        length = int(await redis.xlen(stream))
        # The first worker makes the group; what is in it and not acknowledged stays in the stream.
        groups = await redis.xinfo_groups(stream) if length else ()
        return length - sum(int(group["pending"]) for group in groups)


@asynccontextmanager
async def open_queue(name: str) -> AsyncIterator[Queue]:
    async with Worker(redis_url=url(), queue_name=name) as worker:
        yield StreaqQueue(worker)


if __name__ == "__main__":
    uvloop.run(produce(open_queue, "streaq", "coredis", "hiredis", "uvloop"))
