"""Retries: a failed attempt is followed by another, after a backoff or at once, or by none."""

from __future__ import annotations

import pytest

from engine import Backoff, Job, Queue, Retry, UnrecoverableError, Worker, processor
from engine.errors import JobFailed
from tests.support.running import running


async def test_a_failed_attempt_is_retried(redis_url: str) -> None:
    @processor("flaky")
    async def flaky(job: Job[None]) -> int:
        if job.attempts_started < 3:
            raise ConnectionError(f"attempt {job.attempts_started} failed")
        return job.attempts_started

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", flaky, redis=redis_url)):
        job = await queue.add("flaky", attempts=3, backoff=Backoff("fixed", delay=10))
        assert await job.result(timeout=10_000) == 3
        await job.refresh()
        assert job.attempts_made == 3
        assert [trace.rstrip().splitlines()[-1] for trace in job.stacktrace] == [
            "ConnectionError: attempt 1 failed",
            "ConnectionError: attempt 2 failed",
        ]


async def test_a_job_without_attempts_left_fails_for_good(redis_url: str) -> None:
    async def broken(job: Job[None]) -> None:
        raise ValueError("no such customer")

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", broken, redis=redis_url)):
        job = await queue.add("broken", attempts=2)
        with pytest.raises(JobFailed, match="no such customer"):
            await job.result(timeout=10_000)
        await job.refresh()
        assert (job.attempts_made, job.failed_reason) == (2, "no such customer")
        assert [failed.id for failed in await queue.jobs("failed")] == [job.id]


async def test_a_processor_can_give_up_at_once(redis_url: str) -> None:
    async def refuse(job: Job[None]) -> None:
        raise UnrecoverableError("the account is closed")

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", refuse, redis=redis_url)):
        job = await queue.add("refuse", attempts=10)
        with pytest.raises(JobFailed, match="the account is closed"):
            await job.result(timeout=10_000)
        await job.refresh()
        assert job.attempts_made == 1


async def test_only_named_exceptions_are_tried_again(redis_url: str) -> None:
    @processor("call", attempts=5, retry_on=(TimeoutError,))
    async def call(job: Job[str]) -> None:
        raise TimeoutError("slow") if job.data == "slow" else KeyError("bad request")

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", call, redis=redis_url)):
        slow, bad = await queue.add("call", "slow"), await queue.add("call", "bad")
        for job, attempts in ((slow, 5), (bad, 1)):
            with pytest.raises(JobFailed):
                await job.result(timeout=10_000)
            await job.refresh()
            assert job.attempts_made == attempts


async def test_a_processor_can_request_a_retry(redis_url: str) -> None:
    async def poll(job: Job[None]) -> str | Retry:
        return "ready" if job.attempts_started == 2 else Retry(delay=20, reason="not ready yet")

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", poll, redis=redis_url)):
        job = await queue.add("poll", attempts=5)
        assert await job.result(timeout=10_000) == "ready"


async def test_a_worker_can_have_backoffs_of_its_own(redis_url: str) -> None:
    asked: list[int] = []

    def by_attempt(attempts_made: int, error: BaseException) -> int:
        asked.append(attempts_made)
        return -1 if attempts_made == 3 else attempts_made

    async def broken(job: Job[None]) -> None:
        raise OSError("disk")

    worker = Worker("work", broken, redis=redis_url, backoffs={"by-attempt": by_attempt})
    async with Queue("work", redis=redis_url) as queue, running(worker):
        job = await queue.add("broken", attempts=9, backoff={"type": "by-attempt"})
        with pytest.raises(JobFailed):
            await job.result(timeout=10_000)
    assert asked == [1, 2, 3]


async def test_a_failed_job_can_be_put_back_in_line(redis_url: str) -> None:
    mended = False

    async def work(job: Job[None]) -> str:
        if not mended:
            raise RuntimeError("broken")
        return "done"

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", work, redis=redis_url)):
        job = await queue.add("work")
        with pytest.raises(JobFailed):
            await job.result(timeout=10_000)
        mended = True
        await queue.retry(job.id)
        assert await job.result(timeout=10_000) == "done"
