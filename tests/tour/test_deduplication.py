"""Deduplication: one job for each id, throttled or debounced."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from engine import Deduplication, Job, Queue, Worker, processor
from tests.support.running import running, until


async def test_an_id_makes_one_job_at_a_time(redis_url: str) -> None:
    async with Queue("work", redis=redis_url) as queue:
        first = await queue.add("index", {"user": 42}, deduplication={"id": "index:42"})
        second = await queue.add("index", {"user": 42}, deduplication={"id": "index:42"})
        assert (first.deduplicated, second.deduplicated) == (False, True)
        assert second.id == first.id
        assert (await queue.counts()).waiting == 1

        # Once it has finished, the next add makes a job again.
        async with running(Worker("work", _index, redis=redis_url)):
            assert await second.result(timeout=10_000) == 42
        third = await queue.add("index", {"user": 42}, deduplication={"id": "index:42"})
        assert (third.deduplicated, third.id != first.id) == (False, True)


@processor("index")
async def _index(job: Job[dict[str, int]]) -> int:
    return job.data["user"]


async def test_throttle_makes_one_job_per_ttl(redis_url: str) -> None:
    once_a_minute = Deduplication("report", ttl=timedelta(minutes=1))
    async with Queue("work", redis=redis_url) as queue, running(Worker("work", _named, redis=redis_url)):
        first = await queue.add("report", deduplication=once_a_minute)
        assert await first.result(timeout=10_000) == first.id
        # It has finished, and the minute has not.
        second = await queue.add("report", deduplication=once_a_minute)
        assert (second.deduplicated, second.id) == (True, first.id)


async def _named(job: Job[None]) -> str:
    return job.id


async def test_debounce_runs_the_last_of_a_burst(redis_url: str) -> None:
    async with Queue("work", redis=redis_url) as queue, running(Worker("work", _save, redis=redis_url)):
        drafts = [
            await queue.add(
                "save",
                f"draft {n}",
                delay=200,
                deduplication={"id": "doc:7", "ttl": 200, "extend": True, "replace": True},
            )
            for n in range(5)
        ]
        assert await drafts[-1].result(timeout=10_000) == "draft 4"
        assert [await queue.get_job(job.id) for job in drafts[:-1]] == [None] * 4


async def _save(job: Job[str]) -> str:
    return job.data


async def test_reschedule_puts_off_the_job_that_is_there(redis_url: str) -> None:
    async with Queue("work", redis=redis_url) as queue:
        remind = Deduplication("cart:7", reschedule=True)
        job = await queue.add("remind", {"cart": 7}, delay=timedelta(hours=1), deduplication=remind)
        again = await queue.add("remind", {"cart": 7}, delay=timedelta(hours=2), deduplication=remind)
        assert again.id == job.id
        assert (await job.refresh()).delay == 2 * 3600 * 1000


async def test_keep_last_if_active_runs_the_newest_data(redis_url: str) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    seen: list[int] = []

    async def sync(job: Job[int]) -> None:
        seen.append(job.data)
        started.set()
        await go_on.wait()

    same = Deduplication("sync", keep_last_if_active=True)
    async with Queue("work", redis=redis_url) as queue, running(Worker("work", sync, redis=redis_url)):
        await queue.add("sync", 1, deduplication=same)
        await started.wait()
        # The running job has read its data already: the newest of these is kept until it ends.
        for version in (2, 3, 4):
            assert (await queue.add("sync", version, deduplication=same)).deduplicated
        go_on.set()
        await until(lambda: seen == [1, 4], "the newest ran")


async def test_who_owns_an_id_can_be_asked_and_the_id_freed(redis_url: str) -> None:
    async with Queue("work", redis=redis_url) as queue:
        job = await queue.add("index", deduplication={"id": "index:42"})
        assert await queue.deduplication_job_id("index:42") == job.id
        assert job.deduplication_id == "index:42"

        assert await queue.remove_deduplication("index:42")
        assert await queue.deduplication_job_id("index:42") is None
        assert not (await queue.add("index", deduplication={"id": "index:42"})).deduplicated
        assert not await job.remove_deduplication(), "it belongs to the second job now"


async def test_a_job_can_release_its_id_when_it_starts(redis_url: str) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def work(job: Job[None]) -> None:
        await job.remove_deduplication()
        started.set()
        await go_on.wait()

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", work, redis=redis_url)):
        await queue.add("work", deduplication={"id": "w"})
        await started.wait()
        second = await queue.add("work", deduplication={"id": "w"})
        assert not second.deduplicated
        go_on.set()
        await second.result(timeout=10_000)


async def test_a_job_id_that_is_there_already_is_told_too(redis_url: str) -> None:
    async with Queue("work", redis=redis_url) as queue:
        assert not (await queue.add("bill", job_id="bill-7")).deduplicated
        assert (await queue.add("bill", job_id="bill-7")).deduplicated
