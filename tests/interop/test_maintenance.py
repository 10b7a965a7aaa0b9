"""Cleaning up from the other side: what BullMQ's maintenance does to a queue with our private keys, and ours to BullMQ's.

Nothing private is hurt, nothing that is left misleads later, and the queue works on.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine import FlowJob, Job, NewJob, Queue, Worker
from engine.connection import Connection, Link, RedisSettings
from engine.errors import WaitForChildren
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed
from engine.model.wire import STATES
from engine.scripts.claim import claim
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from tests.interop.side import VERSIONS, NodeError, NodeSide
from tests.interop.sides import Ours, Theirs, both, counted
from tests.support.invariants import violations
from tests.support.keyspace import census, dump
from tests.support.running import running

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

ENDS = [VERSIONS[0], VERSIONS[-1]]
KEYS = Keys("q")
HOUR = 3_600_000


class Copy:
    """The database as it was: put back as often as a test likes."""

    def __init__(self, link: Link, url: str) -> None:
        self._link = link
        self._url = url

    async def __aenter__(self) -> Copy:
        self._aside = Connection(RedisSettings.parse(self._url + "?db=1"))
        await self._aside.connect()
        await _copy_all(self._link, 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._aside.close()

    async def restore(self) -> None:
        await self._link.call("FLUSHDB", "SYNC")
        await _copy_all(self._aside, 0)


async def _copy_all(link: Link, database: int) -> None:
    names = await link.call("KEYS", "*")
    await link.call_many([["COPY", name, name, "DB", database] for name in names])


async def live(ours: Ours) -> None:
    """A queue with all that is private to us: dead letters, a smoothed limit, a cancelled job, one that is held with a job kept
    for its end, a schedule that counts its runs, a parent."""
    queue = await ours.queue("q")
    await queue.set_rate_limit(10_000, 1_000, smooth=True)
    await ours.work("q", metrics=60)
    for _ in range(2):
        await ours.add("q", "n", {"do": "log", "value": "row"})
        await ours.add("q", "sms", {"do": "throw", "subAccountId": "tenant"})
    await counted(queue, completed=2, failed=2)
    cancelled = await ours.add("q", "n", {"do": "hold"})
    await counted(queue, active=1)
    await queue.cancel(cancelled, "not wanted")
    await counted(queue, failed=3, active=0)
    latest = {"id": "latest", "keepLastIfActive": True}
    await ours.add("q", "n", {"do": "hold"}, deduplication=latest)
    await counted(queue, active=1)
    await ours.add("q", "n", {"latest": True}, deduplication=latest)
    for priority in (0, 0, 0, 1, 2):
        await ours.add("q", "n", {}, priority=priority)
    await ours.add("q", "n", {}, delay=HOUR, deduplication={"id": "once"})
    await queue.schedules.upsert("leap", "n", {}, cron="0 0 29 2 *", tz="UTC", overlap="queue")
    kid = {"name": "n", "queueName": "kids", "data": {}, "opts": {"delay": HOUR, "jobId": "kid"}}
    await ours.flow({"name": "n", "queueName": "q", "data": {}, "opts": {"jobId": "parent"}, "children": [kid]})


MAINTENANCE: list[tuple[str, list[Any]]] = [
    *(("clean", [0, 1_000, state]) for state in ("wait", "paused", "active", "delayed", "prioritized", "completed", "failed")),
    ("drain", []),
    ("drain", [True]),
    ("trimEvents", [0]),
    *(("remove", [id]) for id in ("1", "2", "8", "11", "13", "parent")),
    ("retryJobs", [{"state": "failed"}]),
    ("retryJobs", [{"state": "completed"}]),
    ("promoteJobs", []),
    ("removeUnprocessedChildren", []),
    ("obliterate", [{"force": True}]),
    ("obliterate", []),
]  # fmt: skip
"""Of BullMQ's; the ids are those that `live` makes."""


@pytest.mark.parametrize("node", ENDS, indirect=True)
async def test_nodes_maintenance_leaves_our_keys_alone(redis_url: str, node: NodeSide, link: Link) -> None:
    async with both(redis_url, node) as (ours, theirs):
        await theirs.queue("q")
        await live(ours)
        async with Copy(link, redis_url) as copy:
            await ours.rest()
            for method, arguments in MAINTENANCE:
                await copy.restore()
                before = await private(link)
                assert before, "the queue has private keys"
                if method == "obliterate":
                    await theirs.pause("q")
                if (method, arguments) == ("obliterate", []):
                    with pytest.raises(NodeError, match="active"):
                        await theirs.call("q", "obliterate")
                    await link.call("DEL", KEYS.lock("6"))
                    assert await theirs.call("q", "clean", 0, 1, "active") == ["6"]
                more = {"job": "parent"} if method.startswith("removeUnprocessed") else {}
                await theirs.call("q", method, *arguments, **more)
                assert await private(link) == before, (method, arguments)
                await works_on(ours, theirs, link)


async def private(link: Link) -> dict[str, Any]:
    return await dump(link, f"{KEYS.jobs}corral:")


