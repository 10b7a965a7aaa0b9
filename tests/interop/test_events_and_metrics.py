"""Metrics count every job once in a mixed fleet; a cancellation has the events of BullMQ's failure."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Literal

import pytest

from engine import Cancellation, NewJob, Queue
from engine.connection import Link
from engine.model.keys import Keys
from tests.interop.side import VERSIONS, NodeSide
from tests.interop.sides import Ours, both, counted

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@pytest.mark.parametrize("node", [VERSIONS[0], VERSIONS[-1]], indirect=True)
async def test_metrics_of_a_mixed_fleet_equal_those_of_node(redis_url: str, node: NodeSide, link: Link) -> None:
    chance = random.Random()
    steps = [
        # Minutes since the last finish, what becomes of the jobs, who does it, how many.
        (chance.choice([0, 0, 1, 2, MINUTES - 1, MINUTES, 100]), chance.choice(ENDS), chance.random() < 0.5, chance.choice([1, 1, 3]))
        for _ in range(16)
    ]  # fmt: skip
    async with both(redis_url, node) as (ours, theirs):
        for again in itertools.count():
            alone, mixed = f"alone-{again}", f"mixed-{again}"
            for queue in (alone, mixed):
                await node.make("Worker", queue, queue, autorun=False, metrics={"maxDataPoints": MINUTES})
            began = await _minute(link)
            for minutes, end, by_us, count in steps:
                for queue in (alone, mixed):
                    await _let_pass(link, Keys(queue), end, minutes)
                    data = {"do": "throw"} if end == "failed" else {}
                    await (await ours.queue(queue)).add_many([NewJob("n", data) for _ in range(count)])
                    await (_by_us(ours, queue) if by_us and queue == mixed else _by_hand(node, queue, end))
            # The clock is the server's: where a minute of it began meanwhile, the two stand for different times.
            if await _minute(link) == began:
                break
        for end in ENDS:
            wanted = await theirs.call(alone, "getMetrics", end)
            found = await theirs.call(mixed, "getMetrics", end)
            for one in (wanted, found):
                one["meta"].pop("prevTS")
            assert found == wanted, steps
            measured = await (await ours.queue(mixed)).metrics(end)
            assert (measured.total, measured.per_minute) == (int(wanted["meta"]["count"]), [*map(int, wanted["data"])])


ENDS: tuple[Literal["completed", "failed"], ...] = ("completed", "failed")
MINUTES = 5
"""How many are kept."""


async def _minute(link: Link) -> int:
    return int((await link.call("TIME"))[0]) // 60


async def _let_pass(link: Link, keys: Keys, end: str, minutes: int) -> None:
    """Put the last finish so many minutes back."""
    key = f"{keys.jobs}metrics:{end}"
    if await link.call("EXISTS", key):
        now = int((await link.call("TIME"))[0]) * 1_000
        await link.call("HSET", key, "prevTS", now - minutes * 60_000)


async def _by_us(ours: Ours, queue: str) -> None:
    await ours.work(queue, metrics=MINUTES, concurrency=3)
    await counted(await ours.queue(queue), waiting=0, active=0)
    await ours.rest()


async def _by_hand(node: NodeSide, queue: str, end: str) -> None:
    """One job after the other, as a worker of Node's would, until none is left."""
    while job := await node.call(queue, "getNextJob", "token", {"block": False}):
        if end == "failed":
            await node.call(queue, "moveToFailed", {"message": "boom"}, "token", False, job=job["id"])
        else:
            await node.call(queue, "moveToCompleted", 1, "token", False, job=job["id"])


async def test_node_sees_a_cancelled_job_as_failed(redis_url: str, node: NodeSide) -> None:
    await node.make("Queue", "queue", "q")
    await node.make("QueueEvents", "events", "q")
    added = await node.call("queue", "add", "n", {}, {"delay": 60_000})
    async with Queue("q", redis=redis_url) as queue:
        assert await queue.cancel(added["id"], "no longer wanted") is Cancellation.CANCELLED
        (told,) = await node.heard("events", "failed")
        assert told[0]["failedReason"] == "cancelled: no longer wanted"
        assert (await node.call("queue", "getJobCounts"))["failed"] == 1


async def test_node_waits_for_us_under_a_stream_length_of_0(redis_url: str, node: NodeSide, link: Link) -> None:
    await node.make("Queue", "queue", "q", streams={"events": {"maxLen": 0}})
    await node.make("QueueEvents", "events", "q")
    async with both(redis_url, node) as (ours, _):
        await ours.work("q", concurrency=5)
        # Delayed, so that Node waits before they end.
        added = [await node.call("queue", "add", "n", {"value": n}, {"delay": 300}) for n in range(10)]
        waits = [node.call("queue", "waitUntilFinished", job=job["id"], with_="events") for job in added]
        assert await asyncio.gather(*waits) == list(range(10))
        assert await link.call("HGET", Keys("q").meta, "opts.maxLenEvents") == b"0"


@pytest.mark.parametrize("events", ["all", "results", "none"])
async def test_node_waits_for_us_by_the_events_of_results(
    redis_url: str, node: NodeSide, link: Link, events: Literal["all", "results", "none"]
) -> None:
    async with Queue("q", redis=redis_url, events=events) as queue, both(redis_url, node) as (ours, _):
        # Opened later, with options of its own, it does not change which events we write.
        await node.make("Queue", "queue", "q", streams={"events": {"maxLen": 500}})
        await node.make("QueueEvents", "events", "q")
        jobs = [await queue.add("n", {"value": n}, delay=300) for n in range(5)]
        jobs.append(await queue.add("n", {"do": "throw"}, delay=300))
        await ours.work("q", concurrency=5)
        if events == "none":
            # Without events Node's wait ends only if the job has ended before it.
            await counted(queue, completed=5, failed=1)
        waits = [node.call("queue", "waitUntilFinished", job=job.id, with_="events") for job in jobs]
        *values, failed = await asyncio.gather(*waits, return_exceptions=True)
        assert values == list(range(5))
        assert "boom" in str(failed)
        names = {fields[1].decode() for _, fields in await link.call("XRANGE", Keys("q").events, "-", "+")}
        assert (names == {"completed", "failed"}) is (events == "results")
        assert bool(names) is (events != "none")


async def test_node_hears_large_results_and_the_stream_is_bounded(redis_url: str, node: NodeSide, link: Link) -> None:
    await node.make("QueueEvents", "events", "q")
    async with both(redis_url, node) as (ours, theirs):
        await ours.work("q")
        for n in range(1, 25):
            value = f"{n} " + "x" * MIB
            await theirs.add("q", "n", {"value": value}, removeOnComplete=True)
            told = (await node.heard("events", "completed", n))[-1][0]
            assert told["returnvalue"] == value
    assert await link.call("MEMORY", "USAGE", Keys("q").events, "SAMPLES", 0) < 20 * MIB


MIB = 2**20
