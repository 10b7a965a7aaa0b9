"""What type checkers accept, and the types that they find."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from msgspec import Struct
from pydantic import BaseModel

from engine import (
    BaseProcessor,
    FlowJob,
    FlowProducer,
    Job,
    Keep,
    NewJob,
    Queue,
    Retry,
    SyncJob,
    SyncQueue,
    Worker,
    batch_processor,
    processor,
)
from engine.testing import TestQueue, assert_enqueued


class Greeting(Struct):
    name: str


@dataclass
class Order:
    items: list[str]


class Bill(BaseModel):
    total: int


@processor("greet", attempts=3, backoff=[1_000, 5_000])
async def greet(job: Job[Greeting]) -> str:
    return f"Hello, {job.data.name}"


@processor("bill", backoff={"type": "exponential", "delay": timedelta(seconds=1)})
def bill(job: Job[Order]) -> Bill:
    return Bill(total=len(job.data.items))


@processor("ping")
async def ping(job: Job[None]) -> None: ...


@processor("counted")
async def counted(job: Job[dict[str, int]]) -> int | Retry:
    return len(job.data) or Retry(500)


@processor()
async def every(job: Job[Any]) -> None: ...


@processor("with_pool")
async def with_dependency(job: Job[int], pool: Order) -> list[int]:
    return [job.data, len(pool.items)]


@batch_processor("stored", size=100)
async def store(jobs: list[Job[Order]]) -> list[int]:
    return [len(job.data.items) for job in jobs]


class Shipping(BaseProcessor[Order, Bill]):
    name = "ship"

    async def process(self, job: Job[Order]) -> Bill:
        return Bill(total=1)


async def show(job: Job[Any]) -> str:
    """Takes any job, typed or not."""
    return f"{job.id}: {await job.result(timeout=1_000)}"


async def middleware(job: Job[Any], call_next: Callable[[Job[Any]], Awaitable[Any]]) -> Any:
    return await call_next(job)


async def around_add(new_job: NewJob, call_next: Callable[[NewJob], Awaitable[Job[Any, Any]]]) -> Job[Any, Any]:
    new_job.change(attempts=5)
    return await call_next(new_job)


async def adding(queue: Queue) -> None:
    job = await queue.add(greet, Greeting("Ada"), delay=timedelta(seconds=5), attempts=3, job_id=None)
    assert_type(job, Job[Greeting, str])
    assert_type(job.data, Greeting)
    assert_type(job.return_value, str | None)
    assert_type(await job.result(timeout=30_000), str)
    assert_type(await job.refresh(), Job[Greeting, str])
    assert_type(await queue.add(bill, Order(["tea"]), run_at=datetime.now(UTC)), Job[Order, Bill])
    assert_type(await queue.add(ping), Job[None, None])
    assert_type(await queue.add(counted, {"a": 1}), Job[dict[str, int], int | Retry])
    assert_type(await queue.add(with_dependency, 5), Job[int, list[int]])
    assert_type(await queue.add(store, Order([]), remove_on_complete=Keep(age=60_000)), Job[Order, Any])
    assert_type(await queue.add(Shipping, Order([])), Job[Order, Bill])
    assert_type(await queue.add(Shipping(), Order([])), Job[Order, Bill])
    named = await queue.add("greet", {"name": "Ada"}, backoff={"type": "fixed", "delay": 5}, deduplication={"id": "x"})
    assert_type(named, Job[Any, Any])
    anything: int = await named.result()
    assert_type(await queue.get_job("1", greet), Job[Greeting, str] | None)
    assert_type(await queue.get_job("1"), Job[Any, Any] | None)
    await show(job)
    await show(named)
    print(anything)


async def adding_many(queue: Queue) -> None:
    assert_type(NewJob(greet, Greeting("Ada"), priority=1), NewJob[Greeting, str])
    assert_type(NewJob(ping), NewJob[None, None])
    assert_type(NewJob("greet"), NewJob[Any, Any])
    same = [NewJob(greet, Greeting("Ada")), NewJob(greet, Greeting("Bob"))]
    assert_type(await queue.add_many(same), list[Job[Greeting, str]])
    mixed: list[NewJob] = [NewJob(greet, Greeting("Ada")), NewJob("x", 5)]
    assert_type(await queue.add_many(mixed), list[Job[Any, Any]])


async def flows_and_schedules(flows: FlowProducer, queue: Queue) -> None:
    child = FlowJob("load", "loads", {"table": "orders"}, fail_parent_on_failure=True)
    flow = await flows.add(FlowJob(greet, "greetings", Greeting("Ada"), children=[child, FlowJob(ping, "pings")]))
    assert_type(flow.job, Job[Greeting, str])
    await queue.schedules.upsert("daily", greet, Greeting("Ada"), cron="0 9 * * *", attempts=3)
    await queue.schedules.upsert("often", ping, every=timedelta(minutes=1))
    await queue.schedules.upsert("named", "greet", {"name": "Ada"}, every=60_000)


def blocking(queue: SyncQueue) -> None:
    job = queue.add(greet, Greeting("Ada"), delay=5_000)
    assert_type(job, SyncJob[Greeting, str])
    assert_type(job.data, Greeting)
    assert_type(job.result(timeout=1_000), str)
    assert_type(queue.add("greet", {"name": "Ada"}), SyncJob[Any, Any])
    queue.schedules.upsert("daily", greet, Greeting("Ada"), cron="0 9 * * *")


async def running() -> None:
    async with Worker("q", greet, bill, Shipping(), middleware=[middleware]) as worker:
        await worker.close(timeout=timedelta(seconds=5))
    async with Worker("q", every), Queue("q", middleware=[around_add]):
        pass


async def testing(kit: TestQueue) -> None:
    assert_type(await kit.queue.add(greet, Greeting("Ada")), Job[Greeting, str])
    with kit.inline(greet) as queue:
        assert_type((await queue.add(greet, Greeting("Ada"))).return_value, str | None)
    await assert_enqueued(kit.queue, greet, {"name": "Ada"}, delay=5_000)
    run = await kit.run_until_drained(greet, timeout=5_000)
    assert_type(run.completed, list[Job[Any, Any]])
