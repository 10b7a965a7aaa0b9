"""streaq's worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import uvloop
from looped import Data, handle, start, work
from streaq import StreaqRetry, Worker
from talk import Order, Tally, url

_RESULTS_S = 300  # streaq's default
_LOCK_MS = 60_000  # so is this


async def work_off(queue: str, order: Order, tally: Tally, stop: asyncio.Event) -> None:
    async def job(given: Data, attempts: int = 1) -> None:
        tries: int = task.context.tries
        try:
            await handle(tally, given, tries - 1)
        except RuntimeError:
            # streaq tries again what asks for it by this exception, and nothing else.
            if tries < attempts:
                raise StreaqRetry(delay=0) from None
            raise

    worker = Worker(
        redis_url=url(),
        queue_name=queue,
        handle_signals=False,
        concurrency=order["concurrency"],
        idle_timeout=timedelta(milliseconds=order.get("lock", _LOCK_MS)),
    )
    task = worker.task(name="work", max_tries=None, ttl=_RESULTS_S if order["keep"] is None else 0)(job)
    running = start(worker.run_async())
    await stop.wait()
    # A job that has begun is shielded from this.
    running.cancel()
    await asyncio.wait([running])


if __name__ == "__main__":
    uvloop.run(work(work_off, "streaq", "coredis", "hiredis", "uvloop"))
