"""One fleet of many versions on one queue: all add, all work, each job runs once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from engine import Job, NewJob, Queue, Worker
from tests.interop.acting import act
from tests.interop.side import PATIENCE, NodeSide, need
from tests.interop.standing import StandingNodeSide
from tests.interop.stream import claims, ends
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

FLEET = ("5.63.0", "5.81.3", "6.7.0")
EACH = 75
LATER = {"do": "succeed later", "after": 1, "value": 1}
KINDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"value": 1}, {}),
    ({"value": 1}, {"lifo": True}),
    ({"value": 1}, {"priority": 3}),
    ({"value": 1}, {"delay": 30}),
    ({"value": 1}, {"delay": 60, "priority": 2}),
    (LATER, {"attempts": 2}),
    (LATER, {"attempts": 3, "backoff": {"type": "exponential", "delay": 20, "jitter": 0.5}}),
    (LATER, {"attempts": 2, "priority": 1}),
    ({"do": "throw"}, {"attempts": 2}),
    ({"do": "progress", "value": 5}, {}),
]
"""Data and options, in words that both have."""


def _runs(data: dict[str, Any]) -> int:
    return 2 if data.get("do") in ("succeed later", "throw") else 1


async def _add_by_node(side: NodeSide, jobs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for number, (data, options) in enumerate(jobs[::2]):
        await side.call("queue", "add", "n", data, {"jobId": f"{side.version}-{number}", **options})
    await side.call("queue", "addBulk", [{"name": "n", "data": data, "opts": options} for data, options in jobs[1::2]])


async def _add_by_us(queue: Queue, jobs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for number, (data, options) in enumerate(jobs[::2]):
        await queue.add("n", data, job_id=f"us-{number}", **options)
    await queue.add_many([NewJob("n", data, **options) for data, options in jobs[1::2]])


async def test_each_job_of_a_fleet_of_many_versions_is_done_once(redis_url: str) -> None:
    need(*FLEET)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ran_here: list[str] = []

    async def note(job: Job[Any]) -> Any:
        ran_here.append(job.id)
        await asyncio.sleep(0.001)
        return await act(job)

    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(Queue("q", redis=redis_url))
        sides = [await stack.enter_async_context(StandingNodeSide(version, redis_url)) for version in FLEET]
        for side in sides:
            await side.make("Queue", "queue", "q")
            await side.make("Worker", "worker", "q", concurrency=5)
        await stack.enter_async_context(running(Worker("q", note, redis=redis_url, concurrency=5)))
        jobs = [[chance.choice(KINDS) for _ in range(EACH)] for _ in range(len(sides) + 1)]
        adds = [_add_by_node(side, some) for side, some in zip(sides, jobs[1:], strict=True)]
        await asyncio.gather(_add_by_us(queue, jobs[0]), *adds)

        added = [data for some in jobs for data, _ in some]
        await until(lambda: _ended(queue, len(added)), "all have ended", timeout=PATIENCE * 2)
        assert [side.told.of("worker", "error") for side in sides] == [[]] * len(sides)
        shares = [len(ran_here), *(len(side.told.of("worker", "active")) for side in sides)]
        assert all(shares), f"each had a share: {shares}"
        assert sum(shares) == len(await claims(queue)) == sum(_runs(data) for data in added)

        told = await ends(queue)
        failed = sum(data.get("do") == "throw" for data in added)
        counts = await queue.counts()
        assert (len(told["completed"]), len(told["failed"])) == (counts.completed, counts.failed)
        assert (counts.completed, counts.failed) == (len(added) - failed, failed)
        assert set((told["completed"] + told["failed"]).values()) == {1}, "none ended twice"
        ended = await queue.jobs("completed", 0, 999) + await queue.jobs("failed", 0, 999)
        assert Counter(job.attempts_made for job in ended) == Counter(_runs(data) for data in added)


async def _ended(queue: Queue, count: int) -> bool:
    counts = await queue.counts()
    return counts.completed + counts.failed == count
