"""Idle workers are woken by either side's adds. Without a wake-up each here would sleep for a minute."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from engine import Job, NewJob, Queue, Worker
from engine.model.clock import to_ms
from tests.interop.side import PATIENCE, NodeSide
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

LONG = 60
"""Seconds."""


async def nothing(job: Job[Any]) -> None: ...


async def test_an_idle_worker_of_either_side_is_woken_by_the_other(redis_url: str, node: NodeSide) -> None:
    await node.make("Worker", "worker", "theirs", drainDelay=LONG)
    await node.make("Queue", "queue", "ours")
    await node.make("QueueEvents", "events", "ours")
    async with (
        Queue("theirs", redis=redis_url) as queue,
        running(Worker("ours", nothing, redis=redis_url, drain_delay=LONG * 1000)),
    ):
        for options in ({}, {"priority": 3}, {"lifo": True}):
            await (await queue.add("n", {}, **options)).result(timeout=PATIENCE * 1000)
            added = await node.call("queue", "add", "n", {}, options)
            await node.call("queue", "waitUntilFinished", job=added["id"], with_="events")


async def test_one_batch_wakes_ten_idle_workers_of_each_side(redis_url: str, node: NodeSide) -> None:
    """Each takes one job and holds it: all twenty run at once only if each that was woken woke the next."""
    go = asyncio.Event()

    async def hold(job: Job[Any]) -> None:
        await go.wait()

    async with Queue("q", redis=redis_url) as queue, AsyncExitStack() as stack:
        for number in range(10):
            await node.make("Worker", f"worker {number}", "q", drainDelay=LONG)
            worker = Worker("q", hold, redis=redis_url, concurrency=1, drain_delay=LONG * 1000)
            await stack.enter_async_context(running(worker))
            await worker.ready.wait()
        await until(lambda: _sleeping(queue, 20), "all of them sleep", timeout=PATIENCE)
        await queue.add_many([NewJob("n", {"do": "hold"}) for _ in range(20)])
        await until(lambda: _active(queue, 20), "all run at once", timeout=PATIENCE)
        go.set()
        for number in range(10):
            ((job, _),) = await node.heard(f"worker {number}", "active")
            await node.release(job["id"])
        await until(lambda: _completed(queue, 20), "all are done", timeout=PATIENCE)


async def test_delayed_jobs_of_the_other_side_run_when_due(redis_url: str, node: NodeSide) -> None:
    """Also the one that is added last and due first, while the worker sleeps until another."""
    # With a far one to sleep for, BullMQ's workers sleep for 10 s at most: earlier, they were woken.
    woken = 8
    await node.make("Worker", "worker", "theirs", drainDelay=LONG)
    await node.make("Queue", "queue", "ours")
    delays = {"much later": 600_000, "later": 300, "soon": 150, "next": 100}
    async with (
        Queue("theirs", redis=redis_url) as theirs,
        Queue("ours", redis=redis_url) as ours,
        running(Worker("ours", nothing, redis=redis_url, drain_delay=LONG * 1000)) as worker,
    ):
        await worker.ready.wait()
        await until(lambda: _sleeping(theirs, 2), "both sleep", timeout=PATIENCE)
        for name, delay in delays.items():
            await theirs.add(name, {}, delay=delay)
            await node.call("queue", "add", name, {}, {"delay": delay})
        for queue in (theirs, ours):
            await until(lambda queue=queue: _completed(queue, 3), "they ran", timeout=woken)  # type: ignore[misc]
            done = await queue.jobs("completed")
            assert {job.name for job in done} == {"later", "soon", "next"}
            for job in done:
                assert job.timestamp is not None
                assert job.processed_on is not None
                assert to_ms(job.processed_on) - to_ms(job.timestamp) >= job.opts.delay, f"{job.name} was early"
            assert (await queue.counts()).delayed == 1


async def _sleeping(queue: Queue, count: int) -> bool:
    """Whether so many clients wait at the server."""
    listed = await queue.link.call("INFO", "clients")
    return f"blocked_clients:{count}\r\n".encode() in listed


async def _active(queue: Queue, count: int) -> bool:
    return (await queue.counts()).active == count


async def _completed(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count
