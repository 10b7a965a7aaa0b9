"""What once went wrong in silence: what is asked for happens, or is refused with the reason."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine import FlowProducer, Job, NewJob, Queue, SyncQueue, Worker, processor
from engine.errors import InvalidInput, JobFailed, JobTimeout, QueueClosed


async def test_none_is_stored_as_null_and_absent_data_as_an_object(queue: Queue) -> None:
    none, absent = await queue.add("x", None), await queue.add("x")
    many = await queue.add_many([NewJob("x", None), NewJob("x")])
    stored = [await queue.get_job(job.id) for job in (none, absent, *many)]
    assert [job.data for job in stored if job] == [None, {}, None, {}]
    assert [job.data for job in (none, absent, *many)] == [None, {}, None, {}]
    await queue.schedules.upsert("none", "x", None, every=60_000)
    await queue.schedules.upsert("absent", "x", every=60_000)
    assert [(await queue.schedules.run_now(id)).data for id in ("none", "absent")] == [None, {}]


async def test_a_deduplicated_add_never_shows_the_data_refused(queue: Queue) -> None:
    await queue.add("x", {"first": True}, job_id="one", attempts=3)
    again = await queue.add("x", {"second": True}, job_id="one", delay=5_000)
    (many,) = await queue.add_many([NewJob("x", {"third": True}, job_id="one", delay=5_000)])
    for job in (again, many):
        assert (job.deduplicated, job.data, job.delay, job.opts.attempts) == (True, None, 0, 0)
        await job.refresh()
        assert (job.data, job.opts.attempts) == ({"first": True}, 3)


async def test_a_closed_queue_refuses_until_it_is_opened(redis_url: str) -> None:
    queue = Queue("q", redis=redis_url)
    await queue.add("x")
    await queue.close()
    for call in (queue.add("x"), queue.add_many([NewJob("x")]), queue.counts()):
        with pytest.raises(QueueClosed, match="queue 'q' was closed; make the call before close"):
            await call
    async with queue:
        assert (await queue.counts()).waiting == 1
    flows = FlowProducer(redis=redis_url)
    await flows.close()
    with pytest.raises(QueueClosed, match="FlowProducer was closed"):
        await flows.remove("q", "1")


async def test_a_closed_blocking_queue_refuses_too(redis_url: str) -> None:
    def block() -> None:
        queue = SyncQueue("q", redis=redis_url)
        queue.add("x")
        queue.close()
        with pytest.raises(QueueClosed):
            queue.add("x")
        with queue:
            assert queue.counts().waiting == 1

    await asyncio.to_thread(block)


async def test_what_is_no_new_job_is_named(queue: Queue, redis_url: str) -> None:
    async def middleware(new_job: NewJob, call_next: Any) -> Any:
        return await call_next(new_job)

    wrong: Any = [NewJob("x"), {"name": "x", "data": {}}]
    async with Queue("q", redis=redis_url, middleware=[middleware]) as hooked:
        for each in (queue, hooked):
            with pytest.raises(
                InvalidInput, match=r"jobs\[1\]: {'name': 'x', 'data': {}} is not a NewJob; write NewJob\("
            ):
                await each.add_many(wrong)
    assert (await queue.counts()).waiting == 0


async def test_a_timeout_reaches_who_waits_as_one(queue: Queue, redis_url: str) -> None:
    @processor("slow", timeout=50)
    async def slow(job: Job[Any]) -> None:
        await asyncio.Event().wait()

    @processor("silent", heartbeat=50)
    async def silent(job: Job[Any]) -> None:
        await asyncio.Event().wait()

    @processor("other")
    async def other(job: Job[str]) -> None:
        found = await queue.get_job(job.data)
        assert found is not None
        await found.result(timeout=10_000)

    async with Worker("q", slow, silent, other, redis=redis_url, concurrency=10):
        job = await queue.add("slow", attempts=2)
        with pytest.raises(JobTimeout, match="timed out: the attempt took longer than its timeout of 50 ms") as told:
            await job.result(timeout=10_000)
        assert (told.value.job_id, told.value.reason.partition(":")[0]) == (job.id, "timed out")
        assert isinstance(told.value, JobFailed)
        with pytest.raises(JobTimeout, match="timed out: no heartbeat for 50 ms"):
            await (await queue.add("silent")).result(timeout=10_000)
        # A job that failed because another one timed out did not time out itself.
        with pytest.raises(JobFailed) as failed:
            await (await queue.add("other", job.id)).result(timeout=10_000)
        assert not isinstance(failed.value, JobTimeout)
        with pytest.raises(TimeoutError) as late:
            await (await queue.add("nobody", delay=60_000)).result(timeout=1)
        assert not isinstance(late.value, JobTimeout)
