"""The official Python port of BullMQ and us on one queue: each runs the other's jobs, both read the same."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from functools import partial

import pytest

from engine import Queue, QueueEvents, events
from engine.connection import Link
from engine.model.clock import to_ms
from engine.model.keys import Keys
from tests.interop.port.driver import Ported, PortSide, need_port
from tests.interop.sides import Ours, Side, as_node_shows, counted
from tests.support.keyspace import events as event_log
from tests.support.running import until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

Sides = tuple[Ours, Ported]
BOTH = ["port", "us"]


@pytest.fixture
async def sides(redis_url: str) -> AsyncIterator[Sides]:
    need_port()
    async with PortSide(redis_url) as port, Ours(redis_url) as ours:
        yield ours, Ported(port)


def _giver_and_taker(sides: Sides, giver: str) -> tuple[Side, Side]:
    ours, port = sides
    return (ours, port) if giver == "us" else (port, ours)


@pytest.mark.parametrize("giver", BOTH)
async def test_each_runs_the_others_jobs_in_order(sides: Sides, link: Link, giver: str) -> None:
    ours, port = sides
    adds, runs = _giver_and_taker(sides, giver)
    await adds.add("q", "n", {}, jobId="later", delay=50)
    await adds.add("q", "n", {"value": 2}, jobId="p2", priority=2)
    await adds.add("q", "n", {"value": {"deep": [1, None, "é\u2028"]}}, jobId="first")
    await adds.add("q", "n", {"do": "progress", "value": {"done": 1}}, jobId="second")
    await adds.add("q", "n", {"do": "log", "value": "row"}, jobId="third")
    await adds.add("q", "n", {}, jobId="p1", priority=1)
    await adds.add(
        "q",
        "n",
        {"do": "throw", "reason": "boom"},
        jobId="front",
        lifo=True,
        attempts=2,
        backoff={"type": "fixed", "delay": 30},
    )
    await adds.add("q", "n", {"do": "give up", "reason": "no use"}, jobId="p3", priority=3, attempts=5)
    assert await adds.add("q", "n", {}, jobId="first") == "first", "it is there already"
    once = await adds.add("q", "n", {"do": "hold"}, delay=60_000, deduplication={"id": "once"})
    for side in (ours, port):
        assert await side.add("q", "n", {}, deduplication={"id": "once"}) == once
    queue = await ours.queue("q")
    await runs.work("q", concurrency=1)
    await counted(queue, completed=6, failed=2, delayed=1)
    began = [line.split()[1] for line in await event_log(link, Keys("q")) if line.startswith("active ")]
    again = {"later", "front"}
    assert [id for id in began if id not in again] == ["first", "second", "third", "p1", "p2", "p3"]
    assert began[0] == "front"
    assert sorted(id for id in began if id in again) == ["front", "front", "later"]
    for id in sorted({*began, once}):
        found, job = await port.call("q", "getJob", id), await queue.get_job(id)
        assert job is not None
        # The port keeps 0 for what has not happened, and does not read the id of a deduplication.
        shown = as_node_shows(job) | {"deduplicationId": None}
        assert {name: found[name] or None for name in shown} == {name: value or None for name, value in shown.items()}
        assert await port.call("q", "getJobState", id) == await job.state()
    assert (await port.call("q", "getJobLogs", "third"))["logs"] == await queue.logs("third") == ["row"]
    failed = await queue.get_job("front")
    assert failed is not None
    assert (failed.failed_reason, failed.attempts_made, len(failed.stacktrace)) == ("boom", 2, 2)
    await runs.rest()


@pytest.mark.parametrize("giver", BOTH)
async def test_a_flow_goes_through_the_queues_of_both(sides: Sides, giver: str) -> None:
    ours, port = sides
    adds, runs = _giver_and_taker(sides, giver)
    kids = [
        {"name": "n", "queueName": "ours", "data": {"value": 1}},
        {"name": "n", "queueName": "port", "data": {"value": [2]}},
        {
            "name": "n", "queueName": "ours", "data": {"do": "throw"}, "opts": {"ignoreDependencyOnFailure": True},
        },
        {
            "name": "n", "queueName": "port", "data": {"do": "throw"}, "opts": {"removeDependencyOnFailure": True},
        },
    ]  # fmt: skip
    await adds.flow(
        {"name": "n", "queueName": "top", "data": {"do": "children"}, "opts": {"jobId": "top"}, "children": kids}
    )
    doomed = {"name": "n", "queueName": "port", "data": {"do": "throw"}, "opts": {"failParentOnFailure": True}}
    await adds.flow({"name": "n", "queueName": "top", "data": {}, "opts": {"jobId": "doomed"}, "children": [doomed]})
    await ours.work("ours")
    await port.work("port")
    await runs.work("top")
    queue = await ours.queue("top")
    await counted(queue, completed=1, failed=1)
    (done,) = await queue.jobs("completed")
    assert done.return_value is not None
    assert sorted(done.return_value.values(), key=str) == [1, [2]]
    assert len(await done.ignored_failures()) == 1
    (lost,) = await queue.jobs("failed")
    assert lost.failed_reason is not None
    assert lost.failed_reason.startswith("child bull:port:")
    await port.rest()
    await ours.rest()


@pytest.mark.parametrize("giver", BOTH)
async def test_a_schedule_goes_on_in_the_hands_of_both(sides: Sides, giver: str) -> None:
    ours, port = sides
    adds, _ = _giver_and_taker(sides, giver)
    await adds.schedule("q", "tick", {"value": "tock"}, every=200)
    queue = await ours.queue("q")
    each: list[Side] = [port, ours]
    for side in each:
        before = (await queue.counts()).completed
        await side.work("q")
        await until(partial(_ran, queue, before + 1), "a run of each", timeout=20)
        await side.rest()
    ran = await queue.jobs("completed")
    due = [int(job.id.rpartition(":")[2]) for job in ran]
    assert {job.return_value for job in ran} == {"tock"}
    assert all(after > before for before, after in itertools.pairwise(due))
    found = await queue.schedules.get("tick")
    assert found is not None
    assert found.next_run is not None
    theirs = await port.call("q", "getJobScheduler", "tick")
    assert (theirs["every"], theirs["next"]) == (found.every, to_ms(found.next_run))
    assert found.runs == theirs["iterationCount"] > len(ran) >= 2


async def _ran(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed >= count


@pytest.mark.parametrize("giver", BOTH)
async def test_either_hears_what_the_other_does(redis_url: str, sides: Sides, giver: str) -> None:
    _, port = sides
    adds, runs = _giver_and_taker(sides, giver)
    await port.node.make("QueueEvents", "events", "q", lastEventId="0")
    await runs.work("q", concurrency=1)
    good = await adds.add("q", "n", {"do": "progress", "value": 7})
    bad = await adds.add("q", "n", {"do": "throw", "reason": "boom"})
    await port.node.heard("events", "failed")
    words = [(told["event"], told["args"][0]) for told in port.node.told if told["from"] == "events"]
    told = [(word, said.get("prev")) for word, said in words if isinstance(said, dict) and said["jobId"] == good]
    assert told == [
        ("added", None),
        ("waiting", None),
        ("active", "waiting"),
        ("progress", None),
        ("completed", "active"),
    ]
    assert [said["failedReason"] for word, said in words if word == "failed"] == ["boom"]
    heard: list[events.Event] = []
    async with QueueEvents("q", redis=redis_url) as stream:
        async for event in stream.events(after="0"):
            heard.append(event)
            if isinstance(event, events.Failed):
                break
    (completed,) = [event for event in heard if isinstance(event, events.Completed)]
    assert (completed.job_id, [event.data for event in heard if isinstance(event, events.Progress)]) == (good, [7])
    assert [(event.job_id, event.reason) for event in heard if isinstance(event, events.Failed)] == [(bad, "boom")]
    await runs.rest()


async def test_pauses_by_either_side_lose_no_job(sides: Sides) -> None:
    ours, port = sides
    queue, added = await ours.queue("q"), 0
    each: list[Side] = [ours, port]
    for pauser, before, first, second, resumer in itertools.product(each, repeat=5):
        await before.add("q", "n", {})
        await pauser.pause("q")
        assert await queue.is_paused()
        assert await port.call("q", "isPaused")
        await first.add("q", "n", {})
        await second.add("q", "n", {})
        await (queue.resume() if resumer is ours else port.call("q", "resume"))
        added += 3
        counts = await queue.counts()
        assert (counts.waiting, counts.paused) == (added, 0)
    await ours.work("q")
    await port.work("q")
    await counted(queue, completed=added)
    ran = {job.id for first in range(0, added, 100) for job in await queue.jobs("completed", first, first + 99)}
    assert ran == {str(number) for number in range(1, added + 1)}
    await until(lambda: port.node.told.of("worker 1", "completed"), "the port had a share")
    await port.rest()
