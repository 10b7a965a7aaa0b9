"""Schedules that one side makes and the other runs: each run makes the next, whoever takes it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from engine import Job, Queue, Worker
from tests.interop.side import NodeSide
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def test_we_run_and_advance_a_schedule_of_nodes(redis_url: str, node: NodeSide) -> None:
    ran: list[str] = []

    async def note(job: Job[Any]) -> None:
        assert job.data == {"report": 1}
        ran.append(job.id)

    await node.make("Queue", "queue", "q")
    await node.call("queue", "upsertJobScheduler", "tick", {"every": 100}, {"name": "tick", "data": {"report": 1}})
    async with running(Worker("q", note, redis=redis_url)):
        await until(lambda: len(ran) >= 4, "four runs")
    assert len(set(ran)) == len(ran)
    due = [int(id.rpartition(":")[2]) for id in ran]
    assert all(after - before >= 100 for before, after in itertools.pairwise(due))
    schedulers = await node.call("queue", "getJobSchedulers")
    assert [schedule["key"] for schedule in schedulers] == ["tick"]
    # The chain goes on in Node's hands.
    await node.make("Worker", "worker", "q")
    await node.heard("worker", "completed", 2)
    assert node.told.of("worker", "error") == []


async def test_node_runs_and_advances_a_schedule_of_ours(redis_url: str, node: NodeSide) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.schedules.upsert("tick", "tick", {"value": 1}, every=100)
        await node.make("Worker", "worker", "q")
        told = await node.heard("worker", "completed", 4)
        assert len({args[0]["id"] for args in told}) == len(told)
        assert node.told.of("worker", "error") == []
        found = await queue.schedules.get("tick")
        assert found is not None
        ran: list[str] = []

        async def note(job: Job[Any]) -> None:
            ran.append(job.id)

        await node.kill()
        async with running(Worker("q", note, redis=redis_url)):
            await until(lambda: len(ran) >= 2, "two runs of ours")


async def test_node_reads_and_removes_a_schedule_of_ours(redis_url: str, node: NodeSide) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.schedules.upsert("daily", "report", {"a": 1}, cron="0 9 * * *", tz="Europe/Berlin")
        await node.make("Queue", "queue", "q")
        found = await node.call("queue", "getJobScheduler", "daily")
        assert (found["pattern"], found["tz"], found["name"]) == ("0 9 * * *", "Europe/Berlin", "report")
        assert found["template"]["data"] == {"a": 1}
        assert (await node.call("queue", "getJobCounts"))["delayed"] == 1
        assert await node.call("queue", "removeJobScheduler", "daily")
        assert await queue.schedules.list() == []
        assert (await queue.counts()).delayed == 0
