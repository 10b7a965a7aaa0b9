"""One worker, many processors: jobs are routed by name, and listeners hear what happens."""

from __future__ import annotations

import asyncio

import pytest

from engine import BaseProcessor, Job, Queue, SmsJobData, Worker, processor
from engine.errors import JobFailed
from tests.support.running import running, until


class Sms(BaseProcessor[SmsJobData, int]):
    """The class form: what it uses comes through the constructor."""

    name = "sms"

    def __init__(self, sent: list[str]) -> None:
        self.sent = sent

    async def process(self, job: Job[SmsJobData]) -> int:
        self.sent += job.data.phone_numbers
        return len(job.data.phone_numbers)


@processor("double")
async def double(job: Job[int]) -> int:
    return job.data * 2


async def test_jobs_find_their_processor_by_name(redis_url: str) -> None:
    sent: list[str] = []
    async with Queue("q", redis=redis_url) as queue, running(Worker("q", Sms(sent), double, redis=redis_url)):
        data = SmsJobData(sub_account_id="1", phone_numbers=["+15550001", "+15550002"], message="Hello")
        sms, number = await queue.add("sms", data), await queue.add("double", 21)
        assert await sms.result(timeout=10_000) == 2
        assert await number.result(timeout=10_000) == 42
        assert sent == ["+15550001", "+15550002"]

        stranger = await queue.add("fax", {}, attempts=5)
        with pytest.raises(JobFailed, match="fax"):
            await stranger.result(timeout=10_000)
        wrong = await queue.add("double", "twenty", attempts=5)
        with pytest.raises(JobFailed, match="Expected `int`"):
            await wrong.result(timeout=10_000)
        await wrong.refresh()
        assert wrong.attempts_made == 1, "data that does not fit is not tried again"


async def test_listeners_hear_what_happens(redis_url: str) -> None:
    heard: list[str] = []

    async def work(job: Job[bool]) -> str:
        await job.update_progress(10)
        if job.data:
            raise RuntimeError("broken")
        return "done"

    async def slowly(job: Job[object], error: BaseException) -> None:
        await asyncio.sleep(0)
        heard.append(f"failed {error}")

    worker = Worker("q", work, redis=redis_url, concurrency=1)
    worker.on("active", lambda job: heard.append("active"))
    worker.on("progress", lambda job, value: heard.append(f"progress {value}"))
    worker.on("completed", lambda job, result: heard.append(f"completed {result}"))
    worker.on("failed", slowly)
    async with Queue("q", redis=redis_url) as queue, running(worker):
        await (await queue.add("work", False)).result(timeout=10_000)
        with pytest.raises(JobFailed):
            await (await queue.add("work", True)).result(timeout=10_000)
        await until(lambda: len(heard) == 6, "all six were heard")
    assert heard == ["active", "progress 10", "completed done", "active", "progress 10", "failed broken"]
