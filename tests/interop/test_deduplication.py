"""Deduplication across both engines: one key and one window, whoever adds."""

from __future__ import annotations

from typing import Any

import pytest

from engine import Job, Queue, Worker
from engine.model.options import DeduplicationFields
from tests.interop.side import NodeSide
from tests.support.running import running

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def test_either_side_finds_the_job_of_the_other(redis_url: str, node: NodeSide) -> None:
    await node.make("Queue", "queue", "q")
    async with Queue("q", redis=redis_url) as queue:
        ours = await queue.add("n", {"from": "us"}, deduplication={"id": "order-1"})
        theirs = await node.call("queue", "add", "n", {"from": "node"}, {"deduplication": {"id": "order-1"}})
        assert theirs["id"] == ours.id
        assert await node.call("queue", "getDeduplicationJobId", "order-1") == ours.id

        first = await node.call(
            "queue", "add", "n", {"from": "node"}, {"deduplication": {"id": "order-2", "ttl": 60_000}}
        )
        second = await queue.add("n", {"from": "us"}, deduplication={"id": "order-2", "ttl": 60_000})
        assert second.id == first["id"]
        assert (await queue.counts()).waiting == 2


async def test_a_debounced_job_is_replaced_by_the_other_side(redis_url: str, node: NodeSide) -> None:
    await node.make("Queue", "queue", "q")
    options: DeduplicationFields = {"id": "save", "ttl": 60_000, "extend": True, "replace": True}
    async with Queue("q", redis=redis_url) as queue:
        await queue.add("n", {"version": 1}, delay=60_000, deduplication=options)
        await node.call("queue", "add", "n", {"version": 2}, {"delay": 60_000, "deduplication": options})
        last = await queue.add("n", {"version": 3}, delay=60_000, deduplication=options)
        assert [job.data for job in await queue.jobs("delayed")] == [{"version": 3}]
        assert await node.call("queue", "getDeduplicationJobId", "save") == last.id


async def test_the_end_of_a_job_lets_the_next_in_whoever_ran_it(redis_url: str, node: NodeSide) -> None:
    async def nothing(job: Job[Any]) -> None: ...

    await node.make("Queue", "queue", "ours")
    await node.make("Worker", "worker", "theirs")
    async with Queue("theirs", redis=redis_url) as queue, Queue("ours", redis=redis_url) as ours:
        first = await queue.add("n", {}, deduplication={"id": "one"})
        await first.result(timeout=10_000)
        second = await queue.add("n", {}, deduplication={"id": "one"})
        assert second.id != first.id
        added = await node.call("queue", "add", "n", {}, {"deduplication": {"id": "one"}})
        async with running(Worker("ours", nothing, redis=redis_url)):
            job = await ours.get_job(added["id"])
            assert job is not None
            await job.result(timeout=10_000)
        again = await node.call("queue", "add", "n", {}, {"deduplication": {"id": "one"}})
        assert again["id"] != added["id"]
