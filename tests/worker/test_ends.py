"""Runs that are told to stop: cancelled, timed out, silent; on the loop, in threads, in processes; and those that do not stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from engine import Cancellation, Job, Queue, Worker, errors, processor
from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.claim import claim
from engine.worker import slots
from tests.support.keyspace import events
from tests.support.keyspace import job as stored
from tests.support.probes import beat, child, hang
from tests.support.running import until


@processor("loop")
async def on_the_loop(job: Job[Any]) -> None:
    await job.update_progress("begun")
    await asyncio.Event().wait()


@processor("thread")
def in_a_thread(job: Job[Any]) -> None:
    job.update_progress("begun")  # type: ignore[unused-coroutine]
    while True:
        job.check_cancelled()
        threading.Event().wait(0.01)


PLACES = {"loop": on_the_loop, "thread": in_a_thread, "process": hang}


def limited(place: str, **limits: int) -> Any:
    """The processor of that place, with a timeout or heartbeat."""
    return processor(place, run_in=PLACES[place].run_in, **limits)(PLACES[place].function)  # type: ignore[arg-type]


async def begun(job: Job[Any]) -> bool:
    return (await job.refresh()).progress is not None


@pytest.mark.parametrize("place", PLACES)
async def test_a_cancelled_run_ends_and_has_failed_for_good(
    queue: Queue, redis_url: str, link: Link, keys: Keys, place: str
) -> None:
    async with Worker("q", PLACES[place], redis=redis_url, processes=1) as worker:
        job = await queue.add(place, attempts=5)
        await until(lambda: begun(job), "it runs", timeout=20)
        assert await queue.cancel(job.id, "not wanted") is Cancellation.ASKED
        assert await queue.cancel(job.id, "not wanted") is not Cancellation.CANCELLED
        with pytest.raises(errors.JobCancelled) as caught:
            await job.result(timeout=3_000)
        assert await queue.cancel(job.id) is Cancellation.ENDED
        await until(lambda: worker.counters.failed == 1, "the worker has settled it")
        assert worker.counters.abandoned == 0
    assert caught.value.reason == "cancelled: not wanted"
    found = await stored(link, keys, job.id)
    assert (found["failedReason"], found["atm"]) == ("cancelled: not wanted", "1")
    assert "defa" not in found
    ends = [line for line in await events(link, keys) if line.startswith(("failed", "completed"))]
    assert ends == [f"failed {job.id} failedReason=cancelled: not wanted prev=active"]


@pytest.mark.parametrize("limit", ["timeout", "heartbeat"])
@pytest.mark.parametrize("place", PLACES)
async def test_a_run_over_its_limit_is_a_failed_attempt(queue: Queue, redis_url: str, place: str, limit: str) -> None:
    failed: list[BaseException] = []
    worker = Worker("q", limited(place, **{limit: 150}), redis=redis_url, processes=1)
    worker.on("failed", lambda job, error: failed.append(error))
    async with worker:
        job = await queue.add(place, attempts=2)
        with pytest.raises(
            errors.JobFailed, match="timeout of 150 ms" if limit == "timeout" else "no heartbeat for 150"
        ):
            await job.result(timeout=20_000)
        await until(lambda: len(failed) == 2, "both attempts were told")
    assert [type(error) for error in failed] == [errors.JobTimeout] * 2
    assert (await job.refresh()).attempts_made == 2
    assert worker.counters.abandoned == 0
    if place == "loop":
        assert "on_the_loop" in job.stacktrace[0], "the trace tells where it was"


async def test_a_jobs_timeout_overrides_the_processors(queue: Queue, redis_url: str) -> None:
    @processor("p", timeout=50)
    async def slow(job: Job[float]) -> str:
        await asyncio.sleep(job.data)
        return "done"

    async with Worker("q", slow, redis=redis_url):
        patient = await queue.add("p", 0.2, timeout=10_000)
        late = await queue.add("p", 0.2)
        assert await patient.result(timeout=5_000) == "done"
        with pytest.raises(errors.JobFailed, match="50 ms"):
            await late.result(timeout=5_000)


@pytest.mark.parametrize("place", ["loop", "thread", "process"])
async def test_a_run_that_gives_signs_of_life_is_not_hung(queue: Queue, redis_url: str, place: str) -> None:
    @processor("loop", heartbeat=300)
    async def loop(job: Job[int]) -> str:
        for n in range(job.data):
            await asyncio.sleep(0.1)
            if n % 2:
                job.heartbeat()
            else:
                await job.log("on")
        return "done"

    @processor("thread", heartbeat=300)
    def thread(job: Job[int]) -> str:
        for _ in range(job.data):
            threading.Event().wait(0.1)
            job.heartbeat()
        return "done"

    async with Worker("q", loop, thread, beat, child, redis=redis_url, processes=1):
        if place == "process":
            await (await queue.add("child", {})).result(timeout=20_000)  # a process that has yet to start says nothing
        job = await queue.add(place, 8)
        assert await job.result(timeout=20_000) == "done"


@pytest.mark.parametrize("place", ["loop", "thread"])
async def test_a_cancelled_run_with_a_result_is_cancelled(queue: Queue, redis_url: str, place: str) -> None:
    @processor("loop")
    async def loop(job: Job[Any]) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await job.log("half done")
        return "half"

    @processor("thread")
    def thread(job: Job[Any]) -> str:
        while not job.cancelled:
            threading.Event().wait(0.01)
        return "half"

    async with Worker("q", loop, thread, redis=redis_url) as worker:
        job = await queue.add(place, attempts=3)
        await until(lambda: len(worker.running_jobs()) == 1, "it runs")
        await queue.cancel(job.id)
        with pytest.raises(errors.JobCancelled):
            await job.result(timeout=5_000)
    assert worker.counters.completed == 0
    assert (await job.refresh()).return_value is None
    assert await queue.logs(job.id) == (["half done"] if place == "loop" else [])


class Deaf:
    """Handlers that do not stop when told; `over` lets them go."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.runs = 0

    async def on_the_loop(self, job: Job[Any]) -> str:
        self.runs += 1
        while not self.over.is_set():
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                continue
        return "too late"

    def in_a_thread(self, job: Job[Any]) -> str:
        self.runs += 1
        self.over.wait(30)
        return "too late"