async def works_on(ours: Ours, theirs: Theirs, link: Link) -> None:
    """Both add and both work; ids are new; what we know of jobs that failed still helps; what owns an id has a job."""
    queue = await ours.queue("q")
    taken = set(await dump(link, KEYS.jobs))
    added = [await side.add("q", "n", {"value": "new"}) for side in (ours, theirs)]
    assert not {KEYS.job(id) for id in added} & taken, "an id was given twice"
    assert added[0] != added[1]
    once = await queue.add("n", {}, deduplication={"id": "once"})
    assert await queue.get_job(once.id) is not None
    assert await theirs.call("q", "getDeduplicationJobId", "once") == once.id
    # BullMQ before 5.72 leaves what was kept for the end of an owner. It must not come back with the next owner of that id.
    await queue.add("n", {}, deduplication={"id": "latest", "keep_last_if_active": True})
    letters = await queue.dead_letters.list()
    report = await queue.dead_letters.replay(everything=True, data=lambda letter: {"value": "replayed"})
    assert report.count + len(report.skipped) == len(letters.items) == 3
    for side in (theirs, ours):
        await side.add("q", "n", {"value": "last"})
        await side.work("q", concurrency=5)
        await counted(queue, waiting=0, prioritized=0)
        await side.rest()
    for id in added:
        assert await theirs.call("q", "getJobState", id) == "completed"
    if (schedule := await queue.schedules.get("leap")) is not None:
        due = int(await link.call("ZSCORE", KEYS.repeat, "leap"))
        assert schedule.next_run is not None
        assert await theirs.call("q", "getJobState", f"repeat:leap:{due}") in ("delayed", "completed")
    assert {"latest": True} not in [job.data for job in await queue.jobs("completed")]
    assert await violations(link, KEYS) == []


@pytest.mark.parametrize("node", VERSIONS[1:], indirect=True)
async def test_nodes_search_for_orphans_finds_none_of_ours(redis_url: str, node: NodeSide, link: Link) -> None:
    async with both(redis_url, node) as (ours, theirs):
        await live(ours)
        await theirs.queue("q")
        await link.call("SET", f"{KEYS.jobs}corral:schedules:looked", 1, "PX", HOUR)
        before = await dump(link)
        orphan = {KEYS.job("orphan"): {"name": "n"}, f"{KEYS.job('orphan')}:logs": ["row"]}
        await link.call("HSET", KEYS.job("orphan"), "name", "n")
        await link.call("RPUSH", KEYS.logs("orphan"), "row")
        assert await dump(link) == before | orphan
        assert await theirs.call("q", "removeOrphanedJobs") >= 1
        after = await dump(link)
        # Of its own keys it takes one too, for what stands beside a job "metrics".
        lost = f"{KEYS.jobs}metrics:failed"
        after.setdefault(lost, before[lost])
        assert after == before
        await ours.rest()


@pytest.mark.parametrize("node", ENDS, indirect=True)
async def test_an_id_reused_after_nodes_obliterate_is_a_new_job(redis_url: str, node: NodeSide, link: Link) -> None:
    """Of an obliterated queue our notes of cancelled jobs are left. A new job of that number is not meant by them."""
    async with both(redis_url, node) as (ours, theirs):
        await live(ours)
        await ours.rest()
        noted = await link.call("ZRANGE", KEYS.cancelling, 0, -1)
        assert noted == [b"5"]
        await theirs.pause("q")
        await theirs.call("q", "obliterate", {"force": True})
        assert await link.call("ZRANGE", KEYS.cancelling, 0, -1) == noted
        queue = await ours.queue("q")
        for number in range(1, 7):
            assert await theirs.add("q", "n", {"do": "hold", "value": "ended"}) == str(number)
        await ours.work("q", concurrency=6)
        await counted(queue, active=6)
        # The worker looks for all that it is to cancel at once, so with this one it has looked for the other too.
        await queue.cancel("6")
        await counted(queue, failed=1, active=5)
        await ours.rest()
        assert await theirs.call("q", "getJobCounts", "completed", "failed", "active") == {
            "completed": 5, "failed": 1, "active": 0,
        }  # fmt: skip


@pytest.mark.parametrize("node", ENDS, indirect=True)
async def test_a_parent_left_by_nodes_obliterate_keeps_its_id(redis_url: str, node: NodeSide, link: Link) -> None:
    async def wait_for_a_child(job: Job[Any]) -> None:
        job.add_child(FlowJob("n", "kids", {}))
        raise WaitForChildren

    theirs = Theirs(node)
    async with Queue("q", redis=redis_url) as queue:
        await queue.add_many([NewJob("n", {}, job_id="first"), NewJob("n", {})])
        async with running(Worker("q", wait_for_a_child, redis=redis_url)):
            await counted(queue, waiting_children=2)
        await theirs.pause("q")
        await theirs.call("q", "obliterate")
        assert await census(link, KEYS) | {"waiting-children": []} == {state: [] for state in STATES}
        added = [(await queue.add("n", {})).id, await theirs.add("q", "n", {}), (await queue.add("n", {})).id]
        assert added == ["3", "4", "5"]
        assert (await queue.counts()).waiting_children == 2


