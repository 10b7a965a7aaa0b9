"""arq's producer. One pool of connections; it has no bulk call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import uvloop
from arq.connections import RedisSettings, create_pool
from looped import Data, Queue, produce
from talk import url

_ASKED = 1_000
"""Keys in one question."""


class ArqQueue:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def add(self, given: Data, *, delay: int = 0, attempts: int = 1) -> object:
        # None rather than a delay of nothing: arq then takes the moment of adding.
        later = timedelta(milliseconds=delay) if delay else None
        tries = (attempts,) if attempts > 1 else ()
        return await self._pool.enqueue_job("work", given, *tries, _defer_by=later)

    async def add_many(self, lot: object, **_options: int) -> object:
        raise NotImplementedError

    async def waiting(self) -> int:
        # A job stays in the queue until it is done; what tells that it was taken is a key of its own.
        now = time.time() * 1000
        ids = await self._pool.zrangebyscore(self._pool.default_queue_name, "-inf", now)
        keys = [b"arq:in-progress:" + job for job in ids]
        taken = [int(await self._pool.exists(*keys[first : first + _ASKED])) for first in range(0, len(keys), _ASKED)]
        return len(ids) - sum(taken)


@asynccontextmanager
async def open_queue(name: str) -> AsyncIterator[Queue]:
    pool = await create_pool(RedisSettings.from_dsn(url()), default_queue_name=name)
    yield ArqQueue(pool)
    await pool.aclose(close_connection_pool=True)


if __name__ == "__main__":
    uvloop.run(produce(open_queue, "arq", "redis", "hiredis", "uvloop"))
