"""Rows 18, 19 and 22: priorities kept, rate limits without bursts, keys in one slot."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest

from engine import FlowJob, FlowProducer, Job, NewJob, Queue, RateLimited, Worker
from engine.connection import Link, open_link
from engine.connection.embedded import EmbeddedServer
from engine.scripts.claim import claim
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def echo(job: Job[Any]) -> Any:
    return job.data


async def test_row_18_retries_stalls_promotions_keep_a_priority(queue: Queue, redis_url: str) -> None:
    """A stall, a retry, a delay that is over, a promotion, a reprocessing. That 0 goes before 1 is the wire's; the service's
    own scale has the higher number first."""
    order: list[str] = []

    async def run(job: Job[str]) -> None:
        if job.data == "retry" and job.attempts_made == 0:
            raise ValueError("once")
        order.append(job.data)

    failed = await queue.add("x", "reprocess", priority=2)
    async with running(Worker("q", lambda job: 1 / 0, redis=redis_url)):
        await until(lambda: _is(failed, "failed"), "it has failed")
    stalled = await queue.add("x", "stall", priority=4)
    await claim(queue.link, queue.keys, token="dead", lock_ms=1, worker="dead", count=1)
    await queue.add("x", "due", priority=3, delay=1)
    promoted = await queue.add("x", "promote", priority=5, delay=60_000)
    await queue.promote(promoted.id)
    await queue.retry(failed.id, reset_attempts=True)
    await queue.add("x", "retry", priority=1, attempts=2)
    await queue.add("x", "last", priority=9)
    options: dict[str, Any] = {"concurrency": 1, "lock_duration": 300, "stalled_interval": 100}
    await queue.pause()
    async with running(Worker("q", run, redis=redis_url, **options)):
        await until(lambda: _is(stalled, "prioritized"), "the stalled job is back in line", timeout=20)
        await queue.resume()
        await until(lambda: len(order) == 6, "all have run", timeout=20)
    assert order == ["retry", "reprocess", "due", "stall", "promote", "last"]


async def test_row_19_a_smooth_limit_has_no_burst_between_windows(queue: Queue, redis_url: str) -> None:
    """Partly: the wire's own limit is a fixed window, and BullMQ's workers keep to that one only."""
    limit, span = 40, 800
    await queue.set_rate_limit(limit, span, smooth=True)
    async with AsyncExitStack() as stack:
        for n in range(3):
            worker = Worker("q", echo, redis=redis_url, name=f"w{n}", concurrency=4)
            await stack.enter_async_context(worker)
        await queue.add_many(NewJob("x", n) for n in range(100))
        await until(lambda: _done(queue, 100), "all are done", timeout=20)
    starts = await _starts(queue)
    assert all(later - first >= span for first, later in zip(starts, starts[limit:], strict=False))
    assert max(later - first for first, later in pairwise(starts)) < span / 2, "and no long silence"


async def test_row_19_a_processor_can_rate_limit_the_queue(queue: Queue, redis_url: str) -> None:
    """What BullMQ's `rateLimit` comes to only where the worker has a limiter."""

    async def run(job: Job[int]) -> Any:
        return RateLimited(60_000) if job.data == 0 and job.attempts_started == 1 else "ran"

    async with running(Worker("q", run, redis=redis_url, drain_delay=20)):
        first = await queue.add("x", 0)
        await until(lambda: queue.rate_limit_ttl(), "the queue holds still")
        second = await queue.add("x", 1)
        assert [await job.state() for job in (first, second)] == ["waiting", "waiting"]
        assert await queue.rate_limit_ttl() > 50_000
        await queue.remove_rate_limit()
        assert [await job.result(timeout=20_000) for job in (first, second)] == ["ran", "ran"]


async def test_row_22_all_keys_of_a_queue_share_a_slot() -> None:
    """Partly: a parent and its child in two queues need one hash tag in the prefix, as in BullMQ. A real node in cluster mode
    refuses a script that touches two slots; keys are declared, or begin with one that is."""
    with EmbeddedServer(extra_args=["--cluster-enabled", "yes"]) as server:
        url = server.unix_url
        link = await open_link(url)
        await link.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await until(lambda: _serves(link), "the node serves its slots", timeout=20)
        await link.close()
        async with Queue("q", redis=url, prefix="{bull}") as queue, FlowProducer(redis=url, prefix="{bull}") as flows:
            children = [FlowJob("x", "other", n) for n in range(2)]
            flow = await flows.add(FlowJob("x", "q", children=children))
            workers = [Worker(name, echo, redis=url, prefix="{bull}", metrics=5) for name in ("q", "other")]
            async with running(workers[0]), running(workers[1]):
                await flow.job.result(timeout=20_000)
                assert sorted((await flow.job.children_values()).values()) == [0, 1]
                job = await queue.add("x", "once", deduplication={"id": "d"}, delay=5, priority=2)
                assert await job.result(timeout=20_000) == "once"
            await queue.schedules.upsert("s", "x", every=60_000)
            await queue.pause()
            await queue.obliterate()


async def _serves(link: Link) -> bool:
    return b"cluster_state:ok" in await link.call("CLUSTER", "INFO")


async def _is(job: Job[Any], state: str) -> bool:
    return await job.state() == state


async def _done(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count


async def _starts(queue: Queue) -> list[float]:
    jobs = await queue.jobs("completed", 0, 999)
    return sorted(job.processed_on.timestamp() * 1000 for job in jobs if job.processed_on)
