"""Choosing retries: a list of delays, conditions on the error and the attempt, and snoozing."""

from __future__ import annotations

import pytest

from engine import BaseProcessor, Job, Queue, Snooze, Worker, processor
from engine.errors import InvalidInput, InvalidOption, JobFailed
from tests.support.running import running, until


async def test_the_waits_can_be_a_list(redis_url: str) -> None:
    # 10 ms after the first failure, 20 after the second, then 30 again and again; up to a quarter less, by chance.
    @processor("call", attempts=5, backoff=[10, 20, 30])
    async def call(job: Job[None]) -> int:
        if job.attempts_started < 5:
            raise ConnectionError("busy")
        return job.attempts_started

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", call, redis=redis_url)):
        job = await queue.add("call")
        assert await job.result(timeout=10_000) == 5
        # A producer may give one too, for this job alone.
        job = await queue.add("call", attempts=5, backoff=[5])
        assert await job.result(timeout=10_000) == 5


async def test_some_errors_are_never_tried_again(redis_url: str) -> None:
    @processor("pay", attempts=5, give_up_on=(PermissionError, KeyError))
    async def pay(job: Job[str]) -> None:
        raise {"line": ConnectionError, "card": PermissionError}[job.data](job.data)

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", pay, redis=redis_url)):
        for data, attempts in (("line", 5), ("card", 1)):
            job = await queue.add("pay", data)
            with pytest.raises(JobFailed, match=data):
                await job.result(timeout=10_000)
            assert (await job.refresh()).attempts_made == attempts


class HttpError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


async def test_retry_if_decides_by_error_and_attempt(redis_url: str) -> None:
    def server_is_to_blame(error: BaseException, attempt: int) -> bool:
        return isinstance(error, HttpError) and error.status >= 500 and attempt < 3

    @processor("post", attempts=10, retry_if=server_is_to_blame)
    async def post(job: Job[int]) -> None:
        raise HttpError(job.data)

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", post, redis=redis_url)):
        for status, attempts in ((503, 3), (404, 1)):
            job = await queue.add("post", status)
            with pytest.raises(JobFailed, match=f"status {status}"):
                await job.result(timeout=10_000)
            assert (await job.refresh()).attempts_made == attempts


async def test_a_class_has_the_same_options_as_attributes(redis_url: str) -> None:
    class Post(BaseProcessor[int, None]):
        attempts = 10
        backoff = (5, 10)
        give_up_on = (KeyError,)

        async def process(self, job: Job[int]) -> None:
            raise HttpError(job.data)

        def retry_if(self, error: BaseException, attempt: int) -> bool:
            return isinstance(error, HttpError) and error.status == 503 and attempt < 4

    async with Queue("work", redis=redis_url) as queue, running(Worker("work", Post(), redis=redis_url)):
        job = await queue.add("post", 503)
        with pytest.raises(JobFailed):
            await job.result(timeout=10_000)
        assert (await job.refresh()).attempts_made == 4


async def test_a_snoozed_job_uses_no_attempt(redis_url: str) -> None:
    @processor("import", attempts=1)
    async def load(job: Job[None]) -> str:
        if job.attempts_started > 50:
            raise TimeoutError("the file never came")  # nothing else ends a job that snoozes for ever
        if job.attempts_started < 4:
            raise Snooze(10, "the file is not there yet")  # `return Snooze(10)` does the same
        return "loaded"

    worker = Worker("work", load, redis=redis_url)
    async with Queue("work", redis=redis_url) as queue, running(worker):
        job = await queue.add("import")
        assert await job.result(timeout=10_000) == "loaded"
        await job.refresh()
        assert (job.attempts_started, job.attempts_made, job.failed_reason) == (4, 1, None)
        await until(lambda: worker.counters.snoozed == 3, "the worker has counted")


async def test_wrong_retry_options_are_refused_at_once() -> None:
    async def work(job: Job[None]) -> None: ...

    with pytest.raises(InvalidOption, match=r"Snooze\.delay: -1 is not a delay"):
        Snooze(-1)
    with pytest.raises(InvalidInput, match="give_up_on: 'KeyError' is not an exception class"):
        processor("work", give_up_on="KeyError")(work)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"does not take two arguments, \(error, attempt\)"):
        processor("work", retry_if=lambda error: True)(work)  # type: ignore[misc, arg-type]
    with pytest.raises(
        InvalidOption, match=r"names 'mine', which this worker does not have; give Worker\(..., backoffs="
    ):
        Worker("work", processor("work", backoff={"type": "mine"})(work))
