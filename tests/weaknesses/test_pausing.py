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
from msgspec import Struct

from engine import FlowJob, FlowProducer, Job, Queue, Worker
from engine.connection import Link
from engine.model.keys import Keys
from tests.interop.side import NodeSide, need
from tests.interop.standing import StandingNodeSide
from tests.support.keyspace import census, events
from tests.support.running import running, until
from tests.support.seeding import seed

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SIDES = ("v5", "v6", "us")


@pytest.fixture
async def fleet(redis_url: str) -> AsyncIterator[dict[str, Any]]:
    need("5.63.0", "6.7.0")
    async with (
        StandingNodeSide("5.63.0", redis_url) as v5,
        StandingNodeSide("6.7.0", redis_url) as v6,
        Queue("q", redis=redis_url) as us,
        FlowProducer(redis=redis_url) as flows,
    ):
        await v5.make("Queue", "queue", "q")
        await v6.make("Queue", "queue", "q")
        yield {"v5": v5, "v6": v6, "us": us, "flows": flows}


WAYS = ("add", "promote", "flow")
"""In which our side puts a job in line."""


async def _put(fleet: dict[str, Any], side: str, way: str, number: int) -> None:
    data = {"number": number}
    if side != "us":
        await fleet[side].call("queue", "add", "n", data)
    elif way == "flow":
        await fleet["flows"].add(FlowJob("above", "above", children=[FlowJob("n", "q", data)]))
    else:
        job = await fleet["us"].add("n", data, delay=3_600_000 if way == "promote" else 0)
        if way == "promote":
            await fleet["us"].promote(job.id)


async def _do(fleet: dict[str, Any], side: str, what: str) -> None:
    await (getattr(fleet["us"], what)() if side == "us" else fleet[side].call("queue", what))


class Order(Struct, frozen=True):
    """A job is there; then somebody pauses, two put a job in line, and somebody resumes."""

    pauser: str
    first: str
    second: str
    resumer: str
    way: str

    def wait_is_used(self, *, until: str) -> bool:
        """Whether jobs are in `wait` before the `second` job or the `resume`: BullMQ 6 leaves them there, and we put them aside."""
        sides = [self.pauser, self.first] + [self.second] * (until == "resume")
        return "v6" in sides and "us" not in "".join(sides).rpartition("v6")[2]

    @property
    def loses(self) -> bool:
        """Whether BullMQ 5, which renames `paused` onto `wait`, deletes what BullMQ 6 put there."""
        aside = {"v5", "us"} & {self.pauser, self.first, self.second}
        return self.resumer == "v5" and self.wait_is_used(until="resume") and bool(aside)

    @property
    def keeps_order(self) -> bool:
        """What BullMQ 5 adds goes before what BullMQ 6 left in `wait`, whoever resumes."""
        return not (self.first == "v5" and self.pauser == "v6") and not (
            self.second == "v5" and self.wait_is_used(until="second")
        )


ORDERS = [
    Order(pauser, first, second, resumer, way)
    for pauser, first, second, resumer in itertools.product(SIDES, repeat=4)
    for way in WAYS
    if "us" in (first, second) or way == "add"
]


async def test_row_21_a_pause_by_anyone_keeps_jobs_and_order(redis_url: str, fleet: dict[str, Any]) -> None:
    """Wherever BullMQ by itself loses none, and keeps the order."""
    queue: Queue = fleet["us"]
    line: list[int] = []
    added = 0
    orders = [order for order in ORDERS if not order.loses]
    random.shuffle(orders)
    for order in orders:
        await _put(fleet, order.pauser, order.way, added)
        await _do(fleet, order.pauser, "pause")
        await _put(fleet, order.first, order.way, added + 1)
        await _put(fleet, order.second, order.way, added + 2)
        await _do(fleet, order.resumer, "resume")
        expected = [*line, added, added + 1, added + 2]
        added += 3
        line = [job.data["number"] async for job in _in_line(queue)]
        assert sorted(line) == list(range(added)), f"{order} lost a job"
        if order.keeps_order:
            assert line == expected, order
        assert (await queue.counts()).paused == 0
    ran: list[int] = []

    async def note(job: Job[Any]) -> None:
        ran.append(job.data["number"])

    async with running(Worker("q", note, redis=redis_url, concurrency=1)):
        await until(lambda: len(ran) >= added, "all ran")
    assert ran == line


async def _in_line(queue: Queue) -> AsyncIterator[Job[Any]]:
    for start in range(0, (await queue.counts()).waiting, 100):
        for job in await queue.jobs("waiting", start, start + 99):
            yield job


async def test_row_21_a_resume_wakes_workers_if_not_paused(fleet: dict[str, Any], link: Link) -> None:
    queue: Queue = fleet["us"]
    await fleet["v6"].call("queue", "pause")
    await fleet["v6"].call("queue", "add", "n", {})
    await fleet["v5"].call("queue", "resume")
    assert (await queue.is_paused(), await link.call("EXISTS", queue.keys.marker)) == (False, 0)
    await queue.resume()
    assert await link.call("ZSCORE", queue.keys.marker, "0") == b"0"


async def test_row_21_pauses_hold_with_workers_of_all_three(redis_url: str, fleet: dict[str, Any], link: Link) -> None:
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


async def test_row_21_a_resume_merges_both_lists(redis_url: str, link: Link, keys: Keys) -> None:
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
