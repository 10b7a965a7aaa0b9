"""Waiting for results: `job.result()` returns in time, whatever happens to the job."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from engine import Job, NewJob, Queue, Worker
from engine.errors import InvalidOption, JobNotFound
from tests.support.running import running


async def echo(job: Job[object]) -> object:
    return job.data


async def test_hundreds_wait_over_one_connection(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("echo", n) for n in range(300)])
        waiting = asyncio.gather(*(job.result(timeout=20_000) for job in jobs))
        async with running(Worker("q", echo, redis=redis_url, concurrency=20)):
            assert await waiting == list(range(300))


async def test_a_result_that_is_not_kept_arrives_too(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, running(Worker("q", echo, redis=redis_url)):
        for n in range(20):
            job = await queue.add("echo", n, remove_on_complete=True)
            assert await job.result(timeout=10_000) == n


@pytest.mark.parametrize(("written", "of_a_job"), [("all", 4), ("results", 1), ("none", 0)])
async def test_results_arrive_whichever_events_are_written(
    redis_url: str, written: Literal["all", "results", "none"], of_a_job: int
) -> None:
    async with Queue("q", redis=redis_url, events=written) as queue, running(Worker("q", echo, redis=redis_url)):
        jobs = await queue.add_many([NewJob("echo", n) for n in range(20)])
        assert await asyncio.gather(*(job.result(timeout=10_000) for job in jobs)) == list(range(20))
        entries = await queue.link.call("XRANGE", queue.keys.events, "-", "+")
        assert len([fields for _, fields in entries if fields[1] != b"drained"]) == 20 * of_a_job


async def test_a_result_that_is_not_kept_needs_its_event_only(redis_url: str) -> None:
    async with Queue("q", redis=redis_url, events="results") as queue, running(Worker("q", echo, redis=redis_url)):
        jobs = await queue.add_many([NewJob("echo", n, remove_on_complete=True) for n in range(20)])
        assert await asyncio.gather(*(job.result(timeout=10_000) for job in jobs)) == list(range(20))


async def test_a_number_of_events_below_1_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r'max_events: 0 is not .* for a queue without events use events="none"'):
        Queue("q", max_events=0)


async def test_waiting_ends_when_its_time_is_over(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        job = await queue.add("echo")
        with pytest.raises(TimeoutError, match="did not finish"):
            await job.result(timeout=50)


async def test_large_results_are_complete(redis_url: str) -> None:
    async def large(job: Job[int]) -> str:
        return f"{job.data} " + "x" * 2 * 2**20

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", large, redis=redis_url)):
        kept = await queue.add("large", -1)
        await kept.result(timeout=10_000)
        jobs = []
        for n in range(14):
            jobs.append(await queue.add("large", n, remove_on_complete=True))
            assert await jobs[-1].result(timeout=10_000) == f"{n} " + "x" * 2 * 2**20
        assert await queue.link.call("MEMORY", "USAGE", queue.keys.events, "SAMPLES", 0) < 22 * 2**20
        # Asked late: from the job where it is kept, else from its event, else from nowhere.
        assert (await kept.result(timeout=10_000)).startswith("-1 ")
        assert (await jobs[-1].result(timeout=10_000)).startswith("13 ")
        with pytest.raises(JobNotFound, match="removed, also by retention"):
            await jobs[0].result(timeout=10_000)
