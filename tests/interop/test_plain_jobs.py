"""Plain jobs in both directions: one side adds, the other runs, both read the outcome."""

from __future__ import annotations

from typing import Any

import pytest

from engine import Job, Queue, Worker
from engine.errors import JobFailed
from tests.interop.side import NodeError, NodeSide
from tests.interop.stream import stored
from tests.support.running import running

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

AWKWARD: dict[str, Any] = {
    "text": 'é/\u2028"\\',
    "empty": {"list": [], "map": {}},
    "nothing": None,
    "large": 2**53 - 1,
    "part": 1.5,
}


async def test_results_and_data_come_over_byte_for_byte(redis_url: str, node: NodeSide) -> None:
    async def echo(job: Job[Any]) -> Any:
        return job.data

    await node.make("Queue", "queue", "ours")
    await node.make("QueueEvents", "events", "ours")
    await node.make("Worker", "worker", "theirs")
    async with (
        Queue("theirs", redis=redis_url) as queue,
        Queue("ours", redis=redis_url) as ours,
        running(Worker("ours", echo, redis=redis_url)),
    ):
        job = await queue.add("n", {"value": AWKWARD})
        assert await job.result(timeout=10_000) == AWKWARD
        there = await stored(queue, job.id)
        assert there["data"] == f'{{"value":{there["returnvalue"]}}}'
        theirs = await node.call("queue", "add", "n", AWKWARD)
        result = await node.call("queue", "waitUntilFinished", job=theirs["id"], with_="events")
        assert result == AWKWARD
        here = await stored(ours, theirs["id"])
        assert here["data"] == here["returnvalue"] == there["returnvalue"]
        assert [args[0].get("prev") for args in await node.heard("events", "active")] == ["waiting"]
        assert [args[0].get("prev") for args in await node.heard("events", "completed")] == ["active"]


async def test_failures_and_retries_come_over(redis_url: str, node: NodeSide) -> None:
    await node.make("Worker", "worker", "theirs")
    await node.make("Queue", "queue", "ours")
    await node.make("QueueEvents", "events", "ours")

    async def fail(job: Job[Any]) -> None:
        raise ValueError(f"attempt {job.attempts_made + 1}")

    async with Queue("theirs", redis=redis_url) as queue:
        failing = await queue.add("n", {"do": "throw", "reason": "no such mailbox"}, attempts=2, backoff=10)
        with pytest.raises(JobFailed, match="no such mailbox"):
            await failing.result(timeout=10_000)
        await failing.refresh()
        assert (failing.attempts_made, len(failing.stacktrace)) == (2, 2)
        later = await queue.add("n", {"do": "succeed later", "after": 1, "value": 7}, attempts=3)
        assert await later.result(timeout=10_000) == 7

        added = await node.call("queue", "add", "n", {}, {"attempts": 2, "backoff": {"type": "fixed", "delay": 10}})
        async with running(Worker("ours", fail, redis=redis_url)):
            with pytest.raises(NodeError, match="attempt 2"):
                await node.call("queue", "waitUntilFinished", job=added["id"], with_="events")
        found = await node.call("queue", "getJob", added["id"])
        assert (found["failedReason"], found["attemptsMade"]) == ("attempt 2", 2)
        assert len(found["stacktrace"]) == 2


async def test_progress_and_logs_come_over(redis_url: str, node: NodeSide) -> None:
    async def work(job: Job[Any]) -> None:
        await job.update_progress({"done": 5})
        await job.log("halfway")

    await node.make("Queue", "queue", "ours")
    await node.make("QueueEvents", "events", "ours")
    await node.make("Worker", "worker", "theirs")
    async with Queue("theirs", redis=redis_url) as queue, running(Worker("ours", work, redis=redis_url)):
        added = await node.call("queue", "add", "n", {})
        assert (await node.heard("events", "progress"))[0][0]["data"] == {"done": 5}
        await node.heard("events", "completed")
        assert (await node.call("queue", "getJobLogs", added["id"]))["logs"] == ["halfway"]

        reporting = await queue.add("n", {"do": "progress", "value": 42})
        logging = await queue.add("n", {"do": "log", "value": "from Node"})
        await reporting.result(timeout=10_000)
        await logging.result(timeout=10_000)
        assert (await reporting.refresh()).progress == 42
        assert await queue.logs(logging.id) == ["from Node"]
