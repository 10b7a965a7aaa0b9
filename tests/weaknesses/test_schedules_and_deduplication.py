"""Rows 12 to 14: schedules that lost a run, deduplication after its job, adds that make no job."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from engine import Job, Queue, Worker
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@pytest.mark.parametrize("loss", ["job", "line", "job and line", "ended before"])
async def test_row_12_any_worker_repairs_a_schedule(redis_url: str, loss: str) -> None:
    """The next run of a schedule is derived anew where it is lost, and where a job that has ended stands at its place."""
    runs: Counter[str] = Counter()

    async def run(job: Job[Any]) -> None:
        runs[job.id] += 1

    async with Queue("q", redis=redis_url) as queue:
        schedule = await queue.schedules.upsert("s", "work", {"n": 1}, every=50)
        assert schedule.next_run is not None
        (pending,) = await queue.jobs("delayed") + await queue.jobs("waiting")
        if loss in ("job", "job and line"):
            await queue.link.call("DEL", queue.keys.job(pending.id))
        if loss in ("line", "job and line"):
            await queue.link.call("DEL", queue.keys.delayed, queue.keys.wait)
        ended = f"repeat:s:{round(schedule.next_run.timestamp() * 1000) + 50}"
        if loss == "ended before":
            fields = [
                "name",
                "work",
                "data",
                "1",
                "opts",
                "{}",
                "timestamp",
                "1",
                "processedOn",
                "1",
                "finishedOn",
                "1",
                "atm",
                "1",
                "ats",
                "1",
                "returnvalue",
                "1",
            ]
            await queue.link.call("HSET", queue.keys.job(ended), *fields)
            await queue.link.call("ZADD", queue.keys.completed, 1, ended)
        async with running(Worker("q", run, redis=redis_url, stalled_interval=100)):
            await until(lambda: len(runs) >= 3, "the chain goes on", timeout=20)
            await queue.schedules.remove("s")
        assert set(runs.values()) == {1}
        assert (ended in runs) is False or loss != "ended before"


async def test_row_13_deduplication_ends_with_its_job(redis_url: str) -> None:
    """The owner is looked at when it is met: an id whose job is gone is taken over, whoever deleted the job."""
    async with Queue("q", redis=redis_url) as queue:
        first = await queue.add("x", 1, deduplication={"id": "d"})
        await queue.link.call("DEL", queue.keys.job(first.id))
        await queue.link.call("LREM", queue.keys.wait, 0, first.id)
        await queue.link.call("HSET", queue.keys.jobs + "dn:d", "name", "n", "data", "old", "opts", "{}", "jid", "x")
        second = await queue.add("x", 2, deduplication={"id": "d"})
        assert (second.deduplicated, await queue.deduplication_job_id("d")) == (False, second.id)
        assert not await queue.link.call("EXISTS", queue.keys.jobs + "dn:d"), "nor what it was to be followed by"
        third = await queue.add("x", 3, deduplication={"id": "d"})
        assert (third.deduplicated, third.id) == (True, second.id), "and the living own it as ever"


async def test_row_14_an_add_that_makes_no_job_says_so(redis_url: str) -> None:
    """Partly: a kept job keeps its id, as in BullMQ; the caller learns it, and can run that job again."""

    async def count(job: Job[Any]) -> int:
        return job.attempts_started

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", count, redis=redis_url)):
        job = await queue.add("x", 1, job_id="mine")
        assert (job.deduplicated, await job.result(timeout=20_000)) == (False, 1)
        again = await queue.add("x", 2, job_id="mine")
        assert (again.deduplicated, (await again.refresh()).data) == (True, 1)
        await queue.retry("mine")
        assert await again.result(timeout=20_000) == 2
