"""docket's producer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop
from docket import Docket
from looped import Data, Queue, produce
from urls import docket_url


async def work(given: Data) -> None:
    """Stands for the worker's function of that name; never called here."""


async def retried(given: Data, attempts: int) -> None:
    """The same for jobs with more than one try."""


class DocketQueue:
    def __init__(self, docket: Any) -> None:
        self._docket = docket

    async def add(self, given: Data, *, delay: int = 0, attempts: int = 1) -> object:
        if attempts > 1:
            return await self._docket.add(retried, when=_when(delay))(given, attempts)
        return await self._docket.add(work, when=_when(delay))(given)

    async def add_many(self, lot: Sequence[Data], *, delay: int = 0, attempts: int = 1) -> object:
        when = _when(delay)
        if attempts > 1:
            calls = [self._docket.call(retried, when=when)(given, attempts) for given in lot]
        else:
            calls = [self._docket.call(work, when=when)(given) for given in lot]
        return await self._docket.add_many(calls)

    async def waiting(self) -> int:
        async with self._docket.redis() as redis:
            stream = self._docket.stream_key
            length = int(await redis.xlen(stream))
            # The first worker makes the group; what is in it and not acknowledged stays in the stream.
            groups = await redis.xinfo_groups(stream) if length else ()
            return length - sum(int(group["pending"]) for group in groups)


def _when(delay: int) -> datetime | None:
    return datetime.now(UTC) + timedelta(milliseconds=delay) if delay else None


@asynccontextmanager
async def open_queue(name: str) -> AsyncIterator[Queue]:
    async with Docket(name=name, url=docket_url()) as docket:
        docket.register(work)
        docket.register(retried)
        yield DocketQueue(docket)


if __name__ == "__main__":
    uvloop.run(produce(open_queue, "pydocket", "redis", "hiredis", "uvloop"))
