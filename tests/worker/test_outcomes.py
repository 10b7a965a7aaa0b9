"""What a run comes to: results, failures, retries, and jobs that cannot run at all."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import pytest

from engine import Job, NewJob, Queue, Worker, errors, processor
from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import all_scripts
from tests.support.keyspace import job as stored
from tests.support.running import until


class Size(msgspec.Struct):
    width: int


async def test_a_job_is_run_and_its_result_is_stored(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    @processor("double")
    async def double(job: Job[Size]) -> Size:
        return Size(job.data.width * 2)

    async with Worker("q", double, redis=redis_url, name="w1") as worker:
        job = await queue.add("double", Size(4))
        assert await job.result(timeout=5_000) == {"width": 8}
    assert worker.counters.completed == 1
    found = await stored(link, keys, job.id)
    assert (found["pb"], found["atm"], found["ats"]) == ("w1", "1", "1")


async def test_a_failing_job_runs_as_often_as_it_may_and_then_fails(
    queue: Queue, redis_url: str, link: Link, keys: Keys
) -> None:
    @processor("fail")
    async def fail(job: Job[Any]) -> None:
        raise ValueError(f"attempt {job.attempts_made}")

    async with Worker("q", fail, redis=redis_url) as worker:
        job = await queue.add("fail", {}, attempts=3, backoff=1)
        with pytest.raises(errors.JobFailed, match="attempt 2"):
            await job.result(timeout=5_000)
    assert (worker.counters.retried, worker.counters.failed) == (2, 1)
    found = await stored(link, keys, job.id)
    traces = msgspec.json.decode(found["stacktrace"])
    assert [trace.splitlines()[-1] for trace in traces] == [f"ValueError: attempt {n}" for n in range(3)]
    assert "test_outcomes.py" in traces[0]


async def test_a_requeued_job_is_there_for_the_next_claim(queue: Queue, redis_url: str) -> None:
    """To the front, by its options or by a rate limit: with one slot, nobody passes it."""
    ran: list[str] = []

    async def run(job: Job[Any]) -> None:
        ran.append(job.id)
        if job.data["first"] == "fails" and job.attempts_started < 4:
            raise ValueError("not yet")
        if job.data["first"] == "is limited" and job.attempts_started < 4:
            raise errors.RateLimited(1)

    await queue.add_many([NewJob("n", {"first": "is done"}) for _ in range(5)])
    failing = await queue.add("n", {"first": "fails"}, lifo=True, attempts=4)
    limited = await queue.add("n", {"first": "is limited"}, lifo=True)
    async with Worker("q", run, redis=redis_url, concurrency=1, drain_delay=10):
        await until(lambda: len(ran) == 13, "all ran")
    assert ran == [limited.id] * 4 + [failing.id] * 4 + ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("backoff", [None, 20, {"type": "mine"}])
async def test_the_wait_between_attempts_is_the_backoffs(queue: Queue, redis_url: str, backoff: Any) -> None:
    starts: list[float] = []

    @processor("fail")
    async def fail(job: Job[Any]) -> str:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) < 2:
            raise ValueError("once")
        return "done"

    async with Worker("q", fail, redis=redis_url, backoffs={"mine": lambda made, error: 20 * made}):
        job = await queue.add("fail", {}, attempts=2, backoff=backoff)
        assert await job.result(timeout=5_000) == "done"
    waited = starts[1] - starts[0]
    assert waited >= (0.014 if backoff else 0)  # a quarter of a wait is drawn by chance
    assert waited < 2


async def test_a_strategy_that_gives_up_or_is_unknown_fails_the_job(queue: Queue, redis_url: str) -> None:
    async def fail(job: Job[Any]) -> None:
        raise ValueError("no")

    async with Worker("q", fail, redis=redis_url, backoffs={"never": lambda made, error: -1}):
        given_up = await queue.add("x", {}, attempts=5, backoff={"type": "never"})
        unknown = await queue.add("x", {}, attempts=5, backoff={"type": "other"})
        with pytest.raises(errors.JobFailed, match=r"failed: no$"):
            await given_up.result(timeout=5_000)
        with pytest.raises(
            errors.JobFailed, match="'other' is unknown to this worker, which has fixed, exponential, list, never"
        ):
            await unknown.result(timeout=5_000)
    assert (await given_up.refresh()).attempts_made == 1


async def test_the_processors_retry_options_are_defaults(queue: Queue, redis_url: str) -> None:
    @processor("p", attempts=3, retry_on=(ConnectionError,))
    async def flaky(job: Job[str]) -> int:
        if job.data == "other":
            raise ValueError("not to be tried again")
        if job.attempts_made < 2:
            raise ConnectionError("try again")
        return job.attempts_made

    async with Worker("q", flaky, redis=redis_url):
        again, once = await queue.add("p", "line"), await queue.add("p", "other")
        assert await again.result(timeout=5_000) == 2
        with pytest.raises(errors.JobFailed):
            await once.result(timeout=5_000)
    assert (await once.refresh()).attempts_made == 1


async def test_unrecoverable_errors_fail_at_once(queue: Queue, redis_url: str) -> None:
    async def fail(job: Job[Any]) -> None:
        raise errors.UnrecoverableError("bad number")

    async with Worker("q", fail, redis=redis_url):
        job = await queue.add("x", {}, attempts=5)
        with pytest.raises(errors.JobFailed, match="bad number"):
            await job.result(timeout=5_000)
    assert (await job.refresh()).attempts_made == 1


@pytest.mark.parametrize("raised", [True, False], ids=["raised", "returned"])
async def test_a_processor_may_ask_for_another_run(queue: Queue, redis_url: str, raised: bool) -> None:
    starts: list[float] = []

    async def ask(job: Job[Any]) -> Any:
        starts.append(asyncio.get_running_loop().time())
        if job.attempts_made == 1:
            return "done"
        if raised:
            raise errors.Retry(30)
        return errors.Retry(30)

    async with Worker("q", ask, redis=redis_url):
        job = await queue.add("x", {}, attempts=2)
        assert await job.result(timeout=5_000) == "done"
        last = await queue.add("x", {}, attempts=1)
        with pytest.raises(errors.JobFailed, match="asked for a retry"):
            await last.result(timeout=5_000)
    assert starts[1] - starts[0] >= 0.029


async def test_a_name_that_nobody_takes_fails_at_once_and_says_so(queue: Queue, redis_url: str) -> None:
    @processor("a")
    async def a(job: Job[Any]) -> None: ...

    @processor("b")
    async def b(job: Job[Any]) -> None: ...

    @processor()
    async def every(job: Job[Any]) -> str:
        return job.name

    async with Worker("q", a, b, redis=redis_url):
        job = await queue.add("c", {}, attempts=5)
        with pytest.raises(errors.JobFailed, match="no processor takes 'c' here; this worker has a, b"):
            await job.result(timeout=5_000)
    async with Worker("q", a, redis=redis_url):
        with pytest.raises(errors.JobFailed, match=r"no processor takes 'c' here; this worker has a$"):
            await (await queue.add("c", {})).result(timeout=5_000)
    async with Worker("q", every, redis=redis_url):
        assert await (await queue.add("c", {})).result(timeout=5_000) == "c"
    with pytest.raises(errors.InvalidOption, match="has no name beside others"):
        Worker("q", every, a, redis=redis_url)


async def test_data_of_the_wrong_type_fails_without_retry(queue: Queue, redis_url: str) -> None:
    @processor("size")
    async def size(job: Job[Size]) -> None: ...

    async with Worker("q", size, redis=redis_url):
        job = await queue.add("size", {"width": "wide"}, attempts=5)
        with pytest.raises(errors.JobFailed, match=r"\$\.width: Expected `int`, got `str`"):
            await job.result(timeout=5_000)


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot say")


async def _raise(error: BaseException) -> None:
    raise error


async def _recurse(job: Job[Any]) -> Any:
    return await _recurse(job)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda job: _raise(SystemExit(3)), "3"),
        (lambda job: _raise(MemoryError()), "MemoryError"),
        (_recurse, "maximum recursion depth exceeded"),
        (lambda job: _raise(asyncio.CancelledError()), "CancelledError"),
        (lambda job: _raise(StopIteration()), "StopIteration"),
        (lambda job: _raise(Silent()), "Silent"),
        (lambda job: _raise(ValueError("x" * 10_000_000)), "xxxx"),
        (lambda job: _raise(ValueError("\ud800 lone")), "? lone"),
        (lambda job: _raise(errors.Retry(-5)), "negative"),
        (lambda job: asyncio.sleep(0, object()), "result: "),
        (lambda job: asyncio.sleep(0, float("nan")), "not a JSON number"),
        (lambda job: asyncio.sleep(0, "x" * 20_000_000), "over the limit"),
    ],
)
async def test_no_processor_error_stops_the_worker(
    queue: Queue, redis_url: str, link: Link, keys: Keys, act: Any, reason: str
) -> None:
    async def run(job: Job[Any]) -> Any:
        return None if job.data == "good" else await act(job)

    async with Worker("q", run, redis=redis_url):
        bad = await queue.add("x", "bad", attempts=2)
        with pytest.raises(errors.JobFailed):
            await bad.result(timeout=10_000)
        assert await (await queue.add("x", "good")).result(timeout=5_000) is None
    found = await stored(link, keys, bad.id)
    assert reason in found["failedReason"]
    assert len(found["failedReason"]) <= 4096
    assert len(found["stacktrace"]) <= 2 * 16 * 1024 + 4096 + sys.getsizeof("")


async def test_the_newest_stack_traces_are_kept(queue: Queue, redis_url: str) -> None:
    async def fail(job: Job[Any]) -> None:
        raise ValueError(f"n{job.attempts_made}")

    async with Worker("q", fail, redis=redis_url):
        two = await queue.add("x", {}, attempts=4, stack_trace_limit=2)
        none = await queue.add("x", {}, attempts=2, stack_trace_limit=0)
        for job in (two, none):
            with pytest.raises(errors.JobFailed):
                await job.result(timeout=5_000)
    await two.refresh()
    assert [trace.splitlines()[-1] for trace in two.stacktrace] == ["ValueError: n2", "ValueError: n3"]
    assert (await none.refresh()).stacktrace == []


async def test_retention_is_the_jobs_else_the_workers(queue: Queue, redis_url: str) -> None:
    async def run(job: Job[Any]) -> None:
        if job.data == "fail":
            raise ValueError("no")

    async with Worker("q", run, redis=redis_url, remove_on_complete=2, remove_on_fail=True) as worker:
        await queue.add_many([])
        for _ in range(5):
            await queue.add("x", {})
        for _ in range(2):
            await queue.add("x", "fail")
        await queue.add("x", "fail", remove_on_fail=False)
        await until(lambda: worker.counters.completed + worker.counters.failed == 8, "all have run")
    counts = await queue.counts()
    assert (counts.completed, counts.failed) == (2, 1)


async def test_many_jobs_with_long_and_short_runs_all_complete(queue: Queue, redis_url: str) -> None:
    async def run(job: Job[int]) -> None:
        if job.data % 10 == 0:
            await asyncio.sleep(0.001)

    async with Worker("q", run, redis=redis_url, concurrency=30, remove_on_complete=5) as worker:
        await asyncio.gather(*(queue.add("x", n) for n in range(1_000)))
        await until(lambda: worker.counters.completed == 1_000, "all have run")
        assert worker.counters.claimed == 1_000
    assert (await queue.counts()).active == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"concurrency": 0}, "concurrency: 0"),
        ({"lock_duration": 10}, "lock_duration: 10 ms"),
        ({"lock_renew": 20_000}, "lock_renew: 20000 ms"),
        ({"max_stalled": -1}, "max_stalled"),
        ({"remove_on_complete": "all"}, "remove_on_complete"),
        ({"backoffs": {"fixed": print}}, "built in"),
        ({"name": "a\nb"}, "name: "),
        ({"processes": 0}, "processes: 0"),
    ],
)
async def test_wrong_options_are_refused_at_once(options: dict[str, Any], problem: str) -> None:
    async def run(job: Job[Any]) -> None: ...

    with pytest.raises(errors.InvalidOption, match=problem):
        Worker("q", run, **options)


async def test_large_jobs_fail_in_several_calls(queue: Queue, redis_url: str, link: Link) -> None:
    ended = asyncio.Event()

    @processor("x", attempts=1)
    async def together(job: Job[Any]) -> None:
        if job.id == "20":
            ended.set()
        await ended.wait()
        raise ValueError("no")

    await queue.add_many([NewJob("x", "x" * 400_000) for _ in range(20)])
    (_, before) = await link.call("CONFIG", "GET", "slowlog-log-slower-than")
    await link.call("CONFIG", "SET", "slowlog-log-slower-than", 0, "slowlog-max-len", 10_000)
    try:
        async with Worker("q", together, redis=redis_url, concurrency=20) as worker:
            await until(lambda: worker.counters.failed == 20, "all have failed")
        digest = next(one for one in all_scripts() if one.name == "fail").digest.encode()
        entries = [entry[3] for entry in await link.call("SLOWLOG", "GET", -1)]
    finally:
        await link.call("CONFIG", "SET", "slowlog-log-slower-than", before, "slowlog-max-len", 128)
    calls = [entry for entry in entries if entry[0] == b"EVALSHA" and entry[1] == digest]
    assert len(calls) >= 5, "three jobs have over 1 MiB"