@pytest.mark.parametrize("node", ENDS[1:], indirect=True)
async def test_nodes_retry_with_reset_starts_fences_old_runs(redis_url: str, node: NodeSide, link: Link) -> None:
    """The starts of a job are our fence, and this is the one call that lowers them: then the token alone tells runs apart."""
    theirs = Theirs(node)
    id = await theirs.add("q", "n", {})
    (old,) = (await claim(link, KEYS, token="t1", lock_ms=HOUR, worker="w", count=1)).jobs
    await fail(link, KEYS, [(old, Failed("boom"), Keep(), 1)], dead_letters=Keep())
    await theirs.call("q", "retry", "failed", {"resetAttemptsMade": True, "resetAttemptsStarted": True}, job=id)
    (new,) = (await claim(link, KEYS, token="t2", lock_ms=HOUR, worker="w", count=1)).jobs
    assert (old.id, old.fence) == (new.id, new.fence) == (id, 1)
    before = await dump(link)
    assert list(await finish(link, KEYS, [(old, b"1", Keep())])) == [0], "refused"
    assert await dump(link) == before
    assert list(await finish(link, KEYS, [(new, b"2", Keep())])) == []
    assert (await theirs.call("q", "getJob", id))["returnvalue"] == 2


async def fill_by_node(theirs: Theirs) -> None:
    """All that BullMQ of this version leaves in a queue."""
    await theirs.work("q", metrics=60)
    for data in ({"do": "log", "value": "row"}, {"do": "throw"}):
        await theirs.add("q", "n", data)
    await theirs.node.heard("worker 1", "failed")
    await theirs.add("q", "n", {"do": "hold"}, deduplication={"id": "latest", "keepLastIfActive": True})
    await theirs.node.heard("worker 1", "active", 3)
    await theirs.add("q", "n", {}, deduplication={"id": "latest", "keepLastIfActive": True})
    await theirs.limit("q", 10_000, 1_000)
    for priority in (0, 0, 1):
        await theirs.add("q", "n", {}, priority=priority)
    await theirs.add("q", "n", {}, delay=HOUR, deduplication={"id": "once", "ttl": HOUR})
    kid = {"name": "n", "queueName": "q", "data": {}, "opts": {"delay": HOUR, "jobId": "kid"}}
    await theirs.flow({"name": "n", "queueName": "q", "data": {}, "opts": {"jobId": "parent"}, "children": [kid]})
    await theirs.schedule("q", "leap", {"leap": 1}, pattern="0 0 29 2 *", tz="UTC")
    if theirs.node.major == 5:
        await theirs.add("q", "legacy", {}, repeat={"pattern": "0 0 29 2 *", "tz": "UTC"})
    await theirs.pause("q")
    await theirs.add("q", "n", {"paused": True})


@pytest.mark.parametrize("node", [VERSIONS[0], VERSIONS[1], VERSIONS[-1]], indirect=True)
async def test_our_maintenance_removes_only_what_node_left(redis_url: str, node: NodeSide, link: Link) -> None:
    async with both(redis_url, node) as (ours, theirs):
        await fill_by_node(theirs)
        queue = await ours.queue("q")
        async with Copy(link, redis_url) as copy:
            await theirs.rest()
            there = await census(link, KEYS)
            runs = {id for id in there["delayed"] if id.startswith("repeat:")}
            stay = {*runs, *there["active"]}
            for state in ("waiting", "prioritized", "delayed", "active", "completed", "failed"):
                await copy.restore()
                ids = {job.id for job in await queue.jobs(state)}
                assert ids, state
                assert set(await queue.clean(state)) == ids - stay, state
                await is_left(theirs, link, {id for found in there.values() for id in found} - ids | stay)

            await copy.restore()
            for id in [id for found in there.values() for id in found if id not in stay]:
                assert await queue.remove(id), id
            await is_left(theirs, link, stay)

            await copy.restore()
            await queue.drain(delayed=True)
            await is_left(theirs, link, {*there["completed"], *there["failed"], *stay})

            await copy.restore()
            await queue.obliterate(force=True)
            assert await dump(link, KEYS.jobs) == {}, "not a key is left"
            await theirs.add("q", "n", {"value": "first again"})
            await theirs.work("q")
            await counted(queue, completed=1)
            assert await violations(link, KEYS) == []


async def is_left(theirs: Theirs, link: Link, ids: set[str]) -> None:
    """These jobs, and nothing that is unsound; BullMQ counts them so too."""
    found = await census(link, KEYS)
    assert {id for state in found.values() for id in state} == ids
    counts = await theirs.call("q", "getJobCounts")
    # Its later versions do not count what stands aside in a paused queue.
    assert sum(counts.values()) + (0 if "paused" in counts else len(found["paused"])) == len(ids)
    assert await violations(link, KEYS) == []
