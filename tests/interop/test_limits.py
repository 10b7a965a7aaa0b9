"""Limits that both worlds keep: no more jobs at once, no more in a window, whoever runs them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine import Job, NewJob, Queue, Worker
from tests.interop.side import NodeSide
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def test_a_mixed_fleet_never_runs_more_at_once_than_the_queue_allows(redis_url: str, node: NodeSide) -> None:
    async def brief(job: Job[Any]) -> None:
        await asyncio.sleep(0.002)

    await node.make("Queue", "queue", "q")
    await node.call("queue", "setGlobalConcurrency", 3)
    most = 0
    async with Queue("q", redis=redis_url) as queue:
        assert await queue.concurrency() == 3
        await queue.add_many([NewJob("n", {}) for _ in range(300)])
        await node.make("Worker", "worker", "q", concurrency=10)
        async with running(Worker("q", brief, redis=redis_url, concurrency=10)):

            async def all_done() -> bool:
                nonlocal most
                counts = await queue.counts()
                most = max(most, counts.active)
                return counts.completed == 300

            await until(all_done, "all were done")
        assert 1 <= most <= 3
        assert node.told.of("worker", "completed"), "node had a share"


async def test_a_mixed_fleet_keeps_the_rate_of_the_queue(redis_url: str, node: NodeSide) -> None:
    async def nothing(job: Job[Any]) -> None: ...

    async with Queue("q", redis=redis_url) as queue:
        await queue.set_rate_limit(10, 200)
        await queue.add_many([NewJob("n", {}) for _ in range(60)])
        await node.make("Worker", "worker", "q", concurrency=10, limiter={"max": 10, "duration": 200})
        async with running(Worker("q", nothing, redis=redis_url, concurrency=10)):

            async def all_done() -> bool:
                return (await queue.counts()).completed == 60

            await until(all_done, "all were done", timeout=20)
        starts = sorted(job.processed_on for job in await queue.jobs("completed", 0, 99) if job.processed_on)
        # Windows are fixed: two of them may touch, so 20 in any 200 ms, and 60 take five windows at least.
        assert (starts[-1] - starts[0]).total_seconds() >= 0.8


async def test_a_manual_limit_of_nodes_holds_us_back(redis_url: str, node: NodeSide) -> None:
    started: list[str] = []

    async def note(job: Job[Any]) -> None:
        started.append(job.id)

    async with Queue("q", redis=redis_url) as queue:
        await queue.set_rate_limit(1_000, 1_000)
        await node.make("Queue", "queue", "q")
        await node.call("queue", "rateLimit", 60_000)
        await queue.add("n", {})
        async with running(Worker("q", note, redis=redis_url, drain_delay=20)) as worker:
            await until(lambda: worker.last_turn is not None, "the worker asked")
            assert started == []
            assert await queue.rate_limit_ttl() > 0
            await node.call("queue", "removeRateLimitKey")
            await until(lambda: started, "the job ran once the limit was gone")
