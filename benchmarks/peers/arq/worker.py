"""arq's worker."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from arq import Retry, Worker, func
from arq.connections import RedisSettings
from looped import Data, handle, start, work
from talk import Order, Tally, url

_POLL_S = 0.01
_LAZY_POLL_S = 0.5  # arq's default
_TRIES = 1_000  # more than any job is given: the job's own number decides
_LONGEST_S = 20  # and 10 more, which arq adds, until the job of a killed worker is another's
_RESULTS_S = 3_600  # arq's default


async def work_off(queue: str, order: Order, tally: Tally, stop: asyncio.Event) -> None:
    async def job(context: dict[str, Any], given: Data, attempts: int = 1) -> None:
        tries: int = context["job_try"]
        try:
            await handle(tally, given, tries - 1)
        except RuntimeError:
            # arq tries again what asks for it by this exception, and nothing else.
            if tries < attempts:
                raise Retry from None
            raise

    worker = Worker(
        [func(job, name="work", max_tries=_TRIES)],
        queue_name=queue,
        redis_settings=RedisSettings.from_dsn(url()),
        handle_signals=False,
        max_jobs=order["concurrency"],
        # Workers of many queues would do nothing but poll.
        poll_delay=min(_LAZY_POLL_S, _POLL_S * len(order["queues"])),
        log_results=False,
        keep_result=_RESULTS_S if order["keep"] is None else 0,
        job_timeout=_LONGEST_S,
    )
    start(_run(worker))
    await stop.wait()
    worker.allow_pick_jobs = False
    await asyncio.gather(*worker.tasks.values())
    await worker.close()


async def _run(worker: Any) -> None:
    try:
        await worker.async_run()
    except asyncio.CancelledError:
        # That is how `close` ends it.
        return


if __name__ == "__main__":
    uvloop.run(work(work_off, "arq", "redis", "hiredis", "uvloop"))
