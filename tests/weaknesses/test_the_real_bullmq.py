"""The weaknesses shown with the real BullMQ 5.63.0, where that takes little time."""

from __future__ import annotations

import pytest

from engine import Queue
from engine.connection import Link
from engine.model.keys import Keys
from tests.interop.side import NodeError, NodeSide
from tests.support.running import until

pytestmark = [
    pytest.mark.asyncio(loop_factories=["uvloop"]),
    pytest.mark.parametrize("node", ["5.63.0"], indirect=True),
    pytest.mark.usefixtures("damaged"),
]


async def test_row_02_in_bullmq_a_result_is_lost_with_its_lock(
    redis_url: str, node: NodeSide, link: Link, keys: Keys
) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await node.make("Worker", "worker", "q")
        job = await queue.add("n", {"do": "hold", "value": "done"})
        await node.heard("worker", "active")
        await link.call("DEL", keys.lock(job.id))
        await node.release(job.id)

        async def is_lost() -> bool:
            # Its renewal may have failed before, with words of its own.
            return any("Missing lock for job" in error["message"] for [error] in await node.heard("worker", "error"))

        await until(is_lost, "BullMQ drops the result")
        assert await job.state() == "active"


async def test_row_13_in_bullmq_deduplication_outlives_its_job(node: NodeSide, link: Link, keys: Keys) -> None:
    await node.make("Queue", "queue", "q")
    first = await node.call("queue", "add", "n", 1, {"deduplication": {"id": "d"}})
    await link.call("DEL", keys.job(first["id"]))
    await link.call("LREM", keys.wait, 0, first["id"])
    for _ in range(2):
        assert (await node.call("queue", "add", "n", 2, {"deduplication": {"id": "d"}}))["id"] == first["id"]
    assert await link.call("LLEN", keys.wait) == 0


async def test_row_16_in_bullmq_a_failed_child_is_not_retried(node: NodeSide, link: Link) -> None:
    await node.make("FlowProducer", "flows")
    await node.make("Queue", "down", "down")
    child = {
        "name": "c",
        "queueName": "down",
        "data": {"do": "throw"},
        "opts": {"jobId": "c", "ignoreDependencyOnFailure": True},
    }
    await node.call("flows", "add", {"name": "p", "queueName": "up", "children": [child]})
    await node.make("Worker", "worker", "down")
    await node.heard("worker", "failed")
    with pytest.raises(NodeError, match="WRONGTYPE"):
        await node.call("down", "retry", job="c")


async def test_row_24_in_bullmq_an_unreadable_job_is_redelivered(node: NodeSide, link: Link, keys: Keys) -> None:
    await link.call("HSET", keys.job("pill"), "name", "n", "data", "{nonsense", "opts", "{}", "timestamp", 1)
    await link.call("LPUSH", keys.wait, "pill")
    await node.make("Worker", "worker", "q", lockDuration=300, stalledInterval=200, maxStalledCount=100)
    await until(lambda: _starts(link, keys, 3), "it has been taken three times", timeout=20)
    assert await link.call("ZSCORE", keys.failed, "pill") is None


async def _starts(link: Link, keys: Keys, times: int) -> bool:
    return int(await link.call("HGET", keys.job("pill"), "ats") or 0) >= times
