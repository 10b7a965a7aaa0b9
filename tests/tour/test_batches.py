"""Batches: a processor gets many jobs at once, for one call to a provider or one insert of many rows."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from engine import Job, NewJob, Queue, Worker, batch_processor, errors, processor
from tests.support.running import running


class Message(Struct):
    to: str


async def test_jobs_run_in_batches_each_with_its_result(redis_url: str) -> None:
    sizes: list[int] = []

    # At most 3 jobs a call; the first that comes waits 50 ms at most for others.
    @batch_processor("sms", size=3, wait=50)
    async def send_all(jobs: list[Job[Message]]) -> list[str]:
        sizes.append(len(jobs))
        return [f"sent to {job.data.to}" for job in jobs]

    async with Queue("sms-queue", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("sms", Message(f"+{n}")) for n in range(7)])
        # Every job of a batch takes a slot, so the worker needs as many as one batch has.
        async with running(Worker("sms-queue", send_all, redis=redis_url, concurrency=6)):
            assert [await job.result(timeout=10_000) for job in jobs] == [f"sent to +{n}" for n in range(7)]
    assert sizes == [3, 3, 1]


async def test_one_job_of_a_batch_can_fail_alone(redis_url: str) -> None:
    calls: list[list[str]] = []

    @batch_processor("sms", size=10, attempts=2)
    async def send_all(jobs: list[Job[Message]]) -> dict[str, str | Exception]:
        calls.append([job.data.to for job in jobs])
        # By job id, or as a list in the jobs' order: a result or an exception for each.
        return {
            job.id: ConnectionError("busy") if job.data.to == "b" and job.attempts_made == 0 else "sent" for job in jobs
        }

    async with Queue("sms-queue", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("sms", Message(to)) for to in "abc"])
        async with running(Worker("sms-queue", send_all, redis=redis_url, concurrency=10)):
            assert [await job.result(timeout=10_000) for job in jobs] == ["sent"] * 3
        for job in jobs:
            await job.refresh()
    assert calls == [["a", "b", "c"], ["b"]]
    assert [job.attempts_made for job in jobs] == [1, 2, 1]


async def test_an_exception_fails_the_attempt_of_all_jobs(redis_url: str) -> None:
    @batch_processor("sms", size=10, attempts=2)
    def send_all(jobs: list[Job[Message]]) -> None:  # a plain function runs in a thread
        for job in jobs:
            job.log(f"attempt {job.attempts_started}")  # type: ignore[unused-coroutine]
        if jobs[0].attempts_started == 1:
            raise ConnectionError("the provider is down")

    async with Queue("sms-queue", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("sms", Message(to)) for to in "ab"])
        async with running(Worker("sms-queue", send_all, redis=redis_url, concurrency=10)):
            assert [await job.result(timeout=10_000) for job in jobs] == [None, None]
        assert await queue.logs(jobs[1].id) == ["attempt 1", "attempt 2"]


async def test_a_wrong_number_of_results_fails_the_batch(redis_url: str) -> None:
    @batch_processor("sms", size=10, attempts=5)
    async def send_all(jobs: list[Job[Any]]) -> list[str]:
        return ["sent"]

    async with Queue("sms-queue", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("sms"), NewJob("sms")])
        async with running(Worker("sms-queue", send_all, redis=redis_url, concurrency=10)):
            for job in jobs:
                with pytest.raises(errors.JobFailed, match="returned 1 results for 2 jobs; return one for each"):
                    await job.result(timeout=10_000)


async def test_a_worker_smaller_than_a_batch_is_refused() -> None:
    @batch_processor("sms", size=100)
    async def send_all(jobs: list[Job[Any]]) -> None: ...

    with pytest.raises(errors.InvalidOption, match=r"batches of 100 jobs.*give it concurrency=100 or more"):
        Worker("sms-queue", send_all)  # concurrency is 5

    with pytest.raises(errors.InvalidOption, match="size: 0 is not a whole number"):
        batch_processor("sms", size=0)

    async def one(job: Job[Any]) -> None: ...
    async def many(jobs: list[Job[Any]]) -> None: ...

    with pytest.raises(errors.InvalidInput, match="gets a list of jobs"):
        batch_processor("sms", size=2)(one)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInput, match="write @batch_processor"):
        processor("sms")(many)  # type: ignore[arg-type]
