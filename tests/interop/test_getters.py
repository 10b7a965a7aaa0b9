"""Both sides read the same from a queue, whichever of them filled it."""

from __future__ import annotations

import itertools

import pytest

from engine import FlowNode, Queue
from engine.metrics import Finished
from engine.model import wire
from engine.model.clock import to_ms
from engine.queue import State
from tests.interop.side import NodeSide
from tests.interop.sides import Ours, Side, Theirs, as_node_shows, both, counted

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SHOWN: dict[State, list[str]] = {
    "waiting": ["front", "w1", "w2", "w3"],
    "active": ["held"],
    "prioritized": ["p1", "p1-later", "p9"],
    "delayed": ["soon", "late", "repeat:hourly", "repeat:yearly"],
    "completed": ["c1-progress", "c2-log", "c3-value"],
    "failed": ["f1-given-up", "f2-thrown"],
    "waiting-children": ["parent"],
}
"""The queue that `fill` makes: the ids in each state, those that are next or were first in front.

Where two may finish in one ms, they are in the order of the alphabet, as they are then in the set too."""
HOUR = 3_600_000


async def fill(side: Side, queue: Queue, kids: Queue) -> None:
    """Jobs in every state, a flow, schedules, limits. The worker holds a job and has room for no other."""
    await side.add("q", "n", {"do": "progress", "value": {"done": 1}}, jobId="c1-progress")
    await side.add("q", "n", {"do": "log", "value": "row 1"}, jobId="c2-log")
    await side.add("q", "n", {"value": [1, None, {"a": {}}]}, jobId="c3-value")
    await side.add("q", "n", {"do": "throw", "reason": "boom\n\tand more"}, jobId="f2-thrown", attempts=2)
    await side.add("q", "n", {"do": "give up"}, jobId="f1-given-up", attempts=3)
    children = [
        {"name": "n", "queueName": "kids", "data": {"value": "mine"}, "opts": {"jobId": "done"}},
        {"name": "n", "queueName": "kids", "data": {}, "opts": {"jobId": "open", "delay": HOUR}},
        {
            "name": "n", "queueName": "kids", "data": {"do": "throw", "reason": "no matter"},
            "opts": {"jobId": "ignored", "ignoreDependencyOnFailure": True},
        },
    ]  # fmt: skip
    await side.flow(
        {"name": "n", "queueName": "q", "data": {}, "opts": {"jobId": "parent", "priority": 3}, "children": children}
    )
    await side.work("kids", metrics=60)
    await counted(kids, completed=1, failed=1)
    await side.work("q", name="hand", metrics=60)
    await counted(queue, completed=3, failed=2)
    await side.limit("q", 1, HOUR)
    await side.add("q", "n", {"do": "hold"}, jobId="held")
    await counted(queue, active=1)
    await side.let_run("q", 1)
    for number in range(1, 4):
        await side.add("q", "n", {"number": number}, jobId=f"w{number}", backoff={"type": "exponential", "delay": 100})
    await side.add("q", "n", {}, jobId="front", lifo=True)
    await side.add("q", "n", {}, jobId="p9", priority=9)
    await side.add("q", "n", {}, jobId="p1", priority=1)
    await side.add("q", "n", {}, jobId="p1-later", priority=1)
    await side.add("q", "n", {}, jobId="late", delay=2 * HOUR, deduplication={"id": "once"})
    await side.add("q", "n", {}, jobId="soon", delay=1_000 * 60, priority=5)
    # Due in this order at any time of the year: the first within three hours and after two, the other on leap days.
    await side.schedule("q", "yearly", {"y": 1}, pattern="0 0 29 2 *", tz="Europe/Berlin")
    await side.schedule("q", "hourly", {"h": 1}, pattern="0 */3 * * *", tz="Asia/Kolkata")


@pytest.mark.parametrize("filler", ["us", "node"])
async def test_both_sides_read_the_same_from_a_queue(redis_url: str, node: NodeSide, filler: str) -> None:
    async with both(redis_url, node) as (ours, theirs):
        queue, kids = await ours.queue("q"), await ours.queue("kids")
        side: Side = ours if filler == "us" else theirs
        await theirs.queue("q")
        await fill(side, queue, kids)
        await compare_pages(queue, theirs)
        await compare_jobs(queue, theirs)
        await compare_counts(queue, theirs)
        await compare_families(ours, theirs)
        await compare_settings(queue, theirs)
        await compare_clients(ours, theirs)
        await side.pause("q")
        assert await queue.is_paused()
        assert await theirs.call("q", "isPaused")
        assert [job.id for job in await queue.jobs("waiting")] == SHOWN["waiting"]
        if filler == "node" or node.major == 5:
            # BullMQ 6 does not look where BullMQ 5 and we put jobs aside; it finds them at the resume.
            await compare_pages(queue, theirs)
        await side.rest()


async def compare_pages(queue: Queue, theirs: Theirs) -> None:
    for state, wanted in SHOWN.items():
        for (start, end), ascending in itertools.product(((0, -1), (0, 0), (1, 2), (2, 99), (50, 60)), (True, False)):
            found = await theirs.call("q", "getJobs", [state], start, end, ascending)
            last = 99 if end < 0 else end
            shown = await queue.jobs(state, start, last, newest_first=not ascending)
            assert [job["id"] for job in found] == [job.id for job in shown], (state, start, end, ascending)
            line = wanted if ascending else wanted[::-1]
            cut = [job.id.rpartition(":")[0] if job.id.startswith("repeat:") else job.id for job in shown]
            if state != "delayed":
                assert cut == line[start : last + 1], (state, start, end, ascending)
    delayed = [job.id for job in await queue.jobs("delayed")]
    assert {id.rpartition(":")[0] or id for id in delayed} == set(SHOWN["delayed"])
    assert delayed[0] == "soon"


