"""Progress and logs: a running job reports how far it is and appends rows to its log."""

from __future__ import annotations

import asyncio

from engine import Job, Queue, Worker
from tests.support.running import running


async def test_progress_can_be_read_while_a_job_runs(redis_url: str) -> None:
    half, go_on = asyncio.Event(), asyncio.Event()

    async def export(job: Job[None]) -> None:
        await job.update_progress(50)
        half.set()
        await go_on.wait()
        await job.update_progress({"rows": 10, "of": 10})

    async with Queue("exports", redis=redis_url) as queue, running(Worker("exports", export, redis=redis_url)):
        job = await queue.add("export")
        await asyncio.wait_for(half.wait(), 10)
        await job.refresh()
        assert (job.progress, await job.state()) == (50, "active")
        go_on.set()
        await job.result(timeout=10_000)
        await job.refresh()
        assert job.progress == {"rows": 10, "of": 10}


async def test_a_job_keeps_the_newest_rows_of_its_log(redis_url: str) -> None:
    async def chatty(job: Job[None]) -> list[int]:
        return [await job.log(f"row {n}") for n in range(5)]

    async with Queue("logs", redis=redis_url) as queue, running(Worker("logs", chatty, redis=redis_url)):
        job = await queue.add("chatty", keep_logs=3)
        assert await job.result(timeout=10_000) == [1, 2, 3, 3, 3]
        assert await queue.logs(job.id) == ["row 2", "row 3", "row 4"]


async def test_a_job_can_remember_between_its_attempts(redis_url: str) -> None:
    async def step(job: Job[dict[str, int]]) -> int:
        done = job.data["done"] + 1
        await job.update_data({"done": done})
        if done < 3:
            raise RuntimeError("again")
        return done

    async with Queue("steps", redis=redis_url) as queue, running(Worker("steps", step, redis=redis_url)):
        job = await queue.add("step", {"done": 0}, attempts=5)
        assert await job.result(timeout=10_000) == 3
