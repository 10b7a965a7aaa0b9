"""When a job runs: in order, by priority, at the front of the queue, or after a delay."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from engine import Job, Queue, Worker
from tests.support.running import running


async def test_lower_priority_numbers_run_first(redis_url: str) -> None:
    order: list[str] = []

    async def note(job: Job[str]) -> None:
        order.append(job.data)

    async with Queue("lines", redis=redis_url) as queue:
        await queue.add("note", "later", priority=20)
        await queue.add("note", "soon", priority=10)
        await queue.add("note", "soon too", priority=10)
        await queue.add("note", "first")
        await queue.add("note", "before all", lifo=True)
        last = await queue.add("note", "last", priority=30)
        async with running(Worker("lines", note, redis=redis_url, concurrency=1)):
            await last.result(timeout=10_000)
    assert order == ["before all", "first", "soon", "soon too", "later", "last"]


async def test_a_delayed_job_never_starts_early(redis_url: str) -> None:
    started: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def note(job: Job[None]) -> None:
        started.set_result(time.time())

    async with Queue("later", redis=redis_url) as queue, running(Worker("later", note, redis=redis_url)):
        added = time.time()
        job = await queue.add("note", delay=timedelta(milliseconds=300))
        assert await job.state() == "delayed"
        await job.result(timeout=10_000)
    # The script decides in whole milliseconds of the server's clock, which here is this machine's.
    assert started.result() - added >= 0.299


async def test_a_delayed_job_can_be_promoted_or_put_off(redis_url: str) -> None:
    async def work(job: Job[None]) -> str:
        return "done"

    async with Queue("later", redis=redis_url) as queue:
        hour = 3_600_000
        promoted = await queue.add("work", delay=hour)
        sooner = await queue.add("work", delay=hour)
        await queue.add("work", delay=hour)
        await queue.promote(promoted.id)
        await queue.change_delay(sooner.id, 20)
        async with running(Worker("later", work, redis=redis_url)):
            assert await promoted.result(timeout=10_000) == "done"
            assert await sooner.result(timeout=10_000) == "done"
        assert (await queue.counts()).delayed == 1


async def test_a_waiting_job_can_be_given_another_priority(redis_url: str) -> None:
    order: list[str] = []

    async def note(job: Job[str]) -> None:
        order.append(job.data)

    async with Queue("lines", redis=redis_url) as queue:
        await queue.add("note", "b", priority=5)
        raised = await queue.add("note", "a", priority=9)
        last = await queue.add("note", "c", priority=10)
        await queue.change_priority(raised.id, 1)
        async with running(Worker("lines", note, redis=redis_url, concurrency=1)):
            await last.result(timeout=10_000)
    assert order == ["a", "b", "c"]
