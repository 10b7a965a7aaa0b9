"""Rows 4 to 8 and 20: wake-ups, delayed jobs, clocks, idle cost."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from engine import Job, NewJob, Queue, Worker
from engine.connection import Link, RedisSettings
from engine.connection.embedded import EmbeddedServer
from tests.support.proxy import Proxy
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

LONG = 60_000
"""A drain delay, ms, that no test lives through: who is late for want of a signal fails it."""


async def echo(job: Job[Any]) -> Any:
    return job.data


@pytest.mark.slow
async def test_row_04_a_silent_connection_is_replaced() -> None:
    """Every wait has an end of the worker's own, five seconds after the server's; no reset tells it to go."""
    with EmbeddedServer(tcp=True) as server:
        async with Proxy("127.0.0.1", server.port) as proxy, Queue("q", redis=server.unix_url) as queue:
            settings = RedisSettings(host="127.0.0.1", port=proxy.port, call_timeout=500)
            async with Worker("q", echo, redis=settings, drain_delay=100) as worker:
                await until(lambda: worker.counters.turns >= 1, "the first look is over")
                lines, proxy.hold_requests, proxy.hold_replies = proxy.accepted, True, True
                job = await queue.add("x", 1)
                await until(lambda: proxy.accepted >= lines + 2, "the worker dials anew", timeout=20)
                proxy.hold_requests = proxy.hold_replies = False
                assert await job.result(timeout=20_000) == 1


async def test_row_05_delayed_jobs_run_when_due_and_not_before(queue: Queue, redis_url: str) -> None:
    """An idle worker has a timer of its own: neither the server's `hz` nor the next job decides."""
    loop, ran = asyncio.get_running_loop(), {}

    async def run(job: Job[int]) -> None:
        ran[job.data] = loop.time()

    async with Worker("q", run, redis=redis_url, drain_delay=LONG) as worker:
        await until(lambda: worker.counters.turns == 1, "the first look is over")
        added = loop.time()
        for delay in (250, 40, 120):
            await queue.add("x", delay, delay=delay)
        await until(lambda: len(ran) == 3, "all have run, and no other job came", timeout=20)
    assert all((at - added) * 1000 >= delay - 2 for delay, at in ran.items())


async def test_row_06_no_call_carries_a_clients_time() -> None:
    """Scripts read the server's clock, once, and a client's may be off by any amount. A number with a dash is an id of the stream."""

    async def fail_once(job: Job[Any]) -> Any:
        if job.data and job.attempts_made == 0:
            raise ValueError("once")
        return job.data

    with EmbeddedServer(tcp=True) as server:
        async with Proxy("127.0.0.1", server.port) as proxy:
            settings = RedisSettings(host="127.0.0.1", port=proxy.port)
            async with Queue("q", redis=settings) as queue, running(Worker("q", fail_once, redis=settings, metrics=5)):
                jobs = [await queue.add("x", n, delay=n, attempts=2, backoff=5) for n in range(3)]
                for job in jobs:
                    await job.result(timeout=20_000)
                await queue.retry(jobs[0].id)
                await queue.pause()
                await queue.set_rate_limit(5, 1_000)
                await queue.resume()
                await queue.clean("completed", grace=5)
            now = time.time()
            numbers = [float(text) for text in re.findall(rb"(?<![0-9.])1[0-9]{9,15}(?![0-9-])", bytes(proxy.requests))]
    day = 86_400
    assert len(proxy.requests) > 5_000
    assert not [n for n in numbers if any(abs(n / unit - now) < day for unit in (1, 1e3, 1e6))]


async def test_row_07_an_idle_worker_only_waits(queue: Queue, redis_url: str, link: Link) -> None:
    """Partly: every 5 s (`drain_delay`) it looks unasked, as in BullMQ, and each queue of a process has a wait of its own."""
    async with Worker("q", echo, redis=redis_url, concurrency=200, drain_delay=LONG) as worker:
        await until(lambda: worker.counters.turns == 1, "the first look is over")
        await until(lambda: _is_asleep(link), "it waits for the marker")
        await link.call("CONFIG", "RESETSTAT")
        for _ in range(100):
            await link.call("PING")
        assert worker.counters.turns == 1
        assert (await _calls(link)).keys() <= {"ping", "config|resetstat", "info"}
        jobs = await queue.add_many([NewJob("x", n) for n in range(200)])
        await asyncio.gather(*(job.result(timeout=20_000) for job in jobs))
        assert worker.counters.turns <= 12, "not one for each of the 200 jobs"


async def test_row_08_many_jobs_share_a_call(queue: Queue, redis_url: str, link: Link) -> None:
    """BullMQ: two scripts at least and some 32 commands for a job from its add to its end."""
    await link.call("CONFIG", "RESETSTAT")
    async with Worker("q", echo, redis=redis_url, concurrency=100) as worker:
        await queue.add_many([NewJob("x", n) for n in range(1_000)])
        await until(lambda: worker.counters.completed == 1_000, "all are done", timeout=20)
    calls = await _calls(link)
    assert calls["evalsha"] / 1_000 <= 0.15
    assert sum(calls.values()) / 1_000 <= 16


async def test_row_20_a_free_slot_is_taken_at_once(queue: Queue, redis_url: str) -> None:
    """BullMQ leaves a slot of a global concurrency empty until somebody looks unasked: 4.7 s were measured."""
    go = asyncio.Event()

    async def run(job: Job[int]) -> None:
        if job.data == 0:
            await go.wait()

    await queue.set_concurrency(1)
    first = Worker("q", run, redis=redis_url, name="first", drain_delay=LONG)
    async with first, Worker("q", run, redis=redis_url, name="second", drain_delay=LONG) as second:
        jobs = [await queue.add("x", n) for n in range(2)]
        await until(lambda: first.running_jobs() or second.running_jobs(), "one has it")
        busy, idle = (first, second) if first.running_jobs() else (second, first)
        closing = asyncio.create_task(busy.close())
        await until(lambda: "stopping" in repr(busy), "it takes no more jobs")
        assert idle.running_jobs() == []
        go.set()
        await closing
        await jobs[1].result(timeout=20_000)
        assert await queue.link.call("HGET", queue.keys.job(jobs[1].id), "pb") == idle.name.encode()


async def _is_asleep(link: Link) -> bool:
    return b"blocked_clients:1\r\n" in await link.call("INFO", "clients")


async def _calls(link: Link) -> dict[str, int]:
    """How often each command was called since the last reset."""
    stats = (await link.call("INFO", "commandstats")).decode()
    return {name: int(calls) for name, calls in re.findall(r"cmdstat_([^:]+):calls=(\d+)", stats)}
