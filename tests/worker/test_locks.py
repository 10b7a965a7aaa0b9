"""Who holds a job: locks that are renewed whatever the loop does, locks that are lost, and workers that died."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from engine import Job, Queue, Worker, errors
from engine.connection import Link
from engine.connection.embedded import EmbeddedServer
from engine.model.keys import Keys
from engine.scripts.claim import claim
from tests.support.keyspace import snapshot
from tests.support.running import until

SHORT: dict[str, Any] = {"lock_duration": 600, "lock_renew": 100, "stalled_interval": 200}


async def test_a_lost_lock_cancels_the_run_and_nothing_is_written(
    queue: Queue, redis_url: str, link: Link, keys: Keys
) -> None:
    cancelled = asyncio.Event()
    told: list[BaseException] = []

    async def hang(job: Job[Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with Worker("q", hang, redis=redis_url, **SHORT) as worker:
        worker.on("error", told.append)
        job = await queue.add("x", {})
        await until(lambda: len(worker.running_jobs()) == 1, "it runs")
        await link.call("SET", keys.lock(job.id), "another", "PX", 60_000)
        await link.call("HSET", keys.job(job.id), "owner", "another")
        before = await _but_for_checks(link, keys)
        await asyncio.wait_for(cancelled.wait(), 10)
        await until(lambda: not worker.running_jobs(), "the slot is free")
        assert await _but_for_checks(link, keys) == before
    assert [type(error) for error in told] == [errors.LockLost]
    assert worker.counters.lost == 1
    assert (await snapshot(link, keys))["lock:" + job.id] == "another"


async def _but_for_checks(link: Link, keys: Keys) -> dict[str, Any]:
    """The queue without what the search for stalled jobs notes."""
    found = await snapshot(link, keys)
    return {key: value for key, value in found.items() if key not in ("corral:watch", "stalled-check")}


async def test_a_result_that_comes_too_late_is_dropped(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    go = asyncio.Event()

    async def run(job: Job[Any]) -> None:
        await go.wait()

    async with Worker("q", run, redis=redis_url) as worker:
        job = await queue.add("x", {})
        await until(lambda: len(worker.running_jobs()) == 1, "it runs")
        await link.call("SET", keys.lock(job.id), "another", "PX", 60_000)
        go.set()
        await until(lambda: worker.counters.lost == 1, "the worker knows")
    assert await job.state() == "active"
    assert worker.counters.completed == 0


async def test_a_lock_that_ended_unseen_is_set_anew(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    go = asyncio.Event()

    async def run(job: Job[Any]) -> str:
        await go.wait()
        return "done"

    async with Worker("q", run, redis=redis_url, lock_duration=3_000, lock_renew=50) as worker:
        job = await queue.add("x", {})
        await until(lambda: len(worker.running_jobs()) == 1, "it runs")
        await link.call("DEL", keys.lock(job.id))
        await until(lambda: link.call("EXISTS", keys.lock(job.id)), "the lock is back")
        go.set()
        assert await job.result(timeout=5_000) == "done"


async def test_a_dead_workers_jobs_run_again_once(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    stalled: list[str] = []

    async def run(job: Job[Any]) -> int:
        return job.stalls

    first, second = await queue.add("x", 1), await queue.add("x", 2)
    await link.call("HSET", keys.job(second.id), "stc", 1)
    assert len((await claim(link, keys, token="dead", lock_ms=300, worker="dead", count=2)).jobs) == 2
    async with Worker("q", run, redis=redis_url, **SHORT) as worker:
        worker.on("stalled", stalled.append)
        assert await first.result(timeout=10_000) == 1
        with pytest.raises(errors.JobFailed, match="stalled more than allowable"):
            await second.result(timeout=10_000)
    assert stalled == [first.id, second.id]
    assert worker.counters.stalled == 2


@pytest.mark.slow
@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("outages", [["killed"], ["stopped"], ["killed", "killed"]])
async def test_an_outage_longer_than_a_lock_runs_no_job_twice(outages: list[str]) -> None:
    starts: list[str] = []
    go = asyncio.Event()

    async def run(job: Job[Any]) -> str:
        starts.append(job.id)
        await go.wait()
        return "done"

    with EmbeddedServer() as server:
        workers = [Worker("q", run, redis=server.unix_url, concurrency=3, name=f"w{n}", **SHORT) for n in range(2)]
        async with Queue("q", redis=server.unix_url) as queue, workers[0], workers[1]:
            link = queue.link
            jobs = [await queue.add("x", n) for n in range(6)]
            await until(lambda: len(starts) == 6, "all run")
            # In use by none: its sweep is what proves that the outage is behind them.
            dead = await queue.add("x", "dead")
            await until(lambda: _sweeps(link), "one of them has swept", timeout=20)
            assert len((await claim(link, Keys("q"), token="dead", lock_ms=1_000, worker="dead", count=1)).jobs) == 1
            for how in outages:
                await _outage(server, how)
                await until(lambda: link.call("EXISTS", Keys("q").lock(jobs[0].id)), "one is back")
            await until(lambda: _is_waiting(dead), "they sweep again", timeout=20)
            go.set()
            assert [await job.result(timeout=10_000) for job in [*jobs, dead]] == ["done"] * 7
    assert sorted(starts) == sorted(job.id for job in [*jobs, dead])
    assert sum(worker.counters.completed for worker in workers) == 7
    assert sum(worker.counters.stalled for worker in workers) == 1


async def _outage(server: EmbeddedServer, how: str) -> None:
    """Longer than two locks."""
    began = asyncio.get_running_loop().time()
    if how == "killed":
        await asyncio.to_thread(server.kill)
    else:
        os.kill(server.pid, signal.SIGSTOP)
    try:
        await until(lambda: asyncio.get_running_loop().time() > began + 1.5, "the outage is long")
    finally:
        if how == "killed":
            await asyncio.to_thread(server.start)
        else:
            os.kill(server.pid, signal.SIGCONT)


async def _sweeps(link: Link) -> bool:
    return bool(await link.call("EXISTS", Keys("q").stalled_check))


async def _is_waiting(job: Job[Any]) -> bool:
    return await job.state() == "waiting"
