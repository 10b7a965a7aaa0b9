"""A worker's concurrency, changed while it runs: nothing that runs is cancelled, and nothing is left lying."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine import Job, NewJob, Queue, Worker, batch_processor
from engine.errors import InvalidOption
from tests.support.running import until


async def test_new_slots_fill_at_once_and_fewer_cancel_nothing(queue: Queue, redis_url: str) -> None:
    may_end = {n: asyncio.Event() for n in range(8)}
    started: list[int] = []
    cancelled: list[int] = []

    async def run(job: Job[int]) -> int:
        started.append(job.data)
        try:
            await may_end[job.data].wait()
        except asyncio.CancelledError:
            cancelled.append(job.data)
            raise
        return job.data

    jobs = await queue.add_many([NewJob("x", n) for n in range(8)])
    # An idle worker looks by itself after `drain_delay`: not within this test.
    async with Worker("q", run, redis=redis_url, concurrency=2, drain_delay=60_000) as worker:
        await until(lambda: len(started) == 2, "both slots are taken")
        worker.concurrency = 5
        await until(lambda: len(started) == 5, "the further slots are taken")
        assert worker.concurrency == 5
        worker.concurrency = 2
        for n in range(3):
            may_end[n].set()
            assert await jobs[n].result(timeout=10_000) == n
            assert len(started) == 5, "no slot is free"
        assert len(worker.running_jobs()) == 2
        may_end[3].set()
        await until(lambda: len(started) == 6, "one of the two slots is taken again")
        assert len(worker.running_jobs()) == 2
        worker.concurrency = 1
        most = 0
        for n in range(4, 8):
            may_end[n].set()
            assert await jobs[n].result(timeout=10_000) == n
            most = max(most, len(worker.running_jobs()))
        assert most <= 1
    assert (started, cancelled) == (list(range(8)), [])


async def test_a_resized_worker_takes_as_many_as_before(queue: Queue, redis_url: str) -> None:
    async def run(job: Job[int]) -> int:
        if job.data % 50 == 0:
            worker.concurrency = 1 + job.data % 7
        await asyncio.sleep(0)
        return job.data

    worker = Worker("q", run, redis=redis_url, concurrency=1)
    jobs = await queue.add_many([NewJob("x", n) for n in range(600)])
    async with worker:
        assert [await job.result(timeout=20_000) for job in jobs] == list(range(600))
    assert (await queue.counts()).completed == 600


async def test_a_wrong_concurrency_changes_nothing(redis_url: str) -> None:
    @batch_processor("x", size=10)
    async def run(jobs: list[Job[Any]]) -> list[None]:
        return [None] * len(jobs)

    worker = Worker("q", run, redis=redis_url, concurrency=10)
    for value in (0, -1, 2.5, True, None, 100_001):
        with pytest.raises(InvalidOption, match=r"concurrency: .* is not a whole number from 1 to 100,000"):
            worker.concurrency = value  # type: ignore[assignment]
    with pytest.raises(InvalidOption, match="takes batches of 10 jobs"):
        worker.concurrency = 9
    assert worker.concurrency == 10
