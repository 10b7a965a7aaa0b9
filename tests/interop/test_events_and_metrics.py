"""What happens in a queue is counted in one place, and a cancellation told as BullMQ tells a failure, whoever works on it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine import Cancellation, Job, Queue, Worker
from tests.interop.side import NodeSide
from tests.support.running import running

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def test_both_sides_count_into_the_same_buckets(redis_url: str, node: NodeSide) -> None:
    async def nothing(job: Job[Any]) -> None: ...

    await node.make("Queue", "queue", "q")
    async with Queue("q", redis=redis_url) as queue:
        for number in range(3):
            async with running(Worker("q", nothing, redis=redis_url, metrics=60)):
                await asyncio.gather(*[(await queue.add("n", {})).result(timeout=10) for _ in range(4)])
            await node.make("Worker", f"worker {number}", "q", metrics={"maxDataPoints": 60})
            await asyncio.gather(*[(await queue.add("n", {})).result(timeout=10) for _ in range(4)])
            await node.call(f"worker {number}", "close")
        ours, theirs = await queue.metrics("completed"), await node.call("queue", "getMetrics", "completed")
    assert ours.total == theirs["meta"]["count"] == 24
    assert len(ours.per_minute) == theirs["count"]


async def test_node_sees_a_cancelled_job_as_failed(redis_url: str, node: NodeSide) -> None:
    await node.make("Queue", "queue", "q")
    await node.make("QueueEvents", "events", "q")
    added = await node.call("queue", "add", "n", {}, {"delay": 60_000})
    async with Queue("q", redis=redis_url) as queue:
        assert await queue.cancel(added["id"], "no longer wanted") is Cancellation.CANCELLED
        (told,) = await node.heard("events", "failed")
        assert told[0]["failedReason"] == "cancelled: no longer wanted"
        assert (await node.call("queue", "getJobCounts"))["failed"] == 1
