"""Limits are kept by all workers together, never exceeded, and nobody sleeps longer than they ask."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine import Job, NewJob, Queue, RateLimited, Worker, processor
from engine.connection import Link
from engine.errors import InvalidOption
from engine.model.keys import Keys
from tests.support.daemons import daemon
from tests.support.keyspace import events
from tests.support.ledger import LEDGER, Ledger
from tests.support.running import until
from tests.support.seeding import Held, seed

LONG = 60_000
"""A drain delay, ms, that no test lives through: who is late for want of a signal fails it."""
SHORT: dict[str, Any] = {"lock_duration": 200, "stalled_interval": 100}


async def echo(job: Job[Any]) -> Any:
    return job.data


def fleet(redis_url: str, count: int, function: Callable[..., Any] = echo, **options: Any) -> list[Worker]:
    options = {"concurrency": 4, "drain_delay": LONG, **options}
    return [Worker("q", function, redis=redis_url, name=f"w{n}", **options) for n in range(count)]


async def starts_of(queue: Queue, jobs: Iterable[Job[Any]]) -> list[int]:
    """When the jobs started last, ms by the server's clock, in order."""
    found = await queue.link.call_many([("HGET", queue.keys.job(job.id), "processedOn") for job in jobs])
    return sorted(map(int, found))


