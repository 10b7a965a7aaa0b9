"""Where a processor runs: a thread for `def`, a child process where asked for."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from typing import Any

import pytest

from engine import Job, Queue, Worker, errors, processor
from tests.support.probes import async_child, child
from tests.support.running import until


async def test_plain_functions_run_side_by_side_in_threads(queue: Queue, redis_url: str) -> None:
    together = threading.Barrier(4)

    @processor("t")
    def run(job: Job[int]) -> list[Any]:
        together.wait(timeout=10)
        job.update_progress(job.data)  # type: ignore[unused-coroutine]
        return [threading.current_thread() is threading.main_thread(), job.log("row")]

    async with Worker("q", run, redis=redis_url, concurrency=4):
        jobs = [await queue.add("t", n) for n in range(4)]
        assert await asyncio.gather(*(job.result(timeout=10_000) for job in jobs)) == [[False, 1]] * 4
    assert [(await job.refresh()).progress for job in jobs] == [0, 1, 2, 3]
    assert await queue.logs(jobs[0].id) == ["row"]


async def test_what_a_thread_raises_is_the_jobs_failure(queue: Queue, redis_url: str) -> None:
    def run(job: Job[Any]) -> None:
        raise StopIteration("odd")

    async with Worker("q", run, redis=redis_url):
        with pytest.raises(errors.JobFailed, match="StopIteration"):
            await (await queue.add("t", 1)).result(timeout=5_000)


async def test_listeners_hear_of_progress_made_in_a_thread(queue: Queue, redis_url: str) -> None:
    def run(job: Job[int]) -> Any:
        job.update_data(7)  # type: ignore[unused-coroutine]
        job.update_progress(job.data)  # type: ignore[unused-coroutine]
        return job.progress

    heard: list[Any] = []
    worker = Worker("q", run, redis=redis_url)
    worker.on("progress", lambda job, value: heard.append(value))
    async with worker:
        assert await (await queue.add("t", 1)).result(timeout=5_000) == 7
    assert heard == [7]


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("wait", [False, True])
async def test_context_variables_do_not_leak_from_job_to_job(
    queue: Queue, redis_url: str, concurrency: int, wait: bool
) -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")

    async def run(job: Job[int]) -> list[str]:
        before = tenant.get()
        tenant.set(f"t{job.data}")
        if wait and job.data % 3 == 0:
            async with asyncio.timeout(5):
                await asyncio.sleep(0.001)
        return [before, tenant.get()]

    jobs = await asyncio.gather(*(queue.add("t", n) for n in range(40)))
    async with Worker("q", run, redis=redis_url, concurrency=concurrency):
        assert [await job.result(timeout=5_000) for job in jobs] == [["none", f"t{n}"] for n in range(40)]


async def test_a_job_that_cancels_its_own_task_harms_no_other(queue: Queue, redis_url: str) -> None:
    async def run(job: Job[int]) -> int:
        if job.data == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        elif job.data > 2:
            await asyncio.sleep(0)
        return job.data

    jobs = await asyncio.gather(*(queue.add("t", n) for n in range(6)))
    async with Worker("q", run, redis=redis_url, concurrency=6):
        assert [await job.result(timeout=5_000) for job in jobs] == list(range(6))


async def test_child_processes_run_jobs_and_are_kept(queue: Queue, redis_url: str) -> None:
    async with Worker("q", child, async_child, redis=redis_url, processes=1, concurrency=3):
        jobs = [await queue.add("child", {}) for _ in range(3)]
        pids = {await job.result(timeout=20_000) for job in jobs}
        assert len(pids) == 1
        assert os.getpid() not in pids
        data, pid = await (await queue.add("async-child", {"a": [1]})).result(timeout=20_000)
        assert data == {"a": [1]}
        assert pid in pids
        told = await queue.add("child", {"act": "report"})
        assert await told.result(timeout=20_000) == 1
        assert (await told.refresh()).progress == 50
    assert await queue.logs(told.id) == ["half way"]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("exit", r"the process running the job died \(exit code 3\)"),
        ("crash", r"the process running the job died \(signal SIGSEGV\)"),
        ("raise", "no good"),
        ("unrecoverable", "never"),
        ("retry", "once more"),
        ("object", "result: "),
    ],
)
async def test_whatever_happens_in_a_child_is_a_failed_attempt(
    queue: Queue, redis_url: str, act: str, reason: str
) -> None:
    async with Worker("q", child, redis=redis_url, processes=1):
        job = await queue.add("child", {"act": act}, attempts=2)
        with pytest.raises(errors.JobFailed, match=reason):
            await job.result(timeout=20_000)
        assert isinstance(await (await queue.add("child", {})).result(timeout=20_000), int)
    assert (await job.refresh()).attempts_made == (1 if act == "unrecoverable" else 2)
    if act == "raise":
        assert "probes.py" in job.stacktrace[0]
        assert 'File "/' not in job.stacktrace[0]


async def test_a_hung_child_is_killed_and_its_job_released(queue: Queue, redis_url: str) -> None:
    async with Worker("q", child, redis=redis_url, processes=1) as worker:
        job = await queue.add("child", {"act": "hang"})
        waiting = await queue.add("child", {"act": "waits for the only process"})
        await until(lambda: _progress(job), "the child hangs", timeout=20)
        await worker.close(timeout=0)
    assert [await one.state() for one in (job, waiting)] == ["waiting", "waiting"]
    assert [one.id for one in await queue.jobs("waiting")] == [job.id, waiting.id]
    assert (await job.refresh()).attempts_made == 0


async def _progress(job: Job[Any]) -> Any:
    return (await job.refresh()).progress


async def test_a_processor_that_a_child_cannot_find_is_refused() -> None:
    @processor("local", run_in="process")
    def local(job: Job[Any]) -> None: ...

    with pytest.raises(errors.InvalidInput, match="top of a module"):
        Worker("q", local)


async def test_a_blocked_loop_is_told_with_the_jobs_that_ran(
    queue: Queue, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def block(job: Job[Any]) -> None:
        threading.Event().wait(1.4)

    with caplog.at_level(logging.WARNING, "engine.worker"):
        async with Worker("q", block, redis=redis_url):
            job = await queue.add("slow", {})
            await job.result(timeout=10_000)
            await until(lambda: "the event loop was blocked" in caplog.text, "the warning is there")
    assert "did not run" not in caplog.text
    assert "by one of: slow job 1. " in caplog.text
