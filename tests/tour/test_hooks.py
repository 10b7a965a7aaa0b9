"""Middleware around adding and running jobs, and dependencies of processors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from engine import Job, NewJob, Queue, Worker, current_job, current_tenant, errors, job_context, processor
from tests.support.running import running

AddNext = Callable[[NewJob], Awaitable[Job[Any]]]
RunNext = Callable[[Job[Any]], Awaitable[Any]]


# --- around running -----------------------------------------------------------------------------------------------------


async def test_middleware_wraps_each_run_the_first_outermost(redis_url: str) -> None:
    heard: list[str] = []

    async def outer(job: Job[Any], call_next: RunNext) -> Any:
        heard.append("outer before")
        try:
            return await call_next(job)
        except ValueError as error:
            heard.append(f"outer saw {error}")
            return "mended"

    async def inner(job: Job[Any], call_next: RunNext) -> Any:
        heard.append("inner before")
        result = await call_next(job)
        heard.append(f"inner saw {result}")
        return result * 2

    async def work(job: Job[int]) -> int:
        if not job.data:
            raise ValueError("nothing to double")
        return job.data

    async with (
        Queue("q", redis=redis_url) as queue,
        running(Worker("q", work, redis=redis_url, middleware=[outer, inner])),
    ):
        assert await (await queue.add("work", 21)).result(timeout=10_000) == 42
        assert await (await queue.add("work", 0)).result(timeout=10_000) == "mended"
    assert heard == [
        "outer before", "inner before", "inner saw 21",
        "outer before", "inner before", "outer saw nothing to double",
    ]  # fmt: skip


async def test_middleware_can_skip_the_processor(redis_url: str) -> None:
    known = {"a": "from the cache"}

    async def cached(job: Job[str], call_next: RunNext) -> Any:
        if job.data == "forbidden":
            raise errors.UnrecoverableError("not for this worker")
        return known[job.data] if job.data in known else await call_next(job)

    async def work(job: Job[str]) -> str:
        return "computed"

    async with (
        Queue("q", redis=redis_url) as queue,
        running(Worker("q", work, redis=redis_url, middleware=[cached])),
    ):
        assert await (await queue.add("work", "a")).result(timeout=10_000) == "from the cache"
        assert await (await queue.add("work", "b")).result(timeout=10_000) == "computed"
        with pytest.raises(errors.JobFailed, match="not for this worker"):
            await (await queue.add("work", "forbidden", attempts=5)).result(timeout=10_000)


async def test_code_below_a_processor_sees_the_current_job(redis_url: str) -> None:
    def audit() -> list[str | None]:
        job = current_job()
        return [current_tenant.get(), job.id if job else None]

    @processor("loop")
    async def on_the_loop(job: Job[dict[str, str]]) -> list[str | None]:
        await asyncio.sleep(0)
        return audit()

    @processor("thread")
    def in_a_thread(job: Job[dict[str, str]]) -> list[str | None]:
        return audit()

    worker = Worker("q", on_the_loop, in_a_thread, redis=redis_url, middleware=[job_context], concurrency=20)
    async with Queue("q", redis=redis_url) as queue, running(worker):
        jobs = [await queue.add(("loop", "thread")[n % 2], {"subAccountId": str(n)}) for n in range(20)]
        assert [await job.result(timeout=10_000) for job in jobs] == [[str(n), job.id] for n, job in enumerate(jobs)]
    assert (current_job(), current_tenant.get()) == (None, None)


# --- around adding ------------------------------------------------------------------------------------------------------


async def test_middleware_can_change_or_refuse_what_is_added(redis_url: str) -> None:
    async def stamp(new_job: NewJob, call_next: AddNext) -> Job[Any]:
        if not new_job.data:
            raise errors.InvalidInput("data: every job of ours has some")
        new_job.data = {**new_job.data, "subAccountId": "7"}
        new_job.change(attempts=5)  # what is not named stays
        return await call_next(new_job)

    async with Queue("q", redis=redis_url, middleware=[stamp]) as queue:
        job = await queue.add("work", {"to": "a"}, delay=60_000)
        many = await queue.add_many([NewJob("work", {"to": to}, priority=3) for to in "bc"])
        stored = [await queue.get_job(one.id) for one in (job, *many)]
        assert [one.data for one in stored if one] == [{"to": to, "subAccountId": "7"} for to in "abc"]
        assert [(one.opts.attempts, one.opts.delay, one.opts.priority) for one in stored if one] == [
            (5, 60_000, 0), (5, 0, 3), (5, 0, 3)
        ]  # fmt: skip

        with pytest.raises(errors.InvalidInput, match="every job of ours has some"):
            await queue.add_many([NewJob("work", {"to": "d"}), NewJob("work")])
        assert (await queue.counts()).prioritized == 2, "all of a list, or none"


async def test_tracing_goes_from_producer_to_worker(redis_url: str) -> None:
    async def inject(new_job: NewJob, call_next: AddNext) -> Job[Any]:
        new_job.change(telemetry="00-trace-span-01")
        return await call_next(new_job)

    async def extract(job: Job[Any], call_next: RunNext) -> Any:
        return [job.opts.telemetry, await call_next(job)]

    async def work(job: Job[Any]) -> str:
        return "done"

    async with (
        Queue("q", redis=redis_url, middleware=[inject]) as queue,
        running(Worker("q", work, redis=redis_url, middleware=[extract])),
    ):
        assert await (await queue.add("work")).result(timeout=10_000) == ["00-trace-span-01", "done"]


# --- dependencies -------------------------------------------------------------------------------------------------------


class Settings:
    greeting = "Hello"


class Pool:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_open = True


opened: list[Pool] = []


async def pool(settings: Settings) -> AsyncIterator[Pool]:
    """A dependency that needs another one. What stands before `yield` is done before the worker takes its first job."""
    made = Pool(settings)
    opened.append(made)
    yield made
    made.is_open = False  # after the last job


@processor("greet")
async def greet(job: Job[str], pool: Pool) -> str:
    """A processor says by type what it takes beside the job."""
    assert pool.is_open
    return f"{pool.settings.greeting}, {job.data}"


async def test_processors_are_given_what_they_ask_for(redis_url: str) -> None:
    opened.clear()
    async with Queue("q", redis=redis_url) as queue:
        job = await queue.add("greet", "Ada")
        async with running(Worker("q", greet, redis=redis_url, dependencies=[pool, Settings()])):
            assert await job.result(timeout=10_000) == "Hello, Ada"
    assert [one.is_open for one in opened] == [False]


async def test_a_missing_dependency_is_refused_at_once() -> None:
    with pytest.raises(errors.InvalidOption, match="'pool' wants Pool, and there is Settings; add it"):
        Worker("q", greet, dependencies=[Settings()])


async def test_a_processor_can_be_tried_without_a_worker(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        job = await queue.add("greet", "Grace")
        assert await greet(job, Pool(Settings())) == "Hello, Grace"