async def done(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count


# --- rate -------------------------------------------------------------------------------------------------------------


async def test_several_workers_share_one_window(queue: Queue, redis_url: str) -> None:
    limit, span = 5, 300
    await queue.set_rate_limit(limit, span)
    async with AsyncExitStack() as stack:
        for worker in fleet(redis_url, 3):
            await stack.enter_async_context(worker)
        jobs = [await queue.add("x", n) for n in range(23)]
        await until(lambda: done(queue, 23), "all are done")
    starts = await starts_of(queue, jobs)
    windows = [starts[0]]
    inside = 0
    for start in starts:
        # A window's end is told in whole ms, by a clock that is read once more than the start's.
        if start >= windows[-1] + span - 2:
            windows.append(start)
            inside = 0
        inside += 1
        assert inside <= limit
    assert len(windows) == 5
    late = [later - earlier - span for earlier, later in itertools.pairwise(windows)]
    assert max(late) < 250, "the next window begins when the old one ends"


async def test_adding_to_a_closed_window_costs_no_turn(queue: Queue, redis_url: str) -> None:
    await queue.set_rate_limit(1, 60_000)
    async with Worker("q", echo, redis=redis_url, drain_delay=LONG) as worker:
        await (await queue.add("x", 1)).result(timeout=5_000)
        await queue.add("x", 2)
        await until(lambda: _closed(queue, worker), "the worker knows that the window is closed")
        before = worker.counters.turns
        for n in range(200):
            await queue.add("x", n)
        assert worker.counters.turns - before <= 3, "it looks once a second unasked"


async def _closed(queue: Queue, worker: Worker) -> bool:
    """The marker of the second job was taken, and the turn that it led to has ended."""
    return worker.counters.turns >= 3 and not await queue.link.call("EXISTS", queue.keys.marker)


@pytest.mark.parametrize("change", ["raised", "removed"])
async def test_a_raised_or_removed_limit_acts_at_once(queue: Queue, redis_url: str, change: str) -> None:
    await queue.set_rate_limit(1, 3_600_000)
    async with Worker("q", echo, redis=redis_url, drain_delay=LONG):
        jobs = [await queue.add("x", n) for n in range(5)]
        await jobs[0].result(timeout=5_000)
        await until(queue.rate_limit_ttl, "the window is used up")
        await (queue.set_rate_limit(100, 3_600_000) if change == "raised" else queue.remove_rate_limit())
        assert [await job.result(timeout=5_000) for job in jobs] == [0, 1, 2, 3, 4]


async def test_an_idle_worker_takes_over_after_the_window(queue: Queue, redis_url: str) -> None:
    go = asyncio.Event()

    async def run(job: Job[int]) -> None:
        if job.data == 0:
            await go.wait()

    await queue.set_rate_limit(1, 200)
    one, other = fleet(redis_url, 2, run, concurrency=1)
    async with one, other:
        await until(lambda: one.counters.turns and other.counters.turns, "both have looked and sleep")
        jobs = await queue.add_many([NewJob("x", n) for n in range(4)])
        await asyncio.gather(*(job.result(timeout=10_000) for job in jobs[1:]))
        busy = one if one.running_jobs() else other
        go.set()
        await jobs[0].result(timeout=5_000)
    ran_by = [await queue.link.call("HGET", queue.keys.job(job.id), "pb") for job in jobs]
    assert [name == busy.name.encode() for name in ran_by] == [True, False, False, False]


async def test_a_worker_busy_at_the_windows_end_claims_next(queue: Queue, redis_url: str) -> None:
    go = asyncio.Event()

    async def run(job: Job[int]) -> None:
        if job.data == 0:
            await go.wait()
            raise ValueError("a failure leaves with no turn")

    await queue.set_rate_limit(1, 100)
    async with Worker("q", run, redis=redis_url, concurrency=1, drain_delay=LONG) as worker:
        jobs = await queue.add_many([NewJob("x", n) for n in range(2)])
        await until(worker.running_jobs, "it is busy")
        await queue.link.call("DEL", queue.keys.marker)  # taken by a worker that has died since
        await until(lambda: _is_over(queue), "the window is over")
        go.set()
        await jobs[1].result(timeout=5_000)


async def _is_over(queue: Queue) -> bool:
    return await queue.rate_limit_ttl() == 0


async def test_workers_with_a_limiter_share_it(queue: Queue, redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        for worker in fleet(redis_url, 2, limiter={"max": 3, "duration": 3_600_000}):
            await stack.enter_async_context(worker)
        jobs = await queue.add_many(NewJob("x", n) for n in range(10))
        await until(lambda: done(queue, 3), "the window is used up")
        assert await queue.rate_limit_ttl() == 0
        assert await queue.rate_limit_ttl({"max": 3, "duration": 3_600_000}) > 3_000_000
        async with Worker("q", echo, redis=redis_url, name="free", drain_delay=LONG):
            await asyncio.gather(*(job.result(timeout=5_000) for job in jobs))


# --- concurrency ------------------------------------------------------------------------------------------------------


async def test_a_raised_concurrency_wakes_idle_workers(queue: Queue, redis_url: str) -> None:
    go, running = asyncio.Event(), set()

    async def run(job: Job[int]) -> None:
        running.add(job.data)
        await go.wait()

    await queue.set_concurrency(1)
    async with AsyncExitStack() as stack:
        for worker in fleet(redis_url, 3, run, concurrency=2):
            await stack.enter_async_context(worker)
        await queue.add_many(NewJob("x", n) for n in range(6))
        for most, change in ((1, None), (3, partial(queue.set_concurrency, 3)), (6, queue.remove_concurrency)):
            if change is not None:
                await change()
            await until(partial(_holds, running, most), f"{most} run")
            assert (await queue.counts()).active == most
        go.set()


def _holds(found: set[int], count: int) -> bool:
    return len(found) == count


async def test_the_slot_of_a_dead_worker_goes_to_a_living_one(queue: Queue, link: Link, redis_url: str) -> None:
    await seed(link, Keys("q"), active={"dead": Held("gone", lock_ms=None)}, wait=["w"], meta={"concurrency": 1})
    ran: list[str] = []

    async def run(job: Job[Any]) -> None:
        ran.append(job.id)

    async with Worker("q", run, redis=redis_url, drain_delay=LONG, **SHORT):
        await until(lambda: done(queue, 2), "both are done")
    assert ran == ["dead", "w"]


async def test_a_slot_of_a_job_that_is_gone_wakes_a_worker_too(queue: Queue, link: Link, redis_url: str) -> None:
    await link.call("LPUSH", Keys("q").active, "ghost")
    await queue.set_concurrency(1)
    async with Worker("q", echo, redis=redis_url, drain_delay=LONG, **SHORT):
        assert await (await queue.add("x", 1)).result(timeout=5_000) == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_killed_workers_never_let_more_run_than_allowed(redis_url: str, tmp_path: Path) -> None:
    most = 3
    env = {LEDGER: str(Ledger(tmp_path / "ledger").path)}
    said = f"--queue q=5 --lock-duration 600 --stalled-interval 200 --max-stalled 100 --redis {redis_url}"
    arguments = ["tests.support.ledger", *said.split()]
    async with Queue("q", redis=redis_url, max_events=100_000) as queue:
        await queue.set_concurrency(most)
        await queue.add_many([NewJob("work", 0.02) for _ in range(150)])
        for kill in range(4):
            with (
                daemon(*arguments, log=tmp_path / "log", env=env) as one,
                daemon(*arguments, log=tmp_path / "log", env=env) as other,
            ):
                before = (await queue.counts()).completed
                await until(partial(_moved, queue, before + 10), "they get on", timeout=30)
                (one if kill % 2 else other).kill()
                await until(partial(_moved, queue, before + 25), "the other gets on", timeout=30)
        async with Worker("q", _work, redis=redis_url, lock_duration=600, stalled_interval=200, max_stalled=100):
            await until(lambda: done(queue, 150), "all are done", timeout=30)
        running = highest = 0
        for line in await events(queue.link, queue.keys):
            word, *rest = line.split()
            running += (word == "active") - (word == "completed") - (word == "waiting" and "prev=active" in rest)
            highest = max(highest, running)
        assert highest == most


@processor("work")
async def _work(job: Job[float]) -> None:
    await asyncio.sleep(0)


async def _moved(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed >= count


# --- a processor meets a limit ----------------------------------------------------------------------------------------


@processor("loop")
async def in_the_loop(job: Job[dict[str, Any]]) -> Any:
    if job.attempts_started == 1:
        raise RateLimited(**job.data)
    return job.attempts_started


@processor("returned")
async def returned(job: Job[dict[str, Any]]) -> Any:
    return RateLimited(**job.data) if job.attempts_started == 1 else job.attempts_started


@processor("thread")
def in_a_thread(job: Job[dict[str, Any]]) -> Any:
    if job.attempts_started == 1:
        raise RateLimited(**job.data)
    return job.attempts_started


@processor("process", run_in="process")
def in_a_process(job: Job[dict[str, Any]]) -> Any:
    if job.attempts_started == 1:
        raise RateLimited(**job.data)
    return job.attempts_started


@processor("plain")
async def plain(job: Job[Any]) -> Any:
    return job.data


EVERYWHERE = (in_the_loop, returned, in_a_thread, in_a_process, plain)


@pytest.mark.parametrize("name", ["loop", "returned", "thread", "process"])
async def test_a_rate_limited_run_uses_no_attempt(queue: Queue, redis_url: str, name: str) -> None:
    hold = 300
    async with AsyncExitStack() as stack:
        for n in range(2):
            worker = Worker("q", *EVERYWHERE, redis=redis_url, name=f"w{n}", drain_delay=LONG)
            await stack.enter_async_context(worker)
        job = await queue.add(name, {"retry_after": hold})
        until_ms = int(await until(lambda: queue.link.call("HGET", queue.keys.meta, "hold"), "the queue holds still"))
        others = await queue.add_many(NewJob("plain", n) for n in range(3))
        assert await job.result(timeout=5_000) == 2
        await asyncio.gather(*(other.result(timeout=5_000) for other in others))
        starts = await starts_of(queue, [job, *others])
        assert (await job.refresh()).attempts_made == 1
    assert starts[0] >= until_ms
    assert starts[-1] < until_ms + 2_000


@pytest.mark.parametrize("name", ["loop", "process"])
async def test_one_job_can_wait_alone(queue: Queue, redis_url: str, name: str) -> None:
    async with Worker("q", *EVERYWHERE, redis=redis_url, concurrency=1, drain_delay=LONG):
        job = await queue.add(name, {"retry_after": 250, "scope": "job"})
        await until(lambda: _is_delayed(job), "it waits")
        other = await queue.add("plain", 1)
        assert (await other.result(timeout=5_000), await job.result(timeout=5_000)) == (1, 2)
        starts = await starts_of(queue, [other, job])
        assert starts == [
            int(await queue.link.call("HGET", queue.keys.job(each.id), "processedOn")) for each in (other, job)
        ]
        assert (await job.refresh()).attempts_made == 1


async def _is_delayed(job: Job[Any]) -> bool:
    return await job.state() == "delayed"


@pytest.mark.parametrize("name", ["loop", "process"])
@pytest.mark.parametrize("wrong", [{"retry_after": "soon"}, {"retry_after": -1}, {"retry_after": 1, "scope": "fleet"}])
async def test_a_wrong_wait_is_a_failed_attempt_that_says_so(
    queue: Queue, redis_url: str, name: str, wrong: dict[str, Any]
) -> None:
    async with Worker("q", *EVERYWHERE, redis=redis_url, drain_delay=LONG):
        job = await queue.add(name, wrong)
        await until(lambda: _has_failed(queue), "it failed")
        assert "RateLimited." in str((await job.refresh()).failed_reason)


async def _has_failed(queue: Queue) -> bool:
    return (await queue.counts()).failed == 1


@pytest.mark.parametrize(
    ("limiter", "said"),
    [
        ({"max": 0, "duration": 5}, "limiter.max: 0"),
        ({"max": 1, "duration": 0}, "limiter.duration: 0 ms"),
        ({"max": 1}, "limiter: "),
        (3, "limiter: 3"),
    ],
)
def test_a_wrong_limiter_is_refused_when_the_worker_is_made(limiter: Any, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        Worker("q", echo, redis="redis://localhost", limiter=limiter)
