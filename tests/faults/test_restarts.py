"""Server restarts, lost scripts, pauses: workers and producers continue and lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from engine import Job, NewJob, Queue, Worker
from engine.connection.embedded import EmbeddedServer
from engine.errors import LinkError
from tests.support.invariants import violations
from tests.support.running import running, until


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """A server of the test's own, to be killed; every write is on disk before it is answered."""
    with EmbeddedServer(prefer_wheel=True, extra_args=("--appendfsync", "always")) as server:
        yield server


@pytest.mark.slow
async def test_a_killed_server_loses_no_acknowledged_job(server: EmbeddedServer) -> None:
    starts: list[str] = []

    async def work(job: Job[int]) -> int:
        starts.append(job.id)
        await asyncio.sleep(0.005)
        return job.data

    async with Queue("q", redis=server.url) as queue:
        acknowledged: list[str] = []
        async with running(Worker("q", work, redis=server.url, concurrency=20)):
            for _ in range(4):
                added = asyncio.create_task(queue.add_many([NewJob("work", n) for n in range(300)]))
                with suppress(LinkError):
                    acknowledged += [job.id for job in await added]
                already = len(starts)
                await until(partial(_longer, starts, already), "jobs are being run")
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            await until(lambda: _drained(queue), "all is done", timeout=40)
        counts = await queue.counts()
        assert (counts.waiting, counts.active, counts.failed) == (0, 0, 0)
        assert counts.completed >= len(acknowledged) > 0
        completed = {job.id for job in await queue.jobs("completed", 0, counts.completed)}
        assert set(acknowledged) <= completed
        assert not await violations(queue.link, queue.keys)


async def test_scripts_are_loaded_again_after_script_flush(redis_url: str) -> None:
    async def echo(job: Job[int]) -> int:
        return job.data

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", echo, redis=redis_url, concurrency=10)):
        stop = asyncio.Event()

        async def forget() -> None:
            while not stop.is_set():
                await queue.link.call("SCRIPT", "FLUSH")
                await asyncio.sleep(0.001)

        forgetting = asyncio.create_task(forget())
        jobs = await asyncio.gather(*(queue.add("echo", n) for n in range(300)))
        jobs += await queue.add_many([NewJob("echo", n) for n in range(300, 600)])
        assert [await job.result(timeout=20_000) for job in jobs] == list(range(600))
        stop.set()
        await forgetting


async def test_pauses_under_load_keep_every_job_and_the_order(redis_url: str) -> None:
    order: list[int] = []

    async def note(job: Job[int]) -> None:
        order.append(job.data)

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", note, redis=redis_url, concurrency=1)):
        for lot in range(20):
            adding = asyncio.create_task(queue.add_many([NewJob("note", lot * 50 + n) for n in range(50)]))
            await queue.pause()
            await adding
            await queue.resume()
        await until(lambda: len(order) == 1_000, "all have run", timeout=20)
    assert order == sorted(order)


def _longer(rows: list[str], than: int) -> bool:
    return len(rows) > than


async def _drained(queue: Queue) -> bool:
    try:
        counts = await queue.counts()
    except LinkError:
        return False
    return counts.waiting + counts.active + counts.delayed == 0
