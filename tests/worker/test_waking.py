"""How an idle worker learns of work: at once by the marker, in time by its timer, in the end by looking."""

from __future__ import annotations

import asyncio
from typing import Any

from engine import Job, Queue, Worker
from engine.connection import Link
from engine.model.keys import Keys
from tests.support.running import until
from tests.support.seeding import seed


async def echo(job: Job[Any]) -> Any:
    return job.data


async def test_an_idle_worker_needs_two_turns_for_a_job(queue: Queue, redis_url: str) -> None:
    async with Worker("q", echo, redis=redis_url, drain_delay=60_000) as worker:
        await until(lambda: worker.counters.turns == 1, "the first look is over")
        assert await (await queue.add("x", 1)).result(timeout=5_000) == 1
        assert worker.counters.turns == 3


async def test_a_poll_leaves_at_once(redis_url: str) -> None:
    async with Worker("q", echo, redis=redis_url, drain_delay=60_000) as worker:
        await until(lambda: worker.counters.turns == 1, "the first look is over")
        assert worker._runtime is not None
        turns = worker._runtime.turns
        await until(turns.idle.is_set, "it is idle")
        promised = turns.promised
        turns.poll()
        # In the same iteration of the event loop: each further one costs the job a system call and a wait.
        assert turns.promised > promised


async def test_a_busy_worker_puts_due_jobs_in_line_for_others(queue: Queue, redis_url: str) -> None:
    go = asyncio.Event()

    async def run(job: Job[Any]) -> None:
        await go.wait()

    async with Worker("q", run, redis=redis_url, concurrency=1, drain_delay=60_000) as worker:
        later = await queue.add("x", {}, delay=80)
        await until(lambda: worker.counters.turns >= 1, "the first look is over")
        await queue.add("x", {})
        await until(lambda: len(worker.running_jobs()) == 1, "it is busy")
        await until(lambda: _is(later, "waiting"), "the delayed job is in line")
        go.set()
        await later.result(timeout=5_000)


async def _is(job: Job[Any], state: str) -> bool:
    return await job.state() == state


async def test_a_marker_that_was_lost_costs_one_look(redis_url: str, link: Link, keys: Keys) -> None:
    async with Worker("q", echo, redis=redis_url, drain_delay=50) as worker:
        await until(lambda: worker.counters.turns >= 1, "the first look is over")
        await seed(link, keys, wait=["a"])
        await until(lambda: worker.counters.completed == 1, "it has run")


async def test_many_idle_workers_share_a_batch(queue: Queue, redis_url: str) -> None:
    go, busy = asyncio.Event(), []

    async def run(job: Job[Any]) -> None:
        busy.append(job.id)
        await go.wait()

    workers = [Worker("q", run, redis=redis_url, concurrency=1, name=f"w{n}", drain_delay=60_000) for n in range(4)]
    async with workers[0], workers[1], workers[2], workers[3]:
        await until(lambda: all(worker.counters.turns for worker in workers), "all have looked")
        await asyncio.gather(*(queue.add("x", n) for n in range(4)))
        await until(lambda: len(busy) == 4, "each has one")
        go.set()


async def test_a_paused_queue_rests_and_goes_on_when_resumed(queue: Queue, redis_url: str) -> None:
    async with Worker("q", echo, redis=redis_url, drain_delay=60_000) as worker:
        await until(lambda: worker.counters.turns == 1, "the first look is over")
        await queue.pause()
        job = await queue.add("x", 1)
        assert await job.state() == "waiting"
        await queue.resume()
        assert await job.result(timeout=5_000) == 1


async def test_bullmq_finds_the_blocking_connection_by_name(redis_url: str, link: Link) -> None:
    async with Worker("q", echo, redis=redis_url, name="w1"):
        clients = (await link.call("CLIENT", "LIST")).decode()
        assert clients.count(" name=bull:cQ==:w:w1 ") == 1
