"""`corral migrate check` on data of the real BullMQ: reports each problem, job by job, and writes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from engine.cli.migrate.check import check
from engine.cli.migrate.findings import QueueReport, Report
from engine.connection import Link, RedisSettings
from engine.model.keys import Keys
from tests.interop.side import NodeSide
from tests.support.keyspace import dump

pytestmark = [
    pytest.mark.asyncio(loop_factories=["uvloop"]),
    pytest.mark.parametrize("node", ["5.63.0", "6.7.0"], indirect=True),
    pytest.mark.usefixtures("damaged"),
]

SAID = {"attempts": 2, "removeOnComplete": True}
READER = "reader"


async def _leave_jobs(node: NodeSide, link: Link) -> dict[str, str]:
    """A queue in daily use, with what differs here. Returns the ids by what they stand for."""
    ids: dict[str, str] = {}
    for what, options in {
        "plain": SAID,
        "bare": {},
        "timed": {**SAID, "timeout": 5000},
        "ladder": {**SAID, "backoff": {"type": "ladder"}},
        "both": {**SAID, "priority": 2, "lifo": True},
        "window": {**SAID, "deduplication": {"id": "user:42"}},
        "gone": SAID,
        "lost": SAID,
        "broken": SAID,
        "later": {**SAID, "delay": 3_600_000},
    }.items():
        ids[what] = (await node.call("queue", "add", what, {"a": 1}, options))["id"]
    keys = Keys("paper")
    await link.call("DEL", keys.job(ids["gone"]), keys.job(ids["window"]))
    await link.call("LREM", keys.wait, 1, ids["lost"])
    await link.call("HSET", keys.job(ids["broken"]), "data", "{oops")
    return ids


async def _leave_schedules(node: NodeSide) -> None:
    template = {"name": "report", "data": {}, "opts": SAID}
    await node.call("queue", "upsertJobScheduler", "nightly", {"pattern": "0 3 * * *"}, template)
    await node.call("queue", "upsertJobScheduler", "fridays", {"pattern": "0 0 * * FRIL", "tz": "UTC"}, template)
    await node.call("queue", "upsertJobScheduler", "often", {"every": 3_600_000}, template)
    if node.major == 5:
        await node.call("queue", "add", "old", {}, {**SAID, "repeat": {"every": 7_200_000}})


async def _leave_a_waiting_parent(node: NodeSide) -> str:
    child = {"name": "kid", "queueName": "kids", "data": {"do": "throw"}, "opts": {"removeOnComplete": True}}
    tree = {"name": "parent", "queueName": "paper", "opts": SAID, "children": [child]}
    added = await node.call("flows", "add", tree)
    await node.heard("worker", "failed")
    return str(added["job"]["id"])


def _found(queue: QueueReport) -> dict[str, tuple[int, set[str]]]:
    return {one.code: (one.count, {example.id for example in one.examples}) for one in queue.findings}


async def test_the_report_names_exactly_what_node_left(redis_url: str, link: Link, node: NodeSide) -> None:
    await node.make("Queue", "queue", "paper")
    await node.make("FlowProducer", "flows")
    await node.make("Worker", "worker", "kids", name="press")
    ids = await _leave_jobs(node, link)
    await _leave_schedules(node)
    parent = await _leave_a_waiting_parent(node)
    await node.call("queue", "pause")

    report = await check(RedisSettings.parse(redis_url), "bull", examples=20)
    kids, paper = report.queues
    expected = {
        "bad-data": (1, {ids["broken"]}),
        "own-backoff": (1, {ids["ladder"]}),
        "option-refused": (1, {ids["both"]}),
        "timeout-heeded": (1, {ids["timed"]}),
        "missing-hash": (2, {ids["gone"], ids["window"]}),
        "deduplication-dead": (1, {"user:42"}),
        "schedule-refused": (1, {"fridays"}),
        "schedule-without-zone": (1, {"nightly"}),
        "parent-waits-for-failed": (1, {parent}),
        "nowhere": (1, {ids["lost"]}),
        "attempts-open": (1, {ids["bare"]}),
        "kept-for-ever": (1, {ids["bare"]}),
    }
    found = _found(paper)
    assert found.pop("queue-paused")[0] == 9, "eight jobs, and the first run of `often`, which is due at once"
    assert found.pop("many-names")[1] >= {"bare", "both", "broken"}
    legacy = found.pop("schedule-legacy", (0, set()))
    assert legacy[0] == (1 if node.major == 5 else 0)
    assert found == expected
    assert set(_found(kids)) == {"without-dead-letter"}

    assert (paper.version, paper.paused) == (f"bullmq:{node.version}", True)
    assert paper.schedules == (4 if node.major == 5 else 3)
    assert ("the list `paused` is used: BullMQ 5" in paper.hints) is (node.major == 5)
    assert kids.clients is not None
    assert (kids.clients.bullmq_workers, kids.clients.corral_workers) == (["press"], [])
    assert report.differs
    assert report.server == []


async def test_a_user_who_may_only_read_gets_the_whole_report(redis_url: str, link: Link, node: NodeSide) -> None:
    await node.make("Queue", "queue", "paper")
    await node.make("FlowProducer", "flows")
    await node.make("Worker", "worker", "kids")
    await _leave_jobs(node, link)
    await _leave_schedules(node)
    await _leave_a_waiting_parent(node)
    # Not even scripts, and none of the commands that walk through everything.
    rights = [
        "on",
        ">secret",
        "~*",
        "resetchannels",
        "-@all",
        "+@read",
        "+@connection",
        "-@dangerous",
        "-keys",
        "-sort_ro",
    ]
    await link.call("ACL", "SETUSER", READER, *rights)
    await node.kill()
    before = await dump(link)
    ours = RedisSettings.parse(redis_url)
    reader = structs.replace(ours, username=READER, password="secret")
    try:
        least, most = await check(reader, "bull"), await check(ours, "bull")
    finally:
        await link.call("ACL", "DELUSER", READER)
    assert await dump(link) == before
    assert [queue.clients for queue in least.queues] == [None, None], "CLIENT LIST is for administrators"
    assert _told(least) == _told(most)


def _told(report: Report) -> Any:
    return [(queue.queue, queue.counts, queue.hints, queue.findings) for queue in report.queues]
