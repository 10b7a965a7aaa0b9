"""Rate limits and concurrency in a mixed fleet, judged by the event stream."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from engine import Job, NewJob, Queue, RateLimited, Worker
from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.scripts.claim import claim
from engine.scripts.finish import finish
from tests.interop.side import PATIENCE, NodeSide
from tests.interop.stream import starts, told
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def nothing(job: Job[Any]) -> None: ...


async def test_a_mixed_fleet_keeps_the_queues_concurrency(redis_url: str, node: NodeSide) -> None:
    async def brief(job: Job[Any]) -> None:
        await asyncio.sleep(0.002)

    await node.make("Queue", "queue", "q")
    await node.call("queue", "setGlobalConcurrency", 3)
    async with Queue("q", redis=redis_url) as queue:
        assert await queue.concurrency() == 3
        await queue.add_many([NewJob("n", {}) for _ in range(150)])
        await node.make("Worker", "worker", "q", concurrency=10)
        async with running(Worker("q", brief, redis=redis_url, concurrency=10)):
            await until(lambda: _completed(queue, 150), "all were done", timeout=PATIENCE)
        assert await _most_at_once(queue) == 3
    assert node.told.of("worker", "completed"), "node had a share"


async def test_a_slot_that_we_leave_wakes_a_node_worker(redis_url: str, node: NodeSide, link: Link, keys: Keys) -> None:
    """It sleeps for a minute when it hears nothing."""
    async with Queue("q", redis=redis_url) as queue:
        await queue.set_concurrency(1)
        await queue.add("n", {})
        (held,) = (await claim(link, keys, token="t", lock_ms=60_000, worker="w", count=1)).jobs
        second = await queue.add("n", {})
        await node.make("Worker", "worker", "q", drainDelay=60)
        await until(lambda: _is_asleep(queue), "node's worker sleeps", timeout=PATIENCE)
        await finish(link, keys, [(held, b"1", Keep())])
        await second.result(timeout=PATIENCE * 1000)


async def test_a_mixed_fleet_keeps_the_rate_limits(redis_url: str, node: NodeSide) -> None:
    limit = {"max": 10, "duration": 150}
    async with Queue("of-queue", redis=redis_url) as of_queue, Queue("of-workers", redis=redis_url) as of_workers:
        await of_queue.set_rate_limit(limit["max"], limit["duration"])
        for queue in (of_queue, of_workers):
            await queue.add_many([NewJob("n", {}) for _ in range(45)])
        # BullMQ's workers look at the queue's limit by themselves.
        await node.make("Worker", "of-queue", "of-queue", concurrency=10)
        await node.make("Worker", "of-workers", "of-workers", concurrency=10, limiter=limit)
        async with (
            running(Worker("of-queue", nothing, redis=redis_url, concurrency=10)),
            running(Worker("of-workers", nothing, redis=redis_url, concurrency=10, limiter=limit)),
        ):
            for queue in (of_queue, of_workers):
                await until(partial(_completed, queue, 45), "all were done", timeout=PATIENCE)
                sizes = _windows(await starts(queue), limit["duration"])
                assert max(sizes) <= limit["max"], f"{queue.name}: {sizes}"


@pytest.mark.parametrize("limited", ["us", "node"])
async def test_a_limit_that_one_side_meets_holds_up_the_other_too(redis_url: str, node: NodeSide, limited: str) -> None:
    """Also that job itself, which comes first when the time is over and has used no attempt."""
    hold = 250

    async def act(job: Job[Any]) -> None:
        if job.data.get("do") == "limit" and job.attempts_started == 1:
            raise RateLimited(hold)

    await node.make("Queue", "queue", "q")
    async with Queue("q", redis=redis_url) as queue:
        # BullMQ's workers keep to it only where there is some limit at all.
        await queue.set_rate_limit(1_000, 1)
        first = await queue.add("n", {"do": "limit", "queue": "queue", "ms": hold})
        await queue.add_many([NewJob("n", {}) for _ in range(5)])
        worker = Worker("q", act, redis=redis_url, concurrency=1)
        if limited == "node":
            await node.make("Worker", "worker", "q")
            await until(lambda: _came_back(queue), "node met a limit", timeout=PATIENCE)
        async with running(worker):
            if limited == "us":
                await until(lambda: _came_back(queue), "we met a limit", timeout=PATIENCE)
                await node.make("Worker", "worker", "q")
            await until(lambda: _completed(queue, 6), "all were done", timeout=PATIENCE)
        began, next_one = [entry for entry in await told(queue) if entry["event"] == "active"][:2]
        assert began["jobId"] == next_one["jobId"] == first.id
        assert int(next_one["at"]) - int(began["at"]) >= hold - 1
        await first.refresh()
        assert (first.attempts_started, first.attempts_made) == (2, 1)


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


async def _completed(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count


async def _is_asleep(queue: Queue) -> bool:
    return b"blocked_clients:1\r\n" in await queue.link.call("INFO", "clients")


async def _came_back(queue: Queue) -> bool:
    return any(entry.get("prev") == "active" for entry in await told(queue))


async def _most_at_once(queue: Queue) -> int:
    running = most = 0
    for entry in await told(queue):
        running += {"active": 1, "completed": -1}.get(entry["event"], 0)
        most = max(most, running)
    return most


def _windows(starts: list[int], duration: int) -> list[int]:
    """How many jobs started in each window: one begins with the first start after the one before, and ends in its last ms."""
    sizes: list[int] = []
    ends = 0
    for start in starts:
        if start >= ends:
            sizes.append(0)
            ends = start + duration - 2  # the counter's clock and the stream's may be a ms apart
        sizes[-1] += 1
    return sizes
