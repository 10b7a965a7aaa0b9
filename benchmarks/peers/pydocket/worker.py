"""docket's worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import looped
import uvloop
from docket import Docket, Retry, Worker
from looped import Data, handle, start
from talk import Order, Tally
from urls import docket_url

_CHECK_MS = 1  # less is no pause to Redis but a wait without end
_LAZY_CHECK_MS = 250  # docket's default
_RESULTS = timedelta(minutes=15)  # docket's default
_NO_RESULTS = timedelta(0)
_LOCK_MS = 30_000

_RETRY = Retry()


async def work_off(queue: str, order: Order, tally: Tally, stop: asyncio.Event) -> None:
    async def work(given: Data) -> None:
        await handle(tally, given)

    # A function of its own, as asking for the retry costs every job that does.
    async def retried(given: Data, attempts: int, retry: Retry = _RETRY) -> None:
        retry.attempts = attempts
        await handle(tally, given, retry.attempt - 1)

    async with Docket(
        name=queue, url=docket_url(), execution_ttl=_RESULTS if order["keep"] is None else _NO_RESULTS
    ) as docket:
        docket.register(work)
        docket.register(retried)
        worker = Worker(
            docket,
            concurrency=order["concurrency"],
            # Workers of many queues would do nothing but check.
            minimum_check_interval=timedelta(milliseconds=min(_LAZY_CHECK_MS, _CHECK_MS * len(order["queues"]))),
            redelivery_timeout=timedelta(milliseconds=order.get("lock", _LOCK_MS)),
        )
        # Leaving it ends what is in hand.
        async with worker:
            start(worker.run_forever())
            await stop.wait()


if __name__ == "__main__":
    uvloop.run(looped.work(work_off, "pydocket", "redis", "hiredis", "uvloop"))
