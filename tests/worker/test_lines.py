"""Broken lines: replies that never come, servers that go away. Nothing is lost, nothing runs twice, the worker lives."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from engine import Job, Queue, Worker
from engine.connection import RedisSettings, open_link
from engine.connection.embedded import EmbeddedServer
from engine.model.keys import Keys
from tests.support.invariants import check_invariants
from tests.support.proxy import Proxy
from tests.support.running import until


async def test_lost_replies_of_turns_lose_no_job_and_no_result() -> None:
    starts: Counter[str] = Counter()

    async def run(job: Job[int]) -> int:
        starts[job.id] += 1
        await asyncio.sleep(0.001)
        return job.data

    with EmbeddedServer(tcp=True) as server:
        async with Proxy("127.0.0.1", server.port) as proxy, Queue("q", redis=server.unix_url) as queue:
            settings = RedisSettings(host="127.0.0.1", port=proxy.port, call_timeout=2_000)
            async with Worker("q", run, redis=settings, concurrency=20, drain_delay=200) as worker:
                jobs = []
                for _ in range(8):
                    jobs += await asyncio.gather(*(queue.add("x", n) for n in range(100)))
                    proxy.drop_replies = True
                    sent = len(proxy.requests)
                    await until(lambda: len(proxy.requests) > sent, "a request reached the server")  # noqa: B023
                    await proxy.reset()
                    proxy.drop_replies = False
                    done = worker.counters.completed
                    await until(lambda: worker.counters.completed > done or done == len(jobs), "it goes on")  # noqa: B023
                await until(lambda: worker.counters.completed == len(jobs), "all are done", timeout=30)
            assert [await job.state() for job in jobs] == ["completed"] * len(jobs)
            link = await open_link(server.unix_url)
            await check_invariants(link, Keys("q"), acked=[job.id for job in jobs])
            await link.close()
    assert set(starts.values()) == {1}, "a job ran twice"
    assert worker.counters.lost == 0


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_a_server_that_comes_back_finds_every_job_once(how: str) -> None:
    starts: Counter[str] = Counter()
    told: list[BaseException] = []

    async def run(job: Job[int]) -> None:
        starts[job.id] += 1
        await asyncio.sleep(0.002)
        if job.data % 5 == 0 and job.attempts_made == 0:
            raise ValueError("once")

    with EmbeddedServer(extra_args=["--appendfsync", "always"]) as server:
        async with Queue("q", redis=server.unix_url) as queue:
            jobs = await asyncio.gather(*(queue.add("x", n, attempts=2) for n in range(2_000)))
            async with Worker("q", run, redis=server.unix_url, concurrency=20) as worker:
                worker.on("error", told.append)
                for part in (200, 600):
                    await until(lambda: worker.counters.completed > part, "some are done", timeout=20)  # noqa: B023
                    if how == "kill":
                        await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.restart)
                await until(lambda: worker.counters.completed == 2_000, "all are done", timeout=30)
            assert (await queue.counts()).completed == 2_000
    assert {starts[job.id] for job in jobs[1::5]} == {1}, told
    assert {starts[job.id] for job in jobs[0::5]} == {2}
