"""A worker that dies at any moment loses nothing: its jobs run again, each finishes once."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from pathlib import Path

import pytest

from engine import NewJob, Queue
from tests.support.daemons import daemon
from tests.support.ledger import LEDGER, Ledger
from tests.support.running import until

CONCURRENCY = 10
LOCK, SWEEP = 1_000, 300


def arguments(redis_url: str) -> list[str]:
    said = f"--queue q={CONCURRENCY} --lock-duration {LOCK} --stalled-interval {SWEEP} --redis {redis_url} --log-level warning"
    return ["tests.support.ledger", *said.split()]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_killed_workers_lose_no_job_and_finish_none_twice(redis_url: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ledger = Ledger(tmp_path / "ledger")
    env = {LEDGER: str(ledger.path)}
    kills = 0
    async with Queue("q", redis=redis_url) as queue:
        # Stalls are what this test makes; more of them than allowed would fail jobs, which is another test.
        jobs = await queue.add_many([NewJob("work", chance.uniform(0, 0.02)) for _ in range(2_000)])
        while (counts := await queue.counts()).completed + counts.failed < len(jobs):
            with daemon(*arguments(redis_url), "--max-stalled", "100", log=tmp_path / "log", env=env) as worker:
                await until(partial(_moved, queue, counts.completed), "a worker gets on", timeout=30)
                end = time.monotonic() + chance.uniform(0, 0.5)
                await until(partial(_done_or, queue, len(jobs), end), "it is time to kill it")
                worker.kill()
                kills += 1

        starts = ledger.count("start")
        assert counts.completed == len(jobs)
        assert starts.keys() == {job.id for job in jobs}
        assert starts.total() - len(jobs) <= kills * CONCURRENCY, "only jobs in hand at a kill run again"
        finished = [job for job in await queue.jobs("completed", 0, len(jobs)) if job.attempts_made != 1]
        assert not finished, "a kill uses no attempt"
        events = await queue.link.call("XRANGE", queue.keys.events, "-", "+")
        completed = [fields[3] for _, fields in events if fields[1] == b"completed"]
        assert len(completed) == len(set(completed)) == len(jobs)


@pytest.mark.slow
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_job_that_kills_its_worker_twice_fails(redis_url: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    env = {LEDGER: str(ledger.path)}
    async with Queue("q", redis=redis_url) as queue:
        job = await queue.add("work", 30.0, attempts=5)
        for starts in (1, 2):
            with daemon(*arguments(redis_url), log=tmp_path / "log", env=env) as worker:
                await until(partial(_started, ledger, job.id, starts), f"start {starts}", timeout=20)
                worker.kill()
        with daemon(*arguments(redis_url), log=tmp_path / "log", env=env):
            await until(lambda: _failed(queue), "the job has failed", timeout=20)
        await job.refresh()
        assert job.failed_reason == "job stalled more than allowable limit"
        assert ledger.count("start")[job.id] == 2


@pytest.mark.slow
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_stopped_worker_releases_jobs_and_locks(redis_url: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    async with Queue("q", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("work", 0.3) for _ in range(50)])
        with daemon(*arguments(redis_url), log=tmp_path / "log", env={LEDGER: str(ledger.path)}) as worker:
            await until(lambda: ledger.count("start").total() >= CONCURRENCY, "the worker is busy", timeout=20)
            assert await asyncio.to_thread(worker.stop) == 0
        counts = await queue.counts()
        assert counts.active == 0
        assert counts.completed == ledger.count("end").total() == ledger.count("start").total()
        waiting = await queue.jobs("waiting", 0, 100)
        assert [job.id for job in waiting] == [job.id for job in jobs[counts.completed :]], "in the old order"
        assert all(job.attempts_made == 0 for job in waiting)


async def _moved(queue: Queue, done: int) -> bool:
    counts = await queue.counts()
    return counts.completed > done or counts.waiting + counts.active == 0


async def _done_or(queue: Queue, jobs: int, end: float) -> bool:
    return time.monotonic() >= end or (await queue.counts()).completed == jobs


def _started(ledger: Ledger, job_id: str, times: int) -> bool:
    return ledger.count("start")[job_id] == times


async def _failed(queue: Queue) -> bool:
    return (await queue.counts()).failed == 1
