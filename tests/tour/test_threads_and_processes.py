"""Threads and processes: plain functions run in threads, or in a process pool on request."""

from __future__ import annotations

import os
import threading

import pytest

from engine import Job, Queue, Worker, processor
from engine.errors import JobFailed
from tests.support.running import running


@processor("thread")
def in_a_thread(job: Job[None]) -> str:
    return threading.current_thread().name


@processor("process", run_in="process")
def in_a_process(job: Job[int]) -> list[int]:
    return [os.getpid(), job.data * 2]


@processor("crash", run_in="process")
def crash(job: Job[None]) -> None:
    os._exit(7)


async def test_a_plain_function_runs_in_a_thread(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, running(Worker("q", in_a_thread, redis=redis_url)):
        job = await queue.add("thread")
        assert await job.result(timeout=10_000) != threading.main_thread().name


@pytest.mark.slow
async def test_a_process_that_dies_is_a_failed_attempt(redis_url: str) -> None:
    async with (
        Queue("q", redis=redis_url) as queue,
        running(Worker("q", in_a_process, crash, redis=redis_url, concurrency=2)),
    ):
        job, dead = await queue.add("process", 21), await queue.add("crash")
        pid, result = await job.result(timeout=30_000)
        assert pid != os.getpid()
        assert result == 42
        with pytest.raises(JobFailed, match="died"):
            await dead.result(timeout=30_000)
        again = await queue.add("process", 1)
        assert (await again.result(timeout=30_000))[1] == 2
