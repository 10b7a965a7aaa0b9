"""Rows 9 to 11 and 23: cost with many jobs, retention, leftover keys."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engine import FlowJob, FlowProducer, Job, JobQueueService, NewJob, Queue, RedisSettings, Settings, Worker
from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.get_state import get_state
from engine.scripts.remove import NotRemoved, remove
from tests.support.keyspace import census, dump
from tests.support.running import running, until
from tests.support.seeding import seed

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def echo(job: Job[Any]) -> Any:
    return job.data


async def test_row_09_lists_are_not_searched_for_each_job(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    """Partly: a list has to be walked for one job somewhere in it. For many it is not: finished jobs leave `active` by one cut,
    states are asked of sets and locks first, what is cleaned from a line is marked and swept out in one pass, and a removal of
    many is several short calls."""
    await link.call("CONFIG", "RESETSTAT")
    async with running(Worker("q", echo, redis=redis_url, concurrency=50)) as worker:
        await queue.add_many([NewJob("x", n) for n in range(500)])
        await until(lambda: worker.counters.completed == 500, "all are done", timeout=20)
    assert (await _calls(link)).get("lrem", 0) <= 250, "by far not one for each"

    ids = [f"j{n:04}" for n in range(1_000)]
    await seed(link, keys, wait=ids)
    await link.call("CONFIG", "RESETSTAT")
    assert await get_state(link, keys, ids[:250]) == ["waiting"] * 250
    assert (await _calls(link))["lpos"] <= 210
    await link.call("CONFIG", "RESETSTAT")
    assert await remove(link, keys, [*ids[::2], "gone"]) == {"gone": NotRemoved.MISSING}
    assert (await census(link, keys))["wait"] == ids[1::2]
    calls = await _calls(link)
    assert calls["evalsha"] + calls.get("eval", 0) >= 3
    assert len(await queue.clean("waiting", limit=0)) == 500
    assert (await _calls(link))["lrem"] - calls["lrem"] <= 4


async def test_row_10_no_call_takes_on_more_than_its_share(queue: Queue, link: Link) -> None:
    """Whatever may have more to do is called again: clean, drain, pages of jobs, obliterate."""
    await queue.pause()
    for what in (
        queue.drain,
        lambda: queue.clean("waiting", limit=0),
        lambda: queue.jobs("waiting", 0, 999),
        queue.obliterate,
    ):
        await queue.add_many([NewJob("x", n) for n in range(1_000)])
        await link.call("CONFIG", "RESETSTAT")
        await what()
        calls = await _calls(link)
        assert calls["evalsha"] + calls.get("eval", 0) >= 4, what
        await queue.pause()


async def test_row_11_finished_jobs_and_events_are_bounded(redis_url: str, link: Link) -> None:
    """Of the service by default; of a plain Worker when it is told, since its default is BullMQ's, which keeps all. How many events
    are kept is the queue's own to say."""
    settings = Settings(redis=RedisSettings.parse(redis_url))
    data = {"subAccountId": "1", "phoneNumbers": ["+1234567890"], "message": "m"}

    async def sms(job: Job[Any]) -> Any:
        if job.attempts_started % 2 == 0 or int(job.id) % 2:
            raise ValueError("x" * 1_000)
        return "x" * 1_000

    async with Queue("sms-queue", redis=redis_url, max_events=100) as queue:
        async with JobQueueService(settings, processors={"sms": sms}) as service:
            for _ in range(130):
                await service.add_job("sms", data, retries=0)
            await service.start_workers()
            await until(lambda: _done(queue), "all have ended", timeout=20)
        counts = await queue.counts()
        assert (counts.completed, counts.failed) == (10, 50)
        hashes = [key for key in await link.call("KEYS", "bull:sms-queue:*") if key.rpartition(b":")[2].isdigit()]
        assert len(hashes) == 60
        # The stream is cut by whole nodes, of a hundred entries each.
        assert await link.call("XLEN", queue.keys.events) <= 300


async def test_row_23_what_is_removed_leaves_nothing(queue: Queue, redis_url: str, link: Link) -> None:
    """Neither logs, children's sets, deduplications nor dead letters of an obliterated queue; and nobody has to look for orphans."""
    options: dict[str, Any] = {"deduplication": {"id": "d", "keep_last_if_active": True}}

    async def run(job: Job[Any]) -> None:
        await job.log("row")
        await job.update_progress(5)
        if job.data == "fail":
            raise ValueError("no")

    async with FlowProducer(redis=redis_url) as flows, running(Worker("q", run, redis=redis_url, metrics=5)):
        tree = FlowJob("up", "q", children=[FlowJob("down", "q", "fail", ignore_dependency_on_failure=True)])
        flow = await flows.add(tree)
        await flow.job.result(timeout=20_000)
        kept = await queue.add("x", "fail", **options)
        await until(lambda: _is(kept, "failed"), "it has failed", timeout=20)
    await queue.add("x", delay=60_000)
    await queue.add("x", priority=3)
    await queue.schedules.upsert("s", "x", every=60_000)
    other = {key: value for key, value in (await dump(link)).items() if not key.startswith("bull:q:")}
    for job in (flow.job, kept):
        await queue.remove(job.id)
        assert not await link.call("EXISTS", queue.keys.job(job.id))
        assert not await link.call("KEYS", f"bull:q:{job.id}:*")
    await queue.pause()
    await queue.obliterate()
    assert await dump(link) == other


async def _done(queue: Queue) -> bool:
    counts = await queue.counts()
    return counts.waiting + counts.active + counts.delayed + counts.prioritized == 0


async def _is(job: Job[Any], state: str) -> bool:
    return await job.state() == state


async def _calls(link: Link) -> dict[str, int]:
    """How often each command was called since the last reset."""
    stats = (await link.call("INFO", "commandstats")).decode()
    return {name: int(calls) for name, calls in re.findall(r"cmdstat_([^:]+):calls=(\d+)", stats)}