async def compare_jobs(queue: Queue, theirs: Theirs) -> None:
    for state in SHOWN:
        for job in await queue.jobs(state):
            found = await theirs.call("q", "getJob", job.id)
            assert as_node_shows(job) == {name: found[name] for name in as_node_shows(job)}
            assert await theirs.call("q", "getJobState", job.id) == await job.state() == state
    logged = await theirs.call("q", "getJobLogs", "c2-log")
    assert logged == {"logs": await queue.logs("c2-log"), "count": 1}
    assert logged["logs"] == ["row 1"]
    assert await theirs.call("q", "getDeduplicationJobId", "once") == "late"
    assert await queue.deduplication_job_id("once") == "late"
    thrown = await queue.get_job("f2-thrown")
    assert thrown is not None
    assert (thrown.failed_reason, thrown.attempts_made, len(thrown.stacktrace)) == ("boom\n\tand more", 2, 2)


async def compare_counts(queue: Queue, theirs: Theirs) -> None:
    counts = await theirs.call("q", "getJobCounts")
    ours = await queue.counts()
    assert counts == {state: len(ids) for state, ids in SHOWN.items()} | ({"paused": 0} if "paused" in counts else {})
    assert counts == {state: getattr(ours, state.replace("-", "_")) for state in counts}
    ranked = await theirs.call("q", "getCountsPerPriority", [0, 1, 2, 9])
    assert {int(priority): count for priority, count in ranked.items()} == {0: 4, 1: 2, 2: 0, 9: 1}
    assert await queue.counts_per_priority([0, 1, 2, 9]) == {0: 4, 1: 2, 2: 0, 9: 1}
    totals: dict[Finished, int] = {"completed": 3, "failed": 2}
    for kind, total in totals.items():
        found = await theirs.call("q", "getMetrics", kind)
        measured = await queue.metrics(kind)
        assert (int(found["meta"]["count"]), found["count"]) == (total, len(found["data"]))
        assert (measured.total, measured.minutes) == (total, found["count"])
        assert measured.per_minute == [int(count) for count in found["data"]]
    exported = await theirs.call("q", "exportPrometheusMetrics")
    for state, ids in SHOWN.items():
        assert f'bullmq_job_count{{queue="q", state="{state}"}} {len(ids)}' in exported


async def compare_families(ours: Ours, theirs: Theirs) -> None:
    found = await theirs.call("q", "getDependencies", job="parent")
    assert found["processed"] == {"bull:kids:done": "mine"}
    assert found["unprocessed"] == ["bull:kids:open"]
    assert found["ignored"] == {"bull:kids:ignored": "no matter"}
    assert await theirs.call("q", "getDependenciesCount", job="parent") == {
        "processed": 1, "unprocessed": 1, "ignored": 1, "failed": 0,
    }  # fmt: skip
    tree = await ours.flows.get("q", "parent")
    assert tree is not None
    assert await tree.job.children_values() == found["processed"]
    assert await tree.job.ignored_failures() == found["ignored"]
    assert _below(tree) == {"done", "open", "ignored"}


def _below(tree: FlowNode) -> set[str]:
    return {node.job.id for node in tree.children}


async def compare_settings(queue: Queue, theirs: Theirs) -> None:
    assert await theirs.call("q", "isMaxed")
    assert await theirs.call("q", "getGlobalConcurrency") == await queue.concurrency() == 1
    limit = await queue.rate_limit()
    assert limit is not None
    assert await theirs.call("q", "getGlobalRateLimit") == {"max": limit.max, "duration": limit.duration}
    their_ttl, our_ttl = await theirs.call("q", "getRateLimitTtl"), await queue.rate_limit_ttl()
    assert 0 <= their_ttl - our_ttl < 20_000 < our_ttl <= HOUR
    meta = await theirs.call("q", "getMeta")
    assert (meta["concurrency"], meta["paused"], meta["maxLenEvents"]) == (1, False, 10_000)
    schedulers = await theirs.call("q", "getJobSchedulers", 0, -1, True)
    schedules = await queue.schedules.list()
    assert [(found["key"], found["name"], found["pattern"], found["tz"], found["next"]) for found in schedulers] == [
        (one.id, one.name, one.cron, one.tz, one.next_run and to_ms(one.next_run)) for one in schedules
    ]
    assert (
        [found["template"]["data"] for found in schedulers] == [one.data for one in schedules] == [{"h": 1}, {"y": 1}]
    )
    assert await theirs.call("q", "getJobSchedulersCount") == 2


async def compare_clients(ours: Ours, theirs: Theirs) -> None:
    # Of the two workers, the one of this queue.
    workers = await theirs.call("q", "getWorkers")
    assert len(workers) == await theirs.call("q", "getWorkersCount") == 1
    assert workers[0]["rawname"] == (await ours.queue("q")).keys.client_name(":w:hand")
    # Who opened a queue last has left its name there.
    assert await theirs.call("q", "getVersion") == f"bullmq:{theirs.node.version}"
    await theirs.node.make("Queue", "quiet", "kids", skipMetasUpdate=True)
    assert await theirs.node.call("quiet", "getVersion") == f"corral:{wire.VERSION}"
