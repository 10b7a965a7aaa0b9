"""How a worker stops: what runs may finish, what does not goes back, and nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from engine import Job, Queue, Worker, errors
from engine.connection import Link
from engine.model.clock import monotonic
from engine.model.keys import Keys
from tests.support.keyspace import snapshot
from tests.support.running import until


async def test_jobs_that_run_may_finish_and_no_others_start(queue: Queue, redis_url: str) -> None:
    go = asyncio.Event()

    async def run(job: Job[Any]) -> str:
        await go.wait()
        return "done"

    worker = Worker("q", run, redis=redis_url, concurrency=2)
    async with worker:
        jobs = [await queue.add("x", n) for n in range(4)]
        await until(lambda: len(worker.running_jobs()) == 2, "two run")
        closing = asyncio.create_task(worker.close())
        await until(lambda: "stopping" in repr(worker), "the worker stops")
        go.set()
        await closing
    assert [await job.state() for job in jobs] == ["completed", "completed", "waiting", "waiting"]
    assert "stopped" in repr(worker)


async def test_unfinished_jobs_are_released_in_order(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    cancelled: list[int] = []

    async def hang(job: Job[int]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(job.data)

    async with Worker("q", hang, redis=redis_url, concurrency=4) as worker:
        jobs = [await queue.add("x", n, attempts=2) for n in range(6)]
        await until(lambda: len(worker.running_jobs()) == 4, "four run")
        await worker.close(timeout=0)
    assert sorted(cancelled) == [0, 1, 2, 3]
    found = await snapshot(link, keys)
    assert found["wait"] == [job.id for job in jobs]
    assert "active" not in found
    assert not [name for name in found if name.startswith("lock:")]
    assert {found[f"job:{job.id}"].get("atm") for job in jobs} == {None}
    assert worker.counters.released == 4


async def test_processors_cannot_block_a_stop(queue: Queue, redis_url: str) -> None:
    over = threading.Event()

    async def stubborn(job: Job[Any]) -> None:
        while not over.is_set():
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    def deaf(job: Job[Any]) -> None:
        over.wait(60)

    began = monotonic()
    workers = [Worker("q", stubborn, redis=redis_url), Worker("r", deaf, redis=redis_url)]
    async with Queue("r", redis=redis_url) as other:
        for worker, its in zip(workers, (queue, other), strict=True):
            async with worker:
                job = await its.add("x", {})
                await until(lambda: len(worker.running_jobs()) == 1, "it runs")  # noqa: B023
                await worker.stop_now()
            assert await job.state() == "waiting"
    assert monotonic() - began < 10
    over.set()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if "_work" in repr(task):
            task.cancel()
            await asyncio.wait([task])


async def test_a_second_stop_hurries_the_first(queue: Queue, redis_url: str) -> None:
    async def hang(job: Job[Any]) -> None:
        await asyncio.Event().wait()

    async with Worker("q", hang, redis=redis_url) as worker:
        job = await queue.add("x", {})
        await until(lambda: len(worker.running_jobs()) == 1, "it runs")
        patient = asyncio.create_task(worker.close(timeout=60_000))
        await until(lambda: "stopping" in repr(worker), "the worker stops")
        began = monotonic()
        await worker.stop_now()
        await patient
        assert monotonic() - began < 2
    assert await job.state() == "waiting"


async def test_cancelling_run_releases_what_runs(queue: Queue, redis_url: str) -> None:
    async def hang(job: Job[Any]) -> None:
        await asyncio.Event().wait()

    worker = Worker("q", hang, redis=redis_url)
    task = asyncio.create_task(worker.run())
    job = await queue.add("x", {})
    await until(lambda: len(worker.running_jobs()) == 1, "it runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await job.state() == "waiting"


async def test_starts_and_stops_at_any_moment_lose_nothing(queue: Queue, redis_url: str) -> None:
    runs: list[int] = []

    async def run(job: Job[int]) -> None:
        await asyncio.sleep(0)
        runs.append(job.data)

    await asyncio.gather(*(queue.add("x", n) for n in range(300)))
    ticks = 0
    while (await queue.counts()).completed < 300:
        workers = [Worker("q", run, redis=redis_url, concurrency=7) for _ in range(2)]
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        for worker in workers:
            await worker.ready.wait()
        ticks += 1
        for _ in range(ticks):
            await asyncio.sleep(0)
        await asyncio.gather(*(worker.close() for worker in workers for _ in range(2)), *tasks)
        assert ticks < 400
    assert sorted(runs) == list(range(300))


async def test_a_worker_that_was_closed_before_it_ran_does_not_run(redis_url: str) -> None:
    async def run(job: Job[Any]) -> None: ...

    worker = Worker("q", run, redis=redis_url)
    await worker.close()
    await worker.run()
    with pytest.raises(errors.InvalidOption, match="make a new Worker"):
        await worker.run()


async def test_a_server_that_is_not_there_is_told_at_the_start() -> None:
    async def run(job: Job[Any]) -> None: ...

    with pytest.raises(errors.ConnectFailed):
        async with Worker("q", run, redis="unix:///nowhere/at-all.sock"):
            pass