@pytest.mark.parametrize("where", ["on_the_loop", "in_a_thread"])
async def test_a_run_that_ignores_cancellation_writes_nothing(
    queue: Queue, redis_url: str, link: Link, keys: Keys, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = Deaf()

    @processor("deaf")
    async def a_coroutine(job: Job[Any]) -> str:
        return await deaf.on_the_loop(job)

    @processor("deaf")
    def a_function(job: Job[Any]) -> str:
        return deaf.in_a_thread(job)

    @processor("next")
    async def following(job: Job[Any]) -> str:
        return "ran"

    chosen: Any = a_coroutine if where == "on_the_loop" else a_function
    worker = Worker("q", chosen, following, redis=redis_url, concurrency=1, cancel_grace=50)
    with caplog.at_level(logging.ERROR, "engine.worker"):
        async with worker:
            job = await queue.add("deaf", attempts=3)
            await until(lambda: deaf.runs == 1, "it runs")
            await queue.cancel(job.id)
            with pytest.raises(errors.JobCancelled):
                await job.result(timeout=5_000)
            assert await (await queue.add("next")).result(timeout=5_000) == "ran"
            assert [one.id for one in worker.abandoned_jobs()] == [job.id]
            assert worker.counters.abandoned == 1
            before = await stored(link, keys, job.id)
            deaf.over.set()
            await until(lambda: not worker.abandoned_jobs(), "it has returned")
            assert await (await queue.add("next")).result(timeout=5_000) == "ran"
            assert await stored(link, keys, job.id) == before
    assert "does not end after it was cancelled (job '1' was cancelled)" in caplog.text
    assert f"in {where}" in caplog.text, "the log says where it is"
    assert worker.counters.completed == 2


async def test_an_attempt_that_hangs_is_tried_again_beside_it(queue: Queue, redis_url: str) -> None:
    over = threading.Event()

    @processor("p", timeout=50)
    def hangs_once(job: Job[Any]) -> int:
        if job.attempts_made == 0:
            over.wait(30)
        return job.attempts_made

    async with Worker("q", hangs_once, redis=redis_url, concurrency=1, cancel_grace=50) as worker:
        job = await queue.add("p", attempts=2)
        assert await job.result(timeout=5_000) == 1
        over.set()
        await until(lambda: not worker.abandoned_jobs(), "the first run has returned")
    assert (await job.refresh()).return_value == 1
    assert worker.counters.completed == 1


async def test_too_many_that_do_not_stop_keep_their_slots(
    queue: Queue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "MAX_ABANDONED", 2)
    deaf = Deaf()

    @processor("deaf", timeout=30)
    def run(job: Job[Any]) -> str:
        return deaf.in_a_thread(job)

    async with Worker("q", run, redis=redis_url, concurrency=2, cancel_grace=10) as worker:
        jobs = [await queue.add("deaf", n) for n in range(6)]
        await until(lambda: len(worker.abandoned_jobs()) == 4, "two beyond the bound hold the two slots")
        assert not worker.running_jobs()
        assert [await job.state() for job in jobs] == ["failed"] * 4 + ["waiting"] * 2
        deaf.over.set()
        await until(lambda: worker.counters.completed + worker.counters.failed == 6, "the slots came back")


async def test_a_lost_run_in_a_thread_frees_its_slot(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    deaf, told = Deaf(), threading.Event()

    @processor("p")
    def run(job: Job[Any]) -> str:
        if job.data == "next":
            return "ran"
        deaf.runs += 1
        while not job.cancelled:
            threading.Event().wait(0.01)
        with pytest.raises(errors.LockLost):
            job.log("still here")  # type: ignore[unused-coroutine]
        told.set()
        return deaf.in_a_thread(job)

    async with Worker("q", run, redis=redis_url, concurrency=1, cancel_grace=50, lock_renew=50) as worker:
        job = await queue.add("p")
        await until(lambda: deaf.runs, "it runs")
        await link.call("SET", keys.lock(job.id), "another", "PX", 60_000)
        await link.call("HSET", keys.job(job.id), "owner", "another")
        await until(told.is_set, "it was told")
        assert await (await queue.add("p", "next")).result(timeout=5_000) == "ran"
        assert worker.counters.lost == 1
        deaf.over.set()
        await until(lambda: not worker.abandoned_jobs(), "it has returned")
    assert await job.state() == "active"


async def test_cancelling_beside_completion_gives_one_end(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    """Jobs that take from no time at all to two looks of the worker, cancelled at moments in between."""

    @processor("p")
    async def run(job: Job[int]) -> int:
        await asyncio.sleep(job.data / 50)
        return job.data

    async def one(n: int) -> tuple[Cancellation, str]:
        job = await queue.add("p", n)
        await asyncio.sleep(n % 7 / 50)
        said = await queue.cancel(job.id)
        try:
            await job.result(timeout=10_000)
        except errors.JobCancelled:
            return said, f"{job.id} failed"
        return said, f"{job.id} completed"

    async with Worker("q", run, redis=redis_url, concurrency=60) as worker:
        ends = await asyncio.gather(*(one(n) for n in range(60)))
        await until(lambda: worker.counters.completed + worker.counters.failed == _ran(ends), "all are settled")
    told = [line.split() for line in await events(link, keys) if line.startswith(("failed", "completed"))]
    assert sorted(f"{id} {word}" for word, id, *_ in told) == sorted(end for _, end in ends)
    for said, end in ends:
        if said is Cancellation.CANCELLED:
            assert end.endswith("failed")
        if said is Cancellation.ENDED:
            assert end.endswith("completed")
    assert {"completed", "failed"} == {end.split()[1] for _, end in ends}, "both were tried"


def _ran(ends: list[tuple[Cancellation, str]]) -> int:
    return sum(said is not Cancellation.CANCELLED for said, _ in ends)


async def test_a_job_of_a_killed_worker_fails_where_it_is_found(
    queue: Queue, redis_url: str, link: Link, keys: Keys
) -> None:
    async def never(job: Job[Any]) -> None:
        raise AssertionError("it must not run")

    job = await queue.add("x", attempts=5)
    await claim(link, keys, token="dead", lock_ms=300, worker="dead", count=1)
    assert await queue.cancel(job.id, "late") is Cancellation.ASKED
    async with Worker("q", never, redis=redis_url, lock_duration=600, stalled_interval=200):
        with pytest.raises(errors.JobCancelled, match="late"):
            await job.result(timeout=10_000)


async def test_an_old_cancellation_spares_a_new_job_of_that_id(
    queue: Queue, redis_url: str, link: Link, keys: Keys
) -> None:
    go = asyncio.Event()

    async def run(job: Job[Any]) -> str:
        await go.wait()
        return "done"

    async with Worker("q", run, redis=redis_url) as worker:
        job = await queue.add("x", job_id="mine")
        other = await queue.add("x", job_id="other")
        await until(lambda: len(worker.running_jobs()) == 2, "both run")
        # What a cancellation leaves where the job completed first, and was removed and added anew; beside one that is meant.
        await link.call("HSET", keys.job("other"), "defa", "cancelled")
        await link.call("ZADD", keys.cancelling, 1, "mine", 2, "other")
        with pytest.raises(errors.JobCancelled):
            await other.result(timeout=5_000)
        go.set()
        assert await job.result(timeout=5_000) == "done"


async def test_a_stop_beside_a_cancellation_loses_neither(queue: Queue, redis_url: str) -> None:
    """The worker is closed before it has heard: the job goes back in line, and fails where it is taken next."""
    async with Worker("q", on_the_loop, redis=redis_url) as worker:
        job = await queue.add("loop")
        await until(lambda: begun(job), "it runs")
        await queue.cancel(job.id)
        await worker.close(timeout=0)
    async with Worker("q", on_the_loop, redis=redis_url):
        with pytest.raises(errors.JobCancelled):
            await job.result(timeout=5_000)


async def test_a_stop_within_the_grace_writes_cancellations(queue: Queue, redis_url: str) -> None:
    deaf = Deaf()

    @processor("deaf", timeout=30)
    def run(job: Job[Any]) -> str:
        return deaf.in_a_thread(job)

    async with Worker("q", run, redis=redis_url, cancel_grace=60_000) as worker:
        job = await queue.add("deaf")
        await until(lambda: deaf.runs == 1 and worker.running_jobs(), "it runs")
        await until(lambda: _told(worker), "it was told to stop")
        await worker.stop_now()
    deaf.over.set()
    with pytest.raises(errors.JobFailed, match="timeout of 30 ms"):
        await job.result(timeout=5_000)


def _told(worker: Worker) -> bool:
    assert worker._runtime is not None
    return any(active.stop_error is not None for active in worker._runtime.slots.running)


async def test_a_thread_learns_that_its_worker_stops(queue: Queue, redis_url: str) -> None:
    started, told = threading.Event(), threading.Event()

    @processor("p")
    def run(job: Job[Any]) -> None:
        started.set()
        while not job.cancelled:
            threading.Event().wait(0.01)
        told.set()

    async with Worker("q", run, redis=redis_url) as worker:
        job = await queue.add("p")
        await until(started.is_set, "it runs")
        await worker.close(timeout=0)
    await until(told.is_set, "it was told")
    assert await job.state() == "waiting"


async def test_a_job_that_starts_late_is_not_run(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    ran: list[str] = []

    async def run(job: Job[str]) -> None:
        ran.append(job.data)

    now = await _server_ms(link)
    late = await queue.add("x", "late", expires_in=1_000, timestamp=now - 5_000, attempts=5)
    in_time = await queue.add("x", "in time", expires_in=60_000, timestamp=now - 5_000)
    delayed = await queue.add("x", "delayed", expires_in=1_000, timestamp=now - 5_000, delay=4_999)
    async with Worker("q", run, redis=redis_url):
        with pytest.raises(errors.JobFailed, match=r"expired: it was to start within 1,000 ms and was claimed 4,"):
            await late.result(timeout=5_000)
        await in_time.result(timeout=5_000)
        await delayed.result(timeout=5_000)
    assert sorted(ran) == ["delayed", "in time"]
    assert (await late.refresh()).attempts_made == 1
    assert (await late.refresh()).opts.expires_in == 1_000


async def _server_ms(link: Link) -> int:
    seconds, micros = await link.call("TIME")
    return int(seconds) * 1_000 + int(micros) // 1_000


@pytest.mark.parametrize("name", ["timeout", "expires_in"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "1 s", True])
async def test_limits_are_checked_when_they_are_set(queue: Queue, name: str, value: Any) -> None:
    with pytest.raises(errors.InvalidOption, match=f"{name}: "):
        await queue.add("x", **{name: value})
    assert (await queue.counts()).waiting == 0


@pytest.mark.parametrize("name", ["timeout", "heartbeat"])
async def test_a_processors_limits_are_checked_too(name: str) -> None:
    with pytest.raises(errors.InvalidOption, match=f"{name}: 0"):
        processor("x", **{name: 0})(on_the_loop.function)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["", 5, "x" * 1_001])
async def test_a_reason_is_short_text(queue: Queue, reason: Any) -> None:
    job = await queue.add("x")
    with pytest.raises(errors.InvalidInput, match="reason: "):
        await queue.cancel(job.id, reason)
    assert await job.state() == "waiting"


async def test_a_job_whose_options_cannot_be_read_can_be_cancelled(queue: Queue, link: Link, keys: Keys) -> None:
    job = await queue.add("x")
    await link.call("HSET", keys.job(job.id), "opts", "[1")
    assert await queue.cancel(job.id) is Cancellation.CANCELLED
    assert await queue.cancel("gone") is Cancellation.MISSING
