"""Operating a queue: pause, resume, list, remove, drain, clean, obliterate, and retention."""

from __future__ import annotations

import asyncio

import pytest

from engine import Job, NewJob, Queue, Worker
from engine.errors import JobNotFound, WrongState
from tests.support.running import running, until


async def echo(job: Job[object]) -> object:
    return job.data


async def test_a_paused_queue_takes_jobs_and_gives_none(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, running(Worker("q", echo, redis=redis_url)):
        await queue.pause()
        assert await queue.is_paused()
        jobs = await queue.add_many([NewJob("echo", n) for n in range(3)])
        await queue.add("echo", "urgent", priority=1)
        counts = await queue.counts()
        assert (counts.waiting + counts.paused, counts.prioritized, counts.active) == (3, 1, 0)
        assert await jobs[0].state() == "waiting"

        await queue.resume()
        assert not await queue.is_paused()
        assert [await job.result(timeout=10_000) for job in jobs] == [0, 1, 2]


async def test_an_id_without_a_hash_is_no_job_of_a_page(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("echo", n) for n in range(600)])
        await queue.link.call("DEL", *(queue.keys.job(job.id) for job in jobs[::2]))
        assert [job.data for job in await queue.jobs("waiting", 0, 599)] == [*range(1, 600, 2)]
        assert [job.data for job in await queue.jobs("waiting", 0, 1)] == [1]
        assert await queue.drain() == 600


async def test_jobs_are_listed_in_pages_next_to_run_first(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("echo", n) for n in range(30)])
        assert [job.id for job in await queue.jobs("waiting", 0, 9)] == [job.id for job in jobs[:10]]
        assert [job.data for job in await queue.jobs("waiting", 28, 99)] == [28, 29]
        assert [job.data for job in await queue.jobs("waiting", 0, 1, newest_first=True)] == [29, 28]


async def test_a_job_is_not_removed_while_it_runs(redis_url: str) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(job: Job[None]) -> None:
        started.set()
        await go_on.wait()

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", wait, redis=redis_url, concurrency=1)):
        busy, idle = await queue.add("wait"), await queue.add("wait")
        await asyncio.wait_for(started.wait(), 10)
        assert await queue.remove(idle.id)
        assert not await queue.remove(idle.id)
        with pytest.raises(WrongState):
            await queue.remove(busy.id)
        go_on.set()
        await busy.result(timeout=10_000)
        with pytest.raises(JobNotFound):
            await idle.result(timeout=10_000)


async def test_drain_removes_waiting_jobs(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.add_many([*(NewJob("echo", n, priority=n % 2) for n in range(10)), NewJob("echo", delay=60_000)])
        assert await queue.drain() == 10
        assert (await queue.counts()).delayed == 1
        assert await queue.drain(delayed=True) == 1


async def test_a_worker_keeps_so_many_finished_jobs(redis_url: str) -> None:
    worker = Worker("q", echo, redis=redis_url, remove_on_complete={"count": 5})
    async with Queue("q", redis=redis_url) as queue, running(worker):
        jobs = await queue.add_many([NewJob("echo", n) for n in range(50)])
        assert await jobs[-1].result(timeout=10_000) == 49
        await until(lambda: _completed(queue, 5), "five completed jobs are left")

        gone = await queue.add("echo", "not kept", remove_on_complete=True)
        assert await gone.result(timeout=10_000) == "not kept"
        assert await queue.get_job(gone.id) is None

        assert len(await queue.clean("completed", limit=2)) == 2
        assert (await queue.counts()).completed == 3


async def test_a_paused_queue_can_be_obliterated(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.add_many([NewJob("echo", n, delay=n * 1000) for n in range(20)])
        with pytest.raises(WrongState):
            await queue.obliterate()
        await queue.pause()
        await queue.obliterate()
        assert (await queue.counts()).delayed == 0
        assert await queue.link.call("DBSIZE") == 0


async def _completed(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count
