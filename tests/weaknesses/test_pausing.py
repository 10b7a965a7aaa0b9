"""Row 21: pausing in one fleet of BullMQ 5, BullMQ 6 and Corral: in no order of calls is a job lost.

BullMQ 5 renames the list of waiting jobs at a pause and back at a resume, BullMQ 6 leaves them where they are (wire
specification, 3.5): a rename onto a list that is there would delete its jobs.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine import Job, Queue, Worker
from engine.keys import Keys
from engine.link import Link
from tests.interop.side import NodeSide, need
from tests.interop.standing import StandingNodeSide
from tests.support.queues import census, events, seed
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SIDES = ("v5", "v6", "us")


@pytest.fixture
async def fleet(redis_url: str) -> AsyncIterator[dict[str, Any]]:
    need("5.63.0", "6.7.0")
    async with (
        StandingNodeSide("5.63.0", redis_url) as v5,
        StandingNodeSide("6.7.0", redis_url) as v6,
        Queue("q", redis=redis_url) as us,
    ):
        await v5.make("Queue", "queue", "q")
        await v6.make("Queue", "queue", "q")
        yield {"v5": v5, "v6": v6, "us": us}


async def _do(fleet: dict[str, Any], side: str, what: str, number: int) -> None:
    if side == "us":
        queue = fleet["us"]
        await (queue.add("n", {"number": number}) if what == "add" else getattr(queue, what)())
    elif what == "add":
        await fleet[side].call("queue", "add", "n", {"number": number})
    else:
        await fleet[side].call("queue", what)


def _orders() -> list[list[tuple[str, str]]]:
    """Who pauses, who adds, who adds again, who resumes: all, where BullMQ by itself loses none."""
    return [
        [(first, "add"), (pauser, "pause"), (first, "add"), (second, "add"), (resumer, "resume")]
        for pauser, first, second, resumer in itertools.product(SIDES, repeat=4)
        if not (resumer == "v5" and _fills_wait(pauser, first, second))
    ]


def _fills_wait(*sides: str) -> bool:
    """Whether jobs stand in `wait`, where a resume of BullMQ 5 renames over them; an add of ours puts them aside."""
    after_v6 = "".join(sides).rpartition("v6")[2]
    return "v6" in sides and "us" not in after_v6


async def test_row_21_no_job_is_lost_in_a_mixed_fleet_whoever_pauses_adds_and_resumes(
    redis_url: str, fleet: dict[str, Any]
) -> None:
    queue: Queue = fleet["us"]
    added = 0
    orders = _orders()
    random.shuffle(orders)
    for order in orders:
        for side, what in order:
            added += what == "add"
            await _do(fleet, side, what, added)
        counts = await queue.counts()
        assert (counts.waiting + counts.paused, counts.paused) == (added, 0), f"{order} lost a job"
    ran: list[int] = []

    async def note(job: Job[Any]) -> None:
        ran.append(job.data["number"])

    async with running(Worker("q", note, redis=redis_url, concurrency=1)):
        await until(lambda: len(ran) >= added, "all ran")
    assert sorted(ran) == list(range(1, added + 1))


async def test_row_21_no_job_is_lost_or_started_in_a_pause_while_workers_of_all_three_run(
    redis_url: str, fleet: dict[str, Any], link: Link
) -> None:
    queue: Queue = fleet["us"]
    chance, added, walk = random.Random(), 0, []

    async def nothing(job: Job[Any]) -> None: ...

    async with running(Worker("q", nothing, redis=redis_url, concurrency=2)):
        for side in ("v5", "v6"):
            await fleet[side].make("Worker", "worker", "q", concurrency=2)
        for _ in range(250):
            side, what = chance.choice(SIDES), chance.choice(["add"] * 4 + ["pause", "resume"])
            if what != "add" and side == "v5" and not await _v5_may(queue, link, what):
                continue
            walk.append((side, what))
            if what == "add":
                await _add(fleet[side], **chance.choice(KINDS))
                added += 1
            else:
                await (getattr(queue, what)() if side == "us" else fleet[side].call("queue", what))
        # Whoever paused last, and where the jobs are now: we find them.
        await queue.pause()
        await queue.resume()
        await until(lambda: _completed(queue, added), f"all {added} were done: {walk}", timeout=20)
    starts = [
        job.attempts_started
        for first in range(0, added, 100)
        for job in await queue.jobs("completed", first, first + 99)
    ]
    assert starts == [1] * added
    is_paused = False
    for line in await events(link, queue.keys):
        is_paused = (is_paused or line == "paused") and line != "resumed"
        assert not (is_paused and line.startswith("active")), f"a job began in a pause: {walk}"


KINDS: list[dict[str, Any]] = [{}, {}, {"lifo": True}, {"priority": 3}, {"delay": 30}]


async def _v5_may(queue: Queue, link: Link, what: str) -> bool:
    """Whether BullMQ 5 loses no job by it: it renames onto a list that is there, and what a delay's end brings comes at any time."""
    if what == "pause":
        return not await queue.is_paused()
    return not await link.call("EXISTS", queue.keys.wait, queue.keys.delayed)


async def _add(side: Queue | NodeSide, **options: Any) -> None:
    await (side.add("n", {}, **options) if isinstance(side, Queue) else side.call("queue", "add", "n", {}, options))


async def _completed(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count


async def test_row_21_a_resume_merges_what_waits_in_both_lists(redis_url: str, link: Link, keys: Keys) -> None:
    """The half of it that needs no Node: nothing is renamed onto a list that is there. Jobs added while the queue was paused, by
    whomever and wherever, come after those that were there."""
    await seed(link, keys, wait=["c", "d"], paused=["a", "b"], meta={"paused": 1})
    async with Queue("q", redis=redis_url) as queue:
        await queue.resume()
        assert (await census(link, keys))["wait"] == ["a", "b", "c", "d"]
        await link.call("LPUSH", keys.paused, "stray")
        await link.call("HSET", keys.job("stray"), "name", "n", "data", "{}", "opts", "{}", "timestamp", 1)
        await queue.pause()
        await queue.resume()
        assert sorted((await census(link, keys))["wait"]) == ["a", "b", "c", "d", "stray"]
