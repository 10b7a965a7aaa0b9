"""taskiq's producer, for both brokers. It has no bulk call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from brokers import LIBRARIES, LISTS, broker_of
from looped import Data, Queue, produce
from redis.asyncio import Redis


async def _task(given: Data) -> None:
    """Stands for the worker's function of that name; never called here."""


class TaskiqQueue:
    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._task = broker.register_task(_task, task_name="work")
        self._retried = broker.register_task(_task, task_name="retried", retry_on_error=True)

    async def add(self, given: Data, *, delay: int = 0, attempts: int = 1) -> object:
        if delay:
            raise NotImplementedError
        if attempts > 1:
            return await self._retried.kicker().with_labels(max_retries=attempts).kiq(given)
        return await self._task.kiq(given)

    async def add_many(self, lot: object, **_options: int) -> object:
        raise NotImplementedError

    async def waiting(self) -> int:
        async with Redis(connection_pool=self._broker.connection_pool) as redis:
            name = self._broker.queue_name
            if LISTS:
                return int(await redis.llen(name))
            # The stream itself never gets shorter.
            (group,) = await redis.xinfo_groups(name)
            return int(group["lag"])


@asynccontextmanager
async def open_queue(name: str) -> AsyncIterator[Queue]:
    broker = broker_of(name)
    # Makes the group, too: of a stream without one, the first worker would only see what comes after it.
    await broker.startup()
    yield TaskiqQueue(broker)
    await broker.shutdown()


if __name__ == "__main__":
    uvloop.run(produce(open_queue, *LIBRARIES))
