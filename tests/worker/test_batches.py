"""Jobs in batches when things go wrong: stops, lost locks, cancelled runs, slow batches; and what they cost each other."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from engine import Job, NewJob, Queue, Retry, Worker, batch_processor, errors, processor
from engine.connection import Link
from engine.model.keys import Keys
from engine.worker.process.stack_dump import Running, describe
from tests.support.keyspace import job as stored
from tests.support.keyspace import snapshot
from tests.support.running import until

SHORT: dict[str, Any] = {"lock_duration": 600, "lock_renew": 100}


async def _steal(link: Link, keys: Keys, job: Job[Any]) -> None:
    """Another claim has the job."""
    await link.call("SET", keys.lock(job.id), "another", "PX", 60_000)
    await link.call("HSET", keys.job(job.id), "owner", "another")


async def test_what_waits_to_be_batched_goes_back_at_a_stop(
    queue: Queue, redis_url: str, link: Link, keys: Keys
) -> None:
    @batch_processor("x", size=10, wait=600_000)
    async def never(jobs: list[Job[Any]]) -> None:
        raise AssertionError("a batch began")

    async with Worker("q", never, redis=redis_url, concurrency=10) as worker:
        jobs = await queue.add_many([NewJob("x", n) for n in range(4)])
        await until(lambda: len(worker.running_jobs()) == 4, "all wait")
        await worker.close(timeout=30_000)  # without waiting for others, or for the timeout
    found = await snapshot(link, keys)
    assert found["wait"] == [job.id for job in jobs]
    assert {found[f"job:{job.id}"].get("atm") for job in jobs} == {None}
    assert worker.counters.released == 4


async def test_a_batch_that_runs_may_finish_at_a_stop(queue: Queue, redis_url: str) -> None:
    go, began = asyncio.Event(), asyncio.Event()

    @batch_processor("x", size=2)
    async def run(jobs: list[Job[Any]]) -> list[int]:
        began.set()
        await go.wait()
        return [1, 2]

    async with Worker("q", run, redis=redis_url, concurrency=2) as worker:
        jobs = await queue.add_many([NewJob("x"), NewJob("x")])
        await asyncio.wait_for(began.wait(), 10)
        closing = asyncio.create_task(worker.close())
        await until(lambda: "stopping" in repr(worker), "the worker stops")
        go.set()
        await closing
    assert [await job.result(timeout=1_000) for job in jobs] == [1, 2]


async def test_an_unfinished_batch_is_cancelled_and_released(
    queue: Queue, redis_url: str, link: Link, keys: Keys
) -> None:
    cancelled, began = [], asyncio.Event()

    @batch_processor("x", size=3)
    async def hang(jobs: list[Job[Any]]) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(len(jobs))
            raise

    async with Worker("q", hang, redis=redis_url, concurrency=3) as worker:
        jobs = await queue.add_many([NewJob("x") for _ in range(3)])
        await asyncio.wait_for(began.wait(), 10)
        await worker.close(timeout=0)
    assert cancelled == [3]
    found = await snapshot(link, keys)
    assert found["wait"] == [job.id for job in jobs]
    assert {found[f"job:{job.id}"].get("atm") for job in jobs} == {None}


async def test_a_job_that_is_lost_while_it_waits_is_left_out(
    queue: Queue, redis_url: str, link: Link, keys: Keys
) -> None:
    batches: list[list[str]] = []

    @batch_processor("x", size=3, wait=600_000)
    async def run(jobs: list[Job[Any]]) -> None:
        batches.append([job.id for job in jobs])

    async with Worker("q", run, redis=redis_url, concurrency=3, **SHORT) as worker:
        first, lost = await queue.add_many([NewJob("x"), NewJob("x")])
        await until(lambda: len(worker.running_jobs()) == 2, "two wait")
        await _steal(link, keys, lost)
        await until(lambda: len(worker.running_jobs()) == 1, "one is lost")
        others = await queue.add_many([NewJob("x"), NewJob("x")])
        for job in (first, *others):
            await job.result(timeout=10_000)
    assert batches == [[first.id, *(job.id for job in others)]]
    assert worker.counters.lost == 1
    assert (await stored(link, keys, lost.id)).get("atm") is None


@pytest.mark.parametrize("run_in", ["loop", "thread"])
async def test_a_job_that_is_lost_in_a_running_batch_harms_no_other(
    queue: Queue, redis_url: str, link: Link, keys: Keys, run_in: str
) -> None:
    began, go = threading.Event(), threading.Event()
    released = asyncio.Event()

    @batch_processor("x", size=2)
    async def on_the_loop(jobs: list[Job[Any]]) -> list[str]:
        began.set()
        await released.wait()
        return ["mine", "lost"]

    @batch_processor("x", size=2)
    def in_a_thread(jobs: list[Job[Any]]) -> list[str]:
        began.set()
        go.wait(30)
        return ["mine", "lost"]

    run = on_the_loop if run_in == "loop" else in_a_thread
    async with Worker("q", run, redis=redis_url, concurrency=2, **SHORT) as worker:
        mine, lost = await queue.add_many([NewJob("x"), NewJob("x")])
        await until(began.is_set, "the batch runs")
        await _steal(link, keys, lost)
        await until(lambda: any(job.lost for job in worker.running_jobs()), "one is lost")
        assert len(worker.running_jobs()) == 2, "its slot stays taken while the function has it"
        go.set()
        released.set()
        assert await mine.result(timeout=10_000) == "mine"
        await until(lambda: not worker.running_jobs(), "the slots are free")
    assert (await stored(link, keys, lost.id)).get("returnvalue") is None


async def test_a_slow_batch_delays_no_other_batch(queue: Queue, redis_url: str) -> None:
    go = asyncio.Event()

    @batch_processor("slow", size=2, wait=0)
    async def slow(jobs: list[Job[bool]]) -> None:
        if jobs[0].data:
            await go.wait()

    @processor("quick")
    async def quick(job: Job[Any]) -> str:
        return "done"

    async with Worker("q", slow, quick, redis=redis_url, concurrency=6):
        stuck = await queue.add_many([NewJob("slow", True), NewJob("slow", True)])
        next_batch = await queue.add_many([NewJob("slow", False), NewJob("slow", False)])
        other = await queue.add("quick")
        assert await other.result(timeout=10_000) == "done"
        for job in next_batch:
            await job.result(timeout=10_000)
        assert [await job.state() for job in stuck] == ["active", "active"]
        go.set()
        for job in stuck:
            await job.result(timeout=10_000)


async def test_jobs_of_one_claim_meet_though_nothing_waits(queue: Queue, redis_url: str) -> None:
    sizes: list[int] = []

    @batch_processor("x", size=20, wait=0)
    async def run(jobs: list[Job[Any]]) -> None:
        sizes.append(len(jobs))

    jobs = await queue.add_many([NewJob("x") for _ in range(20)])
    async with Worker("q", run, redis=redis_url, concurrency=20):
        for job in jobs:
            await job.result(timeout=10_000)
    assert sizes == [20]


async def test_each_job_is_judged_by_itself(queue: Queue, redis_url: str) -> None:
    @batch_processor("x", size=10, attempts=2, retry_on=(ConnectionError,))
    async def run(jobs: list[Job[str]]) -> list[Any]:
        said = {
            "retry": Retry(0),
            "final": errors.UnrecoverableError("never"),
            "other": ValueError("not to be retried"),
            "busy": ConnectionError("busy"),
            "stop": StopIteration("odd"),
            "big": object(),
        }
        return [said.get(job.data, job.data) for job in jobs]

    words = ["ok", "retry", "final", "other", "busy", "stop", "big"]
    async with Worker("q", run, redis=redis_url, concurrency=10):
        jobs = await queue.add_many([NewJob("x", word) for word in words])
        for job in jobs:
            await _over(job)
            await job.refresh()
    assert [(job.data, job.attempts_made) for job in jobs if job.failed_reason is None] == [("ok", 1)]
    assert {job.data: job.attempts_made for job in jobs if job.failed_reason} == {
        "retry": 2, "final": 1, "other": 1, "busy": 2, "stop": 1, "big": 1
    }  # fmt: skip


async def test_one_exception_for_many_jobs_has_the_stack_of_one(queue: Queue, redis_url: str) -> None:
    @batch_processor("x", size=50)
    async def run(jobs: list[Job[Any]]) -> None:
        raise ConnectionError("down")

    async with Worker("q", run, redis=redis_url, concurrency=50):
        jobs = await queue.add_many([NewJob("x") for _ in range(50)])
        for job in jobs:
            await _over(job)
            await job.refresh()
    assert len({job.stacktrace[0].count('File "') for job in jobs}) == 1


async def test_bad_data_is_refused_before_the_batch(queue: Queue, redis_url: str) -> None:
    seen: list[int] = []

    @batch_processor("x", size=10)
    async def run(jobs: list[Job[int]]) -> None:
        seen.extend(job.data for job in jobs)

    async with Worker("q", run, redis=redis_url, concurrency=10):
        bad, good = await queue.add_many([NewJob("x", "text"), NewJob("x", 1)])
        await good.result(timeout=10_000)
        with pytest.raises(errors.JobFailed, match="Expected `int`"):
            await bad.result(timeout=10_000)
    assert seen == [1]


async def test_a_dict_without_a_job_fails_that_job(queue: Queue, redis_url: str) -> None:
    @batch_processor("x", size=2, attempts=3)
    async def run(jobs: list[Job[Any]]) -> dict[Any, str]:
        return {jobs[0].id: "done", 77: "whose?"}

    async with Worker("q", run, redis=redis_url, concurrency=2):
        first, second = await queue.add_many([NewJob("x"), NewJob("x")])
        assert await first.result(timeout=10_000) == "done"
        with pytest.raises(errors.JobFailed, match=f"without this job's id '{second.id}'; it has 77"):
            await second.result(timeout=10_000)


async def test_a_dump_of_stacks_shows_where_a_batch_is(queue: Queue, redis_url: str) -> None:
    go, began = asyncio.Event(), asyncio.Event()

    @batch_processor("x", size=2)
    async def waits_for_the_provider(jobs: list[Job[Any]]) -> None:
        began.set()
        await go.wait()

    async with Worker("q", waits_for_the_provider, redis=redis_url, concurrency=2) as worker:
        await queue.add_many([NewJob("x"), NewJob("x")])
        await asyncio.wait_for(began.wait(), 10)
        assert worker._runtime is not None
        dump = describe(Running(active.claimed.id, active.task) for active in worker._runtime.slots.running)
        go.set()
    assert dump.count("waits_for_the_provider") == 2


async def _over(job: Job[Any]) -> None:
    async def is_over() -> bool:
        return await job.state() in ("completed", "failed")

    await until(is_over, f"{job!r} is over")
