"""Rate limits and concurrency limits of a queue, on all workers together."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

import pytest

from engine import Job, NewJob, Queue, RateLimit, RateLimited, SyncQueue, Worker, processor
from engine.errors import InvalidOption
from tests.support.running import running, until


async def echo(job: Job[int]) -> int:
    return job.data


async def test_a_queue_has_a_rate_limit(redis_url: str) -> None:
    async with Queue("sms", redis=redis_url) as queue, running(Worker("sms", echo, redis=redis_url)):
        await queue.set_rate_limit(2, timedelta(seconds=60))
        assert await queue.rate_limit() == RateLimit(2, 60_000)

        jobs = await queue.add_many(NewJob("send", n) for n in range(3))
        assert [await job.result(timeout=10_000) for job in jobs[:2]] == [0, 1]
        assert 0 < await queue.rate_limit_ttl() <= 60_000, "why nothing starts: ms until the next may"
        assert await jobs[2].state() == "waiting"

        # A limit may be changed or removed at any time; jobs that wait do not wait for the end of the old one.
        assert await queue.remove_rate_limit() is True
        assert await jobs[2].result(timeout=10_000) == 2
        assert (await queue.rate_limit(), await queue.rate_limit_ttl()) == (None, 0)


async def test_a_smoothed_limit_spreads_the_starts_evenly(redis_url: str) -> None:
    async with Queue("sms", redis=redis_url) as queue, running(Worker("sms", echo, redis=redis_url)):
        await queue.set_rate_limit(10, 1_000, smooth=True)
        jobs = await queue.add_many(NewJob("send", n) for n in range(4))
        await jobs[-1].result(timeout=10_000)
        starts = [(await job.refresh()).processed_on for job in jobs]
        gaps = [later - earlier for earlier, later in itertools.pairwise(starts) if later and earlier]
        assert min(gaps) >= timedelta(milliseconds=100)


async def test_a_worker_can_bring_a_limit_along_as_in_bullmq(redis_url: str) -> None:
    worker = Worker("sms", echo, redis=redis_url, limiter={"max": 1, "duration": 60_000})
    async with Queue("sms", redis=redis_url) as queue, running(worker):
        first, second = await queue.add("send", 1), await queue.add("send", 2)
        assert await first.result(timeout=10_000) == 1
        assert await second.state() == "waiting"


async def test_a_queue_can_say_how_many_jobs_run_at_once(redis_url: str) -> None:
    at_once, highest = 0, 0

    async def count(job: Job[int]) -> None:
        nonlocal at_once, highest
        at_once += 1
        highest = max(highest, at_once)
        await asyncio.sleep(0.005)
        at_once -= 1

    workers = [Worker("exports", count, redis=redis_url, concurrency=10, name=name) for name in ("one", "two")]
    async with Queue("exports", redis=redis_url) as queue, running(workers[0]), running(workers[1]):
        await queue.set_concurrency(3)
        assert await queue.concurrency() == 3
        await queue.add_many(NewJob("export", n) for n in range(30))
        await until(lambda: _done(queue, 30), "all are done")
        assert highest == 3
        assert await queue.remove_concurrency() is True
        assert await queue.concurrency() is None


async def _done(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count


async def test_a_processor_can_tell_the_queue_to_hold_still(redis_url: str) -> None:
    """Somebody answered "429 Too Many Requests, Retry-After: ...": no other job would fare better until then."""

    @processor("call", attempts=1)
    async def call(job: Job[None]) -> str:
        if job.attempts_started == 1:
            raise RateLimited(retry_after=200)
        return "ok"

    async with Queue("calls", redis=redis_url) as queue, running(Worker("calls", call, redis=redis_url)):
        job = await queue.add("call")
        await until(queue.rate_limit_ttl, "the queue holds still")
        assert await job.result(timeout=10_000) == "ok"
        await job.refresh()
        assert (job.attempts_made, job.attempts_started) == (1, 2), "the run that was turned away used no attempt"


async def test_or_only_one_job_waits_and_the_others_go_on(redis_url: str) -> None:
    @processor("call")
    async def call(job: Job[str]) -> str | RateLimited:
        if job.data == "busy" and job.attempts_started == 1:
            return RateLimited(retry_after=timedelta(milliseconds=200), scope="job")
        return job.data

    worker = Worker("calls", call, redis=redis_url, concurrency=1)
    async with Queue("calls", redis=redis_url) as queue, running(worker):
        busy, free = await queue.add("call", "busy"), await queue.add("call", "free")
        assert await free.result(timeout=10_000) == "free"
        assert await busy.state() == "delayed"
        assert await busy.result(timeout=10_000) == "busy"


async def test_a_wrong_limit_is_refused_when_it_is_set(redis_url: str) -> None:
    async with Queue("sms", redis=redis_url) as queue:
        for wrong, said in (
            (queue.set_rate_limit(0, 1_000), "to start no job, pause the queue"),
            (queue.set_rate_limit(5, 0), "0 ms is too short"),
            (queue.set_rate_limit(5_000, 1, smooth=True), "leave smooth out"),
            (queue.set_concurrency(0), "to start no job, pause the queue"),
        ):
            with pytest.raises(InvalidOption, match=said):
                await wrong


def test_the_same_without_an_event_loop(redis_url: str) -> None:
    with SyncQueue("sms", redis=redis_url) as queue:
        queue.set_rate_limit(100, 1_000, smooth=True)
        assert queue.rate_limit() == RateLimit(100, 1_000, smooth=True)
        assert queue.rate_limit_ttl() == 0
        queue.set_concurrency(5)
        assert queue.concurrency() == 5
        assert (queue.remove_rate_limit(), queue.remove_concurrency()) == (True, True)
