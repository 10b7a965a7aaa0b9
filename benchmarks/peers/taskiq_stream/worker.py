"""taskiq's worker, for both brokers."""

from __future__ import annotations

import asyncio

import uvloop
from brokers import LIBRARIES, broker_of
from looped import Data, handle, work
from talk import Order, Tally, url
from taskiq import Context, SimpleRetryMiddleware, TaskiqDepends
from taskiq.receiver import Receiver
from taskiq_redis import RedisAsyncResultBackend

_PREFETCH = 100
_RESULTS_S = 3_600

_CONTEXT = TaskiqDepends()


async def work_off(queue: str, order: Order, tally: Tally, stop: asyncio.Event) -> None:
    async def job(given: Data) -> None:
        await handle(tally, given)

    # A function of its own, as asking for the context costs every job that does.
    async def retried(given: Data, context: Context = _CONTEXT) -> None:
        await handle(tally, given, int(context.message.labels.get("_retries", 0)))

    broker = broker_of(queue).with_middlewares(SimpleRetryMiddleware())
    if order["keep"] is None:
        broker = broker.with_result_backend(RedisAsyncResultBackend(url(), result_ex_time=_RESULTS_S))
    broker.register_task(job, task_name="work")
    broker.register_task(retried, task_name="retried", retry_on_error=True)
    broker.is_worker_process = True
    receiver = Receiver(
        broker,
        run_startup=True,
        validate_params=False,
        max_async_tasks=order["concurrency"],
        max_prefetch=_PREFETCH,
    )
    await receiver.listen(stop)
    await broker.shutdown()


if __name__ == "__main__":
    uvloop.run(work(work_off, *LIBRARIES))
