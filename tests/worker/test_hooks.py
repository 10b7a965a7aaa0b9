"""Middleware and dependencies when things go wrong, and where they meet threads, processes, batches and stops."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import Job, JobOptions, Keep, NewJob, Queue, SyncQueue, Worker, batch_processor, errors, processor
from engine.model.options import read_options
from tests.support.daemons import daemon
from tests.support.running import until

AddNext = Callable[[NewJob], Awaitable[Job[Any]]]
RunNext = Callable[[Job[Any]], Awaitable[Any]]

word: ContextVar[str] = ContextVar("word", default="nothing")


# --- around running -----------------------------------------------------------------------------------------------------


async def test_an_error_in_middleware_fails_the_attempt(queue: Queue, redis_url: str) -> None:
    seen: list[tuple[str, str]] = []

    async def flaky(job: Job[str], call_next: RunNext) -> Any:
        seen.append(("middleware", word.get()))
        word.set(job.data)
        if job.attempts_made == 0:
            raise ConnectionError("not yet")
        return await call_next(job)

    async def work(job: Job[str]) -> None:
        seen.append(("work", word.get()))

    async with Worker("q", work, redis=redis_url, concurrency=1, middleware=[flaky]) as worker:
        job = await queue.add("x", "mine", attempts=2)
        await job.result(timeout=10_000)
        assert worker.counters.retried == 1
    assert seen == [("middleware", "nothing"), ("middleware", "nothing"), ("work", "mine")]


async def test_middleware_cannot_block_a_stop(queue: Queue, redis_url: str) -> None:
    over = asyncio.Event()

    async def stubborn(job: Job[Any], call_next: RunNext) -> Any:
        while not over.is_set():
            try:
                await call_next(job)
            except asyncio.CancelledError:
                continue

    async def hang(job: Job[Any]) -> None:
        await over.wait()

    async with Worker("q", hang, redis=redis_url, middleware=[stubborn]) as worker:
        job = await queue.add("x")
        await until(lambda: len(worker.running_jobs()) == 1, "it runs")
        await worker.stop_now()
        assert await job.state() == "waiting"
        over.set()


async def test_middleware_stands_around_each_job_of_a_batch(queue: Queue, redis_url: str) -> None:
    seen: list[str] = []

    async def wrap(job: Job[str], call_next: RunNext) -> Any:
        word.set(job.data)
        return [job.data, await call_next(job)]

    @batch_processor("x", size=2)
    async def run(jobs: list[Job[str]]) -> list[str]:
        seen.append(word.get())
        return [job.data.upper() for job in jobs]

    async with Worker("q", run, redis=redis_url, concurrency=2, middleware=[wrap]):
        jobs = await queue.add_many([NewJob("x", "a"), NewJob("x", "b")])
        assert [await job.result(timeout=10_000) for job in jobs] == [["a", "A"], ["b", "B"]]
    assert seen == ["nothing"], "a batch is nobody's in particular"


@processor("process", run_in="process")
def in_a_process(job: Job[int]) -> list[int]:
    return [os.getpid(), job.data]


@pytest.mark.slow
async def test_middleware_sees_the_result_of_a_process(queue: Queue, redis_url: str) -> None:
    async def sums(job: Job[int], call_next: RunNext) -> Any:
        pid, value = await call_next(job)
        return [pid, value + 1]

    async with Worker("q", in_a_process, redis=redis_url, middleware=[sums]):
        pid, value = await (await queue.add("process", 41)).result(timeout=30_000)
    assert (pid != os.getpid(), value) == (True, 42)


@pytest.mark.parametrize(
    ("middleware", "problem"),
    [
        ("text", "is not a list"),
        ([lambda job, call_next: None], "is not a coroutine function"),
        ([asyncio.sleep, 5], "5 is not a coroutine function"),
        ([asyncio.sleep, asyncio.Event().wait], "does not take two arguments"),
    ],
)
async def test_wrong_middleware_is_refused_at_once(middleware: Any, problem: str) -> None:
    async def work(job: Job[Any]) -> None: ...

    with pytest.raises(errors.InvalidInput, match=problem):
        Worker("q", work, middleware=middleware)
    with pytest.raises(errors.InvalidInput, match=problem):
        Queue("q", middleware=middleware)
    with pytest.raises(errors.InvalidInput, match=problem):
        SyncQueue("q", middleware=middleware)


# --- around adding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda new: setattr(new, "name", ""), "job name"),
        (lambda new: setattr(new, "data", object()), "data"),
        (lambda new: setattr(new, "options", JobOptions(priority=-1)), "priority: -1"),
        (lambda new: setattr(new, "options", {"delay": 5}), "are not JobOptions"),
        (lambda new: new.change(delay=-1), "delay"),
        (lambda new: new.change(dely=1), "dely: unknown option"),
    ],
)
async def test_what_middleware_changed_is_checked_again(redis_url: str, change: Any, problem: str) -> None:
    async def wrong(new_job: NewJob, call_next: AddNext) -> Job[Any]:
        if new_job.data != "good":
            change(new_job)
        return await call_next(new_job)

    async with Queue("q", redis=redis_url, middleware=[wrong]) as queue:
        with pytest.raises(errors.InvalidInput, match=problem):
            await queue.add("x", "bad")
        with pytest.raises(errors.InvalidInput, match=problem):
            await queue.add_many([NewJob("x", "good"), NewJob("x", "bad"), NewJob("x", "good")])
        assert (await queue.counts()).waiting == 0


async def test_slow_middleware_keeps_the_order_of_jobs(redis_url: str) -> None:
    held: list[asyncio.Event] = []

    async def last_first(new_job: NewJob, call_next: AddNext) -> Job[Any]:
        mine, before = asyncio.Event(), held[-1] if held else None
        held.append(mine)
        if len(held) == 300:
            mine.set()
        await mine.wait()
        if before:
            before.set()
        return await call_next(new_job)

    async with Queue("q", redis=redis_url, middleware=[last_first]) as queue:
        jobs = await queue.add_many(NewJob("x", n) for n in range(300))
        assert [job.data for job in jobs] == list(range(300))
        assert [job.data for job in await queue.jobs("waiting", 0, 299)] == list(range(300))
        assert await queue.add_many([]) == []


async def test_add_middleware_can_answer_by_itself_and_add_again(redis_url: str) -> None:
    first: list[Job[Any]] = []

    async def twice(new_job: NewJob, call_next: AddNext) -> Job[Any]:
        if new_job.data == "known":
            return first[0]
        first.append(await call_next(new_job))
        return await call_next(new_job)

    async with Queue("q", redis=redis_url, middleware=[twice]) as queue:
        lone = await queue.add("x", "new")
        many = await queue.add_many([NewJob("x", "known"), NewJob("x", "new"), NewJob("x", "known")])
        assert [job.id for job in (lone, *many)] == ["2", "1", "4", "1"]
        assert (await queue.counts()).waiting == 4


def test_sync_queues_run_middleware_with_context_vars(redis_url: str) -> None:
    async def stamp(new_job: NewJob, call_next: AddNext) -> Job[Any]:
        new_job.data = word.get()
        return await call_next(new_job)

    word.set("the caller's")
    try:
        with SyncQueue("q", redis=redis_url, middleware=[stamp]) as queue:
            assert queue.add("x").data == "the caller's"
    finally:
        word.set("nothing")


def test_options_can_be_checked_twice() -> None:
    once = JobOptions.check(
        {
            "attempts": 3, "backoff": {"type": "exponential", "delay": 5, "jitter": 0.5}, "delay": 7, "priority": 2,
            "job_id": "mine", "timestamp": 1, "remove_on_complete": True, "remove_on_fail": {"count": 3, "age": 9},
            "keep_logs": 0, "stack_trace_limit": 0, "size_limit": 10, "telemetry": "trace",
        }
    )  # fmt: skip
    assert JobOptions.check(once.given()) == once
    assert JobOptions.check(JobOptions(lifo=True).given()) == JobOptions(lifo=True)
    assert JobOptions().given() == {}
    assert once.given()["remove_on_complete"] == Keep(count=0)
    assert msgspec.json.decode(once.to_wire())["tm"] == "trace"
    assert read_options(once.to_wire()) == once


# --- dependencies -------------------------------------------------------------------------------------------------------

told: list[str] = []


class A: ...


class B: ...


class FakeA(A): ...


async def make_a() -> AsyncIterator[A]:
    told.append("open a")
    yield A()
    told.append("close a")


@asynccontextmanager
async def make_b(a: A) -> AsyncIterator[B]:
    told.append("open b")
    yield B()
    told.append("close b")


async def broken(a: A) -> AsyncIterator[B]:
    raise ConnectionError("no database")
    yield B()  # type: ignore[unreachable]


async def a_from_b(b: B) -> AsyncIterator[A]:
    yield A()


async def b_from_a(a: A) -> AsyncIterator[B]:
    yield B()


async def untyped() -> Any:
    yield 1


async def takes_both(job: Job[Any], a: A, *, b: B, colour: str = "red") -> list[str]:
    told.append("job")
    return [type(a).__name__, type(b).__name__, colour]


def takes_a_in_a_thread(job: Job[Any], a: A) -> str:
    return type(a).__name__


@processor("process", run_in="process")
def takes_a_in_a_process(job: Job[Any], a: A) -> None: ...


@batch_processor("batch", size=2)
async def takes_a_in_batches(jobs: list[Job[int]], a: A) -> list[str]:
    return [type(a).__name__ for _ in jobs]


async def takes_untyped(job: Job[Any], a) -> None: ...  # type: ignore[no-untyped-def]


async def test_dependencies_are_open_for_every_job(queue: Queue, redis_url: str) -> None:
    told.clear()
    job = await queue.add("x")
    worker = Worker("q", takes_both, redis=redis_url, dependencies=[make_b, make_a])
    assert told == [], "nothing is opened before the worker runs"
    async with worker:
        assert await job.result(timeout=10_000) == ["A", "B", "red"]
    assert told == ["open a", "open b", "job", "close b", "close a"]


async def test_they_are_closed_too_when_the_worker_is_cancelled(queue: Queue, redis_url: str) -> None:
    told.clear()
    worker = Worker("q", takes_both, redis=redis_url, dependencies=[make_b, make_a])
    task = asyncio.create_task(worker.run())
    await worker.ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["open a", "open b", "close b", "close a"]


async def test_a_dependency_that_fails_to_open_stops_the_start(queue: Queue, redis_url: str) -> None:
    told.clear()
    job = await queue.add("x")
    with pytest.raises(ConnectionError, match="no database"):
        await Worker("q", takes_both, redis=redis_url, dependencies=[make_a, broken]).run()
    assert told == ["open a", "close a"]
    assert await job.state() == "waiting"
    await job.refresh()
    assert job.attempts_started == 0


async def test_threads_and_batches_get_dependencies_too(queue: Queue, redis_url: str) -> None:
    in_thread = processor("thread")(takes_a_in_a_thread)
    worker = Worker("q", in_thread, takes_a_in_batches, redis=redis_url, dependencies=[FakeA()])
    async with worker:
        jobs = await queue.add_many([NewJob("thread"), NewJob("batch", 1), NewJob("batch", 2)])
        assert [await job.result(timeout=10_000) for job in jobs] == ["FakeA"] * 3


@pytest.mark.parametrize(
    ("function", "dependencies", "problem"),
    [
        (takes_both, [make_a], "'b' wants B, and there is A; add it"),
        (takes_both, [], "'a' wants A, and there is none"),
        (takes_both, [make_b], "the dependency make_b: 'a' wants A"),
        (takes_both, [make_a, A(), make_b], "make_a and an instance of A are both A"),
        (takes_both, [a_from_b, b_from_a], "a_from_b needs b_from_a needs a_from_b"),
        (takes_both, [untyped], "untyped.* does not say what it yields"),
        (takes_both, [A], "A is a class"),
        (takes_both, [takes_a_in_a_thread], "is not a generator function"),
        (takes_both, "ab", "is not a list"),
        (takes_untyped, [A()], "'a' has no type"),
        (takes_a_in_a_process, [A()], "runs in a child process, where they are not open"),
    ],
)
async def test_wrong_dependencies_are_refused_by_the_constructor(
    function: Any, dependencies: Any, problem: str
) -> None:
    with pytest.raises(errors.InvalidOption, match=problem):
        Worker("q", function, dependencies=dependencies)


# --- from the command line ----------------------------------------------------------------------------------------------


async def _loud(job: Job[Any], call_next: RunNext) -> Any:
    return f"{await call_next(job)}!"


DEPENDENCIES = [make_a]
MIDDLEWARE = [_loud]
PROCESSORS = [processor("thread")(takes_a_in_a_thread)]


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_module_lists_them_for_the_command_line(queue: Queue, redis_url: str, tmp_path: Path) -> None:
    with daemon("tests.worker.test_hooks", "--queue", "q", "--redis", redis_url, log=tmp_path / "log") as worker:
        job = await queue.add("thread")
        assert await job.result(timeout=30_000) == "A!"
        worker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, 20) == 0
    assert not re.search("Traceback", (tmp_path / "log").read_text())
