"""Cancelling and timeouts: stop a job, limit how long it runs, how late it starts, how long it is silent."""

from __future__ import annotations

import asyncio
import threading

import pytest

from engine import Cancellation, Job, Queue, SyncQueue, Worker, processor
from engine.errors import JobCancelled, JobFailed
from tests.support.running import running, until


async def test_a_job_that_waits_is_cancelled_at_once(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        job = await queue.add("report", delay=60_000)
        assert await queue.cancel(job.id, "the order was withdrawn") is Cancellation.CANCELLED
        assert await queue.cancel(job.id) is Cancellation.ENDED  # again does no harm

        with pytest.raises(JobCancelled) as caught:
            await job.result(timeout=10_000)
        assert caught.value.reason == "cancelled: the order was withdrawn"
        assert await job.state() == "failed"
        assert await queue.cancel("no-such-job") is Cancellation.MISSING


def test_code_without_an_event_loop_cancels_too(redis_url: str) -> None:
    with SyncQueue("q", redis=redis_url) as queue:
        job = queue.add("report")
        assert queue.cancel(job.id) is Cancellation.CANCELLED
        with pytest.raises(JobCancelled):
            job.result(timeout=10_000)


@processor("async")
async def an_async_handler(job: Job[None]) -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        await job.log("cleaned up")  # it is cancelled like any task, and may clean up


@processor("plain")
def a_plain_handler(job: Job[None]) -> None:
    job.log("working")  # type: ignore[unused-coroutine]
    while True:
        job.check_cancelled()  # raises once the job is cancelled; `if job.cancelled:` asks without raising
        threading.Event().wait(0.01)


async def test_a_job_that_runs_is_told_to_stop(redis_url: str) -> None:
    worker = Worker("q", an_async_handler, a_plain_handler, redis=redis_url)
    async with Queue("q", redis=redis_url) as queue, running(worker):
        for name in ("async", "plain"):
            job = await queue.add(name, attempts=3)
            await until(lambda: _is_active(job), "it runs")  # noqa: B023
            assert await queue.cancel(job.id) is Cancellation.ASKED
            with pytest.raises(JobCancelled):
                await job.result(timeout=10_000)
            assert (await job.refresh()).attempts_made == 1  # no further attempt
        assert await queue.logs("1") == ["cleaned up"]


@processor("slow", timeout=50)  # milliseconds or a timedelta; each run that takes longer is a failed attempt
async def slow(job: Job[float]) -> int:
    await asyncio.sleep(job.data if job.attempts_made == 0 else 0)
    return job.attempts_made


async def test_an_attempt_that_times_out_is_retried(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, running(Worker("q", slow, redis=redis_url)):
        assert await (await queue.add("slow", 3600, attempts=2)).result(timeout=10_000) == 1
        # The job's own word goes before the processor's.
        assert await (await queue.add("slow", 0.2, timeout=10_000)).result(timeout=10_000) == 0


@processor("import", heartbeat=100)
def imports(job: Job[int]) -> int:
    for _ in range(job.data):
        threading.Event().wait(0.02)
        job.heartbeat()  # so do update_progress and log
    if job.data == 0:
        threading.Event().wait(0.5)  # hangs: no sign of life
    return job.data


async def test_a_handler_without_a_heartbeat_counts_as_hung(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, running(Worker("q", imports, redis=redis_url)):
        alive, hung = await queue.add("import", 10), await queue.add("import", 0)
        assert await alive.result(timeout=10_000) == 10
        with pytest.raises(JobFailed, match="no heartbeat for 100 ms"):
            await hung.result(timeout=10_000)


async def test_a_job_that_would_start_too_late_is_not_run(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        job = await queue.add("slow", 0, expires_in=1, attempts=3)
        await until(lambda: _age_ms(queue, job.id, 10), "it is too late")
        async with running(Worker("q", slow, redis=redis_url)):
            with pytest.raises(JobFailed, match="expired: it was to start within 1 ms"):
                await job.result(timeout=10_000)
        assert (await job.refresh()).attempts_made == 1


@processor("stubborn", timeout=50)
def stubborn(job: Job[None]) -> None:
    over.wait(30)


over = threading.Event()


async def test_a_run_that_does_not_stop_blocks_no_other(redis_url: str) -> None:
    over.clear()
    worker = Worker("q", stubborn, slow, redis=redis_url, concurrency=1, cancel_grace=50)
    async with Queue("q", redis=redis_url) as queue, running(worker):
        job, following = await queue.add("stubborn"), await queue.add("slow", 0)
        with pytest.raises(JobFailed, match="timeout"):
            await job.result(timeout=10_000)
        assert await following.result(timeout=10_000) == 0
        assert [one.name for one in worker.abandoned_jobs()] == ["stubborn"]  # counted, and logged with its stack
        over.set()
        await until(lambda: not worker.abandoned_jobs(), "it has ended, and nothing came of it")
        assert await job.state() == "failed"


async def _is_active(job: Job[None]) -> bool:
    return await job.state() == "active"


async def _age_ms(queue: Queue, id: str, least: int) -> bool:
    seconds, micros = await queue.link.call("TIME")
    job = await queue.get_job(id)
    assert job is not None
    assert job.timestamp is not None
    return int(seconds) * 1000 + int(micros) / 1000 - job.timestamp.timestamp() * 1000 > least
