"""Schedules made by one side and run by the other: each run makes the next."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import pytest

from engine import Job, Queue, Worker
from engine.model.clock import from_ms, to_ms
from tests.interop.acting import act
from tests.interop.side import PATIENCE, NodeSide
from tests.interop.stream import stored, told
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

TIMES = [
    ("0 9 * * *", "Europe/Berlin"),
    ("30 2 * * *", "America/New_York"),
    ("0 12 * * 1-5", "Europe/London"),
    ("0 0 1 1 *", "Asia/Tokyo"),
    ("0 30 8 * * 1", "UTC"),
]
"""Patterns with the time zones they are meant in."""


async def _upsert(maker: str, node: NodeSide, queue: Queue, id: str, data: Any, **times: Any) -> None:
    """`times` and the jobs' options in BullMQ's words; those that have others among ours are translated."""
    options = times.pop("opts", {})
    if maker == "node":
        await node.call(queue.name, "upsertJobScheduler", id, times, {"name": "run", "data": data, "opts": options})
    else:
        said = {{"pattern": "cron", "endDate": "end"}.get(name, name): value for name, value in times.items()}
        await queue.schedules.upsert(id, "run", data, **said, **options)


@pytest.mark.parametrize(("maker", "other"), [("us", "node"), ("node", "us")])
async def test_a_schedule_goes_on_from_hand_to_hand(redis_url: str, node: NodeSide, maker: str, other: str) -> None:
    """Ids, numbers and times run on, on the grid that its maker asked for; and who did not make it can remove it."""
    ran: dict[str, list[str]] = {"us": [], "node": []}

    async def note(job: Job[Any]) -> None:
        assert job.data == {"value": [1, None]}
        ran["us"].append(job.id)

    await node.make("Queue", "q", "q")
    async with Queue("q", redis=redis_url) as queue:
        await _upsert(maker, node, queue, "tick", {"value": [1, None]}, every=50, offset=13)
        for turn in range(2):
            async with running(Worker("q", note, redis=redis_url)):
                await until(partial(_has, ran["us"], 2 * turn + 2), "two runs of ours", timeout=PATIENCE)
            await node.make("Worker", f"worker {turn}", "q")
            await node.heard(f"worker {turn}", "completed", 2)
            await node.call(f"worker {turn}", "close")
            ran["node"] += [args[0]["id"] for args in node.told.of(f"worker {turn}", "completed")]
            assert node.told.of(f"worker {turn}", "error") == []

        completed = await queue.jobs("completed")
        assert sorted(job.id for job in completed) == sorted(ran["us"] + ran["node"])
        runs = sorted((int(job.id.rpartition(":")[2]), job.id) for job in completed)
        grid = runs[0][0] % 50 if (maker, node.version) == ("node", "5.63.0") else 13  # that one knows no offset
        assert {due % 50 for due, _ in runs} == {grid}
        numbers = [json.loads((await stored(queue, id))["opts"])["repeat"]["count"] for _, id in runs]
        assert numbers == list(range(1, len(runs) + 1))
        assert (await stored(queue, "repeat:tick"))["ic"] == str(len(runs) + 1), "the next run has been made"
        counts = await queue.counts()
        assert counts.delayed + counts.waiting == 1

        if other == "us":
            assert await queue.schedules.remove("tick")
        else:
            assert await node.call("q", "removeJobScheduler", "tick")
        assert (await queue.counts()).delayed == 0
        assert await queue.schedules.list() == await node.call("q", "getJobSchedulers") == []


async def test_a_schedules_limit_and_end_hold_in_a_mixed_fleet(redis_url: str, node: NodeSide) -> None:
    await node.make("Queue", "q", "q")
    async with Queue("q", redis=redis_url) as queue:
        end = int(time.time() * 1000) + 250
        for maker in ("us", "node"):
            await _upsert(maker, node, queue, f"{maker} limited", {}, every=40, limit=4)
            await _upsert(maker, node, queue, f"{maker} ending", {}, every=40, endDate=end)
        await node.make("Worker", "worker", "q")
        async with running(Worker("q", act, redis=redis_url, concurrency=1)):
            await until(lambda: _nothing_left(queue), "the last runs have ended", timeout=PATIENCE)
        runs: dict[str, list[int]] = {}
        for job in await queue.jobs("completed"):
            _, schedule, due = job.id.split(":")
            runs.setdefault(schedule, []).append(int(due))
        for maker in ("us", "node"):
            assert len(runs[f"{maker} limited"]) == 4
            # BullMQ asks whether the end has come when it makes a run, and not when that run is due.
            assert max(runs[f"{maker} ending"]) <= end + 40
        assert node.told.of("worker", "error") == []


async def test_both_sides_agree_on_the_times_of_cron_patterns(redis_url: str, node: NodeSide) -> None:
    """On the first, and, when the other side has run that ahead of its time, on the one after it."""
    for name in ("ours", "theirs"):
        await node.make("Queue", name, name)
    await node.make("Worker", "worker", "ours")
    async with (
        Queue("ours", redis=redis_url) as ours,
        Queue("theirs", redis=redis_url) as theirs,
        running(Worker("theirs", act, redis=redis_url)),
    ):
        for pattern, tz in TIMES:
            for maker, queue in (("us", ours), ("node", theirs)):
                await _upsert(maker, node, queue, tz, {}, pattern=pattern, tz=tz)
        first = await _next_runs(ours)
        assert first == await _next_runs(theirs)
        for tz, due in first.items():
            await node.call("ours", "promote", job=f"repeat:{tz}:{due}")
            await theirs.promote(f"repeat:{tz}:{due}")
        for queue in (ours, theirs):
            await until(partial(_completed, queue, len(TIMES)), "all have run", timeout=PATIENCE)
        second = await _next_runs(ours)
        assert second == await _next_runs(theirs)
        assert all(second[tz] > first[tz] for tz in first)


async def test_a_run_that_is_tried_again_makes_the_next_one_once(redis_url: str, node: NodeSide) -> None:
    for name in ("us", "node"):
        await node.make("Queue", name, name)
        await node.make("Worker", f"{name} worker", name)
    data = {"do": "succeed later", "after": 5}
    async with Queue("us", redis=redis_url) as ours, Queue("node", redis=redis_url) as theirs:
        for queue in (ours, theirs):
            await _upsert(queue.name, node, queue, "s", data, pattern="0 9 * * *", tz="UTC", opts={"attempts": 6})
            due = (await _next_runs(queue))["s"]
            async with running(Worker(queue.name, act, redis=redis_url)):
                await queue.promote(f"repeat:s:{due}")
                await until(partial(_completed, queue, 1), "it was done", timeout=PATIENCE)
            assert (await stored(queue, f"repeat:s:{due}"))["atm"] == "6"
            assert (await stored(queue, "repeat:s"))["ic"] == "2"
            assert len([entry for entry in await told(queue) if entry["event"] == "added"]) == 2
            assert (await queue.counts()).delayed == 1


async def test_each_reads_the_schedules_of_the_other(redis_url: str, node: NodeSide) -> None:
    await node.make("Queue", "q", "q")
    async with Queue("q", redis=redis_url) as queue:
        end = int(time.time() * 1000) + 10**9
        said: dict[str, Any] = {"pattern": "0 9 * * *", "tz": "Europe/Berlin", "limit": 9, "endDate": end}
        for maker in ("us", "node"):
            await _upsert(maker, node, queue, maker, {"a": 1}, **said, opts={"attempts": 2})
            shown = await node.call("q", "getJobScheduler", maker)
            assert {name: shown[name] for name in said} == said
            assert (shown["name"], shown["template"]) == ("run", {"data": {"a": 1}, "opts": {"attempts": 2}})
            found = await queue.schedules.get(maker)
            assert found is not None
            assert (found.cron, found.tz, found.limit, found.end) == ("0 9 * * *", "Europe/Berlin", 9, from_ms(end))
            assert (found.name, found.data, found.options.attempts, found.runs) == ("run", {"a": 1}, 2, 1)
            assert found.next_run == from_ms(shown["next"])


async def _next_runs(queue: Queue) -> dict[str, int]:
    return {one.id: to_ms(one.next_run) for one in await queue.schedules.list() if one.next_run is not None}


async def _completed(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count


async def _nothing_left(queue: Queue) -> bool:
    counts = await queue.counts()
    return counts.completed > 0 and counts.delayed + counts.waiting + counts.active == 0


def _has(runs: list[str], count: int) -> bool:
    return len(runs) >= count
